//! `consort up`: a server and a score on it, in one command.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use consort_manifests::Workload;
use consort_plan::{Action, Blueprint, Mode};
use consort_score::{Definition, Layer};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::api::WatchParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::addresses::{Address, addresses};
use super::apply::show;
use crate::cli::{Global, Target, Up};
use crate::connect::{self, connect};
use crate::error::{Failure, Kind, Result};
use crate::manifests;
use crate::output::{Progress, cyan};
use crate::render::Manner;
use crate::scores::{
    Asking, Drawing, Workplace, carry_out, confirm, draw, finished, permitted, problems,
};
use crate::server::{OnStop, Running, running_pid};
use crate::settings::{Configuration, Server as Settings};

/// How long a server gets to answer in the background.
const START: Duration = Duration::from_secs(60);
/// How long the node of this machine gets to register.
const NODE: Duration = Duration::from_secs(300);
/// How long an interrupted walk gets to finish what is under way.
const LAST: Duration = Duration::from_secs(5);
/// How long what stays as it is gets to work again after a start.
const READY: Duration = Duration::from_secs(300);

/// Starts a server (unless one runs on the data directory already), plans the score, carries the plan out, waits
/// until all of it is ready and says where it answers.
pub(super) async fn run(configuration: &Configuration, global: &Global, args: Up) -> Result<()> {
    let definition = read(&args)?;
    let settings = configuration.server(&args.options)?;
    let progress = Progress::new(args.walk.json);
    let cancel = CancellationToken::new();
    if let Some(pid) = running_pid(&settings.data_dir)? {
        progress.done(&format!(
            "the server of {} runs already (process {pid})",
            settings.data_dir.display()
        ));
        let work = on_running_server(&settings.data_dir, definition, &args, &progress, &cancel);
        return until_interrupted(work, &cancel).await;
    }
    if args.detach {
        start_in_background(&settings, global, &progress).await?;
        let work = on_running_server(&settings.data_dir, definition, &args, &progress, &cancel);
        let outcome = until_interrupted(work, &cancel).await;
        progress.line(&format!(
            "runs in the background; stop it with {}",
            cyan(&format!(
                "consort down --data-dir {}",
                settings.data_dir.display()
            ))
        ));
        return outcome;
    }

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    progress.waiting("starting the control plane");
    let data_dir = settings.data_dir.clone();
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
    let mut held = None;
    let work = async {
        if let Some(node) = &running.node {
            wait_for_node(&running.client, node, &progress).await?;
            running.settled().await;
        }
        let place = Workplace::on(running.client.clone(), Some(data_dir), None).await?;
        match bring_up(place, definition, &args, &progress, &cancel).await {
            // Somebody can still approve it, here and now.
            Err(failure) if failure.is(Kind::Unapproved) => {
                failure.report();
                held = Some(Failure::code(Kind::Unapproved.code()));
            }
            brought => brought?,
        }
        progress.finish();
        print_access(&running.kubeconfig, &progress);
        progress.line("Ctrl-C stops everything");
        Ok::<_, Failure>(())
    };
    let mut outcome = {
        let mut work = Box::pin(work);
        tokio::select! {
            done = &mut work => done,
            () = either(&mut interrupt, &mut terminate) => {
                cancel.cancel();
                tokio::select! {
                    _ = tokio::time::timeout(LAST, work) => {}
                    () = either(&mut interrupt, &mut terminate) => std::process::exit(130),
                }
                Err(Failure::code(130))
            }
        }
    };
    if outcome.is_ok() {
        tokio::select! {
            () = either(&mut interrupt, &mut terminate) => {}
            failure = running.failed() => outcome = Err(failure),
        }
        if let Some(held) = held {
            outcome = outcome.and(Err(held));
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

/// The score, with everything checked that can be without a server, so that a slip starts nothing.
fn read(args: &Up) -> Result<Definition> {
    let mut definition = Definition::read(&args.dir).map_err(|found| problems(&found))?;
    if let Some(timeout) = args.timeout {
        definition.steps.timeout = timeout;
    }
    for part in definition.of_layer(Layer::Manifests) {
        let files: Vec<_> = part
            .paths()
            .into_iter()
            .map(|(_, path)| match path.as_str() {
                "." => definition.directory.clone(),
                path => definition.directory.join(path),
            })
            .collect();
        manifests::read(&files)?;
    }
    Ok(definition)
}

/// Runs work that an interrupt cancels; what is under way gets a moment to end.
async fn until_interrupted(
    work: impl Future<Output = Result<()>>,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut work = Box::pin(work);
    tokio::select! {
        done = &mut work => return done,
        () = either(&mut interrupt, &mut terminate) => cancel.cancel(),
    }
    tokio::select! {
        done = tokio::time::timeout(LAST, work) => done.unwrap_or(Err(Failure::code(130))),
        () = either(&mut interrupt, &mut terminate) => std::process::exit(130),
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn on_running_server(
    data_dir: &Path,
    definition: Definition,
    args: &Up,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    let connection = connect(&Target::of_data_dir(data_dir)).await?;
    let place = Workplace::on(connection.client, Some(data_dir.to_owned()), None).await?;
    bring_up(place, definition, args, progress, cancel).await?;
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

async fn wait_for_node(client: &Client, name: &str, progress: &Progress) -> Result<()> {
    progress.waiting(format!("waiting for node {name}"));
    node_ready(client, name).await?;
    progress.done(&format!("node {name} ready"));
    Ok(())
}

/// Waits until a node says it is ready.
async fn node_ready(client: &Client, name: &str) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let watched = async {
        let params = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = Box::pin(api.watch(&params, "0").await?);
        while let Some(event) = events.next().await {
            use kube::core::WatchEvent::{Added, Modified};
            if let Added(node) | Modified(node) = event? {
                let conditions = node.status.and_then(|status| status.conditions);
                let is_ready = |condition: &NodeCondition| {
                    condition.type_ == "Ready" && condition.status == "True"
                };
                if conditions.unwrap_or_default().iter().any(is_ready) {
                    return Ok(true);
                }
            }
        }
        Ok::<_, kube::Error>(false)
    };
    match tokio::time::timeout(NODE, watched).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(false)) | Err(_) => Err(Failure::new(
            Kind::Failed,
            format!("node {name} is not ready in time"),
        )),
    }
}

/// Plans the score and carries the plan out, and waits until what it describes works.
async fn bring_up(
    mut place: Workplace,
    definition: Definition,
    args: &Up,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    if definition.namespace != place.records.namespace() {
        place.for_score(&definition.namespace);
    }
    progress.waiting("planning");
    let drawing = Drawing {
        definition,
        mode: Mode::Apply,
        source: None,
        only: None,
        settle: true,
        cancel: cancel.clone(),
    };
    let drawn = draw(&place, drawing).await?;
    let blueprint = &drawn.blueprint;
    let only_made = blueprint
        .changes
        .iter()
        .all(|change| !change.action.changes() || change.action == Action::Create);
    // What is only made is told by its name: the directory beside it says the rest.
    progress.suspend(|| show(&drawn, args.walk, only_made));
    if !blueprint.is_empty() || blueprint.parent.revision == 0 {
        permitted(&place, &drawn).await?;
        // What is only made harms nothing that is there: it is what this command is for.
        let asking = if args.walk.auto_approve || only_made {
            Asking::Never
        } else {
            Asking::Terminal
        };
        if !confirm(blueprint, asking).await? {
            return Err(Failure::new(Kind::Failed, "not carried out"));
        }
        let manner = if args.walk.json {
            Manner::Json
        } else {
            Manner::suits(false)
        };
        progress.waiting("");
        let done = carry_out(&place, &drawn, None, cancel, manner).await?;
        finished(&place, &done, args.walk.json).await?;
    }
    let objects = local_objects(&drawn.system.definition, blueprint);
    work_again(&place.client, &objects, progress).await?;
    let addresses = addresses(&place.client, &objects).await?;
    let answers = futures::future::join_all(addresses.iter().map(Address::answers)).await;
    for (address, answers) in addresses.iter().zip(answers) {
        let how = if answers {
            "answers"
        } else {
            "does not answer yet"
        };
        progress.line(&format!(
            "{} {how} at {}",
            address.service,
            cyan(&address.url)
        ));
    }
    Ok(())
}

/// The objects on this server that the score describes, with what the plan was to do to each.
fn local_objects<'b>(definition: &Definition, blueprint: &'b Blueprint) -> Vec<(&'b str, Action)> {
    let parts: Vec<&str> = definition
        .of_layer(Layer::Manifests)
        .filter(|part| part.stanza.get("target").is_none())
        .map(|part| part.name.as_str())
        .collect();
    let stays = |action| !matches!(action, Action::Delete | Action::Forget);
    blueprint
        .changes
        .iter()
        .filter(|change| parts.contains(&change.address.part()) && stays(change.action))
        .map(|change| (change.address.local(), change.action))
        .collect()
}

/// Waits for what was left alone: whatever the walk changed it has waited for, but the pods of the rest may just be
/// starting again.
async fn work_again(
    client: &Client,
    objects: &[(&str, Action)],
    progress: &Progress,
) -> Result<()> {
    let deadline = Instant::now() + READY;
    let unchanged = objects.iter().filter(|(_, action)| !action.changes());
    for workload in unchanged.filter_map(|(local, _)| Workload::of(local)) {
        let last = Mutex::new(String::new());
        let note = |text: &str| {
            progress.waiting(format!("{workload}: {text}"));
            text.clone_into(&mut last.lock());
        };
        let works = workload.works(client, &note);
        match tokio::time::timeout_at(deadline, works).await {
            Ok(Ok(how)) => progress.done(&format!("{workload} {how}")),
            Ok(Err(problem)) => return Err(problems(&[problem]).of_kind(Kind::Failed)),
            Err(_) => {
                let text = format!("{workload} is not ready in time: {}", last.lock());
                return Err(Failure::new(Kind::Failed, text));
            }
        }
    }
    Ok(())
}
