//! `sprintf`: the verbs, flags and widths of Go's package `fmt`, as OPA hands its operands to it: whole numbers and others as such,
//! strings as such, everything else as the text that Rego writes for it.

use regorus::Value;

use super::text::shown;
use super::{Failure, Function, Outcome, operand, string, text_at};

pub(super) const FUNCTIONS: &[Function] = &[("sprintf", 2, sprintf)];

/// More than this is no width, as in Go.
const WIDEST: usize = 1_000_000;

/// An operand as Go sees it.
enum Argument {
    Whole { negative: bool, digits: String },
    Float(f64),
    Text(String),
}

impl Argument {
    fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) => {
                // As JSON a number beyond 64 bits would be a float.
                let beyond = number
                    .as_big()
                    .filter(|_| number.as_f64().is_none_or(|it| it.abs() >= 1e18));
                let text = match beyond {
                    Some(whole) => whole.to_string(),
                    None => value.to_json_str().unwrap_or_default(),
                };
                let digits = text.trim_start_matches('-');
                if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    Argument::Whole {
                        negative: text.starts_with('-'),
                        digits: digits.to_owned(),
                    }
                } else {
                    number
                        .as_f64()
                        .map_or(Argument::Text(text), Argument::Float)
                }
            }
            other => Argument::Text(shown(other)),
        }
    }

    /// Its type in Go.
    fn kind(&self) -> &'static str {
        match self {
            Argument::Whole { digits, .. } if digits.parse::<i64>().is_err() => "*big.Int",
            Argument::Whole { .. } => "int64",
            Argument::Float(_) => "float64",
            Argument::Text(_) => "string",
        }
    }

    fn small(&self) -> Option<i128> {
        match self {
            Argument::Whole { negative, digits } => {
                let number: i128 = digits.parse().ok()?;
                Some(if *negative { -number } else { number })
            }
            _ => None,
        }
    }

    fn plain(&self) -> String {
        match self {
            Argument::Whole { negative, digits } => {
                format!("{}{digits}", if *negative { "-" } else { "" })
            }
            Argument::Float(number) => general(*number, None, 'e', false),
            Argument::Text(text) => text.clone(),
        }
    }
}

/// What stands between `%` and the verb.
#[derive(Default)]
struct Directive {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn sprintf(operands: &[Value]) -> Outcome {
    let format = text_at(operands, 0)?;
    let Value::Array(values) = operand(operands, 1) else {
        return Err(Failure::Type {
            operand: 2,
            expected: "array",
            got: super::type_of(operand(operands, 1)),
        });
    };
    let arguments: Vec<Argument> = values.iter().map(Argument::of).collect();
    Ok(string(formatted(format, &arguments)))
}

fn formatted(format: &str, arguments: &[Argument]) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format.chars().peekable();
    let mut next = 0;
    let mut reordered = false;
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = Directive::default();
        let mut bad_index = false;
        while let Some(flag) = rest.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            match flag {
                '-' => directive.minus = true,
                '+' => directive.plus = true,
                '#' => directive.sharp = true,
                ' ' => directive.space = true,
                _ => directive.zero = true,
            }
        }
        index(
            &mut rest,
            &mut next,
            arguments.len(),
            &mut reordered,
            &mut bad_index,
        );
        if rest.next_if_eq(&'*').is_some() {
            match arguments.get(next).and_then(Argument::small) {
                Some(width) if width.unsigned_abs() as usize <= WIDEST => {
                    directive.minus |= width < 0;
                    directive.width = Some(width.unsigned_abs() as usize);
                }
                _ => out.push_str("%!(BADWIDTH)"),
            }
            next += 1;
        } else {
            directive.width = number(&mut rest);
        }
        if rest.next_if_eq(&'.').is_some() {
            index(
                &mut rest,
                &mut next,
                arguments.len(),
                &mut reordered,
                &mut bad_index,
            );
            if rest.next_if_eq(&'*').is_some() {
                match arguments.get(next).and_then(Argument::small) {
                    Some(precision) if (0..=WIDEST as i128).contains(&precision) => {
                        directive.precision = Some(precision as usize);
                    }
                    Some(_) => {}
                    None => out.push_str("%!(BADPREC)"),
                }
                next += 1;
            } else {
                directive.precision = Some(number(&mut rest).unwrap_or(0));
            }
        }
        index(
            &mut rest,
            &mut next,
            arguments.len(),
            &mut reordered,
            &mut bad_index,
        );
        let Some(verb) = rest.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
        } else if bad_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(argument) = arguments.get(next) {
            next += 1;
            out.push_str(&one(argument, verb, &directive));
        } else {
            out.push_str(&format!("%!{verb}(MISSING)"));
        }
    }
    if !reordered && next < arguments.len() {
        let extra: Vec<String> = arguments[next..]
            .iter()
            .map(|argument| format!("{}={}", argument.kind(), argument.plain()))
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn number(rest: &mut Rest<'_>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        let value = number.unwrap_or(0_usize) * 10 + digit as usize - '0' as usize;
        number = Some(value.min(WIDEST));
    }
    number
}

