//! The lines of a watch: one event in the form its client reads.

use crate::error::{Outcome, internal};
use crate::form::Form;
use crate::negotiate::{Encoding, Shape};
use crate::{encoding, table};
use bytes::{BufMut, Bytes, BytesMut};
use consort_object::status::Status;
use consort_object::{Encodings, Object, Revision, proto};
use consort_store::Event;
use serde_json::{Value, json};

/// The annotation of the bookmark that ends the initial events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

/// Lines of a watch, appended to what is sent.
impl Form {
    /// The line about an event; what lasts of it is made once for all watchers.
    pub(super) fn event(
        &self,
        word: Word,
        event: &Event,
        headings: bool,
        out: &mut BytesMut,
    ) -> Outcome<()> {
        self.about(word, &event.object, Some(&event.lines), headings, out)
    }

    /// The line about an object.
    pub(super) fn object(
        &self,
        word: Word,
        object: &Object,
        headings: bool,
        out: &mut BytesMut,
    ) -> Outcome<()> {
        self.about(word, object, None, headings, out)
    }

    fn about(
        &self,
        word: Word,
        object: &Object,
        lines: Option<&Encodings>,
        headings: bool,
        out: &mut BytesMut,
    ) -> Outcome<()> {
        if let Shape::Table(version) = self.accept.shape {
            let row = self.value(object)?;
            let metadata = json!({"resourceVersion": object.revision.to_string()});
            let table = table::table(&self.kind, version, &metadata, &[row], headings);
            return self.line(word, &table, out);
        }
        match self.accept.encoding {
            Encoding::Json => json_line(word, &self.item(object)?, out),
            Encoding::Protobuf => {
                let make = || -> Outcome<Bytes> { Ok(proto_frame(word, &self.item(object)?)) };
                out.put_slice(&match lines {
                    Some(lines) => lines.get_or_make(self.number(1 + word as u8), make)?,
                    None => make()?,
                });
            }
            Encoding::Yaml => yaml_line(word, &self.value(object)?, out)?,
        }
        Ok(())
    }

    /// A line that only says how far the client is.
    pub(super) fn bookmark(
        &self,
        revision: Revision,
        initial_end: bool,
        out: &mut BytesMut,
    ) -> Outcome<()> {
        let mut metadata = json!({
            "resourceVersion": revision.to_string(),
            "creationTimestamp": null,
        });
        if initial_end {
            metadata["annotations"] = json!({INITIAL_END: "true"});
        }
        let value = match self.accept.shape {
            Shape::Whole => json!({
                "kind": self.kind.kind,
                "apiVersion": self.kind.api_version(),
                "metadata": metadata,
            }),
            Shape::Table(version) => {
                // Clients find the annotation on the row's object.
                let object = table::metadata_only(&json!({"metadata": metadata}));
                let cells: Vec<Value> = self
                    .kind
                    .strategy
                    .columns()
                    .iter()
                    .map(|_| Value::Null)
                    .collect();
                let row = json!({"cells": cells, "object": object});
                let metadata = json!({"resourceVersion": revision.to_string()});
                table::table(&self.kind, version, &metadata, &[row], false)
            }
            Shape::Metadata | Shape::MetadataList => {
                table::metadata_only(&json!({"metadata": metadata}))
            }
        };
        self.line(Word::Bookmark, &value, out)
    }

    pub(super) fn error(&self, status: &Status, out: &mut BytesMut) -> Outcome<()> {
        let value: Value = serde_json::from_slice(&status.to_json()).map_err(internal)?;
        self.line(Word::Error, &value, out)
    }

    fn line(&self, word: Word, value: &Value, out: &mut BytesMut) -> Outcome<()> {
        match self.accept.encoding {
            Encoding::Yaml => yaml_line(word, value, out)?,
            encoding => {
                let encoded = encoding::encode_value(value, encoding)?;
                match encoding {
                    Encoding::Protobuf => out.put_slice(&proto_frame(word, &encoded)),
                    _ => json_line(word, &encoded, out),
                }
            }
        }
        Ok(())
    }
}

pub(super) fn json_line(word: Word, object: &[u8], out: &mut BytesMut) {
    out.reserve(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(word.text().as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}

fn yaml_line(word: Word, value: &Value, out: &mut BytesMut) -> Outcome<()> {
    let event = json!({"type": word.text(), "object": value});
    let text = encoding::encode_value(&event, Encoding::Yaml)?;
    out.put_slice(b"---\n");
    out.put_slice(&text);
    Ok(())
}

/// A `WatchEvent` in protobuf after its length (four bytes, big endian).
fn proto_frame(word: Word, object: &[u8]) -> Bytes {
    let event = proto::watch_event(word.text(), object);
    let mut out = BytesMut::with_capacity(event.len() + 4);
    out.put_u32(event.len() as u32);
    out.put_slice(&event);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_comes_before_the_object() {
        let mut line = BytesMut::new();
        json_line(Word::Added, b"{}", &mut line);
        assert_eq!(line, "{\"type\":\"ADDED\",\"object\":{}}\n");
    }

    #[test]
    fn protobuf_frames_carry_their_length_first() {
        let frame = proto_frame(Word::Added, b"xyz");
        assert_eq!(&frame[..4], &[0, 0, 0, 14]);
        assert_eq!(&frame[4..], b"\x0a\x05ADDED\x12\x05\x0a\x03xyz");
    }
}
