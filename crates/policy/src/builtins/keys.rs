//! Keys in the forms that policies are given them: PEM, DER in base64, JSON Web Keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regorus::Value;
use ring::signature::{self, KeyPair as _, UnparsedPublicKey};
use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};

use super::{Failure, field};

/// A signature's algorithm, by its name in a token: `RS256`, `PS384`, `ES512`, `EdDSA`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Hmac(Digest),
    Pkcs1(Digest),
    Pss(Digest),
    Ecdsa(Digest),
    Ed25519,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub(super) fn of(name: &str) -> Option<Self> {
        if name == "EdDSA" {
            return Some(Algorithm::Ed25519);
        }
        let digest = match name.get(2..)? {
            "256" => Digest::Sha256,
            "384" => Digest::Sha384,
            "512" => Digest::Sha512,
            _ => return None,
        };
        match name.get(..2)? {
            "HS" => Some(Algorithm::Hmac(digest)),
            "RS" => Some(Algorithm::Pkcs1(digest)),
            "PS" => Some(Algorithm::Pss(digest)),
            "ES" => Some(Algorithm::Ecdsa(digest)),
            _ => None,
        }
    }
}

/// The public half of a key.
#[derive(Clone, Debug)]
pub(super) enum PublicKey {
    Rsa(Box<RsaPublicKey>),
    /// A point of one of the curves of NIST, uncompressed.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    /// The key of a digest, which a JSON Web Key may hold too.
    Secret(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn of(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Curve::P256),
            "P-384" => Some(Curve::P384),
            "P-521" => Some(Curve::P521),
            _ => None,
        }
    }

    /// The length of one coordinate in bytes.
    pub(super) fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

/// The bytes of each block of a PEM text, with its label. Text between blocks is skipped.
pub(super) fn pem_blocks(text: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + "-----BEGIN ".len()..];
        let Some((label, after)) = rest.split_once("-----") else {
            break;
        };
        let end = format!("-----END {label}-----");
        let Some((body, after)) = after.split_once(end.as_str()) else {
            break;
        };
        let encoded: String = body
            .lines()
            .filter(|line| !line.contains(':'))
            .flat_map(str::chars)
            .filter(|char| !char.is_whitespace())
            .collect();
        blocks.push((label.to_owned(), STANDARD.decode(encoded).map_err(other)?));
        rest = after;
    }
    Ok(blocks)
}

/// What a text holds that is PEM, PEM in base64, or DER in base64; the label of the latter is empty.
pub(super) fn blocks(text: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    if text.trim_start().starts_with("-----BEGIN") || text.contains("\n-----BEGIN") {
        return pem_blocks(text);
    }
    let compact: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    let bytes = STANDARD.decode(compact).map_err(other)?;
    match std::str::from_utf8(&bytes) {
        Ok(inner) if inner.contains("-----BEGIN") => pem_blocks(inner),
        _ => Ok(vec![(String::new(), bytes)]),
    }
}

