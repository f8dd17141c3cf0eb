//! `test`.

mod human;
mod json;
mod junit;

use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::config::{self, GivenValues};
use consort_infra::testing::{FileReport, Reporter, Status, Suite};
use tokio_util::sync::CancellationToken;

use super::flags::{Flags, many, one, switch};
use super::place::{Place, error};
use super::session;
use super::terminal::Terminal;
use super::{Command, NO_COLOUR, wait};
use human::Human;
use json::Json;

pub(super) const COMMAND: Command = Command {
    name: "test",
    usage: "[options]",
    short: "Run the tests of the configuration",
    about: "Runs the runs of the test files (*.tftest.hcl, *.tftest.json) beside the configuration and in the \
            directory for tests, checks what they assert, and destroys what they made.\n\nWhat is not mocked is \
            real: watch whether the clean-up succeeds.",
    flags: &[
        &[
            one(
                "cloud-run",
                "source",
                "Refused: there is no service to run tests elsewhere.",
            ),
            many(
                "filter",
                "testfile",
                "Only this test file; may be given several times.",
            ),
            switch("json", "As lines of JSON, for programs."),
            one(
                "junit-xml",
                "path",
                "Write a report for programs that read JUnit's.",
            ),
            one("test-directory", "path", "Where test files are (tests)."),
            many("var", "'name=value'", "Set a variable of the root module."),
            many("var-file", "file", "Set variables as a file says."),
            switch("verbose", "Show the plan or the state of each run."),
        ],
        NO_COLOUR,
    ],
    run,
};

/// What an interrupt says.
const INTERRUPTED: &str = "\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.\nGracefully shutting down...\n";

/// What a second one says.
const ABANDONED: &str =
    "\nTwo interrupts received. Exiting immediately. Note that data loss may have occurred.\n";

/// A reporter that also tells of what is no part of the tests.
trait View: Reporter {
    /// What is wrong before the tests begin, or after them.
    fn diagnostics(&self, diagnostics: &Diagnostics, sources: &Sources);

    /// Something to be told at once.
    fn notice(&self, text: &str);

    /// How all of it ended.
    fn conclusion(&self, status: Status, files: &[FileReport]);
}

fn run(flags: &Flags) -> ExitCode {
    let json = flags.is("json");
    let terminal = Terminal::new(flags.is("no-color") || json, false);
    let view: Arc<dyn View> = if json {
        Arc::new(Json::new(&terminal))
    } else {
        Arc::new(Human::new(terminal))
    };
    let mut sources = Sources::new();
    match wait(tests(flags, &view, &mut sources)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(diagnostics) => {
            view.diagnostics(&diagnostics, &sources);
            ExitCode::FAILURE
        }
    }
}

/// Whether all passed.
async fn tests(
    flags: &Flags,
    view: &Arc<dyn View>,
    sources: &mut Sources,
) -> Result<bool, Diagnostics> {
    if flags.text("cloud-run").is_some() {
        return Err(error(
            "Tests cannot be run elsewhere",
            "The -cloud-run option needs HCP Terraform or Terraform Enterprise, which this program does not use. \
             Without it the tests run here.",
        ));
    }
    let place = Place::here();
    let directory = flags
        .text("test-directory")
        .unwrap_or(config::TEST_DIRECTORY);
    let (tree, mut diagnostics) = session::load_any(&place, Some(directory), sources);
    let Some(tree) = tree.filter(|_| !diagnostics.has_errors()) else {
        return Err(diagnostics);
    };
    let options = session::variable_options(flags);
    let (mut globals, found) =
        GivenValues::collect(place.root(), session::environment(), &options, sources);
    diagnostics.append(found);
    // Those beside the tests count before all others.
    let mut beside = GivenValues::default();
    diagnostics.append(beside.add_directory(&place.root().join(directory), sources));
    globals.overlay(beside);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let installed = session::installed(&place, &tree, [], sources);
    let installed = match installed {
        Ok(installed) => installed,
        Err(found) => {
            diagnostics.append(found);
            return Err(diagnostics);
        }
    };
    if !diagnostics.is_empty() {
        view.diagnostics(&diagnostics, sources);
    }
    let (stop, cancel) = (CancellationToken::new(), CancellationToken::new());
    let workspace = place.workspace().0;
    let suite = Suite {
        tree: &tree,
        sources: sources.clone(),
        providers: &installed,
        provisioners: &consort_infra::provisioner::Builtin,
        language: &session::language,
        now: &|| {
            jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
        },
        globals,
        workspace: &workspace,
        parallelism: 10,
        filter: flags.all("filter").to_vec(),
        verbose: flags.is("verbose"),
        stop: stop.clone(),
        cancel: cancel.clone(),
        reporter: &**view,
    };
    // Interrupts are listened to before anything is begun.
    let (files, known) = tokio::select! {
        biased;
        never = interrupts(view, stop, cancel) => match never {},
        done = suite.run() => done,
    };
    *sources = known;
    let status = files
        .iter()
        .map(|file| file.status)
        .fold(Status::Pass, Status::merge);
    view.conclusion(status, &files);
    let mut passed = status == Status::Pass;
    if let Some(path) = flags.text("junit-xml").filter(|path| !path.is_empty()) {
        let report = junit::report(&files, sources);
        if let Err(failed) = std::fs::write(path, report) {
            let why = if failed.kind() == std::io::ErrorKind::NotFound {
                "no such file or directory".to_owned()
            } else {
                failed.to_string()
            };
            let found = error(
                &format!("error saving JUnit XML to file {path:?}"),
                format!("open {path}: {why}"),
            );
            view.diagnostics(&found, sources);
            passed = false;
        }
    }
    Ok(passed)
}

/// The first ends after the run that is under way, the second at once.
async fn interrupts(
    view: &Arc<dyn View>,
    stop: CancellationToken,
    cancel: CancellationToken,
) -> std::convert::Infallible {
    for (token, text) in [(stop, INTERRUPTED), (cancel, ABANDONED)] {
        if tokio::signal::ctrl_c().await.is_err() {
            break;
        }
        view.notice(text);
        token.cancel();
    }
    std::future::pending().await
}

/// How many runs ended in one way.
fn count(files: &[FileReport], status: Status) -> usize {
    files
        .iter()
        .flat_map(|file| &file.runs)
        .filter(|run| run.status == status)
        .count()
}

/// `1 passed, 0 failed, 2 skipped.`
fn summary(files: &[FileReport]) -> String {
    let failed = count(files, Status::Fail) + count(files, Status::Error);
    let mut text = format!("{} passed, {failed} failed", count(files, Status::Pass));
    let skipped = count(files, Status::Skip);
    if skipped > 0 {
        text.push_str(&format!(", {skipped} skipped"));
    }
    text.push('.');
    text
}

/// The word for a status that people and programs read in sentences.
fn word(status: Status) -> &'static str {
    match status {
        Status::Error | Status::Fail => "fail",
        other => other.word(),
    }
}
