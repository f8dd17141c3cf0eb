//! The node: what it consists of, and how it starts and ends.

use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Service;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, Views};
use crate::machine::{self, Machine};
use crate::options::{OnShutdown, Options};
use crate::pod::files::{Naming, Resolver};
use crate::pods::Pods;
use crate::shared::{Handle, Ledger, Shared};
use crate::{gc, lease, register};

/// A node that has not been started yet: it holds no task and has written nothing.
pub struct Node {
    shared: Handle,
}

/// Why a node could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("making {path}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What an earlier run has left cannot be read.
    #[error("taking over the pods of an earlier run")]
    Adopt(#[source] consort_runtime::Error),
}

impl Node {
    /// Reads what the machine is; starts nothing.
    pub fn new(options: Options) -> Self {
        let machine = Machine::read(&options.data_dir);
        let host_ips: Vec<String> = if options.addresses.is_empty() {
            vec![machine::primary_address().to_string()]
        } else {
            options.addresses.iter().map(ToString::to_string).collect()
        };
        let naming = Naming {
            node: machine.hostname.clone(),
            cluster_domain: options.cluster_domain.clone(),
            dns: options.dns,
        };
        let recorder = options.hub.recorder("kubelet").on_host(&options.name);
        let shared = Shared {
            client: options.hub.client(),
            hub: options.hub.clone(),
            runtime: options.runtime.clone(),
            images: options.images.clone(),
            network: options.network.clone(),
            recorder,
            services: options.hub.informer::<Service>(),
            allocatable: register::allocatable(&options, &machine),
            machine,
            host_ips,
            naming,
            resolver: Resolver::parse(
                &std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            ),
            node: ArcSwap::from_pointee(register::unregistered(&options)),
            ledger: parking_lot::Mutex::new(Ledger::default()),
            views: Views::default(),
            found: TaskTracker::new(),
            options,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A handle for those who look into the node's pods.
    pub fn agent(&self) -> Agent {
        Agent::new(self.shared.clone())
    }

    /// Registers the node and runs its pods until `shutdown`.
    ///
    /// # Errors
    /// When the node cannot start. What happens later to single pods is told on the pods.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        on_shutdown: OnShutdown,
    ) -> Result<(), Error> {
        let shared = self.shared;
        let path = shared.pods_dir();
        std::fs::create_dir_all(&path).map_err(|source| Error::Directory { path, source })?;
        // The agent's own parts live a little longer than its pods.
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(register::run(shared.clone(), stop.clone()));
        tasks.spawn(lease::run(shared.clone(), stop.clone()));
        tasks.spawn(gc::run(shared.clone(), stop.clone()));
        let pods = Pods::open(shared.clone()).await.map_err(Error::Adopt)?;
        pods.run(shutdown, on_shutdown).await;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}
