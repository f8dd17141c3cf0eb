//! Objects taken over by their ids outside a plan: the command `import`, and configuration generated for import
//! blocks that have none.

use std::sync::Arc;

use consort_hcl::Range;
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};

use super::events::{Event, Silent};
use super::imports::import_id;
use super::index::ModuleIx;
use super::objects::Present;
use super::plan::{Asked, PlanOptions, Planning, walked};
use super::run::{Failed, Input, Run};
use super::scope::Names;
use super::settled::Settled;
use crate::address::{ConfigResource, Key, ResourceInstance};
use crate::config::{self, LocalProvider};
use crate::generate_config::resource_block;
use crate::provider::schema::Kind;
use crate::provider::{Import as Request, ImportTarget};
use crate::state::{State, Status};

/// A resource block that was written for an import.
#[derive(Clone, Debug)]
pub struct Generated {
    /// What is imported.
    pub address: ResourceInstance,
    /// By which id.
    pub id: String,
    /// The block, without a line break at its end.
    pub block: String,
}

impl Run<'_> {
    /// Finds an object by its id, and what it is now.
    async fn adopt(
        &self,
        asked: Asked<'_>,
        address: &ResourceInstance,
        id: &str,
        at: Option<Range>,
    ) -> Result<Present, Failed> {
        let fail = |summary: &str, detail: String| {
            let diagnostic = Diagnostic::error(summary, detail);
            self.fail(match at {
                Some(range) => diagnostic.at(range),
                None => diagnostic,
            })
        };
        self.event(&Event::ImportStart { address, id });
        let request = Request {
            type_name: address.resource.kind.clone(),
            target: ImportTarget::Id(id.to_owned()),
            deferral_allowed: false,
        };
        let (provider, schema) = (asked.provider, asked.schema);
        let answer = provider.import_resource(request).await;
        self.note(answer.diagnostics.unlocated(&address.to_string()))?;
        let mut found = answer.resources;
        let Some(resource) = found.pop() else {
            return fail(
                "Import returned no resources",
                format!(
                    "While attempting to import with ID {id}, the provider returned no instance states."
                ),
            );
        };
        if !found.is_empty() {
            return fail(
                "Multiple import states not supported",
                format!(
                    "While attempting to import with ID {id}, the provider returned multiple resource instance states. This is not currently supported."
                ),
            );
        }
        self.event(&Event::ImportDone { address, id });
        let imported = Present {
            value: schema.block.mark_sensitive(resource.state),
            private: resource.private,
            status: Status::Ready,
            dependencies: Arc::new([]),
            create_before_destroy: false,
            identity: resource.identity,
            deferred: None,
            stored: None,
        };
        let seen = self.refresh(asked, address, &imported, None).await?;
        if seen.value.is_null() {
            return fail(
                "Cannot import non-existent remote object",
                format!(
                    "While attempting to import an existing object to \"{address}\", the provider detected that no object exists with the given id. Only pre-existing objects can be imported; check that the id is correct and that it is associated with the provider's configured region or endpoint, or use \"terraform apply\" to create a new remote object for this resource."
                ),
            );
        }
        Ok(seen)
    }
}

/// Imports one object into `state`, as the command `import` does: at an address whose block exists, and where
/// nothing is managed yet. The state with the object in it, or none and what was wrong.
pub async fn import(
    input: &Input<'_>,
    state: &State,
    address: &ResourceInstance,
    id: &str,
) -> (Option<State>, Diagnostics) {
    if state
        .instance(address)
        .is_some_and(|instance| instance.current.is_some())
    {
        let managed = Diagnostic::error(
            "Resource already managed by Terraform",
            format!(
                "Terraform is already managing a remote object for {address}. To import to this address you must first remove the existing object from the state."
            ),
        );
        return (None, managed.into());
    }
    let target = address.config();
    let settled = Settled::below(input, state, |run| {
        run.index
            .find(&target.module)
            .and_then(|ix| run.blocks.resource_node(ix, &target.resource))
            .into_iter()
            .collect()
    })
    .await;
    let settled = match settled {
        Ok(settled) => settled,
        Err(diagnostics) => return (None, diagnostics),
    };
    settled.walk().await;
    let run = &settled.run;
    let imported = if run.diagnostics.lock().has_errors() {
        Err(Failed)
    } else {
        import_into(run, state, &target, address, id).await
    };
    run.close_providers().await;
    let diagnostics = std::mem::take(&mut *run.diagnostics.lock());
    (imported.ok(), diagnostics)
}

