//! Made-up values: what the provider would have computed, from what a test gives and else at random.

use std::sync::Arc;

use consort_hcl::{Kind, Path, Step, Type, Value, convert};

use crate::provider::schema::{Attribute, Block, Nesting};
use crate::provider::{Diagnostic, Diagnostics};

/// Values that stand in for computed ones, an object, and where they stand.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    /// None where everything is made up.
    pub(super) values: Option<Value>,
    /// As messages name the place.
    pub(super) place: Arc<str>,
}

/// Which attributes have to be filled in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// Computed ones without a value.
    Null,
    /// Computed ones that were left open by the plan.
    Unknown,
}

/// The value with its missing computed attributes filled in.
pub(super) fn fill(
    schema: &Block,
    value: &Value,
    missing: Missing,
    replacement: &Replacement,
) -> (Value, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let filled = complete(schema, value, missing, &mut |path, attribute| match known(
        path,
        attribute,
        replacement,
    ) {
        Ok(value) => value,
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            Value::unknown(attribute.ty.clone())
        }
    });
    (filled, diagnostics)
}

/// The value with its computed attributes left open where they have no value.
pub(super) fn leave_open(schema: &Block, value: &Value) -> Value {
    complete(schema, value, Missing::Null, &mut |_, attribute| {
        Value::unknown(attribute.ty.clone())
    })
}

fn complete(
    schema: &Block,
    value: &Value,
    missing: Missing,
    make: &mut dyn FnMut(&Path, &Attribute) -> Value,
) -> Value {
    let changed = value.transform(&mut |path, part| {
        let is_missing = match missing {
            Missing::Null => part.is_null(),
            Missing::Unknown => !part.is_known(),
        };
        if !is_missing {
            return Ok::<_, std::convert::Infallible>(part);
        }
        Ok(match schema.attribute_at(path) {
            Some(attribute) if attribute.computed && !attribute.write_only => make(path, attribute),
            _ => part,
        })
    });
    match changed {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// The value of an attribute: the one given for it, completed, or one made up.
fn known(
    path: &Path,
    attribute: &Attribute,
    replacement: &Replacement,
) -> Result<Value, Diagnostic> {
    let failed = |detail: String| Diagnostic::error("Failed to compute attribute", detail);
    let Some(values) = &replacement.values else {
        return Ok(made_up(attribute));
    };
    let mut given = values.clone();
    let names: Vec<&Arc<str>> = path
        .steps()
        .iter()
        .filter_map(|step| match step {
            Step::Attribute(name) => Some(name),
            // One object stands for all elements of a collection.
            Step::Index(_) => None,
        })
        .collect();
    for (at, name) in names.iter().enumerate() {
        let found = match given.kind() {
            Kind::Object(fields) | Kind::Map(fields) => fields.get(*name).cloned(),
            Kind::Null => None,
            _ => {
                let outer: Vec<&str> = names[..at].iter().map(|name| &***name).collect();
                return Err(failed(format!(
                    "Terraform expected an object type for attribute \"{}\" defined within the mocked data at {}, but found {}.",
                    outer.join("."),
                    replacement.place,
                    given.ty().friendly_name()
                )));
            }
        };
        match found {
            Some(found) => given = found,
            None => return Ok(made_up(attribute)),
        }
    }
    let completed = complete_type(&given, attribute);
    convert(&completed, &attribute.ty).map_err(|error| {
        let name = path.to_string();
        failed(format!(
            "Terraform could not compute a value for the target type {} with the mocked data defined at {} with the attribute \"{}\": {error}.",
            attribute.ty.friendly_name(),
            replacement.place,
            name.trim_start_matches('.')
        ))
    })
}

/// A value given for an attribute, with what is missing in its objects.
fn complete_type(given: &Value, attribute: &Attribute) -> Value {
    let Some(nested) = &attribute.nested else {
        return with_fields(given, &attribute.ty);
    };
    let one = |value: &Value| match value.kind() {
        Kind::Object(fields) | Kind::Map(fields) => {
            Value::object(nested.attributes.iter().map(|(name, attribute)| {
                let value = match fields.get(name) {
                    Some(found) => complete_type(found, attribute),
                    None if attribute.computed => made_up(attribute),
                    None => Value::null(attribute.ty.clone()),
                };
                (name.clone(), value)
            }))
        }
        _ => value.clone(),
    };
    match (nested.nesting, given.kind()) {
        (Nesting::Single | Nesting::Group, _) => one(given),
        (Nesting::Map, Kind::Map(fields) | Kind::Object(fields)) => {
            Value::object(fields.iter().map(|(key, value)| (key.clone(), one(value))))
        }
        (_, Kind::List(elements) | Kind::Set(elements) | Kind::Tuple(elements)) => {
            Value::tuple(elements.iter().map(one).collect())
        }
        _ => given.clone(),
    }
}

/// The same by a type alone: attributes that objects lack are made up.
fn with_fields(given: &Value, ty: &Type) -> Value {
    match (ty, given.kind()) {
        (Type::Object(object), Kind::Object(fields) | Kind::Map(fields)) => {
            Value::object(object.attributes.iter().map(|(name, ty)| {
                let value = match fields.get(name) {
                    Some(found) => with_fields(found, ty),
                    None => random(ty),
                };
                (name.clone(), value)
            }))
        }
        (
            Type::List(element) | Type::Set(element),
            Kind::List(elements) | Kind::Set(elements) | Kind::Tuple(elements),
        ) if !elements.is_empty() => Value::tuple(
            elements
                .iter()
                .map(|value| with_fields(value, element))
                .collect(),
        ),
        (Type::Map(element), Kind::Map(fields) | Kind::Object(fields)) => Value::object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), with_fields(value, element))),
        ),
        _ => given.clone(),
    }
}

/// A made-up value of an attribute.
fn made_up(attribute: &Attribute) -> Value {
    match &attribute.nested {
        Some(nested) if matches!(nested.nesting, Nesting::Single | Nesting::Group) => {
            Value::object(
                nested
                    .attributes
                    .iter()
                    .map(|(name, attribute)| (name.clone(), made_up(attribute))),
            )
        }
        _ => random(&attribute.ty),
    }
}

/// A made-up value of a type: nothing, nought, and words of eight letters.
fn random(ty: &Type) -> Value {
    match ty {
        Type::Bool => Value::bool(false),
        Type::Number => Value::number(0_i64),
        Type::String => Value::string(word()),
        Type::List(element) => Value::list((**element).clone(), Vec::new()),
        Type::Set(element) => Value::set((**element).clone(), Vec::new()),
        Type::Map(element) => Value::map((**element).clone(), Vec::<(Arc<str>, Value)>::new()),
        Type::Tuple(elements) => Value::tuple(elements.iter().map(random).collect()),
        Type::Object(object) => Value::object(
            object
                .attributes
                .iter()
                .map(|(name, ty)| (name.clone(), random(ty))),
        ),
        Type::Dynamic => Value::null(Type::Dynamic),
    }
}

/// Eight lower-case letters and digits.
fn word() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut bits = uuid::Uuid::new_v4().as_u128();
    // The bits of a version 4 UUID that say its version and variant are the same in all.
    bits = (bits ^ (bits >> 64)) & ((1 << 60) - 1);
    (0..8)
        .map(|_| {
            let letter = LETTERS[(bits % 36) as usize] as char;
            bits /= 36;
            letter
        })
        .collect()
}
