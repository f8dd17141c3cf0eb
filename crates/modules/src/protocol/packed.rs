//! Modules that are not native, run on the machine: Python ones by a server that has loaded what they all need, or by an
//! interpreter of their own; others as the programs they are.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::files;
use super::message::{PackedCall, PackedProgram};
use super::processes::{self, Cancel};
use super::python::{SCRIPT, Servers};

/// Variables that an interpreter looks at when it starts.
fn for_interpreters(name: &str) -> bool {
    name.starts_with("PYTHON") || name.starts_with("LD_") || name.starts_with("DYLD_")
}

/// Runs a module from its package, and gives its exit status.
///
/// # Errors
/// Its arguments cannot be written down.
pub(super) fn run(
    servers: Option<&Servers>,
    call: &PackedCall,
    package: &Path,
    cancel: &Cancel,
    stdout: impl FnMut(&[u8]) + Send,
    mut stderr: impl FnMut(&[u8]) + Send,
) -> io::Result<i32> {
    let directory = (!call.directory.is_empty()).then(|| files::expand(&call.directory));
    match &call.kind {
        PackedProgram::Python {
            module,
            interpreter,
            alone,
            open_files,
        } => {
            let order = json!({
                "name": call.name,
                "module": module,
                "package": package.to_string_lossy(),
                "environment": call.environment,
                "directory": directory.as_ref().map(|path| path.to_string_lossy()),
                "open_files": open_files,
            })
            .to_string();
            let alone = *alone
                || call
                    .environment
                    .iter()
                    .any(|(name, _)| for_interpreters(name));
            if let Some(servers) = servers
                && !alone
                && let Some(server) = servers.server(interpreter, package)
            {
                return server.run(&order, call.arguments.as_bytes(), cancel, stdout, stderr);
            }
            let Some((program, rest)) = interpreter.split_first() else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "no interpreter",
                ));
            };
            let mut command = Command::new(program);
            command
                .args(rest)
                .args(["-c", SCRIPT, "once", &order])
                .envs(call.environment.iter().map(|(name, value)| (name, value)));
            let input = call.arguments.as_bytes();
            match processes::run(&mut command, input, cancel, stdout, &mut stderr) {
                Err(error) => Ok(not_started(program, &error, stderr)),
                done => done,
            }
        }
        PackedProgram::Program { interpreter, file } => {
            let task = files::temporary(&call.remote_tmp)?;
            let gone = Gone(&task);
            let arguments = task.join("args");
            let mut words: Vec<String> = interpreter.clone();
            words.push(package.to_string_lossy().into_owned());
            if *file {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&arguments)?
                    .write_all(call.arguments.as_bytes())?;
                words.push(arguments.to_string_lossy().into_owned());
            }
            let mut command = Command::new(&words[0]);
            command
                .args(&words[1..])
                .envs(call.environment.iter().map(|(name, value)| (name, value)));
            if let Some(directory) = &directory {
                command.current_dir(directory);
            }
            let done = match processes::run(&mut command, &[], cancel, stdout, &mut stderr) {
                Err(error) => Ok(not_started(&words[0], &error, stderr)),
                done => done,
            };
            drop(gone);
            done
        }
    }
}

/// A program that is not there or cannot be run, told as a shell tells it.
fn not_started(program: &str, error: &io::Error, mut stderr: impl FnMut(&[u8])) -> i32 {
    let (status, said) = match error.kind() {
        io::ErrorKind::NotFound => (127, "not found".to_owned()),
        io::ErrorKind::PermissionDenied => (126, "Permission denied".to_owned()),
        _ => (126, error.to_string()),
    };
    stderr(format!("/bin/sh: 1: {program}: {said}\n").as_bytes());
    status
}

/// A directory that is gone afterwards.
struct Gone<'a>(&'a Path);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        // it was this user's own
        let _ = files::remove(self.0);
    }
}
