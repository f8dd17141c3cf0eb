//! Documents from choices: JSON at large, objects of built-in kinds, patches of them, schemas of custom resources.
//!
//! Every choice is read from the input, so that a small change of the input is a small change of the document.

use arbitrary::{Result, Unstructured};
use consort_object::schema::{Form, Message, Shape, Type};
use consort_object::{Field, Schema};
use serde_json::{Map, Value, json};

/// Nesting that generators stop at.
const DEPTH: usize = 7;

/// Names that meet each other: in documents, patches, paths and expressions.
pub const NAMES: [&str; 14] = [
    "a", "b", "c", "name", "key", "value", "spec", "metadata", "items", "", "a/b", "m~n", "x.y",
    "0",
];

/// Texts that mean something to somebody.
pub const TEXTS: [&str; 34] = [
    "",
    "a",
    "b",
    "web",
    "x-y",
    "1",
    "0",
    "-1",
    "100m",
    "1Gi",
    "1e3",
    "0.5",
    "9223372036854775808",
    "TCP",
    "50%",
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.123456Z",
    "1h30m",
    "YWJj",
    "YQ==",
    "=",
    "Always",
    "true",
    "null",
    "10.0.0.1",
    "10.0.0.0/24",
    "::1",
    "a.b.c",
    "https://h:1/p?q#f",
    "*/5 * * * *",
    "é\u{301}",
    "\u{0}",
    "\u{10ffff}",
    "v1",
];

/// Numbers at the edges.
const NUMBERS: [i64; 15] = [
    0,
    1,
    -1,
    2,
    3,
    80,
    255,
    65_536,
    2_147_483_647,
    2_147_483_648,
    -2_147_483_649,
    9_007_199_254_740_993,
    i64::MAX,
    i64::MIN,
    100,
];

/// A kind with an object form.
pub fn kind<'s>(u: &mut Unstructured<'_>, schema: &'s Schema) -> Result<&'s Message> {
    let kinds: Vec<&Message> = schema
        .messages()
        .filter(|message| message.kind.is_some())
        .collect();
    u.choose(&kinds).copied()
}

/// A name.
pub fn name(u: &mut Unstructured<'_>) -> Result<String> {
    Ok((*u.choose(&NAMES)?).to_owned())
}

/// A text.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=9u8)? {
        0 => {
            let length = u.int_in_range(0..=24usize)?;
            String::from_utf8_lossy(u.bytes(length.min(u.len()))?).into_owned()
        }
        1 => u.choose(&TEXTS)?.repeat(u.int_in_range(1..=40usize)?),
        _ => (*u.choose(&TEXTS)?).to_owned(),
    })
}

/// A number.
pub fn number(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=9u8)? {
        0 => json!(u.arbitrary::<i64>()?),
        1 => json!(
            u.arbitrary::<f64>()
                .map(|n| if n.is_finite() { n } else { 0.5 })?
        ),
        2 => json!(u.arbitrary::<u64>()?),
        3 => json!(1.5),
        4 => json!(-0.0),
        _ => json!(*u.choose(&NUMBERS)?),
    })
}

/// Any JSON.
pub fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let most = if depth >= DEPTH { 4u8 } else { 9 };
    Ok(match u.int_in_range(0..=most)? {
        0 => Value::Null,
        1 => Value::Bool(u.arbitrary()?),
        2 => number(u)?,
        3 | 4 => Value::String(text(u)?),
        5 | 6 => {
            let length = length(u)?;
            Value::Array(
                (0..length)
                    .map(|_| value(u, depth + 1))
                    .collect::<Result<_>>()?,
            )
        }
        _ => {
            let length = length(u)?;
            let mut map = Map::new();
            for _ in 0..length {
                map.insert(name(u)?, value(u, depth + 1)?);
            }
            Value::Object(map)
        }
    })
}

fn length(u: &mut Unstructured<'_>) -> Result<usize> {
    if u.is_empty() {
        return Ok(0);
    }
    Ok(match u.int_in_range(0..=19u8)? {
        0..=5 => 0,
        6..=11 => 1,
        12..=16 => 2,
        17 | 18 => 3,
        _ => u.int_in_range(4..=12usize)?,
    })
}

/// How far a document keeps to its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All values fit.
    Whole,
    /// Now and then one does not.
    Mostly,
}

