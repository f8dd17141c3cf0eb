//! Turns JSON into what upstream's decoder would hold: types checked, unknown fields told and dropped,
//! quantities, times and base64 in canonical form, nulls and empty values left out.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::canonical;
use super::json::{MAX_REPORTED, in_document_order};
use super::path::{Path, Segment};
use super::{Field, Form, Gvk, Message, Schema, Shape, Type, parse_json_strict};
use crate::status::Status;
use crate::time;

/// What to do with unknown and duplicate fields: the request's `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFields {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

impl UnknownFields {
    /// From the value of the `fieldValidation` parameter.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// Why a document is not the object it says it is. Always the client's fault (400).
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON.
    #[error("{0}")]
    Syntax(#[source] serde_json::Error),
    /// A value has the wrong type, or a text cannot be read as what it stands for.
    #[error("{0}")]
    Type(String),
    /// So many items in lists that what each grows to with its defaults is more than one request may take.
    #[error("the object has more than {MAX_ITEMS} items in its lists")]
    TooMany,
    /// Unknown or duplicate fields, where they are refused.
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
}

impl DecodeError {
    /// The types with a decoder of their own do not say where they stood.
    pub(super) fn free(what: &Value, type_name: &str) -> Self {
        Self::Type(format!(
            "json: cannot unmarshal {} into Go value of type {type_name}",
            describe(what)
        ))
    }

    /// The answer to a client that sent such an object of this kind.
    pub fn status(&self, gvk: &Gvk) -> Status {
        if let Self::Syntax(error) = self {
            return Status::bad_request(format!("the object provided is not valid JSON: {error}"));
        }
        if matches!(self, Self::TooMany) {
            return Status::request_entity_too_large(self);
        }
        let version = crate::text::go_quote(&gvk.version);
        Status::bad_request(format!(
            "{} in version {version} cannot be handled as a {}: {self}",
            gvk.kind, gvk.kind
        ))
    }
}

/// As many messages as all lists of one object may hold. Three bytes of JSON are a container, and a thousand when its
/// defaults are filled in.
const MAX_ITEMS: usize = 100_000;

/// What [`decode_json`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The object in canonical form.
    pub value: Value,
    /// Warnings for the client, such as `unknown field "spec.foo"`.
    pub warnings: Vec<String>,
}

/// Reads a JSON body as an object of this message.
pub fn decode_json(
    schema: &Schema,
    message: &Message,
    bytes: &[u8],
    unknown: UnknownFields,
) -> Result<Checked, DecodeError> {
    let (mut value, mut strict) = parse_json_strict(bytes)?;
    let doubles = !strict.is_empty();
    strict.extend(coerce_and_check(schema, message, &mut value)?);
    if doubles && unknown != UnknownFields::Ignore {
        strict = in_document_order(bytes, strict);
    }
    strict.truncate(MAX_REPORTED);
    match unknown {
        UnknownFields::Strict if !strict.is_empty() => Err(DecodeError::Strict(strict)),
        UnknownFields::Ignore => Ok(Checked {
            value,
            warnings: Vec::new(),
        }),
        UnknownFields::Strict | UnknownFields::Warn => Ok(Checked {
            value,
            warnings: strict,
        }),
    }
}

/// Brings an object into the form upstream's decoder would give it, in place and in one pass.
///
/// Unknown fields are dropped and returned as `unknown field "spec.foo"`, at most 100 of them. A
/// Secret's `stringData` is moved into its `data`.
pub fn coerce_and_check(
    schema: &Schema,
    message: &Message,
    value: &mut Value,
) -> Result<Vec<String>, DecodeError> {
    let mut decoder = Decoder {
        schema,
        unknown: Vec::new(),
        items: 0,
    };
    let at = At {
        holder: "",
        path: &Path::ROOT,
        type_name: &message.go_type,
    };
    decoder.message(message, value, &at)?;
    if message.name == "io.k8s.api.core.v1.Secret" {
        move_string_data(value);
    }
    Ok(decoder.unknown)
}

/// `stringData` is a write-only convenience: its texts win over `data`.
fn move_string_data(secret: &mut Value) {
    let Some(object) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = object.shift_remove("stringData") else {
        return;
    };
    let data = object
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(data) = data {
        for (key, text) in texts {
            let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(key, Value::String(encoded));
        }
    }
}

