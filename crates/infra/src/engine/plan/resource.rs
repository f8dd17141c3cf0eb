//! A resource block: what it expands to, and what becomes of each instance.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::{Range, Value};
use consort_plan::NodeId;
use futures::StreamExt;

use super::Planning;
use super::managed::Asked;
use crate::address::{ConfigResource, Key, Mode, ModuleInstance, ResourceInstance};
use crate::config::{self, Reference, Subject};
use crate::engine::blocks::{ProviderIx, kind};
use crate::engine::change::{DeferredReason, Mode as PlanMode, Reason};
use crate::engine::checks::Checkable;
use crate::engine::expand::expand;
use crate::engine::index::ModuleIx;
use crate::engine::run::{Failed, Run};
use crate::engine::scope::Names;
use crate::engine::validate::unsupported;
use crate::engine::world::{Keys, ModuleTable};
use crate::provider::Provider;
use crate::provider::schema::ResourceSchema;

/// A resource block with all that its instances share.
#[derive(Clone)]
pub(in crate::engine) struct ResourceBlock<'b> {
    pub(in crate::engine) node: NodeId,
    pub(in crate::engine) ix: ModuleIx,
    pub(in crate::engine) config: &'b config::Resource,
    pub(in crate::engine) address: ConfigResource,
    /// The address as text.
    pub(in crate::engine) name: String,
    pub(in crate::engine) provider_ix: ProviderIx,
    pub(in crate::engine) provider: Arc<dyn Provider>,
    pub(in crate::engine) schema: Arc<ResourceSchema>,
    dependencies: OnceLock<Arc<[Arc<ConfigResource>]>>,
    pub(in crate::engine) create_before_destroy: bool,
    /// What the arguments refer to of the block itself, which they may not.
    pub(in crate::engine) itself: Vec<(Key, Range)>,
}

impl<'b> ResourceBlock<'b> {
    /// The same for an instance that a test replaces.
    pub(in crate::engine) fn replaced(
        &self,
        run: &Run<'_>,
        address: &ResourceInstance,
    ) -> Result<Option<ResourceBlock<'b>>, Failed> {
        if run.input.under_test.is_none() {
            return Ok(None);
        }
        Ok(Some(ResourceBlock {
            provider: run.provider_of(self.provider_ix, address)?,
            ..self.clone()
        }))
    }

    /// What instances record that they depend on. Not asked for before something is there to record it.
    pub(in crate::engine) fn dependencies(&self, run: &Run<'_>) -> &Arc<[Arc<ConfigResource>]> {
        self.dependencies
            .get_or_init(|| match self.address.resource.mode {
                Mode::Managed => run.blocks.dependencies(&run.index, self.node),
                _ => Arc::new([]),
            })
    }
}

impl ResourceBlock<'_> {
    /// The block's provider, to be asked for an object of it.
    pub(in crate::engine) fn asked(&self, meta: Option<Value>) -> Asked<'_> {
        Asked {
            provider: &*self.provider,
            schema: &self.schema,
            ix: self.provider_ix,
            body: Some(&self.config.config),
            meta,
        }
    }
}

impl Run<'_> {
    /// Gathers what the instances of a block share.
    pub(in crate::engine) fn resource_block<'b>(
        &self,
        node: NodeId,
        ix: ModuleIx,
        config: &'b config::Resource,
    ) -> Result<ResourceBlock<'b>, Failed> {
        let address = ConfigResource {
            module: self.index.entry(ix).path.clone(),
            resource: config.address.clone(),
        };
        let name = address.to_string();
        let Some((provider_ix, _)) = self.blocks.provider_for(&self.index, ix, config) else {
            return self.fail(
                Diagnostic::error(
                    "Provider configuration not present",
                    format!(
                        "To work with {name} its provider {} is needed, which is not there.",
                        config.provider
                    ),
                )
                .at(config.range),
            );
        };
        let schemas = &self.blocks.providers[provider_ix.0].schemas;
        let Ok(schema) = schemas.resource(kind(config.address.mode), &config.address.kind) else {
            return self.fail(unsupported(config, schemas));
        };
        let itself = self
            .blocks
            .arguments(node)
            .iter()
            .filter_map(|traversal| Reference::parse(traversal).ok())
            .filter_map(|reference| match reference.subject {
                Subject::Resource(address, key) if address == config.address => {
                    Some((key, reference.range))
                }
                _ => None,
            })
            .collect();
        Ok(ResourceBlock {
            itself,
            node,
            ix,
            config,
            address,
            name,
            provider_ix,
            provider: self.provider(provider_ix)?,
            schema,
            dependencies: OnceLock::new(),
            create_before_destroy: self.blocks.is_create_before_destroy(node),
        })
    }
}