impl PublicKey {
    pub(super) fn of_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, Failure> {
        let bytes = spki.subject_public_key.data.as_ref();
        match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => RsaPublicKey::from_pkcs1_der(bytes)
                .map(|key| PublicKey::Rsa(Box::new(key)))
                .map_err(other),
            "1.2.840.10045.2.1" => {
                let curve = match bytes.len() {
                    65 => Curve::P256,
                    97 => Curve::P384,
                    133 => Curve::P521,
                    _ => return Err("an elliptic curve that is not known".into()),
                };
                Ok(PublicKey::Ec {
                    curve,
                    point: bytes.to_vec(),
                })
            }
            "1.3.101.112" => Ok(PublicKey::Ed25519(bytes.to_vec())),
            unknown => Err(Failure::Other(format!(
                "a public key of the unknown algorithm {unknown}"
            ))),
        }
    }

    pub(super) fn of_jwk(key: &Value) -> Result<Self, Failure> {
        let part = |name: &str| -> Result<Vec<u8>, Failure> {
            let Some(Value::String(text)) = field(key, name) else {
                return Err(Failure::Other(format!("the key has no field {name}")));
            };
            URL_SAFE_NO_PAD
                .decode(text.trim_end_matches('='))
                .map_err(other)
        };
        let kind = match field(key, "kty") {
            Some(Value::String(kind)) => kind.to_string(),
            _ => return Err("the key has no field kty".into()),
        };
        match kind.as_str() {
            "RSA" => RsaPublicKey::new(
                BigUint::from_bytes_be(&part("n")?),
                BigUint::from_bytes_be(&part("e")?),
            )
            .map(|key| PublicKey::Rsa(Box::new(key)))
            .map_err(other),
            "EC" => {
                let curve = match field(key, "crv") {
                    Some(Value::String(name)) => Curve::of(name),
                    _ => None,
                }
                .ok_or("the key has no known curve")?;
                let mut point = vec![4];
                for name in ["x", "y"] {
                    let bytes = part(name)?;
                    point.extend(std::iter::repeat_n(
                        0,
                        curve.width().saturating_sub(bytes.len()),
                    ));
                    point.extend(bytes);
                }
                Ok(PublicKey::Ec { curve, point })
            }
            "OKP" => part("x").map(PublicKey::Ed25519),
            "oct" => part("k").map(PublicKey::Secret),
            kind => Err(Failure::Other(format!("a key of the unknown kind {kind}"))),
        }
    }

    /// Whether it made a signature over a message. ECDSA signatures are `r || s`, or DER where `der` says so.
    pub(super) fn verifies(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
        der: bool,
    ) -> bool {
        match (self, algorithm) {
            (PublicKey::Rsa(key), Algorithm::Pkcs1(digest)) => {
                let (scheme, hashed) = pkcs1(digest, message);
                key.verify(scheme, &hashed, signature).is_ok()
            }
            (PublicKey::Rsa(key), Algorithm::Pss(digest)) => {
                let (_, hashed) = pkcs1(digest, message);
                // The length of the salt is the signer's choice; tokens use that of the digest, certificates may not.
                pss_lengths(digest, key.size())
                    .any(|length| key.verify(pss(digest, length), &hashed, signature).is_ok())
            }
            (PublicKey::Ec { curve, point }, Algorithm::Ecdsa(digest)) => {
                let known: &dyn signature::VerificationAlgorithm = match (curve, digest, der) {
                    (Curve::P256, Digest::Sha256, false) => &signature::ECDSA_P256_SHA256_FIXED,
                    (Curve::P256, Digest::Sha256, true) => &signature::ECDSA_P256_SHA256_ASN1,
                    (Curve::P256, Digest::Sha384, true) => &signature::ECDSA_P256_SHA384_ASN1,
                    (Curve::P384, Digest::Sha384, false) => &signature::ECDSA_P384_SHA384_FIXED,
                    (Curve::P384, Digest::Sha256, true) => &signature::ECDSA_P384_SHA256_ASN1,
                    (Curve::P384, Digest::Sha384, true) => &signature::ECDSA_P384_SHA384_ASN1,
                    (Curve::P521, Digest::Sha512, _) => {
                        return p521_verifies(point, message, signature, der);
                    }
                    _ => return false,
                };
                UnparsedPublicKey::new(known, point)
                    .verify(message, signature)
                    .is_ok()
            }
            (PublicKey::Ed25519(key), Algorithm::Ed25519) => {
                UnparsedPublicKey::new(&signature::ED25519, key)
                    .verify(message, signature)
                    .is_ok()
            }
            (PublicKey::Secret(key), Algorithm::Hmac(digest)) => {
                hmac(digest, key, message).is_ok_and(|made| same(&made, signature))
            }
            _ => false,
        }
    }
}

/// Compares in a time that tells nothing about where they differ.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

pub(super) fn hmac(digest: Digest, key: &[u8], message: &[u8]) -> Result<Vec<u8>, Failure> {
    use super::digests::mac;
    match digest {
        Digest::Sha1 => mac::<hmac::Hmac<sha1::Sha1>>(key, message),
        Digest::Sha256 => mac::<hmac::Hmac<sha2::Sha256>>(key, message),
        Digest::Sha384 => mac::<hmac::Hmac<sha2::Sha384>>(key, message),
        Digest::Sha512 => mac::<hmac::Hmac<sha2::Sha512>>(key, message),
    }
}

/// The scheme with the digest's identifier before the digest (RFC 8017, 9.2), and the digest.
fn pkcs1(digest: Digest, message: &[u8]) -> (rsa::Pkcs1v15Sign, Vec<u8>) {
    use rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
    match digest {
        Digest::Sha1 => {
            use sha1::Digest as _;
            let prefix = [
                0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04,
                0x14,
            ];
            (
                rsa::Pkcs1v15Sign {
                    hash_len: Some(20),
                    prefix: Box::new(prefix),
                },
                sha1::Sha1::digest(message).to_vec(),
            )
        }
        Digest::Sha256 => (
            rsa::Pkcs1v15Sign::new::<Sha256>(),
            Sha256::digest(message).to_vec(),
        ),
        Digest::Sha384 => (
            rsa::Pkcs1v15Sign::new::<Sha384>(),
            Sha384::digest(message).to_vec(),
        ),
        Digest::Sha512 => (
            rsa::Pkcs1v15Sign::new::<Sha512>(),
            Sha512::digest(message).to_vec(),
        ),
    }
}

