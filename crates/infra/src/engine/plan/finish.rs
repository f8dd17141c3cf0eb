//! The plan as a value, once the walk is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Marks, Type, Value, json};

use consort_plan::Reach;

use super::{Planning, Results};
use crate::config;
use crate::engine::change::{Action, Mode, OutputChange, Plan};
use crate::engine::index::ModuleIx;
use crate::engine::objects::known;
use crate::state::{Output, State};

impl Planning<'_> {
    pub(super) fn finish(&self, previous: &State) -> (Option<Plan>, Diagnostics) {
        let Results {
            mut changes,
            mut drift,
            mut deferred,
            create_before_destroy,
            ..
        } = std::mem::take(&mut *self.results.lock());
        let by_address = |one: &crate::engine::Change, other: &crate::engine::Change| {
            one.address
                .cmp(&other.address)
                .then_with(|| one.deposed.cmp(&other.deposed))
        };
        changes.sort_by(by_address);
        drift.sort_by(by_address);
        deferred.sort_by(|one, other| {
            let instance = |deferred: &crate::engine::Deferred| {
                deferred
                    .change
                    .as_ref()
                    .map(|change| change.address.clone())
            };
            one.resource
                .cmp(&other.resource)
                .then_with(|| instance(one).cmp(&instance(other)))
        });
        let diagnostics = std::mem::take(&mut *self.run.diagnostics.lock());
        let values = std::mem::take(&mut *self.run.root_outputs.lock());
        let mut prior_state = std::mem::take(&mut *self.refreshed.lock());
        if self.options.mode == Mode::Destroy {
            // What changed outside is no change any more to a plan that begins with what is there now.
            drift.clear();
            if self.incomplete {
                // What is there could not be told, so nothing is planned.
                changes.clear();
            }
            let kept = std::mem::take(&mut *self.kept.lock());
            if !kept.is_empty() {
                let below = kept
                    .iter()
                    .flat_map(|id| self.run.blocks.graph.dependencies(*id))
                    .map(|(id, _)| *id);
                let stays = self.run.blocks.graph.reach(below, Reach::Dependencies);
                changes.retain(|change| {
                    let block = change.address.config();
                    self.run
                        .index
                        .find(&block.module)
                        .and_then(|ix| self.run.blocks.resource_node(ix, &block.resource))
                        .is_none_or(|node| !stays[node.index()])
                });
            }
        }
        // Before a destroy the outputs are those of what is there now, as long as all of it is looked at.
        let whole = self.options.targets.is_empty() && self.options.excluded.is_empty();
        if self.options.mode != Mode::Destroy || whole && self.options.refresh {
            let declared = &self.run.index.module(ModuleIx::ROOT).outputs;
            for (name, output) in declared {
                // What is not known yet stays as it was.
                if let Some(value) = values.get(name).filter(|value| value.is_wholly_known()) {
                    store_output(&mut prior_state, name, output, value);
                }
            }
        }
        let outputs = output_changes(
            &self.run.index,
            self.options.mode,
            if self.options.mode == Mode::Destroy {
                &prior_state
            } else {
                previous
            },
            &values,
            !self.options.targets.is_empty()
                || !self.options.excluded.is_empty()
                || diagnostics.has_errors(),
        );
        let relevant = self.relevant(&changes, &outputs);
        let plan = Plan {
            mode: self.options.mode,
            changes,
            drift,
            deferred,
            outputs,
            checks: std::mem::take(&mut *self.run.checks.lock()),
            previous_state: previous.clone(),
            prior_state,
            variables: self.run.input.variables.clone(),
            given: given(&self.run.input),
            relevant,
            targets: self.options.targets.clone(),
            excluded: self.options.excluded.clone(),
            create_before_destroy,
            timestamp: self.options.timestamp.clone(),
            errored: diagnostics.has_errors(),
        };
        (Some(plan), diagnostics)
    }
}

fn given(input: &crate::engine::Input<'_>) -> BTreeMap<Arc<str>, Value> {
    input
        .given
        .iter()
        .map(|(name, given)| (name.clone(), given.value.clone()))
        .collect()
}

/// Keeps the value of an output of the root module; what is not known of it becomes null.
pub(in crate::engine) fn store_output(
    state: &mut State,
    name: &Arc<str>,
    output: &config::Output,
    value: &Value,
) {
    let (value, marks) = value.clone().unmark_deep();
    let value = known(value);
    if output.ephemeral || marks.intersects(Marks::EPHEMERAL) || value.is_null() {
        state.outputs.remove(name);
        return;
    }
    let text = json::encode(&value, value.ty())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(text) = text {
        let kind = json::type_encode(value.ty()).into();
        state.outputs.insert(
            name.clone(),
            Output {
                value: text.into(),
                kind,
                sensitive: output.sensitive,
            },
        );
    }
}

/// The value of an output as the state holds it.
pub(in crate::engine) fn stored_output(output: &Output) -> Value {
    let value = json::type_decode(output.kind.as_bytes())
        .ok()
        .and_then(|ty: Type| json::decode(output.value.as_bytes(), &ty).ok())
        .unwrap_or(Value::DYNAMIC);
    if output.sensitive {
        value.with_marks(Marks::SENSITIVE)
    } else {
        value
    }
}

fn output_changes(
    index: &crate::engine::index::Index<'_>,
    mode: Mode,
    previous: &State,
    values: &BTreeMap<Arc<str>, Value>,
    partial: bool,
) -> BTreeMap<Arc<str>, OutputChange> {
    let mut changes = BTreeMap::new();
    let declared = &index.module(crate::engine::index::ModuleIx::ROOT).outputs;
    for (name, output) in declared {
        let stored = previous.outputs.get(name);
        let before = stored.map_or(Value::null(Type::Dynamic), stored_output);
        let sensitive_before = stored.is_some_and(|stored| stored.sensitive);
        if mode == Mode::Destroy {
            if stored.is_some() && !partial {
                changes.insert(
                    name.clone(),
                    OutputChange {
                        action: Action::Delete,
                        before,
                        after: Value::null(Type::Dynamic),
                        sensitive: sensitive_before,
                    },
                );
            }
            continue;
        }
        if output.ephemeral {
            continue;
        }
        let Some(after) = values.get(name) else {
            continue;
        };
        let (plain, _) = after.clone().unmark_deep();
        let (plain_before, _) = before.clone().unmark_deep();
        let action = if plain.is_null() && plain_before.is_null() {
            Action::NoOp
        } else if stored.is_none() {
            Action::Create
        } else if plain.surely_equals(&plain_before) == Some(true)
            && plain.is_wholly_known()
            && output.sensitive == sensitive_before
        {
            Action::NoOp
        } else {
            Action::Update
        };
        let sensitive = sensitive_before || output.sensitive;
        changes.insert(
            name.clone(),
            OutputChange {
                action,
                before,
                after: after.clone(),
                sensitive,
            },
        );
    }
    if partial {
        return changes;
    }
    for (name, stored) in &previous.outputs {
        if !declared.contains_key(name) {
            changes.insert(
                name.clone(),
                OutputChange {
                    action: Action::Delete,
                    before: stored_output(stored),
                    after: Value::null(Type::Dynamic),
                    sensitive: stored.sensitive,
                },
            );
        }
    }
    changes
}
