//! What the state holds and the configuration does not: deletions, deposed objects, and what is only forgotten.

use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::Value;
use consort_hcl::diagnostic::Diagnostic;

use super::Planning;
use super::managed::Asked;
use super::resource::ResourceBlock;
use crate::address::{AbsResource, Mode, ProviderConfig, ResourceInstance};
use crate::engine::blocks::{ProviderIx, kind};
use crate::engine::change::{
    Action, Change, Deferred, DeferredReason, Identities, Mode as PlanMode, Reason,
};
use crate::engine::objects::Present;
use crate::engine::run::{Failed, Standing};
use crate::provider::schema::ResourceSchema;
use crate::provider::{self, Provider};
use crate::state::{Instance, Object};

/// Says that nothing can serve an object without a block.
pub(super) fn provider_missing(
    address: &impl std::fmt::Display,
    provider: &ProviderConfig,
) -> Diagnostic {
    Diagnostic::error(
        "Provider configuration not present",
        format!(
            "To work with {address} its original provider configuration at {provider} is required, but it has been removed. This occurs when a provider configuration is removed while objects created by that provider still exist in the state. Re-add the provider configuration to destroy {address}, after which you can remove the provider configuration again."
        ),
    )
}

/// What serves an object without a block.
struct Served {
    provider: Arc<dyn Provider>,
    address: ProviderConfig,
    schema: Arc<ResourceSchema>,
    ix: ProviderIx,
}

