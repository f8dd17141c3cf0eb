//! `str.format`.

use num_traits::{Signed as _, ToPrimitive as _};

use super::{Spec, ascii, digits_of, float_digits, width};
use crate::error::{Error, Result};
use crate::repr;
use crate::value::{Number, Value};

/// Looks up the value of a field name such as `0`, `name`, `name.attribute` or `name[key]`.
pub(crate) type Lookup<'a> = &'a mut dyn FnMut(&str) -> Result<Value>;

/// What `text.format(...)` gives; `lookup` gives the value of a field.
pub(crate) fn braces(template: &str, lookup: Lookup<'_>, depth: u32) -> Result<String> {
    if depth > 2 {
        return Err(Error::failed("Max string recursion exceeded"));
    }
    let mut out = String::with_capacity(template.len() + 16);
    let mut chars = template.chars().peekable();
    let mut automatic = 0;
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.peek() == Some(&'{') => {
                chars.next();
                out.push('{');
            }
            '}' if chars.peek() == Some(&'}') => {
                chars.next();
                out.push('}');
            }
            '}' => {
                return Err(Error::failed("Single '}' encountered in format string"));
            }
            '{' => {
                let mut field = String::new();
                let mut open = 1;
                loop {
                    let Some(c) = chars.next() else {
                        return Err(Error::failed("expected '}' before end of string"));
                    };
                    match c {
                        '{' => open += 1,
                        '}' => {
                            open -= 1;
                            if open == 0 {
                                break;
                            }
                        }
                        _ => {}
                    }
                    field.push(c);
                }
                let (name, spec) = match split_spec(&field) {
                    (name, Some(spec)) => (name, braces(spec, lookup, depth + 1)?),
                    (name, None) => (name, String::new()),
                };
                let (name, conversion) = match name.split_once('!') {
                    Some((name, conversion)) => (name, Some(conversion)),
                    None => (name, None),
                };
                let name = if name.is_empty() || name.starts_with(['.', '[']) {
                    let with = format!("{automatic}{name}");
                    automatic += 1;
                    with
                } else {
                    name.to_owned()
                };
                let value = lookup(&name)?;
                let value = match conversion {
                    None => value,
                    Some("s") => Value::Str(value.text()?),
                    Some("r") => Value::from(repr::repr(&value)),
                    Some("a") => Value::from(ascii(&repr::repr(&value))),
                    Some(other) => {
                        return Err(Error::failed(format!(
                            "Unknown conversion specifier {other}"
                        )));
                    }
                };
                out.push_str(&field_text(&value, &spec)?);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn split_spec(field: &str) -> (&str, Option<&str>) {
    let mut brackets = 0;
    for (at, c) in field.char_indices() {
        match c {
            '[' => brackets += 1,
            ']' => brackets -= 1,
            ':' if brackets <= 0 => return (&field[..at], Some(&field[at + 1..])),
            _ => {}
        }
    }
    (field, None)
}

fn parse_spec(text: &str) -> Result<Spec> {
    let chars: Vec<char> = text.chars().collect();
    let mut spec = Spec::default();
    let mut at = 0;
    let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '=' | '^'));
    if is_align(chars.get(1)) {
        spec.fill = Some(chars[0]);
        spec.align = Some(chars[1]);
        at = 2;
    } else if is_align(chars.first()) {
        spec.align = Some(chars[0]);
        at = 1;
    }
    if let Some(sign @ ('+' | '-' | ' ')) = chars.get(at) {
        spec.sign = Some(*sign);
        at += 1;
    }
    if chars.get(at) == Some(&'#') {
        spec.alternate = true;
        at += 1;
    }
    if chars.get(at) == Some(&'0') {
        spec.zero = true;
        at += 1;
    }
    let digits = |at: &mut usize| {
        let mut digits = String::new();
        while let Some(digit) = chars.get(*at).filter(|c| c.is_ascii_digit()) {
            digits.push(*digit);
            *at += 1;
        }
        digits
    };
    let wide = digits(&mut at);
    if !wide.is_empty() {
        spec.width = width(&wide)?;
    }
    if let Some(grouping @ (',' | '_')) = chars.get(at) {
        spec.grouping = Some(*grouping);
        at += 1;
    }
    if chars.get(at) == Some(&'.') {
        at += 1;
        let precise = digits(&mut at);
        if precise.is_empty() {
            return Err(Error::failed("Format specifier missing precision"));
        }
        spec.precision = Some(width(&precise)?);
    }
    spec.kind = chars.get(at).copied();
    if spec.kind.is_some() {
        at += 1;
    }
    if at < chars.len() {
        return Err(Error::failed("Invalid format specifier"));
    }
    Ok(spec)
}

