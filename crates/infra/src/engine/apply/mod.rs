//! Applying: carries the changes of a plan out, in the order of their dependencies.

mod destroy;
mod failures;
mod order;
mod provision;
mod resource;
mod resume;
mod steps;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_plan::{Ended, Graph, NodeId, Outcome, WalkOptions, walk};
use parking_lot::Mutex;

use super::blocks::Block;
use super::change::{Action, Change, Mode, Plan};
use super::ephemeral::Consumers;
use super::index::ModuleIx;
use super::plan::{PlanOptions, select, store_output};
use super::run::{Failed, Input, Run};
use crate::address::{self, ProviderConfig, ResourceInstance};
use crate::state::{Entry, Journal, Object, Seal, State, TERRAFORM_VERSION};
use failures::Failures;
use order::{Group, Order, Step};
pub use resume::Resumed;
pub use steps::About;

/// How a plan is applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Where each change is kept safe until the state itself is written. Recover what is there first.
    pub journal: Option<PathBuf>,
    /// What the journal's lines are sealed with, where the state is encrypted.
    pub seal: Option<Seal>,
    /// What an interrupted walk of the same plan had done.
    pub resumed: Option<Resumed>,
    /// Whether what is wrong is given the address of the instance it concerns.
    pub told_apart: bool,
}

/// What came of an apply.
#[derive(Debug)]
pub struct Applied {
    /// The state now, with a higher serial if anything in it changed.
    pub state: State,
    /// The journal, to be ended by [`Journal::finish`] once the state is written.
    pub journal: Option<Journal>,
    /// The values of the root module's outputs, marked.
    pub outputs: std::collections::BTreeMap<Arc<str>, consort_hcl::Value>,
}

/// An apply under way: begun by [`Applying::begin`], its steps [visited](Applying::visit) in the order of its
/// [graph](Applying::edges), and ended by [`Applying::finish`].
pub struct Applying<'a> {
    pub(super) run: Run<'a>,
    pub(super) plan: &'a Plan,
    pub(super) changes: HashMap<&'a ResourceInstance, &'a Change>,
    pub(super) state: Mutex<State>,
    pub(super) journal: Option<Journal>,
    pub(super) groups: Vec<Group<'a>>,
    graph: Graph<Step<'a>>,
    failures: Mutex<Failures>,
    /// The keys under which replaced objects wait to be deleted.
    pub(super) deposed: Mutex<HashMap<ResourceInstance, Arc<str>>>,
    /// The instances that are made, changed or read as planned.
    pub(super) made: Mutex<HashSet<ResourceInstance>>,
    /// The objects whose deletion is done with.
    pub(super) gone: Mutex<HashSet<(ResourceInstance, Option<Arc<str>>)>>,
    /// Whether what is wrong is given the address of the instance it concerns.
    pub(super) told_apart: bool,
    selected: Vec<bool>,
    consumers: Consumers,
}

/// Applies a plan to the state it was made from.
///
/// The state is given even when there are errors: what was done stays done.
pub async fn apply(
    input: &Input<'_>,
    plan: &Plan,
    options: &ApplyOptions,
) -> (Applied, Diagnostics) {
    let applying = match Applying::begin(input, plan, options).await {
        Ok(applying) => applying,
        Err(diagnostics) => {
            let unchanged = Applied {
                state: plan.previous_state.clone(),
                journal: None,
                outputs: std::collections::BTreeMap::new(),
            };
            return (unchanged, diagnostics);
        }
    };
    let walk_options = WalkOptions {
        parallelism: input.parallelism.max(1),
        step_deadline: None,
        cancel: input.cancel.clone(),
    };
    let report = {
        let applying = &applying;
        let walking = walk(&applying.graph, &walk_options, |id| async move {
            applying.visit(id).await;
            Outcome::<Failed>::Done
        });
        let stopping = async {
            input.cancel.cancelled().await;
            applying.run.stop_providers().await;
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            report = walking => report,
            never = stopping => match never {},
        }
    };
    applying.run.afterwards();
    let halted = input.cancel.is_cancelled()
        && report
            .ended
            .iter()
            .any(|ended| matches!(ended, Ended::Cancelled));
    let (applied, mut diagnostics) = applying.finish().await;
    if halted {
        diagnostics.push(Diagnostic::error("execution halted", ""));
    }
    (applied, diagnostics)
}

