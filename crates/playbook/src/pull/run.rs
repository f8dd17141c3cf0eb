//! A run in a process of its own, seen from who wants it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::child::{ARGUMENT, Told};
use super::job::Job;
use super::outcome::{Outcome, short};
use crate::connection::process::Group;

/// So much of an answer is read.
const MOST_ANSWER: u64 = 4 << 20;
/// So much of what the process complains of is kept.
const MOST_COMPLAINT: u64 = 64 << 10;
/// How long what a process that has ended wrote may take to be read.
const PIPES: Duration = Duration::from_secs(2);
/// How long a run that is told to end may take: it ends what it has started.
const GRACE: Duration = Duration::from_secs(10);

/// A run that is wanted.
#[derive(Clone, Debug)]
pub struct Task {
    /// The program: one that asks [`super::called`] first of all.
    pub program: PathBuf,
    /// What is run.
    pub job: Job,
    /// The file that is locked while the process works.
    pub lock: PathBuf,
    /// The file what happens is written to, as `ansible-playbook` prints it.
    pub log: Option<PathBuf>,
    /// How long it may take.
    pub limit: Duration,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process could not be started.
    #[error("starting {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long, and was ended.
    #[error("it was ended because it took longer than {0:?}")]
    TimedOut(Duration),
    /// It was ended because nobody wants it any more.
    #[error("it was ended before it was done")]
    Cancelled,
    /// The process ended without an outcome.
    #[error("its process ended with {status}: {said}")]
    Broken {
        /// How.
        status: String,
        /// What it said.
        said: String,
    },
}

/// Runs it to its end, or until `cancel`. Dropped, it ends the process at once.
///
/// # Errors
/// When there is no outcome. What goes wrong with the playbook is part of the outcome.
pub async fn run(task: &Task, cancel: &CancellationToken) -> Result<Outcome, Error> {
    let mut child = tokio::process::Command::new(&task.program)
        .arg(ARGUMENT)
        .env_clear()
        .envs(&task.job.environment)
        .current_dir(&task.job.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Start {
            program: task.program.clone(),
            source,
        })?;
    let mut group = Group::of(&child);
    let mut stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let told = Told {
        job: task.job.clone(),
        lock: task.lock.clone(),
        log: task.log.clone(),
    };
    // A job is made of texts and numbers: it has a JSON form.
    let mut line = serde_json::to_vec(&told).unwrap_or_default();
    line.push(b'\n');
    if let Some(stdin) = &mut stdin {
        // Whoever ends early says why.
        let _ = stdin.write_all(&line).await;
    }
    let work = async {
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let status = {
            let pipes = async {
                tokio::join!(
                    take(stdout, MOST_ANSWER, &mut answer),
                    take(stderr, MOST_COMPLAINT, &mut complaint),
                );
            };
            tokio::pin!(pipes);
            tokio::select! {
                () = &mut pipes => child.wait().await,
                status = child.wait() => {
                    // What runs on in the background may hold them open for ever.
                    let _ = tokio::time::timeout(PIPES, &mut pipes).await;
                    status
                }
            }
        };
        (status, answer, complaint)
    };
    tokio::pin!(work);
    let (ended, why) = tokio::select! {
        ended = &mut work => (Some(ended), None),
        () = tokio::time::sleep(task.limit) => (None, Some(Error::TimedOut(task.limit))),
        () = cancel.cancelled() => (None, Some(Error::Cancelled)),
    };
    if let Some(why) = why {
        // The end of its input tells it to end; it ends what it has started itself.
        drop(stdin);
        if tokio::time::timeout(GRACE, &mut work).await.is_ok() {
            group.done();
        }
        return Err(why);
    }
    group.done();
    let Some((status, answer, complaint)) = ended else {
        return Err(Error::Cancelled);
    };
    if let Ok(outcome) = serde_json::from_slice(&answer) {
        return Ok(outcome);
    }
    Err(Error::Broken {
        status: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
        said: short(&String::from_utf8_lossy(&complaint)),
    })
}

/// Reads to the end and keeps the first bytes.
async fn take<R: tokio::io::AsyncRead + Unpin>(source: Option<R>, most: u64, kept: &mut Vec<u8>) {
    if let Some(mut source) = source {
        // What was read before an error is what there is.
        let _ = (&mut source).take(most).read_to_end(kept).await;
        let _ = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
    }
}
