//! Does a schema use only what custom resources may use, and use it rightly?

use super::super::schema::{flag, flag_of, strings};
use super::super::{META_FIELDS, Place, Structural};
use super::fields;
use crate::field_error::FieldError;
use serde_json::Value;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// What holds for everything below a place.
#[derive(Clone, Copy, Default)]
struct Within<'a> {
    no_defaults: Option<&'a str>,
    meta: bool,
}

pub(super) fn check(props: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    node(props, place, true, Within::default(), errors);
}

fn text<'a>(props: &'a Value, name: &str) -> &'a str {
    props.get(name).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(props: &'a Value, name: &str) -> &'a [Value] {
    props
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn object<'a>(props: &'a Value, name: &str) -> Option<&'a Value> {
    props.get(name).filter(|value| value.is_object())
}

/// Can the rules below this schema not be given the old value: is it a list without keys, or one value?
pub fn is_uncorrelatable(props: &Value) -> bool {
    (object(props, "items").is_some() && text(props, "x-kubernetes-list-type") != "map")
        || (object(props, "properties").is_some()
            && text(props, "x-kubernetes-map-type") == "atomic")
}

fn node(
    props: &Value,
    place: &Place<'_>,
    root: bool,
    within: Within<'_>,
    errors: &mut Vec<FieldError>,
) {
    allowed(props, place, within, errors);
    if flag(props, "uniqueItems") {
        errors.push(FieldError::forbidden(
            place.field("uniqueItems").to_string(),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    let properties = props.get("properties").and_then(Value::as_object);
    match props.get("additionalProperties") {
        None | Some(Value::Null) => {}
        Some(additional) => {
            let place = place.field("additionalProperties");
            if properties.is_some_and(|all| !all.is_empty()) && *additional != Value::Bool(true) {
                errors.push(FieldError::forbidden(
                    place.to_string(),
                    "additionalProperties and properties are mutual exclusive",
                ));
            }
            if additional.is_object() {
                let mut within = within;
                if within.meta {
                    within.no_defaults =
                        Some("inside additionalProperties applying to object metadata");
                }
                node(additional, &place, false, within, errors);
            }
        }
    }
    let below = place.field("properties");
    for (name, property) in properties.into_iter().flatten() {
        let mut within = within;
        let reason;
        if (root || flag(props, "x-kubernetes-embedded-resource"))
            && META_FIELDS.contains(&name.as_str())
        {
            within.meta = true;
            if root {
                reason = format!("in top-level {name}");
                within.no_defaults = Some(&reason);
            }
            node(property, &below.key(name), false, within, errors);
            continue;
        }
        node(property, &below.key(name), false, within, errors);
    }
    if let Some(not) = object(props, "not") {
        node(not, &place.field("not"), false, within, errors);
    }
    for name in ["allOf", "oneOf", "anyOf"] {
        let place = place.field(name);
        for (index, schema) in list(props, name).iter().enumerate() {
            node(schema, &place.index(index), false, within, errors);
        }
    }
    if let Some(items) = object(props, "items") {
        node(items, &place.field("items"), false, within, errors);
    }
    if flag_of(props, "x-kubernetes-preserve-unknown-fields") == Some(false) {
        errors.push(FieldError::invalid(
            place
                .field("x-kubernetes-preserve-unknown-fields")
                .to_string(),
            false,
            "must be true or undefined",
        ));
    }
    types(props, place, errors);
    lists(props, place, errors);
    rules(props, place, errors);
}

fn allowed(props: &Value, place: &Place<'_>, within: Within<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(props, "type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(
            place.field("type").to_string(),
            kind,
            &TYPES,
        ));
    }
    let mut forbid = |name: &str, detail: &str| {
        errors.push(FieldError::forbidden(place.field(name).to_string(), detail));
    };
    let set = |name: &str| props.get(name).is_some_and(|value| !value.is_null());
    let filled = |name: &str| match props.get(name) {
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        _ => false,
    };
    if let Some(reason) = within.no_defaults
        && set("default")
    {
        forbid("default", &format!("must not be set {reason}"));
    }
    if filled("id") {
        forbid("id", "id is not supported");
    }
    for name in ["additionalItems", "dependencies", "$ref"] {
        if set(name) {
            forbid(name, &format!("{name} is not supported"));
        }
    }
    for name in ["patternProperties", "definitions"] {
        if filled(name) {
            forbid(name, &format!("{name} is not supported"));
        }
    }
    if kind == "null" {
        forbid(
            "type",
            "type cannot be set to null, use nullable as an alternative",
        );
    }
    if props.get("items").is_some_and(Value::is_array) {
        forbid("items", "items must be a schema object and not an array");
    }
    if within.meta && flag(props, "x-kubernetes-embedded-resource") {
        forbid(
            "x-kubernetes-embedded-resource",
            "must not be used inside of resource meta",
        );
    }
}

