//! A handle on one container, and on processes and attachments in it.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Error;
use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::{Exit, State, Stats};

/// A container. Cheap to clone; dropping it leaves the container as it is.
#[derive(Clone, Debug)]
pub struct Container;

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// What it was asked to be.
    pub fn spec(&self) -> &ContainerSpec {
        todo!()
    }

    /// Where it is in its life.
    pub async fn state(&self) -> Result<State, Error> {
        todo!()
    }

    /// Starts its program; returns when it runs or could not be executed.
    pub async fn start(&self) -> Result<(), Error> {
        todo!()
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Result<Exit, Error> {
        todo!()
    }

    /// Sends a signal to its first process.
    pub async fn kill(&self, signal: i32) -> Result<(), Error> {
        todo!("{signal}")
    }

    /// Sends its stop signal, and SIGKILL after `grace`. Returns when it has ended.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, Error> {
        todo!("{grace:?}")
    }

    /// Removes it; a running container is killed first.
    pub async fn remove(&self) -> Result<(), Error> {
        todo!()
    }

    /// Runs one more process in it. Dropping the [`Exec`] kills the process.
    pub async fn exec(&self, spec: ExecSpec) -> Result<Exec, Error> {
        todo!("{spec:?}")
    }

    /// Connects to its standard streams; `stdin` asks for its input too, if it was opened.
    pub async fn attach(&self, stdin: bool) -> Result<Attach, Error> {
        todo!("{stdin}")
    }

    /// Opens the log file anew, after someone else has moved it away.
    pub async fn reopen_log(&self) -> Result<(), Error> {
        todo!()
    }

    /// Use of resources.
    pub async fn stats(&self) -> Result<Stats, Error> {
        todo!()
    }

    /// Its root file system as the host can reach it while it runs.
    pub async fn rootfs_path(&self) -> Result<Option<PathBuf>, Error> {
        todo!()
    }
}

/// Input of a process.
pub type Input = Pin<Box<dyn AsyncWrite + Send + Unpin>>;
/// Output of a process.
pub type Output = Pin<Box<dyn AsyncRead + Send + Unpin>>;

/// A process that was executed in a container.
pub struct Exec {
    /// Its standard input, if asked for; dropping it is end of file.
    pub stdin: Option<Input>,
    /// Its standard output, or the terminal.
    pub stdout: Option<Output>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<Output>,
}

impl Exec {
    /// Sets the size of its terminal.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        todo!("{columns} {rows}")
    }

    /// Waits for it and gives its exit code, 128 + n for signal n.
    pub async fn wait(&mut self) -> Result<i32, Error> {
        todo!()
    }

    /// Kills it.
    pub async fn kill(&mut self) -> Result<(), Error> {
        todo!()
    }
}

/// A connection to the standard streams of a container.
pub struct Attach {
    /// Its standard input, if asked for and opened.
    pub stdin: Option<Input>,
    /// Its standard output, or the terminal.
    pub stdout: Option<Output>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<Output>,
}

impl Attach {
    /// Sets the size of its terminal.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        todo!("{columns} {rows}")
    }
}
