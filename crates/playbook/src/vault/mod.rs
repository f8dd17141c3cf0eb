//! What is encrypted at rest: texts and files in the format of `ansible-vault`, and the secrets that open them.

mod cipher;
mod envelope;
mod secrets;

use std::fmt;

use consort_jinja::Value;

use crate::source::Secrets;

pub use envelope::{Envelope, is_encrypted};
pub(crate) use secrets::hidden;
pub use secrets::{Place, SecretError, ask, read};

/// The name of the secret that has none of its own.
pub const DEFAULT_ID: &str = "default";

/// Why something encrypted was not opened, or something was not encrypted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// What should be opened does not begin as vaults do.
    #[error("Input is not vault encrypted data.")]
    NotEncrypted,
    /// The first line is not that of a vault.
    #[error("Vault envelope format error.")]
    Envelope,
    /// Something in it should be hexadecimal digits, and is not.
    #[error("Vault format unhexlify error.")]
    Digits,
    /// Salt, digest and content are not all there.
    #[error("Vault vaulttext format error.")]
    Parts,
    /// It is encrypted in a way that is not known.
    #[error("Cipher '{0}' could not be found.")]
    Cipher(String),
    /// There are no secrets at all.
    #[error("Attempting to decrypt but no vault secrets found.")]
    NoSecrets,
    /// No secret fits.
    #[error("Decryption failed (no vault secrets were found that could decrypt).")]
    NoneFits,
    /// What should be encrypted is.
    #[error("input is already encrypted")]
    AlreadyEncrypted,
    /// There is nothing to encrypt with.
    #[error("A vault password must be specified to encrypt data")]
    NoPassword,
    /// The secret that was named for encrypting is not among those given.
    #[error("Did not find a match for --encrypt-vault-id={id} in the known vault-ids {known}")]
    UnknownId {
        /// What was named.
        id: String,
        /// The names of those given, as Python shows a list.
        known: String,
    },
}

/// A password by its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name, its "vault id".
    pub id: String,
    /// The password.
    pub password: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What came out of a vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The content.
    pub content: Vec<u8>,
    /// The secret it was opened with.
    pub secret: Secret,
    /// The name in the vault's first line.
    pub id: Option<String>,
}

/// The secrets of a run.
#[derive(Clone, Default, Debug)]
pub struct Vault {
    secrets: Vec<Secret>,
    match_ids: bool,
}

impl Vault {
    /// With these secrets: of those that fit the first counts.
    pub fn new(secrets: Vec<Secret>) -> Self {
        Vault {
            secrets,
            match_ids: false,
        }
    }

    /// The same, but that it opens a vault with the secret of its name only (`vault_id_match`).
    #[must_use]
    pub fn matching_ids(mut self, yes: bool) -> Self {
        self.match_ids = yes;
        self
    }

    /// The secrets.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Opens a vault: that of its name first, then all others.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn decrypt(&self, vault: &[u8]) -> Result<Opened, Error> {
        let envelope = Envelope::read(vault)?;
        if envelope.cipher != "AES256" {
            return Err(Error::Cipher(envelope.cipher));
        }
        if self.secrets.is_empty() {
            return Err(Error::NoSecrets);
        }
        let id = envelope.id.as_deref().unwrap_or(DEFAULT_ID);
        let named = self.secrets.iter().filter(|secret| secret.id == id);
        let others = self
            .secrets
            .iter()
            .filter(|secret| !self.match_ids && secret.id != id);
        for secret in named.chain(others) {
            if let Some(content) = cipher::open(&envelope.body, &secret.password)? {
                return Ok(Opened {
                    content,
                    secret: secret.clone(),
                    id: envelope.id,
                });
            }
        }
        Err(Error::NoneFits)
    }

    /// The content as it is if it is no vault, or what the vault holds.
    ///
    /// # Errors
    /// It is a vault that cannot be opened.
    pub fn open(&self, content: Vec<u8>) -> Result<Vec<u8>, Error> {
        if is_encrypted(&content) {
            Ok(self.decrypt(&content)?.content)
        } else {
            Ok(content)
        }
    }

    /// The secret to encrypt with: the first, or the one of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn encrypting(&self, id: Option<&str>) -> Result<&Secret, Error> {
        match id {
            None => self.secrets.first().ok_or(Error::NoPassword),
            Some(id) => self
                .secrets
                .iter()
                .find(|secret| secret.id == id)
                .ok_or_else(|| Error::UnknownId {
                    id: id.to_owned(),
                    known: consort_jinja::repr::repr(&Value::list(
                        self.secrets
                            .iter()
                            .map(|secret| Value::from(secret.id.as_str()))
                            .collect(),
                    )),
                }),
        }
    }
}

impl Secrets for Vault {
    fn decrypt(&self, ciphertext: &str) -> Result<Vec<u8>, String> {
        Vault::decrypt(self, ciphertext.as_bytes())
            .map(|opened| opened.content)
            .map_err(|error| error.to_string())
    }
}

/// Opens a vault with one password.
///
/// # Errors
/// See [`Error`].
pub fn decrypt(vault: &[u8], password: &[u8]) -> Result<Vec<u8>, Error> {
    Vault::new(vec![Secret {
        id: DEFAULT_ID.to_owned(),
        password: password.to_vec(),
    }])
    .decrypt(vault)
    .map(|opened| opened.content)
}

/// Encrypts: the whole text of a vault, in lines of 80 digits.
///
/// With a name other than `default` it is of version 1.2, else of 1.1. Without `salt` a new one is drawn.
///
/// # Errors
/// It is encrypted already.
pub fn encrypt(
    content: &[u8],
    password: &[u8],
    id: Option<&str>,
    salt: Option<&[u8]>,
) -> Result<String, Error> {
    if is_encrypted(content) {
        return Err(Error::AlreadyEncrypted);
    }
    Ok(Envelope {
        cipher: "AES256".to_owned(),
        id: id.map(str::to_owned),
        body: cipher::seal(content, password, salt),
    }
    .write())
}
