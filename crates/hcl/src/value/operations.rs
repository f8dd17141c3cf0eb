//! Arithmetic, comparison, logic and length, with unknowns and marks.

use super::{Data, Kind, Value};
use crate::number::Number;
use crate::refine::Refinement;
use crate::types::Type;

/// A closed range; infinities where there is no bound.
struct Bounds {
    least: Number,
    most: Number,
}

impl Value {
    fn bounds(&self) -> Bounds {
        let unbounded = Bounds {
            least: Number::NEGATIVE_INFINITY,
            most: Number::INFINITY,
        };
        match self.kind() {
            Kind::Number(number) => Bounds {
                least: number.clone(),
                most: number.clone(),
            },
            Kind::Unknown(refinement) => Bounds {
                least: refinement
                    .minimum()
                    .map_or(unbounded.least, |(n, _)| n.clone()),
                most: refinement
                    .maximum()
                    .map_or(unbounded.most, |(n, _)| n.clone()),
            },
            _ => unbounded,
        }
    }

    /// An operation on two numbers; anything not known gives an unknown number within the bounds of the operands.
    fn arithmetic(
        &self,
        other: &Value,
        ranged: bool,
        operate: impl Fn(&Number, &Number) -> Option<Number>,
    ) -> Value {
        let marks = self.marks | other.marks;
        if let (Kind::Number(a), Kind::Number(b)) = (self.kind(), other.kind()) {
            return Value::number(operate(a, b).unwrap_or(Number::ZERO)).with_marks(marks);
        }
        let mut refinement = Refinement::NONE.not_null();
        if ranged {
            let (a, b) = (self.bounds(), other.bounds());
            let corners = [
                operate(&a.least, &b.least),
                operate(&a.least, &b.most),
                operate(&a.most, &b.least),
                operate(&a.most, &b.most),
            ];
            // Where a corner is undefined nothing is claimed.
            if let [Some(a), Some(b), Some(c), Some(d)] = corners {
                let (low, high) = (a.clone().min(b.clone()), a.max(b));
                let (low, high) = (low.min(c.clone().min(d.clone())), high.max(c.max(d)));
                refinement = refinement.at_least(low, true).at_most(high, true);
            }
        }
        Value::unknown_with(Type::Number, refinement).with_marks(marks)
    }

    /// The sum of two numbers.
    #[must_use]
    pub fn add(&self, other: &Value) -> Value {
        self.arithmetic(other, true, sum)
    }

    /// The difference of two numbers.
    #[must_use]
    pub fn subtract(&self, other: &Value) -> Value {
        self.arithmetic(other, true, |a, b| sum(a, &b.negate()))
    }

    /// The product of two numbers; zero with anything unknown is zero.
    #[must_use]
    pub fn multiply(&self, other: &Value) -> Value {
        let zero = |v: &Value| v.as_number().is_some_and(Number::is_zero);
        if (zero(self) && !other.is_known()) || (zero(other) && !self.is_known()) {
            return Value::number(Number::ZERO).with_marks(self.marks | other.marks);
        }
        self.arithmetic(other, true, product)
    }

    /// The quotient of two numbers. The caller has refused a divisor of zero.
    #[must_use]
    pub fn divide(&self, other: &Value) -> Value {
        self.arithmetic(other, false, Number::divide)
    }

    /// What division towards zero leaves. The caller has refused a divisor of zero.
    #[must_use]
    pub fn modulo(&self, other: &Value) -> Value {
        self.arithmetic(other, false, |a, b| Some(a.modulo(b)))
    }

    /// The number with the other sign.
    #[must_use]
    pub fn negate(&self) -> Value {
        let value = match self.kind() {
            Kind::Number(number) => Value::number(number.negate()),
            _ => Value::unknown_not_null(Type::Number),
        };
        value.with_marks(self.marks)
    }

    /// The number without its sign.
    #[must_use]
    pub fn absolute(&self) -> Value {
        let value = match self.kind() {
            Kind::Number(number) => Value::number(number.absolute()),
            _ => Value::unknown_with(
                Type::Number,
                Refinement::NONE.not_null().at_least(Number::ZERO, true),
            ),
        };
        value.with_marks(self.marks)
    }