/// Where a value stands and what it should be, for errors.
struct At<'a> {
    /// The Go struct whose field it is; empty at the root.
    holder: &'a str,
    /// The path for Go's errors: map keys are not part of it.
    path: &'a Path<'a>,
    /// The Go type it should have.
    type_name: &'a str,
}

impl At<'_> {
    fn wrong(&self, value: &Value) -> DecodeError {
        self.cannot(describe(value))
    }

    fn cannot(&self, what: impl fmt::Display) -> DecodeError {
        DecodeError::Type(if self.holder.is_empty() {
            format!(
                "json: cannot unmarshal {what} into Go value of type {}",
                self.type_name
            )
        } else {
            format!(
                "json: cannot unmarshal {what} into Go struct field {}.{} of type {}",
                self.holder,
                self.path.fields(),
                self.type_name
            )
        })
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Decoder<'a> {
    schema: &'a Schema,
    unknown: Vec<String>,
    /// Messages in lists so far.
    items: usize,
}

impl Decoder<'_> {
    fn message(
        &mut self,
        message: &Message,
        value: &mut Value,
        at: &At<'_>,
    ) -> Result<(), DecodeError> {
        match message.form {
            Form::Object => match value {
                Value::Object(map) => self.object(message, map, at.path),
                _ => Err(at.wrong(value)),
            },
            Form::List => match &message.fields[..] {
                [items] => self.list(message, items, value, at),
                _ => Ok(()),
            },
            Form::Json => Ok(()),
            Form::Time => canonical::text(value, |text| {
                time::canonical(text).map_err(|error| DecodeError::Type(error.to_string()))
            }),
            Form::MicroTime => canonical::text(value, |text| {
                time::canonical_micros(text).map_err(|error| DecodeError::Type(error.to_string()))
            }),
            Form::Duration => canonical::text(value, |text| {
                let nanos = time::parse_duration(text).ok_or_else(|| {
                    DecodeError::Type(format!(
                        "time: invalid duration {}",
                        crate::text::go_quote(text)
                    ))
                })?;
                Ok(Some(Cow::Owned(time::format_duration(nanos))))
            }),
            Form::Quantity => canonical::quantity(value),
            Form::IntOrString => match value {
                Value::String(_) => Ok(()),
                Value::Number(number)
                    if number
                        .as_i64()
                        .is_some_and(|number| i32::try_from(number).is_ok()) =>
                {
                    Ok(())
                }
                Value::Number(number) => Err(DecodeError::Type(format!(
                    "json: cannot unmarshal number {number} into Go value of type int32"
                ))),
                other => Err(DecodeError::free(other, "int32")),
            },
            Form::MessageOrBool => match value {
                Value::Bool(_) => Ok(()),
                other => self.alternative(message, other, at),
            },
            Form::MessageOrList => match value {
                Value::Array(items) => {
                    for item in items {
                        self.alternative(message, item, at)?;
                    }
                    Ok(())
                }
                other => self.alternative(message, other, at),
            },
            Form::MessageOrStrings => match value {
                Value::Array(items) => match items.iter().find(|item| !item.is_string()) {
                    Some(wrong) => Err(DecodeError::free(wrong, "string")),
                    None => Ok(()),
                },
                other => self.alternative(message, other, at),
            },
        }
    }

    /// The message inside a form that is either it or something simpler.
    fn alternative(
        &mut self,
        message: &Message,
        value: &mut Value,
        at: &At<'_>,
    ) -> Result<(), DecodeError> {
        let inner = message
            .fields
            .iter()
            .find_map(|field| self.schema.message_of(field));
        match inner {
            Some(inner) if value.is_object() => self.message(inner, value, at),
            Some(inner) => Err(DecodeError::free(value, &inner.go_type)),
            None => Ok(()),
        }
    }

    fn object(
        &mut self,
        message: &Message,
        map: &mut Map<String, Value>,
        path: &Path<'_>,
    ) -> Result<(), DecodeError> {
        let mut result = Ok(());
        map.retain(|key, value| {
            if result.is_err() {
                return true;
            }
            let here = Path::under(path, Segment::Key(key));
            let Some(field) = message.member(key) else {
                if self.unknown.len() < MAX_REPORTED {
                    self.unknown.push(format!("unknown field \"{here}\""));
                }
                return false;
            };
            if value.is_null() {
                return self.is_free(field);
            }
            match self.field(message, field, value, &here) {
                Ok(()) => {
                    // An empty list of managed fields asks to forget them.
                    let says_so = field.name == "managedFields" && value.is_array();
                    let dropped = field.omit_empty && !field.pointer && self.is_empty(field, value);
                    !(value.is_null() || (dropped && !says_so))
                }
                Err(error) => {
                    result = Err(error);
                    true
                }
            }
        });
        result
    }

    /// Whether null is a value like any other here.
    fn is_free(&self, field: &Field) -> bool {
        field.shape == Shape::One
            && !field.pointer
            && self
                .schema
                .message_of(field)
                .is_some_and(|message| message.form == Form::Json)
            && !field.omit_empty
    }

    /// Whether Go would leave the value out as empty.
    fn is_empty(&self, field: &Field, value: &Value) -> bool {
        match value {
            Value::String(text) => text.is_empty() && self.schema.message_of(field).is_none(),
            Value::Number(number) => {
                number.as_i64() == Some(0) && self.schema.message_of(field).is_none()
            }
            Value::Bool(flag) => !flag && self.schema.message_of(field).is_none(),
            Value::Array(items) => items.is_empty() && field.shape == Shape::List,
            Value::Object(map) => map.is_empty() && field.shape == Shape::Map,
            Value::Null => true,
        }
    }

    fn field(
        &mut self,
        holder: &Message,
        field: &Field,
        value: &mut Value,
        path: &Path<'_>,
    ) -> Result<(), DecodeError> {
        match field.shape {
            Shape::One => self.one(holder, field, value, path),
            Shape::List => {
                let at = At {
                    holder: holder.short_name(),
                    path,
                    type_name: "",
                };
                self.list(holder, field, value, &at)
            }
            Shape::Map => {
                let Value::Object(map) = value else {
                    let type_name = self.type_name(field);
                    return Err(At {
                        holder: holder.short_name(),
                        path,
                        type_name: &type_name,
                    }
                    .wrong(value));
                };
                for (key, value) in map.iter_mut() {
                    let here = Path::under(path, Segment::Key(key));
                    if value.is_null() {
                        *value = self.zero(field);
                    } else {
                        match field.kind {
                            Type::Message(_) => self.one(holder, field, value, &here)?,
                            // Go's errors name the map's field and not the key.
                            _ => self.one(holder, field, value, path)?,
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn list(
        &mut self,
        holder: &Message,
        field: &Field,
        value: &mut Value,
        at: &At<'_>,
    ) -> Result<(), DecodeError> {
        let Value::Array(items) = value else {
            let type_name = self.type_name(field);
            return Err(At {
                type_name: &type_name,
                ..*at
            }
            .wrong(value));
        };
        if matches!(field.kind, Type::Message(_)) {
            self.items += items.len();
            if self.items > MAX_ITEMS {
                return Err(DecodeError::TooMany);
            }
        }
        for (index, item) in items.iter_mut().enumerate() {
            if item.is_null() {
                *item = self.zero(field);
                continue;
            }
            let here = Path::under(at.path, Segment::Index(index));
            self.one(holder, field, item, &here)?;
            if item.is_null() {
                *item = self.zero(field);
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        holder: &Message,
        field: &Field,
        value: &mut Value,
        path: &Path<'_>,
    ) -> Result<(), DecodeError> {
        let fits = match (field.kind, &*value) {
            (Type::String, Value::String(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::Double, Value::Number(_)) => true,
            (Type::Int32, Value::Number(number)) => number
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok()),
            (Type::Int64, Value::Number(number)) => number.is_i64(),
            (Type::Uint32, Value::Number(number)) => number
                .as_u64()
                .is_some_and(|number| u32::try_from(number).is_ok()),
            (Type::Bytes, Value::String(text)) => {
                if let Some(canonical) = canonical::base64(text)? {
                    *value = Value::String(canonical);
                }
                true
            }
            // Go takes a list of numbers for bytes too.
            (Type::Bytes, Value::Array(items)) => match canonical::listed(items) {
                Some(bytes) => {
                    *value = Value::String(STANDARD.encode(bytes));
                    true
                }
                None => false,
            },
            (Type::Message(id), _) => {
                let schema = self.schema;
                let message = schema.get(id);
                let at = At {
                    holder: holder.short_name(),
                    path,
                    type_name: &message.go_type,
                };
                return self.message(message, value, &at);
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let at = At {
            holder: holder.short_name(),
            path,
            type_name: element_name(self.schema, field),
        };
        Err(match &*value {
            Value::Number(number)
                if matches!(field.kind, Type::Int32 | Type::Int64 | Type::Uint32) =>
            {
                at.cannot(format_args!("number {number}"))
            }
            value => at.wrong(value),
        })
    }

    /// What Go holds where null stood in a list or a map.
    fn zero(&self, field: &Field) -> Value {
        match field.kind {
            Type::String | Type::Bytes => Value::String(String::new()),
            Type::Int32 | Type::Int64 | Type::Uint32 => Value::from(0),
            Type::Double => Value::from(0.0),
            Type::Bool => Value::Bool(false),
            Type::Message(id) => match self.schema.get(id).form {
                Form::Object => Value::Object(Map::new()),
                Form::List => Value::Array(Vec::new()),
                Form::Quantity => Value::String("0".to_owned()),
                Form::IntOrString => Value::from(0),
                _ => Value::Null,
            },
        }
    }

    /// The Go type of a whole field.
    fn type_name(&self, field: &Field) -> String {
        let element = element_name(self.schema, field);
        match field.shape {
            Shape::One => element.to_owned(),
            Shape::List => format!("[]{element}"),
            Shape::Map if !field.go_type.is_empty() => field.go_type.to_owned(),
            Shape::Map => format!("map[string]{element}"),
        }
    }
}

fn element_name<'a>(schema: &'a Schema, field: &'a Field) -> &'a str {
    match field.kind {
        _ if !field.go_type.is_empty() && field.shape != Shape::Map => field.go_type,
        Type::String => "string",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Uint32 => "uint32",
        Type::Bool => "bool",
        Type::Double => "float64",
        Type::Bytes => "[]uint8",
        Type::Message(id) => &schema.get(id).go_type,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(kind: &str, mut value: Value) -> Result<(Value, Vec<String>), String> {
        let schema = Schema::builtin();
        let gvk = Gvk::from_api_version(
            kind.rsplit_once('/').unwrap().0,
            kind.rsplit_once('/').unwrap().1,
        );
        let message = schema.kind(&gvk).unwrap();
        match coerce_and_check(schema, message, &mut value) {
            Ok(unknown) => Ok((value, unknown)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn an_object_with_more_list_items_than_a_request_may_take_is_refused() {
        let containers = |count: usize| json!({"spec": {"containers": vec![json!({}); count]}});
        assert!(checked("v1/Pod", containers(MAX_ITEMS)).is_ok());
        let error = checked("v1/Pod", containers(MAX_ITEMS + 1)).unwrap_err();
        assert_eq!(error, "the object has more than 100000 items in its lists");
        assert_eq!(
            DecodeError::TooMany.status(&Gvk::new("", "v1", "Pod")).code,
            413
        );
        // Items that are no objects stay as small as they came.
        let args = json!({"spec": {"containers": [{"args": vec![json!("x"); MAX_ITEMS + 1]}]}});
        assert!(checked("v1/Pod", args).is_ok());
    }

    #[test]
    fn unknown_fields_are_told_with_their_path_and_dropped() {
        let (value, unknown) = checked(
            "v1/Pod",
            json!({"spec": {"foo": 1, "containers": [{"name": "a"}, {"name": "b", "bar": {}}], "nodeSelector": {"any": "x"}}}),
        )
        .unwrap();
        assert_eq!(
            unknown,
            [
                r#"unknown field "spec.foo""#,
                r#"unknown field "spec.containers[1].bar""#
            ]
        );
        assert_eq!(
            value,
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"any": "x"}}})
        );
    }

    #[test]
    fn a_wrong_type_is_told_in_gos_words() {
        assert_eq!(
            checked("apps/v1/Deployment", json!({"spec": {"replicas": "3"}})).unwrap_err(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            checked(
                "apps/v1/Deployment",
                json!({"spec": {"replicas": 3_000_000_000_u64}})
            )
            .unwrap_err(),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            checked("apps/v1/Deployment", json!({"spec": {"replicas": 1.5}})).unwrap_err(),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            checked("v1/Pod", json!({"metadata": {"labels": {"a": 1}}})).unwrap_err(),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
        );
        assert_eq!(
            checked("v1/Pod", json!({"spec": {"containers": [{"ports": "x"}]}})).unwrap_err(),
            "json: cannot unmarshal string into Go struct field Container.spec.containers.ports of type []v1.ContainerPort"
        );
        assert_eq!(
            checked("v1/Pod", json!([])).unwrap_err(),
            "json: cannot unmarshal array into Go value of type v1.Pod"
        );
        assert_eq!(
            checked("v1/Pod", json!({"spec": 5})).unwrap_err(),
            "json: cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec"
        );
        assert_eq!(
            checked(
                "v1/Pod",
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}})
            )
            .unwrap_err(),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
        assert_eq!(
            checked("v1/Secret", json!({"data": {"a": "%%%%"}})).unwrap_err(),
            "illegal base64 data at input byte 0"
        );
    }

    #[test]
    fn values_are_brought_into_canonical_form() {
        let (value, _) = checked(
            "v1/Pod",
            json!({
                "metadata": {"creationTimestamp": null, "deletionTimestamp": "2024-05-01T12:00:00+02:00", "labels": {}, "name": "x"},
                "spec": {
                    "hostNetwork": false,
                    "terminationGracePeriodSeconds": 0,
                    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Mi"}}, {"name": "w", "emptyDir": {}}],
                    "containers": [null, {"name": "c", "env": [], "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}}, "livenessProbe": {"httpGet": {"port": "http"}}}]
                }
            }),
        )
        .unwrap();
        assert_eq!(
            value,
            json!({
                "metadata": {"deletionTimestamp": "2024-05-01T10:00:00Z", "name": "x"},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "w", "emptyDir": {}}],
                    "containers": [{}, {"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}, "livenessProbe": {"httpGet": {"port": "http"}}}]
                }
            })
        );
    }

    #[test]
    fn a_secrets_texts_become_data() {
        let (value, _) = checked(
            "v1/Secret",
            json!({"data": {"a": "YQ=="}, "stringData": {"a": "b", "c": "d"}}),
        )
        .unwrap();
        assert_eq!(value, json!({"data": {"a": "Yg==", "c": "ZA=="}}));
    }

    #[test]
    fn free_form_parts_are_left_alone() {
        let patch = json!({"metadata": {"managedFields": [{"fieldsV1": {"f:a": {}, "x": null}}]}});
        assert_eq!(checked("v1/Pod", patch.clone()).unwrap(), (patch, vec![]));
        let definition = json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
            {"type": "object", "properties": {"a": {"default": {"b": null}, "items": {"type": "string"}, "additionalProperties": true}}}}}]}});
        assert_eq!(
            checked(
                "apiextensions.k8s.io/v1/CustomResourceDefinition",
                definition.clone()
            )
            .unwrap(),
            (definition, vec![])
        );
    }

    #[test]
    fn strict_bodies_are_refused_and_lenient_ones_warned_about() {
        let schema = Schema::builtin();
        let gvk = Gvk::new("apps", "v1", "Deployment");
        let message = schema.kind(&gvk).unwrap();
        let body = br#"{"metadata":{"name":"a","name":"b"},"spec":{"foo":1}}"#;
        let error = decode_json(schema, message, body, UnknownFields::Strict).unwrap_err();
        assert_eq!(
            error.status(&gvk).message,
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "metadata.name", unknown field "spec.foo""#
        );
        let checked = decode_json(schema, message, body, UnknownFields::Warn).unwrap();
        assert_eq!(
            checked.warnings,
            [
                r#"duplicate field "metadata.name""#,
                r#"unknown field "spec.foo""#
            ]
        );
        assert!(
            decode_json(schema, message, body, UnknownFields::Ignore)
                .unwrap()
                .warnings
                .is_empty()
        );
    }
}
