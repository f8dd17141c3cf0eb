//! Scores that are followed: kept as their repository says, and as they were last applied.
//!
//! ```text
//! repositories -> poller (one question per repository and interval) --.
//! webhooks -> poller                                                   |
//! objects with the label of a score -> watches -> dirt ---------------+-> queue -> look -> decide -> sync, heal, wait
//! scores, operations, approvals -> informers -------------------------'
//! ```
//!
//! A look reads the present: what the repository is at, the last operation, what may have drifted. `decide` is a pure
//! function over that. A score that nothing has happened to is not looked at: followed and left alone it costs its
//! share of one `ls-remote` per repository and interval.
//!
//! [`Engine`] is what a look asks of planning, carrying out and the records.

mod causes;
mod conditions;
mod controller;
mod decide;
mod engine;
mod hooks;
mod memory;
mod object;
mod run;
mod runner;
mod store;
mod watch;
pub mod webhook;

pub use crate::git::Interval;
pub use engine::{Ended, Engine, Fault, Files, Id, Made, Said, Standing, Want};
pub use hooks::Hooks;
pub use object::{
    CommitStatus, DirectorySpec, Failure, GROUP, GitSpec, SYNC_REQUESTED, SYNC_REQUESTED_BY, Score,
    SourceSpec, Spec, Status, SyncMode, SyncSpec, Synced, VERSION, WaitingStatus,
};
pub use run::{Follower, Options};
pub use runner::Runner;
