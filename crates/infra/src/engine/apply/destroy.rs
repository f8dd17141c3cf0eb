//! Deleting objects.

use std::sync::Arc;
use std::time::Instant;

use consort_hcl::Value;
use consort_hcl::diagnostic::Diagnostic;
use consort_plan::NodeId;
use futures::StreamExt;

use super::Applying;
use crate::engine::blocks::kind;
use crate::engine::change::{Action, Change};
use crate::engine::events::Event;
use crate::engine::objects::{Present, id_of};
use crate::engine::run::{Failed, concerning};
use crate::provider;
use crate::state::Status;

impl Applying<'_> {
    pub(super) async fn visit_group(&self, id: NodeId, group: usize) {
        let mut steps =
            futures::stream::iter((0..self.groups[group].changes.len()).map(|at| async move {
                let change = self.groups[group].changes[at];
                let own = self.groups[group].own;
                let work = self.destroy(id, change, own);
                let done = if self.told_apart {
                    concerning(&change.address, work).await
                } else {
                    work.await
                };
                (change, done)
            }))
            .buffer_unordered(self.run.input.parallelism.max(1));
        while let Some((change, done)) = steps.next().await {
            if done.is_err() {
                self.failures.lock().instance(id, change.address.clone());
            } else {
                let key = (change.address.clone(), change.deposed.clone());
                self.gone.lock().insert(key);
            }
        }
    }

    /// `own` is the step that makes what takes the object's place.
    async fn destroy(
        &self,
        id: NodeId,
        change: &Change,
        own: Option<NodeId>,
    ) -> Result<(), Failed> {
        let run = &self.run;
        if run.is_blocked(&self.graph, id, &change.address.module) {
            return Err(Failed);
        }
        if run.input.cancel.is_cancelled() {
            return Err(Failed);
        }
        let Ok(_permit) = run.permits.acquire().await else {
            return Err(Failed);
        };
        let address = &change.address;
        if change.action == Action::DeleteThenCreate && self.made.lock().contains(address) {
            // The old object went before the walk was interrupted; what is there took its place.
            return Ok(());
        }
        if change.action == Action::CreateThenDelete
            && own.is_some_and(|own| self.failures.lock().has(own, address))
        {
            // What should take its place is not as it should be: the old object stays.
            return Ok(());
        }
        let deposed: Option<Arc<str>> = match change.action {
            Action::CreateThenDelete => self.deposed.lock().get(address).cloned(),
            _ => change.deposed.clone(),
        };
        if change.action == Action::CreateThenDelete && deposed.is_none() {
            return Ok(());
        }
        let object = {
            let state = self.state.lock();
            let instance = state.instance(address);
            match &deposed {
                Some(key) => instance.and_then(|instance| instance.deposed.get(key).cloned()),
                None => instance.and_then(|instance| instance.current.clone()),
            }
        };
        let Some(object) = object else { return Ok(()) };
        let Some((ix, _)) = run.blocks.provider_of.get(&change.provider) else {
            return Err(Failed);
        };
        let provider = run.provider_of(*ix, address)?;
        let schemas = &run.blocks.providers[ix.0].schemas;
        let Ok(schema) = schemas.resource(kind(address.resource.mode), &address.resource.kind)
        else {
            return Err(Failed);
        };
        let present = run
            .read_object(&*provider, &schema, address, &object)
            .await?;
        let name = address.to_string();
        let (prior, _) = present.value.clone().unmark_deep();
        let null = Value::null(prior.ty().clone());
        let private = if change.action == Action::Delete {
            change.private.clone()
        } else {
            let planned = provider
                .plan_resource(provider::Plan {
                    type_name: address.resource.kind.clone(),
                    prior: prior.clone(),
                    proposed: null.clone(),
                    config: null.clone(),
                    private: present.private.clone(),
                    provider_meta: None,
                    identity: present.identity.clone(),
                    deferral_allowed: false,
                })
                .await;
            run.note(planned.diagnostics.unlocated(&name))?;
            planned.private
        };
        let id = id_of(&present.value);
        run.event(&Event::ApplyStart {
            address,
            deposed: deposed.as_deref(),
            action: Action::Delete,
            id: id.as_deref(),
        });
        let start = Instant::now();
        let failed = |failed: Failed| {
            run.event(&Event::ApplyFailed {
                address,
                deposed: deposed.as_deref(),
                action: Action::Delete,
                took: start.elapsed(),
            });
            failed
        };
        if deposed.is_none() && present.status == Status::Ready {
            self.provision_destroy(address, &present.value)
                .await
                .map_err(failed)?;
        }
        let answer = provider
            .apply_resource(provider::Apply {
                type_name: address.resource.kind.clone(),
                prior: prior.clone(),
                planned: null.clone(),
                config: null,
                private,
                provider_meta: None,
                identity: present.identity.clone(),
            })
            .await;
        let noted = run.note(answer.diagnostics.unlocated(&name));
        // Without an answer the object is taken to be as it was.
        let answered = answer.state.is_some();
        let left = answer.state.unwrap_or_else(|| {
            if noted.is_err() {
                prior.clone()
            } else {
                Value::null(prior.ty().clone())
            }
        });
        if left.is_null() {
            if noted.is_err() {
                // An error and nothing left: the provider lost track of it; the state does not.
                return Err(failed(Failed));
            }
            self.keep(address, deposed.as_ref(), &change.provider, None)?;
            run.event(&Event::ApplyDone {
                address,
                deposed: deposed.as_deref(),
                action: Action::Delete,
                id: id.as_deref(),
                took: start.elapsed(),
            });
            return Ok(());
        }
        if answered {
            let changed = Present {
                value: schema.block.mark_sensitive(left),
                private: answer.private,
                stored: None,
                ..present
            };
            let object = run.store_object(&schema, address, &changed)?;
            self.keep(address, deposed.as_ref(), &change.provider, Some(object))?;
        }
        if noted.is_ok() {
            let _ = run.note(Diagnostic::error(
                "Provider returned invalid result object after apply",
                format!(
                    "After applying a Delete plan, the provider returned a non-null object for {name}. Destroying should always produce a null value, so this is always a bug in the provider and should be reported in the provider's own repository. Terraform will still save this errant object in the state for debugging and recovery."
                ),
            ));
        }
        Err(failed(Failed))
    }
}
