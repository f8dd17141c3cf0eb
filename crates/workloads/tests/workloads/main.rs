//! The reconcilers against the real API, in process, with a stand-in for scheduler and kubelet.

mod cluster;
mod jobs;
mod lifecycles;
mod rollouts;
