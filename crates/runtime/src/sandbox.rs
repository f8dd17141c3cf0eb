//! A handle on one sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cgroup::Cgroup;
use crate::client::Connection;
use crate::container::Container;
use crate::error::Error;
use crate::layout::{self, CONTAINERS, DEAD};
use crate::spec::{ContainerSpec, SandboxSpec};
use crate::state::{Exit, Stats};
use crate::sys;
use crate::wire::{Failure, Reply, Request};

/// How long killed processes may take to be gone.
const KILL_TIME: Duration = Duration::from_secs(15);

/// A pod sandbox. Cheap to clone; dropping it leaves the sandbox as it is.
#[derive(Clone, Debug)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: SandboxSpec,
    dir: PathBuf,
    pod: Cgroup,
    burial: Mutex<()>,
}

impl Sandbox {
    pub(crate) fn new(spec: SandboxSpec, dir: PathBuf, pod: Cgroup) -> Self {
        Self(Arc::new(Inner {
            spec,
            dir,
            pod,
            burial: Mutex::new(()),
        }))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(crate) fn pod(&self) -> &Cgroup {
        &self.0.pod
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.0.spec.id
    }

    /// What it was asked to be.
    pub fn spec(&self) -> &SandboxSpec {
        &self.0.spec
    }

    /// The labels it was made with.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.0.spec.labels
    }

    /// Whether its shim runs.
    pub fn alive(&self) -> bool {
        layout::shim_pid(&self.0.dir).is_some()
    }

