//! The two kinds that ask for a number of equal pods; all but their wire forms is the same.

use crate::{error::Error, selectors::Labels};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{
            PodTemplateSpec, ReplicationController, ReplicationControllerCondition,
            ReplicationControllerStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// A set of equal pods.
pub(crate) trait Set:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
    /// Its status on the wire.
    type Status: Serialize + PartialEq + Send + Sync;
    /// What its queue is called.
    const QUEUE: &'static str;
    /// Who is said to have reported its events.
    const RECORDER: &'static str;

    fn replicas(&self) -> Option<i32>;
    fn min_ready_seconds(&self) -> Option<i32>;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn labels(&self) -> Result<Labels, Error>;
    fn status(&self) -> Option<&Self::Status>;
    fn conditions(&self) -> Option<Vec<ReplicaSetCondition>>;
    /// The status in this kind's form.
    fn told(status: ReplicaSetStatus) -> Self::Status;
}

impl Set for ReplicaSet {
    type Status = ReplicaSetStatus;
    const QUEUE: &'static str = "replica-set";
    const RECORDER: &'static str = "replicaset-controller";

    fn replicas(&self) -> Option<i32> {
        self.spec.replicas
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.min_ready_seconds
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }

    fn labels(&self) -> Result<Labels, Error> {
        Labels::parse(&self.spec.selector, self)
    }

    fn status(&self) -> Option<&ReplicaSetStatus> {
        self.status.as_ref()
    }

    fn conditions(&self) -> Option<Vec<ReplicaSetCondition>> {
        self.status.as_ref()?.conditions.clone()
    }

    fn told(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }
}

impl Set for ReplicationController {
    type Status = ReplicationControllerStatus;
    const QUEUE: &'static str = "replication-controller";
    const RECORDER: &'static str = "replication-controller";

    fn replicas(&self) -> Option<i32> {
        self.spec.as_ref()?.replicas
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.as_ref()?.min_ready_seconds
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn labels(&self) -> Result<Labels, Error> {
        let match_labels = self.spec.as_ref().and_then(|spec| spec.selector.clone());
        let selector = LabelSelector {
            match_labels,
            match_expressions: None,
        };
        Labels::parse(&selector, self)
    }

    fn status(&self) -> Option<&ReplicationControllerStatus> {
        self.status.as_ref()
    }

    fn conditions(&self) -> Option<Vec<ReplicaSetCondition>> {
        let conditions = self.status.as_ref()?.conditions.clone()?;
        let conditions = conditions.into_iter().map(|own| ReplicaSetCondition {
            last_transition_time: own.last_transition_time,
            message: own.message,
            reason: own.reason,
            status: Some(own.status),
            type_: Some(own.type_),
        });
        Some(conditions.collect())
    }

    fn told(status: ReplicaSetStatus) -> ReplicationControllerStatus {
        let conditions = status.conditions.map(|all| {
            let own = all.into_iter().map(|one| ReplicationControllerCondition {
                last_transition_time: one.last_transition_time,
                message: one.message,
                reason: one.reason,
                status: one.status.unwrap_or_default(),
                type_: one.type_.unwrap_or_default(),
            });
            own.collect()
        });
        ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions,
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        }
    }
}
