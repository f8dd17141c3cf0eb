//! Tables for printing, and objects cut down to their metadata.

use crate::error::{Outcome, bad_request};
use crate::kind::Kind;
use crate::respond::show;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How much of each object comes along with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// From the parameter `includeObject`.
    pub(crate) fn parse(text: Option<&str>) -> Outcome<Self> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// One row of a kind's table. `stored` is the object in its stored form.
pub(crate) fn row(kind: &Kind, stored: Value, include: Include, now: Timestamp) -> Value {
    let cells = kind.strategy.cells(&stored, now);
    let object = match include {
        Include::None => Value::Null,
        Include::Metadata => metadata_only(&stored),
        Include::Object => show(kind, stored),
    };
    json!({"cells": cells, "object": object})
}

/// A table. `headings`: the first event of a watch and every list carry the columns.
pub(crate) fn table(
    kind: &Kind,
    version: &str,
    metadata: &Value,
    rows: &[Value],
    headings: bool,
) -> Value {
    let columns: Vec<Value> = if headings {
        kind.strategy
            .columns()
            .iter()
            .map(|column| {
                json!({
                    "name": column.name,
                    "type": column.kind,
                    "format": column.format,
                    "description": column.description,
                    "priority": column.priority,
                })
            })
            .collect()
    } else {
        Vec::new()
    };
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// JSON of `PartialObjectMetadata`, cut out of a stored object: the rest of it is passed over and not
/// taken apart. Garbage collection watches everything there is in this form.
pub(crate) fn metadata_json(stored: &[u8]) -> serde_json::Result<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        metadata: &'a serde_json::value::RawValue,
    }
    const BEFORE: &str =
        r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;
    let stored: Stored<'_> = serde_json::from_slice(stored)?;
    let metadata = stored.metadata.get();
    let mut out = Vec::with_capacity(BEFORE.len() + metadata.len() + 1);
    out.extend_from_slice(BEFORE.as_bytes());
    out.extend_from_slice(metadata.as_bytes());
    out.push(b'}');
    Ok(out)
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn metadata_only(stored: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": stored["metadata"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_cut_out_of_the_text_is_what_parsing_would_give() {
        let stored = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "a\"}b", "labels": {"x": "{"}, "resourceVersion": "7"},
            "spec": {"metadata": {"name": "not this"}},
        });
        let cut = metadata_json(stored.to_string().as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(cut).unwrap(),
            metadata_only(&stored).to_string()
        );
        assert!(metadata_json(b"{\"metadata\":").is_err());
    }
}
