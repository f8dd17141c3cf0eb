//! Who is calling: by client certificate, by bearer token, in process, or nobody.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use consort_object::Object;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::tokens::{self, LEGACY_ISSUER, Signer};
use super::user::{AUTHENTICATED, User};
use super::{bootstrap_tokens, legacy, oidc};

/// What a token is bound to may be on its way out this long before the token ends with it.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Browsers cannot set the authorization header on a WebSocket; they send the token as a protocol.
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// The caller a connection's client certificate proved, put into each of its requests by whoever
/// accepted the connection, so that the certificate is parsed once.
#[derive(Clone, Debug)]
pub struct Peer(
    /// The caller.
    pub Arc<User>,
);

/// Looks up what tokens stand in or are bound to.
pub trait Objects: Send + Sync {
    /// An object of the core group.
    fn object(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<Object>;
}

/// Why a caller was turned away; answered with 401.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No kind of token looks like this, or its issuer is not known.
    #[error("invalid bearer token")]
    Unknown,
    /// The caller brought no credentials, and this path is not for such.
    #[error("Unauthorized")]
    Anonymous,
    /// The token is not good.
    #[error("invalid bearer token, {0}")]
    Token(#[from] tokens::Error),
    /// What the token is bound to is gone or was replaced.
    #[error("invalid bearer token, the {what} the token is bound to no longer exists")]
    Unbound {
        /// `service account`, `pod`, `secret` or `node`.
        what: &'static str,
    },
    /// A token of the older kind is not what its secret holds.
    #[error("invalid bearer token, {0}")]
    Legacy(&'static str),
    /// A bootstrap token is not good; why is not told.
    #[error("invalid bearer token")]
    Bootstrap,
    /// An identity provider's token is not good.
    #[error("invalid bearer token, {0}")]
    Oidc(#[from] oidc::Refused),
    /// The caller is known, but not to this audience.
    #[error(
        "invalid bearer token, token audiences {found:?} is invalid for the target audiences {wanted:?}"
    )]
    Audience {
        /// Whom the token is for.
        found: Vec<String>,
        /// Whom it should have been for.
        wanted: Vec<String>,
    },
}

/// Who may come without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody.
    Refused,
    /// Anyone; authorization decides what for.
    Allowed,
    /// Anyone who asks for one of these paths.
    Paths(Vec<String>),
}

/// A caller and what its token says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The caller.
    pub user: User,
    /// Which of the audiences asked for the token is good for.
    pub audiences: Vec<String>,
    /// Set when the token lives beyond what was asked for, only because its client may not know to
    /// renew it: who, and since when.
    pub stale: Option<String>,
}

/// Decides who a request comes from.
pub struct Authenticator {
    signer: Arc<Signer>,
    objects: Box<dyn Objects>,
    providers: Vec<oidc::Provider>,
    anonymous: Anonymous,
}

impl Authenticator {
    /// An authenticator that accepts the tokens of `signer` while what they are bound to exists,
    /// bootstrap tokens, and callers without credentials.
    pub fn new(signer: Arc<Signer>, objects: impl Objects + 'static) -> Self {
        Self {
            signer,
            objects: Box::new(objects),
            providers: Vec::new(),
            anonymous: Anonymous::Allowed,
        }
    }

    /// Also accepts the tokens of these identity providers, and callers without credentials as said.
    #[must_use]
    pub fn configured(mut self, providers: Vec<oidc::Provider>, anonymous: Anonymous) -> Self {
        self.providers = providers;
        self.anonymous = anonymous;
        self
    }

    /// The maker of tokens this authenticator accepts.
    pub fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// The caller of a request, and whether its token is stale. In-process requests carry a [`User`]
    /// among their extensions, connections with a client certificate a [`Peer`]; then a bearer token
    /// counts; a request with none of them is anonymous.
    ///
    /// # Errors
    /// If a token was brought that is not good: it never counts as none.
    pub async fn authenticate(
        &self,
        request: &Parts,
    ) -> Result<(Arc<User>, Option<String>), Refused> {
        if let Some(user) = request.extensions.get::<Arc<User>>() {
            return Ok((user.clone(), None));
        }
        if let Some(Peer(user)) = request.extensions.get::<Peer>() {
            return Ok((user.clone(), None));
        }
        if let Some(token) = bearer(request) {
            let found = self.token(&token, &[]).await?;
            return Ok((Arc::new(found.user), found.stale));
        }
        let path = request.uri.path();
        let welcome = match &self.anonymous {
            Anonymous::Refused => false,
            Anonymous::Allowed => true,
            Anonymous::Paths(paths) => paths.iter().any(|own| own == path),
        };
        if welcome {
            return Ok((Arc::new(User::anonymous()), None));
        }
        Err(Refused::Anonymous)
    }

