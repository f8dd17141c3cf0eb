//! What following a score asks of planning, carrying out, and the records.

use std::collections::BTreeSet;
use std::path::PathBuf;

use consort_plan::{Blueprint, Call, Mode, Operation, Problem, Source};
use tokio_util::sync::CancellationToken;

/// The score in question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id {
    /// The namespace of its object and its records.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a score is read from.
#[derive(Clone, Debug)]
pub enum Files {
    /// A directory.
    Directory(PathBuf),
    /// What was recorded of a revision.
    Snapshot(u64),
}

/// What is to be planned.
#[derive(Clone, Debug)]
pub struct Want {
    /// The score.
    pub score: Id,
    /// Its files.
    pub files: Files,
    /// Where they are from, for the record.
    pub source: Source,
    /// What for.
    pub mode: Mode,
    /// The parts, if not all.
    pub only: Option<BTreeSet<String>>,
    /// Whether what left the source goes, if the score's object says so.
    pub prune: Option<bool>,
    /// Ends the work early.
    pub cancel: CancellationToken,
}

/// A plan that was made, with what its engine keeps to carry it out.
pub struct Made {
    /// The plan.
    pub blueprint: Blueprint,
    /// Its id.
    pub id: String,
    /// What the engine keeps.
    pub kept: Box<dyn std::any::Any + Send + Sync>,
}

/// How the records of a score stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The last operation.
    pub latest: Option<Operation>,
    /// Whether somebody walks now.
    pub walked: bool,
}

/// What somebody said to a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// It may be carried out; by whom that was said.
    Approved(String),
    /// It may not; by whom that was said, and why.
    Rejected(String),
}

/// How carrying out ended.
#[derive(Debug)]
pub struct Ended {
    /// The operation as it stands in the history.
    pub operation: Operation,
    /// What went wrong.
    pub problems: Vec<Problem>,
}

/// Why something could not be planned or carried out.
#[derive(Debug)]
pub enum Fault {
    /// Something is wrong with the score, or went wrong in it.
    Problems(Vec<Problem>),
    /// What was planned no longer fits the world; what has moved.
    Stale(String),
    /// Somebody else walks.
    Busy,
    /// The records could not be read or written.
    Records(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Problems(problems) => {
                let Some(first) = problems.first() else {
                    return f.write_str("it failed");
                };
                if let Some(location) = &first.location {
                    write!(f, "{location}: ")?;
                } else if let Some(address) = &first.address {
                    write!(f, "{address}: ")?;
                } else if !first.part.is_empty() {
                    write!(f, "{}: ", first.part)?;
                }
                f.write_str(&first.summary)?;
                if let Some(line) = first.detail.lines().find(|line| !line.trim().is_empty()) {
                    write!(f, ": {}", line.trim())?;
                }
                match problems.len() {
                    1 => Ok(()),
                    more => write!(f, " (and {} more)", more - 1),
                }
            }
            Fault::Stale(moved) => write!(f, "the world moved meanwhile: {moved}"),
            Fault::Busy => f.write_str("another operation on this score is under way"),
            Fault::Records(why) => f.write_str(why),
        }
    }
}

/// Plans scores, carries plans out, and knows what was done.
pub trait Engine: Send + Sync {
    /// Under which name its operations are recorded.
    fn author(&self) -> &str;

    /// How a score stands.
    fn standing<'a>(&'a self, score: &'a Id) -> Call<'a, Result<Standing, Fault>>;

    /// Plans; changes nothing.
    fn plan(&self, want: Want) -> Call<'_, Result<Made, Fault>>;

    /// Puts a plan where people see it and may approve it, and where [`Engine::carry_out_stored`] finds it.
    fn store<'a>(&'a self, score: &'a Id, made: &'a Made) -> Call<'a, Result<(), Fault>>;

    /// What was said to a stored blueprint.
    fn said<'a>(&'a self, score: &'a Id, blueprint: &'a str) -> Call<'a, Result<Said, Fault>>;

    /// Carries a plan out.
    fn carry_out<'a>(
        &'a self,
        score: &'a Id,
        made: Made,
        cause: Option<String>,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>>;

    /// Carries a stored blueprint out that somebody has approved.
    fn carry_out_stored<'a>(
        &'a self,
        score: &'a Id,
        blueprint: &'a str,
        cause: Option<String>,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>>;

    /// Goes on with an operation that was interrupted.
    fn resume<'a>(
        &'a self,
        score: &'a Id,
        revision: u64,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>>;
}
