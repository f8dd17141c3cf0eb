//! What upstream fills in when the user leaves it out, kind by kind.

mod pod;
mod service;
mod workload;

pub(crate) use pod::{pod, pod_template, qos_class};
pub(crate) use service::service;
pub(crate) use workload::{deployment, job, replica_set};
