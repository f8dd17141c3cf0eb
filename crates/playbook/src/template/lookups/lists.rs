//! Lists in other shapes.

use consort_jinja::{Dict, Error, Result, Value, repr};

use super::Call;
use crate::template::context::{class, refused};
use crate::template::mersenne::Random;

/// Items of lists in their places; not deeper than one level.
fn flatten(items: &[Value]) -> Result<Vec<Value>> {
    let mut flat = Vec::new();
    for item in items {
        match item {
            Value::List(_) | Value::Tuple(_) => flat.extend(item.iterate()?),
            item => flat.push(item.clone()),
        }
    }
    Ok(flat)
}

pub(super) fn items(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    flatten(&call.terms)
}

pub(super) fn dict(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for term in &call.terms {
        let Some(entries) = term.entries() else {
            return refused(format!(
                "the 'dict' lookup plugin expects a dictionary, got '{}' of type {})",
                repr::text(term),
                class(term)
            ));
        };
        for (key, value) in entries {
            let entry: Dict = [("key", key.value().clone()), ("value", value)]
                .into_iter()
                .collect();
            found.push(Value::Dict(entry));
        }
    }
    Ok(found)
}

pub(super) fn indexed_items(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    Ok(flatten(&call.terms)?
        .into_iter()
        .enumerate()
        .map(|(at, item)| Value::tuple(vec![Value::from(at), item]))
        .collect())
}

/// More rows than this are not made.
const MOST: usize = 5_000_000;

pub(super) fn nested(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let Some((first, rest)) = call.terms.split_first() else {
        return refused("with_nested requires at least one element in the nested list");
    };
    let mut rows = first.iterate()?;
    for term in rest {
        let items = term.iterate()?;
        if rows.len().saturating_mul(items.len()) > MOST {
            return refused("the result would be too large");
        }
        let mut longer = Vec::with_capacity(rows.len() * items.len());
        for row in &rows {
            for item in &items {
                longer.push(Value::list(flatten(&[row.clone(), item.clone()])?));
            }
        }
        rows = longer;
    }
    rows.iter()
        .map(|row| match row {
            Value::List(_) | Value::Tuple(_) => flatten(&row.iterate()?).map(Value::list),
            Value::Str(_) | Value::Dict(_) => row.iterate().map(Value::list),
            other => Err(Error::failed(format!(
                "'{}' object is not iterable",
                other.type_name()
            ))),
        })
        .collect()
}

pub(super) fn together(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    if call.terms.is_empty() {
        return refused("with_together requires at least one element in each list");
    }
    let lists = call
        .terms
        .iter()
        .map(Value::iterate)
        .collect::<Result<Vec<_>>>()?;
    let length = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..length)
        .map(|at| {
            let row: Vec<Value> = lists
                .iter()
                .map(|list| list.get(at).cloned().unwrap_or_default())
                .collect();
            flatten(&row).map(Value::list)
        })
        .collect()
}

pub(super) fn random_choice(call: &mut Call<'_, '_, '_, '_>) -> Vec<Value> {
    if call.terms.is_empty() {
        return Vec::new();
    }
    let at = Random::System.below(call.terms.len());
    vec![call.terms[at].clone()]
}