/// An object of a message.
pub fn object(
    u: &mut Unstructured<'_>,
    schema: &Schema,
    message: &Message,
    kept: Kept,
    depth: usize,
) -> Result<Value> {
    if kept == Kept::Mostly && u.ratio(1u8, 60u8)? {
        return value(u, depth);
    }
    Ok(match message.form {
        Form::Object => {
            let mut map = Map::new();
            if let Some(kind) = &message.kind
                && depth == 0
            {
                map.insert("apiVersion".to_owned(), kind.api_version().into());
                map.insert("kind".to_owned(), kind.kind.clone().into());
            }
            let fields: Vec<&Field> = members(schema, message);
            if fields.is_empty() || (depth >= DEPTH && !u.ratio(1u8, 4u8)?) {
                return Ok(Value::Object(map));
            }
            let count = u.int_in_range(0..=6usize.min(fields.len()))?;
            if depth == 0 && u.ratio(7u8, 8u8)? {
                for name in ["metadata", "spec"] {
                    if let Some(field) = message.member(name) {
                        let value = member(u, schema, field, kept, depth + 1)?;
                        map.insert(name.to_owned(), value);
                    }
                }
            }
            for _ in 0..count {
                let field = *u.choose(&fields)?;
                let value = member(u, schema, field, kept, depth + 1)?;
                map.insert(field.name.to_owned(), value);
            }
            if kept == Kept::Mostly && u.ratio(1u8, 50u8)? {
                map.insert(name(u)?, value(u, depth + 1)?);
            }
            Value::Object(map)
        }
        Form::List => match message.fields.first() {
            Some(items) => member(u, schema, items, kept, depth)?,
            None => json!([]),
        },
        Form::Time => u
            .choose(&[
                "2026-01-02T03:04:05Z",
                "2026-01-02T03:04:05+02:00",
                "0001-01-01T00:00:00Z",
                "2026-12-31T23:59:60Z",
            ])
            .map(|text| json!(text))?,
        Form::MicroTime => u
            .choose(&[
                "2026-01-02T03:04:05.000001Z",
                "2026-01-02T03:04:05.123456789+02:00",
            ])
            .map(|text| json!(text))?,
        Form::Duration => u
            .choose(&["1h", "90s", "1m30.5s", "0"])
            .map(|text| json!(text))?,
        Form::Json => value(u, depth + 1)?,
        Form::Quantity => match u.int_in_range(0..=3u8)? {
            0 => number(u)?,
            _ => u
                .choose(&[
                    "1", "100m", "1Gi", "0.5", "1e3", "12E", "1500m", "-3k", "1n", "0.1u",
                ])
                .map(|text| json!(text))?,
        },
        Form::IntOrString => {
            if u.arbitrary::<bool>()? {
                json!(u.int_in_range(-1..=70_000i32)?)
            } else {
                json!(text(u)?)
            }
        }
        Form::MessageOrBool | Form::MessageOrList | Form::MessageOrStrings => {
            let inner = message
                .fields
                .iter()
                .find_map(|field| schema.message_of(field));
            match (inner, u.int_in_range(0..=2u8)?) {
                (Some(inner), 0 | 1) if depth < DEPTH => object(u, schema, inner, kept, depth + 1)?,
                _ => match message.form {
                    Form::MessageOrBool => json!(u.arbitrary::<bool>()?),
                    _ => json!([]),
                },
            }
        }
    })
}

/// The members of a message, those of inline messages among them.
fn members<'s>(schema: &'s Schema, message: &'s Message) -> Vec<&'s Field> {
    let mut all = Vec::new();
    for field in &message.fields {
        match schema.message_of(field) {
            Some(inner) if field.inline => all.extend(members(schema, inner)),
            _ => all.push(field),
        }
    }
    all
}

fn member(
    u: &mut Unstructured<'_>,
    schema: &Schema,
    field: &Field,
    kept: Kept,
    depth: usize,
) -> Result<Value> {
    if field.name == "name" && u.ratio(1u8, 2u8)? {
        return Ok(json!(u.choose(&["a", "b", "c"])?));
    }
    Ok(match field.shape {
        Shape::One => one(u, schema, field, kept, depth)?,
        Shape::List => {
            let length = length(u)?;
            let items = (0..length).map(|_| one(u, schema, field, kept, depth));
            Value::Array(items.collect::<Result<_>>()?)
        }
        Shape::Map => {
            let length = length(u)?;
            let mut map = Map::new();
            for _ in 0..length {
                map.insert(name(u)?, one(u, schema, field, kept, depth)?);
            }
            Value::Object(map)
        }
    })
}

