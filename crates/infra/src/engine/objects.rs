//! Objects between the state, where they are JSON, and the walk, where they are values.

use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Marks, Path, Step, Value, json};

use super::change::DeferredReason;
use super::run::{Failed, Run};
use crate::address::{ConfigResource, Mode, ResourceInstance};
use crate::provider::schema::ResourceSchema;
use crate::provider::{Provider, RawState, UpgradeIdentity, UpgradeState};
use crate::state::{Identity, Object, PathStep, Status};

/// An object as a value, with all that is stored beside it.
#[derive(Clone, Debug)]
pub(super) struct Present {
    /// Marked.
    pub(super) value: Value,
    pub(super) private: Bytes,
    pub(super) status: Status,
    pub(super) dependencies: Arc<[Arc<ConfigResource>]>,
    pub(super) create_before_destroy: bool,
    /// What the provider tells it by.
    pub(super) identity: Option<Value>,
    /// Why the provider would not look at it yet.
    pub(super) deferred: Option<DeferredReason>,
    /// What it was read from, as long as nothing but the flags beside the value has changed.
    pub(super) stored: Option<Arc<Object>>,
}

impl Run<'_> {
    /// Reads a stored object, brought to the present schema by its provider.
    pub(super) async fn read_object(
        &self,
        provider: &dyn Provider,
        schema: &ResourceSchema,
        address: &ResourceInstance,
        object: &Arc<Object>,
    ) -> Result<Present, Failed> {
        let version = i64::try_from(object.schema_version).unwrap_or(i64::MAX);
        if version > schema.version {
            return self.fail(
                Diagnostic::error(
                    "Resource instance managed by newer provider version",
                    format!(
                        "The current state of {address} was created by a newer provider version than is currently selected. Upgrade the {} provider to work with this state.",
                        address.resource.implied_provider()
                    ),
                ),
            );
        }
        let raw = match &object.attributes_flat {
            Some(flat) => match serde_json::from_str(flat) {
                Ok(flat) => RawState::Flatmap(flat),
                Err(error) => {
                    return self.fail(Diagnostic::error(
                        "Failed to decode resource from state",
                        format!("The attributes of {address} cannot be read: {error}."),
                    ));
                }
            },
            None => RawState::Json(Bytes::copy_from_slice(object.attributes.as_bytes())),
        };
        let mut value = if address.resource.mode == Mode::Data {
            // Only managed resources have a way to bring old objects up to date. What a data source once
            // found is of the type it has now, or of no use.
            match json::decode(object.attributes.as_bytes(), &schema.block.implied_type()) {
                Ok(value) => value,
                Err(error) => {
                    return self.fail(Diagnostic::error(
                        "Failed to decode resource from state",
                        format!("The attributes of {address} cannot be read: {error}."),
                    ));
                }
            }
        } else {
            let request = UpgradeState {
                type_name: address.resource.kind.clone(),
                version,
                raw,
            };
            let upgraded = provider.upgrade_state(request).await;
            self.note(upgraded.diagnostics.unlocated(&address.to_string()))?;
            upgraded.state
        };
        if !object.sensitive.is_empty() {
            let marks: Vec<_> = object
                .sensitive
                .iter()
                .map(|path| (to_path(path), Marks::SENSITIVE))
                .collect();
            value = value.mark_paths(&marks);
        }
        let identity = self
            .read_identity(provider, schema, address, object)
            .await?;
        Ok(Present {
            value: schema.block.mark_sensitive(value),
            identity,
            deferred: None,
            private: Bytes::copy_from_slice(&object.private),
            status: object.status,
            dependencies: object.dependencies.clone(),
            create_before_destroy: object.create_before_destroy,
            // What was brought up to date is to be stored as it is now.
            stored: is_current(schema, object).then(|| object.clone()),
        })
    }

    /// What a stored object is told by, brought to the present identity schema by its provider.
    async fn read_identity(
        &self,
        provider: &dyn Provider,
        schema: &ResourceSchema,
        address: &ResourceInstance,
        object: &Object,
    ) -> Result<Option<Value>, Failed> {
        let (Some(schema), Some(stored)) = (&schema.identity, &object.identity) else {
            return Ok(None);
        };
        let version = i64::try_from(stored.version).unwrap_or(i64::MAX);
        if version > schema.version {
            return self.fail(Diagnostic::error(
                "Resource instance managed by newer provider version",
                format!(
                    "The current identity of {address} was created by a newer provider version than is currently selected. Upgrade the {} provider to work with this state.",
                    address.resource.implied_provider()
                ),
            ));
        }
        if version < schema.version {
            let upgraded = provider
                .upgrade_identity(UpgradeIdentity {
                    type_name: address.resource.kind.clone(),
                    version,
                    raw: Bytes::copy_from_slice(stored.value.as_bytes()),
                })
                .await;
            self.note(upgraded.diagnostics.unlocated(&address.to_string()))?;
            return Ok(upgraded.identity);
        }
        match json::decode(stored.value.as_bytes(), &schema.ty()) {
            Ok(identity) => Ok(Some(identity)),
            Err(error) => self.fail(Diagnostic::error(
                "Failed to decode resource identity from state",
                format!("The identity of {address} cannot be read: {error}."),
            )),
        }
    }

    /// The object as it is stored. What is not known becomes null.
    pub(super) fn store_object(
        &self,
        schema: &ResourceSchema,
        address: &ResourceInstance,
        present: &Present,
    ) -> Result<Arc<Object>, Failed> {
        if let Some(stored) = &present.stored {
            if stored.status == present.status
                && stored.create_before_destroy == present.create_before_destroy
                && stored.dependencies == present.dependencies
            {
                return Ok(stored.clone());
            }
            return Ok(Arc::new(Object {
                status: present.status,
                create_before_destroy: present.create_before_destroy,
                dependencies: present.dependencies.clone(),
                ..(**stored).clone()
            }));
        }
        let (value, paths) = present.value.unmark_deep_with_paths();
        let value = known(value);
        let ty = schema.block.implied_type();
        let encoded = json::encode(&value, &ty)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(attributes) = encoded else {
            return self.fail(Diagnostic::error(
                "Failed to encode object for state",
                format!("The object of {address} does not follow its schema."),
            ));
        };
        let identity = match (&schema.identity, &present.identity) {
            (Some(schema), Some(identity)) => json::encode(&known(identity.clone()), &schema.ty())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .map(|value| {
                    Box::new(Identity {
                        version: u64::try_from(schema.version).unwrap_or_default(),
                        value: value.into(),
                    })
                }),
            _ => None,
        };
        Ok(Arc::new(Object {
            identity,
            status: present.status,
            schema_version: u64::try_from(schema.version).unwrap_or_default(),
            attributes: attributes.into(),
            sensitive: paths
                .iter()
                .filter(|(_, marks)| marks.intersects(Marks::SENSITIVE))
                .map(|(path, _)| from_path(path))
                .collect(),
            private: present.private.to_vec().into(),
            dependencies: present.dependencies.clone(),
            create_before_destroy: present.create_before_destroy,
            ..Object::default()
        }))
    }
}

