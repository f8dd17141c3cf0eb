//! What upstream fills in when the user leaves it out, kind by kind.

mod autoscaler;
mod pod;
mod service;
mod volume;
mod workload;

pub(crate) use autoscaler::autoscaler;
pub(crate) use pod::{pod, pod_template, qos_class};
pub(crate) use service::service;
pub(crate) use volume::{persistent_volume, persistent_volume_claim};
pub(crate) use workload::{
    cron_job, daemon_set, deployment, job, replica_set, replication_controller, stateful_set,
};
