//! The versions of a definition: their schemas, subresources and columns.

use super::mentions;
use crate::custom::rules;
use crate::values::{at, flag, items, text};
use consort_object::structural::{Structural, check};
use consort_object::{FieldError, names};
use serde_json::Value;

const COLUMN_TYPES: [&str; 5] = ["integer", "number", "string", "boolean", "date"];

const COLUMN_FORMATS: [&str; 9] = [
    "int32",
    "int64",
    "float",
    "double",
    "byte",
    "date",
    "date-time",
    "password",
    "",
];

/// Where what all versions share is told: above them.
fn shared<'a>(versions: &'a [Value], field: &str) -> Option<&'a Value> {
    let first = versions.first()?.get(field).unwrap_or(&Value::Null);
    versions
        .iter()
        .all(|version| version.get(field).unwrap_or(&Value::Null) == first)
        .then_some(first)
}

pub(super) fn versions(spec: &Value, known: &[&Value], errors: &mut Vec<FieldError>) {
    let versions = items(spec, &["versions"]);
    let has_schema = |version: &Value| at(version, &["schema", "openAPIV3Schema"]).is_some();
    for (index, version) in versions.iter().enumerate() {
        if !has_schema(version) {
            errors.push(FieldError::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "",
            ));
        }
    }
    let preserve = flag(spec, &["preserveUnknownFields"]);
    if preserve
        && versions
            .iter()
            .any(|version| mentions(&version["schema"], "default"))
    {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "must be false in order to use defaults in the schema",
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut storage = 0;
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let place = format!("spec.versions[{index}]");
        let name = text(version, &["name"]);
        storage += usize::from(flag(version, &["storage"]));
        unique &= !seen.contains(&name);
        seen.push(name);
        if let Err(why) = names::dns1035_label(name) {
            errors.push(FieldError::invalid(format!("{place}.name"), name, why));
        }
        deprecation(version, &place, errors);
    }
    schemas(versions, known, errors);
    parts(versions, errors);
    if !unique {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::from(versions.to_vec()),
            "must contain unique version names",
        ));
    }
    if storage != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::from(versions.to_vec()),
            "must have exactly one version marked as storage version",
        ));
    }
}

fn deprecation(version: &Value, place: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let mut wrong = |detail: String| {
        errors.push(FieldError::invalid(
            format!("{place}.deprecationWarning"),
            warning,
            detail,
        ));
    };
    if !flag(version, &["deprecated"]) {
        wrong("can only be set for deprecated versions".into());
        return;
    }
    if warning.len() > 256 {
        wrong("must be <= 256 characters long".into());
    }
    if warning.is_empty() {
        wrong("must not be an empty string".into());
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        wrong(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

/// `known` are the schemas that were accepted before.
fn schemas(versions: &[Value], known: &[&Value], errors: &mut Vec<FieldError>) {
    let has_status = |version: &Value| at(version, &["subresources", "status"]).is_some();
    let mut one = |schema: &Value, place: &str, status: bool| {
        let Some(props) = at(schema, &["openAPIV3Schema"]) else {
            return;
        };
        let place = format!("{place}.openAPIV3Schema");
        let found = check::schema(props, &place, status);
        if found.is_empty() {
            // Rules over a schema that is wrong are wrong in ways that tell nothing.
            let accepted = known.contains(&props);
            errors.extend(rules::check(props, &place, accepted));
        }
        errors.extend(found);
    };
    if let Some(schema) = shared(versions, "schema") {
        one(schema, "spec.validation", versions.iter().any(has_status));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        let place = format!("spec.versions[{index}].schema");
        one(&version["schema"], &place, has_status(version));
    }
}

/// A check of a part of a version: the part, the version, and where the part stands.
type PartCheck<'c> = &'c dyn Fn(&Value, &Value, &str, &mut Vec<FieldError>);

/// Subresources, columns, selectable fields.
fn parts(versions: &[Value], errors: &mut Vec<FieldError>) {
    let mut each =
        |field: &str, check: PartCheck<'_>| match (shared(versions, field), versions.first()) {
            (Some(value), Some(first)) => check(value, first, &format!("spec.{field}"), errors),
            _ => {
                for (index, version) in versions.iter().enumerate() {
                    let place = format!("spec.versions[{index}].{field}");
                    check(&version[field], version, &place, errors);
                }
            }
        };
    each("subresources", &|value, _, place, errors| {
        if let Some(scale) = at(value, &["scale"]) {
            check_scale(scale, place, errors);
        }
    });
    each("additionalPrinterColumns", &|value, _, place, errors| {
        for (index, column) in items(value, &[]).iter().enumerate() {
            check_column(column, &format!("{place}[{index}]"), errors);
        }
    });
    each("selectableFields", &|value, version, place, errors| {
        let fields = items(value, &[]);
        if fields.is_empty() {
            return;
        }
        if let Some(props) = at(version, &["schema", "openAPIV3Schema"])
            && let Ok(schema) = Structural::parse(props)
        {
            errors.extend(check::selectable(fields, &schema, place));
        }
    });
}

fn simple_path(path: &str, place: String, errors: &mut Vec<FieldError>) -> bool {
    if path.starts_with('.') {
        return true;
    }
    errors.push(FieldError::invalid(
        place,
        path,
        "must be a simple json path starting with .",
    ));
    false
}

fn check_scale(scale: &Value, place: &str, errors: &mut Vec<FieldError>) {
    for (field, under) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let at = format!("{place}.scale.{field}");
        let path = text(scale, &[field]);
        if path.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if simple_path(path, at.clone(), errors) && !path.starts_with(under) {
            let detail = format!(
                "should be a json path under {}",
                under.trim_end_matches('.')
            );
            errors.push(FieldError::invalid(at, path, detail));
        }
    }
    let path = text(scale, &["labelSelectorPath"]);
    let at = format!("{place}.scale.labelSelectorPath");
    if !path.is_empty()
        && simple_path(path, at.clone(), errors)
        && !path.starts_with(".spec.")
        && !path.starts_with(".status.")
    {
        errors.push(FieldError::invalid(
            at,
            path,
            "should be a json path under either .spec or .status",
        ));
    }
}

fn check_column(column: &Value, place: &str, errors: &mut Vec<FieldError>) {
    if text(column, &["name"]).is_empty() {
        errors.push(FieldError::required(format!("{place}.name"), ""));
    }
    let mut types = COLUMN_TYPES;
    types.sort_unstable();
    let detail = format!("must be one of {}", types.join(","));
    let kind = text(column, &["type"]);
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{place}.type"), detail));
    } else if !types.contains(&kind) {
        errors.push(FieldError::invalid(format!("{place}.type"), kind, detail));
    }
    let format = text(column, &["format"]);
    if !COLUMN_FORMATS.contains(&format) {
        let mut formats: Vec<&str> = COLUMN_FORMATS
            .into_iter()
            .filter(|format| !format.is_empty())
            .collect();
        formats.sort_unstable();
        errors.push(FieldError::invalid(
            format!("{place}.format"),
            format,
            format!("must be one of {}", formats.join(",")),
        ));
    }
    let path = text(column, &["jsonPath"]);
    if path.is_empty() {
        errors.push(FieldError::required(format!("{place}.JSONPath"), ""));
    } else {
        simple_path(path, format!("{place}.JSONPath"), errors);
    }
}
