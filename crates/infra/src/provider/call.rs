//! The calls a provider answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use consort_hcl::{Path, Value};

use super::Diagnostics;
use super::schema::{Function, Schemas};

/// The future of one call.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A family of resources behind one process, or built in.
///
/// Values given and received are unmarked (no sensitivity) and of the implied type of the schema of the
/// resource named. Where a call fails, the diagnostics say so and the values are null of their type,
/// except for [`Provider::apply_resource`], whose state is what is known to exist.
///
/// Dropping the future of a call cancels it, which a caller should do only for calls that change nothing:
/// an apply is stopped by [`Provider::stop`] and then waited for.
pub trait Provider: Send + Sync {
    /// What it offers. Asked for once and kept.
    fn schemas(&self) -> Call<'_, Result<Arc<Schemas>, Diagnostics>>;

    /// Whether a provider configuration makes sense; unknown values may be in it.
    fn validate_config(&self, config: Value) -> Call<'_, Diagnostics>;

    /// Gives it its configuration; to be called once before anything that reaches a remote system.
    fn configure(&self, request: Configure) -> Call<'_, Diagnostics>;

    /// Whether the configuration of a managed resource makes sense.
    fn validate_resource(&self, request: Validate) -> Call<'_, Diagnostics>;

    /// Whether the configuration of a data source makes sense.
    fn validate_data(&self, request: Validate) -> Call<'_, Diagnostics>;

    /// Whether the configuration of an ephemeral resource makes sense.
    fn validate_ephemeral(&self, request: Validate) -> Call<'_, Diagnostics>;

    /// Brings a stored state to the present schema. To be called even at the same version: providers use
    /// it to drop attributes that are gone.
    fn upgrade_state(&self, request: UpgradeState) -> Call<'_, UpgradedState>;

    /// Brings a stored identity to the present schema.
    fn upgrade_identity(&self, request: UpgradeIdentity) -> Call<'_, UpgradedIdentity>;

    /// Looks at the remote object. A null state says that it is gone.
    fn read_resource(&self, request: Read) -> Call<'_, ReadDone>;

    /// What an apply would lead to.
    fn plan_resource(&self, request: Plan) -> Call<'_, Planned>;

    /// Makes it so. A planned state of null destroys.
    fn apply_resource(&self, request: Apply) -> Call<'_, Applied>;

    /// Finds an existing object by what the user knows of it.
    fn import_resource(&self, request: Import) -> Call<'_, Imported>;

    /// Takes the state of a resource of another type, maybe of another provider, over.
    fn move_state(&self, request: MoveState) -> Call<'_, Moved>;

    /// Reads a data source.
    fn read_data(&self, request: ReadData) -> Call<'_, DataRead>;

    /// Opens an ephemeral resource.
    fn open_ephemeral(&self, request: OpenEphemeral) -> Call<'_, Opened>;

    /// Prolongs an open ephemeral resource.
    fn renew_ephemeral(&self, type_name: Arc<str>, private: Option<Bytes>) -> Call<'_, Renewed>;

    /// Closes an open ephemeral resource.
    fn close_ephemeral(&self, type_name: Arc<str>, private: Option<Bytes>)
    -> Call<'_, Diagnostics>;

    /// The functions it has in its present configuration: those of the schema, and maybe more.
    fn functions(&self) -> Call<'_, Result<BTreeMap<Arc<str>, Function>, Diagnostics>>;

    /// Calls a function. Arguments are of the parameters' types; the result is of the return type.
    fn call_function(
        &self,
        name: Arc<str>,
        arguments: Vec<Value>,
    ) -> Call<'_, Result<Value, FunctionError>>;

    /// Asks running calls to end soon. Returns at once; the calls still give their results.
    fn stop(&self) -> Call<'_, Result<(), String>>;

    /// Ends it. No call is made afterwards. Idempotent.
    fn close(&self) -> Call<'_, ()>;
}

/// Why a provider put an answer off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Deferred {
    /// No reason given.
    Unknown,
    /// Some of the resource's configuration is not known yet.
    ResourceConfigUnknown,
    /// Some of the provider's configuration is not known yet.
    ProviderConfigUnknown,
    /// Something it needs does not exist yet.
    AbsentPrerequisite,
}

