//! Is a schema structural: does every value have one type, told outside of `allOf`, `anyOf`, `oneOf`, `not`?

use super::super::schema::{flag, flag_of};
use super::super::{Place, pattern};
use crate::field_error::FieldError;
use serde_json::{Map, Value};

const EMPTY: &str = "must be empty to be structural";
const UNDEFINED: &str = "must be undefined to be structural";
const FALSE: &str = "must be false to be structural";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, sorted.
pub(super) fn check(props: &Value, place: &Place<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    invariants(props, Level::Root, place, &mut errors);
    complete(props, Some(props), place, place, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn kind(props: &Value) -> &str {
    props.get("type").and_then(Value::as_str).unwrap_or("")
}

fn object<'a>(props: &'a Value, name: &str) -> Option<&'a Value> {
    props.get(name).filter(|value| value.is_object())
}

fn members<'a>(props: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    props
        .get(name)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn list<'a>(props: &'a Value, name: &str) -> &'a [Value] {
    props
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn has_additional(props: &Value) -> bool {
    props
        .get("additionalProperties")
        .is_some_and(|value| !value.is_null())
}

fn invariants(props: &Value, level: Level, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let required = |errors: &mut Vec<FieldError>, name: &str, detail: &str| {
        errors.push(FieldError::required(place.field(name).to_string(), detail));
    };
    let items = object(props, "items");
    if kind(props) == "array" && items.is_none() {
        required(errors, "items", "must be specified");
    }
    if let Some(items) = items {
        invariants(items, Level::Item, &place.field("items"), errors);
    }
    let below = place.field("properties");
    for (name, property) in members(props, "properties") {
        invariants(property, Level::Field, &below.key(name), errors);
    }
    let embedded = flag(props, "x-kubernetes-embedded-resource");
    let preserve = flag(props, "x-kubernetes-preserve-unknown-fields");
    let int_or_string = flag(props, "x-kubernetes-int-or-string");
    if has_additional(props) {
        let place = place.field("additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(
                place.to_string(),
                "must not be used at the root",
            ));
        }
        if let Some(additional) = object(props, "additionalProperties") {
            invariants(additional, Level::Field, &place, errors);
        }
    }
    for (set, name, value) in [
        (preserve, "x-kubernetes-preserve-unknown-fields", preserve),
        (embedded, "x-kubernetes-embedded-resource", embedded),
    ] {
        if int_or_string && set {
            errors.push(FieldError::invalid(
                place.field(name).to_string(),
                value,
                "must be false if x-kubernetes-int-or-string is true",
            ));
        }
    }
    let all_of = list(props, "allOf");
    let first = all_of.first().map_or(&[][..], |first| list(first, "anyOf"));
    values(
        props,
        is_int_or_string(list(props, "anyOf")),
        is_int_or_string(first),
        level,
        place,
        errors,
    );
    typed(props, level, place, errors);
    if embedded && has_additional(props) {
        errors.push(FieldError::forbidden(
            place.field("additionalProperties").to_string(),
            "must not be used if x-kubernetes-embedded-resource is set",
        ));
    }
    if level == Level::Root && !kind(props).is_empty() && kind(props) != "object" {
        errors.push(FieldError::invalid(
            place.field("type").to_string(),
            kind(props),
            "must be object at the root",
        ));
    }
    meta(props, level, place, errors);
    if embedded && !preserve && members(props, "properties").next().is_none() {
        required(
            errors,
            "properties",
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
}

fn typed(props: &Value, level: Level, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let at = place.field("type");
    let embedded = flag(props, "x-kubernetes-embedded-resource");
    let free = flag(props, "x-kubernetes-preserve-unknown-fields")
        || flag(props, "x-kubernetes-int-or-string");
    let kind = kind(props);
    if embedded && kind != "object" {
        const DETAIL: &str = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            FieldError::required(at.to_string(), DETAIL)
        } else {
            FieldError::invalid(at.to_string(), kind, DETAIL)
        });
    } else if kind.is_empty() && !free {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(at.to_string(), detail));
    }
}

