//! Values and their JSON: what JSON has no form for is an object with the key `!`, which says what it is.

use std::any::Any;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consort_jinja::{
    Arguments, Dict, Error as JinjaError, Key, Object, Omit, Origin, Result, State, Str, Value,
    Variables, is_omit,
};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::process::Process;
use super::{call, nothing};
use crate::source::{Encrypted, Timestamp};
use crate::variables::unnoted;

/// Deeper values hold themselves, or as good as.
const DEEPEST: u32 = 90;

/// Mappings that the other side knows by number, and looks into only where it wants to.
#[derive(Default)]
pub(crate) struct Handles(Vec<Value>);

impl Handles {
    /// A value as JSON.
    pub(crate) fn write(&mut self, value: &Value) -> Json {
        self.at(value, 0)
    }

    fn at(&mut self, value: &Value, depth: u32) -> Json {
        if depth > DEEPEST {
            return Json::Null;
        }
        match value {
            Value::None => Json::Null,
            Value::Undefined(undefined) => json!({"!": "u", "v": undefined.to_string()}),
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => (*value).into(),
            Value::Big(value) => json!({"!": "i", "v": value.to_string()}),
            Value::Float(value) => serde_json::Number::from_f64(*value).map_or_else(
                || json!({"!": "f", "v": consort_jinja::repr::float(*value)}),
                Json::Number,
            ),
            Value::Str(text) => written(text),
            Value::Bytes(bytes) => json!({"!": "b", "v": STANDARD.encode(bytes)}),
            Value::List(list) => {
                let items = list.read().clone();
                items.iter().map(|item| self.at(item, depth + 1)).collect()
            }
            Value::Tuple(items) => {
                let items: Vec<Json> = items.iter().map(|item| self.at(item, depth + 1)).collect();
                json!({"!": "t", "v": items})
            }
            Value::Dict(dict) => self.dict(dict, depth),
            Value::Object(_) if is_omit(value) => json!({"!": "omit"}),
            Value::Object(object) => self.object(value, &**object, depth),
        }
    }

    fn dict(&mut self, dict: &Dict, depth: u32) -> Json {
        let entries: Vec<(Key, Value)> = dict
            .read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let plain = entries
            .iter()
            .all(|(key, _)| key.as_str().is_some_and(|key| key != "!"));
        if plain {
            return entries
                .iter()
                .map(|(key, value)| {
                    let key = key.as_str().unwrap_or_default().to_owned();
                    (key, self.at(value, depth + 1))
                })
                .collect::<Map<_, _>>()
                .into();
        }
        let entries: Vec<Json> = entries
            .iter()
            .map(|(key, value)| json!([self.at(key.value(), depth + 3), self.at(value, depth + 3)]))
            .collect();
        json!({"!": "d", "v": entries})
    }

    fn object(&mut self, value: &Value, object: &dyn Object, depth: u32) -> Json {
        if let Some(moment) = object.any().downcast_ref::<Timestamp>() {
            return json!({"!": "m", "v": moment.iso('T'), "timed": moment.timed});
        }
        if let Some(encrypted) = object.any().downcast_ref::<Encrypted>() {
            return json!({"!": "v", "v": &*encrypted.ciphertext});
        }
        if let Some(kept) = object.any().downcast_ref::<Kept>() {
            return json!({"!": "py", "n": kept.number});
        }
        if object.is_mapping() {
            self.0.push(value.clone());
            return json!({"!": "map", "n": self.0.len() - 1, "k": object.type_name()});
        }
        match object.items() {
            Some(items) => items.iter().map(|item| self.at(item, depth + 1)).collect(),
            None => object.text().into(),
        }
    }

    /// The entries of a dict, as JSON.
    pub(crate) fn entries(&mut self, dict: &Dict) -> Json {
        self.dict(dict, 0)
    }

