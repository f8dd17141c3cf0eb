//! Machines that are system containers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_net::bridge::{self, Port};
use consort_runtime::{
    Container, ContainerSpec, Mount, MountKind, Resources, Sandbox, SandboxSpec, State as Phase,
};
use ipnet::Ipv4Net;

use crate::error::Error;
use crate::machines::{Inner, State, blocking};
use crate::names;
use crate::records::{MachineRecord, NetworkRecord};
use crate::roots::{Root, offline};
use crate::spec::{Base, MachineSpec};

/// The only container of a machine's sandbox.
const CONTAINER: &str = "machine";
/// Where the first-boot script lies in the machine.
const SCRIPT: &str = "/var/lib/consort-machine/user-data";
/// How long a machine that was just started is watched: one whose program fails at once was not started.
const FIRST_MOMENT: Duration = Duration::from_millis(150);
/// How much of what a first-boot script says is kept, in bytes of each stream.
const SAID_MAX: u64 = 4 << 20;
/// Programs that are a first process themselves.
const INITS: [&str; 6] = [
    "init",
    "systemd",
    "s6-svscan",
    "runit-init",
    "openrc-init",
    "tini",
];
/// Commands that only wait for somebody's input, and end at once where there is none.
const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "zsh", "fish"];

/// What runs first in a machine.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    args: Vec<String>,
    /// The first process is ours, and the program its child.
    supervised: bool,
}

/// The layers below what a machine writes, topmost first.
fn layers(record: &MachineRecord) -> Vec<PathBuf> {
    match (&record.spec.base, &record.image) {
        (Base::Root(path), _) => vec![path.clone()],
        (_, Some(image)) => image.layers.clone(),
        _ => Vec::new(),
    }
}

/// The directory of the machine's own that is seen at `target`.
fn volume(home: &Path, target: &Path) -> PathBuf {
    let name = target.to_string_lossy();
    let name = name
        .trim_start_matches('/')
        .replace('-', "--")
        .replace('/', "-");
    home.join("v").join(name)
}

fn named(path: &str, names: &[&str]) -> bool {
    Path::new(path)
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| names.contains(&name))
}

fn program(record: &MachineRecord, has_init: bool) -> Program {
    let args = match (&record.spec.command, &record.image) {
        (Some(command), _) => command.clone(),
        (None, Some(image)) => {
            let command = [image.entrypoint.as_slice(), image.cmd.as_slice()].concat();
            // Without anybody at it, a shell is no machine.
            if matches!(command.as_slice(), [shell] if named(shell, &SHELLS)) {
                Vec::new()
            } else {
                command
            }
        }
        (None, None) if has_init => vec!["/sbin/init".to_owned()],
        (None, None) => Vec::new(),
    };
    let supervised = !args.first().is_some_and(|first| named(first, &INITS));
    Program { args, supervised }
}

