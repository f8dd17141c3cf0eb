//! `format` and `formatlist`, with Go's verbs.

use num_bigint::BigInt;
use num_traits::Signed;
use unicode_segmentation::UnicodeSegmentation;

use super::Table;
use super::arguments::{Result, parameter, text};
use crate::convert::convert;
use crate::evaluate::{CallError, Function};
use crate::json;
use crate::number::Number;
use crate::text::quote;
use crate::types::Type;
use crate::value::{Kind, Value};

/// Wider than this is refused.
const WIDTH_LIMIT: usize = 1 << 20;

pub(super) fn add(table: &mut Table) {
    let arguments = || parameter("args", Type::Dynamic).null().unknown().dynamic();
    let format = parameter("format", Type::String);
    let one = Function::returning(
        Type::String,
        vec![format.clone()],
        Some(arguments()),
        |args| {
            let format = text(args, 0);
            if args[1..].iter().all(Value::is_wholly_known) {
                return formatted(format, &args[1..]).map(Value::string);
            }
            Ok(match format.find('%') {
                Some(at) if at > 0 => Value::unknown(Type::String)
                    .refined(|r| r.not_null().starting_with(&format[..at])),
                _ => Value::unknown(Type::String),
            })
        },
    );
    table.add("format", one.never_null());
    let strings = Type::list(Type::String);
    let list = Function::returning(strings, vec![format], Some(arguments()), format_list);
    table.add("formatlist", list.never_null());
}

fn format_list(args: &[Value]) -> Result {
    let (format, args) = (text(args, 0), &args[1..]);
    if args.is_empty() {
        let one = Value::string(formatted(format, args)?);
        return Ok(Value::list(Type::String, vec![one]));
    }
    let unknown = || Ok(Value::unknown(Type::list(Type::String)));
    let mut length: Option<(usize, usize)> = None;
    let mut unclear = false;
    for (i, arg) in args.iter().enumerate() {
        let sequence = matches!(arg.ty(), Type::List(_) | Type::Set(_) | Type::Tuple(_));
        if !sequence || arg.is_null() {
            unclear |= matches!(arg.ty(), Type::Dynamic) && !arg.is_known();
            continue;
        }
        let (least, most) = arg.length_range();
        if least != most {
            unclear = true;
            continue;
        }
        match length {
            None => length = Some((least, i)),
            Some((first, chooser)) if first != least => {
                let message = format!(
                    "argument {} has length {least}, which is inconsistent with argument {} of length {first}",
                    i + 1,
                    chooser + 1
                );
                return Err(CallError::argument(i + 1, message));
            }
            Some(_) => {}
        }
        unclear |= !arg.is_known();
    }
    if unclear {
        return unknown();
    }
    let length = length.map_or(1, |(length, _)| length);
    let mut out = Vec::with_capacity(length);
    for i in 0..length {
        let row: Vec<Value> = args
            .iter()
            .map(|arg| {
                let element = arg.as_sequence().and_then(|values| values.get(i));
                element.unwrap_or(arg).clone()
            })
            .collect();
        out.push(if row.iter().all(Value::is_wholly_known) {
            Value::string(formatted(format, &row).map_err(|e| {
                CallError::new(format!("error on format iteration {i}: {}", e.message))
            })?)
        } else {
            Value::unknown_not_null(Type::String)
        });
    }
    Ok(Value::list(Type::String, out))
}

/// A verb as it is written.
struct Verb<'f> {
    raw: &'f str,
    offset: usize,
    argument: usize,
    mode: char,
    zero: bool,
    sharp: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn formatted(format: &str, args: &[Value]) -> Result<String> {
    let mut out = String::with_capacity(format.len());
    let mut at = 0;
    let mut next = 1;
    let mut highest = 0;
    while let Some(percent) = format[at..].find('%') {
        out.push_str(&format[at..at + percent]);
        at += percent;
        if format[at..].starts_with("%%") {
            out.push('%');
            at += 2;
            continue;
        }
        let verb = parse_verb(format, at, next)?;
        highest = highest.max(verb.argument);
        append(&verb, args, &mut out)?;
        next = verb.argument + 1;
        at += verb.raw.len();
    }
    out.push_str(&format[at..]);
    if highest < args.len() {
        let message = if highest == 0 {
            "too many arguments; no verbs in format string".to_owned()
        } else {
            format!("too many arguments; only {highest} used by format string")
        };
        return Err(CallError::argument(highest + 1, message));
    }
    Ok(out)
}

