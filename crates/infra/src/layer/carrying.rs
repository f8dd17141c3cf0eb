//! Carrying the plan of a part out: the engine's own steps, as the walk over all parts asks for them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consort_backend::LockInfo;
use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::evaluate::Functions;
use consort_plan::{
    Address, Call, Carrier, Graph, Intent, NodeId, Order, Planned, Problem, Progress, Step,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::planning::{is_told, local_name, version};
use super::prepare::language;
use super::problems::{Teller, is_passing};
use super::resting::Resting;
use super::scratch::Scratch;
use super::{Terraform, values};
use crate::address::ResourceInstance;
use crate::config::{Tree, load_snapshot};
use crate::engine::{
    About, Action, Applied, ApplyOptions, Applying, Event, Input, Mode, Plan, Resumed, Watcher,
};
use crate::plan_file::{self, PlanFile};
use crate::provisioner::Builtin;
use crate::session::{
    Backing, Held, Installed, Locking, Variables, causes, error, journal_seal, opened_plan,
};
use crate::state::{State, TERRAFORM_VERSION};

/// How long is waited for a lock that somebody else holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a walk works on. It is kept by the part, so that the walk can borrow from it.
pub(super) struct Prepared {
    tree: Tree,
    sources: Sources,
    providers: Installed,
    functions: Arc<Functions>,
    variables: Variables,
    workspace: String,
    directory: PathBuf,
    plan: Plan,
    heard: Heard,
}

/// Values that are added and never moved, so that they can be borrowed while more are added. Each waits in the link
/// after the one before it.
pub(super) struct Kept<T>(OnceLock<Box<(Option<T>, Kept<T>)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept(OnceLock::new())
    }
}

impl<T> Kept<T> {
    fn add(&self, value: T) -> &T {
        let mut value = Some(value);
        let mut at = self;
        loop {
            let link =
                at.0.get_or_init(|| Box::new((value.take(), Kept::default())));
            if value.is_none()
                && let Some(kept) = &link.0
            {
                return kept;
            }
            at = &link.1;
        }
    }
}

/// What the engine tells while steps are under way.
struct Heard {
    scratch: Arc<Scratch>,
    words: Mutex<Vec<Word>>,
}

enum Word {
    Began(ResourceInstance, Option<Arc<str>>, Action),
    Note(ResourceInstance, String),
}

impl Watcher for Heard {
    fn event(&self, event: &Event<'_>) {
        let word = match event {
            Event::ApplyStart {
                address,
                deposed,
                action,
                ..
            } => {
                if *action != Action::Delete {
                    // On the disk before the provider is asked.
                    self.scratch.begin(&address.to_string());
                }
                Word::Began((*address).clone(), deposed.map(Arc::from), *action)
            }
            Event::ReadStart { address } => Word::Began((*address).clone(), None, Action::Read),
            Event::ProvisionOutput {
                address,
                kind,
                line,
            } => Word::Note((*address).clone(), format!("({kind}): {line}")),
            _ => return,
        };
        self.words.lock().push(word);
    }
}

/// A plan under way.
struct Carrying<'a> {
    prepared: &'a Prepared,
    teller: Teller,
    applying: Applying<'a>,
    about: Vec<About>,
    graph: Graph<Step>,
    /// By change of the engine's plan: its place in [`Order::changes`].
    places: Vec<Option<u32>>,
    /// The place of the change of an object.
    of_object: HashMap<(ResourceInstance, Option<Arc<str>>), u32>,
    /// The place of a change by its name within the part.
    of_name: HashMap<String, u32>,
    /// What other parts give.
    inputs: HashSet<String>,
    /// What kept a step, or some of it, from being done.
    causes: Mutex<HashMap<NodeId, Problem>>,
    warnings: Mutex<Vec<Problem>>,
    held: Held,
    scratch: Arc<Scratch>,
    /// What an interrupted walk had begun.
    begun: HashSet<String>,
    cancel: CancellationToken,
    stopped: AtomicBool,
    /// Whether any step was visited.
    visited: AtomicBool,
}

