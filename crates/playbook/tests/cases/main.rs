//! The playbooks of `tests/playbooks/cases`, each run twice as a user would run it, beside what ansible-playbook 2.21.5 was
//! recorded to print and to leave on the disk.
//!
//! `tests/playbooks/differential.py --record` records. This program is its own `ansible-playbook`: it calls itself by that name, in
//! a mount namespace where the case lies at `/srv/case`. Arguments are parts of names of cases.

mod case;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use consort_playbook::command::Command;

fn main() -> ExitCode {
    if let Some(code) = consort_playbook::command::called_to_help() {
        return code;
    }
    let program = std::env::args_os().next().unwrap_or_default();
    if program.to_str().and_then(Command::of_program).is_some()
        && let Some((command, arguments)) = Command::called(std::env::args_os())
    {
        return command.main(&arguments);
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/playbooks");
    let mut differ = Vec::new();
    for case in case::recorded(&all) {
        if !wanted.is_empty() && !wanted.iter().any(|part| case.name.contains(part)) {
            continue;
        }
        match case.differences() {
            Ok(found) if found.is_empty() => println!("case {} ... ok", case.name),
            Ok(found) => {
                println!("case {} ... differs\n{found}", case.name);
                differ.push(case.name);
            }
            Err(error) => {
                println!("case {} ... {error}", case.name);
                differ.push(case.name);
            }
        }
    }
    if differ.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("not as ansible-playbook: {}", differ.join(", "));
    ExitCode::FAILURE
}
