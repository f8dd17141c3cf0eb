//! Patterns in Go's syntax (RE2), run by the `regex` crate: both take linear time.
//!
//! The two syntaxes differ in small things that real schemas use: Go's classes `\d`, `\w`, `\s` and the
//! boundary `\b` are ASCII, a bracket or a doubled `&`, `-` or `~` inside a class is itself, `\Q..\E` quotes,
//! and a brace that is no repetition is itself.

use regex::Regex;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// A pattern, compiled when it is first needed.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    compiled: Arc<OnceLock<Result<Regex, String>>>,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl Pattern {
    /// A pattern of this text.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            compiled: Arc::default(),
        }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does it match anywhere in the text?
    ///
    /// # Errors
    /// If it is no valid pattern.
    pub fn is_match(&self, text: &str) -> Result<bool, &str> {
        match self.compiled.get_or_init(|| compile(&self.text)) {
            Ok(regex) => Ok(regex.is_match(text)),
            Err(error) => Err(error),
        }
    }
}

/// Compile a pattern in Go's syntax.
///
/// # Errors
/// If it is no valid pattern, in Go's words where they are known.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    Regex::new(&translated).map_err(|error| {
        let text = match error {
            regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                last.strip_prefix("error: ").unwrap_or(last).to_owned()
            }
        };
        format!("error parsing regexp: {text}: `{pattern}`")
    })
}

struct Scanner<'a> {
    rest: std::str::Chars<'a>,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<char> {
        self.rest.next()
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn eat(&mut self, text: &str) -> bool {
        if self.rest.as_str().starts_with(text) {
            for _ in text.chars() {
                self.rest.next();
            }
            return true;
        }
        false
    }
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut scanner = Scanner {
        rest: pattern.chars(),
    };
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut repeated = false;
    while let Some(c) = scanner.next() {
        let repeats = std::mem::take(&mut repeated);
        match c {
            '\\' => {
                if scanner.eat("Q") {
                    while !scanner.eat("\\E") {
                        match scanner.next() {
                            Some(c) => literal(&mut out, c),
                            None => break,
                        }
                    }
                } else {
                    escape(&mut scanner, &mut out, pattern, false)?;
                }
            }
            '[' => class(&mut scanner, &mut out, pattern)?,
            '{' if !repetition(scanner.rest.as_str()) => out.push_str("\\{"),
            '}' => out.push_str("\\}"),
            '*' | '+' | '?' => {
                if repeats {
                    return Err(format!(
                        "error parsing regexp: invalid nested repetition operator: `{c}`"
                    ));
                }
                out.push(c);
                if scanner.eat("?") {
                    out.push('?');
                }
                repeated = true;
            }
            '{' => {
                if repeats {
                    return Err(format!(
                        "error parsing regexp: invalid nested repetition operator: `{c}`"
                    ));
                }
                out.push('{');
                for c in scanner.rest.by_ref() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
                if scanner.eat("?") {
                    out.push('?');
                }
                repeated = true;
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Does the text after a brace make it a repetition: `{2}`, `{2,}`, `{2,5}`?
fn repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inside.split_once(',') {
        None => digits(inside),
        Some((low, high)) => digits(low) && (high.is_empty() || digits(high)),
    }
}

fn literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        out.push('\\');
        // `\<` and `\>` mean something else.
        if c == '<' || c == '>' {
            out.pop();
        }
    }
    out.push(c);
}

/// What `\s` stands for in Go.
const SPACE: &str = r"\t\n\x0C\r ";

/// What `\w` stands for in Go.
const WORD: &str = "0-9A-Za-z_";

