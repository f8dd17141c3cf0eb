//! Kubernetes objects as a layer: read from files, planned by dry run, applied with field ownership, awaited and
//! pruned.

mod part;
mod spec;

pub use part::Manifests;
pub use spec::{
    FieldOf, Generated, IgnoreDifference, OutputField, Paths, Replacement, Spec, Target,
};
