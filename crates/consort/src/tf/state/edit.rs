//! `state mv`, `state rm`, `state push` and `state replace-provider`.

use std::path::Path;
use std::process::ExitCode;

use consort_backend::Kind;
use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::ProviderSource;
use consort_infra::config::parse_provider_source;
use consort_infra::state::State;

use super::{Done, REMOTE, finish, plain, target, usage};
use crate::tf::encryption::sealed;
use crate::tf::flags::{Flag, Flags, one, switch};
use crate::tf::place::{Backing, Held, Place, causes, decode, error, local_paths, locking_of};
use crate::tf::{Command, LOCAL, LOCK, VERSION, wait};

const DRY_RUN: &[Flag] = &[switch("dry-run", "Only tell what would be done.")];

const APPROVE: &[Flag] = &[switch("auto-approve", "Do not ask before doing it.")];

pub(in crate::tf) const MV: Command = Command {
    name: "state mv",
    usage: "[options] SOURCE DESTINATION",
    short: "Move something in the state",
    about: "Gives a resource instance, a resource or a module another address, in this state or in another \
            state file. What was before is kept in a backup.",
    flags: &[
        DRY_RUN,
        LOCK,
        LOCAL,
        &[one(
            "backup-out",
            "path",
            "Where to keep the other state from before.",
        )],
        REMOTE,
    ],
    run: mv,
};

pub(in crate::tf) const RM: Command = Command {
    name: "state rm",
    usage: "[options] ADDRESS...",
    short: "Forget something the state holds",
    about: "Takes what the addresses match out of the state. The objects themselves stay as they are, and \
            nobody manages them any more.",
    flags: &[DRY_RUN, LOCK, LOCAL, REMOTE],
    run: rm,
};

pub(in crate::tf) const PUSH: Command = Command {
    name: "state push",
    usage: "[options] PATH",
    short: "Store a state file",
    about: "Makes a state file the newest snapshot. A file of another lineage or an older serial is refused \
            unless forced. - reads standard input.",
    flags: &[
        &[switch(
            "force",
            "Also if lineage or serial speak against it.",
        )],
        LOCK,
        REMOTE,
    ],
    run: push,
};

pub(in crate::tf) const REPLACE_PROVIDER: Command = Command {
    name: "state replace-provider",
    usage: "[options] FROM TO",
    short: "Give resources to another provider",
    about: "Gives the resources of one provider to another one that takes its place.",
    flags: &[APPROVE, LOCK, LOCAL, REMOTE],
    run: replace_provider,
};

/// What the state was before, in a file of its own: changes by hand cannot be undone otherwise.
async fn keep_backup(
    backing: &Backing,
    held: &Held,
    asked: Option<&str>,
) -> Result<(), Diagnostics> {
    if asked == Some("-") || backing.settings.kind() != Kind::Local {
        return Ok(());
    }
    let Some(before) = &held.read else {
        return Ok(());
    };
    let path = asked.map_or_else(
        || {
            let now = jiff::Timestamp::now().as_second();
            let file = held
                .snapshots
                .file()
                .unwrap_or(Path::new("terraform.tfstate"));
            let mut name = file.as_os_str().to_owned();
            name.push(format!(".{now}.backup"));
            name.into()
        },
        std::path::PathBuf::from,
    );
    let bytes = sealed(held.target.as_ref(), before.write()).await?;
    std::fs::write(&path, bytes).map_err(|failed| {
        error(
            "Failed to write the backup",
            format!("Writing {}: {failed}.", path.display()),
        )
    })
}

