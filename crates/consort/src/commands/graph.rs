//! `consort graph`: what depends on what.

use std::path::Path;

use consort_plan::Mode;
use consort_score::Definition;
use consort_score::graph::Drawing as Picture;

use crate::cli::{Graph, GraphFormat};
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::scores::{Drawing, Workplace, draw, failure, interrupted, problems, recorded};
use crate::settings::Configuration;

/// Draws a plan, or how the last operation of a score went.
pub(super) async fn run(configuration: &Configuration, args: Graph) -> Result<()> {
    if args.plan {
        let dir = args.what.as_deref().unwrap_or(".");
        let definition = Definition::read(Path::new(dir)).map_err(|found| problems(&found))?;
        let mut place = Workplace::find(configuration, &args.target).await?;
        if args.target.namespace.is_none() {
            place.for_score(&definition.namespace);
        }
        let (cancel, _watching) = interrupted()?;
        let drawing = Drawing {
            definition,
            mode: Mode::Apply,
            source: None,
            only: None,
            settle: false,
            cancel,
        };
        let drawn = draw(&place, drawing).await;
        if let Ok(drawn) = &drawn {
            print(Picture::of_plan(&drawn.blueprint), &args);
        }
        place.close().await;
        return drawn.map(drop);
    }
    let place = Workplace::find_running(configuration, &args.target).await?;
    let operations = recorded::operations(&place).await?;
    let operation = match &args.what {
        None => {
            let score = recorded::only(&operations)?;
            recorded::named(&operations, score, None)?
        }
        Some(word) => match recorded::named(&operations, word, None)? {
            Some(operation) => Some(operation),
            None => operations
                .iter()
                .find(|operation| operation.blueprint == *word),
        },
    };
    match operation {
        Some(operation) => {
            let blueprint = recorded::blueprint_of(&place, operation).await?;
            let entries = place
                .records
                .entries(&operation.score, operation.revision)
                .await
                .map_err(|error| failure(&error))?;
            print(Picture::of_operation(&blueprint, &entries), &args);
        }
        None => {
            let id = args.what.as_deref().unwrap_or_default();
            let found = recorded::blueprint(&place, id).await?;
            let blueprint = found.ok_or_else(|| {
                Failure::new(
                    Kind::Input,
                    format!("{id:?} is no score, operation or plan that is recorded"),
                )
                .hint("see `consort history`, or draw a directory with --plan")
            })?;
            print(Picture::of_plan(&blueprint), &args);
        }
    }
    Ok(())
}

fn print(picture: Picture<'_>, args: &Graph) {
    let picture = if args.changes {
        picture.only_changes()
    } else {
        picture
    };
    output::print(&match args.format {
        GraphFormat::Dot => picture.dot(),
        GraphFormat::Mermaid => picture.mermaid(),
        GraphFormat::Json => format!("{}\n", picture.json()),
    });
}
