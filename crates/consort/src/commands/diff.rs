//! `consort diff`: what differs between two recorded states of a score.

use std::collections::BTreeMap;

use consort_plan::{Blueprint, Entry, Operation};
use consort_score::{diff, snapshot};

use crate::cli::Diff;
use crate::error::{Failure, Kind, Result, chain};
use crate::output;
use crate::render::style;
use crate::scores::{Workplace, failure, recorded};
use crate::settings::Configuration;

/// A state: what a score was at a revision, and what a plan would make of that.
struct State {
    score: String,
    revision: u64,
    plan: Option<Blueprint>,
    /// The blueprint's id, if it is a plan's state.
    id: Option<String>,
    title: String,
}

/// Compares two states.
pub(super) async fn run(configuration: &Configuration, args: Diff) -> Result<()> {
    let place = Workplace::find_running(configuration, &args.target).await?;
    let operations = recorded::operations(&place).await?;
    let from = state(&place, &operations, &args.from, args.score.as_deref()).await?;
    let to = state(&place, &operations, &args.to, args.score.as_deref()).await?;
    if from.score != to.score {
        return Err(Failure::new(
            Kind::Usage,
            format!(
                "{} and {} are of different scores: {} and {}",
                args.from, args.to, from.score, to.score
            ),
        ));
    }
    // The way from one to the other: back over the first plan, over the operations between them, and over the second.
    let (low, high) = (
        from.revision.min(to.revision),
        from.revision.max(to.revision),
    );
    let mut between: Vec<(Blueprint, Vec<Entry>)> = Vec::new();
    for operation in operations.iter().filter(|operation| {
        operation.score == from.score && operation.revision > low && operation.revision <= high
    }) {
        let blueprint = recorded::blueprint_of(&place, operation).await?;
        let entries = place
            .records
            .entries(&operation.score, operation.revision)
            .await
            .map_err(|error| failure(&error))?;
        between.push((blueprint, entries));
    }
    let back = from.revision > to.revision;
    if back {
        between.reverse();
    }
    let mut way = Vec::new();
    if let Some(blueprint) = &from.plan {
        way.push(diff::Step {
            blueprint,
            entries: None,
            back: true,
        });
    }
    way.extend(between.iter().map(|(blueprint, entries)| diff::Step {
        blueprint,
        entries: Some(entries),
        back,
    }));
    if let Some(blueprint) = &to.plan {
        way.push(diff::Step {
            blueprint,
            entries: None,
            back: false,
        });
    }
    let difference = diff::difference(&way);
    let mut shown = style();
    shown.full = args.full;
    let sources = if args.sources {
        Some(diff::sources(
            &sources(&place, &from).await?,
            &sources(&place, &to).await?,
        ))
    } else {
        None
    };
    if args.json {
        let mut value = difference.json(&from.title, &to.title);
        if let (Some(object), Some(sources)) = (value.as_object_mut(), sources) {
            object.insert("sources".to_owned(), sources.into());
        }
        output::print(&format!("{value}\n"));
    } else {
        output::print(&difference.text(&from.title, &to.title, &shown));
        if let Some(sources) = sources {
            output::print(&format!("\n{sources}"));
        }
    }
    Ok(())
}

async fn state(
    place: &Workplace,
    operations: &[Operation],
    word: &str,
    score: Option<&str>,
) -> Result<State> {
    if word == "0" {
        let score = match score {
            Some(score) => score,
            None => recorded::only(operations)?,
        };
        return Ok(State {
            score: score.to_owned(),
            revision: 0,
            plan: None,
            id: None,
            title: format!("{score} before its first operation"),
        });
    }
    let id = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if id {
        // One that was carried out is the state of its revision.
        if let Some(operation) = operations
            .iter()
            .find(|operation| operation.blueprint == word)
        {
            return Ok(of(operation));
        }
        if let Some(blueprint) = recorded::blueprint(place, word).await? {
            return Ok(State {
                score: blueprint.score.clone(),
                revision: blueprint.parent.revision,
                id: Some(word.to_owned()),
                title: format!("plan {word} of {}", blueprint.score),
                plan: Some(blueprint),
            });
        }
    }
    match recorded::named(operations, word, score)? {
        Some(operation) => Ok(of(operation)),
        None => Err(Failure::new(
            Kind::Input,
            format!("{word:?} is no revision and no plan that is kept"),
        )
        .hint("see `consort history`")),
    }
}

fn of(operation: &Operation) -> State {
    State {
        score: operation.score.clone(),
        revision: operation.revision,
        plan: None,
        id: None,
        title: format!("{} revision {}", operation.score, operation.revision),
    }
}

/// The files a state was made of.
async fn sources(place: &Workplace, state: &State) -> Result<BTreeMap<String, Vec<u8>>> {
    let archive = match &state.id {
        Some(id) => place.records.sources(id).await,
        None if state.revision == 0 => return Ok(BTreeMap::new()),
        None => place.records.snapshot(&state.score, state.revision).await,
    }
    .map_err(|error| failure(&error))?;
    let Some(archive) = archive else {
        return Err(Failure::new(
            Kind::Failed,
            format!("the sources of {} are not kept", state.title),
        ));
    };
    let read = tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir()?;
        snapshot::unpack(&archive, dir.path()).map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("unpacking the sources of a revision: {}", chain(&error)),
            )
        })?;
        let mut files = BTreeMap::new();
        let mut open = vec![dir.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    open.push(entry.path());
                } else if kind.is_file() {
                    let path = entry.path();
                    let name = path.strip_prefix(dir.path()).unwrap_or(&path);
                    files.insert(name.display().to_string(), std::fs::read(&path)?);
                }
            }
        }
        Ok::<_, Failure>(files)
    });
    read.await.map_err(anyhow::Error::from)?
}
