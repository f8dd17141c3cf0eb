//! Diagnostics as `-json` output has them.

use serde_json::{Map, Value, json};

use super::describe::statements;
use super::{Diagnostic, is_hidden, snippet};
use crate::evaluate::{Function, Parameter};
use crate::source::{Position, Sources};
use crate::types::Type;

/// The object `terraform validate -json` and the `-json` UI give for a diagnostic.
pub fn json(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let mut object = Map::new();
    object.insert("severity".into(), diagnostic.severity.name().into());
    object.insert("summary".into(), diagnostic.summary.clone().into());
    object.insert("detail".into(), full_detail(diagnostic).into());
    if let Some(address) = &diagnostic.address {
        object.insert("address".into(), address.clone().into());
    }
    if let Some(snippet) = snippet(diagnostic, sources) {
        object.insert(
            "range".into(),
            json!({
                "filename": &*snippet.file,
                "start": position(snippet.start),
                "end": position(snippet.end),
            }),
        );
        if is_hidden(&snippet.file) {
            return Value::Object(object);
        }
        let values: Vec<_> = statements(diagnostic)
            .into_iter()
            .map(|(traversal, statement)| json!({"traversal": traversal, "statement": statement}))
            .collect();
        let mut shown = json!({
            "context": snippet.context,
            "code": snippet.code,
            "start_line": snippet.start_line,
            "highlight_start_offset": snippet.highlight_start,
            "highlight_end_offset": snippet.highlight_end,
            "values": values,
        });
        if let Some(call) = &diagnostic.call {
            let mut function = json!({"called_as": &*call.called_as});
            if let Some(signature) = &call.function {
                let name = call.called_as.rsplit("::").next().unwrap_or_default();
                function["signature"] = describe(name, signature);
            }
            shown["function_call"] = function;
        }
        object.insert("snippet".into(), shown);
    }
    Value::Object(object)
}

/// The detail and, in a paragraph of its own, the hint.
pub(super) fn full_detail(diagnostic: &Diagnostic) -> String {
    match &diagnostic.hint {
        Some(hint) if diagnostic.detail.is_empty() => format!("hint: {hint}"),
        Some(hint) => format!("{}\n\nhint: {hint}", diagnostic.detail),
        None => diagnostic.detail.clone(),
    }
}

fn position(at: Position) -> Value {
    json!({"line": at.line, "column": at.column, "byte": at.byte})
}

/// A type in cty's JSON form.
fn type_json(ty: &Type) -> Value {
    match ty {
        Type::Dynamic => json!("dynamic"),
        Type::Bool => json!("bool"),
        Type::Number => json!("number"),
        Type::String => json!("string"),
        Type::List(element) => json!(["list", type_json(element)]),
        Type::Set(element) => json!(["set", type_json(element)]),
        Type::Map(element) => json!(["map", type_json(element)]),
        Type::Tuple(elements) => {
            json!(["tuple", elements.iter().map(type_json).collect::<Vec<_>>()])
        }
        Type::Object(object) => {
            let attributes: Map<String, Value> = object
                .attributes
                .iter()
                .map(|(name, ty)| (name.to_string(), type_json(ty)))
                .collect();
            json!(["object", attributes])
        }
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let mut object = json!({"name": &*parameter.name, "type": type_json(&parameter.ty)});
    if !parameter.description.is_empty() {
        object["description"] = json!(&*parameter.description);
    }
    object
}

/// A function as `terraform metadata functions` describes it.
fn describe(name: &str, function: &Function) -> Value {
    let mut object = json!({
        "name": name,
        "params": function.params().iter().map(parameter).collect::<Vec<_>>(),
        "return_type": type_json(&function.return_type()),
    });
    if let Some(variadic) = function.variadic() {
        object["variadic_param"] = parameter(variadic);
    }
    object
}
