//! Schemas of custom resources: the structural part of `JSONSchemaProps` (`apiextensions.k8s.io/v1`).
//!
//! [`Structural::parse`] reads a schema that [`check::schema`] has found good. With it an object is brought
//! into form ([`prune`], [`default`]) and checked ([`validate`], [`lists`], [`embedded`]). What is accepted,
//! the order of the steps and the messages follow upstream's `apiextensions-apiserver` and the validator in
//! `kube-openapi`; patterns are run by an engine of linear time.
//!
//! ```
//! use consort_object::structural::{Structural, default, validate};
//! use serde_json::json;
//!
//! let schema = Structural::parse(&json!({"type": "object", "properties": {"spec": {"type": "object",
//!     "properties": {"size": {"type": "integer", "minimum": 1, "default": 3}}}}}))?;
//! let mut object = json!({"spec": {}});
//! default::fill(&mut object, &schema);
//! assert_eq!(object["spec"]["size"], 3);
//! object["spec"]["size"] = 0.into();
//! let errors = validate::create(&object, &schema, "");
//! assert_eq!(errors[0].to_string(),
//!     "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1");
//! # Ok::<(), String>(())
//! ```

pub mod check;
mod correlate;
pub mod default;
pub mod embedded;
mod format;
pub mod lists;
mod pattern;
mod place;
pub mod prune;
mod schema;
pub mod validate;

pub use correlate::Correlated;
pub use format::recognised as format_recognised;
pub use pattern::{Pattern, compile};
pub use place::Place;
pub use schema::{Additional, Checks, ListType, Structural, Type};

/// The fields of every object that its schema need not name.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];
