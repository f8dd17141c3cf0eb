//! Errors of YAML, with the usual mistakes behind them named.

use std::sync::{Arc, LazyLock};

use consort_jinja::Origin;
use regex::Regex;

use super::{Problem, origin};
use crate::source::Located;
use crate::source::located::universal_lines;

const TEMPLATE: &str = r#"
For example:

    raw: {{ some_var }}

Should be:

    raw: "{{ some_var }}"
"#;
const COLON: &str = r#"
For example:

    raw: echo 'name: ansible'

Should be:

    raw: "echo 'name: ansible'"
"#;
const QUOTE: &str = r#"
For example:

    raw: "foo" in bar

Should be:

    raw: '"foo" in bar'
"#;
const QUOTES: &str = r#"
For example:

    raw: "foo" in "bar"

Should be:

    raw: '"foo" in "bar"'
"#;

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern!(
    UNQUOTED,
    r"^\s*(?:-\s+)*(?:[\w\s]+:\s+)?(?P<value>\{\{.*}})"
);
pattern!(VALUE, r"^\s*(?:-\s+)*(?:[\w\s\[\]{}]+:\s+)?(?P<value>.*)$");
pattern!(QUOTED, r#"^\s*('[^']*'|"[^"]*")\s*$"#);
pattern!(COLONS, r":($| )");
pattern!(
    STARTS_QUOTED,
    r#"^\s*(?:-\s+)*(?:[\w\s]+:\s+)?(?P<value>["'].*?\s*)$"#
);

/// The characters before a byte of a text.
fn characters(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or(text).chars().count()
}

fn find(pattern: Option<&Regex>, text: &str, group: &str) -> Option<(usize, String)> {
    let captures = pattern?.captures(text)?;
    let value = captures.name(group)?;
    Some((characters(text, value.start()), value.as_str().to_owned()))
}

/// The error to show: the parser's, or the usual mistake that leads to it.
pub(super) fn explain(problem: &Problem, text: &str, file: &Arc<str>, redacted: bool) -> Located {
    let place = match problem.mark {
        Some(mark) => origin(file, mark),
        None => Arc::new(Origin {
            file: Arc::clone(file),
            line: 0,
            column: 0,
        }),
    };
    let found = problem
        .mark
        .filter(|_| !problem.own && !redacted)
        .and_then(|mark| universal_lines(text).nth(mark.line))
        .and_then(usual);
    let show = |located: Located| {
        if redacted {
            located.redacted()
        } else {
            located
        }
    };
    if let Some((message, column, hint)) = found {
        let located =
            Located::parser(format!("YAML parsing failed: {message}")).at(&Arc::new(Origin {
                column: column as u32 + 1,
                ..(*place).clone()
            }));
        return show(match hint {
            Some(hint) => located.hint(hint),
            None => located,
        });
    }
    let mut message = [
        problem.context.as_deref(),
        Some(problem.message.as_str()),
        problem.note.as_deref(),
    ]
    .into_iter()
    .flatten()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join(" ")
    .trim()
    .to_owned();
    if problem.mark.is_some() {
        let mut chars = message.chars();
        if let Some(first) = chars.next() {
            message = first.to_uppercase().chain(chars).collect();
        }
        if !message.ends_with('.') {
            message.push('.');
        }
    }
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    show(Located::parser(format!("YAML parsing failed: {message}")).at(&place))
}

fn usual(line: &str) -> Option<(&'static str, usize, Option<&'static str>)> {
    if let Some(byte) = line.find('\t') {
        return Some((
            "Tabs are usually invalid in YAML.",
            characters(line, byte),
            None,
        ));
    }
    if let Some((column, _)) = find(UNQUOTED.as_ref(), line, "value") {
        return Some((
            "This may be an issue with missing quotes around a template block.",
            column,
            Some(TEMPLATE),
        ));
    }
    if !line.trim_start().starts_with(':')
        && let Some((column, value)) = find(VALUE.as_ref(), line, "value")
        && !QUOTED.as_ref().is_some_and(|q| q.is_match(&value))
        && let Some(colon) = COLONS.as_ref().and_then(|c| c.find(&value))
    {
        return Some((
            "Colons in unquoted values must be followed by a non-space character.",
            column + characters(&value, colon.start()),
            Some(COLON),
        ));
    }
    let (column, value) = find(STARTS_QUOTED.as_ref(), line, "value")?;
    let (first, last) = (value.chars().next()?, value.chars().last()?);
    if first != last {
        return Some((
            "Values starting with a quote must end with the same quote.",
            column,
            Some(QUOTE),
        ));
    }
    if line.matches(first).count() > 2 {
        return Some((
            "Values starting with a quote must end with the same quote, and not contain that quote.",
            column,
            Some(QUOTES),
        ));
    }
    None
}
