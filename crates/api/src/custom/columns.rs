//! The table of a custom kind.

use super::definition::ColumnSpec;
use super::jsonpath::JsonPath;
use crate::print;
use crate::strategy::{CREATED, Column, NAME};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// The columns of a version's table, and what fills them.
pub(super) struct Columns {
    headings: Vec<Column>,
    paths: Vec<Option<JsonPath>>,
}

impl Columns {
    /// The columns of a version: the name, and those it asks for, or else the age.
    pub(super) fn new(specs: &[ColumnSpec]) -> Self {
        let mut headings = vec![NAME];
        let mut paths = Vec::new();
        if specs.is_empty() {
            headings.push(Column {
                name: Cow::Borrowed("Age"),
                kind: Cow::Borrowed("date"),
                format: Cow::Borrowed(""),
                priority: 0,
                description: Cow::Borrowed(CREATED),
            });
            paths.push(JsonPath::parse(".metadata.creationTimestamp").ok());
        }
        for spec in specs {
            let description = if spec.description.is_empty() {
                format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    spec.json_path
                )
            } else {
                spec.description.clone()
            };
            headings.push(Column {
                name: spec.name.clone().into(),
                kind: spec.kind.clone().into(),
                format: spec.format.clone().into(),
                priority: spec.priority,
                description: description.into(),
            });
            paths.push(JsonPath::parse(&spec.json_path).ok());
        }
        Self { headings, paths }
    }

    /// The headings.
    pub(super) fn headings(&self) -> &[Column] {
        &self.headings
    }

    /// The cells of an object's row.
    pub(super) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = Vec::with_capacity(self.headings.len());
        cells.push(print::name(object));
        for (column, path) in self.headings[1..].iter().zip(&self.paths) {
            let found = path.as_ref().and_then(|path| path.first(object));
            cells.push(found.map_or(Value::Null, |value| cell(&column.kind, value, now)));
        }
        cells
    }
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("string", Value::Null) => Value::Null,
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => whole.into(),
            #[allow(clippy::cast_possible_truncation)] // as upstream cuts it
            None => number
                .as_f64()
                .map_or(Value::Null, |float| (float as i64).into()),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => {
            if text.parse::<Timestamp>().is_ok() {
                print::since(text, now).into()
            } else {
                "<invalid>".into()
            }
        }
        _ => Value::Null,
    }
}
