//! Conversion between types: what Terraform does wherever a value meets a type it does not have.

mod mismatch;
mod run;
mod unify;

#[cfg(test)]
mod tests;

use crate::path::Path;
use crate::types::Type;
use crate::value::Value;

pub use mismatch::mismatch;
pub use unify::{Unified, unify, unify_lossy};

/// Why a value could not be converted, and where in it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ConvertError {
    /// Where in the value; the root where the types alone do not fit.
    pub path: Path,
    /// What was expected.
    pub message: String,
}

impl ConvertError {
    fn new(path: &Path, message: impl Into<String>) -> ConvertError {
        ConvertError {
            path: path.clone(),
            message: message.into(),
        }
    }

    /// The message after its path, as Terraform shows both: `.a[0]: a number is required`.
    pub fn located(&self) -> String {
        if self.path.is_root() {
            self.message.clone()
        } else {
            format!("{}: {}", self.path, self.message)
        }
    }
}

/// `value` as a value of type `want`. Where `want` has `Dynamic`, the type there is what fits the value; attributes
/// that are optional in `want` become null where the value has none. A value of that type already is only cloned.
///
/// # Errors
/// Where no conversion exists between the types, or this value does not allow it.
pub fn convert(value: &Value, want: &Type) -> Result<Value, ConvertError> {
    if value.ty() == want {
        return Ok(value.clone());
    }
    if want.has_optional() && *value.ty() == want.without_optional() {
        return Ok(value.clone());
    }
    if !can_convert_lossy(value.ty(), want) {
        return Err(ConvertError {
            path: Path::root(),
            message: mismatch(value.ty(), want),
        });
    }
    run::run(value, want, true, &mut Path::root())
}

/// True where every value of type `from` has one of type `to` that means the same.
pub fn can_convert(from: &Type, to: &Type) -> bool {
    possible(from, to, false)
}

/// True where values of type `from` may be converted to type `to`, though perhaps not all: `"x"` to a number.
pub fn can_convert_lossy(from: &Type, to: &Type) -> bool {
    possible(from, to, true)
}

fn possible(from: &Type, to: &Type, lossy: bool) -> bool {
    if from == to {
        return true;
    }
    match (from, to) {
        (_, Type::Dynamic) | (Type::Number | Type::Bool, Type::String) => true,
        (Type::Dynamic, _) | (Type::String, Type::Number | Type::Bool) => lossy,
        (Type::Object(from), Type::Object(to)) => to.attributes.iter().all(|(name, want)| {
            from.attributes.get(name).map_or_else(
                || to.optional.contains(name),
                |have| possible(have, want, lossy),
            )
        }),
        (Type::Tuple(from), Type::Tuple(to)) => {
            from.len() == to.len()
                && from
                    .iter()
                    .zip(to.iter())
                    .all(|(have, want)| possible(have, want, lossy))
        }
        (Type::List(have) | Type::Set(have), Type::List(want))
        | (Type::Set(have), Type::Set(want))
        | (Type::Map(have), Type::Map(want)) => possible(have, want, lossy),
        (Type::List(have), Type::Set(want)) => lossy && possible(have, want, lossy),
        (Type::Tuple(from), Type::List(want) | Type::Set(want)) => {
            structural_element(from.iter(), want, lossy, true)
                .is_some_and(|want| all_possible(from.iter(), &want, lossy))
        }
        (Type::Object(from), Type::Map(want)) => {
            structural_element(from.attributes.values(), want, lossy, false)
                .is_some_and(|want| all_possible(from.attributes.values(), &want, lossy))
        }
        (Type::Map(have), Type::Object(to)) => {
            lossy
                && to
                    .attributes
                    .iter()
                    .all(|(name, want)| possible(have, want, lossy) || to.optional.contains(name))
        }
        _ => false,
    }
}

/// The element type that the parts of a tuple or object get where they become a collection of `want`.
fn structural_element<'t>(
    mut parts: impl Iterator<Item = &'t Type> + Clone,
    want: &Type,
    lossy: bool,
    sequence: bool,
) -> Option<Type> {
    if !matches!(want, Type::Dynamic) || parts.clone().next().is_none() {
        return Some(want.clone());
    }
    let element = unify::unify_types(parts.clone(), lossy)?.ty;
    let untyped = matches!(element, Type::Dynamic);
    if sequence && untyped && parts.any(|ty| !matches!(ty, Type::Dynamic)) {
        return None;
    }
    Some(element)
}

fn all_possible<'t>(mut parts: impl Iterator<Item = &'t Type>, want: &Type, lossy: bool) -> bool {
    // Neighbours mostly have one type.
    let mut last: Option<&Type> = None;
    parts.all(|have| {
        if last == Some(have) {
            return true;
        }
        last = Some(have);
        possible(have, want, lossy)
    })
}