/// Holds the state, changes it, and writes it if the change says so.
pub(super) async fn change(
    flags: &Flags,
    sources: &mut Sources,
    operation: &str,
    work: impl FnOnce(&mut State) -> Result<(String, bool), Diagnostics>,
) -> Done {
    let locking = locking_of(flags)
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
    let mut paths = local_paths(flags);
    // These commands keep a backup of their own.
    let asked = paths.backup.take();
    paths.backup = Some("-".into());
    let backing = Place::here().backing(sources, &paths)?;
    let mut held = backing.hold(operation, locking).await?;
    let mut state = held.state.clone();
    let done = match work(&mut state) {
        Ok((text, false)) => Ok(text),
        Ok((text, true)) => {
            let backup = asked.as_ref().and_then(|path| path.to_str());
            match keep_backup(&backing, &held, backup).await {
                Ok(()) => held.save(&state).await.map(|()| text),
                Err(diagnostics) => Err(diagnostics),
            }
        }
        Err(diagnostics) => Err(diagnostics),
    };
    held.release().await?;
    done
}

fn mv(flags: &Flags) -> ExitCode {
    let [from, to] = flags.rest.as_slice() else {
        return usage(&MV, "Exactly two arguments expected.\n");
    };
    let terminal = plain();
    let mut sources = Sources::new();
    // Another state file is the target, and the selected state loses what moves.
    let other = flags.text("state-out").map(str::to_owned);
    let own = flags.without("state-out");
    let dry = flags.is("dry-run");
    if other.is_some() && crate::tf::encryption::is_configured(&Place::here(), &mut sources) {
        terminal.error(
            "State of another file and encryption",
            "-state-out writes another state file, which the encryption configuration says nothing of. Move what \
             is to be moved with \"state pull\" and \"state push\" of both configurations.",
        );
        return ExitCode::FAILURE;
    }
    let done = wait(change(&own, &mut sources, "state-mv", |state| {
        let (source, destination) = (target(from)?, target(to)?);
        let refused = |wrong: consort_infra::state::MoveError| {
            let summary = match &wrong {
                consort_infra::state::MoveError::NoSource(_) => "Invalid source address",
                _ => "Invalid target address",
            };
            error(summary, wrong.to_string())
        };
        let mut elsewhere = match &other {
            None => None,
            Some(path) if Path::new(path).exists() => {
                let bytes = std::fs::read(path).map_err(|failed| {
                    error("Failed to load state", format!("{path}: {failed}."))
                })?;
                Some(decode(&bytes)?)
            }
            Some(_) => Some(State::new()),
        };
        let before = elsewhere
            .as_ref()
            .filter(|state| state.serial > 0)
            .map(State::write);
        let count = state
            .relocate(&source, &destination, elsewhere.as_mut())
            .map_err(refused)?;
        if dry {
            return Ok((
                format!("Would move \"{source}\" to \"{destination}\"\n"),
                false,
            ));
        }
        if let (Some(path), Some(mut moved)) = (&other, elsewhere) {
            let failed = |failed: std::io::Error| {
                error("Failed to save state", format!("{path}: {failed}."))
            };
            if let Some(before) = before {
                let backup = flags
                    .text("backup-out")
                    .map_or_else(|| format!("{path}.backup"), str::to_owned);
                std::fs::write(backup, before).map_err(failed)?;
            }
            moved.serial += 1;
            VERSION.clone_into(&mut moved.terraform_version);
            // Written before this state loses it: a crash in between leaves it in both, never in none.
            std::fs::write(path, moved.write()).map_err(failed)?;
        }
        Ok((
            format!(
                "Move \"{source}\" to \"{destination}\"\nSuccessfully moved {count} object(s).\n"
            ),
            true,
        ))
    }));
    finish(&terminal, done, &sources)
}

fn rm(flags: &Flags) -> ExitCode {
    if flags.rest.is_empty() {
        return usage(&RM, "At least one address is required.\n");
    }
    let terminal = plain();
    let mut sources = Sources::new();
    let dry = flags.is("dry-run");
    let addresses = flags.rest.clone();
    let done = wait(change(flags, &mut sources, "state-rm", |state| {
        let mut gone = Vec::new();
        for text in &addresses {
            gone.extend(state.forget(&target(text)?));
        }
        if gone.is_empty() {
            return Err(error(
                "Invalid target address",
                "No matching objects found. To view the available instances, use \"terraform state list\". \
                 Please modify the address to reference a specific instance.",
            ));
        }
        let verb = if dry { "Would remove" } else { "Removed" };
        let mut text: String = gone
            .iter()
            .map(|address| format!("{verb} {address}\n"))
            .collect();
        if !dry {
            text.push_str(&format!(
                "Successfully removed {} resource instance(s).\n",
                gone.len()
            ));
        }
        Ok((text, !dry))
    }));
    finish(&terminal, done, &sources)
}

