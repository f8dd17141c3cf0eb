//! Starting a plugin, watching it, and ending it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::io::BufReader;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::channel::Channel;
use super::handshake::{self, Address, BadHandshake, Handshake};
use super::log::{self, Tail};
use super::provider::{Plugin, SharedSchemas};
use super::tls::Identity;
use super::wire;

/// By this a plugin knows that it was not started by hand.
const MAGIC_COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);

/// How long a plugin has to end by itself when asked to.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// How plugins are started.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// Added to the environment this process has.
    pub environment: BTreeMap<String, String>,
    /// The directory plugins run in; that of this process if none is said.
    pub directory: Option<PathBuf>,
    /// How long a plugin has to say where it listens and to accept a connection.
    pub start_timeout: Duration,
    /// Where schemas are kept between runs; `None` keeps them only in memory, for all plugins this launcher
    /// and its clones start.
    pub schema_cache: Option<PathBuf>,
    pub(super) shared: SharedSchemas,
}

impl Default for Launcher {
    fn default() -> Self {
        Self {
            environment: BTreeMap::new(),
            directory: None,
            start_timeout: Duration::from_secs(60),
            schema_cache: None,
            shared: SharedSchemas::default(),
        }
    }
}

/// A plugin that somebody else runs, for example under a debugger (`TF_REATTACH_PROVIDERS`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attach {
    /// `unix` or `tcp`.
    pub network: String,
    /// Path, or host and port.
    pub address: String,
    /// 5 or 6.
    pub protocol: u8,
}

impl Launcher {
    /// Runs a provider's program and connects to it.
    ///
    /// The program is in a process group of its own, so that an interrupt typed at a terminal reaches this
    /// process alone, which then asks the provider to stop. It is killed when the [`Plugin`] is dropped.
    pub async fn start(&self, binary: &Path) -> Result<Plugin, Error> {
        let identity = Identity::generate().map_err(Error::Identity)?;
        let mut process = Process::spawn(self, binary, &identity)?;
        let started = async {
            let handshake = process.handshake().await?;
            process.drain_standard_output();
            let channel = process.connect(&handshake, &identity).await?;
            Ok::<_, Error>((handshake, channel))
        };
        let outcome = match tokio::time::timeout(self.start_timeout, started).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::HandshakeTimeout {
                binary: binary.to_owned(),
                timeout: self.start_timeout,
            }),
        };
        match outcome {
            Ok((handshake, channel)) => {
                process.drain_streams(&channel);
                Ok(Plugin::new(
                    process,
                    channel,
                    handshake.protocol,
                    self.schema_cache.clone(),
                    self.shared.clone(),
                ))
            }
            Err(error) => {
                process.kill().await;
                Err(error)
            }
        }
    }

    /// Connects to a provider that runs already. It is not ended when the [`Plugin`] is closed.
    pub async fn attach(&self, name: &str, attach: &Attach) -> Result<Plugin, Error> {
        let binary = PathBuf::from(name);
        let bad = |source| Error::Handshake {
            binary: binary.clone(),
            source,
            output: String::new(),
        };
        let address = handshake::parse_address(&attach.network, &attach.address).map_err(bad)?;
        if attach.protocol != 5 && attach.protocol != 6 {
            return Err(bad(BadHandshake::Protocol {
                version: attach.protocol.to_string(),
            }));
        }
        let process = Process::foreign(&binary);
        let connect = Channel::connect(
            &address,
            None,
            &process.tasks,
            process.closing.clone(),
            false,
        );
        let channel = match tokio::time::timeout(self.start_timeout, connect).await {
            Ok(channel) => channel.map_err(|source| Error::Connect {
                binary: binary.clone(),
                source,
            })?,
            Err(_) => {
                return Err(Error::HandshakeTimeout {
                    binary,
                    timeout: self.start_timeout,
                });
            }
        };
        Ok(Plugin::new(
            process,
            channel,
            attach.protocol,
            None,
            SharedSchemas::default(),
        ))
    }
}

/// A plugin's process and the tasks that belong to it.
pub(crate) struct Process {
    binary: PathBuf,
    name: Arc<str>,
    stdout: Option<BufReader<ChildStdout>>,
    tail: Tail,
    /// Ends the connection and all tasks but the one that waits for the process.
    closing: CancellationToken,
    /// Kills the process.
    killing: CancellationToken,
    tasks: TaskTracker,
    /// How it ended, once it has. `None` inside for a process that is not ours.
    ended: Option<watch::Receiver<Option<ExitStatus>>>,
    socket: Option<PathBuf>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.closing.cancel();
        self.killing.cancel();
    }
}

