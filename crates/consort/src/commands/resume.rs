//! `consort resume`.

use consort_plan::Operation;

use crate::cli::Resume;
use crate::error::{Failure, Kind, Result};
use crate::render::Manner;
use crate::scores::{Workplace, carry_out, failure, finished, interrupted, of_operation};
use crate::settings::Configuration;

/// Goes on with an operation where its record ends.
pub(super) async fn run(configuration: &Configuration, args: Resume) -> Result<()> {
    let place = Workplace::find_running(configuration, &args.target).await?;
    let operation = find(&place, &args.operation).await?;
    let (cancel, _watching) = interrupted()?;
    let drawn = of_operation(&place, &operation).await?;
    let done = carry_out(
        &place,
        &drawn,
        Some(&operation),
        &cancel,
        Manner::suits(args.json),
    )
    .await?;
    finished(&place, &done, args.json).await
}

/// An operation by its name, or the latest of a score.
async fn find(place: &Workplace, name: &str) -> Result<Operation> {
    let records = &place.records;
    if let Some((score, revision)) = name.rsplit_once('-')
        && let Ok(revision) = revision.parse::<u64>()
        && let Some(operation) = records
            .operation(score, revision)
            .await
            .map_err(|error| failure(&error))?
    {
        return Ok(operation);
    }
    let latest = records
        .latest(name)
        .await
        .map_err(|error| failure(&error))?;
    latest.ok_or_else(|| {
        Failure::new(
            Kind::Input,
            format!("the server knows no operation {name:?}"),
        )
        .hint("see `consort history`")
    })
}