    /// The caller a token stands for, if one of `audiences` (the API's own if empty) may accept it.
    ///
    /// # Errors
    /// If the token is not good, or what it is bound to is gone.
    pub async fn token(&self, token: &str, audiences: &[String]) -> Result<Identified, Refused> {
        if let Some((id, secret)) = bootstrap_tokens::split(token) {
            let user = bootstrap_tokens::user(&*self.objects, id, secret);
            return self.own_audience(user.ok_or(Refused::Bootstrap)?, audiences);
        }
        let issuer = tokens::claimed_issuer(token).ok_or(Refused::Unknown)?;
        if issuer == LEGACY_ISSUER {
            let claims = self.signer.verify_legacy(token)?;
            let user = legacy::user(&*self.objects, token, &claims).map_err(Refused::Legacy)?;
            return self.own_audience(user, audiences);
        }
        if issuer == self.signer.issuer() {
            return self.account(token, audiences);
        }
        let provider = self.providers.iter().find(|own| own.issuer() == issuer);
        let user = provider.ok_or(Refused::Unknown)?.user(token).await?;
        self.own_audience(user, audiences)
    }

    /// A caller whose token says no audience is known to the API's own only.
    fn own_audience(&self, user: User, audiences: &[String]) -> Result<Identified, Refused> {
        let own = self.signer.issuer().to_owned();
        if !audiences.is_empty() && !audiences.contains(&own) {
            return Err(Refused::Audience {
                found: vec![own],
                wanted: audiences.to_vec(),
            });
        }
        Ok(Identified {
            user: known(user),
            audiences: vec![own],
            stale: None,
        })
    }

    fn account(&self, token: &str, audiences: &[String]) -> Result<Identified, Refused> {
        let claims = self.signer.verify(token, audiences)?;
        let private = &claims.private;
        let namespace = Some(private.namespace.as_str());
        let account = &private.serviceaccount;
        let check = |plural, namespace, bound: &tokens::Named, what| {
            let there = self
                .objects
                .object(plural, namespace, &bound.name)
                .is_some_and(|object| object.head.uid == bound.uid && lives(&object));
            if there {
                Ok(())
            } else {
                Err(Refused::Unbound { what })
            }
        };
        check("serviceaccounts", namespace, account, "service account")?;
        if let Some(pod) = &private.pod {
            check("pods", namespace, pod, "pod")?;
        }
        if let Some(secret) = &private.secret {
            check("secrets", namespace, secret, "secret")?;
        }
        // With a pod the node only says where that runs.
        if let (None, None, Some(node)) = (&private.pod, &private.secret, &private.node) {
            check("nodes", None, node, "node")?;
        }
        let mut user = User::service_account(&private.namespace, &account.name, &account.uid);
        let mut extra = |key: &str, value: &str| {
            user.extra.insert(
                format!("authentication.kubernetes.io/{key}"),
                vec![value.to_owned()],
            );
        };
        extra("credential-id", &format!("JTI={}", claims.jti));
        if let Some(pod) = &private.pod {
            extra("pod-name", &pod.name);
            extra("pod-uid", &pod.uid);
        }
        if let Some(node) = &private.node {
            extra("node-name", &node.name);
            if !node.uid.is_empty() {
                extra("node-uid", &node.uid);
            }
        }
        let now = tokens::now();
        let stale = private.warnafter.filter(|after| now > *after).map(|after| {
            format!(
                "subject: {}, seconds after warning threshold: {}",
                claims.sub,
                now - after
            )
        });
        let mut accepted = claims.aud;
        let own = [self.signer.issuer().to_owned()];
        let wanted = if audiences.is_empty() {
            &own
        } else {
            audiences
        };
        accepted.retain(|audience| wanted.contains(audience));
        Ok(Identified {
            user,
            audiences: accepted,
            stale,
        })
    }
}

/// The caller proved who it is.
fn known(mut user: User) -> User {
    if !user.is_in(AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

/// Whether an object is there, or was deleted so lately that what it held may still be in use.
pub(super) fn lives(object: &Object) -> bool {
    let Some(deletion) = &object.head.deletion else {
        return true;
    };
    consort_object::time::parse(deletion).is_ok_and(|deletion| deletion > Timestamp::now() - LEEWAY)
}

/// The bearer token a request brings. Other schemes say nothing to this server, and count as nothing.
fn bearer(request: &Parts) -> Option<String> {
    if let Some(header) = request.headers.get(AUTHORIZATION) {
        let (scheme, token) = header.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| token.to_owned());
    }
    let protocols = request.headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let encoded = protocols
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|one| one.trim().strip_prefix(WEBSOCKET_TOKEN))?;
    let token = BASE64URL.decode(encoded.trim_end_matches('=')).ok()?;
    String::from_utf8(token)
        .ok()
        .filter(|token| !token.is_empty())
}

