//! `consort tf`: Terraform's command line.
//!
//! Commands, flags, environment variables and exit codes are Terraform's, so that
//! `alias terraform='consort tf'` is all a team has to change. Each command is a table entry with its
//! flags, and a function from what was parsed to an exit code; what they do is in `consort-infra`.

mod backend_hash;
mod console;
mod encryption;
mod flags;
mod fmt;
mod graph;
mod import;
mod init;
mod line_editor;
mod metadata;
mod modules;
mod operation;
mod outputs;
mod place;
mod plan_text;
mod providers;
mod providers_lock;
mod session;
mod show;
mod state;
mod terminal;
mod test;
mod tree_text;
mod validate;
mod version;
mod view;
mod workspace;

use std::process::ExitCode;

use flags::{Flag, Flags};

/// The version of Terraform whose behaviour this is.
pub(crate) const VERSION: &str = consort_infra::state::TERRAFORM_VERSION;

/// One command.
struct Command {
    /// Its words, such as `state mv`.
    name: &'static str,
    /// What follows it on the command line.
    usage: &'static str,
    /// One line for the list of commands; none where it is left out of it.
    short: &'static str,
    /// What it does, for its own help.
    about: &'static str,
    flags: &'static [&'static [Flag]],
    run: fn(&Flags) -> ExitCode,
}

const COMMANDS: &[Command] = &[
    init::INIT,
    init::GET,
    validate::COMMAND,
    operation::PLAN,
    operation::APPLY,
    operation::DESTROY,
    operation::REFRESH,
    fmt::COMMAND,
    console::COMMAND,
    graph::COMMAND,
    import::COMMAND,
    metadata::FUNCTIONS,
    modules::COMMAND,
    providers::TREE,
    providers::SCHEMA,
    providers_lock::LOCK,
    providers_lock::MIRROR,
    outputs::COMMAND,
    show::COMMAND,
    state::LIST,
    state::SHOW,
    state::MV,
    state::RM,
    state::PULL,
    state::PUSH,
    state::REPLACE_PROVIDER,
    state::TAINT,
    state::UNTAINT,
    state::FORCE_UNLOCK,
    test::COMMAND,
    version::COMMAND,
    workspace::LIST,
    workspace::NEW,
    workspace::SHOW,
    workspace::SELECT,
    workspace::DELETE,
];

/// Those listed first, in the order people use them.
const MAIN: [&str; 5] = ["init", "validate", "plan", "apply", "destroy"];

/// Flags of all commands that take the state's lock.
const LOCK: &[Flag] = &[
    flags::on(
        "lock",
        "Do not take the lock of the state; dangerous while others run.",
    ),
    flags::one(
        "lock-timeout",
        "0s",
        "How long to wait for a lock that is held.",
    ),
];

/// Options of the local backend alone.
const LOCAL: &[Flag] = &[
    flags::one(
        "state",
        "path",
        "State file to use; for the local backend only.",
    ),
    flags::one(
        "state-out",
        "path",
        "Where to write state instead; for the local backend only.",
    ),
    flags::one(
        "backup",
        "path",
        "Where to keep the state from before; - keeps none.",
    ),
];

const NO_COLOUR: &[Flag] = &[flags::switch("no-color", "Do not use colours.")];

