//! One module a command.

mod addresses;
mod apply;
mod approve;
mod delete;
mod describe;
mod destroy;
mod diff;
mod down;
mod drift;
mod exec;
mod get;
mod graph;
mod history;
mod image;
mod logs;
mod machine;
mod node;
mod plan;
mod pods;
pub(crate) mod policy;

mod resume;
mod rollback;
mod schema;
mod score;
mod server;
mod store;
mod sync;
mod up;
mod version;
mod why;

use std::process::ExitCode;

use clap::CommandFactory as _;
use consort_playbook::command::Command as Playbook;
use consort_score::records::Decision;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, LogFormat};
use crate::error::{Failure, Kind, Result};
use crate::settings::{Configuration, Log};

/// Runs the command and gives the process's exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    match &cli.command {
        Command::Version(args) => {
            version::run(args);
            return Ok(());
        }
        Command::Completions { shell } => {
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "consort",
                &mut std::io::stdout(),
            );
            return Ok(());
        }
        Command::Schema => {
            schema::run();
            return Ok(());
        }
        Command::Policy(_) => {
            let Command::Policy(command) = cli.command else {
                return Ok(());
            };
            return policy::run(command);
        }
        // With options of `consort` itself before it; without them `main` goes there at once.
        Command::Tf { .. } => {
            let Command::Tf { words } = cli.command else {
                return Ok(());
            };
            std::process::exit(i32::from(crate::tf::main(words) != ExitCode::SUCCESS));
        }
        Command::Play(words) => playbook(Playbook::Play, &words.words),
        Command::AdHoc(words) => playbook(Playbook::AdHoc, &words.words),
        Command::Inventory(words) => playbook(Playbook::Inventory, &words.words),
        Command::Vault(words) => playbook(Playbook::Vault, &words.words),
        Command::Toolbox(_) => {
            let Command::Toolbox(command) = cli.command else {
                return Ok(());
            };
            return crate::toolbox::run(command);
        }
        _ => {}
    }
    let configuration = Configuration::read(&cli.global)?;
    let log = configuration.log(&cli.global);
    let default_filter = match cli.command {
        Command::Server(_) | Command::Node(_) => "info",
        // The client logs what it also returns, and that is told once.
        Command::Up(_) => "error,kube_client=off",
        _ => "warn,kube_client=off",
    };
    start_log(&log, default_filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::run(&configuration, &cli.global, args).await,
            Command::Why(args) => why::run(args).await,
            Command::History(args) => history::run(&configuration, args).await,
            Command::Diff(args) => diff::run(&configuration, args).await,
            Command::Rollback(args) => rollback::run(&configuration, args).await,
            Command::Graph(args) => graph::run(&configuration, args).await,
            Command::Plan(args) => plan::run(&configuration, args).await,
            Command::Destroy(args) => destroy::run(&configuration, args).await,
            Command::Approve(args) => approve::run(&configuration, args, Decision::Approve).await,
            Command::Reject(args) => approve::run(&configuration, args, Decision::Reject).await,
            Command::Resume(args) => resume::run(&configuration, args).await,
            Command::Score(command) => score::run(command).await,
            Command::Sync(args) => sync::run(args).await,
            Command::Suspend(args) => sync::suspend(args, true).await,
            Command::ResumeSync(args) => sync::suspend(args, false).await,
            Command::Drift(args) => drift::run(&configuration, args).await,
            Command::Down(args) => down::run(&configuration, &args).await,
            Command::Server(args) => server::run(&configuration, args).await,
            Command::Get(args) => get::run(args).await,
            Command::Describe(args) => describe::run(args).await,
            Command::Logs(args) => logs::run(args).await,
            Command::Exec(args) => exec::run(args).await,
            Command::Apply(args) => apply::run(&configuration, args).await,
            Command::Delete(args) => delete::run(args).await,
            Command::Image(args) => image::run(&configuration, args).await,
            Command::Machine(args) => machine::run(&configuration, args).await,
            Command::Node(args) => node::run(&configuration, args).await,
            Command::Store(args) => store::run(&configuration, args).await,
            Command::Version(_)
            | Command::Schema
            | Command::Policy(_)
            | Command::Completions { .. }
            | Command::Tf { .. }
            | Command::Play(_)
            | Command::AdHoc(_)
            | Command::Inventory(_)
            | Command::Vault(_)
            | Command::Toolbox(_) => Ok(()),
        }
    });
    // Blocking reads (a terminal's input) must not hold the process back.
    runtime.shutdown_background();
    done
}

fn start_log(log: &Log, default_filter: &str) -> Result<()> {
    let asked = log.filter.as_deref().unwrap_or(default_filter);
    // A library that tells of every DNS query at `info`; who asks for it by name gets it.
    let text = format!("hickory_server=warn,{asked}");
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        Failure::new(
            Kind::Usage,
            format!("--log {asked:?} is not a filter: {error}"),
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(crate::output::coloured()).init(),
    }
    Ok(())
}

/// As `tf`: with options of `consort` itself before it.
fn playbook(command: Playbook, words: &[std::ffi::OsString]) -> ! {
    std::process::exit(command.run(words))
}
