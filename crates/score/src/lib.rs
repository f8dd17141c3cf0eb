//! A score: read from a directory or Git, planned as one graph, carried out, kept true, explained.

pub mod render;
pub mod rollback;
