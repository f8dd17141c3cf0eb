//! Bootstrap tokens: removes those that have expired, and signs `cluster-info` in `kube-public` with the
//! others, so that who holds one can tell that the certificate authority in it is the right one.

use crate::{
    error::{Doing, text},
    options::Options,
    write,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use consort_reconcile::{Action, Controller, Event, Hub, Key};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    jiff::Timestamp,
};
use kube::{Api, api::Patch};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAMESPACE: &str = "kube-system";
const PUBLIC: &str = "kube-public";
const CLUSTER_INFO: &str = "cluster-info";
const SIGNATURE: &str = "jws-kubeconfig-";

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    tokio::join!(
        clean(
            hub.acting_as("token-cleaner"),
            options.clone(),
            shutdown.clone()
        ),
        sign(hub.acting_as("bootstrap-signer"), shutdown),
    );
}

/// What a token's secret says.
#[derive(Debug, PartialEq)]
struct Token {
    id: String,
    secret: String,
    expires: Option<Timestamp>,
    signs: bool,
}

impl Token {
    fn read(secret: &Secret) -> Option<Self> {
        if secret.metadata.namespace.as_deref() != Some(NAMESPACE)
            || secret.type_.as_deref() != Some(TYPE)
        {
            return None;
        }
        let data = secret.data.as_ref()?;
        let field =
            |key: &str| -> Option<String> { String::from_utf8(data.get(key)?.0.clone()).ok() };
        let expires = field("expiration").map(|time| {
            // A time that cannot be read has passed.
            time.parse().unwrap_or(Timestamp::UNIX_EPOCH)
        });
        let id = field("token-id")?;
        let named = format!("bootstrap-token-{id}");
        if secret.metadata.name.as_deref() != Some(named.as_str()) {
            return None;
        }
        Some(Self {
            id,
            secret: field("token-secret")?,
            expires,
            signs: field("usage-bootstrap-signing").as_deref() == Some("true"),
        })
    }

    fn left(&self, now: Timestamp) -> Option<Duration> {
        let expires = self.expires?;
        Some(Duration::try_from(expires.duration_since(now)).unwrap_or_default())
    }
}

async fn clean(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let secrets = hub.informer_where::<Secret>(None, Some(&format!("type={TYPE}")));
    let controller = Controller::new("bootstrap-token-cleaner").queue_on(&secrets, Event::key);
    let api = Api::<Secret>::namespaced(hub.client(), NAMESPACE);
    let reconcile = move |key: Key| {
        let secret = secrets.by_key(&key);
        let api = api.clone();
        async move {
            let token = secret.as_ref().and_then(|secret| Token::read(secret));
            let (Some(secret), Some(token)) = (secret, token) else {
                return Ok(Action::Done);
            };
            match token.left(Timestamp::now()) {
                None => Ok(Action::Done),
                Some(left) if left.is_zero() => {
                    write::delete(&api, &secret.metadata, None, None)
                        .await
                        .map_err(text)?;
                    Ok(Action::Done)
                }
                Some(left) => Ok::<_, String>(Action::After(left)),
            }
        }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

async fn sign(hub: Hub, shutdown: CancellationToken) {
    let secrets = hub.informer_where::<Secret>(None, Some(&format!("type={TYPE}")));
    let maps = hub.informer_where::<ConfigMap>(None, Some("metadata.name=cluster-info"));
    let controller = Controller::<()>::new("bootstrap-signer")
        .queue_on(&secrets, |_| [()])
        .queue_on(&maps, |_| [()]);
    let api = Api::<ConfigMap>::namespaced(hub.client(), PUBLIC);
    let reconcile = move |()| {
        let map = maps.get(Some(PUBLIC), CLUSTER_INFO);
        let tokens: Vec<Token> = secrets
            .list()
            .iter()
            .filter_map(|one| Token::read(one))
            .collect();
        let api = api.clone();
        async move {
            let Some(map) = map else {
                return Ok(Action::Done);
            };
            let now = Timestamp::now();
            if let Some(change) = signatures(&map, &tokens, now) {
                let patch = json!({
                    "metadata": {"resourceVersion": map.metadata.resource_version},
                    "data": change,
                });
                api.patch(CLUSTER_INFO, &write::patch_params(), &Patch::Merge(&patch))
                    .await
                    .doing(|| "signing cluster-info".to_owned())
                    .map_err(text)?;
            }
            let next = tokens
                .iter()
                .filter_map(|token| token.left(now))
                .filter(|left| !left.is_zero());
            Ok::<_, String>(next.min().map_or(Action::Done, Action::After))
        }
    };
    controller.run(1, reconcile, shutdown).await;
}

/// What of the map's signatures has to change: those to be set, and none for those to be removed.
fn signatures(
    map: &ConfigMap,
    tokens: &[Token],
    now: Timestamp,
) -> Option<BTreeMap<String, Option<String>>> {
    let empty = BTreeMap::new();
    let data = map.data.as_ref().unwrap_or(&empty);
    let content = data.get("kubeconfig")?;
    let wanted: BTreeMap<String, String> = tokens
        .iter()
        .filter(|token| token.signs && token.left(now).is_none_or(|left| !left.is_zero()))
        .map(|token| {
            let signature = detached(content, &token.id, &token.secret);
            (format!("{SIGNATURE}{}", token.id), signature)
        })
        .collect();
    let mut change: BTreeMap<String, Option<String>> = data
        .keys()
        .filter(|key| key.starts_with(SIGNATURE) && !wanted.contains_key(*key))
        .map(|key| (key.clone(), None))
        .collect();
    for (key, signature) in wanted {
        if data.get(&key) != Some(&signature) {
            change.insert(key, Some(signature));
        }
    }
    (!change.is_empty()).then_some(change)
}

/// A JSON web signature without its content (RFC 7515, appendix F), by HMAC with SHA-256.
fn detached(content: &str, id: &str, secret: &str) -> String {
    let header = BASE64URL.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", BASE64URL.encode(content));
    let signature = hmac(secret.as_bytes(), signed.as_bytes());
    format!("{header}..{}", BASE64URL.encode(signature))
}

/// RFC 2104, for keys no longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, message: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(message);
        hash.finalize()
    };
    keyed(0x5c, &keyed(0x36, message)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example_gives_the_standards_code() {
        // RFC 4231, test case 2.
        let code = hmac(b"Jefe", b"what do ya want for nothing?");
        let text: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            text,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn tokens_that_sign_and_live_sign_and_others_are_taken_out() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let token = |id: &str, signs: bool, expires: Option<&str>| Token {
            id: id.to_owned(),
            secret: "s".repeat(16),
            expires: expires.map(|time| time.parse().unwrap()),
            signs,
        };
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {}, "data": {
            "kubeconfig": "x", "jws-kubeconfig-gone00": "old"}}))
        .unwrap();
        let tokens = [
            token("aaaaaa", true, None),
            token("bbbbbb", false, None),
            token("cccccc", true, Some("2025-01-01T00:00:00Z")),
        ];
        let change = signatures(&map, &tokens, now).unwrap();
        let keys: Vec<&str> = change.keys().map(String::as_str).collect();
        assert_eq!(keys, ["jws-kubeconfig-aaaaaa", "jws-kubeconfig-gone00"]);
        assert_eq!(change["jws-kubeconfig-gone00"], None);
        assert!(
            change["jws-kubeconfig-aaaaaa"]
                .as_ref()
                .unwrap()
                .contains("..")
        );
    }
}
