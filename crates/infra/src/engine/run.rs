//! What planning and applying share: the configuration as a graph, the values come to so far, and the providers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::{Function, Functions};
use consort_hcl::{Range, Sources, Value};
use consort_plan::{Graph, NodeId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::blocks::{Block, Blocks, ProviderIx};
use super::change::DeferredReason;
use super::checks::{CheckResults, Checkable};
use super::events::{Event, Watcher};
use super::functions::ProviderFunctions;
use super::index::{Index, ModuleIx};
use super::scope::Names;
use super::under_test::UnderTest;
use super::world::{ModuleTable, World};
use crate::address::{ModuleInstance, ProviderConfig, ProviderSource, ResourceInstance};
use crate::config::Tree;
use crate::provider::schema::Schemas;
use crate::provider::{Call, Provider};

/// Where provider processes come from.
pub trait Providers: Send + Sync {
    /// What a provider offers.
    fn schemas<'a>(
        &'a self,
        source: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<Schemas>, Diagnostics>>;

    /// A provider ready to be configured; one for each configuration.
    fn start<'a>(
        &'a self,
        source: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>>;

    /// The provider for one of its configurations, ready to be configured.
    fn start_for<'a>(
        &'a self,
        config: &'a ProviderConfig,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>> {
        self.start(&config.provider)
    }
}

/// Runs the provisioners of resources.
pub trait Provisioners: Send + Sync {
    /// The schema of a provisioner's arguments; none if there is no such provisioner.
    fn schema(&self, kind: &str) -> Option<Arc<crate::provider::schema::Block>>;

    /// What is wrong with the arguments of a provisioner beyond its schema; some may be unknown. What is found
    /// has no place yet.
    fn validate(&self, kind: &str, config: &Value) -> Diagnostics;

    /// Runs one.
    ///
    /// # Errors
    /// What went wrong, in a sentence.
    fn run<'a>(&'a self, provision: Provision<'a>) -> Call<'a, Result<(), String>>;
}

/// What a provisioner is to do.
pub struct Provision<'a> {
    /// Which provisioner.
    pub kind: &'a str,
    /// Its arguments, an object of its schema without marks.
    pub config: Value,
    /// The directory that relative paths start from, where it is not the one this process works in.
    pub directory: Option<&'a std::path::Path>,
    /// How to reach the machine, an object of what `connection` blocks may say, without marks; null if nothing says so.
    pub connection: Value,
    /// Whether the arguments hold what must not be shown: then errors do not show them.
    pub hidden: bool,
    /// Is given what the provisioner says, as it says it.
    pub output: &'a (dyn Fn(&str) + Send + Sync),
    /// Ends the work early; what is under way is broken off.
    pub cancel: &'a CancellationToken,
}

/// How a variable of the root module was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// The value before it was converted to the variable's type, unmarked.
    pub value: Value,
    /// Where it stands, if that is in a file.
    pub range: Option<Range>,
}

/// What a run works on.
#[derive(Clone)]
pub struct Input<'a> {
    /// The configuration.
    pub tree: &'a Tree,
    /// The texts it was read from.
    pub sources: &'a Sources,
    /// The functions of the language.
    pub functions: Arc<Functions>,
    /// Where providers come from.
    pub providers: &'a dyn Providers,
    /// What runs provisioners.
    pub provisioners: &'a dyn Provisioners,
    /// The root module's variables, as far as they were given.
    pub variables: BTreeMap<Arc<str>, Value>,
    /// How those were given, where that is known: for messages and for the plan as JSON.
    pub given: BTreeMap<Arc<str>, Given>,
    /// The directory that relative paths start from, absolute, where that is not the one this process works in.
    pub directory: Option<&'a std::path::Path>,
    /// The name of the workspace.
    pub workspace: &'a str,
    /// Who is told what happens.
    pub watcher: &'a dyn Watcher,
    /// How many things are done at once.
    pub parallelism: usize,
    /// Ends the run early: what is under way is finished, nothing more is begun.
    pub cancel: CancellationToken,
    /// Set when the run tests the configuration.
    pub under_test: Option<&'a UnderTest<'a>>,
}

