//! What plain scalars are in YAML 1.1, as PyYAML's resolver has it.

use std::sync::LazyLock;

use consort_jinja::Value;
use num_bigint::BigInt;
use num_traits::Num as _;
use regex::Regex;

use crate::source::Timestamp;

/// What a plain scalar is.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// A number, a truth value, nothing, or a point in time.
    Value(Value),
    /// `<<`: merges mappings.
    Merge,
    /// `=`, for which there is no type.
    Default,
    /// A text.
    Text,
    /// It looks like a number or a time, and is none: Python's message.
    Invalid(String),
}

static FLOAT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    )
    .ok()
});
static INT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    )
    .ok()
});
static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$",
    )
    .ok()
});

fn matches(pattern: Option<&Regex>, text: &str) -> bool {
    pattern.is_some_and(|p| p.is_match(text))
}

/// What a plain scalar is.
pub fn resolve(text: &str) -> Resolved {
    let Some(first) = text.chars().next() else {
        return Resolved::Value(Value::None);
    };
    match first {
        '~' | 'n' | 'N' if matches!(text, "~" | "null" | "Null" | "NULL") => {
            return Resolved::Value(Value::None);
        }
        '<' if text == "<<" => return Resolved::Merge,
        '=' if text == "=" => return Resolved::Default,
        'y' | 'Y' | 'n' | 'N' | 't' | 'T' | 'f' | 'F' | 'o' | 'O' => {
            if let Some(value) = boolean(text) {
                return Resolved::Value(Value::Bool(value));
            }
        }
        _ => {}
    }
    if !(first.is_ascii_digit() || matches!(first, '-' | '+' | '.')) {
        return Resolved::Text;
    }
    if matches(FLOAT.as_ref(), text) {
        return float(text);
    }
    if matches(INT.as_ref(), text) {
        return int(text);
    }
    if matches(TIME.as_ref(), text) {
        return match Timestamp::read(text) {
            Ok(time) => Resolved::Value(time.into_value()),
            Err(message) => Resolved::Invalid(message),
        };
    }
    Resolved::Text
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

pub(super) fn int(written: &str) -> Resolved {
    let text = written.replace('_', "");
    let (negative, digits) = signed(&text);
    let value = if digits == "0" {
        Some(BigInt::ZERO)
    } else if let Some(bits) = digits.strip_prefix("0b") {
        BigInt::from_str_radix(bits, 2).ok()
    } else if let Some(hex) = digits.strip_prefix("0x") {
        BigInt::from_str_radix(hex, 16).ok()
    } else if let Some(octal) = digits.strip_prefix('0') {
        BigInt::from_str_radix(if octal.is_empty() { "0" } else { octal }, 8).ok()
    } else if digits.contains(':') {
        digits.split(':').try_fold(BigInt::ZERO, |whole, part| {
            Some(whole * 60 + part.parse::<BigInt>().ok()?)
        })
    } else {
        digits.parse().ok()
    };
    match value {
        Some(value) => Resolved::Value(Value::integer(if negative { -value } else { value })),
        None => Resolved::Invalid(format!(
            "invalid literal for int() with base 10: '{written}'"
        )),
    }
}

pub(super) fn float(written: &str) -> Resolved {
    let text = written.replace('_', "").to_lowercase();
    let (negative, digits) = signed(&text);
    let value = match digits {
        ".inf" => Some(f64::INFINITY),
        ".nan" => Some(f64::NAN),
        _ if digits.contains(':') => digits.split(':').try_fold(0.0, |whole: f64, part| {
            Some(whole * 60.0 + part.parse::<f64>().ok()?)
        }),
        _ => digits.parse().ok(),
    };
    match value {
        Some(value) => Resolved::Value(Value::Float(if negative { -value } else { value })),
        None => Resolved::Invalid(format!("could not convert string to float: '{written}'")),
    }
}
