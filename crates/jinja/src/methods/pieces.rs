//! Pieces of texts.

use crate::arguments::{integer, text};
use crate::error::{Error, Result};
use crate::value::Value;

/// `[start:end]` of a text, as methods that search take it.
pub(super) fn window<'t>(
    text: &'t str,
    start: Option<&Value>,
    end: Option<&Value>,
) -> Result<(&'t str, usize)> {
    let bound = |value: Option<&Value>| -> Result<Option<i64>> {
        match value {
            None | Some(Value::None) => Ok(None),
            Some(value) => integer(value).map(Some),
        }
    };
    let (start, end) = (bound(start)?, bound(end)?);
    if start.is_none() && end.is_none() {
        return Ok((text, 0));
    }
    let length = text.chars().count() as i64;
    let place = |index: i64| {
        let index = if index < 0 { index + length } else { index };
        index.clamp(0, length) as usize
    };
    let from = place(start.unwrap_or(0));
    let to = place(end.unwrap_or(length)).max(from);
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    Ok((&text[byte(from)..byte(to)], from))
}

pub(super) fn trim<'t>(
    value: &'t str,
    characters: Option<&Value>,
    start: bool,
    end: bool,
) -> Result<&'t str> {
    let set: Option<Vec<char>> = match characters {
        None | Some(Value::None) => None,
        Some(value) => Some(text("strip", "chars", value)?.chars().collect()),
    };
    let matches = |c: char| match &set {
        None => c.is_whitespace(),
        Some(set) => set.contains(&c),
    };
    let mut value = value;
    if start {
        value = value.trim_start_matches(matches);
    }
    if end {
        value = value.trim_end_matches(matches);
    }
    Ok(value)
}

pub(super) fn split(
    value: &str,
    separator: Option<&Value>,
    limit: Option<&Value>,
    right: bool,
) -> Result<Value> {
    let limit = match limit {
        None => usize::MAX,
        Some(limit) => usize::try_from(integer(limit)?).unwrap_or(usize::MAX),
    };
    let mut parts: Vec<&str> = Vec::new();
    match separator {
        None | Some(Value::None) => {
            let mut rest = value;
            if right {
                rest = rest.trim_end();
                while !rest.is_empty() {
                    if parts.len() == limit {
                        parts.push(rest);
                        break;
                    }
                    match rest.rfind(char::is_whitespace) {
                        Some(at) => {
                            let width = rest[at..].chars().next().map_or(1, char::len_utf8);
                            parts.push(&rest[at + width..]);
                            rest = rest[..at].trim_end();
                        }
                        None => {
                            parts.push(rest);
                            break;
                        }
                    }
                }
                parts.reverse();
            } else {
                rest = rest.trim_start();
                while !rest.is_empty() {
                    if parts.len() == limit {
                        parts.push(rest);
                        break;
                    }
                    match rest.find(char::is_whitespace) {
                        Some(at) => {
                            parts.push(&rest[..at]);
                            rest = rest[at..].trim_start();
                        }
                        None => {
                            parts.push(rest);
                            break;
                        }
                    }
                }
            }
        }
        Some(separator) => {
            let separator = text("split", "sep", separator)?;
            if separator.is_empty() {
                return Err(Error::failed("empty separator"));
            }
            let count = limit.saturating_add(1);
            if right {
                parts = value.rsplitn(count, &*separator).collect();
                parts.reverse();
            } else {
                parts = value.splitn(count, &*separator).collect();
            }
        }
    }
    Ok(Value::list(parts.into_iter().map(Value::from).collect()))
}

pub(crate) fn lines(value: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let end = rest.find(|c: char| {
            matches!(
                c,
                '\n' | '\r'
                    | '\u{b}'
                    | '\u{c}'
                    | '\u{1c}'
                    | '\u{1d}'
                    | '\u{1e}'
                    | '\u{85}'
                    | '\u{2028}'
                    | '\u{2029}'
            )
        });
        match end {
            Some(at) => {
                let width = if rest[at..].starts_with("\r\n") {
                    2
                } else {
                    rest[at..].chars().next().map_or(1, char::len_utf8)
                };
                lines.push(if keep_ends {
                    &rest[..at + width]
                } else {
                    &rest[..at]
                });
                rest = &rest[at + width..];
            }
            None => {
                lines.push(rest);
                break;
            }
        }
    }
    lines
}