/// Whether an object is stored as its provider describes it now.
fn is_current(schema: &ResourceSchema, object: &Object) -> bool {
    let same = |stored: u64, version: i64| i64::try_from(stored) == Ok(version);
    object.attributes_flat.is_none()
        && same(object.schema_version, schema.version)
        && match (&object.identity, &schema.identity) {
            (Some(stored), Some(schema)) => same(stored.version, schema.version),
            _ => true,
        }
}

/// The value with null for all that is not known.
pub(super) fn known(value: Value) -> Value {
    if value.is_wholly_known() {
        return value;
    }
    let changed: Result<Value, std::convert::Infallible> = value.transform(&mut |_, part| {
        Ok(if part.is_known() {
            part
        } else {
            Value::null(part.ty().clone())
        })
    });
    match changed {
        Ok(value) => value,
    }
}

fn to_path(steps: &[PathStep]) -> Path {
    Path(
        steps
            .iter()
            .map(|step| match step {
                PathStep::Attribute(name) => Step::Attribute(name.clone()),
                PathStep::Key(key) => Step::Index(Value::shared_string(key.clone())),
                PathStep::Index(text) => {
                    Step::Index(text.parse::<i64>().map_or(Value::DYNAMIC, Value::number))
                }
            })
            .collect(),
    )
}

fn from_path(path: &Path) -> Vec<PathStep> {
    path.steps()
        .iter()
        .map(|step| match step {
            Step::Attribute(name) => PathStep::Attribute(name.clone()),
            Step::Index(key) => match (key.as_shared_str(), key.as_number()) {
                (Some(text), _) => PathStep::Key(text),
                (None, Some(number)) => PathStep::Index(number.to_string().into()),
                (None, None) => PathStep::Index("0".into()),
            },
        })
        .collect()
}

/// The `id` of an object, if it has one that may be shown.
pub(super) fn id_of(value: &Value) -> Option<Arc<str>> {
    if value.is_null() || !value.is_known() || value.is_marked() {
        return None;
    }
    let id = value.attribute("id").ok()?;
    if id.is_marked() {
        None
    } else {
        id.as_shared_str()
    }
}

/// The paths of a stored object's sensitive parts.
pub(crate) fn known_paths(paths: &[Vec<PathStep>]) -> Vec<Path> {
    paths.iter().map(|path| to_path(path)).collect()
}
