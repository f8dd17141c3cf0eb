//! The contents of a state.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Marks, Value, json};
use serde_json::value::RawValue;

use crate::address::{AbsResource, ConfigResource, Key, Mode, ProviderConfig, ResourceInstance};

/// The version of Terraform whose language, state and plan formats are implemented here, and that is written
/// into them.
pub const TERRAFORM_VERSION: &str = "1.11.4";

/// One state: the resources that exist, as last seen, and the root module's outputs.
///
/// Fields of the file that are not known here are kept, and written back at the end of the object they stood in.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Which program wrote the file.
    pub terraform_version: String,
    /// Counts the changes of the file.
    pub serial: u64,
    /// Made up once for a state; a file with another lineage is another state.
    pub lineage: String,
    /// The root module's outputs.
    pub outputs: BTreeMap<Arc<str>, Output>,
    /// The resources by address.
    pub resources: BTreeMap<AbsResource, ResourceState>,
    /// What the checks said at the last plan; none when they were never run.
    pub check_results: Option<Vec<CheckResult>>,
    pub(crate) extra: Vec<(String, Box<RawValue>)>,
}

/// The value of an output of the root module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The value as JSON text.
    pub value: Arc<str>,
    /// Its type as JSON text.
    pub kind: Arc<str>,
    /// Whether it must not be shown.
    pub sensitive: bool,
}

impl Output {
    /// The value, marked if it must not be shown.
    ///
    /// # Errors
    /// What is wrong with the texts.
    pub fn decoded(&self) -> Result<Value, String> {
        let ty = json::type_decode(self.kind.as_bytes())?;
        let value = json::decode(self.value.as_bytes(), &ty).map_err(|wrong| wrong.to_string())?;
        Ok(if self.sensitive {
            value.with_marks(Marks::SENSITIVE)
        } else {
            value
        })
    }
}

/// A resource with its instances.
#[derive(Clone, Debug)]
pub struct ResourceState {
    /// The provider configuration that last changed it.
    pub provider: ProviderConfig,
    /// The instances by key.
    pub instances: BTreeMap<Key, Instance>,
    pub(crate) extra: Vec<(String, Box<RawValue>)>,
}

impl ResourceState {
    /// A resource without instances.
    pub fn new(provider: ProviderConfig) -> Self {
        ResourceState {
            provider,
            instances: BTreeMap::new(),
            extra: Vec::new(),
        }
    }
}

/// One instance: the object that is there now, and those that a replacement left to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// The object in use. None while only deposed ones are left.
    pub current: Option<Arc<Object>>,
    /// Objects that wait to be deleted, by their eight hexadecimal digits.
    pub deposed: BTreeMap<Arc<str>, Arc<Object>>,
}

/// Whether an object can be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// As it should be.
    #[default]
    Ready,
    /// Made, but not finished: to be replaced.
    Tainted,
}

/// A step of a path into an object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum PathStep {
    /// An attribute of an object.
    Attribute(Arc<str>),
    /// A key of a map.
    Key(Arc<str>),
    /// An index of a list, or another number, as it is written.
    Index(Arc<str>),
}

/// What a provider tells an object from all others by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The version of the identity schema that `value` follows.
    pub version: u64,
    /// The identity as compact JSON text; to be read with the type's identity schema.
    pub value: Box<str>,
}

/// One object as a provider described it.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Whether it can be relied on.
    pub status: Status,
    /// The version of the schema that `attributes` follow.
    pub schema_version: u64,
    /// The attributes as compact JSON text; to be read with the type's schema.
    pub attributes: Box<str>,
    /// The attributes of states from before Terraform 0.12: a flat map, as JSON text.
    pub attributes_flat: Option<Box<str>>,
    /// Where in the attributes sensitive values stand.
    pub sensitive: Vec<Vec<PathStep>>,
    /// What the provider tells the object by.
    pub identity: Option<Box<Identity>>,
    /// What the provider wants back, of no meaning to others.
    pub private: Box<[u8]>,
    /// The resources it depends on, directly or not. Shared by the instances of a block.
    pub dependencies: Arc<[Arc<ConfigResource>]>,
    /// Whether its replacement has to be made before it goes.
    pub create_before_destroy: bool,
    pub(crate) extra: Vec<(String, Box<RawValue>)>,
}

