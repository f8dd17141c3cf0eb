//! A node without a server: the agent alone, for a cluster whose API is elsewhere.

use super::{OnStop, Settings, agent, first_host, lock, make_private_dir, open_network};
use crate::error::{Failure, Kind, Result, chain};

/// A node of another machine's cluster.
pub(crate) struct RemoteNode {
    agent: agent::Agent,
    _lock: lock::Lock,
}

impl RemoteNode {
    /// Starts the node. `client` speaks to the API as the node.
    pub(crate) async fn start(settings: &Settings, client: kube::Client) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure::new(
                Kind::Permission,
                "running pods needs root: network namespaces, mounts and control groups",
            ));
        }
        make_private_dir(&settings.data_dir)?;
        let lock = lock::Lock::take(&settings.data_dir)?;
        let network = open_network(settings).await?;
        network.up().await.map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("setting up the pod network: {}", chain(&error)),
            )
        })?;
        let gateway = first_host(settings.pod_cidr);
        let agent = agent::start(
            settings,
            client,
            network,
            gateway,
            agent::On::Machine,
            OnStop::StopPods,
        )
        .await?;
        Ok(Self { agent, _lock: lock })
    }

    /// Waits until a part ends that should run for ever, and says which.
    pub(crate) async fn failed(&mut self) -> Failure {
        let (name, ended) = self.agent.ended().await;
        let how = match ended {
            Ok(()) => "ended".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        Failure::new(Kind::Failed, format!("a part of the node ({name}) {how}"))
    }

    /// Stops the node and its pods.
    pub(crate) async fn stop(self) {
        self.agent.stop().await;
    }
}
