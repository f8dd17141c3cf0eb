//! What a machine tells of itself: its entry of the status, and events.

use consort_playbook::pull::{Deed, Fault as Failed, Outcome};
use consort_reconcile::{State, set_condition};
use jiff::Timestamp;

use crate::decide::Why;
use crate::object::{Drift, Entry, Mode};
use crate::source::Fault;

/// So many tasks are named in a message.
const NAMED: usize = 5;

/// An event to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// A run that has ended.
pub(crate) struct Ran<'a> {
    pub(crate) why: Why,
    pub(crate) mode: Mode,
    pub(crate) wanted: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    pub(crate) request: Option<&'a str>,
    pub(crate) generation: i64,
    pub(crate) ended: Result<Outcome, Fault>,
}

/// A time in whole seconds, as it is written.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

impl Entry {
    fn condition(&mut self, kind: &str, state: State, reason: &str, message: &str) {
        set_condition(
            &mut self.conditions,
            self.observed_generation,
            kind,
            state,
            reason,
            message,
        );
    }

    /// Nothing is run, because somebody wants that.
    pub(crate) fn suspend(&mut self, generation: i64) {
        self.observed_generation = generation;
        "Suspended".clone_into(&mut self.phase);
        self.next = None;
        let said = "it is suspended: nothing is run";
        self.condition("Converged", State::Unknown, "Suspended", said);
    }

    /// A run begins.
    pub(crate) fn begin(&mut self, generation: i64, started: Timestamp, why: Why) {
        self.observed_generation = generation;
        "Running".clone_into(&mut self.phase);
        self.started = Some(started);
        why.word().clone_into(&mut self.cause);
        self.next = None;
    }

    /// There is nothing that could be run.
    pub(crate) fn fail(&mut self, generation: i64, fault: &Fault) -> Option<Note> {
        self.observed_generation = generation;
        "Failed".clone_into(&mut self.phase);
        self.next = None;
        let told = self.conditions.iter().any(|known| {
            known.type_ == "Failed"
                && known.reason == fault.reason
                && known.message == fault.message
        });
        self.condition("Failed", State::True, fault.reason, &fault.message);
        let said = "there is nothing that could be run";
        self.condition("Converged", State::Unknown, fault.reason, said);
        (!told).then(|| Note {
            warning: true,
            reason: fault.reason,
            message: fault.message.clone(),
        })
    }

    /// A run has ended.
    pub(crate) fn end(&mut self, ran: Ran<'_>) -> Option<Note> {
        self.observed_generation = ran.generation;
        self.started = Some(ran.started);
        self.finished = Some(ran.finished);
        self.runs += 1;
        self.check = ran.mode == Mode::Check;
        ran.why.word().clone_into(&mut self.cause);
        ran.digest.clone_into(&mut self.digest);
        ran.revision.clone_into(&mut self.revision);
        ran.wanted.clone_into(&mut self.wanted);
        if let Some(request) = ran.request {
            self.handled = Some(request.to_owned());
        }
        let revision = if ran.revision.is_empty() {
            ran.digest
        } else {
            ran.revision
        };
        match ran.ended {
            Ok(outcome) => {
                self.counts = outcome.counts;
                self.changes.clone_from(&outcome.changes);
                self.faults.clone_from(&outcome.faults);
                if outcome.status == 0 {
                    self.went_well(&outcome, revision)
                } else {
                    Some(self.went_wrong("RunFailed", &outcome.faults, revision))
                }
            }
            Err(fault) => {
                self.counts = consort_playbook::pull::Counts::default();
                self.changes.clear();
                self.faults = vec![Failed {
                    message: fault.message,
                    ..Failed::default()
                }];
                let faults = self.faults.clone();
                Some(self.went_wrong(fault.reason, &faults, revision))
            }
        }
    }

    fn went_well(&mut self, outcome: &Outcome, revision: &str) -> Option<Note> {
        let recovered = self.failures > 0;
        self.failures = 0;
        // What was reached before and is not so any more has drifted; all else is new.
        let drifted = outcome.changed > 0 && self.reached == self.wanted;
        let list = told(&outcome.changes, outcome.changed);
        if drifted || (self.check && outcome.changed > 0) {
            self.drift = Some(Drift {
                time: self.finished.unwrap_or_default(),
                repaired: !self.check,
                changes: outcome.changes.clone(),
            });
        }
        self.condition(
            "Failed",
            State::False,
            "RunSucceeded",
            "the last run went well",
        );
        if self.check && outcome.changed > 0 {
            "Drifted".clone_into(&mut self.phase);
            let known = self.conditions.iter().any(|condition| {
                condition.type_ == "Drifted"
                    && condition.status == "True"
                    && condition.message == list
            });
            self.condition("Drifted", State::True, "DriftFound", &list);
            let said = format!("a run would change it: {list}");
            self.condition("Converged", State::False, "DriftFound", &said);
            return (!known).then_some(Note {
                warning: true,
                reason: "DriftFound",
                message: list,
            });
        }
        "Converged".clone_into(&mut self.phase);
        self.reached.clone_from(&self.wanted);
        let said = if outcome.plays == 0 {
            "no play of the source is for this machine".to_owned()
        } else {
            format!("it is as {revision} says")
        };
        self.condition("Converged", State::True, "Converged", &said);
        if drifted {
            self.condition("Drifted", State::False, "DriftRepaired", &list);
            return Some(Note {
                warning: false,
                reason: "DriftRepaired",
                message: list,
            });
        }
        self.condition(
            "Drifted",
            State::False,
            "NoDrift",
            "nothing was other than it was left",
        );
        if outcome.changed > 0 || recovered || self.runs == 1 {
            let message = if outcome.changed > 0 {
                format!("{said}: {list}")
            } else {
                said
            };
            return Some(Note {
                warning: false,
                reason: "Converged",
                message,
            });
        }
        None
    }

