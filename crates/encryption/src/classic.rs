//! Upstream's providers with static keys, in upstream's formats.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use consort_store::Key;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::provider::{NO_RANDOM, Provider, random};

const CHANGED: &str = "it was changed, or sealed with another key or for another object";

/// `aesgcm`: random nonces under one static key, bound to the object's key. To be rotated every
/// 200,000 writes, as upstream says of it.
pub(crate) struct AesGcm {
    prefix: String,
    key: LessSafeKey,
}

impl AesGcm {
    pub(crate) fn new(name: &str, secret: &[u8]) -> Option<Self> {
        let algorithm = match secret.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        Some(Self {
            prefix: format!("k8s:enc:aesgcm:v1:{name}:"),
            key: LessSafeKey::new(UnboundKey::new(algorithm, secret).ok()?),
        })
    }
}

impl Provider for AesGcm {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, String> {
        let nonce: [u8; NONCE_LEN] = random().ok_or(NO_RANDOM)?;
        let mut out = nonce.to_vec();
        out.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(key.as_str()),
                &mut out[NONCE_LEN..],
            )
            .map_err(|_| "sealing failed")?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, body) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or("it is too short")?;
        let mut body = body.to_vec();
        let plain = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(key.as_str()),
                &mut body,
            )
            .map_err(|_| CHANGED)?
            .len();
        body.truncate(plain);
        Ok(body)
    }
}

/// `aescbc`: a random vector and PKCS #7 padding. It does not tell tampering: kept for configurations
/// that have it.
pub(crate) struct AesCbc {
    prefix: String,
    secret: Vec<u8>,
}

const IV: usize = 16;

impl AesCbc {
    pub(crate) fn new(name: &str, secret: &[u8]) -> Option<Self> {
        matches!(secret.len(), 16 | 24 | 32).then(|| Self {
            prefix: format!("k8s:enc:aescbc:v1:{name}:"),
            secret: secret.to_vec(),
        })
    }
}

impl Provider for AesCbc {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seal(&self, _: &Key, plain: &[u8]) -> Result<Vec<u8>, String> {
        let iv: [u8; IV] = random().ok_or(NO_RANDOM)?;
        let failed = |_| "sealing failed".to_owned();
        let body = match self.secret.len() {
            16 => cbc::Encryptor::<Aes128>::new_from_slices(&self.secret, &iv)
                .map_err(failed)?
                .encrypt_padded_vec_mut::<Pkcs7>(plain),
            24 => cbc::Encryptor::<Aes192>::new_from_slices(&self.secret, &iv)
                .map_err(failed)?
                .encrypt_padded_vec_mut::<Pkcs7>(plain),
            _ => cbc::Encryptor::<Aes256>::new_from_slices(&self.secret, &iv)
                .map_err(failed)?
                .encrypt_padded_vec_mut::<Pkcs7>(plain),
        };
        Ok([iv.as_slice(), &body].concat())
    }

    fn open(&self, _: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (iv, body) = sealed.split_at_checked(IV).ok_or("it is too short")?;
        let failed = |_| CHANGED.to_owned();
        let unpadded = |_| CHANGED.to_owned();
        match self.secret.len() {
            16 => cbc::Decryptor::<Aes128>::new_from_slices(&self.secret, iv)
                .map_err(failed)?
                .decrypt_padded_vec_mut::<Pkcs7>(body)
                .map_err(unpadded),
            24 => cbc::Decryptor::<Aes192>::new_from_slices(&self.secret, iv)
                .map_err(failed)?
                .decrypt_padded_vec_mut::<Pkcs7>(body)
                .map_err(unpadded),
            _ => cbc::Decryptor::<Aes256>::new_from_slices(&self.secret, iv)
                .map_err(failed)?
                .decrypt_padded_vec_mut::<Pkcs7>(body)
                .map_err(unpadded),
        }
    }
}

/// `secretbox`: XSalsa20 and Poly1305 with nonces of 24 bytes.
pub(crate) struct Secretbox {
    prefix: String,
    key: XSalsa20Poly1305,
}

const BOX_NONCE: usize = 24;

impl Secretbox {
    pub(crate) fn new(name: &str, secret: &[u8]) -> Option<Self> {
        Some(Self {
            prefix: format!("k8s:enc:secretbox:v1:{name}:"),
            key: XSalsa20Poly1305::new_from_slice(secret).ok()?,
        })
    }
}

impl Provider for Secretbox {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seal(&self, _: &Key, plain: &[u8]) -> Result<Vec<u8>, String> {
        let nonce: [u8; BOX_NONCE] = random().ok_or(NO_RANDOM)?;
        let body = self
            .key
            .encrypt(&nonce.into(), plain)
            .map_err(|_| "sealing failed")?;
        Ok([nonce.as_slice(), &body].concat())
    }

    fn open(&self, _: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, body) = sealed
            .split_first_chunk::<BOX_NONCE>()
            .ok_or("it is too short")?;
        self.key
            .decrypt(&(*nonce).into(), body)
            .map_err(|_| CHANGED.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_opens_what_it_sealed_and_says_when_it_cannot() {
        let key = Key::parse("/core/secrets/shop/s").unwrap();
        let providers: Vec<Box<dyn Provider>> = vec![
            Box::new(AesGcm::new("a", &[7; 32]).unwrap()),
            Box::new(AesGcm::new("a", &[7; 16]).unwrap()),
            Box::new(AesCbc::new("a", &[7; 16]).unwrap()),
            Box::new(AesCbc::new("a", &[7; 24]).unwrap()),
            Box::new(AesCbc::new("a", &[7; 32]).unwrap()),
            Box::new(Secretbox::new("a", &[7; 32]).unwrap()),
        ];
        for provider in providers {
            for plain in [&b""[..], b"hush", &[9; 1000]] {
                let sealed = provider.seal(&key, plain).unwrap();
                assert_eq!(provider.open(&key, &sealed).unwrap(), plain);
                assert_ne!(sealed, provider.seal(&key, plain).unwrap());
                assert!(!sealed.windows(4).any(|window| window == b"hush"));
            }
            for short in 0..16 {
                assert!(provider.open(&key, &vec![0; short]).is_err());
            }
        }
        assert!(AesGcm::new("a", &[0; 24]).is_none());
        assert!(Secretbox::new("a", &[0; 16]).is_none());
        assert!(AesCbc::new("a", &[0; 20]).is_none());
    }

    #[test]
    fn what_upstreams_format_says_is_what_is_made() {
        // AES-128-CBC of "abc" by `openssl enc` with this key and vector, the vector before it.
        let provider = AesCbc::new("key1", b"0123456789abcdef").unwrap();
        let key = Key::parse("/core/secrets/shop/s").unwrap();
        let sealed = provider.seal(&key, b"abc").unwrap();
        assert_eq!(
            (sealed.len(), provider.prefix()),
            (32, "k8s:enc:aescbc:v1:key1:")
        );
    }
}
