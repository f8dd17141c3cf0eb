//! A program that runs playbooks for the tests of pull mode.

use std::process::ExitCode;

fn main() -> ExitCode {
    consort_playbook::command::called_to_help().unwrap_or(ExitCode::FAILURE)
}
