//! `plan`.

use std::process::ExitCode;

use consort_hcl::diagnostic::Diagnostics;
use consort_infra::config::Snapshot;
use consort_infra::engine::Plan;
use consort_infra::install::{LOCK_FILE, Manifest};
use consort_infra::plan_file::{self, Origin};
use tokio_util::sync::CancellationToken;

use super::{Failed, PLANNING, RUNNING, Run, attended, backing, locking, refuse};
use crate::tf::flags::{Flags, one, switch};
use crate::tf::place::{Backing, causes, error};
use crate::tf::session::{self, Session};
use crate::tf::{Command, LOCAL, LOCK, NO_COLOUR, wait};

pub(in crate::tf) const PLAN: Command = Command {
    name: "plan",
    usage: "[options]",
    short: "Show what has to be done",
    about: "Compares what is there with what the configuration wants, and shows what would be done. Nothing \
            is changed.",
    flags: &[
        &PLANNING,
        RUNNING,
        &[
            switch(
                "detailed-exitcode",
                "Exit with 0 if nothing is to be done, 1 on errors, 2 if something is.",
            ),
            one(
                "generate-config-out",
                "path",
                "Write configuration for import blocks that have none to a new file.",
            ),
            one(
                "out",
                "path",
                "Save the plan, to be applied or shown later.",
            ),
        ],
        LOCK,
        LOCAL,
        NO_COLOUR,
    ],
    run: plan,
};

fn plan(flags: &Flags) -> ExitCode {
    let mut run = match Run::new(flags, 0) {
        Ok(run) => run,
        Err(code) => return code,
    };
    let done = wait(async {
        let backing = backing(&mut run)?;
        let held = backing.hold("OperationTypePlan", locking(&run)?).await?;
        let cancel = CancellationToken::new();
        let made = async {
            let mut session = run.session(&held.state, None)?;
            let (plan, _) = attended(
                &run.view,
                &run.terminal,
                &cancel,
                run.planned(&mut session, &held.state, &cancel),
            )
            .await?;
            if let Some(path) = run.flags.text("out") {
                save(&run, &plan, &session, &backing, path).await?;
            }
            Ok::<Plan, Failed>(plan)
        }
        .await;
        held.release().await?;
        let plan = made?;
        Ok::<bool, Failed>(plan.has_changes())
    });
    match done {
        Ok(true) if flags.is("detailed-exitcode") => ExitCode::from(2),
        Ok(_) => ExitCode::SUCCESS,
        Err(failed) => refuse(&run, &failed),
    }
}

/// Where a plan is made, for the file it is saved in.
fn origin(run: &Run<'_>, session: &Session, backing: &Backing) -> Result<Origin, Diagnostics> {
    let manifest = Manifest::read(&run.place.modules())
        .map_err(|failed| error("Failed to read module manifest", causes(&failed)))?;
    let locks = match std::fs::read_to_string(run.place.root().join(LOCK_FILE)) {
        Ok(text) => text,
        Err(failed) if failed.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(failed) => {
            return Err(error(
                "Failed to read dependency lock file",
                failed.to_string(),
            ));
        }
    };
    Ok(Origin {
        snapshot: Snapshot::of(&session.tree, &manifest, &session.sources),
        locks,
        backend: plan_file::Backend {
            kind: backing.settings.kind().name().to_owned(),
            arguments: backing.settings.given().clone(),
            workspace: backing.workspace.clone(),
        },
        ephemeral: session::ephemeral(&session.tree, &session.variables),
    })
}

async fn save(
    run: &Run<'_>,
    plan: &Plan,
    session: &Session,
    backing: &Backing,
    path: &str,
) -> Result<(), Failed> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let bytes = plan_file::write(plan, &origin(run, session, backing)?)
        .map_err(|failed| error("Failed to write plan file", causes(&failed)))?;
    let bytes = match &backing.encryption.plan {
        None => bytes,
        Some(target) => target
            .seal(bytes)
            .await
            .map_err(|failed| error("Failed to encrypt the plan file", causes(&failed)))?,
    };
    // Values of variables are in it, also sensitive ones.
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|failed| {
            error(
                "Failed to write plan file",
                format!("The plan file {path} could not be written: {failed}."),
            )
        })?;
    if !run.view.is_json() {
        run.terminal.say(&format!(
            "\nSaved the plan to: {path}\n\nTo perform exactly these actions, run the following command to apply:\n    \
             terraform apply {path:?}"
        ));
    }
    Ok(())
}
