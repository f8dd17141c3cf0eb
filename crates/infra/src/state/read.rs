//! Reading a state file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::model::{
    CheckObject, CheckResult, Identity, Object, Output, PathStep, ResourceState, State, Status,
};
use crate::address::{
    AbsResource, ConfigResource, Key, Mode, ModuleInstance, ParseError, ProviderConfig, Resource,
};

/// Why a text is not a state that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not of the shape of a state file.
    #[error("the state file is not valid: {what}")]
    Json {
        /// Which part was read.
        what: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a program before Terraform 0.12.
    #[error(
        "the state file has format version {0}, which Terraform before 0.12 wrote; let Terraform 0.13 rewrite it first"
    )]
    TooOld(u64),
    /// Written by a program after this one.
    #[error("the state file has format version {0}; this program reads version 4")]
    TooNew(u64),
    /// An address in the file cannot be read.
    #[error("the state file holds an invalid address")]
    Address(#[from] ParseError),
    /// Anything else the format does not allow.
    #[error("the state file is not valid: {0}")]
    Invalid(String),
}

type Raw<'a> = &'a RawValue;

/// The fields of a JSON object in their order, values unread.
struct Fields<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<FieldName<'de>>()? {
                    fields.push((name.0, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

struct FieldName<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = FieldName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

fn get<'a, T: Deserialize<'a>>(what: &str, raw: Raw<'a>) -> Result<T, ReadError> {
    serde_json::from_str(raw.get()).map_err(|source| ReadError::Json {
        what: what.to_owned(),
        source,
    })
}

fn is_null(raw: Raw<'_>) -> bool {
    raw.get() == "null"
}

/// The text of a JSON value without the blanks between its tokens.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', ' ', '\n', '\t', '\r']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if !rest.starts_with('"') {
            rest = &rest[1..];
            continue;
        }
        let bytes = rest.as_bytes();
        let mut end = 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = (end + 1).min(bytes.len());
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Shares what many instances have in common.
#[derive(Default)]
struct Shared<'a> {
    resources: HashMap<Cow<'a, str>, Arc<ConfigResource>>,
    /// By the text as it stands in the file.
    lists: HashMap<&'a str, Arc<[Arc<ConfigResource>]>>,
}

impl<'a> Shared<'a> {
    fn dependencies(&mut self, raw: Raw<'a>) -> Result<Arc<[Arc<ConfigResource>]>, ReadError> {
        if let Some(list) = self.lists.get(raw.get()) {
            return Ok(list.clone());
        }
        let texts: Vec<FieldName<'a>> = get("dependencies", raw)?;
        let mut list = Vec::with_capacity(texts.len());
        for FieldName(text) in texts {
            if let Some(known) = self.resources.get(&text) {
                list.push(known.clone());
                continue;
            }
            let address: Arc<ConfigResource> = Arc::new(text.parse()?);
            self.resources.insert(text, address.clone());
            list.push(address);
        }
        let list: Arc<[_]> = list.into();
        self.lists.insert(raw.get(), list.clone());
        Ok(list)
    }
}

impl State {
    /// Reads a state file.
    ///
    /// # Errors
    /// [`ReadError`] when the text is no state of version 4.
    pub fn read(text: &str) -> Result<State, ReadError> {
        let Fields(fields) = serde_json::from_str(text).map_err(|source| ReadError::Json {
            what: "the file".to_owned(),
            source,
        })?;
        let version = match fields.iter().find(|(name, _)| name == "version") {
            Some((_, raw)) => get::<u64>("version", raw)?,
            None => return Err(ReadError::Invalid("it has no format version".to_owned())),
        };
        if version < 4 {
            return Err(ReadError::TooOld(version));
        }
        if version > 4 {
            return Err(ReadError::TooNew(version));
        }
        let mut state = State::default();
        let mut shared = Shared::default();
        for (name, raw) in fields {
            match &*name {
                "version" => {}
                "outputs" | "resources" | "check_results" if is_null(raw) => {}
                "terraform_version" => state.terraform_version = get(&name, raw)?,
                "serial" => state.serial = get(&name, raw)?,
                "lineage" => state.lineage = get(&name, raw)?,
                "outputs" => {
                    for (output, raw) in get::<Fields<'_>>(&name, raw)?.0 {
                        state
                            .outputs
                            .insert(output.as_ref().into(), read_output(&output, raw)?);
                    }
                }
                "resources" => {
                    for raw in get::<Vec<Raw<'_>>>(&name, raw)? {
                        read_resource(&mut state, &mut shared, raw)?;
                    }
                }
                "check_results" => state.check_results = Some(read_checks(raw)?),
                _ => state.extra.push((name.into_owned(), raw.to_owned())),
            }
        }
        Ok(state)
    }
}

