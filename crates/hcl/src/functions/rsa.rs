//! `rsadecrypt`: PKCS #1 v1.5 with a private key in PEM: PKCS #1, PKCS #8, or OpenSSH's own form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{BigUint, Pkcs1v15Encrypt, RsaPrivateKey};

use super::arguments::Result;
use super::encoding::decode_base64;
use crate::evaluate::CallError;
use crate::text::quote;

pub(super) fn decrypt(ciphertext: &str, key: &str) -> Result<String> {
    let bytes = decode_base64(ciphertext).map_err(|_| {
        let message = format!(
            "failed to decode input {}: cipher text must be base64-encoded",
            quote(ciphertext)
        );
        CallError::argument(0, message)
    })?;
    let key = private_key(key).map_err(|e| CallError::argument(1, e))?;
    let plain = key
        .decrypt(Pkcs1v15Encrypt, &bytes)
        .map_err(|_| CallError::new("failed to decrypt: crypto/rsa: decryption error"))?;
    Ok(String::from_utf8_lossy(&plain).into_owned())
}

fn private_key(pem: &str) -> std::result::Result<RsaPrivateKey, String> {
    let invalid = |what: &str| format!("invalid private key: {what}");
    let Some((_, after)) = pem.split_once("-----BEGIN ") else {
        return Err(invalid("ssh: no key found"));
    };
    let (Some((label, body)), Some(end)) = (after.split_once("-----"), after.find("-----END "))
    else {
        return Err(invalid("ssh: no key found"));
    };
    if pem.contains("ENCRYPTED") {
        return Err(invalid("ssh: this private key is passphrase protected"));
    }
    let body = &body[..end.saturating_sub(label.len() + 5)];
    let encoded: String = body.split_whitespace().collect();
    let Ok(der) = STANDARD.decode(encoded) else {
        return Err(invalid("ssh: no key found"));
    };
    let wrong = "invalid ASN1 data in the given private key: data truncated".to_owned();
    match label {
        "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&der).map_err(|_| wrong),
        "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(&der).map_err(|_| wrong),
        "OPENSSH PRIVATE KEY" => openssh(&der).map_err(|e| invalid(&e)),
        other => Err(invalid(&format!(
            "ssh: unsupported key type {}",
            quote(other)
        ))),
    }
}

/// The key within OpenSSH's envelope, where that is not encrypted.
fn openssh(bytes: &[u8]) -> std::result::Result<RsaPrivateKey, String> {
    let malformed = || "ssh: malformed OpenSSH key".to_owned();
    let mut outer = Fields(
        bytes
            .strip_prefix(b"openssh-key-v1\0")
            .ok_or_else(malformed)?,
    );
    let cipher = outer.field().ok_or_else(malformed)?;
    if cipher != b"none" {
        return Err("ssh: this private key is passphrase protected".to_owned());
    }
    outer.field().ok_or_else(malformed)?;
    outer.field().ok_or_else(malformed)?;
    if outer.length() != Some(1) {
        return Err("ssh: multi-key files are not supported".to_owned());
    }
    outer.field().ok_or_else(malformed)?;
    let mut inner = Fields(outer.field().ok_or_else(malformed)?);
    let (first, second) = (inner.length(), inner.length());
    if first.is_none() || first != second {
        return Err(malformed());
    }
    if inner.field() != Some(b"ssh-rsa") {
        return Err("ssh: unhandled key type".to_owned());
    }
    let mut number = || {
        inner
            .field()
            .map(BigUint::from_bytes_be)
            .ok_or_else(malformed)
    };
    let (modulus, public, private) = (number()?, number()?, number()?);
    number()?;
    let primes = vec![number()?, number()?];
    RsaPrivateKey::from_components(modulus, public, private, primes).map_err(|_| malformed())
}

/// Fields that each follow their length.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn length(&mut self) -> Option<u32> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*length))
    }

    fn field(&mut self) -> Option<&'b [u8]> {
        let length = self.length()? as usize;
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }
}
