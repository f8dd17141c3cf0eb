//! `plan`, `apply`, `destroy` and `refresh`.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::Sources;
use consort_hcl::diagnostic::{self, Diagnostic, Diagnostics};
use consort_infra::address::{Key, ResourceInstance, Target};
use consort_infra::engine::{
    Action, ApplyOptions, Mode, Plan, PlanOptions, apply as carry_out, plan as make_plan,
};
use consort_infra::plan_file::{self, PlanFile};
use consort_infra::state::{State, Status};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::flags::{Flag, Flags, many, on, one, switch};
use super::place::{Backing, Held, Locking, Place, causes, error, journal, local_paths};
use super::plan_text::{self, Counts, Types};
use super::session::{self, Installed, Session};
use super::terminal::Terminal;
use super::view::{self, View};
use super::{Command, LOCAL, LOCK, NO_COLOUR, outputs, wait};

/// What a plan is to be.
pub(super) const PLANNING: [Flag; 8] = [
    switch("destroy", "Plan to destroy everything."),
    switch(
        "refresh-only",
        "Only look whether objects changed outside, and take that over.",
    ),
    on("refresh", "Do not look whether objects changed outside."),
    many(
        "replace",
        "resource",
        "Replace this instance also if nothing asks for it.",
    ),
    many("target", "resource", "Only this and what it depends on."),
    many("exclude", "resource", "Not this, nor what depends on it."),
    many("var", "'name=value'", "Set a variable of the root module."),
    many("var-file", "file", "Set variables as a file says."),
];

const RUNNING: &[Flag] = &[
    switch(
        "compact-warnings",
        "Tell warnings in one line each where there is no error.",
    ),
    on("input", "Do not ask for anything."),
    switch("json", "Progress as lines of JSON; asks for nothing."),
    one("parallelism", "n", "How many things are done at once (10)."),
];

pub(super) const PLAN: Command = Command {
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

pub(super) const APPLY: Command = Command {
    name: "apply",
    usage: "[options] [PLAN]",
    short: "Do what has to be done",
    about: "Plans, shows the plan, asks, and carries it out; or carries out a saved plan without asking, if \
            nothing has changed since it was made.",
    flags: &[&PLANNING, RUNNING, APPROVE, LOCK, LOCAL, NO_COLOUR],
    run: apply,
};

pub(super) const DESTROY: Command = Command {
    name: "destroy",
    usage: "[options]",
    short: "Destroy what was made",
    about: "As \"apply -destroy\".",
    flags: &[&PLANNING, RUNNING, APPROVE, LOCK, LOCAL, NO_COLOUR],
    run: destroy,
};

pub(super) const REFRESH: Command = Command {
    name: "refresh",
    usage: "[options]",
    short: "Take over what changed outside",
    about: "As \"apply -refresh-only -auto-approve\".",
    flags: &[&PLANNING, RUNNING, LOCK, LOCAL, NO_COLOUR],
    run: refresh,
};

const APPROVE: &[Flag] = &[switch(
    "auto-approve",
    "Do not ask before carrying the plan out.",
)];

/// What happened to a run: whether there is something to do, or why it failed.
enum Failed {
    /// Errors that are not told yet.
    Problems(Diagnostics),
    /// Everything is told already.
    Told,
}

impl From<Diagnostics> for Failed {
    fn from(diagnostics: Diagnostics) -> Failed {
        Failed::Problems(diagnostics)
    }
}

/// One run of a command.
struct Run<'f> {
    flags: &'f Flags,
    terminal: Terminal,
    view: Arc<View>,
    place: Place,
    mode: Mode,
    sources: Sources,
}

fn mode(flags: &Flags) -> Result<Mode, Diagnostics> {
    match (flags.is("destroy"), flags.is("refresh-only")) {
        (true, true) => Err(error(
            "Incompatible plan mode options",
            "The -destroy and -refresh-only options are mutually-exclusive.",
        )),
        (true, false) => Ok(Mode::Destroy),
        (false, true) if !flags.stays("refresh") => Err(error(
            "Incompatible refresh options",
            "It doesn't make sense to use -refresh-only at the same time as -refresh=false, because Terraform \
             would have nothing to do.",
        )),
        (false, true) => Ok(Mode::RefreshOnly),
        (false, false) => Ok(Mode::Normal),
    }
}

