//! Text as Go quotes it.

use std::fmt::Write as _;

/// `text` in double quotes with the escapes of Go's `%q`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if (c as u32) < 0x80 => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
        }
    }
    out.push('"');
    out
}

/// Letters, marks, numbers, punctuation and symbols: what Go counts as printable beyond ASCII.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_control() || c.is_whitespace() && c != ' ' {
        return false;
    }
    // After another character, a combining mark is escaped by no rule but printability.
    let mut shown = String::from("a");
    shown.push(c);
    let debug = format!("{shown:?}");
    debug.len() == shown.len() + 2 || c == '"' || c == '\\'
}
