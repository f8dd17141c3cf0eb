//! `plan`, `apply`, `destroy` and `refresh`: what they have in common, which is a plan that is made and shown.

mod apply;
mod generate;
mod plan;

use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::Sources;
use consort_hcl::diagnostic::{self, Diagnostic, Diagnostics};
use consort_infra::address::{Key, ResourceInstance, Target};
use consort_infra::engine::{Action, Mode, Plan, PlanOptions, plan as make_plan, validate};
use consort_infra::plan_file::PlanFile;
use consort_infra::state::State;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::flags::{Flag, Flags, many, on, one, switch};
use super::place::{Backing, Locking, Place, causes, error, local_paths, locking_of};
use super::plan_text::{self, Counts, Types};
use super::session::{self, Session};
use super::terminal::Terminal;
use super::view::{self, View};

use generate::generate;

pub(super) use apply::{APPLY, DESTROY, REFRESH};
pub(super) use plan::PLAN;

/// What a plan is to be.
pub(in crate::tf) const PLANNING: [Flag; 9] = [
    switch(
        "allow-deferral",
        "Let every provider put changes off, not only those of which the configuration is not known yet.",
    ),
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
    pub(super) flags: &'f Flags,
    pub(super) terminal: Terminal,
    pub(super) view: Arc<View>,
    pub(super) place: Place,
    pub(super) mode: Mode,
    /// Tells neither the plan nor the end: only what happens and the outputs.
    pub(super) quiet: bool,
    /// The plan is carried out without a question.
    pub(super) unasked: bool,
    /// The command itself is `destroy`.
    pub(super) destroys: bool,
    pub(super) sources: Sources,
    /// The configuration, once it was read for what it says of its backend.
    loaded: Option<(Option<consort_infra::config::Tree>, Diagnostics)>,
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
    pub(super) fn new(flags: &'f Flags, words: usize) -> Result<Run<'f>, ExitCode> {
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
            place: Place {
                variables: session::variable_options(flags),
                ..Place::here()
            },
            mode: Mode::Normal,
            quiet: false,
            unasked: false,
            destroys: false,
            sources: Sources::new(),
            loaded: None,
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
    pub(super) fn tell(&self, diagnostics: &Diagnostics) -> bool {
        tell(&self.view, &self.terminal, diagnostics, &self.sources)
    }

    pub(super) fn options(&self, timestamp: &str) -> Result<PlanOptions, Diagnostics> {
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
            allow_deferral: self.flags.is("allow-deferral"),
            timestamp: timestamp.to_owned(),
        })
    }

    /// Loads the configuration and all it needs; or takes them from a saved plan.
    pub(super) fn session(
        &mut self,
        also: &State,
        saved: Option<&PlanFile>,
    ) -> Result<Session, Failed> {
        let mut sources = std::mem::take(&mut self.sources);
        let (tree, mut diagnostics) = match saved {
            Some(saved) => {
                consort_infra::config::load_snapshot(&saved.origin.snapshot, &mut sources)
            }
            None => self
                .loaded
                .take()
                .unwrap_or_else(|| session::load_some(&self.place, None, &mut sources)),
        };
        if let Some(saved) = saved {
            let (locks, found) = session::locks(&self.place, &mut sources);
            diagnostics.append(found);
            if let Err(other) = saved.check_locks(&locks) {
                diagnostics.append(error(other.summary(), other.to_string()));
            }
        }
        let tree = match tree {
            Some(tree) if !diagnostics.has_errors() => tree,
            _ => {
                self.sources = sources;
                return Err(diagnostics.into());
            }
        };
        let (variables, found) = match saved {
            Some(saved) => {
                session::saved_variables(&self.place, self.flags, &tree, saved, &mut sources)
            }
            None => {
                session::variables(&self.place, self.flags, &tree, &self.terminal, &mut sources)
            }
        };
        let found = if self.mode == Mode::Destroy && also.is_empty() {
            // Nothing is evaluated where nothing is to be destroyed, so no value is unsuitable.
            found
                .into_iter()
                .filter(|diagnostic| diagnostic.summary != "Invalid value for input variable")
                .collect()
        } else {
            found
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
            match session::installed(&self.place, &tree, in_state, &mut sources) {
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
                    provisioners: consort_infra::provisioner::Builtin,
                    functions: session::language(true, ""),
                    variables: variables.values,
                    given: variables.given,
                    workspace: match saved {
                        Some(saved) => saved.origin.backend.workspace.clone(),
                        None => self.place.workspace().0,
                    },
                    parallelism,
                })
            }
            _ => Err(diagnostics.into()),
        }
    }

    pub(super) async fn planned(
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
        // Whether it is valid for all values of its variables and any state comes first.
        let found = {
            let input = session.input(&*self.view, cancel.clone());
            validate(&input, false).await
        };
        if found.has_errors() {
            tell(&self.view, &self.terminal, &found, &session.sources);
            return Err(Failed::Told);
        }
        let generated = match self.flags.text("generate-config-out") {
            Some(path) if !path.is_empty() => {
                generate(session, &options, state, path, cancel).await?
            }
            _ => Vec::new(),
        };
        let (plan, mut diagnostics) = {
            let input = session.input(&*self.view, cancel.clone());
            make_plan(&input, &options, state).await
        };
        if !generated.is_empty() {
            diagnostics.push(generate::warning());
        }
        let failed = diagnostics.has_errors();
        let Some(mut plan) = plan else {
            tell(&self.view, &self.terminal, &diagnostics, &session.sources);
            return Err(Failed::Told);
        };
        for change in &mut plan.changes {
            if let Some(found) = generated.iter().find(|one| one.address == change.address) {
                change.generated_config = Some(found.block.clone());
            }
        }
        let types = Types::of(&plan, &session.providers).await?;
        if !self.quiet && (!failed || plan.has_changes()) {
            self.show(&plan, &types);
        }
        diagnostics.append(unsaid(found, &diagnostics));
        let mut told = Diagnostics::new();
        if let Some(options) = partial(&plan) {
            told.push(Diagnostic::warning(
                "Resource targeting is in effect",
                format!(
                    "You are creating a plan with {options}, which means that the result of this plan may not represent all of the changes requested by the current configuration.\n\n{} for routine use, and is provided only for exceptional situations such as recovering from errors or mistakes, or when Terraform specifically suggests to use it as part of an error message.",
                    routine(&plan),
                ),
            ));
        }
        // The apply looks at the checks again: what the plan says of them is of use only to who has to decide.
        told.extend(diagnostics.into_iter().filter(|found| {
            !self.unasked
                || found.is_error()
                || !found.summary.starts_with("Check block assertion ")
        }));
        if let Some(forgotten) = forgotten(&plan) {
            told.push(forgotten);
        }
        let diagnostics = told;
        tell(&self.view, &self.terminal, &diagnostics, &session.sources);
        if failed {
            return Err(Failed::Told);
        }
        Ok((plan, types))
    }

    pub(super) fn show(&self, plan: &Plan, types: &Types) {
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
        for deferred in &plan.deferred {
            let address = deferred.address();
            let message = format!("{address}: Put off to a later plan");
            let told = json!({"deferred": {"address": address, "reason": deferred.reason.word()}});
            self.view.emit("info", &message, "deferred_change", told);
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

/// The options that leave a part of the configuration out of a plan, if there are any.
pub(super) fn partial(plan: &Plan) -> Option<&'static str> {
    match (plan.targets.is_empty(), plan.excluded.is_empty()) {
        (true, true) => None,
        (false, true) => Some("the -target option"),
        (true, false) => Some("the -exclude option"),
        (false, false) => Some("the -target and -exclude options"),
    }
}

fn routine(plan: &Plan) -> &'static str {
    match (plan.targets.is_empty(), plan.excluded.is_empty()) {
        (true, false) => "The -exclude option is not",
        _ => "The -target option is not",
    }
}

