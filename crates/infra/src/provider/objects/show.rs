//! Values as provider authors know them from messages: as the Go expressions that make them.

use std::fmt::Write;

use consort_hcl::{Kind, Marks, Number, Refinement, Type, Value};

/// The Go expression that makes the value. Sensitive values are not shown.
pub fn go_value(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    if value
        .marks()
        .intersects(Marks::SENSITIVE | Marks::EPHEMERAL)
    {
        out.push_str("(sensitive value)");
        return;
    }
    match value.kind() {
        Kind::Null => call(out, "NullVal", value.ty()),
        Kind::Unknown(_) if matches!(value.ty(), Type::Dynamic) => out.push_str("cty.DynamicVal"),
        Kind::Unknown(refinement) => {
            call(out, "UnknownVal", value.ty());
            write_refinement(refinement, out);
        }
        Kind::Bool(true) => out.push_str("cty.True"),
        Kind::Bool(false) => out.push_str("cty.False"),
        Kind::Number(number) => write_number(number, out),
        Kind::String(text) => {
            let _ = write!(out, "cty.StringVal({text:?})");
        }
        Kind::List([]) => empty(out, "List", value.ty()),
        Kind::Set([]) => empty(out, "Set", value.ty()),
        Kind::Map(values) if values.is_empty() => empty(out, "Map", value.ty()),
        Kind::Tuple([]) => out.push_str("cty.EmptyTupleVal"),
        Kind::Object(values) if values.is_empty() => out.push_str("cty.EmptyObjectVal"),
        Kind::List(values) => sequence(out, "ListVal", values),
        Kind::Set(values) => sequence(out, "SetVal", values),
        Kind::Tuple(values) => sequence(out, "TupleVal", values),
        Kind::Map(values) => keyed(out, "MapVal", values),
        Kind::Object(values) => keyed(out, "ObjectVal", values),
    }
}

fn call(out: &mut String, function: &str, ty: &Type) {
    let _ = write!(out, "cty.{function}(");
    write_type(ty, out);
    out.push(')');
}

fn empty(out: &mut String, collection: &str, ty: &Type) {
    let _ = write!(out, "cty.{collection}ValEmpty(");
    write_type(ty.element().unwrap_or(&Type::Dynamic), out);
    out.push(')');
}

fn sequence(out: &mut String, function: &str, values: &[Value]) {
    let _ = write!(out, "cty.{function}([]cty.Value{{");
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_value(value, out);
    }
    out.push_str("})");
}

fn keyed(
    out: &mut String,
    function: &str,
    values: &std::collections::BTreeMap<std::sync::Arc<str>, Value>,
) {
    let _ = write!(out, "cty.{function}(map[string]cty.Value{{");
    for (i, (key, value)) in values.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        let _ = write!(out, "{key:?}:");
        write_value(value, out);
    }
    out.push_str("})");
}

fn write_refinement(refinement: &Refinement, out: &mut String) {
    let mut calls = String::new();
    if !refinement.prefix().is_empty() {
        let _ = write!(calls, ".StringPrefixFull({:?})", refinement.prefix());
    }
    for (bound, name) in [
        (refinement.minimum(), "Lower"),
        (refinement.maximum(), "Upper"),
    ] {
        if let Some((number, inclusive)) = bound {
            let _ = write!(calls, ".Number{name}Bound(");
            write_number(number, &mut calls);
            let _ = write!(calls, ", {inclusive})");
        }
    }
    if refinement.shortest() > 0 {
        let _ = write!(
            calls,
            ".CollectionLengthLowerBound({})",
            refinement.shortest()
        );
    }
    if let Some(longest) = refinement.longest() {
        let _ = write!(calls, ".CollectionLengthUpperBound({longest})");
    }
    match (refinement.is_not_null(), calls.is_empty()) {
        (false, true) => {}
        (true, true) => out.push_str(".RefineNotNull()"),
        (true, false) => {
            let _ = write!(out, ".Refine().NotNull(){calls}.NewValue()");
        }
        (false, false) => {
            let _ = write!(out, ".Refine(){calls}.NewValue()");
        }
    }
}

fn write_number(number: &Number, out: &mut String) {
    let text = number.to_string();
    if text.contains('.') {
        let _ = if text.len() <= 17 {
            write!(out, "cty.NumberFloatVal({text})")
        } else {
            write!(out, "cty.MustParseNumberVal({text:?})")
        };
        return;
    }
    let _ = write!(out, "cty.NumberIntVal({})", short_exponent(&text));
}

/// Whole numbers as Go's shortest `%g` has them: with an exponent from 10^6 on.
fn short_exponent(text: &str) -> String {
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text), |digits| ("-", digits));
    let significant = digits.trim_end_matches('0');
    if digits.len() <= 6 || significant.is_empty() {
        return text.to_owned();
    }
    let (first, rest) = significant.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}e+{:02}", digits.len() - 1)
}

fn write_type(ty: &Type, out: &mut String) {
    match ty {
        Type::Dynamic => out.push_str("cty.DynamicPseudoType"),
        Type::Bool => out.push_str("cty.Bool"),
        Type::Number => out.push_str("cty.Number"),
        Type::String => out.push_str("cty.String"),
        Type::List(of) => call(out, "List", of),
        Type::Set(of) => call(out, "Set", of),
        Type::Map(of) => call(out, "Map", of),
        Type::Tuple(of) if of.is_empty() => out.push_str("cty.EmptyTuple"),
        Type::Tuple(of) => {
            out.push_str("cty.Tuple([]cty.Type{");
            for (i, ty) in of.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_type(ty, out);
            }
            out.push_str("})");
        }
        Type::Object(of) if of.attributes.is_empty() => out.push_str("cty.EmptyObject"),
        Type::Object(of) => {
            out.push_str("cty.Object(map[string]cty.Type{");
            for (i, (name, ty)) in of.attributes.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                let _ = write!(out, "{name:?}:");
                write_type(ty, out);
            }
            out.push_str("})");
        }
    }
}
