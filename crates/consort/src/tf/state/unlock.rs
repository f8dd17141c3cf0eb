//! `force-unlock`.

use std::process::ExitCode;
use std::time::Duration;

use consort_hcl::Sources;

use super::{plain, usage};
use crate::tf::flags::{Flags, switch};
use crate::tf::place::{Place, causes, local_paths};
use crate::tf::{Command, wait};

pub(in crate::tf) const FORCE_UNLOCK: Command = Command {
    name: "force-unlock",
    usage: "[options] LOCK_ID",
    short: "Remove a lock that was left behind",
    about: "Removes the lock of the selected workspace's state. The lock of a local state ends with the \
            process that holds it and cannot be removed by another.",
    flags: &[&[switch("force", "Do not ask.")]],
    run: force_unlock,
};

fn force_unlock(flags: &Flags) -> ExitCode {
    let [id] = flags.rest.as_slice() else {
        return usage(&FORCE_UNLOCK, "Expected a single argument: LOCK_ID");
    };
    let terminal = plain();
    let mut sources = Sources::new();
    let found = Place::here().backing(&mut sources, &local_paths(flags));
    let backing = match found {
        Ok(backing) => backing,
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            return ExitCode::FAILURE;
        }
    };
    if !flags.is("force") {
        let answer = terminal.ask(
            "Do you really want to force-unlock?",
            "Terraform will remove the lock on the remote state.\nThis will allow local Terraform commands to \
             modify this state, even though it\nmay still be in use. Only 'yes' will be accepted to confirm.",
            "Enter a value:",
        );
        if answer.as_deref() != Some("yes") {
            terminal.say("force-unlock cancelled.");
            return ExitCode::FAILURE;
        }
    }
    let done = wait(async {
        let snapshots = backing.backend.snapshots(&backing.workspace)?;
        tokio::time::timeout(Duration::from_secs(120), snapshots.unlock(id))
            .await
            .unwrap_or_else(|_| {
                Err(consort_backend::Error::Remote(
                    "the backend does not answer".to_owned(),
                ))
            })
    });
    match done {
        Ok(()) => {
            terminal.say(&terminal.green(
                "Terraform state has been successfully unlocked!\n\nThe state has been unlocked, and Terraform \
                 commands should now be able to\nobtain a new lock on the remote state.",
            ));
            ExitCode::SUCCESS
        }
        Err(failed) => {
            terminal.complain(&format!("Failed to unlock state: {}", causes(&failed)));
            ExitCode::FAILURE
        }
    }
}
