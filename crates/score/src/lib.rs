//! A score: read from a directory or Git, planned as one graph, carried out, kept true, explained.
//!
//! ```text
//! directory -> definition (consort.yaml, or detect) -> system (parts, open) -> planner -> Blueprint
//! ```

mod admission;
pub mod deeds;
mod definition;
mod detect;
pub mod diff;
pub mod drift;
pub mod execute;
pub mod follow;
pub mod graph;
pub mod history;
pub mod planner;
pub mod records;
pub mod render;
pub mod rollback;
pub mod saved;
mod sharing;
pub mod snapshot;
pub mod sync;
mod system;
pub mod why;

pub use consort_git as git;
pub use definition::{
    Definition, FILE, Layer, NAMESPACE, PartDefinition, SCHEMA, Steps, THRESHOLD,
};
pub use system::{Environment, System};
