//! `consort machine` and `consort network`: the machines of this host.

use std::io::IsTerminal as _;
use std::time::Duration;

use consort_machine::{
    Base, Machine as Found, MachineSpec, Machines, MountSpec, NetworkSpec, PortSpec, Protocol,
    State, console,
};
use consort_runtime::{Exec, ExecSpec, Resizer, UserSpec};
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::exec::{RawTerminal, terminal_size};
use crate::cli::{CreateMachine, ExecMachine, Machine, MachineNetwork, MachineStore};
use crate::error::{Failure, Kind, Result};
use crate::machines::{Store, data_dir, failure, open};
use crate::output;
use crate::settings::Configuration;

/// How often a log that is followed is looked at.
const FOLLOW: Duration = Duration::from_millis(200);
/// How long output may still come once a command has ended: what it left running may hold its streams open.
const DRAIN: Duration = Duration::from_millis(500);

fn opened(configuration: &Configuration, store: &MachineStore) -> Result<Machines> {
    open(&data_dir(configuration, store.data_dir.as_ref())?)
}

/// Works on the machines of a data directory.
pub(super) async fn run(configuration: &Configuration, command: Machine) -> Result<()> {
    match command {
        Machine::List { json, store } => {
            let machines = opened(configuration, &store)?.list().await;
            list(&machines.map_err(|error| failure(&error))?, json);
            Ok(())
        }
        Machine::Create(args) => create(configuration, *args).await,
        Machine::Exec(args) => {
            let machines = opened(configuration, &args.store)?;
            exec(&machines, args).await
        }
        Machine::Shell { name, store } => {
            let machines = opened(configuration, &store)?;
            shell(&machines, name).await
        }
        Machine::Logs {
            name,
            follow,
            timestamps,
            tail,
            store,
        } => {
            let machines = opened(configuration, &store)?;
            logs(&machines, &name, follow, timestamps, tail).await
        }
        Machine::Start { names, store } => {
            let machines = opened(configuration, &store)?;
            for name in names {
                let machine = machines
                    .start(&name)
                    .await
                    .map_err(|error| failure(&error))?;
                told(&name, "started", &machine);
            }
            Ok(())
        }
        Machine::Stop {
            names,
            grace,
            store,
        } => {
            let machines = opened(configuration, &store)?;
            for name in names {
                let stopped = machines.stop(&name, grace).await;
                told(&name, "stopped", &stopped.map_err(|error| failure(&error))?);
            }
            Ok(())
        }
        Machine::Rm { names, store } => {
            let machines = opened(configuration, &store)?;
            for name in names {
                known(&machines, &name).await?;
                machines
                    .remove(&name)
                    .await
                    .map_err(|error| failure(&error))?;
                output::print(&format!("{name} removed\n"));
            }
            Ok(())
        }
        Machine::Network(command) => network(configuration, command).await,
    }
}

fn told(name: &str, what: &str, machine: &Found) {
    output::print(&format!("{name} {what} ({})\n", machine.address));
}

async fn known(machines: &Machines, name: &str) -> Result<Found> {
    let found = machines.get(name).await.map_err(|error| failure(&error))?;
    found.ok_or_else(|| {
        Failure::new(Kind::Failed, format!("there is no machine \"{name}\""))
            .hint("`consort machine list` shows those of the data directory; name another with --data-dir")
    })
}

fn base(machine: &Found) -> String {
    match &machine.spec.base {
        Base::Image(image) => image.clone(),
        Base::Root(path) => path.display().to_string(),
        Base::Vm(vm) => {
            let path = vm.disk.as_ref().or(vm.kernel.as_ref());
            path.map(|path| path.display().to_string())
                .unwrap_or_default()
        }
    }
}

fn list(machines: &[Found], json: bool) {
    if json {
        let all: Vec<_> = machines
            .iter()
            .map(|machine| {
                serde_json::json!({
                    "name": machine.spec.name,
                    "state": machine.state.to_string(),
                    "pid": match machine.state { State::Running { pid } => Some(pid), _ => None },
                    "network": machine.spec.network,
                    "address": machine.address,
                    "mac": machine.mac,
                    "base": base(machine),
                    "image_digest": machine.digest,
                    "labels": machine.spec.labels,
                    "created": machine.created,
                })
            })
            .collect();
        output::print(&format!("{}\n", serde_json::Value::from(all)));
        return;
    }
    let header: Vec<String> = ["NAME", "STATE", "ADDRESS", "NETWORK", "FROM"]
        .map(str::to_owned)
        .into();
    let rows: Vec<Vec<String>> = machines
        .iter()
        .map(|machine| {
            vec![
                machine.spec.name.clone(),
                machine.state.to_string(),
                machine.address.to_string(),
                machine.spec.network.clone(),
                base(machine),
            ]
        })
        .collect();
    output::print(&output::table(&header, &rows, true));
}

