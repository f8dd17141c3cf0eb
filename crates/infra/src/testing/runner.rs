//! Running the files of a suite, run by run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::{Functions, Scope};
use consort_hcl::{Sources, Traversal, Value};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::assertions::{self, Names};
use super::doubles::{Doubled, Doubles, check_file, check_run};
use super::failures::Expected;
use super::suite::{Event, FileReport, Left, Progress, Reporter, RunReport, Status, Verbose};
use super::variables::{FileVariables, ProviderNames, Runs, Variables, of_run};
use crate::address::{Key, Mode as ResourceMode, ResourceInstance, Target};
use crate::config::{self, GivenValues, Run, TestFile, Tree};
use crate::engine::{
    self, Action, Afterwards, ApplyOptions, Input, Mode, Plan, PlanOptions, Providers,
    Provisioners, Silent, UnderTest,
};
use crate::state::State;

/// After which time, again and again, a run that is still going on is told of.
const STILL: Duration = Duration::from_secs(2);

/// What is said of a plan that is limited to some targets: a summary and a detail, in Terraform's words.
const TARGETED: [&str; 2] = [
    "Resource targeting is in effect",
    "You are creating a plan with the -target option, which means that the result of this plan may not represent all of the changes requested by the current configuration.\n\nThe -target option is not for routine use, and is provided only for exceptional situations such as recovering from errors or mistakes, or when Terraform specifically suggests to use it as part of an error message.",
];

/// The same of its apply.
const APPLIED_IN_PART: [&str; 2] = [
    "Applied changes may be incomplete",
    "The plan was created with the -target option in effect, so some changes requested in the configuration may have been ignored and the output values may not be fully updated. Run the following command to verify that no other changes are pending:\n    terraform plan\n\nNote that the -target option is not suitable for routine use, and is provided only for exceptional situations such as recovering from errors or mistakes, or when Terraform specifically suggests to use it as part of an error message.",
];

fn partial([summary, detail]: [&str; 2]) -> Diagnostic {
    Diagnostic::warning(summary, detail)
}

/// The functions of the language: while planning or applying, at a time (RFC 3339).
pub type Language<'a> = dyn Fn(bool, &str) -> Arc<Functions> + Send + Sync + 'a;

/// The tests of a configuration, ready to be run.
pub struct Suite<'a> {
    /// The configuration with its test files.
    pub tree: &'a Tree,
    /// The texts it was read from.
    pub sources: Sources,
    /// Where providers come from.
    pub providers: &'a dyn Providers,
    /// What runs provisioners.
    pub provisioners: &'a dyn Provisioners,
    /// The functions of the language.
    pub language: &'a Language<'a>,
    /// The time as RFC 3339.
    pub now: &'a (dyn Fn() -> String + Send + Sync),
    /// Values of variables from outside of the test files.
    pub globals: GivenValues,
    /// The name of the workspace.
    pub workspace: &'a str,
    /// How many things are done at once.
    pub parallelism: usize,
    /// The files to run; none for all.
    pub filter: Vec<String>,
    /// Whether what runs make is kept for their reports.
    pub verbose: bool,
    /// Ends after the run that is under way, and cleans up.
    pub stop: CancellationToken,
    /// Ends at once, and leaves what is there.
    pub cancel: CancellationToken,
    /// Who is told what happens.
    pub reporter: &'a dyn Reporter,
}

/// A state that runs of a file share.
pub(super) struct Kept {
    pub(super) state: State,
    /// The run that changed it last, by its place in the file.
    pub(super) last: Option<usize>,
}

/// A file under way.
pub(super) struct FileRun<'f> {
    pub(super) name: &'f str,
    pub(super) file: &'f TestFile,
    /// By key: the module's source, or what the run says.
    pub(super) states: BTreeMap<String, Kept>,
    pub(super) runs: Runs,
}

/// A run that is ready for the engine.
pub(super) struct Prepared {
    pub(super) doubled: Doubled,
    pub(super) file_variables: FileVariables,
    pub(super) variables: Variables,
}

/// What the engine came to at the end of a walk.
#[derive(Default)]
struct Evaluated {
    outputs: Option<Value>,
    status: Status,
    diagnostics: Diagnostics,
}

/// What an operation that may be abandoned came to.
pub(super) struct Attended<T> {
    pub(super) done: T,
    /// Whether it was abandoned.
    pub(super) abandoned: bool,
}

/// How one run ended.
struct Ended {
    status: Status,
    diagnostics: Diagnostics,
    verbose: Option<Box<Verbose>>,
}

impl Ended {
    fn failed(diagnostics: Diagnostics) -> Ended {
        Ended {
            status: Status::Error,
            diagnostics,
            verbose: None,
        }
    }
}

