//! The machines of one instance: made, changed, started, stopped, removed, looked at.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use consort_net::bridge::MacAddress;
use consort_runtime::{Exec, ExecSpec, Runtime};
use jiff::Timestamp;

use crate::check;
use crate::container::write_files;
use crate::error::Error;
use crate::images::{Images, Resolved};
use crate::names;
use crate::networks::{allocate, check_ports};
use crate::records::{Lock, MachineRecord, NetworkRecord, Records, Stage};
use crate::spec::{Base, MachineSpec};

/// How long a machine gets to stop by itself before it is ended.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// How long a first-boot script may take.
pub(crate) const SCRIPT_TIME: Duration = Duration::from_secs(3600);

/// Where machines are kept, and what they are told from others by.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory for everything; made when the first network or machine is.
    pub dir: PathBuf,
    /// Name of the instance in links, tables and control groups: 1 to 6 characters of `a-z0-9`.
    pub instance: String,
    /// The executable that calls [`consort_runtime::shim_main`].
    pub shim_exe: PathBuf,
}

/// The machines and networks of one instance. Cheap to clone; dropping it leaves everything as it is.
#[derive(Clone)]
pub struct Machines(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) records: Records,
    runtime: OnceLock<Runtime>,
}

/// A machine as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What was asked for.
    pub spec: MachineSpec,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: String,
    /// Exactly which image it is made from.
    pub digest: Option<String>,
    /// Whether it runs.
    pub state: State,
    /// When it was made.
    pub created: Timestamp,
}

/// Where a machine is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody is making it, or died while making it.
    Making,
    /// It runs.
    Running {
        /// Its first process, or QEMU, as the host sees it.
        pid: i32,
    },
    /// It was stopped, or its host was started again.
    Stopped,
    /// It ended by itself.
    Ended {
        /// Exit code of its first process.
        code: i32,
        /// More about it, if anything is known.
        message: String,
    },
}

impl State {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Making => f.write_str("unfinished"),
            Self::Running { .. } => f.write_str("running"),
            Self::Stopped => f.write_str("stopped"),
            Self::Ended { code, .. } => write!(f, "ended ({code})"),
        }
    }
}

pub(crate) fn check_root() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(Error::NotRoot)
    }
}

/// Runs what blocks off the reactor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Closed)?
}