impl<'f> Run<'f> {
    /// `words` is how many arguments the command takes at most.
    fn new(flags: &'f Flags, words: usize) -> Result<Run<'f>, ExitCode> {
        let json = flags.is("json");
        let terminal = Terminal::new(flags.is("no-color") || json, flags.stays("input") && !json)
            .compact(flags.is("compact-warnings"));
        let view = View::new(terminal.clone(), json);
        let found = mode(flags).and_then(|mode| {
            if flags.rest.len() <= words {
                Ok(mode)
            } else {
                Err(error(
                    "Too many command line arguments",
                    "To specify a working directory for the plan, use the global -chdir flag.",
                ))
            }
        });
        let mut run = Run {
            flags,
            terminal,
            view,
            place: Place::here(),
            mode: Mode::Normal,
            sources: Sources::new(),
        };
        match found {
            Ok(mode) => {
                run.mode = mode;
                Ok(run)
            }
            Err(diagnostics) => {
                run.tell(&diagnostics);
                Err(ExitCode::FAILURE)
            }
        }
    }

    /// Tells what is wrong; gives whether there is an error.
    fn tell(&self, diagnostics: &Diagnostics) -> bool {
        tell(&self.view, &self.terminal, diagnostics, &self.sources)
    }

    fn options(&self, timestamp: &str) -> Result<PlanOptions, Diagnostics> {
        let targets = |name: &str| -> Result<Vec<Target>, Diagnostics> {
            self.flags
                .all(name)
                .iter()
                .map(|text| {
                    text.parse().map_err(|wrong| {
                        error(
                            &format!("Invalid {name} {text:?}"),
                            format!("{}.", causes(&wrong)),
                        )
                    })
                })
                .collect()
        };
        let mut replace = Vec::new();
        for target in targets("replace")? {
            replace.push(match target {
                Target::Instance(instance) => instance,
                Target::Resource(resource) => resource.instance(Key::None),
                Target::Module(module) => {
                    return Err(error(
                        "Invalid force-replace address",
                        format!("{module} is a module: only resource instances can be replaced."),
                    ));
                }
            });
        }
        let replace: Vec<ResourceInstance> = replace;
        Ok(PlanOptions {
            mode: self.mode,
            refresh: self.flags.stays("refresh"),
            targets: targets("target")?,
            excluded: targets("exclude")?,
            replace,
            generate_config: false,
            timestamp: timestamp.to_owned(),
        })
    }

    /// Loads the configuration and all it needs; variables are those of `saved`, if there is a saved plan.
    fn session(&mut self, also: &State, saved: Option<&Plan>) -> Result<Session, Failed> {
        let mut sources = std::mem::take(&mut self.sources);
        let (tree, mut diagnostics) = session::load(&self.place, None, &mut sources);
        let tree = match tree {
            Some(tree) if !diagnostics.has_errors() => tree,
            _ => {
                self.sources = sources;
                return Err(diagnostics.into());
            }
        };
        diagnostics.append(consort_infra::config::check_references(&tree));
        let (variables, found) = match saved {
            Some(plan) => (plan.variables.clone(), Diagnostics::new()),
            None if diagnostics.has_errors() => {
                (std::collections::BTreeMap::new(), Diagnostics::new())
            }
            None => {
                session::variables(&self.place, self.flags, &tree, &self.terminal, &mut sources)
            }
        };
        diagnostics.append(found);
        let in_state = also
            .resources
            .values()
            .map(|resource| resource.provider.provider.clone())
            .collect::<std::collections::BTreeSet<_>>();
        let installed = if diagnostics.has_errors() {
            None
        } else {
            match Installed::new(&self.place, &tree, in_state, &mut sources) {
                Ok(installed) => Some(installed),
                Err(found) => {
                    diagnostics.append(found);
                    None
                }
            }
        };
        self.sources = sources;
        let parallelism = match self.flags.number("parallelism") {
            Ok(number) => number.unwrap_or(10).max(1) as usize,
            Err(wrong) => {
                diagnostics.append(error(
                    "Failed to parse command-line flags",
                    wrong.to_string(),
                ));
                10
            }
        };
        match installed {
            Some(providers) if !diagnostics.has_errors() => {
                self.tell(&diagnostics);
                Ok(Session {
                    tree,
                    sources: self.sources.clone(),
                    providers,
                    provisioners: super::provision::Local,
                    functions: session::language(true, ""),
                    variables,
                    workspace: self.place.workspace().0,
                    parallelism,
                })
            }
            _ => Err(diagnostics.into()),
        }
    }

    async fn planned(
        &self,
        session: &mut Session,
        state: &State,
        cancel: &CancellationToken,
    ) -> Result<(Plan, Types), Failed> {
        let timestamp = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        session.set_functions(true, &timestamp);
        let options = self.options(&timestamp)?;
        let (plan, diagnostics) = {
            let input = session.input(&*self.view, cancel.clone());
            make_plan(&input, &options, state).await
        };
        let failed = diagnostics.has_errors();
        let Some(plan) = plan else {
            self.tell(&diagnostics);
            return Err(Failed::Told);
        };
        let types = Types::of(&plan, &session.providers).await?;
        if !failed || plan.has_changes() {
            self.show(&plan, &types);
        }
        let mut diagnostics = diagnostics;
        if !plan.targets.is_empty() || !plan.excluded.is_empty() {
            diagnostics.push(Diagnostic::warning(
                "Resource targeting is in effect",
                "This plan was made with -target or -exclude: it may leave out changes that the configuration \
                 asks for. Use these options to recover from something exceptional, not as a matter of \
                 routine.",
            ));
        }
        self.tell(&diagnostics);
        if failed {
            return Err(Failed::Told);
        }
        Ok((plan, types))
    }

    fn show(&self, plan: &Plan, types: &Types) {
        if !self.view.is_json() {
            crate::output::print(&plan_text::text(plan, types, self.terminal.colours()));
            return;
        }
        for (changes, kind) in [
            (&plan.drift, "resource_drift"),
            (&plan.changes, "planned_change"),
        ] {
            for change in changes {
                if change.action == Action::NoOp
                    && change.importing.is_none()
                    && change.address == change.previous_address
                {
                    continue;
                }
                let mut told = json!({
                    "resource": view::resource(&change.address),
                    "action": view::word(change.action),
                });
                if let Some(reason) = change.reason {
                    told["reason"] = reason
                        .word()
                        .trim_start_matches("replace_because_")
                        .trim_start_matches("replace_")
                        .into();
                }
                let message = format!("{}: Plan to {}", change.address, view::word(change.action));
                self.view
                    .emit("info", &message, kind, json!({"change": told}));
            }
        }
        let counts = Counts::of(plan);
        self.view.emit(
            "info",
            &format!("Plan: {}", counts.text()),
            "change_summary",
            json!({"changes": {
                "add": counts.add, "change": counts.change, "import": counts.import,
                "remove": counts.destroy, "operation": "plan",
            }}),
        );
    }
}

/// Tells what is wrong in the form that was asked for.
fn tell(view: &View, terminal: &Terminal, diagnostics: &Diagnostics, sources: &Sources) -> bool {
    if !view.is_json() {
        return terminal.diagnose(diagnostics, sources);
    }
    for diagnostic in diagnostics {
        let level = if diagnostic.is_error() {
            "error"
        } else {
            "warn"
        };
        let kind = if diagnostic.is_error() {
            "Error"
        } else {
            "Warning"
        };
        view.emit(
            level,
            &format!("{kind}: {}", diagnostic.summary),
            "diagnostic",
            json!({"diagnostic": diagnostic::json(diagnostic, sources)}),
        );
    }
    diagnostics.has_errors()
}

/// Ends the walk when asked to; a second time ends the process.
async fn interrupted(cancel: CancellationToken, terminal: Terminal) -> Infallible {
    if tokio::signal::ctrl_c().await.is_err() {
        return std::future::pending().await;
    }
    terminal.say(
        "\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.\nGracefully shutting \
         down...\n",
    );
    cancel.cancel();
    if tokio::signal::ctrl_c().await.is_ok() {
        terminal.complain(
            "Two interrupts received. Exiting immediately. Note that data loss may have occurred.",
        );
        std::process::exit(1);
    }
    std::future::pending().await
}

/// Runs `work` with reminders and interrupts beside it.
async fn attended<T>(
    view: &Arc<View>,
    terminal: &Terminal,
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = Arc::clone(view).remind() => match never {},
        never = interrupted(cancel.clone(), terminal.clone()) => match never {},
    }
}

