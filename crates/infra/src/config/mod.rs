//! The language: from files to a typed configuration, checked as far as that goes without providers' schemas.
//!
//! [`load`] reads the root module and all that it calls into a [`Tree`]; [`check_references`] looks at what its
//! expressions refer to; [`GivenValues`] gathers values for its variables.

mod block_module;
mod block_provider;
mod block_provisioner;
mod block_refactor;
mod block_resource;
mod block_values;
mod check_references;
mod convert;
mod decode;
mod file;
mod load;
mod merge;
mod module;
mod provider_checks;
mod provider_source;
mod reference;
mod resource;
mod snapshot;
pub(crate) mod source;
mod test_file;
mod tree;
mod variables;

pub use block_refactor::target;
pub use check_references::check_references;
pub(crate) use check_references::{Place, check_in_place};
pub use load::{TEST_DIRECTORY, is_module_directory, load_module};
pub use module::{
    Backend, Check, CheckRule, Connection, Import, Local, LocalProvider, Module, ModuleCall, Moved,
    Output, PassedProvider, ProviderConfig, ProviderMeta, ProviderReference, Provisioner, Removed,
    RequiredProvider, Variable, VersionConstraint,
};
pub use provider_source::{InvalidAddress, parse_hostname, parse_part, parse_provider_source};
pub use reference::{Reference, Subject};
pub use resource::{IgnoreChanges, Managed, Resource};
pub use snapshot::Snapshot;
pub use source::{Error as SourceError, ModuleSource, RegistryModule};
pub use test_file::{
    Mock, MockProvider, Override, OverrideKind, PlanOptions, Run, RunModule, TestFile,
};
pub use tree::{Requirements, Tree, load, load_snapshot};
pub(crate) use variables::admit;
pub use variables::{Ask, GivenValues, Origin, VariableOption, VariableValue, VariableValues};
