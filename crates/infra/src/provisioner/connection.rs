//! `connection` blocks, and the link they describe.

use std::time::Duration;

use consort_hcl::Value;
use consort_hcl::functions::duration;
use consort_ssh::{
    Agent, Connection, Error, Exec, Host, HostKey, Identity, Login, Proxy, Scheme, Session,
    Terminal, posix, windows,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{given, text};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Platform {
    Unix,
    Windows,
}

/// A connection as a block describes it, with what has to be known beyond how to connect.
pub(super) struct Settings {
    connection: Connection,
    platform: Platform,
    script_path: String,
    timeout: Duration,
    /// What is told of it before connecting, part by part.
    told: Vec<String>,
}

const TIMEOUT: Duration = Duration::from_secs(5 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

fn port(value: &Value, name: &str) -> Result<Option<u16>, String> {
    let Some(found) = given(value, name) else {
        return Ok(None);
    };
    found
        .as_number()
        .and_then(consort_hcl::Number::to_u64)
        .and_then(|port| u16::try_from(port).ok())
        .map(|port| Some(port).filter(|port| *port != 0))
        .ok_or_else(|| {
            format!("{name}: value must be a whole number between 0 and 65535 inclusive")
        })
}

impl Settings {
    /// `value` is an object of what a `connection` block may say, or null if there is no block.
    pub(super) fn new(value: &Value) -> Result<Settings, String> {
        if value.is_null() {
            return Err("Missing connection configuration for provisioner.".to_owned());
        }
        let said = |name: &str| text(value, name).filter(|text| !text.is_empty());
        match said("type").as_deref() {
            None | Some("ssh") => {}
            Some("winrm") => {
                return Err(
                    "connections of type \"winrm\" are not supported; Windows takes SSH with its OpenSSH server \
                     and target_platform = \"windows\""
                        .to_owned(),
                );
            }
            Some(other) => return Err(format!("connection type '{other}' not supported")),
        }
        let host = said("host").ok_or("host for provisioner cannot be empty")?;
        let user = said("user").unwrap_or_else(|| "root".to_owned());
        let platform = match said("target_platform").as_deref() {
            None | Some("unix") => Platform::Unix,
            Some("windows") => Platform::Windows,
            Some(_) => {
                return Err(
                    "target_platform for provisioner has to be either unix or windows".to_owned(),
                );
            }
        };
        let uses_agent = match given(value, "agent").and_then(|value| value.as_bool()) {
            Some(said) => said,
            None => std::env::var_os("SSH_AUTH_SOCK").is_some_and(|path| !path.is_empty()),
        };
        let agent = if uses_agent {
            Some(
                Agent::from_environment(said("agent_identity"))
                    .map_err(|error| error.to_string())?,
            )
        } else {
            None
        };
        let (password, private_key, certificate) =
            (said("password"), said("private_key"), said("certificate"));
        let (host_key, ssh_port) = (said("host_key"), port(value, "port")?.unwrap_or(22));
        let mut told = vec![format!(
            "Connecting to remote host via SSH...\n  Host: {host}\n  User: {user}\n  Password: {}\n  Private key: \
             {}\n  Certificate: {}\n  SSH Agent: {uses_agent}\n  Checking Host Key: {}\n  Target Platform: {}\n",
            password.is_some(),
            private_key.is_some(),
            certificate.is_some(),
            host_key.is_some(),
            if platform == Platform::Unix {
                "unix"
            } else {
                "windows"
            },
        )];
        let bastion = match said("bastion_host") {
            None => None,
            Some(name) => {
                let or = |own: &str, other: Option<&String>| said(own).or_else(|| other.cloned());
                let user = said("bastion_user").unwrap_or_else(|| user.clone());
                let password = or("bastion_password", password.as_ref());
                let private_key = or("bastion_private_key", private_key.as_ref());
                let certificate = or("bastion_certificate", certificate.as_ref());
                let key = said("bastion_host_key");
                told.push(format!(
                    "Using configured bastion host...\n  Host: {name}\n  User: {user}\n  Password: {}\n  Private \
                     key: {}\n  Certificate: {}\n  SSH Agent: {uses_agent}\n  Checking Host Key: {}",
                    password.is_some(),
                    private_key.is_some(),
                    certificate.is_some(),
                    key.is_some(),
                ));
                Some(Host {
                    name,
                    port: port(value, "bastion_port")?.unwrap_or(ssh_port),
                    login: login(user, password, private_key, certificate.as_deref())?,
                    key: host_key_of(key)?,
                })
            }
        };
        let proxy = match said("proxy_host") {
            None => None,
            Some(host) => {
                let name = said("proxy_user_name");
                let password = said("proxy_user_password");
                let port =
                    port(value, "proxy_port")?.ok_or("proxy_port must be set with proxy_host")?;
                let scheme = match said("proxy_scheme").as_deref() {
                    // As in Terraform, the proxy itself is not spoken to over TLS.
                    None | Some("http" | "https") => Scheme::Http,
                    Some("socks5" | "socks5h") => Scheme::Socks5,
                    Some(other) => return Err(format!("proxy: unknown scheme: {other}")),
                };
                told.push(format!(
                    "Using configured proxy host...\n  ProxyHost: {host}\n  ProxyPort: {port}\n  ProxyUserName: \
                     {}\n  ProxyUserPassword: {}",
                    name.as_deref().unwrap_or_default(),
                    password.is_some(),
                ));
                Some(Proxy {
                    scheme,
                    host,
                    port,
                    credentials: (name.is_some() || password.is_some())
                        .then(|| (name.unwrap_or_default(), password.unwrap_or_default())),
                })
            }
        };
        let timeout = match said("timeout") {
            None => TIMEOUT,
            // As in Terraform, what is no duration counts as nothing said.
            Some(text) => duration::parse(&text).ok().map_or(TIMEOUT, |nanoseconds| {
                Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
            }),
        };
        let script_path = said("script_path").unwrap_or_else(|| {
            match platform {
                Platform::Unix => "/tmp/terraform_%RAND%.sh",
                Platform::Windows => "C:/windows/temp/terraform_%RAND%.cmd",
            }
            .to_owned()
        });
        Ok(Settings {
            connection: Connection {
                host: Host {
                    name: host,
                    port: ssh_port,
                    login: login(user, password, private_key, certificate.as_deref())?,
                    key: host_key_of(host_key)?,
                },
                bastion,
                proxy,
                agent,
            },
            platform,
            script_path,
            timeout,
            told,
        })
    }
}

fn login(
    user: String,
    password: Option<String>,
    private_key: Option<String>,
    certificate: Option<&str>,
) -> Result<Login, String> {
    // A certificate is nothing without its key.
    let identity = private_key
        .map(|key| Identity::parse(&key, certificate))
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok(Login {
        user,
        password,
        identity,
    })
}

fn host_key_of(text: Option<String>) -> Result<Option<HostKey>, String> {
    text.map(|text| HostKey::parse(&text))
        .transpose()
        .map_err(|error| error.to_string())
}

/// A connection that was made, and is made again should it break.
pub(super) struct Link<'s> {
    settings: &'s Settings,
    session: Session,
}

impl<'s> Link<'s> {
    /// Connects, and tries again until the time is up: a machine that was just made may not listen yet.
    pub(super) async fn connect(
        settings: &'s Settings,
        output: Option<&(dyn Fn(&str) + Send + Sync)>,
        cancel: &CancellationToken,
    ) -> Result<Link<'s>, String> {
        let deadline = Instant::now() + settings.timeout;
        let mut last: Option<Error> = None;
        let mut pause = Duration::ZERO;
        let give_up = |what: &str, last: Option<&Error>| match last {
            Some(error) => format!("{what} - last error: {error}"),
            None => format!(
                "{what} - last error: no answer from {}",
                settings.connection.host.address()
            ),
        };
        loop {
            let attempt = async {
                tokio::time::sleep(pause).await;
                if let Some(output) = output {
                    for part in &settings.told {
                        output(part);
                    }
                }
                settings.connection.connect().await
            };
            let outcome = tokio::select! {
                outcome = attempt => outcome,
                () = cancel.cancelled() => return Err(give_up("interrupted", last.as_ref())),
                () = tokio::time::sleep_until(deadline) => return Err(give_up("timeout", last.as_ref())),
            };
            match outcome {
                Ok(session) => {
                    if let Some(output) = output {
                        output("Connected!");
                    }
                    return Ok(Link { settings, session });
                }
                // Without its agent there is nothing to wait for.
                Err(error @ Error::Agent(_)) => return Err(error.to_string()),
                Err(error) => {
                    tracing::debug!(%error, "connecting is tried again");
                    last = Some(error);
                }
            }
            pause = if pause.is_zero() {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
        }
    }

    /// A session that is there: a script may have restarted the machine.
    async fn session(&mut self) -> Result<&Session, Error> {
        if self.session.is_closed() {
            self.session = self.settings.connection.connect().await?;
        }
        Ok(&self.session)
    }

    /// A command, in a terminal where the other side knows terminals.
    pub(super) async fn exec(&mut self, command: &str) -> Result<Exec, Error> {
        let terminal = (self.settings.platform == Platform::Unix).then_some(Terminal {
            columns: 40,
            rows: 80,
        });
        match self.session().await?.exec(command, terminal).await {
            Err(Error::Session(_)) => {
                self.session = self.settings.connection.connect().await?;
                self.session.exec(command, terminal).await
            }
            outcome => outcome,
        }
    }

    pub(super) async fn upload(
        &mut self,
        path: &str,
        source: consort_ssh::Source<'_>,
    ) -> Result<(), Error> {
        let quote = self.quote();
        self.session().await?.upload(path, source, quote).await
    }

    pub(super) async fn upload_directory(&mut self, path: &str, source: &str) -> Result<(), Error> {
        let quote = self.quote();
        self.session()
            .await?
            .upload_directory(path, source, quote)
            .await
    }

    fn quote(&self) -> fn([&str; 3]) -> String {
        match self.settings.platform {
            Platform::Unix => |words| posix(words),
            Platform::Windows => |words| windows(words),
        }
    }

    pub(super) fn is_unix(&self) -> bool {
        self.settings.platform == Platform::Unix
    }

    /// Where a script goes; another place each time.
    pub(super) fn script_path(&self) -> String {
        let random = uuid::Uuid::new_v4().as_u128() as u32 >> 1;
        self.settings
            .script_path
            .replace("%RAND%", &random.to_string())
    }

    /// Says good-bye.
    pub(super) async fn close(self) {
        self.session.close().await;
    }
}
