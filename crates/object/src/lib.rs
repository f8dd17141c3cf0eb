//! The object model: metadata, selectors, schemas, patches and encodings.

pub mod model;
pub mod names;
pub mod selector;

pub use model::{Draft, Head, Object, Owner, Revision};
pub use selector::{FieldSelector, LabelSelector};
