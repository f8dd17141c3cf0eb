//! Carrying a blueprint out, and everything around it: may it be, does it still fit, who else is at it, and what is
//! written down.

use std::path::PathBuf;
use std::time::Duration;

use consort_plan::carry::{Carried, Carry, CarryOptions, Retry, Watcher, carry};
use consort_plan::{
    Blueprint, Operation, Part, Phase, Problem, Stale, Verdict, VerdictKind, moved,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::records::{self, BeginError, Decision, HISTORY, Held, LockError, Records};
use crate::snapshot;
use crate::system::System;

/// How long another who is at the same score is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// After so many revisions each, the oldest are let go of.
const PRUNED_EVERY: u64 = 20;

/// With what a blueprint is carried out.
#[derive(Clone)]
pub struct Options<'a> {
    /// Where it is written down.
    pub records: &'a Records,
    /// Who watches.
    pub watcher: &'a dyn Watcher,
    /// Who carries it out.
    pub author: String,
    /// Why it came to be, where nobody asked.
    pub cause: Option<String>,
    /// Ends the walk early: what is under way is finished.
    pub cancel: CancellationToken,
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// The operation as it stands in the history.
    pub operation: Operation,
    /// How it went for each resource.
    pub carried: Carried,
}

/// Why a blueprint was not carried out. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Policies forbid it.
    #[error("{} policy rule(s) deny the plan", .0.len())]
    Denied(Vec<Verdict>),
    /// It reaches too far to be carried out without an approval.
    #[error("{0}")]
    Unapproved(Unapproved),
    /// It was looked at, and rejected.
    #[error("{by} has rejected the plan{}", because(.reason))]
    Rejected {
        /// Who.
        by: String,
        /// Why; may be empty.
        reason: String,
    },
    /// The world has moved since it was made.
    #[error(transparent)]
    Stale(Box<Stale>),
    /// Somebody else is at the same score.
    #[error(transparent)]
    Held(Held),
    /// Some part could not say whether it still fits, or sources could not be put away.
    #[error("{}", .0.first().map_or("", |first| first.summary.as_str()))]
    Problems(Vec<Problem>),
    /// It could not be written down.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// The sources could not be put away.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// An operation that is over cannot be resumed.
    #[error("operation {score}-{revision} is over: it {phase}")]
    Over {
        /// The score.
        score: String,
        /// Its revision.
        revision: u64,
        /// How it ended.
        phase: &'static str,
    },
}

/// An approval that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unapproved {
    /// The blueprint, which is stored.
    pub blueprint: String,
    /// Its points.
    pub points: u32,
    /// Above how many an approval is needed.
    pub threshold: u32,
    /// What policies said about it.
    pub reasons: Vec<String>,
}

impl std::fmt::Display for Unapproved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.points > self.threshold {
            write!(
                f,
                "the plan has {} points, more than {}: it needs an approval",
                self.points, self.threshold
            )?;
        } else {
            f.write_str("the plan needs an approval")?;
        }
        for reason in &self.reasons {
            write!(f, "\n  {reason}")?;
        }
        Ok(())
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

impl From<BeginError> for Error {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Stale(stale) => Error::Stale(stale),
            BeginError::Records(error) => Error::Records(error),
        }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held(held) => Error::Held(held),
            LockError::Records(error) => Error::Records(error),
        }
    }
}

/// Who approved a blueprint; none if that is not needed.
///
/// # Errors
/// [`Error::Denied`], [`Error::Unapproved`], [`Error::Rejected`]: it must not be carried out.
pub async fn permitted(
    blueprint: &Blueprint,
    id: &str,
    records: &Records,
) -> Result<Option<String>, Error> {
    let denied: Vec<Verdict> = blueprint
        .verdicts
        .iter()
        .filter(|verdict| verdict.kind == VerdictKind::Deny)
        .cloned()
        .collect();
    if !denied.is_empty() {
        return Err(Error::Denied(denied));
    }
    match records.approval(id).await? {
        Some(approval) if approval.decision == Decision::Reject => Err(Error::Rejected {
            by: approval.by,
            reason: approval.reason,
        }),
        Some(approval) => Ok(Some(approval.by)),
        None if !blueprint.blast.needs_approval => Ok(None),
        None => Err(Error::Unapproved(Unapproved {
            blueprint: id.to_owned(),
            points: blueprint.blast.total,
            threshold: blueprint.blast.threshold,
            reasons: blueprint.blast.approval.clone(),
        })),
    }
}

