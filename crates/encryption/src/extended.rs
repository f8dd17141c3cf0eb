//! AES-256-GCM whose key is derived anew long before a random nonce could repeat.
//!
//! From a seed of 32 bytes and 32 random bytes of "info", HKDF-SHA256 (its expanding step alone: the seed
//! is random already) makes a key. What is sealed is info, nonce, ciphertext and tag: info and nonce
//! together are 44 random bytes, so no number of writes comes near a repetition. One derived key seals
//! at most [`USES`] times (NIST SP 800-38D allows 2^32 random nonces for a key). This is the form upstream's KMS
//! v2 envelopes have.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk};

use crate::provider::{NO_RANDOM, random};

/// Length of a seed.
pub(crate) const SEED: usize = 32;

const INFO: usize = 32;

/// How often one derived key seals.
const USES: u32 = 1 << 20;

/// Derived keys remembered for opening.
const KEPT: usize = 64;

/// Seals with keys derived from one seed.
pub(crate) struct Extended {
    seed: Prk,
    sealing: Mutex<Option<Sealing>>,
    opening: Mutex<VecDeque<([u8; INFO], Arc<LessSafeKey>)>>,
}

struct Sealing {
    info: [u8; INFO],
    key: Arc<LessSafeKey>,
    left: u32,
}

impl Extended {
    pub(crate) fn new(seed: &[u8; SEED]) -> Self {
        Self {
            seed: Prk::new_less_safe(HKDF_SHA256, seed),
            sealing: Mutex::default(),
            opening: Mutex::default(),
        }
    }

    fn derive(&self, info: &[u8; INFO]) -> Result<Arc<LessSafeKey>, String> {
        let info: [&[u8]; 1] = [info];
        let derived = self
            .seed
            .expand(&info, &AES_256_GCM)
            .map_err(|_| "deriving a key failed".to_owned())?;
        Ok(Arc::new(LessSafeKey::new(UnboundKey::from(derived))))
    }

    /// The key that seals now.
    fn current(&self) -> Result<([u8; INFO], Arc<LessSafeKey>), String> {
        let mut sealing = self.sealing.lock();
        if let Some(now) = &mut *sealing
            && now.left > 0
        {
            now.left -= 1;
            return Ok((now.info, Arc::clone(&now.key)));
        }
        let info = random().ok_or(NO_RANDOM)?;
        let key = self.derive(&info)?;
        *sealing = Some(Sealing {
            info,
            key: Arc::clone(&key),
            left: USES - 1,
        });
        Ok((info, key))
    }

    /// Seals bytes, bound to `about`.
    pub(crate) fn seal(&self, about: &[u8], plain: &[u8]) -> Result<Vec<u8>, String> {
        let (info, key) = self.current()?;
        let nonce: [u8; NONCE_LEN] = random().ok_or(NO_RANDOM)?;
        let mut out = Vec::with_capacity(INFO + NONCE_LEN + plain.len() + 16);
        out.extend_from_slice(&info);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let body = &mut out[INFO + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(about), body)
            .map_err(|_| "sealing failed".to_owned())?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what was sealed with the same seed and `about`.
    pub(crate) fn open(&self, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        let parts = sealed.split_first_chunk::<INFO>().and_then(|(info, rest)| {
            let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
            Some((info, nonce, body))
        });
        let (info, nonce, body) = parts.ok_or("it is too short")?;
        let known = {
            let kept = self.opening.lock();
            let found = kept.iter().find(|(have, _)| have == info);
            found.map(|(_, key)| Arc::clone(key))
        };
        let key = match known {
            Some(key) => key,
            None => {
                let key = self.derive(info)?;
                let mut kept = self.opening.lock();
                kept.truncate(KEPT - 1);
                kept.push_front((*info, Arc::clone(&key)));
                key
            }
        };
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .open_in_place(nonce, Aad::from(about), &mut body)
            .map_err(|_| "it was changed, or sealed with another key or for another object")?
            .len();
        body.truncate(plain);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_seed_and_object_only() {
        let one = Extended::new(&[1; SEED]);
        let sealed = one.seal(b"/core/secrets/a/b", b"hush").unwrap();
        assert_ne!(sealed, one.seal(b"/core/secrets/a/b", b"hush").unwrap());
        let same = Extended::new(&[1; SEED]);
        assert_eq!(same.open(b"/core/secrets/a/b", &sealed).unwrap(), b"hush");
        assert!(same.open(b"/core/secrets/a/c", &sealed).is_err());
        let other = Extended::new(&[2; SEED]);
        assert!(other.open(b"/core/secrets/a/b", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(same.open(b"/core/secrets/a/b", &changed).is_err(), "{at}");
            assert!(same.open(b"/core/secrets/a/b", &sealed[..at]).is_err());
        }
    }
}
