//! What was done: one walk of a blueprint, as it is recorded.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::blueprint::{Mode, Source};
use crate::change::Action;
use crate::part::Problem;

/// How an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum Phase {
    /// It is under way, or whoever carried it out is gone.
    Running,
    /// Every step is done.
    Succeeded,
    /// Some step failed.
    Failed,
    /// It was ended early.
    Cancelled,
}

/// One walk of a blueprint: the entry of the history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The score.
    pub score: String,
    /// The revision it makes of the score; counts from one.
    pub revision: u64,
    /// The blueprint's id.
    pub blueprint: String,
    /// What it was for.
    pub mode: Mode,
    /// Who carried it out.
    pub author: String,
    /// Why it came to be, where nobody asked: `drift of app/apps/v1/Deployment/shop/web`, `commit 1f3a...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Who approved it, if that was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// What was applied.
    pub source: Source,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub phase: Phase,
    /// How many resources it is to change.
    pub total: u32,
    /// How many are done, failed, skipped.
    pub done: u32,
    /// How many failed.
    pub failed: u32,
    /// How many were not tried because of a failure or the end of the operation.
    pub skipped: u32,
}

/// An entry of an operation's record, in the order things happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// Which resource.
    pub address: Address,
    /// What is done to it.
    pub action: Action,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened to a resource in an operation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// Work on it began; counts from one, more after retries.
    Began {
        /// Which attempt.
        attempt: u32,
    },
    /// It is done.
    Done,
    /// It failed.
    Failed {
        /// Why.
        problem: Problem,
    },
    /// It was not tried: this did not get done.
    Skipped {
        /// What kept it from being tried; none when the operation was ended early.
        because: Option<Address>,
    },
}