/// What is said of `apiVersion`, `kind` and `metadata` must be what they are anyway.
fn meta(props: &Value, level: Level, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let whole = level == Level::Root || flag(props, "x-kubernetes-embedded-resource");
    let below = place.field("properties");
    let property = |name: &str| props.get("properties").and_then(|all| all.get(name));
    for name in ["kind", "apiVersion"] {
        if let Some(schema) = property(name).filter(|_| whole)
            && kind(schema) != "string"
        {
            errors.push(FieldError::invalid(
                below.key(name).field("type").to_string(),
                kind(schema),
                "must be string",
            ));
        }
    }
    let Some(metadata) = property("metadata") else {
        return;
    };
    let place = below.key("metadata");
    if whole && kind(metadata) != "object" {
        errors.push(FieldError::invalid(
            place.field("type").to_string(),
            kind(metadata),
            "must be object",
        ));
    }
    if level != Level::Root {
        return;
    }
    let named_only = |map: &Map<String, Value>| {
        map.keys()
            .all(|name| name == "name" || name == "generateName")
    };
    let plain = metadata.as_object().is_none_or(|map| {
        map.iter().all(|(name, value)| match name.as_str() {
            "type" | "default" => true,
            "properties" => value.as_object().is_none_or(named_only),
            _ => value.is_null() || *value == Value::Bool(false) || *value == "",
        })
    });
    if !plain {
        errors.push(FieldError::forbidden(
            place.to_string(),
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}

/// `anyOf` of an integer and a string, with nothing else in it.
fn is_int_or_string(any_of: &[Value]) -> bool {
    let only = |schema: &Value, kind: &str| {
        schema
            .as_object()
            .is_some_and(|map| map.len() == 1 && map.get("type").is_some_and(|own| own == kind))
    };
    matches!(any_of, [first, second] if only(first, "integer") && only(second, "string"))
}

fn values(
    props: &Value,
    skip_any_of: bool,
    skip_first_all_of: bool,
    level: Level,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if !skip_any_of {
        let place = place.field("anyOf");
        for (index, schema) in list(props, "anyOf").iter().enumerate() {
            nested(schema, false, level, &place.index(index), errors);
        }
    }
    let below = place.field("allOf");
    for (index, schema) in list(props, "allOf").iter().enumerate() {
        let skip = skip_first_all_of && index == 0;
        nested(schema, skip, level, &below.index(index), errors);
    }
    let below = place.field("oneOf");
    for (index, schema) in list(props, "oneOf").iter().enumerate() {
        nested(schema, false, level, &below.index(index), errors);
    }
    if let Some(not) = object(props, "not") {
        nested(not, false, level, &place.field("not"), errors);
    }
    let text = props.get("pattern").and_then(Value::as_str).unwrap_or("");
    if !text.is_empty()
        && let Err(why) = pattern::compile(text)
    {
        errors.push(FieldError::invalid(
            place.field("pattern").to_string(),
            text,
            format!("must be a valid regular expression, but isn't: {why}"),
        ));
    }
}

fn nested(
    props: &Value,
    skip_any_of: bool,
    level: Level,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    values(props, skip_any_of, false, level, place, errors);
    if let Some(items) = object(props, "items") {
        nested(items, false, level, &place.field("items"), errors);
    }
    let below = place.field("properties");
    for (name, property) in members(props, "properties") {
        nested(property, false, Level::Field, &below.key(name), errors);
    }
    let mut forbid = |set: bool, name: &str, detail: &str| {
        if set {
            errors.push(FieldError::forbidden(place.field(name).to_string(), detail));
        }
    };
    let text = |name: &str| {
        props
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    let allows = match props.get("additionalProperties") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(_) => true,
    };
    forbid(text("type"), "type", EMPTY);
    forbid(allows, "additionalProperties", UNDEFINED);
    let default = props.get("default").is_some_and(|value| !value.is_null());
    forbid(default, "default", UNDEFINED);
    forbid(text("title"), "title", EMPTY);
    forbid(text("description"), "description", EMPTY);
    forbid(flag(props, "nullable"), "nullable", FALSE);
    for name in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        forbid(flag_of(props, name) == Some(true), name, FALSE);
    }
    let keys = !list(props, "x-kubernetes-list-map-keys").is_empty();
    forbid(keys, "x-kubernetes-list-map-keys", EMPTY);
    forbid(
        text("x-kubernetes-list-type"),
        "x-kubernetes-list-type",
        UNDEFINED,
    );
    forbid(
        text("x-kubernetes-map-type"),
        "x-kubernetes-map-type",
        UNDEFINED,
    );
    let rules = !list(props, "x-kubernetes-validations").is_empty();
    forbid(rules, "x-kubernetes-validations", EMPTY);
    if props
        .get("properties")
        .is_some_and(|all| all.get("metadata").is_some())
    {
        let place = place.field("properties");
        errors.push(FieldError::forbidden(
            place.key("metadata").to_string(),
            "must not be specified in a nested context",
        ));
    }
}

/// What alternatives say of a field, the schema itself must know.
fn complete(
    checks: &Value,
    schema: Option<&Value>,
    schema_place: &Place<'_>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if let Some(not) = object(checks, "not") {
        complete_nested(not, schema, schema_place, &place.field("not"), errors);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        let place = place.field(name);
        for (index, one) in list(checks, name).iter().enumerate() {
            complete_nested(one, schema, schema_place, &place.index(index), errors);
        }
    }
}

fn complete_nested(
    checks: &Value,
    schema: Option<&Value>,
    schema_place: &Place<'_>,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    let Some(own) = schema else {
        errors.push(FieldError::required(
            schema_place.to_string(),
            format!("because it is defined in {place}"),
        ));
        return;
    };
    complete(checks, schema, schema_place, place, errors);
    if let Some(items) = object(checks, "items") {
        let below = schema_place.field("items");
        let place = place.field("items");
        complete_nested(items, object(own, "items"), &below, &place, errors);
    }
    let below = schema_place.field("properties");
    let place = place.field("properties");
    for (name, property) in members(checks, "properties") {
        let known = own.get("properties").and_then(|all| all.get(name));
        complete_nested(property, known, &below.key(name), &place.key(name), errors);
    }
}