fn types(props: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(props, "type");
    for (name, wanted, values) in [
        (
            "x-kubernetes-map-type",
            "object",
            &["atomic", "granular"][..],
        ),
        (
            "x-kubernetes-list-type",
            "array",
            &["atomic", "set", "map"][..],
        ),
    ] {
        let Some(own) = props.get(name).and_then(Value::as_str) else {
            continue;
        };
        if kind != wanted {
            let at = place.field("type").to_string();
            let detail = format!("must be {wanted} if {name} is specified");
            errors.push(if kind.is_empty() {
                FieldError::required(at, detail)
            } else {
                FieldError::invalid(at, kind, detail)
            });
        } else if own == "set"
            && let Some(items) = object(props, "items")
        {
            set_items(items, &place.field("items"), errors);
        }
        if !values.contains(&own) {
            errors.push(FieldError::not_supported(
                place.field(name).to_string(),
                own,
                values,
            ));
        }
    }
}

/// The items of a set are compared whole.
fn set_items(items: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let (name, wrong) = match text(items, "type") {
        "array" => {
            let own = text(items, "x-kubernetes-list-type");
            ("x-kubernetes-list-type", !matches!(own, "" | "atomic"))
        }
        "object" => {
            let own = text(items, "x-kubernetes-map-type");
            ("x-kubernetes-map-type", own != "atomic")
        }
        _ => return,
    };
    if wrong {
        let own = items
            .get("x-kubernetes-list-type")
            .cloned()
            .unwrap_or(Value::Null);
        errors.push(FieldError::invalid(
            place.field(name).to_string(),
            own,
            DETAIL,
        ));
    }
}

