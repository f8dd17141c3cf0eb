//! What tells the instances of one block apart.

use std::fmt;
use std::sync::Arc;

/// The key of an instance: none without `count` and `for_each`. Orders as Terraform does: no key, then
/// numbers, then strings.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Key {
    /// The only instance of a block without repetition.
    #[default]
    None,
    /// An index of `count`.
    Int(i64),
    /// A key of `for_each`.
    String(Arc<str>),
}

impl Key {
    /// Whether there is no key.
    pub fn is_none(&self) -> bool {
        matches!(self, Key::None)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key::String(text.into())
    }
}

impl From<i64> for Key {
    fn from(index: i64) -> Self {
        Key::Int(index)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::None => Ok(()),
            Key::Int(index) => write!(f, "[{index}]"),
            Key::String(text) => {
                f.write_str("[")?;
                quoted(f, text)?;
                f.write_str("]")
            }
        }
    }
}

/// Writes `text` as a quoted string of the configuration language, so that it can be read back even if it
/// holds what the language gives a meaning.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write as _;
    f.write_str("\"")?;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '$' | '%' => {
                f.write_char(c)?;
                if rest.as_str().starts_with('{') {
                    f.write_char(c)?;
                }
            }
            c if !printable(c) => {
                let code = u32::from(c);
                if code < 0x1_0000 {
                    write!(f, "\\u{code:04x}")?;
                } else {
                    write!(f, "\\U{code:08x}")?;
                }
            }
            c => f.write_char(c)?,
        }
    }
    f.write_str("\"")
}

/// Whether Go's `unicode.IsPrint` says so, as near as the standard library's own escaping can tell: of the
/// blanks only the ASCII space counts.
fn printable(c: char) -> bool {
    if c == ' ' {
        return true;
    }
    if c.is_control() || c.is_whitespace() {
        return false;
    }
    // `escape_debug` leaves alone what is printable, quotes and backslashes (handled above) aside, and
    // combining marks that start a string.
    matches!(c, '\'')
        || c.escape_debug().len() == 1
        || !c.is_ascii() && format!("a{c}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_as_the_language_would_read_them() {
        assert_eq!(Key::from("a").to_string(), r#"["a"]"#);
        assert_eq!(Key::from("a\"b${c}$d").to_string(), r#"["a\"b$${c}$d"]"#);
        assert_eq!(
            Key::from("\u{7}é\u{200b}").to_string(),
            "[\"\\u0007é\\u200b\"]"
        );
        assert_eq!(Key::from(3).to_string(), "[3]");
        assert_eq!(Key::None.to_string(), "");
    }

    #[test]
    fn keys_order_numbers_before_strings() {
        assert!(
            Key::None < Key::Int(-1) && Key::Int(2) < Key::Int(10) && Key::Int(10) < Key::from("1")
        );
    }
}
