//! Filters with regular expressions.

use consort_jinja::{Arguments, Environment, Error, Result, State, Str, Value, integer, repr};
use consort_modules::python_re::{self, Template};

use super::{add_all, flag, needed};
use crate::template::context::refused;
use crate::template::pattern::{self, compile};

pub(super) fn add(environment: &mut Environment) {
    add_all(
        environment,
        &[
            ("regex_replace", replace),
            ("regex_findall", find_all),
            ("regex_search", search),
            ("regex_escape", escape),
        ],
    );
}

/// The text of a pattern.
fn written(value: &Value) -> Result<Str> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        _ => refused("first argument must be string or compiled pattern"),
    }
}

fn replace(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [pattern, with, ignore, multi, count, mandatory] = arguments.bind(
        "regex_replace",
        [
            "pattern",
            "replacement",
            "ignorecase",
            "multiline",
            "count",
            "mandatory_count",
        ],
    )?;
    let pattern = written(&pattern.unwrap_or_else(|| Value::from("")))?;
    let with = match with {
        None => Str::new(""),
        Some(Value::Str(with)) => with,
        Some(_) => return refused("decoding to str: need a bytes-like object, str found"),
    };
    let compiled = compile(&pattern, flag(ignore)?, flag(multi)?)?;
    let count = count.map_or(Ok(0), |count| integer(&count))?;
    let mandatory = mandatory.map_or(Ok(0), |mandatory| integer(&mandatory))?;
    let text = value.text()?;
    let template = Template::parse(&compiled, &with).map_err(pattern::refused)?;
    let (replaced, times) = compiled
        .sub(&text, &template, usize::try_from(count).unwrap_or(0))
        .map_err(pattern::refused)?;
    if mandatory != 0 && usize::try_from(mandatory).ok() != Some(times) {
        return refused(format!(
            "'{}' should match {mandatory} times, but matches {count} times in '{}'",
            &*pattern, &*text
        ));
    }
    Ok(Value::from(replaced))
}

fn find_all(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [pattern, multi, ignore] =
        arguments.bind("regex_findall", ["regex", "multiline", "ignorecase"])?;
    let pattern = written(&needed("regex_findall", "regex", pattern)?)?;
    let compiled = compile(&pattern, flag(ignore)?, flag(multi)?)?;
    let text = value.text()?;
    let group = |found: &python_re::Match, group: usize| {
        Value::from(found.group(&text, group).unwrap_or(""))
    };
    let found = compiled.find_all(&text).map_err(pattern::refused)?;
    Ok(Value::list(
        found
            .iter()
            .map(|found| match compiled.groups() {
                0 => group(found, 0),
                1 => group(found, 1),
                groups => Value::tuple((1..=groups).map(|at| group(found, at)).collect()),
            })
            .collect(),
    ))
}

fn search(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let Some((pattern, wanted)) = arguments.positional.split_first() else {
        return refused("regex_search() missing 1 required positional argument: 'regex'");
    };
    let pattern = written(pattern)?;
    let named = |name: &str| arguments.named(name).map_or(Ok(false), Value::truth);
    let compiled = compile(&pattern, named("ignorecase")?, named("multiline")?)?;
    let mut groups = Vec::with_capacity(wanted.len());
    for argument in wanted {
        let name = argument.text()?;
        let group = if let Some(rest) = name.strip_prefix("\\g") {
            let inner = rest
                .strip_prefix('<')
                .and_then(|rest| rest.rfind('>').map(|end| &rest[..end]))
                .filter(|inner| !inner.is_empty() && !inner.contains(char::is_whitespace));
            let Some(inner) = inner else {
                return refused("'NoneType' object has no attribute 'group'");
            };
            match compiled.names().iter().find(|(known, _)| known == inner) {
                Some((_, group)) => Some(*group),
                None => inner.parse().ok().filter(|_| false),
            }
        } else if let Some(rest) = name.strip_prefix('\\') {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            match digits.parse::<usize>() {
                Ok(group) => Some(group).filter(|group| *group <= compiled.groups()),
                Err(_) => return refused("'NoneType' object has no attribute 'group'"),
            }
        } else {
            return refused("Unknown argument");
        };
        groups.push(group);
    }
    let text = value.text()?;
    let Some(found) = compiled.search(&text, 0).map_err(pattern::refused)? else {
        return Ok(Value::None);
    };
    let part = |group: usize| found.group(&text, group).map_or(Value::None, Value::from);
    if groups.is_empty() {
        return Ok(part(0));
    }
    groups
        .into_iter()
        .map(|group| match group {
            Some(group) => Ok(part(group)),
            None => Err(Error::failed("no such group")),
        })
        .collect::<Result<Vec<Value>>>()
        .map(Value::list)
}

fn escape(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [kind] = arguments.bind("regex_escape", ["re_type"])?;
    let kind = kind.unwrap_or_else(|| Value::from("python"));
    let text = value.text()?;
    match kind.as_str() {
        Some("python") => Ok(Value::from(python_re::escape(&text))),
        Some("posix_basic") => Ok(Value::from(text.chars().fold(
            String::with_capacity(text.len()),
            |mut out, c| {
                if matches!(c, ']' | '.' | '[' | '^' | '$' | '*' | '\\') {
                    out.push('\\');
                }
                out.push(c);
                out
            },
        ))),
        Some("posix_extended") => refused("Regex type (posix_extended) not yet implemented"),
        _ => refused(format!("Invalid regex type ({})", repr::text(&kind))),
    }
}
