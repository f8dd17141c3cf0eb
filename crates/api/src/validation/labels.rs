//! Labels and label selectors.

use super::{Errors, Path};
use crate::values::{items, members, text};
use consort_object::names;
use serde_json::Value;

/// Check a map of labels.
pub(crate) fn labels(value: &Value, at: &Path<'_>, errors: &mut Errors) {
    for (key, value) in members(value, &[]) {
        errors.check(at, key, names::qualified_name(key));
        if let Some(value) = value.as_str() {
            errors.check(at, value, names::label_value(value));
        }
    }
}

/// Check a `LabelSelector`.
pub(crate) fn label_selector(selector: &Value, at: &Path<'_>, errors: &mut Errors) {
    if let Some(labels_value) = selector.get("matchLabels") {
        labels(labels_value, &at.field("matchLabels"), errors);
    }
    let list = at.field("matchExpressions");
    for (index, expression) in items(selector, &["matchExpressions"]).iter().enumerate() {
        requirement(expression, &list.index(index), errors);
    }
}

fn requirement(expression: &Value, at: &Path<'_>, errors: &mut Errors) {
    let values = items(expression, &["values"]);
    match text(expression, &["operator"]) {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(
                    &at.field("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(
                    &at.field("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        other => errors.invalid(
            &at.field("operator"),
            other,
            "not a valid selector operator",
        ),
    }
    let key = text(expression, &["key"]);
    errors.check(&at.field("key"), key, names::qualified_name(key));
    let list = at.field("values");
    for (index, value) in values.iter().enumerate() {
        if let Some(value) = value.as_str() {
            errors.check(&list.index(index), value, names::label_value(value));
        }
    }
}
