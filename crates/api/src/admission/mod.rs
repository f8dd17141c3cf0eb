//! What every write passes after its defaults.

mod builtin;

pub(crate) use builtin::{create, update};
