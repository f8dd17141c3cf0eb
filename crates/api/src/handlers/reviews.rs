//! Questions about the caller and its rights: answered, not kept.

use crate::body::Body;
use crate::call::Call;
use crate::encoding;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::identity::{Attributes, User};
use crate::kind::Kind;
use crate::request::WriteOptions;
use crate::respond;
use crate::values::{at, items, members, set, text};
use bytes::Bytes;
use consort_object::field_error::FieldError;
use consort_object::status::Status;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Answer a review.
pub(crate) fn review(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    body: &Bytes,
) -> Outcome<Response<Body>> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let gvk = encoding::gvk(kind);
    let encoding = call.body_encoding()?;
    let decoded = kind
        .schema
        .decode(body, encoding, &gvk, options.field_validation)?;
    let mut value = decoded.value;
    let spec = value.get("spec").cloned().unwrap_or(json!({}));
    let status = match kind.kind.as_str() {
        "SelfSubjectReview" => {
            set(
                &mut value,
                "metadata",
                json!({"creationTimestamp": consort_object::time::now()}),
            );
            json!({"userInfo": user_json(&call.user)})
        }
        "TokenReview" => token_review(call, &spec)?,
        "SelfSubjectAccessReview" => access(call, kind, &call.user, &spec)?,
        "SubjectAccessReview" => access(call, kind, &reviewed_user(kind, &spec)?, &spec)?,
        "LocalSubjectAccessReview" => {
            let own = text(&spec, &["resourceAttributes", "namespace"]);
            if Some(own) != namespace {
                let error = FieldError::invalid(
                    "spec.resourceAttributes.namespace",
                    own,
                    "must match metadata.namespace",
                );
                return fail(Status::invalid(&kind.group, &kind.kind, "", &[error]));
            }
            access(call, kind, &reviewed_user(kind, &spec)?, &spec)?
        }
        "SelfSubjectRulesReview" => rules(call, &spec)?,
        other => return Err(internal(format!("{other} is not a review"))),
    };
    set(&mut value, "status", status);
    let mut response = respond::value(call, StatusCode::CREATED, &value)?;
    respond::warn(&mut response, &decoded.warnings);
    Ok(response)
}

fn user_json(user: &User) -> Value {
    let mut json = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        json["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        json["extra"] = json!(user.extra);
    }
    json
}

fn token_review(call: &Call, spec: &Value) -> Outcome<Value> {
    let token = text(spec, &["token"]);
    if token.is_empty() {
        return Err(bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences: Vec<String> = items(spec, &["audiences"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    Ok(match call.inner.authenticator.token(token, &audiences) {
        Ok((user, claims)) => {
            let mut wanted = claims.aud;
            if !audiences.is_empty() {
                wanted.retain(|audience| audiences.contains(audience));
            }
            json!({"authenticated": true, "user": user_json(&user), "audiences": wanted})
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

/// The user a review asks about.
fn reviewed_user(kind: &Kind, spec: &Value) -> Outcome<User> {
    let groups: Vec<String> = items(spec, &["groups"])
        .iter()
        .filter_map(|group| group.as_str().map(str::to_owned))
        .collect();
    let name = text(spec, &["user"]).to_owned();
    if name.is_empty() && groups.is_empty() {
        let error = FieldError::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        );
        return fail(Status::invalid(&kind.group, &kind.kind, "", &[error]));
    }
    let extra: BTreeMap<String, Vec<String>> = members(spec, &["extra"])
        .map(|(key, values)| {
            let values = items(values, &[]).iter();
            (
                key.to_owned(),
                values
                    .filter_map(|value| value.as_str().map(str::to_owned))
                    .collect(),
            )
        })
        .collect();
    Ok(User {
        name,
        uid: text(spec, &["uid"]).to_owned(),
        groups,
        extra,
    })
}

fn access(call: &Call, kind: &Kind, user: &User, spec: &Value) -> Outcome<Value> {
    let resource = at(spec, &["resourceAttributes"]);
    let path = at(spec, &["nonResourceAttributes"]);
    let wanted = match (resource, path) {
        (Some(resource), None) => {
            let field = |name: &str| text(resource, &[name]);
            Attributes {
                verb: field("verb"),
                group: field("group"),
                version: field("version"),
                resource: field("resource"),
                subresource: field("subresource"),
                namespace: field("namespace"),
                name: field("name"),
                ..Attributes::default()
            }
        }
        (None, Some(path)) => Attributes {
            verb: text(path, &["verb"]),
            path: text(path, &["path"]),
            ..Attributes::default()
        },
        (both, _) => {
            let value = spec.clone();
            let detail = if both.is_some() {
                "cannot be specified in combination with resourceAttributes"
            } else {
                "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            };
            let field = if both.is_some() {
                "spec.nonResourceAttributes"
            } else {
                "spec.resourceAttributes"
            };
            let error = FieldError::invalid(field, value, detail);
            return fail(Status::invalid(&kind.group, &kind.kind, "", &[error]));
        }
    };
    let decision = call.inner.authorizer.authorize(user, &wanted);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        let field = if decision.allowed {
            "reason"
        } else {
            "evaluationError"
        };
        status[field] = decision.reason.into();
    }
    Ok(status)
}

fn rules(call: &Call, spec: &Value) -> Outcome<Value> {
    let namespace = text(spec, &["namespace"]);
    if namespace.is_empty() {
        return Err(bad_request("no namespace on request"));
    }
    let mut resources = Vec::new();
    let mut paths = Vec::new();
    for rule in call.inner.authorizer.rules(&call.user, namespace) {
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
        if !rule.resources.is_empty() {
            let mut entry = json!({
                "verbs": rule.verbs,
                "apiGroups": rule.api_groups,
                "resources": rule.resources,
            });
            if !rule.resource_names.is_empty() {
                entry["resourceNames"] = json!(rule.resource_names);
            }
            resources.push(entry);
        }
    }
    Ok(json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}))
}
