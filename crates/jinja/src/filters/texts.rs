//! Filters over texts.

use std::fmt::Write as _;

use crate::arguments::{Arguments, integer, text};
use crate::environment::{Environment, Takes};
use crate::error::{Error, Result};
use crate::eval::State;
use crate::value::Value;
use crate::{format, methods, repr};

type Run = fn(&mut State<'_, '_>, Value, &Arguments) -> Result<Value>;

pub(crate) fn add(environment: &mut Environment) {
    let mut filter = |name: &str, run: Run| environment.add_filter(name, Takes::Defined, run);
    filter("upper", |_, value, _| {
        Ok(Value::from(value.text()?.to_uppercase()))
    });
    filter("lower", |_, value, _| {
        Ok(Value::from(value.text()?.to_lowercase()))
    });
    filter("capitalize", |_, value, _| {
        Ok(Value::from(methods::capitalize(&value.text()?)))
    });
    filter("title", |_, value, _| {
        Ok(Value::from(words_title(&value.text()?)))
    });
    filter("string", |_, value, _| Ok(Value::Str(value.text()?)));
    filter("safe", |_, value, _| Ok(Value::Str(value.text()?)));
    for name in ["escape", "e", "forceescape"] {
        filter(name, |_, value, _| Ok(Value::from(escape(&value.text()?))));
    }
    filter("trim", |_, value, arguments| {
        let [characters] = arguments.bind("trim", ["chars"])?;
        let value = value.text()?;
        Ok(Value::from(match characters {
            Some(Value::Str(characters)) => {
                value.trim_matches(|c| characters.contains(c)).to_owned()
            }
            _ => value.trim().to_owned(),
        }))
    });
    filter("replace", |_, value, arguments| {
        let [old, new, count] = arguments.bind("replace", ["old", "new", "count"])?;
        let (old, new) = (
            old.unwrap_or_default().text()?,
            new.unwrap_or_default().text()?,
        );
        let value = value.text()?;
        Ok(Value::from(match count {
            None | Some(Value::None) => value.replace(&*old, &new),
            Some(count) => match usize::try_from(integer(&count)?) {
                Ok(count) => value.replacen(&*old, &new, count),
                Err(_) => value.replace(&*old, &new),
            },
        }))
    });
    filter("center", |_, value, arguments| {
        let [width] = arguments.bind("center", ["width"])?;
        let width = width.map_or(Ok(80), |width| integer(&width))?;
        methods::pad(&value.text()?, width, ' ', true, true).map(Value::from)
    });
    filter("format", |_, value, arguments| {
        if !arguments.positional.is_empty() && !arguments.named.is_empty() {
            return Err(Error::failed(
                "can't handle positional and keyword arguments at the same time",
            ));
        }
        let with = if arguments.named.is_empty() {
            Value::tuple(arguments.positional.clone())
        } else {
            Value::Dict(
                arguments
                    .named
                    .iter()
                    .map(|(name, value)| (name, value.clone()))
                    .collect(),
            )
        };
        format::percent(&value.text()?, &with).map(Value::from)
    });
    filter("indent", |_, value, arguments| indent(&value, arguments));
    filter("truncate", |_, value, arguments| {
        truncate(&value, arguments)
    });
    filter("wordwrap", |_, value, arguments| {
        wordwrap(&value, arguments)
    });
    filter("wordcount", |_, value, _| {
        let text = value.text()?;
        Ok(Value::from(
            text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| !word.is_empty())
                .count(),
        ))
    });
    filter("striptags", |_, value, _| {
        let text = value.text()?;
        let mut out = String::new();
        let mut in_tag = false;
        for c in text.chars() {
            match c {
                '<' => in_tag = true,
                '>' if in_tag => in_tag = false,
                c if !in_tag => out.push(c),
                _ => {}
            }
        }
        Ok(Value::from(
            out.split_whitespace().collect::<Vec<_>>().join(" "),
        ))
    });
    filter("urlencode", |_, value, _| {
        let pair = |pair: &Value| -> Result<String> {
            let parts = pair.iterate()?;
            let mut texts = Vec::new();
            for part in &parts {
                texts.push(quote(&part.text()?, "").replace("%20", "+"));
            }
            Ok(texts.join("="))
        };
        let pairs: Vec<Value> = match &value {
            Value::Dict(dict) => dict
                .read()
                .iter()
                .map(|(key, value)| Value::tuple(vec![key.value().clone(), value.clone()]))
                .collect(),
            Value::List(list) => list.read().clone(),
            Value::Tuple(items) => items.to_vec(),
            other => return Ok(Value::from(quote(&other.text()?, "/"))),
        };
        let mut texts = Vec::new();
        for item in &pairs {
            texts.push(pair(item)?);
        }
        Ok(Value::from(texts.join("&")))
    });
    filter("pprint", |_, value, _| Ok(Value::from(repr::repr(&value))));
    filter("xmlattr", |_, value, arguments| {
        let [autospace] = arguments.bind("xmlattr", ["autospace"])?;
        let Value::Dict(dict) = &value else {
            return Err(Error::failed("xmlattr needs a dict"));
        };
        let mut out = String::new();
        for (key, value) in dict.read().iter() {
            if matches!(value, Value::None | Value::Undefined(_)) {
                continue;
            }
            let name = key.value().text()?;
            if name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '=')) {
                return Err(Error::failed(format!(
                    "Invalid character in attribute name: {}",
                    repr::string(&name)
                )));
            }
            if !out.is_empty() {
                out.push(' ');
            }
            let _ = write!(out, "{}=\"{}\"", escape(&name), escape(&value.text()?));
        }
        let space = autospace.map_or(Ok(true), |space| space.truth())?;
        if space && !out.is_empty() {
            out.insert(0, ' ');
        }
        Ok(Value::from(out))
    });
    filter("urlize", |_, value, _| {
        Ok(Value::from(urlize(&value.text()?)))
    });
}