impl Process {
    fn spawn(launcher: &Launcher, binary: &Path, identity: &Identity) -> Result<Self, Error> {
        let mut command = Command::new(binary);
        if let Some(directory) = &launcher.directory {
            command.current_dir(directory);
        }
        command
            .envs(&launcher.environment)
            .env(MAGIC_COOKIE.0, MAGIC_COOKIE.1)
            .env("PLUGIN_MIN_PORT", "10000")
            .env("PLUGIN_MAX_PORT", "25000")
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .env("PLUGIN_CLIENT_CERT", &identity.certificate_pem)
            .env_remove("PLUGIN_MULTIPLEX_GRPC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| Error::Spawn {
            binary: binary.to_owned(),
            source,
        })?;
        let mut process = Self::foreign(binary);
        process.stdout = child.stdout.take().map(BufReader::new);
        if let Some(stderr) = child.stderr.take() {
            let (name, tail, closing) = (
                process.name.clone(),
                process.tail.clone(),
                process.killing.clone(),
            );
            process.tasks.spawn(async move {
                tokio::select! {
                    () = log::follow(stderr, &name, tail) => {}
                    () = closing.cancelled() => {}
                }
            });
        }
        let (sender, receiver) = watch::channel(None);
        process.ended = Some(receiver);
        process
            .tasks
            .spawn(wait(child, process.killing.clone(), sender));
        Ok(process)
    }

    fn foreign(binary: &Path) -> Self {
        let name = binary
            .file_name()
            .map_or_else(|| binary.to_string_lossy(), |n| n.to_string_lossy());
        Self {
            name: Arc::from(name.as_ref()),
            binary: binary.to_owned(),
            stdout: None,
            tail: Tail::default(),
            closing: CancellationToken::new(),
            killing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ended: None,
            socket: None,
        }
    }

    /// The program's file name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The program.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    async fn handshake(&mut self) -> Result<Handshake, Error> {
        let Some(stdout) = self.stdout.as_mut() else {
            return Err(self.exited().await);
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            if !log::read_piece(stdout, &mut line).await {
                return Err(self.exited().await);
            }
            let text = String::from_utf8_lossy(&line);
            if !text.trim().is_empty() {
                let handshake = handshake::parse(&text).map_err(|source| Error::Handshake {
                    binary: self.binary.clone(),
                    source,
                    output: self.tail.explain(),
                })?;
                if let Address::Unix(path) = &handshake.address {
                    self.socket = Some(path.clone());
                }
                return Ok(handshake);
            }
        }
    }

    async fn connect(&self, handshake: &Handshake, identity: &Identity) -> Result<Channel, Error> {
        let binary = || self.binary.clone();
        let tls = match (&handshake.certificate, &handshake.address) {
            (Some(certificate), _) => Some(identity.client(certificate.clone()).map_err(
                |source| Error::Certificate {
                    binary: binary(),
                    source,
                },
            )?),
            // A Unix socket is guarded by the file system; anybody on the host can connect to a port.
            (None, Address::Unix(_)) => None,
            (None, Address::Tcp(_)) => return Err(Error::Plain { binary: binary() }),
        };
        Channel::connect(
            &handshake.address,
            tls,
            &self.tasks,
            self.closing.clone(),
            true,
        )
        .await
        .map_err(|source| Error::Connect {
            binary: binary(),
            source,
        })
    }

    /// Takes what the plugin writes to its standard output: nobody needs it, but a plugin stops when nobody
    /// takes it.
    fn drain_standard_output(&mut self) {
        if let Some(stdout) = self.stdout.take() {
            let (name, closing) = (self.name.clone(), self.killing.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = log::follow(stdout, &name, Tail::default()) => {}
                    () = closing.cancelled() => {}
                }
            });
        }
    }

    /// The same for what its stdio service gives, by which most plugins send what they print.
    fn drain_streams(&self, channel: &Channel) {
        let (channel, name) = (channel.clone(), self.name.clone());
        self.tasks.spawn(async move {
            let drained = channel
                .stream("/plugin.GRPCStdio/StreamStdio", Bytes::new(), |message| {
                    let Ok(piece) = wire::StdioData::decode(message) else { return };
                    let stream = if piece.channel == 2 { "standard error" } else { "standard output" };
                    let text = String::from_utf8_lossy(&piece.data);
                    tracing::debug!(target: log::TARGET, provider = &*name, stream, "{}", text.trim_end());
                })
                .await;
            if let Err(status) = drained {
                tracing::trace!(provider = &*name, %status, "no standard streams of the provider");
            }
        });
    }

    async fn exited(&self) -> Error {
        let status = self.end_within(Duration::from_secs(5)).await;
        Error::Exited {
            binary: self.binary.clone(),
            status: status.map_or_else(
                || "it closed its standard output".to_owned(),
                |s| s.to_string(),
            ),
            output: self.tail.explain(),
        }
    }

    /// How the process ended, if it does so in time.
    pub(crate) async fn end_within(&self, time: Duration) -> Option<ExitStatus> {
        let mut ended = self.ended.clone()?;
        let status = tokio::time::timeout(time, ended.wait_for(Option::is_some))
            .await
            .ok()?
            .ok()?;
        *status
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        self.tail.explain()
    }

    /// Ends the process: by asking, and if that does not help by force. Returns when nothing is left of it.
    pub(crate) async fn close(&self, channel: &Channel) {
        if self.ended.is_some() {
            let asked = channel.unary("/plugin.GRPCController/Shutdown", Bytes::new());
            // Many plugins end before they answer.
            let _ = tokio::time::timeout(EXIT_GRACE, asked).await;
            if self.end_within(EXIT_GRACE).await.is_none() {
                tracing::debug!(
                    provider = &*self.name,
                    "the provider did not end when asked to; killing it"
                );
            }
        }
        self.kill().await;
    }

    /// Ends the process by force.
    pub(crate) async fn kill(&self) {
        self.closing.cancel();
        self.killing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(socket) = &self.socket {
            use std::os::unix::fs::FileTypeExt;
            if tokio::fs::metadata(socket)
                .await
                .is_ok_and(|m| m.file_type().is_socket())
            {
                let _ = tokio::fs::remove_file(socket).await;
            }
        }
    }
}

/// Reaps the process; kills it first when told to.
async fn wait(
    mut child: Child,
    killing: CancellationToken,
    ended: watch::Sender<Option<ExitStatus>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = killing.cancelled() => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    match status {
        Ok(status) => {
            let _ = ended.send(Some(status));
        }
        Err(error) => tracing::warn!(%error, "could not wait for a provider to end"),
    }
}
