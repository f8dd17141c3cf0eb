//! Methods: how bytes are sealed with a key.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::aes::Aes192;
use aes_gcm::{AesGcm, KeyInit as _, Nonce};
use ring::aead;
use ring::rand::SecureRandom as _;

use super::keys::{KeySource, Keys};
use super::program;

/// A way to seal.
#[derive(Clone, Debug)]
pub(super) enum Method {
    /// Not at all: for the way from and to states that are not sealed.
    Unencrypted,
    /// AES in Galois/counter mode (NIST SP 800-38D), with 128, 192 or 256 bits.
    AesGcm {
        /// Its keys.
        keys: KeySource,
        /// What must be the same when opening.
        aad: Vec<u8>,
    },
    /// Programs of the user's own.
    External {
        /// Keys to hand to them.
        keys: Option<KeySource>,
        /// What seals.
        encrypt: Vec<String>,
        /// What opens.
        decrypt: Vec<String>,
    },
}

impl Method {
    pub(super) fn is_unencrypted(&self) -> bool {
        matches!(self, Method::Unencrypted)
    }

    pub(super) fn keys(&self) -> Option<&KeySource> {
        match self {
            Method::Unencrypted => None,
            Method::AesGcm { keys, .. } => Some(keys),
            Method::External { keys, .. } => keys.as_ref(),
        }
    }

    /// Whether it takes these keys; else why not.
    pub(super) fn check(&self, keys: &Keys) -> Result<(), String> {
        if let Method::AesGcm { .. } = self {
            for (what, key) in [
                ("encryption", Some(&keys.encryption)),
                ("decryption", keys.decryption.as_ref()),
            ] {
                if let Some(key) = key
                    && !matches!(key.len(), 16 | 24 | 32)
                {
                    return Err(format!(
                        "AES-GCM requires the key length to be one of: [16, 24, 32], received {} bytes in the {what} key",
                        key.len()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Seals.
    pub(super) async fn seal(&self, keys: &Keys, data: Vec<u8>) -> Result<Vec<u8>, String> {
        match self {
            Method::Unencrypted => Ok(data),
            Method::AesGcm { aad, .. } => {
                let (key, aad) = (keys.encryption.clone(), aad.clone());
                blocking(move || seal(&key, &aad, &data)).await
            }
            Method::External { encrypt, .. } => {
                program::transform(encrypt, &keys.encryption, data).await
            }
        }
    }

    /// Opens.
    pub(super) async fn open(&self, keys: &Keys, data: Vec<u8>) -> Result<Vec<u8>, String> {
        let unavailable = || "no decryption key available".to_owned();
        match self {
            Method::Unencrypted => Ok(data),
            Method::AesGcm { aad, .. } => {
                let (key, aad) = (
                    keys.decryption.clone().ok_or_else(unavailable)?,
                    aad.clone(),
                );
                blocking(move || open(&key, &aad, data)).await
            }
            Method::External { decrypt, .. } => {
                if !keys.encryption.is_empty() && keys.decryption.is_none() {
                    return Err(unavailable());
                }
                let key = keys.decryption.as_deref().unwrap_or_default();
                program::transform(decrypt, key, data).await
            }
        }
    }
}

async fn blocking(
    work: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<Vec<u8>, String> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
}

const NONCE: usize = 12;
const TAG: usize = 16;

type Aes192Gcm = AesGcm<Aes192, U12>;

fn ring_key(key: &[u8]) -> Option<aead::LessSafeKey> {
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        32 => &aead::AES_256_GCM,
        _ => return None,
    };
    aead::UnboundKey::new(algorithm, key)
        .ok()
        .map(aead::LessSafeKey::new)
}

/// The nonce, then what is sealed, then the tag.
pub(crate) fn seal(key: &[u8], aad: &[u8], data: &[u8]) -> Result<Vec<u8>, String> {
    let mut nonce = [0; NONCE];
    ring::rand::SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| "could not generate nonce".to_owned())?;
    let failed = || "failed to create AES cypher block".to_owned();
    let mut sealed = Vec::with_capacity(NONCE + data.len() + TAG);
    sealed.extend_from_slice(&nonce);
    if let Some(ring) = ring_key(key) {
        sealed.extend_from_slice(data);
        let tag = ring
            .seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(aad),
                &mut sealed[NONCE..],
            )
            .map_err(|_| failed())?;
        sealed.extend_from_slice(tag.as_ref());
    } else {
        // What ring does not have.
        let cipher = Aes192Gcm::new_from_slice(key).map_err(|_| failed())?;
        let payload = Payload { msg: data, aad };
        let made = cipher
            .encrypt(&Nonce::<U12>::from(nonce), payload)
            .map_err(|_| failed())?;
        sealed.extend_from_slice(&made);
    }
    Ok(sealed)
}

/// The reverse of [`seal`].
pub(crate) fn open(key: &[u8], aad: &[u8], mut data: Vec<u8>) -> Result<Vec<u8>, String> {
    let wrong = || "decryption failed: cipher: message authentication failed".to_owned();
    if data.len() < NONCE + TAG {
        return Err(
            "decryption failed: cannot decrypt data because it is too small (likely data corruption)"
                .to_owned(),
        );
    }
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&data[..NONCE]);
    if let Some(ring) = ring_key(key) {
        let length = ring
            .open_within(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(aad),
                &mut data,
                NONCE..,
            )
            .map_err(|_| wrong())?
            .len();
        data.truncate(length);
        return Ok(data);
    }
    let cipher = Aes192Gcm::new_from_slice(key).map_err(|_| wrong())?;
    let payload = Payload {
        msg: &data[NONCE..],
        aad,
    };
    cipher
        .decrypt(&Nonce::<U12>::from(nonce), payload)
        .map_err(|_| wrong())
}
