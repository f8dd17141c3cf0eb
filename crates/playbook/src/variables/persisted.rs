//! Facts as ansible-core writes them down: JSON with what texts know beside what they say.
//!
//! The form is that of its profile `cache_persistence`, number 1: `{"__ansible_type": "_AnsibleTaggedStr", "value": "a", "tags":
//! [...]}`. What it does not know is read without its tags.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use serde_json::{Map, Value as Json, json};

use crate::source::{Encrypted, Reader, Timestamp};
use crate::values;

const TYPE: &str = "__ansible_type";

/// Deeper values hold themselves, or as good as.
const DEEPEST: u32 = 100;

/// Facts as text.
pub(super) fn written(facts: &Dict, reader: &Reader) -> String {
    Json::Object(entries(facts, reader, 0)).to_string()
}

/// The facts of a text; none if it is no such.
pub(super) fn read(text: &str, reader: &Reader) -> Option<Dict> {
    match serde_json::from_str(text).ok()? {
        Json::Object(entries) => Some(dict(entries, None, reader)),
        _ => None,
    }
}

fn entries(dict: &Dict, reader: &Reader, depth: u32) -> Map<String, Json> {
    dict.read()
        .iter()
        .map(|(key, value)| {
            (
                values::key_text(key.value()),
                write(value, reader, depth + 1),
            )
        })
        .collect()
}

fn write(value: &Value, reader: &Reader, depth: u32) -> Json {
    if depth > DEEPEST {
        return Json::Null;
    }
    match value {
        Value::Str(text) => match reader.ciphertext(text) {
            // What was encrypted stays so.
            Some(ciphertext) => encrypted(&ciphertext),
            None => write_text(text),
        },
        Value::List(list) => {
            let items = list.read().clone();
            items
                .iter()
                .map(|item| write(item, reader, depth + 1))
                .collect()
        }
        Value::Tuple(items) => items
            .iter()
            .map(|item| write(item, reader, depth + 1))
            .collect(),
        Value::Dict(dict) => Json::Object(entries(dict, reader, depth)),
        Value::Object(object) => {
            if let Some(moment) = object.any().downcast_ref::<Timestamp>() {
                let iso = moment.iso('T');
                return if moment.timed {
                    json!({"iso8601": iso, "fold": 0, TYPE: "AnsibleSerializableDateTime"})
                } else {
                    json!({"iso8601": iso, TYPE: "AnsibleSerializableDate"})
                };
            }
            if let Some(secret) = object.any().downcast_ref::<Encrypted>() {
                return encrypted(&secret.ciphertext);
            }
            values::to_json(value)
        }
        value => values::to_json(value),
    }
}

fn encrypted(ciphertext: &str) -> Json {
    json!({"ciphertext": ciphertext, TYPE: "EncryptedString"})
}

fn write_text(text: &Str) -> Json {
    let mut tags = Vec::new();
    if let Some(origin) = text.origin() {
        let kind = if origin.file.starts_with('/') {
            "path"
        } else {
            "description"
        };
        let mut tag = Map::new();
        tag.insert(kind.to_owned(), Json::from(&*origin.file));
        for (name, number) in [("line_num", origin.line), ("col_num", origin.column)] {
            if number > 0 {
                tag.insert(name.to_owned(), number.into());
            }
        }
        tag.insert(TYPE.to_owned(), "Origin".into());
        tags.push(Json::Object(tag));
    }
    if text.is_template() {
        tags.push(json!({TYPE: "TrustedAsTemplate"}));
    }
    if tags.is_empty() {
        return Json::from(&**text);
    }
    json!({"value": &**text, "tags": tags, TYPE: "_AnsibleTaggedStr"})
}

/// What the tags of a value say.
#[derive(Default)]
struct Tags {
    origin: Option<Arc<Origin>>,
    trusted: bool,
}

impl Tags {
    fn of(told: &Json) -> Tags {
        let mut tags = Tags::default();
        for tag in told.as_array().into_iter().flatten() {
            match tag[TYPE].as_str() {
                Some("TrustedAsTemplate") => tags.trusted = true,
                Some("Origin") => {
                    let number =
                        |name: &str| u32::try_from(tag[name].as_u64().unwrap_or(0)).unwrap_or(0);
                    let file = tag["path"].as_str().or_else(|| tag["description"].as_str());
                    tags.origin = file.map(|file| {
                        Arc::new(Origin {
                            file: Arc::from(file),
                            line: number("line_num"),
                            column: number("col_num"),
                        })
                    });
                }
                _ => {}
            }
        }
        tags
    }
}

fn value(json: Json, tags: Option<&Tags>, reader: &Reader) -> Value {
    match json {
        Json::String(text) => {
            let trusted = tags.is_some_and(|tags| tags.trusted);
            let text = if trusted {
                Str::template(text)
            } else {
                Str::new(text)
            };
            Value::Str(match tags.and_then(|tags| tags.origin.as_ref()) {
                Some(origin) => text.written_at(Arc::clone(origin)),
                None => text,
            })
        }
        Json::Array(items) => {
            let items = items.into_iter().map(|item| value(item, None, reader));
            Value::list(items.collect())
        }
        Json::Object(entries) => typed(entries, tags, reader),
        other => values::from_json(other),
    }
}

fn dict(entries: Map<String, Json>, skipped: Option<&str>, reader: &Reader) -> Dict {
    Dict::new(
        entries
            .into_iter()
            .filter(|(name, _)| skipped != Some(name.as_str()))
            .map(|(name, entry)| (Key::from(name.as_str()), value(entry, None, reader)))
            .collect(),
    )
}

fn typed(mut entries: Map<String, Json>, tags: Option<&Tags>, reader: &Reader) -> Value {
    let Some(kind) = entries.get(TYPE).and_then(Json::as_str).map(str::to_owned) else {
        return Value::Dict(dict(entries, None, reader));
    };
    let text = |name: &str| entries.get(name).and_then(Json::as_str).unwrap_or("");
    match kind.as_str() {
        "AnsibleSerializableDate" | "AnsibleSerializableDateTime" => {
            let iso = text("iso8601");
            match Timestamp::read(iso) {
                Ok(moment) => moment.into_value(),
                Err(_) => Value::from(iso),
            }
        }
        "AnsibleSerializableTime" => Value::from(text("iso8601")),
        "EncryptedString" => reader.open(Encrypted {
            ciphertext: text("ciphertext").into(),
            origin: tags.and_then(|tags| tags.origin.clone()),
            trusted: tags.is_some_and(|tags| tags.trusted),
            reason: None,
        }),
        kind if kind.starts_with("_AnsibleTagged") => {
            let tags = entries.get("tags").map(Tags::of);
            let inner = entries.remove("value").unwrap_or(Json::Null);
            value(inner, tags.as_ref(), reader)
        }
        _ => Value::Dict(dict(entries, Some(TYPE), reader)),
    }
}
