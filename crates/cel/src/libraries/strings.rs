//! Texts, by code points: cel-go's extension.

use super::standard::MAX_TEXT;
use crate::EvalError;
use crate::functions::{Context, Library};
use crate::libraries::{Answer, failed, formatting, no_overload};
use crate::value::{MAX_ITEMS, Value, display};

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        string_char_at_int: string::charAt(int) -> string
        string_index_of_string: string::indexOf(string) -> int
        string_index_of_string_int: string::indexOf(string, int) -> int
        string_last_index_of_string: string::lastIndexOf(string) -> int
        string_last_index_of_string_int: string::lastIndexOf(string, int) -> int
        string_lower_ascii: string::lowerAscii() -> string
        string_replace_string_string: string::replace(string, string) -> string
        string_replace_string_string_int: string::replace(string, string, int) -> string
        string_split_string: string::split(string) -> list(string)
        string_split_string_int: string::split(string, int) -> list(string)
        string_substring_int: string::substring(int) -> string
        string_substring_int_int: string::substring(int, int) -> string
        string_trim: string::trim() -> string
        string_upper_ascii: string::upperAscii() -> string
        string_format: string::format(list(dyn)) -> string
        strings_quote: strings.quote(string) -> string
        list_join: list(string)::join() -> string
        list_join_string: list(string)::join(string) -> string
    ",
    functions: &[
        ("charAt", char_at),
        ("indexOf", index_of),
        ("lastIndexOf", last_index_of),
        ("lowerAscii", |_, args| {
            changed(args, str::to_ascii_lowercase)
        }),
        ("upperAscii", |_, args| {
            changed(args, str::to_ascii_uppercase)
        }),
        ("trim", |_, args| {
            changed(args, |text| trim(text).to_owned())
        }),
        ("strings.quote", |_, args| changed(args, quote)),
        ("replace", replace),
        ("split", split),
        ("substring", substring),
        ("format", |context, args| match args {
            [Value::String(format), Value::List(list)] => formatting::format(context, format, list),
            _ => no_overload(),
        }),
        ("join", join),
    ],
};

fn changed<'a>(args: &[Value<'a>], change: fn(&str) -> String) -> Answer<'a> {
    match args {
        [Value::String(text)] => Ok(Value::owned_text(change(text))),
        _ => no_overload(),
    }
}

/// Without the white space of Unicode's White_Space property at both ends, as Go's `TrimSpace`.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace())
}

fn out_of_range<'a>(index: i64) -> Answer<'a> {
    Err(failed(format!("index out of range: {index}")))
}

/// The byte offset of a code point; the length for one past the last.
fn offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    if text.is_ascii() {
        return (index <= text.len()).then_some(index);
    }
    let mut offsets = text
        .char_indices()
        .map(|(at, _)| at)
        .chain(std::iter::once(text.len()));
    offsets.nth(index)
}

fn char_at<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::String(text), Value::Int(index)] = args else {
        return no_overload();
    };
    let Some(at) = offset(text, *index) else {
        return out_of_range(*index);
    };
    Ok(match text[at..].chars().next() {
        Some(c) => Value::owned_text(c.to_string()),
        None => Value::text(""),
    })
}

fn count(text: &str) -> i64 {
    if text.is_ascii() {
        text.len() as i64
    } else {
        text.chars().count() as i64
    }
}

/// `text.indexOf(part)` and `text.indexOf(part, from)`.
pub(crate) fn index_of<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, part, from) = match args {
        [Value::String(text), Value::String(part)] => (text, part, 0),
        [Value::String(text), Value::String(part), Value::Int(from)] => (text, part, *from),
        _ => return no_overload(),
    };
    if from < 0 {
        return out_of_range(from);
    }
    let length = count(text);
    if part.is_empty() {
        return Ok(Value::Int(from.min(length)));
    }
    let Some(start) = offset(text, from).filter(|_| from < length) else {
        return Ok(Value::Int(-1));
    };
    Ok(Value::Int(
        text[start..]
            .find(&**part)
            .map_or(-1, |at| from + count(&text[start..start + at])),
    ))
}

/// `text.lastIndexOf(part)` and `text.lastIndexOf(part, from)`: the last place at or before `from`.
pub(crate) fn last_index_of<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, part, from) = match args {
        [Value::String(text), Value::String(part)] => (text, part, None),
        [Value::String(text), Value::String(part), Value::Int(from)] => (text, part, Some(*from)),
        _ => return no_overload(),
    };
    if let Some(from) = from.filter(|from| *from < 0) {
        return out_of_range(from);
    }
    let length = count(text);
    if part.is_empty() {
        return Ok(Value::Int(from.map_or(length, |from| from.min(length))));
    }
    if from.is_some_and(|from| from >= length) {
        return Ok(Value::Int(-1));
    }
    let last = (length - count(part)).min(from.unwrap_or(length));
    if last < 0 {
        return Ok(Value::Int(-1));
    }
    let end = offset(text, last)
        .map_or(text.len(), |at| at + part.len())
        .min(text.len());
    let Some(head) = text
        .get(..end)
        .or_else(|| offset(text, last + count(part)).and_then(|end| text.get(..end)))
    else {
        return Ok(Value::Int(-1));
    };
    Ok(Value::Int(
        head.rfind(&**part).map_or(-1, |at| count(&text[..at])),
    ))
}

fn replace<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, from, to, limit) = match args {
        [Value::String(text), Value::String(from), Value::String(to)] => {
            (text, from, to, usize::MAX)
        }
        [
            Value::String(text),
            Value::String(from),
            Value::String(to),
            Value::Int(limit),
        ] => (
            text,
            from,
            to,
            usize::try_from(*limit).unwrap_or(usize::MAX),
        ),
        _ => return no_overload(),
    };
    let found = if from.is_empty() {
        text.code_points() + 1
    } else {
        text.matches(&**from).count()
    }
    .min(limit);
    let length = text.len().saturating_add(found.saturating_mul(to.len()));
    if length > MAX_TEXT {
        return Err(failed("text too large"));
    }
    context.work.spend(length / 64)?;
    Ok(Value::owned_text(text.replacen(&**from, to, limit)))
}

fn split<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, separator, limit) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, -1),
        [
            Value::String(text),
            Value::String(separator),
            Value::Int(limit),
        ] => (text, separator, *limit),
        _ => return no_overload(),
    };
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    context.work.spend(text.len())?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_ITEMS);
    let mut parts: Vec<Value<'a>> = Vec::new();
    if separator.is_empty() {
        let mut rest = &**text;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == limit {
                break;
            }
            parts.push(Value::owned_text(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
        }
        if !rest.is_empty() {
            parts.push(Value::owned_text(rest));
        }
        return Ok(Value::list(parts));
    }
    parts.extend(text.splitn(limit, &**separator).map(Value::owned_text));
    Ok(Value::list(parts))
}

fn substring<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return no_overload(),
    };
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(failed(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let Some(from) = offset(text, start) else {
        return out_of_range(start);
    };
    let to = match end {
        None => text.len(),
        Some(end) => match offset(text, end) {
            Some(to) => to,
            None => return out_of_range(end),
        },
    };
    Ok(Value::owned_text(&text[from..to]))
}

fn join<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (list, separator) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, &**separator),
        _ => return no_overload(),
    };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let item = item?;
        let Value::String(text) = &item else {
            return Err(failed(format!("join: invalid input: {}", display(&item))));
        };
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
        context.work.spend(1 + text.len() / 64)?;
        if joined.len() > MAX_TEXT {
            return Err(EvalError::CallLimit);
        }
    }
    Ok(Value::owned_text(joined))
}

/// A text as CEL would write it.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