impl Inner {
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.options.dir.join("runtime")
    }

    pub(crate) fn runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        check_root()?;
        let runtime = Runtime::new(consort_runtime::Options {
            root: self.runtime_dir(),
            shim_exe: self.options.shim_exe.clone(),
            cgroup_parent: format!("consort-{}-machines", self.options.instance),
        })
        .map_err(Error::container("(any)"))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    pub(crate) fn network_of(&self, machine: &MachineRecord) -> Result<NetworkRecord, Error> {
        let name = &machine.spec.network;
        self.records
            .network(name)?
            .ok_or_else(|| Error::no_network(name))
    }

    async fn state(&self, record: &MachineRecord) -> Result<State, Error> {
        if record.stage == Stage::Making {
            return Ok(State::Making);
        }
        let name = &record.spec.name;
        if record.is_virtual() {
            Ok(self.vm_state(name))
        } else {
            self.container_state(name).await
        }
    }

    async fn shown(&self, record: MachineRecord) -> Result<Machine, Error> {
        Ok(Machine {
            state: self.state(&record).await?,
            address: record.address,
            mac: record.mac,
            digest: record.image.map(|image| image.digest),
            created: record.created,
            spec: record.spec,
        })
    }

    async fn bring_up(self: &Arc<Self>, record: &MachineRecord) -> Result<(), Error> {
        if record.is_virtual() {
            self.start_vm(record).await
        } else {
            self.start_container(record).await
        }
    }

    async fn take_down(
        self: &Arc<Self>,
        record: &MachineRecord,
        grace: Duration,
    ) -> Result<(), Error> {
        if record.is_virtual() {
            self.stop_vm(record, grace).await
        } else {
            self.stop_container(record, grace).await
        }
    }

    /// Gives a new machine its place and writes it down.
    fn admit(&self, spec: MachineSpec, image: Option<Resolved>) -> Result<MachineRecord, Error> {
        let _lock = self.records.lock()?;
        let machines = self.records.machines()?;
        let network = self
            .records
            .network(&spec.network)?
            .ok_or_else(|| Error::no_network(&spec.network))?;
        let address = allocate(&network.spec, &spec, &machines)?;
        check_ports(&spec, &machines)?;
        let mac = match &spec.mac {
            Some(mac) => mac.to_lowercase(),
            None => MacAddress::of(address).to_string(),
        };
        let number = (0..=u32::MAX)
            .find(|number| machines.iter().all(|machine| machine.number != *number))
            .unwrap_or_default();
        if let Some(missing) = image
            .iter()
            .flat_map(|image| &image.layers)
            .find(|layer| !layer.is_dir())
        {
            return Err(Error::Invalid(format!(
                "the image was removed while the machine was made: {} is gone",
                missing.display()
            )));
        }
        let record = MachineRecord {
            spec,
            number,
            address,
            mac,
            image,
            stage: Stage::Making,
            created: Timestamp::now(),
        };
        self.records.write_machine(&record)?;
        if !record.spec.ports.is_empty() {
            self.write_firewall()?;
        }
        Ok(record)
    }

    /// Removes everything of a machine. With its lock.
    async fn erase(self: &Arc<Self>, record: MachineRecord) -> Result<(), Error> {
        self.take_down(&record, Duration::ZERO).await?;
        let inner = self.clone();
        blocking(move || {
            let _lock = inner.records.lock()?;
            inner.records.remove_machine(&record.spec.name)?;
            if !record.spec.ports.is_empty() {
                inner.write_firewall()?;
            }
            if inner.records.machines()?.is_empty() {
                // The last one takes the control groups along.
                inner
                    .runtime()?
                    .close()
                    .map_err(Error::container(&record.spec.name))?;
            }
            Ok(())
        })
        .await
    }

    async fn lock(self: &Arc<Self>, name: &str) -> Result<Lock, Error> {
        let (inner, name) = (self.clone(), name.to_owned());
        blocking(move || {
            check_root()?;
            inner.records.prepare()?;
            inner.records.lock_machine(&name)
        })
        .await
    }

    /// A machine's record, which has to be there.
    fn known(&self, name: &str) -> Result<MachineRecord, Error> {
        self.records
            .machine(name)?
            .ok_or_else(|| Error::no_machine(name))
    }
}

impl Machines {
    /// What is recorded below the directory. Touches nothing.
    ///
    /// # Errors
    /// When the name of the instance cannot be used.
    pub fn open(options: Options) -> Result<Self, Error> {
        let name = &options.instance;
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || name.len() > 6 || !name.bytes().all(fine) {
            return Err(Error::Invalid(format!(
                "instance {name:?}: expected 1 to 6 characters of a-z and 0-9"
            )));
        }
        Ok(Self(Arc::new(Inner {
            records: Records::new(options.dir.clone()),
            options,
            runtime: OnceLock::new(),
        })))
    }

