//! Policies in Rego that every write is held against: read from their ConfigMaps, compiled when those change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use consort_api::{Asked, Review, Reviewer};
use consort_policy::admission::{self, Answer, LABEL, NAMESPACE, Policies, Policy};
use consort_reconcile::{Hub, Informer};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Holds writes against the policies in force. A cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Rules(Arc<ArcSwap<Policies>>);

impl Rules {
    /// Reads the policies once, so that they are in force when the first request comes.
    pub(crate) async fn load(&self, client: kube::Client) -> Result<(), kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let (key, value) = LABEL;
        let list = maps
            .list(&ListParams::default().labels(&format!("{key}={value}")))
            .await?;
        self.compile(list.items.iter());
        Ok(())
    }

    /// Follows the ConfigMaps until told to stop.
    pub(crate) async fn follow(self, hub: Hub, token: CancellationToken) {
        let (key, value) = LABEL;
        let informer: Informer<ConfigMap> =
            hub.informer_where(Some(&format!("{key}={value}")), None);
        let mut changes = informer.subscribe();
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                change = changes.next() => match change {
                    None => return,
                    Some(_) if !informer.is_synced() => {}
                    Some(_) => {
                        let all = informer.list_in(NAMESPACE);
                        let this = self.clone();
                        // Compiling is work for a processor, not for the reactor.
                        let done = tokio::task::spawn_blocking(move || {
                            this.compile(all.iter().map(AsRef::as_ref));
                        });
                        if done.await.is_err() {
                            tracing::error!("compiling the policies failed");
                        }
                    }
                },
            }
        }
    }

    fn compile<'a>(&self, maps: impl Iterator<Item = &'a ConfigMap>) {
        let mut policies = Vec::new();
        for map in maps {
            let name = map.name_any();
            let value = serde_json::to_value(map).unwrap_or_default();
            match Policy::of_config_map(&value) {
                Ok(policy) => policies.push(policy),
                // Refused when it is written, so it can only come from elsewhere.
                Err(why) => tracing::error!(policy = name, why, "a policy is not used"),
            }
        }
        let policies = Policies::new(policies);
        for (policy, error) in policies.faults() {
            tracing::error!(policy, %error, "a policy cannot be compiled");
        }
        self.0.store(Arc::new(policies));
    }
}

/// Whether this is a write to the ConfigMaps that hold policies.
fn of_policies(asked: &Asked<'_>) -> bool {
    asked.group.is_empty()
        && asked.resource == "configmaps"
        && asked.namespace == Some(NAMESPACE)
        && asked.subresource.is_empty()
        && matches!(asked.operation, "CREATE" | "UPDATE")
}

impl Reviewer for Rules {
    fn wants(&self, asked: &Asked<'_>) -> bool {
        of_policies(asked)
            || self.0.load().wants(
                asked.operation,
                asked.group,
                asked.resource,
                asked.subresource,
                asked.namespace,
            )
    }

    fn review(&self, request: Value) -> BoxFuture<'_, Review> {
        let policies = self.0.load_full();
        let map = request["resource"]["resource"] == "configmaps"
            && request["namespace"] == NAMESPACE
            && request["object"]["metadata"]["labels"][LABEL.0] == LABEL.1;
        if map {
            return tokio::task::spawn_blocking(move || Review {
                denied: admission::fault(&request["object"])
                    .map(|why| format!("it is no policy that could be used: {why}")),
                warnings: Vec::new(),
            })
            .map(|done| done.unwrap_or_else(|_| failed()))
            .boxed();
        }
        if policies.is_slow() {
            return tokio::task::spawn_blocking(move || review(&policies, request))
                .map(|done| done.unwrap_or_else(|_| failed()))
                .boxed();
        }
        std::future::ready(review(&policies, request)).boxed()
    }
}

fn review(policies: &Policies, request: Value) -> Review {
    let Answer { denied, warnings } = policies.review(request);
    Review { denied, warnings }
}

fn failed() -> Review {
    Review {
        denied: Some("the policies could not be evaluated".to_owned()),
        warnings: Vec::new(),
    }
}
