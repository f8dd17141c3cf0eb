//! Making and changing what a resource block expands to.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Marks, Value};
use consort_plan::NodeId;
use futures::StreamExt;

use super::Applying;
use crate::address::{Key, Mode};
use crate::config;
use crate::engine::change::{Action, Change};
use crate::engine::checks::Checkable;
use crate::engine::events::Event;
use crate::engine::expand::expand;
use crate::engine::index::ModuleIx;
use crate::engine::objects::{Present, id_of, known};
use crate::engine::plan::{InstanceOf, Read, ResourceBlock, Wanted};
use crate::engine::run::{Failed, concerning};
use crate::engine::scope::Names;
use crate::engine::world::{Keys, ModuleTable, Repetition};
use crate::provider;
use crate::provider::objects::result_problems;
use crate::state::Status;

impl Applying<'_> {
    pub(super) async fn visit_resource(
        &self,
        node: NodeId,
        ix: ModuleIx,
        config: &config::Resource,
    ) -> Result<(), Failed> {
        let block = self.run.resource_block(node, ix, config)?;
        self.run.checks_declared(
            Checkable::Resource,
            &block.name,
            !config.preconditions.is_empty() || !config.postconditions.is_empty(),
        );
        let (tables, mut parts) = self.run.open_instances(node, ix);
        for table in tables {
            if self.apply_in_module(&block, &table).await.is_err() {
                parts.failed.push(table.address.clone());
            }
        }
        self.run.settle(node, parts)
    }

    async fn apply_in_module(
        &self,
        block: &ResourceBlock<'_>,
        table: &Arc<ModuleTable>,
    ) -> Result<(), Failed> {
        let scope = Names::of_module(&self.run, table);
        let keys = match expand(
            block.config.count.as_ref(),
            block.config.for_each.as_ref(),
            &scope,
        ) {
            Ok(keys) => keys,
            Err(diagnostics) => return self.run.note(diagnostics),
        };
        let instances = keys.instances();
        let mut values = Vec::with_capacity(instances.len());
        {
            let mut steps = futures::stream::iter(
                (0..instances.len())
                    .map(|at| self.attempt(block, table, &instances[at].0, &instances[at].1)),
            )
            .buffered(self.run.input.parallelism.max(1));
            while let Some(value) = steps.next().await {
                if value.is_err() {
                    let address = crate::address::ResourceInstance {
                        module: table.address.clone(),
                        resource: block.address.resource.clone(),
                        key: instances[values.len()].0.clone(),
                    };
                    self.failures.lock().instance(block.node, address);
                }
                values.push(value.unwrap_or(Value::DYNAMIC));
            }
        }
        let whole = match &keys {
            Keys::Single => values.pop().unwrap_or(Value::DYNAMIC),
            Keys::Count(_) => Value::tuple(values),
            Keys::Each(each) => Value::object(each.keys().cloned().zip(values)),
            Keys::Unknown => Value::DYNAMIC,
        };
        table
            .resources
            .write()
            .insert(block.address.resource.clone(), whole);
        Ok(())
    }

    /// As [`Applying::apply_instance`], with what is wrong told apart by instance where that is wanted.
    async fn attempt(
        &self,
        block: &ResourceBlock<'_>,
        table: &ModuleTable,
        key: &Key,
        repetition: &Repetition,
    ) -> Result<Value, Failed> {
        let work = self.apply_instance(block, table, key, repetition);
        if !self.told_apart {
            return work.await;
        }
        let address = crate::address::ResourceInstance {
            module: table.address.clone(),
            resource: block.address.resource.clone(),
            key: key.clone(),
        };
        concerning(&address, work).await
    }

    async fn apply_instance(
        &self,
        block: &ResourceBlock<'_>,
        table: &ModuleTable,
        key: &Key,
        repetition: &Repetition,
    ) -> Result<Value, Failed> {
        let instance = InstanceOf::new(block, table, key, repetition);
        let replaced = block.replaced(&self.run, &instance.address)?;
        let block = replaced.as_ref().unwrap_or(block);
        if self.run.input.cancel.is_cancelled() {
            return Err(Failed);
        }
        let Ok(_permit) = self.run.permits.acquire().await else {
            return Err(Failed);
        };
        if block.address.resource.mode == Mode::Ephemeral {
            self.run.preconditions(block, &instance)?;
            let config = self.run.arguments(block, &instance)?;
            let value = self.run.open(block, &instance, config).await?;
            self.run.postconditions(block, &instance, &value)?;
            return Ok(value);
        }
        let Some(change) = self.changes.get(&instance.address).copied() else {
            return self.stored_value(block, &instance).await;
        };
        if self.made.lock().contains(&instance.address) {
            // By an earlier visit, or before the walk was interrupted.
            return self.stored_value(block, &instance).await;
        }
        let done = match change.action {
            Action::NoOp => {
                self.told_as_imported(change);
                self.run.preconditions(block, &instance)?;
                self.run.postconditions(block, &instance, &change.after)?;
                Ok(change.after.clone())
            }
            Action::Delete | Action::Forget => Ok(change.before.clone()),
            Action::Read => self.apply_read(block, &instance).await,
            _ => self.apply_managed(block, &instance, change).await,
        };
        if done.is_ok() && change.action != Action::NoOp {
            self.made.lock().insert(instance.address.clone());
        }
        done
    }

    /// The value of an instance that is not part of the plan.
    async fn stored_value(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        let stored = self
            .state
            .lock()
            .instance(&instance.address)
            .and_then(|found| found.current.clone());
        match stored {
            Some(object) => {
                let present = self
                    .run
                    .read_object(&*block.provider, &block.schema, &instance.address, &object)
                    .await?;
                Ok(present.value)
            }
            None => Ok(Value::unknown(block.schema.block.implied_type())),
        }
    }

    async fn apply_read(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        self.run.preconditions(block, instance)?;
        let config = self.run.arguments(block, instance)?;
        if !config.is_wholly_known() {
            return self.run.fail(
                Diagnostic::error(
                    "Configuration contains unknown value",
                    format!(
                        "The configuration of {} still holds unknown values while it is applied.",
                        instance.name
                    ),
                )
                .at(block.config.range),
            );
        }
        let value = match self.run.read_data(block, instance, &config).await {
            Ok(Read::Done(value)) => value,
            // Nothing is put off while applying.
            Ok(Read::Deferred(_)) => return Err(Failed),
            Err(mut diagnostics) if block.config.check.is_some() => {
                crate::engine::run::Run::nested_in_check(
                    &mut diagnostics,
                    block,
                    &instance.address.module,
                );
                let _ = self.run.note(diagnostics);
                return Ok(Value::unknown(block.schema.block.implied_type()));
            }
            Err(diagnostics) => {
                let _ = self.run.note(diagnostics);
                return Err(Failed);
            }
        };
        let present = Present {
            value: value.clone(),
            private: Bytes::new(),
            status: Status::Ready,
            dependencies: Arc::new([]),
            create_before_destroy: false,
            identity: None,
            deferred: None,
            stored: None,
        };
        let object = self
            .run
            .store_object(&block.schema, &instance.address, &present)?;
        let provider = &self.run.blocks.providers[block.provider_ix.0].address;
        self.keep(&instance.address, None, provider, Some(object))?;
        self.run.postconditions(block, instance, &value)?;
        Ok(value)
    }

    async fn apply_managed(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        change: &Change,
    ) -> Result<Value, Failed> {
        let run = &self.run;
        let address = &instance.address;
        self.told_as_imported(change);
        run.preconditions(block, instance)?;
        let provider_address = run.blocks.providers[block.provider_ix.0].address.clone();
        let stored = self
            .state
            .lock()
            .instance(address)
            .and_then(|found| found.current.clone());
        let present = match (&stored, change.action) {
            (Some(object), Action::Update) => Some(
                run.read_object(&*block.provider, &block.schema, address, object)
                    .await?,
            ),
            _ => None,
        };
        if change.action == Action::DeleteThenCreate && stored.is_some() {
            // Its deletion failed, or was not tried: nothing can take its place.
            return Err(Failed);
        }
        let replacing = self.deposed.lock().contains_key(address);
        if stored.is_some()
            && (change.action == Action::Create
                || change.action == Action::CreateThenDelete && replacing)
        {
            return run.fail(Self::unfinished(change));
        }
        let mut old_key = None;
        if change.action == Action::CreateThenDelete
            && let Some(object) = &stored
        {
            let key: Arc<str> = format!("{:08x}", uuid::Uuid::new_v4().as_u128() as u32).into();
            self.keep(address, Some(&key), &provider_address, Some(object.clone()))?;
            self.keep(address, None, &provider_address, None)?;
            self.deposed.lock().insert(address.clone(), key.clone());
            old_key = Some(key);
        }
        let made = self
            .make(block, instance, change, present.as_ref(), &provider_address)
            .await;
        if made.is_err()
            && let (Some(key), Some(object)) = (old_key, stored)
        {
            // Nothing came of the new one: the old one is in use again.
            let gone = self
                .state
                .lock()
                .instance(address)
                .is_none_or(|found| found.current.is_none());
            if gone {
                self.keep(address, None, &provider_address, Some(object))?;
                self.keep(address, Some(&key), &provider_address, None)?;
                self.deposed.lock().remove(address);
            }
        }
        let value = made?;
        run.postconditions(block, instance, &value)?;
        Ok(value)
    }

    /// An object that planning found by its id is in the state already: only who watches is to be told.
    fn told_as_imported(&self, change: &Change) {
        let address = &change.address;
        if let Some(importing) = &change.importing {
            let id = &*importing.shown();
            self.run.event(&Event::ImportStart { address, id });
            self.run.event(&Event::ImportDone { address, id });
        }
    }

    /// Decides again with all values known, holds the provider to what it planned, and lets it act.
    async fn make(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        change: &Change,
        present: Option<&Present>,
        provider_address: &crate::address::ProviderConfig,
    ) -> Result<Value, Failed> {
        let run = &self.run;
        let address = &instance.address;
        let wanted = Wanted {
            create_before_destroy: change.action == Action::CreateThenDelete,
            by_request: false,
            by_trigger: false,
        };
        let decision = run.decide(block, instance, present, &wanted).await?;
        let expected = if change.action.is_replace() {
            Action::Create
        } else {
            change.action
        };
        let part = decision.action;
        let inconsistent = |what: String| {
            Diagnostic::error(
                "Provider produced inconsistent final plan",
                format!(
                    "When expanding the plan for {} to include new values learned so far during apply, provider \"{}\" {what}.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                    instance.name, provider_address.provider
                ),
            )
        };
        if part != expected && !(expected == Action::Update && part == Action::NoOp) {
            return run.fail(inconsistent(format!(
                "changed the planned action from {:?} to {part:?}",
                change.action
            )));
        }
        let (planned_before, _) = change.after.clone().unmark_deep();
        let (planned, marks) = decision.after.unmark_deep_with_paths();
        let problems = result_problems(&block.schema.block, &planned_before, &planned);
        for problem in &problems {
            run.diagnostics.lock().push(inconsistent(format!(
                "produced an invalid new value for {problem}"
            )));
        }
        if !problems.is_empty() {
            return Err(Failed);
        }
        if part == Action::NoOp {
            return Ok(decision.after);
        }
        let id = present.and_then(|present| id_of(&present.value));
        run.event(&Event::ApplyStart {
            address,
            deposed: None,
            action: part,
            id: id.as_deref(),
        });
        let start = Instant::now();
        let (prior, _) = decision.before.clone().unmark_deep();
        let only_marks = part == Action::Update && planned.surely_equals(&prior) == Some(true);
        let meta = run.provider_meta(block, instance.table)?;
        let answer = if only_marks {
            provider::Applied {
                state: Some(planned.clone()),
                private: present
                    .map(|present| present.private.clone())
                    .unwrap_or_default(),
                identity: None,
                legacy_type_system: false,
                diagnostics: provider::Diagnostics::new(),
            }
        } else {
            block
                .provider
                .apply_resource(provider::Apply {
                    type_name: address.resource.kind.clone(),
                    prior: prior.clone(),
                    planned: planned.clone(),
                    config: decision.config.clone(),
                    private: decision.private.clone(),
                    provider_meta: meta,
                    identity: decision.identity.clone(),
                })
                .await
        };
        let mut failed = run
            .note(
                answer
                    .diagnostics
                    .locate(&block.config.config, &instance.name),
            )
            .is_err();
        let mut result = answer.state.unwrap_or(prior);
        let named = format!("{:?}", provider_address.to_string());
        let bug = "This is a bug in the provider, which should be reported in the provider's own issue tracker.";
        if !result.is_null() && !result.ty().conforms_to(&block.schema.block.implied_type()) {
            return run.fail(Diagnostic::error(
                "Provider produced invalid object",
                format!(
                    "Provider {named} produced an invalid value after apply for {}. The result cannot not be saved in the Terraform state.\n\n{bug}",
                    instance.name
                ),
            ));
        }
        let unknown = unknown_paths(&result);
        if !unknown.is_empty() {
            failed = true;
            for path in unknown {
                let _ = run.note(Diagnostic::error(
                    "Provider returned invalid result object after apply",
                    format!(
                        "After the apply operation, the provider still indicated an unknown value for {}{path}. All values must be known after apply, so this is always a bug in the provider and should be reported in the provider's own repository. Terraform will still save the other known object values in the state.",
                        instance.name
                    ),
                ));
            }
            result = known(result);
        }
        if !failed && result.is_null() {
            failed = true;
            let _ = run.note(Diagnostic::error(
                "Provider produced inconsistent result after apply",
                format!(
                    "When applying changes to {}, provider {named} produced an unexpected new value: Root object was present, but now absent.\n\n{bug}",
                    instance.name
                ),
            ));
        }
        if !failed && !answer.legacy_type_system {
            for problem in result_problems(&block.schema.block, &planned, &result) {
                failed = true;
                let _ = run.note(Diagnostic::error(
                    "Provider produced inconsistent result after apply",
                    format!(
                        "When applying changes to {}, provider {named} produced an unexpected new value: {problem}.\n\n{bug}",
                        instance.name
                    ),
                ));
            }
        }
        let marks: Vec<_> = marks
            .into_iter()
            .filter(|(path, marks)| {
                marks.intersects(Marks::SENSITIVE) && path.apply(&result).is_ok()
            })
            .collect();
        let value = if result.is_null() {
            result
        } else {
            block.schema.block.mark_sensitive(result.mark_paths(&marks))
        };
        let provisioned = part == Action::Create
            && block
                .config
                .managed
                .provisioners
                .iter()
                .any(|provisioner| !provisioner.when_destroy);
        let identity = match answer.identity {
            Some(identity) if !identity.is_wholly_known() => {
                failed = true;
                let _ = run.note(Diagnostic::error(
                    "Provider produced invalid identity after apply",
                    format!(
                        "After the apply operation, the provider still indicated an unknown identity for {}. All of an identity must be known after apply.\n\n{bug}",
                        instance.name
                    ),
                ));
                None
            }
            Some(identity) => Some(identity),
            None => decision
                .identity
                .filter(Value::is_wholly_known)
                .or_else(|| present.and_then(|present| present.identity.clone())),
        };
        let mut made = Present {
            value: value.clone(),
            private: answer.private,
            // Until its provisioners are done a new object is as good as failed: a crash must not hide that.
            status: if part == Action::Create && (failed || provisioned) {
                Status::Tainted
            } else {
                Status::Ready
            },
            dependencies: block.dependencies(run).clone(),
            create_before_destroy: block.create_before_destroy,
            identity,
            deferred: None,
            stored: None,
        };
        if !value.is_null() {
            let object = run.store_object(&block.schema, address, &made)?;
            self.keep(address, None, provider_address, Some(object))?;
        }
        if !failed && provisioned {
            failed = self
                .provision(block, instance, &value, false)
                .await
                .is_err();
            if !failed {
                made.status = Status::Ready;
                made.stored = None;
                let object = run.store_object(&block.schema, address, &made)?;
                self.keep(address, None, provider_address, Some(object))?;
            }
        }
        if failed {
            run.event(&Event::ApplyFailed {
                address,
                deposed: None,
                action: part,
                took: start.elapsed(),
            });
            return Err(Failed);
        }
        run.event(&Event::ApplyDone {
            address,
            deposed: None,
            action: part,
            id: id_of(&value).as_deref(),
            took: start.elapsed(),
        });
        Ok(value)
    }
}

/// The places of what is not known in a value.
fn unknown_paths(value: &Value) -> Vec<consort_hcl::Path> {
    let mut found = Vec::new();
    if value.is_wholly_known() {
        return found;
    }
    let seen: Result<Value, std::convert::Infallible> = value.transform(&mut |path, value| {
        if !value.is_known() {
            found.push(path.clone());
        }
        Ok(value)
    });
    let Ok(_) = seen;
    found
}