async fn import_into(
    run: &Run<'_>,
    state: &State,
    target: &ConfigResource,
    address: &ResourceInstance,
    id: &str,
) -> Result<State, Failed> {
    let missing = || {
        run.fail(Diagnostic::error(
            "Configuration for import target does not exist",
            format!(
                "The configuration for the given import {address} does not exist. All target instances must have an associated configuration to be imported."
            ),
        ))
    };
    let Some((ix, config)) = run
        .index
        .find(&target.module)
        .and_then(|ix| Some((ix, run.index.resource(target)?)))
    else {
        return missing();
    };
    let table = run
        .world
        .instances(ix)
        .into_iter()
        .find(|table| table.address == address.module);
    let Some(table) = table else {
        return missing();
    };
    // Whether the block expands to such an instance.
    let scope = Names::of_module(run, &table);
    let keys = match super::expand::expand(config.count.as_ref(), config.for_each.as_ref(), &scope)
    {
        Ok(keys) => keys,
        Err(diagnostics) => {
            run.note(diagnostics)?;
            return Err(Failed);
        }
    };
    if !keys.instances().iter().any(|(key, _)| *key == address.key) {
        return missing();
    }
    let Some((provider_ix, _)) = run.blocks.provider_for(&run.index, ix, config) else {
        return missing();
    };
    let entry = &run.blocks.providers[provider_ix.0];
    let Ok(schema) = entry.schemas.resource(Kind::Managed, &target.resource.kind) else {
        return run.fail(super::validate::unsupported(config, &entry.schemas));
    };
    let provider = run.provider(provider_ix)?;
    let asked = Asked {
        provider: &*provider,
        schema: &schema,
        ix: provider_ix,
        body: None,
        meta: None,
    };
    let found = run.adopt(asked, address, id, None).await?;
    let object = run.store_object(&schema, address, &found)?;
    let mut next = state.clone();
    next.set_object(address, None, &entry.address, Some(object));
    Ok(next)
}

/// The import blocks of the root module whose target has no block there but may get one.
pub(super) fn without_block<'i>(
    index: &super::index::Index<'i>,
) -> impl Iterator<Item = &'i config::Import> {
    let root = index.module(ModuleIx::ROOT);
    root.imports.iter().filter(move |import| {
        import.target.module.is_root()
            && import.for_each.is_none()
            && import.id.is_some()
            && matches!(
                &import.instance,
                Some(
                    crate::address::Target::Resource(_)
                        | crate::address::Target::Instance(ResourceInstance { key: Key::None, .. })
                )
            )
            && !root.resources.contains_key(&import.target.resource)
    })
}

/// The provider configuration that an import block without a resource block is read with.
pub(super) fn local_provider(import: &config::Import) -> LocalProvider {
    match &import.provider {
        Some(reference) => reference.key.clone(),
        None => LocalProvider::default_of(import.target.resource.implied_provider()),
    }
}

/// Writes resource blocks for the imports of the root module that have none. All else is planned first, silently, since
/// ids may depend on it.
pub async fn generate_config(
    input: &Input<'_>,
    options: &PlanOptions,
    state: &State,
) -> (Vec<Generated>, Diagnostics) {
    let index = super::index::Index::new(input.tree);
    if without_block(&index).next().is_none() {
        return (Vec::new(), Diagnostics::new());
    }
    let silent = Input {
        watcher: &Silent,
        ..input.clone()
    };
    let options = PlanOptions {
        generate_config: true,
        ..options.clone()
    };
    let planning = match walked(&silent, &options, state).await {
        Ok(planning) => planning,
        Err(diagnostics) => return (Vec::new(), diagnostics),
    };
    let mut generated = Vec::new();
    if !planning.run.diagnostics.lock().has_errors() {
        for import in without_block(&index) {
            if let Ok(found) = planning.generate(import).await {
                generated.push(found);
            }
        }
    }
    planning.run.close_ephemeral(None).await;
    planning.run.close_providers().await;
    let diagnostics = std::mem::take(&mut *planning.run.diagnostics.lock());
    generated.sort_by(|one, other| one.address.cmp(&other.address));
    (generated, diagnostics)
}

impl Planning<'_> {
    async fn generate(&self, import: &config::Import) -> Result<Generated, Failed> {
        let run = &self.run;
        let table = run.world.root();
        let Some(expr) = &import.id else {
            return Err(Failed);
        };
        let (value, diagnostics) = expr.evaluate(&Names::of_module(run, &table));
        run.note(diagnostics)?;
        let id = match import_id(&value, expr.range()) {
            Ok(id) => id,
            Err(wrong) => return run.fail(*wrong),
        };
        let local = local_provider(import);
        let address = run.index.provider(ModuleIx::ROOT, &local);
        let Some((provider_ix, _)) = run.blocks.provider_of.get(&address) else {
            return run.fail(
                Diagnostic::error(
                    "Provider configuration not present",
                    format!(
                        "To import {} its provider {address} is needed, which is not there.",
                        import.target
                    ),
                )
                .at(import.range),
            );
        };
        let entry = &run.blocks.providers[provider_ix.0];
        let Ok(schema) = entry
            .schemas
            .resource(Kind::Managed, &import.target.resource.kind)
        else {
            return run.fail(
                Diagnostic::error(
                    "Invalid resource type",
                    format!(
                        "The provider {} does not support resource type \"{}\".",
                        entry.address.provider.for_display(),
                        import.target.resource.kind
                    ),
                )
                .at(import.to.range()),
            );
        };
        let provider = run.provider(*provider_ix)?;
        let address = ResourceInstance {
            module: crate::address::ModuleInstance::root(),
            resource: import.target.resource.clone(),
            key: Key::None,
        };
        let asked = Asked {
            provider: &*provider,
            schema: &schema,
            ix: *provider_ix,
            body: None,
            meta: None,
        };
        let found = run.adopt(asked, &address, &id, Some(import.range)).await?;
        Ok(Generated {
            block: resource_block(&import.target.resource, &local, &schema.block, &found.value),
            address,
            id: id.to_string(),
        })
    }
}
