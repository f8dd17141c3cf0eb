//! What upstream fills in when the user leaves it out, kind by kind.

mod pod;
mod service;
mod workload;

pub use pod::{pod, pod_template, qos_class};
pub use service::service;
pub use workload::{deployment, job, replica_set};