/// What a check said, for one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// `resource`, `output`, `check` or `var`.
    pub object_kind: String,
    /// The block's address.
    pub config_address: String,
    /// `pass`, `fail`, `error` or `unknown`.
    pub status: String,
    /// What it said for each object the block expanded to.
    pub objects: Vec<CheckObject>,
}

/// What a check said of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckObject {
    /// The object's address.
    pub address: String,
    /// As [`CheckResult::status`].
    pub status: String,
    /// The messages of the conditions that do not hold.
    pub messages: Vec<String>,
}

impl State {
    /// A state that nobody has written yet, with a lineage of its own.
    pub fn new() -> Self {
        State {
            terraform_version: TERRAFORM_VERSION.to_owned(),
            lineage: uuid::Uuid::new_v4().to_string(),
            ..State::default()
        }
    }

    /// Whether there are neither resources nor outputs.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.outputs.is_empty()
    }

    /// The instance at `address`.
    pub fn instance(&self, address: &ResourceInstance) -> Option<&Instance> {
        self.resources
            .get(&address.abs_resource())?
            .instances
            .get(&address.key)
    }

    /// Sets or removes the object at `address`: the current one, or the deposed one with this key. An
    /// instance without objects goes, and with the last one its resource.
    pub fn set_object(
        &mut self,
        address: &ResourceInstance,
        deposed: Option<&Arc<str>>,
        provider: &ProviderConfig,
        object: Option<Arc<Object>>,
    ) {
        let resource_address = address.abs_resource();
        let Some(object) = object else {
            let Some(resource) = self.resources.get_mut(&resource_address) else {
                return;
            };
            if let Some(instance) = resource.instances.get_mut(&address.key) {
                match deposed {
                    None => instance.current = None,
                    Some(key) => {
                        instance.deposed.remove(key);
                    }
                }
                if instance.current.is_none() && instance.deposed.is_empty() {
                    resource.instances.remove(&address.key);
                }
            }
            if resource.instances.is_empty() {
                self.resources.remove(&resource_address);
            }
            return;
        };
        let resource = self
            .resources
            .entry(resource_address)
            .or_insert_with(|| ResourceState::new(provider.clone()));
        resource.provider = provider.clone();
        let instance = resource.instances.entry(address.key.clone()).or_default();
        match deposed {
            None => instance.current = Some(object),
            Some(key) => {
                instance.deposed.insert(key.clone(), object);
            }
        }
    }

    /// Whether everything but serial and program version is the same, so that nothing need be written.
    pub fn same_contents(&self, other: &State) -> bool {
        fn kept(state: &State) -> impl Iterator<Item = (&AbsResource, &ResourceState)> {
            state
                .resources
                .iter()
                .filter(|(address, _)| address.resource.mode != Mode::Ephemeral)
        }
        let checks = |state: &State| state.check_results.clone().unwrap_or_default();
        self.lineage == other.lineage
            && self.outputs == other.outputs
            && same_fields(&self.extra, &other.extra)
            && checks(self) == checks(other)
            && kept(self).eq(kept(other))
    }
}

/// Whether fields that are not known here are the same.
fn same_fields(one: &[(String, Box<RawValue>)], other: &[(String, Box<RawValue>)]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((name, value), (other, text))| name == other && value.get() == text.get())
}

impl PartialEq for ResourceState {
    fn eq(&self, other: &Self) -> bool {
        self.provider == other.provider
            && same_fields(&self.extra, &other.extra)
            && self.instances == other.instances
    }
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        fn same(one: &Arc<Object>, other: &Arc<Object>) -> bool {
            Arc::ptr_eq(one, other) || one == other
        }
        match (&self.current, &other.current) {
            (Some(one), Some(other)) if !same(one, other) => return false,
            (Some(_), None) | (None, Some(_)) => return false,
            _ => {}
        }
        self.deposed.len() == other.deposed.len()
            && self
                .deposed
                .iter()
                .zip(&other.deposed)
                .all(|((key, one), (other_key, other))| key == other_key && same(one, other))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.status == other.status
            && self.schema_version == other.schema_version
            && self.attributes == other.attributes
            && self.attributes_flat == other.attributes_flat
            && self.sensitive == other.sensitive
            && self.private == other.private
            && self.dependencies == other.dependencies
            && self.create_before_destroy == other.create_before_destroy
            && same_fields(&self.extra, &other.extra)
    }
}
