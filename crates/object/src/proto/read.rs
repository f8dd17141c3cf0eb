//! Messages into JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::wire::{Wire, next, take, varint};
use super::{Error, MAGIC, decode};
use crate::schema::{Field, Form, Message, Schema, Shape, Type};
use crate::time;

pub(super) struct Reader<'s> {
    pub(super) schema: &'s Schema,
}

impl Reader<'_> {
    pub(super) fn object(
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
