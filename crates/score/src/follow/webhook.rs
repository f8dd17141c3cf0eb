//! Webhooks: a repository's server says that something was pushed.
//!
//! A call proves itself by what the score's webhook Secret holds: a signature over the body, or the token itself.
//! Whatever it says, it only leads to a look at the repository: it cannot name what is to be carried out.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use serde::Deserialize;
use sha2::Sha256;

/// Why a call was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It proves nothing.
    #[error("the call is neither signed nor brings a token")]
    Unproven,
    /// What it proves itself by is wrong.
    #[error("the signature or token is wrong")]
    Wrong,
}

/// What a call says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Something was pushed: to these references (full names), or to whatever if none is named.
    Push(Vec<String>),
    /// Something else happened, which matters to no one here.
    Other(String),
}

/// The headers that say what happened.
const EVENTS: [&str; 4] = [
    "x-github-event",
    "x-gitlab-event",
    "x-gitea-event",
    "x-event-key",
];

/// Checks a call against the token of a score, and reads what it says.
///
/// Taken are the forms of GitHub (`X-Hub-Signature-256`; Gitea, Forgejo and Bitbucket Cloud have it as well),
/// Bitbucket Server (`X-Hub-Signature: sha256=`), Gitea (`X-Gitea-Signature`), Gogs (`X-Gogs-Signature`), GitLab
/// (`X-Gitlab-Token`), and for anything else `Authorization: Bearer TOKEN` or `X-Consort-Token`. SHA-1 is not taken.
///
/// # Errors
/// When the call does not prove itself. All comparisons take the same time whatever is wrong.
pub fn read(headers: &HeaderMap, body: &[u8], token: &[u8]) -> Result<Call, Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signature = text("x-hub-signature-256")
        .or_else(|| text("x-hub-signature").filter(|value| value.starts_with("sha256=")))
        .or_else(|| text("x-gitea-signature"))
        .or_else(|| text("x-gogs-signature"));
    let given = text("x-gitlab-token")
        .or_else(|| text("x-consort-token"))
        .or_else(|| text("authorization").and_then(|value| value.strip_prefix("Bearer ")));
    let right = if let Some(signature) = signature {
        signed(body, token, signature.trim().trim_start_matches("sha256="))
    } else if let Some(given) = given {
        same(given.trim().as_bytes(), token)
    } else {
        return Err(Refused::Unproven);
    };
    if !right {
        return Err(Refused::Wrong);
    }
    let event = EVENTS.iter().find_map(|name| text(name));
    Ok(said(event, body))
}

/// Whether the hex digits are the HMAC-SHA256 of the body.
fn signed(body: &[u8], token: &[u8], hex: &str) -> bool {
    let mut signature = [0u8; 32];
    let well_formed = hex.len() == 64
        && signature.iter_mut().enumerate().all(|(at, byte)| {
            hex.get(at * 2..at * 2 + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .map(|value| *byte = value)
                .is_some()
        });
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token) else {
        return false;
    };
    mac.update(body);
    mac.verify_slice(&signature).is_ok() && well_formed
}

/// Whether two texts are the same, in a time that tells nothing about where they differ, nor how long they are.
fn same(one: &[u8], other: &[u8]) -> bool {
    let mac = |text: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"token").ok()?;
        mac.update(text);
        Some(mac)
    };
    let (Some(one), Some(other)) = (mac(one), mac(other)) else {
        return false;
    };
    one.verify_slice(&other.finalize().into_bytes()).is_ok()
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "ref")]
    reference: Option<String>,
    push: Option<Pushed>,
    changes: Option<Vec<Change>>,
}

/// Bitbucket Cloud.
#[derive(Deserialize)]
struct Pushed {
    #[serde(default)]
    changes: Vec<New>,
}

