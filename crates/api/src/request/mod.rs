//! What a request asks for: its target (from the path), its options (from the query string).

mod options;
mod path;
mod query;

pub use options::{
    DeleteOptions, FieldValidation, ListOptions, Propagation, VersionMatch, WriteOptions,
};
pub use path::{Route, Target, route};
pub use query::{Query, encode};
