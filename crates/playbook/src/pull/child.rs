//! The process that runs a playbook for a node.

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::outcome::Outcome;
use super::report::Report;
use crate::output::Callback;
use crate::output::default::{Default as Printed, Options};
use crate::output::display::Display;
use crate::source::{Located, Notice, Notices};

/// The first argument of a process that runs a playbook for a node.
pub const ARGUMENT: &str = "consort-play-pull";

/// The largest job, in bytes.
const MOST: u64 = 16 << 20;
/// How long what still runs in a runtime may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// What such a process is told, as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) job: Job,
    /// The file that is locked while it works.
    pub(super) lock: PathBuf,
    /// The file what happens is written to, as `ansible-playbook` prints it.
    pub(super) log: Option<PathBuf>,
}

/// Runs the playbook of the standard input, if this process was started for that; none if it was not.
pub fn called() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != ARGUMENT {
        return None;
    }
    Some(match main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn main() -> Result<(), String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .take(MOST)
        .read_line(&mut line)
        .map_err(|error| format!("reading the job: {error}"))?;
    let told: Told =
        serde_json::from_str(&line).map_err(|error| format!("reading the job: {error}"))?;
    let ends = CancellationToken::new();
    let over = ends.clone();
    // Whoever started this holds the other end: when it is gone, nobody wants this any more.
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().lock().read(&mut rest), Ok(read) if read > 0) {}
        over.cancel();
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("starting: {error}"))?;
    let outcome = runtime.block_on(work(&told, ends));
    runtime.shutdown_timeout(GRACE);
    let text = serde_json::to_string(&outcome?).map_err(|error| format!("answering: {error}"))?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("answering: {error}"))
}

async fn work(told: &Told, ends: CancellationToken) -> Result<Outcome, String> {
    let path = told.lock.clone();
    let locked = tokio::task::spawn_blocking(move || lock(&path));
    let lock = tokio::select! {
        locked = locked => locked.map_err(|error| error.to_string())??,
        () = ends.cancelled() => {
            // The thread that waits for the lock ends with the process.
            return Err("it was ended while another run held the machine".to_owned());
        }
    };
    let report = Report::new(&told.job.directory);
    let mut callbacks: Vec<Box<dyn Callback>> = vec![Box::new(report.clone())];
    let mut notices: Notices = Arc::new(|_| {});
    if let Some(path) = &told.log {
        let failed = |error: std::io::Error| format!("making the log {}: {error}", path.display());
        let file = create(path).map_err(failed)?;
        let again = || file.try_clone().map_err(failed);
        let display = Display::to(0, None, Box::new(again()?), Box::new(again()?));
        let options = Options {
            check: told.job.check,
            ..Options::default()
        };
        callbacks.push(Box::new(Printed::new(display, options)));
        let beside = Mutex::new(Display::to(
            0,
            None,
            Box::new(std::io::sink()),
            Box::new(file),
        ));
        notices = Arc::new(move |notice| match notice {
            Notice::Warning(what) => beside.lock().warning(&what.text()),
            Notice::Deprecated { what, .. } => beside.lock().deprecation(&what.text()),
            Notice::Detail { .. } => {}
        });
    }
    let run = async { told.job.run()?.prepare(notices)?.run(None, callbacks).await };
    let ended = tokio::select! {
        ended = run => ended,
        () = ends.cancelled() => Err(Located::new("the run was ended").exiting(99)),
        () = terminated() => Err(Located::new("the run was ended by a signal").exiting(99)),
    };
    if let (Err(error), Some(path)) = (&ended, &told.log) {
        // What stops a run as a whole is no callback's to tell.
        let _ = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut log| writeln!(log, "[ERROR]: {}", error.text()));
    }
    drop(lock);
    Ok(report.ended(ended))
}

/// A log that only its owner reads: results may hold what is not for everybody.
fn create(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    std::fs::OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn lock(path: &Path) -> Result<Flock<std::fs::File>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("locking {}: {error}", path.display());
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| failed(&error))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| failed(&error))
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut told) => {
            told.recv().await;
        }
        // Then the signal ends the process at once.
        Err(_) => std::future::pending().await,
    }
}
