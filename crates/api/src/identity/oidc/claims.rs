//! From a token's claims to a user.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::Issuer;
use crate::identity::user::User;

/// The user of verified claims, or what they lack.
pub(super) fn user(issuer: &Issuer, claims: &Value) -> Result<User, String> {
    for (claim, wanted) in &issuer.required {
        match claim_of(claims, claim) {
            Some(Value::String(found)) if found == wanted => {}
            Some(Value::String(found)) => {
                return Err(format!(
                    "required claim {claim} value does not match. Got = {found}, want = {wanted}"
                ));
            }
            Some(_) => return Err(format!("parse claim {claim}: it is no text")),
            None => return Err(format!("required claim {claim} not present in ID token")),
        }
    }
    let name = match claim_of(claims, &issuer.username.claim) {
        Some(Value::String(name)) => name,
        Some(_) => {
            return Err(format!(
                "parse username claims {:?}: it is no text",
                issuer.username.claim
            ));
        }
        None => {
            return Err(format!(
                "parse username claims {:?}: claim not present",
                issuer.username.claim
            ));
        }
    };
    if issuer.username.claim == "email" && claims.get("email_verified").is_some() {
        match claims.get("email_verified") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err("email not verified".to_owned()),
            _ => return Err("parse 'email_verified' claim: it is no truth value".to_owned()),
        }
    }
    let mut groups = Vec::new();
    if let Some(mapping) = &issuer.groups
        && let Some(found) = claim_of(claims, &mapping.claim)
    {
        let found: Vec<&str> = match found {
            Value::String(one) => vec![one],
            Value::Null => Vec::new(),
            Value::Array(many) => many
                .iter()
                .map(|group| group.as_str().ok_or("it is no list of texts"))
                .collect::<Result<_, _>>()
                .map_err(|why| format!("parse groups claim {:?}: {why}", mapping.claim))?,
            _ => {
                return Err(format!(
                    "parse groups claim {:?}: it is no list of texts",
                    mapping.claim
                ));
            }
        };
        groups.extend(
            found
                .into_iter()
                .map(|group| format!("{}{group}", mapping.prefix)),
        );
    }
    let uid = match &issuer.uid {
        None => String::new(),
        Some(claim) => match claim_of(claims, claim) {
            Some(Value::String(uid)) => uid.clone(),
            _ => return Err(format!("parse uid claim {claim:?}: it is no text")),
        },
    };
    let mut user = User::new(format!("{}{name}", issuer.username.prefix), groups);
    user.uid = uid;
    let mut extra = BTreeMap::new();
    if let Some(Value::String(id)) = claims.get("jti")
        && !id.is_empty()
    {
        extra.insert(
            "authentication.kubernetes.io/credential-id".to_owned(),
            vec![format!("JTI={id}")],
        );
    }
    user.extra = extra;
    Ok(user)
}

fn claim_of<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::config::{Issuer, Mapping};
    use super::*;

    #[test]
    fn claims_become_name_groups_and_uid_with_their_prefixes() {
        let mapping = |claim: &str, prefix: &str| Mapping {
            claim: claim.to_owned(),
            prefix: prefix.to_owned(),
        };
        let mut issuer = Issuer::new("https://idp.test", vec!["app".to_owned()]);
        issuer.username = mapping("email", "idp:");
        issuer.groups = Some(mapping("roles", "idp-"));
        issuer.uid = Some("sub".to_owned());
        issuer.required = vec![("team".to_owned(), "blue".to_owned())];
        let claims = json!({"email": "j@x.test", "email_verified": true, "roles": ["dev"],
            "sub": "7", "team": "blue"});
        let found = user(&issuer, &claims).unwrap();
        assert_eq!(found.name, "idp:j@x.test");
        assert!(found.is_in("idp-dev") && found.is_in("system:authenticated"));
        assert_eq!(found.uid, "7");
        for (claim, value) in [
            ("email_verified", json!(false)),
            ("email", json!(7)),
            ("team", json!("red")),
            ("team", json!(["blue"])),
            ("roles", json!([1])),
        ] {
            let mut wrong = claims.clone();
            wrong[claim] = value;
            assert!(user(&issuer, &wrong).is_err(), "{claim}");
        }
        let mut one = claims;
        one["roles"] = json!("ops");
        assert!(user(&issuer, &one).unwrap().is_in("idp-ops"));
    }
}
