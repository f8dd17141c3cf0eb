//! The engine over planner, walk and records: what the server follows scores with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_plan::{Blueprint, Call, Intent, Mode, Operation, Problem, Source};
use kube::Client;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::engine::{Ended, Engine, Fault, Files, Id, Made, Said, Standing, Want};
use crate::definition::{Definition, plain};
use crate::execute::{self, Done};
use crate::planner::{self, PlanOptions};
use crate::records::{self, Decision, Records};
use crate::snapshot;
use crate::system::{Environment, System};

/// Plans and carries out in this process.
pub struct Runner {
    client: Client,
    environment: Environment,
    author: String,
    /// Where snapshots are unpacked.
    unpacked: PathBuf,
}

/// A system with the directories it reads from.
struct Kept {
    system: System,
    _unpacked: Vec<TempDir>,
}

impl Runner {
    /// An engine that acts as `author`, the name the server knows `client` under. Snapshots are unpacked below a directory,
    /// which is emptied first.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(
        client: Client,
        environment: Environment,
        author: String,
        unpacked: PathBuf,
    ) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        match std::fs::remove_dir_all(&unpacked) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&unpacked)?;
        Ok(Self {
            client,
            environment,
            author,
            unpacked,
        })
    }

    fn records(&self, score: &Id) -> Records {
        Records::new(self.client.clone(), score.namespace.clone())
    }

    fn environment(&self, score: &Id, prune: Option<bool>) -> Environment {
        let mut environment = self.environment.clone();
        environment.prune = prune;
        if environment.terraform.namespace != score.namespace {
            let mut terraform = (*environment.terraform).clone();
            terraform.namespace.clone_from(&score.namespace);
            environment.terraform = Arc::new(terraform);
        }
        environment
    }

    async fn unpack(&self, archive: Vec<u8>) -> Result<TempDir, Fault> {
        let place = self.unpacked.clone();
        let work = tokio::task::spawn_blocking(move || {
            let dir = tempfile::tempdir_in(&place)
                .map_err(|error| Fault::Records(format!("making a directory: {error}")))?;
            snapshot::unpack(&archive, dir.path()).map_err(|error| {
                Fault::Records(format!(
                    "unpacking the sources of a revision: {}",
                    chain(&error)
                ))
            })?;
            Ok(dir)
        });
        work.await
            .unwrap_or_else(|ended| Err(Fault::Records(ended.to_string())))
    }

    /// What a revision was made of.
    async fn snapshot(&self, score: &Id, revision: u64) -> Result<Option<TempDir>, Fault> {
        match read(self.records(score).snapshot(&score.name, revision).await)? {
            Some(archive) => Ok(Some(self.unpack(archive).await?)),
            None => Ok(None),
        }
    }

    async fn read(&self, directory: &Path, score: &Id) -> Result<Definition, Fault> {
        let (directory, name) = (directory.to_owned(), score.name.clone());
        let read = tokio::task::spawn_blocking(move || Definition::read_as(&directory, &name));
        match read.await {
            Ok(read) => read.map_err(Fault::Problems),
            Err(ended) => Err(Fault::Records(ended.to_string())),
        }
    }

    /// A system of these files; with the parts of a former revision that it no longer has, if one is named.
    async fn open(
        &self,
        score: &Id,
        directory: &Path,
        former: Option<u64>,
        prune: Option<bool>,
        unpacked: &mut Vec<TempDir>,
    ) -> Result<System, Fault> {
        let environment = self.environment(score, prune);
        let definition = self.read(directory, score).await?;
        let system = System::open(definition, &environment)
            .await
            .map_err(Fault::Problems)?;
        let Some(revision) = former.filter(|revision| *revision > 0) else {
            return Ok(system);
        };
        let Some(dir) = self.snapshot(score, revision).await? else {
            return Ok(system);
        };
        let former = self.read(dir.path(), score).await?;
        unpacked.push(dir);
        system
            .with_former(&former, &environment)
            .await
            .map_err(Fault::Problems)
    }

    async fn draw(&self, want: Want) -> Result<Made, Fault> {
        let records = self.records(&want.score);
        let parent = read(records.revision(&want.score.name).await)?;
        let mut unpacked = Vec::new();
        let (directory, former) = match want.files {
            Files::Directory(directory) => (directory, Some(parent)),
            Files::Snapshot(revision) => {
                let mut found = self.snapshot(&want.score, revision).await?;
                if found.is_none()
                    && let Source::Revision { revision } = want.source
                {
                    // An operation that was cut off before its sources were kept.
                    found = self.snapshot(&want.score, revision).await?;
                }
                let Some(dir) = found else {
                    return Err(Fault::Problems(vec![plain(format!(
                        "the sources of {}-{revision} are gone",
                        want.score.name
                    ))]));
                };
                let directory = dir.path().to_owned();
                unpacked.push(dir);
                // What the present revision has, it has.
                (directory, (revision != parent).then_some(parent))
            }
        };
        // What is no longer wanted is not pruned by a heal: its revision did that.
        let former = former.filter(|_| want.prune != Some(false) && want.mode != Mode::Heal);
        let system = self
            .open(&want.score, &directory, former, want.prune, &mut unpacked)
            .await?;
        let options = PlanOptions {
            mode: want.mode,
            author: self.author.clone(),
            source: want.source,
            parent,
            only: want.only,
            cancel: want.cancel,
        };
        let blueprint = planner::plan(&system, options)
            .await
            .map_err(Fault::Problems)?;
        Ok(Made {
            id: blueprint.id(),
            blueprint,
            kept: Box::new(Kept {
                system,
                _unpacked: unpacked,
            }),
        })
    }

    async fn go(
        &self,
        score: &Id,
        system: &System,
        blueprint: &Blueprint,
        cause: Option<String>,
        cancel: &CancellationToken,
    ) -> Result<Ended, Fault> {
        let records = self.records(score);
        let options = execute::Options {
            records: &records,
            watcher: &(),
            author: self.author.clone(),
            cause,
            cancel: cancel.clone(),
        };
        let done = execute::carry_out(system, blueprint, options).await;
        done.map(ended).map_err(refused)
    }

    /// The system a blueprint was made of, from an archive of its sources.
    async fn rebuild(
        &self,
        score: &Id,
        archive: Option<Vec<u8>>,
        blueprint: &Blueprint,
    ) -> Result<Kept, Fault> {
        let Some(archive) = archive else {
            return Err(Fault::Problems(vec![plain(format!(
                "the sources of the plan of {} are gone",
                score.name
            ))]));
        };
        let mut unpacked = Vec::new();
        let dir = self.unpack(archive).await?;
        // Parts that left the score are in the blueprint, with what they are to be: gone.
        let leaving = blueprint
            .parts
            .iter()
            .any(|part| part.intent == Intent::Destroy);
        let former =
            (leaving && blueprint.mode != Mode::Destroy).then_some(blueprint.parent.revision);
        let system = self
            .open(score, dir.path(), former, None, &mut unpacked)
            .await?;
        unpacked.push(dir);
        Ok(Kept {
            system,
            _unpacked: unpacked,
        })
    }

    async fn blueprint(&self, score: &Id, id: &str) -> Result<Blueprint, Fault> {
        read(self.records(score).blueprint(id).await)?
            .ok_or_else(|| Fault::Problems(vec![plain(format!("the blueprint {id} is gone"))]))
    }
}

