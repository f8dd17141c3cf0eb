//! What is remembered of hosts while they are worked on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use consort_plan::{Planned, Problem, Progress};
use indexmap::IndexMap;

use super::Playbooks;
use super::carrying::Carrying;
use super::notified;
use super::planning::PlannedHandler;
use super::record::HostRecord;
use super::told::{Deed, Heard, Listener};
use super::undone::Undo;
use crate::output::Status;
use crate::values;

/// What is remembered of the hosts of a part while it is carried out.
pub(super) struct Remembered<'p> {
    part: &'p Playbooks,
    records: BTreeMap<String, HostRecord>,
    /// Hosts of which something is another than what is kept.
    changed: BTreeSet<String>,
    /// By host, handlers that were planned and not notified so far.
    expected: BTreeMap<String, BTreeSet<String>>,
    /// What kept it from being kept.
    pub(super) error: Option<String>,
}

impl<'p> Remembered<'p> {
    /// As it is kept.
    pub(super) async fn of(part: &'p Playbooks) -> Result<Self, Vec<Problem>> {
        let records = part.recall().await?;
        Ok(Remembered {
            part,
            records: records
                .into_iter()
                .map(|record| (record.host.clone(), record))
                .collect(),
            changed: BTreeSet::new(),
            expected: BTreeMap::new(),
            error: None,
        })
    }

    /// The handlers that earlier runs did not come to, by host.
    pub(super) fn pending(&self) -> HashMap<Arc<str>, Vec<Arc<str>>> {
        if self.part.spec.check {
            return HashMap::new();
        }
        notified::pending(self.records.values())
    }

    /// Notes the handlers that are planned, before anything is done that notifies them.
    pub(super) fn expect(&mut self, handlers: &[PlannedHandler]) {
        if self.part.spec.check {
            return;
        }
        for PlannedHandler { host, handler } in handlers {
            if self.record(host).await_handler(handler) {
                let expected = self.expected.entry(host.clone()).or_default();
                expected.insert(handler.clone());
                self.changed.insert(host.clone());
            }
        }
    }

    /// The run has come to its end: what was planned and never notified is not waited for.
    pub(super) fn settle(&mut self) {
        for (host, handlers) in std::mem::take(&mut self.expected) {
            if let Some(record) = self.records.get_mut(&host) {
                record.pending.retain(|name| !handlers.contains(name));
                self.changed.insert(host);
            }
        }
    }

    fn record(&mut self, host: &str) -> &mut HostRecord {
        self.records
            .entry(host.to_owned())
            .or_insert_with(|| HostRecord {
                host: host.to_owned(),
                ..HostRecord::default()
            })
    }

    /// Takes in which handlers a task has notified, and which one it was itself.
    fn take_handlers(&mut self, deed: &Deed) {
        let host = deed.host.to_string();
        if !deed.topics.is_empty() {
            if let Some(expected) = self.expected.get_mut(&host) {
                expected.retain(|name| !notified::is(name, deed));
            }
            let record = self.record(&host);
            let before = record.pending.len();
            record.pending.retain(|name| !notified::is(name, deed));
            if record.pending.len() != before {
                self.changed.insert(host.clone());
            }
        }
        for name in &deed.notify {
            if let Some(expected) = self.expected.get_mut(&host) {
                expected.retain(|handler| !notified::names(name, handler));
            }
            if self.record(&host).await_handler(name) {
                self.changed.insert(host.clone());
            }
        }
    }

    /// Takes in what a task did.
    pub(super) fn take_in(&mut self, deed: &Deed) {
        if self.part.environment.memory.is_none()
            || self.part.spec.check
            || deed.status != Status::Ok
        {
            return;
        }
        self.take_handlers(deed);
        if !deed.counts() {
            return;
        }
        let host = deed.machine.as_ref().unwrap_or(&deed.host).to_string();
        // What is done on another machine is nobody's to look after from here.
        if host == *deed.host && self.record(&host).take_in(deed) {
            self.changed.insert(host);
        }
    }

    /// Notes that all was done on a host without a failure, with what the part is made of.
    pub(super) fn complete(&mut self, host: &str, sources: &str) {
        if let Some(record) = self.records.get_mut(host)
            && (record.sources != sources || !record.pending.is_empty())
        {
            sources.clone_into(&mut record.sources);
            record.pending.clear();
            self.changed.insert(host.to_owned());
        }
    }

    /// The hosts of which something is remembered.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.records.keys().cloned().collect()
    }

    /// Keeps what is another since the last time.
    pub(super) async fn keep(&mut self) {
        let Some(memory) = &self.part.environment.memory else {
            return;
        };
        for host in std::mem::take(&mut self.changed) {
            let Some(record) = self.records.get(&host) else {
                continue;
            };
            if let Err(error) = memory.keep(&self.part.name, record).await {
                self.error = Some(error);
                self.changed.insert(host);
            }
        }
    }

    /// Forgets a thing that was undone.
    fn undone(&mut self, undo: &Undo) {
        if let Some(record) = self.records.get_mut(&undo.host) {
            record
                .things
                .retain(|thing| thing.address != undo.address || thing.item != undo.item);
            self.changed.insert(undo.host.clone());
        }
    }
}

