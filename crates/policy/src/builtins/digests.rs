//! Digests and their keyed forms.

use hmac::{Hmac, KeyInit, Mac};
use md5::Digest as _;
use regorus::Value;

use super::{Failure, Function, Outcome, string, text_at};

pub(super) const FUNCTIONS: &[Function] = &[
    ("crypto.md5", 1, |operands| digest::<md5::Md5>(operands)),
    ("crypto.sha1", 1, |operands| digest::<sha1::Sha1>(operands)),
    ("crypto.sha256", 1, |operands| {
        digest::<sha2::Sha256>(operands)
    }),
    ("crypto.hmac.md5", 2, |operands| {
        keyed::<Hmac<md5::Md5>>(operands)
    }),
    ("crypto.hmac.sha1", 2, |operands| {
        keyed::<Hmac<sha1::Sha1>>(operands)
    }),
    ("crypto.hmac.sha256", 2, |operands| {
        keyed::<Hmac<sha2::Sha256>>(operands)
    }),
    ("crypto.hmac.sha512", 2, |operands| {
        keyed::<Hmac<sha2::Sha512>>(operands)
    }),
    ("crypto.hmac.equal", 2, |operands| {
        let (left, right) = (
            text_at(operands, 0)?.as_bytes(),
            text_at(operands, 1)?.as_bytes(),
        );
        // In a time that tells nothing about where they differ.
        let same = left.len() == right.len()
            && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
        Ok(Value::from(same))
    }),
];

pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn digest<D: md5::Digest>(operands: &[Value]) -> Outcome {
    Ok(string(hex(D::digest(text_at(operands, 0)?.as_bytes()))))
}

fn keyed<M: Mac + KeyInit>(operands: &[Value]) -> Outcome {
    let (message, key) = (text_at(operands, 0)?, text_at(operands, 1)?);
    Ok(string(hex(mac::<M>(key.as_bytes(), message.as_bytes())?)))
}

pub(super) fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut mac =
        <M as KeyInit>::new_from_slice(key).map_err(|error| Failure::Other(error.to_string()))?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().to_vec())
}

pub(super) fn sha256(message: &[u8]) -> Vec<u8> {
    sha2::Sha256::digest(message).to_vec()
}
