//! The program of a helper: `serve` requests, run `one` module, begin a `job`, or say that it runs (`check`).

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufReader, BufWriter};
use std::process::ExitCode;

use super::message::VERSION;
use super::program::Program;
use super::{job, place, serve, terminal, work};
use crate::invocation::Invocation;

/// Does what the arguments say, and gives the exit status of the process.
pub fn main(arguments: &[OsString], program: &Program) -> ExitCode {
    let what = arguments.first().and_then(|what| what.to_str());
    let done = match what {
        Some("serve") => served(program),
        Some("one") => one(),
        Some("check") => {
            println!("consort-play-helper {VERSION}");
            Ok(())
        }
        Some("job") => job::detach(program),
        Some("job-run") => job::run(program),
        Some("apart") if arguments.len() > 1 => Err(terminal::leave(&arguments[1..])),
        Some("terminal") if arguments.len() > 2 => {
            Err(terminal::become_at(&arguments[1], &arguments[2..]))
        }
        _ => {
            eprintln!("usage: consort-play-helper serve|one|check");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("consort-play-helper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves requests over the standard input and output, which modules then do not see.
fn served(program: &Program) -> io::Result<()> {
    place::settle();
    let input = io::stdin();
    let input = std::os::fd::AsFd::as_fd(&input).try_clone_to_owned()?;
    let output = io::stdout();
    let output = std::os::fd::AsFd::as_fd(&output).try_clone_to_owned()?;
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    serve::serve(
        BufReader::with_capacity(64 * 1024, std::fs::File::from(input)),
        BufWriter::with_capacity(64 * 1024, std::fs::File::from(output)),
        program.clone(),
    )
}

/// Runs one native module: its invocation on the standard input, its report on the standard output.
fn one() -> io::Result<()> {
    let invocation: Invocation = serde_json::from_reader(BufReader::new(io::stdin()))?;
    println!(
        "{}",
        serde_json::Value::Object(work::module(&invocation, None))
    );
    Ok(())
}
