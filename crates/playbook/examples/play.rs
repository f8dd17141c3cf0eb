//! The commands of playbooks without the rest of `consort`: `play play site.yml`, or under the name of one of Ansible's
//! programs.

use std::ffi::OsString;
use std::process::ExitCode;

use consort_modules::protocol::{self, Program};
use consort_playbook::command::Command;

fn main() -> ExitCode {
    if let Some(told) = protocol::asked() {
        return told;
    }
    if let Some(arguments) = protocol::called(std::env::args_os()) {
        return match Program::this(true) {
            Ok(program) => protocol::main(&arguments, &program),
            Err(error) => {
                eprintln!("play: which program is it? {error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let program = arguments.remove(0);
    let command = Command::of_program(&program.to_string_lossy()).or_else(|| {
        let command = Command::of_word(arguments.first()?.to_str()?)?;
        arguments.remove(0);
        Some(command)
    });
    match command {
        Some(command) => ExitCode::from(u8::try_from(command.run(&arguments)).unwrap_or(250)),
        None => {
            eprintln!("usage: play play|ad-hoc|inventory|vault ...");
            ExitCode::from(2)
        }
    }
}
