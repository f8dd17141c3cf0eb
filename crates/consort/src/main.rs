//! Consort: a cloud orchestrator in one binary.
//!
//! `main` decides which of its faces the process wears: a pod's shim, a command of the built-in
//! toolbox image, or the command line.

mod access;
mod admin;
mod apply;
mod cli;
mod commands;
mod connect;
mod error;
mod identity;
mod images;
mod machines;
mod manifests;
mod output;
mod render;
mod resources;
mod scores;
mod server;
mod settings;
mod store;
mod tf;
mod toolbox;

use std::process::ExitCode;

use clap::Parser as _;
use consort_playbook::command::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args
        .nth(1)
        .is_some_and(|first| first == consort_runtime::SHIM_ARGUMENT)
    {
        consort_runtime::shim_main(args);
    }
    if let Some(code) = consort_playbook::command::called_to_help() {
        return code;
    }
    if let Some(code) = toolbox::main_by_name(&std::env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "tf") {
        // Terraform's flags have one dash, which the parser of all other commands does not take.
        return tf::main(args.map(|word| word.to_string_lossy().into_owned()));
    }
    // So have Ansible's: `-vvv`, `-e @file`, abbreviations.
    if let Some((command, arguments)) = Command::called(std::env::args_os()) {
        return command.main(&arguments);
    }
    let cli = cli::Cli::parse();
    output::set_colour(cli.global.colour);
    commands::run(cli)
}