    fn went_wrong(&mut self, reason: &'static str, faults: &[Failed], revision: &str) -> Note {
        self.failures = self.failures.saturating_add(1);
        "Failed".clone_into(&mut self.phase);
        let message = match faults {
            [] => "the run failed".to_owned(),
            [one] => one.text(),
            [first, others @ ..] => format!("{} (and {} more)", first.text(), others.len()),
        };
        self.condition("Failed", State::True, reason, &message);
        let said = format!("the last run of {revision} failed");
        self.condition("Converged", State::False, reason, &said);
        self.condition("Drifted", State::Unknown, reason, &said);
        Note {
            warning: true,
            reason,
            message,
        }
    }
}

/// The tasks that changed something, for people: `2 changed: keep the file (site.yml:5: /etc/motd), ...`.
fn told(changes: &[Deed], all: u64) -> String {
    let mut named: Vec<String> = changes
        .iter()
        .take(NAMED)
        .map(|deed| {
            let what = if deed.what.is_empty() {
                String::new()
            } else {
                format!(": {}", deed.what)
            };
            format!("{} ({}{what})", deed.task, deed.place)
        })
        .collect();
    let more = all.saturating_sub(named.len() as u64);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    format!("{all} changed: {}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(changed: u64) -> Outcome {
        Outcome {
            changed,
            changes: (0..changed)
                .map(|_| Deed {
                    task: "keep".into(),
                    place: "site.yml:5".into(),
                    what: "/etc/motd".into(),
                    ..Deed::default()
                })
                .collect(),
            plays: 1,
            ..Outcome::default()
        }
    }

    fn ran(wanted: &str, mode: Mode, ended: Result<Outcome, Fault>) -> Ran<'_> {
        Ran {
            why: Why::Interval,
            mode,
            wanted,
            digest: "abc",
            revision: "",
            started: now(),
            finished: now(),
            request: None,
            generation: 1,
            ended,
        }
    }

    fn reasons(entry: &Entry) -> Vec<(&str, &str, &str)> {
        entry
            .conditions
            .iter()
            .map(|it| (&*it.type_, &*it.status, &*it.reason))
            .collect()
    }

    #[test]
    fn what_is_new_is_carried_out_and_what_was_so_before_has_drifted() {
        let mut entry = Entry::default();
        let note = entry.end(ran("a", Mode::Repair, Ok(outcome(1)))).unwrap();
        assert_eq!(note.reason, "Converged");
        assert_eq!(entry.drift, None);
        assert_eq!(entry.end(ran("a", Mode::Repair, Ok(outcome(0)))), None);
        let note = entry.end(ran("a", Mode::Repair, Ok(outcome(1)))).unwrap();
        assert_eq!(note.reason, "DriftRepaired");
        assert_eq!(note.message, "1 changed: keep (site.yml:5: /etc/motd)");
        assert!(entry.drift.as_ref().is_some_and(|drift| drift.repaired));
        assert!(reasons(&entry).contains(&("Drifted", "False", "DriftRepaired")));
        let note = entry.end(ran("b", Mode::Repair, Ok(outcome(1)))).unwrap();
        assert_eq!(note.reason, "Converged");
    }

    #[test]
    fn a_machine_that_only_looks_says_what_it_would_change_once() {
        let mut entry = Entry::default();
        let note = entry.end(ran("a", Mode::Check, Ok(outcome(2)))).unwrap();
        assert!(note.warning && note.reason == "DriftFound");
        assert_eq!(entry.phase, "Drifted");
        assert!(reasons(&entry).contains(&("Converged", "False", "DriftFound")));
        assert_eq!(entry.end(ran("a", Mode::Check, Ok(outcome(2)))), None);
        entry.end(ran("a", Mode::Check, Ok(outcome(0))));
        assert_eq!(entry.phase, "Converged");
        assert!(reasons(&entry).contains(&("Drifted", "False", "NoDrift")));
    }

    #[test]
    fn a_failure_is_counted_and_told_with_its_place_until_it_is_over() {
        let mut entry = Entry::default();
        let failed = || Outcome {
            status: 2,
            faults: vec![Failed {
                task: "breaks".into(),
                place: "site.yml:4".into(),
                message: "boom".into(),
            }],
            ..outcome(1)
        };
        entry.end(ran("a", Mode::Repair, Ok(failed())));
        let note = entry.end(ran("a", Mode::Repair, Ok(failed()))).unwrap();
        assert_eq!(note.message, "site.yml:4: TASK [breaks]: boom");
        assert_eq!(entry.failures, 2);
        assert!(reasons(&entry).contains(&("Failed", "True", "RunFailed")));
        let note = entry.end(ran("a", Mode::Repair, Ok(outcome(0)))).unwrap();
        assert_eq!(note.reason, "Converged");
        assert_eq!(entry.failures, 0);
    }
}
