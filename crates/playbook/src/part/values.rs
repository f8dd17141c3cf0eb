//! Values of the score as playbooks have them, and what of them must not be shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use consort_plan::{Feed, Planned, Unknown, below};
use indexmap::IndexMap;
use serde_json::Value as Json;

use super::spec::fed;
use crate::template;

/// The inputs of a part, by the name `PART.OUTPUT`.
pub(super) type Inputs = BTreeMap<String, Planned>;

/// What a feed is, with what is not known of it.
pub(super) fn of_feed(feed: &Feed, inputs: &Inputs) -> Planned {
    match feed {
        Feed::From(from) => of_input(&from.from, inputs),
        Feed::Literal(value) => {
            let mut whole = Planned::default();
            whole.value = filled(value, "", inputs, &mut whole.unknown, &mut whole.sensitive);
            whole
        }
    }
}

/// An input; unknown if it is none.
pub(super) fn of_input(name: &str, inputs: &Inputs) -> Planned {
    inputs
        .get(name)
        .cloned()
        .unwrap_or_else(|| Planned::unknown("dynamic", None))
}

fn filled(
    value: &Json,
    at: &str,
    inputs: &Inputs,
    unknown: &mut Vec<Unknown>,
    sensitive: &mut Vec<String>,
) -> Json {
    if let Some(from) = fed(value) {
        let input = of_input(from, inputs);
        unknown.extend(input.unknown.into_iter().map(|one| Unknown {
            at: format!("{at}{}", one.at),
            ..one
        }));
        sensitive.extend(input.sensitive.iter().map(|place| format!("{at}{place}")));
        return input.value;
    }
    match value {
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(place, item)| filled(item, &format!("{at}/{place}"), inputs, unknown, sensitive))
            .collect(),
        Json::Object(fields) => Json::Object(
            fields
                .iter()
                .map(|(name, field)| {
                    let inner = filled(field, &below(at, name), inputs, unknown, sensitive);
                    (name.clone(), inner)
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// A value for playbooks. Texts that stand in the score may be templates; those that come from other parts are none.
pub(super) fn value(name: &str, feed: &Feed, inputs: &Inputs, origin: &Arc<Origin>) -> Value {
    match feed {
        Feed::From(from) => given(name, &of_input(&from.from, inputs)),
        Feed::Literal(literal) => written(name, literal, inputs, origin),
    }
}

fn written(name: &str, value: &Json, inputs: &Inputs, origin: &Arc<Origin>) -> Value {
    if let Some(from) = fed(value) {
        return given(name, &of_input(from, inputs));
    }
    match value {
        Json::String(text) => {
            Value::Str(Str::template(text.as_str()).written_at(Arc::clone(origin)))
        }
        Json::Array(items) => Value::list(
            items
                .iter()
                .map(|item| written(name, item, inputs, origin))
                .collect(),
        ),
        Json::Object(fields) => Value::Dict(Dict::new(
            fields
                .iter()
                .map(|(key, field)| {
                    let inner = written(&format!("{name}.{key}"), field, inputs, origin);
                    (Key::from(key.as_str()), inner)
                })
                .collect(),
        )),
        other => crate::values::from_json(other.clone()),
    }
}

/// A value of another part for playbooks; what is not known of it fails where it is used.
pub(super) fn given(name: &str, planned: &Planned) -> Value {
    if planned.unknown.is_empty() {
        return crate::values::from_json(planned.value.clone());
    }
    partly(name, &planned.value, "", planned)
}

fn partly(name: &str, value: &Json, at: &str, planned: &Planned) -> Value {
    if planned.unknown.iter().any(|unknown| unknown.at == at) {
        return template::unknown(name);
    }
    match value {
        Json::Array(items) => Value::list(
            items
                .iter()
                .enumerate()
                .map(|(place, item)| partly(name, item, &format!("{at}/{place}"), planned))
                .collect(),
        ),
        Json::Object(fields) => {
            let entries: IndexMap<Key, Value> = fields
                .iter()
                .map(|(key, field)| {
                    let inner = format!("{name}.{key}");
                    let value = partly(&inner, field, &below(at, key), planned);
                    (Key::from(key.as_str()), value)
                })
                .collect();
            Value::Dict(Dict::new(entries))
        }
        other => crate::values::from_json(other.clone()),
    }
}

/// Texts shorter than this are not looked for: they stand everywhere.
const SHORTEST: usize = 4;

/// Texts that must not be shown: what other parts gave and called sensitive, and what vaults held.
#[derive(Clone, Debug, Default)]
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    /// Of inputs.
    pub(super) fn of(inputs: &Inputs) -> Self {
        let mut hidden = Hidden::default();
        for input in inputs.values() {
            for at in &input.sensitive {
                if let Some(value) = input.value.pointer(at) {
                    hidden.add(value);
                }
            }
        }
        hidden
    }

    fn add(&mut self, value: &Json) {
        match value {
            Json::String(text) => self.add_text(text),
            Json::Number(number) => self.add_text(&number.to_string()),
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(fields) => fields.values().for_each(|field| self.add(field)),
            Json::Null | Json::Bool(_) => {}
        }
    }

    /// A text, and each of its lines.
    pub(super) fn add_text(&mut self, text: &str) {
        let text = text.trim();
        if text.len() >= SHORTEST && !self.0.iter().any(|known| known == text) {
            self.0.push(text.to_owned());
        }
        if text.contains('\n') {
            for line in text.lines() {
                self.add_text(line);
            }
        }
    }

    /// Those of another too.
    pub(super) fn join(&mut self, other: &Hidden) {
        for text in &other.0 {
            self.add_text(text);
        }
    }

    /// Whether a text holds one of them.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|hidden| text.contains(hidden.as_str()))
    }

    /// The text without them.
    pub(super) fn taken_out(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for hidden in &self.0 {
            if text.contains(hidden.as_str()) {
                text = text.replace(hidden.as_str(), "(sensitive value)");
            }
        }
        text
    }

    /// The places of a value that hold one of them.
    pub(super) fn places(&self, value: &Json, at: &str, places: &mut Vec<String>) {
        match value {
            Json::String(text) if self.is_in(text) => places.push(at.to_owned()),
            Json::Number(number) if self.is_in(&number.to_string()) => places.push(at.to_owned()),
            Json::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.places(item, &format!("{at}/{place}"), places);
                }
            }
            Json::Object(fields) => {
                for (name, field) in fields {
                    self.places(field, &below(at, name), places);
                }
            }
            _ => {}
        }
    }
}
