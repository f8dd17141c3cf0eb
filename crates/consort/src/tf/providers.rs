//! `providers` and `providers schema`: what providers a configuration needs, and what they offer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::ProviderSource;
use consort_infra::config::{self, Requirements, Tree};
use consort_infra::engine::Providers as _;
use consort_infra::render_json::schemas_json;

use super::flags::{Flags, one, switch};
use super::place::{Place, error, local_paths};
use super::session;
use super::terminal::Terminal;
use super::tree_text::{Branch, draw};
use super::{Command, wait};

pub(super) const TREE: Command = Command {
    name: "providers",
    usage: "[options]",
    short: "Show the providers required for this configuration",
    about: "Shows which module of the configuration asks for which providers in which versions, and which \
            providers the state needs.",
    flags: &[&[one(
        "test-directory",
        "path",
        "Where test files are (tests).",
    )]],
    run: tree,
};

pub(super) const SCHEMA: Command = Command {
    name: "providers schema",
    usage: "-json",
    short: "Show schemas for the providers used in the configuration",
    about: "Prints the schemas of all providers that the configuration and the state use, as JSON.",
    flags: &[&[switch(
        "json",
        "As JSON, for programs; there is no other form.",
    )]],
    run: schema,
};

fn finish(done: Result<String, Diagnostics>, sources: &Sources) -> ExitCode {
    match done {
        Ok(text) => {
            crate::output::print(&text);
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            Terminal::new(false, false).diagnose(&diagnostics, sources);
            ExitCode::FAILURE
        }
    }
}

/// The providers of what the state holds; the state's resources need them whatever the configuration says.
pub(super) async fn of_state(
    place: &Place,
    flags: &Flags,
    sources: &mut Sources,
) -> Result<Vec<ProviderSource>, Diagnostics> {
    let state = place.backing(sources, &local_paths(flags))?.look().await?;
    let used: std::collections::BTreeSet<ProviderSource> = state
        .iter()
        .flat_map(|state| state.resources.values())
        .map(|resource| resource.provider.provider.clone())
        .collect();
    Ok(used.into_iter().collect())
}

fn tree(flags: &Flags) -> ExitCode {
    let mut sources = Sources::new();
    if !flags.rest.is_empty() {
        Terminal::new(false, false).error(
            "Too many command line arguments",
            "Did you mean to use -chdir?",
        );
        return ExitCode::FAILURE;
    }
    let place = Place::here();
    let tests = flags
        .text("test-directory")
        .unwrap_or(config::TEST_DIRECTORY);
    let done = wait(async {
        if !config::is_module_directory(place.root()) {
            let directory = std::env::current_dir().unwrap_or_default();
            return Err(error(
                "No configuration files",
                format!(
                    "The directory {} contains no Terraform configuration files.",
                    directory.display()
                ),
            ));
        }
        let (tree, found) = session::load(&place, Some(tests), &mut sources);
        let Some(tree) = tree.filter(|_| !found.has_errors()) else {
            return Err(found);
        };
        let used = of_state(&place, flags, &mut sources).await?;
        let mut text = format!(
            "\nProviders required by configuration:\n{}\n",
            draw(&branch(".".to_owned(), &tree))
        );
        if !used.is_empty() {
            text.push_str("Providers required by state:\n\n");
            for provider in used {
                let _ = writeln!(text, "    provider[{provider}]\n");
            }
        }
        Ok(text)
    });
    finish(done, &sources)
}

fn branch(name: String, tree: &Tree) -> Branch {
    let mut branch = Branch {
        name,
        below: required(&tree.own_requirements()),
    };
    for (name, child) in &tree.children {
        branch
            .below
            .push(self::branch(format!("module.{name}"), child));
    }
    branch
}

fn required(requirements: &Requirements) -> Vec<Branch> {
    requirements
        .iter()
        .map(|(provider, constraints)| {
            let mut name = format!("provider[{provider}]");
            let constraints = constraints.canonical();
            if !constraints.is_empty() {
                let _ = write!(name, " {constraints}");
            }
            Branch {
                name,
                below: Vec::new(),
            }
        })
        .collect()
}

fn schema(flags: &Flags) -> ExitCode {
    if !flags.is("json") {
        let terminal = Terminal::new(false, false);
        terminal.complain("The `terraform providers schema` command requires the `-json` flag.\n");
        terminal.complain(&super::help(&SCHEMA));
        return ExitCode::FAILURE;
    }
    let mut sources = Sources::new();
    let place = Place::here();
    let done = wait(async {
        let (tree, found) = session::load_any(&place, None, &mut sources);
        let Some(tree) = tree.filter(|_| !found.has_errors()) else {
            return Err(found);
        };
        let used = of_state(&place, flags, &mut sources).await?;
        let mut all: std::collections::BTreeSet<ProviderSource> =
            tree.requirements().into_keys().collect();
        all.extend(used.iter().cloned());
        let installed = session::installed(&place, &tree, used, &mut sources)?;
        let mut schemas = BTreeMap::new();
        for source in all {
            let found = installed.schemas(&source).await?;
            schemas.insert(source, found);
        }
        schemas_json(&schemas)
            .map(|text| format!("{text}\n"))
            .map_err(|wrong| {
                error(
                    "Failed to marshal provider schemas to json",
                    wrong.to_string(),
                )
            })
    });
    finish(done, &sources)
}
