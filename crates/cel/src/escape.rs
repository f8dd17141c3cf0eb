//! Property names as identifiers, and back.

use std::borrow::Cow;

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The identifier expressions use for a property name; none when the name cannot be written as one.
///
/// Words the language reserves become `__word__`; `__`, `.`, `-` and `/` become `__underscores__`, `__dot__`,
/// `__dash__` and `__slash__`.
pub fn escape(property: &str) -> Option<String> {
    if property.is_empty() || property.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&property) {
        return Some(format!("__{property}__"));
    }
    let mut out = String::with_capacity(property.len());
    let mut rest = property;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '_' if rest.starts_with("__") => {
                out.push_str("__underscores__");
                taken = 2;
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
        rest = &rest[taken..];
    }
    Some(out)
}

/// The property name an identifier stands for; none when it stands for none.
pub fn unescape(identifier: &str) -> Option<String> {
    unescape_borrowed(identifier).map(Cow::into_owned)
}

/// The same without a copy where nothing is escaped, which is nearly always.
pub(crate) fn unescape_borrowed(identifier: &str) -> Option<Cow<'_, str>> {
    if !identifier.contains("__") {
        return Some(Cow::Borrowed(identifier));
    }
    let mut out = String::with_capacity(identifier.len());
    let mut rest = identifier;
    while let Some(start) = rest.find("__") {
        let inner = &rest[start + 2..];
        let length = inner.find('_').unwrap_or(inner.len());
        // An escape is a word without underscores between two pairs of them.
        if length == 0 || !inner[length..].starts_with("__") {
            out.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        }
        out.push_str(&rest[..start]);
        let word = &inner[..length];
        match word {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if RESERVED.contains(&word) && length + 4 == identifier.len() => {
                out.push_str(word);
            }
            _ => return None,
        }
        rest = &inner[length + 2..];
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn names_come_back_as_they_were() {
        for (name, escaped) in [
            ("plain", "plain"),
            ("namespace", "__namespace__"),
            ("a.b-c/d", "a__dot__b__dash__c__slash__d"),
            ("__init__", "__underscores__init__underscores__"),
            ("a_b", "a_b"),
            ("trailing_", "trailing_"),
            (
                "app.kubernetes.io/name",
                "app__dot__kubernetes__dot__io__slash__name",
            ),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped));
            assert_eq!(unescape(escaped).as_deref(), Some(name));
        }
        for name in ["", "1a", "a b", "ä", "a$"] {
            assert_eq!(escape(name), None, "{name}");
        }
        for identifier in ["__illegal__", "a__true__"] {
            assert_eq!(unescape(identifier), None, "{identifier}");
        }
    }
}
