//! The hub: one watch and one decoded copy per kind and process.

use crate::{
    Informer, Recorder,
    cache::Cache,
    events::Writer,
    informer::Inner,
    reflector::{Form, Reflector, Source},
};
use kube::{
    Client, Resource,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// An object of which only type and metadata are fetched and kept.
pub type PartialObject = PartialObjectMeta<DynamicObject>;

/// Gives the client that writes as the reconciler of a name.
pub type Identities = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// Shares informers between all reconcilers of a process. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
    /// Writes go through this one; the shared one otherwise.
    writer: Option<Client>,
}

/// A `Weak<Inner<K>>` of some kind `K`.
type AnyInformer = Box<dyn Any + Send>;

struct Shared {
    client: Client,
    identities: Option<Identities>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    informers: Mutex<HashMap<(Source, TypeId), AnyInformer>>,
    events: Mutex<Option<Writer>>,
}

impl Hub {
    /// A hub that works through `client` until `shutdown` is cancelled. Must be used from within a
    /// tokio runtime, on which its watches run; [`closed`](Self::closed) waits for their end.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        Self::build(client, None, shutdown)
    }

    /// As [`new`](Self::new); reconcilers that ask for it by [`acting_as`](Self::acting_as) write
    /// under an identity of their own.
    pub fn with_identities(
        client: Client,
        identities: Identities,
        shutdown: CancellationToken,
    ) -> Self {
        Self::build(client, Some(identities), shutdown)
    }

    fn build(client: Client, identities: Option<Identities>, shutdown: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                identities,
                shutdown,
                tasks: TaskTracker::new(),
                informers: Mutex::new(HashMap::new()),
                events: Mutex::new(None),
            }),
            writer: None,
        }
    }

    /// The same hub, whose client writes as the reconciler of this name, if there are identities.
    #[must_use]
    pub fn acting_as(&self, name: &str) -> Self {
        Self {
            shared: self.shared.clone(),
            writer: match &self.shared.identities {
                Some(identities) => Some(identities(name)),
                None => self.writer.clone(),
            },
        }
    }

    /// The client for writes: the one all informers use, or that of who this hub
    /// [acts as](Self::acting_as).
    pub fn client(&self) -> Client {
        match &self.writer {
            Some(writer) => writer.clone(),
            None => self.shared.client.clone(),
        }
    }

    /// The token that ends this hub.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shared.shutdown
    }

    /// The informer of all objects of a kind, in all namespaces.
    pub fn informer<K>(&self) -> Informer<K>
    where
        K: Resource<DynamicType: Default> + DeserializeOwned + Send + Sync + 'static,
    {
        self.informer_where(None, None)
    }

    /// The informer of those objects of a kind that match a label selector and a field selector.
    pub fn informer_where<K>(&self, label: Option<&str>, field: Option<&str>) -> Informer<K>
    where
        K: Resource<DynamicType: Default> + DeserializeOwned + Send + Sync + 'static,
    {
        self.open(Source {
            path: K::url_path(&K::DynamicType::default(), None),
            labels: label.map(str::to_owned),
            fields: field.map(str::to_owned),
            form: Form::Whole,
        })
    }

    /// The informer of a kind that is known at run time only, as untyped objects.
    pub fn dynamic(&self, resource: &ApiResource) -> Informer<DynamicObject> {
        self.dynamic_where(resource, None)
    }

    /// The informer of those objects of a kind known at run time only that match a label selector.
    pub fn dynamic_where(
        &self,
        resource: &ApiResource,
        label: Option<&str>,
    ) -> Informer<DynamicObject> {
        self.open(Source {
            path: DynamicObject::url_path(resource, None),
            labels: label.map(str::to_owned),
            fields: None,
            form: Form::Whole,
        })
    }

    /// The informer of the metadata of a kind that is known at run time only. Labels and
    /// annotations are dropped: it serves those who follow owners, finalizers and deletions.
    pub fn metadata(&self, resource: &ApiResource) -> Informer<PartialObject> {
        self.open(Source {
            path: DynamicObject::url_path(resource, None),
            labels: None,
            fields: None,
            form: Form::Metadata,
        })
    }

    /// A recorder of Events that names `component` as their source.
    pub fn recorder(&self, component: impl Into<String>) -> Recorder {
        let mut events = self.shared.events.lock();
        let writer = events.get_or_insert_with(|| {
            let (writer, task) = Writer::new(self.shared.client.clone());
            self.shared
                .tasks
                .spawn(task.run(self.shared.shutdown.clone()));
            writer
        });
        writer.recorder(component.into())
    }

    /// Waits until every watch has ended, once the hub was shut down.
    pub async fn closed(&self) {
        self.shared.shutdown.cancelled().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn open<K>(&self, source: Source) -> Informer<K>
    where
        K: Resource + DeserializeOwned + Send + Sync + 'static,
    {
        let mut informers = self.shared.informers.lock();
        let slot = (source.clone(), TypeId::of::<K>());
        let existing = informers
            .get(&slot)
            .and_then(|any| any.downcast_ref::<Weak<Inner<K>>>())
            .and_then(Weak::upgrade);
        if let Some(inner) = existing {
            return Informer(inner);
        }
        let cache = Arc::new(Cache::<K>::new());
        let stop = self.shared.shutdown.child_token();
        let inner = Arc::new(Inner {
            cache: cache.clone(),
            _guard: stop.clone().drop_guard(),
        });
        informers.insert(slot, Box::new(Arc::downgrade(&inner)));
        self.shared
            .tasks
            .spawn(Reflector::new(self.shared.client.clone(), source, cache).run(stop));
        Informer(inner)
    }
}
