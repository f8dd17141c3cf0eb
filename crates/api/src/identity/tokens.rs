//! Service-account tokens: signed, bound, audience-scoped JSON Web Tokens (RFC 7519) with ES256
//! signatures (RFC 7518, section 3.4), carrying the private claims upstream puts under
//! `kubernetes.io`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many verified tokens are remembered, so that a client's second request costs a look-up and
/// not a signature check.
const REMEMBERED: usize = 4096;

/// A named object with its uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The object's name.
    pub name: String,
    /// The object's uid; empty for nodes that were not looked up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The private claims of a service-account token (`kubernetes.io`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The service account's namespace.
    pub namespace: String,
    /// The node the bound pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Named>,
    /// The pod the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Named>,
    /// The secret the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Named>,
    /// The service account itself.
    pub serviceaccount: Named,
    /// Seconds since the epoch after which the token should have been renewed: a token that lives
    /// longer than its client asked for has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<u64>,
}

/// A token's claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who may accept the token.
    pub aud: Vec<String>,
    /// Seconds since the epoch after which the token is refused.
    pub exp: u64,
    /// Seconds since the epoch when the token was made.
    pub iat: u64,
    /// Who made the token.
    pub iss: String,
    /// The token's own identifier.
    pub jti: String,
    /// The private claims.
    #[serde(rename = "kubernetes.io")]
    pub private: Private,
    /// Seconds since the epoch before which the token is refused.
    pub nbf: u64,
    /// The user name the token stands for.
    pub sub: String,
}

/// What a new token should say.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who may accept the token; the API's own audience if empty.
    pub audiences: Vec<String>,
    /// How long the token lives.
    pub lifetime: Duration,
    /// How long it lives beyond that; its client is told the former.
    pub extension: Option<Duration>,
    /// The service account and what the token is bound to.
    pub private: Private,
}

/// The claims of a token of the older kind, which stands in a secret and has no end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    /// Always [`LEGACY_ISSUER`].
    pub iss: String,
    /// The service account's namespace.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The secret the token stands in.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The service account's name.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// The service account's uid.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
    /// The user name the token stands for.
    pub sub: String,
}

/// The issuer of tokens of the older kind.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a JSON Web Token of the form made here.
    #[error("the token is malformed")]
    Malformed,
    /// The signature is not of a known key.
    #[error("the token's signature is not valid")]
    Signature,
    /// The token was made by another issuer.
    #[error("the token's issuer {0:?} is not this server")]
    Issuer(String),
    /// The token has expired, or is not valid yet.
    #[error("the token has expired or is not valid yet")]
    Expired,
    /// None of the token's audiences is one that was asked for.
    #[error("the token's audiences {found:?} include none of {wanted:?}")]
    Audience {
        /// What the token says.
        found: Vec<String>,
        /// What would have been accepted.
        wanted: Vec<String>,
    },
    /// The signing key could not be read or used.
    #[error("using the service-account signing key: {0}")]
    Key(String),
}

/// A key that tokens are checked with: a P-256 point, uncompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VerificationKey {
    id: String,
    point: Vec<u8>,
}

impl VerificationKey {
    fn new(point: Vec<u8>) -> Result<Self, Error> {
        // An uncompressed point is 0x04, then 32 bytes each of x and y.
        if point.len() != 65 || point.first() != Some(&4) {
            return Err(Error::Key("not an uncompressed P-256 point".to_owned()));
        }
        Ok(Self {
            id: BASE64URL.encode(Sha256::digest(&point)),
            point,
        })
    }
}