fn one(
    u: &mut Unstructured<'_>,
    schema: &Schema,
    field: &Field,
    kept: Kept,
    depth: usize,
) -> Result<Value> {
    if kept == Kept::Mostly && u.ratio(1u8, 60u8)? {
        return value(u, depth);
    }
    Ok(match field.kind {
        Type::String => Value::String(text(u)?),
        Type::Int32 => {
            if u.ratio(1u8, 4u8)? {
                json!(u.arbitrary::<i32>()?)
            } else {
                json!(u.int_in_range(0..=3i32)?)
            }
        }
        Type::Int64 => json!(*u.choose(&NUMBERS)?),
        Type::Uint32 => json!(u.arbitrary::<u32>()?),
        Type::Bool => json!(u.arbitrary::<bool>()?),
        Type::Double => json!(*u.choose(&[0.0, 1.5, -2.25, 1e21, 1e-7])?),
        Type::Bytes => json!(u.choose(&["", "YQ==", "YWJj", "AAEC/w=="])?),
        Type::Message(id) => object(u, schema, schema.get(id), kept, depth)?,
    })
}

/// A strategic merge patch for objects of a message: a partial object with nulls and directives.
pub fn strategic(
    u: &mut Unstructured<'_>,
    schema: &Schema,
    message: &Message,
    base: &Value,
    depth: usize,
) -> Result<Value> {
    let mut patch = match object(u, schema, message, Kept::Mostly, depth)? {
        Value::Object(map) => map,
        other => return Ok(other),
    };
    // What is changed should often be there.
    if let Value::Object(base) = base {
        for (name, old) in base {
            if !u.ratio(1u8, 2u8)? {
                continue;
            }
            let Some(field) = message.member(name) else {
                continue;
            };
            let new = match (u.int_in_range(0..=4u8)?, schema.message_of(field)) {
                (0, _) => Value::Null,
                (1 | 2, Some(inner)) if field.shape == Shape::One && depth < DEPTH => {
                    strategic(u, schema, inner, old, depth + 1)?
                }
                (1 | 2, inner) if field.shape == Shape::List => {
                    list_patch(u, schema, field, inner, old, &mut patch, depth)?
                }
                (3, _) => old.clone(),
                _ => member(u, schema, field, Kept::Mostly, depth + 1)?,
            };
            patch.insert(name.clone(), new);
        }
    }
    if u.ratio(1u8, 12u8)? {
        let directive = *u.choose(&["delete", "replace", "merge", "bogus"])?;
        patch.insert("$patch".to_owned(), directive.into());
    }
    if u.ratio(1u8, 20u8)? {
        let keys: Vec<Value> = patch.keys().map(|key| json!(key)).collect();
        patch.insert("$retainKeys".to_owned(), Value::Array(keys));
    }
    Ok(Value::Object(patch))
}

fn list_patch(
    u: &mut Unstructured<'_>,
    schema: &Schema,
    field: &Field,
    inner: Option<&Message>,
    old: &Value,
    beside: &mut Map<String, Value>,
    depth: usize,
) -> Result<Value> {
    let none = Vec::new();
    let old = old.as_array().unwrap_or(&none);
    let mut items = Vec::new();
    for item in old {
        match (u.int_in_range(0..=4u8)?, inner) {
            (0, Some(_)) => {
                let key = item
                    .get(field.patch_merge_key)
                    .cloned()
                    .unwrap_or(Value::Null);
                let mut delete = json!({"$patch": "delete"});
                delete[field.patch_merge_key] = key;
                items.push(delete);
            }
            (0, None) => {
                beside.insert(
                    format!("$deleteFromPrimitiveList/{}", field.name),
                    json!([item]),
                );
            }
            (1, _) => items.push(item.clone()),
            (2, Some(inner)) if depth < DEPTH => {
                let mut change = strategic(u, schema, inner, item, depth + 1)?;
                if let (Value::Object(change), Some(key)) =
                    (&mut change, item.get(field.patch_merge_key))
                {
                    change.insert(field.patch_merge_key.to_owned(), key.clone());
                }
                items.push(change);
            }
            _ => {}
        }
    }
    for _ in 0..length(u)? {
        items.push(one(u, schema, field, Kept::Mostly, depth + 1)?);
    }
    if u.ratio(1u8, 16u8)? {
        items.push(json!({"$patch": "replace"}));
    }
    if u.ratio(1u8, 4u8)? {
        let key = |item: &Value| match item.get(field.patch_merge_key) {
            Some(value) => {
                let mut only = json!({});
                only[field.patch_merge_key] = value.clone();
                only
            }
            None => item.clone(),
        };
        let mut order: Vec<Value> = old.iter().chain(&items).map(key).collect();
        if u.arbitrary()? {
            order.reverse();
        }
        beside.insert(
            format!("$setElementOrder/{}", field.name),
            Value::Array(order),
        );
    }
    Ok(Value::Array(items))
}

