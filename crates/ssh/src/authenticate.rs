//! Being let in.

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg};

use crate::connect::Client;
use crate::{Agent, Error, Identity};

/// As whom to log in, and with what.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The name.
    pub user: String,
    /// For password and keyboard-interactive authentication: the answer to every question.
    pub password: Option<String>,
    /// A key of ours.
    pub identity: Option<Identity>,
}

/// One way in, tried once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Key,
    Password,
    Questions,
    Agent,
}

impl Way {
    fn method(self) -> MethodKind {
        match self {
            Way::Key | Way::Agent => MethodKind::PublicKey,
            Way::Password => MethodKind::Password,
            Way::Questions => MethodKind::KeyboardInteractive,
        }
    }

    fn name(self) -> &'static str {
        (&self.method()).into()
    }
}

/// Tries what there is, in the order key, password, questions, agent, as long as the server offers it.
///
/// The inner error says why nobody was let in.
pub(crate) async fn authenticate(
    handle: &mut Handle<Client>,
    login: &Login,
    agent: Option<&Agent>,
) -> Result<Result<(), String>, Error> {
    let mut ways = Vec::new();
    if login.identity.is_some() {
        ways.push(Way::Key);
    }
    if login.password.is_some() {
        ways.extend([Way::Password, Way::Questions]);
    }
    if agent.is_some() {
        ways.push(Way::Agent);
    }
    let mut attempted = vec!["none"];
    let mut answer = handle.authenticate_none(&login.user).await?;
    loop {
        let AuthResult::Failure {
            remaining_methods, ..
        } = &answer
        else {
            return Ok(Ok(()));
        };
        let Some(at) = ways
            .iter()
            .position(|way| remaining_methods.contains(&way.method()))
        else {
            return Ok(Err(format!(
                "ssh: unable to authenticate, attempted methods [{}], no supported methods remain",
                attempted.join(" ")
            )));
        };
        let way = ways.remove(at);
        if !attempted.contains(&way.name()) {
            attempted.push(way.name());
        }
        let before = remaining_methods.clone();
        answer = match (way, &login.identity, &login.password, agent) {
            (Way::Key, Some(identity), ..) => key(handle, &login.user, identity).await?,
            (Way::Password, _, Some(password), _) => {
                handle.authenticate_password(&login.user, password).await?
            }
            (Way::Questions, _, Some(password), _) => {
                questions(handle, &login.user, password).await?
            }
            (Way::Agent, .., Some(agent)) => {
                match with_agent(handle, &login.user, agent).await? {
                    Some(answer) => answer,
                    // The agent holds no key: nothing was asked.
                    None => AuthResult::Failure {
                        remaining_methods: before,
                        partial_success: false,
                    },
                }
            }
            _ => continue,
        };
    }
}

/// The best hash for signatures of RSA keys that the server takes.
async fn rsa_hash(
    handle: &Handle<Client>,
    algorithm: &Algorithm,
) -> Result<Option<HashAlg>, Error> {
    if matches!(algorithm, Algorithm::Rsa { .. }) {
        // A server that says nothing is old enough to take SHA-1 alone.
        Ok(handle.best_supported_rsa_hash().await?.flatten())
    } else {
        Ok(None)
    }
}

async fn key(
    handle: &mut Handle<Client>,
    user: &str,
    identity: &Identity,
) -> Result<AuthResult, Error> {
    if let Some(certificate) = &identity.certificate {
        let hash = rsa_hash(handle, &identity.key.algorithm()).await?;
        let mut signer = Signer(identity);
        return handle
            .authenticate_certificate_with(user, certificate.clone(), hash, &mut signer)
            .await;
    }
    let hash = rsa_hash(handle, &identity.key.algorithm()).await?;
    let key = PrivateKeyWithHashAlg::new(identity.key.clone(), hash);
    Ok(handle.authenticate_publickey(user, key).await?)
}

async fn questions(
    handle: &mut Handle<Client>,
    user: &str,
    password: &str,
) -> Result<AuthResult, Error> {
    let mut answer = handle
        .authenticate_keyboard_interactive_start(user, None)
        .await?;
    // A server may ask again and again.
    for _ in 0..100 {
        answer = match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(AuthResult::Success),
            KeyboardInteractiveAuthResponse::Failure {
                remaining_methods,
                partial_success,
            } => {
                return Ok(AuthResult::Failure {
                    remaining_methods,
                    partial_success,
                });
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = vec![password.to_owned(); prompts.len()];
                handle
                    .authenticate_keyboard_interactive_respond(answers)
                    .await?
            }
        };
    }
    Err(Error::Session("ssh: too many questions".to_owned()))
}

/// Each key of the agent in turn; the answer to the last, none if it holds no keys.
async fn with_agent(
    handle: &mut Handle<Client>,
    user: &str,
    agent: &Agent,
) -> Result<Option<AuthResult>, Error> {
    let mut client = agent.open().await?;
    let broken = |error: russh::keys::Error| Error::Agent(error.to_string());
    let mut keys = client.request_identities().await.map_err(broken)?;
    agent.sort(&mut keys);
    let mut last = None;
    for held in keys {
        let hash = rsa_hash(handle, &held.public_key().algorithm()).await?;
        let answer = match held {
            AgentIdentity::PublicKey { key, .. } => {
                handle
                    .authenticate_publickey_with(user, key, hash, &mut client)
                    .await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                handle
                    .authenticate_certificate_with(user, certificate, hash, &mut client)
                    .await
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // A key that the agent will not use; the next one may do.
                tracing::debug!(%error, "the agent did not sign");
                continue;
            }
        };
        let done = match &answer {
            AuthResult::Success => true,
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => *partial_success || !remaining_methods.contains(&MethodKind::PublicKey),
        };
        last = Some(answer);
        if done {
            break;
        }
    }
    Ok(last)
}

/// Signs with a key of ours on behalf of its certificate.
struct Signer<'i>(&'i Identity);

impl russh::Signer for Signer<'_> {
    type Error = Error;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let signature = crate::keys::sign(self.0, hash, &data)?;
        data.extend((signature.len() as u32).to_be_bytes());
        data.extend(signature);
        Ok(data)
    }
}

impl From<russh::SendError> for Error {
    fn from(error: russh::SendError) -> Error {
        Error::Session(format!("ssh: {error}"))
    }
}