/// Runs `consort tf` with what follows `tf` on the command line.
pub(crate) fn main(words: impl IntoIterator<Item = String>) -> ExitCode {
    let mut words: Vec<String> = words.into_iter().collect();
    if let Err(code) = global(&mut words) {
        return code;
    }
    if let Err(problem) = from_environment(&mut words, "TF_CLI_ARGS", 0) {
        terminal::complain(&problem);
        return ExitCode::FAILURE;
    }
    let Some(first) = words.first().cloned() else {
        crate::output::print(&overview());
        return ExitCode::from(127);
    };
    match first.as_str() {
        "-v" | "-version" | "--version" => {
            "version".clone_into(&mut words[0]);
        }
        "-h" | "-help" | "--help" => {
            crate::output::print(&overview());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let found = COMMANDS
        .iter()
        .filter(|command| {
            let mut given = words.iter();
            command
                .name
                .split(' ')
                .all(|word| given.next().is_some_and(|other| other == word))
        })
        .max_by_key(|command| command.name.len());
    let Some(command) = found else {
        return unknown(&words);
    };
    let depth = command.name.split(' ').count();
    let variable = format!("TF_CLI_ARGS_{}", command.name.replace([' ', '-'], "_"));
    if let Err(problem) = from_environment(&mut words, &variable, depth) {
        terminal::complain(&problem);
        return ExitCode::FAILURE;
    }
    // As in Terraform, every command takes it, also where no colours would be.
    let known: Vec<&[Flag]> = command.flags.iter().copied().chain([NO_COLOUR]).collect();
    match flags::parse(&known, words.into_iter().skip(depth)) {
        Ok(flags) => {
            if flags.is("no-color") {
                terminal::without_colours();
            }
            (command.run)(&flags)
        }
        Err(flags::Error::Help) => {
            crate::output::print(&help(command));
            ExitCode::SUCCESS
        }
        Err(wrong) => misuse(command.name, &wrong.to_string()),
    }
}

/// Options that stand before the command.
fn global(words: &mut Vec<String>) -> Result<(), ExitCode> {
    while let Some(first) = words.first() {
        let Some(directory) = first
            .strip_prefix("--chdir=")
            .or_else(|| first.strip_prefix("-chdir="))
        else {
            break;
        };
        if let Err(error) = std::env::set_current_dir(directory) {
            terminal::complain(&format!(
                "Error handling -chdir option: chdir {directory}: {error}"
            ));
            return Err(ExitCode::FAILURE);
        }
        words.remove(0);
    }
    Ok(())
}

/// Puts the words of an environment variable behind the first `at` words.
fn from_environment(words: &mut Vec<String>, name: &str, at: usize) -> Result<(), String> {
    let Ok(text) = std::env::var(name) else {
        return Ok(());
    };
    if text.trim().is_empty() {
        return Ok(());
    }
    let added = shlex::split(&text)
        .ok_or_else(|| format!("Error parsing extra CLI args from {name}: unbalanced quotes"))?;
    // Those for every command follow its words.
    let at = if at == 0 {
        words
            .iter()
            .position(|word| word.starts_with('-'))
            .unwrap_or(words.len())
    } else {
        at
    };
    words.splice(at..at, added);
    Ok(())
}

fn unknown(words: &[String]) -> ExitCode {
    let group: Vec<&Command> = COMMANDS
        .iter()
        .filter(|command| command.name.split(' ').next() == words.first().map(String::as_str))
        .collect();
    if !group.is_empty() {
        let mut text = format!(
            "Usage: terraform [global options] {} <subcommand> [options] [args]\n\nSubcommands:\n",
            words[0]
        );
        for command in group {
            let name = command.name.split_once(' ').map_or("", |(_, name)| name);
            text.push_str(&format!("    {name:18}{}\n", command.short));
        }
        crate::output::print(&text);
        return if words.get(1).is_none_or(|word| word.starts_with('-')) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let name = &words[0];
    let near = COMMANDS
        .iter()
        .map(|command| command.name)
        .find(|known| distance(known, name) <= 2);
    let hint = near.map_or(String::new(), |known| format!(" Did you mean {known:?}?"));
    terminal::complain(&format!(
        "Terraform has no command named {name:?}.{hint}\n\nTo see all of Terraform's top-level commands, run:\n  terraform -help\n"
    ));
    ExitCode::FAILURE
}

/// How many letters to change, add or leave out.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A command line that cannot be read.
fn misuse(command: &str, problem: &str) -> ExitCode {
    terminal::Terminal::new(false, false).error("Failed to parse command-line flags", problem);
    terminal::complain(&format!(
        "For more help on using this command, run:\n  terraform {command} -help"
    ));
    ExitCode::FAILURE
}

fn help(command: &Command) -> String {
    let mut text = format!(
        "Usage: terraform [global options] {} {}\n\n",
        command.name, command.usage
    );
    for paragraph in command.about.split("\n\n") {
        for line in flags::wrap(paragraph, 76) {
            text.push_str(&format!("  {line}\n"));
        }
        text.push('\n');
    }
    if !command.flags.is_empty() {
        text.push_str("Options:\n\n");
        text.push_str(&flags::listing(command.flags));
    }
    text
}

fn overview() -> String {
    let mut text =
        String::from("Usage: terraform [global options] <subcommand> [args]\n\nMain commands:\n");
    let line = |name: &str, short: &str| format!("  {name:14}{short}\n");
    for name in MAIN {
        if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
            text.push_str(&line(name, command.short));
        }
    }
    text.push_str("\nAll other commands:\n");
    let mut others: Vec<(&str, &str)> = COMMANDS
        .iter()
        .filter(|command| !MAIN.contains(&command.name) && !command.name.contains(' '))
        .map(|command| (command.name, command.short))
        .chain([
            (
                "providers",
                "What providers the configuration needs, locked and mirrored",
            ),
            ("state", "Look at and change what the state holds"),
            ("workspace", "Several states of one configuration"),
        ])
        .collect();
    others.sort_unstable();
    others.dedup_by_key(|(name, _)| *name);
    for (name, short) in others {
        text.push_str(&line(name, short));
    }
    text.push_str(
        "\nGlobal options (before the subcommand):\n  -chdir=DIR    Work in another directory\n  \
         -help         This text, or that of a subcommand\n  -version      As the version command\n",
    );
    text
}

/// Runs what waits for others.
fn wait<T>(work: impl Future<Output = T>) -> T {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            runtime.shutdown_background();
            done
        }
        Err(error) => {
            terminal::complain(&format!("starting the runtime: {error}"));
            std::process::exit(1);
        }
    }
}
