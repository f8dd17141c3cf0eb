//! Custom resources: kinds that clients bring with `CustomResourceDefinition`s.
//!
//! A definition is an object like any other ([`kind`] serves it, [`check`] checks it). The [`catalog`]
//! follows the stored definitions, settles their names, puts a kind for each served version into a new
//! registry, and only then says `Established`; a definition that goes takes its instances with it
//! ([`cleanup`]). Instances are stored in the storage version and shown in the version asked for
//! ([`convert`]). An object carries a stamp of the schema it was written under: while that is the present
//! one and the version fits, its stored bytes are sent as they are.

mod catalog;
mod check;
mod cleanup;
mod columns;
mod convert;
mod definition;
mod jsonpath;
mod kind;
mod names;
mod rules;
mod strategy;

pub(crate) use catalog::load;
pub(crate) use convert::{converted, drafted, shown, shown_all};
pub(crate) use definition::{Refused, Scale, Version};
pub(crate) use kind::definition as definition_kind;
pub(crate) use strategy::at_path;

/// The group of the definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";

/// Their plural name.
pub(crate) const PLURAL: &str = "customresourcedefinitions";

/// Keeps a definition until its instances are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