/// What happened in a visit so far.
#[derive(Default)]
struct Visit {
    failed: HashSet<u32>,
    first: Option<Problem>,
    /// What concerns no single resource.
    problems: Vec<Problem>,
}

impl Terraform {
    pub(super) async fn carrying<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Result<Box<dyn Carrier + 'a>, Vec<Problem>> {
        let (root, directory) = self.places()?;
        let mut sources = Sources::below(&root);
        let told = |found: Diagnostics, sources: &Sources| self.told(&found, sources);
        // What the plan says of encryption can be read only once it is open: that of the present configuration opens it.
        let saved = self.opened(order.payload, &directory, &mut sources).await?;
        let PlanFile { plan, origin } = saved;
        let is_new = !Scratch::was_used(&order.scratch) && !order.done.contains(&true);
        if is_new && let Some(resting) = Resting::of(&plan, &self.teller) {
            return Ok(Box::new(resting));
        }
        let snapshot = origin.snapshot.clone().below(&root);
        let mut sources = Sources::below(&root);
        let (tree, found) = load_snapshot(&snapshot, &mut sources);
        let tree = match tree {
            Some(tree) if !found.has_errors() => tree,
            _ => return Err(told(found, &sources)),
        };
        let encryption = self
            .encryption(&tree.module, &directory, &mut sources)
            .map_err(|found| told(found, &sources))?;
        let locks = PlanFile {
            plan: plan.clone(),
            origin: origin.clone(),
        }
        .locks();
        let (providers, _, _) = self
            .installed(
                &tree,
                &plan.prior_state,
                &directory,
                &encryption,
                Some(locks),
                &mut sources,
            )
            .await
            .map_err(|found| told(found, &sources))?;
        let mut variables = Variables::of(&plan);
        if !origin.ephemeral.is_empty() {
            let (again, problems, found) =
                self.variables(&tree, &directory, order.inputs, &mut sources);
            if !problems.is_empty() || found.has_errors() {
                let mut problems = problems;
                problems.extend(told(found, &sources));
                return Err(problems);
            }
            for name in &origin.ephemeral {
                if let Some(value) = again.values.get(name) {
                    variables.values.insert(name.clone(), value.clone());
                }
            }
        }
        let backing = self
            .backing(&tree.module, &directory, encryption)
            .map_err(|found| told(found, &sources))?;
        let scratch =
            Arc::new(Scratch::open(&order.scratch).map_err(|found| told(found, &sources))?);
        let held = self
            .hold(&backing, &scratch)
            .await
            .map_err(|found| told(found, &sources))?;
        let prepared = Prepared {
            functions: language(&directory, false, &plan.timestamp),
            workspace: backing.workspace.clone(),
            tree,
            sources,
            providers,
            variables,
            directory,
            plan,
            heard: Heard {
                scratch: scratch.clone(),
                words: Mutex::default(),
            },
        };
        let prepared = self.kept.add(prepared);
        match self.begun(&order, prepared, &held, &scratch).await {
            Ok(applying) => Ok(Box::new(
                self.walked(&order, prepared, applying, held, scratch),
            )),
            Err(problems) => {
                // The first failure is the one to tell.
                let _ = held.release().await;
                scratch.unlocked();
                Err(problems)
            }
        }
    }

    /// The plan as it was saved.
    async fn opened(
        &self,
        payload: &[u8],
        directory: &std::path::Path,
        sources: &mut Sources,
    ) -> Result<PlanFile, Vec<Problem>> {
        let told = |found: Diagnostics, sources: &Sources| self.told(&found, sources);
        let bytes = if crate::encryption::is_sealed(payload) {
            let path = crate::address::ModulePath::root();
            let (module, found) = crate::config::load_module(directory, &path, None, sources);
            let Some(module) = module.filter(|_| !found.has_errors()) else {
                return Err(told(found, sources));
            };
            let encryption = self
                .encryption(&module, directory, sources)
                .map_err(|found| told(found, sources))?;
            opened_plan(&encryption, payload.to_vec())
                .await
                .map_err(|found| told(found, sources))?
        } else {
            payload.to_vec()
        };
        plan_file::read(&bytes)
            .map_err(|failed| told(error(failed.summary(), causes(&failed)), sources))
    }

    /// Takes the lock of the state, also from an interrupted walk of the same operation.
    async fn hold(&self, backing: &Backing, scratch: &Scratch) -> Result<Held, Diagnostics> {
        let snapshots = backing
            .backend
            .snapshots(&backing.workspace)
            .map_err(|failed| error("Error loading state", causes(&failed)))?;
        scratch.release_old_lock(&*snapshots).await;
        drop(snapshots);
        let mut info = LockInfo::new("OperationTypeApply", TERRAFORM_VERSION);
        info.info = format!("part {} of the score {}", self.name, self.score);
        if !self.environment.author.is_empty() {
            info.who.clone_from(&self.environment.author);
        }
        scratch.will_lock(&info.id)?;
        let locking = Locking {
            lock: true,
            patience: PATIENCE,
        };
        match backing.hold_as(&info, locking).await {
            Ok(held) => Ok(held),
            Err(found) => {
                scratch.unlocked();
                Err(found)
            }
        }
    }

    /// Begins the apply, where an interrupted one ended.
    async fn begun<'a>(
        &'a self,
        order: &Order<'a>,
        prepared: &'a Prepared,
        held: &Held,
        scratch: &Scratch,
    ) -> Result<Applying<'a>, Vec<Problem>> {
        let sources = &prepared.sources;
        let told = |found: Diagnostics| self.told(&found, sources);
        let plan = &prepared.plan;
        let is_resumed = scratch.is_used() || order.done.contains(&true);
        let now = version(Some(&held.state));
        let base = if is_resumed && scratch.wrote(&now) {
            held.state.clone()
        } else if same_state(plan, &held.state) {
            State {
                serial: plan.previous_state.serial,
                lineage: plan.previous_state.lineage.clone(),
                ..plan.prior_state.clone()
            }
        } else {
            let was = version(Some(&plan.previous_state));
            return Err(vec![Problem {
                hint: Some("plan again".to_owned()),
                ..self.teller.of(
                    self.teller.otherwise.clone(),
                    format!(
                        "the {} is another than the plan was made from",
                        self.seen_name()
                    ),
                    format!("It was {was} (lineage/serial) and is {now}"),
                )
            }]);
        };
        let resumed = if is_resumed {
            let mut state = base;
            scratch
                .recover(&mut state, held.target.as_ref())
                .await
                .map_err(told)?;
            let names = names(order);
            let done: Vec<bool> = plan
                .changes
                .iter()
                .map(|change| {
                    names
                        .get(&*local_name(change))
                        .and_then(|place| order.done.get(*place as usize))
                        == Some(&true)
                })
                .collect();
            let lost = self.lost(plan, &state, &done);
            if !lost.is_empty() {
                return Err(lost);
            }
            Some(Resumed { state, done })
        } else {
            None
        };
        let input = Input {
            tree: &prepared.tree,
            sources,
            functions: prepared.functions.clone(),
            providers: &prepared.providers,
            provisioners: &Builtin,
            variables: prepared.variables.values.clone(),
            given: prepared.variables.given.clone(),
            directory: Some(&prepared.directory),
            workspace: &prepared.workspace,
            watcher: &prepared.heard,
            parallelism: 10,
            cancel: order.cancel.clone(),
            under_test: None,
        };
        let options = ApplyOptions {
            journal: Some(scratch.next_journal()),
            seal: journal_seal(held.target.as_ref()).await.map_err(told)?,
            resumed,
            told_apart: true,
        };
        Applying::begin(&input, plan, &options).await.map_err(told)
    }

    /// Objects that were made by the record, and of which neither the state nor a journal knows.
    fn lost(&self, plan: &Plan, state: &State, done: &[bool]) -> Vec<Problem> {
        plan.changes
            .iter()
            .zip(done)
            .filter(|(change, done)| {
                **done
                    && change.action == Action::Create
                    && state
                        .instance(&change.address)
                        .is_none_or(|instance| instance.current.is_none())
            })
            .map(|(change, _)| Problem {
                address: Some(Address::new(&self.name, &local_name(change))),
                hint: Some("import it, or delete it by hand, and plan again".to_owned()),
                ..self.teller.of(
                    self.teller.otherwise.clone(),
                    format!("{} was made, and what is known of it is lost", change.address),
                    "The operation's record says that it was made, but neither the state nor the journal of the interrupted walk holds it. Going on would make it a second time.",
                )
            })
            .collect()
    }

    fn walked<'a>(
        &self,
        order: &Order<'a>,
        prepared: &'a Prepared,
        applying: Applying<'a>,
        held: Held,
        scratch: Arc<Scratch>,
    ) -> Carrying<'a> {
        let plan = &prepared.plan;
        let names = names(order);
        let places: Vec<Option<u32>> = plan
            .changes
            .iter()
            .map(|change| {
                is_told(change)
                    .then(|| names.get(&*local_name(change)).copied())
                    .flatten()
            })
            .collect();
        let mut of_object = HashMap::new();
        for (change, place) in plan.changes.iter().zip(&places) {
            if let Some(place) = place {
                of_object.insert((change.address.clone(), change.deposed.clone()), *place);
            }
        }
        let inputs: HashSet<String> = if order.intent == Intent::Apply {
            self.inputs.iter().map(|input| input.name.clone()).collect()
        } else {
            HashSet::new()
        };
        let about = applying.about();
        let mut graph = Graph::new();
        let mut ids = Vec::with_capacity(about.len());
        for about in &about {
            let step = Step {
                label: about.label.trim_end_matches(" (expand)").to_owned(),
                changes: about
                    .changes
                    .iter()
                    .filter_map(|change| places[*change])
                    .collect(),
                takes: about
                    .variable
                    .iter()
                    .map(ToString::to_string)
                    .filter(|name| inputs.contains(name))
                    .collect(),
                gives: about.output.iter().map(ToString::to_string).collect(),
            };
            ids.push(graph.add(step));
        }
        for id in &ids {
            for (dependency, edge) in applying.edges(*id) {
                graph.connect(*id, *dependency, *edge);
            }
        }
        // What an earlier walk had done has to reach the state even if this one does nothing more.
        let begun = scratch.begun();
        let visited = AtomicBool::new(!begun.is_empty());
        Carrying {
            teller: self.teller.clone(),
            about,
            graph,
            of_object,
            of_name: names
                .into_iter()
                .map(|(name, place)| (name.to_owned(), place))
                .collect(),
            places,
            inputs,
            causes: Mutex::default(),
            warnings: Mutex::default(),
            begun,
            held,
            scratch,
            cancel: order.cancel.clone(),
            stopped: AtomicBool::new(false),
            visited,
            applying,
            prepared,
        }
    }
}