/// A visit that went wrong; what was wrong is in [`Run::diagnostics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

pub(super) struct Run<'a> {
    pub(super) input: Input<'a>,
    pub(super) index: Index<'a>,
    pub(super) blocks: Blocks<'a>,
    pub(super) world: World,
    pub(super) functions: Arc<Functions>,
    provider_functions: ProviderFunctions<'a>,
    /// Of the providers in use.
    pub(super) schemas: BTreeMap<ProviderSource, Arc<Schemas>>,
    pub(super) applying: bool,
    /// Whether everything is about to be destroyed: conditions are not looked at then, but for those of variables.
    pub(super) before_destroy: bool,
    pub(super) permits: Semaphore,
    pub(super) diagnostics: Mutex<Diagnostics>,
    pub(super) checks: Mutex<CheckResults>,
    /// Outputs of the root module that were known while planning: an apply does not look at them again.
    pub(super) planned_outputs: BTreeMap<Arc<str>, Value>,
    /// The root module's outputs with their marks, by name.
    pub(super) root_outputs: Mutex<BTreeMap<Arc<str>, Value>>,
    /// Ephemeral resources that have to be closed.
    pub(super) opened: Mutex<Vec<super::ephemeral::OpenResource>>,
    started: RwLock<Vec<Option<Arc<dyn Provider>>>>,
    /// Whether any provider may put an answer off.
    pub(super) allow_deferral: bool,
    /// By provider: how far its configuration is known.
    standing: RwLock<Vec<Standing>>,
    /// By node, the module instances in which it must not be visited, as whoever walks the graph says.
    stopped: RwLock<HashMap<NodeId, Vec<ModuleInstance>>>,
    /// By node, the module instances in which its block failed while it went well in others.
    failed_in: RwLock<HashMap<NodeId, Vec<ModuleInstance>>>,
    /// Variables of the root module whose values came while the walk was under way.
    fed: RwLock<BTreeMap<Arc<str>, Value>>,
}

tokio::task_local! {
    /// What the work under way concerns; set only where whoever walks wants problems told apart.
    static CONCERNS: Arc<str>;
}

/// Names what is wrong in `work` by the resource it concerns.
pub(super) async fn concerning<T>(address: &ResourceInstance, work: impl Future<Output = T>) -> T {
    CONCERNS.scope(address.to_string().into(), work).await
}

/// Gives what is wrong the address of what the work under way concerns, where it has none.
fn attribute(diagnostic: &mut Diagnostic) {
    if diagnostic.address.is_none() {
        let _ = CONCERNS.try_with(|address| diagnostic.address = Some(address.to_string()));
    }
}

/// How a provider stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Standing {
    /// All of its configuration is known.
    #[default]
    Known,
    /// Some is not; the provider took it nevertheless.
    Unknown,
    /// Some is not, and the provider refused it: what it serves is put off.
    PutOff,
}