fn escape(
    scanner: &mut Scanner<'_>,
    out: &mut String,
    pattern: &str,
    in_class: bool,
) -> Result<(), String> {
    let Some(c) = scanner.next() else {
        return Err("error parsing regexp: trailing backslash at end of expression: ``".into());
    };
    let set = |out: &mut String, inside: &str, negated: bool| {
        let caret = if negated { "^" } else { "" };
        if in_class && !negated {
            out.push_str(inside);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "[{caret}{inside}]");
        }
    };
    match c {
        'd' => set(out, "0-9", false),
        'D' => set(out, "0-9", true),
        'w' => set(out, WORD, false),
        'W' => set(out, WORD, true),
        's' => set(out, SPACE, false),
        'S' => set(out, SPACE, true),
        'b' if !in_class => out.push_str(r"(?-u:\b)"),
        'B' if !in_class => out.push_str(r"(?-u:\B)"),
        'A' | 'z' if !in_class => {
            out.push('\\');
            out.push(c);
        }
        'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x' => {
            out.push('\\');
            out.push(c);
        }
        'p' | 'P' => {
            let mut negated = c == 'P';
            let name: String = match scanner.next() {
                Some('{') => {
                    if scanner.eat("^") {
                        negated = !negated;
                    }
                    scanner
                        .rest
                        .by_ref()
                        .take_while(|c| *c != '}')
                        .collect::<String>()
                }
                Some(c) => c.to_string(),
                None => String::new(),
            };
            // Writing to a String cannot fail.
            let _ = write!(out, "\\{}{{{name}}}", if negated { 'P' } else { 'p' });
        }
        '0' | '1'..='7'
            if c == '0'
                || scanner
                    .peek()
                    .is_some_and(|next| ('0'..='7').contains(&next)) =>
        {
            let mut value = c as u32 - '0' as u32;
            for _ in 0..2 {
                match scanner.peek() {
                    Some(digit @ '0'..='7') => {
                        value = value * 8 + (digit as u32 - '0' as u32);
                        scanner.next();
                    }
                    _ => break,
                }
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{{{value:x}}}");
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => literal_in(out, c),
        c => {
            return Err(format!(
                "error parsing regexp: invalid escape sequence: `\\{c}`{}",
                if pattern.is_empty() { " " } else { "" }
            ));
        }
    }
    Ok(())
}

/// An escaped character stands for itself.
fn literal_in(out: &mut String, c: char) {
    if c == '<' || c == '>' || c.is_ascii_control() || c == ' ' {
        out.push(c);
    } else {
        out.push('\\');
        out.push(c);
    }
}

fn class(scanner: &mut Scanner<'_>, out: &mut String, pattern: &str) -> Result<(), String> {
    let missing = || format!("error parsing regexp: missing closing ]: `{pattern}`");
    out.push('[');
    if scanner.eat("^") {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(c) = scanner.next() else {
            return Err(missing());
        };
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            ']' => out.push_str("\\]"),
            '\\' => escape(scanner, out, pattern, true)?,
            '[' if scanner.peek() == Some(':') => {
                let rest = scanner.rest.as_str();
                match rest[1..].find(":]") {
                    Some(end) => {
                        let name = &rest[..end + 3];
                        out.push('[');
                        out.push_str(name);
                        for _ in name.chars() {
                            scanner.next();
                        }
                    }
                    None => out.push_str("\\["),
                }
            }
            '[' => out.push_str("\\["),
            '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            // A dash that cannot be a range is itself.
            '-' if first || scanner.peek() == Some(']') => out.push_str("\\-"),
            '-' if scanner.peek() == Some('-') => out.push('-'),
            c => out.push(c),
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in [
            (r"^\d+$", "12", "٣"),
            (r"^[\w-]+$", "a-b_1", "é"),
            (r"^[\S]+$", "ab", "a b"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^{x}$", "{x}", "x"),
            (r"^[[a]+$", "[a", "b"),
            (r"^[a&&b]+$", "&ab", "c"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^[[:alpha:]]+$", "ab", "1"),
            (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-1", "-a"),
            (r"^\/[^\s]*\<$", "/ab<", "/a <"),
            (r"^(?:(?:\*|[a-zA-Z0-9_\.\-]+)$)", "a.b-c", ""),
            (r"^[!#$%&'*+\-.^_\x60|~0-9A-Za-z]+$", "a`~", "a b"),
            (r"^\S+\x2f\p{Greek}$", "a/α", "a/a"),
            (r"^[a\-z\]]+$", "-]az", "b"),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(regex.is_match(yes), "{pattern} {yes}");
            assert!(!regex.is_match(no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in ["[a", "a**", "(a", r"\8", "(?=a)", r"a\"] {
            let error = compile(pattern).unwrap_err();
            assert!(error.starts_with("error parsing regexp: "), "{error}");
        }
    }
}
