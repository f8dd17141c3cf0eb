//! `consort history`: what was done to scores.

use std::collections::HashMap;

use consort_score::history::{self, Row};
use consort_score::records::BlueprintSummary;
use consort_score::render;
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::cli::History;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::render::style;
use crate::scores::{Workplace, failure, recorded};
use crate::settings::Configuration;

/// Lists operations, or tells one step by step.
pub(super) async fn run(configuration: &Configuration, args: History) -> Result<()> {
    let place = Workplace::find_running(configuration, &args.target).await?;
    let mut operations = recorded::operations(&place).await?;
    if let Some(what) = &args.what {
        let one = operations
            .iter()
            .find(|operation| recorded::name(operation) == *what);
        if let Some(operation) = one {
            let entries = place
                .records
                .entries(&operation.score, operation.revision)
                .await
                .map_err(|error| failure(&error))?;
            if args.json {
                let value = render::operation_json(operation, &entries);
                output::print(&format!("{value}\n"));
            } else {
                let mut style = style();
                style.full = true;
                output::print(&render::operation(operation, &entries, &style));
            }
            return Ok(());
        }
        operations.retain(|operation| operation.score == *what);
        if operations.is_empty() {
            return Err(
                Failure::new(Kind::Input, format!("nothing is recorded of {what:?}"))
                    .hint("`consort history` without a name lists all there is"),
            );
        }
    }
    operations.sort_by_key(|operation| std::cmp::Reverse((operation.started, operation.revision)));
    if let Some(limit) = args.limit {
        operations.truncate(limit);
    }
    // What each was to change is told by the object of its blueprint.
    let summaries: HashMap<String, BlueprintSummary> =
        futures::stream::iter(operations.iter().map(|operation| {
            let records = &place.records;
            async move { records.blueprint_summary(&operation.blueprint).await }
        }))
        .buffer_unordered(16)
        .filter_map(async |found| found.ok().flatten())
        .map(|summary| (summary.id.clone(), summary))
        .collect()
        .await;
    let rows: Vec<Row> = operations
        .into_iter()
        .map(|operation| {
            let summary = summaries.get(&operation.blueprint);
            Row::of(operation, summary)
        })
        .collect();
    if args.json {
        output::print(&format!("{}\n", history::json(&rows)));
    } else if rows.is_empty() {
        eprintln!("No operation of a score is recorded here.");
    } else {
        output::print(&history::text(&rows, Timestamp::now(), &style()));
    }
    Ok(())
}