/// Whether two secrets are the same, in a time that says nothing of where they differ.
pub(super) fn same_secret(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    left.iter()
        .zip(right.iter())
        .fold(0, |difference, (left, right)| difference | (left ^ right))
        == 0
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::super::tokens::{Grant, Named, Private};
    use super::*;

    /// Objects by `plural/namespace/name`.
    #[derive(Clone, Default)]
    pub(in crate::identity) struct Existing(Arc<Mutex<HashMap<String, Object>>>);

    impl Existing {
        pub(in crate::identity) fn put(&self, plural: &str, mut value: Value) {
            let meta = &mut value["metadata"];
            let key = format!(
                "{plural}/{}/{}",
                meta["namespace"].as_str().unwrap_or_default(),
                meta["name"].as_str().unwrap()
            );
            value["apiVersion"] = json!("v1");
            value["kind"] = json!("Any");
            let draft = consort_object::Draft::from_value(&value, vec![]).unwrap();
            self.0
                .lock()
                .insert(key, draft.into_sealed(consort_object::Revision(1)));
        }
    }

    impl Objects for Existing {
        fn object(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<Object> {
            let key = format!("{plural}/{}/{name}", namespace.unwrap_or_default());
            self.0.lock().get(&key).cloned()
        }
    }

    fn named(name: &str, uid: &str) -> Named {
        Named {
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    pub(in crate::identity) fn signer() -> Arc<Signer> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Arc::new(Signer::new(&key.serialize_der(), "https://issuer.test").unwrap())
    }

    pub(in crate::identity) fn request(path: &str, authorization: &str) -> Parts {
        let mut request = http::Request::builder().uri(path);
        if !authorization.is_empty() {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[tokio::test]
    async fn a_bound_token_dies_with_its_pod() {
        let signer = signer();
        let existing = Existing::default();
        existing.put(
            "serviceaccounts",
            json!({"metadata": {"namespace": "shop", "name": "cart", "uid": "s1"}}),
        );
        let pod =
            |uid: &str| json!({"metadata": {"namespace": "shop", "name": "cart-1", "uid": uid}});
        existing.put("pods", pod("p1"));
        let authenticator = Authenticator::new(signer.clone(), existing.clone());
        let (token, _) = signer
            .issue(Grant {
                audiences: vec![],
                lifetime: Duration::from_secs(60),
                extension: None,
                private: Private {
                    namespace: "shop".to_owned(),
                    node: None,
                    pod: Some(named("cart-1", "p1")),
                    secret: None,
                    serviceaccount: named("cart", "s1"),
                    warnafter: None,
                },
            })
            .unwrap();
        let bearer = request("/", &format!("Bearer {token}"));
        let (user, _) = authenticator.authenticate(&bearer).await.unwrap();
        assert_eq!(user.name, "system:serviceaccount:shop:cart");
        assert!(user.is_in("system:serviceaccounts:shop"));
        assert_eq!(
            user.extra["authentication.kubernetes.io/pod-name"],
            ["cart-1"]
        );
        let mut leaving = pod("p1");
        let soon = Timestamp::now() + SignedDuration::from_secs(30);
        leaving["metadata"]["deletionTimestamp"] = json!(consort_object::time::format(soon));
        existing.put("pods", leaving.clone());
        assert!(authenticator.authenticate(&bearer).await.is_ok());
        let past = Timestamp::now() - SignedDuration::from_secs(90);
        leaving["metadata"]["deletionTimestamp"] = json!(consort_object::time::format(past));
        let gone = Err(Refused::Unbound { what: "pod" });
        existing.put("pods", leaving);
        assert_eq!(authenticator.authenticate(&bearer).await, gone);
        existing.put("pods", pod("p2"));
        assert_eq!(authenticator.authenticate(&bearer).await, gone);
    }

    #[tokio::test]
    async fn a_bad_token_is_never_anonymous_and_another_scheme_says_nothing() {
        let authenticator = Authenticator::new(signer(), Existing::default());
        for token in ["x", "a.b.c", "abcdef.0123456789abcdef"] {
            let asked = request("/healthz", &format!("Bearer {token}"));
            assert!(authenticator.authenticate(&asked).await.is_err(), "{token}");
        }
        let asked = request("/healthz", "Basic abc");
        let (user, _) = authenticator.authenticate(&asked).await.unwrap();
        assert_eq!(user.name, super::super::ANONYMOUS);
    }

    #[tokio::test]
    async fn callers_without_credentials_are_let_in_as_configured() {
        let only = Anonymous::Paths(vec!["/livez".to_owned()]);
        let some = Authenticator::new(signer(), Existing::default()).configured(vec![], only);
        assert!(some.authenticate(&request("/livez", "")).await.is_ok());
        assert!(some.authenticate(&request("/api", "")).await.is_err());
        let none = Authenticator::new(signer(), Existing::default())
            .configured(vec![], Anonymous::Refused);
        assert!(none.authenticate(&request("/livez", "")).await.is_err());
    }
}
