//! Whether a machine runs a playbook now, and when it will: pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::object::Entry;

/// After a failure the next try comes this much later, doubled with each in a row up to the interval.
const RETRY: Duration = Duration::from_secs(30);

/// What is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Timestamp,
    /// What the machine last told.
    pub(crate) entry: Option<&'a Entry>,
    /// What is wanted, as a digest.
    pub(crate) wanted: &'a str,
    /// What somebody who wants a run has written.
    pub(crate) request: Option<&'a str>,
    pub(crate) interval: Duration,
    pub(crate) jitter: Duration,
    /// Makes times differ from machine to machine.
    pub(crate) salt: &'a str,
}

/// Why there is a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was none yet.
    First,
    /// Spec, source or variables are others.
    Changed,
    /// Somebody asked.
    Requested,
    /// The last one failed.
    Retry,
    /// It is time.
    Interval,
}

impl Why {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Why::First => "FirstRun",
            Why::Changed => "Changed",
            Why::Requested => "Requested",
            Why::Retry => "Retry",
            Why::Interval => "Interval",
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A run.
    Run(Why),
    /// Nothing until then.
    At(Timestamp),
}

/// Decides.
pub(crate) fn decide(facts: &Facts<'_>) -> Next {
    let Some((entry, finished)) = facts.entry.and_then(|entry| Some((entry, entry.finished?)))
    else {
        return Next::Run(Why::First);
    };
    if entry.wanted != facts.wanted {
        return Next::Run(Why::Changed);
    }
    if facts.request.is_some() && facts.request != entry.handled.as_deref() {
        return Next::Run(Why::Requested);
    }
    let due = due(facts, finished, entry.failures);
    // A clock that was set back does not stop a machine from being kept.
    if facts.now >= due || finished > facts.now + SignedDuration::from_mins(1) {
        return Next::Run(if entry.failures > 0 {
            Why::Retry
        } else {
            Why::Interval
        });
    }
    Next::At(due)
}

/// When the run after one that ended at a time is due.
pub(crate) fn due(facts: &Facts<'_>, finished: Timestamp, failures: u32) -> Timestamp {
    let pause = match failures {
        0 => facts.interval + facts.jitter.mul_f64(share(facts.salt, finished)),
        failures => RETRY
            .saturating_mul(1 << (failures - 1).min(16))
            .min(facts.interval),
    };
    // Whole seconds, as it is written.
    let pause = SignedDuration::from_secs(i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
    finished.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

/// A number from zero to one, the same for the same machine and time.
fn share(salt: &str, time: Timestamp) -> f64 {
    let digest = Sha256::new()
        .chain_update(salt)
        .chain_update(time.as_second().to_le_bytes())
        .finalize();
    let mut four = [0; 4];
    four.copy_from_slice(&digest[..4]);
    f64::from(u32::from_le_bytes(four)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn facts(now: i64, entry: Option<&Entry>) -> Facts<'_> {
        Facts {
            now: at(now),
            entry,
            wanted: "a",
            request: None,
            interval: Duration::from_secs(600),
            jitter: Duration::ZERO,
            salt: "node-1",
        }
    }

    #[test]
    fn a_machine_runs_first_then_on_change_on_request_and_when_it_is_time() {
        assert_eq!(decide(&facts(0, None)), Next::Run(Why::First));
        let entry = Entry {
            wanted: "a".into(),
            finished: Some(at(1000)),
            handled: Some("one".into()),
            ..Entry::default()
        };
        assert_eq!(decide(&facts(1100, Some(&entry))), Next::At(at(1600)));
        assert_eq!(decide(&facts(1600, Some(&entry))), Next::Run(Why::Interval));
        let changed = Facts {
            wanted: "b",
            ..facts(1100, Some(&entry))
        };
        assert_eq!(decide(&changed), Next::Run(Why::Changed));
        for (request, next) in [
            ("one", Next::At(at(1600))),
            ("two", Next::Run(Why::Requested)),
        ] {
            let asked = Facts {
                request: Some(request),
                ..facts(1100, Some(&entry))
            };
            assert_eq!(decide(&asked), next);
        }
        // The clock was set back by an hour.
        let entry = Entry {
            finished: Some(at(5000)),
            ..entry
        };
        assert_eq!(decide(&facts(1100, Some(&entry))), Next::Run(Why::Interval));
    }

    #[test]
    fn what_failed_is_tried_again_soon_and_then_less_and_less_often() {
        let pause = |failures| {
            let entry = Entry {
                wanted: "a".into(),
                finished: Some(at(1000)),
                failures,
                ..Entry::default()
            };
            match decide(&facts(1001, Some(&entry))) {
                Next::At(time) => time.as_second() - 1000,
                run @ Next::Run(_) => panic!("{run:?}"),
            }
        };
        let pauses: Vec<i64> = [1, 2, 3, 5, 6, 100].into_iter().map(pause).collect();
        assert_eq!(pauses, [30, 60, 120, 480, 600, 600]);
    }

    #[test]
    fn machines_do_not_run_all_at_once() {
        let entry = Entry {
            wanted: "a".into(),
            finished: Some(at(1000)),
            ..Entry::default()
        };
        let mut times: Vec<i64> = (0..20)
            .map(|node| {
                let salt = format!("node-{node}");
                let facts = Facts {
                    salt: &salt,
                    jitter: Duration::from_secs(100),
                    ..facts(1001, Some(&entry))
                };
                match decide(&facts) {
                    Next::At(time) => time.as_second(),
                    run @ Next::Run(_) => panic!("{run:?}"),
                }
            })
            .collect();
        assert!(times.iter().all(|time| (1600..=1700).contains(time)));
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > 10, "{times:?}");
    }
}
