//! The process at the other end of a session: one that is executed, or the container's own.

use std::time::Duration;

use consort_runtime::{Attach, Container, Exec, ExecSpec};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;

/// What a session is connected to.
pub(super) enum Source {
    /// A new process.
    Exec {
        /// Where it runs.
        container: Container,
        /// Its program and arguments.
        command: Vec<String>,
    },
    /// The container's own first process.
    Attach {
        /// The container.
        container: Container,
    },
}

/// Which streams are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

/// A process with its streams taken out.
pub(super) enum Process {
    Exec(Exec),
    Attach {
        attach: Attach,
        container: Container,
    },
}

/// Input of a process.
pub(super) type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// Output of a process.
pub(super) type Output = Box<dyn AsyncRead + Send + Unpin>;

impl Source {
    /// Starts or attaches to the process.
    pub(super) async fn open(self, streams: Streams) -> Result<Process, Error> {
        match self {
            Self::Exec { container, command } => {
                let spec = ExecSpec {
                    args: command,
                    tty: streams.tty,
                    stdin: streams.stdin,
                    ..ExecSpec::default()
                };
                Ok(Process::Exec(container.exec(spec).await?))
            }
            Self::Attach { container } => {
                let attach = container.attach(streams.stdin).await?;
                Ok(Process::Attach { attach, container })
            }
        }
    }
}

impl Process {
    /// Its input, the first time.
    pub(super) fn stdin(&mut self) -> Option<Input> {
        match self {
            Self::Exec(exec) => exec.stdin.take(),
            Self::Attach { attach, .. } => attach.stdin.take(),
        }
    }

    /// Its output, the first time.
    pub(super) fn stdout(&mut self) -> Option<Output> {
        match self {
            Self::Exec(exec) => exec.stdout.take(),
            Self::Attach { attach, .. } => attach.stdout.take(),
        }
    }

    /// Its error output, the first time.
    pub(super) fn stderr(&mut self) -> Option<Output> {
        match self {
            Self::Exec(exec) => exec.stderr.take(),
            Self::Attach { attach, .. } => attach.stderr.take(),
        }
    }

    /// Waits for its end. Safe to cancel.
    pub(super) async fn wait(&mut self) -> Result<i32, Error> {
        match self {
            Self::Exec(exec) => Ok(exec.wait().await?),
            Self::Attach { container, .. } => Ok(container.wait().await?.code),
        }
    }

    /// Sets the size of its terminal.
    pub(super) async fn resize(&mut self, columns: u16, rows: u16) {
        let result = match self {
            Self::Exec(exec) => exec.resize(columns, rows),
            Self::Attach { container, .. } => container.resize(columns, rows).await,
        };
        if let Err(error) = result {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a terminal was not resized"
            );
        }
    }
}

/// How long output may still come after a process has ended: what it left running may hold its
/// streams open for ever.
pub(super) const DRAIN: Duration = Duration::from_secs(5);