    /// Answers what plugins ask of variables and mappings; none if it is another question.
    pub(crate) fn answer(
        &mut self,
        variables: &dyn Variables,
        op: &str,
        payload: &Map<String, Json>,
    ) -> Option<std::result::Result<Json, String>> {
        let handle = |handles: &Self| {
            payload
                .get("handle")
                .and_then(Json::as_u64)
                .and_then(|number| handles.0.get(usize::try_from(number).ok()?).cloned())
                .ok_or_else(|| "there is no such mapping".to_owned())
        };
        Some(match op {
            "variable" => {
                let name = payload.get("name").and_then(Json::as_str).unwrap_or("");
                let value = unnoted(|| variables.get(name));
                Ok(value.map_or(Json::Null, |value| json!({"value": self.write(&value)})))
            }
            "variables" => {
                let all: Vec<Json> = unnoted(|| variables.names())
                    .iter()
                    .filter_map(|name| {
                        let value = unnoted(|| variables.get(name))?;
                        Some(json!([&**name, self.write(&value)]))
                    })
                    .collect();
                Ok(all.into())
            }
            "item" => handle(self).map(|mapping| {
                let key = payload.get("key").and_then(Json::as_str).unwrap_or("");
                let found = match &mapping {
                    Value::Object(object) => unnoted(|| object.get(key)),
                    _ => None,
                };
                found.map_or(Json::Null, |value| json!({"value": self.write(&value)}))
            }),
            "keys" => handle(self).map(|mapping| match &mapping {
                Value::Object(object) => unnoted(|| object.items())
                    .unwrap_or_default()
                    .iter()
                    .map(|key| self.write(key))
                    .collect(),
                _ => Json::Null,
            }),
            _ => return None,
        })
    }
}

fn written(text: &Str) -> Json {
    if !text.is_template() && text.origin().is_none() {
        return Json::from(&**text);
    }
    let mut found = Map::new();
    found.insert("!".to_owned(), "s".into());
    found.insert("v".to_owned(), Json::from(&**text));
    if text.is_template() {
        found.insert("t".to_owned(), true.into());
    }
    if let Some(origin) = text.origin() {
        found.insert(
            "o".to_owned(),
            json!([&*origin.file, origin.line, origin.column]),
        );
    }
    Json::Object(found)
}

/// JSON as a place.
pub(super) fn place(written: &Json) -> Option<Arc<Origin>> {
    let number = |at: usize| u32::try_from(written[at].as_u64().unwrap_or(0)).unwrap_or(0);
    Some(Arc::new(Origin {
        file: Arc::from(written.get(0)?.as_str()?),
        line: number(1),
        column: number(2),
    }))
}

/// JSON as a value. What stayed on the other side is asked there.
pub(super) fn read(process: &Arc<Process>, json: Json) -> Value {
    match json {
        Json::Array(items) => {
            Value::list(items.into_iter().map(|item| read(process, item)).collect())
        }
        Json::Object(mut entries) => {
            let Some(kind) = entries.get("!").and_then(Json::as_str).map(str::to_owned) else {
                return Value::Dict(dict(process, entries));
            };
            let value = entries.remove("v").unwrap_or(Json::Null);
            marked(process, &kind, value, &entries)
        }
        other => crate::values::from_json(other),
    }
}

/// JSON as a dict.
pub(super) fn dict(process: &Arc<Process>, entries: Map<String, Json>) -> Dict {
    let entries: IndexMap<Key, Value> = entries
        .into_iter()
        .map(|(name, value)| (Key::from(name.as_str()), read(process, value)))
        .collect();
    Dict::new(entries)
}

