//! Checks of admission policies and their bindings.

use super::{Errors, Path, label_selector};
use crate::admission::faults;
use crate::values::{at, items, text};
use consort_object::field_error::FieldError;
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const MOST_CONDITIONS: usize = 64;
pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
pub(super) const REINVOCATION: &[&str] = &["IfNeeded", "Never"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// Check the conditions under which a request is looked at.
pub(super) fn match_conditions(object: &Value, list: &Path<'_>, errors: &mut Errors) {
    let conditions = items(object, &["matchConditions"]);
    if conditions.len() > MOST_CONDITIONS {
        errors.too_many(list, conditions.len(), MOST_CONDITIONS);
    }
    let mut seen = HashSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let place = list.index(index);
        if text(condition, &["expression"]).trim().is_empty() {
            errors.required(&place.field("expression"), "");
        }
        let name = text(condition, &["name"]);
        errors.named(&place.field("name"), name, names::qualified_name);
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&place.field("name"), name);
        }
    }
}

/// Check which requests a rule is about.
pub(super) fn rule(rule: &Value, here: &Path<'_>, errors: &mut Errors) {
    let words = |field: &str| -> Vec<&str> {
        items(rule, &[field])
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    let alone = |words: &[&str]| words.len() < 2 || !words.contains(&"*");
    let operations = words("operations");
    let place = here.field("operations");
    if operations.is_empty() {
        errors.required(&place, "");
    }
    let known = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    if !alone(&operations) {
        errors.invalid(
            &place,
            operations.clone(),
            "if '*' is present, must not specify other operations",
        );
    }
    for (index, operation) in operations.iter().enumerate() {
        errors.supported(&place.index(index), operation, known);
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let values = words(field);
        let place = here.field(field);
        if values.is_empty() {
            errors.required(&place, "");
        }
        if !alone(&values) {
            errors.invalid(
                &place,
                values.clone(),
                format!("if '*' is present, must not specify other {what}"),
            );
        }
        if field == "apiVersions" {
            for (index, version) in values.iter().enumerate() {
                if version.is_empty() {
                    errors.required(&place.index(index), "");
                }
            }
        }
    }
    resources(&words("resources"), &here.field("resources"), errors);
    let scope = text(rule, &["scope"]);
    if !scope.is_empty() {
        errors.supported(&here.field("scope"), scope, SCOPES);
    }
}

fn resources(values: &[&str], here: &Path<'_>, errors: &mut Errors) {
    if values.is_empty() {
        errors.required(here, "");
    }
    // `*/*` covers all, `*/sub` a subresource of every kind, `kind/*` every subresource of a kind.
    for (index, value) in values.iter().enumerate() {
        let place = here.index(index);
        if value.is_empty() {
            errors.required(&place, "");
            continue;
        }
        let Some((kind, sub)) = value.split_once('/') else {
            continue;
        };
        let covered = values.iter().enumerate().find(|(other, wide)| {
            *other != index
                && (**wide == format!("{kind}/*") || **wide == format!("*/{sub}"))
                && *wide != value
        });
        if let Some((_, wide)) = covered {
            let what = format!("if '{wide}' is present, must not specify {value}");
            errors.invalid(&place, *value, what);
        }
    }
    if values.len() > 1 && values.contains(&"*/*") {
        errors.invalid(
            here,
            values.to_vec(),
            "if '*/*' is present, must not specify other resources",
        );
    }
    if values.contains(&"*")
        && values
            .iter()
            .any(|value| *value != "*" && !value.contains('/'))
    {
        errors.invalid(
            here,
            values.to_vec(),
            "if '*' is present, must not specify other resources without subresources",
        );
    }
}

fn match_resources(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    errors.supported(
        &here.field("matchPolicy"),
        text(object, &["matchPolicy"]),
        MATCH_POLICIES,
    );
    for field in ["namespaceSelector", "objectSelector"] {
        match at(object, &[field]) {
            None => errors.required(&here.field(field), ""),
            Some(selector) => label_selector(selector, &here.field(field), errors),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        let list = here.field(field);
        for (index, rule) in items(object, &[field]).iter().enumerate() {
            let place = list.index(index);
            self::rule(rule, &place, errors);
            let names_list = place.field("resourceNames");
            let mut seen = HashSet::new();
            for (index, name) in items(rule, &["resourceNames"]).iter().enumerate() {
                let name = name.as_str().unwrap_or_default();
                errors.check(&names_list.index(index), name, names::path_segment(name));
                if !seen.insert(name) {
                    errors.duplicate(&names_list.index(index), name);
                }
            }
        }
    }
}

/// Check an admission policy.
pub(crate) fn admission_policy(
    object: &Value,
    mutating: bool,
    here: &Path<'_>,
    errors: &mut Errors,
) {
    let here = here.field("spec");
    let spec = &object["spec"];
    let policy = text(spec, &["failurePolicy"]);
    let place = here.field("failurePolicy");
    if policy.is_empty() {
        errors.required(&place, "");
    } else {
        errors.supported(&place, policy, FAILURE_POLICIES);
    }
    if let Some(kind) = at(spec, &["paramKind"]) {
        param_kind(kind, &here.field("paramKind"), errors);
    }
    let place = here.field("matchConstraints");
    match at(spec, &["matchConstraints"]) {
        None => errors.required(&place, ""),
        Some(constraints) => {
            match_resources(constraints, &place, errors);
            if items(constraints, &["resourceRules"]).is_empty() {
                errors.required(&place.field("resourceRules"), "");
            }
        }
    }
    match_conditions(spec, &here.field("matchConditions"), errors);
    variables(spec, &here.field("variables"), errors);
    if mutating {
        mutations(spec, &here, errors);
    } else {
        validations(spec, &here, errors);
    }
    for (path, expression, why) in faults(object, mutating) {
        errors.push(FieldError::invalid(path, expression, why));
    }
}

fn param_kind(kind: &Value, here: &Path<'_>, errors: &mut Errors) {
    let version = text(kind, &["apiVersion"]);
    let place = here.field("apiVersion");
    if version.is_empty() {
        errors.required(&place, "");
    } else {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        errors.optional(&place, group, names::dns1123_subdomain);
        errors.named(&place, version, names::dns1035_label);
    }
    let name = text(kind, &["kind"]);
    let place = here.field("kind");
    if name.is_empty() {
        errors.required(&place, "");
    } else if let Err(why) = names::dns1035_label(&name.to_lowercase()) {
        errors.invalid(
            &place,
            name,
            format!("may have mixed case, but should otherwise match: {why}"),
        );
    }
}

fn variables(spec: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, variable) in items(spec, &["variables"]).iter().enumerate() {
        let place = list.index(index);
        let name = text(variable, &["name"]);
        let field = place.field("name");
        if name.trim().is_empty() {
            errors.required(&field, "name is not specified");
        } else {
            if names::c_identifier(name).is_err() {
                errors.invalid(&field, name, "name is not a valid CEL identifier");
            }
            if !seen.insert(name) {
                errors.duplicate(&field, name);
            }
        }
        if text(variable, &["expression"]).trim().is_empty() {
            errors.required(&place.field("expression"), "expression is not specified");
        }
    }
}

fn validations(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let rules = items(spec, &["validations"]);
    let notes = items(spec, &["auditAnnotations"]);
    if rules.is_empty() && notes.is_empty() {
        for field in ["validations", "auditAnnotations"] {
            errors.required(
                &here.field(field),
                "validations or auditAnnotations must contain at least one item",
            );
        }
        return;
    }
    let list = here.field("validations");
    for (index, rule) in rules.iter().enumerate() {
        let place = list.index(index);
        if text(rule, &["expression"]).trim().is_empty() {
            errors.required(&place.field("expression"), "expression is not specified");
        }
        let message = text(rule, &["message"]);
        let lines = message.contains(['\n', '\r']);
        if !message.is_empty() && message.trim().is_empty() {
            errors.invalid(
                &place.field("message"),
                message,
                "message must be non-empty if specified",
            );
        } else if lines {
            errors.invalid(
                &place.field("message"),
                message,
                "message must not contain line breaks",
            );
        }
        let other = text(rule, &["messageExpression"]);
        if !other.is_empty() && other.trim().is_empty() {
            errors.invalid(
                &place.field("messageExpression"),
                other,
                "must be non-empty if specified",
            );
        }
        if let Some(reason) = at(rule, &["reason"]).and_then(Value::as_str) {
            errors.supported(
                &place.field("reason"),
                reason,
                &[
                    "Forbidden",
                    "Invalid",
                    "RequestEntityTooLarge",
                    "Unauthorized",
                ],
            );
        }
    }
    audit_annotations(notes, &here.field("auditAnnotations"), errors);
}

fn audit_annotations(notes: &[Value], list: &Path<'_>, errors: &mut Errors) {
    if notes.len() > 20 {
        errors.invalid(
            list,
            Value::Array(notes.to_vec()),
            "must not have more than 20 auditAnnotations",
        );
    }
    let mut seen = HashSet::new();
    for (index, note) in notes.iter().enumerate() {
        let place = list.index(index);
        let key = text(note, &["key"]);
        errors.named(&place.field("key"), key, names::qualified_name);
        if !key.is_empty() && !seen.insert(key) {
            errors.duplicate(&place.field("key"), key);
        }
        let value = text(note, &["valueExpression"]);
        if value.trim().is_empty() {
            errors.required(
                &place.field("valueExpression"),
                "valueExpression is not specified",
            );
        } else if value.len() > 5 * 1024 {
            errors.required(
                &place.field("valueExpression"),
                "must not exceed 5120 bytes in length",
            );
        }
    }
}

fn mutations(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, &["reinvocationPolicy"]);
    let place = here.field("reinvocationPolicy");
    if policy.is_empty() {
        errors.required(&place, "");
    } else {
        errors.supported(&place, policy, REINVOCATION);
    }
    let list = here.field("mutations");
    let mutations = items(spec, &["mutations"]);
    if mutations.is_empty() {
        errors.required(&list, "mutations must contain at least one item");
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let place = list.index(index);
        let (apply, patch) = ("applyConfiguration", "jsonPatch");
        let (wanted, other) = match text(mutation, &["patchType"]) {
            "ApplyConfiguration" => (apply, patch),
            "JSONPatch" => (patch, apply),
            kind => {
                errors.supported(
                    &place.field("patchType"),
                    kind,
                    &["ApplyConfiguration", "JSONPatch"],
                );
                continue;
            }
        };
        if at(mutation, &[wanted]).is_none() {
            errors.required(
                &place.field(wanted),
                &format!(
                    "must be specified when patchType is {}",
                    text(mutation, &["patchType"])
                ),
            );
        } else if text(mutation, &[wanted, "expression"]).trim().is_empty() {
            errors.required(
                &place.field(wanted).field("expression"),
                "expression is not specified",
            );
        }
        if at(mutation, &[other]).is_some() {
            errors.invalid(
                &place.field(other),
                "{ value }",
                format!(
                    "must not be specified when patchType is {}",
                    text(mutation, &["patchType"])
                ),
            );
        }
    }
}