    /// Its containers, in the order of their ids.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        layout::containers_in(&self.0.dir)
            .into_iter()
            .map(|dir| {
                let path = dir.join("spec.json");
                let text = fs::read(&path).map_err(Error::path("reading", &path))?;
                let spec = serde_json::from_slice(&text)
                    .map_err(|error| Error::path("reading", &path)(std::io::Error::other(error)))?;
                Ok(Container::new(self.clone(), spec))
            })
            .collect()
    }

    /// One of its containers.
    pub fn container(&self, id: &str) -> Option<Container> {
        layout::check_id("container", id).ok()?;
        let text = fs::read(self.0.dir.join(CONTAINERS).join(id).join("spec.json")).ok()?;
        Some(Container::new(
            self.clone(),
            serde_json::from_slice(&text).ok()?,
        ))
    }

    /// Makes a container: its root, namespaces and cgroup. Its program waits for [`Container::start`]. On
    /// failure nothing is left of it. A program that cannot be found, or a user that is not there, is
    /// an [`Error::Start`] already here.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Container, Error> {
        self.make(spec, false).await
    }

    /// [`Sandbox::create`] and [`Container::start`] in one round trip. If its program cannot be executed after
    /// all, the container stays, exited.
    pub async fn run(&self, spec: ContainerSpec) -> Result<Container, Error> {
        self.make(spec, true).await
    }

    async fn make(&self, spec: ContainerSpec, start: bool) -> Result<Container, Error> {
        layout::check_id("container", &spec.id)?;
        if spec.id == "pause" {
            return Err(Error::Invalid(
                "container id \"pause\" is taken by the sandbox".to_owned(),
            ));
        }
        if let Some(mount) = spec.mounts.iter().find(|mount| !mount.target.is_absolute()) {
            return Err(Error::Invalid(format!(
                "mount target {} is not absolute",
                mount.target.display()
            )));
        }
        let request = Request::Create {
            spec: Box::new(spec.clone()),
            start,
        };
        self.ask(&spec.id, request).await?;
        Ok(Container::new(self.clone(), spec))
    }

    /// Use of resources by the whole pod.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let pod = self.0.pod.clone();
        blocking("reading the use of resources", move || pod.stats()).await
    }

    /// Stops all containers: their stop signals, and after `grace` SIGKILL. Returns when all have ended.
    pub async fn stop(&self, grace: Duration) -> Result<(), Error> {
        let containers = self.containers()?;
        let results = join_all(containers.iter().map(|container| container.stop(grace))).await;
        results.into_iter().try_for_each(|result| match result {
            Err(Error::NotFound { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Kills every process of the pod and removes its cgroups, namespaces, mounts and files.
    pub async fn remove(&self) -> Result<(), Error> {
        // The shim does it in order; whatever it does not do is done below.
        if let Ok(mut connection) = Connection::open(&self.0.dir).await
            && connection.send(&Request::Shutdown, &[]).await.is_ok()
        {
            let _ = timeout(KILL_TIME, async {
                while connection.receive().await.is_ok() {}
            })
            .await;
        }
        let sandbox = self.clone();
        blocking("removing the sandbox", move || {
            sandbox.kill_shim()?;
            sandbox.0.pod.kill_all(KILL_TIME)?;
            sandbox.0.pod.remove()?;
            layout::remove_dir(&sandbox.0.dir)
        })
        .await
    }

    fn kill_shim(&self) -> Result<(), Error> {
        let end = std::time::Instant::now() + KILL_TIME;
        let mut asked_nicely = 0;
        while let Some(pid) = layout::shim_pid(&self.0.dir) {
            // It has been told and may just be on its way out.
            if asked_nicely > 20 {
                let _ = sys::kill(pid, libc::SIGKILL);
            }
            asked_nicely += 1;
            if std::time::Instant::now() > end {
                return Err(Error::Shim {
                    sandbox: self.id().to_owned(),
                    message: format!("process {pid} does not end"),
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// For a sandbox whose shim is gone: kills what it left and records the containers as ended.
    pub(crate) fn bury(&self) -> Result<(), Error> {
        let _one_at_a_time = self.0.burial.lock();
        // A shim that has only been started by now finds this and ends itself.
        fs::write(self.0.dir.join(DEAD), "")
            .map_err(Error::path("writing", self.0.dir.join(DEAD)))?;
        if self.alive() {
            return fs::remove_file(self.0.dir.join(DEAD))
                .map_err(Error::path("removing", self.0.dir.join(DEAD)));
        }
        // Counted before the cgroups go.
        let containers = layout::containers_in(&self.0.dir);
        self.0.pod.kill_all(KILL_TIME)?;
        for dir in containers {
            if layout::read_exit(&dir).is_some() {
                continue;
            }
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let exit = Exit {
                code: 137,
                signal: Some(libc::SIGKILL),
                oom: self.0.pod.child(&name).oom_kills() > 0,
                started_at: None,
                finished_at: Timestamp::now(),
                message: "the shim of the pod was gone, and the container was killed".to_owned(),
            };
            layout::write_exit(&dir, &exit).map_err(Error::path("writing exit in", &dir))?;
        }
        self.0.pod.remove()
    }

    /// Records that the shim is gone, off the reactor.
    pub(crate) async fn bury_soon(&self) -> Result<(), Error> {
        let sandbox = self.clone();
        blocking("cleaning up after a shim", move || sandbox.bury()).await
    }

    /// Sends a request and gives its connection, for those that have more to say on it.
    pub(crate) async fn open(
        &self,
        request: &Request,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<Connection, Error> {
        let result = async {
            let connection = Connection::open(&self.0.dir).await?;
            connection.send(request, fds).await?;
            Ok(connection)
        };
        match result.await {
            Ok(connection) => Ok(connection),
            Err(error) => Err(self.lost(error).await),
        }
    }

    /// The next reply about a container.
    pub(crate) async fn reply(
        &self,
        connection: &mut Connection,
        container: &str,
    ) -> Result<Reply, Error> {
        match connection.receive().await {
            Ok(Reply::Failed(failure)) => Err(self.explain(failure, container)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.lost(error).await),
        }
    }

    pub(crate) async fn ask(&self, container: &str, request: Request) -> Result<Reply, Error> {
        let mut connection = self.open(&request, &[]).await?;
        self.reply(&mut connection, container).await
    }

    /// What a broken connection means.
    async fn lost(&self, error: std::io::Error) -> Error {
        if !self.0.dir.exists() {
            return Error::NotFound {
                what: "sandbox",
                id: self.id().to_owned(),
            };
        }
        if self.alive() {
            return Error::Shim {
                sandbox: self.id().to_owned(),
                message: format!("talking to it: {error}"),
            };
        }
        match self.bury_soon().await {
            Ok(()) => Error::ShimGone(self.id().to_owned()),
            Err(error) => error,
        }
    }

    fn explain(&self, failure: Failure, container: &str) -> Error {
        let id = container.to_owned();
        match failure {
            Failure::NotFound => Error::NotFound {
                what: "container",
                id,
            },
            Failure::AlreadyExists => Error::AlreadyExists {
                what: "container",
                id,
            },
            Failure::WrongState { state, operation } => Error::WrongState {
                id,
                state,
                operation,
            },
            Failure::Start(message) => Error::Start(message),
            Failure::Other(message) => Error::Shim {
                sandbox: self.id().to_owned(),
                message,
            },
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(|error| Error::Io {
        doing,
        source: std::io::Error::other(error),
    })?
}
