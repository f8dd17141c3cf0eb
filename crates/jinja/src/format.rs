//! Texts with places to fill: `%` as in C, and `str.format`.

mod braces;

use num_bigint::BigInt;
use num_traits::Signed as _;

use crate::error::{Error, Result};
use crate::repr;
use crate::value::{Number, Value};

pub(crate) use braces::braces;

/// Wider than this no field is filled.
const WIDEST: usize = 1_000_000;

#[derive(Default, Clone)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn width(digits: &str) -> Result<usize> {
    let width: usize = digits
        .parse()
        .map_err(|_| Error::failed("Too many decimal digits in format string"))?;
    if width > WIDEST {
        return Err(Error::failed("width too big"));
    }
    Ok(width)
}

/// What `text % value` gives.
pub(crate) fn percent(template: &str, value: &Value) -> Result<String> {
    let mut out = String::with_capacity(template.len() + 16);
    let mut chars = template.chars().peekable();
    let tuple: Option<&[Value]> = match value {
        Value::Tuple(items) => Some(items),
        _ => None,
    };
    let mut next = 0;
    let mut by_name = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut name = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let mut text = String::new();
            let mut depth = 1;
            loop {
                match chars.next() {
                    Some('(') => {
                        depth += 1;
                        text.push('(');
                    }
                    Some(')') => {
                        depth -= 1;
                        if depth == 0 {
                            break;
                        }
                        text.push(')');
                    }
                    Some(c) => text.push(c),
                    None => return Err(Error::failed("incomplete format key")),
                }
            }
            name = Some(text);
        }
        let mut spec = Spec::default();
        while let Some(flag @ ('-' | '+' | ' ' | '#' | '0')) = chars.peek().copied() {
            chars.next();
            match flag {
                '-' => spec.align = Some('<'),
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                sign => {
                    if spec.sign != Some('+') {
                        spec.sign = Some(sign);
                    }
                }
            }
        }
        let mut argument = || -> Result<Value> {
            match tuple {
                Some(items) => {
                    let item = items
                        .get(next)
                        .ok_or_else(|| Error::failed("not enough arguments for format string"))?;
                    next += 1;
                    Ok(item.clone())
                }
                None if next == 0 => {
                    next += 1;
                    Ok(value.clone())
                }
                None => Err(Error::failed("not enough arguments for format string")),
            }
        };
        let mut number =
            |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Result<Option<i64>> {
                if chars.peek() == Some(&'*') {
                    chars.next();
                    let value = argument()?;
                    return Ok(Some(
                        value.as_int().ok_or_else(|| Error::failed("* wants int"))?,
                    ));
                }
                let mut digits = String::new();
                while let Some(digit) = chars.peek().filter(|c| c.is_ascii_digit()) {
                    digits.push(*digit);
                    chars.next();
                }
                if digits.is_empty() {
                    return Ok(None);
                }
                Ok(Some(width(&digits)? as i64))
            };
        if let Some(given) = number(&mut chars)? {
            if given < 0 {
                spec.align = Some('<');
            }
            spec.width = width(&given.unsigned_abs().to_string())?;
        }
        if chars.peek() == Some(&'.') {
            chars.next();
            let given = number(&mut chars)?.unwrap_or(0);
            spec.precision = Some(width(&given.max(0).to_string())?);
        }
        while matches!(chars.peek(), Some('h' | 'l' | 'L')) {
            chars.next();
        }
        let Some(kind) = chars.next() else {
            return Err(Error::failed("incomplete format"));
        };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let item = match name {
            Some(name) => {
                by_name = true;
                match value {
                    Value::Dict(dict) => dict
                        .get(&name)
                        .ok_or_else(|| Error::failed(repr::string(&name)))?,
                    _ => return Err(Error::failed("format requires a mapping")),
                }
            }
            None => argument()?,
        };
        let align = spec.align;
        let left = align == Some('<');
        let field = match kind {
            's' | 'r' | 'a' => {
                let mut text = match kind {
                    's' => item.text()?.to_string(),
                    'r' => repr::repr(&item),
                    _ => ascii(&repr::repr(&item)),
                };
                if let Some(precision) = spec.precision {
                    text = text.chars().take(precision).collect();
                }
                spec.zero = false;
                text
            }
            'c' => match &item {
                Value::Str(text) if text.chars().count() == 1 => text.to_string(),
                other => other
                    .as_int()
                    .and_then(|code| u32::try_from(code).ok())
                    .and_then(char::from_u32)
                    .map(|c| c.to_string())
                    .ok_or_else(|| Error::failed("%c requires an int or a unicode character"))?,
            },
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
                let wanted = |value: &Value| {
                    Error::failed(format!(
                        "%{kind} format: {} is required, not {}",
                        if matches!(kind, 'd' | 'i' | 'u') {
                            "a real number"
                        } else {
                            "an integer"
                        },
                        value.type_name()
                    ))
                };
                let integer = match Number::of(&item) {
                    Some(Number::Float(number)) if matches!(kind, 'd' | 'i' | 'u') => {
                        num_traits::FromPrimitive::from_f64(number.trunc())
                            .ok_or_else(|| wanted(&item))?
                    }
                    Some(number) => number.big().ok_or_else(|| wanted(&item))?,
                    None => return Err(wanted(&item)),
                };
                let mut digits = digits_of(&integer, kind);
                if let Some(precision) = spec.precision {
                    digits.insert_str(0, &"0".repeat(precision.saturating_sub(digits.len())));
                }
                let prefix = if spec.alternate {
                    match kind {
                        'o' => "0o",
                        'x' => "0x",
                        'X' => "0X",
                        _ => "",
                    }
                } else {
                    ""
                };
                signed(&spec, integer.is_negative(), prefix, &digits)
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let number = Number::of(&item).ok_or_else(|| {
                    Error::failed(format!("must be real number, not {}", item.type_name()))
                })?;
                let number = number.float();
                let digits = float_digits(
                    number.abs(),
                    kind,
                    spec.precision.unwrap_or(6),
                    spec.alternate,
                );
                if !number.is_finite() {
                    spec.zero = false;
                }
                signed(
                    &spec,
                    number.is_sign_negative() && !number.is_nan(),
                    "",
                    &digits,
                )
            }
            other => {
                return Err(Error::failed(format!(
                    "unsupported format character '{other}' (0x{:x})",
                    other as u32
                )));
            }
        };
        let length = field.chars().count();
        let blank = spec.width.saturating_sub(length);
        if !left {
            out.extend(std::iter::repeat_n(' ', blank));
        }
        out.push_str(&field);
        if left {
            out.extend(std::iter::repeat_n(' ', blank));
        }
    }
    let surplus = match tuple {
        Some(items) => next < items.len(),
        None => next == 0 && !by_name && !matches!(value, Value::Dict(_) | Value::List(_)),
    };
    if surplus {
        return Err(Error::failed(
            "not all arguments converted during string formatting",
        ));
    }
    Ok(out)
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c as u32 {
            0..=0x7f => out.push(c),
            code @ 0x80..=0xff => out.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

fn digits_of(integer: &BigInt, kind: char) -> String {
    let radix = match kind {
        'o' => 8,
        'x' | 'X' => 16,
        'b' => 2,
        _ => 10,
    };
    let digits = integer.abs().to_str_radix(radix);
    if kind == 'X' {
        digits.to_uppercase()
    } else {
        digits
    }
}

/// Sign, prefix and digits, filled with zeros to the width if asked for.
fn signed(spec: &Spec, negative: bool, prefix: &str, digits: &str) -> String {
    let sign = if negative {
        "-"
    } else {
        match spec.sign {
            Some('+') => "+",
            Some(' ') => " ",
            _ => "",
        }
    };
    let zeros = if spec.zero && spec.align != Some('<') {
        spec.width
            .saturating_sub(sign.len() + prefix.len() + digits.len())
    } else {
        0
    };
    format!("{sign}{prefix}{}{digits}", "0".repeat(zeros))
}

fn float_digits(number: f64, kind: char, precision: usize, alternate: bool) -> String {
    let precision = precision.min(1000);
    let upper = kind.is_ascii_uppercase();
    let text = if number.is_nan() {
        "nan".to_owned()
    } else if number.is_infinite() {
        "inf".to_owned()
    } else {
        match kind.to_ascii_lowercase() {
            'f' => format!("{number:.precision$}"),
            'e' => scientific(number, precision),
            _ => {
                let precision = precision.max(1);
                let exponent = if number == 0.0 {
                    0
                } else {
                    let text = format!("{number:.*e}", precision - 1);
                    text.split_once('e')
                        .and_then(|(_, exponent)| exponent.parse::<i32>().ok())
                        .unwrap_or(0)
                };
                let text = if exponent < -4 || exponent >= precision as i32 {
                    scientific(number, precision - 1)
                } else {
                    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
                    format!("{number:.decimals$}")
                };
                if alternate {
                    text
                } else {
                    let (digits, exponent) = match text.split_once('e') {
                        Some((digits, exponent)) => (digits.to_owned(), Some(exponent.to_owned())),
                        None => (text, None),
                    };
                    let digits = if digits.contains('.') {
                        digits
                            .trim_end_matches('0')
                            .trim_end_matches('.')
                            .to_owned()
                    } else {
                        digits
                    };
                    match exponent {
                        Some(exponent) => format!("{digits}e{exponent}"),
                        None => digits,
                    }
                }
            }
        }
    };
    if upper { text.to_uppercase() } else { text }
}

fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!(
        "{digits}e{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}
