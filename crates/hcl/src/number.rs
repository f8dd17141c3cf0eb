//! Numbers as Terraform's language has them: binary floating point with up to 512 bits of mantissa, rounded to the
//! nearest even. Each number carries the precision it was made with (512 when it was written in decimal, 64 when it is
//! a machine integer, 53 when it came from a machine float), because results take the larger precision of their
//! operands and that can be seen in what is printed: the same rules as cty's and Go's `big.Float`.

mod float;
mod text;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{ToPrimitive, Zero};

use float::Float;

/// The precision of numbers read from text.
pub const PRECISION: u32 = 512;
const INTEGER_PRECISION: u32 = 64;
const FLOAT_PRECISION: u32 = 53;

/// A number. Cheap to clone; machine integers need no allocation.
#[derive(Clone)]
pub struct Number(Repr);

#[derive(Clone)]
enum Repr {
    /// An integer that its precision holds exactly.
    Small {
        value: i64,
        precision: u32,
    },
    /// Everything else that is finite, and negative zero.
    Float(Arc<Float>),
    Infinite {
        negative: bool,
    },
}

impl Number {
    /// Zero.
    pub const ZERO: Number = Number(Repr::Small {
        value: 0,
        precision: INTEGER_PRECISION,
    });
    /// Greater than all others.
    pub const INFINITY: Number = Number(Repr::Infinite { negative: false });
    /// Less than all others.
    pub const NEGATIVE_INFINITY: Number = Number(Repr::Infinite { negative: true });

    /// The number that `text` writes in decimal, rounded to 512 bits. `None` where it writes none. Forms: digits with
    /// an optional sign, point and exponent, as well as `Inf`.
    pub fn parse(text: &str) -> Option<Number> {
        text::parse(text)
    }

    /// An integer of any size, with enough precision to hold it.
    pub fn from_big(value: &BigInt) -> Number {
        let precision = u32::try_from(value.bits())
            .unwrap_or(u32::MAX)
            .max(INTEGER_PRECISION);
        Float {
            negative: value.sign() == Sign::Minus,
            mantissa: value.magnitude().clone(),
            exponent: 0,
            precision,
        }
        .into_number()
    }

