//! Kubernetes' protobuf, both ways, by descriptors.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown` that names the kind and holds the message.
//! There is no code per kind: the table of facts says which field has which number and type. What is
//! written is byte for byte what upstream's generated code writes: fields in ascending order, plain
//! fields always and pointers only when set, map entries sorted by key.

mod list;
mod read;
mod wire;
mod write;

use serde_json::{Map, Value};

pub use self::list::{ListFrame, item_head, list_frame, message};
use self::read::Reader;
use self::wire::{Backwards, Wire, next};
use self::write::Writer;
use crate::schema::{Gvk, Schema};

/// What every protobuf body begins with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// Nesting allowed in a message, as in JSON.
const MAX_DEPTH: usize = 128;

/// Why bytes could not be read, or an object not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes do not begin with [`MAGIC`].
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    Magic,
    /// The message breaks off.
    #[error("unexpected EOF")]
    Truncated,
    /// The bytes break the rules of the wire format.
    #[error("proto: {0}")]
    Wire(&'static str),
    /// A text that is not UTF-8.
    #[error("proto: string field {message}.{field} contains invalid UTF-8")]
    Utf8 {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The body names no kind, and none was expected.
    #[error("the protobuf object has no kind or apiVersion")]
    NoKind,
    /// The kind is not in the table.
    #[error("no kind \"{}\" is registered for version \"{}\"", .0.kind, .0.api_version())]
    UnknownKind(Gvk),
    /// The object is encoded in a way that is not spoken here, such as compressed.
    #[error("unsupported content encoding {0:?}")]
    Encoding(String),
    /// JSON inside the message is not JSON.
    #[error("reading JSON in {field}: {source}")]
    Json {
        /// The field that holds it.
        field: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A value is not what its kind says it is; objects that were checked have none such.
    #[error("{message}.{field} is not a {expected}")]
    Type {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// Reads a body into a JSON object with `apiVersion` and `kind`.
///
/// `default` stands in for a kind the body does not name. The values are those of upstream's JSON, though not yet in
/// canonical form throughout: [`coerce_and_check`](crate::schema::coerce_and_check) has yet to look at them.
pub fn decode(schema: &Schema, bytes: &[u8], default: Option<&Gvk>) -> Result<Value, Error> {
    let mut rest = bytes.strip_prefix(&MAGIC).ok_or(Error::Magic)?;
    let (mut api_version, mut kind, mut raw, mut encoding) = ("", "", &[][..], "");
    let text = |bytes| {
        std::str::from_utf8(bytes).map_err(|_| Error::Utf8 {
            message: "runtime.Unknown",
            field: "typeMeta",
        })
    };
    while let Some((tag, wire)) = next(&mut rest)? {
        match (tag, wire) {
            (1, Wire::Bytes(mut meta)) => {
                while let Some((tag, wire)) = next(&mut meta)? {
                    match (tag, wire) {
                        (1, Wire::Bytes(value)) => api_version = text(value)?,
                        (2, Wire::Bytes(value)) => kind = text(value)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(value)) => raw = value,
            (3, Wire::Bytes(value)) => encoding = text(value)?,
            _ => {}
        }
    }
    if !encoding.is_empty() {
        return Err(Error::Encoding(encoding.to_owned()));
    }
    let mut gvk = Gvk::from_api_version(api_version, kind);
    if let Some(default) = default {
        if gvk.kind.is_empty() {
            gvk.kind.clone_from(&default.kind);
        }
        if gvk.version.is_empty() {
            gvk.group.clone_from(&default.group);
            gvk.version.clone_from(&default.version);
        }
    }
    if gvk.kind.is_empty() || gvk.version.is_empty() {
        return Err(Error::NoKind);
    }
    let message = schema
        .kind(&gvk)
        .ok_or_else(|| Error::UnknownKind(gvk.clone()))?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::String(gvk.api_version()));
    object.insert("kind".to_owned(), Value::String(gvk.kind));
    Reader { schema }.object(message, raw, &mut object, MAX_DEPTH)?;
    Ok(Value::Object(object))
}

/// Writes a JSON object, of the kind it names, as a body. Lists are kinds like any other.
pub fn encode(schema: &Schema, object: &Value) -> Result<Vec<u8>, Error> {
    let gvk = Gvk::of(object);
    if gvk.kind.is_empty() || gvk.version.is_empty() {
        return Err(Error::NoKind);
    }
    let Some(message) = schema.kind(&gvk) else {
        return Err(Error::UnknownKind(gvk));
    };
    let mut out = Backwards::default();
    // Written from the end: contentType, contentEncoding, raw, typeMeta.
    out.bytes(4, b"");
    out.bytes(3, b"");
    out.message(2, |out| Writer { schema }.message(message, object, out))?;
    out.message(1, |out| {
        out.bytes(2, gvk.kind.as_bytes());
        out.bytes(1, gvk.api_version().as_bytes());
        Ok(())
    })?;
    out.raw(&MAGIC);
    Ok(out.finish())
}

/// [`encode`] for an object that is JSON bytes.
pub fn encode_json(schema: &Schema, json: &[u8]) -> Result<Vec<u8>, Error> {
    let object = serde_json::from_slice(json).map_err(|source| Error::Json {
        field: "the object",
        source,
    })?;
    encode(schema, &object)
}

/// One event of a watch: a bare `WatchEvent` around an object that [`encode`] wrote. The length that
/// precedes it on the wire is not part of it.
pub fn watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Backwards::default();
    // The closures that write these cannot fail.
    let _ = out.message(2, |out| {
        out.bytes(1, object);
        Ok(())
    });
    out.bytes(1, kind.as_bytes());
    out.finish()
}
