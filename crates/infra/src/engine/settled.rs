//! The values a configuration has by what a state holds: the walk of commands that change nothing.
//!
//! Variables, locals and outputs are evaluated; resources are what the state says, and unknown where it says
//! nothing. Providers are set up only where they are asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::{Value, json};
use consort_plan::{NodeId, Outcome, Reach, WalkOptions, walk};

use super::blocks::{Block, ProviderIx, kind};
use super::index::ModuleIx;
use super::objects::known_paths;
use super::run::{Failed, Input, Run};
use super::scope::Names;
use super::world::ModuleTable;
use crate::address::{Key, ProviderConfig, ResourceInstance};
use crate::config;
use crate::provider::schema::ResourceSchema;
use crate::state::{Object, State};

pub(super) struct Settled<'a> {
    pub(super) run: Run<'a>,
    state: &'a State,
    /// By node: whether it is visited.
    wanted: Vec<bool>,
    providers: bool,
}

impl<'a> Settled<'a> {
    /// Everything but providers.
    pub(super) async fn whole(
        input: &'a Input<'a>,
        state: &'a State,
    ) -> Result<Settled<'a>, Diagnostics> {
        let run = Run::new(input, &used(state), false).await?;
        let wanted = vec![true; run.blocks.graph.len()];
        Ok(Settled {
            run,
            state,
            wanted,
            providers: false,
        })
    }

    /// What some nodes need, providers among them. The nodes themselves are not visited.
    pub(super) async fn below(
        input: &'a Input<'a>,
        state: &'a State,
        starts: impl FnOnce(&Run<'a>) -> Vec<NodeId>,
    ) -> Result<Settled<'a>, Diagnostics> {
        let run = Run::new(input, &used(state), false).await?;
        let wanted = run.blocks.graph.reach(starts(&run), Reach::Dependencies);
        Ok(Settled {
            run,
            state,
            wanted,
            providers: true,
        })
    }

    /// Visits what is wanted; what is wrong is in [`Run::diagnostics`].
    pub(super) async fn walk(&self) {
        let options = WalkOptions {
            parallelism: self.run.input.parallelism.max(1),
            step_deadline: None,
            cancel: self.run.input.cancel.clone(),
        };
        walk(&self.run.blocks.graph, &options, |id| self.visit(id)).await;
    }

    async fn visit(&self, id: NodeId) -> Outcome<Failed> {
        if !self.wanted[id.index()] {
            return Outcome::Done;
        }
        let run = &self.run;
        let done = match run.blocks.graph[id] {
            Block::Call(ix) => run.visit_call(id, ix),
            Block::End(ix) => run.visit_end(id, ix),
            Block::Variable(ix, variable) => run.visit_variable(id, ix, variable),
            Block::Local(ix, local) => run.visit_local(id, ix, local),
            Block::Output(ix, output) => run.visit_output(id, ix, output),
            Block::Resource(ix, resource) => self.visit_resource(ix, resource),
            Block::Provider(ix) if self.providers => match self.is_known(ix) {
                Ok(()) => run.visit_provider(id, ix).await,
                Err(failed) => Err(failed),
            },
            Block::Provider(_) | Block::Check(..) | Block::Orphans(_) => Ok(()),
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(failed) => Outcome::Failed(failed),
        }
    }

    /// A provider's configuration must be known whole where nothing is planned.
    fn is_known(&self, ix: ProviderIx) -> Result<(), Failed> {
        let entry = &self.run.blocks.providers[ix.0];
        let Some((module, block)) = entry.block else {
            return Ok(());
        };
        for table in self.run.world.instances(module) {
            let scope = Names::of_module(&self.run, &table);
            // What is wrong with it is told where it is configured.
            let (value, _) = entry.schemas.provider.decode(&block.config, &scope);
            if !value.is_wholly_known() {
                return self.run.fail(
                    Diagnostic::error(
                        "Invalid provider configuration",
                        format!(
                            "The configuration for {} depends on values that cannot be determined until apply.",
                            entry.address
                        ),
                    )
                    .at(block.range),
                );
            }
        }
        Ok(())
    }

    fn visit_resource(&self, ix: ModuleIx, resource: &config::Resource) -> Result<(), Failed> {
        let schema = self
            .run
            .schemas
            .get(&resource.provider)
            .and_then(|schemas| {
                schemas
                    .resource(kind(resource.address.mode), &resource.address.kind)
                    .ok()
            });
        let Some(schema) = schema else {
            return Ok(());
        };
        for table in self.run.world.instances(ix) {
            let value = self.value_of(&table, resource, &schema)?;
            table
                .resources
                .write()
                .insert(resource.address.clone(), value);
        }
        Ok(())
    }

    fn value_of(
        &self,
        table: &ModuleTable,
        resource: &config::Resource,
        schema: &Arc<ResourceSchema>,
    ) -> Result<Value, Failed> {
        let address = resource.address.within(&table.address);
        let Some(found) = self.state.resources.get(&address) else {
            return Ok(Value::DYNAMIC);
        };
        let mut values = Vec::new();
        for (key, instance) in &found.instances {
            if let Some(object) = &instance.current {
                let address = address.instance(key.clone());
                values.push((key.clone(), self.stored(schema, &address, object)?));
            }
        }
        Ok(if resource.count.is_some() {
            let mut all = Vec::new();
            for (key, value) in values {
                let Key::Int(index) = key else { continue };
                let index = usize::try_from(index).unwrap_or_default();
                // The state may lack instances between those it has, never many.
                while all.len() < index && all.len() < found.instances.len() * 2 {
                    all.push(Value::DYNAMIC);
                }
                all.push(value);
            }
            Value::tuple(all)
        } else if resource.for_each.is_some() {
            Value::object(values.into_iter().filter_map(|(key, value)| match key {
                Key::String(key) => Some((key, value)),
                _ => None,
            }))
        } else {
            values
                .into_iter()
                .find(|(key, _)| *key == Key::None)
                .map_or(Value::DYNAMIC, |(_, value)| value)
        })
    }

    /// A stored object by the present schema; providers are not asked to bring it up to date.
    fn stored(
        &self,
        schema: &ResourceSchema,
        address: &ResourceInstance,
        object: &Object,
    ) -> Result<Value, Failed> {
        let value = match json::decode(object.attributes.as_bytes(), &schema.block.implied_type()) {
            Ok(value) => value,
            Err(wrong) => {
                return self.run.fail(Diagnostic::error(
                    "Invalid resource instance data in state",
                    format!(
                        "Instance {address} data could not be decoded from the state: {wrong}."
                    ),
                ));
            }
        };
        let marks: Vec<_> = known_paths(&object.sensitive)
            .into_iter()
            .map(|path| (path, consort_hcl::Marks::SENSITIVE))
            .collect();
        Ok(schema.block.mark_sensitive(value.mark_paths(&marks)))
    }
}

fn used(state: &State) -> BTreeSet<ProviderConfig> {
    state
        .resources
        .values()
        .map(|resource| resource.provider.clone())
        .collect()
}
