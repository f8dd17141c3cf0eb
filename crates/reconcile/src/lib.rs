//! The informer hub, work queues and shared parts that every reconciler sits on.
//!
//! A [`Hub`] watches each kind once per process, decodes each object once and hands out `Arc`s of
//! it. An [`Informer`] is a cheap handle to one kind's cache: look-ups, secondary indexes and
//! subscriptions. A [`Controller`] turns what informers see into keys on a deduplicating
//! [`Queue`] and runs a reconcile function over them with a fixed number of workers. An event only
//! ever says "look": reconcilers read the present from the informers and act on the difference.
//!
//! ```text
//! kube::Client -> reflector (list, watch, relist) -> cache (Arc<K>, indexes)
//!                                                      |-> subscriptions (coalescing, bounded)
//!                                                            |-> Controller -> Queue -> workers
//! ```
//!
//! Everything speaks through [`kube::Client`], so the same code runs over the in-process server
//! and against any existing cluster.
//!
//! ```no_run
//! use consort_reconcile::{Action, Controller, Event, Hub, Key};
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example(client: kube::Client) {
//! let shutdown = CancellationToken::new();
//! let hub = Hub::new(client, shutdown.clone());
//! let maps = hub.informer::<ConfigMap>();
//! let cache = maps.clone();
//! Controller::new("config-printer")
//!     .queue_on(&maps, Event::key)
//!     .run(
//!         2,
//!         move |key: Key| {
//!             let cache = cache.clone();
//!             async move {
//!                 if let Some(map) = cache.get(key.namespace.as_deref(), &key.name) {
//!                     println!("{key} has {} entries", map.data.as_ref().map_or(0, |d| d.len()));
//!                 }
//!                 Ok::<_, std::convert::Infallible>(Action::Done)
//!             }
//!         },
//!         shutdown,
//!     )
//!     .await;
//! hub.closed().await;
//! # }
//! ```

mod backoff;
mod cache;
mod conditions;
mod controller;
mod ensure;
mod events;
mod expectations;
mod hub;
mod informer;
mod key;
mod owner;
mod queue;
mod reflector;
mod sources;
mod subscription;

pub use backoff::Backoff;
pub use conditions::{State, set_condition};
pub use controller::{Action, Controller, Stats};
pub use ensure::{ensure, served};
pub use events::{EventKind, Recorder};
pub use expectations::Expectations;
pub use hub::{Hub, Identities, PartialObject};
pub use informer::Informer;
pub use key::{Key, ObjectRef};
pub use owner::{
    add_finalizer, controller_of, is_controlled_by, owner_reference, remove_finalizer,
};
pub use queue::Queue;
pub use sources::Sources;
pub use subscription::{Event, Subscription};
