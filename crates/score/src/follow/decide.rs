//! What is to be done about a score now: a pure function over all that is known of it.

use std::borrow::Cow;
use std::time::Duration;

use consort_plan::{Mode, Operation, Phase, Source};
use jiff::{SignedDuration, Timestamp};

use super::object::{Failure, Spec, SyncMode, Synced, short};
use crate::git::Resolved;
use crate::sync::permission;

/// The first pause after a failure; it doubles with each.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// The pause after which something new is reason enough to try a heal again.
const FRESH_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// The least and the most time until a window is looked at again.
const WINDOW_LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// All that is known of a score.
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    pub(super) spec: &'a Spec,
    /// What its repository is at; none if that is not known, or it follows none.
    pub(super) target: Option<Target<'a>>,
    /// The sync a person has asked for.
    pub(super) request: bool,
    /// The last operation.
    pub(super) latest: Option<&'a Operation>,
    /// Whether somebody walks now.
    pub(super) walked: bool,
    /// Whether the last operation is one of the controller's own.
    pub(super) own: bool,
    /// What was last carried out of the source.
    pub(super) synced: Option<&'a Synced>,
    pub(super) failure: Option<&'a Failure>,
    pub(super) waiting: Option<&'a Waiting>,
    /// Whether something was seen that may be drift.
    pub(super) dirty: bool,
    /// Whether that was seen since the last try.
    pub(super) fresh: bool,
    /// Healing was done so often of late that it has to wait for this.
    pub(super) heal_after: Option<Timestamp>,
}

/// What a repository is at.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) resolved: &'a Resolved,
    /// Repository and path, as [`Synced::source`] has them.
    pub(super) source: &'a str,
}

/// A blueprint that needs an approval, or may not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its id.
    pub(super) blueprint: String,
    /// What it was made for: [`Failure::what`] has the same.
    pub(super) what: String,
    pub(super) why: Why,
}

/// Why a blueprint is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It needs an approval.
    Approval,
    /// It has one, by this user.
    Approved(String),
    /// It was rejected: by whom and why.
    Rejected(String),
    /// A policy denies it.
    Denied(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All is as it should be, as far as is known.
    Rest,
    /// Nothing can be done now: a word, a sentence, and when to look again (or when something changes).
    Hold(Hold),
    /// The commit is planned and carried out.
    Sync {
        /// A person asked for it.
        manual: bool,
    },
    /// What has drifted is planned, and put back if that is wanted.
    Heal {
        /// Whether it is put back; else drift is only told.
        correct: bool,
    },
    /// The blueprint that waited is carried out.
    CarryOut {
        blueprint: String,
        what: String,
        by: String,
    },
    /// The operation that was interrupted goes on.
    Resume,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) reason: Cow<'static, str>,
    pub(super) message: String,
    pub(super) look: Option<Duration>,
}

fn hold(reason: impl Into<Cow<'static, str>>, message: String, look: Option<Duration>) -> Next {
    Next::Hold(Hold {
        reason: reason.into(),
        message,
        look,
    })
}

/// The name of a heal in [`Failure::what`] and [`Waiting::what`].
pub(super) fn heal_of(revision: u64) -> String {
    format!("heal of revision {revision}")
}

/// The revision whose sources an operation has carried out: its own, or the one it put back.
pub(super) fn base(operation: &Operation) -> u64 {
    match (&operation.mode, &operation.source) {
        (Mode::Heal, Source::Revision { revision }) => *revision,
        _ => operation.revision,
    }
}

/// Decides.
pub(super) fn decide(facts: &Facts<'_>) -> Next {
    let running = facts
        .latest
        .filter(|operation| operation.phase == Phase::Running);
    if let Some(operation) = running {
        if facts.walked {
            return hold(
                "Progressing",
                format!("revision {} is being carried out", operation.revision),
                // Its end is seen; a walker that vanishes is not.
                Some(Duration::from_secs(5)),
            );
        }
        if facts.own {
            return Next::Resume;
        }
        return hold(
            "OperationInterrupted",
            format!(
                "the operation that makes revision {0} was interrupted; `consort resume {1}-{0}` goes on with it",
                operation.revision, operation.score
            ),
            None,
        );
    }
    if facts.walked {
        return hold(
            "Progressing",
            "another operation is about to begin".to_owned(),
            Some(Duration::from_secs(5)),
        );
    }
    match sync(facts) {
        Some(Next::Hold(held)) => match heal(facts) {
            // What waits for a person or a window does not keep drift from being put back.
            Next::Rest | Next::Hold(_) => Next::Hold(held),
            healing => healing,
        },
        Some(next) => next,
        None => heal(facts),
    }
}