fn lists(props: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    const DETAIL: &str = "must be map if x-kubernetes-list-map-keys is non-empty";
    let own = text(props, "x-kubernetes-list-type");
    let keys = strings(props, "x-kubernetes-list-map-keys");
    let key_place = place.field("x-kubernetes-list-map-keys");
    if !keys.is_empty() && own != "map" {
        let at = place.field("x-kubernetes-list-type").to_string();
        errors.push(if own.is_empty() {
            FieldError::required(at, DETAIL)
        } else {
            FieldError::invalid(at, own, DETAIL)
        });
    }
    let items = object(props, "items");
    let item_place = place.field("items");
    if own == "map" {
        if keys.is_empty() {
            errors.push(FieldError::required(
                key_place.to_string(),
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
        match items {
            None => errors.push(FieldError::required(
                item_place.to_string(),
                "must have a schema if x-kubernetes-list-type is map",
            )),
            Some(items) if text(items, "type") != "object" => {
                errors.push(FieldError::invalid(
                    item_place.field("type").to_string(),
                    text(items, "type"),
                    "must be object if parent array's x-kubernetes-list-type is map",
                ));
            }
            Some(items) => map_keys(items, &keys, &key_place, &item_place, errors),
        }
    }
    if let Some(items) = items.filter(|_| own == "map" || own == "set") {
        required_keys(items, own, &keys, &item_place, errors);
    }
}

fn map_keys(
    items: &Value,
    keys: &[String],
    key_place: &Place<'_>,
    item_place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    let wrong = |detail: &str| {
        FieldError::invalid(key_place.to_string(), Value::from(keys.to_vec()), detail)
    };
    let below = item_place.field("properties");
    for (index, key) in keys.iter().enumerate() {
        match items.get("properties").and_then(|all| all.get(key)) {
            None => errors.push(wrong("entries must all be names of item properties")),
            Some(schema) if matches!(text(schema, "type"), "array" | "object") => {
                errors.push(FieldError::invalid(
                    below.key(key).field("type").to_string(),
                    text(items, "type"),
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                ));
            }
            Some(_) => {}
        }
        if keys[..index].contains(key) {
            errors.push(wrong("must not contain duplicate entries"));
        }
    }
}

fn required_keys(
    items: &Value,
    own: &str,
    keys: &[String],
    item_place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if flag(items, "nullable") {
        errors.push(FieldError::forbidden(
            item_place.field("nullable").to_string(),
            format!("cannot be nullable when x-kubernetes-list-type is {own}"),
        ));
    }
    if own != "map" {
        return;
    }
    let required = strings(items, "required");
    let below = item_place.field("properties");
    for key in keys {
        let Some(schema) = items.get("properties").and_then(|all| all.get(key)) else {
            continue;
        };
        let has_default = schema.get("default").is_some_and(|value| !value.is_null());
        if !required.contains(key) && !has_default {
            errors.push(FieldError::required(
                below.key(key).field("default").to_string(),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ));
        }
        if flag(schema, "nullable") {
            errors.push(FieldError::forbidden(
                below.key(key).field("nullable").to_string(),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            ));
        }
    }
}

fn rules(props: &Value, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let place = place.field("x-kubernetes-validations");
    let breaks = |text: &str| text.contains(['\n', '\r']);
    for (index, rule) in list(props, "x-kubernetes-validations").iter().enumerate() {
        let at = place.index(index);
        let (expression, message) = (text(rule, "rule"), text(rule, "message"));
        let (trimmed, told) = (expression.trim(), message.trim());
        let mut push = |error| errors.push(error);
        if trimmed.is_empty() {
            push(FieldError::required(
                at.field("rule").to_string(),
                "rule is not specified",
            ));
        } else if !message.is_empty() && told.is_empty() {
            push(FieldError::invalid(
                at.field("message").to_string(),
                message,
                "must be non-empty if specified",
            ));
        } else if breaks(told) {
            push(FieldError::invalid(
                at.field("message").to_string(),
                message,
                "must not contain line breaks",
            ));
        } else if breaks(trimmed) && told.is_empty() {
            push(FieldError::required(
                at.field("message").to_string(),
                "message must be specified if rule contains line breaks",
            ));
        }
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            push(FieldError::required(
                at.field("messageExpression").to_string(),
                "messageExpression must be non-empty if specified",
            ));
        }
        if let Some(reason) = rule.get("reason").and_then(Value::as_str)
            && !REASONS.contains(&reason)
        {
            push(FieldError::not_supported(
                at.field("reason").to_string(),
                reason,
                &REASONS,
            ));
        }
        let path = text(rule, "fieldPath");
        if path.is_empty() {
            continue;
        }
        let field = at.field("fieldPath").to_string();
        if path.trim().is_empty() {
            push(FieldError::invalid(
                field.as_str(),
                path,
                "must be non-empty if specified",
            ));
        }
        if breaks(path) {
            push(FieldError::invalid(
                field.as_str(),
                path,
                "must not contain line breaks",
            ));
        }
        if Structural::parse(props)
            .is_ok_and(|schema| fields::at_path(&schema, path, true).is_err())
        {
            push(FieldError::invalid(field, path, "must be a valid path"));
        }
    }
}
