//! One instance of a resource block, and its change.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Marks, Path, Value};

use super::Planning;
use super::ignore::ignore_changes;
use super::resource::ResourceBlock;
use crate::address::{Key, Mode, ResourceInstance};
use crate::engine::blocks::ProviderIx;
use crate::engine::change::{
    Action, Change, DeferredReason, Identities, Importing, Mode as PlanMode, Reason,
};
use crate::engine::checks::Checkable;
use crate::engine::conditions::{Checked, RuleKind};
use crate::engine::events::Event;
use crate::engine::objects::{Present, id_of};
use crate::engine::run::{Failed, Run, Standing};
use crate::engine::scope::Names;
use crate::engine::validate::forbidden_ephemeral;
use crate::engine::world::{ModuleTable, Repetition};
use crate::provider::objects::{normalize_legacy, plan_problems, proposed_new};
use crate::provider::{self, Read, Validate};
use crate::state::{Object, Status};

/// An instance with the names its expressions use.
pub(in crate::engine) struct InstanceOf<'i> {
    pub(in crate::engine) address: ResourceInstance,
    pub(in crate::engine) name: String,
    pub(in crate::engine) table: &'i ModuleTable,
    pub(in crate::engine) repetition: &'i Repetition,
}

impl<'i> InstanceOf<'i> {
    pub(in crate::engine) fn new(
        block: &ResourceBlock<'_>,
        table: &'i ModuleTable,
        key: &Key,
        repetition: &'i Repetition,
    ) -> Self {
        let address = ResourceInstance {
            module: table.address.clone(),
            resource: block.address.resource.clone(),
            key: key.clone(),
        };
        InstanceOf {
            name: address.to_string(),
            address,
            table,
            repetition,
        }
    }
}

/// Who is asked for the present state of an object, and for what.
pub(in crate::engine) struct Asked<'r> {
    pub(in crate::engine) provider: &'r dyn provider::Provider,
    pub(in crate::engine) schema: &'r provider::schema::ResourceSchema,
    pub(in crate::engine) ix: ProviderIx,
    /// The block's body, to tell places in.
    pub(in crate::engine) body: Option<&'r consort_hcl::Body>,
    pub(in crate::engine) meta: Option<Value>,
}

/// What a provider plans for one instance.
pub(in crate::engine) struct Decision {
    pub(in crate::engine) action: Action,
    pub(in crate::engine) reason: Option<Reason>,
    pub(in crate::engine) before: Value,
    pub(in crate::engine) after: Value,
    pub(in crate::engine) private: Bytes,
    pub(in crate::engine) replace_paths: Vec<Path>,
    /// The configuration the plan was made for, unmarked.
    pub(in crate::engine) config: Value,
    /// What the object will be told by.
    pub(in crate::engine) identity: Option<Value>,
    /// Why the provider put the change off.
    pub(in crate::engine) deferred: Option<DeferredReason>,
}

/// How a decision is made.
pub(in crate::engine) struct Wanted {
    pub(in crate::engine) create_before_destroy: bool,
    /// Replace whether that is needed or not.
    pub(in crate::engine) by_request: bool,
    pub(in crate::engine) by_trigger: bool,
}

