//! Identity providers: callers prove who they are by a token that an OpenID Connect provider signed.
//!
//! A token names its issuer; the [`Provider`] of that name checks the signature with the issuer's
//! published keys ([`keys`]), then time, audience and required claims, and makes a user of the claims
//! ([`claims`]). Providers are configured in upstream's structured form or its older settings
//! ([`config`]).

mod claims;
pub mod config;
mod expressions;
mod jwt;
mod keys;

use crate::identity::tokens;
use crate::identity::user::User;
use config::Issuer;
use keys::Keys;
use serde_json::Value;

/// Clocks of issuers may be ahead by this many seconds.
const LEEWAY: u64 = 60;

/// Why a provider's token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a JSON Web Token.
    #[error("oidc: malformed jwt")]
    Malformed,
    /// Its algorithm is not one of those accepted.
    #[error("oidc: id token signed with unsupported algorithm {0:?}")]
    Algorithm(String),
    /// No published key verifies its signature.
    #[error("oidc: failed to verify signature: no known key verifies it")]
    Signature,
    /// The provider's keys could not be had.
    #[error("oidc: authenticator not initialized: {0}")]
    Keys(String),
    /// It has expired, or is not valid yet.
    #[error("oidc: token is expired or not valid yet")]
    Time,
    /// It is for someone else.
    #[error("oidc: expected audience in {wanted:?} got {found:?}")]
    Audience {
        /// Whom it is for.
        found: Vec<String>,
        /// Who would have been right.
        wanted: Vec<String>,
    },
    /// A claim is missing or not as required.
    #[error("oidc: {0}")]
    Claim(String),
}

/// Accepts the tokens of one issuer.
pub struct Provider {
    issuer: Issuer,
    keys: Keys,
}

impl Provider {
    /// A provider as configured. Its keys are fetched when its first token comes.
    pub fn new(issuer: Issuer) -> Self {
        let keys = Keys::new(&issuer);
        Self { issuer, keys }
    }

    /// The issuer URL that tokens name.
    pub fn issuer(&self) -> &str {
        &self.issuer.url
    }

    /// The caller a token stands for.
    ///
    /// # Errors
    /// If the token is not good.
    pub async fn user(&self, token: &str) -> Result<User, Refused> {
        let parsed = jwt::Token::parse(token)?;
        if !self.issuer.algorithms.contains(&parsed.algorithm) {
            return Err(Refused::Algorithm(parsed.name));
        }
        let claims = self.keys.verify(&parsed).await?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.url.as_str()) {
            return Err(Refused::Claim(
                "id token issued by a different provider".to_owned(),
            ));
        }
        check_time(&claims)?;
        let found = audiences(&claims);
        if !found.iter().any(|one| self.issuer.audiences.contains(one)) {
            return Err(Refused::Audience {
                found,
                wanted: self.issuer.audiences.clone(),
            });
        }
        claims::user(&self.issuer, &claims).map_err(Refused::Claim)
    }
}

fn check_time(claims: &Value) -> Result<(), Refused> {
    let now = tokens::now() as f64;
    let time = |claim: &str| claims.get(claim).and_then(Value::as_f64);
    let expired = time("exp").is_none_or(|end| end <= now);
    let early = time("nbf").is_some_and(|start| start > now + LEEWAY as f64);
    if expired || early {
        return Err(Refused::Time);
    }
    Ok(())
}

fn audiences(claims: &Value) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}