fn marked(process: &Arc<Process>, kind: &str, value: Json, more: &Map<String, Json>) -> Value {
    let text = || value.as_str().unwrap_or_default();
    let items = |value: Json| match value {
        Json::Array(items) => items,
        _ => Vec::new(),
    };
    match kind {
        "s" => {
            let trusted = more
                .get("t")
                .is_some_and(|trusted| *trusted == Json::Bool(true));
            let mut found = if trusted {
                Str::template(text())
            } else {
                Str::new(text())
            };
            if let Some(origin) = more.get("o").and_then(place) {
                found = found.written_at(origin);
            }
            Value::Str(found)
        }
        "b" => Value::Bytes(STANDARD.decode(text()).unwrap_or_default().into()),
        "t" => Value::tuple(
            items(value)
                .into_iter()
                .map(|item| read(process, item))
                .collect(),
        ),
        "d" => {
            let mut entries = IndexMap::new();
            for entry in items(value) {
                let mut entry = items(entry).into_iter();
                let (Some(key), Some(value)) = (entry.next(), entry.next()) else {
                    continue;
                };
                if let Ok(key) = Key::new(read(process, key)) {
                    entries.insert(key, read(process, value));
                }
            }
            Value::Dict(Dict::new(entries))
        }
        "i" => text().parse().map_or(Value::None, Value::integer),
        "f" => Value::Float(match text() {
            "inf" => f64::INFINITY,
            "-inf" => f64::NEG_INFINITY,
            _ => f64::NAN,
        }),
        "m" => {
            let timed = more.get("timed") != Some(&Json::Bool(false));
            match Timestamp::read(text()) {
                Ok(moment) => Timestamp { timed, ..moment }.into_value(),
                Err(_) => Value::from(text()),
            }
        }
        "u" => Value::undefined(text()),
        "omit" => Value::Object(Arc::new(Omit)),
        "py" => {
            let word = |name: &str| {
                more.get(name)
                    .and_then(Json::as_str)
                    .unwrap_or("")
                    .to_owned()
            };
            let items = match more.get("items") {
                Some(Json::Array(items)) => Some(
                    items
                        .iter()
                        .map(|item| read(process, item.clone()))
                        .collect(),
                ),
                _ => None,
            };
            Value::Object(Arc::new(Kept {
                process: Arc::clone(process),
                number: more.get("n").and_then(Json::as_u64).unwrap_or(0),
                kind: word("k"),
                repr: word("r"),
                text: word("x"),
                truth: more.get("truth") != Some(&Json::Bool(false)),
                callable: more.get("call") == Some(&Json::Bool(true)),
                items,
            }))
        }
        _ => Value::None,
    }
}

/// A value that has no other form than Python's: it stays on the other side.
struct Kept {
    process: Arc<Process>,
    number: u64,
    kind: String,
    repr: String,
    text: String,
    truth: bool,
    callable: bool,
    items: Option<Vec<Value>>,
}

impl Kept {
    fn ask(&self, op: &str, mut payload: Map<String, Json>) -> Result<Option<Value>> {
        payload.insert("of".to_owned(), json!({"!": "py", "n": self.number}));
        match call(&self.process, op, Json::Object(payload), &mut nothing) {
            Ok(Json::Object(mut found)) => Ok(Some(read(
                &self.process,
                found.remove("value").unwrap_or(Json::Null),
            ))),
            Ok(_) => Ok(None),
            Err(error) => Err(JinjaError::failed(error.to_string())),
        }
    }

    fn attribute(&self, name: Json) -> Option<Value> {
        let payload = [("name".to_owned(), name)].into_iter().collect();
        match self.ask("attribute", payload) {
            Ok(found) => found,
            Err(error) => Some(Value::failed(error)),
        }
    }
}

impl Object for Kept {
    fn type_name(&self) -> &str {
        &self.kind
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.attribute(name.into())
    }

    fn item(&self, key: &Value) -> Option<Value> {
        self.attribute(Handles::default().write(key))
    }

    fn call(&self, _state: &mut State<'_, '_>, arguments: Arguments) -> Result<Value> {
        let payload = arguments_of(&mut Handles::default(), &arguments);
        Ok(self.ask("call", payload)?.unwrap_or_default())
    }

    fn call_method(
        &self,
        state: &mut State<'_, '_>,
        name: &str,
        arguments: &Arguments,
    ) -> Option<Result<Value>> {
        match self.get(name)? {
            Value::Object(method) => Some(method.call(state, arguments.clone())),
            _ => None,
        }
    }

    fn is_callable(&self) -> bool {
        self.callable
    }

    fn items(&self) -> Option<Vec<Value>> {
        self.items.clone()
    }

    fn truth(&self) -> bool {
        self.truth
    }

    fn repr(&self) -> String {
        self.repr.clone()
    }

    fn text(&self) -> String {
        self.text.clone()
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

/// The arguments of a call, as JSON.
pub(super) fn arguments_of(handles: &mut Handles, arguments: &Arguments) -> Map<String, Json> {
    let positional: Vec<Json> = arguments
        .positional
        .iter()
        .map(|value| handles.write(value))
        .collect();
    let named: Map<String, Json> = arguments
        .named
        .iter()
        .map(|(name, value)| (name.to_string(), handles.write(value)))
        .collect();
    [
        ("positional".to_owned(), Json::from(positional)),
        ("named".to_owned(), Json::Object(named)),
    ]
    .into_iter()
    .collect()
}
