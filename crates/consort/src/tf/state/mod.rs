//! Commands that look at the state or change it by hand.

mod edit;
mod look;
mod marks;
mod object;
mod unlock;

use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::Target;

use super::Command;
use super::flags::{Flag, switch};
use super::place::{causes, error};
use super::terminal::Terminal;

pub(super) use edit::{MV, PUSH, REPLACE_PROVIDER, RM};
pub(super) use look::{LIST, PULL, SHOW};
pub(super) use marks::{TAINT, UNTAINT};
pub(super) use object::{object_text, schemas};
pub(super) use unlock::FORCE_UNLOCK;

const REMOTE: &[Flag] = &[switch(
    "ignore-remote-version",
    "Taken and of no effect: no backend here runs a version of its own.",
)];

/// What was done, or why not.
type Done = Result<String, Diagnostics>;

fn finish(terminal: &Terminal, done: Done, sources: &Sources) -> ExitCode {
    match done {
        Ok(text) => {
            if !text.is_empty() {
                crate::output::print(&text);
            }
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, sources);
            ExitCode::FAILURE
        }
    }
}

fn plain() -> Terminal {
    Terminal::new(false, true)
}

fn usage(command: &Command, problem: &str) -> ExitCode {
    plain().complain(&format!("{problem}\n\n{}", super::help(command)));
    ExitCode::FAILURE
}

fn target(text: &str) -> Result<Target, Diagnostics> {
    text.parse()
        .map_err(|wrong| error("Invalid address", format!("{}.", causes(&wrong))))
}