fn pair<'a>(what: &str, text: &'a str, separator: char) -> Result<(&'a str, &'a str)> {
    text.split_once(separator).ok_or_else(|| {
        Failure::new(
            Kind::Usage,
            format!("{what} {text:?}: expected a {separator:?} in it"),
        )
    })
}

fn published(text: &str) -> Result<PortSpec> {
    let wrong = || {
        Failure::new(
            Kind::Usage,
            format!("--publish {text:?}: expected HOST_PORT:PORT[/udp]"),
        )
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (host, port) = ports.split_once(':').ok_or_else(wrong)?;
    Ok(PortSpec {
        protocol: match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(wrong()),
        },
        host_address: None,
        host_port: host.parse().map_err(|_| wrong())?,
        port: port.parse().map_err(|_| wrong())?,
    })
}

async fn create(configuration: &Configuration, args: CreateMachine) -> Result<()> {
    let dir = data_dir(configuration, args.store.data_dir.as_ref())?;
    let machines = open(&dir)?;
    let base = match (args.image, args.root) {
        (Some(image), _) => Base::Image(image),
        (None, Some(root)) => Base::Root(std::path::absolute(&root)?),
        (None, None) => return Err(Failure::new(Kind::Usage, "name an --image or a --root")),
    };
    let mut spec = MachineSpec::new(args.name, base, args.network);
    spec.address = args.address;
    spec.cpu_milli = args.cpus.map(|cpus| (cpus * 1000.0).round() as u64);
    spec.memory_mib = args.memory;
    spec.privileged = args.privileged;
    spec.command = (!args.command.is_empty()).then_some(args.command);
    for entry in &args.env {
        let (name, value) = pair("--env", entry, '=')?;
        spec.env.insert(name.to_owned(), value.to_owned());
    }
    for text in &args.volume {
        let (source, rest) = pair("--volume", text, ':')?;
        let (target, read_only) = match rest.strip_suffix(":ro") {
            Some(target) => (target, true),
            None => (rest, false),
        };
        spec.mounts.push(MountSpec {
            source: Some(std::path::absolute(source)?),
            target: target.into(),
            read_only,
        });
    }
    for text in &args.publish {
        spec.ports.push(published(text)?);
    }
    let images = Store::new(dir, configuration.registries());
    let machine = machines.create(spec, &images).await;
    let machine = machine.map_err(|error| failure(&error))?;
    let name = machine.spec.name.clone();
    told(&name, "created", &machine);
    Ok(())
}

async fn network(configuration: &Configuration, command: MachineNetwork) -> Result<()> {
    match command {
        MachineNetwork::List { store } => {
            let networks = opened(configuration, &store)?.networks().await;
            let header: Vec<String> = ["NAME", "CIDR", "GATEWAY", "BRIDGE", "ACTIVE"]
                .map(str::to_owned)
                .into();
            let rows: Vec<Vec<String>> = networks
                .map_err(|error| failure(&error))?
                .iter()
                .map(|network| {
                    vec![
                        network.spec.name.clone(),
                        network.spec.cidr.to_string(),
                        network.gateway.to_string(),
                        network.link.clone(),
                        network.active.to_string(),
                    ]
                })
                .collect();
            output::print(&output::table(&header, &rows, true));
        }
        MachineNetwork::Create {
            name,
            cidr,
            internal,
            store,
        } => {
            let machines = opened(configuration, &store)?;
            let spec = NetworkSpec {
                internal,
                ..NetworkSpec::new(name, cidr)
            };
            let network = machines
                .create_network(spec)
                .await
                .map_err(|error| failure(&error))?;
            output::print(&format!(
                "{} created ({})\n",
                network.spec.name, network.gateway
            ));
        }
        MachineNetwork::Rm { names, store } => {
            let machines = opened(configuration, &store)?;
            for name in names {
                let there = machines
                    .network(&name)
                    .await
                    .map_err(|error| failure(&error))?;
                if there.is_none() {
                    return Err(Failure::new(
                        Kind::Failed,
                        format!("there is no network \"{name}\""),
                    ));
                }
                machines
                    .remove_network(&name)
                    .await
                    .map_err(|error| failure(&error))?;
                output::print(&format!("{name} removed\n"));
            }
        }
    }
    Ok(())
}

