//! Hosts of playbooks: what tasks have set there, and what was last done.

use consort_plan::{Address, Entry, Event, Operation};

use super::cause::{Cause, Standing};
use super::evidence::Evidence;
use super::gather::{Kinds, follow};
use super::subject::Subject;
use crate::records::{Host, Records};

/// How many operations back a host is looked for.
const LOOK_BACK: usize = 20;
/// How many of the things on a host are told, for each part.
const TOLD: usize = 40;

/// Explains a host by its name in an inventory; none if no part remembers anything of it.
pub(super) async fn host(
    records: &Records,
    kinds: &Kinds,
    name: &str,
    score: Option<&str>,
    evidence: &Evidence,
) -> Option<Cause> {
    let hosts = records.hosts(score, None).await.ok()?;
    let hosts: Vec<Host> = hosts
        .into_iter()
        .filter(|host| host.record.host == name)
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let count: usize = hosts.iter().map(|host| host.record.things.len()).sum();
    let mut cause = Cause::new(
        format!("host {name}"),
        Standing::Fact,
        match count {
            0 => "has nothing that a playbook has set".to_owned(),
            1 => "has one thing that a playbook has set".to_owned(),
            count => format!("has {count} things that playbooks have set"),
        },
    );
    for host in &hosts {
        cause
            .details
            .push(format!("part {} of {}", host.part, host.score));
        cause.details.extend(things(host));
        for handler in &host.record.pending {
            cause.standing = Standing::Waiting;
            let said = format!("  the handler {handler} was notified, and has not run since");
            cause.details.push(said);
        }
        let operations = evidence.operations.as_deref().unwrap_or_default();
        if let Some(address) = last_touched(records, operations, host).await {
            let subject = Subject::Address {
                address,
                score: Some(host.score.clone()),
            };
            let own = Evidence {
                now: evidence.now,
                operations: evidence.operations.clone(),
                ..Evidence::default()
            };
            let told = follow(records, kinds, &subject, own).await;
            if told.standing == Standing::Bad {
                cause.standing = Standing::Bad;
            }
            cause.causes.push(told);
        }
        if let Some(thing) = host.record.things.iter().find_map(|thing| {
            let value = thing.identity.values().next()?.as_str()?;
            Some(value.to_owned())
        }) {
            cause = cause.look(format!("consort why '{name}:{thing}'"));
        }
    }
    Some(cause)
}

/// The things on a host, each with the task that set it.
fn things(host: &Host) -> Vec<String> {
    let all = &host.record.things;
    let mut lines: Vec<String> = all
        .iter()
        .take(TOLD)
        .map(|thing| {
            let what = thing.named().unwrap_or_else(|| thing.module.clone());
            let place = thing
                .location
                .as_ref()
                .map_or_else(String::new, |at| format!(", {}:{}", at.file, at.line));
            format!("  {what}: {}{place}", thing.task)
        })
        .collect();
    if all.len() > TOLD {
        lines.push(format!("  and {} more", all.len() - TOLD));
    }
    lines
}

/// The task that the last operation which worked on a host failed at, or else did last.
async fn last_touched(records: &Records, operations: &[Operation], host: &Host) -> Option<Address> {
    let of_score = operations
        .iter()
        .filter(|operation| operation.score == host.score)
        .take(LOOK_BACK);
    for operation in of_score {
        let entries = records
            .entries(&operation.score, operation.revision)
            .await
            .unwrap_or_default();
        let of_host: Vec<&Entry> = entries
            .iter()
            .filter(|entry| {
                entry.address.part() == host.part && entry.address.before_key() == host.record.host
            })
            .collect();
        let failed = of_host
            .iter()
            .rev()
            .find(|entry| matches!(entry.event, Event::Failed { .. }));
        if let Some(entry) = failed.or(of_host.last()) {
            return Some(entry.address.clone());
        }
    }
    None
}