/// Check a policy's binding.
pub(crate) fn policy_binding(object: &Value, mutating: bool, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    let policy = text(spec, &["policyName"]);
    errors.named(&here.field("policyName"), policy, names::dns1123_subdomain);
    if let Some(reference) = at(spec, &["paramRef"]) {
        param_ref(reference, &here.field("paramRef"), errors);
    }
    if let Some(resources) = at(spec, &["matchResources"]) {
        match_resources(resources, &here.field("matchResources"), errors);
    }
    if mutating {
        return;
    }
    let list = here.field("validationActions");
    let actions: Vec<&str> = items(spec, &["validationActions"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if actions.is_empty() {
        errors.required(&list, "at least one validation action is required");
    }
    let mut seen = HashSet::new();
    for (index, action) in actions.iter().enumerate() {
        errors.supported(&list.index(index), action, &["Audit", "Deny", "Warn"]);
        if !seen.insert(*action) {
            errors.duplicate(&list.index(index), *action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        errors.invalid(
            &list,
            actions,
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        );
    }
}

fn param_ref(reference: &Value, here: &Path<'_>, errors: &mut Errors) {
    let name = text(reference, &["name"]);
    errors.optional(&here.field("name"), name, names::path_segment);
    let selector = at(reference, &["selector"]);
    if let Some(selector) = selector {
        label_selector(selector, &here.field("selector"), errors);
        if !name.is_empty() {
            errors.forbidden(
                &here.field("name"),
                "name and selector are mutually exclusive",
            );
        }
    } else if name.is_empty() {
        errors.required(here, "one of name or selector must be specified");
    }
    let action = text(reference, &["parameterNotFoundAction"]);
    let place = here.field("parameterNotFoundAction");
    if action.is_empty() {
        errors.required(&place, "");
    } else {
        errors.supported(&place, action, &["Allow", "Deny"]);
    }
}
