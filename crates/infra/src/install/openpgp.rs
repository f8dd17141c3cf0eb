//! Checking of detached OpenPGP signatures, as provider releases carry one over their list of checksums.
//!
//! Only checking, and only of version 4 keys and signatures (RFC 4880, with EdDSA of RFC 9580): everything that
//! providers are signed with. The mathematics is ring's; a whole OpenPGP implementation would bring some eighty
//! crates, most of them ciphers that never verify anything.
//!
//! A signature counts when a key in the ring made it with SHA-2 while the key was valid: the primary key, or a subkey
//! that the primary key bound for signing and that signed that binding in turn.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::signature::{self, UnparsedPublicKey};

/// Why a key or a signature does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key cannot be read.
    #[error("error decoding signing key: {0}")]
    Key(&'static str),
    /// The signature cannot be read.
    #[error("error decoding signature: {0}")]
    Signature(&'static str),
    /// No key that is trusted made the signature.
    #[error("authentication signature from unknown issuer")]
    UnknownIssuer,
    /// A key that is trusted is said to have made the signature, and did not, or not over this document.
    #[error("error checking signature: {0}")]
    Invalid(&'static str),
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The id of the primary key, sixteen hexadecimal digits in upper case.
    pub key_id: String,
    /// The fingerprint of the primary key, in hexadecimal digits in upper case.
    pub fingerprint: String,
}

/// A reader that never goes past the end.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, count: usize) -> Option<usize> {
        self.take(count).map(|bytes| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        })
    }

    /// A multiprecision integer, without leading zeros.
    fn integer(&mut self) -> Option<&'a [u8]> {
        let bits = self.number(2)?;
        let bytes = self.take(bits.div_ceil(8))?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(&bytes[zeros..])
    }
}

struct Packet<'a> {
    tag: u8,
    body: &'a [u8],
}

fn packets(mut data: &[u8]) -> Option<Vec<Packet<'_>>> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let mut bytes = Bytes(data);
        let first = bytes.number(1)?;
        if first & 0x80 == 0 {
            return None;
        }
        let (tag, length) = if first & 0x40 == 0 {
            let length = match first & 3 {
                0 => bytes.number(1)?,
                1 => bytes.number(2)?,
                2 => bytes.number(4)?,
                _ => bytes.0.len(),
            };
            (first >> 2 & 0xf, length)
        } else {
            (first & 0x3f, new_length(&mut bytes)?)
        };
        let body = bytes.take(length)?;
        found.push(Packet {
            tag: tag as u8,
            body,
        });
        data = bytes.0;
    }
    Some(found)
}

/// Keys and signatures have no partial lengths.
fn new_length(bytes: &mut Bytes<'_>) -> Option<usize> {
    match bytes.number(1)? {
        short @ 0..192 => Some(short),
        medium @ 192..224 => Some(((medium - 192) << 8) + bytes.number(1)? + 192),
        255 => bytes.number(4),
        _ => None,
    }
}

/// The bytes under ASCII armour, or the input itself when it has none.
fn unarmour(text: &[u8]) -> Option<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Some(text.to_vec());
    };
    let Some(start) = text.find("-----BEGIN PGP ") else {
        return Some(text.as_bytes().to_vec());
    };
    let mut lines = text[start..]
        .lines()
        .skip(1)
        .map(str::trim)
        .skip_while(|line| line.contains(':'));
    let mut encoded = String::new();
    for line in lines.by_ref() {
        if line.starts_with("-----END PGP ") || line.starts_with('=') {
            break;
        }
        encoded.push_str(line);
    }
    STANDARD.decode(encoded).ok()
}

#[derive(Clone)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    /// An algorithm that is not for signing, or that is not supported.
    Other,
}

#[derive(Clone)]
struct Key {
    body: Vec<u8>,
    created: u64,
    material: Material,
}

