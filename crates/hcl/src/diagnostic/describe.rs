//! Values in a few words, for messages.

use super::Observed;
use crate::marks::Marks;
use crate::traversal::Traversal;
use crate::types::Type;
use crate::value::{Kind, Value};

/// The largest length that is worth a word.
const MAX_LENGTH: usize = 1024;

/// What a message says of the value of a reference, after its name: `is "a"`. Nothing where there is nothing to
/// say: of what is unknown or confidential only if that led to the problem.
pub fn describe_value(value: &Value, unknown: bool, confidential: bool) -> Option<String> {
    if value.marks().contains(Marks::SENSITIVE) {
        return confidential.then(|| "has a sensitive value".to_owned());
    }
    if value.marks().contains(Marks::EPHEMERAL) {
        return confidential.then(|| "has an ephemeral value".to_owned());
    }
    if value.is_known() {
        return Some(format!("is {}", compact(value)));
    }
    let dynamic = matches!(value.ty(), Type::Dynamic);
    let name = value.ty().friendly_name();
    if !unknown {
        return (!dynamic).then(|| format!("is a {name}"));
    }
    if dynamic {
        return Some("will be known only after apply".to_owned());
    }
    if !value.ty().is_collection() {
        return Some(format!("is a {name}, known only after apply"));
    }
    let (least, most) = value.length_range();
    let short = most <= MAX_LENGTH;
    Some(if least == most {
        format!("is a {name} of length {least}, known only after apply")
    } else if least != 0 && short {
        format!("is a {name} with between {least} and {most} elements, known only after apply")
    } else if least != 0 {
        format!("is a {name} with at least {least} elements, known only after apply")
    } else if short {
        format!("is a {name} with up to {most} elements, known only after apply")
    } else {
        format!("is a {name}, known only after apply")
    })
}

/// A value in one line: primitive ones in full, others by their type and size. Elements are never shown.
pub fn compact(value: &Value) -> String {
    if value.marks().contains(Marks::SENSITIVE) {
        return "(sensitive value)".to_owned();
    }
    if value.marks().contains(Marks::EPHEMERAL) {
        return "(ephemeral value)".to_owned();
    }
    let sized = |length: usize| match length {
        0 => format!("empty {}", value.ty().friendly_name()),
        1 => format!("{} with 1 element", value.ty().friendly_name()),
        _ => format!("{} with {length} elements", value.ty().friendly_name()),
    };
    match value.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Unknown(_) => "(not yet known)".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(number) => number.ten_digits(),
        Kind::String(text) => crate::text::quote(text),
        Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => sized(values.len()),
        Kind::Map(values) => sized(values.len()),
        Kind::Object(values) => match (values.len(), values.keys().next()) {
            (0, _) | (_, None) => "object with no attributes".to_owned(),
            (1, Some(name)) => format!("object with 1 attribute {}", crate::text::quote(name)),
            (count, _) => format!("object with {count} attributes"),
        },
    }
}

/// A reference as messages name it.
pub fn traversal_text(traversal: &Traversal) -> String {
    traversal.text()
}

/// What there is to say about the values of a diagnostic: names and statements, in order of names.
pub(super) fn statements(diagnostic: &super::Diagnostic) -> Vec<(String, String)> {
    let mut all: Vec<_> = diagnostic
        .observed
        .iter()
        .filter_map(|Observed { traversal, value }| {
            let statement = describe_value(
                value,
                diagnostic.caused_by_unknown,
                diagnostic.caused_by_confidential,
            )?;
            Some((traversal.to_string(), statement))
        })
        .collect();
    all.sort();
    all
}
