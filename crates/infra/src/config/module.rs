//! One module: everything declared in the configuration files of one directory, override files merged in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use consort_hcl::source::Range;
use consort_hcl::syntax::{Body, Expr};
use consort_hcl::traversal::Traversal;
use consort_hcl::{Defaults, Type, Value};

use super::resource::Resource;
use super::test_file::TestFile;
use crate::address::{self, ConfigResource, Mode, ModulePath, ProviderSource, Target};
use crate::version::Constraints;

/// The name of a provider configuration inside a module: a local name, and an alias for all but the default one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalProvider {
    /// The provider's local name, such as `aws`.
    pub name: Arc<str>,
    /// The alias, such as `west` in `aws.west`.
    pub alias: Option<Arc<str>>,
}

impl LocalProvider {
    /// The default (not aliased) configuration of a local name.
    pub fn default_of(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            alias: None,
        }
    }
}

impl std::fmt::Display for LocalProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{}.{alias}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A reference to a provider configuration as it is written in `provider = aws.west` or in `providers = { .. }`.
#[derive(Clone, Debug)]
pub struct ProviderReference {
    /// Which configuration.
    pub key: LocalProvider,
    /// Where the local name stands.
    pub name_range: Range,
    /// Where the alias stands, if there is one.
    pub alias_range: Option<Range>,
}

/// Everything declared in one module directory.
#[derive(Clone, Debug)]
pub struct Module {
    /// The calls that lead here; empty for the root.
    pub path: ModulePath,
    /// The directory the files came from, as it was given (relative to the working directory where that is).
    pub source_dir: PathBuf,
    /// `required_version` constraints of all files.
    pub required_versions: Vec<VersionConstraint>,
    /// The `backend` block.
    pub backend: Option<Backend>,
    /// The body of the `encryption` block, which OpenTofu has, and where its header stands.
    pub encryption: Option<(Body, Range)>,
    /// Where a `cloud` block stands, if there is one: valid, and nothing can be run with it.
    pub cloud: Option<Range>,
    /// `provider` blocks.
    pub provider_configs: BTreeMap<LocalProvider, ProviderConfig>,
    /// The entries of `required_providers`, by local name.
    pub required_providers: BTreeMap<Arc<str>, RequiredProvider>,
    /// Where `required_providers` stands, when the module has one.
    pub required_providers_range: Option<Range>,
    /// `provider_meta` blocks by the provider they are for.
    pub provider_metas: BTreeMap<ProviderSource, ProviderMeta>,
    /// Input variables by name.
    pub variables: BTreeMap<Arc<str>, Variable>,
    /// Local values by name.
    pub locals: BTreeMap<Arc<str>, Local>,
    /// Output values by name.
    pub outputs: BTreeMap<Arc<str>, Output>,
    /// `module` blocks by name.
    pub module_calls: BTreeMap<Arc<str>, ModuleCall>,
    /// `resource`, `data` (those inside `check` blocks too) and `ephemeral` blocks.
    pub resources: BTreeMap<address::Resource, Resource>,
    /// `moved` blocks in the order of the files.
    pub moved: Vec<Moved>,
    /// `removed` blocks in the order of the files.
    pub removed: Vec<Removed>,
    /// `import` blocks in the order of the files.
    pub imports: Vec<Import>,
    /// `check` blocks by name.
    pub checks: BTreeMap<Arc<str>, Check>,
    /// Test files by their path relative to the module; filled only when loading asked for tests.
    pub tests: BTreeMap<String, TestFile>,
}

impl Module {
    /// A module that declares nothing.
    pub(crate) fn empty(path: ModulePath, source_dir: PathBuf) -> Self {
        Self {
            path,
            source_dir,
            required_versions: Vec::new(),
            backend: None,
            encryption: None,
            cloud: None,
            provider_configs: BTreeMap::new(),
            required_providers: BTreeMap::new(),
            required_providers_range: None,
            provider_metas: BTreeMap::new(),
            variables: BTreeMap::new(),
            locals: BTreeMap::new(),
            outputs: BTreeMap::new(),
            module_calls: BTreeMap::new(),
            resources: BTreeMap::new(),
            moved: Vec::new(),
            removed: Vec::new(),
            imports: Vec::new(),
            checks: BTreeMap::new(),
            tests: BTreeMap::new(),
        }
    }