impl Key {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(body);
        if bytes.number(1)? != 4 {
            return None;
        }
        let created = bytes.number(4)? as u64;
        let algorithm = bytes.number(1)?;
        let material = match algorithm {
            1 | 3 => Material::Rsa {
                modulus: bytes.integer()?.to_vec(),
                exponent: bytes.integer()?.to_vec(),
            },
            19 | 22 => {
                let length = bytes.number(1)?;
                let curve = bytes.take(length)?;
                let point = bytes.integer()?;
                match curve {
                    [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01]
                        if point.first() == Some(&0x40) =>
                    {
                        Material::Ed25519(point[1..].to_vec())
                    }
                    [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => {
                        Material::P256(point.to_vec())
                    }
                    [0x2b, 0x81, 0x04, 0x00, 0x22] => Material::P384(point.to_vec()),
                    _ => Material::Other,
                }
            }
            27 => Material::Ed25519(bytes.take(32)?.to_vec()),
            _ => Material::Other,
        };
        Some(Self {
            body: body.to_vec(),
            created,
            material,
        })
    }

    /// What stands for the key in hashes.
    fn framed(&self) -> Vec<u8> {
        let mut framed = vec![0x99];
        framed.extend_from_slice(&(self.body.len() as u16).to_be_bytes());
        framed.extend_from_slice(&self.body);
        framed
    }

    fn fingerprint(&self) -> Vec<u8> {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.framed())
            .as_ref()
            .to_vec()
    }

    fn verify(&self, made: &Made, document: &[u8]) -> bool {
        let mut message = document.to_vec();
        message.extend_from_slice(&made.trailer);
        match (&self.material, made.values.as_slice()) {
            (Material::Rsa { modulus, exponent }, [value]) => {
                let parameters: &signature::RsaParameters = match made.hash {
                    8 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    9 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    10 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    _ => return false,
                };
                if value.len() > modulus.len() {
                    return false;
                }
                let mut padded = vec![0; modulus.len() - value.len()];
                padded.extend_from_slice(value);
                signature::RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .verify(parameters, &message, &padded)
                .is_ok()
            }
            (Material::Ed25519(point), [r, s]) => {
                let algorithm = match made.hash {
                    8 => &digest::SHA256,
                    9 => &digest::SHA384,
                    10 => &digest::SHA512,
                    _ => return false,
                };
                if r.len() > 32 || s.len() > 32 {
                    return false;
                }
                let mut value = [0; 64];
                value[32 - r.len()..32].copy_from_slice(r);
                value[64 - s.len()..].copy_from_slice(s);
                let hashed = digest::digest(algorithm, &message);
                UnparsedPublicKey::new(&signature::ED25519, point)
                    .verify(hashed.as_ref(), &value)
                    .is_ok()
            }
            (Material::P256(point) | Material::P384(point), [r, s]) => {
                let algorithm: &dyn signature::VerificationAlgorithm =
                    match (&self.material, made.hash) {
                        (Material::P256(_), 8) => &signature::ECDSA_P256_SHA256_ASN1,
                        (Material::P256(_), 9) => &signature::ECDSA_P256_SHA384_ASN1,
                        (Material::P384(_), 8) => &signature::ECDSA_P384_SHA256_ASN1,
                        (Material::P384(_), 9) => &signature::ECDSA_P384_SHA384_ASN1,
                        _ => return false,
                    };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(&message, &der(r, s))
                    .is_ok()
            }
            _ => false,
        }
    }
}

/// Two integers as ASN.1 has them; both are short.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for value in [r, s] {
        let sign = value.first().is_none_or(|byte| byte & 0x80 != 0);
        content.extend([2, (value.len() + usize::from(sign)) as u8]);
        content.extend(sign.then_some(0));
        content.extend_from_slice(value);
    }
    let mut sequence = vec![0x30, content.len() as u8];
    sequence.extend(content);
    sequence
}

