//! Kubernetes' protobuf, both ways, by descriptors.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown` that names the kind and holds the message.
//! There is no code per kind: the table of facts says which field has which number and type. What is
//! written is byte for byte what upstream's generated code writes: fields in ascending order, plain
//! fields always and pointers only when set, map entries sorted by key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use crate::schema::{Field, Form, Gvk, Message, MessageId, Schema, Shape, Type};
use crate::time;

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

/// The value of one field on the wire.
enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Error::Truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::Wire("integer overflow"))
}

fn take<'b>(bytes: &mut &'b [u8], length: u64) -> Result<&'b [u8], Error> {
    let length = usize::try_from(length).map_err(|_| Error::Truncated)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Error::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

/// The next field, if there is one. Groups are skipped.
fn next<'b>(bytes: &mut &'b [u8]) -> Result<Option<(u32, Wire<'b>)>, Error> {
    let mut groups = 0_usize;
    while !bytes.is_empty() {
        let key = varint(bytes)?;
        let tag = u32::try_from(key >> 3).map_err(|_| Error::Wire("illegal tag"))?;
        if tag == 0 {
            return Err(Error::Wire("illegal tag 0"));
        }
        let wire = match key & 7 {
            0 => Wire::Varint(varint(bytes)?),
            1 => Wire::Fixed64(
                take(bytes, 8)?
                    .try_into()
                    .map(u64::from_le_bytes)
                    .map_err(|_| Error::Truncated)?,
            ),
            2 => {
                let length = varint(bytes)?;
                Wire::Bytes(take(bytes, length)?)
            }
            3 => {
                groups += 1;
                continue;
            }
            4 => {
                groups = groups
                    .checked_sub(1)
                    .ok_or(Error::Wire("unexpected end group"))?;
                continue;
            }
            5 => Wire::Fixed32(
                take(bytes, 4)?
                    .try_into()
                    .map(u32::from_le_bytes)
                    .map_err(|_| Error::Truncated)?,
            ),
            _ => return Err(Error::Wire("illegal wireType")),
        };
        if groups == 0 {
            return Ok(Some((tag, wire)));
        }
    }
    if groups == 0 {
        Ok(None)
    } else {
        Err(Error::Truncated)
    }
}

struct Reader<'s> {
    schema: &'s Schema,
}