#[derive(Deserialize)]
struct New {
    new: Option<Named>,
    old: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Bitbucket Server.
#[derive(Deserialize)]
struct Change {
    #[serde(rename = "refId")]
    reference: Option<String>,
}

fn said(event: Option<&str>, body: &[u8]) -> Call {
    if let Some(event) = event {
        let lower = event.to_lowercase();
        let push = ["push", "refs_changed", "create", "delete"]
            .iter()
            .any(|word| lower.contains(word));
        if !push {
            return Call::Other(event.chars().filter(|c| !c.is_control()).take(60).collect());
        }
    }
    // A body that cannot be read (a form, another product's) is a push to whatever: a look costs little.
    let Ok(payload) = serde_json::from_slice::<Payload>(body) else {
        return Call::Push(Vec::new());
    };
    let mut references: Vec<String> = payload.reference.into_iter().collect();
    references.extend(
        payload
            .changes
            .into_iter()
            .flatten()
            .filter_map(|change| change.reference),
    );
    for change in payload.push.into_iter().flat_map(|push| push.changes) {
        if let Some(Named {
            name: Some(name),
            kind,
        }) = change.new.or(change.old)
        {
            let folder = if kind.as_deref() == Some("tag") {
                "tags"
            } else {
                "heads"
            };
            references.push(format!("refs/{folder}/{name}"));
        }
    }
    Call::Push(references)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    // The example of GitHub's documentation, "Validating webhook deliveries".
    const TOKEN: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn a_signature_counts_only_over_the_very_body_and_token() {
        let signed = headers(&[
            ("x-hub-signature-256", SIGNATURE),
            ("x-github-event", "push"),
        ]);
        assert_eq!(read(&signed, BODY, TOKEN), Ok(Call::Push(Vec::new())));
        assert_eq!(read(&signed, b"Hello, World?", TOKEN), Err(Refused::Wrong));
        assert_eq!(read(&signed, BODY, b"other"), Err(Refused::Wrong));
        for bad in ["sha256=", "sha256=00", &SIGNATURE[..70], "sha256=zz", ""] {
            let headers = headers(&[("x-hub-signature-256", bad)]);
            assert_eq!(read(&headers, BODY, TOKEN), Err(Refused::Wrong), "{bad}");
        }
        assert_eq!(read(&HeaderMap::new(), BODY, TOKEN), Err(Refused::Unproven));
        let sha1 = headers(&[("x-hub-signature", "sha1=00")]);
        assert_eq!(read(&sha1, BODY, TOKEN), Err(Refused::Unproven));
    }

    #[test]
    fn a_token_counts_only_whole() {
        for name in ["x-gitlab-token", "x-consort-token"] {
            let with = |value| headers(&[(name, value)]);
            assert!(read(&with("sesame"), b"{}", b"sesame").is_ok());
            for wrong in ["sesam", "sesame1", "", "Sesame"] {
                assert_eq!(read(&with(wrong), b"{}", b"sesame"), Err(Refused::Wrong));
            }
        }
        let bearer = headers(&[("authorization", "Bearer sesame")]);
        assert!(read(&bearer, b"{}", b"sesame").is_ok());
    }

    #[test]
    fn what_was_pushed_is_read_in_the_forms_of_the_usual_servers() {
        let call = |event: (&'static str, &str), body: &str| {
            let headers = headers(&[event, ("x-consort-token", "t")]);
            read(&headers, body.as_bytes(), b"t").unwrap()
        };
        let push =
            |names: &[&str]| Call::Push(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            call(("x-github-event", "push"), r#"{"ref": "refs/heads/main"}"#),
            push(&["refs/heads/main"])
        );
        assert_eq!(
            call(
                ("x-gitlab-event", "Tag Push Hook"),
                r#"{"ref": "refs/tags/v1"}"#
            ),
            push(&["refs/tags/v1"])
        );
        assert_eq!(
            call(
                ("x-event-key", "repo:push"),
                r#"{"push": {"changes": [{"new": {"type": "branch", "name": "main"}}]}}"#
            ),
            push(&["refs/heads/main"])
        );
        assert_eq!(
            call(
                ("x-event-key", "repo:refs_changed"),
                r#"{"changes": [{"refId": "refs/heads/x"}]}"#
            ),
            push(&["refs/heads/x"])
        );
        assert_eq!(call(("x-github-event", "push"), "payload=..."), push(&[]));
        assert_eq!(
            call(("x-github-event", "ping"), "{}"),
            Call::Other("ping".to_owned())
        );
    }
}