fn parse_verb(format: &str, start: usize, next: usize) -> Result<Verb<'_>> {
    let bytes = format.as_bytes();
    let mut verb = Verb {
        raw: "",
        offset: start,
        argument: next,
        mode: 'v',
        zero: false,
        sharp: false,
        plus: false,
        minus: false,
        space: false,
        width: None,
        precision: None,
    };
    let mut at = start + 1;
    while let Some(flag) = bytes.get(at) {
        match flag {
            b'0' => verb.zero = true,
            b'#' => verb.sharp = true,
            b'-' => verb.minus = true,
            b'+' => verb.plus = true,
            b' ' => verb.space = true,
            _ => break,
        }
        at += 1;
    }
    let number = |at: &mut usize| {
        let digits = bytes[*at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let value = format[*at..*at + digits]
            .parse::<usize>()
            .unwrap_or(usize::MAX);
        *at += digits;
        (digits > 0).then_some(value)
    };
    verb.width = number(&mut at);
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        verb.precision = Some(number(&mut at).unwrap_or(0));
    }
    let unexpected = |at: usize| match format[at..].chars().next() {
        None => CallError::new(format!("invalid format string starting at offset {at}")),
        Some(c) => CallError::new(format!(
            "unrecognized format character '{c}' at offset {at}"
        )),
    };
    if bytes.get(at) == Some(&b'[') {
        at += 1;
        if bytes.get(at) == Some(&b'0') {
            return Err(unexpected(at));
        }
        verb.argument = number(&mut at).ok_or_else(|| unexpected(at))?;
        if bytes.get(at) != Some(&b']') {
            return Err(unexpected(at));
        }
        at += 1;
    }
    let Some(mode) = bytes.get(at).filter(|b| b.is_ascii_alphabetic()) else {
        return Err(unexpected(at));
    };
    verb.mode = char::from(*mode);
    verb.raw = &format[start..=at];
    let too_wide = |n: Option<usize>| n.is_some_and(|n| n > WIDTH_LIMIT);
    if too_wide(verb.width) || too_wide(verb.precision) {
        let raw = quote(verb.raw);
        return Err(CallError::new(format!(
            "width or precision of {raw} is too large"
        )));
    }
    Ok(verb)
}

impl Verb<'_> {
    fn unsupported(&self, why: &str) -> CallError {
        let (raw, offset) = (quote(self.raw), self.offset);
        CallError::new(format!("unsupported value for {raw} at {offset}: {why}"))
    }

    fn converted(&self, arg: &Value, ty: &Type) -> Result {
        convert(arg, ty).map_err(|e| self.unsupported(&e.message))
    }
}

