//! The language: from files to a typed configuration, checked as far as that goes without providers' schemas.

mod provider_source;
mod source;

pub use provider_source::{InvalidAddress, parse_hostname, parse_part, parse_provider_source};
pub use source::{Error as SourceError, ModuleSource, RegistryModule};
