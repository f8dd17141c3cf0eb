//! What a request asks for: its target (from the path), its options (from the query string).

mod options;
mod path;
mod query;

pub(crate) use options::{
    DeleteOptions, FieldValidation, ListOptions, Propagation, VersionMatch, WriteOptions, invalid,
    revision,
};
pub(crate) use path::{Route, Target, route};
pub(crate) use query::{Query, encode};

/// Undo percent-encoding. Broken escapes stay as they are.
pub(crate) fn decode_percent(text: &str) -> String {
    query::decode(text, false)
}
