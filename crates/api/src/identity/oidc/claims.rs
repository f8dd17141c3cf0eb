//! From a token's claims to a user.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::{Issuer, Mapping, Source};
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
    for rule in &issuer.claim_rules {
        rule.hold(claims)?;
    }
    let name = match &issuer.username {
        Source::Claim(mapping) => format!("{}{}", mapping.prefix, name_of(mapping, claims)?),
        Source::Expression(expression) => {
            let name = expression
                .text(claims)
                .map_err(|why| format!("error evaluating username claim expression: {why}"))?;
            if name.is_empty() {
                return Err("empty username via CEL expression is not allowed".to_owned());
            }
            name
        }
    };
    let groups = match &issuer.groups {
        None => Vec::new(),
        Some(Source::Claim(mapping)) => groups_of(mapping, claims)?,
        Some(Source::Expression(expression)) => expression
            .texts(claims)
            .map_err(|why| format!("error evaluating group claim expression: {why}"))?,
    };
    let uid = match &issuer.uid {
        None => String::new(),
        Some(Source::Claim(mapping)) => match claim_of(claims, &mapping.claim) {
            Some(Value::String(uid)) => uid.clone(),
            _ => {
                return Err(format!(
                    "parse uid claim {:?}: it is no text",
                    mapping.claim
                ));
            }
        },
        Some(Source::Expression(expression)) => expression
            .text(claims)
            .map_err(|why| format!("error evaluating uid claim expression: {why}"))?,
    };
    let mut user = User::new(name, groups);
    user.uid = uid;
    let mut extra = BTreeMap::new();
    for (key, expression) in &issuer.extra {
        let values = expression
            .texts(claims)
            .map_err(|why| format!("error evaluating extra claim expression: {why}"))?;
        if !values.is_empty() {
            extra.insert(key.clone(), values);
        }
    }
    if let Some(Value::String(id)) = claims.get("jti")
        && !id.is_empty()
    {
        extra.insert(
            "authentication.kubernetes.io/credential-id".to_owned(),
            vec![format!("JTI={id}")],
        );
    }
    user.extra = extra;
    for rule in &issuer.user_rules {
        rule.hold_for(&user)?;
    }
    Ok(user)
}

fn name_of<'a>(mapping: &Mapping, claims: &'a Value) -> Result<&'a str, String> {
    let name = match claim_of(claims, &mapping.claim) {
        Some(Value::String(name)) => name,
        Some(_) => {
            return Err(format!(
                "parse username claims {:?}: it is no text",
                mapping.claim
            ));
        }
        None => {
            return Err(format!(
                "parse username claims {:?}: claim not present",
                mapping.claim
            ));
        }
    };
    if mapping.claim == "email" {
        match claims.get("email_verified") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err("email not verified".to_owned()),
            Some(_) => return Err("parse 'email_verified' claim: it is no truth value".to_owned()),
        }
    }
    Ok(name)
}

fn groups_of(mapping: &Mapping, claims: &Value) -> Result<Vec<String>, String> {
    let wrong = || {
        format!(
            "parse groups claim {:?}: it is no list of texts",
            mapping.claim
        )
    };
    let found: Vec<&str> = match claim_of(claims, &mapping.claim) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many
            .iter()
            .map(|group| group.as_str().ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(wrong()),
    };
    let prefixed = found
        .into_iter()
        .map(|group| format!("{}{group}", mapping.prefix));
    Ok(prefixed.collect())
}

fn claim_of<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::config::{Issuer, Mapping, Source};
    use super::*;

    #[test]
    fn claims_become_name_groups_and_uid_with_their_prefixes() {
        let mapping = |claim: &str, prefix: &str| Mapping {
            claim: claim.to_owned(),
            prefix: prefix.to_owned(),
        };
        let mut issuer = Issuer::new("https://idp.test", vec!["app".to_owned()]);
        issuer.username = Source::Claim(mapping("email", "idp:"));
        issuer.groups = Some(Source::Claim(mapping("roles", "idp-")));
        issuer.uid = Some(Source::Claim(mapping("sub", "")));
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
