//! JSON Schema.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use regorus::Value;

use super::{Failure, Function, Outcome, array, object, operand, string, wrong};
use crate::engine::Document;

pub(super) const FUNCTIONS: &[Function] = &[
    ("json.match_schema", 2, match_schema),
    ("json.verify_schema", 1, verify_schema),
];

/// A document or a schema: an object, or its text.
fn document(operands: &[Value], at: usize) -> Result<serde_json::Value, Failure> {
    match operand(operands, at) {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| Failure::Other(error.to_string()))
        }
        value @ Value::Object(_) => Ok(Document::of(value.clone()).json()),
        _ => Err(wrong(operands, at, "one of {string, object}")),
    }
}

/// The types a schema may name.
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "number", "null", "object", "string",
];

/// The first place of a schema that names a type there is not.
fn unknown_type(schema: &serde_json::Value) -> Option<String> {
    match schema {
        serde_json::Value::Object(fields) => {
            if let Some(serde_json::Value::String(name)) = fields.get("type")
                && !TYPES.contains(&name.as_str())
            {
                return Some(name.clone());
            }
            fields.values().find_map(unknown_type)
        }
        serde_json::Value::Array(items) => items.iter().find_map(unknown_type),
        _ => None,
    }
}

fn verify_schema(operands: &[Value]) -> Outcome {
    let schema = match document(operands, 0) {
        Ok(schema) => schema,
        Err(Failure::Other(why)) => {
            return Ok(array([
                Value::from(false),
                string(format!("jsonschema: {why}")),
            ]));
        }
        Err(failure) => return Err(failure),
    };
    let why = unknown_type(&schema)
        .map(|name| {
            let listed = TYPES.join(" ");
            format!("has a primitive type that is NOT VALID -- given: /{name}/ Expected valid values are:[{listed}]")
        })
        .or_else(|| jsonschema::validator_for(&schema).err().map(|error| error.to_string()));
    Ok(match why {
        Some(why) => array([Value::from(false), string(format!("jsonschema: {why}"))]),
        None => array([Value::from(true), Value::Null]),
    })
}

fn match_schema(operands: &[Value]) -> Outcome {
    let instance = document(operands, 0)?;
    let schema = document(operands, 1)?;
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| Failure::Other(format!("jsonschema: {error}")))?;
    let errors: Vec<Value> = validator
        .iter_errors(&instance)
        .map(|error| {
            let path = error.instance_path().to_string();
            let field = if path.is_empty() {
                "(root)".to_owned()
            } else {
                path.trim_start_matches('/').replace('/', ".")
            };
            let (kind, description) = say(&error, &field);
            object([
                ("error", string(format!("{field}: {description}"))),
                ("type", string(kind)),
                ("field", string(field)),
                ("desc", string(description)),
            ])
        })
        .collect();
    Ok(array([Value::from(errors.is_empty()), Value::from(errors)]))
}

fn json_type(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(number) if number.is_f64() => "number",
        serde_json::Value::Number(_) => "integer",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}

/// The kind and the words that OPA's library of schemas uses, for the rules that are broken most.
fn say(error: &jsonschema::ValidationError<'_>, field: &str) -> (String, String) {
    use ValidationErrorKind as Broken;
    let name = field.rsplit('.').next().unwrap_or(field);
    match error.kind() {
        Broken::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(kind) => kind.to_string(),
                TypeKind::Multiple(kinds) => kinds
                    .iter()
                    .map(|kind| kind.to_string())
                    .collect::<Vec<_>>()
                    .join("/"),
            };
            (
                "invalid_type".to_owned(),
                format!(
                    "Invalid type. Expected: {expected}, given: {}",
                    json_type(error.instance())
                ),
            )
        }
        Broken::Required { property } => (
            "required".to_owned(),
            format!("{} is required", property.as_str().unwrap_or_default()),
        ),
        Broken::AdditionalProperties { unexpected } => (
            "additional_property_not_allowed".to_owned(),
            format!(
                "Additional property {} is not allowed",
                unexpected.first().map_or("", String::as_str)
            ),
        ),
        Broken::Enum { options } => {
            let options: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect();
            (
                "enum".to_owned(),
                format!(
                    "{name} must be one of the following: {}",
                    options.join(", ")
                ),
            )
        }
        Broken::Pattern { pattern } => (
            "pattern".to_owned(),
            format!("Does not match pattern '{pattern}'"),
        ),
        Broken::Format { format } => (
            "format".to_owned(),
            format!("Does not match format '{format}'"),
        ),
        Broken::MinLength { limit } => (
            "string_gte".to_owned(),
            format!("String length must be greater than or equal to {limit}"),
        ),
        Broken::MaxLength { limit } => (
            "string_lte".to_owned(),
            format!("String length must be less than or equal to {limit}"),
        ),
        Broken::MinItems { limit } => (
            "array_min_items".to_owned(),
            format!("Array must have at least {limit} items"),
        ),
        Broken::MaxItems { limit } => (
            "array_max_items".to_owned(),
            format!("Array must have at most {limit} items"),
        ),
        Broken::Minimum { limit } => (
            "number_gte".to_owned(),
            format!("Must be greater than or equal to {limit}"),
        ),
        Broken::Maximum { limit } => (
            "number_lte".to_owned(),
            format!("Must be less than or equal to {limit}"),
        ),
        Broken::ExclusiveMinimum { limit } => (
            "number_gt".to_owned(),
            format!("Must be greater than {limit}"),
        ),
        Broken::ExclusiveMaximum { limit } => {
            ("number_lt".to_owned(), format!("Must be less than {limit}"))
        }
        Broken::MultipleOf { multiple_of } => (
            "multiple_of".to_owned(),
            format!("Must be a multiple of {multiple_of}"),
        ),
        Broken::UniqueItems => ("unique".to_owned(), format!("{name} items must be unique")),
        Broken::AnyOf { .. } => (
            "number_any_of".to_owned(),
            "Must validate at least one schema (anyOf)".to_owned(),
        ),
        Broken::OneOfNotValid { .. } | Broken::OneOfMultipleValid { .. } => (
            "number_one_of".to_owned(),
            "Must validate one and only one schema (oneOf)".to_owned(),
        ),
        Broken::Not { .. } => (
            "number_not".to_owned(),
            "Must not validate the schema (not)".to_owned(),
        ),
        Broken::Constant { expected_value } => (
            "const".to_owned(),
            format!("{name} does not match: {expected_value}"),
        ),
        kind => (kind.keyword().to_owned(), error.to_string()),
    }
}