fn sync(facts: &Facts<'_>) -> Option<Next> {
    let target = facts.target?;
    let commit = &target.resolved.commit;
    let done = facts
        .synced
        .is_some_and(|synced| synced.commit == *commit && synced.source == target.source);
    if done && !facts.request {
        let back = facts.latest.filter(|operation| {
            facts
                .synced
                .is_some_and(|synced| operation.revision > synced.revision)
                && matches!(operation.mode, Mode::Rollback { .. } | Mode::Destroy)
        })?;
        let what = match back.mode {
            Mode::Rollback { to } => format!("was rolled back to revision {to}"),
            _ => "was destroyed".to_owned(),
        };
        return Some(hold(
            "RolledBack",
            format!(
                "it {what} by {}; the source is still at {}: another commit or `consort sync {}` goes on from there",
                back.author,
                short(commit),
                back.score,
            ),
            None,
        ));
    }
    // An earlier request was for what waits now.
    if !facts.request
        && let Some(waiting) = facts.waiting.filter(|waiting| waiting.what == *commit)
    {
        return Some(wait(waiting));
    }
    if !facts.request && facts.spec.sync.mode == SyncMode::Manual {
        return Some(hold(
            "OutOfSync",
            format!(
                "the source is at {}, which was not carried out; syncs are made when somebody asks for them",
                short(commit)
            ),
            None,
        ));
    }
    if let Some(held) = closed(facts, facts.request) {
        return Some(held);
    }
    if !facts.request
        && let Some(held) = failed(facts, commit, false)
    {
        return Some(held);
    }
    Some(Next::Sync {
        manual: facts.request,
    })
}

fn heal(facts: &Facts<'_>) -> Next {
    let Some(latest) = facts.latest else {
        return Next::Rest;
    };
    if latest.mode == Mode::Destroy {
        return Next::Rest;
    }
    let what = heal_of(base(latest));
    // A heal that failed is tried again like any other.
    if latest.phase != Phase::Succeeded && latest.mode != Mode::Heal {
        let failed = matches!(latest.source, Source::Git { .. }) && facts.target.is_some();
        if failed {
            // The sync of the commit is what goes on.
            return Next::Rest;
        }
        return hold(
            "OperationFailed",
            format!(
                "the operation that was to make revision {} did not succeed; `consort resume`, `consort apply` or \
                 `consort rollback` goes on from there",
                latest.revision
            ),
            None,
        );
    }
    if let Some(waiting) = facts.waiting.filter(|waiting| waiting.what == what) {
        match &waiting.why {
            Why::Approved(_) => return wait(waiting),
            // Something has moved: another plan may be fine.
            _ if facts.dirty => {}
            _ => return wait(waiting),
        }
    }
    if !facts.dirty {
        return Next::Rest;
    }
    if !facts.spec.sync.self_heal {
        return Next::Heal { correct: false };
    }
    if let Some(after) = facts.heal_after.filter(|after| *after > facts.now) {
        return hold(
            "HealingOften",
            "what is put back is changed again and again; the next time is put off".to_owned(),
            Some(until(facts.now, after)),
        );
    }
    if let Some(held) = closed(facts, false) {
        return held;
    }
    if let Some(held) = failed(facts, &what, true) {
        return held;
    }
    Next::Heal { correct: true }
}

fn wait(waiting: &Waiting) -> Next {
    let id = &waiting.blueprint;
    match &waiting.why {
        Why::Approved(by) => Next::CarryOut {
            blueprint: id.clone(),
            what: waiting.what.clone(),
            by: by.clone(),
        },
        Why::Approval => hold(
            "AwaitingApproval",
            format!("blueprint {id} needs an approval: `consort approve {id}`"),
            None,
        ),
        Why::Rejected(said) => hold(
            "Rejected",
            format!("blueprint {id} was rejected {said}"),
            None,
        ),
        Why::Denied(said) => hold("Denied", format!("blueprint {id} is denied: {said}"), None),
    }
}

/// Holds what windows do not allow now.
fn closed(facts: &Facts<'_>, manual: bool) -> Option<Next> {
    let windows = &facts.spec.sync.windows;
    if windows.is_empty() {
        return None;
    }
    match permission(windows, manual, facts.now) {
        Ok(permission) if permission.allowed => None,
        Ok(permission) => {
            let look = permission
                .changes
                .map(|at| until(facts.now, at).clamp(WINDOW_LOOK.0, WINDOW_LOOK.1));
            Some(hold("OutsideWindow", permission.because, look))
        }
        Err(error) => Some(hold("InvalidWindow", error.to_string(), None)),
    }
}

