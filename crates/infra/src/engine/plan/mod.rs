//! Planning: refreshes what is there, evaluates what is wanted, and decides every change.

mod data;
mod defer;
mod finish;
mod ignore;
mod managed;
mod orphans;
mod relevant;
mod resource;
mod select;
mod triggers;

pub(super) use data::Read;
pub(super) use finish::store_output;
pub(super) use managed::{Asked, InstanceOf, Wanted};
pub(super) use resource::ResourceBlock;
pub(super) use select::select;
pub(super) use triggers::constant as constant_address;

use std::collections::{BTreeSet, HashMap, HashSet};

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_plan::{Ended, NodeId, Outcome, WalkOptions, walk};
use parking_lot::Mutex;

use super::blocks::Block;
use super::change::{Action, Change, Deferred, Mode, Plan};
use super::cross_moves;
use super::ephemeral::Consumers;
use super::imports;
use super::moves;
use super::run::{Failed, Input, Run};
use super::ties::{self, Ties};
use crate::address::{
    AbsResource, ConfigResource, ModuleInstance, ProviderConfig, ResourceInstance, Target,
};
use crate::state::State;

/// What is to be planned.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// What kind of plan.
    pub mode: Mode,
    /// Whether providers are asked for the present state first.
    pub refresh: bool,
    /// If not empty, only these and what they depend on.
    pub targets: Vec<Target>,
    /// Not these, nor what depends on them.
    pub excluded: Vec<Target>,
    /// Instances to be replaced whether that is needed or not.
    pub replace: Vec<ResourceInstance>,
    /// Whether configuration is generated for imports that have none.
    pub generate_config: bool,
    /// Whether any provider may put an answer off, not only those of which the configuration is not known.
    pub allow_deferral: bool,
    /// When the plan is made, as RFC 3339; what `plantimestamp()` gives.
    pub timestamp: String,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            mode: Mode::Normal,
            refresh: true,
            targets: Vec::new(),
            excluded: Vec::new(),
            replace: Vec::new(),
            generate_config: false,
            allow_deferral: false,
            timestamp: String::new(),
        }
    }
}

/// A plan in the making.
pub(super) struct Planning<'a> {
    pub(super) run: Run<'a>,
    pub(super) options: &'a PlanOptions,
    /// The state with moves made.
    pub(super) state: State,
    /// Where moved instances were, by where they are now.
    pub(super) moved: HashMap<ResourceInstance, ResourceInstance>,
    /// The state as the providers see it.
    pub(super) refreshed: Mutex<State>,
    pub(super) results: Mutex<Results>,
    /// The resources of the state by their block.
    pub(super) by_block: HashMap<ConfigResource, Vec<AbsResource>>,
    pub(super) imports: Mutex<HashMap<ResourceInstance, imports::Import>>,
    /// By node: whether the plan covers it.
    pub(super) selected: Vec<bool>,
    /// The blocks of which something could not be planned to go: what they depend on stays as well.
    pub(super) kept: Mutex<Vec<NodeId>>,
    /// Something could not be evaluated, or told by its provider.
    incomplete: bool,
    /// What a destroy plan covers, if not everything.
    doom: Option<select::Doom>,
    /// By node: whether something it depends on is put off.
    pub(super) put_off: Mutex<Vec<bool>>,
    consumers: Consumers,
}

#[derive(Default)]
pub(super) struct Results {
    pub(super) changes: Vec<Change>,
    /// The place of an instance's change in `changes`.
    pub(super) by_address: HashMap<ResourceInstance, usize>,
    /// The instances of a resource in `changes`.
    pub(super) by_resource: HashMap<AbsResource, Vec<usize>>,
    /// The module instances in which a block has a change to be made.
    pub(super) pending: HashMap<ConfigResource, Vec<ModuleInstance>>,
    pub(super) drift: Vec<Change>,
    pub(super) deferred: Vec<Deferred>,
    pub(super) create_before_destroy: BTreeSet<ConfigResource>,
}

