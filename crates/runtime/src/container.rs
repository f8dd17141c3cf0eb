//! A handle on one container.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::Error;
use crate::exec::{Attach, Exec};
use crate::layout::{self, CONTAINERS};
use crate::sandbox::{Sandbox, blocking};
use crate::signal;
use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::{Exit, State, Stats};
use crate::wire::{Reply, Request};

/// A container. Cheap to clone; dropping it leaves the container as it is.
#[derive(Clone, Debug)]
pub struct Container(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sandbox: Sandbox,
    spec: ContainerSpec,
}

impl Container {
    pub(crate) fn new(sandbox: Sandbox, spec: ContainerSpec) -> Self {
        Self(Arc::new(Inner { sandbox, spec }))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.0.spec.id
    }

    /// What it was asked to be.
    pub fn spec(&self) -> &ContainerSpec {
        &self.0.spec
    }

    fn dir(&self) -> PathBuf {
        self.0.sandbox.dir().join(CONTAINERS).join(self.id())
    }

    async fn ask(&self, request: Request) -> Result<Reply, Error> {
        self.0.sandbox.ask(self.id(), request).await
    }

    fn unexpected(&self, reply: &Reply) -> Error {
        Error::Shim {
            sandbox: self.0.sandbox.id().to_owned(),
            message: format!("an unexpected reply: {reply:?}"),
        }
    }

    /// Where it is in its life. An exited container can be asked about whether its shim lives or not.
    pub async fn state(&self) -> Result<State, Error> {
        if let Some(exit) = layout::read_exit(&self.dir()) {
            return Ok(State::Exited(exit));
        }
        match self
            .ask(Request::State {
                id: self.id().to_owned(),
            })
            .await
        {
            Ok(Reply::State(state)) => Ok(state),
            Ok(reply) => Err(self.unexpected(&reply)),
            Err(error @ Error::ShimGone(_)) => layout::read_exit(&self.dir())
                .map(State::Exited)
                .ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Starts its program; returns when it runs, or with [`Error::Start`] if it could not be executed.
    pub async fn start(&self) -> Result<(), Error> {
        self.ask(Request::Start {
            id: self.id().to_owned(),
        })
        .await
        .map(|_| ())
    }

    /// Waits until it has ended. Safe to cancel.
    pub async fn wait(&self) -> Result<Exit, Error> {
        if let Some(exit) = layout::read_exit(&self.dir()) {
            return Ok(exit);
        }
        match self
            .ask(Request::Wait {
                id: self.id().to_owned(),
            })
            .await
        {
            Ok(Reply::Exited(exit)) => Ok(exit),
            Ok(reply) => Err(self.unexpected(&reply)),
            Err(error @ (Error::ShimGone(_) | Error::Shim { .. })) => {
                layout::read_exit(&self.dir()).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to its first process.
    pub async fn kill(&self, signal: i32) -> Result<(), Error> {
        self.ask(Request::Kill {
            id: self.id().to_owned(),
            signal,
        })
        .await
        .map(|_| ())
    }

    /// Sends its stop signal, and SIGKILL after `grace`. Returns when it has ended.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, Error> {
        let signal = signal::parse(&self.0.spec.stop_signal)?;
        for (signal, patience) in [(signal, grace), (libc::SIGKILL, Duration::from_secs(60))] {
            match self.kill(signal).await {
                // It has just ended.
                Err(Error::WrongState { .. } | Error::ShimGone(_)) | Ok(()) => {}
                Err(error) => return Err(error),
            }
            if let Ok(result) = timeout(patience, self.wait()).await {
                return result;
            }
        }
        Err(Error::Shim {
            sandbox: self.0.sandbox.id().to_owned(),
            message: format!("container {} does not end after SIGKILL", self.id()),
        })
    }

    /// Removes it; a running container is killed first.
    pub async fn remove(&self) -> Result<(), Error> {
        match self
            .ask(Request::Remove {
                id: self.id().to_owned(),
            })
            .await
        {
            Err(Error::ShimGone(_)) => {
                let dir = self.dir();
                blocking("removing the container", move || layout::remove_dir(&dir)).await
            }
            Err(Error::NotFound { .. }) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Runs one more process in it. Dropping the [`Exec`] kills the process.
    pub async fn exec(&self, spec: ExecSpec) -> Result<Exec, Error> {
        Exec::start(self.0.sandbox.clone(), self.id(), spec).await
    }

    /// Connects to its standard streams; `stdin` asks for its input too, if it was opened.
    pub async fn attach(&self, stdin: bool) -> Result<Attach, Error> {
        Attach::start(self.0.sandbox.clone(), self.id(), self.0.spec.tty, stdin).await
    }

    /// Sets the size of its terminal, if it has one.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        self.ask(Request::Resize {
            id: self.id().to_owned(),
            columns,
            rows,
        })
        .await
        .map(|_| ())
    }

    /// Opens the log file anew, after someone else has moved it away.
    pub async fn reopen_log(&self) -> Result<(), Error> {
        self.ask(Request::ReopenLog {
            id: self.id().to_owned(),
        })
        .await
        .map(|_| ())
    }

    /// Use of resources.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let cgroup = self.0.sandbox.pod().child(self.id());
        blocking("reading the use of resources", move || cgroup.stats()).await
    }

    /// Its root file system as the host can reach it; `None` unless it runs.
    pub async fn rootfs_path(&self) -> Result<Option<PathBuf>, Error> {
        Ok(match self.state().await? {
            State::Running { pid, .. } => Some(PathBuf::from(format!("/proc/{pid}/root"))),
            _ => None,
        })
    }
}
