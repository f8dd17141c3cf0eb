//! Finite numbers that are no machine integers: an exact mantissa and a binary exponent, rounded when made.

use std::cmp::Ordering;
use std::sync::Arc;

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{One, ToPrimitive, Zero};

use super::{Number, PRECISION, Repr, text};

/// Numbers beyond 2^LIMIT are infinite, those below 2^-LIMIT zero: no hostile exponent costs memory or time.
const LIMIT: i64 = 1 << 20;

/// `±mantissa · 2^exponent`. In a [`Number`] the mantissa is odd, or zero.
#[derive(Clone)]
pub(super) struct Float {
    pub(super) negative: bool,
    pub(super) mantissa: BigUint,
    pub(super) exponent: i64,
    pub(super) precision: u32,
}

impl Float {
    /// Rounds to the precision and takes the smallest form.
    pub(super) fn into_number(mut self) -> Number {
        self.round();
        if self.mantissa.is_zero() {
            self.exponent = 0;
            if !self.negative {
                return Number(Repr::Small {
                    value: 0,
                    precision: self.precision,
                });
            }
            return Number(Repr::Float(Arc::new(self)));
        }
        let top = self.top();
        if top > LIMIT {
            return Number(Repr::Infinite {
                negative: self.negative,
            });
        }
        if top < -LIMIT {
            return Number(Repr::Small {
                value: 0,
                precision: self.precision,
            });
        }
        if self.exponent >= 0 && top <= 64 {
            let whole = &self.mantissa << self.exponent as usize;
            let value = whole.to_i128().map(|v| if self.negative { -v } else { v });
            if let Some(value) = value.and_then(|v| i64::try_from(v).ok()) {
                return Number(Repr::Small {
                    value,
                    precision: self.precision,
                });
            }
        }
        Number(Repr::Float(Arc::new(self)))
    }

    fn round(&mut self) {
        let bits = self.mantissa.bits();
        let precision = u64::from(self.precision);
        if bits > precision {
            let shift = bits - precision;
            let half = self.mantissa.bit(shift - 1);
            let below = self
                .mantissa
                .trailing_zeros()
                .is_some_and(|zeros| zeros < shift - 1);
            self.mantissa >>= shift as usize;
            self.exponent += shift as i64;
            if half && (below || self.mantissa.bit(0)) {
                self.mantissa += BigUint::one();
            }
        }
        if let Some(zeros) = self.mantissa.trailing_zeros()
            && zeros > 0
        {
            self.mantissa >>= zeros as usize;
            self.exponent += zeros as i64;
        }
    }

    /// The position above the highest bit: the value is below 2^top.
    pub(super) fn top(&self) -> i64 {
        self.mantissa.bits() as i64 + self.exponent
    }

    pub(super) fn is_integer(&self) -> bool {
        self.exponent >= 0 || self.mantissa.is_zero()
    }

    pub(super) fn truncated(&self) -> BigInt {
        let magnitude = if self.exponent >= 0 {
            &self.mantissa << self.exponent as usize
        } else {
            &self.mantissa >> self.exponent.unsigned_abs() as usize
        };
        let sign = if self.negative {
            Sign::Minus
        } else {
            Sign::Plus
        };
        BigInt::from_biguint(sign, magnitude)
    }

    pub(super) fn to_f64(&self) -> f64 {
        if self.mantissa.is_zero() {
            return if self.negative { -0.0 } else { 0.0 };
        }
        let magnitude: f64 = if self.top() > 1100 {
            f64::INFINITY
        } else if self.top() < -1200 {
            0.0
        } else {
            let (digits, point) = text::exact_digits(&self.mantissa, self.exponent);
            format!("0.{digits}e{point}").parse().unwrap_or(0.0)
        };
        if self.negative { -magnitude } else { magnitude }
    }
}

pub(super) fn compare_magnitudes(a: &Float, b: &Float) -> Ordering {
    a.top().cmp(&b.top()).then_with(|| {
        if a.exponent >= b.exponent {
            (&a.mantissa << (a.exponent - b.exponent) as usize).cmp(&b.mantissa)
        } else {
            a.mantissa
                .cmp(&(&b.mantissa << (b.exponent - a.exponent) as usize))
        }
    })
}

pub(super) fn add(a: &Float, b: &Float) -> Number {
    let precision = a.precision.max(b.precision);
    if a.mantissa.is_zero() || b.mantissa.is_zero() {
        let (kept, other) = if a.mantissa.is_zero() { (b, a) } else { (a, b) };
        let mut sum = kept.clone();
        sum.precision = precision;
        if kept.mantissa.is_zero() {
            sum.negative = kept.negative && other.negative;
        }
        return sum.into_number();
    }
    let (large, little) = if compare_magnitudes(a, b) == Ordering::Less {
        (b, a)
    } else {
        (a, b)
    };
    // Far below the last bit that counts only the presence of something matters, not its size.
    let floor = large.top() - (large.mantissa.bits() as i64).max(i64::from(precision)) - 4;
    let (little_mantissa, little_exponent) = if little.top() < floor {
        (BigUint::one(), floor)
    } else {
        (little.mantissa.clone(), little.exponent)
    };
    let exponent = large.exponent.min(little_exponent);
    let x = &large.mantissa << (large.exponent - exponent) as usize;
    let y = little_mantissa << (little_exponent - exponent) as usize;
    let mantissa = if large.negative == little.negative {
        x + y
    } else {
        x - y
    };
    let negative = large.negative && !mantissa.is_zero();
    Float {
        negative,
        mantissa,
        exponent,
        precision,
    }
    .into_number()
}

/// The product rounded to `precision`.
pub(super) fn product(a: &Float, b: &Float, precision: u32) -> Float {
    let mut float = Float {
        negative: a.negative != b.negative,
        mantissa: &a.mantissa * &b.mantissa,
        exponent: a.exponent + b.exponent,
        precision,
    };
    float.round();
    float
}

pub(super) fn multiply(a: &Float, b: &Float) -> Number {
    let mut float = product(a, b, PRECISION);
    let needed = float.mantissa.bits() as u32;
    float.precision = a.precision.max(b.precision).max(needed);
    float.into_number()
}

pub(super) fn divide(a: &Float, b: &Float) -> Number {
    let precision = a.precision.max(b.precision);
    let negative = a.negative != b.negative;
    if a.mantissa.is_zero() {
        return Float {
            negative,
            precision,
            ..a.clone()
        }
        .into_number();
    }
    let shift = (i64::from(precision) + 2 + b.mantissa.bits() as i64 - a.mantissa.bits() as i64)
        .max(0) as usize;
    let numerator = &a.mantissa << shift;
    let quotient = &numerator / &b.mantissa;
    let inexact = &quotient * &b.mantissa != numerator;
    let mut mantissa = quotient << 1usize;
    if inexact {
        mantissa += BigUint::one();
    }
    Float {
        negative,
        mantissa,
        exponent: a.exponent - b.exponent - shift as i64 - 1,
        precision,
    }
    .into_number()
}