impl Run<'_> {
    pub(in crate::engine) fn preconditions(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<(), Failed> {
        if block.config.preconditions.is_empty() {
            return Ok(());
        }
        let scope = Names::repeated(self, instance.table, instance.repetition);
        let checked = Checked {
            kind: Checkable::Resource,
            block: &block.name,
            object: &instance.name,
        };
        self.check_rules(
            RuleKind::Precondition,
            &block.config.preconditions,
            &scope,
            &checked,
        )
    }

    pub(in crate::engine) fn postconditions(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        value: &Value,
    ) -> Result<(), Failed> {
        if block.config.postconditions.is_empty() {
            return Ok(());
        }
        let scope = Names {
            run: self,
            table: instance.table,
            repetition: instance.repetition,
            itself: Some(value),
        };
        let checked = Checked {
            kind: Checkable::Resource,
            block: &block.name,
            object: &instance.name,
        };
        self.check_rules(
            RuleKind::Postcondition,
            &block.config.postconditions,
            &scope,
            &checked,
        )
    }

    /// The arguments of an instance, marked.
    pub(in crate::engine) fn arguments(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        let mut looped = consort_hcl::Diagnostics::new();
        for (key, range) in &block.itself {
            if *key == instance.address.key || *key == Key::None {
                let detail = format!(
                    "Configuration for {}{key} may not refer to itself.",
                    block.address.resource
                );
                looped.push(Diagnostic::error("Self-referential block", detail).at(*range));
            }
        }
        self.note(looped)?;
        let scope = Names::repeated(self, instance.table, instance.repetition);
        let (value, mut diagnostics) = block.schema.block.decode(&block.config.config, &scope);
        diagnostics.set_address(&instance.name);
        self.note(diagnostics)?;
        // Nothing of an ephemeral resource is stored.
        let stored = block.address.resource.mode != Mode::Ephemeral;
        let forbidden = stored.then(|| forbidden_ephemeral(&block.schema.block, &value));
        for wrong in forbidden.into_iter().flatten() {
            self.note(wrong.locate(&block.config.config, &instance.name))?;
        }
        Ok(value)
    }

    /// The module's `provider_meta` for the provider of a block.
    pub(in crate::engine) fn provider_meta(
        &self,
        block: &ResourceBlock<'_>,
        table: &ModuleTable,
    ) -> Result<Option<Value>, Failed> {
        let schemas = &self.blocks.providers[block.provider_ix.0].schemas;
        let Some(schema) = &schemas.provider_meta else {
            return Ok(None);
        };
        let Some(meta) = self
            .index
            .module(table.ix)
            .provider_metas
            .get(&block.config.provider)
        else {
            return Ok(None);
        };
        let (value, diagnostics) = schema.decode(&meta.config, &Names::of_module(self, table));
        self.note(diagnostics)?;
        Ok(Some(value.unmark_deep().0))
    }

    /// Asks the provider what is there now. A null value says that the object is gone.
    pub(in crate::engine) async fn refresh(
        &self,
        asked: Asked<'_>,
        address: &ResourceInstance,
        present: &Present,
        deposed: Option<&Arc<str>>,
    ) -> Result<Present, Failed> {
        let Asked {
            provider,
            schema,
            ix,
            body,
            meta,
        } = asked;
        let id = id_of(&present.value);
        self.event(&Event::RefreshStart {
            address,
            deposed: deposed.map(|key| &**key),
            id: id.as_deref(),
        });
        let (prior, marks) = present.value.unmark_deep_with_paths();
        let request = Read {
            type_name: address.resource.kind.clone(),
            prior: prior.clone(),
            private: present.private.clone(),
            provider_meta: meta,
            identity: present.identity.clone(),
            deferral_allowed: self.may_defer(ix),
        };
        let answer = provider.read_resource(request).await;
        let name = address.to_string();
        self.note(match body {
            Some(body) => answer.diagnostics.locate(body, &name),
            None => answer.diagnostics.unlocated(&name),
        })?;
        if let Some(reason) = self.deferred(ix, answer.deferred, &name)? {
            return Ok(Present {
                deferred: Some(reason),
                ..present.clone()
            });
        }
        if !answer.state.is_null() && !answer.state.ty().conforms_to(&schema.block.implied_type()) {
            return self.fail(Diagnostic::error(
                "Provider produced invalid object",
                format!(
                    "The provider planned an invalid value for {name} during refresh: it does not follow the schema.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker."
                ),
            ));
        }
        let state = normalize_legacy(&schema.block, &answer.state);
        self.event(&Event::RefreshDone {
            address,
            deposed: deposed.map(|key| &**key),
        });
        let identity = match answer.identity {
            Some(identity) if schema.identity.is_some() => Some(identity),
            _ => present.identity.clone(),
        };
        let same_identity = match (&identity, &present.identity) {
            (Some(one), Some(other)) => one.raw_equals(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if present.stored.is_some()
            && same_identity
            && answer.private == present.private
            && state.raw_equals(&prior)
        {
            return Ok(present.clone());
        }
        let marks: Vec<_> = marks
            .into_iter()
            .filter(|(path, _)| path.apply(&state).is_ok())
            .collect();
        let value = if state.is_null() {
            state
        } else {
            state.mark_paths(&marks)
        };
        Ok(Present {
            value: schema.block.mark_sensitive(value),
            private: answer.private,
            identity,
            stored: None,
            ..present.clone()
        })
    }

    /// Lets the provider plan one instance, and decides what is done.
    pub(in crate::engine) async fn decide(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        present: Option<&Present>,
        wanted: &Wanted,
    ) -> Result<Decision, Failed> {
        let schema = &block.schema.block;
        let ty = schema.implied_type();
        let written = self.arguments(block, instance)?;
        let meta = self.provider_meta(block, instance.table)?;
        let located = |diagnostics: provider::Diagnostics| {
            diagnostics.locate(&block.config.config, &instance.name)
        };
        let (plain, _) = written.clone().unmark_deep();
        let validate = Validate {
            type_name: block.address.resource.kind.clone(),
            config: plain,
        };
        self.note(located(block.provider.validate_resource(validate).await))?;

        let prior_identity = present.and_then(|present| present.identity.clone());
        let tainted = present.is_some_and(|present| present.status == Status::Tainted);
        let null = Value::null(ty.clone());
        let (prior, private) = match present {
            Some(present) if !tainted => (present.value.clone(), present.private.clone()),
            _ => (null.clone(), Bytes::new()),
        };
        let config = ignore_changes(
            &block.config.managed.ignore_changes,
            &prior,
            &written,
            Some(schema),
        );
        let (config, config_marks) = config.unmark_deep_with_paths();
        let (plain_prior, _) = prior.clone().unmark_deep();
        let request =
            |prior: Value, proposed: Value, config: Value, private: Bytes| provider::Plan {
                type_name: block.address.resource.kind.clone(),
                prior,
                proposed,
                config,
                private,
                provider_meta: meta.clone(),
                identity: prior_identity.clone(),
                deferral_allowed: self.may_defer(block.provider_ix),
            };
        let proposed = proposed_new(schema, &plain_prior, &config);
        let answer = block
            .provider
            .plan_resource(request(
                plain_prior.clone(),
                proposed,
                config.clone(),
                private,
            ))
            .await;
        self.note(located(answer.diagnostics))?;
        self.check_type(block, instance, &answer.state, &ty)?;
        let mut planned = answer.state;
        if answer.legacy_type_system {
            planned = ignore_changes(
                &block.config.managed.ignore_changes,
                &plain_prior,
                &planned,
                None,
            );
        } else {
            self.check_plan(
                block,
                instance,
                &plan_problems(schema, &plain_prior, &config, &planned),
            )?;
        }
        let mut planned_private = answer.private;
        let mut identity = answer.identity;
        let mut deferred = self.deferred(block.provider_ix, answer.deferred, &instance.name)?;

        let mut replace_paths = Vec::new();
        for path in answer.requires_replace {
            if plain_prior.is_null() {
                break;
            }
            let (old, new) = (path.apply(&plain_prior).ok(), path.apply(&planned).ok());
            let changed = match (old, new) {
                (None, None) => {
                    return self.fail(Diagnostic::error(
                        "Provider produced invalid plan",
                        format!(
                            "Provider \"{}\" has indicated \"requires replacement\" on {} for a non-existent attribute path {path}.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                            self.provider_name(block), instance.name
                        ),
                    ));
                }
                (Some(old), Some(new)) => new.surely_equals(&old) != Some(true),
                (Some(one), None) | (None, Some(one)) => !one.is_null(),
            };
            if changed
                || schema
                    .attribute_at(&path)
                    .is_some_and(|attribute| attribute.write_only)
            {
                replace_paths.push(path);
            }
        }

        let equal = planned.surely_equals(&plain_prior) == Some(true);
        let forced = wanted.by_request || wanted.by_trigger;
        let replace = if wanted.create_before_destroy {
            Action::CreateThenDelete
        } else {
            Action::DeleteThenCreate
        };
        let mut reason = None;
        let mut action = if plain_prior.is_null() {
            Action::Create
        } else if equal && !forced && replace_paths.is_empty() {
            Action::NoOp
        } else if forced || !replace_paths.is_empty() {
            reason = if wanted.by_trigger {
                Some(Reason::ReplaceByTriggers)
            } else if wanted.by_request {
                Some(Reason::ReplaceByRequest)
            } else {
                Some(Reason::ReplaceBecauseCannotUpdate)
            };
            replace
        } else {
            Action::Update
        };
        let (mut final_config, mut marks) = (config, config_marks);
        if action.is_replace() {
            // The new object starts from nothing, with the configuration as it is written.
            (final_config, marks) = written.unmark_deep_with_paths();
            let proposed = proposed_new(schema, &null, &final_config);
            let answer = block
                .provider
                .plan_resource(request(
                    null.clone(),
                    proposed,
                    final_config.clone(),
                    planned_private,
                ))
                .await;
            self.note(located(answer.diagnostics))?;
            self.check_type(block, instance, &answer.state, &ty)?;
            planned = answer.state;
            planned_private = answer.private;
            identity = answer.identity;
            deferred =
                deferred.or(self.deferred(block.provider_ix, answer.deferred, &instance.name)?);
        }
        let mut before = prior;
        if let Some(present) = present.filter(|_| tainted && action == Action::Create) {
            action = replace;
            reason = Some(Reason::ReplaceBecauseTainted);
            before = present.value.clone();
        }
        let marks: Vec<_> = marks
            .into_iter()
            .map(|(path, marks)| {
                (
                    path,
                    if marks.intersects(Marks::SENSITIVE) {
                        Marks::SENSITIVE
                    } else {
                        Marks::NONE
                    },
                )
            })
            .filter(|(path, marks)| !marks.is_empty() && path.apply(&planned).is_ok())
            .collect();
        let after = schema.mark_sensitive(if marks.is_empty() {
            planned
        } else {
            planned.mark_paths(&marks)
        });
        if action == Action::NoOp && sensitive_paths(&before) != sensitive_paths(&after) {
            action = Action::Update;
        }
        Ok(Decision {
            action,
            reason,
            before,
            after,
            private: planned_private,
            replace_paths,
            config: final_config,
            identity,
            deferred,
        })
    }

    /// The provider as messages about plans name it.
    pub(in crate::engine) fn provider_name(&self, block: &ResourceBlock<'_>) -> String {
        self.blocks.providers[block.provider_ix.0]
            .address
            .provider
            .to_string()
    }

    /// The provider's configuration as messages about results name it, in quotes.
    pub(in crate::engine) fn provider_config_name(&self, block: &ResourceBlock<'_>) -> String {
        let address = &self.blocks.providers[block.provider_ix.0].address;
        format!("{:?}", address.to_string())
    }

    fn check_type(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        value: &Value,
        ty: &consort_hcl::Type,
    ) -> Result<(), Failed> {
        if value.is_null() || value.ty().conforms_to(ty) {
            return Ok(());
        }
        self.fail(Diagnostic::error(
            "Provider produced invalid plan",
            format!(
                "Provider \"{}\" planned an invalid value for {}: it does not follow the schema.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                self.provider_name(block), instance.name
            ),
        ))
    }

    fn check_plan(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        problems: &[provider::objects::Problem],
    ) -> Result<(), Failed> {
        for problem in problems {
            self.diagnostics.lock().push(Diagnostic::error(
                "Provider produced invalid plan",
                format!(
                    "Provider \"{}\" planned an invalid value for {}{problem}.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                    self.provider_name(block), instance.name
                ),
            ));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Failed)
        }
    }
}

fn sensitive_paths(value: &Value) -> BTreeSet<String> {
    if !value.deep_marks().intersects(Marks::SENSITIVE) {
        return BTreeSet::new();
    }
    value
        .unmark_deep_with_paths()
        .1
        .into_iter()
        .filter(|(_, marks)| marks.intersects(Marks::SENSITIVE))
        .map(|(path, _)| path.to_string())
        .collect()
}

impl Planning<'_> {
    pub(super) async fn plan_instance(
        &self,
        block: &ResourceBlock<'_>,
        table: &ModuleTable,
        key: &Key,
        repetition: &Repetition,
    ) -> Result<Value, Failed> {
        let instance = InstanceOf::new(block, table, key, repetition);
        let replaced = block.replaced(&self.run, &instance.address)?;
        let block = replaced.as_ref().unwrap_or(block);
        if !self.options.covers(&instance.address)
            && !self.goes_along(block.node, &instance.address)
        {
            return self.leave_alone(block, &instance).await;
        }
        let permit = self.run.permits.acquire().await;
        if permit.is_err() {
            return Err(Failed);
        }
        match block.address.resource.mode {
            Mode::Managed => self.plan_managed(block, &instance).await,
            Mode::Data => self.plan_data(block, &instance).await,
            Mode::Ephemeral => self.open_ephemeral(block, &instance).await,
        }
    }

    /// The value of an instance that the plan does not cover.
    async fn leave_alone(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        let stored = self
            .state
            .instance(&instance.address)
            .and_then(|found| found.current.as_ref());
        match stored {
            Some(object) => {
                let present = self
                    .run
                    .read_object(&*block.provider, &block.schema, &instance.address, object)
                    .await?;
                Ok(present.value)
            }
            None => Ok(Value::unknown(block.schema.block.implied_type())),
        }
    }

    /// Takes what the state holds of an instance, as the provider sees it now. None when there is nothing,
    /// or nothing any more.
    pub(super) async fn look(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        object: &Arc<Object>,
    ) -> Result<Option<Present>, Failed> {
        let address = &instance.address;
        let run = &self.run;
        let mut stored = run
            .read_object(&*block.provider, &block.schema, address, object)
            .await?;
        stored.create_before_destroy = block.create_before_destroy;
        let asks = self.run.standing(block.provider_ix) != Standing::PutOff;
        let seen = if self.options.refresh && asks && !self.goes_along(block.node, address) {
            let meta = run.provider_meta(block, instance.table)?;
            let mut seen = run
                .refresh(block.asked(meta), address, &stored, None)
                .await?;
            let dependencies = block.dependencies(run);
            if seen.dependencies != *dependencies {
                seen.dependencies = merged(&seen.dependencies, dependencies);
            }
            self.note_drift(
                address,
                &self.run.blocks.providers[block.provider_ix.0].address,
                &stored.value,
                &seen.value,
            );
            seen
        } else {
            stored
        };
        if seen.value.is_null() {
            self.keep(address, block, None);
            return Ok(None);
        }
        let object = run.store_object(&block.schema, address, &seen)?;
        self.keep(address, block, Some(object));
        Ok(Some(seen))
    }

    fn keep(
        &self,
        address: &ResourceInstance,
        block: &ResourceBlock<'_>,
        object: Option<Arc<Object>>,
    ) {
        let provider = &self.run.blocks.providers[block.provider_ix.0].address;
        self.refreshed
            .lock()
            .set_object(address, None, provider, object);
    }

    pub(super) fn note_drift(
        &self,
        address: &ResourceInstance,
        provider: &crate::address::ProviderConfig,
        before: &Value,
        after: &Value,
    ) {
        let previous_address = self.previous(address);
        let moved = previous_address != *address;
        let action = if after.is_null() {
            Action::Delete
        } else if before.raw_equals(after) {
            if !moved {
                return;
            }
            Action::NoOp
        } else {
            Action::Update
        };
        self.results.lock().drift.push(Change {
            address: address.clone(),
            previous_address,
            deposed: None,
            provider: provider.clone(),
            action,
            reason: None,
            before: before.clone(),
            after: after.clone(),
            replace_paths: Vec::new(),
            private: Bytes::new(),
            importing: None,
            generated_config: None,
            identity: Identities::default(),
        });
    }

    async fn plan_managed(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
    ) -> Result<Value, Failed> {
        let address = &instance.address;
        let state = self.state.instance(address);
        if let Some(state) = state {
            for (key, object) in &state.deposed {
                self.plan_deposed(address, key, object, Some(block)).await?;
            }
        }
        let import = self.imports.lock().remove(address);
        let mut importing = None;
        let present = match (state.and_then(|state| state.current.as_ref()), import) {
            (Some(object), _) => self.look(block, instance, object).await?,
            (None, Some(import)) => {
                importing = Some(import.importing());
                match self.import(block, instance, &import).await? {
                    Ok(present) => Some(present),
                    Err(reason) => {
                        let mut change = self.deferred_change(block, instance, false).await?;
                        change.importing = importing;
                        let value = change.after.clone();
                        self.defer_change(block, change, reason);
                        return Ok(value);
                    }
                }
            }
            (None, None) => None,
        };
        if self.only_looks() {
            return self.only_look(block, instance, present).await;
        }
        self.run.preconditions(block, instance)?;
        let by_trigger = match &present {
            Some(_) => self.triggered(
                instance.table,
                address,
                &block.config.replace_triggered_by,
                instance.repetition,
            )?,
            None => false,
        };
        let wanted = Wanted {
            create_before_destroy: block.create_before_destroy,
            by_request: self.options.replace.contains(address),
            by_trigger,
        };
        let decision = self
            .run
            .decide(block, instance, present.as_ref(), &wanted)
            .await?;
        let value = decision.after.clone();
        let put_off = decision
            .deferred
            .or(present.as_ref().and_then(|present| present.deferred));
        if let Some(reason) = put_off {
            let change = self.change(
                block,
                instance,
                decision,
                importing,
                present.and_then(|present| present.identity),
            );
            self.defer_change(block, change, reason);
            return Ok(value);
        }
        let identity = present
            .as_ref()
            .and_then(|present| present.identity.clone());
        if decision.action == Action::NoOp
            && let Some(mut present) = present
            && present.dependencies != *block.dependencies(&self.run)
        {
            present.dependencies = block.dependencies(&self.run).clone();
            let object = self.run.store_object(&block.schema, address, &present)?;
            self.keep(address, block, Some(object));
        }
        let action = decision.action;
        let change = self.change(block, instance, decision, importing, identity);
        self.results.lock().add(change);
        if action.is_replace() {
            self.prevent_destroy(block, &instance.name)?;
        }
        self.run.postconditions(block, instance, &value)?;
        Ok(value)
    }

    fn change(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        decision: Decision,
        importing: Option<Importing>,
        identity: Option<Value>,
    ) -> Change {
        Change {
            address: instance.address.clone(),
            previous_address: self.previous(&instance.address),
            deposed: None,
            provider: self.run.blocks.providers[block.provider_ix.0]
                .address
                .clone(),
            action: decision.action,
            reason: decision.reason,
            before: decision.before,
            after: decision.after,
            replace_paths: decision.replace_paths,
            private: decision.private,
            importing,
            generated_config: None,
            identity: Identities {
                before: identity,
                after: decision.identity,
            },
        }
    }

    /// An instance that stays as it is (a look without changes), or that goes with everything else.
    async fn only_look(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        present: Option<Present>,
    ) -> Result<Value, Failed> {
        let value = match &present {
            Some(present) => present.value.clone(),
            None => Value::unknown(block.schema.block.implied_type()),
        };
        self.run.preconditions(block, instance)?;
        self.run.postconditions(block, instance, &value)?;
        if self.options.mode == PlanMode::Destroy
            && self.is_doomed(block.node, &instance.address)
            && let Some(present) = present
        {
            let provider = self.run.blocks.providers[block.provider_ix.0]
                .address
                .clone();
            // The value is there all the same: what looks at it is planned, and the error is told.
            let done = self
                .plan_destroy(
                    &instance.address,
                    None,
                    &*block.provider,
                    &provider,
                    &present,
                    None,
                    Some(block),
                )
                .await;
            if done.is_err() {
                self.kept.lock().push(block.node);
            }
        }
        Ok(value)
    }

    pub(super) fn prevent_destroy(
        &self,
        block: &ResourceBlock<'_>,
        name: &str,
    ) -> Result<(), Failed> {
        if block.config.managed.prevent_destroy != Some(true) {
            return Ok(());
        }
        self.run.fail(
            Diagnostic::error(
                "Instance cannot be destroyed",
                format!(
                    "Resource {name} has lifecycle.prevent_destroy set, but the plan calls for this resource to be destroyed. To avoid this error and continue with the plan, either disable lifecycle.prevent_destroy or reduce the scope of the plan using the -target option."
                ),
            )
            .at(block.config.range),
        )
    }
}

fn merged(
    one: &Arc<[Arc<crate::address::ConfigResource>]>,
    other: &Arc<[Arc<crate::address::ConfigResource>]>,
) -> Arc<[Arc<crate::address::ConfigResource>]> {
    let all: BTreeSet<_> = one
        .iter()
        .chain(other.iter())
        .map(|resource| (resource.to_string(), resource))
        .collect();
    if all.len() == other.len() {
        return other.clone();
    }
    all.into_iter()
        .map(|(_, resource)| resource.clone())
        .collect()
}