impl Carrying<'_> {
    /// Undoes what a host has no task for any more, and forgets it if that is planned.
    pub(super) async fn undo(
        &self,
        host: &str,
        progress: &dyn Progress,
    ) -> Result<(), Vec<Problem>> {
        let undo: Vec<&Undo> = self
            .payload
            .undo
            .iter()
            .filter(|undo| undo.host == host)
            .collect();
        let forgotten = self
            .payload
            .forgotten
            .iter()
            .find(|forgotten| forgotten.host == host);
        if !self.may_undo() {
            for place in undo
                .iter()
                .map(|undo| undo.change)
                .chain(forgotten.map(|forgotten| forgotten.change))
            {
                progress.skipped(place, None);
            }
            return Ok(());
        }
        let mut remembered = Remembered::of(self.part).await?;
        let mut problems = Vec::new();
        if !undo.is_empty() {
            problems = self
                .undo_all(&undo, host, &mut remembered, progress)
                .await?;
            remembered.keep().await;
        }
        if let Some(error) = remembered.error.take() {
            problems.push(self.part.problem(error));
        }
        if let Some(forgotten) = forgotten {
            progress.began(forgotten.change);
            if problems.is_empty() {
                if let Some(memory) = &self.part.environment.memory {
                    memory
                        .forget(&self.part.name, host)
                        .await
                        .map_err(|error| vec![self.part.problem(error)])?;
                }
                progress.done(forgotten.change);
            } else {
                progress.skipped(forgotten.change, None);
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    async fn undo_all(
        &self,
        undo: &[&Undo],
        host: &str,
        remembered: &mut Remembered<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Problem>, Vec<Problem>> {
        let inputs: BTreeMap<String, Planned> = self
            .inputs
            .iter()
            .map(|(name, planned)| {
                let now = progress.input(name).unwrap_or_else(|_| planned.clone());
                (name.clone(), now)
            })
            .collect();
        let part = self.part;
        let opened = part.open_aside(&inputs, Some(&self.scratch), false)?;
        let data = play(undo, host);
        let play = opened
            .ready
            .play(&data)
            .map_err(|error| vec![part.told(&error, &opened.secrets.hidden())])?;
        let (listener, mut heard) = Listener::new(&part.root);
        let ended = opened
            .ready
            .run_aside(Some(Arc::new(play)), vec![Box::new(listener)], self.cancel)
            .await;
        drop(opened.kept);
        let mut problems = Vec::new();
        let mut told = BTreeSet::new();
        while let Ok(heard) = heard.try_recv() {
            let Heard::Did(deed) = heard else { continue };
            let place = deed
                .task
                .parse()
                .ok()
                .and_then(|place: usize| undo.get(place));
            let Some(one) = place else { continue };
            told.insert(one.change);
            if deed.status == Status::Ok {
                remembered.undone(one);
                progress.done(one.change);
            } else {
                let mut problem = part.failure(&deed, &opened.secrets.hidden());
                problem.address = None;
                problem.location = None;
                problem.summary = format!("undoing it on {host}: {}", deed.message);
                progress.failed(one.change, problem.clone());
                problems.push(problem);
            }
        }
        for one in undo.iter().filter(|one| !told.contains(&one.change)) {
            progress.skipped(one.change, None);
        }
        if let Err(error) = ended {
            problems.push(part.told(&error, &opened.secrets.hidden()));
        } else if told.len() < undo.len() && problems.is_empty() {
            problems.push(part.problem(format!("{host} could not be worked on")));
        }
        Ok(problems)
    }
}

/// The play that undoes things on a host: a task each, named by its place.
fn play(undo: &[&Undo], host: &str) -> Value {
    let origin = Arc::new(Origin {
        file: "<undone>".into(),
        line: 0,
        column: 0,
    });
    let text = |text: &str| Value::Str(Str::template(text).written_at(Arc::clone(&origin)));
    let dict = |entries: Vec<(&str, Value)>| {
        let entries: IndexMap<Key, Value> = entries
            .into_iter()
            .map(|(name, value)| (Key::from(name), value))
            .collect();
        Value::Dict(Dict::new(entries))
    };
    let tasks = undo
        .iter()
        .enumerate()
        .map(|(place, one)| {
            let arguments = values::from_report(one.arguments.clone());
            let mut entries = vec![
                ("name", text(&place.to_string())),
                ("action", text(&one.module)),
                ("args", Value::Dict(arguments)),
                ("ignore_errors", Value::Bool(true)),
            ];
            if let Some(user) = &one.becomes {
                entries.push(("become", Value::Bool(true)));
                entries.push(("become_user", Value::from(user.as_str())));
            }
            dict(entries)
        })
        .collect();
    dict(vec![
        ("name", text("Undo what is no longer declared")),
        ("hosts", Value::from(host)),
        ("gather_facts", Value::Bool(false)),
        ("tasks", Value::list(tasks)),
    ])
}
