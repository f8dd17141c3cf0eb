//! Ephemeral resources: opened when their arguments are known, prolonged while they are in use, and closed as soon as
//! nothing that may use them is left to be done.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Marks, Value};
use consort_plan::{Graph, NodeId, Reach};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::blocks::Block;
use super::events::{EphemeralStep, Event};
use super::plan::{InstanceOf, ResourceBlock};
use super::run::{Failed, Run};
use crate::address::{Mode, ResourceInstance};
use crate::provider::objects::planned_unknown;
use crate::provider::{OpenEphemeral, Provider, Validate};

/// The least time between two renewals, whatever a provider asks for.
const SHORTEST: Duration = Duration::from_millis(200);

/// An ephemeral resource that was opened and has to be closed.
pub(super) struct OpenResource {
    node: NodeId,
    provider: Arc<dyn Provider>,
    type_name: Arc<str>,
    address: ResourceInstance,
    private: Option<Bytes>,
    renewal: Option<Renewal>,
}

/// What prolongs an open resource.
struct Renewal {
    stop: CancellationToken,
    /// Gives the newest private data, and what the provider had to say.
    task: AbortOnDropHandle<(Option<Bytes>, Diagnostics)>,
}

/// Who may still use which ephemeral resource.
#[derive(Default)]
pub(super) struct Consumers(Mutex<Vec<Consumer>>);

struct Consumer {
    node: NodeId,
    /// By node: whether it depends on the resource, directly or not, and is not done.
    dependents: Vec<bool>,
    left: usize,
}

impl Consumers {
    /// Of the ephemeral resources of a configuration, in a walk of this graph, whose first nodes are the
    /// configuration's blocks.
    pub(super) fn new<N>(run: &Run<'_>, graph: &Graph<N>) -> Self {
        let consumers = run
            .blocks
            .graph
            .iter()
            .filter(|(_, block)| {
                matches!(block, Block::Resource(_, resource) if resource.address.mode == Mode::Ephemeral)
            })
            .map(|(node, _)| {
                let mut dependents = graph.reach([node], Reach::Dependents);
                dependents[node.index()] = true;
                Consumer {
                    node,
                    left: dependents.iter().filter(|depends| **depends).count(),
                    dependents,
                }
            })
            .collect();
        Consumers(Mutex::new(consumers))
    }

    /// Notes that a node is done, and gives the ephemeral resources that nothing is left to use.
    pub(super) fn done(&self, id: NodeId) -> Vec<NodeId> {
        let mut free = Vec::new();
        for consumer in self.0.lock().iter_mut() {
            // Each counts once, also if it is visited again.
            if std::mem::take(&mut consumer.dependents[id.index()]) {
                consumer.left -= 1;
                if consumer.left == 0 {
                    free.push(consumer.node);
                }
            }
        }
        free
    }
}

/// Renews until it is told to stop.
async fn renew(
    provider: Arc<dyn Provider>,
    type_name: Arc<str>,
    name: String,
    mut private: Option<Bytes>,
    mut at: SystemTime,
    stop: CancellationToken,
) -> (Option<Bytes>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    loop {
        let wait = at
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .max(SHORTEST);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => break,
        }
        // A call that is under way is waited for: the provider must not be closed in the midst of it.
        let renewed = provider
            .renew_ephemeral(type_name.clone(), private.clone())
            .await;
        let found = renewed.diagnostics.unlocated(&name);
        let failed = found.has_errors();
        diagnostics.append(found);
        if failed {
            break;
        }
        private = renewed.private;
        match renewed.renew_at {
            Some(next) => at = next,
            None => break,
        }
    }
    (private, diagnostics)
}

impl Run<'_> {
    /// Opens an ephemeral resource; it stays open until nothing needs it. Unknown if the provider puts it off.
    pub(super) async fn open(
        &self,
        block: &ResourceBlock<'_>,
        instance: &InstanceOf<'_>,
        config: Value,
    ) -> Result<Value, Failed> {
        let (plain, _) = config.unmark_deep();
        let type_name = block.address.resource.kind.clone();
        let located = |diagnostics: crate::provider::Diagnostics| {
            diagnostics.locate(&block.config.config, &instance.name)
        };
        let validate = Validate {
            type_name: type_name.clone(),
            config: plain.clone(),
        };
        self.note(located(block.provider.validate_ephemeral(validate).await))?;
        let address = &instance.address;
        let step = EphemeralStep::Open;
        self.event(&Event::EphemeralStart { address, step });
        let start = Instant::now();
        let request = OpenEphemeral {
            type_name: type_name.clone(),
            config: plain.clone(),
            deferral_allowed: self.may_defer(block.provider_ix),
        };
        let opened = block.provider.open_ephemeral(request).await;
        self.note(located(opened.diagnostics))?;
        if self
            .deferred(block.provider_ix, opened.deferred, &instance.name)?
            .is_some()
        {
            return Ok(planned_unknown(&block.schema.block, &plain).with_marks(Marks::EPHEMERAL));
        }
        self.event(&Event::EphemeralDone {
            address,
            step,
            took: start.elapsed(),
        });
        let renewal = opened.renew_at.map(|at| {
            let stop = CancellationToken::new();
            let task = tokio::spawn(renew(
                block.provider.clone(),
                type_name.clone(),
                instance.name.clone(),
                opened.private.clone(),
                at,
                stop.clone(),
            ));
            Renewal {
                stop,
                task: AbortOnDropHandle::new(task),
            }
        });
        self.opened.lock().push(OpenResource {
            node: block.node,
            provider: block.provider.clone(),
            type_name,
            address: address.clone(),
            private: opened.private,
            renewal,
        });
        Ok(block
            .schema
            .block
            .mark_sensitive(opened.result)
            .with_marks(Marks::EPHEMERAL))
    }

    /// Closes what was opened, the last first: that of some blocks, or all that is left.
    pub(super) async fn close_ephemeral(&self, of: Option<&[NodeId]>) {
        let closing: Vec<OpenResource> = {
            let mut opened = self.opened.lock();
            let (closing, kept) = std::mem::take(&mut *opened)
                .into_iter()
                .partition(|resource| of.is_none_or(|nodes| nodes.contains(&resource.node)));
            *opened = kept;
            closing
        };
        for resource in closing.into_iter().rev() {
            let mut private = resource.private;
            if let Some(renewal) = resource.renewal {
                renewal.stop.cancel();
                if let Ok((newest, found)) = renewal.task.await {
                    private = newest;
                    let _ = self.note(found);
                }
            }
            let address = &resource.address;
            let step = EphemeralStep::Close;
            self.event(&Event::EphemeralStart { address, step });
            let start = Instant::now();
            let diagnostics = resource
                .provider
                .close_ephemeral(resource.type_name, private)
                .await;
            let _ = self.note(diagnostics.unlocated(&address.to_string()));
            self.event(&Event::EphemeralDone {
                address,
                step,
                took: start.elapsed(),
            });
        }
    }

    /// Closes the ephemeral resources that nothing needs once this node is done.
    pub(super) async fn release_ephemeral(&self, consumers: &Consumers, id: NodeId) {
        let free = consumers.done(id);
        if !free.is_empty() {
            self.close_ephemeral(Some(&free)).await;
        }
    }
}