/// Keeps a blueprint with the sources it was made from, so that it can be approved and carried out later.
///
/// # Errors
/// What kept it from being written down.
pub async fn keep(
    system: &System,
    blueprint: &Blueprint,
    records: &Records,
) -> Result<String, Error> {
    records.install().await?;
    let id = records.put_blueprint(blueprint).await?;
    let archive = sources(system).await?;
    records.put_sources(&id, archive).await?;
    Ok(id)
}

/// The sources of a system as an archive.
///
/// # Errors
/// [`Error::Snapshot`]: a file cannot be read, or there are too many.
pub async fn sources(system: &System) -> Result<Vec<u8>, Error> {
    let definition = system.definition.clone();
    let packed = tokio::task::spawn_blocking(move || snapshot::pack_score(&definition)).await;
    Ok(packed
        .unwrap_or_else(|ended| Err(snapshot::Error::Archive(std::io::Error::other(ended))))?)
}

/// Carries a blueprint out.
///
/// It is looked at once more first: whether policies and approvals permit it, and whether the world still is what it was
/// made from. The operation is then the next revision of its score; whoever comes second is refused. What happens to each
/// resource is written down as it happens, so that the operation can be [resumed](resume) by anybody after a crash.
///
/// # Errors
/// Why it was not begun; nothing was changed then. What goes wrong in the walk itself is in [`Done`].
pub async fn carry_out(
    system: &System,
    blueprint: &Blueprint,
    options: Options<'_>,
) -> Result<Done, Error> {
    let id = blueprint.id();
    let records = options.records;
    records.install().await?;
    let approved_by = permitted(blueprint, &id, records).await?;
    let lost = options.cancel.child_token();
    let lock = records
        .lock(&blueprint.score, &holder(&options.author), PATIENCE)
        .await?;
    let work = async {
        let parts = parts(system);
        end_cut_off(system, &parts, records, &blueprint.score).await?;
        let revision = records.revision(&blueprint.score).await?;
        match moved(blueprint, &parts, revision).await {
            Ok(None) => {}
            Ok(Some(stale)) => return Err(Error::Stale(Box::new(stale))),
            Err(problems) => return Err(Error::Problems(problems)),
        }
        let archive = sources(system).await?;
        records.put_blueprint(blueprint).await?;
        let changes = blueprint
            .changes
            .iter()
            .filter(|change| change.action != consort_plan::Action::NoOp)
            .count();
        let operation = Operation {
            score: blueprint.score.clone(),
            revision: revision + 1,
            blueprint: id.clone(),
            mode: blueprint.mode.clone(),
            author: options.author.clone(),
            cause: options.cause.clone(),
            approved_by,
            source: blueprint.source.clone(),
            started: Timestamp::now(),
            ended: None,
            phase: Phase::Running,
            total: u32::try_from(changes).unwrap_or(u32::MAX),
            done: 0,
            failed: 0,
            skipped: 0,
        };
        let recorder = records.begin(&operation).await?;
        records
            .put_snapshot(&blueprint.score, operation.revision, archive)
            .await?;
        let carried = carry(
            Carry {
                blueprint,
                parts: &parts,
                entries: &[],
                scratch: &scratch(system, &id),
                record: &recorder,
                watcher: options.watcher,
            },
            &walking(system, &lost),
        )
        .await;
        let operation = recorder.finish(&carried).await?;
        if operation.revision % PRUNED_EVERY == 0
            && let Err(error) = records.prune(&blueprint.score, HISTORY).await
        {
            tracing::warn!(score = blueprint.score, %error, "old operations were not let go of");
        }
        Ok(Done { operation, carried })
    };
    let done = lock.during(&lost, work).await?;
    tidy(system, &id, &done.carried);
    Ok(done)
}

