//! Whether a blueprint still fits the world it was made from.

use std::fmt;

use crate::blueprint::Blueprint;
use crate::part::{Moved, Part, Problem};

/// A blueprint that no longer fits the world it was made from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stale {
    /// The revision it was made from, and the present one, if they differ.
    pub revisions: Option<(u64, u64)>,
    /// What else has moved, or what made the present revision.
    pub moved: Vec<Moved>,
}

/// So many things that moved are named; the rest is counted.
const NAMED: usize = 20;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the world has moved since the plan was made")?;
        if let Some((then, now)) = self.revisions {
            write!(f, "\n  revision {then} -> {now}")?;
        }
        for moved in self.moved.iter().take(NAMED) {
            write!(f, "\n  {}: {}", moved.what, moved.how)?;
            if let Some(by) = &moved.by {
                write!(f, " by {by}")?;
            }
        }
        match self.moved.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for Stale {}

/// What has moved since a blueprint was made: the revision of its score, which is now `revision`, and what its parts
/// saw. None if it still fits.
///
/// # Errors
/// What kept a part from looking.
pub async fn moved(
    blueprint: &Blueprint,
    parts: &[&dyn Part],
    revision: u64,
) -> Result<Option<Stale>, Vec<Problem>> {
    let mut stale = Stale::default();
    if blueprint.parent.revision != revision {
        stale.revisions = Some((blueprint.parent.revision, revision));
    }
    let looks = parts.iter().filter_map(|part| {
        let seen = blueprint.parent.seen.get(part.name())?;
        Some(part.moved(seen))
    });
    let mut problems = Vec::new();
    for looked in futures::future::join_all(looks).await {
        match looked {
            Ok(moved) => stale.moved.extend(moved),
            Err(told) => problems.extend(told),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let fits = stale.revisions.is_none() && stale.moved.is_empty();
    Ok((!fits).then_some(stale))
}
