//! What the authorizer knows, kept as it is stored: roles and bindings, and what nodes are related to.

use crate::api::{Inner, StartError};
use crate::identity::{Authorizer, node};
use crate::tail::{News, Tail};
use consort_object::{Object, Revision};
use consort_store::{Event, Key, Store};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const GROUP: &str = "rbac.authorization.k8s.io";
const POLICY: [&str; 4] = [
    "roles",
    "clusterroles",
    "rolebindings",
    "clusterrolebindings",
];

/// What the authorizer is told of from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// Roles and bindings.
    Policy,
    /// What nodes are related to.
    Nodes,
}

impl Following {
    /// The collections: group and plural.
    fn collections(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Policy => POLICY.iter().map(|plural| (GROUP, *plural)).collect(),
            Self::Nodes => node::SOURCES.to_vec(),
        }
    }

    /// What to watch.
    fn prefixes(self) -> Vec<String> {
        match self {
            // The four collections have the group as their common prefix.
            Self::Policy => vec![format!("/{GROUP}/")],
            Self::Nodes => self
                .collections()
                .into_iter()
                .map(|(group, plural)| Key::prefix(group, plural, None))
                .collect(),
        }
    }

    /// Take in what is stored now in place of all that was known; the answer is the revision it was
    /// read at.
    fn load(self, store: &Store, authorizer: &Authorizer) -> Result<Revision, StartError> {
        let mut objects = Vec::new();
        let mut oldest = store.revision();
        for (group, plural) in self.collections() {
            let prefix = Key::prefix(group, plural, None);
            let page = store.range(&prefix, None, None, None, |_| true)?;
            oldest = oldest.min(page.revision);
            objects.extend(page.objects.into_iter().map(|object| (plural, object)));
        }
        // Read one by one: the collection of pods may be large.
        let mut broken = None;
        let values =
            objects.into_iter().map_while(|(plural, object)| {
                match serde_json::from_slice(&object.json).map_err(|source| StartError::Damaged {
                    key: object.head.name.clone(),
                    source,
                }) {
                    Ok(value) => Some((plural, value)),
                    Err(error) => {
                        broken = Some(error);
                        None
                    }
                }
            });
        match self {
            Self::Policy => authorizer.replace(values),
            Self::Nodes => authorizer.nodes().replace(values),
        }
        broken.map_or(Ok(oldest), Err)
    }

    fn take_in(self, authorizer: &Authorizer, event: &Event) {
        let plural = event.key.plural();
        let head = &event.object.head;
        if event.kind == consort_store::Change::Deleted {
            let namespace = head.namespace.as_deref().unwrap_or_default();
            match self {
                Self::Policy => authorizer.remove(plural, namespace, &head.name),
                Self::Nodes => authorizer.nodes().remove(plural, namespace, &head.name),
            }
            return;
        }
        // A pod that has no node yet is nobody's business.
        if self == Self::Nodes && plural == "pods" {
            let node = |object: &Object| object.head.field("spec.nodeName").map(str::to_owned);
            if node(&event.object).is_none_or(|node| node.is_empty()) {
                return;
            }
        }
        let Ok(value) = event.object.value() else {
            return;
        };
        match self {
            Self::Policy => authorizer.put(plural, &value),
            Self::Nodes => authorizer.nodes().put(plural, &value),
        }
    }
}

/// Read all roles and bindings, and what nodes are related to; the answers are the revisions they were
/// read at.
pub(crate) fn load_policy(inner: &Inner) -> Result<(Revision, Revision), StartError> {
    let load = |following: Following| following.load(&inner.store, &inner.authorizer);
    Ok((load(Following::Policy)?, load(Following::Nodes)?))
}

/// Keep what the authorizer knows as it is stored, until stopped.
pub(crate) async fn follow(
    following: Following,
    store: Store,
    authorizer: Arc<Authorizer>,
    after: Revision,
    stop: CancellationToken,
) {
    let each = following.prefixes().into_iter().map(|prefix| {
        let mut tail = Tail::new(store.clone(), prefix, after, stop.clone());
        let (store, authorizer) = (&store, &*authorizer);
        async move {
            loop {
                match tail.next().await {
                    News::Events(batch) => {
                        for event in &batch.events {
                            following.take_in(authorizer, event);
                        }
                    }
                    News::Lost => tail.resume(following.load(store, authorizer)),
                    News::Over => return,
                }
            }
        }
    });
    futures::future::join_all(each).await;
}
