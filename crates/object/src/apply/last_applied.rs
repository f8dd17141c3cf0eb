//! What is left of client-side applies of `kubectl`: the annotation that remembers the last configuration.

use serde_json::{Map, Value};

use super::compare::compare;
use super::fields::fields_of;
use super::owners::Write;
use super::set::FieldSet;
use super::validate::validate;

/// The manager that the annotation belongs to.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All annotations of an object together may be this long.
const MAX_ANNOTATIONS: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(ANNOTATION)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// The fields that the annotation's configuration set and that still are as it set them.
pub(super) fn fields(write: &Write<'_>, live: &Value) -> Option<FieldSet<'static>> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(write.api_version) {
        return None;
    }
    validate(write.shape, &last, false).ok()?;
    let changed = compare(write.shape, &last, live);
    let kept = fields_of(write.shape, &last)
        .difference(&changed.modified)
        .difference(&changed.added)
        .difference(&changed.removed);
    Some(kept.into_owned())
}

/// Keeps the annotation, where there is one, in step with what is applied now.
pub(super) fn refresh(object: &mut Value, applied: &Value) -> Result<(), String> {
    if annotation(object).is_none() {
        return Ok(());
    }
    let mut remembered = applied.clone();
    if let Some(annotations) = annotations(&mut remembered) {
        annotations.shift_remove(ANNOTATION);
    }
    remembered.sort_all_objects();
    let mut text = serde_json::to_string(&remembered)
        .map_err(|error| format!("failed to build last-applied annotation: {error}"))?;
    text.push('\n');
    if let Some(annotations) = annotations(object) {
        let others: usize = annotations
            .iter()
            .filter(|(key, _)| *key != ANNOTATION)
            .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
            .sum();
        if others + ANNOTATION.len() + text.len() > MAX_ANNOTATIONS {
            annotations.shift_remove(ANNOTATION);
        } else {
            annotations.insert(ANNOTATION.to_owned(), Value::String(text));
        }
    }
    Ok(())
}

fn annotations(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object
        .get_mut("metadata")?
        .get_mut("annotations")?
        .as_object_mut()
}