pub(super) fn interrupted() -> Diagnostic {
    Diagnostic::error(
        "Test interrupted",
        "The test operation could not be completed due to an interrupt signal. Please read the remaining diagnostics carefully for any sign of failed state cleanup or dangling resources.",
    )
}

impl Suite<'_> {
    /// Runs everything, and gives how each file ended.
    pub async fn run(mut self) -> (Vec<FileReport>, Sources) {
        let tree = self.tree;
        let chosen: Vec<(&String, &TestFile)> = tree
            .module
            .tests
            .iter()
            .filter(|(name, _)| self.filter.is_empty() || self.filter.contains(name))
            .collect();
        let found: BTreeMap<String, Vec<Arc<str>>> = chosen
            .iter()
            .map(|(name, file)| {
                let runs = file.runs.iter().map(|run| run.name.clone()).collect();
                ((*name).clone(), runs)
            })
            .collect();
        self.tell(&Event::Found(&found));
        let mut reports = Vec::new();
        for (name, file) in chosen {
            if self.cancel.is_cancelled() {
                break;
            }
            reports.push(Box::pin(self.file(name, file)).await);
        }
        (reports, self.sources)
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        self.reporter.event(event, &self.sources);
    }

    async fn file(&mut self, name: &str, file: &TestFile) -> FileReport {
        self.tell(&Event::FileStarting { file: name });
        let mut under_way = FileRun {
            name,
            file,
            states: BTreeMap::new(),
            runs: file
                .runs
                .iter()
                .map(|run| (run.name.clone(), None))
                .collect(),
        };
        let mut report = FileReport {
            name: name.to_owned(),
            status: Status::Pass,
            diagnostics: check_file(file, self.tree),
            runs: Vec::new(),
        };
        for at in 0..file.runs.len() {
            let done = Box::pin(self.one(&mut under_way, at, report.status)).await;
            report.status = report.status.merge(done.status);
            if done.status != Status::Pending {
                self.tell(&Event::RunDone {
                    file: name,
                    report: &done,
                });
            }
            report.runs.push(done);
        }
        self.tell(&Event::FileTearDown { file: name });
        let cleaned = self.clean_up(&mut under_way).await;
        report.status = report.status.merge(cleaned);
        self.tell(&Event::FileDone(&report));
        report
    }

    /// One run, or why it is left out.
    async fn one(&mut self, file: &mut FileRun<'_>, at: usize, so_far: Status) -> RunReport {
        let run = &file.file.runs[at];
        let mut report = RunReport {
            name: run.name.clone(),
            status: Status::Pending,
            diagnostics: Diagnostics::new(),
            verbose: None,
            assertions: run.asserts.len(),
            started: None,
            took: Duration::ZERO,
        };
        if self.cancel.is_cancelled() {
            return report;
        }
        if self.stop.is_cancelled() || so_far == Status::Error {
            report.status = Status::Skip;
            return report;
        }
        self.tell(&Event::Run {
            file: file.name,
            run: &run.name,
            progress: Progress::Starting,
            elapsed: Duration::ZERO,
        });
        report.started = Some(SystemTime::now());
        let start = Instant::now();
        let ended = Box::pin(self.carry_out(file, at)).await;
        report.took = start.elapsed();
        report.status = ended.status;
        report.diagnostics = ended.diagnostics;
        report.verbose = ended.verbose;
        report
    }

    /// The configuration a run is about.
    pub(super) fn under_test(&self, file: &str, run: &Run) -> Option<&Tree> {
        match &run.module {
            None => Some(self.tree),
            Some(_) => self
                .tree
                .run_modules
                .get(&(file.to_owned(), run.name.clone())),
        }
    }

    /// The key of the state a run works on.
    fn key(run: &Run) -> String {
        match (&run.state_key, &run.module) {
            (Some(key), _) => key.clone(),
            (None, Some(module)) => module.source.to_string(),
            (None, None) => String::new(),
        }
    }

    /// Puts the configuration of a run together, and the values of its variables.
    pub(super) async fn prepare(
        &mut self,
        file: &FileRun<'_>,
        run: &Run,
        judge: bool,
    ) -> Result<(Prepared, Diagnostics), Diagnostics> {
        let Some(tree) = self.under_test(file.name, run).cloned() else {
            return Err(Diagnostic::error(
                "Module not installed",
                "This module is not yet installed. Run \"terraform init\" to install all modules required by this configuration.",
            )
            .at(run.range)
            .into());
        };
        let mut diagnostics = Diagnostics::new();
        if judge {
            diagnostics.append(check_run(run, &tree));
            if diagnostics.has_errors() {
                return Err(diagnostics);
            }
        }
        let functions = (self.language)(false, &(self.now)());
        let file_variables = FileVariables::new(
            file.file,
            &tree.module,
            &self.globals,
            &functions,
            &mut self.sources,
        );
        let (doubled, found) = Doubled::new(&tree, file.file, run, &self.sources);
        diagnostics.append(found);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        if judge {
            let found = self.validate(file, &doubled, &file_variables).await;
            diagnostics.append(found);
            if diagnostics.has_errors() {
                return Err(diagnostics);
            }
        }
        let (variables, found) = match of_run(
            run,
            &file_variables,
            &tree.module,
            &file.runs,
            &functions,
            &self.sources,
        ) {
            Ok(done) => done,
            Err(found) => {
                diagnostics.append(found);
                return Err(diagnostics);
            }
        };
        diagnostics.append(found);
        Ok((
            Prepared {
                doubled,
                file_variables,
                variables,
            },
            diagnostics,
        ))
    }

    /// Whether the configuration makes sense with the providers it is given.
    async fn validate(
        &self,
        file: &FileRun<'_>,
        doubled: &Doubled,
        file_variables: &FileVariables,
    ) -> Diagnostics {
        let functions = (self.language)(true, "");
        let names = ProviderNames {
            variables: file_variables,
            runs: &file.runs,
            functions: &functions,
            sources: &self.sources,
        };
        let providers = Doubles {
            real: self.providers,
            mocks: &doubled.mocks,
        };
        let nothing: &Afterwards<'_> = &|_, _| {};
        let under_test = Self::differences(doubled, &names, nothing);
        let input = Input {
            tree: &doubled.tree,
            sources: &self.sources,
            functions: functions.clone(),
            providers: &providers,
            provisioners: self.provisioners,
            variables: BTreeMap::new(),
            given: BTreeMap::new(),
            workspace: self.workspace,
            watcher: &Silent,
            parallelism: self.parallelism,
            cancel: self.cancel.clone(),
            directory: None,
            under_test: Some(&under_test),
        };
        engine::validate(&input, true).await
    }

    fn differences<'d>(
        doubled: &'d Doubled,
        names: &'d (dyn Scope + Send + Sync),
        afterwards: &'d Afterwards<'d>,
    ) -> UnderTest<'d> {
        UnderTest {
            objects: doubled.objects(),
            modules: doubled.modules(),
            provider_names: Some(names),
            foreign_providers: doubled.foreign.clone(),
            mocked_providers: doubled.mocks.keys().cloned().collect(),
            afterwards,
        }
    }

    /// Plans what a run asks for.
    pub(super) async fn plan(
        &self,
        file: &FileRun<'_>,
        prepared: &Prepared,
        options: &PlanOptions,
        state: &State,
        afterwards: &Afterwards<'_>,
    ) -> (Option<Plan>, Diagnostics) {
        let functions = (self.language)(true, &options.timestamp);
        let names = ProviderNames {
            variables: &prepared.file_variables,
            runs: &file.runs,
            functions: &functions,
            sources: &self.sources,
        };
        let providers = Doubles {
            real: self.providers,
            mocks: &prepared.doubled.mocks,
        };
        let under_test = Self::differences(&prepared.doubled, &names, afterwards);
        let input = self.input(prepared, functions.clone(), &providers, &under_test);
        engine::plan(&input, options, state).await
    }

    /// Applies a plan; gives the state that is there then.
    pub(super) async fn apply(
        &self,
        file: &FileRun<'_>,
        prepared: &Prepared,
        plan: &Plan,
        afterwards: &Afterwards<'_>,
    ) -> (State, Diagnostics) {
        let functions = (self.language)(false, &plan.timestamp);
        let names = ProviderNames {
            variables: &prepared.file_variables,
            runs: &file.runs,
            functions: &functions,
            sources: &self.sources,
        };
        let providers = Doubles {
            real: self.providers,
            mocks: &prepared.doubled.mocks,
        };
        let under_test = Self::differences(&prepared.doubled, &names, afterwards);
        let input = self.input(prepared, functions.clone(), &providers, &under_test);
        let (applied, diagnostics) = engine::apply(&input, plan, &ApplyOptions::default()).await;
        (applied.state, diagnostics)
    }

    fn input<'i>(
        &'i self,
        prepared: &'i Prepared,
        functions: Arc<Functions>,
        providers: &'i dyn Providers,
        under_test: &'i UnderTest<'i>,
    ) -> Input<'i> {
        Input {
            tree: &prepared.doubled.tree,
            sources: &self.sources,
            functions,
            providers,
            provisioners: self.provisioners,
            variables: prepared.variables.values.clone(),
            given: prepared.variables.given.clone(),
            workspace: self.workspace,
            watcher: &Silent,
            parallelism: self.parallelism,
            cancel: self.cancel.clone(),
            directory: None,
            under_test: Some(under_test),
        }
    }

    /// Waits for an operation, tells of it while it goes on, and what is left when it is abandoned.
    pub(super) async fn attend<T>(
        &self,
        file: &FileRun<'_>,
        run: &Run,
        progress: Progress,
        since: Instant,
        planned: &[ResourceInstance],
        work: impl Future<Output = T>,
    ) -> Attended<T> {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval_at((since + STILL).into(), STILL);
        let mut abandoned = false;
        loop {
            tokio::select! {
                done = &mut work => return Attended { done, abandoned },
                _ = tick.tick() => self.tell(&Event::Run {
                    file: file.name,
                    run: &run.name,
                    progress,
                    elapsed: since.elapsed(),
                }),
                () = self.cancel.cancelled(), if !abandoned => {
                    abandoned = true;
                    self.abandon(file, run, planned);
                }
            }
        }
    }

    fn abandon(&self, file: &FileRun<'_>, run: &Run, planned: &[ResourceInstance]) {
        let mut left = Left::default();
        let mut others = Vec::new();
        for (key, kept) in &file.states {
            let found = Left::of(&kept.state);
            if key.is_empty() {
                left = found;
            } else if let Some(at) = kept.last {
                let made_by = &file.file.runs[at];
                let source = made_by
                    .module
                    .as_ref()
                    .map_or_else(String::new, |module| module.source.to_string());
                others.push((at, (made_by.name.clone(), source, found)));
            }
        }
        others.sort_by_key(|(at, _)| *at);
        let others: Vec<_> = others.into_iter().map(|(_, other)| other).collect();
        let module = run.module.as_ref().map(|module| module.source.to_string());
        self.tell(&Event::Abandoned {
            file: file.name,
            run: &run.name,
            left: &left,
            others: &others,
            planned,
            module: module.as_deref(),
        });
    }

    async fn carry_out(&mut self, file: &mut FileRun<'_>, at: usize) -> Ended {
        let run = &file.file.runs[at];
        let since = Instant::now();
        let prepared = self.prepare(file, run, true).await;
        let (prepared, mut diagnostics) = match prepared {
            Ok(prepared) => prepared,
            Err(diagnostics) => return Ended::failed(diagnostics),
        };
        let options = match options(run, (self.now)()) {
            Ok(options) => options,
            Err(found) => {
                diagnostics.append(found);
                return Ended::failed(diagnostics);
            }
        };
        let key = Self::key(run);
        let state = file
            .states
            .entry(key.clone())
            .or_insert_with(|| Kept {
                state: State::default(),
                last: None,
            })
            .state
            .clone();
        let mut schemas = BTreeMap::new();
        for resource in prepared.doubled.tree.module.resources.values() {
            if !schemas.contains_key(&resource.provider)
                && let Ok(found) = self.providers.schemas(&resource.provider).await
            {
                schemas.insert(resource.provider.clone(), found);
            }
        }
        let evaluated = Mutex::new(Evaluated::default());
        let look = |scope: &dyn Scope, outputs: &BTreeMap<Arc<str>, Value>| {
            let names = Names {
                inner: scope,
                module: &prepared.doubled.tree.module,
                outputs,
                variables: &prepared.variables.others,
                runs: &file.runs,
                schemas: &schemas,
            };
            let (status, diagnostics) = assertions::evaluate(&run.asserts, &names);
            *evaluated.lock() = Evaluated {
                outputs: Some(Value::object(
                    outputs
                        .iter()
                        .map(|(name, value)| (name.clone(), value.clone())),
                )),
                status,
                diagnostics,
            };
        };
        let planned = self
            .attend(
                file,
                run,
                Progress::Running,
                since,
                &[],
                self.plan(file, &prepared, &options, &state, &look),
            )
            .await;
        if planned.abandoned {
            diagnostics.push(interrupted());
        }
        let (plan, mut found) = planned.done;
        if !options.targets.is_empty() {
            found.push(partial(TARGETED));
        }
        let mut expected = Expected::of(&run.expect_failures);
        if run.plan_only {
            diagnostics.append(expected.judge(found));
            let Some(plan) = plan.filter(|_| !diagnostics.has_errors()) else {
                return Ended::failed(diagnostics);
            };
            let evaluated = evaluated.into_inner();
            diagnostics.append(evaluated.diagnostics);
            let verbose = self.verbose(&prepared, plan, None, &mut diagnostics).await;
            file.runs.insert(run.name.clone(), evaluated.outputs);
            return Ended {
                status: evaluated.status.merge(Status::Pass),
                diagnostics,
                verbose,
            };
        }
        diagnostics.append(expected.too_early(found));
        let Some(plan) = plan.filter(|_| !diagnostics.has_errors()) else {
            return Ended::failed(diagnostics);
        };
        // What only looks has come to all values while planning.
        let looked =
            (plan.mode == Mode::RefreshOnly).then(|| std::mem::take(&mut *evaluated.lock()));
        let created: Vec<ResourceInstance> = plan
            .changes
            .iter()
            .filter(|change| change.action == Action::Create)
            .map(|change| change.address.clone())
            .collect();
        let applied = self
            .attend(
                file,
                run,
                Progress::Running,
                since,
                &created,
                self.apply(file, &prepared, &plan, &look),
            )
            .await;
        if applied.abandoned {
            diagnostics.push(interrupted());
        }
        let (state, mut found) = applied.done;
        if !options.targets.is_empty() {
            found.push(partial(APPLIED_IN_PART));
        }
        expected = Expected::of(&run.expect_failures);
        diagnostics.append(expected.judge(found));
        let evaluated = looked.unwrap_or_else(|| evaluated.into_inner());
        let failed = diagnostics.has_errors();
        file.states.insert(
            key,
            Kept {
                state: state.clone(),
                last: Some(at),
            },
        );
        if failed {
            return Ended::failed(diagnostics);
        }
        diagnostics.append(evaluated.diagnostics);
        let verbose = self
            .verbose(&prepared, plan, Some(state), &mut diagnostics)
            .await;
        file.runs.insert(run.name.clone(), evaluated.outputs);
        Ended {
            status: evaluated.status.merge(Status::Pass),
            diagnostics,
            verbose,
        }
    }

    /// What a run made, with all that is needed to show it.
    async fn verbose(
        &self,
        prepared: &Prepared,
        plan: Plan,
        state: Option<State>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Box<Verbose>> {
        if !self.verbose {
            return None;
        }
        let tree = &prepared.doubled.tree;
        let mut sources: Vec<_> = tree.requirements().into_keys().collect();
        let in_state = [&plan.prior_state]
            .into_iter()
            .chain(&state)
            .flat_map(|state| state.resources.values())
            .map(|resource| resource.provider.provider.clone());
        sources.extend(in_state);
        sources.sort();
        sources.dedup();
        let mut schemas = BTreeMap::new();
        for source in sources {
            match self.providers.schemas(&source).await {
                Ok(found) => {
                    schemas.insert(source, found);
                }
                Err(found) => {
                    diagnostics.append(found);
                    return None;
                }
            }
        }
        Some(Box::new(Verbose {
            plan,
            state,
            tree: tree.clone(),
            schemas,
        }))
    }
}