fn read_output(name: &str, raw: Raw<'_>) -> Result<Output, ReadError> {
    let mut output = Output {
        value: "null".into(),
        kind: "\"dynamic\"".into(),
        sensitive: false,
    };
    for (field, raw) in get::<Fields<'_>>(&format!("output {name}"), raw)?.0 {
        match &*field {
            "value" => output.value = compact(raw.get()).into(),
            "type" => output.kind = compact(raw.get()).into(),
            "sensitive" => output.sensitive = get("sensitive", raw)?,
            _ => {}
        }
    }
    Ok(output)
}

fn read_resource<'a>(
    state: &mut State,
    shared: &mut Shared<'a>,
    raw: Raw<'a>,
) -> Result<(), ReadError> {
    let (mut module, mut mode, mut kind, mut name) = (
        ModuleInstance::root(),
        None,
        None::<Arc<str>>,
        None::<Arc<str>>,
    );
    let mut provider = None::<ProviderConfig>;
    let mut instances = Vec::new();
    let mut extra = Vec::new();
    for (field, raw) in get::<Fields<'_>>("a resource", raw)?.0 {
        match &*field {
            "module" => module = get::<Cow<'_, str>>("module", raw)?.parse()?,
            "mode" => {
                mode = Some(match &*get::<Cow<'_, str>>("mode", raw)? {
                    "managed" => Mode::Managed,
                    "data" => Mode::Data,
                    other => {
                        return Err(ReadError::Invalid(format!(
                            "a resource has the mode \"{other}\""
                        )));
                    }
                });
            }
            "type" => kind = Some(get::<Cow<'_, str>>("type", raw)?.as_ref().into()),
            "name" => name = Some(get::<Cow<'_, str>>("name", raw)?.as_ref().into()),
            "provider" => provider = Some(get::<Cow<'_, str>>("provider", raw)?.parse()?),
            "instances" if is_null(raw) => {}
            "instances" => instances = get::<Vec<Raw<'_>>>("instances", raw)?,
            "each" => {}
            _ => extra.push((field.into_owned(), raw.to_owned())),
        }
    }
    let (Some(mode), Some(kind), Some(name)) = (mode, kind, name) else {
        return Err(ReadError::Invalid(
            "a resource lacks its mode, type or name".to_owned(),
        ));
    };
    let address = AbsResource {
        module,
        resource: Resource { mode, kind, name },
    };
    let provider = provider
        .ok_or_else(|| ReadError::Invalid(format!("resource {address} names no provider")))?;
    let resource = state
        .resources
        .entry(address.clone())
        .or_insert_with(|| ResourceState {
            extra,
            ..ResourceState::new(provider)
        });
    for raw in instances {
        let (key, deposed, object) = read_instance(raw, shared)?;
        let instance = resource.instances.entry(key.clone()).or_default();
        let twice = match deposed {
            None => instance.current.replace(Arc::new(object)).is_some(),
            Some(deposed) => instance.deposed.insert(deposed, Arc::new(object)).is_some(),
        };
        if twice {
            return Err(ReadError::Invalid(format!(
                "instance {address}{key} stands in it twice"
            )));
        }
    }
    Ok(())
}

/// Reads one object of an instance: its key, the key it is deposed under, and the object.
pub(super) fn read_instance_text(text: &str) -> Result<(Key, Option<Arc<str>>, Object), ReadError> {
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|source| ReadError::Json {
        what: "an instance".to_owned(),
        source,
    })?;
    read_instance(raw, &mut Shared::default())
}