/// Makes service-account tokens with one key and checks them with that and further ones, so that the
/// key can be changed while tokens of the old one live.
pub struct Signer {
    key: EcdsaKeyPair,
    /// The signing key's own first.
    keys: Vec<VerificationKey>,
    issuer: String,
    random: SystemRandom,
    verified: Mutex<HashMap<[u8; 32], Claims>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

impl Signer {
    /// A signer with a PKCS #8 P-256 private key (DER) and the issuer URL that tokens name.
    ///
    /// # Errors
    /// `Error::Key` if the key cannot be used.
    pub fn new(pkcs8: &[u8], issuer: impl Into<String>) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|error| Error::Key(error.to_string()))?;
        let own = VerificationKey::new(key.public_key().as_ref().to_vec())?;
        Ok(Self {
            key,
            keys: vec![own],
            issuer: issuer.into(),
            random,
            verified: Mutex::default(),
        })
    }

    /// Also accepts tokens signed with the keys of these public points (uncompressed P-256): those
    /// that signed earlier, or will later.
    ///
    /// # Errors
    /// `Error::Key` if one is not such a point.
    pub fn with_keys(mut self, points: &[Vec<u8>]) -> Result<Self, Error> {
        for point in points {
            let key = VerificationKey::new(point.clone())?;
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        Ok(self)
    }

    /// The issuer URL, which is also the API's own audience.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Makes a token and the claims in it.
    ///
    /// # Errors
    /// `Error::Key` if signing fails.
    pub fn issue(&self, grant: Grant) -> Result<(String, Claims), Error> {
        let now = now();
        let audiences = if grant.audiences.is_empty() {
            vec![self.issuer.clone()]
        } else {
            grant.audiences
        };
        let mut private = grant.private;
        let mut lifetime = grant.lifetime.as_secs();
        if let Some(extension) = grant.extension {
            private.warnafter = Some(now + lifetime);
            lifetime = extension.as_secs();
        }
        let claims = Claims {
            aud: audiences,
            exp: now + lifetime,
            iat: now,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: now,
            sub: super::user::service_account_name(
                &private.namespace,
                &private.serviceaccount.name,
            ),
            private,
        };
        Ok((self.sign(&claims)?, claims))
    }

    /// Makes a token of the older kind, to stand in the secret it names.
    ///
    /// # Errors
    /// `Error::Key` if signing fails.
    pub fn issue_legacy(
        &self,
        namespace: &str,
        secret: &str,
        account: &str,
        uid: &str,
    ) -> Result<String, Error> {
        self.sign(&LegacyClaims {
            iss: LEGACY_ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.to_owned(),
            uid: uid.to_owned(),
            sub: super::user::service_account_name(namespace, account),
        })
    }

    fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Error> {
        let header = Header {
            alg: "ES256".to_owned(),
            kid: self.keys[0].id.clone(),
        };
        let mut token = encode(&header)?;
        token.push('.');
        token.push_str(&encode(claims)?);
        let signature = self
            .key
            .sign(&self.random, token.as_bytes())
            .map_err(|error| Error::Key(error.to_string()))?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Checks a token's signature, issuer, time and audience; `audiences` are those that would be
    /// accepted, the API's own if empty.
    ///
    /// Whether the objects it is bound to still exist is for the caller to check.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn verify(&self, token: &str, audiences: &[String]) -> Result<Claims, Error> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.verified.lock().get(&digest).cloned();
        let claims = if let Some(claims) = known {
            claims
        } else {
            let claims: Claims = self.check_signature(token)?;
            let mut verified = self.verified.lock();
            if verified.len() >= REMEMBERED {
                let now = now();
                verified.retain(|_, claims| claims.exp > now);
                if verified.len() >= REMEMBERED {
                    verified.clear();
                }
            }
            verified.insert(digest, claims.clone());
            claims
        };
        if claims.iss != self.issuer {
            return Err(Error::Issuer(claims.iss));
        }
        let now = now();
        // One minute of leeway for clocks that differ between hosts, as upstream allows.
        if claims.exp <= now || claims.nbf > now + 60 {
            return Err(Error::Expired);
        }
        let own = std::slice::from_ref(&self.issuer);
        let wanted = if audiences.is_empty() { own } else { audiences };
        if !claims.aud.iter().any(|audience| wanted.contains(audience)) {
            return Err(Error::Audience {
                found: claims.aud,
                wanted: wanted.to_vec(),
            });
        }
        Ok(claims)
    }

    /// Checks the signature of a token of the older kind. Whether its secret still holds it is for the
    /// caller to check.
    ///
    /// # Errors
    /// If the token is not of this kind, or not signed with a known key.
    pub fn verify_legacy(&self, token: &str) -> Result<LegacyClaims, Error> {
        let claims: LegacyClaims = self.check_signature(token)?;
        if claims.iss != LEGACY_ISSUER {
            return Err(Error::Issuer(claims.iss));
        }
        Ok(claims)
    }

    fn check_signature<T: serde::de::DeserializeOwned>(&self, token: &str) -> Result<T, Error> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Error::Malformed)?;
        let header: Header = decode(header)?;
        let key = self.keys.iter().find(|key| key.id == header.kid);
        let Some(key) = key.filter(|_| header.alg == "ES256") else {
            return Err(Error::Signature);
        };
        let signature = BASE64URL.decode(signature).map_err(|_| Error::Malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Error::Signature)?;
        decode(payload)
    }

    /// The public keys as a JSON Web Key Set (RFC 7517), served at `/openid/v1/jwks`.
    pub fn key_set(&self) -> serde_json::Value {
        let keys: Vec<serde_json::Value> = self
            .keys
            .iter()
            .map(|key| {
                let (x, y) = key.point[1..].split_at(32);
                serde_json::json!({
                    "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
                    "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
                })
            })
            .collect();
        serde_json::json!({ "keys": keys })
    }

    /// The OpenID provider document, served at `/.well-known/openid-configuration`.
    pub fn discovery(&self) -> serde_json::Value {
        serde_json::json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/openid/v1/jwks", self.issuer),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

/// The issuer a token says it is of, before anything of it is checked; for choosing who checks it.
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let payload = token.split('.').nth(1)?;
    decode::<Issuer>(payload).ok().map(|claims| claims.iss)
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn encode<T: Serialize>(part: &T) -> Result<String, Error> {
    let json = serde_json::to_vec(part).map_err(|error| Error::Key(error.to_string()))?;
    Ok(BASE64URL.encode(json))
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Error> {
    let json = BASE64URL.decode(part).map_err(|_| Error::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Error::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Signer::new(&key.serialize_der(), "https://issuer.test").unwrap()
    }

    fn grant(audiences: &[&str], seconds: u64) -> Grant {
        Grant {
            audiences: audiences.iter().map(ToString::to_string).collect(),
            lifetime: Duration::from_secs(seconds),
            extension: None,
            private: Private {
                namespace: "shop".to_owned(),
                node: None,
                pod: None,
                secret: None,
                serviceaccount: Named {
                    name: "cart".to_owned(),
                    uid: "u-1".to_owned(),
                },
                warnafter: None,
            },
        }
    }

    #[test]
    fn a_token_is_accepted_by_its_audience_only() {
        let signer = signer();
        let (token, claims) = signer.issue(grant(&["vault"], 600)).unwrap();
        assert_eq!(claims.sub, "system:serviceaccount:shop:cart");
        assert_eq!(
            signer.verify(&token, &["vault".to_owned()]).unwrap(),
            claims
        );
        assert!(matches!(
            signer.verify(&token, &[]),
            Err(Error::Audience { .. })
        ));
    }

    #[test]
    fn an_expired_token_is_refused_also_when_it_was_seen_before() {
        let signer = signer();
        let (token, _) = signer.issue(grant(&[], 0)).unwrap();
        assert_eq!(signer.verify(&token, &[]), Err(Error::Expired));
        assert_eq!(signer.verify(&token, &[]), Err(Error::Expired));
    }

    #[test]
    fn a_changed_token_and_a_foreign_key_are_refused() {
        let signer = signer();
        let (token, _) = signer.issue(grant(&[], 600)).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let mut claims: Claims = decode(parts[1]).unwrap();
        claims.sub = "system:serviceaccount:kube-system:admin".to_owned();
        let forged = format!("{}.{}.{}", parts[0], encode(&claims).unwrap(), parts[2]);
        assert_eq!(signer.verify(&forged, &[]), Err(Error::Signature));
        assert_eq!(
            super::tests::signer().verify(&token, &[]),
            Err(Error::Signature)
        );
        for text in ["", "a", "a.b", "a.b.c", "....", "é.é.é"] {
            assert!(signer.verify(text, &[]).is_err());
        }
    }

    #[test]
    fn a_token_of_the_key_before_is_good_while_that_key_is_known() {
        let before = signer();
        let (token, _) = before.issue(grant(&[], 600)).unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let fresh = || Signer::new(&key.serialize_der(), "https://issuer.test").unwrap();
        let after = fresh().with_keys(&[before.keys[0].point.clone()]).unwrap();
        assert!(after.verify(&token, &[]).is_ok());
        assert_eq!(after.key_set()["keys"].as_array().unwrap().len(), 2);
        assert_eq!(fresh().verify(&token, &[]), Err(Error::Signature));
    }
}
