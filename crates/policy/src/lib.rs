//! Rego policies over blueprints and requests, and the blast radius of a change.
//!
//! [`engine`] evaluates Rego: an [`Engine`] is given modules and data, and asked for rules with an input.
//!
//! [`judge()`] judges a blueprint: it evaluates the policies of a score ([`PolicyPart`]) over the plan, and counts its
//! points: what each resource is worth (`rego/worth.rego`), how much of that its change takes, and what stands on it
//! ([`points`]).
//!
//! [`admission`] holds policies against single writes to the API.

pub mod admission;
mod builtins;
mod check;
mod documents;
pub mod engine;
mod facets;
pub mod format;
mod judge;
pub mod load;
pub mod points;
mod rules;
mod sources;
mod styles;
pub mod suite;
mod syntax;
mod worth;

pub use engine::{Document, Engine, Error, Options, Version};
pub use judge::{Judgement, Question, THRESHOLD, judge};
pub use sources::{PolicyPart, Query};
pub use worth::DEFAULT_WORTH;