/// See [`Provider::configure`].
#[derive(Clone, Debug)]
pub struct Configure {
    /// What providers compare with the versions of Terraform they know.
    pub terraform_version: Arc<str>,
    /// Of the provider schema's implied type.
    pub config: Value,
    /// Whether it may put answers off.
    pub deferral_allowed: bool,
}

/// See [`Provider::validate_resource`] and its relatives.
#[derive(Clone, Debug)]
pub struct Validate {
    /// The resource type.
    pub type_name: Arc<str>,
    /// May hold unknowns.
    pub config: Value,
}

/// A state as it is stored, before its schema is known.
#[derive(Clone, Debug)]
pub enum RawState {
    /// The `attributes` object of state version 4, as JSON.
    Json(Bytes),
    /// The `attributes_flat` object of states made before Terraform 0.12.
    Flatmap(BTreeMap<String, String>),
}

/// See [`Provider::upgrade_state`].
#[derive(Clone, Debug)]
pub struct UpgradeState {
    /// The resource type.
    pub type_name: Arc<str>,
    /// The schema version the state was written with.
    pub version: i64,
    /// What was stored.
    pub raw: RawState,
}

/// The answer to [`UpgradeState`].
#[derive(Clone, Debug)]
pub struct UpgradedState {
    /// Of the present schema's implied type.
    pub state: Value,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::upgrade_identity`].
#[derive(Clone, Debug)]
pub struct UpgradeIdentity {
    /// The resource type.
    pub type_name: Arc<str>,
    /// The identity schema version it was written with.
    pub version: i64,
    /// The identity as JSON.
    pub raw: Bytes,
}

/// The answer to [`UpgradeIdentity`].
#[derive(Clone, Debug)]
pub struct UpgradedIdentity {
    /// Of the identity schema's type.
    pub identity: Option<Value>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::read_resource`].
#[derive(Clone, Debug)]
pub struct Read {
    /// The resource type.
    pub type_name: Arc<str>,
    /// The state last known.
    pub prior: Value,
    /// What the provider stored beside the state.
    pub private: Bytes,
    /// The module's `provider_meta`, if it has one.
    pub provider_meta: Option<Value>,
    /// The identity last known.
    pub identity: Option<Value>,
    /// Whether the provider may put the answer off.
    pub deferral_allowed: bool,
}

/// The answer to [`Read`].
#[derive(Clone, Debug)]
pub struct ReadDone {
    /// The state now; null when the object is gone.
    pub state: Value,
    /// To be stored beside the state.
    pub private: Bytes,
    /// The identity now.
    pub identity: Option<Value>,
    /// Set when the answer was put off.
    pub deferred: Option<Deferred>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::plan_resource`].
#[derive(Clone, Debug)]
pub struct Plan {
    /// The resource type.
    pub type_name: Arc<str>,
    /// The state last known; null to create.
    pub prior: Value,
    /// Prior and configuration merged ([`super::objects::proposed_new`]); null to destroy.
    pub proposed: Value,
    /// The configuration alone; null to destroy.
    pub config: Value,
    /// What the provider stored beside the state.
    pub private: Bytes,
    /// The module's `provider_meta`, if it has one.
    pub provider_meta: Option<Value>,
    /// The identity last known.
    pub identity: Option<Value>,
    /// Whether the provider may put the answer off.
    pub deferral_allowed: bool,
}

/// The answer to [`Plan`].
#[derive(Clone, Debug)]
pub struct Planned {
    /// What an apply leads to, unknown where only the apply can tell.
    pub state: Value,
    /// Attributes whose change needs another object in place of this one.
    pub requires_replace: Vec<Path>,
    /// To be given to the apply.
    pub private: Bytes,
    /// The identity it will have.
    pub identity: Option<Value>,
    /// The provider was built with the old SDK: inconsistencies are warnings in the log, not errors.
    pub legacy_type_system: bool,
    /// Set when the answer was put off.
    pub deferred: Option<Deferred>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::apply_resource`].
#[derive(Clone, Debug)]
pub struct Apply {
    /// The resource type.
    pub type_name: Arc<str>,
    /// The state last known; null to create.
    pub prior: Value,
    /// What [`Planned::state`] said; null to destroy.
    pub planned: Value,
    /// The configuration alone; null to destroy.
    pub config: Value,
    /// What [`Planned::private`] was.
    pub private: Bytes,
    /// The module's `provider_meta`, if it has one.
    pub provider_meta: Option<Value>,
    /// What [`Planned::identity`] was.
    pub identity: Option<Value>,
}

