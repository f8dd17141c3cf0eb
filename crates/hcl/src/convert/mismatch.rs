//! What to say where two types have no conversion.

use super::{can_convert, can_convert_lossy};
use crate::text::quote;
use crate::types::{ObjectType, Type};

/// Why a value of type `have` is none of type `want`: the innermost difference, where there is one to name.
pub fn mismatch(have: &Type, want: &Type) -> String {
    match (have, want) {
        (Type::Object(have), Type::Object(want)) => objects(have, want),
        (Type::Tuple(_), Type::List(e)) if matches!(**e, Type::Dynamic) => {
            "all list elements must have the same type".to_owned()
        }
        (Type::Tuple(_), Type::Set(e)) if matches!(**e, Type::Dynamic) => {
            "all set elements must have the same type".to_owned()
        }
        (Type::Object(_), Type::Map(e)) if matches!(**e, Type::Dynamic) => {
            "all map elements must have the same type".to_owned()
        }
        (Type::Tuple(elements), Type::List(want) | Type::Set(want)) => {
            let elements = elements
                .iter()
                .enumerate()
                .map(|(i, ty)| (i.to_string(), ty));
            structural(elements, want)
        }
        (Type::Object(object), Type::Map(want)) => {
            let attributes = object.attributes.iter().map(|(name, ty)| (quote(name), ty));
            structural(attributes, want)
        }
        (Type::List(have) | Type::Set(have), Type::List(want)) => {
            format!("incorrect list element type: {}", mismatch(have, want))
        }
        (Type::List(have) | Type::Set(have), Type::Set(want)) => {
            format!("incorrect set element type: {}", mismatch(have, want))
        }
        (Type::Map(have), Type::Map(want)) => {
            format!("incorrect map element type: {}", mismatch(have, want))
        }
        (Type::Tuple(_) | Type::Object(_), want) if want.is_collection() => required(want),
        (have, want) if have.is_collection() && want.is_collection() => required(want),
        (_, want) => required(want),
    }
}

fn required(want: &Type) -> String {
    format!("{} required", want.friendly_name_for_constraint())
}

fn structural<'t>(parts: impl Iterator<Item = (String, &'t Type)>, want: &Type) -> String {
    for (name, have) in parts {
        if have != want && !can_convert_lossy(have, want) {
            return format!("element {name}: {}", mismatch(have, want));
        }
    }
    format!(
        "all elements must be {}",
        want.friendly_name_for_constraint()
    )
}

fn objects(have: &ObjectType, want: &ObjectType) -> String {
    let missing: Vec<String> = want
        .attributes
        .keys()
        .filter(|name| !have.attributes.contains_key(*name) && !want.optional.contains(*name))
        .map(|name| quote(name))
        .collect();
    match missing.as_slice() {
        [] => {}
        [one] => return format!("attribute {one} is required"),
        [one, two] => return format!("attributes {one} and {two} are required"),
        [most @ .., last] => {
            return format!("attributes {}, and {last} are required", most.join(", "));
        }
    }
    let shared = || {
        want.attributes.iter().filter_map(|(name, want)| {
            let have = have.attributes.get(name)?;
            (have != want).then_some((name, have, want))
        })
    };
    let tests: [fn(&Type, &Type) -> bool; 2] = [can_convert_lossy, can_convert];
    for fits in tests {
        if let Some((name, have, want)) = shared().find(|(_, have, want)| !fits(have, want)) {
            return format!("attribute {}: {}", quote(name), mismatch(have, want));
        }
    }
    "incorrect object attributes".to_owned()
}