fn targets(written: &[Traversal]) -> Result<Vec<Target>, Diagnostics> {
    let mut found = Vec::new();
    let mut diagnostics = Diagnostics::new();
    for traversal in written {
        match config::target(traversal) {
            Ok(target) => found.push(target),
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok(found)
    }
}

/// How a run plans.
fn options(run: &Run, timestamp: String) -> Result<PlanOptions, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let chosen = targets(&run.options.target).unwrap_or_else(|found| {
        diagnostics.append(found);
        Vec::new()
    });
    let mut replace = Vec::new();
    for traversal in &run.options.replace {
        match config::target(traversal) {
            Err(diagnostic) => diagnostics.push(*diagnostic),
            Ok(Target::Module(module)) => diagnostics.push(
                Diagnostic::error(
                    "Invalid address",
                    format!("Resource specification must include a resource type and name, which {module} does not."),
                )
                .at(traversal.range()),
            ),
            Ok(target) => {
                let instance = match target {
                    Target::Instance(instance) => instance,
                    Target::Resource(resource) => resource.instance(Key::None),
                    Target::Module(_) => continue,
                };
                if instance.resource.mode == ResourceMode::Managed {
                    replace.push(instance);
                } else {
                    diagnostics.push(
                        Diagnostic::error(
                            "Can only target managed resources for forced replacements.",
                            instance.to_string(),
                        )
                        .at(traversal.range()),
                    );
                }
            }
        }
    }
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(PlanOptions {
        mode: if run.options.refresh_only {
            Mode::RefreshOnly
        } else {
            Mode::Normal
        },
        refresh: run.options.refresh,
        targets: chosen,
        replace,
        timestamp,
        ..PlanOptions::default()
    })
}