fn pss(digest: Digest, salt: usize) -> rsa::Pss {
    use rsa::sha2::{Sha256, Sha384, Sha512};
    match digest {
        Digest::Sha1 | Digest::Sha256 => rsa::Pss::new_with_salt::<Sha256>(salt),
        Digest::Sha384 => rsa::Pss::new_with_salt::<Sha384>(salt),
        Digest::Sha512 => rsa::Pss::new_with_salt::<Sha512>(salt),
    }
}

fn digest_length(digest: Digest) -> usize {
    match digest {
        Digest::Sha1 => 20,
        Digest::Sha256 => 32,
        Digest::Sha384 => 48,
        Digest::Sha512 => 64,
    }
}

/// The salts that signers use: as long as the digest, or as long as fits.
fn pss_lengths(digest: Digest, size: usize) -> impl Iterator<Item = usize> {
    let length = digest_length(digest);
    [length, size.saturating_sub(length + 2)].into_iter()
}

fn p521_verifies(point: &[u8], message: &[u8], signature: &[u8], der: bool) -> bool {
    use p521::ecdsa::signature::Verifier as _;
    let Ok(key) = p521::ecdsa::VerifyingKey::from_sec1_bytes(point) else {
        return false;
    };
    let parsed = if der {
        p521::ecdsa::Signature::from_der(signature)
    } else {
        p521::ecdsa::Signature::from_slice(signature)
    };
    parsed.is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// The private half of a key.
#[derive(Debug)]
pub(super) enum PrivateKey {
    Rsa(Box<RsaPrivateKey>),
    Ec {
        curve: Curve,
        scalar: Vec<u8>,
        point: Vec<u8>,
    },
    Ed25519 {
        seed: Vec<u8>,
        public: Vec<u8>,
    },
    Secret(Vec<u8>),
}

impl PrivateKey {
    pub(super) fn of_jwk(key: &Value) -> Result<Self, Failure> {
        let part = |name: &str| -> Result<Vec<u8>, Failure> {
            match field(key, name) {
                Some(Value::String(text)) => URL_SAFE_NO_PAD
                    .decode(text.trim_end_matches('='))
                    .map_err(other),
                _ => Err(Failure::Other(format!("the key has no field {name}"))),
            }
        };
        match PublicKey::of_jwk(key)? {
            PublicKey::Secret(secret) => Ok(PrivateKey::Secret(secret)),
            PublicKey::Ed25519(public) => Ok(PrivateKey::Ed25519 {
                seed: part("d")?,
                public,
            }),
            PublicKey::Ec { curve, point } => Ok(PrivateKey::Ec {
                curve,
                scalar: part("d")?,
                point,
            }),
            PublicKey::Rsa(_) => {
                let number = |name| part(name).map(|bytes| BigUint::from_bytes_be(&bytes));
                let primes = match (number("p"), number("q")) {
                    (Ok(p), Ok(q)) => vec![p, q],
                    _ => Vec::new(),
                };
                RsaPrivateKey::from_components(number("n")?, number("e")?, number("d")?, primes)
                    .map(|key| PrivateKey::Rsa(Box::new(key)))
                    .map_err(other)
            }
        }
    }

    pub(super) fn of_der(label: &str, der: &[u8]) -> Result<Self, Failure> {
        if let Ok(key) = RsaPrivateKey::from_pkcs1_der(der)
            .or_else(|_| RsaPrivateKey::from_pkcs8_der(der).map_err(|_| ()))
        {
            return Ok(PrivateKey::Rsa(Box::new(key)));
        }
        let random = ring::rand::SystemRandom::new();
        for (curve, algorithm) in [
            (Curve::P256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Curve::P384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ] {
            if let Ok(pair) = signature::EcdsaKeyPair::from_pkcs8(algorithm, der, &random) {
                return Ok(PrivateKey::Ec {
                    curve,
                    scalar: Vec::new(),
                    point: pair.public_key().as_ref().to_vec(),
                });
            }
        }
        if let Ok(pair) = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(PrivateKey::Ed25519 {
                seed: Vec::new(),
                public: pair.public_key().as_ref().to_vec(),
            });
        }
        Err(Failure::Other(format!(
            "a private key ({label}) of a form that is not known"
        )))
    }

    /// Signs a message; ECDSA signatures are `r || s`.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let random = ring::rand::SystemRandom::new();
        match (self, algorithm) {
            (PrivateKey::Secret(secret), Algorithm::Hmac(digest)) => hmac(digest, secret, message),
            (PrivateKey::Rsa(key), Algorithm::Pkcs1(digest)) => {
                let (scheme, hashed) = pkcs1(digest, message);
                key.sign(scheme, &hashed).map_err(other)
            }
            (PrivateKey::Rsa(key), Algorithm::Pss(digest)) => {
                let (_, hashed) = pkcs1(digest, message);
                key.sign_with_rng(
                    &mut rsa::rand_core::OsRng,
                    pss(digest, digest_length(digest)),
                    &hashed,
                )
                .map_err(other)
            }
            (
                PrivateKey::Ec {
                    curve: Curve::P521,
                    scalar,
                    ..
                },
                Algorithm::Ecdsa(Digest::Sha512),
            ) => {
                use p521::ecdsa::signature::RandomizedSigner as _;
                let key = p521::ecdsa::SigningKey::from_slice(scalar).map_err(other)?;
                let signature: p521::ecdsa::Signature = key
                    .try_sign_with_rng(&mut rsa::rand_core::OsRng, message)
                    .map_err(other)?;
                Ok(signature.to_bytes().to_vec())
            }
            (
                PrivateKey::Ec {
                    curve,
                    scalar,
                    point,
                },
                Algorithm::Ecdsa(digest),
            ) => {
                let known = match (curve, digest) {
                    (Curve::P256, Digest::Sha256) => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                    (Curve::P384, Digest::Sha384) => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                    _ => return Err("the key is of another curve than the algorithm".into()),
                };
                let pair = signature::EcdsaKeyPair::from_private_key_and_public_key(
                    known, scalar, point, &random,
                )
                .map_err(other)?;
                pair.sign(&random, message)
                    .map(|signature| signature.as_ref().to_vec())
                    .map_err(other)
            }
            (PrivateKey::Ed25519 { seed, public }, Algorithm::Ed25519) => {
                let pair = signature::Ed25519KeyPair::from_seed_and_public_key(seed, public)
                    .map_err(other)?;
                Ok(pair.sign(message).as_ref().to_vec())
            }
            _ => Err("the key is not one for this algorithm".into()),
        }
    }
}

