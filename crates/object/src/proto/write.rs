//! JSON into messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::Error;
use super::wire::Backwards;
use crate::schema::{Field, Form, Message, MessageId, Schema, Shape, Type};
use crate::time;

pub(super) struct Writer<'s> {
    pub(super) schema: &'s Schema,
}

impl Writer<'_> {
    pub(super) fn message(
        &self,
        message: &Message,
        value: &Value,
        out: &mut Backwards,
    ) -> Result<(), Error> {
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
