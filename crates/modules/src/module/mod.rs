//! One file for each module.

pub(crate) mod ping;
