//! The commands of playbooks without the rest of `consort`: `play play site.yml`, or under the name of one of Ansible's
//! programs.

use std::process::ExitCode;

use consort_playbook::command::{self, Command};

fn main() -> ExitCode {
    if let Some(code) = command::called_to_help() {
        return code;
    }
    if let Some((command, arguments)) = Command::called(std::env::args_os()) {
        return command.main(&arguments);
    }
    eprintln!("usage: play play|ad-hoc|inventory|vault ...");
    ExitCode::from(2)
}
