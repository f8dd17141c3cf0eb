//! Server-side apply: who owns which fields of an object, and what becomes of it when one of them applies a
//! configuration.
//!
//! Every write has a manager. An update makes its manager the owner of what it changed; an apply makes its
//! manager the owner of all it mentions, and is refused where that would change what others own
//! ([`Conflicts`]). What a manager applied once and leaves out now is removed, unless someone else owns it too.
//! The owners stand in `metadata.managedFields` ([`ManagedFields`]), their fields as [`FieldSet`]s. How values
//! merge is the schema's to say ([`Shape`](crate::schema::shape::Shape)).
//!
//! The rules, the order of everything and all wording follow upstream's structured-merge-diff and
//! apimachinery's `managedfields`.

mod compare;
mod conflict;
mod element;
mod fields;
mod last_applied;
mod managed;
mod merge;
mod owners;
mod prune;
mod reconcile;
mod remove;
mod scale;
mod set;
mod validate;

pub use compare::{Comparison, compare};
pub use conflict::{Conflict, Conflicts};
pub use element::{Element, Scalar, Unkeyed};
pub use fields::fields_of;
pub use managed::{Entry, ManagedFields, Operation, Owner, is_reset, same_but_times};
pub use merge::merge;
pub use owners::{Error, OneVersion, Versions, Write, apply, update};
pub use remove::only;
pub use scale::{from_scale, to_scale};
pub use set::{FieldSet, Path};
pub use validate::{Unmergeable, validate};