impl Planning<'_> {
    /// The objects of a provider configuration that have no block.
    pub(super) async fn visit_orphans(&self, ix: ProviderIx) -> Result<(), Failed> {
        let address = &self.run.blocks.providers[ix.0].address;
        let mut failed = false;
        for (block, resources) in &self.by_block {
            if self.run.index.resource(block).is_some() {
                continue;
            }
            let reason = Reason::DeleteBecauseNoResourceConfig;
            for resource in resources {
                if self
                    .state
                    .resources
                    .get(resource)
                    .is_some_and(|state| state.provider == *address)
                {
                    failed |= self.plan_orphans_of(resource, None, reason).await.is_err();
                }
            }
        }
        if failed { Err(Failed) } else { Ok(()) }
    }

    pub(super) async fn plan_orphans_of(
        &self,
        resource: &AbsResource,
        block: Option<&ResourceBlock<'_>>,
        reason: Reason,
    ) -> Result<(), Failed> {
        let Some(state) = self.state.resources.get(resource) else {
            return Ok(());
        };
        let mut failed = false;
        for (key, instance) in &state.instances {
            failed |= self
                .plan_orphan(&resource.instance(key.clone()), instance, block, reason)
                .await
                .is_err();
        }
        if failed { Err(Failed) } else { Ok(()) }
    }

    fn served(
        &self,
        address: &ResourceInstance,
        block: Option<&ResourceBlock<'_>>,
    ) -> Result<Served, Failed> {
        let run = &self.run;
        if let Some(block) = block {
            return Ok(Served {
                provider: run.provider_of(block.provider_ix, address)?,
                address: run.blocks.providers[block.provider_ix.0].address.clone(),
                schema: block.schema.clone(),
                ix: block.provider_ix,
            });
        }
        let Some(state) = self.state.resources.get(&address.abs_resource()) else {
            return Err(Failed);
        };
        let provider = &state.provider;
        let Some((ix, _)) = run.blocks.provider_of.get(provider) else {
            return run.fail(provider_missing(address, provider));
        };
        let entry = &run.blocks.providers[ix.0];
        if entry.block.is_none()
            && (entry.address.alias.is_some() || !entry.address.module.is_root())
        {
            return run.fail(provider_missing(address, provider));
        }
        let Ok(schema) = entry
            .schemas
            .resource(kind(address.resource.mode), &address.resource.kind)
        else {
            return run.fail(Diagnostic::error(
                "Invalid resource type",
                format!(
                    "The provider {} does not support resource type \"{}\", of which the state holds {address}.",
                    provider.provider.for_display(),
                    address.resource.kind
                ),
            ));
        };
        Ok(Served {
            provider: run.provider_of(*ix, address)?,
            address: provider.clone(),
            schema,
            ix: *ix,
        })
    }

    pub(super) async fn plan_orphan(
        &self,
        address: &ResourceInstance,
        instance: &Instance,
        block: Option<&ResourceBlock<'_>>,
        reason: Reason,
    ) -> Result<(), Failed> {
        if !self.options.covers_orphan(address, block.is_some())
            && !self.orphan_goes_along(instance)
        {
            return Ok(());
        }
        if address.resource.mode == Mode::Data {
            // A data source leaves nothing behind.
            self.refreshed
                .lock()
                .resources
                .remove(&address.abs_resource());
            return Ok(());
        }
        let served = self.served(address, block)?;
        let Ok(_permit) = self.run.permits.acquire().await else {
            return Err(Failed);
        };
        for (key, object) in &instance.deposed {
            self.plan_deposed_by(address, key, object, &served, block)
                .await?;
        }
        let Some(object) = &instance.current else {
            return Ok(());
        };
        if self.run.standing(served.ix) == Standing::PutOff {
            self.results.lock().deferred.push(Deferred {
                resource: address.abs_resource(),
                reason: DeferredReason::ProviderConfigUnknown,
                change: None,
            });
            return Ok(());
        }
        let reason = match self.options.mode {
            PlanMode::Destroy => None,
            _ if block.is_none() && self.moved.contains_key(address) => {
                Some(Reason::DeleteBecauseNoMoveTarget)
            }
            _ => Some(reason),
        };
        let forgotten = self.options.mode == PlanMode::Normal
            && self
                .run
                .index
                .removed(address)
                .is_some_and(|removed| !removed.destroy);
        if forgotten {
            // Nobody asks how an object is that is only let go.
            let present = self
                .run
                .read_object(&*served.provider, &served.schema, address, object)
                .await?;
            self.add(
                address,
                None,
                &served.address,
                Action::Forget,
                reason,
                &present,
                Bytes::new(),
            );
            return Ok(());
        }
        let Some(present) = self.look_at(address, None, object, &served).await? else {
            return Ok(());
        };
        if self.options.mode == PlanMode::RefreshOnly {
            return Ok(());
        }
        self.plan_destroy(
            address,
            None,
            &*served.provider,
            &served.address,
            &present,
            reason,
            block,
        )
        .await
    }

    async fn look_at(
        &self,
        address: &ResourceInstance,
        deposed: Option<&Arc<str>>,
        object: &Arc<Object>,
        served: &Served,
    ) -> Result<Option<Present>, Failed> {
        let run = &self.run;
        let stored = run
            .read_object(&*served.provider, &served.schema, address, object)
            .await?;
        if !self.options.refresh || self.run.standing(served.ix) == Standing::PutOff {
            return Ok(Some(stored));
        }
        let seen = run
            .refresh(
                Asked {
                    provider: &*served.provider,
                    schema: &served.schema,
                    ix: served.ix,
                    body: None,
                    meta: None,
                },
                address,
                &stored,
                deposed,
            )
            .await?;
        if deposed.is_none() {
            self.note_drift(address, &served.address, &stored.value, &seen.value);
        }
        if seen.value.is_null() {
            self.refreshed
                .lock()
                .set_object(address, deposed, &served.address, None);
            return Ok(None);
        }
        let object = run.store_object(&served.schema, address, &seen)?;
        self.refreshed
            .lock()
            .set_object(address, deposed, &served.address, Some(object));
        Ok(Some(seen))
    }

    pub(super) async fn plan_deposed(
        &self,
        address: &ResourceInstance,
        key: &Arc<str>,
        object: &Arc<Object>,
        block: Option<&ResourceBlock<'_>>,
    ) -> Result<(), Failed> {
        let served = self.served(address, block)?;
        self.plan_deposed_by(address, key, object, &served, block)
            .await
    }

    async fn plan_deposed_by(
        &self,
        address: &ResourceInstance,
        key: &Arc<str>,
        object: &Arc<Object>,
        served: &Served,
        block: Option<&ResourceBlock<'_>>,
    ) -> Result<(), Failed> {
        let Some(present) = self.look_at(address, Some(key), object, served).await? else {
            return Ok(());
        };
        if self.options.mode == PlanMode::RefreshOnly {
            return Ok(());
        }
        let _ = block;
        self.plan_destroy(
            address,
            Some(key),
            &*served.provider,
            &served.address,
            &present,
            None,
            None,
        )
        .await
    }

    #[allow(clippy::too_many_arguments)]
    fn add(
        &self,
        address: &ResourceInstance,
        deposed: Option<&Arc<str>>,
        provider: &ProviderConfig,
        action: Action,
        reason: Option<Reason>,
        present: &Present,
        private: Bytes,
    ) {
        self.results.lock().add(Change {
            address: address.clone(),
            previous_address: self.previous(address),
            deposed: deposed.cloned(),
            provider: provider.clone(),
            action,
            reason,
            before: present.value.clone(),
            after: Value::null(present.value.ty().clone()),
            replace_paths: Vec::new(),
            private,
            importing: None,
            generated_config: None,
            identity: Identities {
                before: present.identity.clone(),
                after: None,
            },
        });
    }

    /// Lets the provider plan a deletion.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn plan_destroy(
        &self,
        address: &ResourceInstance,
        deposed: Option<&Arc<str>>,
        provider: &dyn Provider,
        provider_address: &ProviderConfig,
        present: &Present,
        reason: Option<Reason>,
        block: Option<&ResourceBlock<'_>>,
    ) -> Result<(), Failed> {
        let ix = self
            .run
            .blocks
            .provider_of
            .get(provider_address)
            .map(|(ix, _)| *ix);
        let (prior, _) = present.value.clone().unmark_deep();
        let null = Value::null(prior.ty().clone());
        let request = provider::Plan {
            type_name: address.resource.kind.clone(),
            prior,
            proposed: null.clone(),
            config: null,
            private: present.private.clone(),
            provider_meta: None,
            identity: present.identity.clone(),
            deferral_allowed: ix.is_some_and(|ix| self.run.may_defer(ix)),
        };
        let answer = provider.plan_resource(request).await;
        self.run
            .note(answer.diagnostics.unlocated(&address.to_string()))?;
        if let Some(ix) = ix
            && let Some(reason) = self
                .run
                .deferred(ix, answer.deferred, &address.to_string())?
        {
            self.results.lock().deferred.push(Deferred {
                resource: address.abs_resource(),
                reason,
                change: None,
            });
            return Ok(());
        }
        if !answer.state.is_null() {
            return self.run.fail(Diagnostic::error(
                "Provider produced invalid plan",
                format!(
                    "Provider \"{}\" planned a non-null destroy value for {address}.\n\nThis is a bug in the provider, which should be reported in the provider's own issue tracker.",
                    provider_address.provider
                ),
            ));
        }
        let block = block.filter(|_| deposed.is_none());
        if let Some(block) = block.filter(|_| self.options.mode == PlanMode::Destroy) {
            self.prevent_destroy(block, &address.to_string())?;
        }
        self.add(
            address,
            deposed,
            provider_address,
            Action::Delete,
            reason,
            present,
            answer.private,
        );
        match block {
            Some(block) => self.prevent_destroy(block, &address.to_string()),
            None => Ok(()),
        }
    }
}
