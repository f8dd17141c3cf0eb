//! Values that policies read and give.

use regorus::Value;

/// A value of Rego: JSON with sets, and keys of any type. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Document(Value);

impl Document {
    pub(crate) fn of(value: Value) -> Self {
        Self(value)
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// From the text of JSON, without a detour.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json).map(Self)
    }

    /// From anything that can be written as JSON, without the text.
    pub fn new(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_value(value).map(Self::from)
    }

    /// As JSON: a set becomes a sorted list, a key that is no string its JSON text.
    pub fn json(&self) -> serde_json::Value {
        match &self.0 {
            Value::Null | Value::Undefined => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::String(text) => text.as_ref().into(),
            Value::Number(number) => {
                let text = self.0.to_json_str().unwrap_or_default();
                serde_json::from_str(&text).unwrap_or_else(|_| {
                    number
                        .as_f64()
                        .map_or(serde_json::Value::Null, serde_json::Value::from)
                })
            }
            Value::Array(items) => items.iter().map(|item| Self(item.clone()).json()).collect(),
            Value::Set(items) => items
                .iter_sorted()
                .map(|item| Self(item.clone()).json())
                .collect(),
            Value::Object(fields) => fields
                .iter_sorted()
                .map(|(key, value)| {
                    let key = match key {
                        Value::String(text) => text.to_string(),
                        other => {
                            serde_json::to_string(&Self(other.clone()).json()).unwrap_or_default()
                        }
                    };
                    (key, Self(value.clone()).json())
                })
                .collect(),
        }
    }

    /// Whether it is a set, which JSON cannot tell.
    pub fn is_set(&self) -> bool {
        matches!(self.0, Value::Set(_))
    }

    /// The elements of an array, in order, or of a set, sorted; none of anything else.
    pub fn items(&self) -> Vec<Document> {
        match &self.0 {
            Value::Array(items) => items.iter().cloned().map(Self).collect(),
            Value::Set(items) => items.iter_sorted().cloned().map(Self).collect(),
            _ => Vec::new(),
        }
    }

    /// A field of an object.
    pub fn get(&self, key: &str) -> Option<Document> {
        let Value::Object(fields) = &self.0 else {
            return None;
        };
        fields.get(&Value::String(key.into())).cloned().map(Self)
    }

    /// The fields of an object by name, sorted; none of anything else. Keys that are no strings are left out.
    pub fn fields(&self) -> Option<Vec<(String, Document)>> {
        let Value::Object(fields) = &self.0 else {
            return None;
        };
        let named = fields.iter_sorted().filter_map(|(key, value)| match key {
            Value::String(key) => Some((key.to_string(), Self(value.clone()))),
            _ => None,
        });
        Some(named.collect())
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `false`.
    pub fn is_false(&self) -> bool {
        matches!(self.0, Value::Bool(false))
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        matches!(self.0, Value::Bool(true))
    }
}

impl From<serde_json::Value> for Document {
    fn from(value: serde_json::Value) -> Self {
        Self(convert(value))
    }
}

/// Without going through serde, which would stop at what it cannot hold.
fn convert(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                Value::from(number)
            } else if let Some(number) = number.as_i64() {
                Value::from(number)
            } else {
                Value::from_numeric_string(&number.to_string())
                    .unwrap_or_else(|_| number.as_f64().map_or(Value::Null, Value::from))
            }
        }
        serde_json::Value::String(text) => Value::String(text.into()),
        serde_json::Value::Array(items) => {
            Value::from(items.into_iter().map(convert).collect::<Vec<_>>())
        }
        serde_json::Value::Object(fields) => Value::from(
            fields
                .into_iter()
                .map(|(key, value)| (Value::String(key.into()), convert(value)))
                .collect::<std::collections::BTreeMap<_, _>>(),
        ),
    }
}

impl serde::Serialize for Document {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