/// The answer to [`Apply`].
#[derive(Clone, Debug)]
pub struct Applied {
    /// What exists now, also after an error; null when nothing does.
    ///
    /// `None` when the provider gave no answer at all (it died): the caller then keeps the prior state.
    pub state: Option<Value>,
    /// To be stored beside the state.
    pub private: Bytes,
    /// The identity now.
    pub identity: Option<Value>,
    /// See [`Planned::legacy_type_system`].
    pub legacy_type_system: bool,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// What the user knows of an object to be imported.
#[derive(Clone, Debug)]
pub enum ImportTarget {
    /// A string only the provider understands.
    Id(String),
    /// An object of the identity schema's type.
    Identity(Value),
}

/// See [`Provider::import_resource`].
#[derive(Clone, Debug)]
pub struct Import {
    /// The resource type.
    pub type_name: Arc<str>,
    /// What is known.
    pub target: ImportTarget,
    /// Whether the provider may put the answer off.
    pub deferral_allowed: bool,
}

/// One object an import found.
#[derive(Clone, Debug)]
pub struct ImportedResource {
    /// The resource type; not always the one asked for.
    pub type_name: Arc<str>,
    /// Enough of the state for a read to complete it.
    pub state: Value,
    /// To be stored beside the state.
    pub private: Bytes,
    /// Its identity.
    pub identity: Option<Value>,
}

/// The answer to [`Import`].
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// What was found.
    pub resources: Vec<ImportedResource>,
    /// Set when the answer was put off.
    pub deferred: Option<Deferred>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::move_state`].
#[derive(Clone, Debug)]
pub struct MoveState {
    /// Full address of the provider the state is from.
    pub source_provider: String,
    /// The type the state is of.
    pub source_type_name: Arc<str>,
    /// The schema version it was written with.
    pub source_version: i64,
    /// What was stored.
    pub source_state: RawState,
    /// What was stored beside it.
    pub source_private: Bytes,
    /// The identity as JSON with its schema version.
    pub source_identity: Option<(i64, Bytes)>,
    /// The type it is to become.
    pub target_type_name: Arc<str>,
}

/// The answer to [`MoveState`].
#[derive(Clone, Debug)]
pub struct Moved {
    /// Of the target type's implied type.
    pub state: Value,
    /// To be stored beside it.
    pub private: Bytes,
    /// The identity of the target type.
    pub identity: Option<Value>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::read_data`].
#[derive(Clone, Debug)]
pub struct ReadData {
    /// The instance's address, where it is known.
    pub address: String,
    /// The data source's type.
    pub type_name: Arc<str>,
    /// Wholly known.
    pub config: Value,
    /// The module's `provider_meta`, if it has one.
    pub provider_meta: Option<Value>,
    /// Whether the provider may put the answer off.
    pub deferral_allowed: bool,
}

/// The answer to [`ReadData`].
#[derive(Clone, Debug)]
pub struct DataRead {
    /// What was read.
    pub state: Value,
    /// Set when the answer was put off.
    pub deferred: Option<Deferred>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// See [`Provider::open_ephemeral`].
#[derive(Clone, Debug)]
pub struct OpenEphemeral {
    /// The ephemeral resource's type.
    pub type_name: Arc<str>,
    /// Wholly known.
    pub config: Value,
    /// Whether the provider may put the answer off.
    pub deferral_allowed: bool,
}

/// The answer to [`OpenEphemeral`].
#[derive(Clone, Debug)]
pub struct Opened {
    /// The object, of the schema's implied type.
    pub result: Value,
    /// To be given to renew and close.
    pub private: Option<Bytes>,
    /// When it is to be renewed, if it is.
    pub renew_at: Option<SystemTime>,
    /// Set when the answer was put off.
    pub deferred: Option<Deferred>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// The answer to [`Provider::renew_ephemeral`].
#[derive(Clone, Debug, Default)]
pub struct Renewed {
    /// To be given to the next renew and to close.
    pub private: Option<Bytes>,
    /// When it is to be renewed again, if it is.
    pub renew_at: Option<SystemTime>,
    /// What the provider had to say.
    pub diagnostics: Diagnostics,
}

/// Why a provider's function gave no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct FunctionError {
    /// What the provider said.
    pub message: String,
    /// The argument it is about, from 0.
    pub argument: Option<usize>,
}
