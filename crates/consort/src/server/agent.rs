//! This machine as a node: the agent, its images, its network, cluster DNS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use consort_api::NodeConnector;
use consort_image::Images;
use consort_net::dns::Dns;
use consort_net::{Network, dns};
use consort_node::services::{self, ClusterDns, Services};
use consort_node::streaming::Streaming;
use consort_node::{Node, OnShutdown};
use consort_reconcile::Hub;
use consort_runtime::Runtime;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::nodes::Local;
use super::{GRACE, Layer, OnStop, failed, next, playbooks, runtime_dir};
use crate::error::{Result, chain};
use crate::settings::Server as Settings;

/// A run of a playbook that is told to end takes ten seconds at most.
const RUN_GRACE: Duration = Duration::from_secs(15);

/// The node bounds the pods' graces by itself; this is more.
const PODS_GRACE: Duration = Duration::from_secs(100);

/// How long clients may remember a cluster name's address.
const DNS_TTL: Duration = Duration::from_secs(5);

/// The running node.
pub(super) struct Agent {
    /// What keeps the machine itself as playbooks say; it ends first of all.
    keeping: Layer,
    /// The pods' part; it ends next.
    pods: Layer,
    /// What pods rely on while they end: services, DNS, images.
    support: Layer,
    streaming: Streaming,
    sessions: CancellationToken,
    /// The informers of the node.
    hub: Hub,
    watching: CancellationToken,
    network: Network,
    runtime: Runtime,
    node: consort_node::Agent,
    on_stop: OnStop,
}

/// Where a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// In the server's process.
    Server,
    /// On a machine that joined.
    Machine,
}

/// Starts the node on a network that is up. `client` speaks to the API as the node.
pub(super) async fn start(
    settings: &Settings,
    client: kube::Client,
    network: Network,
    gateway: Ipv4Addr,
    on: On,
    on_stop: OnStop,
) -> Result<Agent> {
    let instance = crate::identity::instance(&settings.data_dir);
    let runtime = Runtime::new(consort_runtime::Options {
        root: runtime_dir(&settings.data_dir),
        shim_exe: std::env::current_exe()?,
        cgroup_parent: format!("consort-{instance}"),
    })
    .map_err(|e| failed("starting the container runtime", &e))?;
    let options = crate::images::options(&settings.data_dir, settings.registries.clone());
    let images = tokio::task::spawn_blocking(move || Images::open(options))
        .await
        .map_err(anyhow::Error::from)?
        .map_err(|e| failed("opening the image store", &e))?;

    let mut support = Layer::new("services");
    let dns = bind_dns(settings, gateway).await?;
    let records = dns.records();
    let cluster_dns = dns.addrs().first().map(|address| ClusterDns {
        cluster_ip: settings.dns_service_ip(),
        listen_ip: gateway,
        listen_port: address.port(),
        published: on == On::Server,
    });
    let token = support.token.clone();
    support.tasks.spawn(async move {
        if let Err(error) = dns.run(token).await {
            tracing::error!(error = chain(&error), "cluster DNS ended");
        }
    });
    let listener = crate::images::listen(&settings.data_dir)?;
    support.tasks.spawn(crate::images::serve(
        listener,
        images.clone(),
        support.token.clone(),
    ));

    let watching = CancellationToken::new();
    let hub = Hub::new(client, watching.clone());
    let services = Services::new(
        &hub,
        network.balancer(),
        records,
        services::Options {
            dns: cluster_dns,
            ..services::Options::default()
        },
    );
    let known = services.known();
    let token = support.token.clone();
    support
        .tasks
        .spawn(async move { services.run(token).await });

    let node = Node::new(consort_node::Options {
        pod_cidr: Some(settings.pod_cidr),
        dns: cluster_dns.map(|dns| IpAddr::V4(dns.cluster_ip)),
        services: Some(known),
        cluster_domain: settings.cluster_domain.clone(),
        ..consort_node::Options::new(
            settings.node_name.clone(),
            settings.data_dir.join("node"),
            hub.clone(),
            runtime.clone(),
            images,
            network.clone(),
        )
    });
    let mut keeping = Layer::new("playbooks");
    playbooks::pull(&mut keeping, &hub, &settings.node_name, &settings.data_dir)?;
    let sessions = CancellationToken::new();
    let view = node.agent();
    let streaming = Streaming::new(view.clone(), sessions.clone());
    let mut pods = Layer::new("node");
    let on_shutdown = match on_stop {
        OnStop::Leave => OnShutdown::Leave,
        OnStop::StopPods => OnShutdown::StopPods,
    };
    let token = pods.token.clone();
    pods.tasks.spawn(async move {
        if let Err(error) = node.run(token, on_shutdown).await {
            tracing::error!(error = chain(&error), "the node ended");
        }
    });
    Ok(Agent {
        keeping,
        pods,
        support,
        streaming,
        sessions,
        hub,
        watching,
        network,
        runtime,
        node: view,
        on_stop,
    })
}

/// Binds DNS to the pods' gateway, on the usual port if it is free: pods reach it through the
/// service whatever the port is.
async fn bind_dns(settings: &Settings, gateway: Ipv4Addr) -> Result<Dns> {
    let mut last = None;
    for port in [53, 0] {
        let options = dns::Options {
            addrs: vec![SocketAddr::from((gateway, port))],
            domain: settings.cluster_domain.clone(),
            upstream: None,
            ttl: DNS_TTL,
        };
        match Dns::bind(options).await {
            Ok(dns) => return Ok(dns),
            Err(error) => last = Some(failed("starting cluster DNS", &error)),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no port for cluster DNS").into()))
}

impl Agent {
    /// The way of an API in the same process to it.
    pub(super) fn connector(&self) -> Arc<dyn NodeConnector> {
        let local = Local {
            name: self.node.node_name().to_owned(),
            streaming: self.streaming.clone(),
        };
        local.shared()
    }

    /// Waits until a part ends that should run for ever.
    pub(super) async fn ended(&mut self) -> (&'static str, std::result::Result<(), JoinError>) {
        tokio::select! {
            ended = next(&mut self.keeping) => ended,
            ended = next(&mut self.pods) => ended,
            ended = next(&mut self.support) => ended,
        }
    }

    /// Waits until the API knows how the pods of an earlier run were found.
    pub(super) async fn settled(&self) {
        self.node.settled().await;
    }

    /// Stops the node; with [`OnStop::StopPods`] nothing of it is left on the host.
    pub(super) async fn stop(mut self) {
        self.keeping.stop(RUN_GRACE).await;
        self.pods.stop(PODS_GRACE).await;
        self.sessions.cancel();
        if tokio::time::timeout(GRACE, self.streaming.closed())
            .await
            .is_err()
        {
            tracing::warn!("sessions into pods did not end in time");
        }
        self.support.stop(GRACE).await;
        self.watching.cancel();
        if tokio::time::timeout(GRACE, self.hub.closed())
            .await
            .is_err()
        {
            tracing::warn!("the node's watches did not end in time");
        }
        if self.on_stop == OnStop::StopPods {
            if let Err(error) = self.network.down().await {
                tracing::error!(error = chain(&error), "removing the pod network");
            }
            if let Err(error) = self.runtime.close() {
                tracing::error!(error = chain(&error), "removing the control groups");
            }
        }
    }
}
