//! Tests as people read them.

use std::fmt::Write as _;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::Mode;
use consort_infra::provider::schema::Kind;
use consort_infra::testing::{Event, FileReport, Left, Reporter, Status, Verbose};

use super::super::plan_text::{self, Types};
use super::super::show::state_text;
use super::super::terminal::Terminal;
use super::{View, summary, word};

/// Tells of tests on the terminal.
pub(super) struct Human {
    terminal: Terminal,
}

impl Human {
    pub(super) fn new(terminal: Terminal) -> Human {
        Human { terminal }
    }

    fn painted(&self, status: Status) -> String {
        let colour = match status {
            Status::Pass => "32",
            Status::Fail | Status::Error => "31",
            Status::Skip | Status::Pending => "37",
        };
        self.terminal.colours().paint(colour, word(status))
    }

    fn grey(&self, text: &str) -> String {
        self.terminal.colours().paint("37", text)
    }

    fn told(&self, diagnostics: &Diagnostics, sources: &Sources) {
        let mut sorted = diagnostics.clone();
        sorted.sort(sources);
        self.terminal.diagnose(&sorted, sources);
    }

    /// A paragraph on standard error.
    fn paragraph(&self, text: &str) {
        let mut wrapped = String::new();
        for line in text.lines() {
            let lines = super::super::flags::wrap(line, self.terminal.width());
            wrapped.push_str(&lines.join("\n"));
            wrapped.push('\n');
        }
        self.terminal.complain(wrapped.trim_end_matches('\n'));
    }

    fn listed(&self, left: &Left) {
        for (address, deposed) in &left.objects {
            let key = deposed
                .as_ref()
                .map(|key| format!(" ({key})"))
                .unwrap_or_default();
            self.terminal.complain(&format!("  - {address}{key}"));
        }
    }

    /// The plan or the state of a run.
    fn verbose(&self, verbose: &Verbose) -> String {
        let colours = self.terminal.colours();
        let Some(state) = &verbose.state else {
            let types = Types::among(&verbose.plan, &verbose.schemas);
            return format!("{}\n", plan_text::text(&verbose.plan, &types, colours));
        };
        let found = state_text(&self.terminal, state, &|provider, mode, kind| {
            let of = match mode {
                Mode::Managed => Kind::Managed,
                Mode::Data => Kind::Data,
                Mode::Ephemeral => Kind::Ephemeral,
            };
            verbose.schemas.get(provider)?.resource(of, kind).ok()
        });
        match found {
            Ok(text) if state.outputs.is_empty() => format!("\n{text}"),
            Ok(text) => format!("\n{text}\n"),
            Err(_) => String::new(),
        }
    }
}

impl Reporter for Human {
    fn event(&self, event: &Event<'_>, sources: &Sources) {
        match event {
            Event::Found(_) | Event::Run { .. } => {}
            Event::FileStarting { file } => self
                .terminal
                .say(&format!("{file}... {}", self.grey("in progress"))),
            Event::FileTearDown { file } => self
                .terminal
                .say(&format!("{file}... {}", self.grey("tearing down"))),
            Event::FileDone(report) => {
                self.terminal.say(&format!(
                    "{}... {}",
                    report.name,
                    self.painted(report.status)
                ));
                self.told(&report.diagnostics, sources);
            }
            Event::RunDone { report, .. } => {
                let mut text = format!(
                    "  run {:?}... {}\n",
                    &*report.name,
                    self.painted(report.status)
                );
                if let Some(verbose) = &report.verbose {
                    let _ = write!(text, "{}", self.verbose(verbose));
                }
                crate::output::print(&text);
                self.told(&report.diagnostics, sources);
                // Warnings stand between the lines of runs: what follows is set off.
                if report.diagnostics.iter().any(|found| !found.is_error()) {
                    self.terminal.say("");
                }
            }
            Event::Destroyed {
                file,
                run,
                diagnostics,
                left,
            } => {
                if diagnostics.has_errors() {
                    self.paragraph(&format!(
                        "Terraform encountered an error destroying resources created while executing {file}/{run}."
                    ));
                }
                self.told(diagnostics, sources);
                if !left.objects.is_empty() {
                    self.paragraph(&format!(
                        "\nTerraform left the following resources in state after executing {file}/{run}, and they need to be cleaned up manually:"
                    ));
                    self.listed(left);
                }
            }
            Event::Abandoned {
                file,
                run,
                left,
                others,
                planned,
                module,
            } => {
                self.paragraph(&format!(
                    "\nTerraform was interrupted while executing {file}, and may not have performed the expected cleanup operations."
                ));
                if !left.objects.is_empty() {
                    self.paragraph(
                        "\nTerraform has already created the following resources from the module under test:",
                    );
                    self.listed(left);
                }
                for (run, source, left) in *others {
                    if left.objects.is_empty() {
                        continue;
                    }
                    self.paragraph(&format!(
                        "\nTerraform has already created the following resources for {:?} from {source:?}:",
                        &**run
                    ));
                    self.listed(left);
                }
                if !planned.is_empty() {
                    let from = module.map_or_else(
                        || "the module under test".to_owned(),
                        |module| format!("{module:?}"),
                    );
                    self.paragraph(&format!(
                        "\nTerraform was in the process of creating the following resources for {run:?} from {from}, and they may not have been destroyed:"
                    ));
                    for address in *planned {
                        self.terminal.complain(&format!("  - {address}"));
                    }
                }
            }
        }
    }
}

impl View for Human {
    fn diagnostics(&self, diagnostics: &Diagnostics, sources: &Sources) {
        self.told(diagnostics, sources);
    }

    fn notice(&self, text: &str) {
        self.paragraph(text);
        self.terminal.complain("");
    }

    fn conclusion(&self, status: Status, files: &[FileReport]) {
        let head = if status == Status::Pass {
            self.terminal.colours().paint("32", "Success!")
        } else {
            self.terminal.colours().paint("31", "Failure!")
        };
        self.terminal.say(&format!("\n{head} {}", summary(files)));
    }
}
