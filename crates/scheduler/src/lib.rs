//! Places pods on nodes.
//!
//! The [`Scheduler`] keeps a [`cluster::Cluster`]: what every node has, what the pods on it ask for
//! and which ports, labels and owners they bring, changed event by event. A pod that waits is turned
//! into a [`pod::Claim`] once; [`place::place`], a pure function of cluster and claim, gives the best
//! node or says why there is none. A placement is assumed at once and bound in the background, so the
//! next pod does not wait for the API.
//!
//! ```text
//! informers (pods, nodes) -> cluster, queue -> place -> assume -> bind (pods/binding)
//!                                                 '-> why not: condition PodScheduled, event
//! ```
//!
//! Rules and reasons follow upstream's default scheduler profile: resource fit, host ports, node
//! name, node selector and affinity, taints, topology spread, affinity between pods. Preemption is
//! not done.

pub mod cluster;
mod error;
pub mod place;
pub mod pod;
mod queue;
mod reasons;
mod resources;
mod scheduler;
mod selector;
mod topology;

pub use error::Error;
pub use reasons::{Reason, Unplaced};
pub use resources::Resources;
pub use scheduler::{Options, Scheduler};
