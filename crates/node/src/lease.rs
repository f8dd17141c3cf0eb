//! The node's Lease in `kube-node-lease`: its sign of life.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::pod::chain;
use crate::shared::Handle;

const NAMESPACE: &str = "kube-node-lease";
/// How long a sign of life is good for.
const DURATION_SECONDS: i32 = 40;
/// How often it is given.
const EVERY: Duration = Duration::from_secs(10);
/// How soon after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease until `shutdown`.
pub(crate) async fn run(shared: Handle, shutdown: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(shared.client.clone(), NAMESPACE);
    loop {
        let wait = match renew(&shared, &api).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(error = chain(&error), "renewing the node's lease");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn renew(shared: &Handle, api: &Api<Lease>) -> Result<(), kube::Error> {
    let name = shared.options.name.as_str();
    let now = MicroTime(Timestamp::now());
    let patch = json!({"spec": {
        "holderIdentity": name,
        "leaseDurationSeconds": DURATION_SECONDS,
        "renewTime": now,
    }});
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => {
            let owner = shared
                .node
                .load()
                .metadata
                .uid
                .clone()
                .map(|uid| OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Node".to_owned(),
                    name: name.to_owned(),
                    uid,
                    ..OwnerReference::default()
                });
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    namespace: Some(NAMESPACE.to_owned()),
                    owner_references: owner.map(|o| vec![o]),
                    ..ObjectMeta::default()
                },
                spec: Some(LeaseSpec {
                    holder_identity: Some(name.to_owned()),
                    lease_duration_seconds: Some(DURATION_SECONDS),
                    acquire_time: Some(now.clone()),
                    renew_time: Some(now),
                    ..LeaseSpec::default()
                }),
            };
            api.create(&PostParams::default(), &lease).await.map(drop)
        }
        Err(error) => Err(error),
    }
}
