//! JSON where YAML is expected: Ansible tries it first.

use std::sync::Arc;

use consort_jinja::{Origin, Str, Value};
use num_bigint::BigInt;

use super::{Content, Encrypted, Node, Reader};

/// The value of a text that is JSON; none if it is not.
///
/// Nothing in it has a line: as with Ansible, only the file is known.
pub(super) fn document(
    text: &str,
    file: &Arc<str>,
    reader: &Reader,
    trusted: bool,
) -> Option<Node> {
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let origin = Arc::new(Origin {
        file: Arc::clone(file),
        line: 0,
        column: 0,
    });
    Some(node(value, &origin, reader, trusted))
}

fn node(value: serde_json::Value, origin: &Arc<Origin>, reader: &Reader, trusted: bool) -> Node {
    use serde_json::Value as Json;
    let text = |text: String, trusted: bool| {
        let text = if trusted {
            crate::blocking::heed(&text);
            Str::template(text)
        } else {
            Str::new(text)
        };
        Value::Str(text.written_at(Arc::clone(origin)))
    };
    let content = match value {
        Json::Null => Content::Scalar(Value::None),
        Json::Bool(value) => Content::Scalar(Value::Bool(value)),
        Json::Number(number) => Content::Scalar(match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::integer(BigInt::from(value)),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Json::String(value) => Content::Scalar(text(value, trusted)),
        Json::Array(items) => Content::Sequence(
            items
                .into_iter()
                .map(|item| node(item, origin, reader, trusted))
                .collect(),
        ),
        Json::Object(entries) => {
            if entries.len() == 1 {
                if let Some(Json::String(value)) = entries.get("__ansible_unsafe") {
                    let value = text(value.clone(), false);
                    return Node::new(Arc::clone(origin), Content::Scalar(value), false);
                }
                if let Some(Json::String(ciphertext)) = entries.get("__ansible_vault") {
                    let opened = reader.open(Encrypted {
                        ciphertext: ciphertext.as_str().into(),
                        origin: Some(Arc::clone(origin)),
                        trusted,
                        reason: None,
                    });
                    return Node::new(Arc::clone(origin), Content::Scalar(opened), false);
                }
            }
            Content::Mapping(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        (
                            Node::new(
                                Arc::clone(origin),
                                Content::Scalar(text(key, trusted)),
                                false,
                            ),
                            node(value, origin, reader, trusted),
                        )
                    })
                    .collect(),
            )
        }
    };
    Node::new(Arc::clone(origin), content, false)
}