/// `[2]`: the argument that is meant.
fn index(
    rest: &mut Rest<'_>,
    next: &mut usize,
    count: usize,
    reordered: &mut bool,
    bad: &mut bool,
) {
    if rest.next_if_eq(&'[').is_none() {
        return;
    }
    *reordered = true;
    let place = number(rest);
    let closed = rest.next_if_eq(&']').is_some();
    match place {
        Some(place) if closed && (1..=count).contains(&place) => *next = place - 1,
        _ => {
            *bad = true;
            while !closed && rest.next_if(|c| *c != ']').is_some() {}
            if !closed {
                rest.next_if_eq(&']');
            }
        }
    }
}

fn one(argument: &Argument, verb: char, directive: &Directive) -> String {
    if verb == 'T' {
        return pad(argument.kind().to_owned(), directive, false);
    }
    let text = match argument {
        Argument::Text(text) => of_text(text, verb, directive),
        Argument::Whole { negative, digits } => {
            // A number beyond 64 bits writes itself, as a string does.
            let big = verb == 's' && argument.kind() == "*big.Int";
            let verb = if big { 'd' } else { verb };
            of_whole(argument, *negative, digits, verb, directive)
        }
        Argument::Float(number) => of_float(*number, verb, directive),
    };
    text.unwrap_or_else(|| format!("%!{verb}({}={})", argument.kind(), argument.plain()))
}

/// Brought to its width: with zeros after the sign, or with spaces.
fn pad(text: String, directive: &Directive, number: bool) -> String {
    let length = text.chars().count();
    let missing = directive.width.unwrap_or(0).saturating_sub(length);
    if missing == 0 {
        text
    } else if directive.minus {
        text + &" ".repeat(missing)
    } else if directive.zero {
        let sign = number && text.starts_with(['-', '+', ' ']);
        let (sign, digits) = text.split_at(usize::from(sign));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        " ".repeat(missing) + &text
    }
}

fn of_text(text: &str, verb: char, directive: &Directive) -> Option<String> {
    let cut: String = match directive.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    let shaped = match verb {
        'v' if directive.sharp => quoted(&cut),
        'v' | 's' => cut,
        'q' if directive.sharp
            && !cut.contains('`')
            && !cut.chars().any(|c| c.is_control() && c != '\t') =>
        {
            format!("`{cut}`")
        }
        'q' => quoted(&cut),
        'x' | 'X' => {
            let bytes =
                &text.as_bytes()[..directive.precision.unwrap_or(text.len()).min(text.len())];
            let digits = bytes.iter().map(|byte| match verb {
                'x' => format!("{byte:02x}"),
                _ => format!("{byte:02X}"),
            });
            let digits: Vec<String> = digits.collect();
            digits.join(if directive.space { " " } else { "" })
        }
        _ => return None,
    };
    Some(pad(shaped, directive, false))
}

/// A string as Go writes it in its sources.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn of_whole(
    argument: &Argument,
    negative: bool,
    digits: &str,
    verb: char,
    directive: &Directive,
) -> Option<String> {
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", digits.to_owned()),
        'b' | 'o' | 'O' | 'x' | 'X' => {
            let number: u128 = digits.parse().ok()?;
            match verb {
                'b' => (
                    if directive.sharp { "0b" } else { "" },
                    format!("{number:b}"),
                ),
                'o' => (
                    if directive.sharp { "0" } else { "" },
                    format!("{number:o}"),
                ),
                'O' => ("0o", format!("{number:o}")),
                'x' => (
                    if directive.sharp { "0x" } else { "" },
                    format!("{number:x}"),
                ),
                _ => (
                    if directive.sharp { "0X" } else { "" },
                    format!("{number:X}"),
                ),
            }
        }
        'c' | 'q' | 'U' => {
            let number = argument.small()?;
            let c = u32::try_from(number)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('\u{fffd}');
            let text = match verb {
                'c' => c.to_string(),
                'q' => format!(
                    "'{}'",
                    if c == '\'' {
                        "\\'".to_owned()
                    } else {
                        c.to_string()
                    }
                ),
                _ => format!("U+{number:04X}"),
            };
            return Some(pad(text, directive, false));
        }
        _ => return None,
    };
    let digits = match directive.precision {
        Some(0) if digits == "0" => String::new(),
        Some(precision) => format!("{digits:0>precision$}"),
        None => digits,
    };
    let sign = if negative {
        "-"
    } else if directive.plus {
        "+"
    } else if directive.space {
        " "
    } else {
        ""
    };
    let directive = &Directive {
        // A precision says how many zeros there are.
        zero: directive.zero && directive.precision.is_none(),
        minus: directive.minus,
        width: directive.width,
        ..Directive::default()
    };
    Some(pad(format!("{sign}{prefix}{digits}"), directive, true))
}

