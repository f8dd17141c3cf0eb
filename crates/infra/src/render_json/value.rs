//! Values as plain JSON: what is known of them, what is not, and what may not be shown.

use consort_hcl::{Kind, Marks, Path, Step, Type, Value, json};

use super::write::{list, object, string};
use crate::address::Key;

/// The value as JSON, without the types of its dynamic parts. Marks are left out of account.
pub(super) fn plain(value: &Value) -> String {
    let (value, _) = value.clone().unmark_deep();
    let mut out = String::new();
    write_known(&mut out, &value);
    out
}

/// The known part of a value: unknown attributes are left out, unknown elements are null. None if nothing is
/// known of it.
pub(super) fn known_part(value: &Value) -> Option<String> {
    let (value, _) = value.clone().unmark_deep();
    if !value.is_known() {
        return None;
    }
    let mut out = String::new();
    write_known(&mut out, &value);
    Some(out)
}

pub(super) fn write_known(out: &mut String, value: &Value) {
    match value.kind() {
        Kind::Null | Kind::Unknown(_) => out.push_str("null"),
        Kind::Bool(flag) => out.push_str(if flag { "true" } else { "false" }),
        Kind::String(text) => string(out, text),
        Kind::Number(_) => {
            let text = json::encode(value, &Type::Number)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            out.push_str(text.as_deref().unwrap_or("null"));
        }
        Kind::List(items) | Kind::Set(items) | Kind::Tuple(items) => {
            list(out, items, write_known);
        }
        Kind::Map(entries) | Kind::Object(entries) => object(out, |fields| {
            for (name, value) in entries.iter().filter(|(_, value)| value.is_known()) {
                let mut text = String::new();
                write_known(&mut text, value);
                fields.raw(name, &text);
            }
        }),
    }
}

/// True where the value is not known; false and `{}` where it is.
pub(super) fn unknown_part(value: &Value) -> String {
    let (value, _) = value.clone().unmark_deep();
    let mut out = String::new();
    write_flags(&mut out, &value, &|value| !value.is_known());
    out
}

/// True where the value is sensitive; false and `{}` where it is not.
pub(super) fn sensitive_part(value: &Value) -> String {
    let mut out = String::new();
    write_flags(&mut out, value, &|value| {
        value.marks().intersects(Marks::SENSITIVE)
    });
    out
}

fn write_flags(out: &mut String, value: &Value, is_set: &dyn Fn(&Value) -> bool) {
    if is_set(value) {
        out.push_str("true");
        return;
    }
    let plain;
    let value = if value.marks().is_empty() {
        value
    } else {
        plain = value.clone().unmark().0;
        &plain
    };
    match value.kind() {
        Kind::Null | Kind::Bool(_) | Kind::String(_) | Kind::Number(_) => out.push_str("false"),
        Kind::Unknown(_) => out.push_str(match value.ty() {
            Type::List(_) | Type::Set(_) | Type::Tuple(_) => "[]",
            Type::Map(_) | Type::Object(_) => "{}",
            _ => "false",
        }),
        Kind::List(items) | Kind::Set(items) | Kind::Tuple(items) => {
            list(out, items, |out, item| write_flags(out, item, is_set));
        }
        Kind::Map(entries) | Kind::Object(entries) => object(out, |fields| {
            for (name, value) in entries {
                let mut text = String::new();
                write_flags(&mut text, value, is_set);
                if text != "false" {
                    fields.raw(name, &text);
                }
            }
        }),
    }
}

/// The steps of a path, as a list of names and indices.
pub(super) fn path(path: &Path) -> String {
    let mut out = String::new();
    list(&mut out, path.steps(), |out, step| match step {
        Step::Attribute(name) => string(out, name),
        Step::Index(key) => write_known(out, key),
    });
    out
}

/// The key of an instance.
pub(super) fn key(key: &Key) -> Option<String> {
    match key {
        Key::None => None,
        Key::Int(index) => Some(index.to_string()),
        Key::String(text) => {
            let mut out = String::new();
            string(&mut out, text);
            Some(out)
        }
    }
}
