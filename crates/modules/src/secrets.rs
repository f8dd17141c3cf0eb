//! Values that may not be told, taken out of what is told.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::python;

const WHOLE: &str = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER";

/// Takes secrets out of a result. Booleans and nulls of its outermost level stay.
pub(crate) fn remove(report: &mut Map<String, Value>, secrets: &BTreeSet<String>) {
    if secrets.is_empty() {
        return;
    }
    let longest_first = by_length(secrets);
    for value in report.values_mut() {
        remove_from(value, secrets, &longest_first);
    }
}

/// Takes secrets out of a text.
pub(crate) fn remove_from_text(text: &str, secrets: &BTreeSet<String>) -> String {
    if secrets.contains(text) {
        return WHOLE.to_owned();
    }
    let mut text = text.to_owned();
    for secret in by_length(secrets) {
        if text.contains(secret) {
            text = text.replace(secret, "********");
        }
    }
    text
}

fn by_length(secrets: &BTreeSet<String>) -> Vec<&str> {
    let mut sorted: Vec<&str> = secrets.iter().map(String::as_str).collect();
    sorted.sort_by_key(|secret| std::cmp::Reverse(secret.chars().count()));
    sorted
}

fn remove_from(value: &mut Value, secrets: &BTreeSet<String>, longest_first: &[&str]) {
    match value {
        Value::String(text) => {
            if secrets.contains(text.as_str()) {
                WHOLE.clone_into(text);
                return;
            }
            for secret in longest_first {
                if text.contains(secret) {
                    *text = text.replace(secret, "********");
                }
            }
        }
        Value::Number(_) => {
            let written = python::repr_value(value);
            if longest_first.iter().any(|secret| written.contains(secret)) {
                *value = WHOLE.into();
            }
        }
        Value::Array(items) => {
            for item in items {
                remove_from(item, secrets, longest_first);
            }
        }
        Value::Object(entries) => {
            for value in entries.values_mut() {
                remove_from(value, secrets, longest_first);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Takes what looks like a password out of a text: `user:password@host`, `scheme://user:password@host`.
pub(crate) fn hide_passwords(text: &str) -> String {
    let mut pieces: Vec<&str> = Vec::new();
    let mut begin = text.len();
    let mut previous = begin;
    'search: loop {
        let Some(end) = text[..begin].rfind('@') else {
            pieces.push(&text[..begin]);
            break;
        };
        let mut limit = end;
        let separator = loop {
            let scheme = text[..limit].rfind("://");
            begin = scheme.unwrap_or(0);
            let from = (begin + 3).min(end);
            let from = (from..=end)
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(end);
            if let Some(at) = text[from..end].find(':') {
                break from + at;
            }
            if begin == 0 {
                pieces.push(&text[..previous]);
                break 'search;
            }
            limit = begin;
        };
        pieces.push(&text[end..previous]);
        pieces.push("********");
        pieces.push(&text[begin..=separator]);
        previous = begin;
    }
    pieces.reverse();
    pieces.concat()
}
