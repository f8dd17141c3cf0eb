//! Who is calling: by client certificate, by bearer token, in process, or nobody.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::tokens::{self, Claims, Signer};
use super::user::User;

/// The caller a connection's client certificate proved, put into each of its requests by whoever
/// accepted the connection, so that the certificate is parsed once.
#[derive(Clone, Debug)]
pub struct Peer(
    /// The caller.
    pub Arc<User>,
);

/// Looks up whether what a token is bound to still exists.
pub trait Objects: Send + Sync {
    /// The uid of an object of the core group that exists and is not (past its grace) being
    /// deleted.
    fn uid(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<String>;
}

/// Why a caller was turned away; answered with 401.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The credentials are not of a form understood here.
    #[error("the Authorization header is not of the form `Bearer TOKEN`")]
    Header,
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] tokens::Error),
    /// What the token is bound to is gone or was replaced.
    #[error("the {what} the token is bound to no longer exists")]
    Unbound {
        /// `service account`, `pod`, `secret` or `node`.
        what: &'static str,
    },
}

/// Decides who a request comes from.
pub struct Authenticator {
    signer: Arc<Signer>,
    objects: Box<dyn Objects>,
}

impl Authenticator {
    /// An authenticator that accepts the tokens of `signer` while what they are bound to exists.
    pub fn new(signer: Arc<Signer>, objects: impl Objects + 'static) -> Self {
        Self {
            signer,
            objects: Box::new(objects),
        }
    }

    /// The maker of tokens this authenticator accepts.
    pub fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// The caller of a request. In-process requests carry a [`User`] among their extensions,
    /// connections with a client certificate a [`Peer`]; then a bearer token counts; a request with
    /// none of them is anonymous.
    ///
    /// # Errors
    /// If credentials were brought that are not good: they never count as none.
    pub fn authenticate(&self, request: &Parts) -> Result<Arc<User>, Refused> {
        if let Some(user) = request.extensions.get::<Arc<User>>() {
            return Ok(user.clone());
        }
        if let Some(Peer(user)) = request.extensions.get::<Peer>() {
            return Ok(user.clone());
        }
        let Some(header) = request.headers.get(AUTHORIZATION) else {
            return Ok(Arc::new(User::anonymous()));
        };
        let header = header.to_str().map_err(|_| Refused::Header)?;
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Refused::Header),
        };
        self.token(token, &[]).map(|(user, _)| Arc::new(user))
    }

    /// The caller a service-account token stands for, and the token's claims, if one of `audiences`
    /// (the API's own if empty) may accept it.
    ///
    /// # Errors
    /// If the token is not good, or what it is bound to is gone.
    pub fn token(&self, token: &str, audiences: &[String]) -> Result<(User, Claims), Refused> {
        let claims = self.signer.verify(token, audiences)?;
        let private = &claims.private;
        let namespace = Some(private.namespace.as_str());
        let account = &private.serviceaccount;
        let check = |plural, namespace, bound: &tokens::Named, what| {
            if self.objects.uid(plural, namespace, &bound.name).as_deref()
                == Some(bound.uid.as_str())
            {
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
        Ok((user, claims))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::super::tokens::{Grant, Named, Private};
    use super::*;

    #[derive(Clone, Default)]
    struct Existing(Arc<Mutex<HashMap<String, String>>>);

    impl Objects for Existing {
        fn uid(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<String> {
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

    #[test]
    fn a_bound_token_dies_with_its_pod() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signer = Arc::new(Signer::new(&key.serialize_der(), "https://issuer.test").unwrap());
        let existing = Existing::default();
        for (key, uid) in [
            ("serviceaccounts/shop/cart", "s1"),
            ("pods/shop/cart-1", "p1"),
        ] {
            existing.0.lock().insert(key.to_owned(), uid.to_owned());
        }
        let authenticator = Authenticator::new(signer.clone(), existing.clone());
        let (token, _) = signer
            .issue(Grant {
                audiences: vec![],
                lifetime: Duration::from_secs(60),
                private: Private {
                    namespace: "shop".to_owned(),
                    node: None,
                    pod: Some(named("cart-1", "p1")),
                    secret: None,
                    serviceaccount: named("cart", "s1"),
                },
            })
            .unwrap();
        let request = |value: &str| {
            let (parts, ()) = http::Request::builder()
                .header(AUTHORIZATION, value)
                .body(())
                .unwrap()
                .into_parts();
            parts
        };
        let bearer = request(&format!("Bearer {token}"));
        let user = authenticator.authenticate(&bearer).unwrap();
        assert_eq!(user.name, "system:serviceaccount:shop:cart");
        assert!(user.is_in("system:serviceaccounts:shop"));
        assert_eq!(
            user.extra["authentication.kubernetes.io/pod-name"],
            ["cart-1"]
        );
        existing
            .0
            .lock()
            .insert("pods/shop/cart-1".to_owned(), "p2".to_owned());
        assert_eq!(
            authenticator.authenticate(&bearer),
            Err(Refused::Unbound { what: "pod" })
        );
        assert_eq!(
            authenticator.authenticate(&request("Basic abc")),
            Err(Refused::Header)
        );
    }
}
