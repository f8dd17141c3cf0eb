//! How to log in to a repository.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use k8s_openapi::api::core::v1::Secret;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::error::Error;
use crate::remote::{Remote, Transport};

/// The type of Secrets that hold credentials of repositories in keys of our own; see [`Credentials::of`].
pub const SECRET_TYPE: &str = "consort.dev/git";

/// What opens a repository. Never shown: its `Debug` names what there is, not what it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: Option<String>,
    bearer: Option<String>,
    key: Option<String>,
    known_hosts: Option<String>,
    authorities: Option<String>,
}

/// Why a Secret gives no credentials.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("secret {secret} gives no credentials of a repository: {why}")]
pub struct CredentialsError {
    /// The Secret.
    pub secret: String,
    /// What is missing or wrong.
    pub why: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("bearer token", self.bearer.is_some()),
            ("key", self.key.is_some()),
            ("known hosts", self.known_hosts.is_some()),
            ("authorities", self.authorities.is_some()),
        ];
        let present: Vec<&str> = parts
            .iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| *name)
            .collect();
        write!(f, "Credentials({})", present.join(", "))
    }
}

impl Credentials {
    /// The credentials in a Secret: of type `kubernetes.io/basic-auth` (`username`, `password`),
    /// `kubernetes.io/ssh-auth` (`ssh-privatekey`), or `consort.dev/git` with any of `username`, `password`,
    /// `bearerToken`, `ssh-privatekey` (or `identity`), `known_hosts`, `ca.crt` (or `caFile`). The last three may
    /// stand in the other types as well.
    ///
    /// # Errors
    /// When the Secret is of another type, holds none of them, or holds what is no text.
    pub fn of(secret: &Secret) -> Result<Self, CredentialsError> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let fail = |why: String| CredentialsError {
            secret: name.clone(),
            why,
        };
        let kind = secret.type_.as_deref().unwrap_or("Opaque");
        if ![
            SECRET_TYPE,
            "kubernetes.io/basic-auth",
            "kubernetes.io/ssh-auth",
            "Opaque",
        ]
        .contains(&kind)
        {
            return Err(fail(format!(
                "it is of type {kind}; expected {SECRET_TYPE}, kubernetes.io/basic-auth or kubernetes.io/ssh-auth"
            )));
        }
        let empty = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&empty);
        let text = |keys: &[&str]| -> Result<Option<String>, CredentialsError> {
            let Some((key, bytes)) = keys
                .iter()
                .find_map(|key| data.get(*key).map(|bytes| (*key, bytes)))
            else {
                return Ok(None);
            };
            let text = String::from_utf8(bytes.0.clone())
                .map_err(|_| fail(format!("{key} is no text")))?;
            if text.contains('\0') {
                return Err(fail(format!("{key} holds a zero byte")));
            }
            Ok(Some(text).filter(|text| !text.trim().is_empty()))
        };
        let line = |keys: &[&str]| -> Result<Option<String>, CredentialsError> {
            let found = text(keys)?.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
            match found {
                Some(found) if found.contains(['\r', '\n']) => {
                    Err(fail(format!("{} has several lines", keys[0])))
                }
                found => Ok(found),
            }
        };
        let found = Self {
            username: line(&["username"])?,
            password: line(&["password"])?,
            bearer: line(&["bearerToken"])?,
            key: text(&["ssh-privatekey", "identity"])?.map(|key| {
                // A key without its last line end is refused by `ssh` in words nobody understands.
                format!("{}\n", key.replace("\r\n", "\n").trim_end())
            }),
            known_hosts: text(&["known_hosts"])?,
            authorities: text(&["ca.crt", "caFile"])?,
        };
        if found == Self::default() {
            return Err(fail(
                "expected username and password, bearerToken, ssh-privatekey with known_hosts, or ca.crt"
                    .to_owned(),
            ));
        }
        Ok(found)
    }

    /// A user's name and password or token.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: Some(username.into()),
            password: Some(password.into()),
            ..Self::default()
        }
    }

    /// The Secret's data that [`Credentials::of`] reads back.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        [
            ("username", &self.username),
            ("password", &self.password),
            ("bearerToken", &self.bearer),
            ("ssh-privatekey", &self.key),
            ("known_hosts", &self.known_hosts),
            ("ca.crt", &self.authorities),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect()
    }

    /// With a private key, and the keys of hosts to trust.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>, known_hosts: Option<String>) -> Self {
        self.key = Some(key.into());
        self.known_hosts = known_hosts;
        self
    }

    /// With the keys of hosts to trust.
    #[must_use]
    pub fn with_known_hosts(mut self, known_hosts: impl Into<String>) -> Self {
        self.known_hosts = Some(known_hosts.into());
        self
    }

    /// With certificate authorities (PEM) to trust besides the host's.
    #[must_use]
    pub fn with_authorities(mut self, pem: impl Into<String>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Gets ready to log in to a repository with these.
    pub(crate) fn access(&self, remote: &Remote, directory: &Path) -> Result<Access, Error> {
        let mut access = Access::default();
        let refuse = |why: &str| Error::Credentials {
            url: remote.to_string(),
            said: why.to_owned(),
        };
        match remote.transport() {
            Transport::File => {}
            Transport::Ssh => self.ssh(&mut access, directory, &refuse)?,
            transport @ (Transport::Https | Transport::Http) => {
                let secret = self.password.is_some() || self.bearer.is_some();
                if secret && transport == Transport::Http && !remote.is_loopback() {
                    return Err(refuse(
                        "they would go over the network in the clear; use https",
                    ));
                }
                self.http(&mut access, remote, directory)?;
            }
        }
        Ok(access)
    }

    fn ssh(
        &self,
        access: &mut Access,
        directory: &Path,
        refuse: &dyn Fn(&str) -> Error,
    ) -> Result<(), Error> {
        let Some(known) = &self.known_hosts else {
            return Err(refuse(
                "known_hosts is missing: without it no host key is known to be right (ssh-keyscan shows them)",
            ));
        };
        let known = quoted(&access.file(directory, known)?);
        let key = match &self.key {
            Some(key) => quoted(&access.file(directory, key)?),
            None => "none".to_owned(),
        };
        let configuration = format!(
            "BatchMode yes\nStrictHostKeyChecking yes\nUserKnownHostsFile {known}\n\
             GlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\nIdentityAgent none\nIdentityFile {key}\n\
             ForwardAgent no\nClearAllForwardings yes\nConnectTimeout 20\nServerAliveInterval 10\n\
             ServerAliveCountMax 3\n"
        );
        let file = access.file(directory, &configuration)?;
        access.set(
            "GIT_SSH_COMMAND",
            format!("ssh -F '{}'", file.replace('\'', "'\\''")),
        );
        access.set("GIT_SSH_VARIANT", "ssh");
        Ok(())
    }

    fn http(&self, access: &mut Access, remote: &Remote, directory: &Path) -> Result<(), Error> {
        if let Some(authorities) = &self.authorities {
            let file = access.file(directory, authorities)?;
            access.set("GIT_SSL_CAINFO", file);
        }
        let mut configuration: Vec<(String, String)> = Vec::new();
        if let Some(bearer) = &self.bearer {
            access.secret(bearer);
            configuration.push((
                format!("http.{}/.extraHeader", remote.origin()),
                format!("Authorization: Bearer {bearer}"),
            ));
            // The header would go wherever the server sends us.
            configuration.push(("http.followRedirects".to_owned(), "false".to_owned()));
        } else if let Some(password) = &self.password {
            // Servers that take tokens as passwords want some name, and most take any.
            let username = self.username.as_deref().unwrap_or("git");
            access.secret(password);
            access.secret(
                &base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")),
            );
            access.set("CONSORT_GIT_USERNAME", username);
            access.set("CONSORT_GIT_PASSWORD", password.as_str());
            // Asked for this host only: a redirection to another gets nothing.
            configuration.push((
                format!("credential.{}.helper", remote.origin()),
                "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                 \"$CONSORT_GIT_USERNAME\" \"$CONSORT_GIT_PASSWORD\"; }; f"
                    .to_owned(),
            ));
        }
        access.set("GIT_CONFIG_COUNT", configuration.len().to_string());
        for (at, (key, value)) in configuration.into_iter().enumerate() {
            access.set(format!("GIT_CONFIG_KEY_{at}"), key);
            access.set(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        Ok(())
    }
}

/// A path as a configuration of `ssh` has it.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('%', "%%").replace('"', "\\\""))
}

/// Credentials made ready for runs of `git`: its files are gone when this is dropped.
#[derive(Default)]
pub(crate) struct Access {
    environment: Vec<(String, String)>,
    files: Vec<NamedTempFile>,
    secrets: Vec<String>,
}

impl Access {
    /// Lets a command log in.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.envs(
            self.environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
    }

    /// A text without the secrets.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, "***");
        }
        text
    }

    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.environment.push((name.into(), value.into()));
    }

    fn secret(&mut self, secret: &str) {
        // Shorter ones would turn whole sentences into stars.
        if secret.len() >= 4 {
            self.secrets.push(secret.to_owned());
        }
    }

    /// Puts a text into a file that only its owner reads, and gives its path.
    fn file(&mut self, directory: &Path, text: &str) -> Result<String, Error> {
        let made = tempfile::Builder::new()
            .prefix("access-")
            .tempfile_in(directory)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.flush()?;
                Ok(file)
            })
            .map_err(Error::io("writing a file in", directory))?;
        let path = made.path().to_string_lossy().into_owned();
        self.files.push(made);
        Ok(path)
    }
}