/// Says which objects a plan only forgets.
fn forgotten(plan: &Plan) -> Option<Diagnostic> {
    let list: String = plan
        .changes
        .iter()
        .filter(|change| change.action == Action::Forget)
        .map(|change| match &change.deposed {
            Some(key) => format!("\n - {} (deposed object {key})", change.address),
            None => format!("\n - {}", change.address),
        })
        .collect();
    (!list.is_empty()).then(|| {
        Diagnostic::warning(
            "Some objects will no longer be managed by Terraform",
            format!(
                "If you apply this plan, Terraform will discard its tracking information for the following objects, but it will not delete them:{list}\n\nAfter applying this plan, Terraform will no longer manage these objects. You will need to import them into Terraform to manage them again."
            ),
        )
    })
}

/// Tells what is wrong in the form that was asked for.
pub(in crate::tf) fn tell(
    view: &View,
    terminal: &Terminal,
    diagnostics: &Diagnostics,
    sources: &Sources,
) -> bool {
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

/// Ends the walk when asked to; returns when asked a second time.
async fn interrupted(mut interrupts: Signal, cancel: CancellationToken, terminal: Terminal) {
    if interrupts.recv().await.is_none() {
        return std::future::pending().await;
    }
    terminal.say(
        "\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.\nGracefully shutting \
         down...\n",
    );
    terminal.say("Stopping operation...\n");
    cancel.cancel();
    if interrupts.recv().await.is_none() {
        return std::future::pending().await;
    }
    terminal.complain(
        "Two interrupts received. Exiting immediately. Note that data loss may have occurred.",
    );
}

/// Runs `work` with reminders and interrupts beside it. With the second interrupt it is dropped where it is: what
/// was done until then is in the journal, and only the lock is still given up.
async fn attended<T>(
    view: &Arc<View>,
    terminal: &Terminal,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    // Listened to before the work begins: what it asks may be answered with an interrupt at once.
    let interrupts = signal(SignalKind::interrupt())
        .map_err(|wrong| error("Cannot listen to interrupts", wrong.to_string()))?;
    tokio::select! {
        done = work => done,
        never = Arc::clone(view).remind() => match never {},
        () = interrupted(interrupts, cancel.clone(), terminal.clone()) => {
            Err(error("operation canceled", "").into())
        }
    }
}

fn backing(run: &mut Run<'_>) -> Result<Backing, Failed> {
    let paths = local_paths(run.flags);
    let loaded = session::load_some(&run.place, None, &mut run.sources);
    let found = match &loaded {
        (Some(tree), problems) if !problems.has_errors() => {
            run.place
                .backing_of(Some(&tree.module), &mut run.sources, &paths)
        }
        // What is wrong with the backend alone is told first.
        _ => run.place.backing(&mut run.sources, &paths),
    };
    run.loaded = Some(loaded);
    let found = found?;
    run.tell(&found.warnings);
    Ok(found)
}

fn locking(run: &Run<'_>) -> Result<Locking, Failed> {
    locking_of(run.flags)
        .map_err(|wrong| error("Failed to parse command-line flags", wrong.to_string()).into())
}

fn refuse(run: &Run<'_>, failed: &Failed) -> ExitCode {
    if let Failed::Problems(diagnostics) = failed {
        run.tell(diagnostics);
    }
    ExitCode::FAILURE
}

/// Those that are not among `said`.
fn unsaid(found: Diagnostics, said: &Diagnostics) -> Diagnostics {
    found
        .into_iter()
        .filter(|one| {
            !said.into_iter().any(|other| {
                (&one.summary, &one.detail, one.subject)
                    == (&other.summary, &other.detail, other.subject)
            })
        })
        .collect()
}
