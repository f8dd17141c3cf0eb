//! AES-256 in counter mode with a digest over what it gives; both keys and the counter come from the password.

use std::num::NonZeroU32;

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use ring::{hmac, pbkdf2};

use super::Error;

const BLOCK: usize = 16;
const KEY: usize = 32;
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

struct Keys {
    cipher: Ctr128BE<Aes256>,
    digest: hmac::Key,
}

impl Keys {
    fn derive(password: &[u8], salt: &[u8]) -> Keys {
        let mut derived = [0; 2 * KEY + BLOCK];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ROUNDS,
            salt,
            password,
            &mut derived,
        );
        let (first, rest) = derived.split_at(KEY);
        let (second, counter) = rest.split_at(KEY);
        Keys {
            cipher: Ctr128BE::new(first.into(), counter.into()),
            digest: hmac::Key::new(hmac::HMAC_SHA256, second),
        }
    }
}

/// What the digits hold; nothing if the password is another.
pub(super) fn open(digits: &[u8], password: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let parts = unhex(digits)?;
    let mut parts = parts.splitn(3, |byte| *byte == b'\n');
    let (Some(salt), Some(digest), Some(content)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::Parts);
    };
    let (salt, digest, mut content) = (unhex(salt)?, unhex(digest)?, unhex(content)?);
    let mut keys = Keys::derive(password, &salt);
    if hmac::verify(&keys.digest, &content, &digest).is_err() {
        return Ok(None);
    }
    keys.cipher.apply_keystream(&mut content);
    // Padding as of PKCS 7: as many bytes as each of them says.
    let padding = usize::from(*content.last().ok_or(Error::Parts)?);
    let kept = content
        .len()
        .checked_sub(padding)
        .filter(|kept| {
            (1..=BLOCK).contains(&padding)
                && content[*kept..]
                    .iter()
                    .all(|byte| usize::from(*byte) == padding)
        })
        .ok_or(Error::Parts)?;
    content.truncate(kept);
    Ok(Some(content))
}

/// The digits of a content encrypted.
pub(super) fn seal(content: &[u8], password: &[u8], salt: Option<&[u8]>) -> Vec<u8> {
    let drawn: [u8; 32] = rand::random();
    let salt = salt.unwrap_or(&drawn);
    let mut keys = Keys::derive(password, salt);
    let padding = BLOCK - content.len() % BLOCK;
    let mut sealed = Vec::with_capacity(content.len() + padding);
    sealed.extend_from_slice(content);
    sealed.resize(content.len() + padding, padding as u8);
    keys.cipher.apply_keystream(&mut sealed);
    let digest = hmac::sign(&keys.digest, &sealed);
    hex(&[&hex(salt), &hex(digest.as_ref()), &hex(&sealed)]
        .map(Vec::as_slice)
        .join(&b'\n'))
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out
}

fn unhex(digits: &[u8]) -> Result<Vec<u8>, Error> {
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(Error::Digits);
    let (pairs, []) = digits.as_chunks::<2>() else {
        return Err(Error::Digits);
    };
    pairs
        .iter()
        .map(|[high, low]| Ok((digit(*high)? << 4 | digit(*low)?) as u8))
        .collect()
}
