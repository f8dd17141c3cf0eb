//! Processes executed in containers, and attachments to their streams.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::client::Connection;
use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::spec::ExecSpec;
use crate::sys;
use crate::wire::{Reply, Request};

/// Input of a process.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// Output of a process.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// A process that was executed in a container. Dropping it kills the process.
pub struct Exec {
    /// Its standard input, if asked for; dropping it is end of file (not with a terminal).
    pub stdin: Option<Input>,
    /// Its standard output, or the terminal.
    pub stdout: Option<Output>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<Output>,
    terminal: Option<Terminal>,
    sandbox: Sandbox,
    container: String,
    connection: Connection,
    code: Option<i32>,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec")
            .field("container", &self.container)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// The streams of one side, and the descriptors for the other.
struct Pipes {
    stdin: Option<Input>,
    stdout: Output,
    stderr: Option<Output>,
    theirs: Vec<OwnedFd>,
}

impl Pipes {
    fn open(stdin: bool, stderr: bool) -> io::Result<Self> {
        let mut theirs = Vec::with_capacity(3);
        let stdin = if stdin {
            let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
            theirs.push(read);
            Some(Box::new(pipe::Sender::from_owned_fd(write)?) as Input)
        } else {
            None
        };
        let mut output = || -> io::Result<Output> {
            let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
            theirs.push(write);
            Ok(Box::new(pipe::Receiver::from_owned_fd(read)?))
        };
        let stdout = output()?;
        let stderr = if stderr { Some(output()?) } else { None };
        Ok(Self {
            stdin,
            stdout,
            stderr,
            theirs,
        })
    }
}

fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

impl Exec {
    pub(crate) async fn start(
        sandbox: Sandbox,
        container: &str,
        spec: ExecSpec,
    ) -> Result<Self, Error> {
        let (tty, wants_stdin) = (spec.tty, spec.stdin);
        let request = Request::Exec {
            id: container.to_owned(),
            spec: Box::new(spec),
        };
        let pipes = if tty {
            None
        } else {
            Some(Pipes::open(wants_stdin, true).map_err(Error::io("making pipes"))?)
        };
        let theirs = pipes
            .as_ref()
            .map(|pipes| borrowed(&pipes.theirs))
            .unwrap_or_default();
        let mut connection = sandbox.open(&request, &theirs).await?;
        let reply = sandbox.reply(&mut connection, container).await?;
        let Reply::ExecStarted = reply else {
            return Err(Error::Shim {
                sandbox: sandbox.id().to_owned(),
                message: format!("an unexpected reply: {reply:?}"),
            });
        };
        let mut exec = Self {
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            sandbox,
            container: container.to_owned(),
            connection,
            code: None,
        };
        if let Some(pipes) = pipes {
            exec.stdin = pipes.stdin;
            exec.stdout = Some(pipes.stdout);
            exec.stderr = pipes.stderr;
        } else {
            let fd = exec.connection.take_fd().ok_or_else(|| Error::Shim {
                sandbox: exec.sandbox.id().to_owned(),
                message: "no terminal came with the reply".to_owned(),
            })?;
            let terminal = Terminal::new(fd).map_err(Error::io("using the terminal"))?;
            exec.stdin = wants_stdin.then(|| Box::new(terminal.clone()) as Input);
            exec.stdout = Some(Box::new(terminal.clone()));
            exec.terminal = Some(terminal);
        }
        Ok(exec)
    }

    /// Sets the size of its terminal, if it has one.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        match &self.terminal {
            Some(terminal) => sys::set_window(terminal.0.get_ref().as_fd(), columns, rows)
                .map_err(Error::io("resizing the terminal")),
            None => Ok(()),
        }
    }

    /// A handle with which others can set the size while this one is being waited for.
    pub fn resizer(&self) -> Resizer {
        Resizer(self.terminal.clone())
    }

    /// Waits for it and gives its exit code, 128 + n for signal n. Safe to cancel.
    pub async fn wait(&mut self) -> Result<i32, Error> {
        loop {
            if let Some(code) = self.code {
                return Ok(code);
            }
            match self
                .sandbox
                .reply(&mut self.connection, &self.container)
                .await
            {
                Ok(Reply::ExecExited(code)) => self.code = Some(code),
                Ok(_) => {}
                // The container went down with its shim, and the process with it.
                Err(Error::ShimGone(_)) => self.code = Some(137),
                Err(error) => return Err(error),
            }
        }
    }

    /// Kills it; [`Exec::wait`] then gives 137.
    pub async fn kill(&mut self) -> Result<(), Error> {
        let request = Request::KillExec {
            signal: libc::SIGKILL,
        };
        self.connection
            .send(&request, &[])
            .await
            .map_err(Error::io("telling the shim to kill a process"))
    }
}

/// Sets the size of a terminal.
#[derive(Clone, Debug)]
pub struct Resizer(Option<Terminal>);

impl Resizer {
    /// Sets the size; does nothing if there is no terminal.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        match &self.0 {
            Some(terminal) => sys::set_window(terminal.0.get_ref().as_fd(), columns, rows)
                .map_err(Error::io("resizing the terminal")),
            None => Ok(()),
        }
    }
}

/// A connection to the standard streams of a container. Its outputs end when the container ends; dropping
/// it leaves the container alone.
pub struct Attach {
    /// Its standard input, if asked for and opened.
    pub stdin: Option<Input>,
    /// Its standard output, or the terminal.
    pub stdout: Option<Output>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<Output>,
    sandbox: Sandbox,
    container: String,
    _connection: Connection,
}

impl std::fmt::Debug for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attach")
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl Attach {
    pub(crate) async fn start(
        sandbox: Sandbox,
        container: &str,
        tty: bool,
        stdin: bool,
    ) -> Result<Self, Error> {
        let request = Request::Attach {
            id: container.to_owned(),
            stdin,
        };
        let pipes = Pipes::open(stdin, !tty).map_err(Error::io("making pipes"))?;
        let mut connection = sandbox.open(&request, &borrowed(&pipes.theirs)).await?;
        let reply = sandbox.reply(&mut connection, container).await?;
        let Reply::Attached { stdin: takes, .. } = reply else {
            return Err(Error::Shim {
                sandbox: sandbox.id().to_owned(),
                message: format!("an unexpected reply: {reply:?}"),
            });
        };
        Ok(Self {
            stdin: pipes.stdin.filter(|_| takes),
            stdout: Some(pipes.stdout),
            stderr: pipes.stderr,
            sandbox,
            container: container.to_owned(),
            _connection: connection,
        })
    }

    /// Sets the size of its terminal, if it has one.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        let request = Request::Resize {
            id: self.container.clone(),
            columns,
            rows,
        };
        self.sandbox.ask(&self.container, request).await.map(|_| ())
    }
}

/// The agent's side of a pseudo-terminal.
#[derive(Clone, Debug)]
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self(Arc::new(sys::watch(fd)?)))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            match guard.try_io(|fd| Ok(nix::unistd::read(fd, buffer.initialize_unfilled())?)) {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // How Linux says that the other side is closed: the end.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|fd| Ok(nix::unistd::write(fd, bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
