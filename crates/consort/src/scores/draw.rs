//! From a directory, a stored plan or an operation to a system that is open, and its plan.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use consort_plan::{Blueprint, Mode, Operation, Source};
use consort_score::planner::{self, PlanOptions};
use consort_score::{Definition, System, execute, snapshot};
use tokio_util::sync::CancellationToken;

use super::{Workplace, failure, problems, recorded};
use crate::error::{Failure, Kind, Result, chain};

/// What is to be planned.
pub(crate) struct Drawing {
    /// The score.
    pub(crate) definition: Definition,
    /// What for.
    pub(crate) mode: Mode,
    /// What it is read from; none for the directory of the definition.
    pub(crate) source: Option<Source>,
    /// Some parts only.
    pub(crate) only: Option<BTreeSet<String>>,
    /// Whether an operation that was cut off is brought to its end first; not where nothing must be changed.
    pub(crate) settle: bool,
    /// Ends the planning early.
    pub(crate) cancel: CancellationToken,
}

/// A plan with the system it is of. Directories that were unpacked for it go with it.
pub(crate) struct Drawn {
    /// The parts.
    pub(crate) system: System,
    /// The plan.
    pub(crate) blueprint: Blueprint,
    /// Directories that were unpacked for it.
    unpacked: Vec<tempfile::TempDir>,
}

/// Plans a score on a server: what its parts say, and that what left it since the last revision goes.
pub(crate) async fn draw(place: &Workplace, drawing: Drawing) -> Result<Drawn> {
    let Drawing {
        definition,
        mode,
        source,
        only,
        settle,
        cancel,
    } = drawing;
    let score = definition.name.clone();
    let mut parent = place
        .records
        .revision(&score)
        .await
        .map_err(|error| failure(&error))?;
    let source = match source {
        Some(source) => source,
        None => directory(&definition).await?,
    };
    let mut unpacked = Vec::new();
    let system = open(place, definition, parent, &mut unpacked).await?;
    if settle
        && let Some(ended) = execute::settle(&system, &place.records, &place.author)
            .await
            .map_err(|error| super::refused(&error))?
    {
        eprintln!(
            "{} {}-{} was cut off; what it had done is kept",
            crate::output::cyan("note:"),
            ended.score,
            ended.revision
        );
        parent = ended.revision;
    }
    let options = PlanOptions {
        mode,
        author: place.author.clone(),
        source,
        parent,
        only,
        cancel,
    };
    let blueprint = planner::plan(&system, options)
        .await
        .map_err(|found| problems(&found))?;
    Ok(Drawn {
        system,
        blueprint,
        unpacked,
    })
}

/// A score opened, with the parts of a former revision that it no longer has.
async fn open(
    place: &Workplace,
    definition: Definition,
    former: u64,
    unpacked: &mut Vec<tempfile::TempDir>,
) -> Result<System> {
    let score = definition.name.clone();
    let system = System::open(definition, &place.environment)
        .await
        .map_err(|found| problems(&found))?;
    if former == 0 {
        return Ok(system);
    }
    let Some(archive) = place
        .records
        .snapshot(&score, former)
        .await
        .map_err(|error| failure(&error))?
    else {
        return Ok(system);
    };
    let dir = unpack(archive).await?;
    let former = Definition::read_as(dir.path(), &score).map_err(|found| problems(&found))?;
    unpacked.push(dir);
    system
        .with_former(&former, &place.environment)
        .await
        .map_err(|found| problems(&found))
}

/// Plans a score that the server knows, by what its latest revision was made of; none if it knows no such score.
pub(crate) async fn draw_known(
    place: &Workplace,
    score: &str,
    mode: Mode,
    cancel: CancellationToken,
) -> Result<Option<Drawn>> {
    let records = &place.records;
    let latest = records
        .latest(score)
        .await
        .map_err(|error| failure(&error))?;
    let Some(latest) = latest else {
        return Ok(None);
    };
    draw_revision(place, score, latest.revision, mode, cancel)
        .await
        .map(Some)
}