/// A signature, taken apart.
struct Made {
    kind: u8,
    hash: u8,
    created: u64,
    /// Seconds after the creation of the signature, and of the key it is about.
    expires: Option<u64>,
    key_expires: Option<u64>,
    issuer: Option<Vec<u8>>,
    flags: Option<u8>,
    embedded: Option<Vec<u8>>,
    critical_unknown: bool,
    trailer: Vec<u8>,
    values: Vec<Vec<u8>>,
}

impl Made {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(body);
        if bytes.number(1)? != 4 {
            return None;
        }
        let kind = bytes.number(1)? as u8;
        let algorithm = bytes.number(1)?;
        let hash = bytes.number(1)? as u8;
        let hashed_length = bytes.number(2)?;
        let hashed = bytes.take(hashed_length)?;
        let mut trailer = body[..6 + hashed_length].to_vec();
        trailer.extend([4, 0xff]);
        trailer.extend_from_slice(&((6 + hashed_length) as u32).to_be_bytes());
        let unhashed_length = bytes.number(2)?;
        let unhashed = bytes.take(unhashed_length)?;
        bytes.take(2)?;
        let values = match algorithm {
            1 | 3 => vec![bytes.integer()?.to_vec()],
            19 | 22 => vec![bytes.integer()?.to_vec(), bytes.integer()?.to_vec()],
            27 => vec![bytes.take(32)?.to_vec(), bytes.take(32)?.to_vec()],
            _ => Vec::new(),
        };
        let mut made = Self {
            kind,
            hash,
            created: 0,
            expires: None,
            key_expires: None,
            issuer: None,
            flags: None,
            embedded: None,
            critical_unknown: false,
            trailer,
            values,
        };
        made.subpackets(hashed, true)?;
        made.subpackets(unhashed, false)?;
        Some(made)
    }

    /// Of what is not hashed only hints are taken: who signed, and the signature of a subkey, which proves itself.
    fn subpackets(&mut self, data: &[u8], hashed: bool) -> Option<()> {
        let mut bytes = Bytes(data);
        while !bytes.0.is_empty() {
            let length = new_length(&mut bytes)?;
            let mut content = Bytes(bytes.take(length)?);
            let kind = content.number(1)?;
            match kind & 0x7f {
                2 if hashed => self.created = content.number(4)? as u64,
                3 if hashed => {
                    self.expires = Some(content.number(4)? as u64).filter(|seconds| *seconds > 0);
                }
                9 if hashed => {
                    self.key_expires =
                        Some(content.number(4)? as u64).filter(|seconds| *seconds > 0);
                }
                16 if self.issuer.is_none() => self.issuer = Some(content.take(8)?.to_vec()),
                27 if hashed => self.flags = content.0.first().copied(),
                32 => self.embedded = Some(content.0.to_vec()),
                33 if content.0.first() == Some(&4) && content.0.len() == 21 => {
                    self.issuer = Some(content.0[13..].to_vec());
                }
                // Known to others and of no importance here.
                2..=12 | 16 | 20..=39 => {}
                _ => self.critical_unknown |= hashed && kind & 0x80 != 0,
            }
        }
        Some(())
    }
}

/// A primary key with what is bound to it.
struct Ring {
    primary: Key,
    /// When the primary key ceases to be valid, in seconds since 1970.
    expires: Option<u64>,
    revoked: bool,
    /// Keys that may sign, each with its end.
    signing: Vec<(Key, Option<u64>)>,
}