/// Whether a state is the one that a plan was made from.
fn same_state(plan: &Plan, now: &State) -> bool {
    let from = &plan.previous_state;
    if now.is_empty() && from.is_empty() {
        return true;
    }
    now.serial == from.serial && now.lineage == from.lineage
}

/// The places of the changes of an order, by their names within the part.
fn names<'o>(order: &Order<'o>) -> HashMap<&'o str, u32> {
    order
        .changes
        .iter()
        .enumerate()
        .map(|(place, change)| (change.address.local(), place as u32))
        .collect()
}

impl Carrying<'_> {
    fn place_of(&self, address: &ResourceInstance, deposed: Option<&Arc<str>>) -> Option<u32> {
        let at =
            |deposed: Option<Arc<str>>| self.of_object.get(&(address.clone(), deposed)).copied();
        // What a replacement deposes is part of its change.
        at(deposed.cloned()).or_else(|| at(None))
    }

    /// Passes on what was told since the last time.
    fn listen(&self, id: NodeId, progress: &dyn Progress, visit: &mut Visit) {
        let words = std::mem::take(&mut *self.prepared.heard.words.lock());
        for word in words {
            match word {
                Word::Began(address, deposed, action) => {
                    let Some(place) = self.place_of(&address, deposed.as_ref()) else {
                        continue;
                    };
                    progress.began(place);
                    if action != Action::Delete && self.begun.contains(&address.to_string()) {
                        self.again(place, &address, action, progress);
                    }
                }
                Word::Note(address, text) => {
                    if let Some(place) = self.place_of(&address, None) {
                        progress.note(place, &text);
                    }
                }
            }
        }
        for diagnostic in &self.applying.take_diagnostics() {
            let mut problem = self.teller.problem(diagnostic, &self.prepared.sources);
            if !diagnostic.is_error() {
                self.warnings.lock().push(problem);
                continue;
            }
            let place = diagnostic.address.as_deref().and_then(|address| {
                let name = address.split(" (destroy)").next().unwrap_or(address);
                self.of_name.get(name).copied()
            });
            problem.transient = is_passing(diagnostic) && self.may_repeat(id, place);
            if visit.first.is_none() {
                visit.first = Some(problem.clone());
            }
            match place {
                Some(place) if visit.failed.insert(place) => progress.failed(place, problem),
                // One more about the same resource.
                Some(_) => self.warnings.lock().push(problem),
                None => visit.problems.push(problem),
            }
        }
    }

    /// Says that something is done that an interrupted walk had begun, and of which it did not hear the end.
    fn again(
        &self,
        place: u32,
        address: &ResourceInstance,
        action: Action,
        progress: &dyn Progress,
    ) {
        progress.note(
            place,
            "was begun before the interruption, and is done again",
        );
        if action == Action::Create {
            self.warnings.lock().push(Problem {
                address: Some(Address::new(&self.teller.part, &address.to_string())),
                ..self.teller.of(
                    self.teller.otherwise.clone(),
                    format!("{address} was being created when the operation was interrupted"),
                    "What its provider had answered is not known, so it was created once more. If the first attempt went through, there is an object that nobody looks after.",
                )
            });
        }
    }

    /// Whether a step can be done again for a change without doing something twice.
    fn may_repeat(&self, id: NodeId, place: Option<u32>) -> bool {
        let about = &self.about[id.index()];
        about
            .changes
            .iter()
            .filter(|change| place.is_none() || self.places[**change] == place)
            .all(|change| {
                self.applying
                    .can_repeat(&self.prepared.plan.changes[*change], about.deletes)
            })
    }

    async fn visit(&self, id: NodeId, progress: &dyn Progress) -> Result<(), Vec<Problem>> {
        let about = &self.about[id.index()];
        self.visited.store(true, Ordering::Release);
        self.causes.lock().remove(&id);
        if let Some(name) = about
            .variable
            .as_deref()
            .filter(|name| self.inputs.contains(*name))
        {
            match progress.input(name) {
                Ok(value) => self.applying.feed(name, values::taken(&value)),
                Err(problem) => {
                    self.applying.fail(id);
                    self.causes.lock().insert(id, (*problem).clone());
                    return Err(vec![*problem]);
                }
            }
        }
        let mut visit = Visit::default();
        {
            let mut work = pin!(async {
                let stopping = async {
                    self.cancel.cancelled().await;
                    if !self.stopped.swap(true, Ordering::AcqRel) {
                        self.applying.stop().await;
                    }
                    std::future::pending::<std::convert::Infallible>().await
                };
                tokio::select! {
                    biased;
                    () = self.applying.visit(id) => {}
                    never = stopping => match never {},
                }
            });
            // What is told is told by the work itself, while it is polled.
            std::future::poll_fn(|context| {
                let polled = work.as_mut().poll(context);
                self.listen(id, progress, &mut visit);
                polled
            })
            .await;
        }
        let Visit {
            failed,
            first,
            problems,
        } = visit;
        let cause = if self.applying.has_failures(id) {
            let cause = first.or_else(|| self.cause_below(id));
            if let Some(cause) = &cause {
                self.causes.lock().insert(id, cause.clone());
            }
            cause
        } else {
            None
        };
        for change in &about.changes {
            let Some(place) = self.places[*change] else {
                continue;
            };
            let change = &self.prepared.plan.changes[*change];
            if failed.contains(&place) {
                continue;
            }
            if self.applying.is_done(change, about.deletes) {
                progress.done(place);
            } else if problems.is_empty() {
                let because = cause.as_ref().and_then(|cause| cause.address.as_ref());
                progress.skipped(place, because);
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// What kept something that a step waits for from being done.
    fn cause_below(&self, id: NodeId) -> Option<Problem> {
        let causes = self.causes.lock();
        self.graph
            .dependencies(id)
            .iter()
            .find_map(|(dependency, _)| causes.get(dependency).cloned())
    }

    fn told_output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        let plan = &self.prepared.plan;
        let missing = |summary: String| {
            Box::new(
                self.teller
                    .of(self.teller.otherwise.clone(), summary, String::new()),
            )
        };
        let value = if plan.mode == Mode::Destroy {
            plan.outputs.get(name).map(|change| change.before.clone())
        } else {
            let step = self
                .about
                .iter()
                .position(|about| about.output.as_deref() == Some(name));
            let id = step.and_then(|at| self.applying.ids().nth(at));
            if let Some(id) = id
                && self.applying.is_failed(id)
            {
                return Err(match self.causes.lock().get(&id) {
                    Some(cause) => Box::new(cause.clone()),
                    None => missing(format!("the output {name} could not be told")),
                });
            }
            self.applying.output(name)
        };
        let Some(value) = value else {
            return Err(missing(format!("there is no output {name} yet")));
        };
        let mut planned = values::planned(&value, &|_| None);
        let sensitive = self
            .prepared
            .tree
            .module
            .outputs
            .get(name)
            .is_some_and(|output| output.sensitive);
        if sensitive {
            planned = planned.into_sensitive();
        }
        Ok(planned)
    }

    async fn ended(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let Carrying {
            prepared,
            teller,
            applying,
            mut held,
            scratch,
            warnings,
            visited,
            ..
        } = self;
        let sources = &prepared.sources;
        let (applied, found) = applying.finish().await;
        let Applied { state, journal, .. } = applied;
        let mut warnings = warnings.into_inner();
        warnings.extend(teller.warnings(&found, sources));
        let mut problems = teller.errors(&found, sources);
        let worked = visited.into_inner();
        let saved = if worked {
            save(&mut held, &state, &scratch).await
        } else {
            // Nothing was begun: the state stays as it is, and the plan fit for another walk.
            Ok(())
        };
        drop(journal);
        match saved {
            Ok(()) if worked => scratch.forget_journals(),
            Ok(()) => scratch.forget_last_journal(),
            Err(found) => {
                let mut errors = teller.errors(&found, sources);
                for problem in &mut errors {
                    problem.hint.get_or_insert_with(|| {
                        "what was done is in the journal of the operation: resume it".to_owned()
                    });
                }
                problems.extend(errors);
            }
        }
        match held.release().await {
            Ok(()) => scratch.unlocked(),
            Err(found) => problems.extend(teller.errors(&found, sources)),
        }
        if problems.is_empty() {
            Ok(warnings)
        } else {
            Err(problems)
        }
    }
}

/// Writes the state, if there is something to write.
async fn save(held: &mut Held, state: &State, scratch: &Scratch) -> Result<(), Diagnostics> {
    let next = State {
        serial: held.read.as_ref().map_or(1, |stored| stored.serial + 1),
        lineage: state.lineage.clone(),
        ..State::default()
    };
    scratch.will_write(&version(Some(&next)))?;
    held.save(state).await
}

impl Carrier for Carrying<'_> {
    fn steps(&self) -> &Graph<Step> {
        &self.graph
    }

    fn step<'a>(
        &'a self,
        id: NodeId,
        progress: &'a dyn Progress,
    ) -> Call<'a, Result<(), Vec<Problem>>> {
        Box::pin(self.visit(id, progress))
    }

    fn skip(&self, id: NodeId, because: &Problem) {
        self.applying.fail(id);
        self.causes.lock().insert(id, because.clone());
    }

    fn accounts_for_failures(&self) -> bool {
        true
    }

    /// Providers end their work by timeouts of their own, and an object that is dropped halfway is lost.
    fn keeps_deadlines(&self) -> bool {
        true
    }

    fn output(&self, name: &str) -> Result<Planned, Box<Problem>> {
        self.told_output(name)
    }

    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a,
    {
        Box::pin((*self).ended())
    }
}
