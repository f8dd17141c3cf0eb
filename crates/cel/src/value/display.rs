//! Values in messages, as upstream prints them.

use super::{Opaque, Value};

/// A value as it appears in an error (`no such key: foo`).
pub(crate) fn display(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => go_float(*value),
        Value::String(text) => (**text).to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Timestamp(value) => value.to_string(),
        Value::Duration(value) => value.to_string(),
        Value::Type(name) => (**name).to_owned(),
        Value::List(list) => {
            let mut out = String::from("[");
            for (index, item) in list.iter().take(20).enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&item.map_or_else(|error| error.to_string(), |item| brief(&item)));
            }
            out.push(']');
            out
        }
        Value::Map(map) => {
            let entries: Vec<String> = map
                .entries()
                .take(20)
                .map(|entry| match entry {
                    Ok((key, value)) => format!("{}: {}", brief(&key), brief(&value)),
                    Err(error) => error.to_string(),
                })
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Optional(None) => "optional.none()".to_owned(),
        Value::Optional(Some(inner)) => format!("optional({})", brief(inner)),
        Value::Opaque(Opaque::Quantity(quantity)) => quantity.to_string(),
        Value::Opaque(Opaque::Ip(ip)) => ip.to_string(),
        Value::Opaque(Opaque::Cidr(cidr)) => cidr.to_string(),
        value => value.type_name().to_owned(),
    }
}

/// A nested value: containers only by their type, so that a message stays short whatever it is about.
fn brief(value: &Value<'_>) -> String {
    match value {
        Value::List(_) | Value::Map(_) | Value::Optional(_) | Value::Object(_) => {
            value.type_name().to_owned()
        }
        value => display(value),
    }
}

/// A float as Go's `%g` prints it: the shortest form that reads back the same, with an exponent when it is below -4
/// or at least 21.
pub(crate) fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
