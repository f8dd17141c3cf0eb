//! Filters over texts.

use consort_jinja::{Arguments, Environment, Error, Explained, Result, State, Value, integer};
use std::sync::Arc;

use super::{add_all, given};
use crate::template::context::{Shared, lazy_name, refused};

pub(super) fn add(environment: &mut Environment, _: &Shared) {
    add_all(
        environment,
        &[
            ("quote", |_, value, _| {
                let text = match &value {
                    Value::None => String::new(),
                    value => value.text()?.to_string(),
                };
                Ok(Value::from(quoted(&text)))
            }),
            ("comment", comment),
            ("split", split),
        ],
    );
}

/// A text as one word of a shell: `shlex.quote`.
pub(in crate::template) fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.is_empty() {
        "''".to_owned()
    } else if text.chars().all(safe) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}

fn split(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    if !matches!(value, Value::Str(_)) {
        return refused(format!(
            "descriptor 'split' for 'str' objects doesn't apply to a '{}' object",
            value.type_name()
        ));
    }
    state.method(&value, "split", arguments.clone())
}

fn comment(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let mut arguments = arguments.clone();
    let style = match arguments.positional.first() {
        Some(style) => Some(style.clone()),
        None => arguments.take("style"),
    };
    let style = style.map_or(Ok("plain".to_owned()), |style| {
        style.text().map(|style| style.to_string())
    })?;
    let (beginning, decoration, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => {
            return Err(Error::Explained(Arc::new(Explained {
                message: format!("Invalid style {}.", consort_jinja::repr::string(other)),
                help: Some("Available styles: plain, erlang, c, cblock, xml".to_owned()),
                ..Explained::default()
            })));
        }
    };
    let word = |name: &str, otherwise: &str| -> Result<String> {
        match arguments.named(name) {
            Some(value) => Ok(value.text()?.to_string()),
            None => Ok(otherwise.to_owned()),
        }
    };
    let count = |name: &str| -> Result<usize> {
        match arguments
            .named(name)
            .cloned()
            .and_then(|count| given(Some(count)))
        {
            None => Ok(1),
            Some(Value::Str(text)) => text.trim().parse().map_err(|_| {
                Error::failed(format!(
                    "invalid literal for int() with base 10: {}",
                    consort_jinja::repr::string(&text)
                ))
            }),
            Some(count) => Ok(usize::try_from(integer(&count)?).unwrap_or(0).min(100_000)),
        }
    };
    let decoration = word("decoration", decoration)?;
    let around = decoration.trim_end();
    let newline = word("newline", "\n")?;
    let beginning = word("beginning", beginning)?;
    let prefix = word("prefix", around)?;
    let postfix = word("postfix", around)?;
    let end = word("end", end)?;
    let Value::Str(text) = &value else {
        return refused(format!(
            "'{}' object has no attribute 'replace'",
            lazy_name(&value)
        ));
    };
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&beginning);
        out.push_str(&newline);
    }
    if !prefix.is_empty() {
        let line = if prefix == newline {
            newline.clone()
        } else {
            format!("{prefix}{newline}")
        };
        out.push_str(&line.repeat(count("prefix_count")?));
    }
    let decorated = format!(
        "{decoration}{}",
        text.replace(&newline, &format!("{newline}{decoration}"))
    );
    out.push_str(&decorated.replace(
        &format!("{decoration}{newline}"),
        &format!("{}{newline}", decoration.trim_end()),
    ));
    for _ in 0..count("postfix_count")? {
        out.push_str(&newline);
        out.push_str(&postfix);
    }
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    Ok(Value::from(out))
}
