//! Counting answers against a probe's thresholds.

use k8s_openapi::api::core::v1::Probe;

use super::{Answer, Kind};

/// Runs of equal answers and the verdict they led to.
#[derive(Debug)]
pub(super) struct Tally {
    successes_needed: u32,
    failures_needed: u32,
    /// The last answer and how often it was given in a row.
    run: Option<(bool, u32)>,
    verdict: Option<bool>,
}

impl Tally {
    pub(super) fn new(probe: &Probe, kind: Kind) -> Self {
        let threshold = |value: Option<i32>, default| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(default)
        };
        Self {
            successes_needed: threshold(probe.success_threshold, 1),
            failures_needed: threshold(probe.failure_threshold, 3),
            run: None,
            // Before the first verdict a container counts as alive and as not ready.
            verdict: match kind {
                Kind::Liveness => Some(true),
                Kind::Readiness => Some(false),
                Kind::Startup => None,
            },
        }
    }

    /// Counts an answer; gives the verdict when it changes.
    pub(super) fn note(&mut self, answer: &Answer) -> Option<bool> {
        let good = match answer {
            Answer::Success => true,
            Answer::Failure(_) => false,
            Answer::Error(_) => return None,
        };
        let count = match self.run {
            Some((last, count)) if last == good => count.saturating_add(1),
            _ => 1,
        };
        self.run = Some((good, count));
        let needed = if good {
            self.successes_needed
        } else {
            self.failures_needed
        };
        if count < needed || self.verdict == Some(good) {
            return None;
        }
        self.verdict = Some(good);
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(kind: Kind, successes: i32, failures: i32, answers: &str) -> String {
        let probe = Probe {
            success_threshold: Some(successes),
            failure_threshold: Some(failures),
            ..Probe::default()
        };
        let mut tally = Tally::new(&probe, kind);
        answers
            .chars()
            .map(|c| {
                let answer = match c {
                    '+' => Answer::Success,
                    '-' => Answer::Failure(String::new()),
                    _ => Answer::Error(String::new()),
                };
                match tally.note(&answer) {
                    Some(true) => 'Y',
                    Some(false) => 'N',
                    None => '.',
                }
            })
            .collect()
    }

    #[test]
    fn verdicts_change_when_thresholds_are_crossed() {
        for (kind, successes, failures, answers, expected) in [
            (Kind::Readiness, 1, 3, "+--+---+", "Y.....NY"),
            (Kind::Readiness, 2, 1, "+-++-", "...YN"),
            (Kind::Readiness, 1, 3, "---", "..."),
            (Kind::Liveness, 1, 3, "+++---", ".....N"),
            (Kind::Liveness, 1, 2, "-?-", "..N"),
            (Kind::Startup, 1, 3, "--+", "..Y"),
            (Kind::Startup, 1, 3, "---", "..N"),
        ] {
            assert_eq!(
                play(kind, successes, failures, answers),
                expected,
                "{kind:?} {answers}"
            );
        }
    }
}