    /// The nearest machine float.
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Repr::Small { value, .. } => *value as f64,
            Repr::Infinite { negative: false } => f64::INFINITY,
            Repr::Infinite { negative: true } => f64::NEG_INFINITY,
            Repr::Float(float) => float.to_f64(),
        }
    }

    /// This number where it is an integer that an `i64` holds.
    pub fn to_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Small { value, .. } => Some(*value),
            Repr::Float(float) if float.mantissa.is_zero() => Some(0),
            _ => None,
        }
    }

    /// This number where it is an integer that a `u64` holds.
    pub fn to_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Small { value, .. } => u64::try_from(*value).ok(),
            _ => self.to_big().and_then(|big| big.to_u64()),
        }
    }

    /// This number where it is an integer that a `usize` holds.
    pub fn to_usize(&self) -> Option<usize> {
        self.to_u64().and_then(|value| usize::try_from(value).ok())
    }

    /// This number where it is an integer.
    pub fn to_big(&self) -> Option<BigInt> {
        match &self.0 {
            Repr::Small { value, .. } => Some(BigInt::from(*value)),
            Repr::Infinite { .. } => None,
            Repr::Float(float) => float.is_integer().then(|| float.truncated()),
        }
    }

    /// The integer part, towards zero. `None` for the infinities.
    pub fn truncated(&self) -> Option<BigInt> {
        match &self.0 {
            Repr::Small { value, .. } => Some(BigInt::from(*value)),
            Repr::Infinite { .. } => None,
            Repr::Float(float) => Some(float.truncated()),
        }
    }

    /// True where nothing follows the point.
    pub fn is_integer(&self) -> bool {
        match &self.0 {
            Repr::Small { .. } => true,
            Repr::Infinite { .. } => false,
            Repr::Float(float) => float.is_integer(),
        }
    }

    /// True for the two infinities.
    pub fn is_infinite(&self) -> bool {
        matches!(self.0, Repr::Infinite { .. })
    }

    /// True for zero, negative zero included.
    pub fn is_zero(&self) -> bool {
        match &self.0 {
            Repr::Small { value, .. } => *value == 0,
            Repr::Infinite { .. } => false,
            Repr::Float(float) => float.mantissa.is_zero(),
        }
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        match &self.0 {
            Repr::Small { value, .. } => value.signum() as i32,
            Repr::Infinite { negative } => 1 - 2 * i32::from(*negative),
            Repr::Float(float) if float.mantissa.is_zero() => 0,
            Repr::Float(float) => 1 - 2 * i32::from(float.negative),
        }
    }

    /// How many bits of mantissa results keep.
    pub fn precision(&self) -> u32 {
        match &self.0 {
            Repr::Small { precision, .. } => *precision,
            Repr::Infinite { .. } => PRECISION,
            Repr::Float(float) => float.precision,
        }
    }

    /// This number rounded to `precision` bits.
    #[must_use]
    pub fn with_precision(&self, precision: u32) -> Number {
        match &self.0 {
            Repr::Infinite { .. } => self.clone(),
            _ => Float {
                precision,
                ..self.as_float()
            }
            .into_number(),
        }
    }

    fn as_float(&self) -> Float {
        match &self.0 {
            Repr::Small { value, precision } => Float {
                negative: *value < 0,
                mantissa: BigUint::from(value.unsigned_abs()),
                exponent: 0,
                precision: *precision,
            },
            Repr::Float(float) => Float::clone(float),
            Repr::Infinite { negative } => Float {
                negative: *negative,
                mantissa: BigUint::zero(),
                exponent: 0,
                precision: PRECISION,
            },
        }
    }

    /// The sum, at the larger precision of the two. Opposite infinities give zero.
    #[must_use]
    pub fn add(&self, other: &Number) -> Number {
        match (&self.0, &other.0) {
            (
                Repr::Small {
                    value: a,
                    precision: p,
                },
                Repr::Small {
                    value: b,
                    precision: q,
                },
            ) => {
                if let Some(sum) = a.checked_add(*b) {
                    return small(sum, (*p).max(*q));
                }
            }
            (Repr::Infinite { negative: a }, Repr::Infinite { negative: b }) => {
                return if a == b { self.clone() } else { Number::ZERO };
            }
            (Repr::Infinite { .. }, _) => return self.clone(),
            (_, Repr::Infinite { .. }) => return other.clone(),
            _ => {}
        }
        float::add(&self.as_float(), &other.as_float())
    }

    /// The difference.
    #[must_use]
    pub fn subtract(&self, other: &Number) -> Number {
        self.add(&other.negate())
    }

    /// The product, at the larger precision of the two or what the product needs, at most 512 bits.
    #[must_use]
    pub fn multiply(&self, other: &Number) -> Number {
        if let (
            Repr::Small {
                value: a,
                precision: p,
            },
            Repr::Small {
                value: b,
                precision: q,
            },
        ) = (&self.0, &other.0)
            && let Some(product) = a.checked_mul(*b)
            && (product != 0 || (*a >= 0 && *b >= 0))
        {
            return small(product, (*p).max(*q));
        }
        if self.is_infinite() || other.is_infinite() {
            return match self.signum() * other.signum() {
                0 => Number::ZERO,
                s => Number(Repr::Infinite { negative: s < 0 }),
            };
        }
        float::multiply(&self.as_float(), &other.as_float())
    }

    /// The quotient, at the larger precision of the two. A number divided by zero is infinite; zero by zero is `None`.
    pub fn divide(&self, other: &Number) -> Option<Number> {
        if let (
            Repr::Small {
                value: a,
                precision: p,
            },
            Repr::Small {
                value: b,
                precision: q,
            },
        ) = (&self.0, &other.0)
            && *b != 0
            && *a != 0
            && a.checked_rem(*b) == Some(0)
            && let Some(quotient) = a.checked_div(*b)
        {
            return Some(small(quotient, (*p).max(*q)));
        }
        match (self.is_infinite(), other.is_infinite()) {
            (true, true) => return None,
            (true, false) => {
                let negative = (self.signum() < 0) != other.is_negative();
                return Some(Number(Repr::Infinite { negative }));
            }
            (false, true) => return Some(Number::ZERO),
            (false, false) => {}
        }
        if other.is_zero() {
            if self.is_zero() {
                return None;
            }
            let negative = (self.signum() < 0) != other.is_negative();
            return Some(Number(Repr::Infinite { negative }));
        }
        Some(float::divide(&self.as_float(), &other.as_float()))
    }

    /// What is left of this number after division by `other` towards zero. Dividing by zero leaves the number.
    #[must_use]
    pub fn modulo(&self, other: &Number) -> Number {
        if self.is_infinite() || other.is_infinite() {
            return self.multiply(other);
        }
        if other.is_zero() {
            return self.clone();
        }
        if let (
            Repr::Small {
                value: a,
                precision,
            },
            Repr::Small { value: b, .. },
        ) = (&self.0, &other.0)
            && let Some(rest) = a.checked_rem(*b)
        {
            return small(rest, *precision);
        }
        let precision = self.precision();
        let Some(whole) = self.divide(other).and_then(|q| q.truncated()) else {
            return self.clone();
        };
        let product = float::product(
            &other.as_float(),
            &Number::from_big(&whole)
                .with_precision(precision)
                .as_float(),
            precision,
        );
        self.subtract(&product.into_number())
            .with_precision(precision)
    }

    /// This number with the other sign.
    #[must_use]
    pub fn negate(&self) -> Number {
        match &self.0 {
            Repr::Small { value, precision } if *value != 0 && *value != i64::MIN => {
                small(-value, *precision)
            }
            Repr::Infinite { negative } => Number(Repr::Infinite {
                negative: !negative,
            }),
            _ => {
                let mut float = self.as_float();
                float.negative = !float.negative;
                float.into_number()
            }
        }
    }

    /// This number without its sign.
    #[must_use]
    pub fn absolute(&self) -> Number {
        if self.is_negative() {
            self.negate()
        } else {
            self.clone()
        }
    }

    fn is_negative(&self) -> bool {
        match &self.0 {
            Repr::Small { value, .. } => *value < 0,
            Repr::Infinite { negative } => *negative,
            Repr::Float(float) => float.negative,
        }
    }

    /// The greatest integer not above this number.
    #[must_use]
    pub fn floor(&self) -> Number {
        self.rounded_to_integer(true)
    }

    /// The least integer not below this number.
    #[must_use]
    pub fn ceil(&self) -> Number {
        self.rounded_to_integer(false)
    }

    fn rounded_to_integer(&self, down: bool) -> Number {
        if self.is_integer() || self.is_infinite() {
            return self.clone();
        }
        let Some(mut whole) = self.truncated() else {
            return self.clone();
        };
        if down && self.is_negative() {
            whole -= 1;
        } else if !down && !self.is_negative() {
            whole += 1;
        }
        Number::from_big(&whole).with_precision(self.precision())
    }

    /// As Go prints it with ten significant digits (`%.10g`), which is what orders numbers within compound set elements.
    pub(crate) fn ten_digits(&self) -> String {
        text::ten_digits(self)
    }

    /// The decimal digits of the exact value without leading or trailing zeros, and where the point stands in them;
    /// `None` for zero and the infinities. The sign is left out.
    pub(crate) fn exact_digits(&self) -> Option<(String, i64)> {
        if self.is_zero() || self.is_infinite() {
            return None;
        }
        let float = self.as_float();
        Some(text::exact_digits(&float.mantissa, float.exponent))
    }

    /// The fewest decimal digits that give this number back at its own precision, and where the point stands in them.
    pub(crate) fn shortest_digits(&self) -> Option<(String, i64)> {
        if self.is_zero() || self.is_infinite() {
            return None;
        }
        Some(text::shortest_digits(&self.as_float()))
    }

    /// Digits rounded to `keep` of them, a half to the even digit.
    pub(crate) fn round_digits(digits: &str, point: i64, keep: usize) -> (String, i64) {
        text::round_half_even(digits, point, keep)
    }

    /// Digits with the point after the first `point` of them.
    pub(crate) fn place_point(digits: &str, point: i64) -> String {
        text::place_point(digits, point)
    }

    /// True where it prints with a minus.
    pub(crate) fn prints_minus(&self) -> bool {
        self.is_negative()
    }
}