    /// The other truth value.
    #[must_use]
    pub fn not(&self) -> Value {
        let value = match self.kind() {
            Kind::Bool(value) => Value::bool(!value),
            _ => Value::unknown_not_null(Type::Bool),
        };
        value.with_marks(self.marks)
    }

    /// Both; false where one is certainly false.
    #[must_use]
    pub fn and(&self, other: &Value) -> Value {
        let value = match (self.as_bool(), other.as_bool()) {
            (Some(false), _) | (_, Some(false)) => Value::FALSE,
            (Some(true), Some(true)) => Value::TRUE,
            _ => Value::unknown_not_null(Type::Bool),
        };
        value.with_marks(self.marks | other.marks)
    }

    /// One of them; true where one is certainly true.
    #[must_use]
    pub fn or(&self, other: &Value) -> Value {
        let value = match (self.as_bool(), other.as_bool()) {
            (Some(true), _) | (_, Some(true)) => Value::TRUE,
            (Some(false), Some(false)) => Value::FALSE,
            _ => Value::unknown_not_null(Type::Bool),
        };
        value.with_marks(self.marks | other.marks)
    }

    /// Whether this number is below the other.
    #[must_use]
    pub fn less_than(&self, other: &Value) -> Value {
        let (a, b) = (self.bounds(), other.bounds());
        let value = if let (Kind::Number(x), Kind::Number(y)) = (self.kind(), other.kind()) {
            Value::bool(x < y)
        } else if a.most < b.least {
            Value::TRUE
        } else if a.least > b.most {
            Value::FALSE
        } else {
            Value::unknown_not_null(Type::Bool)
        };
        value.with_marks(self.marks | other.marks)
    }

    /// Whether this number is above the other.
    #[must_use]
    pub fn greater_than(&self, other: &Value) -> Value {
        other.less_than(self)
    }

    /// Whether this number is not above the other.
    #[must_use]
    pub fn less_than_or_equal(&self, other: &Value) -> Value {
        self.less_than(other).or(&self.equals(other))
    }

    /// Whether this number is not below the other.
    #[must_use]
    pub fn greater_than_or_equal(&self, other: &Value) -> Value {
        self.greater_than(other).or(&self.equals(other))
    }

    /// The least and the greatest number of elements this collection may turn out to have.
    pub fn length_range(&self) -> (usize, usize) {
        match (&self.data, &self.ty) {
            (_, Type::Tuple(types)) => (types.len(), types.len()),
            (_, Type::Object(object)) => (object.attributes.len(), object.attributes.len()),
            (Data::Sequence(values), Type::Set(_)) if self.unknown && values.len() > 1 => {
                (1, values.len())
            }
            (Data::Sequence(values), _) => (values.len(), values.len()),
            (Data::Keyed(values), _) => (values.len(), values.len()),
            (Data::Unknown(refinement), _) => {
                let refinement = refinement.as_deref().unwrap_or(&Refinement::NONE);
                (
                    refinement.shortest(),
                    refinement.longest().unwrap_or(usize::MAX),
                )
            }
            _ => (0, usize::MAX),
        }
    }

    /// The number of elements of a collection, tuple or object: unknown where elements of a set may be equal.
    #[must_use]
    pub fn length(&self) -> Value {
        let (least, most) = self.length_range();
        let value = if least == most {
            Value::number(least)
        } else {
            let refinement = Refinement::NONE
                .not_null()
                .at_least(Number::from(least), true);
            // What has no bound is bounded by what an address can count, as in cty.
            let most = most.min(i64::MAX as usize);
            Value::unknown_with(Type::Number, refinement.at_most(Number::from(most), true))
        };
        value.with_marks(self.marks)
    }
}

/// Undefined for opposite infinities.
fn sum(a: &Number, b: &Number) -> Option<Number> {
    let opposite = a.is_infinite() && b.is_infinite() && a != b;
    (!opposite).then(|| a.add(b))
}

/// Undefined for zero times infinity.
fn product(a: &Number, b: &Number) -> Option<Number> {
    let undefined = a.is_infinite() && b.is_zero() || a.is_zero() && b.is_infinite();
    (!undefined).then(|| a.multiply(b))
}
