//! Kubernetes objects as a layer: read from files, planned by dry run, applied with field ownership, awaited and
//! pruned.
//!
//! ```text
//! files -> source (documents, lines) --+
//! values of other parts -> objects ----+-> what is wanted
//!                                          |        order: what stands on what
//! server -> kinds, live (one list a kind) -+-> ownership: no-op, proven from managedFields
//!                                          |-> dry_run: what would become of the rest
//!                                          +-> plan -> payload -> carrier: apply, ready, delete, gone
//! ```
//!
//! A [`Manifests`] is a `plan::Part`. It speaks to any cluster through `kube::Client` and discovery alone. What belongs
//! to a part carries the labels `consort.dev/score` and `consort.dev/part`, and is applied server-side by the field
//! manager `consort-score`.
//!
//! A plan with nothing to do costs one list a kind: an object whose fields are owned as the files say and have the
//! values the files say needs no question. All others are asked about by a dry run, which also tells what is wrong
//! with them; what cannot be asked about (its namespace, its definition or its cluster is made by the same plan) is
//! tried in another namespace, checked by the definition's schema, or planned as it is written.

mod carrier;
mod dry_run;
mod field;
mod identity;
mod kinds;
mod live;
mod locate;
mod objects;
mod order;
mod ownership;
mod part;
mod payload;
mod plan;
mod ready;
mod references;
mod reversal;
mod seen;
mod server;
mod shared;
mod source;
mod spec;
mod target;

pub use part::Manifests;
pub use ready::{Health, Workload, health};
pub use shared::{Configuration, Use};
pub use spec::{
    FieldOf, Generated, IgnoreDifference, OutputField, Paths, Replacement, Spec, Target,
};
