//! The built-in image `consort.dev/toolbox`: small commands for examples and for looking around in
//! a cluster, in the same binary.
//!
//! In the image every command is a link to the executable, which tells by the name it was started
//! under what it is to be ([`main_by_name`]). `consort toolbox COMMAND` is the same on any machine.

mod client;
mod dns;
mod elf;
mod fetch;
mod image;
mod latency;
mod load;
mod plain;
mod serve;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::{Failure, Result};

pub(crate) use image::Image;

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve HTTP: a text, files, or a description of the request and of this container
    Serve(serve::Args),
    /// Make an HTTP request and print the answer
    Fetch(fetch::Args),
    /// Look up a name as this container's resolver configuration says
    Dns(dns::Args),
    /// Put load on an HTTP server and print rate and latencies
    Load(load::Args),
    /// Wait
    Sleep(plain::Sleep),
    /// Print the environment, or some variables of it
    Env(plain::Env),
    /// Print files
    Cat(plain::Cat),
    /// List directories
    Ls(plain::Ls),
    /// Print the arguments
    Echo(plain::Echo),
    /// Succeed
    True,
    /// Fail
    False,
}

/// The names under which the executable is one of the commands.
pub(crate) const NAMES: [&str; 11] = [
    "cat", "dns", "echo", "env", "false", "fetch", "load", "ls", "serve", "sleep", "true",
];

#[derive(Parser)]
#[command(multicall = true)]
struct ByName {
    #[command(subcommand)]
    command: Command,
}

/// Runs the command that the program was started as; `None` when it was started as something
/// else. `args` begins with the program's name.
pub(crate) fn main_by_name(args: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(args.first()?)
        .file_name()
        .and_then(OsStr::to_str)?;
    if !NAMES.contains(&name) {
        return None;
    }
    let command = ByName::parse_from(args).command;
    Some(ExitCode::from(code(&command)))
}

/// Runs a command as `consort toolbox COMMAND`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the command line is done with it"
)]
pub(crate) fn run(command: Command) -> Result<()> {
    match code(&command) {
        0 => Ok(()),
        code => Err(Failure::code(code)),
    }
}

/// Runs a command, prints what went wrong, and gives the exit code.
fn code(command: &Command) -> u8 {
    let name = command.name();
    let done = match command {
        Command::Serve(args) => async_main(serve::run(args)),
        Command::Fetch(args) => async_main(fetch::run(args)),
        Command::Dns(args) => async_main(dns::run(args)),
        Command::Load(args) => async_main(load::run(args)),
        Command::Sleep(args) => async_main(plain::sleep(args)),
        Command::Env(args) => plain::env(args),
        Command::Cat(args) => plain::cat(args),
        Command::Ls(args) => plain::ls(args),
        Command::Echo(args) => plain::echo(args),
        Command::True => Ok(0),
        Command::False => Ok(1),
    };
    match done {
        Ok(code) => code,
        // The reader went away, as `head` does.
        Err(error) if is_broken_pipe(&error) => 0,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            1
        }
    }
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Fetch(_) => "fetch",
            Self::Dns(_) => "dns",
            Self::Load(_) => "load",
            Self::Sleep(_) => "sleep",
            Self::Env(_) => "env",
            Self::Cat(_) => "cat",
            Self::Ls(_) => "ls",
            Self::Echo(_) => "echo",
            Self::True => "true",
            Self::False => "false",
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// One thread is enough for any of these, and starts fastest.
fn async_main(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // A name lookup that hangs must not keep the process.
    runtime.shutdown_background();
    done
}

/// Reads `10`, `1.5`, `300ms`, `5s`, `2m`, `1h`, `1d`.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: expected a number and ms, s, m, h or d");
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86400.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

/// Resolves when the process is asked to end.
async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The name of this machine, which in a pod is the pod's.
fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "unknown".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_reachable_by_its_name() {
        let command = ByName::command();
        let mut known: Vec<_> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        known.sort_unstable();
        assert_eq!(known, NAMES);
    }

    #[test]
    fn only_known_names_make_the_program_a_command() {
        let args = |name: &str| vec![OsString::from(name)];
        assert!(main_by_name(&args("/usr/bin/consort")).is_none());
        assert!(main_by_name(&[]).is_none());
        assert!(main_by_name(&args("/bin/true")) == Some(ExitCode::SUCCESS));
        assert!(main_by_name(&args("false")) == Some(ExitCode::from(1)));
    }

    #[test]
    fn durations_have_units_and_default_to_seconds() {
        for (text, millis) in [("2", 2000), ("1.5", 1500), ("300ms", 300), ("2m", 120_000)] {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for text in ["", "s", "-1", "5x", "1e400"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