impl Reader<'_> {
    fn object(
        &self,
        message: &Message,
        mut bytes: &[u8],
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        if depth == 0 {
            return Err(Error::Wire("nesting too deep"));
        }
        while let Some((tag, wire)) = next(&mut bytes)? {
            let Some(field) = message.tag(tag) else {
                continue;
            };
            match (field.shape, field.kind, wire) {
                (_, Type::Message(id), Wire::Bytes(inner)) if field.inline => {
                    self.object(self.schema.get(id), inner, object, depth - 1)?;
                }
                (Shape::Map, _, Wire::Bytes(entry)) => {
                    let (key, value) = self.entry(message, field, entry, depth)?;
                    let map = object
                        .entry(field.name)
                        .or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(map) = map {
                        map.insert(key, value);
                    }
                }
                (Shape::List, _, wire) => {
                    let list = object
                        .entry(field.name)
                        .or_insert_with(|| Value::Array(Vec::new()));
                    let Value::Array(list) = list else { continue };
                    self.item(message, field, wire, list, depth)?;
                }
                (_, _, wire) => {
                    // A message sent in two parts is one message: the second is merged into the first.
                    let earlier = object.get_mut(field.name);
                    match (field.kind, wire, earlier) {
                        (Type::Message(id), Wire::Bytes(inner), Some(Value::Object(earlier)))
                            if self.schema.get(id).form == Form::Object =>
                        {
                            self.object(self.schema.get(id), inner, earlier, depth - 1)?;
                        }
                        (_, wire, _) => {
                            let value = self.value(message, field, &wire, depth)?;
                            if keeps(field, &value) {
                                object.insert(field.name.to_owned(), value);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// One item of a list, or several that are packed together.
    fn item(
        &self,
        message: &Message,
        field: &Field,
        wire: Wire<'_>,
        list: &mut Vec<Value>,
        depth: usize,
    ) -> Result<(), Error> {
        let packed = matches!(
            field.kind,
            Type::Int32 | Type::Int64 | Type::Uint32 | Type::Bool | Type::Double
        );
        match wire {
            Wire::Bytes(mut bytes) if packed => {
                while !bytes.is_empty() {
                    let wire = if field.kind == Type::Double {
                        Wire::Fixed64(
                            take(&mut bytes, 8)?
                                .try_into()
                                .map(u64::from_le_bytes)
                                .map_err(|_| Error::Truncated)?,
                        )
                    } else {
                        Wire::Varint(varint(&mut bytes)?)
                    };
                    list.push(self.value(message, field, &wire, depth)?);
                }
            }
            wire => list.push(self.value(message, field, &wire, depth)?),
        }
        Ok(())
    }

    fn entry(
        &self,
        message: &Message,
        field: &Field,
        mut bytes: &[u8],
        depth: usize,
    ) -> Result<(String, Value), Error> {
        let (mut key, mut value) = (String::new(), None);
        while let Some((tag, wire)) = next(&mut bytes)? {
            match (tag, &wire) {
                (1, Wire::Bytes(text)) => key = utf8(message, field, text)?,
                (2, wire) => value = Some(self.value(message, field, wire, depth)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.missing(field, depth)?,
        };
        Ok((key, value))
    }

    /// What a map entry without a value holds.
    fn missing(&self, field: &Field, depth: usize) -> Result<Value, Error> {
        Ok(match field.kind {
            Type::String | Type::Bytes => Value::String(String::new()),
            Type::Bool => Value::Bool(false),
            Type::Message(id) => self.message(self.schema.get(id), &[], field, depth)?,
            _ => Value::from(0),
        })
    }

    fn value(
        &self,
        message: &Message,
        field: &Field,
        wire: &Wire<'_>,
        depth: usize,
    ) -> Result<Value, Error> {
        Ok(match (field.kind, wire) {
            (Type::String, Wire::Bytes(text)) => Value::String(utf8(message, field, text)?),
            (Type::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
            (Type::Bool, Wire::Varint(number)) => Value::Bool(*number != 0),
            (Type::Int32, Wire::Varint(number)) => Value::from(*number as i32),
            (Type::Int64, Wire::Varint(number)) => Value::from(*number as i64),
            (Type::Uint32, Wire::Varint(number)) => Value::from(*number as u32),
            (Type::Int32 | Type::Uint32, Wire::Fixed32(number)) => Value::from(*number),
            (Type::Double, Wire::Fixed64(bits)) => {
                Number::from_f64(f64::from_bits(*bits)).map_or(Value::Null, Value::Number)
            }
            (Type::Message(id), Wire::Bytes(bytes)) => {
                self.message(self.schema.get(id), bytes, field, depth)?
            }
            _ => return Err(Error::Wire("wrong wireType for a field")),
        })
    }

    fn message(
        &self,
        message: &Message,
        bytes: &[u8],
        field: &Field,
        depth: usize,
    ) -> Result<Value, Error> {
        let depth = depth
            .checked_sub(1)
            .ok_or(Error::Wire("nesting too deep"))?;
        let mut parts = Map::new();
        if message.form == Form::Json {
            return embedded_json(self.schema, bytes, field);
        }
        self.object(message, bytes, &mut parts, depth)?;
        let number = |name: &str| parts.get(name).and_then(Value::as_i64).unwrap_or_default();
        Ok(match message.form {
            Form::Object | Form::Json => Value::Object(parts),
            Form::List => message
                .fields
                .first()
                .and_then(|items| parts.shift_remove(items.name))
                .unwrap_or_else(|| Value::Array(Vec::new())),
            Form::Time | Form::MicroTime => {
                let nanos = if message.form == Form::Time {
                    0
                } else {
                    number("nanos") as i32 / 1000 * 1000
                };
                match jiff::Timestamp::new(number("seconds"), nanos) {
                    // An empty message is the zero time, which is no time.
                    _ if bytes.is_empty() => Value::Null,
                    Ok(time) if time::is_zero(time) => Value::Null,
                    Ok(time) if message.form == Form::Time => Value::String(time::format(time)),
                    Ok(time) => Value::String(time::format_micros(time)),
                    Err(_) => return Err(Error::Wire("time out of range")),
                }
            }
            Form::Duration => Value::String(time::format_duration(number("duration"))),
            Form::Quantity => match parts.shift_remove("string") {
                Some(text) => text,
                None => Value::String("0".to_owned()),
            },
            Form::IntOrString => {
                if number("type") == 0 {
                    Value::from(number("intVal"))
                } else {
                    parts
                        .shift_remove("strVal")
                        .unwrap_or_else(|| Value::String(String::new()))
                }
            }
            Form::MessageOrBool | Form::MessageOrList | Form::MessageOrStrings => {
                // Either the message, where there is one, or what else it can be.
                let is_message = |field: &&Field| {
                    field.shape == Shape::One && matches!(field.kind, Type::Message(_))
                };
                let inner = message
                    .fields
                    .iter()
                    .find(is_message)
                    .and_then(|field| parts.shift_remove(field.name));
                let other = || {
                    message
                        .fields
                        .iter()
                        .find(|field| !is_message(field))
                        .and_then(|field| parts.get(field.name))
                };
                match inner {
                    Some(inner) => inner,
                    None => other().cloned().unwrap_or_else(|| match message.form {
                        Form::MessageOrBool => Value::Bool(false),
                        _ => Value::Null,
                    }),
                }
            }
        })
    }
}

/// Whether a value read is one that upstream's JSON would show.
fn keeps(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => field.pointer || !field.omit_empty || !text.is_empty(),
        Value::Number(number) => field.pointer || !field.omit_empty || number.as_i64() != Some(0),
        Value::Bool(flag) => field.pointer || !field.omit_empty || *flag,
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn utf8(message: &Message, field: &Field, bytes: &[u8]) -> Result<String, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::Utf8 {
            message: message.name,
            field: field.name,
        }),
    }
}

/// JSON held as bytes; a protobuf body inside it is read as one.
fn embedded_json(schema: &Schema, mut bytes: &[u8], field: &Field) -> Result<Value, Error> {
    let mut raw = &[][..];
    while let Some((tag, wire)) = next(&mut bytes)? {
        if let (1, Wire::Bytes(value)) = (tag, wire) {
            raw = value;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(&MAGIC) {
        return decode(schema, raw, None);
    }
    serde_json::from_slice(raw).map_err(|source| Error::Json {
        field: field.name,
        source,
    })
}

/// A buffer that is filled from its end, so that each length is known when it is written.
#[derive(Default)]
struct Backwards {
    reversed: Vec<u8>,
}

impl Backwards {
    fn raw(&mut self, bytes: &[u8]) {
        self.reversed.extend(bytes.iter().rev());
    }

    fn varint(&mut self, mut value: u64) {
        let mut bytes = [0; 10];
        let mut length = 0;
        while value >= 0x80 {
            bytes[length] = value as u8 | 0x80;
            value >>= 7;
            length += 1;
        }
        bytes[length] = value as u8;
        self.raw(&bytes[..=length]);
    }

    fn key(&mut self, tag: u32, wire: u8) {
        self.varint(u64::from(tag) << 3 | u64::from(wire));
    }

    fn number(&mut self, tag: u32, value: u64) {
        self.varint(value);
        self.key(tag, 0);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.raw(bytes);
        self.varint(bytes.len() as u64);
        self.key(tag, 2);
    }

    fn message(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let end = self.reversed.len();
        write(self)?;
        self.varint((self.reversed.len() - end) as u64);
        self.key(tag, 2);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.reversed.reverse();
        self.reversed
    }
}

struct Writer<'s> {
    schema: &'s Schema,
}

impl Writer<'_> {
    fn message(&self, message: &Message, value: &Value, out: &mut Backwards) -> Result<(), Error> {
        match message.form {
            Form::Object => {
                let empty = Map::new();
                let members = value.as_object().unwrap_or(&empty);
                message
                    .tagged()
                    .rev()
                    .try_for_each(|field| self.field(message, field, members, value, out))
            }
            Form::List => match (message.fields.first(), value) {
                (Some(items), Value::Array(list)) => self.list(message, items, list, out),
                _ => Ok(()),
            },
            Form::Time | Form::MicroTime => {
                let Some(text) = value.as_str() else {
                    return Ok(());
                };
                let time = time::parse(text)
                    .map_err(|_| wrong(message, message.fields.first(), "time"))?;
                // Seconds are rounded down and nanoseconds count forward, before 1970 as well.
                let (all, second) = (time.as_nanosecond(), 1_000_000_000);
                let nanos = match message.form {
                    Form::Time => 0,
                    _ => all.rem_euclid(second) / 1000 * 1000,
                };
                out.number(2, nanos as u64);
                out.number(1, all.div_euclid(second) as i64 as u64);
                Ok(())
            }
            Form::Duration => {
                let nanos = value.as_str().and_then(time::parse_duration);
                out.number(
                    1,
                    nanos.ok_or_else(|| wrong(message, message.fields.first(), "duration"))? as u64,
                );
                Ok(())
            }
            Form::Json => {
                if !value.is_null() {
                    let json = serde_json::to_vec(value).map_err(|source| Error::Json {
                        field: message.name,
                        source,
                    })?;
                    out.bytes(1, &json);
                }
                Ok(())
            }
            Form::Quantity => {
                out.bytes(1, value.as_str().unwrap_or("0").as_bytes());
                Ok(())
            }
            Form::IntOrString => {
                let text = value.as_str();
                out.bytes(3, text.unwrap_or_default().as_bytes());
                out.number(2, value.as_i64().unwrap_or_default() as u64);
                out.number(1, u64::from(text.is_some()));
                Ok(())
            }
            Form::MessageOrBool => {
                self.alternative(message, 2, value, out)?;
                // An object given is an object allowed.
                out.number(1, u64::from(value.as_bool().unwrap_or(true)));
                Ok(())
            }
            Form::MessageOrList | Form::MessageOrStrings => {
                if let (Some(items), Value::Array(list)) = (message.tag(2), value) {
                    self.list(message, items, list, out)?;
                }
                self.alternative(message, 1, value, out)
            }
        }
    }

    /// The message among the alternatives, if that is what the value is.
    fn alternative(
        &self,
        message: &Message,
        tag: u32,
        value: &Value,
        out: &mut Backwards,
    ) -> Result<(), Error> {
        match message
            .tag(tag)
            .and_then(|field| self.schema.message_of(field))
        {
            Some(inner) if value.is_object() => {
                out.message(tag, |out| self.message(inner, value, out))
            }
            _ => Ok(()),
        }
    }

    fn field(
        &self,
        message: &Message,
        field: &Field,
        members: &Map<String, Value>,
        whole: &Value,
        out: &mut Backwards,
    ) -> Result<(), Error> {
        if field.inline {
            return match field.kind {
                Type::Message(id) => out.message(field.tag, |out| {
                    self.message(self.schema.get(id), whole, out)
                }),
                _ => Ok(()),
            };
        }
        let value = members.get(field.name).filter(|value| !value.is_null());
        match (field.shape, value) {
            (Shape::List, Some(Value::Array(list))) => self.list(message, field, list, out),
            (Shape::Map, Some(Value::Object(map))) => self.map(message, field, map, out),
            (Shape::List | Shape::Map, None) => Ok(()),
            (Shape::List, Some(_)) => Err(wrong(message, Some(field), "list")),
            (Shape::Map, Some(_)) => Err(wrong(message, Some(field), "map")),
            (Shape::One, Some(value)) => self.value(message, field, value, out),
            (Shape::One, None) if field.pointer => Ok(()),
            (Shape::One, None) => self.zero(field, out),
        }
    }

    fn list(
        &self,
        message: &Message,
        field: &Field,
        list: &[Value],
        out: &mut Backwards,
    ) -> Result<(), Error> {
        list.iter().rev().try_for_each(|item| {
            if item.is_null() {
                self.zero(field, out)
            } else {
                self.value(message, field, item, out)
            }
        })
    }

    fn map(
        &self,
        message: &Message,
        field: &Field,
        map: &Map<String, Value>,
        out: &mut Backwards,
    ) -> Result<(), Error> {
        let entry = Field {
            tag: 2,
            ..field.clone()
        };
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries.into_iter().rev().try_for_each(|(key, value)| {
            out.message(field.tag, |out| {
                if value.is_null() {
                    self.zero(&entry, out)?;
                } else {
                    self.value(message, &entry, value, out)?;
                }
                out.bytes(1, key.as_bytes());
                Ok(())
            })
        })
    }

    fn value(
        &self,
        message: &Message,
        field: &Field,
        value: &Value,
        out: &mut Backwards,
    ) -> Result<(), Error> {
        match (field.kind, value) {
            (Type::String, Value::String(text)) => out.bytes(field.tag, text.as_bytes()),
            (Type::Bytes, Value::String(text)) => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|_| wrong(message, Some(field), "base64 text"))?;
                out.bytes(field.tag, &bytes);
            }
            (Type::Bool, Value::Bool(flag)) => out.number(field.tag, u64::from(*flag)),
            (Type::Int32 | Type::Int64 | Type::Uint32, Value::Number(number)) => {
                let number = number
                    .as_i64()
                    .ok_or_else(|| wrong(message, Some(field), "64-bit integer"))?;
                out.number(field.tag, number as u64);
            }
            (Type::Double, Value::Number(number)) => {
                let bits = number.as_f64().unwrap_or_default().to_bits();
                out.raw(&bits.to_le_bytes());
                out.key(field.tag, 1);
            }
            (Type::Message(id), value) => return self.nested(id, field.tag, value, out),
            (kind, _) => return Err(wrong(message, Some(field), expected(kind))),
        }
        Ok(())
    }

    fn nested(
        &self,
        id: MessageId,
        tag: u32,
        value: &Value,
        out: &mut Backwards,
    ) -> Result<(), Error> {
        out.message(tag, |out| self.message(self.schema.get(id), value, out))
    }

    /// What Go writes for a plain field that was not set.
    fn zero(&self, field: &Field, out: &mut Backwards) -> Result<(), Error> {
        match field.kind {
            Type::String => out.bytes(field.tag, b""),
            // Nil bytes are left out.
            Type::Bytes => {}
            Type::Bool | Type::Int32 | Type::Int64 | Type::Uint32 => out.number(field.tag, 0),
            Type::Double => {
                out.raw(&[0; 8]);
                out.key(field.tag, 1);
            }
            Type::Message(id) => return self.nested(id, field.tag, &Value::Null, out),
        }
        Ok(())
    }
}

fn expected(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        Type::Bytes => "base64 text",
        Type::Bool => "boolean",
        Type::Int32 | Type::Int64 | Type::Uint32 => "integer",
        Type::Double => "number",
        Type::Message(_) => "message",
    }
}

fn wrong(message: &Message, field: Option<&Field>, expected: &'static str) -> Error {
    Error::Type {
        message: message.name,
        field: field.map_or("", |field| field.name),
        expected,
    }
}
