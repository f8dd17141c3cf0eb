//! Letting go of what is old.

use std::collections::HashSet;

use consort_plan::Phase;
use futures::TryStreamExt as _;
use kube::api::DeleteParams;

use super::operation::name;
use super::{Error, Kind, Records, code, doing};

/// How many operations of a score are kept.
pub const HISTORY: usize = 500;

/// How many blueprints are kept that were never carried out and no longer can be.
const OVERTAKEN: usize = 20;

impl Records {
    /// Deletes the oldest operations of a score but for so many, with their records, sources, blueprints and approvals; and
    /// blueprints that came to nothing, but for the latest. Operations under way stay, and so does what can still be
    /// carried out. Gives how many objects it deleted.
    pub async fn prune(&self, score: &str, keep: usize) -> Result<usize, Error> {
        let operations = self.operations(score).await?;
        let present = operations.last().map_or(0, |last| last.revision);
        let surplus = operations.len().saturating_sub(keep.max(1));
        let (old, kept) = operations.split_at(surplus);
        let mut old_names = Vec::new();
        let mut used: HashSet<&str> = kept.iter().map(|it| it.blueprint.as_str()).collect();
        for operation in old {
            if operation.phase == Phase::Running {
                used.insert(&operation.blueprint);
            } else {
                old_names.push(name(score, operation.revision));
            }
        }
        let was_used: HashSet<&str> = old.iter().map(|it| it.blueprint.as_str()).collect();
        let mut gone = Vec::new();
        let mut overtaken = Vec::new();
        for blueprint in self.blueprints(score).await? {
            if used.contains(blueprint.id.as_str()) || blueprint.parent >= present {
                continue;
            }
            if was_used.contains(blueprint.id.as_str()) {
                gone.push(blueprint.id);
            } else {
                overtaken.push(blueprint.id);
            }
        }
        overtaken.truncate(overtaken.len().saturating_sub(OVERTAKEN));
        gone.extend(overtaken);
        self.delete_all(Kind::Operation, &old_names).await?;
        self.delete_all(Kind::Blueprint, &gone).await?;
        Ok(old_names.len() + gone.len())
    }

    async fn delete_all(&self, kind: Kind, names: &[String]) -> Result<(), Error> {
        let objects = self.objects(kind);
        futures::stream::iter(names.iter().map(Ok))
            .try_for_each_concurrent(4, |name| {
                let objects = &objects;
                async move {
                    match objects.delete(name, &DeleteParams::background()).await {
                        Err(error) if code(&error) == Some(404) => Ok(()),
                        deleted => {
                            let about = || format!("deleting the {} {name}", kind.name());
                            doing(about, deleted).map(|_| ())
                        }
                    }
                }
            })
            .await
    }
}
