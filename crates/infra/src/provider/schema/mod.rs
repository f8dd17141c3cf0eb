//! What a provider says its objects look like, and what follows from that for values and configuration.

mod block;
mod coerce;
mod decode;
mod dynamic;
mod form;
mod implied;
mod legacy_blocks;
mod locate;
mod paths;
mod references;
mod schemas;
mod static_traversal;

pub use block::{Attribute, Block, Described, NestedBlock, Nesting, Object};
#[cfg(test)]
mod tests;

pub use coerce::CoerceError;
pub use schemas::{
    Capabilities, Error, Function, IdentityAttribute, IdentitySchema, Kind, Parameter,
    ResourceSchema, Schemas, Source,
};
