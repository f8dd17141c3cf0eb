//! Equality: of what two values are, and of what they may turn out to be.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Data, Kind, Value, set};
use crate::marks::Marks;
use crate::refine::Refinement;
use crate::types::Type;

impl Value {
    /// True where both are the same in everything: type, marks, what is unknown and what is known of it.
    pub fn raw_equals(&self, other: &Value) -> bool {
        self.ty == other.ty
            && self.marks == other.marks
            && self.deep == other.deep
            && self.unknown == other.unknown
            && self.data_equals(other)
    }

    /// [`Value::raw_equals`] for two values of one type.
    pub(super) fn data_equals(&self, other: &Value) -> bool {
        match (&self.data, &other.data) {
            (Data::Null, Data::Null) => true,
            (Data::Unknown(a), Data::Unknown(b)) => a == b,
            (Data::Bool(a), Data::Bool(b)) => a == b,
            (Data::Number(a), Data::Number(b)) => a == b,
            (Data::String(a), Data::String(b)) => a == b,
            (Data::Sequence(a), Data::Sequence(b)) => {
                Arc::ptr_eq(a, b)
                    || a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.raw_equals(b))
            }
            (Data::Keyed(a), Data::Keyed(b)) => {
                Arc::ptr_eq(a, b)
                    || a.len() == b.len()
                        && a.iter()
                            .zip(b.iter())
                            .all(|((k, a), (l, b))| k == l && a.raw_equals(b))
            }
            _ => false,
        }
    }

    /// Whether the two are equal: unknown where that depends on something unknown. The result has the marks of both.
    #[must_use]
    pub fn equals(&self, other: &Value) -> Value {
        let marks = if self.is_null() == other.is_null() {
            self.deep | other.deep
        } else {
            self.marks | other.marks
        };
        let result = match self.surely_equals(other) {
            Some(equal) => Value::bool(equal),
            None => Value::unknown_not_null(Type::Bool),
        };
        result.with_marks(marks)
    }

    /// [`Value::equals`] without regard to marks; `None` is unknown.
    pub fn surely_equals(&self, other: &Value) -> Option<bool> {
        if self.is_null() && other.is_certainly_not_null()
            || other.is_null() && self.is_certainly_not_null()
        {
            return Some(false);
        }
        match (&self.data, &other.data) {
            (Data::Unknown(_), Data::Unknown(_)) => return None,
            (Data::Unknown(_), _) => return other.against_unknown(self),
            (_, Data::Unknown(_)) => return self.against_unknown(other),
            (Data::Null, Data::Null) => return Some(true),
            (Data::Null, _) | (_, Data::Null) => return Some(false),
            _ => {}
        }
        // A null of any type is known: only an unknown leaves a type open.
        let open = |value: &Value| value.unknown && value.ty.has_dynamic();
        if open(self) || open(other) {
            if !self.ty.conforms_to(&other.ty) && !other.ty.conforms_to(&self.ty) {
                return Some(false);
            }
            return None;
        }
        if self.ty != other.ty {
            return Some(false);
        }
        match (self.kind(), other.kind()) {
            (Kind::Bool(a), Kind::Bool(b)) => Some(a == b),
            (Kind::Number(a), Kind::Number(b)) => Some(a == b),
            (Kind::String(a), Kind::String(b)) => Some(a == b),
            (Kind::List(a), Kind::List(b)) | (Kind::Tuple(a), Kind::Tuple(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                for (a, b) in a.iter().zip(b) {
                    match a.surely_equals(b) {
                        Some(true) => {}
                        other => return other,
                    }
                }
                Some(true)
            }
            (Kind::Set(a), Kind::Set(b)) => {
                if a.iter().chain(b).any(|v| !v.is_known()) {
                    return None;
                }
                if !self.unknown && !other.unknown && self.deep == Marks::NONE {
                    return Some(self.data_equals(other));
                }
                let all = |a: &[Value], b: &[Value]| a.iter().all(|v| set::has(b, v));
                Some(all(a, b) && all(b, a))
            }
            (Kind::Map(a), Kind::Map(b)) | (Kind::Object(a), Kind::Object(b)) => {
                if a.len() != b.len() || !a.keys().eq(b.keys()) {
                    return Some(false);
                }
                let mut result = Some(true);
                for (a, b) in a.values().zip(b.values()) {
                    match a.surely_equals(b) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => result = None,
                    }
                }
                result
            }
            _ => Some(false),
        }
    }

    /// Equality of this known value with an unknown one.
    fn against_unknown(&self, unknown: &Value) -> Option<bool> {
        if unknown
            .refinement()
            .is_some_and(|r| self.is_outside(&unknown.ty, r))
        {
            return Some(false);
        }
        if !self.is_null() && !unknown.ty.has_dynamic() && self.ty != unknown.ty {
            return Some(false);
        }
        None
    }

    /// True where this known value cannot be the one that is unknown with that type and refinement.
    fn is_outside(&self, ty: &Type, refinement: &Refinement) -> bool {
        if self.is_null() {
            return refinement.is_not_null();
        }
        if !self.ty.conforms_to(ty) {
            return true;
        }
        match self.kind() {
            Kind::String(text) => !text.starts_with(refinement.prefix()),
            Kind::Number(number) => {
                let below = refinement
                    .minimum()
                    .is_some_and(|(min, inclusive)| number < min || number == min && !inclusive);
                let above = refinement
                    .maximum()
                    .is_some_and(|(max, inclusive)| number > max || number == max && !inclusive);
                below || above
            }
            Kind::List(_) | Kind::Set(_) | Kind::Map(_) => {
                let (least, most) = self.length_range();
                most < refinement.shortest() || refinement.longest().is_some_and(|l| least > l)
            }
            _ => false,
        }
    }
}

/// The same in everything, as [`Value::raw_equals`].
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.raw_equals(other)
    }
}

impl Eq for Value {}

/// Agrees with [`Value::raw_equals`]; refinements and marks play no part.
impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.data).hash(state);
        match &self.data {
            Data::Null | Data::Unknown(_) => {}
            Data::Bool(value) => value.hash(state),
            Data::Number(value) => value.hash(state),
            Data::String(value) => value.hash(state),
            Data::Sequence(values) => values.hash(state),
            Data::Keyed(values) => values.hash(state),
        }
    }
}
