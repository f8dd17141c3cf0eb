//! The names of things in a Terraform configuration: modules, resources, their instances, and provider
//! configurations. They parse, print and order as Terraform's do.
//!
//! A *path* names a block of the configuration (no keys: `module.a.null_resource.x`); an *instance* names
//! what became of it after expansion (`module.a["k"].null_resource.x[0]`).

mod key;
mod module;
mod parse;
mod provider;
mod resource;
mod target;

pub use key::Key;
pub use module::{ModuleInstance, ModulePath, ModuleStep};
pub use parse::ParseError;
pub use provider::{ProviderConfig, ProviderSource};
pub use resource::{AbsResource, ConfigResource, Mode, Resource, ResourceInstance};
pub use target::Target;