    pub(crate) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }

    /// What can be said against a machine without looking at what there is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(spec: &MachineSpec) -> Result<(), Error> {
        check::machine(spec)
    }

    /// What can be said against a network without looking at what there is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_network(spec: &crate::NetworkSpec) -> Result<(), Error> {
        check::network(spec)
    }

    /// Makes a machine, and starts it if it is to run. On an error nothing is left of it.
    ///
    /// # Errors
    /// When the name is taken, the network is not there, or it cannot be started.
    pub async fn create(&self, spec: MachineSpec, images: &dyn Images) -> Result<Machine, Error> {
        check::machine(&spec)?;
        check::present(&spec)?;
        check_root()?;
        let name = spec.name.clone();
        // Before anything long: a name that is taken needs no image.
        if self
            .0
            .records
            .machine(&name)?
            .is_some_and(|there| there.stage == Stage::Made)
        {
            return Err(Error::Exists {
                what: "machine",
                name,
            });
        }
        let (image, hold) = match &spec.base {
            Base::Image(image) => {
                let resolved = images.resolve(image).await;
                let (resolved, hold) = resolved.map_err(|source| Error::Image {
                    name: image.clone(),
                    source,
                })?;
                (Some(resolved), Some(hold))
            }
            _ => (None, None),
        };
        let _lock = self.0.lock(&name).await?;
        if let Some(there) = self.0.records.machine(&name)? {
            if there.stage == Stage::Made {
                return Err(Error::Exists {
                    what: "machine",
                    name,
                });
            }
            // Its maker died: nobody holds its lock.
            self.0.erase(there).await?;
        }
        let inner = self.inner();
        let record = blocking(move || inner.admit(spec, image)).await?;
        drop(hold);
        match self.finish(record.clone()).await {
            Ok(()) => {
                self.refresh_names(&record.spec.network).await?;
                self.0.shown(self.0.known(&name)?).await
            }
            Err(error) => {
                if let Err(second) = self.0.erase(record).await {
                    tracing::warn!(machine = name, error = %second, "removing a machine that could not be made");
                }
                Err(error)
            }
        }
    }

    async fn finish(&self, mut record: MachineRecord) -> Result<(), Error> {
        if record.spec.running {
            self.0.bring_up(&record).await?;
            if !record.is_virtual() {
                self.0.run_user_data(&record).await?;
            }
        }
        record.stage = Stage::Made;
        let inner = self.inner();
        blocking(move || inner.records.write_machine(&record)).await
    }

    /// Makes an existing machine one of this specification, in place; it is stopped and started where it has to be.
    ///
    /// # Errors
    /// When it would have to be another machine, or does not start again; then it is stopped.
    pub async fn update(&self, spec: MachineSpec) -> Result<Machine, Error> {
        check::machine(&spec)?;
        check::present(&spec)?;
        let name = spec.name.clone();
        let _lock = self.0.lock(&name).await?;
        let before = self.0.known(&name)?;
        let fixed = spec
            .address
            .is_some_and(|address| address != before.address)
            || spec
                .mac
                .as_ref()
                .is_some_and(|mac| !mac.eq_ignore_ascii_case(&before.mac));
        if fixed || !before.spec.same_machine(&spec) {
            return Err(Error::Invalid(format!(
                "machine \"{name}\" cannot be changed to what was asked for; it would have to be another one"
            )));
        }
        let runs = self.0.state(&before).await?.is_running();
        let restart = runs && (!spec.running || before.spec.needs_restart(&spec));
        let after = MachineRecord {
            spec,
            ..before.clone()
        };
        let (inner, record) = (self.inner(), after.clone());
        blocking(move || {
            let _lock = inner.records.lock()?;
            check_ports(&record.spec, &inner.records.machines()?)?;
            inner.records.write_machine(&record)?;
            inner.write_firewall()
        })
        .await?;
        if restart {
            self.0.take_down(&before, STOP_GRACE).await?;
        } else if runs && before.spec.routes != after.spec.routes {
            let (inner, before, after) = (self.inner(), before.clone(), after.clone());
            blocking(move || inner.change_routes(&before, &after)).await?;
        }
        if after.spec.running && (restart || !runs) {
            self.0.bring_up(&after).await?;
        } else if runs
            && !restart
            && (before.spec.files != after.spec.files
                || before.spec.ssh_keys != after.spec.ssh_keys)
        {
            let spec = after.spec.clone();
            self.0
                .online(&name, move |root| write_files(root, &spec))
                .await?;
        }
        self.refresh_names(&after.spec.network).await?;
        self.0.shown(self.0.known(&name)?).await
    }

    /// Starts a machine that does not run; one that runs is left alone.
    ///
    /// # Errors
    /// When there is no such machine, or it does not start.
    pub async fn start(&self, name: &str) -> Result<Machine, Error> {
        let _lock = self.0.lock(name).await?;
        self.start_locked(name).await
    }

    async fn start_locked(&self, name: &str) -> Result<Machine, Error> {
        let mut record = self.0.known(name)?;
        if record.stage == Stage::Making {
            return Err(Error::Invalid(format!(
                "machine \"{name}\" was never finished; remove it and make it again"
            )));
        }
        if !record.spec.running {
            record.spec.running = true;
            self.0.records.write_machine(&record)?;
        }
        if !self.0.state(&record).await?.is_running() {
            self.0.bring_up(&record).await?;
            self.refresh_names(&record.spec.network).await?;
        }
        self.0.shown(record).await
    }

    /// Starts a machine that was meant to run and does not, if its restart policy says so and nobody is at work on it.
    /// Gives whether it was started.
    pub(crate) async fn revive(&self, name: &str) -> Result<bool, Error> {
        let (inner, own) = (self.inner(), name.to_owned());
        let Some(_lock) = blocking(move || inner.records.try_lock_machine(&own)).await? else {
            return Ok(false);
        };
        let Some(record) = self.0.records.machine(name)? else {
            return Ok(false);
        };
        let state = self.0.state(&record).await?;
        if !crate::keep::wanted(&record, &state) {
            return Ok(false);
        }
        self.start_locked(name).await.map(|_| true)
    }

    /// Stops a machine; what it has written stays. `grace` is how long it gets to end by itself.
    ///
    /// # Errors
    /// When there is no such machine, or it does not end.
    pub async fn stop(&self, name: &str, grace: Option<Duration>) -> Result<Machine, Error> {
        let _lock = self.0.lock(name).await?;
        let mut record = self.0.known(name)?;
        record.spec.running = false;
        self.0.records.write_machine(&record)?;
        self.0
            .take_down(&record, grace.unwrap_or(STOP_GRACE))
            .await?;
        self.0.shown(record).await
    }

    /// Removes a machine and all it has written, running or not. One that is not there is no error.
    ///
    /// # Errors
    /// When something of it cannot be removed; it can be repeated then.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        if !self.0.records.dir().exists() || self.0.records.machine(name)?.is_none() {
            return Ok(());
        }
        let _lock = self.0.lock(name).await?;
        let Some(record) = self.0.records.machine(name)? else {
            return Ok(());
        };
        let network = record.spec.network.clone();
        self.0.erase(record).await?;
        self.refresh_names(&network).await
    }

    /// A machine by name.
    ///
    /// # Errors
    /// When its record cannot be read, or its shim does not answer.
    pub async fn get(&self, name: &str) -> Result<Option<Machine>, Error> {
        match self.0.records.machine(name)? {
            Some(record) => self.0.shown(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// All machines, by name.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn list(&self) -> Result<Vec<Machine>, Error> {
        let mut all = Vec::new();
        for record in self.0.records.machines()? {
            all.push(self.0.shown(record).await?);
        }
        Ok(all)
    }

    /// Runs a command in a system container.
    ///
    /// # Errors
    /// When it does not run, is virtual, or the command cannot be executed.
    pub async fn exec(&self, name: &str, spec: ExecSpec) -> Result<Exec, Error> {
        let record = self.0.known(name)?;
        if record.is_virtual() {
            return Err(Error::Virtual(name.to_owned()));
        }
        let container = self.0.running(name).await?;
        container.exec(spec).await.map_err(Error::container(name))
    }

    /// Where a machine's output is kept, and whether its lines are stamped (see [`crate::console`]).
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn console(&self, name: &str) -> Result<(PathBuf, bool), Error> {
        let record = self.0.known(name)?;
        Ok((self.0.console_path(name), !record.is_virtual()))
    }

    /// Tells the running machines of a network each other's names.
    pub(crate) async fn refresh_names(&self, network: &str) -> Result<(), Error> {
        let (inner, name) = (self.inner(), network.to_owned());
        let found = blocking(move || {
            // Held until all are told: who knows less is not to write last.
            let lock = inner.records.lock()?;
            let Some(network) = inner.records.network(&name)? else {
                return Ok(None);
            };
            let machines = inner.records.machines()?;
            Ok(Some((names::hosts(&network, &machines), machines, lock)))
        })
        .await?;
        let Some((hosts, machines, _lock)) = found else {
            return Ok(());
        };
        let members = machines
            .iter()
            .filter(|machine| machine.spec.network == network && !machine.is_virtual());
        for machine in members {
            let text = hosts.clone();
            let written = self
                .0
                .online(&machine.spec.name, move |root| {
                    root.write_part(
                        names::HOSTS.as_ref(),
                        &text,
                        names::HOSTS_DEFAULT,
                        0o644,
                        0o755,
                    )
                })
                .await;
            // It may just have ended, and learns the names when it is started.
            if let Err(error) = written {
                tracing::warn!(machine = machine.spec.name, error = %error, "telling a machine the names of others");
            }
        }
        Ok(())
    }
}

impl Inner {
    fn change_routes(&self, before: &MachineRecord, after: &MachineRecord) -> Result<(), Error> {
        let network = self.network_of(after)?;
        let at = self.bridge(&network);
        for gone in before
            .spec
            .routes
            .iter()
            .filter(|route| !after.spec.routes.contains(route))
        {
            consort_net::bridge::unroute(*gone)?;
        }
        for route in &after.spec.routes {
            consort_net::bridge::route(&at, *route, after.address)?;
        }
        Ok(())
    }
}
