//! The ConfigMaps and Secrets a playbook names, followed.

use std::sync::Arc;

use consort_reconcile::{Key, Sources};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::Shell;
use crate::object::{Source, Spec};

/// What a playbook names, followed for as long as this is held.
pub(super) struct Follow {
    /// What it names.
    names: Value,
    sources: Arc<Sources>,
    _watch: AbortOnDropHandle<()>,
}

impl Shell {
    /// Follows what a playbook names from now on, and nothing it has named before.
    pub(super) fn follow(&self, key: &Key, spec: &Spec) -> Arc<Sources> {
        let map = match &spec.source {
            Source::ConfigMap(map) => Some(&map.name),
            Source::Git(_) => None,
        };
        let names = json!([map, spec.variables_from, spec.vault]);
        let mut follows = self.follows.lock();
        if let Some(follow) = follows.get(key)
            && follow.names == names
        {
            return Arc::clone(&follow.sources);
        }
        let changed = Arc::new(Notify::new());
        let sources = Arc::new(Sources::new(
            self.hub.clone(),
            key.namespace(),
            Arc::clone(&changed),
        ));
        let (queue, key_of_it) = (self.queue.clone(), key.clone());
        let watch = tokio::spawn(async move {
            loop {
                changed.notified().await;
                queue.add(key_of_it.clone());
            }
        });
        follows.insert(
            key.clone(),
            Follow {
                names,
                sources: Arc::clone(&sources),
                _watch: AbortOnDropHandle::new(watch),
            },
        );
        sources
    }
}
