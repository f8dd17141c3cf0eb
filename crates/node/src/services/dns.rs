//! Publishes the cluster's DNS as the service users know: `kube-system/kube-dns`.

use consort_reconcile::Key;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::{ClusterDns, SERVICE_NAME};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-dns";
/// The slice of the resolver that runs in this process, beside those anyone else may add.
const SLICE: &str = "kube-dns-consort";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The service's key.
pub(super) fn key() -> Key {
    Key::namespaced(NAMESPACE, NAME)
}

/// Makes the service if there is none, and brings its endpoint up to date. A service that is there
/// is left as it is: somebody may run a DNS of their own behind it.
pub(super) async fn publish(client: &kube::Client, dns: ClusterDns) -> Result<(), kube::Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let service = match services.get_opt(NAME).await? {
        Some(service) => service,
        None => ignore_conflict(
            services
                .create(&PostParams::default(), &service(dns)?)
                .await,
        )?
        .unwrap_or_default(),
    };
    let selects = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .is_some_and(|s| !s.is_empty());
    if selects {
        return Ok(());
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    let wanted = slice(dns)?;
    match slices.get_opt(SLICE).await? {
        None => ignore_conflict(slices.create(&PostParams::default(), &wanted).await).map(|_| ()),
        Some(present) if present.endpoints == wanted.endpoints && present.ports == wanted.ports => {
            Ok(())
        }
        Some(present) => {
            let present = EndpointSlice {
                endpoints: wanted.endpoints,
                ports: wanted.ports,
                ..present
            };
            slices
                .replace(SLICE, &PostParams::default(), &present)
                .await
                .map(|_| ())
        }
    }
}

/// Somebody else was faster: what they made is as good.
fn ignore_conflict<T>(outcome: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn service(dns: ClusterDns) -> Result<Service, kube::Error> {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": dns.cluster_ip,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": dns.listen_port},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": dns.listen_port},
            ],
        },
    }))
    .map_err(kube::Error::SerdeError)
}

fn slice(dns: ClusterDns) -> Result<EndpointSlice, kube::Error> {
    serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SLICE,
            "namespace": NAMESPACE,
            "labels": {SERVICE_NAME: NAME, MANAGED_BY: "consort.dev"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [dns.listen_ip], "conditions": {"ready": true, "serving": true, "terminating": false}}],
        "ports": [
            {"name": "dns", "port": dns.listen_port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": dns.listen_port, "protocol": "TCP"},
        ],
    }))
    .map_err(kube::Error::SerdeError)
}
