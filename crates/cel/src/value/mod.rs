//! Values: scalars held, JSON and program constants borrowed, built lists and maps shared.

mod compare;
mod display;
mod equality;
mod json;
mod list;
mod map;
mod opaque;
mod text;
mod time;

use std::sync::Arc;

pub use list::List;
pub use map::{Key, Map, Object};
pub use opaque::Opaque;
pub use text::Text;
pub use time::{Duration, Timestamp};

pub(crate) use compare::compare;
pub(crate) use display::display;
pub(crate) use display::go_float;
pub(crate) use equality::equal;
pub(crate) use list::MAX_ITEMS;
pub(crate) use time::{BadTimestamp, parse_date, parse_duration, parse_timestamp};

use crate::libraries::authorizer::{Asked, Authorizer};
use crate::{Decl, EvalError};

/// A value an expression works on. JSON and program constants are borrowed for `'a`.
#[derive(Clone, Debug, Default)]
pub enum Value<'a> {
    /// `null`.
    #[default]
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `double`.
    Double(f64),
    /// `string`.
    String(Text<'a>),
    /// `bytes`.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(Duration),
    /// A list.
    List(List<'a>),
    /// A map, or an object read from JSON.
    Map(Map<'a>),
    /// An object an expression built.
    Object(Arc<Object<'a>>),
    /// `optional.of(..)` or `optional.none()`.
    Optional(Option<Arc<Value<'a>>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// A value of a library.
    Opaque(Opaque<'a>),
    /// JSON without a schema that expressions may only compare.
    Preserved(&'a serde_json::Value),
    /// The `variables` of policies: fields that are worked out when they are asked for.
    Variables,
}

impl<'a> Value<'a> {
    /// JSON of a value whose type is not declared (`dyn`).
    pub fn json(value: &'a serde_json::Value) -> Self {
        json::untyped(value)
    }

    /// JSON read by its schema: formats become timestamps, durations and bytes; lists know their kind. JSON that does
    /// not fit its schema is an error when the evaluation meets it.
    pub fn typed(value: &'a serde_json::Value, decl: &'a Decl) -> Self {
        match json::read(value, decl) {
            Ok(value) => value,
            Err(error) => Value::Opaque(Opaque::Invalid(error.to_string().into())),
        }
    }

    /// A borrowed text.
    pub fn text(text: &'a str) -> Self {
        Value::String(Text::Borrowed(text))
    }

    pub(crate) fn text_static(text: Arc<str>) -> Self {
        Value::String(Text::Shared(text))
    }

    pub(crate) fn owned_text(text: impl Into<Arc<str>>) -> Self {
        Value::String(Text::Shared(text.into()))
    }

    /// `optional.of(value)` or `optional.none()`.
    pub fn optional(value: Option<Value<'a>>) -> Self {
        Value::Optional(value.map(Arc::new))
    }

    /// A list of values.
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Value::List(List::owned(items))
    }

    /// The `authorizer` variable.
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Self {
        Value::Opaque(Opaque::Authorizer(Arc::new(Asked::new(authorizer))))
    }

    /// The `authorizer.requestResource` variable: what the request itself is about.
    pub fn authorizer_resource(
        authorizer: &'a dyn Authorizer,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Self {
        let mut asked = Asked::new(authorizer);
        for (to, from) in [
            (&mut asked.group, group),
            (&mut asked.resource, resource),
            (&mut asked.subresource, subresource),
            (&mut asked.namespace, namespace),
            (&mut asked.name, name),
        ] {
            from.clone_into(to);
        }
        Value::Opaque(Opaque::ResourceCheck(Arc::new(asked)))
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON, as upstream turns results into objects: timestamps, durations and bytes become texts; whole
    /// doubles stay numbers.
    ///
    /// # Errors
    /// When there is no JSON for it (an optional without value inside a list, an opaque value, a key that is no text).
    pub fn to_json(&self) -> Result<serde_json::Value, EvalError> {
        json::write(self, &mut Work::default())
    }

    /// Whether the types of the objects an expression built are named after the fields they stand in
    /// (`Object{spec: Object.spec{..}}`), as upstream asks of apply configurations.
    ///
    /// # Errors
    /// What upstream says of each that is not, a line each.
    pub fn check_type_names(&self) -> Result<(), EvalError> {
        let mut faults = Vec::new();
        let mut work = Work::default();
        let mut path = match self {
            Value::Object(object) => object.name.to_string(),
            _ => return Ok(()),
        };
        check_names(self, &mut path, &mut faults, &mut work)?;
        if faults.is_empty() {
            Ok(())
        } else {
            Err(EvalError::Failed(faults.join("\n")))
        }
    }

    /// The name of its type, as `type(x)` gives it.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Object(object) => &object.name,
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Opaque(opaque) => opaque.type_name(),
            Value::Preserved(_) => "unknown",
            Value::Variables => "kubernetes.variables",
        }
    }

    /// What `size()` says where there is one, and what the cost model takes as the size: 1 for scalars.
    pub(crate) fn cost_size(&self) -> u64 {
        match self {
            Value::String(text) => text.code_points() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Optional(Some(inner)) => inner.cost_size(),
            Value::Opaque(opaque) => opaque.cost_size(),
            _ => 1,
        }
    }
}

/// How much one evaluation may do beyond what the cost model counts: upstream prices some operations (joining two
/// lists, comparing deep structures) far below their work, and a hostile expression could multiply them.
#[derive(Debug)]
pub(crate) struct Work {
    left: u64,
}

impl Default for Work {
    fn default() -> Self {
        Work { left: 4_000_000 }
    }
}

impl Work {
    /// Counts `amount` units.
    pub(crate) fn spend(&mut self, amount: usize) -> Result<(), EvalError> {
        match self.left.checked_sub(amount as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::CallLimit)
            }
        }
    }
}

/// A double as JSON: whole numbers without a fraction, as upstream's serialiser writes them.
#[expect(
    clippy::float_cmp,
    reason = "whether the number is whole is an exact question"
)]
fn go_json_number(value: f64) -> serde_json::Value {
    if value.trunc() == value && value.abs() < 9e15 {
        return (value as i64).into();
    }
    serde_json::Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

fn check_names(
    value: &Value<'_>,
    path: &mut String,
    faults: &mut Vec<String>,
    work: &mut Work,
) -> Result<(), EvalError> {
    work.spend(1)?;
    match value {
        Value::Object(object) => {
            if *object.name != **path {
                faults.push(format!(
                    "unexpected type name {:?}, expected {path:?}, which matches field name path from root Object type",
                    object.name
                ));
            }
            for (name, field) in &object.fields {
                let length = path.len();
                path.push('.');
                path.push_str(name);
                check_names(field, path, faults, work)?;
                path.truncate(length);
            }
        }
        Value::List(list @ (List::Owned(_) | List::Merged(..))) => {
            for item in list.iter() {
                check_names(&item?, path, faults, work)?;
            }
        }
        Value::Map(map @ Map::Owned(_)) => {
            for entry in map.entries() {
                check_names(&entry?.1, path, faults, work)?;
            }
        }
        _ => {}
    }
    Ok(())
}
