//! Texts with places to fill: `%` as in C, and `str.format`.

use num_bigint::BigInt;
use num_traits::{Signed as _, ToPrimitive as _};

use crate::error::{Error, Result};
use crate::repr;
use crate::value::{Number, Value};

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
                    digits = format!("{digits:0>precision$}");
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