fn append(verb: &Verb<'_>, args: &[Value], out: &mut String) -> Result<()> {
    let Some(arg) = args.get(verb.argument.wrapping_sub(1)) else {
        return Err(CallError::new(format!(
            "not enough arguments for {} at {}: need index {} but have {} total",
            quote(verb.raw),
            verb.offset,
            verb.argument,
            args.len()
        )));
    };
    if verb.mode != 'v' && arg.is_null() {
        return Err(verb.unsupported("null value cannot be formatted"));
    }
    match verb.mode {
        'v' => out.push_str(&padded(verb, as_is(verb, arg)?)),
        't' => {
            let value = verb.converted(arg, &Type::Bool)?;
            out.push_str(if value.as_bool() == Some(true) {
                "true"
            } else {
                "false"
            });
        }
        'b' | 'd' | 'o' | 'x' | 'X' => {
            let value = verb.converted(arg, &Type::Number)?;
            let whole = value
                .as_number()
                .and_then(Number::to_big)
                .ok_or_else(|| verb.unsupported("an integer is required"))?;
            out.push_str(&integer(verb, &whole));
        }
        'e' | 'E' | 'f' | 'g' | 'G' => {
            let value = verb.converted(arg, &Type::Number)?;
            let number = value.as_number().cloned().unwrap_or(Number::ZERO);
            out.push_str(&float(verb, &number));
        }
        's' | 'q' => {
            let value = verb.converted(arg, &Type::String)?;
            let mut text = value.as_str().unwrap_or_default().to_owned();
            if let Some(precision) = verb.precision.filter(|p| *p > 0) {
                text = text.graphemes(true).take(precision).collect();
            }
            if verb.mode == 'q' {
                let mut bytes = Vec::new();
                json::write::string(&text, &mut bytes);
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            out.push_str(&padded(verb, text));
        }
        mode => {
            return Err(CallError::new(format!(
                "unsupported format verb '{mode}' in {} at offset {}",
                quote(verb.raw),
                verb.offset
            )));
        }
    }
    Ok(())
}

fn as_is(verb: &Verb<'_>, arg: &Value) -> Result<String> {
    if !verb.sharp {
        match arg.kind() {
            Kind::String(text) => return Ok(text.to_owned()),
            Kind::Number(number) => return Ok(general(number, None, 'e')),
            _ => {}
        }
    }
    let bytes = json::encode_simple(arg).map_err(|e| verb.unsupported(&e.message))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn padded(verb: &Verb<'_>, text: String) -> String {
    let missing = verb
        .width
        .unwrap_or(0)
        .saturating_sub(text.graphemes(true).count());
    let padding = if verb.zero { "0" } else { " " }.repeat(missing);
    if verb.minus {
        text + &padding
    } else {
        padding + &text
    }
}

fn sign(verb: &Verb<'_>, negative: bool) -> &'static str {
    match (negative, verb.plus, verb.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn integer(verb: &Verb<'_>, value: &BigInt) -> String {
    let (base, prefix) = match verb.mode {
        'b' => (2, "0b"),
        'o' => (8, "0"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    let prefix = if verb.sharp { prefix } else { "" };
    let mut digits = value.magnitude().to_str_radix(base);
    if verb.mode == 'X' {
        digits.make_ascii_uppercase();
    }
    if verb.precision == Some(0) && digits == "0" {
        return String::new();
    }
    let sign = sign(verb, value.is_negative());
    let mut zeros = verb.precision.unwrap_or(0).saturating_sub(digits.len());
    let length = sign.len() + prefix.len() + zeros + digits.len();
    let missing = verb.width.unwrap_or(0).saturating_sub(length);
    let (mut left, mut right) = (0, 0);
    if verb.minus {
        right = missing;
    } else if verb.zero && verb.precision.is_none() {
        zeros = missing;
    } else {
        left = missing;
    }
    format!(
        "{}{sign}{prefix}{}{digits}{}",
        " ".repeat(left),
        "0".repeat(zeros),
        " ".repeat(right)
    )
}

fn float(verb: &Verb<'_>, number: &Number) -> String {
    let body = match verb.mode {
        'e' => scientific(number, Some(verb.precision.unwrap_or(6)), 'e'),
        'E' => scientific(number, Some(verb.precision.unwrap_or(6)), 'E'),
        'f' => fixed(number, verb.precision.unwrap_or(6)),
        'G' => general(number, verb.precision, 'E'),
        _ => general(number, verb.precision, 'e'),
    };
    let (sign, body) = if let Some(body) = body.strip_prefix('-') {
        ("-", body)
    } else if let Some(body) = body.strip_prefix('+') {
        (if verb.space { " " } else { "+" }, body)
    } else {
        (sign(verb, false), &*body)
    };
    let missing = verb
        .width
        .unwrap_or(0)
        .saturating_sub(sign.len() + body.len());
    if verb.zero && !verb.minus && !number.is_infinite() {
        format!("{sign}{}{body}", "0".repeat(missing))
    } else if verb.minus {
        format!("{sign}{body}{}", " ".repeat(missing))
    } else {
        format!("{}{sign}{body}", " ".repeat(missing))
    }
}

/// Digits and where the point stands in them: `keep` of them, or the fewest that give the number back.
fn digits(number: &Number, keep: Option<i64>) -> (String, i64) {
    let exact = if keep.is_some() {
        number.exact_digits()
    } else {
        number.shortest_digits()
    };
    let Some((digits, point)) = exact else {
        return (String::new(), 0);
    };
    match keep {
        None => (digits, point),
        Some(keep) if keep < 0 => (String::new(), 0),
        Some(keep) => Number::round_digits(&digits, point, keep as usize),
    }
}

fn infinite(number: &Number) -> Option<String> {
    let text = if number.prints_minus() {
        "-Inf"
    } else {
        "+Inf"
    };
    number.is_infinite().then(|| text.to_owned())
}

fn minus(number: &Number) -> &'static str {
    if number.prints_minus() { "-" } else { "" }
}

fn fixed(number: &Number, precision: usize) -> String {
    if let Some(text) = infinite(number) {
        return text;
    }
    let point = number.exact_digits().map_or(0, |(_, point)| point);
    let (digits, point) = digits(number, Some(point + precision as i64));
    let whole = if digits.is_empty() || point <= 0 {
        "0".to_owned()
    } else {
        let point = point as usize;
        let kept = &digits[..digits.len().min(point)];
        format!("{kept}{}", "0".repeat(point - kept.len()))
    };
    let mut text = format!("{}{whole}", minus(number));
    if precision > 0 {
        let mut fraction = if digits.is_empty() {
            String::new()
        } else if point < 0 {
            format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize))
        } else {
            digits.get(point as usize..).unwrap_or_default().to_owned()
        };
        fraction.truncate(precision);
        text.push_str(&format!(".{fraction:0<precision$}"));
    }
    text
}

fn scientific(number: &Number, precision: Option<usize>, letter: char) -> String {
    if let Some(text) = infinite(number) {
        return text;
    }
    let (digits, point) = digits(number, precision.map(|p| p as i64 + 1));
    let exponent = if digits.is_empty() { 0 } else { point - 1 };
    let first = digits.get(..1).unwrap_or("0");
    let rest = digits.get(1..).unwrap_or_default();
    let length = precision.unwrap_or(rest.len());
    let fraction = if length > 0 {
        format!(".{rest:0<length$}")
    } else {
        String::new()
    };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{}{first}{fraction}{letter}{sign}{:02}",
        minus(number),
        exponent.unsigned_abs()
    )
}

/// Without exponent where that is short: from 1e-4 on, up to as many digits as are shown, or 21.
fn general(number: &Number, precision: Option<usize>, letter: char) -> String {
    if let Some(text) = infinite(number) {
        return text;
    }
    let keep = precision.map(|p| p.max(1));
    let (digits, point) = digits(number, keep.map(|k| k as i64));
    if digits.is_empty() {
        return format!("{}0", minus(number));
    }
    let mut threshold = keep.map_or(6, |k| k as i64);
    if threshold > digits.len() as i64 && digits.len() as i64 >= point {
        threshold = digits.len() as i64;
    }
    if keep.is_none() {
        threshold = 6;
    }
    let exponent = point - 1;
    if exponent < -4 || exponent >= threshold {
        let rest = digits.get(1..).unwrap_or_default();
        let fraction = if rest.is_empty() {
            String::new()
        } else {
            format!(".{rest}")
        };
        let sign = if exponent < 0 { '-' } else { '+' };
        let first = &digits[..1];
        return format!(
            "{}{first}{fraction}{letter}{sign}{:02}",
            minus(number),
            exponent.unsigned_abs()
        );
    }
    format!("{}{}", minus(number), Number::place_point(&digits, point))
}
