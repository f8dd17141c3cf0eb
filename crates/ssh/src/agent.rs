//! Keys that an agent holds, and the agent's socket on the other side.

use std::path::{Path, PathBuf};

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, PublicKey, decode_secret_key, parse_public_key_base64};
use tokio::net::UnixStream;

use crate::Error;

/// An agent to ask for signatures.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Where its socket is.
    pub socket: PathBuf,
    /// The key to try first: the path of its file, or the comment it has in the agent or the end of that.
    pub identity: Option<String>,
}

impl Agent {
    /// The agent that `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// [`Error::Agent`] if it names none.
    pub fn from_environment(identity: Option<String>) -> Result<Agent, Error> {
        let socket = std::env::var_os("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty())
            .ok_or_else(|| Error::Agent("SSH_AUTH_SOCK not-specified".to_owned()))?;
        Ok(Agent {
            socket: socket.into(),
            identity,
        })
    }

    /// Connects to it.
    pub(crate) async fn open(&self) -> Result<AgentClient<UnixStream>, Error> {
        let stream = self.stream().await?;
        Ok(AgentClient::connect(stream))
    }

    pub(crate) async fn stream(&self) -> Result<UnixStream, Error> {
        UnixStream::connect(&self.socket).await.map_err(|error| {
            Error::Agent(format!(
                "{} cannot be reached: {error}",
                self.socket.display()
            ))
        })
    }

    /// Puts the key that is asked for at the head: servers count attempts.
    pub(crate) fn sort(&self, keys: &mut [AgentIdentity]) {
        let Some(wanted) = &self.identity else { return };
        let exact = public_key(Path::new(wanted));
        let mut head = 0;
        for at in 0..keys.len() {
            let (comment, key) = (keys[at].comment(), keys[at].public_key());
            let same = exact
                .as_ref()
                .is_some_and(|exact| exact.key_data() == key.key_data());
            if same || comment == wanted {
                keys.swap(0, at);
                return;
            }
            if comment.ends_with(wanted.as_str()) {
                keys.swap(head, at);
                head += 1;
            }
        }
    }
}

/// The public key of an identity's file, or of the `.pub` file beside it.
fn public_key(path: &Path) -> Option<PublicKey> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    [path.to_owned(), beside.into()]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .find_map(|text| {
            decode_secret_key(&text, None)
                .map(|key| key.public_key().clone())
                .or_else(|_| PublicKey::from_openssh(text.trim()))
                .or_else(|_| {
                    Certificate::from_openssh(text.trim())
                        .map(|found| PublicKey::from(found.public_key().clone()))
                })
                .or_else(|_| parse_public_key_base64(text.trim()))
                .ok()
        })
}