impl Engine for Runner {
    fn author(&self) -> &str {
        &self.author
    }

    fn standing<'a>(&'a self, score: &'a Id) -> Call<'a, Result<Standing, Fault>> {
        Box::pin(async move {
            let records = self.records(score);
            let latest = read(records.latest(&score.name).await)?;
            let walked = read(records.locked(&score.name).await)?.is_some();
            Ok(Standing { latest, walked })
        })
    }

    fn plan(&self, want: Want) -> Call<'_, Result<Made, Fault>> {
        Box::pin(self.draw(want))
    }

    fn store<'a>(&'a self, score: &'a Id, made: &'a Made) -> Call<'a, Result<(), Fault>> {
        Box::pin(async move {
            let kept = kept(made)?;
            let records = self.records(score);
            execute::keep(&kept.system, &made.blueprint, &records)
                .await
                .map(|_| ())
                .map_err(refused)
        })
    }

    fn said<'a>(&'a self, score: &'a Id, blueprint: &'a str) -> Call<'a, Result<Said, Fault>> {
        Box::pin(async move {
            let approval = read(self.records(score).approval(blueprint).await)?;
            Ok(match approval {
                None => Said::Nothing,
                Some(approval) if approval.decision == Decision::Approve => {
                    Said::Approved(approval.by)
                }
                Some(approval) if approval.reason.is_empty() => {
                    Said::Rejected(format!("by {}", approval.by))
                }
                Some(approval) => {
                    Said::Rejected(format!("by {}: {}", approval.by, approval.reason))
                }
            })
        })
    }

    fn carry_out<'a>(
        &'a self,
        score: &'a Id,
        made: Made,
        cause: Option<String>,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>> {
        Box::pin(async move {
            let kept = kept(&made)?;
            self.go(score, &kept.system, &made.blueprint, cause, cancel)
                .await
        })
    }

    fn carry_out_stored<'a>(
        &'a self,
        score: &'a Id,
        blueprint: &'a str,
        cause: Option<String>,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>> {
        Box::pin(async move {
            let id = blueprint;
            let blueprint = self.blueprint(score, id).await?;
            let archive = read(self.records(score).sources(id).await)?;
            let kept = self.rebuild(score, archive, &blueprint).await?;
            self.go(score, &kept.system, &blueprint, cause, cancel)
                .await
        })
    }

    fn resume<'a>(
        &'a self,
        score: &'a Id,
        revision: u64,
        cancel: &'a CancellationToken,
    ) -> Call<'a, Result<Ended, Fault>> {
        Box::pin(async move {
            let records = self.records(score);
            let found = read(records.operation(&score.name, revision).await)?;
            let operation: Operation = found.ok_or_else(|| {
                Fault::Problems(vec![plain(format!(
                    "the operation {}-{revision} is gone",
                    score.name
                ))])
            })?;
            let blueprint = self.blueprint(score, &operation.blueprint).await?;
            let mut archive = read(records.snapshot(&score.name, revision).await)?;
            if archive.is_none() {
                archive = read(records.sources(&operation.blueprint).await)?;
            }
            if archive.is_none()
                && let Source::Revision { revision } = operation.source
            {
                archive = read(records.snapshot(&score.name, revision).await)?;
            }
            let kept = self.rebuild(score, archive, &blueprint).await?;
            let options = execute::Options {
                records: &records,
                watcher: &(),
                author: self.author.clone(),
                cause: operation.cause.clone(),
                cancel: cancel.clone(),
            };
            let done = execute::resume(&kept.system, &blueprint, &operation, options).await;
            done.map(ended).map_err(refused)
        })
    }
}

fn ended(done: Done) -> Ended {
    Ended {
        operation: done.operation,
        problems: done.carried.problems,
    }
}

fn kept(made: &Made) -> Result<&Kept, Fault> {
    made.kept
        .downcast_ref::<Kept>()
        .ok_or_else(|| Fault::Records("the plan was made by another engine".to_owned()))
}

/// What was read of the records.
fn read<T>(read: Result<T, records::Error>) -> Result<T, Fault> {
    read.map_err(|error| recorded(&error))
}

fn recorded(error: &records::Error) -> Fault {
    Fault::Records(chain(error))
}

fn refused(error: execute::Error) -> Fault {
    match error {
        execute::Error::Stale(stale) => Fault::Stale(one_line(&stale.to_string())),
        execute::Error::Held(_) => Fault::Busy,
        execute::Error::Problems(problems) => Fault::Problems(problems),
        execute::Error::Records(error) => recorded(&error),
        other => Fault::Problems(vec![Problem {
            summary: one_line(&chain(&other)),
            ..Problem::default()
        }]),
    }
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
