//! Publishes the cluster's DNS as the service users know: `kube-system/kube-dns`.

use std::sync::Arc;

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

/// Makes the service if there is none, and brings its endpoint up to date where this node's is the one that is told of.
/// A service that is there is left as it is: somebody may run a DNS of their own behind it. Gives the service.
pub(super) async fn publish(
    client: &kube::Client,
    dns: ClusterDns,
) -> Result<Service, kube::Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let service = match services.get_opt(NAME).await? {
        Some(service) => service,
        None => match services
            .create(&PostParams::default(), &service(dns)?)
            .await
        {
            Err(error) if is_conflict(&error) => services.get(NAME).await?,
            created => created?,
        },
    };
    if selects(&service) {
        return Ok(service);
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    let wanted = slice(dns)?;
    match slices.get_opt(SLICE).await? {
        None => match slices.create(&PostParams::default(), &wanted).await {
            Err(error) if !is_conflict(&error) => return Err(error),
            _ => {}
        },
        // Several nodes that each wrote their own would never come to an end.
        Some(present)
            if !dns.published
                || present.endpoints == wanted.endpoints && present.ports == wanted.ports => {}
        Some(present) => {
            let present = EndpointSlice {
                endpoints: wanted.endpoints,
                ports: wanted.ports,
                ..present
            };
            slices
                .replace(SLICE, &PostParams::default(), &present)
                .await?;
        }
    }
    Ok(service)
}

/// What this node's pods are led to: the resolver of this node in place of the one that is told of.
pub(super) fn nearest(
    service: &Service,
    dns: ClusterDns,
    mut slices: Vec<Arc<EndpointSlice>>,
) -> Vec<Arc<EndpointSlice>> {
    if !selects(service)
        && let Ok(own) = slice(dns)
    {
        slices.retain(|slice| slice.metadata.name.as_deref() != Some(SLICE));
        slices.push(Arc::new(own));
    }
    slices
}

fn selects(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .is_some_and(|selector| !selector.is_empty())
}

/// Somebody else was faster: what they made is as good.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(ip: &str, published: bool) -> ClusterDns {
        ClusterDns {
            cluster_ip: "10.96.0.10".parse().unwrap(),
            listen_ip: ip.parse().unwrap(),
            listen_port: 53,
            published,
        }
    }

    #[test]
    fn a_node_leads_its_pods_to_its_own_resolver_unless_somebody_runs_another() {
        let published = Arc::new(slice(dns("10.244.0.1", true)).unwrap());
        let own = dns("10.244.1.1", false);
        let address = |slices: Vec<Arc<EndpointSlice>>| -> Vec<String> {
            let endpoints = slices
                .iter()
                .flat_map(|slice| slice.endpoints.iter().flatten());
            endpoints
                .flat_map(|endpoint| endpoint.addresses.clone())
                .collect()
        };
        let ours = service(own).unwrap();
        let led = nearest(&ours, own, vec![published.clone()]);
        assert_eq!(address(led), ["10.244.1.1"]);
        assert_eq!(address(nearest(&ours, own, Vec::new())), ["10.244.1.1"]);
        let mut theirs = ours;
        let selector = [("k8s-app".to_owned(), "kube-dns".to_owned())];
        theirs.spec.as_mut().unwrap().selector = Some(selector.into());
        let led = nearest(&theirs, own, vec![published]);
        assert_eq!(address(led), ["10.244.0.1"]);
    }
}
