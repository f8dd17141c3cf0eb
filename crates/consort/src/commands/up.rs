//! `consort up`: a server and a score on it, in one command.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use consort_plan::{Action, Blueprint, Mode};
use consort_score::{Definition, Layer};
use kube::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::apply::show;
use super::ready::{self, Readiness};
use crate::apply::{Applied, Outcome};
use crate::cli::{Global, Target, Up};
use crate::connect::{self, connect};
use crate::error::{Failure, Kind, Result};
use crate::manifests;
use crate::output::{Progress, cyan};
use crate::render::Manner;
use crate::resources::Resources;
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
    ready::node(client, name, NODE).await?;
    progress.done(&format!("node {name} ready"));
    Ok(())
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
    tell(
        &place.client,
        blueprint,
        &local_parts(&drawn.system.definition),
        progress,
    )
    .await
}

/// The parts of manifests whose objects are on this server.
fn local_parts(definition: &Definition) -> Vec<String> {
    definition
        .of_layer(Layer::Manifests)
        .filter(|part| part.stanza.get("target").is_none())
        .map(|part| part.name.clone())
        .collect()
}

/// Tells what was done to objects, waits until those that were left alone work too, and says where services answer.
async fn tell(
    client: &Client,
    blueprint: &Blueprint,
    parts: &[String],
    progress: &Progress,
) -> Result<()> {
    let resources = Resources::discover(client).await?;
    let applied: Vec<Applied> = blueprint
        .changes
        .iter()
        .filter(|change| parts.iter().any(|part| part == change.address.part()))
        .filter_map(|change| applied(&resources, change.address.local(), change.action))
        .collect();
    if applied.is_empty() {
        return Ok(());
    }
    let count = |outcome| applied.iter().filter(|one| one.outcome == outcome).count();
    progress.done(&format!(
        "{} objects: {} created, {} configured, {} unchanged",
        applied.len(),
        count(Outcome::Created),
        count(Outcome::Configured),
        count(Outcome::Unchanged),
    ));
    let pending: Vec<&Applied> = applied
        .iter()
        .filter(|one| ready::is_awaited(one))
        .collect();
    ready::wait(
        client,
        &pending,
        Instant::now() + READY,
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

/// The object of an address such as `apps/v1/Deployment/shop/web`; none if it is gone now.
fn applied(resources: &Resources, local: &str, action: Action) -> Option<Applied> {
    let outcome = match action {
        Action::Create => Outcome::Created,
        Action::NoOp | Action::Read => Outcome::Unchanged,
        Action::Update | Action::DeleteThenCreate | Action::CreateThenDelete => Outcome::Configured,
        Action::Delete | Action::Forget => return None,
    };
    let steps: Vec<&str> = local.split('/').collect();
    let (version, kind, rest) = match steps.as_slice() {
        // A group has a dot or comes before a version; the core group is left out.
        [version, kind, rest @ ..] if is_version(version) => ((*version).to_owned(), kind, rest),
        [group, version, kind, rest @ ..] => (format!("{group}/{version}"), kind, rest),
        _ => return None,
    };
    let (namespace, name) = match rest {
        [name] => (None, *name),
        [namespace, name] => (Some((*namespace).to_owned()), *name),
        _ => return None,
    };
    Some(Applied {
        resource: resources.of_kind(&version, kind)?.clone(),
        namespace,
        name: name.to_owned(),
        outcome,
    })
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
