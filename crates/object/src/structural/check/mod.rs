//! Checking a schema itself: is it structural, are its defaults good, does it use only what it may?

mod fields;
mod props;
mod structure;

pub use fields::{at_path, selectable};
pub use props::is_uncorrelatable;

use super::{Place, Structural, default, embedded, prune, validate};
use crate::field_error::FieldError;
use serde_json::Value;

/// The fields that a root schema may have beside a status subresource, in upstream's words.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "XPreserveUnknownFields",
    ),
    ("x-kubernetes-validations", "XValidations"),
];

/// Check the schema of a version (`JSONSchemaProps` in canonical form). `at` is where it stands; `status`:
/// the version has a status subresource. `x-kubernetes-validations` are looked at as texts only.
pub fn schema(props: &Value, at: &str, status: bool) -> Vec<FieldError> {
    let place = Place::Base(at);
    let mut errors = Vec::new();
    if status {
        root_fields(props, &place, &mut errors);
    }
    if super::schema::flag(props, "nullable") {
        errors.push(FieldError::forbidden(
            place.field("nullable").to_string(),
            "nullable cannot be true at the root",
        ));
    }
    let mut unparsed = None;
    match Structural::parse(props) {
        Err(why) => unparsed = Some(FieldError::invalid(at, "", why)),
        Ok(parsed) => {
            let structural = structure::check(props, &place);
            if structural.is_empty() {
                errors.extend(defaults(&parsed, &place));
            } else {
                errors.extend(structural);
            }
        }
    }
    props::check(props, &place, &mut errors);
    if errors.is_empty() {
        // What is not supported at all was told above in better words, if it was.
        errors.extend(unparsed);
    }
    errors
}

fn root_fields(props: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let Some(map) = props.as_object() else {
        return;
    };
    for (name, value) in map {
        if value.is_null() || *value == Value::Bool(false) {
            continue;
        }
        if name == "type" {
            if value != "object" {
                errors.push(FieldError::invalid(
                    place.field("type").to_string(),
                    value.clone(),
                    "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
                ));
                return;
            }
            continue;
        }
        if !AT_ROOT.iter().any(|(own, _)| own == name) {
            let names: Vec<&str> = AT_ROOT.iter().map(|(_, shown)| *shown).collect();
            errors.push(FieldError::invalid(
                place.to_string(),
                props.clone(),
                format!(
                    "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                    names.join(" ")
                ),
            ));
            return;
        }
    }
}

/// Check every default against the schema it stands in.
fn defaults(schema: &Structural, place: &Place<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    each_default(schema, place, false, true, &mut errors);
    errors
}

fn each_default(
    schema: &Structural,
    place: &Place<'_>,
    mut inside_meta: bool,
    root: bool,
    errors: &mut Vec<FieldError>,
) {
    if !schema.defaults_within {
        return;
    }
    if schema.embedded {
        inside_meta = false;
    }
    if let Some(value) = &schema.default {
        let place = place.field("default");
        one_default(value, schema, &place, inside_meta, errors);
    }
    if let Some(items) = schema.items.as_deref() {
        let place = place.field("items");
        each_default(items, &place, inside_meta, false, errors);
    }
    let below = place.field("properties");
    for (name, property) in &schema.properties {
        let meta = (root || schema.embedded) && super::META_FIELDS.contains(&name.as_ref());
        let place = below.key(name);
        each_default(property, &place, inside_meta || meta, false, errors);
    }
}

fn one_default(
    value: &Value,
    schema: &Structural,
    place: &Place<'_>,
    inside_meta: bool,
    errors: &mut Vec<FieldError>,
) {
    let at = place.to_string();
    if !inside_meta {
        let mut pruned = value.clone();
        prune::unknown(&mut pruned, schema, schema.embedded);
        if pruned != *value {
            errors.push(FieldError::invalid(
                at.as_str(),
                value.clone(),
                "must not have unknown fields",
            ));
        }
        let mut coerced = value.clone();
        if let Err(error) = embedded::coerce(&mut coerced, schema) {
            errors.push(under(*error, &at));
            return;
        }
        let wrong = embedded::validate(value, schema, &mut |_, _| Vec::new());
        if !wrong.is_empty() {
            errors.extend(wrong.into_iter().map(|error| under(error, &at)));
            return;
        }
    }
    // Defaults within a default are filled in before anything is checked against it.
    let mut filled = value.clone();
    default::fill(&mut filled, schema);
    errors.extend(validate::create(value, schema, &at));
}

/// The same error at a place further down.
fn under(mut error: FieldError, base: &str) -> FieldError {
    error.field = if error.field.starts_with('[') || error.field.is_empty() {
        format!("{base}{}", error.field)
    } else {
        format!("{base}.{}", error.field)
    };
    error
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // values made at the call
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(props: Value) -> Vec<String> {
        schema(&props, "s", false)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn spec(props: Value) -> Vec<String> {
        errors(json!({"type": "object", "properties": {"spec": props}}))
    }

    #[test]
    fn schemas_that_are_not_structural_are_refused_in_upstreams_words() {
        for (props, want) in [
            (
                json!({}),
                "s.properties[spec].type: Required value: must not be empty for specified object fields",
            ),
            (
                json!({"type": "array"}),
                "s.properties[spec].items: Required value: must be specified",
            ),
            (
                json!({"type": "array", "items": {}}),
                "s.properties[spec].items.type: Required value: must not be empty for specified array items",
            ),
            (
                json!({"type": "object", "anyOf": [{"type": "object"}]}),
                "s.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural",
            ),
            (
                json!({"type": "object", "not": {"description": "x"}}),
                "s.properties[spec].not.description: Forbidden: must be empty to be structural",
            ),
            (
                json!({"type": "string", "pattern": "[a"}),
                r#"s.properties[spec].pattern: Invalid value: "[a": must be a valid regular expression, but isn't: error parsing regexp: missing closing ]: `[a`"#,
            ),
            (
                json!({"type": "foo"}),
                r#"s.properties[spec].type: Unsupported value: "foo": supported values: "array", "boolean", "integer", "number", "object", "string""#,
            ),
            (
                json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
                "s.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"a": {"type": "string"}}}),
                "s.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ),
            (
                json!({"type": "string", "default": 1}),
                r#"s.properties[spec].default: Invalid value: "integer":  in body must be of type string: "integer""#,
            ),
            (
                json!({"type": "object", "default": {"x": 1}}),
                r#"s.properties[spec].default: Invalid value: {"x":1}: must not have unknown fields"#,
            ),
            (
                json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}, "x-kubernetes-list-type": "map"}),
                "s.properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ),
            (
                json!({"type": "string", "$ref": "#/x"}),
                "s.properties[spec].$ref: Forbidden: $ref is not supported",
            ),
        ] {
            let found = spec(props.clone());
            assert_eq!(found, [want], "{props}");
        }
        assert_eq!(
            errors(json!({})),
            ["s.type: Required value: must not be empty at the root"]
        );
        assert_eq!(
            errors(json!({"type": "object", "allOf": [{"properties": {"a": {"minimum": 1}}}]})),
            ["s.properties[a]: Required value: because it is defined in s.allOf[0].properties[a]"]
        );
    }

    #[test]
    fn int_or_string_may_be_written_in_both_ways() {
        for props in [
            json!({"x-kubernetes-int-or-string": true}),
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}]}),
        ] {
            assert_eq!(spec(props), [""; 0]);
        }
    }
}
