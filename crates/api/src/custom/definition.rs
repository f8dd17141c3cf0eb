//! A stored definition, read as far as serving it needs. Schemas are parsed when they are first used.

use crate::error::{Outcome, internal};
use consort_object::structural::{Structural, default, embedded, prune};
use consort_object::{Object, Selectable};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// The hidden field of an object's head that tells the schema it was written under.
const STAMP: &str = ":schema";

/// The names of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // as objects call them
pub(crate) struct Names {
    /// In paths.
    pub plural: String,
    /// For one.
    pub singular: String,
    /// In `kind:`.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
}

/// Where a custom resource has what `scale` shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // as objects call them
pub(crate) struct Scale {
    /// The wanted number, such as `.spec.replicas`.
    #[serde(default)]
    pub spec_replicas_path: String,
    /// The present number, such as `.status.replicas`.
    #[serde(default)]
    pub status_replicas_path: String,
    /// The selector as a text.
    #[serde(default)]
    pub label_selector_path: Option<String>,
}

/// An additional column of a version's table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ColumnSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i32,
    pub json_path: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSubresources {
    status: Option<serde::de::IgnoredAny>,
    scale: Option<Scale>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    json_path: String,
}

#[derive(Deserialize)]
struct RawSchema<'a> {
    #[serde(rename = "openAPIV3Schema", borrow)]
    open: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawVersion<'a> {
    name: String,
    #[serde(default)]
    served: bool,
    #[serde(default)]
    storage: bool,
    #[serde(default)]
    deprecated: bool,
    deprecation_warning: Option<String>,
    #[serde(borrow)]
    schema: Option<RawSchema<'a>>,
    #[serde(default)]
    subresources: RawSubresources,
    #[serde(default)]
    additional_printer_columns: Vec<ColumnSpec>,
    #[serde(default)]
    selectable_fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec<'a> {
    group: String,
    scope: String,
    #[serde(borrow)]
    versions: Vec<RawVersion<'a>>,
    #[serde(default)]
    conversion: Value,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    spec: RawSpec<'a>,
}

/// What is known of a version without its schema.
pub(super) struct Facts {
    /// Its name.
    pub name: String,
    /// `apiVersion` of its objects.
    pub api_version: String,
    pub served: bool,
    /// What clients of a version that is going are told.
    pub deprecation: Option<String>,
    pub status: bool,
    pub scale: Option<Scale>,
    pub columns: Vec<ColumnSpec>,
    /// The selectable fields, such as `spec.color`.
    pub selectable: Vec<String>,
    /// Tells the schema and the selectable fields from others.
    pub stamp: String,
}

/// How objects get from one version to another.
pub(crate) enum Conversion {
    /// Only their `apiVersion` changes.
    None,
    /// A webhook converts them; its `webhook` value.
    Webhook(Box<super::convert::Webhook>),
}

/// A stored definition.
pub(crate) struct Definition {
    /// Its name, `plural.group`.
    pub name: String,
    /// API group.
    pub group: String,
    /// In namespaces.
    pub namespaced: bool,
    /// The accepted names.
    pub names: Names,
    /// It is being deleted.
    pub terminating: bool,
    /// The definition as it is stored.
    pub object: Object,
    /// How objects are converted.
    pub conversion: Conversion,
    pub(super) versions: Vec<Facts>,
    pub(super) storage: usize,
    parsed: Vec<OnceLock<Result<Parsed, String>>>,
}

/// A version's schema, parsed.
pub(crate) struct Parsed {
    /// The whole.
    pub schema: Structural,
    /// The part that a write to `status` is checked against.
    pub status: Structural,
    /// Its rules.
    pub rules: super::rules::Rules,
}

