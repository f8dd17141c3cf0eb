//! From a description of the other side to a session with it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, HashAlg, PublicKeyOrCertificate};
use russh::{Channel, Preferred, client};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::authenticate::{Login, authenticate};
use crate::error::system;
use crate::proxy::bracketed;
use crate::{Agent, Error, HostKey, Proxy, Session};

/// A machine, and as whom to come to it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name or address.
    pub name: String,
    /// The port its SSH server listens on.
    pub port: u16,
    /// As whom to log in.
    pub login: Login,
    /// The key it must show; any is taken if there is none.
    pub key: Option<HostKey>,
}

impl Host {
    /// Name and port, as they are dialled.
    pub fn address(&self) -> String {
        format!("{}:{}", bracketed(&self.name), self.port)
    }
}

/// Where to go, and by which way.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The machine to reach.
    pub host: Host,
    /// A machine that is reached first, and from which the other one is.
    pub bastion: Option<Host>,
    /// A proxy before the first of them.
    pub proxy: Option<Proxy>,
    /// An agent that has keys; it is forwarded to the machine.
    pub agent: Option<Agent>,
}

/// How long one attempt to reach an address may take.
const DIAL: Duration = Duration::from_secs(15);

/// A TCP connection to `address` (`host:port`).
pub(crate) async fn dial(address: &str) -> Result<TcpStream, Error> {
    let stream = match tokio::time::timeout(DIAL, TcpStream::connect(address)).await {
        Err(_) => return Err(Error::Dial(format!("dial tcp {address}: i/o timeout"))),
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(Error::Dial(if error.raw_os_error().is_some() {
                format!("dial tcp {address}: connect: {}", system(&error))
            } else {
                format!("dial tcp: {}", system(&error))
            }));
        }
    };
    // Commands and their answers are small and wait for each other.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Our side of a connection: it looks at the host's key, and lets the other side at the agent.