/// Plans what a revision of a score was made of.
pub(crate) async fn draw_revision(
    place: &Workplace,
    score: &str,
    revision: u64,
    mode: Mode,
    cancel: CancellationToken,
) -> Result<Drawn> {
    let Some(archive) = place
        .records
        .snapshot(score, revision)
        .await
        .map_err(|error| failure(&error))?
    else {
        return Err(Failure::new(
            Kind::Failed,
            format!("the sources of {score}-{revision} are gone"),
        )
        .hint("name the score's directory"));
    };
    let dir = unpack(archive).await?;
    let definition = Definition::read_as(dir.path(), score).map_err(|found| problems(&found))?;
    let drawing = Drawing {
        definition,
        mode,
        source: Some(Source::Revision { revision }),
        only: None,
        settle: true,
        cancel,
    };
    let mut drawn = draw(place, drawing).await?;
    drawn.unpacked.push(dir);
    Ok(drawn)
}

async fn unpack(archive: Vec<u8>) -> Result<tempfile::TempDir> {
    let unpacked = tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir()?;
        snapshot::unpack(&archive, dir.path()).map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("unpacking the sources of a revision: {}", chain(&error)),
            )
        })?;
        Ok::<_, Failure>(dir)
    });
    unpacked.await.map_err(anyhow::Error::from)?
}

/// What a directory is, for the history: its path, and its commit if nothing in it was changed since.
async fn directory(definition: &Definition) -> Result<Source> {
    let path = match &definition.only {
        Some(file) => definition.directory.join(file),
        None => definition.directory.clone(),
    };
    let path = std::path::absolute(&path).map_err(anyhow::Error::from)?;
    let shown = clean(&path);
    let commit = consort_score::git::commit_of(&definition.directory).await;
    Ok(Source::Directory {
        path: shown.display().to_string(),
        commit,
    })
}

/// The path without steps that lead nowhere.
fn clean(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The system a stored or saved blueprint is of: from the sources saved, else from those kept with it.
pub(crate) async fn of_blueprint(
    place: &Workplace,
    id: &str,
    blueprint: Blueprint,
    saved: Option<Vec<u8>>,
) -> Result<Drawn> {
    let mut kept = saved;
    if kept.is_none() {
        kept = place
            .records
            .sources(id)
            .await
            .map_err(|error| failure(&error))?;
    }
    rebuild(place, kept, blueprint).await
}

/// The system an operation is of, and its blueprint.
pub(crate) async fn of_operation(place: &Workplace, operation: &Operation) -> Result<Drawn> {
    let records = &place.records;
    let blueprint = recorded::blueprint_of(place, operation).await?;
    let mut kept = records
        .snapshot(&operation.score, operation.revision)
        .await
        .map_err(|error| failure(&error))?;
    if kept.is_none() {
        kept = records
            .sources(&operation.blueprint)
            .await
            .map_err(|error| failure(&error))?;
    }
    rebuild(place, kept, blueprint).await
}

/// What is in a directory by now is not what was planned and approved, so nothing else will do.
async fn rebuild(place: &Workplace, kept: Option<Vec<u8>>, blueprint: Blueprint) -> Result<Drawn> {
    let Some(archive) = kept else {
        return Err(Failure::new(
            Kind::Failed,
            format!("the sources of the plan of {} are gone", blueprint.score),
        )
        .hint("make the plan again"));
    };
    let dir = unpack(archive).await?;
    let definition =
        Definition::read_as(dir.path(), &blueprint.score).map_err(|found| problems(&found))?;
    let mut unpacked = vec![dir];
    let system = open(place, definition, blueprint.parent.revision, &mut unpacked).await?;
    Ok(Drawn {
        system,
        blueprint,
        unpacked,
    })
}
