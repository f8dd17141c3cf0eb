//! What a provider says its objects look like, and what follows from that for values and configuration.

mod block;
mod coerce;
mod implied;
mod paths;
mod schemas;

pub use block::{Attribute, Block, Described, NestedBlock, Nesting, Object};
pub use coerce::CoerceError;
pub use schemas::{
    Capabilities, Error, Function, IdentityAttribute, IdentitySchema, Kind, Parameter,
    ResourceSchema, Schemas, Source,
};
