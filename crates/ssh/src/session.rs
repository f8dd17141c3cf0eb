//! Commands on the other side.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use russh::client::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Pty};

use crate::Error;
use crate::connect::Client;

/// A connection that is logged in. Dropping it ends it.
pub struct Session {
    handle: Handle<Client>,
    /// The connection it runs through.
    jump: Option<Handle<Client>>,
    /// Whether the agent is still to be forwarded: a server takes that once.
    forward: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// The terminal a command gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its width.
    pub columns: u32,
    /// Its height.
    pub rows: u32,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With a status.
    Code(u32),
    /// By a signal, with what the other side says of it.
    Signal(String, String),
    /// The channel closed without a word.
    Missing,
}

impl Exit {
    /// Whether it did what it should.
    pub fn is_success(&self) -> bool {
        *self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "Process exited with status {code}"),
            Exit::Signal(name, message) => {
                write!(f, "Process exited with status 128 from signal {name}")?;
                if message.is_empty() {
                    Ok(())
                } else {
                    write!(f, ". Reason was: {message}")
                }
            }
            Exit::Missing => {
                f.write_str("wait: remote command exited without exit status or exit signal")
            }
        }
    }
}

/// A piece of what a command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// On its standard output.
    Out(Bytes),
    /// On its standard error.
    Err(Bytes),
}

/// A command that runs.
pub struct Exec {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    /// What came while something was sent.
    held: VecDeque<Output>,
    held_bytes: usize,
    exit: Exit,
}

/// How much a command may say while it is being written to and nobody reads.
const MOST_HELD: usize = 4 << 20;

impl Session {
    pub(crate) fn new(
        handle: Handle<Client>,
        jump: Option<Handle<Client>>,
        forward: bool,
    ) -> Session {
        Session {
            handle,
            jump,
            forward: AtomicBool::new(forward),
        }
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Starts a command, as the other side's shell reads it.
    ///
    /// # Errors
    /// [`Error::Session`] if the connection is broken, [`Error::Command`] if the other side refuses.
    pub async fn exec(&self, command: &str, terminal: Option<Terminal>) -> Result<Exec, Error> {
        let (read, write) = self.handle.channel_open_session().await?.split();
        let mut exec = Exec {
            read,
            write,
            held: VecDeque::new(),
            held_bytes: 0,
            exit: Exit::Missing,
        };
        if self.forward.swap(false, Ordering::Relaxed) {
            exec.write.agent_forward(true).await?;
            if !exec.granted().await? {
                tracing::debug!("the other side does not take the agent");
            }
        }
        if let Some(terminal) = terminal {
            let modes = [
                (Pty::ECHO, 0),
                (Pty::TTY_OP_ISPEED, 14_400),
                (Pty::TTY_OP_OSPEED, 14_400),
            ];
            exec.write
                .request_pty(true, "xterm", terminal.columns, terminal.rows, 0, 0, &modes)
                .await?;
            if !exec.granted().await? {
                return Err(Error::Command("pty-req failed".to_owned()));
            }
        }
        exec.write.exec(true, command).await?;
        if exec.granted().await? {
            Ok(exec)
        } else {
            Err(Error::Command(format!("command {command} failed")))
        }
    }

    /// Says good-bye.
    pub async fn close(self) {
        for handle in std::iter::once(self.handle).chain(self.jump) {
            let _ = handle.disconnect(Disconnect::ByApplication, "", "en").await;
        }
    }
}

impl Exec {
    /// Whether the other side does what it was asked last.
    async fn granted(&mut self) -> Result<bool, Error> {
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Success) => return Ok(true),
                Some(ChannelMsg::Failure) => return Ok(false),
                Some(message) => self.hold(message)?,
                None => return Err(Error::Session("EOF".to_owned())),
            }
        }
    }

    fn hold(&mut self, message: ChannelMsg) -> Result<(), Error> {
        if let Some(output) = take(&mut self.exit, message) {
            let (Output::Out(bytes) | Output::Err(bytes)) = &output;
            self.held_bytes += bytes.len();
            if self.held_bytes > MOST_HELD {
                return Err(Error::Session(
                    "ssh: the other side says too much".to_owned(),
                ));
            }
            self.held.push_back(output);
        }
        Ok(())
    }

    /// The next piece of what it says; none once it has ended.
    pub async fn next(&mut self) -> Option<Output> {
        if let Some(output) = self.held.pop_front() {
            let (Output::Out(bytes) | Output::Err(bytes)) = &output;
            self.held_bytes -= bytes.len();
            return Some(output);
        }
        loop {
            let message = self.read.wait().await?;
            if let Some(output) = take(&mut self.exit, message) {
                return Some(output);
            }
        }
    }

    /// How it ended, once [`Exec::next`] has given nothing.
    pub fn exit(&self) -> &Exit {
        &self.exit
    }

    /// Writes to its standard input, and keeps what it says meanwhile: else both could wait for each other.
    ///
    /// # Errors
    /// [`Error::Session`] once it has ended.
    pub async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        let mut came = Vec::new();
        let outcome = {
            let Exec { read, write, .. } = self;
            let mut sending = pin!(write.data_bytes(data));
            loop {
                tokio::select! {
                    biased;
                    done = &mut sending => break done.map_err(Error::from),
                    message = read.wait() => match message {
                        Some(message) => came.push(message),
                        None => break Err(Error::Session("EOF".to_owned())),
                    },
                }
                if came.len() > MOST_HELD / 1024 {
                    break Err(Error::Session(
                        "ssh: the other side says too much".to_owned(),
                    ));
                }
            }
        };
        for message in came {
            self.hold(message)?;
        }
        outcome
    }

    /// Ends its standard input.
    ///
    /// # Errors
    /// [`Error::Session`] if the connection is broken.
    pub async fn end(&mut self) -> Result<(), Error> {
        Ok(self.write.eof().await?)
    }
}

fn take(exit: &mut Exit, message: ChannelMsg) -> Option<Output> {
    match message {
        ChannelMsg::Data { data } => return Some(Output::Out(data)),
        ChannelMsg::ExtendedData { data, .. } => return Some(Output::Err(data)),
        ChannelMsg::ExitStatus { exit_status } => *exit = Exit::Code(exit_status),
        ChannelMsg::ExitSignal {
            signal_name,
            error_message,
            ..
        } => *exit = Exit::Signal(name(&signal_name), error_message),
        _ => {}
    }
    None
}

fn name(signal: &russh::Sig) -> String {
    match signal {
        russh::Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
