//! What cannot be planned before something else is applied, and is put off to a later plan.

use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::{Type, Value};

use super::Planning;
use super::managed::InstanceOf;
use super::resource::ResourceBlock;
use crate::address::{AbsResource, Key, Mode, ModuleInstance};
use crate::engine::change::{Action, Change, Deferred, DeferredReason, Identities};
use crate::engine::run::{Failed, Standing};
use crate::engine::world::{Keys, ModuleTable, Repetition};
use crate::provider::objects::{planned_unknown, proposed_new};

impl Planning<'_> {
    /// Why nothing of a block can be planned, if so.
    pub(super) fn put_off_because(&self, block: &ResourceBlock<'_>) -> Option<DeferredReason> {
        if self.run.standing(block.provider_ix) == Standing::PutOff {
            return Some(DeferredReason::ProviderConfigUnknown);
        }
        self.put_off.lock()[block.node.index()].then_some(DeferredReason::DeferredPrerequisite)
    }

    fn put_off(&self, block: &ResourceBlock<'_>, deferred: Deferred) {
        self.put_off.lock()[block.node.index()] = true;
        self.results.lock().deferred.push(deferred);
    }

    /// Puts a block off of whose module not all instances are known.
    pub(super) fn defer_block(&self, block: &ResourceBlock<'_>) {
        let module: ModuleInstance = block
            .address
            .module
            .names()
            .iter()
            .map(|name| crate::address::ModuleStep {
                name: name.clone(),
                key: Key::None,
            })
            .collect();
        let deferred = Deferred {
            resource: AbsResource {
                module,
                resource: block.address.resource.clone(),
            },
            reason: DeferredReason::InstanceCountUnknown,
            change: None,
        };
        self.put_off(block, deferred);
    }

    /// Puts an instance off whose change the provider could not plan, or would not.
    pub(super) fn defer_change(
        &self,
        block: &ResourceBlock<'_>,
        change: Change,
        reason: DeferredReason,
    ) {
        let deferred = Deferred {
            resource: change.address.abs_resource(),
            reason,
            change: Some(Box::new(change)),
        };
        self.put_off(block, deferred);
    }

    /// Puts off all that a block expands to in one module instance, as far as that is known.
    pub(super) async fn defer_in_module(
        &self,
        block: &ResourceBlock<'_>,
        table: &Arc<ModuleTable>,
        keys: &Keys,
        reason: DeferredReason,
    ) -> Result<(), Failed> {
        let instances = match keys {
            Keys::Unknown => vec![(Key::None, unknown_repetition(block))],
            known => known.instances(),
        };
        let mut failed = false;
        let mut values = Vec::with_capacity(instances.len());
        for (key, repetition) in &instances {
            let instance = InstanceOf::new(block, table, key, repetition);
            if !self.options.covers(&instance.address) {
                values.push(Value::unknown(block.schema.block.implied_type()));
                continue;
            }
            let known = !matches!(keys, Keys::Unknown);
            match self.deferred_change(block, &instance, known).await {
                Ok(change) => {
                    values.push(change.after.clone());
                    self.defer_change(block, change, reason);
                }
                Err(Failed) => {
                    failed = true;
                    values.push(Value::DYNAMIC);
                }
            }
        }
        let whole = match keys {
            Keys::Single => values.pop().unwrap_or(Value::DYNAMIC),
            Keys::Count(_) => Value::tuple(values),
            Keys::Each(each) => Value::object(each.keys().cloned().zip(values)),
            Keys::Unknown => Value::DYNAMIC,
        };
        table
            .resources
            .write()
            .insert(block.address.resource.clone(), whole);
        if failed { Err(Failed) } else { Ok(()) }
    }

    /// What would become of an instance, as far as the configuration alone tells.
    pub(super) async fn deferred_change(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        known: bool,
    ) -> Result<Change, Failed> {
        let run = &self.run;
        let schema = &block.schema.block;
        let (config, marks) = run.arguments(block, instance)?.unmark_deep_with_paths();
        let stored = self
            .state
            .instance(&instance.address)
            .and_then(|found| found.current.as_ref())
            .filter(|_| known && block.address.resource.mode == Mode::Managed);
        let (action, before, after, identity) = match stored {
            Some(object) => {
                let present = run
                    .read_object(&*block.provider, &block.schema, &instance.address, object)
                    .await?;
                let (prior, _) = present.value.clone().unmark_deep();
                let after = proposed_new(schema, &prior, &config);
                (Action::Update, present.value, after, present.identity)
            }
            None => {
                let action = match block.address.resource.mode {
                    Mode::Data => Action::Read,
                    _ => Action::Create,
                };
                let null = Value::null(schema.implied_type());
                (action, null, planned_unknown(schema, &config), None)
            }
        };
        let marks: Vec<_> = marks
            .into_iter()
            .filter(|(path, _)| path.apply(&after).is_ok())
            .collect();
        let after = schema.mark_sensitive(schema.without_write_only(&after).mark_paths(&marks));
        Ok(Change {
            address: instance.address.clone(),
            previous_address: self.previous(&instance.address),
            deposed: None,
            provider: run.blocks.providers[block.provider_ix.0].address.clone(),
            action,
            reason: None,
            before,
            after,
            replace_paths: Vec::new(),
            private: Bytes::new(),
            importing: None,
            generated_config: None,
            identity: Identities {
                before: identity,
                after: None,
            },
        })
    }
}

/// What `count` and `each` are while it is not known what a block expands to.
fn unknown_repetition(block: &ResourceBlock<'_>) -> Repetition {
    Repetition {
        count_index: block
            .config
            .count
            .as_ref()
            .map(|_| Value::unknown(Type::Number)),
        each: block
            .config
            .for_each
            .as_ref()
            .map(|_| (Value::unknown(Type::String), Value::DYNAMIC)),
    }
}
