//! Service-account tokens for projected volumes: bound to the pod, renewed well before they expire.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;

/// How long a token is valid when nothing is asked for.
const DEFAULT_SECONDS: i64 = 3600;
/// A token is renewed at the latest after this.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// After a failed renewal the next one is tried after this.
const RETRY: SignedDuration = SignedDuration::from_secs(30);

/// A token and when it has to be replaced.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) refresh_at: Timestamp,
    expires: Timestamp,
}

/// The tokens of one pod.
pub(crate) struct Tokens {
    client: Client,
    kept: Mutex<HashMap<(String, i64), Arc<Token>>>,
}

impl Tokens {
    /// None yet.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kept: Mutex::default(),
        }
    }

    /// The token for a projection: the one at hand, or a new one when that is near its end.
    ///
    /// # Errors
    /// What the API answered.
    pub(crate) async fn get(
        &self,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<Arc<Token>, String> {
        let audience = wanted.audience.clone().unwrap_or_default();
        let seconds = wanted.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let key = (audience.clone(), seconds);
        let now = Timestamp::now();
        let kept = self.kept.lock().get(&key).cloned();
        if let Some(token) = &kept
            && token.refresh_at > now
        {
            return Ok(token.clone());
        }
        match self.request(pod, audience, seconds, now).await {
            Ok(token) => {
                let token = Arc::new(token);
                self.kept.lock().insert(key, token.clone());
                Ok(token)
            }
            // A token that can still be used is better than none; the next look asks again.
            Err(error) => match kept.filter(|token| token.expires > now) {
                Some(token) => Ok(Arc::new(Token {
                    text: token.text.clone(),
                    refresh_at: now + RETRY,
                    expires: token.expires,
                })),
                None => Err(error),
            },
        }
    }

    async fn request(
        &self,
        pod: &Pod,
        audience: String,
        seconds: i64,
        now: Timestamp,
    ) -> Result<Token, String> {
        let meta = &pod.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let account = pod
            .spec
            .as_ref()
            .and_then(|s| s.service_account_name.as_deref())
            .filter(|name| !name.is_empty())
            .unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(if audience.is_empty() {
                    Vec::new()
                } else {
                    vec![audience]
                }),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: meta.name.clone(),
                    uid: meta.uid.clone(),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let answer = api
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(|error| format!("failed to fetch token: {error}"))?;
        let status = answer
            .status
            .ok_or_else(|| "failed to fetch token: the answer has no status".to_owned())?;
        let expires = status
            .expiration_timestamp
            .map_or_else(|| now + SignedDuration::from_secs(seconds), |time| time.0);
        let text = status
            .token
            .ok_or_else(|| "failed to fetch token: the answer has no token".to_owned())?;
        Ok(Token {
            refresh_at: refresh_at(now, expires),
            text,
            expires,
        })
    }
}

/// After four fifths of the life of a token, or a day.
fn refresh_at(issued: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(issued);
    issued
        + (life * 4 / 5)
            .min(MAX_AGE)
            .max(SignedDuration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_after_four_fifths_of_their_life_or_a_day() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        for (life, after) in [(3600, 2880), (600, 480), (864_000, 86_400), (-5, 1)] {
            let expires = start + SignedDuration::from_secs(life);
            assert_eq!(
                refresh_at(start, expires).duration_since(start).as_secs(),
                after,
                "{life}"
            );
        }
    }
}
