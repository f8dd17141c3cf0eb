//! `apply`, `destroy` and `refresh`.

use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_infra::encryption::Encryption;
use consort_infra::engine::{ApplyOptions, Mode, apply as carry_out};
use consort_infra::plan_file::{self, PlanFile};
use consort_infra::state::Status;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Failed, PLANNING, RUNNING, Run, attended, backing, locking, partial, refuse};
use crate::tf::encryption::{journal_seal, opened_plan};
use crate::tf::flags::{Flag, Flags, switch};
use crate::tf::outputs;
use crate::tf::place::{Held, causes, error, local_paths, settings};
use crate::tf::session::Session;
use crate::tf::{Command, LOCAL, LOCK, NO_COLOUR, wait};

const APPROVE: &[Flag] = &[switch(
    "auto-approve",
    "Do not ask before carrying the plan out.",
)];

pub(in crate::tf) const APPLY: Command = Command {
    name: "apply",
    usage: "[options] [PLAN]",
    short: "Do what has to be done",
    about: "Plans, shows the plan, asks, and carries it out; or carries out a saved plan without asking, if \
            nothing has changed since it was made.",
    flags: &[&PLANNING, RUNNING, APPROVE, LOCK, LOCAL, NO_COLOUR],
    run: apply,
};

pub(in crate::tf) const DESTROY: Command = Command {
    name: "destroy",
    usage: "[options]",
    short: "Destroy what was made",
    about: "As \"apply -destroy\".",
    flags: &[&PLANNING, RUNNING, APPROVE, LOCK, LOCAL, NO_COLOUR],
    run: destroy,
};

pub(in crate::tf) const REFRESH: Command = Command {
    name: "refresh",
    usage: "[options]",
    short: "Take over what changed outside",
    about: "As \"apply -refresh-only -auto-approve\".",
    flags: &[&PLANNING, RUNNING, LOCK, LOCAL, NO_COLOUR],
    run: refresh,
};

fn apply(flags: &Flags) -> ExitCode {
    change(flags, None, flags.is("auto-approve"))
}

fn destroy(flags: &Flags) -> ExitCode {
    change(flags, Some(Mode::Destroy), flags.is("auto-approve"))
}

fn refresh(flags: &Flags) -> ExitCode {
    change(flags, Some(Mode::RefreshOnly), true)
}

