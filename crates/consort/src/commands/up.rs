//! `consort up`: a server and a directory's objects on it, in one command.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kube::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::ready::{self, Readiness};
use crate::apply::{Applied, Applier, Outcome, sort};
use crate::cli::{Global, Target, Up};
use crate::connect::{self, connect};
use crate::error::{Failure, Kind, Result};
use crate::manifests::{self, Manifest};
use crate::output::{Progress, cyan};
use crate::resources::Resources;
use crate::server::{OnStop, Running, running_pid};
use crate::settings::{Configuration, Server as Settings};

/// How long a server gets to answer in the background.
const START: Duration = Duration::from_secs(60);

/// Starts a server (unless one runs on the data directory already), applies the directory, waits
/// until all of it is ready and says where it answers.
pub(super) async fn run(configuration: &Configuration, global: &Global, args: Up) -> Result<()> {
    let mut manifests = manifests::read(std::slice::from_ref(&args.dir))?;
    sort(&mut manifests);
    let settings = configuration.server(&args.options)?;
    let progress = Progress::new(false);
    if let Some(pid) = running_pid(&settings.data_dir)? {
        progress.done(&format!(
            "the server of {} runs already (process {pid})",
            settings.data_dir.display()
        ));
        return on_running_server(&settings.data_dir, &manifests, &args, &progress).await;
    }
    if args.detach {
        start_in_background(&settings, global, &progress).await?;
        on_running_server(&settings.data_dir, &manifests, &args, &progress).await?;
        progress.line(&format!(
            "runs in the background; stop it with {}",
            cyan(&format!(
                "consort down --data-dir {}",
                settings.data_dir.display()
            ))
        ));
        return Ok(());
    }

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    progress.waiting("starting the control plane");
    let mut start = Box::pin(Running::start(settings, OnStop::StopPods));
    let mut running = tokio::select! {
        started = &mut start => started?,
        () = either(&mut interrupt, &mut terminate) => {
            // A start is short, and what is half started cannot be taken down in order.
            tokio::select! {
                started = start => started?.stop().await,
                () = either(&mut interrupt, &mut terminate) => std::process::exit(130),
            }
            return Err(Failure::code(130));
        }
    };
    progress.done(&format!("control plane ready at {}", running.url));
    let work = async {
        if let Some(node) = &running.node {
            wait_for_node(&running.client, node, &args, &progress).await?;
            running.settled().await;
        }
        bring_up(&running.client, "default", &manifests, &args, &progress).await?;
        progress.finish();
        print_access(&running.kubeconfig, &progress);
        progress.line("Ctrl-C stops everything");
        Ok::<_, Failure>(())
    };
    let mut outcome = tokio::select! {
        done = work => done,
        () = either(&mut interrupt, &mut terminate) => Err(Failure::code(130)),
    };
    if outcome.is_ok() {
        tokio::select! {
            () = either(&mut interrupt, &mut terminate) => {}
            failure = running.failed() => outcome = Err(failure),
        }
    }
    progress.waiting("stopping");
    tokio::select! {
        () = running.stop() => {}
        // A second signal ends the process at once; the next start cleans up.
        () = either(&mut interrupt, &mut terminate) => std::process::exit(130),
    }
    progress.done("stopped; nothing is left running");
    progress.finish();
    outcome
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn on_running_server(
    data_dir: &Path,
    manifests: &[Manifest],
    args: &Up,
    progress: &Progress,
) -> Result<()> {
    let connection = connect(&Target::of_data_dir(data_dir)).await?;
    bring_up(
        &connection.client,
        &connection.namespace,
        manifests,
        args,
        progress,
    )
    .await?;
    progress.finish();
    print_access(&connect::admin_kubeconfig(data_dir), progress);
    Ok(())
}

fn print_access(kubeconfig: &Path, progress: &Progress) {
    progress.line(&format!(
        "kubectl: {}",
        cyan(&format!("export KUBECONFIG={}", kubeconfig.display()))
    ));
}

/// Starts `consort server` as a session of its own and waits until it answers.
async fn start_in_background(
    settings: &Settings,
    global: &Global,
    progress: &Progress,
) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&settings.data_dir)?;
    let log_path = settings.data_dir.join("server.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("server");
    if let Some(config) = &global.config {
        command.arg("--config").arg(config);
    }
    if let Some(filter) = &global.log {
        command.arg("--log").arg(filter);
    }
    command
        .arg("--data-dir")
        .arg(&settings.data_dir)
        .arg("--listen")
        .arg(settings.listen.to_string())
        .arg("--node-name")
        .arg(&settings.node_name)
        .arg("--pod-cidr")
        .arg(settings.cluster_cidr.to_string())
        .arg("--service-cidr")
        .arg(settings.service_cidr.to_string())
        .arg("--cluster-domain")
        .arg(&settings.cluster_domain);
    if !settings.node {
        command.arg("--no-node");
    }
    for name in &settings.tls_names {
        command.arg("--tls-name").arg(name);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Signals of this terminal are not meant for it.
        .process_group(0)
        .spawn()?;
    progress.waiting("starting the server");
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(died(status, &log_path));
        }
        if answers(&settings.data_dir, &child).await {
            progress.done("control plane ready");
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                Kind::Failed,
                format!(
                    "the server does not answer; its log is {}",
                    log_path.display()
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn died(status: ExitStatus, log: &Path) -> Failure {
    let tail = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = tail.lines().rev().take(5).collect();
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    Failure::new(
        Kind::Failed,
        format!("the server ended ({status}):\n{}", lines.join("\n")),
    )
    .hint(format!("its whole log is {}", log.display()))
}

/// Whether the server that was started (and no other) serves the directory and answers.
async fn answers(data_dir: &Path, child: &Child) -> bool {
    let own = running_pid(data_dir)
        .ok()
        .flatten()
        .is_some_and(|pid| i64::from(pid.as_raw()) == i64::from(child.id()));
    if !own {
        return false;
    }
    let Ok(connection) = connect(&Target::of_data_dir(data_dir)).await else {
        return false;
    };
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    connection.client.request_text(request).await.is_ok()
}

async fn wait_for_node(client: &Client, name: &str, args: &Up, progress: &Progress) -> Result<()> {
    progress.waiting(format!("waiting for node {name}"));
    ready::node(client, name, args.timeout).await?;
    progress.done(&format!("node {name} ready"));
    Ok(())
}

/// Applies the manifests and waits until what they describe works.
async fn bring_up(
    client: &Client,
    namespace: &str,
    manifests: &[Manifest],
    args: &Up,
    progress: &Progress,
) -> Result<()> {
    let resources = Resources::discover(client).await?;
    let applier = Applier {
        client,
        resources: &resources,
        namespace,
        dry_run: false,
        // The directory says what is to be.
        force: true,
    };
    let mut applied: Vec<Applied> = Vec::new();
    for manifest in manifests {
        let one = applier.apply(manifest).await?;
        progress.waiting(format!("{} {}", one.title(), one.outcome.word()));
        applied.push(one);
    }
    let count = |outcome| applied.iter().filter(|one| one.outcome == outcome).count();
    progress.done(&format!(
        "{} objects: {} created, {} configured, {} unchanged",
        applied.len(),
        count(Outcome::Created),
        count(Outcome::Configured),
        count(Outcome::Unchanged),
    ));
    let deadline = Instant::now() + args.timeout;
    let pending: Vec<&Applied> = applied
        .iter()
        .filter(|one| ready::is_awaited(one))
        .collect();
    ready::wait(
        client,
        &pending,
        deadline,
        &mut |one: &Applied, readiness: &Readiness| match readiness {
            Readiness::Ready(text) => progress.done(&format!("{} {text}", one.title())),
            Readiness::Waiting(text) => progress.waiting(format!("{}: {text}", one.title())),
            Readiness::Failed(text) => progress.warn(&format!("{} {text}", one.title())),
        },
    )
    .await?;
    for address in ready::addresses(client, &applied).await? {
        progress.line(&format!(
            "{} answers at {}",
            address.service,
            cyan(&address.url)
        ));
    }
    Ok(())
}