fn backing(run: &mut Run<'_>) -> Result<Backing, Failed> {
    let paths = local_paths(run.flags);
    let found = run.place.backing(&mut run.sources, &paths);
    Ok(found?)
}

fn locking(run: &Run<'_>) -> Result<Locking, Failed> {
    Locking::of(run.flags)
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()).into())
}

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
                save(&run, &plan, &session.sources, path)?;
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

fn save(run: &Run<'_>, plan: &Plan, sources: &Sources, path: &str) -> Result<(), Failed> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let bytes = plan_file::write(plan, sources)
        .map_err(|failed| error("Failed to write plan file", causes(&failed)))?;
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

fn refuse(run: &Run<'_>, failed: &Failed) -> ExitCode {
    if let Failed::Problems(diagnostics) = failed {
        run.tell(diagnostics);
    }
    ExitCode::FAILURE
}

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
    }
    if let (Some(path), Some((name, _))) = (
        flags.rest.first(),
        flags.in_order(&PLANNING.map(|flag| flag.name)).next(),
    ) {
        run.tell(&error(
            "Options that customize a plan cannot be used with a saved one",
            format!(
                "-{name} was given, and {path:?} was planned already: make a new plan with it."
            ),
        ));
        return ExitCode::FAILURE;
    }
    let saved = match flags.rest.first().map(|path| saved(path)).transpose() {
        Ok(saved) => saved,
        Err(diagnostics) => {
            run.tell(&diagnostics);
            return ExitCode::FAILURE;
        }
    };
    if let Some(saved) = &saved {
        run.mode = saved.plan.mode;
    }
    let approved = approved || saved.is_some();
    if !approved && (run.view.is_json() || !run.terminal.asks()) {
        run.tell(&error(
            "Plan file or auto-approve required",
            "Terraform cannot ask for interactive approval when -json is set or input is disabled. You can \
             enable the -auto-approve option.",
        ));
        return ExitCode::FAILURE;
    }
    let done = wait(async {
        let backing = backing(&mut run)?;
        let mut held = backing.hold("OperationTypeApply", locking(&run)?).await?;
        let cancel = CancellationToken::new();
        // Values of variables are asked for here, where an interrupt still ends the process.
        let worked = match run.session(&held.state, saved.as_ref().map(|saved| &saved.plan)) {
            Ok(session) => {
                let (view, terminal) = (Arc::clone(&run.view), run.terminal.clone());
                let work = carried_out(&run, session, &mut held, saved, approved, &cancel);
                attended(&view, &terminal, &cancel, work).await
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
fn saved(path: &str) -> Result<PlanFile, Diagnostics> {
    let bytes = std::fs::read(path).map_err(|failed| {
        error(
            &format!("Failed to load {path:?} as a plan file"),
            format!("open {path}: {failed}"),
        )
    })?;
    plan_file::read(&bytes).map_err(|failed| {
        error(
            &format!("Failed to load {path:?} as a plan file"),
            causes(&failed),
        )
    })
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
                .map_err(|failed| error("Saved plan is stale", causes(&failed)))?;
            saved
                .check_sources(&session.sources)
                .map_err(|failed| error("Saved plan is stale", causes(&failed)))?;
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
    let options = ApplyOptions {
        journal: held.snapshots.file().map(journal),
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
    if !plan.targets.is_empty() || !plan.excluded.is_empty() {
        diagnostics.push(Diagnostic::warning(
            "Applied changes may be incomplete",
            "The plan was made with -target or -exclude, so some changes that the configuration asks for may \
             not have been made, and outputs may be out of date. Run \"plan\" to see what is left.",
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
        Mode::Destroy => format!("Destroy complete! Resources: {destroyed} destroyed."),
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
                "operation": if run.mode == Mode::Destroy { "destroy" } else { "apply" },
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
    text = format!("\n{}", run.terminal.green(&text));
    if run.mode != Mode::Destroy && !applied.state.outputs.is_empty() {
        text.push_str(&format!(
            "\n\n{}\n\n{}",
            run.terminal.green("Outputs:"),
            outputs::listing(&applied.state.outputs).trim_end()
        ));
    }
    run.terminal.say(&text);
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