impl Definition {
    /// Read a stored definition; `names` are the accepted ones.
    ///
    /// # Errors
    /// If it cannot be read, which a checked definition never shows.
    pub(super) fn read(object: Object, names: Names) -> Result<Self, String> {
        let raw: Raw<'_> =
            serde_json::from_slice(&object.json).map_err(|error| error.to_string())?;
        let spec = raw.spec;
        let mut storage = None;
        let versions: Vec<Facts> = spec
            .versions
            .into_iter()
            .enumerate()
            .map(|(index, version)| {
                if version.storage {
                    storage = Some(index);
                }
                let api_version = format!("{}/{}", spec.group, version.name);
                let selectable: Vec<String> = version
                    .selectable_fields
                    .iter()
                    .map(|field| field.json_path.trim_start_matches('.').to_owned())
                    .collect();
                let schema = version.schema.and_then(|schema| schema.open);
                let mut hasher = DefaultHasher::new();
                schema.map(RawValue::get).hash(&mut hasher);
                selectable.hash(&mut hasher);
                let deprecation = version.deprecated.then(|| {
                    version
                        .deprecation_warning
                        .unwrap_or_else(|| format!("{api_version} {} is deprecated", names.kind))
                });
                Facts {
                    stamp: format!("{}/{:016x}", version.name, hasher.finish()),
                    name: version.name,
                    api_version,
                    served: version.served,
                    deprecation,
                    status: version.subresources.status.is_some(),
                    scale: version.subresources.scale,
                    columns: version.additional_printer_columns,
                    selectable,
                }
            })
            .collect();
        let storage = storage.ok_or("no version is the storage version")?;
        let conversion = match spec.conversion["strategy"].as_str() {
            Some("Webhook") => Conversion::Webhook(Box::new(super::convert::Webhook::new(
                &spec.conversion["webhook"],
            )?)),
            _ => Conversion::None,
        };
        let parsed = versions.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            name: object.head.name.clone(),
            group: spec.group,
            namespaced: spec.scope == "Namespaced",
            names,
            terminating: object.head.deletion.is_some(),
            object,
            conversion,
            versions,
            storage,
            parsed,
        })
    }

    /// The schema of a version as the definition has it; null if there is none.
    pub(super) fn props(&self, index: usize) -> Result<Value, String> {
        let raw: Raw<'_> =
            serde_json::from_slice(&self.object.json).map_err(|error| error.to_string())?;
        let version = raw.spec.versions.into_iter().nth(index);
        match version
            .and_then(|version| version.schema)
            .and_then(|schema| schema.open)
        {
            Some(text) => serde_json::from_str(text.get()).map_err(|error| error.to_string()),
            None => Ok(Value::Null),
        }
    }

    /// The parsed schema of a version.
    pub(super) fn parsed(&self, index: usize) -> Outcome<&Parsed> {
        self.parsed[index]
            .get_or_init(|| {
                let props = self.props(index)?;
                let schema = Structural::parse(&props)?;
                let status = schema.property("status").cloned().unwrap_or_default();
                let rules = super::rules::Rules::compile(&props);
                Ok(Parsed {
                    schema,
                    status,
                    rules,
                })
            })
            .as_ref()
            .map_err(|why| internal(format!("the schema of {}: {why}", self.name)))
    }

    /// Where a version of an `apiVersion` is.
    pub(super) fn index_of(&self, api_version: &str) -> Option<usize> {
        self.versions
            .iter()
            .position(|facts| facts.api_version == api_version)
    }
}

/// A version of a definition.
pub(crate) struct Version {
    /// The definition.
    pub definition: Arc<Definition>,
    pub(super) index: usize,
    /// Ends what follows the version's objects once it is no longer served.
    pub gone: CancellationToken,
}

impl Version {
    pub(super) fn facts(&self) -> &Facts {
        &self.definition.versions[self.index]
    }

    /// Its parsed schema.
    pub(crate) fn parsed(&self) -> Outcome<&Parsed> {
        self.definition.parsed(self.index)
    }

    /// Its schema as the definition has it.
    pub(crate) fn props(&self) -> Result<Value, String> {
        self.definition.props(self.index)
    }

    /// Where `scale` finds what it shows.
    pub(crate) fn scale(&self) -> Option<&Scale> {
        self.facts().scale.as_ref()
    }

    /// What its clients are told, if it is going.
    pub(crate) fn deprecation(&self) -> Option<&str> {
        self.facts().deprecation.as_deref()
    }

    /// Its selectable fields.
    pub(crate) fn selectable(&self) -> &[String] {
        &self.facts().selectable
    }

    /// Tells this schema from others.
    pub(crate) fn stamp(&self) -> &str {
        &self.facts().stamp
    }

    /// Can the stored bytes of an object be sent as they are?
    pub(crate) fn is_current(&self, head: &(impl Selectable + ?Sized)) -> bool {
        self.index == self.definition.storage && head.field(STAMP) == Some(self.stamp())
    }

    /// Was an object written in the present storage version, under its present schema?
    pub(crate) fn is_stored_well(&self, head: &(impl Selectable + ?Sized)) -> bool {
        let facts = &self.definition.versions[self.definition.storage];
        head.field(STAMP) == Some(&facts.stamp)
    }

    /// The hidden field of objects written in the storage version.
    pub(super) fn stamp_field(&self) -> (String, String) {
        let facts = &self.definition.versions[self.definition.storage];
        (STAMP.to_owned(), facts.stamp.clone())
    }

    /// Bring what a client sent into form; the answer is what was left out, as messages.
    pub(crate) fn canonical(&self, value: &mut Value) -> Result<Vec<String>, Refused> {
        let parsed = self.parsed().map_err(Refused::Status)?;
        let mut unknown = prune::unknown(value, &parsed.schema, true);
        prune::nulls(value, &parsed.schema);
        unknown.extend(embedded::metadata(value).map_err(Refused::Field)?);
        unknown.extend(embedded::coerce(value, &parsed.schema).map_err(Refused::Field)?);
        if !default::is_affordable(value, &parsed.schema) {
            return Err(Refused::Status(Box::new(
                consort_object::Status::request_entity_too_large(
                    "the defaults of the object's schema make it too large",
                ),
            )));
        }
        Ok(unknown
            .into_iter()
            .map(|name| format!("unknown field \"{name}\""))
            .collect())
    }
}

/// Why what a client sent could not be brought into form.
pub(crate) enum Refused {
    /// A field of the wrong type.
    Field(Box<consort_object::FieldError>),
    /// Something else.
    Status(crate::error::Failure),
}