/// Holds what has failed: for a pause first, then until something changes. A heal is never given up: what kept it from
/// being done may have gone without anybody telling.
fn failed(facts: &Facts<'_>, what: &str, healing: bool) -> Option<Next> {
    let failure = facts.failure.filter(|failure| failure.what == what)?;
    let exhausted = failure.times > facts.spec.sync.retries;
    if exhausted && !healing {
        return Some(hold(
            failure.reason.clone(),
            format!(
                "{} (given up after {} tries: another commit or a sync by hand tries again)",
                failure.message, failure.times
            ),
            None,
        ));
    }
    let pause = if healing && facts.fresh {
        // Somebody did something: it may go well now.
        FRESH_PAUSE
    } else {
        PAUSE
            .checked_mul(1 << failure.times.saturating_sub(1).min(10))
            .unwrap_or(LONGEST_PAUSE)
            .min(LONGEST_PAUSE)
    };
    let again = failure.last.checked_add(pause).unwrap_or(facts.now);
    (again > facts.now).then(|| {
        hold(
            failure.reason.clone(),
            format!(
                "{} (failed {} times, and is tried again)",
                failure.message, failure.times
            ),
            Some(until(facts.now, again)),
        )
    })
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Window, WindowKind};

    const NOW: &str = "2024-01-01T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn operation(revision: u64, mode: Mode, phase: Phase) -> Operation {
        Operation {
            score: "shop".to_owned(),
            revision,
            blueprint: "b".to_owned(),
            mode,
            author: "ann".to_owned(),
            cause: None,
            approved_by: None,
            source: Source::Revision { revision: 1 },
            started: now(),
            ended: None,
            phase,
            total: 0,
            done: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Facts of a score at commit `a`, carried out as revision 1; `change` makes them others.
    fn decided(change: impl FnOnce(&mut Story)) -> Next {
        let mut story = Story {
            spec: Spec::default(),
            commit: "a".to_owned(),
            request: false,
            latest: Some(operation(1, Mode::Apply, Phase::Succeeded)),
            walked: false,
            own: true,
            synced: Some(Synced {
                commit: "a".to_owned(),
                source: "repo".to_owned(),
                revision: 1,
            }),
            failure: None,
            waiting: None,
            dirty: false,
            fresh: false,
            heal_after: None,
        };
        change(&mut story);
        let resolved = Resolved {
            name: None,
            commit: story.commit,
        };
        decide(&Facts {
            now: now(),
            spec: &story.spec,
            target: (!resolved.commit.is_empty()).then_some(Target {
                resolved: &resolved,
                source: "repo",
            }),
            request: story.request,
            latest: story.latest.as_ref(),
            walked: story.walked,
            own: story.own,
            synced: story.synced.as_ref(),
            failure: story.failure.as_ref(),
            waiting: story.waiting.as_ref(),
            dirty: story.dirty,
            fresh: story.fresh,
            heal_after: story.heal_after,
        })
    }

    struct Story {
        spec: Spec,
        commit: String,
        request: bool,
        latest: Option<Operation>,
        walked: bool,
        own: bool,
        synced: Option<Synced>,
        failure: Option<Failure>,
        waiting: Option<Waiting>,
        dirty: bool,
        fresh: bool,
        heal_after: Option<Timestamp>,
    }

    fn reason(next: &Next) -> &str {
        match next {
            Next::Hold(held) => &held.reason,
            Next::Rest => "rest",
            Next::Sync { manual: false } => "sync",
            Next::Sync { manual: true } => "manual sync",
            Next::Heal { correct: true } => "heal",
            Next::Heal { correct: false } => "look",
            Next::CarryOut { .. } => "carry out",
            Next::Resume => "resume",
        }
    }

    fn denying(manual: bool) -> Window {
        Window {
            kind: WindowKind::Deny,
            schedule: "0 11 * * *".to_owned(),
            duration: "2h".to_owned(),
            time_zone: None,
            manual_sync: manual,
        }
    }

    #[allow(clippy::unnecessary_wraps)]
    fn waiting(what: &str, why: Why) -> Option<Waiting> {
        Some(Waiting {
            blueprint: "1f".to_owned(),
            what: what.to_owned(),
            why,
        })
    }

    type Case = (&'static str, Box<dyn FnOnce(&mut Story)>);

    #[test]
    fn a_score_is_synced_healed_or_held_by_what_is_known_of_it() {
        let failure = |what: &str, times, ago: i64| {
            Some(Failure {
                what: what.to_owned(),
                times,
                last: now() - SignedDuration::from_secs(ago),
                reason: "PlanFailed".to_owned(),
                message: "no".to_owned(),
            })
        };
        let cases: Vec<Case> = vec![
            ("rest", Box::new(|_| {})),
            ("sync", Box::new(|it| it.commit = "b".to_owned())),
            ("sync", Box::new(|it| (it.synced, it.latest) = (None, None))),
            ("manual sync", Box::new(|it| it.request = true)),
            ("heal", Box::new(|it| it.dirty = true)),
            (
                "look",
                Box::new(|it| (it.dirty, it.spec.sync.self_heal) = (true, false)),
            ),
            (
                "OutOfSync",
                Box::new(|it| {
                    it.commit = "b".to_owned();
                    it.spec.sync.mode = SyncMode::Manual;
                }),
            ),
            (
                // The drift of what was applied is put back although the new commit waits.
                "heal",
                Box::new(|it| {
                    it.commit = "b".to_owned();
                    it.dirty = true;
                    it.spec.sync.mode = SyncMode::Manual;
                }),
            ),
            (
                "OutsideWindow",
                Box::new(|it| {
                    it.commit = "b".to_owned();
                    it.spec.sync.windows = vec![denying(false)];
                }),
            ),
            (
                "OutsideWindow",
                Box::new(|it| {
                    it.dirty = true;
                    it.spec.sync.windows = vec![denying(true)];
                }),
            ),
            (
                "manual sync",
                Box::new(|it| {
                    it.request = true;
                    it.spec.sync.windows = vec![denying(true)];
                }),
            ),
            (
                "AwaitingApproval",
                Box::new(|it| {
                    it.commit = "b".to_owned();
                    it.waiting = waiting("b", Why::Approval);
                }),
            ),
            (
                "carry out",
                Box::new(|it| {
                    it.commit = "b".to_owned();
                    it.waiting = waiting("b", Why::Approved("ann".to_owned()));
                }),
            ),
            (
                // What waits was made for another commit.
                "sync",
                Box::new(|it| {
                    it.commit = "c".to_owned();
                    it.waiting = waiting("b", Why::Approval);
                }),
            ),
            (
                "Denied",
                Box::new(|it| {
                    it.commit = "b".to_owned();
                    it.waiting = waiting("b", Why::Denied("no".to_owned()));
                }),
            ),
            (
                "PlanFailed",
                Box::new(move |it| {
                    it.commit = "b".to_owned();
                    it.failure = failure("b", 2, 5);
                }),
            ),
            (
                "sync",
                Box::new(move |it| {
                    it.commit = "b".to_owned();
                    it.failure = failure("b", 2, 11);
                }),
            ),
            (
                "PlanFailed",
                Box::new(move |it| {
                    it.commit = "b".to_owned();
                    it.failure = failure("b", 6, 10_000);
                }),
            ),
            (
                "PlanFailed",
                Box::new(move |it| {
                    it.dirty = true;
                    it.failure = failure("heal of revision 1", 9, 30);
                }),
            ),
            (
                // Something new was seen.
                "heal",
                Box::new(move |it| {
                    (it.dirty, it.fresh) = (true, true);
                    it.failure = failure("heal of revision 1", 9, 2);
                }),
            ),
            (
                "heal",
                Box::new(|it| {
                    it.latest = Some(operation(2, Mode::Heal, Phase::Failed));
                    it.dirty = true;
                }),
            ),
            (
                "PlanFailed",
                Box::new(move |it| {
                    it.latest = Some(operation(2, Mode::Heal, Phase::Failed));
                    it.dirty = true;
                    it.failure = failure("heal of revision 1", 3, 2);
                }),
            ),
            (
                "RolledBack",
                Box::new(|it| {
                    it.latest = Some(operation(2, Mode::Rollback { to: 1 }, Phase::Succeeded));
                }),
            ),
            (
                "heal",
                Box::new(|it| {
                    it.latest = Some(operation(2, Mode::Rollback { to: 1 }, Phase::Succeeded));
                    it.dirty = true;
                }),
            ),
            (
                "resume",
                Box::new(|it| it.latest = Some(operation(2, Mode::Apply, Phase::Running))),
            ),
            (
                "OperationInterrupted",
                Box::new(|it| {
                    it.latest = Some(operation(2, Mode::Apply, Phase::Running));
                    it.own = false;
                }),
            ),
            (
                "Progressing",
                Box::new(|it| {
                    it.latest = Some(operation(2, Mode::Apply, Phase::Running));
                    it.walked = true;
                }),
            ),
            (
                // A directory's score whose last operation failed is left to people.
                "OperationFailed",
                Box::new(|it| {
                    it.commit.clear();
                    it.dirty = true;
                    it.latest = Some(operation(2, Mode::Apply, Phase::Failed));
                }),
            ),
            (
                "HealingOften",
                Box::new(|it| {
                    it.dirty = true;
                    it.heal_after = Some(now() + SignedDuration::from_secs(9));
                }),
            ),
        ];
        for (at, (expected, change)) in cases.into_iter().enumerate() {
            let next = decided(change);
            assert_eq!(reason(&next), expected, "case {at}: {next:?}");
        }
    }
}
