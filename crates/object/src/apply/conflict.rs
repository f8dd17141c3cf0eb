//! What an apply would take from others.

use std::fmt::Write as _;

use super::managed::Owner;
use super::set::Path;
use crate::status::{Cause, Status};

/// One field that someone else owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it, as messages name it: `"manager" with subresource "status" using apps/v1`.
    pub owner: String,
    /// The field, such as `.spec.replicas`.
    pub field: String,
    pub(super) path: Path<'static>,
    pub(super) key: String,
}

impl Conflict {
    pub(super) fn new(owner: &Owner<'_>, path: Path<'_>) -> Self {
        Self {
            owner: owner.title(),
            field: path.to_string(),
            path: Path(path.0.into_iter().map(super::Element::into_owned).collect()),
            key: owner.key(),
        }
    }
}

/// All fields an apply would take from others, by owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    pub(super) fn sorted(mut conflicts: Vec<Conflict>) -> Self {
        conflicts.sort_by(|one, other| one.key.cmp(&other.key));
        Self(conflicts)
    }

    fn message(&self) -> String {
        if let [one] = &self.0[..] {
            return format!(
                "Apply failed with 1 conflict: conflict with {}: {}",
                one.owner, one.field
            );
        }
        let mut text = format!("Apply failed with {} conflicts: ", self.0.len());
        let mut last = None;
        for conflict in &self.0 {
            if last != Some(&conflict.key) {
                let line = if last.is_some() { "\n" } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{line}conflicts with {}:", conflict.owner);
                last = Some(&conflict.key);
            }
            let _ = write!(text, "\n- {}", conflict.field);
        }
        text
    }

    /// The answer to the client: 409, each conflict a cause.
    pub fn status(&self) -> Status {
        let causes = self
            .0
            .iter()
            .map(|conflict| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {}", conflict.owner),
                field: conflict.field.clone(),
            })
            .collect();
        Status::apply_conflict(causes, self.message())
    }
}