/// A schema of a custom resource (`JSONSchemaProps`), most often a good one.
pub fn props(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let mut props = Map::new();
    let most = if depth >= 5 { 3u8 } else { 9 };
    let kind = match u.int_in_range(0..=most)? {
        0 => "string",
        1 => "integer",
        2 => "boolean",
        3 => "number",
        4 | 5 => "array",
        _ => "object",
    };
    let kind = if depth == 0 { "object" } else { kind };
    if u.ratio(1u8, 24u8)? {
        props.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
    } else if !u.ratio(1u8, 40u8)? {
        props.insert("type".to_owned(), kind.into());
    }
    match kind {
        "object" => {
            if depth > 0 && u.ratio(1u8, 4u8)? {
                let additional = if u.ratio(1u8, 8u8)? {
                    json!(u.arbitrary::<bool>()?)
                } else {
                    self::props(u, depth + 1)?
                };
                props.insert("additionalProperties".to_owned(), additional);
            } else {
                let mut members = Map::new();
                for _ in 0..length(u)? {
                    members.insert(name(u)?, self::props(u, depth + 1)?);
                }
                props.insert("properties".to_owned(), Value::Object(members));
            }
            maybe(u, &mut props, "required", |u| Ok(json!([name(u)?])))?;
            maybe(u, &mut props, "minProperties", small)?;
            maybe(u, &mut props, "maxProperties", small)?;
            maybe(u, &mut props, "x-kubernetes-map-type", |u| {
                Ok(json!(u.choose(&["atomic", "granular"])?))
            })?;
            maybe(
                u,
                &mut props,
                "x-kubernetes-preserve-unknown-fields",
                |_| Ok(json!(true)),
            )?;
            maybe(u, &mut props, "x-kubernetes-embedded-resource", |_| {
                Ok(json!(true))
            })?;
        }
        "array" => {
            let mut items = self::props(u, depth + 1)?;
            match u.int_in_range(0..=3u8)? {
                0 => {
                    props.insert("x-kubernetes-list-type".to_owned(), json!("set"));
                }
                1 => {
                    items = json!({"type": "object", "required": ["key"],
                        "properties": {"key": {"type": "string", "maxLength": 10}, "value": items}});
                    props.insert("x-kubernetes-list-type".to_owned(), json!("map"));
                    props.insert("x-kubernetes-list-map-keys".to_owned(), json!(["key"]));
                }
                _ => {}
            }
            props.insert("items".to_owned(), items);
            maybe(u, &mut props, "minItems", small)?;
            maybe(u, &mut props, "maxItems", small)?;
            maybe(u, &mut props, "uniqueItems", |u| {
                Ok(json!(u.ratio(1u8, 8u8)?))
            })?;
        }
        "string" => {
            maybe(u, &mut props, "minLength", small)?;
            maybe(u, &mut props, "maxLength", small)?;
            maybe(u, &mut props, "pattern", |u| Ok(json!(pattern(u)?)))?;
            maybe(u, &mut props, "format", |u| {
                Ok(json!(u.choose(&[
                    "date",
                    "date-time",
                    "duration",
                    "byte",
                    "uuid",
                    "ipv4",
                    "ipv6",
                    "cidr",
                    "uri",
                    "email",
                    "hostname",
                    "bsonobjectid",
                    "creditcard",
                    "mac",
                    "int-or-string",
                    "password",
                    "isbn",
                    "ssn",
                    "hexcolor",
                    "rgbcolor",
                    "k8s-short-name",
                    "quantity",
                ])?))
            })?;
        }
        "integer" | "number" => {
            maybe(u, &mut props, "minimum", number)?;
            maybe(u, &mut props, "maximum", number)?;
            maybe(u, &mut props, "exclusiveMinimum", |u| {
                Ok(json!(u.arbitrary::<bool>()?))
            })?;
            maybe(u, &mut props, "multipleOf", number)?;
            maybe(u, &mut props, "format", |u| {
                Ok(json!(u.choose(&["int32", "int64", "float", "double"])?))
            })?;
        }
        _ => {}
    }
    maybe(u, &mut props, "nullable", |_| Ok(json!(true)))?;
    maybe(u, &mut props, "default", |u| value(u, DEPTH - 2))?;
    maybe(u, &mut props, "enum", |u| {
        Ok(json!([value(u, DEPTH - 1)?, value(u, DEPTH)?]))
    })?;
    if depth < 4 {
        maybe(u, &mut props, "not", |u| {
            Ok(json!({"pattern": pattern(u)?}))
        })?;
        maybe(u, &mut props, "anyOf", |u| {
            Ok(json!([logic(u)?, logic(u)?]))
        })?;
        maybe(u, &mut props, "oneOf", |u| {
            Ok(json!([logic(u)?, logic(u)?]))
        })?;
        maybe(u, &mut props, "allOf", |u| Ok(json!([logic(u)?])))?;
    }
    maybe(u, &mut props, "x-kubernetes-validations", |u| {
        let rule = *u.choose(&[
            "self == oldSelf",
            "has(self.a)",
            "self.all(x, x == self[0])",
            "size(self) < 3",
            "self.a + self.b > 1",
            "self.matches('^a+$')",
            "true",
            "!(",
        ])?;
        Ok(json!([{"rule": rule, "message": "m"}]))
    })?;
    Ok(Value::Object(props))
}

