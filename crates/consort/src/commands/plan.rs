//! `consort plan`: what would be done, and how far it reaches.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use consort_plan::Mode;
use consort_score::{Definition, execute, render, saved};

use crate::cli::Plan;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::render::style;
use crate::scores::{Drawing, Workplace, draw, interrupted, problems, refused};
use crate::settings::Configuration;

/// Plans a score and shows the plan. On a server that stays it is also stored, so that it can be approved and carried out
/// by its id. A plan that policies deny ends the command with their code.
pub(super) async fn run(configuration: &Configuration, args: Plan) -> Result<()> {
    let definition = Definition::read(&args.dir).map_err(|found| problems(&found))?;
    for name in &args.parts {
        if !definition.parts.iter().any(|part| part.name == *name) {
            let names: Vec<&str> = definition.parts.iter().map(|part| &*part.name).collect();
            return Err(
                Failure::new(Kind::Usage, format!("the score has no part {name:?}"))
                    .hint(format!("its parts are: {}", names.join(", "))),
            );
        }
    }
    let mut place = Workplace::find(configuration, &args.target).await?;
    if args.target.namespace.is_none() {
        place.for_score(&definition.namespace);
    }
    let (cancel, _watching) = interrupted()?;
    let drawn = draw(
        &place,
        Drawing {
            definition,
            mode: if args.destroy {
                Mode::Destroy
            } else {
                Mode::Apply
            },
            source: None,
            only: (!args.parts.is_empty()).then(|| args.parts.iter().cloned().collect()),
            settle: false,
            cancel,
        },
    )
    .await;
    let drawn = match drawn {
        Ok(drawn) => drawn,
        Err(failure) => {
            place.close().await;
            return Err(failure);
        }
    };
    let blueprint = &drawn.blueprint;
    let mut shown = style();
    shown.full = args.full;
    if args.json {
        output::print(&format!("{}\n", render::plan_json(blueprint)));
    } else {
        output::print(&render::plan(blueprint, &shown));
    }
    if let Some(file) = &args.output {
        let sources = execute::sources(&drawn.system).await;
        let sources = sources.map_err(|error| refused(&error))?;
        save(&saved::to_bytes(blueprint, &sources), file)?;
        if !args.json {
            output::print(&format!(
                "\nSaved; carry it out with: consort apply {}\n",
                file.display()
            ));
        }
    }
    let worth = !blueprint.is_empty() && !blueprint.is_denied();
    if place.lasting && worth {
        // Who may only look gets a plan all the same.
        match execute::keep(&drawn.system, blueprint, &place.records).await {
            Ok(id) if !args.json => {
                let mut text = String::new();
                if blueprint.blast.needs_approval {
                    text.push_str(&format!("\nIt needs an approval: consort approve {id}"));
                }
                if args.output.is_none() || blueprint.blast.needs_approval {
                    text.push_str(&format!("\nCarry it out with: consort apply {id}\n"));
                }
                output::print(&text);
            }
            Ok(_) => {}
            Err(error) => eprintln!(
                "{} the plan could not be stored on the server: {error}",
                output::cyan("warning:")
            ),
        }
    }
    let denied = blueprint.is_denied();
    let verdicts = blueprint.verdicts.clone();
    drop(drawn);
    place.close().await;
    if denied {
        let denials = verdicts
            .into_iter()
            .filter(|verdict| verdict.kind == consort_plan::VerdictKind::Deny)
            .collect();
        return Err(refused(&execute::Error::Denied(denials)));
    }
    Ok(())
}

/// Writes a plan, which may hold secrets, for its owner alone; it appears whole or not at all.
fn save(bytes: &[u8], path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| {
        Failure::new(
            Kind::Failed,
            format!("saving the plan to {}: {error}", path.display()),
        )
    };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}
