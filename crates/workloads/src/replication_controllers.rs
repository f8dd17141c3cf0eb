//! Keeps as many pods as a ReplicationController asks for, as for a ReplicaSet.

use crate::{options::Options, replica_sets};
use consort_reconcile::Hub;
use k8s_openapi::api::core::v1::ReplicationController;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    replica_sets::keep::<ReplicationController>(hub, options, shutdown).await;
}
