//! Terms without variables.

use std::collections::{BTreeMap, BTreeSet};

use crate::syntax::tree::{Term, TermKind};

/// How deep collections are nested in a term.
pub(super) fn depth(term: &Term) -> usize {
    match &term.kind {
        TermKind::Array(items) | TermKind::Set(items) => {
            1 + items.iter().map(depth).max().unwrap_or(0)
        }
        TermKind::Object(fields) => {
            1 + fields
                .iter()
                .map(|(key, value)| depth(key).max(depth(value)))
                .max()
                .unwrap_or(0)
        }
        TermKind::Paren(inner) => depth(inner),
        _ => 0,
    }
}

/// The value of a term that has no variables.
pub(super) fn constant(text: &str, term: &Term) -> Option<regorus::Value> {
    use regorus::Value;
    Some(match &term.kind {
        TermKind::Null => Value::Null,
        TermKind::Bool(value) => Value::Bool(*value),
        TermKind::Number => {
            Value::from_numeric_string(&text[term.span.start..term.span.end]).ok()?
        }
        TermKind::String | TermKind::RawString => Value::String(term.text.as_deref()?.into()),
        TermKind::Array(items) => Value::from(
            items
                .iter()
                .map(|item| constant(text, item))
                .collect::<Option<Vec<_>>>()?,
        ),
        TermKind::Set(items) => Value::from(
            items
                .iter()
                .map(|item| constant(text, item))
                .collect::<Option<BTreeSet<_>>>()?,
        ),
        TermKind::Object(fields) => Value::from(
            fields
                .iter()
                .map(|(key, value)| Some((constant(text, key)?, constant(text, value)?)))
                .collect::<Option<BTreeMap<_, _>>>()?,
        ),
        TermKind::Paren(inner) => constant(text, inner)?,
        _ => return None,
    })
}
