//! `validate`.

use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::{self, Diagnostics};
use consort_infra::config;
use consort_infra::engine::{Input, Silent, validate};
use consort_infra::testing::check_runs;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::flags::{Flags, one, switch};
use super::place::Place;
use super::session::{self, Purpose};
use super::terminal::Terminal;
use super::{Command, NO_COLOUR, wait};

pub(super) const COMMAND: Command = Command {
    name: "validate",
    usage: "[options]",
    short: "Check whether the configuration is valid",
    about: "Checks the configuration against the language and its providers' schemas, whatever its variables \
            and the state are. The directory must be initialized.",
    flags: &[
        &[
            switch("json", "As JSON, for programs."),
            switch("no-tests", "Leave test files out."),
            one("test-directory", "path", "Where test files are (tests)."),
        ],
        NO_COLOUR,
    ],
    run,
};

fn run(flags: &Flags) -> ExitCode {
    let json = flags.is("json");
    let terminal = Terminal::new(flags.is("no-color") || json, false);
    let mut sources = Sources::new();
    let place = Place::here();
    let tests = (!flags.is("no-tests")).then(|| {
        flags
            .text("test-directory")
            .unwrap_or(config::TEST_DIRECTORY)
            .to_owned()
    });
    let diagnostics = wait(async {
        let (tree, mut diagnostics) = session::load(&place, tests.as_deref(), &mut sources);
        let Some(tree) = tree.filter(|_| !diagnostics.has_errors()) else {
            diagnostics.sort(&sources);
            return diagnostics;
        };
        match session::installed_for(Purpose::Validate, &place, &tree, [], &mut sources) {
            Ok(installed) => {
                let input = Input {
                    tree: &tree,
                    sources: &sources,
                    functions: session::language(true, ""),
                    providers: &installed,
                    provisioners: &consort_infra::provisioner::Builtin,
                    variables: std::collections::BTreeMap::new(),
                    given: std::collections::BTreeMap::new(),
                    workspace: &place.workspace().0,
                    watcher: &Silent,
                    parallelism: 10,
                    cancel: CancellationToken::new(),
                    directory: None,
                    under_test: None,
                };
                diagnostics.append(validate(&input, true).await);
                diagnostics.append(check_runs(&tree));
            }
            Err(found) => diagnostics.append(found),
        }
        diagnostics.sort(&sources);
        diagnostics
    });
    let valid = !diagnostics.has_errors();
    if json {
        as_json(&diagnostics, &sources, valid);
    } else if valid {
        let warned = if diagnostics.is_empty() {
            "The configuration is valid."
        } else {
            "The configuration is valid, but there were some validation warnings as shown above."
        };
        terminal.diagnose(&diagnostics, &sources);
        let success = terminal.green("Success!");
        terminal.say(&format!("{success} {warned}\n"));
    } else {
        terminal.diagnose(&diagnostics, &sources);
    }
    if valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn as_json(diagnostics: &Diagnostics, sources: &Sources, valid: bool) {
    let all: Vec<serde_json::Value> = diagnostics
        .into_iter()
        .map(|diagnostic| diagnostic::json(diagnostic, sources))
        .collect();
    let errors = diagnostics.into_iter().filter(|d| d.is_error()).count();
    let report = json!({
        "format_version": "1.0",
        "valid": valid,
        "error_count": errors,
        "warning_count": all.len() - errors,
        "diagnostics": all,
    });
    // Go writes these characters so, and they stand only in texts.
    let text = serde_json::to_string_pretty(&report)
        .unwrap_or_default()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    crate::output::print(&format!("{text}\n"));
}
