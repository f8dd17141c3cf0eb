//! Key providers: where keys come from, and what has to be kept beside what they sealed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ring::pbkdf2;
use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::openbao::OpenBao;
use super::target::Recipes;
use super::{Error, program};

/// A key to seal with, and the one to open what was sealed before, where that is asked for.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Keys {
    #[serde(rename = "encryption_key", with = "base64_bytes")]
    pub(super) encryption: Vec<u8>,
    #[serde(rename = "decryption_key", with = "base64_optional", default)]
    pub(super) decryption: Option<Vec<u8>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Bytes in JSON as Go writes them.
pub(super) mod base64_bytes {
    use base64::Engine as _;

    use super::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::encryption) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::encryption) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

mod base64_optional {
    use serde::Deserializer;

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let bytes = super::base64_bytes::deserialize(deserializer)?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

/// Where a method or another provider has its keys from.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    /// The provider of this number.
    Provider(usize),
    /// Keys that stand in the configuration.
    Keys(Keys),
}

/// A hash function by its name in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// More iterations than this would only keep somebody waiting.
pub(super) const MOST_ITERATIONS: u64 = 100_000_000;

/// A key made of a passphrase (RFC 8018).
#[derive(Clone, Debug)]
pub(super) struct Pbkdf2 {
    pub(super) source: KeySource,
    pub(super) key_length: u64,
    pub(super) iterations: u64,
    pub(super) salt_length: u64,
    pub(super) hash: Hash,
}

/// What a key was made with.
#[derive(Clone, Serialize, Deserialize)]
struct Pbkdf2Metadata {
    #[serde(with = "base64_bytes")]
    salt: Vec<u8>,
    iterations: u64,
    hash_function: Hash,
    key_length: u64,
}

/// A way to come to keys.
#[derive(Clone, Debug)]
pub(super) enum KeyProvider {
    Pbkdf2(Pbkdf2),
    Static(Vec<u8>),
    External(Vec<String>),
    OpenBao(OpenBao),
}

/// A key provider, and under which name its metadata is kept.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) metadata: String,
    pub(super) kind: KeyProvider,
}

impl Provider {
    /// The provider whose keys it makes its own of.
    pub(super) fn source(&self) -> Option<usize> {
        match &self.kind {
            KeyProvider::Pbkdf2(Pbkdf2 {
                source: KeySource::Provider(at),
                ..
            }) => Some(*at),
            _ => None,
        }
    }
}

/// Metadata by name, each as JSON.
pub(super) type Metadata = BTreeMap<String, Vec<u8>>;

const STATIC_MAGIC: &str = "Hello world!";

fn derive(passphrase: &[u8], metadata: &Pbkdf2Metadata) -> Result<Vec<u8>, String> {
    let iterations = u32::try_from(metadata.iterations)
        .ok()
        .filter(|count| u64::from(*count) <= MOST_ITERATIONS)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| format!("invalid number of iterations ({})", metadata.iterations))?;
    if metadata.key_length == 0 || metadata.key_length > 1024 {
        return Err(format!("invalid key length ({})", metadata.key_length));
    }
    let algorithm = match metadata.hash_function {
        Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    let mut key = vec![0; metadata.key_length as usize];
    pbkdf2::derive(algorithm, iterations, &metadata.salt, passphrase, &mut key);
    Ok(key)
}

impl Recipes {
    /// The keys of a source. `input` is what was kept when something was sealed before, if that is to be opened;
    /// what has to be kept of the new keys is added to `output`.
    pub(super) fn keys<'a>(
        &'a self,
        source: &'a KeySource,
        input: &'a Metadata,
        output: &'a mut Metadata,
    ) -> BoxFuture<'a, Result<Keys, Error>> {
        async move {
            let at = match source {
                KeySource::Keys(keys) => return Ok(keys.clone()),
                KeySource::Provider(at) => *at,
            };
            let Some(provider) = self.providers.get(at) else {
                return Ok(Keys::default());
            };
            let (keys, kept) = self.provide(provider, input, output).await?;
            if output.insert(provider.metadata.clone(), kept).is_some() {
                return Err(Error::Key {
                    provider: provider.metadata.clone(),
                    reason: format!(
                        "The metadata key {} is duplicated across multiple key providers for the same method; use the encrypted_metadata_alias option to specify unique metadata keys for each key provider in an encryption method",
                        provider.metadata
                    ),
                });
            }
            Ok(keys)
        }
        .boxed()
    }

    async fn provide(
        &self,
        provider: &Provider,
        input: &Metadata,
        output: &mut Metadata,
    ) -> Result<(Keys, Vec<u8>), Error> {
        let failed = |reason: String| Error::Key {
            provider: provider.metadata.clone(),
            reason,
        };
        let unreadable = |reason: String| Error::Metadata {
            provider: provider.metadata.clone(),
            reason,
        };
        let kept = input.get(&provider.metadata);
        let json = |value: &Json| serde_json::to_vec(value).unwrap_or_default();
        match &provider.kind {
            KeyProvider::Static(key) => {
                let decryption = match kept {
                    None => None,
                    Some(kept) => {
                        let found: Json = serde_json::from_slice(kept)
                            .map_err(|error| unreadable(error.to_string()))?;
                        match found["magic"].as_str().unwrap_or_default() {
                            STATIC_MAGIC => Some(key.clone()),
                            "" => None,
                            magic => {
                                return Err(failed(format!(
                                    "corrupted data received, no or invalid magic string: {magic}"
                                )));
                            }
                        }
                    }
                };
                let keys = Keys {
                    encryption: key.clone(),
                    decryption,
                };
                Ok((keys, json(&serde_json::json!({"magic": STATIC_MAGIC}))))
            }
            KeyProvider::Pbkdf2(settings) => {
                let source = self.keys(&settings.source, input, output).await?;
                if matches!(settings.source, KeySource::Provider(_)) && source.encryption.len() < 16
                {
                    return Err(failed(
                        "upstream key provider supplied an encryption key that is too short (minimum 16 characters)"
                            .to_owned(),
                    ));
                }
                let before = kept
                    .map(|kept| serde_json::from_slice::<Pbkdf2Metadata>(kept))
                    .transpose()
                    .map_err(|error| unreadable(error.to_string()))?;
                let mut salt = vec![0; settings.salt_length as usize];
                ring::rand::SystemRandom::new()
                    .fill(&mut salt)
                    .map_err(|_| failed("failed to obtain random data".to_owned()))?;
                let now = Pbkdf2Metadata {
                    salt,
                    iterations: settings.iterations,
                    hash_function: settings.hash,
                    key_length: settings.key_length,
                };
                let metadata = serde_json::to_vec(&now).unwrap_or_default();
                // Slow by design: not on a thread that others wait for.
                let keys = tokio::task::spawn_blocking(move || {
                    Ok::<_, String>(Keys {
                        encryption: derive(&source.encryption, &now)?,
                        decryption: match (&source.decryption, &before) {
                            (Some(passphrase), Some(before)) => Some(derive(passphrase, before)?),
                            _ => None,
                        },
                    })
                })
                .await
                .map_err(|error| failed(error.to_string()))?
                .map_err(failed)?;
                Ok((keys, metadata))
            }
            KeyProvider::External(command) => {
                let (keys, metadata) = program::keys(command, kept.map(Vec::as_slice))
                    .await
                    .map_err(failed)?;
                Ok((keys, metadata))
            }
            KeyProvider::OpenBao(server) => server
                .provide(kept.map(Vec::as_slice))
                .await
                .map_err(failed),
        }
    }
}
