//! Rego policies over blueprints and requests, and the blast radius of a change.
//!
//! [`engine`] evaluates Rego: an [`Engine`] is given modules and data, and asked for rules with an input.

pub mod engine;

pub use engine::{Document, Engine, Error, Options, Version};
