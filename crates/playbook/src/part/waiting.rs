//! Waits for machines that have just been made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Dict, Value};
use consort_plan::{Planned, Problem, Progress};

use super::carrying::Carrying;
use super::hosts;
use super::opening;
use super::told::Listener;

/// How long a machine that is being made may take until it can be reached, unless the part says otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

impl Carrying<'_> {
    /// Waits for machines that could not be asked when it was planned: what has just been made takes a while to answer.
    pub(super) async fn wait(
        &self,
        inputs: &BTreeMap<String, Planned>,
        resolved: &hosts::Resolved,
        progress: &dyn Progress,
    ) -> Result<(), Vec<Problem>> {
        let standing = self.standing(resolved);
        let new: Vec<String> = resolved
            .hosts
            .iter()
            .map(|host| host.given.name.to_string())
            .filter(|host| self.payload.waits_for.contains(host) || standing.contains_key(host))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        for (place, change) in (0_u32..).zip(&self.changes) {
            let host = change.address.before_key();
            if new.iter().any(|new| new == host) {
                progress.began(place);
                progress.note(place, &format!("waiting until {host} can be reached"));
                break;
            }
        }
        let limit = self.part.spec.wait.as_deref().and_then(opening::duration);
        let limit = limit.unwrap_or(PATIENCE).as_secs();
        let opened = self.part.open_aside(inputs, Some(&self.scratch), false)?;
        let data = waiting(&new, limit);
        let told = |error| vec![self.part.told(&error, &opened.secrets.hidden())];
        let play = opened.ready.play(&data).map_err(told)?;
        let (listener, _heard) = Listener::new(&self.part.root);
        // Who does not answer in time is told by the run itself.
        let _ = opened
            .ready
            .run_aside(Some(Arc::new(play)), vec![Box::new(listener)], self.cancel)
            .await;
        drop(opened.kept);
        Ok(())
    }
}

/// The play that waits until machines can be reached.
fn waiting(hosts: &[String], limit: u64) -> Value {
    let dict = |entries: Vec<(&str, Value)>| -> Value {
        Value::Dict(entries.into_iter().collect::<Dict>())
    };
    let hosts = hosts
        .iter()
        .map(|host| Value::from(host.as_str()))
        .collect();
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    let wait = dict(vec![
        ("timeout", limit),
        ("sleep", Value::Int(1)),
        ("connect_timeout", Value::Int(5)),
    ]);
    let task = dict(vec![("wait_for_connection", wait)]);
    dict(vec![
        ("name", Value::from("Wait")),
        ("hosts", Value::list(hosts)),
        ("gather_facts", Value::Bool(false)),
        ("tasks", Value::list(vec![task])),
    ])
}