fn urlize(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        if bare.starts_with("http://") || bare.starts_with("https://") {
            let bare = escape(bare);
            let _ = write!(
                out,
                "<a href=\"{bare}\" rel=\"noopener\">{bare}</a>{}",
                &word[word.trim_end().len()..]
            );
        } else {
            out.push_str(&escape(word));
        }
    }
    out
}

/// Every word with a capital: words begin after blanks, hyphens and opening brackets.
fn words_title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        begins = c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    out
}

pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Percent-encoding, with these characters kept beside letters, digits and `_.-~`.
pub(crate) fn quote(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.' | b'-' | b'~')
            || kept.as_bytes().contains(&byte)
        {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn flag(value: Option<Value>, default: bool) -> Result<bool> {
    value.map_or(Ok(default), |value| value.truth())
}

fn indent(value: &Value, arguments: &Arguments) -> Result<Value> {
    let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
    let indention = match width {
        None => " ".repeat(4),
        Some(Value::Str(text)) => text.to_string(),
        Some(width) => " ".repeat(integer(&width)?.clamp(0, 10_000) as usize),
    };
    let (first, blank) = (flag(first, false)?, flag(blank, false)?);
    let text = value.text()?;
    let text = format!("{}\n", &*text);
    let out = if blank {
        methods::lines(&text, false).join(&format!("\n{indention}"))
    } else {
        let lines = methods::lines(&text, false);
        let mut out = String::with_capacity(text.len());
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                out.push('\n');
                if !line.is_empty() {
                    out.push_str(&indention);
                }
            }
            out.push_str(line);
        }
        out
    };
    Ok(Value::from(if first {
        format!("{indention}{out}")
    } else {
        out
    }))
}

fn truncate(value: &Value, arguments: &Arguments) -> Result<Value> {
    let [length, kill, end, leeway] =
        arguments.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = length.map_or(Ok(255), |length| integer(&length))?;
    let end = match end {
        Some(end) => text("truncate", "end", &end)?.to_string(),
        None => "...".to_owned(),
    };
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        Some(leeway) => integer(&leeway)?,
    };
    let ending = end.chars().count() as i64;
    if length < ending {
        return Err(Error::failed(format!(
            "expected length >= {ending}, got {length}"
        )));
    }
    if leeway < 0 {
        return Err(Error::failed(format!("expected leeway >= 0, got {leeway}")));
    }
    let value = value.text()?;
    if value.chars().count() as i64 <= length.saturating_add(leeway) {
        return Ok(Value::Str(value));
    }
    let cut: String = value.chars().take((length - ending) as usize).collect();
    if flag(kill, false)? {
        return Ok(Value::from(cut + &end));
    }
    let cut = cut
        .rsplit_once(' ')
        .map_or(cut.as_str(), |(before, _)| before);
    Ok(Value::from(format!("{cut}{end}")))
}

fn wordwrap(value: &Value, arguments: &Arguments) -> Result<Value> {
    let [width, break_long, wrapstring, hyphens] = arguments.bind(
        "wordwrap",
        [
            "width",
            "break_long_words",
            "wrapstring",
            "break_on_hyphens",
        ],
    )?;
    let width = width.map_or(Ok(79), |width| integer(&width))?.max(1) as usize;
    let break_long = flag(break_long, true)?;
    let hyphens = flag(hyphens, true)?;
    let newline = match wrapstring {
        Some(Value::Str(text)) => text.to_string(),
        _ => "\n".to_owned(),
    };
    let value = value.text()?;
    let mut paragraphs = Vec::new();
    for paragraph in methods::lines(&value, false) {
        paragraphs.push(wrap(paragraph, width, break_long, hyphens).join(&newline));
    }
    Ok(Value::from(paragraphs.join(&newline)))
}

/// Lines of at most so many characters, as Python's `textwrap` breaks them without changing blanks.
fn wrap(text: &str, width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let chunks = chunks(text, hyphens);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for chunk in &chunks {
        let mut chunk = chunk.as_slice();
        let blank = chunk.iter().all(|c| c.is_whitespace());
        loop {
            if blank && length == 0 && !lines.is_empty() {
                break;
            }
            if length + chunk.len() <= width {
                line.extend(chunk);
                length += chunk.len();
                break;
            }
            if length == 0 && chunk.len() > width {
                if break_long {
                    let (head, rest) = chunk.split_at(width);
                    lines.push(head.iter().collect());
                    chunk = rest;
                    continue;
                }
                lines.push(chunk.iter().collect());
                break;
            }
            if break_long && chunk.len() > width {
                let (head, rest) = chunk.split_at(width - length);
                line.extend(head);
                chunk = rest;
            }
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            length = 0;
            if blank {
                break;
            }
        }
    }
    if !line.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Words and the blanks between them; words end behind hyphens too, if that is wanted.
fn chunks(text: &str, hyphens: bool) -> Vec<Vec<char>> {
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut current = Vec::new();
    let mut letters = 0;
    let mut blank = None;
    for c in text.chars() {
        let is_blank = c.is_whitespace();
        if blank.is_some_and(|blank| blank != is_blank) {
            chunks.push(std::mem::take(&mut current));
            letters = 0;
        }
        blank = Some(is_blank);
        current.push(c);
        letters += usize::from(c.is_alphabetic());
        if hyphens && c == '-' && letters >= 2 {
            chunks.push(std::mem::take(&mut current));
            letters = 0;
            blank = None;
        }
    }
    if !current.is_empty() {
        chunks.push(current);
    }
    chunks
}
