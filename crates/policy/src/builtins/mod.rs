//! The built-in functions of Rego that the evaluator lacks, or in which it differs from OPA.
//!
//! Each takes its operands as values and gives a value or a [`Failure`]; as in OPA a failure makes the call undefined, or ends the
//! evaluation where errors of built-in functions are strict. The descriptions of OPA's documentation hold for all of them.

mod arithmetic;
mod aws;
mod certificates;
mod collections;
mod digests;
mod globs;
mod jwt;
mod keys;
mod names;
mod net;
mod schema;
mod sprintf;
mod template;
mod text;

use std::collections::BTreeMap;

use regorus::Value;

pub(crate) use self::names::arity;

/// Why a call has no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An operand has a type that the function does not take.
    #[error("operand {operand} must be {expected} but got {got}")]
    Type {
        operand: usize,
        expected: &'static str,
        got: &'static str,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// What is not to be had here: it ends the evaluation in any case, rather than be taken for an answer.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure::Other(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Failure::Other(text.to_owned())
    }
}

pub(crate) type Outcome = Result<Value, Failure>;

/// One function: its name, how many operands it takes, and what it does.
type Function = (&'static str, u8, fn(&[Value]) -> Outcome);

fn all() -> impl Iterator<Item = &'static Function> {
    [
        arithmetic::FUNCTIONS,
        aws::FUNCTIONS,
        certificates::FUNCTIONS,
        collections::FUNCTIONS,
        digests::FUNCTIONS,
        globs::FUNCTIONS,
        jwt::FUNCTIONS,
        net::FUNCTIONS,
        schema::FUNCTIONS,
        sprintf::FUNCTIONS,
        template::FUNCTIONS,
        text::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Gives the evaluator all functions of this module; they go before its own of the same name.
pub(crate) fn register(engine: &mut regorus::Engine, strict: bool) {
    for (name, arity, run) in all() {
        let call = move |operands: Vec<Value>| match run(&operands) {
            Ok(value) => Ok(value),
            Err(Failure::Unsupported(why)) => Err(anyhow::anyhow!("{name}: {why}")),
            Err(_) if !strict => Ok(Value::Undefined),
            Err(failure) => Err(anyhow::anyhow!("{name}: {failure}")),
        };
        // It can fail only for a name that was added before.
        let _ = engine.add_extension((*name).to_owned(), *arity, Box::new(call));
    }
}

/// Whether a function is one of this module, and not the evaluator's.
pub(crate) fn is_own(name: &str) -> bool {
    all().any(|(known, _, _)| *known == name)
}

/// The name of a value's type, as `type_name` gives it.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Set(_) => "set",
        Value::Object(_) => "object",
        Value::Undefined => "undefined",
    }
}

fn operand(operands: &[Value], at: usize) -> &Value {
    operands.get(at).unwrap_or(&Value::Undefined)
}

fn wrong(operands: &[Value], at: usize, expected: &'static str) -> Failure {
    Failure::Type {
        operand: at + 1,
        expected,
        got: type_of(operand(operands, at)),
    }
}

fn text_at(operands: &[Value], at: usize) -> Result<&str, Failure> {
    match operand(operands, at) {
        Value::String(text) => Ok(text),
        _ => Err(wrong(operands, at, "string")),
    }
}

/// The elements of an array or a set.
fn items_at(operands: &[Value], at: usize) -> Result<Vec<Value>, Failure> {
    match operand(operands, at) {
        Value::Array(items) => Ok(items.to_vec()),
        Value::Set(items) => Ok(items.iter_sorted().cloned().collect()),
        _ => Err(wrong(operands, at, "one of {array, set}")),
    }
}

fn string(text: impl AsRef<str>) -> Value {
    Value::String(text.as_ref().into())
}

fn object<K: AsRef<str>>(fields: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::from(
        fields
            .into_iter()
            .map(|(key, value)| (string(key), value))
            .collect::<BTreeMap<_, _>>(),
    )
}

fn array(items: impl IntoIterator<Item = Value>) -> Value {
    Value::from(items.into_iter().collect::<Vec<_>>())
}

fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(&string(key)),
        _ => None,
    }
}

fn from_json(text: &str) -> Result<Value, Failure> {
    Value::from_json_str(text).map_err(|error| Failure::Other(error.to_string()))
}

/// As Go writes JSON: compact, keys sorted, `<`, `>` and `&` escaped.
fn go_json(value: &Value) -> String {
    let text = serde_json::to_string(&crate::engine::Document::of(value.clone()).json())
        .unwrap_or_default();
    if text.contains(['<', '>', '&']) {
        text.replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
    } else {
        text
    }
}