fn read_ring(armoured: &str) -> Result<Ring, Error> {
    let data = unarmour(armoured.as_bytes()).ok_or(Error::Key("the armour is damaged"))?;
    let packets = packets(&data).ok_or(Error::Key("the packets are damaged"))?;
    let mut packets = packets.into_iter();
    let primary = packets
        .next()
        .filter(|packet| packet.tag == 6)
        .and_then(|packet| Key::parse(packet.body))
        .ok_or(Error::Key("it is no public key of version 4"))?;
    let mut ring = Ring {
        expires: None,
        revoked: false,
        signing: Vec::new(),
        primary,
    };
    let mut user: Option<Vec<u8>> = None;
    let mut subkey: Option<Key> = None;
    let mut newest = 0;
    for packet in packets {
        match packet.tag {
            13 | 17 => {
                let mut framed = vec![if packet.tag == 13 { 0xb4 } else { 0xd1 }];
                framed.extend_from_slice(&(packet.body.len() as u32).to_be_bytes());
                framed.extend_from_slice(packet.body);
                user = Some(framed);
                subkey = None;
            }
            14 => {
                subkey = Key::parse(packet.body);
                user = None;
            }
            2 => {
                let Some(made) = Made::parse(packet.body) else {
                    continue;
                };
                let mut about = ring.primary.framed();
                match (made.kind, &user, &subkey) {
                    (0x20, ..) if ring.primary.verify(&made, &about) => ring.revoked = true,
                    (0x10..=0x13, Some(user), _) => {
                        about.extend_from_slice(user);
                        if made.created >= newest && ring.primary.verify(&made, &about) {
                            newest = made.created;
                            ring.expires = made
                                .key_expires
                                .map(|seconds| ring.primary.created + seconds);
                        }
                    }
                    (0x18, _, Some(key)) => {
                        about.extend_from_slice(&key.framed());
                        let back = made.embedded.as_deref().and_then(Made::parse);
                        if made.flags.is_some_and(|flags| flags & 2 != 0)
                            && ring.primary.verify(&made, &about)
                            && back
                                .is_some_and(|back| back.kind == 0x19 && key.verify(&back, &about))
                        {
                            let expires = made.key_expires.map(|seconds| key.created + seconds);
                            ring.signing.push((key.clone(), expires));
                        }
                    }
                    (0x28, _, Some(key)) => {
                        about.extend_from_slice(&key.framed());
                        if ring.primary.verify(&made, &about) {
                            let body = key.body.clone();
                            ring.signing.retain(|(existing, _)| existing.body != body);
                            subkey = None;
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok(ring)
}

fn name(fingerprint: &[u8]) -> String {
    fingerprint
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// Who of the owners of the given keys, in ASCII armour, signed the document.
///
/// # Errors
/// When a key or the signature cannot be read, when none of the keys made the signature, or when one is said to have
/// made it and it does not hold.
pub fn check_detached(keys: &[&str], document: &[u8], signature: &[u8]) -> Result<Signer, Error> {
    let data = unarmour(signature).ok_or(Error::Signature("the armour is damaged"))?;
    let packets = packets(&data).ok_or(Error::Signature("the packets are damaged"))?;
    let signatures: Vec<Made> = packets
        .iter()
        .filter(|packet| packet.tag == 2)
        .filter_map(|packet| Made::parse(packet.body))
        .collect();
    if signatures.is_empty() {
        return Err(Error::Signature("it has no signature of version 4"));
    }
    for key in keys {
        let ring = read_ring(key)?;
        for made in &signatures {
            let candidates = std::iter::once((&ring.primary, ring.expires))
                .chain(ring.signing.iter().map(|(key, end)| (key, *end)));
            for (key, end) in candidates {
                let fingerprint = key.fingerprint();
                if made
                    .issuer
                    .as_deref()
                    .is_some_and(|issuer| !fingerprint.ends_with(issuer))
                {
                    continue;
                }
                let valid = match made.kind {
                    0 => key.verify(made, document),
                    1 => key.verify(made, &canonical_text(document)),
                    _ => return Err(Error::Invalid("the signature is not one of a document")),
                };
                if !valid {
                    if made.issuer.is_none() {
                        continue;
                    }
                    return Err(Error::Invalid(
                        "the signature does not fit the document and the key, or uses a weak or unsupported algorithm",
                    ));
                }
                if ring.revoked {
                    return Err(Error::Invalid("the key was revoked"));
                }
                if made.critical_unknown {
                    return Err(Error::Invalid(
                        "the signature has a critical part that is not understood",
                    ));
                }
                let ends = [end, ring.expires].into_iter().flatten().min();
                if made.created < key.created || ends.is_some_and(|end| made.created > end) {
                    return Err(Error::Invalid(
                        "the signature was made while the key was not valid",
                    ));
                }
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                if made
                    .expires
                    .is_some_and(|seconds| made.created + seconds < now)
                {
                    return Err(Error::Invalid("the signature has expired"));
                }
                let primary = ring.primary.fingerprint();
                return Ok(Signer {
                    key_id: name(&primary[primary.len() - 8..]),
                    fingerprint: name(&primary),
                });
            }
        }
    }
    Err(Error::UnknownIssuer)
}

/// Lines end in CR LF where a text is signed as text.
fn canonical_text(document: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(document.len() + document.len() / 32);
    let mut last = 0;
    for &byte in document {
        if byte == b'\n' && last != b'\r' {
            text.push(b'\r');
        }
        text.push(byte);
        last = byte;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and signatures made with GnuPG for these tests alone.
    const RSA_KEY: &str = include_str!("testdata/rsa.asc");
    const RSA_SIGNATURE: &[u8] = include_bytes!("testdata/rsa.sig");
    const EDDSA_KEY: &str = include_str!("testdata/eddsa.asc");
    const EDDSA_SIGNATURE: &[u8] = include_bytes!("testdata/eddsa.sig");
    const DOCUMENT: &[u8] = b"0123456789abcdef  terraform-provider-x_1.0.0_linux_amd64.zip\n";

    #[test]
    fn a_signature_of_a_trusted_key_names_its_signer() {
        let signer = check_detached(&[EDDSA_KEY, RSA_KEY], DOCUMENT, RSA_SIGNATURE).unwrap();
        assert_eq!(
            signer.fingerprint,
            include_str!("testdata/rsa.fingerprint").trim()
        );
        // Made by a signing subkey, in ASCII armour.
        let signer = check_detached(&[RSA_KEY, EDDSA_KEY], DOCUMENT, EDDSA_SIGNATURE).unwrap();
        assert_eq!(
            signer.fingerprint,
            include_str!("testdata/eddsa.fingerprint").trim()
        );
        assert!(signer.fingerprint.ends_with(&signer.key_id));
    }

    #[test]
    fn a_changed_document_a_foreign_key_and_a_damaged_signature_are_refused() {
        let changed = [DOCUMENT, b"x"].concat();
        assert!(matches!(
            check_detached(&[RSA_KEY], &changed, RSA_SIGNATURE),
            Err(Error::Invalid(_))
        ));
        assert_eq!(
            check_detached(&[EDDSA_KEY], DOCUMENT, RSA_SIGNATURE),
            Err(Error::UnknownIssuer)
        );
        assert_eq!(
            check_detached(&[], DOCUMENT, RSA_SIGNATURE),
            Err(Error::UnknownIssuer)
        );
        for cut in 0..RSA_SIGNATURE.len() {
            assert!(check_detached(&[RSA_KEY], DOCUMENT, &RSA_SIGNATURE[..cut]).is_err());
        }
        for position in 0..RSA_SIGNATURE.len() {
            let mut damaged = RSA_SIGNATURE.to_vec();
            damaged[position] ^= 1;
            // The bits of what is not hashed and is no hint of the signer may change.
            if let Ok(signer) = check_detached(&[RSA_KEY], DOCUMENT, &damaged) {
                assert_eq!(
                    signer.fingerprint,
                    include_str!("testdata/rsa.fingerprint").trim()
                );
            }
        }
        assert!(check_detached(&["nonsense"], DOCUMENT, RSA_SIGNATURE).is_err());
    }
}