/// The public keys in a text: certificates or public keys as PEM, a JSON Web Key, or a set of these. Each with its id, where it has one.
pub(super) fn public_keys(text: &str) -> Result<Vec<(Option<String>, PublicKey)>, Failure> {
    let trimmed = text.trim_start();
    if trimmed.starts_with('{') {
        let json = super::from_json(text)?;
        let keys = match field(&json, "keys") {
            Some(Value::Array(keys)) => keys.to_vec(),
            _ => vec![json],
        };
        // A set may hold keys of kinds that are not known beside others that are.
        let keys: Vec<_> = keys
            .iter()
            .filter_map(|key| {
                let id = match field(key, "kid") {
                    Some(Value::String(id)) => Some(id.to_string()),
                    _ => None,
                };
                PublicKey::of_jwk(key).ok().map(|key| (id, key))
            })
            .collect();
        if keys.is_empty() {
            return Err("failed to parse a JWK key (set)".into());
        }
        return Ok(keys);
    }
    let mut blocks = pem_blocks(text)?.into_iter();
    let (Some((label, der)), None) = (blocks.next(), blocks.next()) else {
        return Err("failed to parse one PEM block".into());
    };
    if text
        .rsplit("-----")
        .next()
        .is_some_and(|after| !after.trim().is_empty())
    {
        return Err("extra data after a PEM certificate block".into());
    }
    let key = match label.as_str() {
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&der).map_err(other)?;
            PublicKey::of_spki(certificate.public_key())?
        }
        "PUBLIC KEY" => {
            let (_, spki) = SubjectPublicKeyInfo::from_der(&der).map_err(other)?;
            PublicKey::of_spki(&spki)?
        }
        label => {
            return Err(Failure::Other(format!(
                "failed to extract a key from the PEM certificate: {label}"
            )));
        }
    };
    Ok(vec![(None, key)])
}