fn read_instance<'a>(
    raw: Raw<'a>,
    shared: &mut Shared<'a>,
) -> Result<(Key, Option<Arc<str>>, Object), ReadError> {
    let mut key = Key::None;
    let mut deposed = None;
    let (mut identity, mut identity_version) = (None, 0);
    let mut object = Object {
        attributes: "{}".into(),
        ..Object::default()
    };
    for (field, raw) in get::<Fields<'_>>("an instance", raw)?.0 {
        match &*field {
            "index_key" => {
                key = match get::<serde_json::Value>("index_key", raw)? {
                    serde_json::Value::Null => Key::None,
                    serde_json::Value::String(text) => Key::String(text.into()),
                    serde_json::Value::Number(number) => Key::Int(
                        number
                            .as_i64()
                            .or_else(|| number.as_f64().map(|float| float as i64))
                            .ok_or_else(|| {
                                ReadError::Invalid(format!("an instance has the key {number}"))
                            })?,
                    ),
                    other => {
                        return Err(ReadError::Invalid(format!(
                            "an instance has the key {other}"
                        )));
                    }
                }
            }
            "status" => {
                object.status = match &*get::<Cow<'_, str>>("status", raw)? {
                    "" => Status::Ready,
                    "tainted" => Status::Tainted,
                    other => {
                        return Err(ReadError::Invalid(format!(
                            "an instance has the status \"{other}\""
                        )));
                    }
                }
            }
            "deposed" => {
                let text = get::<Cow<'_, str>>("deposed", raw)?;
                if !text.is_empty() {
                    deposed = Some(text.as_ref().into());
                }
            }
            "schema_version" => object.schema_version = get("schema_version", raw)?,
            "attributes"
            | "attributes_flat"
            | "sensitive_attributes"
            | "identity"
            | "private"
            | "dependencies"
                if is_null(raw) => {}
            "attributes" => object.attributes = compact(raw.get()).into(),
            "attributes_flat" => object.attributes_flat = Some(compact(raw.get()).into()),
            "sensitive_attributes" => object.sensitive = read_paths(raw)?,
            "identity" => identity = Some(compact(raw.get()).into_boxed_str()),
            "identity_schema_version" => identity_version = get("identity_schema_version", raw)?,
            "private" => {
                let text = get::<Cow<'_, str>>("private", raw)?;
                object.private = base64::engine::general_purpose::STANDARD
                    .decode(text.as_bytes())
                    .map_err(|error| {
                        ReadError::Invalid(format!("private data of an instance: {error}"))
                    })?
                    .into();
            }
            "dependencies" => object.dependencies = shared.dependencies(raw)?,
            "create_before_destroy" => {
                object.create_before_destroy = get("create_before_destroy", raw)?;
            }
            _ => object.extra.push((field.into_owned(), raw.to_owned())),
        }
    }
    object.identity = identity.map(|value| {
        Box::new(Identity {
            version: identity_version,
            value,
        })
    });
    Ok((key, deposed, object))
}

fn read_paths(raw: Raw<'_>) -> Result<Vec<Vec<PathStep>>, ReadError> {
    let mut paths = Vec::new();
    if raw.get() == "[]" {
        return Ok(paths);
    }
    for steps in get::<Vec<Vec<serde_json::Value>>>("sensitive_attributes", raw)? {
        let mut path = Vec::with_capacity(steps.len());
        for step in steps {
            let bad = || ReadError::Invalid(format!("a step of a sensitive path: {step}"));
            let value = step.get("value").ok_or_else(bad)?;
            path.push(match step.get("type").and_then(serde_json::Value::as_str) {
                Some("get_attr") => PathStep::Attribute(value.as_str().ok_or_else(bad)?.into()),
                Some("index") => match value.get("value").ok_or_else(bad)? {
                    serde_json::Value::String(text) => PathStep::Key(text.as_str().into()),
                    serde_json::Value::Number(number) => PathStep::Index(number.to_string().into()),
                    _ => return Err(bad()),
                },
                _ => return Err(bad()),
            });
        }
        paths.push(path);
    }
    Ok(paths)
}

fn read_checks(raw: Raw<'_>) -> Result<Vec<CheckResult>, ReadError> {
    #[derive(serde::Deserialize)]
    struct FileResult {
        object_kind: String,
        config_addr: String,
        status: String,
        #[serde(default)]
        objects: Option<Vec<FileObject>>,
    }
    #[derive(serde::Deserialize)]
    struct FileObject {
        object_addr: String,
        status: String,
        #[serde(default)]
        failure_messages: Option<Vec<String>>,
    }
    let results: Vec<FileResult> = get("check_results", raw)?;
    Ok(results
        .into_iter()
        .map(|result| CheckResult {
            object_kind: result.object_kind,
            config_address: result.config_addr,
            status: result.status,
            objects: result
                .objects
                .unwrap_or_default()
                .into_iter()
                .map(|object| CheckObject {
                    address: object.object_addr,
                    status: object.status,
                    messages: object.failure_messages.unwrap_or_default(),
                })
                .collect(),
        })
        .collect())
}
