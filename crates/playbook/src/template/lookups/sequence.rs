//! Numbers in a row.

use consort_jinja::{Arguments, Error, Result, Str, Value, repr};

use super::{Call, read_number};
use crate::language::split_pairs;
use crate::template::context::refused;
use crate::template::pattern::{self, compile};

const FIELDS: [&str; 5] = ["start", "end", "stride", "count", "format"];
const SHORT: &str = "^((0?x?[0-9a-f]+)-)?(0?x?[0-9a-f]+)(/(0?x?[0-9a-f]+))?(:(.+))?$";

/// Longer rows are not made.
const LONGEST: i64 = 5_000_000;

pub(super) fn sequence(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let mut terms = call.texts()?;
    if terms.is_empty() && !call.named.is_empty() {
        terms.push(Str::new(""));
    }
    let given = call.named.clone();
    let mut all = Vec::new();
    for term in &terms {
        call.named.clone_from(&given);
        if !short(call, term)? {
            pairs(call, term)?;
        }
        rows(call, &mut all)?;
    }
    Ok(all)
}

/// `5`, `2-10/2`, `4:host%02d`, `-5..`.
fn short(call: &mut Call<'_, '_, '_, '_>, term: &str) -> Result<bool> {
    let compiled = compile(SHORT, true, false)?;
    let Some(found) = compiled.match_at(term, 0).map_err(pattern::refused)? else {
        return Ok(false);
    };
    for (name, group) in [("start", 2), ("end", 3), ("stride", 5), ("format", 7)] {
        if let Some(text) = found.group(term, group) {
            call.set(name, Value::from(text));
        }
    }
    Ok(true)
}

fn pairs(call: &mut Call<'_, '_, '_, '_>, term: &Str) -> Result<()> {
    let pairs = split_pairs(term, false).map_err(|error| {
        Error::failed(format!(
            "unknown error parsing with_sequence arguments: {}. Error was: {}",
            repr::string(term),
            error.brief()
        ))
    })?;
    let mut unknown = Vec::new();
    for (key, value) in pairs.read().iter() {
        match key.as_str() {
            Some(name) if FIELDS.contains(&name) => call.set(name, value.clone()),
            _ => unknown.push(key.value().clone()),
        }
    }
    if unknown.is_empty() {
        Ok(())
    } else {
        refused(format!(
            "unrecognized arguments to with_sequence: {}",
            repr::repr(&Value::list(unknown))
        ))
    }
}

fn rows(call: &mut Call<'_, '_, '_, '_>, all: &mut Vec<Value>) -> Result<()> {
    let number = |name: &str| -> Result<Option<i64>> {
        match call.option(name) {
            None => Ok(None),
            Some(Value::Str(text)) => match read_number(&text) {
                Some(number) => Ok(Some(number)),
                None => refused(format!(
                    "Config {} for 'sequence' lookup plugin from 'Direct' has an invalid value: Invalid value provided for 'integer': {}",
                    repr::string(name),
                    repr::string(&text)
                )),
            },
            Some(value) => consort_jinja::integer(&value).map(Some),
        }
    };
    let start = number("start")?.unwrap_or(1);
    let stride = number("stride")?.unwrap_or(1);
    let end = match (number("count")?, number("end")?) {
        (None, None) => return refused("must specify count or end in with_sequence"),
        (Some(_), Some(_)) => {
            return refused("can't specify both count and end in with_sequence");
        }
        (Some(0), None) => return Ok(()),
        (Some(count), None) => start
            .saturating_add(count.saturating_mul(stride))
            .saturating_sub(1),
        (None, Some(end)) => end,
    };
    if stride > 0 && end < start {
        return refused("to count backwards make stride negative");
    }
    if stride < 0 && end > start {
        return refused("to count forward don't make stride negative");
    }
    if stride == 0 {
        return Ok(());
    }
    if (i128::from(end) - i128::from(start)).abs() / i128::from(stride).abs() > i128::from(LONGEST)
    {
        return refused("the sequence would be too long");
    }
    let format = call.text("format", "%d")?;
    if format.matches('%').count() != 1 {
        return refused(format!("bad formatting string: {format}"));
    }
    let template = Value::from(format.as_str());
    let mut at = start;
    while if stride > 0 { at <= end } else { at >= end } {
        let formatted = call
            .state
            .filter(
                "format",
                template.clone(),
                &Arguments {
                    positional: vec![Value::Int(at)],
                    named: Vec::new(),
                },
            )?
            .defined()
            .map_err(|_| {
                Error::failed(format!(
                    "problem formatting {at} with {}",
                    repr::string(&format)
                ))
            })?;
        all.push(formatted);
        at = match at.checked_add(stride) {
            Some(next) => next,
            None => break,
        };
    }
    Ok(())
}
