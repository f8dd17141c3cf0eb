//! Checks of webhook configurations.

use super::admission::{FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION, match_conditions};
use super::{Errors, Path, label_selector};
use crate::admission::condition_fault;
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

/// Check a webhook configuration.
pub(crate) fn webhooks(object: &Value, mutating: bool, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("webhooks");
    let mut seen = HashSet::new();
    for (index, hook) in items(object, &["webhooks"]).iter().enumerate() {
        let place = list.index(index);
        webhook(hook, mutating, &place, errors);
        review_versions(hook, &place.field("admissionReviewVersions"), errors);
        let name = text(hook, &["name"]);
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&place.field("name"), name);
        }
    }
}

fn webhook(hook: &Value, mutating: bool, here: &Path<'_>, errors: &mut Errors) {
    let name = text(hook, &["name"]);
    let place = here.field("name");
    if name.is_empty() {
        errors.required(&place, "");
    } else {
        errors.check(&place, name, names::dns1123_subdomain(name));
        if name.split('.').count() < 3 {
            errors.invalid(
                &place,
                name,
                "should be a domain with at least three segments separated by dots",
            );
        }
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = at(hook, &[field]) {
            label_selector(selector, &here.field(field), errors);
        }
    }
    let rules = here.field("rules");
    for (index, rule) in items(hook, &["rules"]).iter().enumerate() {
        super::admission::rule(rule, &rules.index(index), errors);
    }
    errors.supported(
        &here.field("failurePolicy"),
        text(hook, &["failurePolicy"]),
        FAILURE_POLICIES,
    );
    errors.supported(
        &here.field("matchPolicy"),
        text(hook, &["matchPolicy"]),
        MATCH_POLICIES,
    );
    let effects = text(hook, &["sideEffects"]);
    let place = here.field("sideEffects");
    if effects.is_empty() {
        errors.required(&place, "must specify one of None, NoneOnDryRun");
    } else {
        errors.supported(&place, effects, &["None", "NoneOnDryRun"]);
    }
    let seconds = int(hook, &["timeoutSeconds"]);
    if !(1..=30).contains(&seconds) {
        errors.invalid(
            &here.field("timeoutSeconds"),
            seconds,
            "the timeout value must be between 1 and 30 seconds",
        );
    }
    if mutating {
        errors.supported(
            &here.field("reinvocationPolicy"),
            text(hook, &["reinvocationPolicy"]),
            REINVOCATION,
        );
    }
    client(&hook["clientConfig"], &here.field("clientConfig"), errors);
    let list = here.field("matchConditions");
    match_conditions(hook, &list, errors);
    for (index, condition) in items(hook, &["matchConditions"]).iter().enumerate() {
        let expression = text(condition, &["expression"]);
        if !expression.trim().is_empty()
            && let Some(why) = condition_fault(expression)
        {
            errors.invalid(&list.index(index).field("expression"), expression, why);
        }
    }
}

fn review_versions(hook: &Value, list: &Path<'_>, errors: &mut Errors) {
    let versions = items(hook, &["admissionReviewVersions"]);
    if versions.is_empty() {
        errors.required(list, "must specify one of v1, v1beta1");
        return;
    }
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let version = version.as_str().unwrap_or_default();
        errors.check(&list.index(index), version, names::dns1035_label(version));
        if !seen.insert(version) {
            errors.invalid(&list.index(index), version, "duplicate version");
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        errors.invalid(
            list,
            Value::Array(versions.to_vec()),
            "must include at least one of v1, v1beta1",
        );
    }
}

/// Check how a webhook is reached.
pub(crate) fn client(config: &Value, here: &Path<'_>, errors: &mut Errors) {
    let url = at(config, &["url"]).and_then(Value::as_str);
    let service = at(config, &["service"]);
    match (url, service) {
        (Some(_), Some(_)) | (None, None) => {
            errors.required(here, "exactly one of url or service is required");
        }
        (Some(url), None) => self::url(url, &here.field("url"), errors),
        (None, Some(service)) => {
            let place = here.field("service");
            if text(service, &["name"]).is_empty() {
                errors.required(&place.field("name"), "service name is required");
            }
            if text(service, &["namespace"]).is_empty() {
                errors.required(&place.field("namespace"), "service namespace is required");
            }
            let path = text(service, &["path"]);
            if !path.is_empty() {
                service_path(path, &place.field("path"), errors);
            }
            let port = int(service, &["port"]);
            if !(1..=65535).contains(&port) {
                errors.invalid(
                    &place.field("port"),
                    port,
                    "port is not valid: must be between 1 and 65535, inclusive",
                );
            }
        }
    }
}

fn url(text: &str, here: &Path<'_>, errors: &mut Errors) {
    let form = "; desired format: https://host[/path]";
    let Ok(uri) = text.parse::<http::Uri>() else {
        errors.required(here, &format!("url must be a valid URL: {text}{form}"));
        return;
    };
    if uri.scheme_str() != Some("https") {
        let scheme = uri.scheme_str().unwrap_or_default();
        errors.invalid(
            here,
            scheme,
            format!("'https' is the only allowed URL scheme{form}"),
        );
    }
    if uri.host().is_none_or(str::is_empty) {
        errors.invalid(here, "", format!("host must be specified{form}"));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        errors.invalid(here, text, "user information is not permitted in the URL");
    }
    if text.contains('#') {
        errors.invalid(here, text, "fragments are not permitted in the URL");
    }
    if uri.query().is_some() {
        errors.invalid(here, text, "query parameters are not permitted in the URL");
    }
}

fn service_path(path: &str, here: &Path<'_>, errors: &mut Errors) {
    if path == "/" {
        return;
    }
    if path == "//" {
        errors.invalid(here, path, "segment[0] may not be empty");
        return;
    }
    let Some(rest) = path.strip_prefix('/') else {
        errors.invalid(here, path, "must start with a '/'");
        return;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, segment) in rest.split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(here, path, format!("segment[{index}] may not be empty"));
        } else if let Err(why) = names::dns1123_subdomain(segment) {
            errors.invalid(here, path, format!("segment[{index}]: {why}"));
        }
    }
}
