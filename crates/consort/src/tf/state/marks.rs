//! `taint` and `untaint`.

use std::process::ExitCode;

use consort_hcl::Sources;
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_infra::address::{Key, Mode, Target};
use consort_infra::state::{MarkError, Status};

use super::edit::change;
use super::{REMOTE, finish, plain, target, usage};
use crate::tf::flags::{Flag, Flags, switch};
use crate::tf::place::error;
use crate::tf::{Command, LOCAL, LOCK, wait};

const MISSING: &[Flag] = &[switch(
    "allow-missing",
    "Succeed also when there is no such instance.",
)];

pub(in crate::tf) const TAINT: Command = Command {
    name: "taint",
    usage: "[options] ADDRESS",
    short: "Mark an instance to be replaced",
    about: "Marks a resource instance as not fully working: the next plan replaces it.",
    flags: &[MISSING, LOCK, LOCAL, REMOTE],
    run: taint,
};

pub(in crate::tf) const UNTAINT: Command = Command {
    name: "untaint",
    usage: "[options] ADDRESS",
    short: "Take that mark away",
    about: "Takes the mark for replacement from a resource instance.",
    flags: &[MISSING, LOCK, LOCAL, REMOTE],
    run: untaint,
};

fn taint(flags: &Flags) -> ExitCode {
    mark(flags, &TAINT, Status::Tainted)
}

fn untaint(flags: &Flags) -> ExitCode {
    mark(flags, &UNTAINT, Status::Ready)
}

fn mark(flags: &Flags, command: &Command, status: Status) -> ExitCode {
    let [text] = flags.rest.as_slice() else {
        let problem = format!("The {} command expects exactly one argument.", command.name);
        return usage(command, &problem);
    };
    let terminal = plain();
    let mut sources = Sources::new();
    let address = match target(text) {
        Ok(Target::Instance(instance)) => instance,
        Ok(Target::Resource(resource)) => resource.instance(Key::None),
        Ok(Target::Module(_)) => {
            terminal.error("Invalid address", "A resource instance is expected.");
            return ExitCode::FAILURE;
        }
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            return ExitCode::FAILURE;
        }
    };
    if address.resource.mode != Mode::Managed {
        terminal.complain(&format!("Resource instance {address} cannot be tainted"));
        return ExitCode::FAILURE;
    }
    let allowed = flags.is("allow-missing");
    let mut missing = None;
    let done = wait(change(
        flags,
        &mut sources,
        command.name,
        |state| match state.mark(&address, status) {
            Ok(()) => {
                let what = match status {
                    Status::Tainted => "has been marked as tainted",
                    Status::Ready => "has been successfully untainted",
                };
                Ok((format!("Resource instance {address} {what}.\n"), true))
            }
            Err(MarkError::Missing(address)) if allowed => {
                missing = Some(address);
                Ok((String::new(), false))
            }
            Err(wrong @ MarkError::Missing(_)) => Err(error(
                "No such resource instance",
                format!(
                    "{wrong} If the resource configuration has just been added, you must run \"terraform \
                     apply\" once to create the corresponding instance(s) before they can be tainted."
                ),
            )),
            Err(wrong @ MarkError::NotTainted(_)) => {
                Err(error("Resource instance is not tainted", wrong.to_string()))
            }
        },
    ));
    if let Some(address) = missing {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(Diagnostic::warning(
            "No such resource instance",
            format!(
                "Resource instance {address} was not found, but this is not an error because -allow-missing \
                 was set."
            ),
        ));
        terminal.diagnose(&diagnostics, &sources);
    }
    finish(&terminal, done, &sources)
}
