//! HCL: both syntaxes, expressions and what they give, values in msgpack and JSON.

use consort_hcl::evaluate::{can_function, try_function};
use consort_hcl::{
    Diagnostics, Functions, Sources, Tables, Type, Value, format, json, msgpack, parse,
    parse_expression, parse_json, parse_template,
};
use std::sync::Arc;

use super::Target;
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "hcl",
        run: native,
        seeds: seeds::configurations,
        choices: false,
    },
    Target {
        name: "hcl_expression",
        run: expression,
        seeds: seeds::hcl_expressions,
        choices: false,
    },
    Target {
        name: "hcl_values",
        run: values,
        seeds: seeds::hcl_values,
        choices: false,
    },
];

fn shown(diagnostics: &Diagnostics, sources: &Sources) {
    for diagnostic in diagnostics {
        let _ = (
            diagnostic.summary.len(),
            diagnostic.subject.map(|at| sources.describe(at)),
        );
    }
}

/// A configuration in either syntax; what is formatted stays as it is when it is formatted again.
fn native(bytes: &[u8]) {
    let mut sources = Sources::new();
    let (body, diagnostics) = match bytes.first() {
        Some(b'{' | b'[') => parse_json(&mut sources, "main.tf.json", bytes),
        _ => parse(&mut sources, "main.tf", bytes),
    };
    shown(&diagnostics, &sources);
    let scope = scope();
    for attribute in body.attributes() {
        let _ = attribute.expr.references();
        let _ = attribute.expr.evaluate(&scope);
    }
    for block in body.blocks() {
        let _ = (block.range(), block.body.just_attributes());
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && !diagnostics.has_errors()
        && !body.is_json()
    {
        let once = format::format(text);
        assert_eq!(format::format(&once), once, "formatted twice: {text:?}");
    }
}

fn scope() -> Tables<'static> {
    let functions: Functions = [
        (Arc::from("try"), Arc::new(try_function())),
        (Arc::from("can"), Arc::new(can_function())),
    ]
    .into_iter()
    .collect();
    let object =
        json::decode_simple(br#"{"a":[1,2,{"b":"x"}],"n":null,"s":"text","t":true,"m":{"k":"v"}}"#);
    Tables::new(Arc::new(functions))
        .with("var", object.expect("a JSON object"))
        .with("u", Value::unknown(Type::Dynamic))
        .with("s", Value::unknown(Type::String))
}

fn expression(bytes: &[u8]) {
    let mut sources = Sources::new();
    let scope = scope();
    for (expr, diagnostics) in [
        parse_expression(&mut sources, "e", bytes),
        parse_template(&mut sources, "t", bytes),
    ] {
        shown(&diagnostics, &sources);
        let _ = (
            expr.references(),
            expr.as_list(),
            expr.as_map(),
            expr.as_call(),
        );
        let (value, diagnostics) = expr.evaluate(&scope);
        shown(&diagnostics, &sources);
        same(&value);
    }
}

/// A value that is known whole reads back as it was written.
fn same(value: &Value) {
    let ty = value.ty().clone();
    if let Ok(bytes) = msgpack::encode(value, &ty) {
        let back = msgpack::decode(&bytes, &ty)
            .unwrap_or_else(|error| panic!("{error} in the msgpack of {value:?}"));
        assert_eq!(
            msgpack::encode(&back, &ty).ok().as_ref(),
            Some(&bytes),
            "{value:?} in msgpack"
        );
    }
    if let Ok(bytes) = json::encode(value, &ty) {
        let back = json::decode(&bytes, &ty)
            .unwrap_or_else(|error| panic!("{error} in the JSON of {value:?}"));
        assert_eq!(
            json::encode(&back, &ty).ok().as_ref(),
            Some(&bytes),
            "{value:?} in JSON"
        );
    }
}

fn values(bytes: &[u8]) {
    if let Ok(value) = msgpack::decode(bytes, &Type::Dynamic) {
        same(&value);
    }
    if let Ok(ty) = msgpack::implied_type(bytes)
        && let Ok(value) = msgpack::decode(bytes, &ty)
    {
        same(&value);
    }
    for ty in [
        Type::list(Type::String),
        Type::map(Type::Number),
        Type::set(Type::Dynamic),
        Type::object([("a", Type::Number), ("b", Type::Dynamic)]),
    ] {
        if let Ok(value) = msgpack::decode(bytes, &ty) {
            same(&value);
        }
        if let Ok(value) = json::decode(bytes, &ty) {
            same(&value);
        }
    }
    if let Ok(value) = json::decode_simple(bytes) {
        same(&value);
    }
}
