//! The object model: metadata, selectors, schemas, patches and encodings.
//!
//! Everything the API server stores is an [`Object`]: JSON bytes, and a [`Head`] with what selection
//! needs. A body that arrives is JSON or protobuf; [`schema::decode_json`] and [`proto::decode`] turn it into
//! a JSON value in canonical form, driven by one table of facts about upstream's messages
//! ([`Schema::builtin`]). The value is changed by [`patch`]es, checked (each fault is a [`FieldError`]),
//! and sealed into an object when the store has given it a [`Revision`]. What goes wrong on the way is
//! answered with a [`Status`].
//!
//! ```
//! use consort_object::{Gvk, Schema, UnknownFields, schema};
//!
//! let schema = Schema::builtin();
//! let pod = schema.kind(&Gvk::new("", "v1", "Pod")).expect("a built-in kind");
//! let body = br#"{"metadata":{"name":"web"},"spec":{"containers":[],"replica":1}}"#;
//! let checked = schema::decode_json(schema, pod, body, UnknownFields::Warn)?;
//! assert_eq!(checked.warnings, [r#"unknown field "spec.replica""#]);
//! # Ok::<(), schema::DecodeError>(())
//! ```

pub mod apply;
pub mod cron;
mod encodings;
pub mod field_error;
mod head_view;
pub mod int_or_string;
pub mod model;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod proto;
pub mod quantity;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod status;
pub mod structural;
pub mod text;
pub mod time;

pub use encodings::Encodings;
pub use field_error::{FieldError, FieldErrorKind, FieldErrors};
pub use head_view::{HeadView, Selectable};
pub use int_or_string::IntOrString;
pub use model::{Draft, Head, Object, Owner, Revision};
pub use quantity::Quantity;
pub use schema::{Field, Gvk, Message, Schema, UnknownFields};
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Cause, Denied, Details, Status};
