//! Bootstrap tokens: short secrets by which new nodes come in, kept in `kube-system`.
//!
//! A token is `ID.SECRET`; the Secret `bootstrap-token-ID` of type `bootstrap.kubernetes.io/token` says
//! whether it may authenticate, until when, and for which groups.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::authenticate::{Objects, same_secret};
use super::user::User;

/// The type of the secrets.
pub const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The group of everyone who comes with such a token.
pub const GROUP: &str = "system:bootstrappers";

/// The two parts of a text that looks like a bootstrap token.
pub fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

/// The caller a token stands for, if its secret says so.
pub(super) fn user(objects: &dyn Objects, id: &str, secret: &str) -> Option<User> {
    let stored = objects.object(
        "secrets",
        Some("kube-system"),
        &format!("bootstrap-token-{id}"),
    )?;
    if stored.head.deletion.is_some() {
        return None;
    }
    let value = stored.value().ok()?;
    if value.get("type").and_then(Value::as_str) != Some(TYPE) {
        return None;
    }
    let data = |key: &str| {
        let encoded = value.get("data")?.get(key)?.as_str()?;
        BASE64.decode(encoded).ok()
    };
    let text = |key: &str| data(key).and_then(|bytes| String::from_utf8(bytes).ok());
    if !same_secret(&data("token-secret")?, secret.as_bytes()) {
        return None;
    }
    if text("token-id")? != id {
        return None;
    }
    if let Some(expiration) = text("expiration") {
        // A time that cannot be read has passed.
        let expiration = consort_object::time::parse(&expiration).ok()?;
        if expiration <= Timestamp::now() {
            return None;
        }
    }
    if text("usage-bootstrap-authentication").as_deref() != Some("true") {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in text("auth-extra-groups").unwrap_or_default().split(',') {
        if group.is_empty() {
            continue;
        }
        if !is_group(group) {
            return None;
        }
        groups.push(group.to_owned());
    }
    Some(User::new(format!("system:bootstrap:{id}"), groups))
}

/// `system:bootstrappers:` and then letters, digits, colons and dashes, no colon or dash at the end.
fn is_group(group: &str) -> bool {
    let Some(rest) = group
        .strip_prefix(GROUP)
        .and_then(|rest| rest.strip_prefix(':'))
    else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= 256
        && rest
            .bytes()
            .all(|byte| plain(byte) || b":-".contains(&byte))
        && rest.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::authenticate::tests::Existing;
    use super::*;

    #[test]
    fn a_token_authenticates_as_its_secret_says() {
        let existing = Existing::default();
        let put = |changes: &[(&str, &str)]| {
            let mut data = json!({});
            let usual = [
                ("token-id", "abcdef"),
                ("token-secret", "0123456789abcdef"),
                ("usage-bootstrap-authentication", "true"),
                ("expiration", "2999-01-01T00:00:00Z"),
                ("auth-extra-groups", "system:bootstrappers:workers"),
            ];
            for (key, text) in usual.iter().chain(changes) {
                data[*key] = json!(BASE64.encode(text));
            }
            existing.put(
                "secrets",
                json!({"metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef",
                    "uid": "u"}, "type": TYPE, "data": data}),
            );
        };
        let ask = |token: &str| {
            let (id, secret) = split(token)?;
            user(&existing, id, secret)
        };
        put(&[]);
        let found = ask("abcdef.0123456789abcdef").unwrap();
        assert_eq!(found.name, "system:bootstrap:abcdef");
        assert!(found.is_in(GROUP) && found.is_in("system:bootstrappers:workers"));
        assert_eq!(ask("abcdef.0123456789abcdee"), None);
        assert_eq!(ask("abcdeg.0123456789abcdef"), None);
        assert_eq!(split("Abcdef.0123456789abcdef"), None);
        for change in [
            ("expiration", "2001-01-01T00:00:00Z"),
            ("expiration", "soon"),
            ("usage-bootstrap-authentication", "false"),
            ("token-id", "fedcba"),
            ("auth-extra-groups", "system:masters"),
        ] {
            put(&[change]);
            assert_eq!(ask("abcdef.0123456789abcdef"), None, "{change:?}");
        }
    }
}