async fn exec(machines: &Machines, args: ExecMachine) -> Result<()> {
    let mut env = Vec::new();
    for entry in &args.env {
        pair("--env", entry, '=')?;
        env.push(entry.clone());
    }
    if args.tty
        && let Ok(term) = std::env::var("TERM")
    {
        env.push(format!("TERM={term}"));
    }
    let spec = ExecSpec {
        args: args.command,
        env,
        cwd: args.workdir,
        user: args.user.map(|user| UserSpec {
            image_user: user,
            ..UserSpec::default()
        }),
        tty: args.tty,
        stdin: args.stdin,
    };
    let process = machines.exec(&args.name, spec).await;
    ended(connected(process.map_err(|error| failure(&error))?, args.tty).await?)
}

fn ended(code: i32) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Failure::code(u8::try_from(code).unwrap_or(255))),
    }
}

/// The best shell that the machine has.
async fn shell(machines: &Machines, name: String) -> Result<()> {
    known(machines, &name).await?;
    let tty = std::io::stdin().is_terminal();
    let mut last = None;
    for shell in ["/bin/bash", "/bin/sh"] {
        let args = vec![shell.to_owned()];
        let env = std::env::var("TERM").map(|term| format!("TERM={term}"));
        let spec = ExecSpec {
            args,
            env: env.into_iter().collect(),
            tty,
            stdin: true,
            ..ExecSpec::default()
        };
        match machines.exec(&name, spec).await {
            Ok(process) => return ended(connected(process, tty).await?),
            // Not there: the next one.
            Err(error @ consort_machine::Error::Container { .. }) => last = Some(error),
            Err(error) => return Err(failure(&error)),
        }
    }
    let text = last
        .map(|error| crate::error::chain(&error))
        .unwrap_or_default();
    Err(Failure::new(
        Kind::Failed,
        format!("machine \"{name}\" has no shell: {text}"),
    )
    .hint("run a program that it has: `consort machine exec NAME -- PROGRAM`"))
}

/// Connects a process to this one's streams until it has ended; gives its exit code.
async fn connected(mut process: Exec, tty: bool) -> Result<i32> {
    let _raw = (tty && std::io::stdin().is_terminal())
        .then(RawTerminal::enter)
        .transpose()?;
    let mut tasks = tokio::task::JoinSet::new();
    if tty {
        tasks.spawn(follow_size(process.resizer()));
    }
    if let Some(mut input) = process.stdin.take() {
        tasks.spawn(async move {
            // A closed pipe only means that the command ended first.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
            let _ = input.shutdown().await;
        });
    }
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let output = async {
        let out = async {
            if let Some(mut stream) = stdout {
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::stdout()).await;
                let _ = tokio::io::stdout().flush().await;
            }
        };
        let err = async {
            if let Some(mut stream) = stderr {
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::stderr()).await;
            }
        };
        tokio::join!(out, err)
    };
    let mut output = std::pin::pin!(output);
    let (code, done) = tokio::select! {
        code = process.wait() => (Some(code), false),
        _ = &mut output => (None, true),
    };
    let code = match code {
        Some(code) => code,
        None => process.wait().await,
    };
    if !done {
        let _ = tokio::time::timeout(DRAIN, output).await;
    }
    tasks.abort_all();
    code.map_err(|error| Failure::new(Kind::Failed, crate::error::chain(&error)))
}

async fn follow_size(resizer: Resizer) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else {
        return;
    };
    loop {
        if let Some(size) = terminal_size() {
            let _ = resizer.resize(size.width, size.height);
        }
        if changed.recv().await.is_none() {
            return;
        }
    }
}

async fn logs(
    machines: &Machines,
    name: &str,
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
) -> Result<()> {
    known(machines, name).await?;
    let (path, stamped) = machines.console(name).map_err(|error| failure(&error))?;
    let mut at = 0;
    let mut begun = true;
    loop {
        let running = machines.get(name).await.map_err(|error| failure(&error))?;
        let (from, log) = (at, path.clone());
        let read = tokio::task::spawn_blocking(move || console(&log, from, stamped)).await;
        let (lines, next) = read.map_err(anyhow::Error::from)??;
        at = next;
        let skip = match tail {
            Some(tail) if begun => lines.len().saturating_sub(tail),
            _ => 0,
        };
        begun = false;
        let mut text = String::new();
        for line in &lines[skip..] {
            if timestamps && let Some(time) = &line.time {
                text.push_str(time);
                text.push(' ');
            }
            text.push_str(&line.text);
            if !line.partial {
                text.push('\n');
            }
        }
        output::print(&text);
        let over = running.is_none_or(|machine| !machine.state.is_running());
        if !follow || (over && lines.is_empty()) {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
