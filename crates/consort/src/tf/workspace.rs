//! `workspace`: several states of one configuration.

use std::process::ExitCode;
use std::time::Duration;

use consort_backend::{DEFAULT_WORKSPACE, valid_workspace};
use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::state::State;

use super::flags::{Flag, Flags, one, switch};
use super::place::{Backing, Locking, Place, causes, decode, error, local_paths, locking_of};
use super::terminal::Terminal;
use super::{Command, LOCK, wait};

const OR_CREATE: &[Flag] = &[switch("or-create", "Make the workspace if there is none.")];

pub(super) const LIST: Command = Command {
    name: "workspace list",
    usage: "",
    short: "List workspaces",
    about: "Lists the workspaces that have state; a star marks the selected one.",
    flags: &[],
    run: list,
};

pub(super) const SHOW: Command = Command {
    name: "workspace show",
    usage: "",
    short: "Show the name of the selected workspace",
    about: "Prints the name of the selected workspace.",
    flags: &[],
    run: show,
};

pub(super) const NEW: Command = Command {
    name: "workspace new",
    usage: "[options] NAME",
    short: "Make a workspace and select it",
    about: "Makes a workspace with an empty state, or with a copy of the state in a file, and selects it.",
    flags: &[
        LOCK,
        &[one(
            "state",
            "path",
            "State file to copy into the workspace.",
        )],
    ],
    run: new,
};

pub(super) const SELECT: Command = Command {
    name: "workspace select",
    usage: "[options] NAME",
    short: "Select a workspace",
    about: "Selects the workspace that the commands to come work on.",
    flags: &[OR_CREATE],
    run: select,
};

pub(super) const DELETE: Command = Command {
    name: "workspace delete",
    usage: "[options] NAME",
    short: "Delete a workspace",
    about: "Deletes a workspace that holds no resources any more.",
    flags: &[
        &[switch(
            "force",
            "Also if it still holds resources, which are then managed by nobody.",
        )],
        LOCK,
    ],
    run: delete,
};

const MISSING: &str = "You can create this workspace with the \"new\" subcommand \nor include the \
                       \"-or-create\" flag with the \"select\" subcommand.";
const CREATED: &str = "You're now on a new, empty workspace. Workspaces isolate their state,\nso if you run \
                       \"terraform plan\" Terraform will not see any existing state\nfor this configuration.";

/// What a sub-command found out, or why it could not.
enum Failure {
    Diagnostics(Diagnostics),
    Said(String),
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Failure {
        Failure::Diagnostics(diagnostics)
    }
}

fn said(text: impl Into<String>) -> Failure {
    Failure::Said(text.into())
}

fn finish(done: Result<String, Failure>, sources: &Sources) -> ExitCode {
    let terminal = Terminal::new(false, false);
    match done {
        Ok(text) => {
            if !text.is_empty() {
                terminal.say(&text);
            }
            ExitCode::SUCCESS
        }
        Err(Failure::Said(text)) => {
            terminal.complain(&text);
            ExitCode::FAILURE
        }
        Err(Failure::Diagnostics(diagnostics)) => {
            terminal.diagnose(&diagnostics, sources);
            ExitCode::FAILURE
        }
    }
}

async fn names(backing: &Backing) -> Result<Vec<String>, Failure> {
    backing
        .backend
        .workspaces()
        .await
        .map_err(|failed| said(causes(&failed)))
}

fn name<'f>(flags: &'f Flags, place: &Place) -> Result<&'f str, Failure> {
    if place.workspace().1 {
        return Err(said(
            "The selected workspace is currently overridden using the TF_WORKSPACE\nenvironment variable.\n\n\
             To select a new workspace, either update this environment variable or unset\nit and then run \
             this command again.",
        ));
    }
    let [name] = flags.rest.as_slice() else {
        return Err(said("Expected a single argument: NAME."));
    };
    if !valid_workspace(name) {
        return Err(said(format!(
            "The workspace name {name:?} is not allowed. The name must contain only URL safe\ncharacters, and \
             no path separators."
        )));
    }
    Ok(name)
}

fn list(flags: &Flags) -> ExitCode {
    let mut sources = Sources::new();
    let done = wait(async {
        let place = Place::here();
        let backing = place.backing(&mut sources, &local_paths(flags))?;
        let (current, overridden) = place.workspace();
        let mut text = String::new();
        for name in names(&backing).await? {
            let mark = if name == current { "*" } else { " " };
            text.push_str(&format!("{mark} {name}\n"));
        }
        if overridden {
            text.push_str("\nThe active workspace is being overridden using the TF_WORKSPACE environment\nvariable.\n");
        }
        Ok(text)
    });
    finish(done, &sources)
}

fn show(_: &Flags) -> ExitCode {
    finish(Ok(Place::here().workspace().0), &Sources::new())
}

