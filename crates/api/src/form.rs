//! How stored objects look to one client: items of lists, rows of tables, lines of watches.

use crate::body::BodyError;
use crate::encoding;
use crate::error::{Outcome, internal};
use crate::kind::Kind;
use crate::negotiate::{Accept, Encoding, Shape};
use crate::respond::show;
use crate::table::{self, Include};
use bytes::Bytes;
use consort_object::{Object, proto};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a client asked to see of a kind's objects.
pub(crate) struct Form {
    /// The kind, in the version that was asked for.
    pub kind: Arc<Kind>,
    /// Encoding and shape.
    pub accept: Accept,
    /// How much of an object comes with its table row.
    pub include: Include,
    /// Names what this makes of an object among the object's encodings.
    number: u64,
}

impl Form {
    pub(crate) fn new(kind: Arc<Kind>, accept: Accept, include: Include) -> Self {
        let mut hasher = DefaultHasher::new();
        (&kind.group, &kind.version, &kind.kind).hash(&mut hasher);
        let shape = u8::from(accept.shape.is_metadata());
        (shape, accept.encoding as u8).hash(&mut hasher);
        Self {
            number: hasher.finish() & !0xf,
            kind,
            accept,
            include,
        }
    }

    /// Are stored bytes sent as they are?
    pub(crate) fn raw(&self) -> bool {
        self.accept.shape == Shape::Whole
            && self.accept.encoding == Encoding::Json
            && self.kind.view.is_none()
    }

    /// A number for something made of an object in this form; there is room for sixteen.
    pub(crate) fn number(&self, what: u8) -> u64 {
        self.number | u64::from(what)
    }

    /// Does what is made of an object follow from the object alone? A table's row tells ages.
    pub(crate) fn lasts(&self) -> bool {
        !matches!(self.accept.shape, Shape::Table(_))
    }

    /// An object as it stands in a list: JSON, YAML, or protobuf with its envelope; of a table its row.
    /// What lasts is made once for all who ask.
    pub(crate) fn item(&self, object: &Object) -> Outcome<Bytes> {
        if self.raw() {
            return Ok(object.json.clone());
        }
        if !self.lasts() {
            return self.made(object);
        }
        object
            .encodings
            .get_or_make(self.number(0), || self.made(object))
    }

    fn made(&self, object: &Object) -> Outcome<Bytes> {
        if self.accept.shape.is_metadata() && self.accept.encoding == Encoding::Json {
            return table::metadata_json(&object.json)
                .map(Bytes::from)
                .map_err(internal);
        }
        let value = self.value(object)?;
        encoding::encode_value(&value, self.accept.encoding)
    }

    /// An object in the shape asked for; of a table its row.
    pub(crate) fn value(&self, object: &Object) -> Outcome<Value> {
        let stored = object.value().map_err(internal)?;
        Ok(match self.accept.shape {
            Shape::Whole => show(&self.kind, stored),
            Shape::Table(_) => table::row(&self.kind, stored, self.include, Timestamp::now()),
            Shape::Metadata | Shape::MetadataList => table::metadata_only(&stored),
        })
    }

    /// A list of these items.
    pub(crate) fn list(&self, metadata: &Value, items: &[Value]) -> Value {
        match self.accept.shape {
            Shape::Table(version) => table::table(&self.kind, version, metadata, items, true),
            Shape::Whole => json!({
                "kind": self.kind.list_kind,
                "apiVersion": self.kind.api_version(),
                "metadata": metadata,
                "items": items,
            }),
            Shape::Metadata | Shape::MetadataList => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items,
            }),
        }
    }

    /// What comes before and after the items of a JSON list.
    pub(crate) fn around(&self, metadata: &Value) -> (Bytes, &'static [u8]) {
        // All lists end with their items.
        const TAIL: &str = "]}";
        let mut empty = self.list(metadata, &[]).to_string();
        empty.truncate(empty.len() - TAIL.len());
        (empty.into(), b"]}\n")
    }
}

/// A protobuf list of items that are encoded already: its head, whose lengths count the items, and its
/// tail. Each item is preceded by what [`proto::item_head`] gives.
pub(crate) fn proto_list(
    form: &Form,
    metadata: &Value,
    items: &[Bytes],
) -> Outcome<proto::ListFrame> {
    let empty = encoding::encode_value(&form.list(metadata, &[]), Encoding::Protobuf)?;
    let lengths = items.iter().map(|item| proto::message(item).len());
    proto::list_frame(&empty, lengths).ok_or_else(|| internal("a list cannot be encoded"))
}

/// A failure in the middle of an answer: all that is left is to break it off.
pub(crate) fn broken_off(failure: impl std::fmt::Display) -> BodyError {
    let text = failure.to_string();
    tracing::warn!(error = text, "an answer is broken off");
    text.into()
}
