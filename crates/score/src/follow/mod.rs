//! Scores that are followed: kept as their repository says, and as they were last applied.

mod object;
mod poller;
pub mod webhook;

pub use object::{
    CommitStatus, DirectorySpec, Failure, GROUP, GitSpec, Interval, SYNC_REQUESTED,
    SYNC_REQUESTED_BY, Score, SourceSpec, Spec, Status, SyncMode, SyncSpec, Synced, VERSION,
};
