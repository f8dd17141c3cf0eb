//! What a custom kind does with its objects.

use super::columns::Columns;
use super::definition::Version;
use crate::error::Failure;
use crate::strategy::{Column, Strategy};
use crate::validation::{self, Errors, Path};
use crate::values::{at, ensure, items};
use consort_object::names;
use consort_object::structural::{default, embedded, lists, validate};
use consort_object::{FieldError, FieldErrorKind};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// Faults with which rules are not run: they count on what they find.
const BLOCKING: [FieldErrorKind; 5] = [
    FieldErrorKind::NotSupported,
    FieldErrorKind::Required,
    FieldErrorKind::TooLong,
    FieldErrorKind::TooMany,
    FieldErrorKind::TypeInvalid,
];

/// The strategy of a custom kind.
pub(super) struct Custom {
    version: Arc<Version>,
    columns: Columns,
}

impl Custom {
    pub(super) fn new(version: Arc<Version>) -> Self {
        let columns = Columns::new(&version.facts().columns);
        Self { version, columns }
    }

    fn check(&self, new: &Value, old: Option<&Value>, part: Option<&str>) -> Vec<FieldError> {
        let parsed = match self.version.parsed() {
            Ok(parsed) => parsed,
            Err(failure) => return vec![unusable(&failure)],
        };
        let schema = &parsed.schema;
        let mut errors = Vec::new();
        match (part, old) {
            (Some(part), _) => {
                if let Some(value) = new.get(part) {
                    let before = old.and_then(|old| old.get(part)).unwrap_or(&Value::Null);
                    errors.extend(validate::update(value, before, &parsed.status, part));
                }
            }
            (None, Some(old)) => errors.extend(validate::update(new, old, schema, "")),
            (None, None) => errors.extend(validate::create(new, schema, "")),
        }
        if let Some(scale) = self.version.scale() {
            if part.is_none() {
                errors.extend(replicas(new, &scale.spec_replicas_path));
            }
            errors.extend(replicas(new, &scale.status_replicas_path));
            if let Some(path) = scale.label_selector_path.as_deref() {
                errors.extend(selector(new, path));
            }
        }
        errors.extend(embedded::validate(new, schema, &mut |meta, place| {
            let mut errors = Errors::default();
            validation::embedded_metadata(meta, &mut errors);
            let mut errors = errors.into_list();
            for error in &mut errors {
                error.field = error.field.replacen("metadata", place, 1);
            }
            errors
        }));
        let was_unique = old.is_none_or(|old| lists::unique(old, schema).is_empty());
        if was_unique {
            errors.extend(lists::unique(new, schema));
        }
        if parsed.rules.is_empty() {
            return errors;
        }
        if errors.iter().any(|error| BLOCKING.contains(&error.kind)) {
            errors.push(FieldError::invalid("<nil>", "null", "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"));
        } else {
            errors.extend(parsed.rules.run(new, old, schema));
        }
        errors
    }
}

fn unusable(failure: &Failure) -> FieldError {
    FieldError::new(
        FieldErrorKind::Internal,
        "<nil>",
        None,
        failure.message.clone(),
    )
}

/// The value at a path such as `.spec.replicas`.
pub(crate) fn at_path<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let steps: Vec<&str> = path.trim_start_matches('.').split('.').collect();
    at(object, &steps)
}

fn replicas(object: &Value, path: &str) -> Option<FieldError> {
    let value = at_path(object, path)?;
    let Some(number) = value.as_i64() else {
        let accessor = format!(".{}", path.trim_start_matches('.'));
        return Some(FieldError::invalid(
            path,
            0,
            format!(
                "{accessor} accessor error: {value} is of the type {}, expected int64",
                go_type(value)
            ),
        ));
    };
    if number < 0 {
        return Some(FieldError::invalid(
            path,
            number,
            "should be a non-negative integer",
        ));
    }
    (number > i64::from(i32::MAX)).then(|| {
        let detail = format!("should be less than or equal to {}", i32::MAX);
        FieldError::invalid(path, number, detail)
    })
}

fn selector(object: &Value, path: &str) -> Option<FieldError> {
    let value = at_path(object, path).filter(|value| !value.is_string())?;
    let accessor = format!(".{}", path.trim_start_matches('.'));
    Some(FieldError::invalid(
        path,
        "",
        format!(
            "{accessor} accessor error: {value} is of the type {}, expected string",
            go_type(value)
        ),
    ))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

impl Strategy for Custom {
    fn default(&self, object: &mut Value) {
        if let Ok(parsed) = self.version.parsed() {
            default::fill(object, &parsed.schema);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if self.version.facts().status {
            crate::values::take(object, "status");
        }
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        // Nothing of the metadata but who manages which field is taken from a write to the status.
        let managed = at(new, &["metadata", "managedFields"]).cloned();
        let revision = at(new, &["metadata", "resourceVersion"]).cloned();
        new["metadata"] = old["metadata"].clone();
        let meta = ensure(new, "metadata");
        for (field, value) in [("managedFields", managed), ("resourceVersion", revision)] {
            match value {
                Some(value) => crate::values::set(meta, field, value),
                None => {
                    crate::values::take(meta, field);
                }
            }
        }
    }

    fn validate(&self, object: &Value, _at: &Path<'_>, errors: &mut Errors) {
        errors.extend(self.check(object, None, None));
    }

    fn validate_update(&self, new: &Value, old: &Value, _at: &Path<'_>, errors: &mut Errors) {
        errors.extend(self.check(new, Some(old), None));
    }

    fn validate_status(&self, new: &Value, old: &Value, _at: &Path<'_>, errors: &mut Errors) {
        errors.extend(self.check(new, Some(old), Some("status")));
    }

    fn wants_more(&self, new: &Value, old: &Value) -> bool {
        let changed = |key: &String| key != "metadata" && new.get(key) != old.get(key);
        let any = |value: &Value| value.as_object().is_some_and(|map| map.keys().any(changed));
        any(new) || any(old)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
        let mut warnings = Vec::new();
        for finalizer in items(object, &["metadata", "finalizers"]) {
            let name = finalizer.as_str().unwrap_or_default();
            if let Err(why) = names::qualified_name(name) {
                warnings.push(format!("metadata.finalizers: {name:?}: {why}"));
            }
            if !name.contains('/') && !STANDARD.contains(&name) {
                let how = if name.contains('.') {
                    " including a path (/)"
                } else {
                    ""
                };
                warnings.push(format!(
                    "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{how} to avoid accidental conflicts with other finalizer writers"
                ));
            }
        }
        warnings
    }

    fn selects(&self, field: &str) -> bool {
        self.version
            .facts()
            .selectable
            .iter()
            .any(|own| own == field)
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        selected(&self.version, object)
    }

    fn columns(&self) -> &[Column] {
        self.columns.headings()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.cells(object, now)
    }
}

/// The values of a version's selectable fields.
pub(super) fn selected(version: &Version, object: &Value) -> Vec<(String, String)> {
    version
        .facts()
        .selectable
        .iter()
        .map(|path| {
            let value = match at_path(object, path) {
                None => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (path.clone(), value)
        })
        .collect()
}