fn push(flags: &Flags) -> ExitCode {
    let [path] = flags.rest.as_slice() else {
        return usage(
            &PUSH,
            "Exactly one argument expected: path to state to push\n",
        );
    };
    let terminal = plain();
    let bytes = if path == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(failed) => {
            terminal.complain(&format!("open {path}: {failed}"));
            return ExitCode::FAILURE;
        }
    };
    let mut sources = Sources::new();
    let done = wait(async {
        let pushed = decode(&bytes)?;
        let locking = locking_of(flags)
            .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()))?;
        let backing = Place::here().backing(&mut sources, &local_paths(flags))?;
        let held = backing.hold("state-push", locking).await?;
        let refused = match &held.read {
            Some(stored) if !flags.is("force") => {
                if stored.lineage != pushed.lineage && !stored.is_empty() {
                    Some(format!(
                        "cannot import state with lineage {:?} over unrelated state with lineage {:?}",
                        pushed.lineage, stored.lineage
                    ))
                } else if stored.lineage == pushed.lineage && stored.serial > pushed.serial {
                    Some(format!(
                        "cannot import state with serial {} over newer state with serial {}",
                        pushed.serial, stored.serial
                    ))
                } else if stored.lineage == pushed.lineage
                    && stored.serial == pushed.serial
                    && !stored.same_contents(&pushed)
                {
                    Some(format!(
                        "cannot overwrite existing state with serial {} with a different state that has the same serial",
                        stored.serial
                    ))
                } else {
                    None
                }
            }
            _ => None,
        };
        let written = match refused {
            Some(why) => Err(error("Failed to write state", why)),
            None => held
                .snapshots
                .write(pushed.write().into_bytes())
                .await
                .map_err(|failed| error("Failed to save state", causes(&failed))),
        };
        held.release().await?;
        written.map(|()| String::new())
    });
    finish(&terminal, done, &sources)
}

fn replace_provider(flags: &Flags) -> ExitCode {
    let [from, to] = flags.rest.as_slice() else {
        return usage(&REPLACE_PROVIDER, "Exactly two arguments expected.\n");
    };
    let terminal = plain();
    let mut sources = Sources::new();
    let asked = terminal.clone();
    let approved = flags.is("auto-approve");
    let done = wait(change(
        flags,
        &mut sources,
        "state-replace-provider",
        |state| {
            let provider = |text: &str| -> Result<ProviderSource, Diagnostics> {
                parse_provider_source(text).map_err(|wrong| {
                    error("Invalid provider address", format!("{text:?}: {wrong:?}."))
                })
            };
            let (from, to) = (provider(from)?, provider(to)?);
            let changed = state.replace_provider(&from, &to);
            if changed.is_empty() {
                return Ok(("No matching resources found.\n".to_owned(), false));
            }
            let list: String = changed
                .iter()
                .map(|address| format!("  {address}\n"))
                .collect();
            let count = changed.len();
            let plan = format!(
                "Terraform will perform the following actions:\n\n  ~ Updating provider:\n    - {from}\n    + {to}\n\n\
             Changing {count} resources:\n\n{list}\n"
            );
            if !approved {
                crate::output::print(&plan);
                let answer = asked.ask(
                    "Do you want to make these changes?",
                    "Only 'yes' will be accepted to continue.",
                    "Enter a value:",
                );
                if answer.as_deref() != Some("yes") {
                    return Ok(("Cancelled replacing providers.\n".to_owned(), false));
                }
                return Ok((
                    format!("Successfully replaced provider for {count} resources.\n"),
                    true,
                ));
            }
            Ok((
                format!("{plan}Successfully replaced provider for {count} resources.\n"),
                true,
            ))
        },
    ));
    finish(&terminal, done, &sources)
}
