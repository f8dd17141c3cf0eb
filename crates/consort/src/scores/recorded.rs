//! What is recorded of scores, by the words people use for it.

use consort_plan::{Blueprint, Operation};

use super::{Workplace, failure};
use crate::error::{Failure, Kind, Result};

/// All operations, by score and then the oldest first; none where the server knows no scores.
pub(crate) async fn operations(place: &Workplace) -> Result<Vec<Operation>> {
    place
        .records
        .all_operations()
        .await
        .map_err(|error| failure(&error))
}

/// A plan by its id; none if the server keeps no such plan.
pub(crate) async fn blueprint(place: &Workplace, id: &str) -> Result<Option<Blueprint>> {
    let found = place.records.blueprint(id).await;
    found.map_err(|error| failure(&error))
}

/// The plan an operation carried out.
pub(crate) async fn blueprint_of(place: &Workplace, operation: &Operation) -> Result<Blueprint> {
    blueprint(place, &operation.blueprint)
        .await?
        .ok_or_else(|| {
            Failure::new(
                Kind::Failed,
                format!(
                    "the blueprint {} of {} is not kept any more",
                    operation.blueprint,
                    name(operation)
                ),
            )
            .hint("see `consort history`")
        })
}

/// The name of an operation: `shop-4`.
pub(crate) fn name(operation: &Operation) -> String {
    format!("{}-{}", operation.score, operation.revision)
}

/// The operation that `4` (of `score`, or of the only score there is), `shop-4` or `shop` (its latest) names.
pub(crate) fn named<'o>(
    operations: &'o [Operation],
    word: &str,
    score: Option<&str>,
) -> Result<Option<&'o Operation>> {
    if let Ok(revision) = word.parse::<u64>() {
        let score = match score {
            Some(score) => score,
            None => only(operations)?,
        };
        let found = operations
            .iter()
            .find(|operation| operation.score == score && operation.revision == revision);
        return match found {
            Some(found) => Ok(Some(found)),
            None => {
                let known: Vec<u64> = operations
                    .iter()
                    .filter(|operation| operation.score == score)
                    .map(|operation| operation.revision)
                    .collect();
                let hint = match (known.first(), known.last()) {
                    (Some(first), Some(last)) => format!("it has the revisions {first} to {last}"),
                    _ => "see `consort history`".to_owned(),
                };
                Err(
                    Failure::new(Kind::Input, format!("{score} has no revision {revision}"))
                        .hint(hint),
                )
            }
        };
    }
    Ok(operations
        .iter()
        .find(|operation| name(operation) == word)
        .or_else(|| {
            operations
                .iter()
                .rev()
                .find(|operation| operation.score == word)
        }))
}

/// The only score there is.
pub(crate) fn only(operations: &[Operation]) -> Result<&str> {
    let mut scores: Vec<&str> = operations
        .iter()
        .map(|operation| operation.score.as_str())
        .collect();
    scores.dedup();
    match scores.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::new(
            Kind::Input,
            "no operation of a score is recorded here",
        )),
        several => Err(
            Failure::new(Kind::Usage, "which score is meant? There are several")
                .hint(format!("name one of {}", several.join(", "))),
        ),
    }
}
