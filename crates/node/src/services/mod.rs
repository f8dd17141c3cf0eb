//! Services on this node: what the API says becomes load balancing and names.
//!
//! Services and EndpointSlices come from the shared informers; each change leads to the service it
//! is about, which is then built anew from what is present ([`plan`]) and handed to the balancer and
//! to DNS. Both write only what differs, so the cost is that of one service.

mod dns;
mod plan;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use consort_net::dns::ServiceRecord;
use consort_net::{Balancer, Frontend, Records, ServiceKey, balancer};
use consort_reconcile::{Action, Backoff, Controller, Event, Hub, Informer, Key};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The label that names the service a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The index by that label.
const BY_SERVICE: &str = "service";
/// Services reconciled at a time. The balancer takes one change after the other anyway.
const WORKERS: usize = 2;

/// What [`Services`] is made from, beside its handles.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's DNS, to be published as the service `kube-system/kube-dns`.
    pub dns: Option<ClusterDns>,
    /// How often the nftables table is checked for changes by others.
    pub verify_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dns: None,
            verify_every: Duration::from_secs(10),
        }
    }
}

/// Where the cluster's DNS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterDns {
    /// The address pods are told, usually the tenth of the service network.
    pub cluster_ip: Ipv4Addr,
    /// The address it listens on.
    pub listen_ip: Ipv4Addr,
    /// The port it listens on, by UDP and TCP.
    pub listen_port: u16,
    /// Whether it is the one that the API tells of. Each node leads its own pods to its own.
    pub published: bool,
}

/// Why a service could not be brought up to date; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("programming the balancer")]
    Balancer(#[from] balancer::Error),
    #[error("publishing the cluster's DNS as a service")]
    Publish(#[from] kube::Error),
}

/// Keeps balancer and DNS in step with the API.
#[derive(Clone)]
pub struct Services {
    client: kube::Client,
    present: Informer<Service>,
    slices: Informer<EndpointSlice>,
    balancer: Balancer,
    records: Records,
    options: Options,
    known: Arc<watch::Sender<bool>>,
}

impl Services {
    /// Starts watching through `hub`; nothing is changed before [`Services::run`].
    pub fn new(hub: &Hub, balancer: Balancer, records: Records, options: Options) -> Self {
        let slices = hub.informer::<EndpointSlice>();
        slices.add_index(BY_SERVICE, |slice| {
            service_of(slice)
                .map(|key| key.to_string())
                .into_iter()
                .collect()
        });
        Self {
            client: hub.client(),
            present: hub.informer(),
            slices,
            balancer,
            records,
            options,
            known: Arc::default(),
        }
    }

    /// Becomes true once all services that were there at the start are programmed.
    pub fn known(&self) -> watch::Receiver<bool> {
        self.known.subscribe()
    }

    /// Works until `shutdown`. What was programmed stays, so that services go on answering.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.start() => {}
            () = shutdown.cancelled() => return,
        }
        self.known.send_replace(true);
        let controller = Controller::new("services")
            .queue_on(&self.present, Event::key)
            .queue_on(&self.slices, |event| {
                event
                    .objects()
                    .filter_map(|slice| service_of(slice))
                    .collect::<Vec<_>>()
            });
        if self.options.dns.is_some() {
            controller.queue().add(dns::key());
        }
        let worker = self.clone();
        let reconcile = move |key: Key| {
            let worker = worker.clone();
            async move { worker.reconcile(&key).await }
        };
        tokio::join!(
            controller.run(WORKERS, reconcile, shutdown.clone()),
            self.verify(shutdown)
        );
    }

    /// Hands over all services at once, so that those of an earlier run that are gone are removed and
    /// all others never stop.
    async fn start(&self) {
        self.present.synced().await;
        self.slices.synced().await;
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for failures in 1.. {
            let mut frontends = Vec::new();
            let mut records = BTreeMap::new();
            for service in self.present().await {
                let key = Key::of(&*service);
                let (front, record) = self.plan(&service, &key);
                if !front.is_empty() {
                    frontends.push((service_key(&key), front));
                }
                if let Some(record) = record {
                    records.insert((key.namespace().to_owned(), key.name.clone()), record);
                }
            }
            self.records.sync(records);
            match self.balancer.sync(frontends).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "programming the balancer"
                ),
            }
            tokio::time::sleep(backoff.delay(failures)).await;
        }
    }

    /// All services; the cluster's DNS too, although it may not have been seen yet.
    async fn present(&self) -> Vec<Arc<Service>> {
        let mut present = self.present.list();
        if let Some(dns) = self.options.dns {
            match dns::publish(&self.client, dns).await {
                Ok(service) if self.present.by_key(&dns::key()).is_none() => {
                    present.push(Arc::new(service));
                }
                Ok(_) => {}
                // It is tried again as soon as all others are programmed.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "publishing the cluster's DNS as a service"
                ),
            }
        }
        present
    }

    fn plan(&self, service: &Service, key: &Key) -> (Vec<Frontend>, Option<ServiceRecord>) {
        let mut slices = self.slices.by_index(BY_SERVICE, &key.to_string());
        if let Some(dns) = self.options.dns.filter(|_| *key == dns::key()) {
            slices = dns::nearest(service, dns, slices);
        }
        (
            plan::frontends(service, &slices),
            plan::record(service, &slices),
        )
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        if let Some(dns) = self.options.dns.filter(|_| *key == dns::key()) {
            dns::publish(&self.client, dns).await?;
        }
        let (namespace, name) = (key.namespace(), key.name.as_str());
        let Some(service) = self.present.by_key(key) else {
            self.records.remove_service(namespace, name);
            self.balancer.remove(service_key(key)).await?;
            return Ok(Action::Done);
        };
        let (frontends, record) = self.plan(&service, key);
        match record {
            Some(record) => self.records.set_service(namespace, name, record),
            None => self.records.remove_service(namespace, name),
        }
        self.balancer.set(service_key(key), frontends).await?;
        Ok(Action::Done)
    }

    /// Repairs what others do to the table.
    async fn verify(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.options.verify_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            match self.balancer.verify().await {
                Ok(0) => {}
                Ok(repaired) => tracing::warn!(
                    repaired,
                    "somebody changed the services' nftables table; repaired"
                ),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "checking nftables"
                ),
            }
        }
    }
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key::namespaced(
        slice.metadata.namespace.clone()?,
        name.clone(),
    ))
}

fn service_key(key: &Key) -> ServiceKey {
    ServiceKey(key.to_string())
}