/// Writes a state into a workspace that has none.
async fn create(backing: &Backing, locking: Locking, copied: Option<State>) -> Result<(), Failure> {
    backing
        .backend
        .create(&backing.workspace)
        .await
        .map_err(|failed| said(causes(&failed)))?;
    // A directory alone is a workspace to the local backend; the others know it by its state.
    if backing.settings.kind() == consort_backend::Kind::Local && copied.is_none() {
        return Ok(());
    }
    let held = backing.hold("workspace-new", locking).await?;
    let mut state = copied.unwrap_or_default();
    if state.lineage.is_empty() {
        state.lineage = State::new().lineage;
    }
    let written = held.snapshots.write(state.write().into_bytes()).await;
    held.release().await?;
    written.map_err(|failed| said(causes(&failed)))
}

fn new(flags: &Flags) -> ExitCode {
    let mut sources = Sources::new();
    let done = wait(async {
        let place = Place::here();
        let name = name(flags, &place)?;
        let locking = locking_of(flags).map_err(|wrong| said(wrong.to_string()))?;
        let copied = match flags.text("state") {
            None => None,
            Some(path) => {
                let bytes =
                    std::fs::read(path).map_err(|failed| said(format!("open {path}: {failed}")))?;
                Some(decode(&bytes)?)
            }
        };
        let mut backing = place.backing(&mut sources, &consort_backend::LocalPaths::default())?;
        if names(&backing).await?.iter().any(|known| known == name) {
            return Err(said(format!("Workspace {name:?} already exists")));
        }
        name.clone_into(&mut backing.workspace);
        create(&backing, locking, copied).await?;
        place.select(name)?;
        Ok(format!(
            "Created and switched to workspace {name:?}!\n\n{CREATED}"
        ))
    });
    finish(done, &sources)
}

fn select(flags: &Flags) -> ExitCode {
    let mut sources = Sources::new();
    let done = wait(async {
        let place = Place::here();
        let name = name(flags, &place)?;
        let mut backing = place.backing(&mut sources, &local_paths(flags))?;
        if place.workspace().0 == name {
            return Ok(String::new());
        }
        if names(&backing).await?.iter().any(|known| known == name) {
            place.select(name)?;
            return Ok(format!("Switched to workspace {name:?}."));
        }
        if !flags.is("or-create") {
            return Err(said(format!(
                "\nWorkspace {name:?} doesn't exist.\n\n{MISSING}"
            )));
        }
        name.clone_into(&mut backing.workspace);
        let locking = Locking {
            lock: true,
            patience: Duration::ZERO,
        };
        create(&backing, locking, None).await?;
        place.select(name)?;
        Ok(format!(
            "Created and switched to workspace {name:?}!\n\n{CREATED}"
        ))
    });
    finish(done, &sources)
}

fn delete(flags: &Flags) -> ExitCode {
    let mut sources = Sources::new();
    let done = wait(async {
        let place = Place::here();
        let name = name(flags, &place)?;
        let locking = locking_of(flags).map_err(|wrong| said(wrong.to_string()))?;
        let mut backing = place.backing(&mut sources, &local_paths(flags))?;
        if !names(&backing).await?.iter().any(|known| known == name) {
            return Err(said(format!(
                "Workspace {name:?} doesn't exist.\n\n{MISSING}"
            )));
        }
        if place.workspace().0 == name {
            return Err(said(format!(
                "Workspace {name:?} is your active workspace.\n\nYou cannot delete the currently active \
                 workspace. Please switch\nto another workspace and try again."
            )));
        }
        if name == DEFAULT_WORKSPACE {
            return Err(said("cannot delete default state"));
        }
        name.clone_into(&mut backing.workspace);
        let held = backing.hold("state-delete", locking).await?;
        let tracked: Vec<String> = held
            .state
            .matching(None)
            .iter()
            .map(|instance| format!("  - {instance}"))
            .collect();
        held.release().await?;
        if !tracked.is_empty() && !flags.is("force") {
            return Err(Failure::Diagnostics(error(
                "Workspace is not empty",
                format!(
                    "Workspace {name:?} is currently tracking the following resource instances:\n{}\n\nDeleting \
                     this workspace would cause Terraform to lose track of any associated remote objects, \
                     which would then require you to delete them manually outside of Terraform. You should \
                     destroy these objects with Terraform before deleting the workspace.\n\nIf you want to \
                     delete this workspace anyway, and have Terraform forget about these managed objects, use \
                     the -force option to disable this safety check.",
                    tracked.join("\n")
                ),
            )));
        }
        backing
            .backend
            .delete(name)
            .await
            .map_err(|failed| said(causes(&failed)))?;
        Ok(format!("Deleted workspace {name:?}!"))
    });
    finish(done, &sources)
}
