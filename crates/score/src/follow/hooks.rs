//! Takes webhooks for scores.

use std::sync::Arc;

use consort_reconcile::{Informer, Key};
use http::StatusCode;
use http::request::Parts;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;

use super::object::{Score, SourceSpec};
use super::webhook::{self, Call};
use crate::definition::NAMESPACE;
use crate::git::Poller;

/// Takes calls to `/hooks/scores/NAME` and `/hooks/scores/NAMESPACE/NAME`. Cheap to clone.
#[derive(Clone)]
pub struct Hooks {
    pub(super) client: Client,
    pub(super) scores: Informer<Score>,
    pub(super) poller: Arc<Poller<Key>>,
}

/// What is said to whoever calls without proof, whatever is wrong: who guesses learns nothing.
const UNPROVEN: (StatusCode, &str) = (
    StatusCode::UNAUTHORIZED,
    "the call does not prove itself: no such score, no webhook secret, or a wrong signature or token",
);

impl Hooks {
    /// Answers a call with a status and a line of text.
    pub async fn receive(&self, head: &Parts, body: &[u8]) -> (StatusCode, String) {
        let (status, text) = self.answer(head, body).await;
        tracing::debug!(path = head.uri.path(), %status, text, "a webhook");
        (status, text)
    }

    async fn answer(&self, head: &Parts, body: &[u8]) -> (StatusCode, String) {
        let unproven = || (UNPROVEN.0, UNPROVEN.1.to_owned());
        let path = head.uri.path().trim_matches('/');
        let key = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["hooks", "scores", name] => Key::namespaced(NAMESPACE, *name),
            ["hooks", "scores", namespace, name] => Key::namespaced(*namespace, *name),
            _ => {
                return (
                    StatusCode::NOT_FOUND,
                    "webhooks of scores are taken at /hooks/scores/NAME".to_owned(),
                );
            }
        };
        let followed = self.scores.by_key(&key).and_then(|score| {
            let spec = score.spec().ok()?;
            match spec.source? {
                SourceSpec::Git(git) => Some((git.webhook?, git.reference)),
                SourceSpec::Directory(_) => None,
            }
        });
        let Some((secret, reference)) = followed else {
            return unproven();
        };
        let Some(token) = self.token(key.namespace(), &secret).await else {
            return unproven();
        };
        match webhook::read(&head.headers, body, &token) {
            Err(_) => unproven(),
            Ok(Call::Other(event)) => (StatusCode::OK, format!("{event}: nothing to do")),
            Ok(Call::Push(names)) => {
                let wanted = reference.as_str();
                let ours = |name: &String| {
                    wanted == "HEAD"
                        || name == wanted
                        || name.strip_prefix("refs/heads/") == Some(wanted)
                        || name.strip_prefix("refs/tags/") == Some(wanted)
                };
                if !names.is_empty() && !names.iter().any(ours) {
                    return (StatusCode::OK, format!("{wanted} was not pushed to"));
                }
                self.poller.look(&key, false);
                (StatusCode::ACCEPTED, format!("{wanted} is looked at"))
            }
        }
    }

    async fn token(&self, namespace: &str, name: &str) -> Option<Vec<u8>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data = secrets.get_opt(name).await.ok()??.data?;
        ["token", "secret", "password"]
            .iter()
            .find_map(|key| data.get(*key))
            .map(|bytes| bytes.0.trim_ascii().to_vec())
            .filter(|token| !token.is_empty())
    }
}
