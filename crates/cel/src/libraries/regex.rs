//! Patterns in Go's syntax, matched in linear time.

use ::regex::{Regex, RegexBuilder};

use crate::EvalError;
use crate::functions::{Context, Library};
use crate::libraries::{Answer, failed, no_overload};
use crate::value::Value;

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        string_find_string: string::find(string) -> string
        string_find_all_string: string::findAll(string) -> list(string)
        string_find_all_string_int: string::findAll(string, int) -> list(string)
    ",
    functions: &[("find", find), ("findAll", find_all)],
};

/// The memory a compiled pattern may take.
const SIZE_LIMIT: usize = 2 << 20;

/// The longest pattern that is looked at.
const LENGTH_LIMIT: usize = 100_000;

/// A pattern of RE2 as Go has it.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    let bad = |why: String| failed(format!("error parsing regexp: {why}"));
    if pattern.len() > LENGTH_LIMIT {
        return Err(bad("expression too large".to_owned()));
    }
    let translated =
        crate::pattern::translate(pattern).map_err(|why| bad(format!("{why}: `{pattern}`")))?;
    RegexBuilder::new(&translated)
        .size_limit(SIZE_LIMIT)
        .nest_limit(250)
        .build()
        .map_err(|error| match error {
            ::regex::Error::CompiledTooBig(_) => bad("expression too large".to_owned()),
            other => bad(why(&other.to_string(), pattern)),
        })
}

/// What is wrong with a pattern, in Go's words.
fn why(error: &str, pattern: &str) -> String {
    let what = error
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or_default();
    let whole = |what: &str| format!("{what}: `{pattern}`");
    match what {
        "unopened group" => whole("unexpected )"),
        "unclosed group" => whole("missing closing )"),
        "unclosed character class" => {
            let rest = pattern.rfind('[').map_or(pattern, |at| &pattern[at..]);
            format!("missing closing ]: `{rest}`")
        }
        "repetition operator missing expression" => {
            let operator = pattern
                .chars()
                .find(|c| matches!(c, '*' | '+' | '?'))
                .unwrap_or('*');
            format!("missing argument to repetition operator: `{operator}`")
        }
        what if what.starts_with("invalid character class range") => {
            whole("invalid character class range")
        }
        what if what.starts_with("Unicode property not found") => {
            whole("invalid character class range")
        }
        what if what.contains("group name") || what.contains("capture group") => {
            whole("invalid named capture")
        }
        what if what.contains("flag") || what.contains("look-around") => {
            whole("invalid or unsupported Perl syntax")
        }
        _ => whole("invalid pattern"),
    }
}

/// Runs `with` on the pattern: the one compiled beforehand, or the text's.
pub(crate) fn with_pattern<'a>(
    context: &Context<'_>,
    pattern: &str,
    with: impl FnOnce(&Regex) -> Answer<'a>,
) -> Answer<'a> {
    match context.pattern {
        Some(pattern) => with(pattern),
        None => with(&compile(pattern)?),
    }
}

fn find<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::String(text), Value::String(pattern)] = args else {
        return no_overload();
    };
    with_pattern(context, pattern, |pattern| {
        Ok(Value::owned_text(
            pattern.find(text).map_or("", |found| found.as_str()),
        ))
    })
}

fn find_all<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, pattern, limit) = match args {
        [Value::String(text), Value::String(pattern)] => (text, pattern, usize::MAX),
        [
            Value::String(text),
            Value::String(pattern),
            Value::Int(limit),
        ] => (text, pattern, usize::try_from(*limit).unwrap_or(usize::MAX)),
        _ => return no_overload(),
    };
    context.work.spend(text.len())?;
    with_pattern(context, pattern, |pattern| {
        let found = pattern
            .find_iter(text)
            .take(limit)
            .map(|found| Value::owned_text(found.as_str()));
        Ok(Value::list(found.collect()))
    })
}