fn field_text(value: &Value, spec: &str) -> Result<String> {
    if spec.is_empty() {
        return Ok(value.text()?.to_string());
    }
    let spec = parse_spec(spec)?;
    let unknown = |kind: char| {
        Error::failed(format!(
            "Unknown format code '{kind}' for object of type '{}'",
            value.type_name()
        ))
    };
    let (negative, prefix, digits, is_number) = match Number::of(value) {
        Some(_) if matches!(value, Value::Bool(_)) && spec.kind.is_none() => {
            (false, "", value.text()?.to_string(), false)
        }
        Some(number) => {
            let kind = spec
                .kind
                .unwrap_or(if number.is_float() { 'r' } else { 'd' });
            match kind {
                'd' | 'b' | 'o' | 'x' | 'X' | 'n' | 'c' if !number.is_float() => {
                    let integer = number.big().unwrap_or_default();
                    if kind == 'c' {
                        let c = integer
                            .to_u32()
                            .and_then(char::from_u32)
                            .ok_or_else(|| Error::failed("%c arg not in range(0x110000)"))?;
                        (false, "", c.to_string(), false)
                    } else {
                        let prefix = match kind {
                            'b' if spec.alternate => "0b",
                            'o' if spec.alternate => "0o",
                            'x' if spec.alternate => "0x",
                            'X' if spec.alternate => "0X",
                            _ => "",
                        };
                        (
                            integer.is_negative(),
                            prefix,
                            digits_of(&integer, kind),
                            true,
                        )
                    }
                }
                'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' | 'n' | 'r' => {
                    let float = number.float();
                    let digits = match kind {
                        '%' => format!(
                            "{}%",
                            float_digits(
                                float.abs() * 100.0,
                                'f',
                                spec.precision.unwrap_or(6),
                                false
                            )
                        ),
                        'r' => match spec.precision {
                            None => repr::float(float.abs()),
                            Some(precision) => {
                                let mut text = float_digits(float.abs(), 'g', precision, false);
                                if !text.contains(['.', 'e', 'n', 'i']) {
                                    text.push_str(".0");
                                }
                                text
                            }
                        },
                        'n' => float_digits(float.abs(), 'g', spec.precision.unwrap_or(6), false),
                        kind => float_digits(
                            float.abs(),
                            kind,
                            spec.precision.unwrap_or(6),
                            spec.alternate,
                        ),
                    };
                    (
                        float.is_sign_negative() && !float.is_nan(),
                        "",
                        digits,
                        true,
                    )
                }
                other => return Err(unknown(other)),
            }
        }
        None => {
            if !matches!(value, Value::Str(_)) {
                return Err(Error::failed(format!(
                    "unsupported format string passed to {}.__format__",
                    value.type_name()
                )));
            }
            if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
                return Err(unknown(kind));
            }
            let text = value.text()?;
            let text = match spec.precision {
                Some(precision) => text.chars().take(precision).collect(),
                None => text.to_string(),
            };
            (false, "", text, false)
        }
    };
    let digits = match spec.grouping {
        Some(grouping) if is_number => {
            let group = if matches!(spec.kind, Some('b' | 'o' | 'x' | 'X')) {
                4
            } else {
                3
            };
            let end = digits
                .find(|c: char| !c.is_ascii_hexdigit() || c == 'e')
                .unwrap_or(digits.len());
            let (whole, rest) = digits.split_at(end);
            let mut grouped = String::new();
            for (at, c) in whole.chars().enumerate() {
                if at > 0 && (whole.len() - at) % group == 0 {
                    grouped.push(grouping);
                }
                grouped.push(c);
            }
            grouped + rest
        }
        _ => digits,
    };
    let sign = if negative {
        "-"
    } else {
        match spec.sign {
            Some('+') if is_number => "+",
            Some(' ') if is_number => " ",
            _ => "",
        }
    };
    let length = sign.len() + prefix.len() + digits.chars().count();
    let missing = spec.width.saturating_sub(length);
    let zero = spec.zero && spec.align.is_none();
    let fill = spec.fill.unwrap_or(if zero { '0' } else { ' ' });
    let align = spec.align.unwrap_or(if zero && is_number {
        '='
    } else if is_number {
        '>'
    } else {
        '<'
    });
    let filled = |count: usize| -> String { std::iter::repeat_n(fill, count).collect() };
    Ok(match align {
        '<' => format!("{sign}{prefix}{digits}{}", filled(missing)),
        '^' => format!(
            "{}{sign}{prefix}{digits}{}",
            filled(missing / 2),
            filled(missing - missing / 2)
        ),
        '=' => format!("{sign}{prefix}{}{digits}", filled(missing)),
        _ => format!("{}{sign}{prefix}{digits}", filled(missing)),
    })
}