fn change(flags: &Flags, forced: Option<Mode>, approved: bool) -> ExitCode {
    let mut run = match Run::new(flags, usize::from(forced.is_none())) {
        Ok(run) => run,
        Err(code) => return code,
    };
    if let Some(mode) = forced {
        if run.mode != Mode::Normal && run.mode != mode {
            run.tell(&error(
                "Incompatible plan mode options",
                "This command decides by itself what kind of plan is made: leave out -destroy and -refresh-only.",
            ));
            return ExitCode::FAILURE;
        }
        run.mode = mode;
        run.quiet = mode == Mode::RefreshOnly;
        run.destroys = mode == Mode::Destroy;
    }
    // Variables may be given again if they are ephemeral, which is seen later.
    let names = PLANNING.map(|flag| flag.name);
    let mut planning = flags
        .in_order(&names)
        .filter(|(name, _)| !matches!(*name, "var" | "var-file"));
    if let (Some(path), Some((name, _))) = (flags.rest.first(), planning.next()) {
        run.tell(&error(
            "Options that customize a plan cannot be used with a saved one",
            format!(
                "-{name} was given, and {path:?} was planned already: make a new plan with it."
            ),
        ));
        return ExitCode::FAILURE;
    }
    let looked = wait(async {
        match flags.rest.first() {
            None => Ok(None),
            Some(path) => saved(&mut run, path).await.map(Some),
        }
    });
    let (saved, encryption) = match looked {
        Ok(Some((saved, encryption))) => (Some(saved), encryption),
        Ok(None) => (None, Encryption::default()),
        Err(diagnostics) => {
            run.tell(&diagnostics);
            return ExitCode::FAILURE;
        }
    };
    if let Some(saved) = &saved {
        run.mode = saved.plan.mode;
    }
    let approved = approved || saved.is_some();
    run.unasked = approved;
    if !approved && (run.view.is_json() || !run.terminal.asks()) {
        run.tell(&error(
            "Plan file or auto-approve required",
            "Terraform cannot ask for interactive approval when -json is set or input is disabled. You can \
             enable the -auto-approve option.",
        ));
        return ExitCode::FAILURE;
    }
    let done = wait(async {
        let backing = match &saved {
            Some(saved) => {
                let backend = &saved.origin.backend;
                let settings = settings(&backend.kind, &backend.arguments, None)?;
                let mut backing = run.place.open(
                    settings,
                    &local_paths(flags),
                    (encryption.clone(), Diagnostics::new()),
                )?;
                backing.workspace.clone_from(&backend.workspace);
                backing
            }
            None => backing(&mut run)?,
        };
        let mut held = backing.hold("OperationTypeApply", locking(&run)?).await?;
        let cancel = CancellationToken::new();
        // Values of variables are asked for here, where an interrupt still ends the process.
        let worked = match run.session(&held.state, saved.as_ref()) {
            Ok(session) => {
                let (view, terminal) = (Arc::clone(&run.view), run.terminal.clone());
                let work = carried_out(&run, session, &mut held, saved, approved, &cancel);
                Box::pin(attended(&view, &terminal, &cancel, work)).await
            }
            Err(failed) => Err(failed),
        };
        let released = held.release().await;
        worked?;
        Ok::<(), Failed>(released?)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => refuse(&run, &failed),
    }
}

/// A plan that was saved.
async fn saved(run: &mut Run<'_>, path: &str) -> Result<(PlanFile, Encryption), Diagnostics> {
    let bytes = std::fs::read(path).map_err(|failed| {
        error(
            &format!("Failed to load {path:?} as a plan file"),
            format!("open {path}: {failed}"),
        )
    })?;
    // The configuration may have gone since; what it says of encryption is then in the environment alone.
    let module = run.place.root_module(&mut run.sources).ok().flatten();
    let (encryption, warnings) =
        crate::tf::encryption::load(&run.place, module.as_ref(), &mut run.sources)?;
    run.tell(&warnings);
    let bytes = opened_plan(&encryption, bytes).await?;
    let read = plan_file::read(&bytes).map_err(|failed| match failed {
        plan_file::Error::Invalid(_) => error(
            &format!("Failed to load {path:?} as a plan file"),
            causes(&failed),
        ),
        _ => error(
            failed.summary(),
            format!("Failed to read plan from plan file: {failed}."),
        ),
    });
    read.map(|saved| (saved, encryption))
}

async fn carried_out(
    run: &Run<'_>,
    mut session: Session,
    held: &mut Held,
    saved: Option<PlanFile>,
    approved: bool,
    cancel: &CancellationToken,
) -> Result<(), Failed> {
    let plan = match saved {
        None => run.planned(&mut session, &held.state, cancel).await?.0,
        Some(saved) => {
            saved
                .check_state(&held.state)
                .map_err(|failed| error(failed.summary(), causes(&failed)))?;
            saved.plan
        }
    };
    let nothing = !plan.has_changes();
    if !nothing && !approved && !approve(run, cancel).await {
        run.terminal.say(match run.mode {
            Mode::Destroy => "\nDestroy cancelled.",
            _ => "\nApply cancelled.",
        });
        return Err(Failed::Told);
    }
    // What only the apply can tell is told now: uuid(), timestamp().
    session.set_functions(false, &plan.timestamp);
    let before = run.view.done();
    let put_off = plan.deferred.len();
    let options = ApplyOptions {
        journal: Some(held.journal.clone()),
        seal: journal_seal(held.target.as_ref()).await?,
        ..ApplyOptions::default()
    };
    let (applied, diagnostics) = {
        let input = session.input(&*run.view, cancel.clone());
        carry_out(&input, &plan, &options).await
    };
    let saved = held.save(&applied.state).await;
    if saved.is_ok()
        && let Some(journal) = applied.journal
        && let Err(failed) = journal.finish()
    {
        // The state is written: a journal that stays is found to be old and taken away next time.
        tracing::warn!(error = %causes(&failed), "removing the journal");
    }
    let mut diagnostics = diagnostics;
    if let Some(options) = partial(&plan) {
        let (option, are) = match options {
            "the -exclude option" => ("-exclude option", "is"),
            "the -target option" => ("-target option", "is"),
            _ => ("-target and -exclude options", "are"),
        };
        diagnostics.push(Diagnostic::warning(
            "Applied changes may be incomplete",
            format!(
                "The plan was created with {options} in effect, so some changes requested in the configuration may have been ignored and the output values may not be fully updated. Run the following command to verify that no other changes are pending:\n    terraform plan\n\nNote that the {option} {are} not suitable for routine use, and {are} provided only for exceptional situations such as recovering from errors or mistakes, or when Terraform specifically suggests to use it as part of an error message."
            ),
        ));
    }
    let failed = run.tell(&diagnostics);
    saved?;
    if failed {
        return Err(Failed::Told);
    }
    let done = run.view.done();
    let (added, changed, destroyed, imported) = (
        done.added - before.added,
        done.changed - before.changed,
        done.destroyed - before.destroyed,
        done.imported,
    );
    let mut text = match run.mode {
        _ if run.quiet => String::new(),
        Mode::Destroy if run.destroys => {
            format!("Destroy complete! Resources: {destroyed} destroyed.")
        }
        _ => {
            let imported = if imported > 0 {
                format!("{imported} imported, ")
            } else {
                String::new()
            };
            format!(
                "Apply complete! Resources: {imported}{added} added, {changed} changed, {destroyed} destroyed."
            )
        }
    };
    if run.view.is_json() {
        run.view.emit(
            "info",
            &text,
            "change_summary",
            json!({"changes": {
                "add": added, "change": changed, "import": imported, "remove": destroyed,
                "operation": if run.destroys { "destroy" } else { "apply" },
            }}),
        );
        let values: serde_json::Map<String, serde_json::Value> = applied
            .state
            .outputs
            .iter()
            .map(|(name, output)| {
                let mut told = json!({
                    "sensitive": output.sensitive,
                    "type": serde_json::from_str::<serde_json::Value>(&output.kind).unwrap_or_default(),
                });
                if !output.sensitive {
                    told["value"] = serde_json::from_str(&output.value).unwrap_or_default();
                }
                (name.to_string(), told)
            })
            .collect();
        run.view.emit(
            "info",
            &format!("Outputs: {}", values.len()),
            "outputs",
            json!({"outputs": values}),
        );
        return Ok(());
    }
    if !run.quiet {
        text = format!("\n{}", run.terminal.green(&text));
    }
    if run.mode != Mode::Destroy && !applied.state.outputs.is_empty() {
        text.push_str(&format!(
            "\n\n{}\n\n{}",
            run.terminal.green("Outputs:"),
            outputs::listing(&applied.state.outputs).trim_end()
        ));
    }
    if !text.is_empty() {
        run.terminal.say(text.trim_start_matches("\n\n"));
    }
    if put_off > 0 {
        run.terminal.say(
            "\nSome changes were put off because what decides them was not known. Run \"apply\" again for them.",
        );
    }
    let tainted = applied
        .state
        .resources
        .values()
        .flat_map(|resource| resource.instances.values())
        .filter(|instance| {
            instance
                .current
                .as_ref()
                .is_some_and(|object| object.status == Status::Tainted)
        })
        .count();
    if tainted > 0 {
        tracing::info!(tainted, "instances are marked for replacement");
    }
    Ok(())
}

/// Asks beside the reactor, so that an interrupt is heard while nobody answers.
async fn approve(run: &Run<'_>, cancel: &CancellationToken) -> bool {
    let (workspace, _) = run.place.workspace();
    let place = if workspace == "default" {
        String::new()
    } else {
        format!(" in workspace {workspace:?}")
    };
    let (question, description) = match run.mode {
        Mode::Destroy => (
            format!("Do you really want to destroy all resources{place}?"),
            "Terraform will destroy all your managed infrastructure, as shown above.\nThere is no undo. Only \
             'yes' will be accepted to confirm.",
        ),
        Mode::RefreshOnly => (
            format!(
                "Would you like to update the Terraform state to reflect these detected changes{place}?"
            ),
            "Terraform will write these changes to the state without modifying any real infrastructure.\nThere \
             is no undo. Only 'yes' will be accepted to confirm.",
        ),
        Mode::Normal => (
            format!("Do you want to perform these actions{place}?"),
            "Terraform will perform the actions described above.\nOnly 'yes' will be accepted to approve.",
        ),
    };
    let (terminal, description) = (run.terminal.clone(), description.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        terminal.ask(&question, &description, "Enter a value:")
    });
    tokio::select! {
        answer = asked => matches!(answer, Ok(Some(text)) if text == "yes"),
        () = cancel.cancelled() => false,
    }
}
