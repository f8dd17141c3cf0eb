//! Jobs in the background: a module that goes on when the controller has left, and a file that tells of it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::files;
use super::message::{Job, Work};
use super::processes::{self, Cancel};
use super::program::Program;
use super::{cache, packed};
use crate::invocation::{Invocation, Report};

/// What the process of a job is given.
#[derive(Serialize, Deserialize)]
struct Order {
    job: Job,
    work: Work,
    /// Where its state is kept.
    file: String,
}

/// Begins a job and gives what is said of it at once.
///
/// # Errors
/// The directory of jobs cannot be made, or no process started.
pub(super) fn start(program: &Program, job: &Job, work: &Work) -> Result<Report, String> {
    let directory = files::expand(&job.directory);
    files::private_directory(&directory).map_err(|error| {
        format!(
            "could not create directory: {}: {error}",
            directory.display()
        )
    })?;
    let path = directory.join(&job.id);
    let file = path.to_string_lossy().into_owned();
    let begun = json!({
        "started": true,
        "finished": false,
        "ansible_job_id": job.id,
        "results_file": file,
    });
    write(&path, &begun).map_err(|error| format!("{file}: {error}"))?;
    let order = serde_json::to_vec(&Order {
        job: job.clone(),
        work: work.clone(),
        file: file.clone(),
    })
    .map_err(|error| error.to_string())?;
    let started = program
        .command("job")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut child| {
            if let Some(mut input) = child.stdin.take() {
                input.write_all(&order)?;
            }
            // it has handed the job on to a process of its own, and ends
            child.wait()
        });
    match started {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("the job did not begin: {status}")),
        Err(error) => return Err(format!("the job did not begin: {error}")),
    }
    let mut report = Report::new();
    report.insert("failed".to_owned(), false.into());
    report.insert("started".to_owned(), true.into());
    report.insert("finished".to_owned(), false.into());
    report.insert("ansible_job_id".to_owned(), job.id.clone().into());
    report.insert("results_file".to_owned(), file.into());
    report.insert("_ansible_suppress_tmpdir_delete".to_owned(), true.into());
    Ok(report)
}

/// Writes the state of a job: who reads it sees the old one or the new one.
fn write(path: &Path, state: &serde_json::Value) -> io::Result<()> {
    files::put(state.to_string().as_bytes(), path, 0o600)
}

/// Hands a job on to a process that belongs to nobody.
///
/// # Errors
/// No process can be started.
pub(super) fn detach(program: &Program) -> io::Result<()> {
    let mut order = Vec::new();
    io::stdin().read_to_end(&mut order)?;
    let mut child = program
        .command("job-run")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&order)?;
    }
    Ok(())
}

/// Runs a job to its end or to the end of its time, and writes down what came of it.
///
/// # Errors
/// The order is not one, or the result cannot be written.
pub(super) fn run(program: &Program) -> io::Result<()> {
    // a session of its own: nothing that ends the login ends the job
    let _ = nix::unistd::setsid();
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let order: Order = serde_json::from_slice(&text)?;
    let path = Path::new(&order.file);
    let cancel = Arc::new(Cancel::default());
    let deadline =
        (order.job.limit > 0).then(|| Instant::now() + Duration::from_secs(order.job.limit));
    let (done, over) = std::sync::mpsc::channel::<()>();
    let ender = Arc::clone(&cancel);
    let clock = thread::spawn(move || {
        let Some(deadline) = deadline else { return };
        let left = deadline.saturating_duration_since(Instant::now());
        if over.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            ender.cancel();
        }
    });
    let mut report = match &order.work {
        Work::Module(invocation) => native(program, invocation, &cancel),
        Work::Packed(call) => {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let package = cache::find(&call.digest, &call.remote_tmp)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
            let status = package.and_then(|package| {
                packed::run(
                    None,
                    call,
                    &package,
                    &cancel,
                    |bytes| out.extend_from_slice(bytes),
                    |bytes| err.extend_from_slice(bytes),
                )
            });
            parsed(&status, &out, &err)
        }
    };
    drop(done);
    let _ = clock.join();
    if cancel.cancelled() {
        report = Report::new();
        report.insert("msg".to_owned(), "Timeout exceeded".into());
        report.insert("failed".to_owned(), true.into());
        report.insert("child_pid".to_owned(), std::process::id().into());
    }
    // whoever asks knows by the missing `started` that it is done
    // a disk that is full now may not be in a moment
    let mut tries = 0;
    loop {
        match write(path, &serde_json::Value::Object(report.clone())) {
            Err(_) if tries < 30 && fs::metadata(path).is_ok() => {
                tries += 1;
                thread::sleep(Duration::from_secs(1));
            }
            done => return done,
        }
    }
}

/// Runs a native module in a process of its own.
fn native(program: &Program, invocation: &Invocation, cancel: &Cancel) -> Report {
    let input = serde_json::to_vec(invocation).unwrap_or_default();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut command: Command = program.command("one");
    let status = processes::run(
        &mut command,
        &input,
        cancel,
        |bytes| out.extend_from_slice(bytes),
        |bytes| err.extend_from_slice(bytes),
    );
    parsed(&status, &out, &err)
}

/// What a module's output says.
fn parsed(status: &io::Result<i32>, out: &[u8], err: &[u8]) -> Report {
    let text = String::from_utf8_lossy(out);
    if let Some(mut report) = super::output::report(&text) {
        if !err.is_empty() {
            let complaints = String::from_utf8_lossy(err).into_owned();
            report.insert("stderr".to_owned(), complaints.into());
        }
        return report;
    }
    let mut report = Report::new();
    report.insert("failed".to_owned(), true.into());
    report.insert("cmd".to_owned(), "".into());
    report.insert(
        "msg".to_owned(),
        match status {
            Err(error) => error.to_string(),
            Ok(_) => "Could not get the result of the module.".to_owned(),
        }
        .into(),
    );
    report.insert("data".to_owned(), text.into_owned().into());
    report.insert(
        "stderr".to_owned(),
        String::from_utf8_lossy(err).into_owned().into(),
    );
    report
}