/// By node of the blocks' graph: whether it is visited.
fn select_blocks(run: &Run<'_>, plan: &Plan) -> Vec<bool> {
    let graph = &run.blocks.graph;
    match plan.mode {
        Mode::Normal => {
            let options = PlanOptions {
                targets: plan.targets.clone(),
                excluded: plan.excluded.clone(),
                ..PlanOptions::default()
            };
            select(run, &options)
        }
        // Only what providers need to be set up.
        Mode::Destroy => {
            let providers = plan
                .changes
                .iter()
                .filter(|change| change.action == Action::Delete)
                .filter_map(|change| Some(run.blocks.provider_of.get(&change.provider)?.1))
                .collect::<BTreeSet<_>>();
            graph.reach(providers, consort_plan::Reach::Dependencies)
        }
        // All values are in the plan already.
        Mode::RefreshOnly => vec![false; graph.len()],
    }
}

impl<'a> Applying<'a> {
    /// Gets everything ready to carry a plan out; nothing is done yet. The graph it has then is to be walked.
    ///
    /// # Errors
    /// Providers that cannot be asked for their schemas, steps that wait for each other, a journal that cannot be
    /// begun.
    pub async fn begin(
        input: &Input<'a>,
        plan: &'a Plan,
        options: &ApplyOptions,
    ) -> Result<Applying<'a>, Diagnostics> {
        let mut state = match &options.resumed {
            None => plan.prior_state.clone(),
            Some(resumed) => resumed.state.clone(),
        };
        let mut used: BTreeSet<ProviderConfig> = state
            .resources
            .values()
            .map(|resource| resource.provider.clone())
            .collect();
        used.extend(plan.changes.iter().map(|change| change.provider.clone()));
        let mut run = Run::new(input, &used, true).await?;
        run.before_destroy = plan.mode == Mode::Destroy;
        run.checks.get_mut().expect_objects(&plan.checks);
        run.planned_outputs = plan
            .outputs
            .iter()
            .filter(|(_, change)| change.action != Action::Delete && change.after.is_wholly_known())
            .map(|(name, change)| (name.clone(), change.after.clone()))
            .collect();
        let (made, deposed) = match &options.resumed {
            None => (HashSet::new(), HashMap::new()),
            Some(resumed) => resumed.standing(plan),
        };
        let Order { graph, groups } = order::order(&run, plan)?;
        let journal = match &options.journal {
            None => None,
            Some(path) => {
                let of = match &options.resumed {
                    None => &plan.previous_state,
                    Some(resumed) => &resumed.state,
                };
                Some(
                    Journal::begin(path, of, options.seal.clone()).map_err(|error| {
                        let problem = std::error::Error::source(&error)
                            .map(|source| format!(": {source}"))
                            .unwrap_or_default();
                        Diagnostic::error(
                            "Failed to begin the journal",
                            format!("{error}{problem}. No change was made."),
                        )
                    })?,
                )
            }
        };
        for change in &plan.changes {
            if change.action == Action::Forget {
                state.set_object(
                    &change.address,
                    change.deposed.as_ref(),
                    &change.provider,
                    None,
                );
            }
        }
        let selected = select_blocks(&run, plan);
        let consumers = Consumers::new(&run, &graph);
        Ok(Applying {
            changes: plan
                .changes
                .iter()
                .filter(|change| change.deposed.is_none())
                .map(|change| (&change.address, change))
                .collect(),
            plan,
            state: Mutex::new(state),
            journal,
            groups,
            graph,
            failures: Mutex::default(),
            deposed: Mutex::new(deposed),
            made: Mutex::new(made),
            gone: Mutex::default(),
            told_apart: options.told_apart,
            selected,
            consumers,
            run,
        })
    }
}