fn logic(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=4u8)? {
        0 => json!({"required": [name(u)?]}),
        1 => json!({"pattern": pattern(u)?}),
        2 => json!({"minimum": number(u)?}),
        3 => json!({"properties": {name(u)?: {"enum": [value(u, DEPTH)?]}}}),
        _ => json!({"not": {"maxLength": small(u)?}}),
    })
}

/// A regular expression, more or less.
pub fn pattern(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=2u8)? {
        0 => text(u)?,
        _ => (*u.choose(&[
            "^[a-z]+$",
            "(a+)+$",
            "\\d{1,3}",
            "[[:alpha:]]",
            "(?i)x|y",
            "\\p{Greek}",
            "(?P<n>a)",
            "a{1000}",
            "((a{100}){100}){100}",
            "\\Q.\\E",
            "[^\\x00-\\x{10FFFF}]",
            "(?s).*",
            "\\bx\\B",
            "^(?:a|ab)(?:c|bcd)*$",
            "(",
            "[z-a]",
            "\\C",
            "x{1001}",
        ])?)
        .to_owned(),
    })
}

fn small(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!(u.int_in_range(0..=4i64)?))
}

fn maybe(
    u: &mut Unstructured<'_>,
    props: &mut Map<String, Value>,
    name: &str,
    make: impl FnOnce(&mut Unstructured<'_>) -> Result<Value>,
) -> Result<()> {
    if u.ratio(1u8, 7u8)? {
        let value = make(u)?;
        props.insert(name.to_owned(), value);
    }
    Ok(())
}

/// A value for a schema, most often one that fits.
pub fn fitting(u: &mut Unstructured<'_>, props: &Value, depth: usize) -> Result<Value> {
    if depth > DEPTH || u.ratio(1u8, 24u8)? {
        return value(u, depth);
    }
    if let Some(default) = props.get("default")
        && u.ratio(1u8, 10u8)?
    {
        return Ok(default.clone());
    }
    if let Some(Value::Array(all)) = props.get("enum")
        && !all.is_empty()
        && u.ratio(3u8, 4u8)?
    {
        return Ok(u.choose(all)?.clone());
    }
    Ok(match props.get("type").and_then(Value::as_str) {
        Some("object") => {
            let mut map = Map::new();
            if let Some(Value::Object(members)) = props.get("properties") {
                for (name, member) in members {
                    if u.ratio(3u8, 4u8)? {
                        map.insert(name.clone(), fitting(u, member, depth + 1)?);
                    }
                }
            }
            if let Some(additional) = props.get("additionalProperties") {
                for _ in 0..length(u)? {
                    map.insert(name(u)?, fitting(u, additional, depth + 1)?);
                }
            }
            if u.ratio(1u8, 8u8)? {
                map.insert(name(u)?, value(u, depth + 1)?);
            }
            Value::Object(map)
        }
        Some("array") => {
            let items = props.get("items").unwrap_or(&Value::Null);
            let length = length(u)?;
            Value::Array(
                (0..length)
                    .map(|_| fitting(u, items, depth + 1))
                    .collect::<Result<_>>()?,
            )
        }
        Some("string") => Value::String(text(u)?),
        Some("integer") => json!(*u.choose(&NUMBERS)?),
        Some("number") => number(u)?,
        Some("boolean") => json!(u.arbitrary::<bool>()?),
        _ => value(u, depth)?,
    })
}
