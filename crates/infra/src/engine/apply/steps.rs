//! The steps of an apply, for those who walk them.

use std::collections::HashMap;
use std::sync::Arc;

use consort_hcl::Value;
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_plan::{Edge, NodeId};

use super::Applying;
use super::failures::Lost;
use super::order::{Step, creates, name};
use crate::address::{ConfigResource, ResourceInstance};
use crate::engine::blocks::Block;
use crate::engine::change::{Action, Change, Mode};
use crate::engine::index::ModuleIx;

/// What a step is about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What it is, for people.
    pub label: String,
    /// The changes it carries out, by their places in the plan. A replacement is in two steps: that which deletes and
    /// that which creates.
    pub changes: Vec<usize>,
    /// The variable of the root module that it sets.
    pub variable: Option<Arc<str>>,
    /// The output of the root module that it evaluates.
    pub output: Option<Arc<str>>,
    /// Whether it deletes.
    pub deletes: bool,
}

impl Applying<'_> {
    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.graph.len()
    }

    /// All steps in the order of their ids, each with what it is about.
    pub fn about(&self) -> Vec<About> {
        let mut by_block: HashMap<ConfigResource, Vec<usize>> = HashMap::new();
        let mut deleted: HashMap<(&ResourceInstance, Option<&Arc<str>>), usize> = HashMap::new();
        let mut forgotten: Vec<usize> = Vec::new();
        for (at, change) in self.plan.changes.iter().enumerate() {
            if creates(change.action) || change.action == Action::Read {
                by_block
                    .entry(change.address.config())
                    .or_default()
                    .push(at);
            }
            if change.action == Action::Delete || change.action.is_replace() {
                deleted.insert((&change.address, change.deposed.as_ref()), at);
            }
            if change.action == Action::Forget {
                forgotten.push(at);
            }
        }
        self.graph
            .iter()
            .map(|(id, step)| {
                let mut about = About {
                    label: name(&self.run, &self.groups, &self.graph, id),
                    ..About::default()
                };
                match step {
                    Step::Destroy(group) => {
                        about.deletes = true;
                        about.changes = self.groups[*group]
                            .changes
                            .iter()
                            .filter_map(|change| {
                                let key = (&change.address, change.deposed.as_ref());
                                deleted.get(&key).copied()
                            })
                            .collect();
                    }
                    Step::Block(Block::Resource(ix, resource)) => {
                        let block = ConfigResource {
                            module: self.run.index.entry(*ix).path.clone(),
                            resource: resource.address.clone(),
                        };
                        about.changes = by_block.remove(&block).unwrap_or_default();
                    }
                    Step::Block(Block::Variable(ModuleIx::ROOT, variable)) => {
                        about.variable = Some(variable.name.clone());
                    }
                    Step::Block(Block::Output(ModuleIx::ROOT, output))
                        if self.plan.mode == Mode::Normal =>
                    {
                        about.output = Some(output.name.clone());
                    }
                    // What is only forgotten has no step of its own: its provider's is as good as any.
                    Step::Block(Block::Orphans(provider)) => {
                        let provider = &self.run.blocks.providers[provider.0].address;
                        about.changes = forgotten
                            .iter()
                            .copied()
                            .filter(|at| self.plan.changes[*at].provider == *provider)
                            .collect();
                    }
                    Step::Block(_) => {}
                }
                about
            })
            .collect()
    }

    /// What a step waits for.
    pub fn edges(&self, id: NodeId) -> &[(NodeId, Edge)] {
        self.graph.dependencies(id)
    }

    /// The ids of all steps.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.graph.iter().map(|(id, _)| id)
    }

    /// Gives a variable of the root module its value, before the step that sets it is visited.
    pub fn feed(&self, name: &str, value: Value) {
        self.run.feed(name.into(), value);
    }

    /// Notes that a step is not visited because of something outside of this plan.
    pub fn fail(&self, id: NodeId) {
        self.failures.lock().all(id);
    }

    /// Whether nothing came of a step, because of what went wrong in it or in what it waits for.
    pub fn is_failed(&self, id: NodeId) -> bool {
        matches!(self.failures.lock().of(id), Some(Lost::All))
    }

    /// Whether something of a step, or all, failed.
    pub fn has_failures(&self, id: NodeId) -> bool {
        self.failures.lock().of(id).is_some()
    }

    /// Whether the part of a change that a step does is done.
    pub fn is_done(&self, change: &Change, deletes: bool) -> bool {
        if deletes {
            let key = (change.address.clone(), change.deposed.clone());
            self.gone.lock().contains(&key)
        } else {
            change.action == Action::Forget || self.made.lock().contains(&change.address)
        }
    }

    /// Whether a change can be tried again without making something a second time.
    pub fn can_repeat(&self, change: &Change, deletes: bool) -> bool {
        if deletes || !creates(change.action) || change.action == Action::Update {
            return true;
        }
        let is_there = self
            .state
            .lock()
            .instance(&change.address)
            .is_some_and(|instance| instance.current.is_some());
        !is_there
            || change.action == Action::CreateThenDelete
                && !self.deposed.lock().contains_key(&change.address)
    }

    /// What was found since this was asked last.
    pub fn take_diagnostics(&self) -> Diagnostics {
        std::mem::take(&mut *self.run.diagnostics.lock())
    }

    /// An output of the root module, marked, once its step is done.
    pub fn output(&self, name: &str) -> Option<Value> {
        self.run.root_outputs.lock().get(name).cloned()
    }

    /// Asks what is under way to end soon.
    pub async fn stop(&self) {
        self.run.stop_providers().await;
    }

    /// Says that an object of this change is there and was not finished, so that it cannot be made once more.
    pub(super) fn unfinished(change: &Change) -> Diagnostic {
        Diagnostic::error(
            "Object left unfinished",
            format!(
                "An earlier attempt to create {} got as far as an object that is not as it should be. It is recorded as tainted: plan again, and it is replaced.",
                change.address
            ),
        )
    }
}
