//! Getting a registry's permission: Basic, and tokens as the distribution project specifies them.

use http_auth::{ChallengeRef, parser::ChallengeParser};
use serde::Deserialize;

use super::host::Endpoint;
use super::session::bounded_body;
use crate::Credential;
use crate::error::chain;

/// What is sent along with every request.
#[derive(Clone)]
pub(super) enum Authorization {
    Basic(String, String),
    Bearer(String),
}

impl Authorization {
    pub(super) fn apply(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::Basic(user, password) => request.basic_auth(user, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// What the registry asks for in `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best of all challenges in the headers: tokens before passwords.
    pub(super) fn best(headers: &http::HeaderMap) -> Option<Self> {
        let mut best = None;
        for header in headers.get_all(http::header::WWW_AUTHENTICATE) {
            let Ok(text) = header.to_str() else { continue };
            for challenge in ChallengeParser::new(text).flatten() {
                match Self::read(&challenge) {
                    Some(bearer @ Self::Bearer { .. }) => return Some(bearer),
                    Some(basic) => best = Some(basic),
                    None => {}
                }
            }
        }
        best
    }

    fn read(challenge: &ChallengeRef<'_>) -> Option<Self> {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |name: &str| {
            let found = challenge.params.iter();
            let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.to_unescaped())
        };
        Some(Self::Bearer {
            realm: parameter("realm")?,
            service: parameter("service"),
            scope: parameter("scope"),
        })
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Answers a challenge with a credential, or anonymously. The error is the reason in words.
pub(super) async fn answer(
    challenge: &Challenge,
    credential: Option<&Credential>,
    endpoint: &Endpoint,
) -> Result<Authorization, String> {
    if let Some(token) = credential.and_then(|credential| credential.token.clone()) {
        return Ok(Authorization::Bearer(token));
    }
    let (realm, service, scope) = match (challenge, credential) {
        (Challenge::Basic, Some(credential)) => {
            return Ok(Authorization::Basic(
                credential.username.clone(),
                credential.password.clone(),
            ));
        }
        (Challenge::Basic, None) => return Err("it wants a user name and password".into()),
        (
            Challenge::Bearer {
                realm,
                service,
                scope,
            },
            _,
        ) => (realm, service, scope),
    };
    let mut url: reqwest::Url = realm
        .parse()
        .map_err(|_| format!("it names an invalid token service {realm:?}"))?;
    if endpoint.host.is_secure() && url.scheme() != "https" {
        return Err(format!("its token service {realm} is not reached over TLS"));
    }
    let wanted = format!("repository:{}:pull", endpoint.repository);
    url.query_pairs_mut()
        .append_pair("scope", scope.as_deref().unwrap_or(&wanted));
    if let Some(service) = service {
        url.query_pairs_mut().append_pair("service", service);
    }
    let mut request = endpoint.host.client().get(url);
    if let Some(credential) = credential {
        request = request.basic_auth(&credential.username, Some(&credential.password));
    }
    let response = request
        .send()
        .await
        .map_err(|error| format!("asking its token service: {}", chain(&error)))?;
    let status = response.status();
    let body = bounded_body(response, 1 << 20).await.unwrap_or_default();
    if !status.is_success() {
        return Err(format!("its token service answered {status}"));
    }
    let token: Token = serde_json::from_slice(&body)
        .map_err(|_| "its token service answered with something else than a token".to_owned())?;
    [token.token, token.access_token]
        .into_iter()
        .find(|token| !token.is_empty())
        .map(Authorization::Bearer)
        .ok_or_else(|| "its token service gave an empty token".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_and_tokens_preferred() {
        let mut headers = http::HeaderMap::new();
        let add = |headers: &mut http::HeaderMap, value: &'static str| {
            headers.append(
                http::header::WWW_AUTHENTICATE,
                http::HeaderValue::from_static(value),
            );
        };
        assert_eq!(Challenge::best(&headers), None);
        add(&mut headers, r#"Basic realm="r""#);
        assert_eq!(Challenge::best(&headers), Some(Challenge::Basic));
        add(
            &mut headers,
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#,
        );
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".into(),
            service: Some("registry.docker.io".into()),
            scope: Some("repository:a/b:pull".into()),
        };
        assert_eq!(Challenge::best(&headers), Some(expected));
    }
}
