//! Questions about the caller and its rights: answered, not kept.

use crate::body::Body;
use crate::call::Call;
use crate::encoding;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::identity::{Attributes, User};
use crate::kind::Kind;
use crate::negotiate::Shape;
use crate::request::WriteOptions;
use crate::respond;
use crate::values::{at, items, members, set, text};
use bytes::Bytes;
use consort_object::field_error::FieldError;
use consort_object::status::Status;
use consort_object::{FieldSelector, LabelSelector};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Answer a review.
pub(crate) async fn review(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    body: &Bytes,
) -> Outcome<Response<Body>> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    // A review is no object with metadata: it has no other form.
    if call.accept()?.shape != Shape::Whole {
        return fail(Status::not_acceptable(call.media_types()));
    }
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
        "TokenReview" => token_review(call, &spec).await?,
        "SelfSubjectAccessReview" => {
            check_access(kind, &spec, None)?;
            access(call, &call.user, &spec)
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            if kind.namespaced {
                local(kind, &value, &spec, namespace)?;
            }
            let user = reviewed_user(&spec);
            check_access(kind, &spec, Some(&user))?;
            access(call, &user, &spec)
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

async fn token_review(call: &Call, spec: &Value) -> Outcome<Value> {
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
    Ok(
        match call.inner.authenticator.token(token, &audiences).await {
            Ok(found) => json!({
                "authenticated": true,
                "user": user_json(&found.user),
                "audiences": found.audiences,
            }),
            Err(error) => json!({"user": {}, "error": error.to_string()}),
        },
    )
}

/// A local review asks about its own namespace only.
fn local(kind: &Kind, review: &Value, spec: &Value, namespace: Option<&str>) -> Outcome<()> {
    let mut errors = Vec::new();
    let own = text(review, &["metadata", "namespace"]);
    let namespace = namespace.unwrap_or_default();
    if !own.is_empty() && own != namespace {
        return Err(bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {own}"
        )));
    }
    match at(spec, &["resourceAttributes"]) {
        Some(resource) => {
            let asked = text(resource, &["namespace"]);
            if asked != namespace {
                errors.push(FieldError::invalid(
                    "spec.resourceAttributes.namespace",
                    asked,
                    "must match metadata.namespace",
                ));
            }
        }
        None => errors.push(FieldError::required("spec.resourceAttributes", "")),
    }
    if at(spec, &["nonResourceAttributes"]).is_some() {
        errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            spec["nonResourceAttributes"].clone(),
            "disallowed on this kind of request",
        ));
    }
    invalid(kind, &errors)
}

fn invalid(kind: &Kind, errors: &[FieldError]) -> Outcome<()> {
    if errors.is_empty() {
        return Ok(());
    }
    fail(Status::invalid(&kind.group, &kind.kind, "", errors))
}

/// The user a review asks about.
fn reviewed_user(spec: &Value) -> User {
    let texts = |values: &[Value]| -> Vec<String> {
        values
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect()
    };
    let extra: BTreeMap<String, Vec<String>> = members(spec, &["extra"])
        .map(|(key, values)| (key.to_owned(), texts(items(values, &[]))))
        .collect();
    User {
        name: text(spec, &["user"]).to_owned(),
        uid: text(spec, &["uid"]).to_owned(),
        groups: texts(items(spec, &["groups"])),
        extra,
    }
}

/// Check what a review of access asks; `user` is none where the caller asks about itself.
fn check_access(kind: &Kind, spec: &Value, user: Option<&User>) -> Outcome<()> {
    let mut errors = Vec::new();
    let resource = at(spec, &["resourceAttributes"]);
    let path = at(spec, &["nonResourceAttributes"]);
    if resource.is_some() && path.is_some() {
        errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            spec["nonResourceAttributes"].clone(),
            "cannot be specified in combination with resourceAttributes",
        ));
    }
    if resource.is_none() && path.is_none() {
        errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    }
    if user.is_some_and(|user| user.name.is_empty() && user.groups.is_empty()) {
        errors.push(FieldError::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        ));
    }
    if let Some(resource) = resource {
        selector_form(resource, "fieldSelector", &mut errors);
        selector_form(resource, "labelSelector", &mut errors);
    }
    invalid(kind, &errors)
}