impl Applying<'_> {
    /// Does what a step is for. Everything it depends on was visited, or [failed](Applying::fail), before. It may be
    /// visited again after a failure, and goes on then with what is not done; a visit that is dropped midway counts as
    /// failed.
    pub async fn visit(&self, id: NodeId) {
        let run = &self.run;
        let step = self.graph[id];
        run.forget_visit(id);
        self.failures.lock().begin(id);
        // Failures are told from step to step by what they concern: to the walk every step is done.
        let done = if self.is_stopped(id, step) {
            Err(Failed)
        } else {
            match step {
                Step::Destroy(group) => {
                    self.visit_group(id, group).await;
                    Ok(())
                }
                Step::Block(_) if !self.selected[id.index()] => Ok(()),
                Step::Block(block) => match block {
                    Block::Call(ix) => run.visit_call(id, ix),
                    Block::End(ix) => run.visit_end(id, ix),
                    Block::Orphans(_) => Ok(()),
                    Block::Variable(ix, variable) => run.visit_variable(id, ix, variable),
                    Block::Local(ix, local) => run.visit_local(id, ix, local),
                    Block::Output(ix, output) => run.visit_output(id, ix, output),
                    Block::Check(ix, check) => run.visit_check(id, ix, check),
                    Block::Provider(ix) => run.visit_provider(id, ix).await,
                    Block::Resource(ix, resource) => self.visit_resource(id, ix, resource).await,
                },
            }
        };
        {
            let mut failures = self.failures.lock();
            if done.is_err() {
                failures.all(id);
            }
            failures.end(id);
        }
        run.release_ephemeral(&self.consumers, id).await;
    }

    /// Keeps what became of an object: in the journal first, then in the state.
    pub(super) fn keep(
        &self,
        address: &ResourceInstance,
        deposed: Option<&Arc<str>>,
        provider: &ProviderConfig,
        object: Option<Arc<Object>>,
    ) -> Result<(), Failed> {
        let mut kept = Ok(());
        if let Some(journal) = &self.journal {
            let entry = Entry {
                address: address.clone(),
                deposed: deposed.cloned(),
                provider: provider.clone(),
                object: object.clone(),
            };
            if let Err(error) = journal.append(&entry) {
                let problem = std::error::Error::source(&error)
                    .map(|source| format!(": {source}"))
                    .unwrap_or_default();
                kept = self.run.fail(Diagnostic::error(
                    "Failed to save a change",
                    format!("{error}{problem}."),
                ));
            }
        }
        self.state
            .lock()
            .set_object(address, deposed, provider, object);
        kept
    }

    /// Ends the walk: closes what is open, and gives what came of it and what was found and not
    /// [taken](Applying::take_diagnostics) yet.
    pub async fn finish(self) -> (Applied, Diagnostics) {
        self.run.close_ephemeral(None).await;
        self.run.close_providers().await;
        let plan = self.plan;
        let mut state = self.state.into_inner();
        let outputs = match plan.mode {
            Mode::RefreshOnly => plan
                .outputs
                .iter()
                .map(|(name, change)| (name.clone(), change.after.clone()))
                .collect(),
            _ => self.run.root_outputs.into_inner(),
        };
        let diagnostics = self.run.diagnostics.into_inner();
        match plan.mode {
            Mode::Destroy => {
                for (name, change) in &plan.outputs {
                    if change.action == Action::Delete {
                        state.outputs.remove(name);
                    }
                }
                if plan.targets.is_empty() && plan.excluded.is_empty() {
                    state
                        .resources
                        .retain(|address, _| address.resource.mode != address::Mode::Data);
                }
                let mut checks = self.run.checks.into_inner();
                checks.forget_objects();
                state.check_results = checks.to_state();
            }
            Mode::Normal | Mode::RefreshOnly => {
                let declared = &self.run.index.module(ModuleIx::ROOT).outputs;
                for (name, output) in declared {
                    let Some(value) = outputs.get(name) else {
                        continue;
                    };
                    if !plan.deferred.is_empty() && !value.is_wholly_known() {
                        // It depends on what was put off.
                        continue;
                    }
                    store_output(&mut state, name, output, value);
                }
                for (name, change) in &plan.outputs {
                    if change.action == Action::Delete {
                        state.outputs.remove(name);
                    }
                }
                state.check_results = match plan.mode {
                    Mode::RefreshOnly => plan.checks.to_state(),
                    _ => self.run.checks.into_inner().to_state(),
                };
            }
        }
        TERRAFORM_VERSION.clone_into(&mut state.terraform_version);
        if !state.same_contents(&plan.previous_state) {
            state.serial = plan.previous_state.serial + 1;
        }
        (
            Applied {
                state,
                journal: self.journal,
                outputs,
            },
            diagnostics,
        )
    }
}