fn small(value: i64, precision: u32) -> Number {
    if precision < INTEGER_PRECISION && value.unsigned_abs() >> precision != 0 {
        return Float {
            negative: value < 0,
            mantissa: BigUint::from(value.unsigned_abs()),
            exponent: 0,
            precision,
        }
        .into_number();
    }
    Number(Repr::Small { value, precision })
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        small(value, INTEGER_PRECISION)
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Number {
        small(i64::from(value), INTEGER_PRECISION)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Number {
        small(i64::from(value), INTEGER_PRECISION)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        match i64::try_from(value) {
            Ok(value) => small(value, INTEGER_PRECISION),
            Err(_) => Number::from_big(&BigInt::from(value)),
        }
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Number {
        Number::from(value as u64)
    }
}

/// The exact value, with 53 bits of precision. Not-a-number becomes zero: callers refuse it beforehand.
impl From<f64> for Number {
    fn from(value: f64) -> Number {
        if value.is_nan() {
            return Number::ZERO;
        }
        if value.is_infinite() {
            return Number(Repr::Infinite {
                negative: value < 0.0,
            });
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i64;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = if exponent == 0 {
            (fraction, -1074)
        } else {
            (fraction | (1 << 52), exponent - 1075)
        };
        Float {
            negative: value.is_sign_negative(),
            mantissa: BigUint::from(mantissa),
            exponent,
            precision: FLOAT_PRECISION,
        }
        .into_number()
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By value; precision plays no part.
impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        if let (Repr::Small { value: a, .. }, Repr::Small { value: b, .. }) = (&self.0, &other.0) {
            return a.cmp(b);
        }
        let signs = self.signum().cmp(&other.signum());
        if signs != Ordering::Equal || self.signum() == 0 {
            return signs;
        }
        let magnitudes = match (self.is_infinite(), other.is_infinite()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => float::compare_magnitudes(&self.as_float(), &other.as_float()),
        };
        if self.signum() < 0 {
            magnitudes.reverse()
        } else {
            magnitudes
        }
    }
}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::Small { value, .. } => value.hash(state),
            Repr::Infinite { negative } => (2u8, negative).hash(state),
            Repr::Float(float) if float.mantissa.is_zero() => 0i64.hash(state),
            Repr::Float(float) => (float.negative, &float.mantissa, float.exponent).hash(state),
        }
    }
}

/// The shortest decimal text that gives the number back at its precision, never with an exponent: Go's `'f', -1`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Small { value, .. } => write!(f, "{value}"),
            Repr::Infinite { negative: false } => f.write_str("+Inf"),
            Repr::Infinite { negative: true } => f.write_str("-Inf"),
            Repr::Float(float) => f.write_str(&text::plain(float)),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