/// A selector is given as text or as requirements, and the requirements are complete.
fn selector_form(resource: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(selector) = at(resource, &[field]) else {
        return;
    };
    let place = format!("spec.resourceAttributes.{field}");
    let raw = text(selector, &["rawSelector"]);
    let requirements = items(selector, &["requirements"]);
    if !raw.is_empty() && !requirements.is_empty() {
        errors.push(FieldError::invalid(
            format!("{place}.rawSelector"),
            raw,
            "may not specified at the same time as requirements",
        ));
    }
    if raw.is_empty() && requirements.is_empty() {
        errors.push(FieldError::required(
            format!("{place}.requirements"),
            format!("when {place} is specified, requirements or rawSelector is required"),
        ));
    }
    for (index, requirement) in requirements.iter().enumerate() {
        let place = format!("{place}.requirements[{index}]");
        if text(requirement, &["key"]).is_empty() {
            errors.push(FieldError::required(
                format!("{place}.key"),
                "must be specified",
            ));
        }
        let values = items(requirement, &["values"]);
        match text(requirement, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{place}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                format!("{place}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{place}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
    }
}

/// What of a selector can be used. What cannot is left out: the question is then about more.
fn selectors(resource: &Value) -> (Option<FieldSelector>, Option<LabelSelector>) {
    let mut field = None;
    if let Some(selector) = at(resource, &["fieldSelector"]) {
        let raw = text(selector, &["rawSelector"]);
        let words = if raw.is_empty() {
            let each = items(selector, &["requirements"]).iter();
            let each = each.filter_map(|requirement| {
                let [value] = items(requirement, &["values"]) else {
                    return None;
                };
                let operator = match text(requirement, &["operator"]) {
                    "In" => "=",
                    "NotIn" => "!=",
                    _ => return None,
                };
                let escaped: String = value
                    .as_str()?
                    .chars()
                    .flat_map(|c| {
                        let escape = matches!(c, '\\' | ',' | '=').then_some('\\');
                        escape.into_iter().chain([c])
                    })
                    .collect();
                Some(format!(
                    "{}{operator}{escaped}",
                    text(requirement, &["key"])
                ))
            });
            each.collect::<Vec<_>>().join(",")
        } else {
            raw.to_owned()
        };
        field = FieldSelector::parse(&words)
            .ok()
            .filter(|selector| !selector.is_empty());
    }
    let mut label = None;
    if let Some(selector) = at(resource, &["labelSelector"]) {
        let raw = text(selector, &["rawSelector"]);
        label = if raw.is_empty() {
            let form = json!({"matchExpressions": items(selector, &["requirements"])});
            LabelSelector::from_json(&form).ok()
        } else {
            LabelSelector::parse(raw).ok()
        };
        label = label.filter(|selector| !selector.is_empty());
    }
    (field, label)
}

fn access(call: &Call, user: &User, spec: &Value) -> Value {
    let (field_selector, label_selector);
    let wanted = if let Some(resource) = at(spec, &["resourceAttributes"]) {
        (field_selector, label_selector) = selectors(resource);
        let field = |name: &str| text(resource, &[name]);
        Attributes {
            verb: field("verb"),
            group: field("group"),
            version: field("version"),
            // A question without a resource is still one about resources.
            resource: match field("resource") {
                "" => " ",
                resource => resource,
            },
            subresource: field("subresource"),
            namespace: field("namespace"),
            name: field("name"),
            path: "",
            field_selector: field_selector.as_ref(),
            label_selector: label_selector.as_ref(),
        }
    } else {
        Attributes {
            verb: text(spec, &["nonResourceAttributes", "verb"]),
            path: text(spec, &["nonResourceAttributes", "path"]),
            ..Attributes::default()
        }
    };
    let decision = call.inner.authorizer.authorize(user, &wanted);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    status
}

fn rules(call: &Call, spec: &Value) -> Outcome<Value> {
    let namespace = text(spec, &["namespace"]);
    if namespace.is_empty() {
        return Err(bad_request("no namespace on request"));
    }
    let mut resources = Vec::new();
    let mut paths = Vec::new();
    let (held, gaps) = call.inner.authorizer.rules_and_gaps(&call.user, namespace);
    for rule in held {
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
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": paths, "incomplete": !gaps.is_empty(),
    });
    if !gaps.is_empty() {
        status["evaluationError"] = gaps.join(", ").into();
    }
    Ok(status)
}
