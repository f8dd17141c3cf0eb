//! `consort server`.

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServerArgs;
use crate::error::Result;
use crate::server::{OnStop, Running};
use crate::settings::Configuration;

/// Runs a server until it is told to stop.
pub(super) async fn run(configuration: &Configuration, args: ServerArgs) -> Result<()> {
    let settings = configuration.server(&args.options)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let on_stop = if args.keep_pods {
        OnStop::Leave
    } else {
        OnStop::StopPods
    };
    let mut start = Box::pin(Running::start(settings, on_stop));
    let started = tokio::select! {
        started = &mut start => Some(started?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(mut running) = started else {
        // A start is short, and what is half started cannot be taken down in order.
        tokio::select! {
            started = start => started?.stop().await,
            _ = interrupt.recv() => std::process::exit(130),
            _ = terminate.recv() => std::process::exit(143),
        }
        return Ok(());
    };
    let failed = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        failure = running.failed() => Some(failure),
    };
    tracing::info!("stopping");
    tokio::select! {
        () = running.stop() => {}
        // A second signal ends the process at once.
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    }
    failed.map_or(Ok(()), Err)
}
