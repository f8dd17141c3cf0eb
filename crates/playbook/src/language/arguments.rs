//! Arguments written as text: `key=value`, free text, and both in one.

use consort_jinja::{Dict, Key, Str, Value};
use indexmap::IndexMap;

use crate::paths::unquote;
use crate::source::Located;

/// Keys that stand apart from the free text of `command` and its like.
const BESIDE_FREE_TEXT: &[&str] = &[
    "creates",
    "removes",
    "chdir",
    "executable",
    "warn",
    "stdin",
    "stdin_add_newline",
    "strip_empty_ends",
];

/// The entries of `key=value ...`. What is no entry is put together again under `_raw_params`; with `free`, so is every
/// entry with a key that such an action does not have.
///
/// # Errors
/// A quote or a template is not closed.
pub fn split_pairs(text: &Str, free: bool) -> Result<Dict, Located> {
    let like = |new: String| Value::Str(written_like(text, new));
    let mut entries: IndexMap<Key, Value> = IndexMap::new();
    let mut raw: Vec<String> = Vec::new();
    for part in split_words(text)? {
        let decoded = decode_escapes(&part);
        if !decoded.contains('=') {
            raw.push(part);
            continue;
        }
        let Some(at) = separator(&decoded) else {
            raw.push(decoded.replace("\\=", "="));
            continue;
        };
        let (key, value) = (&decoded[..at], &decoded[at + 1..]);
        if free && !BESIDE_FREE_TEXT.contains(&key) {
            raw.push(part);
            continue;
        }
        let Ok(key) = Key::new(like(key.trim().to_owned())) else {
            continue;
        };
        entries.insert(key, like(unquote(value.trim()).to_owned()));
    }
    if !raw.is_empty() {
        entries.insert("_raw_params".into(), like(join_words(&raw)));
    }
    Ok(Dict::new(entries))
}

/// The first `=` that no backslash stands before, and that is not the first character.
fn separator(text: &str) -> Option<usize> {
    text.char_indices()
        .skip(1)
        .find(|(at, c)| *c == '=' && !text[..*at].ends_with('\\'))
        .map(|(at, _)| at)
}

/// A text that is trusted and stands where another does.
pub(crate) fn written_like(text: &Str, new: String) -> Str {
    let new = if text.is_template() {
        Str::template(new)
    } else {
        Str::new(new)
    };
    match text.origin() {
        Some(origin) => new.written_at(std::sync::Arc::clone(origin)),
        None => new,
    }
}

/// Words put together as they were before [`split_words`].
pub fn join_words(words: &[String]) -> String {
    let mut joined = String::new();
    for word in words {
        if !joined.is_empty() && !joined.ends_with('\n') {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

/// Splits at white space that is not within quotes or a template. What stands between is kept well enough that
/// [`join_words`] gives the text again.
///
/// # Errors
/// A quote or a template is not closed.
pub fn split_words(text: &str) -> Result<Vec<String>, Located> {
    const TAGS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];
    fn append(words: &mut Vec<String>, text: &str) {
        match words.last_mut() {
            Some(last) => last.push_str(text),
            None => words.push(text.to_owned()),
        }
    }
    let mut words: Vec<String> = Vec::new();
    if text.is_empty() {
        return Ok(words);
    }
    let mut quote: Option<char> = None;
    let mut depths = [0_usize; 3];
    let lines: Vec<&str> = text.split('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let mut continued = false;
        for (index, token) in line.split(' ').enumerate() {
            if token.is_empty() && index != 0 {
                append(&mut words, " ");
                continue;
            }
            let inside = quote.is_some();
            if token == "\\" && !inside {
                continued = true;
                continue;
            }
            quote = quote_after(token, quote);
            let in_template = depths.iter().any(|depth| *depth > 0);
            let mut appended = false;
            if quote.is_some() && !inside && !in_template {
                words.push(token.to_owned());
                appended = true;
            } else if in_template || quote.is_some() || inside {
                if !(index == 0 && inside) && index > 0 {
                    append(&mut words, " ");
                }
                append(&mut words, token);
                appended = true;
            }
            for (depth, (open, close)) in depths.iter_mut().zip(TAGS) {
                let (opened, closed) = (token.matches(open).count(), token.matches(close).count());
                let before = *depth;
                if opened != closed {
                    *depth = (*depth + opened).saturating_sub(closed);
                }
                if *depth != before && !appended {
                    words.push(token.to_owned());
                    appended = true;
                }
            }
            if depths.iter().all(|depth| *depth == 0)
                && quote.is_none()
                && !appended
                && !token.is_empty()
            {
                words.push(token.to_owned());
            }
        }
        if lines.len() > 1 && number != lines.len() - 1 && !continued {
            append(&mut words, "\n");
        }
    }
    if depths.iter().any(|depth| *depth > 0) || quote.is_some() {
        return Err(Located::parser(format!(
            "failed at splitting arguments, either an unbalanced jinja2 block or quotes: {text}"
        )));
    }
    Ok(words)
}

fn quote_after(token: &str, mut quote: Option<char>) -> Option<char> {
    let mut before = None;
    for c in token.chars() {
        if (c == '"' || c == '\'') && before != Some('\\') {
            match quote {
                Some(open) if open == c => quote = None,
                Some(_) => {}
                None => quote = Some(c),
            }
        }
        before = Some(c);
    }
    quote
}

/// Puts in what Python's escapes stand for. Unknown ones stay as they are.
pub(crate) fn decode_escapes(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        decoded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let hex = |digits: usize| {
            let code = after.get(1..=digits)?;
            code.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
            char::from_u32(u32::from_str_radix(code, 16).ok()?).map(|c| (c, digits + 1))
        };
        let found = match after.chars().next() {
            Some('U') => hex(8),
            Some('u') => hex(4),
            Some('x') => hex(2),
            Some(c @ ('\\' | '\'' | '"')) => Some((c, 1)),
            Some('a') => Some(('\u{7}', 1)),
            Some('b') => Some(('\u{8}', 1)),
            Some('f') => Some(('\u{c}', 1)),
            Some('n') => Some(('\n', 1)),
            Some('r') => Some(('\r', 1)),
            Some('t') => Some(('\t', 1)),
            Some('v') => Some(('\u{b}', 1)),
            _ => None,
        };
        match found {
            Some((c, length)) => {
                decoded.push(c);
                rest = &after[length..];
            }
            None => {
                decoded.push('\\');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    decoded
}
