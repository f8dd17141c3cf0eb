//! Leaving out what a schema does not know.

use super::META_FIELDS;
use super::schema::{Additional, Structural};
use serde_json::Value;

/// Where in the object the walk is: written out only for what is left out.
enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    fn text(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Key(At::Root, name) => (*name).to_owned(),
            At::Key(parent, name) => format!("{}.{name}", parent.text()),
            At::Index(parent, index) => format!("{}[{index}]", parent.text()),
        }
    }

    fn is_root(&self) -> bool {
        matches!(self, At::Root)
    }
}

/// Leave out the fields that the schema does not know; `root`: the value is a whole object, whose
/// `apiVersion`, `kind` and `metadata` stay. The answer names what was left out, sorted.
pub fn unknown(value: &mut Value, schema: &Structural, root: bool) -> Vec<String> {
    let mut gone = Vec::new();
    if schema.preserve {
        keep(value, schema, root || schema.embedded, &At::Root, &mut gone);
    } else {
        members(value, schema, root || schema.embedded, &At::Root, &mut gone);
    }
    gone.sort_unstable();
    gone
}

fn prune(value: &mut Value, schema: Option<&Structural>, at: &At<'_>, gone: &mut Vec<String>) {
    match schema {
        Some(schema) if schema.preserve => keep(value, schema, schema.embedded, at, gone),
        Some(schema) => members(value, schema, schema.embedded, at, gone),
        None => nothing(value, at, gone),
    }
}

/// No schema: no field is known.
fn nothing(value: &mut Value, at: &At<'_>, gone: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            gone.extend(map.keys().map(|name| At::Key(at, name).text()));
            map.clear();
        }
        Value::Array(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                nothing(item, &At::Index(at, index), gone);
            }
        }
        _ => {}
    }
}

fn members(
    value: &mut Value,
    schema: &Structural,
    embedded: bool,
    at: &At<'_>,
    gone: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => {
            let mut unknown = false;
            for (name, member) in map.iter_mut() {
                if embedded && META_FIELDS.contains(&name.as_str()) {
                    continue;
                }
                let at = At::Key(at, name);
                if let Some(property) = schema.property(name) {
                    prune(member, Some(property), &at, gone);
                } else {
                    match &schema.additional {
                        Additional::Schema(schema) => prune(member, Some(schema), &at, gone),
                        Additional::Any(_) => nothing(member, &at, gone),
                        Additional::None => unknown = true,
                    }
                }
            }
            if unknown {
                map.retain(|name, _| {
                    if schema.property(name).is_some()
                        || (embedded && META_FIELDS.contains(&name.as_str()))
                    {
                        return true;
                    }
                    if !META_FIELDS.contains(&name.as_str()) || !at.is_root() {
                        gone.push(At::Key(at, name).text());
                    }
                    false
                });
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                prune(item, schema.items.as_deref(), &At::Index(at, index), gone);
            }
        }
        _ => {}
    }
}

/// Unknown fields stay; the known ones are looked into.
fn keep(
    value: &mut Value,
    schema: &Structural,
    embedded: bool,
    at: &At<'_>,
    gone: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => {
            if schema.properties.is_empty() && matches!(schema.additional, Additional::None) {
                return;
            }
            for (name, member) in map.iter_mut() {
                if embedded && META_FIELDS.contains(&name.as_str()) {
                    continue;
                }
                let at = At::Key(at, name);
                if let Some(property) = schema.property(name) {
                    prune(member, Some(property), &at, gone);
                } else {
                    match &schema.additional {
                        Additional::Schema(schema) => prune(member, Some(schema), &at, gone),
                        Additional::Any(_) => nothing(member, &at, gone),
                        Additional::None => {}
                    }
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else {
                return;
            };
            for (index, item) in list.iter_mut().enumerate() {
                keep(item, items, items.embedded, &At::Index(at, index), gone);
            }
        }
        _ => {}
    }
}

/// Leave out nulls where the schema takes none and has no default for them.
pub fn nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => {
            let mut any = false;
            for (name, member) in map.iter_mut() {
                let Some(schema) = schema.member(name) else {
                    continue;
                };
                if member.is_null() {
                    any |= !schema.nullable && schema.default.is_none();
                } else {
                    nulls(member, schema);
                }
            }
            if any {
                map.retain(|name, member| {
                    !member.is_null()
                        || schema
                            .member(name)
                            .is_none_or(|schema| schema.nullable || schema.default.is_some())
                });
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items.as_deref() {
                for item in list {
                    nulls(item, items);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_unless_they_are_to_be_kept() {
        let schema = Structural::parse(&json!({
            "type": "object",
            "properties": {
                "spec": {"type": "object", "properties": {
                    "a": {"type": "string"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"known": {"type": "object", "properties": {"x": {"type": "string"}}}}},
                    "map": {"type": "object", "additionalProperties": {"type": "object",
                        "properties": {"y": {"type": "string"}}}},
                    "list": {"type": "array", "items": {"type": "object", "properties": {"z": {"type": "string"}}}},
                    "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
                        "properties": {"spec": {"type": "object"}}},
                }},
            },
        }))
        .unwrap();
        let mut object = json!({
            "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"}, "other": 1,
            "spec": {
                "a": "b", "unknown": {"x": 1},
                "free": {"any": {"thing": 1}, "known": {"x": "1", "no": 2}},
                "map": {"k": {"y": "1", "no": 2}},
                "list": [{"z": "1"}, {"no": 2}],
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"no": 2}, "no": 1},
            },
        });
        let gone = unknown(&mut object, &schema, true);
        assert_eq!(
            gone,
            [
                "other",
                "spec.free.known.no",
                "spec.list[1].no",
                "spec.map.k.no",
                "spec.pod.no",
                "spec.pod.spec.no",
                "spec.unknown",
            ]
        );
        assert_eq!(
            object["spec"],
            json!({
                "a": "b", "free": {"any": {"thing": 1}, "known": {"x": "1"}}, "map": {"k": {"y": "1"}},
                "list": [{"z": "1"}, {}],
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
            })
        );
    }
}