impl Planning<'_> {
    pub(super) async fn visit_resource(
        &self,
        node: NodeId,
        ix: ModuleIx,
        config: &config::Resource,
    ) -> Result<(), Failed> {
        let block = self.run.resource_block(node, ix, config)?;
        if config.address.mode == Mode::Managed && block.create_before_destroy {
            let mut results = self.results.lock();
            results.create_before_destroy.insert(block.address.clone());
        }
        self.run.checks_declared(
            Checkable::Resource,
            &block.name,
            !config.preconditions.is_empty() || !config.postconditions.is_empty(),
        );
        if self.options.mode == PlanMode::Normal {
            self.resolve_imports(&block)?;
        }
        let known: HashSet<ModuleInstance> = self
            .run
            .world
            .instances(ix)
            .iter()
            .map(|table| table.address.clone())
            .collect();
        let (tables, mut parts) = self.run.open_instances(node, ix);
        for table in &tables {
            if self.plan_in_module(&block, table).await.is_err() {
                parts.failed.push(table.address.clone());
            }
        }
        let unknown = self.run.world.is_unknown(ix);
        if unknown
            && self.options.mode == PlanMode::Normal
            && config.address.mode != Mode::Ephemeral
        {
            self.defer_block(&block);
        }
        // What the state holds in module instances that are no more; or in any, before everything goes.
        let mut failed = false;
        if (!unknown || self.options.mode != PlanMode::Normal)
            && let Some(resources) = self.by_block.get(&block.address)
        {
            for resource in resources {
                if known.contains(&resource.module) {
                    continue;
                }
                failed |= self
                    .plan_orphans_of(resource, Some(&block), Reason::DeleteBecauseNoModule)
                    .await
                    .is_err();
            }
        }
        if failed {
            return Err(Failed);
        }
        self.run.settle(node, parts)
    }

    async fn plan_in_module(
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
        let put_off = match self.put_off_because(block) {
            _ if matches!(keys, Keys::Unknown) => Some(DeferredReason::InstanceCountUnknown),
            because => because,
        };
        if let Some(reason) = put_off {
            if self.options.mode == PlanMode::Normal
                && (block.address.resource.mode != Mode::Ephemeral || matches!(keys, Keys::Unknown))
            {
                return self.defer_in_module(block, table, &keys, reason).await;
            }
            if matches!(keys, Keys::Unknown) {
                // What is there is looked at, or goes, whatever it should be.
                table
                    .resources
                    .write()
                    .insert(block.address.resource.clone(), Value::DYNAMIC);
                return self
                    .plan_orphans_of(
                        &block.address.resource.within(&table.address),
                        Some(block),
                        Reason::DeleteBecauseNoResourceConfig,
                    )
                    .await;
            }
        }
        let instances = keys.instances();
        self.warn_of_keyless_replacements(block, table, &keys, &instances);
        let mut failed = false;
        let mut values: Vec<Value> = Vec::with_capacity(instances.len());
        {
            let mut steps =
                futures::stream::iter((0..instances.len()).map(|at| {
                    self.plan_instance(block, table, &instances[at].0, &instances[at].1)
                }))
                .buffered(self.run.input.parallelism.max(1));
            while let Some(value) = steps.next().await {
                failed |= value.is_err();
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
        failed |= self.plan_surplus(block, table, &keys).await.is_err();
        if failed { Err(Failed) } else { Ok(()) }
    }

    /// A request to replace `a.b` means none of the instances of `a.b`.
    fn warn_of_keyless_replacements(
        &self,
        block: &ResourceBlock<'_>,
        table: &ModuleTable,
        keys: &Keys,
        instances: &[(Key, crate::engine::world::Repetition)],
    ) {
        if self.options.replace.is_empty() || matches!(keys, Keys::Single) {
            return;
        }
        let resource = block.address.resource.within(&table.address);
        for wanted in &self.options.replace {
            if !wanted.key.is_none() || wanted.abs_resource() != resource {
                continue;
            }
            let why = match instances {
                [] => "this resource doesn't have any instances.".to_owned(),
                [(key, _)] => format!(
                    "it lacks an instance key.\n\nTo force replacement of the single declared instance, use the following option instead:\n  -replace={:?}",
                    resource.instance(key.clone()).to_string()
                ),
                _ => {
                    let options: String = instances
                        .iter()
                        .map(|(key, _)| {
                            format!(
                                "\n  -replace={:?}",
                                resource.instance(key.clone()).to_string()
                            )
                        })
                        .collect();
                    format!(
                        "it lacks an instance key.\n\nTo force replacement of particular instances, use one or more of the following options instead:{options}"
                    )
                }
            };
            self.run.diagnostics.lock().push(Diagnostic::warning(
                "Incompletely-matched force-replace resource instance",
                format!(
                    "Your force-replace request for {wanted} doesn't match any resource instances because {why}"
                ),
            ));
        }
    }

    /// Deletes the instances of the state that the block does not expand to any more.
    async fn plan_surplus(
        &self,
        block: &ResourceBlock<'_>,
        table: &ModuleTable,
        keys: &Keys,
    ) -> Result<(), Failed> {
        let resource = block.address.resource.within(&table.address);
        let Some(state) = self.state.resources.get(&resource) else {
            return Ok(());
        };
        let mut failed = false;
        for (key, instance) in &state.instances {
            let wanted = match (keys, key) {
                (Keys::Single, Key::None) => true,
                (Keys::Count(count), Key::Int(index)) => {
                    usize::try_from(*index).is_ok_and(|index| index < *count)
                }
                (Keys::Each(each), Key::String(key)) => each.contains_key(key),
                _ => false,
            };
            if wanted {
                continue;
            }
            let reason = match (keys, key) {
                (Keys::Count(_), Key::Int(_)) => Reason::DeleteBecauseCountIndex,
                (Keys::Each(_), Key::String(_)) => Reason::DeleteBecauseEachKey,
                _ => Reason::DeleteBecauseWrongRepetition,
            };
            failed |= self
                .plan_orphan(
                    &resource.instance(key.clone()),
                    instance,
                    Some(block),
                    reason,
                )
                .await
                .is_err();
        }
        if failed { Err(Failed) } else { Ok(()) }
    }
}