impl Results {
    pub(super) fn add(&mut self, change: Change) {
        let index = self.changes.len();
        if change.action != Action::NoOp {
            let modules = self.pending.entry(change.address.config()).or_default();
            if modules.last() != Some(&change.address.module) {
                modules.push(change.address.module.clone());
            }
        }
        if change.deposed.is_none() {
            self.by_address.insert(change.address.clone(), index);
            self.by_resource
                .entry(change.address.abs_resource())
                .or_default()
                .push(index);
        }
        self.changes.push(change);
    }
}

/// Plans what has to be done to `state`.
///
/// The plan is given even when there are errors, marked as such, with what was decided until then; none if it
/// did not come to that.
pub async fn plan(
    input: &Input<'_>,
    options: &PlanOptions,
    state: &State,
) -> (Option<Plan>, Diagnostics) {
    let planning = match walked(input, options, state).await {
        Ok(planning) => planning,
        Err(diagnostics) => return (None, diagnostics),
    };
    planning.run.afterwards();
    planning.run.close_ephemeral(None).await;
    planning.run.close_providers().await;
    planning.finish(state)
}

/// As [`plan`], with what the blocks of the configuration use of each other. `wanted` are the variables of the root
/// module whose users are to be told.
pub async fn plan_with_ties(
    input: &Input<'_>,
    options: &PlanOptions,
    state: &State,
    wanted: &BTreeSet<std::sync::Arc<str>>,
) -> (Option<(Plan, Ties)>, Diagnostics) {
    let planning = match walked(input, options, state).await {
        Ok(planning) => planning,
        Err(diagnostics) => return (None, diagnostics),
    };
    planning.run.close_ephemeral(None).await;
    planning.run.close_providers().await;
    let (plan, diagnostics) = planning.finish(state);
    let Some(plan) = plan else {
        return (None, diagnostics);
    };
    let planned: HashSet<ConfigResource> = plan
        .changes
        .iter()
        .map(|change| change.address.config())
        .collect();
    let ties = ties::gather(&planning.run, &|address| planned.contains(address), wanted);
    (Some((plan, ties)), diagnostics)
}

/// Walks the configuration. Ephemeral resources are still open then, and providers run.
pub(super) async fn walked<'a>(
    input: &'a Input<'a>,
    options: &'a PlanOptions,
    state: &State,
) -> Result<Planning<'a>, Diagnostics> {
    let used: BTreeSet<ProviderConfig> = state
        .resources
        .values()
        .map(|resource| resource.provider.clone())
        .collect();
    let mut run = Run::new(input, &used, false).await?;
    run.before_destroy = options.mode == Mode::Destroy;
    run.allow_deferral = options.allow_deferral;
    // Where nothing is to be destroyed nothing is evaluated, as in Terraform.
    let nothing = options.mode == Mode::Destroy && state.is_empty();
    let mut moved_state = state.clone();
    let mut moved = HashMap::new();
    match moves::apply(&run.index, run.input.sources, &mut moved_state) {
        Ok(done) => {
            run.diagnostics.lock().append(done.diagnostics);
            moved = done.moved;
            if !nothing
                && cross_moves::convert(&run, &mut moved_state, &moved)
                    .await
                    .is_err()
            {
                run.close_providers().await;
                let found = std::mem::take(&mut *run.diagnostics.lock());
                return Err(found);
            }
        }
        Err(diagnostics) => {
            let diagnostics: Diagnostics = diagnostics
                .into_iter()
                .filter(|found| !nothing || found.summary != "Moved object still exists")
                .collect();
            if diagnostics.has_errors() {
                return Err(diagnostics);
            }
        }
    }
    if !nothing {
        let missing = missing_providers(&run, &moved_state);
        if missing.has_errors() {
            return Err(missing);
        }
    }
    let mut by_block: HashMap<ConfigResource, Vec<AbsResource>> = HashMap::new();
    for address in moved_state.resources.keys() {
        by_block
            .entry(address.config())
            .or_default()
            .push(address.clone());
    }
    let selected = if nothing {
        vec![false; run.blocks.graph.len()]
    } else {
        select(&run, options)
    };
    let nodes = run.blocks.graph.len();
    let doom = select::doom(&run, options);
    let mut planning = Planning {
        options,
        refreshed: Mutex::new(moved_state.clone()),
        state: moved_state,
        moved,
        results: Mutex::default(),
        by_block,
        imports: Mutex::default(),
        selected,
        kept: Mutex::default(),
        incomplete: false,
        doom,
        put_off: Mutex::new(vec![false; nodes]),
        consumers: Consumers::new(&run, &run.blocks.graph),
        run,
    };
    if options.mode == Mode::Normal {
        planning.collect_imports();
    }
    let walk_options = WalkOptions {
        parallelism: input.parallelism.max(1),
        step_deadline: None,
        cancel: input.cancel.clone(),
    };
    let report = walk(&planning.run.blocks.graph, &walk_options, |id| {
        planning.visit(id)
    })
    .await;
    if report
        .ended
        .iter()
        .any(|ended| matches!(ended, Ended::Cancelled))
        && input.cancel.is_cancelled()
    {
        planning.run.diagnostics.lock().push(Diagnostic::error(
            "Operation cancelled",
            "The plan was interrupted before it was complete.",
        ));
    }
    planning.incomplete = report
        .ended
        .iter()
        .any(|ended| matches!(ended, Ended::Failed(_)));
    Ok(planning)
}