fn environment(record: &MachineRecord) -> Vec<String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for entry in record.image.iter().flat_map(|image| &image.env) {
        if let Some((name, value)) = entry.split_once('=') {
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    // What systemd and its like ask for.
    all.insert("container".to_owned(), "consort".to_owned());
    all.extend(record.spec.env.clone());
    all.into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

fn resources(spec: &MachineSpec) -> Resources {
    Resources {
        cpu_quota_us: spec.cpu_milli.map(|milli| {
            i64::try_from(milli.saturating_mul(100))
                .unwrap_or(i64::MAX)
                .max(1000)
        }),
        cpu_period_us: spec.cpu_milli.map(|_| 100_000),
        memory_limit_bytes: spec
            .memory_mib
            .map(|mib| i64::try_from(mib.saturating_mul(1 << 20)).unwrap_or(i64::MAX)),
        ..Resources::default()
    }
}

impl Inner {
    pub(crate) fn console_path(&self, name: &str) -> PathBuf {
        self.records.home(name).join("console.log")
    }

    fn container_spec(&self, record: &MachineRecord, program: Program) -> ContainerSpec {
        let spec = &record.spec;
        let home = self.records.home(&spec.name);
        let image = record.image.as_ref();
        let mut mounts: Vec<Mount> = Vec::new();
        if !program.supervised {
            mounts.push(Mount {
                target: "/run".into(),
                kind: MountKind::Tmpfs,
                options: vec!["mode=755".to_owned()],
                ..Mount::default()
            });
        }
        mounts.extend(spec.mounts.iter().map(|mount| {
            Mount {
                source: mount
                    .source
                    .clone()
                    .unwrap_or_else(|| volume(&home, &mount.target)),
                target: mount.target.clone(),
                read_only: mount.read_only,
                ..Mount::default()
            }
        }));
        let stop_signal = match image.map(|image| image.stop_signal.clone()) {
            Some(signal) if !signal.is_empty() => signal,
            // What systemd takes for a wish to power off; others are killed after the grace.
            _ if !program.supervised => "SIGRTMIN+3".to_owned(),
            _ => "SIGTERM".to_owned(),
        };
        let cwd = spec.working_dir.clone();
        let mut container = ContainerSpec {
            id: CONTAINER.to_owned(),
            lower_dirs: layers(record),
            writes: Some(home.join("root")),
            init: program.supervised,
            args: program.args,
            env: environment(record),
            cwd: cwd.unwrap_or_else(|| {
                image
                    .map(|image| image.working_dir.clone())
                    .unwrap_or_default()
                    .into()
            }),
            mounts,
            privileged: spec.privileged,
            // The network is its own.
            add_capabilities: vec!["NET_ADMIN".to_owned()],
            log_path: Some(self.console_path(&spec.name)),
            stop_signal,
            labels: BTreeMap::from([("consort.dev/machine".to_owned(), spec.name.clone())]),
            ..ContainerSpec::default()
        };
        container.user.image_user = spec
            .user
            .clone()
            .unwrap_or_else(|| image.map(|image| image.user.clone()).unwrap_or_default());
        container
    }

    /// Writes into a root that is not in use what the machine is to find there. Gives whether it has an init.
    fn furnish(&self, record: &MachineRecord, network: &NetworkRecord) -> Result<bool, Error> {
        let spec = &record.spec;
        let home = self.records.home(&spec.name);
        for mount in &spec.mounts {
            if mount.source.is_none() {
                let dir = volume(&home, &mount.target);
                std::fs::create_dir_all(&dir).map_err(Error::io("making directory", &dir))?;
            }
        }
        let hosts = names::hosts(network, &self.records.machines()?);
        let resolver = names::resolv_conf(&network.spec.domain);
        offline(&home, &layers(record), |root| {
            root.write_part(
                names::HOSTS.as_ref(),
                &hosts,
                names::HOSTS_DEFAULT,
                0o644,
                0o755,
            )?;
            root.write("/etc/resolv.conf".as_ref(), resolver.as_bytes(), 0o644)?;
            root.write(
                "/etc/hostname".as_ref(),
                format!("{}\n", spec.hostname()).as_bytes(),
                0o644,
            )?;
            write_files(root, spec)?;
            if let Some(script) = &spec.user_data {
                root.write(SCRIPT.as_ref(), script.as_bytes(), 0o700)?;
            }
            Ok(root.is_executable("/sbin/init".as_ref()))
        })
        .map_err(Error::io("preparing the root of the machine in", &home))
    }

    /// Brings a container up from its record. What is left of an earlier run is removed first.
    pub(crate) async fn start_container(
        self: &std::sync::Arc<Self>,
        record: &MachineRecord,
    ) -> Result<(), Error> {
        let name = record.spec.name.clone();
        self.clear_container(&name).await?;
        let (inner, own) = (self.clone(), record.clone());
        let has_init = blocking(move || {
            let network = {
                let _lock = inner.records.lock()?;
                let network = inner.network_of(&own)?;
                inner.network_up(&network)?;
                network
            };
            let length = network.spec.cidr.prefix_len();
            let port = Port {
                link: bridge::port_name(&inner.options.instance, own.number),
                address: Ipv4Net::new(own.address, length).unwrap_or(network.spec.cidr),
                mac: own.mac.parse().map_err(Error::Invalid)?,
            };
            let at = inner.bridge(&network);
            bridge::attach(&at, &port, &inner.records.netns(&own.spec.name))?;
            for route in &own.spec.routes {
                bridge::route(&at, *route, own.address)?;
            }
            inner.furnish(&own, &network)
        })
        .await?;
        let program = program(record, has_init);
        let runtime = self.runtime()?;
        let sandbox = runtime
            .create_sandbox(SandboxSpec {
                id: name.clone(),
                hostname: record.spec.hostname().to_owned(),
                netns: Some(self.records.netns(&name)),
                resources: resources(&record.spec),
                labels: BTreeMap::from([("consort.dev/machine".to_owned(), name.clone())]),
                ..SandboxSpec::default()
            })
            .await
            .map_err(Error::container(&name))?;
        let container = sandbox
            .run(self.container_spec(record, program))
            .await
            .map_err(Error::container(&name))?;
        if let Ok(ended) = tokio::time::timeout(FIRST_MOMENT, container.wait()).await {
            let exit = ended.map_err(Error::container(&name))?;
            if exit.code != 0 {
                let said = if exit.message.is_empty() {
                    crate::console::last(&self.console_path(&name), true)
                } else {
                    format!(": {}", exit.message)
                };
                return Err(Error::Ended {
                    name,
                    code: exit.code,
                    said,
                });
            }
        }
        Ok(())
    }

    /// The sandbox and the container of a machine, as far as they are there.
    pub(crate) fn found(&self, name: &str) -> Result<Option<(Sandbox, Option<Container>)>, Error> {
        if !self.runtime_dir().join(name).exists() {
            return Ok(None);
        }
        let sandbox = self.runtime()?.sandbox(name);
        Ok(sandbox.map(|sandbox| {
            let container = sandbox.container(CONTAINER);
            (sandbox, container)
        }))
    }

    pub(crate) async fn container_state(&self, name: &str) -> Result<State, Error> {
        let Some((sandbox, container)) = self.found(name)? else {
            return Ok(State::Stopped);
        };
        let Some(container) = container else {
            return Ok(State::Stopped);
        };
        let _ = sandbox;
        Ok(match container.state().await {
            Ok(Phase::Running { pid, .. }) => State::Running { pid },
            Ok(Phase::Exited(exit)) => State::Ended {
                code: exit.code,
                message: exit.message,
            },
            Ok(Phase::Created) | Err(consort_runtime::Error::NotFound { .. }) => State::Stopped,
            Err(error) => return Err(Error::container(name)(error)),
        })
    }

    /// The machine's container, which runs.
    pub(crate) async fn running(&self, name: &str) -> Result<Container, Error> {
        match self.container_state(name).await? {
            State::Running { .. } => self
                .found(name)?
                .and_then(|(_, container)| container)
                .ok_or_else(|| Error::NotRunning(name.to_owned())),
            _ => Err(Error::NotRunning(name.to_owned())),
        }
    }

    /// Stops a container and removes all that there is of it but what it has written.
    pub(crate) async fn stop_container(
        self: &std::sync::Arc<Self>,
        record: &MachineRecord,
        grace: Duration,
    ) -> Result<(), Error> {
        let name = &record.spec.name;
        if let State::Running { .. } = self.container_state(name).await?
            && let Some((_, Some(container))) = self.found(name)?
        {
            container
                .stop(grace)
                .await
                .map_err(Error::container(name))?;
        }
        self.clear_container(name).await?;
        let (inner, record) = (self.clone(), record.clone());
        blocking(move || {
            let port = bridge::port_name(&inner.options.instance, record.number);
            bridge::detach(&port, &inner.records.netns(&record.spec.name))?;
            for route in &record.spec.routes {
                bridge::unroute(*route)?;
            }
            Ok(())
        })
        .await
    }

    /// Removes a sandbox, running or not.
    async fn clear_container(&self, name: &str) -> Result<(), Error> {
        match self.found(name)? {
            Some((sandbox, _)) => sandbox.remove().await.map_err(Error::container(name)),
            None if self.runtime_dir().join(name).exists() => self
                .runtime()?
                .discard(name)
                .map_err(Error::container(name)),
            None => Ok(()),
        }
    }

    /// Works on a machine's root while it runs.
    pub(crate) async fn online(
        &self,
        name: &str,
        work: impl FnOnce(&Root) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let State::Running { pid } = self.container_state(name).await? else {
            return Ok(());
        };
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        blocking(move || {
            Root::open(&path)
                .and_then(|root| work(&root))
                .map_err(Error::io("writing below", &path))
        })
        .await
    }

    /// Runs the first-boot script, which lies in the machine already.
    pub(crate) async fn run_user_data(&self, record: &MachineRecord) -> Result<(), Error> {
        use consort_runtime::{ExecSpec, UserSpec};
        use tokio::io::AsyncReadExt as _;
        let name = &record.spec.name;
        if record.spec.user_data.is_none() {
            return Ok(());
        }
        let container = self.running(name).await?;
        let mut exec = container
            .exec(ExecSpec {
                args: vec![SCRIPT.to_owned()],
                cwd: Some("/".into()),
                user: Some(UserSpec::default()),
                ..ExecSpec::default()
            })
            .await
            .map_err(Error::container(name))?;
        let (out, err) = (exec.stdout.take(), exec.stderr.take());
        let read = |stream: Option<consort_runtime::Output>| async move {
            let mut all = Vec::new();
            if let Some(mut stream) = stream {
                // As much as a log of it may hold; a script that says more goes on unheard.
                let _ = (&mut stream).take(SAID_MAX).read_to_end(&mut all).await;
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
            all
        };
        let done = async { tokio::join!(read(out), read(err), exec.wait()) };
        let (out, err, code) = tokio::time::timeout(crate::machines::SCRIPT_TIME, done)
            .await
            .map_err(|_| Error::UserData {
                name: name.clone(),
                code: 124,
                said: format!(": not done after {:?}", crate::machines::SCRIPT_TIME),
            })?;
        let path = self.records.home(name).join("user-data.log");
        let said = [out, err].concat();
        std::fs::write(&path, &said).map_err(Error::io("writing", &path))?;
        let code = code.map_err(Error::container(name))?;
        if code != 0 {
            return Err(Error::UserData {
                name: name.clone(),
                code,
                said: crate::console::last(&path, false),
            });
        }
        Ok(())
    }
}

/// The files asked for, and root's keys.
pub(crate) fn write_files(root: &Root, spec: &MachineSpec) -> io::Result<()> {
    for file in &spec.files {
        root.write(&file.path, &file.content, file.mode)?;
    }
    let keys = spec.ssh_keys.join("\n");
    let path = Path::new("/root/.ssh/authorized_keys");
    if !keys.is_empty() || root.exists(path) {
        root.write_part(path, &keys, "", 0o600, 0o700)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Resolved;
    use crate::records::Stage;

    fn record(base: Base, image: Option<Resolved>) -> MachineRecord {
        MachineRecord {
            spec: MachineSpec::new("a", base, "lan"),
            number: 0,
            address: std::net::Ipv4Addr::new(10, 0, 0, 2),
            mac: String::new(),
            image,
            stage: Stage::Made,
            created: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_machine_runs_what_it_was_told_or_its_image_or_its_init_or_nothing() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let image = |entrypoint: &[&str], cmd: &[&str]| {
            let resolved = Resolved {
                entrypoint: words(entrypoint),
                cmd: words(cmd),
                ..Resolved::default()
            };
            record(Base::Image("x".to_owned()), Some(resolved))
        };
        let of = |record: &MachineRecord, has_init| {
            let program = program(record, has_init);
            (program.args.join(" "), program.supervised)
        };
        assert_eq!(
            of(&image(&["serve"], &["-p", "80"]), true),
            ("serve -p 80".to_owned(), true)
        );
        assert_eq!(of(&image(&[], &["/bin/bash"]), true), (String::new(), true));
        assert_eq!(
            of(&image(&[], &["/lib/systemd/systemd"]), true),
            ("/lib/systemd/systemd".to_owned(), false)
        );
        let root = record(Base::Root("/srv/x".into()), None);
        assert_eq!(of(&root, true), ("/sbin/init".to_owned(), false));
        assert_eq!(of(&root, false), (String::new(), true));
        let mut told = image(&["serve"], &[]);
        told.spec.command = Some(Vec::new());
        assert_eq!(of(&told, true), (String::new(), true));
    }

    #[test]
    fn the_environment_asked_for_wins_over_the_images() {
        let image = Resolved {
            env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()],
            ..Resolved::default()
        };
        let mut record = record(Base::Image("x".to_owned()), Some(image));
        record.spec.env = BTreeMap::from([("A".to_owned(), "own".to_owned())]);
        assert_eq!(
            environment(&record),
            ["A=own", "PATH=/bin", "container=consort"]
        );
    }
}
