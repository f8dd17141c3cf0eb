//! Lists within the dicts of a list.

use consort_jinja::{Dict, Key, Result, Value, repr};

use super::Call;
use crate::template::context::refused;
use crate::template::tests::to_bool;

fn wrong<T>(more: &str) -> Result<T> {
    refused(format!("subelements lookup expects a list of two or three items, {more}").trim_end())
}

pub(super) fn subelements(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    if !(2..=3).contains(&call.terms.len()) {
        return wrong("");
    }
    let Value::Str(path) = &call.terms[1] else {
        return wrong("first a dict or a list, second a string pointing to the subkey");
    };
    let skipped = |value: &Value| -> bool {
        match value {
            Value::Dict(dict) => dict
                .get("skipped")
                .is_some_and(|skipped| !matches!(skipped, Value::Bool(false))),
            _ => false,
        }
    };
    let elements = match &call.terms[0] {
        Value::List(list) => list.read().clone(),
        Value::Dict(dict) => {
            if skipped(&call.terms[0]) {
                return Ok(Vec::new());
            }
            dict.read().values().cloned().collect()
        }
        _ => return wrong("first a dict or a list, second a string pointing to the subkey"),
    };
    let skip_missing = match call.terms.get(2) {
        None => false,
        Some(Value::Dict(flags)) => flags
            .get("skip_missing")
            .is_some_and(|skip| to_bool(&skip).unwrap_or(false)),
        Some(_) => {
            return wrong("the optional third item must be a dict with flags skip_missing");
        }
    };
    let steps: Vec<&str> = path.split('.').collect();
    let mut rows = Vec::new();
    for element in &elements {
        let Value::Dict(dict) = element else {
            return refused(format!(
                "subelements lookup expects a dictionary, got '{}'",
                repr::text(element)
            ));
        };
        if skipped(element) {
            continue;
        }
        let (rest, found) = taken(dict, &steps, skip_missing)?;
        for item in found {
            rows.push(Value::tuple(vec![Value::Dict(rest.clone()), item]));
        }
    }
    Ok(rows)
}

/// The dict without what a path leads to, and the items of that.
fn taken(dict: &Dict, steps: &[&str], skip: bool) -> Result<(Dict, Vec<Value>)> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok((dict.clone(), Vec::new()));
    };
    let Some(value) = dict.get(step) else {
        if skip {
            return Ok((dict.clone(), Vec::new()));
        }
        return refused(format!(
            "could not find '{step}' key in iterated item '{}'",
            repr::text(&Value::Dict(dict.clone()))
        ));
    };
    let mut copy = dict.read().clone();
    if rest.is_empty() {
        let Value::List(items) = &value else {
            return refused(format!(
                "the key {step} should point to a list, got '{}'",
                repr::text(&value)
            ));
        };
        copy.shift_remove(&Key::from(*step));
        return Ok((Dict::new(copy), items.read().clone()));
    }
    let Value::Dict(inner) = &value else {
        if skip {
            return Ok((dict.clone(), Vec::new()));
        }
        return refused(format!(
            "the key {step} should point to a dictionary, got '{}'",
            repr::text(&value)
        ));
    };
    let (inner, found) = taken(inner, rest, skip)?;
    copy.insert(Key::from(*step), Value::Dict(inner));
    Ok((Dict::new(copy), found))
}
