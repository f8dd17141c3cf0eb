//! Tokens of the older kind: without an end, good while the secret that holds them is there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::authenticate::{Objects, lives, same_secret};
use super::tokens::LegacyClaims;
use super::user::{User, service_account_name};

/// Set on a secret whose token has not been used for long: it no longer counts.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// The caller of a token whose signature was checked.
pub(super) fn user(
    objects: &dyn Objects,
    token: &str,
    claims: &LegacyClaims,
) -> Result<User, &'static str> {
    let namespace = Some(claims.namespace.as_str());
    if claims.sub != service_account_name(&claims.namespace, &claims.account) {
        return Err("sub claim is invalid");
    }
    let secret = objects
        .object("secrets", namespace, &claims.secret)
        .filter(lives)
        .ok_or("service account token has been invalidated")?;
    if secret.head.label(INVALID_SINCE).is_some() {
        return Err(
            "the token in secret for service account has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token",
        );
    }
    let value = secret
        .value()
        .map_err(|_| "service account token has been invalidated")?;
    let held = value
        .pointer("/data/token")
        .and_then(Value::as_str)
        .and_then(|encoded| BASE64.decode(encoded).ok())
        .unwrap_or_default();
    if !same_secret(&held, token.as_bytes()) {
        return Err("service account token does not match server's copy");
    }
    let account = objects
        .object("serviceaccounts", namespace, &claims.account)
        .filter(lives)
        .ok_or("service account has been deleted")?;
    if account.head.uid != claims.uid {
        return Err("service account UID does not match claim");
    }
    Ok(User::service_account(
        &claims.namespace,
        &claims.account,
        &claims.uid,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Authenticator;
    use super::super::authenticate::tests::{Existing, signer};
    use super::*;

    #[tokio::test]
    async fn a_token_is_good_while_its_secret_holds_it() {
        let existing = Existing::default();
        let signer = signer();
        let token = signer
            .issue_legacy("shop", "cart-token", "cart", "s1")
            .unwrap();
        existing.put(
            "serviceaccounts",
            json!({"metadata": {"namespace": "shop", "name": "cart", "uid": "s1"}}),
        );
        let put = |token: &str, labels: serde_json::Value| {
            existing.put(
                "secrets",
                json!({"metadata": {"namespace": "shop", "name": "cart-token", "uid": "x",
                    "labels": labels}, "data": {"token": BASE64.encode(token)}}),
            );
        };
        let authenticator = Authenticator::new(signer, existing.clone());
        assert!(authenticator.token(&token, &[]).await.is_err());
        put(&token, json!({}));
        let found = authenticator.token(&token, &[]).await.unwrap();
        assert_eq!(found.user.name, "system:serviceaccount:shop:cart");
        assert!(
            authenticator
                .token(&token, &["vault".to_owned()])
                .await
                .is_err()
        );
        put("another", json!({}));
        assert!(authenticator.token(&token, &[]).await.is_err());
        put(&token, json!({INVALID_SINCE: "2026-01-01"}));
        assert!(authenticator.token(&token, &[]).await.is_err());
    }
}