/// Objects without a block whose provider configuration is gone as well.
fn missing_providers(run: &Run<'_>, state: &State) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for (address, resource) in &state.resources {
        if address.resource.mode != crate::address::Mode::Managed
            || run.index.resource(&address.config()).is_some()
        {
            continue;
        }
        let provider = &resource.provider;
        let found = match run.blocks.provider_of.get(provider) {
            Some((ix, _)) => {
                let entry = &run.blocks.providers[ix.0];
                entry.block.is_some()
                    || entry.address.alias.is_none() && entry.address.module.is_root()
            }
            None => false,
        };
        if found {
            continue;
        }
        for key in resource.instances.keys() {
            diagnostics.push(orphans::provider_missing(
                &format!("{} (orphan)", address.instance(key.clone())),
                provider,
            ));
        }
    }
    diagnostics
}

impl Planning<'_> {
    /// Whether only the present is looked at, and no change of the configuration is planned.
    pub(super) fn only_looks(&self) -> bool {
        self.options.mode != Mode::Normal
    }

    async fn visit(&self, id: NodeId) -> Outcome<Failed> {
        let outcome = self.visit_selected(id).await;
        self.run.release_ephemeral(&self.consumers, id).await;
        outcome
    }

    async fn visit_selected(&self, id: NodeId) -> Outcome<Failed> {
        if !self.selected[id.index()] {
            return Outcome::Done;
        }
        self.inherit_put_off(id);
        let run = &self.run;
        let done = match run.blocks.graph[id] {
            Block::Call(ix) => {
                let done = run.visit_call(id, ix);
                if run.world.is_unknown(ix) {
                    self.put_off.lock()[id.index()] = true;
                }
                done
            }
            Block::End(ix) => run.visit_end(id, ix),
            Block::Variable(ix, variable) => run.visit_variable(id, ix, variable),
            Block::Local(ix, local) => run.visit_local(id, ix, local),
            Block::Output(ix, output) => run.visit_output(id, ix, output),
            Block::Check(ix, check) => run.visit_check(id, ix, check),
            Block::Provider(ix) => run.visit_provider(id, ix).await,
            Block::Resource(ix, resource) => self.visit_resource(id, ix, resource).await,
            Block::Orphans(ix) => self.visit_orphans(ix).await,
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(failed) => Outcome::Failed(failed),
        }
    }

    /// What depends on something put off is put off.
    fn inherit_put_off(&self, id: NodeId) {
        let mut put_off = self.put_off.lock();
        if self
            .run
            .blocks
            .graph
            .dependencies(id)
            .iter()
            .any(|(other, _)| put_off[other.index()])
        {
            put_off[id.index()] = true;
        }
    }

    /// Where an instance was before moves.
    pub(super) fn previous(&self, address: &ResourceInstance) -> ResourceInstance {
        self.moved.get(address).unwrap_or(address).clone()
    }
}
