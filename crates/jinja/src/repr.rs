//! Values as Python shows them.

use std::fmt::Write as _;

use crate::value::Value;

/// What `repr()` gives.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out, 0);
    out
}

/// What `str()` gives.
pub fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        Value::Object(shown) => object(|| shown.text()),
        Value::Undefined(_) => String::new(),
        value => repr(value),
    }
}

/// Deeper than this a value is shown as dots, as one that holds itself would be without end.
const DEPTH: usize = 64;

/// No text that is larger goes on.
const LARGEST: usize = 1_000_000_000;

thread_local! {
    /// How many objects are being shown within each other: each begins to count its depth anew.
    static OBJECTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What shows an object.
fn object(shown: impl FnOnce() -> String) -> String {
    let outer = OBJECTS.get();
    if outer >= 16 {
        return "...".to_owned();
    }
    OBJECTS.set(outer + 1);
    let text = shown();
    OBJECTS.set(outer);
    text
}

fn write(value: &Value, out: &mut String, depth: usize) {
    // What is shared is written out each time: a few lines may stand for more than any memory holds.
    if depth > DEPTH || out.len() > LARGEST {
        out.push_str("...");
        return;
    }
    let list = |items: &[Value], out: &mut String| {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            write(item, out, depth + 1);
        }
    };
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Big(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Str(text) => write_string(text, out),
        Value::Bytes(bytes) => out.push_str(&self::bytes(bytes)),
        Value::List(items) => {
            out.push('[');
            list(&items.read(), out);
            out.push(']');
        }
        Value::Tuple(items) => {
            out.push('(');
            list(items, out);
            out.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
        Value::Dict(dict) => {
            out.push('{');
            for (at, (key, value)) in dict.read().iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write(key.value(), out, depth + 1);
                out.push_str(": ");
                write(value, out, depth + 1);
            }
            out.push('}');
        }
        Value::Object(shown) => out.push_str(&object(|| shown.repr())),
    }
}

/// A text in quotes, as `repr()` writes it.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

fn write_string(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if (c as u32) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
        }
    }
    out.push(quote);
}

/// Whether Python shows a character as itself: no control, format, surrogate, private or separator characters
/// but the blank.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || c.is_whitespace() && c != ' '
        || matches!(c as u32,
            0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e
            | 0x2060..=0x206f | 0xd800..=0xf8ff | 0xfeff | 0xfff9..=0xfffb | 0xf_0000..=0x10_ffff))
}

/// Bytes as `repr()` writes them.
fn bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from("b");
    out.push(quote);
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if char::from(*byte) == quote => {
                out.push('\\');
                out.push(quote);
            }
            0x20..=0x7e => out.push(char::from(*byte)),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(quote);
    out
}

/// A float as Python writes it: the fewest digits that give the same number again.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    if value == 0.0 {
        return if value.is_sign_negative() {
            "-0.0"
        } else {
            "0.0"
        }
        .into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let mut plain = format!("{value}");
        if !plain.contains('.') {
            plain.push_str(".0");
        }
        plain
    } else {
        format!(
            "{digits}e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        )
    }
}