impl<'a> Run<'a> {
    /// Gets the schemas of all providers in use and builds the graph.
    pub(super) async fn new(
        input: &Input<'a>,
        used: &BTreeSet<ProviderConfig>,
        applying: bool,
    ) -> Result<Run<'a>, Diagnostics> {
        let index = Index::new(input.tree);
        let mut sources: BTreeSet<ProviderSource> =
            used.iter().map(|config| config.provider.clone()).collect();
        for entry in &index.modules {
            sources.extend(
                entry
                    .module
                    .resources
                    .values()
                    .map(|resource| resource.provider.clone()),
            );
        }
        // Imports may be of types that no block has yet.
        sources.extend(
            input
                .tree
                .module
                .imports
                .iter()
                .map(|import| import.provider_address.clone()),
        );
        let mut schemas = BTreeMap::new();
        let mut diagnostics = Diagnostics::new();
        for source in sources {
            match input.providers.schemas(&source).await {
                Ok(found) => {
                    schemas.insert(source, found);
                }
                Err(problems) => diagnostics.append(problems),
            }
        }
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let blocks = Blocks::new(&index, &schemas, used);
        if let Err(cycles) = blocks.graph.check() {
            let mut diagnostics = Diagnostics::new();
            for names in cycles.describe(|id| blocks.name(&index, id)) {
                diagnostics.push(Diagnostic::error(format!("Cycle: {names}"), ""));
            }
            return Err(diagnostics);
        }
        let mut checks = CheckResults::default();
        for (_, block) in blocks.graph.iter() {
            declare(&index, *block, &mut checks);
        }
        let providers = blocks.providers.len();
        Ok(Run {
            world: World::new(index.modules.len()),
            index,
            blocks,
            functions: input.functions.clone(),
            provider_functions: ProviderFunctions::new(input.providers),
            schemas,
            applying,
            before_destroy: false,
            permits: Semaphore::new(input.parallelism.max(1)),
            diagnostics: Mutex::default(),
            checks: Mutex::new(checks),
            planned_outputs: BTreeMap::new(),
            root_outputs: Mutex::default(),
            opened: Mutex::default(),
            started: RwLock::new(vec![None; providers]),
            allow_deferral: false,
            standing: RwLock::new(vec![Standing::default(); providers]),
            stopped: RwLock::default(),
            failed_in: RwLock::default(),
            fed: RwLock::default(),
            input: input.clone(),
        })
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        self.input.watcher.event(event);
    }

    /// Notes what was found; fails when there is an error in it.
    pub(super) fn note(&self, diagnostics: impl Into<Diagnostics>) -> Result<(), Failed> {
        let mut diagnostics = diagnostics.into();
        if diagnostics.is_empty() {
            return Ok(());
        }
        for diagnostic in &mut diagnostics {
            attribute(diagnostic);
        }
        let failed = diagnostics.has_errors();
        self.diagnostics.lock().append(diagnostics);
        if failed { Err(Failed) } else { Ok(()) }
    }

    /// Notes an error.
    pub(super) fn fail<T>(&self, mut diagnostic: Diagnostic) -> Result<T, Failed> {
        attribute(&mut diagnostic);
        self.diagnostics.lock().push(diagnostic);
        Err(Failed)
    }

    pub(super) fn explain_function(
        &self,
        module: ModuleIx,
        name: &str,
    ) -> Option<(String, String)> {
        self.provider_functions
            .explain(self.index.module(module), name)
    }

    pub(super) fn function(&self, module: ModuleIx, name: &str) -> Option<Arc<Function>> {
        if name.starts_with("provider::") {
            return self.provider_functions.get(self.index.module(module), name);
        }
        self.functions.get(name).cloned()
    }

    /// `path.<name>` in a module.
    pub(super) fn path(&self, ix: ModuleIx, name: &str) -> Option<String> {
        let shown = |path: &std::path::Path| {
            let path = match self.input.directory {
                Some(directory) => path.strip_prefix(directory).unwrap_or(path),
                None => path,
            };
            let text = path.display().to_string();
            if text.is_empty() {
                ".".to_owned()
            } else {
                text
            }
        };
        match name {
            "module" => Some(shown(&self.index.module(ix).source_dir)),
            "root" => Some(shown(&self.index.module(ModuleIx::ROOT).source_dir)),
            "cwd" => match self.input.directory {
                Some(directory) => Some(directory.display().to_string()),
                None => std::env::current_dir().ok().map(|path| shown(&path)),
            },
            _ => None,
        }
    }

    pub(super) fn set_standing(&self, ix: ProviderIx, standing: Standing) {
        self.standing.write()[ix.0] = standing;
    }

    pub(super) fn standing(&self, ix: ProviderIx) -> Standing {
        self.standing.read()[ix.0]
    }

    /// Whether a provider may put an answer off. Nothing is put off while applying.
    pub(super) fn may_defer(&self, ix: ProviderIx) -> bool {
        !self.applying && (self.allow_deferral || self.standing(ix) != Standing::Known)
    }

    /// Why a provider put its answer off, if it did and was allowed to.
    pub(super) fn deferred(
        &self,
        ix: ProviderIx,
        answer: Option<crate::provider::Deferred>,
        name: &str,
    ) -> Result<Option<DeferredReason>, Failed> {
        match answer {
            None => Ok(None),
            Some(reason) if self.may_defer(ix) => Ok(Some(reason.into())),
            Some(_) => self.fail(Diagnostic::error(
                "Provider deferred changes when Terraform did not allow deferrals",
                format!(
                    "The provider \"{}\" signaled a deferred action for \"{name}\", but in this context deferrals are disabled. This is a bug in the provider, please file an issue with the provider developers.",
                    self.blocks.providers[ix.0].address
                ),
            )),
        }
    }

    /// The instances of a module in which a node can be visited: nothing it depends on failed there. Those in which
    /// something did count as failed for the node.
    pub(super) fn open_instances(
        &self,
        id: NodeId,
        ix: ModuleIx,
    ) -> (Vec<Arc<ModuleTable>>, Parts) {
        let tables = self.world.instances(ix);
        let mut parts = Parts {
            all: tables.len(),
            failed: Vec::new(),
        };
        let stopped = self.stopped.read();
        if stopped.is_empty() && self.failed_in.read().is_empty() {
            return (tables, parts);
        }
        let stopped = stopped.get(&id);
        let open = tables
            .into_iter()
            .filter(|table| {
                let blocked = self.is_blocked(&self.blocks.graph, id, &table.address)
                    || stopped.is_some_and(|places| {
                        places.iter().any(|place| related(place, &table.address))
                    });
                if blocked {
                    parts.failed.push(table.address.clone());
                }
                !blocked
            })
            .collect();
        (open, parts)
    }

    /// Whether something a node depends on failed in a module instance that has to do with this one: itself, one
    /// that calls it, or one that it calls.
    pub(super) fn is_blocked<N>(
        &self,
        graph: &Graph<N>,
        id: NodeId,
        module: &ModuleInstance,
    ) -> bool {
        let failed_in = self.failed_in.read();
        !failed_in.is_empty()
            && graph.dependencies(id).iter().any(|(other, _)| {
                failed_in
                    .get(other)
                    .is_some_and(|places| places.iter().any(|place| related(place, module)))
            })
    }

    /// The value of a variable of the root module: as it was given, or as it came since.
    pub(super) fn root_variable(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.fed.read().get(name) {
            return Some(value.clone());
        }
        self.input.variables.get(name).cloned()
    }

    /// Sets a variable of the root module before its node is visited.
    pub(super) fn feed(&self, name: Arc<str>, value: Value) {
        self.fed.write().insert(name, value);
    }

    /// Forgets how an earlier visit of a node went, because it is visited again.
    pub(super) fn forget_visit(&self, id: NodeId) {
        if !self.failed_in.read().is_empty() {
            self.failed_in.write().remove(&id);
        }
        if !self.stopped.read().is_empty() {
            self.stopped.write().remove(&id);
        }
    }

    /// Keeps a node from being visited in some module instances.
    pub(super) fn stop_in(&self, id: NodeId, places: Vec<ModuleInstance>) {
        self.stopped.write().insert(id, places);
    }

    /// How a visit ended whose parts were visited one by one: it failed if nothing went well. Where only some
    /// failed, what depends on those is left out by [`Run::open_instances`].
    pub(super) fn settle(&self, id: NodeId, parts: Parts) -> Result<(), Failed> {
        if parts.failed.is_empty() {
            return Ok(());
        }
        if parts.failed.len() >= parts.all {
            return Err(Failed);
        }
        self.failed_in.write().insert(id, parts.failed);
        Ok(())
    }

    /// Keeps a provider that was started; the one before, of an attempt that failed, is given back to be closed.
    pub(super) fn set_provider(
        &self,
        ix: ProviderIx,
        provider: Arc<dyn Provider>,
    ) -> Option<Arc<dyn Provider>> {
        self.started.write()[ix.0].replace(provider)
    }

    /// The provider that serves one object: that of the configuration, unless a test puts another in its place.
    pub(super) fn provider_of(
        &self,
        ix: ProviderIx,
        address: &ResourceInstance,
    ) -> Result<Arc<dyn Provider>, Failed> {
        let provider = self.provider(ix)?;
        let replaced = self
            .input
            .under_test
            .and_then(|test| test.object(address, &self.blocks.providers[ix.0].address));
        Ok(match replaced {
            Some(object) => (object.with)(provider),
            None => provider,
        })
    }

    /// Evaluates what a test asks for.
    pub(super) fn afterwards(&self) {
        if let Some(test) = self.input.under_test {
            let root = self.world.root();
            let outputs = self.root_outputs.lock().clone();
            (test.afterwards)(&Names::of_module(self, &root), &outputs);
        }
    }

    /// The provider of a configuration that was visited.
    pub(super) fn provider(&self, ix: ProviderIx) -> Result<Arc<dyn Provider>, Failed> {
        match &self.started.read()[ix.0] {
            Some(provider) => Ok(provider.clone()),
            None => self.fail(Diagnostic::error(
                "Provider configuration not present",
                format!(
                    "The provider configuration {} is needed but was not set up.",
                    self.blocks.providers[ix.0].address
                ),
            )),
        }
    }

    /// Ends all provider processes.
    pub(super) async fn close_providers(&self) {
        let providers: Vec<_> = self.started.write().drain(..).flatten().collect();
        futures::future::join_all(providers.iter().map(|provider| provider.close())).await;
        self.provider_functions.close().await;
    }

    /// Asks running calls to end soon.
    pub(super) async fn stop_providers(&self) {
        let providers: Vec<_> = self.started.read().iter().flatten().cloned().collect();
        futures::future::join_all(providers.iter().map(|provider| provider.stop())).await;
    }
}

