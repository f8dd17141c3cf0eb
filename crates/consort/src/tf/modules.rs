//! `modules`: what the configuration calls, and where it came from.

use std::process::ExitCode;

use consort_hcl::Sources;
use consort_infra::config::Tree;
use serde::Serialize;

use super::flags::{Flags, switch};
use super::place::Place;
use super::session;
use super::terminal::Terminal;
use super::tree_text::{Branch, draw};
use super::{Command, NO_COLOUR};

pub(super) const COMMAND: Command = Command {
    name: "modules",
    usage: "[options]",
    short: "Show all declared modules in a working directory",
    about: "Lists the modules that the configuration calls, with their sources and the versions that are \
            installed.",
    flags: &[&[switch("json", "As JSON, for programs.")], NO_COLOUR],
    run,
};

#[derive(Serialize)]
struct Listing {
    format_version: &'static str,
    modules: Option<Vec<Entry>>,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    source: String,
    version: String,
}

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(flags.is("no-color") || flags.is("json"), false);
    let mut sources = Sources::new();
    if !flags.rest.is_empty() {
        terminal.error(
            "Too many command line arguments",
            "Expected no positional arguments. Did you mean to use -chdir?",
        );
        return ExitCode::FAILURE;
    }
    let (tree, found) = session::load_any(&Place::here(), None, &mut sources);
    let Some(tree) = tree.filter(|_| !found.has_errors()) else {
        terminal.diagnose(&found, &sources);
        return ExitCode::FAILURE;
    };
    if flags.is("json") {
        let mut modules = Vec::new();
        entries(&tree, &mut modules);
        let listing = Listing {
            format_version: "1.0",
            modules: (!modules.is_empty()).then_some(modules),
        };
        let text = serde_json::to_string(&listing).unwrap_or_default();
        crate::output::print(&format!("{text}\n"));
        return ExitCode::SUCCESS;
    }
    if tree.children.is_empty() {
        terminal.say("No modules found in configuration.");
        return ExitCode::SUCCESS;
    }
    terminal.say(&format!(
        "\nModules declared by configuration:\n{}",
        draw(&Branch {
            name: ".".to_owned(),
            below: branches(&tree),
        })
    ));
    ExitCode::SUCCESS
}

fn entries(tree: &Tree, into: &mut Vec<Entry>) {
    for (name, child) in &tree.children {
        into.push(Entry {
            key: name.to_string(),
            source: source(child),
            version: version(child),
        });
        entries(child, into);
    }
}

fn source(tree: &Tree) -> String {
    tree.source
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn version(tree: &Tree) -> String {
    tree.version
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn branches(tree: &Tree) -> Vec<Branch> {
    tree.children
        .iter()
        .map(|(name, child)| {
            let mut text = format!("{:?}[{}]", &**name, source(child));
            let version = version(child);
            if !version.is_empty() {
                text.push(' ');
                text.push_str(&version);
            }
            // As it is written, not in normal form.
            let asked = tree
                .module
                .module_calls
                .get(name)
                .and_then(|call| call.version.as_ref());
            if let Some(asked) = asked {
                let asked: Vec<String> = asked
                    .constraints
                    .0
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                text.push_str(&format!(" ({})", asked.join(", ")));
            }
            Branch {
                name: text,
                below: branches(child),
            }
        })
        .collect()
}
