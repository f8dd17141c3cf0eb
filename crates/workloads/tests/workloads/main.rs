//! The reconcilers against the real API, in process, with a stand-in for scheduler and kubelet.

#![allow(clippy::needless_pass_by_value)] // json! literals read best as arguments

mod cluster;
mod identity;
mod jobs;
mod lifecycles;
mod quotas;
mod rollouts;
mod sets;