pub(crate) struct Client {
    name: String,
    key: Option<HostKey>,
    agent: Option<Agent>,
    /// What carries bytes to the agent; ends with the connection.
    carriers: JoinSet<()>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Protocol(#[from] russh::Error),
    #[error("{reason}")]
    HostKey { reason: String, certificate: bool },
}

/// How many programs on the other side may talk to the agent at once.
const CARRIERS: usize = 64;

impl client::Handler for Client {
    type Error = Refused;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refused> {
        match &self.key {
            None => Ok(true),
            Some(key) => key
                .check(shown, &self.name)
                .map(|()| true)
                .map_err(|reason| Refused::HostKey {
                    reason,
                    certificate: shown.certificate().is_some(),
                }),
        }
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<client::Msg>,
        reply: client::ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refused> {
        while self.carriers.try_join_next().is_some() {}
        let (Some(agent), true) = (&self.agent, self.carriers.len() < CARRIERS) else {
            return Ok(());
        };
        let Ok(mut socket) = agent.stream().await else {
            return Ok(());
        };
        reply.accept().await;
        self.carriers.spawn(async move {
            let mut stream = channel.into_stream();
            if let Err(error) = tokio::io::copy_bidirectional(&mut stream, &mut socket).await {
                tracing::debug!(%error, "the forwarded agent's connection ended");
            }
        });
        Ok(())
    }
}

/// Algorithms of host keys by preference, the expected key's kind first, so that a host with several keys
/// shows the one it is to be known by.
fn preferred(key: Option<&HostKey>, certificates: bool) -> Preferred {
    let mut keys = Preferred::DEFAULT.key.into_owned();
    let Some(key) = key else {
        return Preferred::DEFAULT;
    };
    // Any of these may be an authority's certificate; which authority is checked with the key.
    let certified = if certificates {
        keys.clone()
    } else {
        Vec::new()
    };
    let wanted = key.algorithm();
    let same = |found: &Algorithm| match (found, &wanted) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (found, wanted) => found == wanted,
    };
    keys.sort_by_key(|found| !same(found));
    keys.retain(|found| !matches!(found, Algorithm::Rsa { hash: None }));
    Preferred {
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Owned(
            certified
                .into_iter()
                .filter(|found| {
                    !matches!(
                        found,
                        Algorithm::Rsa {
                            hash: None | Some(HashAlg::Sha256)
                        }
                    )
                })
                .collect(),
        ),
        ..Preferred::DEFAULT
    }
}

fn config(host: &Host, certificates: bool) -> Arc<client::Config> {
    Arc::new(client::Config {
        preferred: preferred(host.key.as_ref(), certificates),
        // The answers tell a dead connection from a silent command.
        keepalive_interval: Some(Duration::from_secs(2)),
        keepalive_max: 60,
        nodelay: true,
        ..client::Config::default()
    })
}

/// Shakes hands over a stream that leads to the host, and logs in.
async fn enter<S>(
    host: &Host,
    stream: S,
    agent: Option<&Agent>,
    forward: bool,
    certificates: bool,
) -> Result<client::Handle<Client>, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let refused = |reason: String| Error::Handshake {
        user: host.login.user.clone(),
        address: host.address(),
        reason,
        certificate: false,
    };
    let client = Client {
        name: host.name.clone(),
        key: host.key.clone(),
        agent: agent.filter(|_| forward).cloned(),
        carriers: JoinSet::new(),
    };
    let mut handle = client::connect_stream(config(host, certificates), stream, client)
        .await
        .map_err(|error| match error {
            Refused::Protocol(russh::Error::IO(error)) => refused(system(&error)),
            Refused::Protocol(russh::Error::Disconnect | russh::Error::HUP) => {
                refused("EOF".to_owned())
            }
            Refused::Protocol(error) => refused(error.to_string()),
            Refused::HostKey {
                reason,
                certificate,
            } => Error::Handshake {
                user: host.login.user.clone(),
                address: host.address(),
                reason,
                certificate,
            },
        })?;
    match authenticate(&mut handle, &host.login, agent).await {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(reason)) | Err(Error::Session(reason)) => Err(refused(reason)),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// Makes the connection: through the proxy, through the bastion, and in. One attempt; who wants to wait
    /// for a machine to come up tries again.
    ///
    /// # Errors
    /// Whatever can go wrong on the way, [`Error::Bastion`] about everything before the host itself.
    pub async fn connect(&self) -> Result<Session, Error> {
        match self.attempt(true).await {
            // An authority we were told nothing of vouches for the host: what we know is its plain key.
            Err(error) if error.is_about_certificate() => self.attempt(false).await,
            outcome => outcome,
        }
    }

    async fn attempt(&self, certificates: bool) -> Result<Session, Error> {
        let first = self.bastion.as_ref().unwrap_or(&self.host);
        let stream = match &self.proxy {
            Some(proxy) => proxy.open(&first.address()).await,
            None => dial(&first.address()).await,
        };
        let agent = self.agent.as_ref();
        let Some(bastion) = &self.bastion else {
            let handle = enter(&self.host, stream?, agent, true, certificates).await?;
            return Ok(Session::new(handle, None, agent.is_some()));
        };
        let through = |error: Error| Error::Bastion(Box::new(error));
        let jump = enter(
            bastion,
            stream.map_err(through)?,
            agent,
            false,
            certificates,
        )
        .await
        .map_err(through)?;
        let channel = jump
            .channel_open_direct_tcpip(
                self.host.name.clone(),
                u32::from(self.host.port),
                "0.0.0.0",
                0,
            )
            .await
            .map_err(|error| match error {
                russh::Error::ChannelOpenFailure(reason) => {
                    Error::Dial(format!("ssh: rejected: {reason:?}"))
                }
                error => error.into(),
            })?;
        let handle = enter(&self.host, channel.into_stream(), agent, true, certificates).await?;
        Ok(Session::new(handle, Some(jump), agent.is_some()))
    }
}