    /// The resources of one mode, in the order of their addresses.
    pub fn resources_of(&self, mode: Mode) -> impl Iterator<Item = &Resource> {
        self.resources
            .values()
            .filter(move |resource| resource.address.mode == mode)
    }

    /// The provider a local name stands for: what `required_providers` says, else `hashicorp/<name>`, and
    /// `terraform.io/builtin/terraform` for `terraform`.
    pub fn provider_for_name(&self, name: &str) -> ProviderSource {
        match self.required_providers.get(name) {
            Some(required) => required.address.clone(),
            None => ProviderSource::implied(name),
        }
    }

    /// The local name under which this module knows a provider.
    pub fn local_name_of(&self, provider: &ProviderSource) -> Arc<str> {
        self.required_providers
            .values()
            .find(|required| required.address == *provider)
            .map_or_else(|| provider.kind.clone(), |required| required.name.clone())
    }
}

/// A version constraint and where it stands.
#[derive(Clone, Debug)]
pub struct VersionConstraint {
    /// What is asked for.
    pub constraints: Constraints,
    /// The argument.
    pub range: Range,
}

/// A `backend` block.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Such as `local` or `s3`.
    pub kind: Arc<str>,
    /// Its arguments, for the backend's own schema.
    pub config: Body,
    /// Where the type label stands.
    pub kind_range: Range,
    /// The block's header.
    pub range: Range,
}

/// A `provider` block.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Local name and alias.
    pub key: LocalProvider,
    /// The provider the local name stands for in this module.
    pub provider: ProviderSource,
    /// The deprecated `version` argument.
    pub version: Option<VersionConstraint>,
    /// The rest of the block, for the provider's schema.
    pub config: Body,
    /// Where the name label stands.
    pub name_range: Range,
    /// Where the alias stands.
    pub alias_range: Option<Range>,
    /// The block's header.
    pub range: Range,
}

/// An entry of `required_providers`.
#[derive(Clone, Debug)]
pub struct RequiredProvider {
    /// The local name.
    pub name: Arc<str>,
    /// The `source` as written, when it was given.
    pub source: Option<String>,
    /// The provider that is meant.
    pub address: ProviderSource,
    /// The constraint on its version.
    pub version: Option<VersionConstraint>,
    /// `configuration_aliases`: the configurations a caller must pass.
    pub aliases: Vec<LocalProvider>,
    /// The entry's value.
    pub range: Range,
}

/// A `provider_meta` block.
#[derive(Clone, Debug)]
pub struct ProviderMeta {
    /// The local name of the provider.
    pub name: Arc<str>,
    /// The arguments, for the provider's own schema.
    pub config: Body,
    /// The block's header.
    pub range: Range,
}

/// An input variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: Arc<str>,
    /// Its `description`.
    pub description: Option<String>,
    /// The type constraint, optional attributes included .
    pub ty: Type,
    /// Where the `type` argument stands, when it was given.
    pub type_range: Option<Range>,
    /// Defaults of `optional(..)` attributes.
    pub defaults: Defaults,
    /// The default value, converted to the type; absent for a required variable.
    pub default: Option<Value>,
    /// Where the default stands.
    pub default_range: Option<Range>,
    /// `validation` blocks.
    pub validations: Vec<CheckRule>,
    /// Whether its value may not be shown.
    pub sensitive: bool,
    /// Whether its value may not be recorded.
    pub ephemeral: bool,
    /// Whether it may be null; otherwise null means the default.
    pub nullable: bool,
    /// Which of `description`, `sensitive`, `ephemeral`, `nullable` were written; only those override.
    pub(crate) set: VariableSet,
    /// The block's header.
    pub range: Range,
}

/// Which arguments a variable block gave; an override takes over just those.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VariableSet {
    pub(crate) sensitive: bool,
    pub(crate) ephemeral: bool,
    pub(crate) nullable: bool,
}

impl Variable {
    /// Whether a value must be given.
    pub fn required(&self) -> bool {
        self.default.is_none()
    }
}

/// A local value.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its name.
    pub name: Arc<str>,
    /// Its definition.
    pub expr: Expr,
    /// The whole definition.
    pub range: Range,
}

/// An output value.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// Its `description`.
    pub description: Option<String>,
    /// Its `value`; absent only where that error was reported.
    pub value: Option<Expr>,
    /// `depends_on`.
    pub depends_on: Vec<Traversal>,
    /// Whether its value may not be shown.
    pub sensitive: bool,
    /// Whether its value may not be recorded.
    pub ephemeral: bool,
    /// `precondition` blocks.
    pub preconditions: Vec<CheckRule>,
    /// Which of `sensitive` and `ephemeral` were written.
    pub(crate) sensitive_set: bool,
    pub(crate) ephemeral_set: bool,
    /// The block's header.
    pub range: Range,
}