/// Goes on with an operation where its record ends. The parts have to be those of the sources it was made of.
///
/// # Errors
/// Why it cannot be gone on with; nothing more was changed then.
pub async fn resume(
    system: &System,
    blueprint: &Blueprint,
    operation: &Operation,
    options: Options<'_>,
) -> Result<Done, Error> {
    let over = match operation.phase {
        Phase::Succeeded => Some("succeeded"),
        Phase::Running | Phase::Failed | Phase::Cancelled => None,
    };
    if let Some(phase) = over {
        return Err(Error::Over {
            score: operation.score.clone(),
            revision: operation.revision,
            phase,
        });
    }
    let id = blueprint.id();
    let records = options.records;
    let lost = options.cancel.child_token();
    let lock = records
        .lock(&operation.score, &holder(&options.author), PATIENCE)
        .await?;
    let work = async {
        let parts = parts(system);
        let (entries, recorder) = records.reopen(&operation.score, operation.revision).await?;
        let carried = carry(
            Carry {
                blueprint,
                parts: &parts,
                entries: &entries,
                scratch: &scratch(system, &id),
                record: &recorder,
                watcher: options.watcher,
            },
            &walking(system, &lost),
        )
        .await;
        let operation = recorder.finish(&carried).await?;
        Ok::<_, Error>(Done { operation, carried })
    };
    let done = lock.during(&lost, work).await?;
    tidy(system, &id, &done.carried);
    Ok(done)
}

/// Brings an operation to its end that was cut off: nothing more of it is done, but what it had done is in the states, and
/// the locks it held are given up. Whoever plans while carrying something out calls it before.
///
/// Gives the operation as it then stands; none if none was cut off, or somebody is still at it.
///
/// # Errors
/// What kept it from being read or written down.
pub async fn settle(
    system: &System,
    records: &Records,
    author: &str,
) -> Result<Option<Operation>, Error> {
    let score = &system.definition.name;
    let latest = records.latest(score).await?;
    if latest.is_none_or(|latest| latest.phase != Phase::Running) {
        return Ok(None);
    }
    let lost = CancellationToken::new();
    let lock = match records.lock(score, &holder(author), PATIENCE).await {
        Ok(lock) => lock,
        Err(LockError::Held(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let parts = parts(system);
    lock.during(&lost, end_cut_off(system, &parts, records, score))
        .await
}

/// As [`settle`], by whoever has the lock of the score: then an operation that is said to run has nobody who runs it.
async fn end_cut_off(
    system: &System,
    parts: &[&dyn Part],
    records: &Records,
    score: &str,
) -> Result<Option<Operation>, Error> {
    let Some(latest) = records.latest(score).await? else {
        return Ok(None);
    };
    if latest.phase != Phase::Running {
        return Ok(None);
    }
    let Some(blueprint) = records.blueprint(&latest.blueprint).await? else {
        return Ok(None);
    };
    let (entries, recorder) = records.reopen(score, latest.revision).await?;
    let nothing_more = CancellationToken::new();
    nothing_more.cancel();
    let carried = carry(
        Carry {
            blueprint: &blueprint,
            parts,
            entries: &entries,
            scratch: &scratch(system, &latest.blueprint),
            record: &recorder,
            watcher: &(),
        },
        &walking(system, &nothing_more),
    )
    .await;
    Ok(Some(recorder.finish(&carried).await?))
}

fn parts(system: &System) -> Vec<&dyn Part> {
    system
        .parts
        .iter()
        .map(|opened| opened.part.as_ref())
        .collect()
}

fn walking(system: &System, cancel: &CancellationToken) -> CarryOptions {
    let steps = system.definition.steps;
    CarryOptions {
        parallelism: steps.parallelism,
        deadline: Some(steps.timeout),
        retry: Retry {
            retries: steps.retries,
            ..Retry::default()
        },
        cancel: cancel.clone(),
    }
}

/// Tells people who is at it, and differs between processes of the same person.
fn holder(author: &str) -> String {
    format!("{author} (process {})", std::process::id())
}

fn scratch(system: &System, id: &str) -> PathBuf {
    system.scratch.join(id)
}

/// What steps left for a resumed walk is of no use once all of them are done.
fn tidy(system: &System, id: &str, carried: &Carried) {
    if carried.phase == Phase::Succeeded {
        let dir = scratch(system, id);
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "removing what a walk left");
        }
    }
}
