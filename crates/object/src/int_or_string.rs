//! A value that is a 32-bit integer or a string: a port or its name, a number or a percentage.

use std::fmt;

use serde_json::Value;

/// An integer or a string (apimachinery's `intstr.IntOrString`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntOrString {
    /// An integer.
    Int(i32),
    /// A string, such as `25%` or `http`.
    String(String),
}

/// Why a value gives no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A string that is not a percentage.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotAPercentage,
    /// A percentage whose number cannot be read.
    #[error("invalid value for IntOrString: invalid value {0:?}")]
    Number(String),
}

impl IntOrString {
    /// From its JSON; `None` if it is neither an integer of 32 bits nor a string.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Number(number) => Some(Self::Int(i32::try_from(number.as_i64()?).ok()?)),
            _ => None,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Int(number) => Value::from(*number),
            Self::String(text) => Value::String(text.clone()),
        }
    }

    /// The integer itself, or the percentage of `total`, rounded as asked.
    pub fn scaled(&self, total: i32, round_up: bool) -> Result<i32, Error> {
        let text = match self {
            Self::Int(number) => return Ok(*number),
            Self::String(text) => text,
        };
        let number = text.strip_suffix('%').ok_or(Error::NotAPercentage)?;
        let percent: i64 = number.parse().map_err(|_| Error::Number(text.clone()))?;
        let product = percent
            .checked_mul(i64::from(total))
            .ok_or_else(|| Error::Number(text.clone()))?;
        let rounded = if round_up {
            -(-product).div_euclid(100)
        } else {
            product.div_euclid(100)
        };
        i32::try_from(rounded).map_err(|_| Error::Number(text.clone()))
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_taken_of_the_total() {
        let percent = IntOrString::String("25%".to_owned());
        assert_eq!(
            (percent.scaled(10, true), percent.scaled(10, false)),
            (Ok(3), Ok(2))
        );
        assert_eq!(IntOrString::Int(4).scaled(10, true), Ok(4));
        assert_eq!(
            IntOrString::String("25".to_owned()).scaled(10, true),
            Err(Error::NotAPercentage)
        );
        assert!(
            IntOrString::String("x%".to_owned())
                .scaled(10, true)
                .is_err()
        );
        assert!(
            IntOrString::String("9223372036854775807%".to_owned())
                .scaled(10, true)
                .is_err()
        );
    }

    #[test]
    fn numbers_beyond_32_bits_are_none() {
        assert_eq!(
            IntOrString::from_json(&Value::from(3_000_000_000_i64)),
            None
        );
        assert_eq!(
            IntOrString::from_json(&Value::from(-1)),
            Some(IntOrString::Int(-1))
        );
    }
}