/// How the visits of one node in the instances of its module went.
pub(super) struct Parts {
    /// How many there are.
    pub(super) all: usize,
    /// Where it failed, or could not be visited.
    pub(super) failed: Vec<ModuleInstance>,
}

/// Whether one module instance is the other, or calls it, directly or not.
pub(super) fn related(one: &ModuleInstance, other: &ModuleInstance) -> bool {
    one.steps()
        .iter()
        .zip(other.steps())
        .all(|(one, other)| one == other)
}

/// Every block with conditions is there from the start, whatever is visited.
fn declare(index: &Index<'_>, block: Block<'_>, checks: &mut CheckResults) {
    let (ix, kind, any, name) = match block {
        Block::Resource(ix, resource) => (
            ix,
            Checkable::Resource,
            !resource.preconditions.is_empty() || !resource.postconditions.is_empty(),
            resource.address.to_string(),
        ),
        Block::Output(ix, output) => (
            ix,
            Checkable::Output,
            !output.preconditions.is_empty(),
            format!("output.{}", output.name),
        ),
        Block::Variable(ix, variable) => (
            ix,
            Checkable::Variable,
            !variable.validations.is_empty(),
            format!("var.{}", variable.name),
        ),
        Block::Check(ix, check) => (ix, Checkable::Check, true, format!("check.{}", check.name)),
        _ => return,
    };
    if any {
        let path = &index.entry(ix).path;
        checks.declare(
            kind,
            if path.is_root() {
                name
            } else {
                format!("{path}.{name}")
            },
        );
    }
}
