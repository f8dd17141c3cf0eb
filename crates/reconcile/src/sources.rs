//! The ConfigMaps and Secrets that something refers to, watched for as long as it is here.
//!
//! Only what is referred to is watched, one watch for each object however many share it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{Event, Hub, Informer};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long to wait for the API to say whether an object exists.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// The objects that one thing (a pod) refers to. Dropping it ends the watches that nothing else shares.
pub struct Sources {
    hub: Hub,
    namespace: String,
    config_maps: Mutex<HashMap<String, Informer<ConfigMap>>>,
    secrets: Mutex<HashMap<String, Informer<Secret>>>,
    followers: Mutex<JoinSet<()>>,
    changed: Arc<Notify>,
}

impl Sources {
    /// For what is in this namespace; `changed` is told whenever a watched object changes.
    pub fn new(hub: Hub, namespace: &str, changed: Arc<Notify>) -> Self {
        Self {
            hub,
            namespace: namespace.to_owned(),
            config_maps: Mutex::default(),
            secrets: Mutex::default(),
            followers: Mutex::default(),
            changed,
        }
    }

    /// A ConfigMap, `None` if there is none of that name.
    ///
    /// # Errors
    /// A message when the API does not answer in time.
    pub async fn config_map(&self, name: &str) -> Result<Option<Arc<ConfigMap>>, String> {
        let informer = self.follow(&self.config_maps, name);
        self.read(&informer, name)
            .await
            .map_err(|()| format!("timed out waiting for configmap \"{name}\""))
    }

    /// A Secret, `None` if there is none of that name.
    ///
    /// # Errors
    /// A message when the API does not answer in time.
    pub async fn secret(&self, name: &str) -> Result<Option<Arc<Secret>>, String> {
        let informer = self.follow(&self.secrets, name);
        self.read(&informer, name)
            .await
            .map_err(|()| format!("timed out waiting for secret \"{name}\""))
    }

    async fn read<K: Resource + Send + Sync + 'static>(
        &self,
        informer: &Informer<K>,
        name: &str,
    ) -> Result<Option<Arc<K>>, ()> {
        tokio::time::timeout(SYNC_TIMEOUT, informer.synced())
            .await
            .map_err(drop)?;
        Ok(informer.get(Some(&self.namespace), name))
    }

    fn follow<K>(&self, map: &Mutex<HashMap<String, Informer<K>>>, name: &str) -> Informer<K>
    where
        K: Resource<DynamicType: Default> + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(informer) = map.lock().get(name) {
            return informer.clone();
        }
        let selector = format!("metadata.name={name},metadata.namespace={}", self.namespace);
        let informer: Informer<K> = self.hub.informer_where(None, Some(&selector));
        map.lock().insert(name.to_owned(), informer.clone());
        let mut subscription = informer.subscribe();
        let changed = self.changed.clone();
        self.followers.lock().spawn(async move {
            // What is there at first is read by whoever asked; only what comes later is news.
            let mut synced = false;
            while let Some(event) = subscription.next().await {
                match event {
                    Event::Synced => synced = true,
                    _ if synced => changed.notify_one(),
                    _ => {}
                }
            }
        });
        informer
    }
}