fn of_float(number: f64, verb: char, directive: &Directive) -> Option<String> {
    let mut text = match verb {
        'v' | 'g' => general(number, directive.precision, 'e', directive.sharp),
        'G' => general(number, directive.precision, 'E', directive.sharp),
        'f' | 'F' => format!("{number:.*}", directive.precision.unwrap_or(6)),
        'e' | 'E' => exponent(number, Some(directive.precision.unwrap_or(6)), verb),
        _ => return None,
    };
    if !text.starts_with('-') {
        if directive.plus {
            text.insert(0, '+');
        } else if directive.space {
            text.insert(0, ' ');
        }
    }
    Some(pad(text, directive, true))
}

/// `1.5e+06`; with as many digits as it takes if none are asked for.
fn exponent(number: f64, precision: Option<usize>, mark: char) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}{mark}{sign}{:02}", power.abs())
}

/// The shorter of both forms: with an exponent below -4, or from the precision on (six digits if none is asked for).
fn general(number: f64, precision: Option<usize>, mark: char, zeros: bool) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let precision = precision.map(|precision| precision.max(1));
    let scientific = match precision {
        Some(precision) => format!("{number:.*e}", precision - 1),
        None => format!("{number:e}"),
    };
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if zeros || !text.contains('.') {
            text.to_owned()
        } else {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    };
    let limit = precision.map_or(6, |precision| precision as i32);
    if power < -4 || power >= limit {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{}{mark}{sign}{:02}", trimmed(digits), power.abs());
    }
    match precision {
        None => format!("{number}"),
        Some(precision) => {
            let decimals = (precision as i32 - 1 - power).max(0) as usize;
            trimmed(&format!("{number:.decimals$}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(format: &str, operands: &str) -> String {
        let operands = Value::from_json_str(operands).unwrap();
        match sprintf(&[Value::from(format), operands]).unwrap() {
            Value::String(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    // What OPA 1.20 says.
    #[test]
    fn flags_widths_and_what_does_not_fit_are_as_in_go() {
        for (format, operands, wanted) in [
            ("%-10s|", r#"["abc"]"#, "abc       |"),
            ("%10s|%.2s", r#"["abc", "abc"]"#, "       abc|ab"),
            (
                "%5d|%-5d|%05d|%+d|%x|%X|%o|%b",
                "[42, 42, 42, 42, 255, 255, 8, 5]",
                "   42|42   |00042|+42|ff|FF|10|101",
            ),
            (
                "%.2f|%8.3f|%f|%e",
                "[3.14159, 3.14159, 2.5, 12345.678]",
                "3.14|   3.142|2.500000|1.234568e+04",
            ),
            (
                "%q %v",
                r#"["a\"b", {"k": ["x", 1, true, null]}]"#,
                r#""a\"b" {"k": ["x", 1, true, null]}"#,
            ),
            ("%v %s", r#"[true, ["a"]]"#, r#"true ["a"]"#),
            ("%d", r#"["x"]"#, "%!d(string=x)"),
            ("%d %d", "[1]", "1 %!d(MISSING)"),
            ("%d", "[1, 2]", "1%!(EXTRA int64=2)"),
            ("%[2]d %[1]d", "[1, 2]", "2 1"),
            ("%*d", "[5, 1]", "    1"),
            ("100%", "[]", "100%!(NOVERB)"),
            (
                "%v %v %.3v %6.2f%%",
                "[123456789.5, 0.00001, 3.14159, 12.345]",
                "1.234567895e+08 1e-05 3.14  12.35%",
            ),
            (
                "%05s|%t|%#v|% d|%x",
                r#"["a", true, "a", 5, "hi"]"#,
                "0000a|%!t(string=true)|\"a\"| 5|6869",
            ),
            ("%z", "[1]", "%!z(int64=1)"),
            ("%d%%", "[7]", "7%"),
        ] {
            assert_eq!(says(format, operands), wanted, "{format} {operands}");
        }
    }
}