/// A `module` block.
#[derive(Clone, Debug)]
pub struct ModuleCall {
    /// Its name.
    pub name: Arc<str>,
    /// The `source` as written.
    pub source: Option<String>,
    /// Where the source stands.
    pub source_range: Option<Range>,
    /// The source, understood.
    pub address: Option<super::source::ModuleSource>,
    /// `version`.
    pub version: Option<VersionConstraint>,
    /// The arguments for the child's variables.
    pub config: Body,
    /// `count`.
    pub count: Option<Expr>,
    /// `for_each`.
    pub for_each: Option<Expr>,
    /// `providers = { child = parent }`.
    pub providers: Vec<PassedProvider>,
    /// `depends_on`.
    pub depends_on: Vec<Traversal>,
    /// Where `depends_on` stands, when it was written.
    pub depends_on_range: Option<Range>,
    /// The block's header.
    pub range: Range,
}

/// One entry of a module call's `providers`.
#[derive(Clone, Debug)]
pub struct PassedProvider {
    /// The configuration in the child.
    pub child: ProviderReference,
    /// The configuration in the caller.
    pub parent: ProviderReference,
}

/// A condition that must hold: `validation`, `precondition`, `postcondition` or `assert`.
#[derive(Clone, Debug)]
pub struct CheckRule {
    /// What must be true; absent only where that error was reported.
    pub condition: Option<Expr>,
    /// What to say when it is not.
    pub error_message: Option<Expr>,
    /// The block's header.
    pub range: Range,
}

/// A `check` block.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: Arc<str>,
    /// The data source nested in it, which is found in [`Module::resources`] too.
    pub data: Option<address::Resource>,
    /// Its `assert` blocks.
    pub asserts: Vec<CheckRule>,
    /// The block's header.
    pub range: Range,
}

/// A `moved` block.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The old address, relative to the module.
    pub from: Target,
    /// Where the old address stands.
    pub from_range: Range,
    /// The new address, relative to the module.
    pub to: Target,
    /// Where the new address stands.
    pub to_range: Range,
    /// The block's header.
    pub range: Range,
}

/// A `removed` block.
#[derive(Clone, Debug)]
pub struct Removed {
    /// What was removed, relative to the module: a resource or a module, without instance keys.
    pub from: Target,
    /// Where that address stands.
    pub from_range: Range,
    /// Whether to destroy it (else only forget it).
    pub destroy: bool,
    /// Provisioners to run when it is destroyed.
    pub provisioners: Vec<Provisioner>,
    /// The connection of those provisioners.
    pub connection: Option<Connection>,
    /// The block's header.
    pub range: Range,
}

/// An `import` block.
#[derive(Clone, Debug)]
pub struct Import {
    /// The address: a resource whose instance keys may be expressions.
    pub to: Expr,
    /// The address when all its instance keys are constant.
    pub instance: Option<Target>,
    /// The address without instance keys.
    pub target: ConfigResource,
    /// `id`.
    pub id: Option<Expr>,
    /// `identity`, in place of the id.
    pub identity: Option<Expr>,
    /// `for_each`.
    pub for_each: Option<Expr>,
    /// `provider`, for imports that generate configuration.
    pub provider: Option<ProviderReference>,
    /// Where `provider` stands.
    pub provider_range: Option<Range>,
    /// The provider of the target.
    pub provider_address: ProviderSource,
    /// The block's header.
    pub range: Range,
}

/// A `provisioner` block.
#[derive(Clone, Debug)]
pub struct Provisioner {
    /// Such as `local-exec`.
    pub kind: Arc<str>,
    /// Its arguments, for its own schema.
    pub config: Body,
    /// Its own `connection`, merged over the resource's.
    pub connection: Option<Connection>,
    /// Whether it runs when the resource is destroyed, in place of when it is created.
    pub when_destroy: bool,
    /// Whether a failure is only reported.
    pub on_failure_continue: bool,
    /// Where the type label stands.
    pub kind_range: Range,
    /// The block's header.
    pub range: Range,
}

/// A `connection` block.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its arguments.
    pub config: Body,
    /// The block's header.
    pub range: Range,
}
