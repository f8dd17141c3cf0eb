//! `consort node`: this machine as a node of a cluster whose server is elsewhere.

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{NodeArgs, ServerOptions};
use crate::error::{Failure, Kind, Result, chain};
use crate::server::{RemoteNode, join};
use crate::settings::Configuration;

/// Runs the node until it is told to stop.
pub(super) async fn run(configuration: &Configuration, args: NodeArgs) -> Result<()> {
    let member = join::membership(&args.membership)?;
    let mut settings = configuration.server(&ServerOptions {
        data_dir: args.data_dir,
        node_name: Some(member.name.clone()),
        pod_cidr: Some(member.cluster_cidr),
        service_cidr: Some(member.service_cidr),
        cluster_domain: Some(member.cluster_domain.clone()),
        ..ServerOptions::default()
    })?;
    settings.pod_cidr = member.pod_cidr;
    let failed = |error: &dyn std::error::Error| {
        Failure::new(
            Kind::Input,
            format!("using {}: {}", args.membership.display(), chain(error)),
        )
    };
    let kubeconfig = Kubeconfig::from_yaml(&member.kubeconfig).map_err(|error| failed(&error))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(&error))?;
    let client = kube::Client::try_from(config).map_err(|error| failed(&error))?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut node = RemoteNode::start(&settings, client).await?;
    let failure = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        failure = node.failed() => Some(failure),
    };
    tracing::info!("stopping");
    tokio::select! {
        () = node.stop() => {}
        // A second signal ends the process at once.
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    }
    failure.map_or(Ok(()), Err)
}
