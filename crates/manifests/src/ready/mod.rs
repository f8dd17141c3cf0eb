//! When something that was applied can be said to work.

mod judge;
mod pods;
mod wait;
mod workload;

pub(crate) use judge::{Readiness, judge};
pub(crate) use wait::{gone, ready};
pub use workload::Workload;

use serde_json::Value;

use crate::identity::{Key, text};

/// How an object does, as far as it tells itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// It works, or there is nothing it could tell.
    Well,
    /// Not yet; what is missing.
    Waiting(String),
    /// It will not work by waiting; why.
    Failed(String),
}

/// How a whole object (`apiVersion`, `kind`, `metadata`, `status`) does: by the rules that a step which applies it waits
/// by.
pub fn health(object: &Value) -> Health {
    let version = text(object, &["apiVersion"]);
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let key = Key::new(
        group,
        text(object, &["kind"]),
        text(object, &["metadata", "namespace"]),
        text(object, &["metadata", "name"]),
    );
    match judge(&key, object) {
        Readiness::Ready(_) | Readiness::Unattended(_) => Health::Well,
        Readiness::Waiting(why) => Health::Waiting(why),
        Readiness::Failed(why) => Health::Failed(why),
    }
}
