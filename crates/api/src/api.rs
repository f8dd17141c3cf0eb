//! The server: what it is made of, how it starts.

use crate::addresses::Addresses;
use crate::admission::{Admission, Reviewer};
use crate::audit::{self, Audit};
use crate::call::Call;
use crate::custom;
use crate::documents::Documents;
use crate::error::{Outcome, fail};
use crate::hooks::Receiver;
use crate::identity::following::{self, Following};
use crate::identity::tokens::Signer;
use crate::identity::{
    Anonymous, Attributes, Authenticator, Authorizer, Decision, Objects, User, oidc,
};
use crate::inflight::InFlight;
use crate::kind::Kind;
use crate::kinds;
use crate::metrics::Metrics;
use crate::proxy::NodeConnector;
use crate::pulse::Pulses;
use crate::registry::Registry;
use crate::startup;
use crate::witness::Witness;
use arc_swap::ArcSwap;
use consort_object::Object;
use consort_object::status::{Denied, Status};
use consort_store::{Committed, Error, Key, Store, Write};
use ipnet::Ipv4Net;
use parking_lot::RwLock;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How many webhooks of other systems are taken at once.
const HOOKS_AT_ONCE: usize = 32;

/// What bounds a request.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// How long an ordinary request may take.
    pub request_timeout: Duration,
    /// How many connections are served at once.
    pub connections: usize,
    /// How long a client may take to send its request's head, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// The longest head of a request, in bytes.
    pub header_bytes: usize,
    /// How many requests that read are worked on at once; watches and the like do not count.
    pub reading: usize,
    /// How many requests that write are worked on at once.
    pub writing: usize,
    /// How long a client may leave what it was sent of a list or a watch unread.
    pub stalled: Duration,
    /// Watches that name no time end after between one and two times this.
    pub watch_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 3 * 1024 * 1024,
            request_timeout: Duration::from_secs(60),
            connections: 10_000,
            header_timeout: Duration::from_secs(32),
            header_bytes: 256 * 1024,
            // A request takes some 60 us of a core: these are fractions of a second of work.
            reading: 2000,
            writing: 1000,
            stalled: Duration::from_secs(60),
            watch_time: Duration::from_secs(1800),
        }
    }
}

/// How a server is made.
pub struct Options {
    /// Where the objects are.
    pub store: Store,
    /// What signs and checks service-account tokens.
    pub signer: Arc<Signer>,
    /// The range of service addresses.
    pub service_network: Ipv4Net,
    /// The range of node ports.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods reach the server: behind the service `kubernetes`. Without it the service has no
    /// endpoints.
    pub advertise: Option<SocketAddr>,
    /// What bounds a request.
    pub limits: Limits,
    /// How requests are recorded; not at all if `None`.
    pub audit: Option<audit::Options>,
    /// Issuers of tokens, besides the server itself.
    pub issuers: Vec<oidc::config::Issuer>,
    /// Who may come without credentials.
    pub anonymous: Anonymous,
    /// What else the server's health depends on: a name, and what fails if it does.
    pub probes: Vec<Probe>,
    /// Is told who deletes and changes objects.
    pub witness: Option<Arc<dyn Witness>>,
    /// Is asked about writes after everything else that validates them.
    pub reviewer: Option<Arc<dyn Reviewer>>,
}

/// A part of the server that can fail by itself.
#[derive(Clone)]
pub struct Probe {
    /// Its name among the checks of `/healthz`, `/livez` and `/readyz`.
    pub name: String,
    /// Why it cannot do its work now; called on the reactor.
    pub failure: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Options {
    /// The usual ranges and limits.
    pub fn new(store: Store, signer: Arc<Signer>) -> Self {
        Self {
            store,
            signer,
            service_network: Ipv4Net::new_assert([10, 96, 0, 0].into(), 16),
            node_ports: 30000..=32767,
            advertise: None,
            limits: Limits::default(),
            audit: None,
            issuers: Vec::new(),
            anonymous: Anonymous::Allowed,
            probes: Vec::new(),
            witness: None,
            reviewer: None,
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read or written.
    #[error("reading the stored objects")]
    Store(#[from] consort_store::Error),
    /// An object every server has could not be made.
    #[error("creating {what}: {why}")]
    Object {
        /// The object.
        what: String,
        /// The reason.
        why: String,
    },
    /// The audit log could not be opened.
    #[error("{0}")]
    Audit(String),
    /// A stored object can not be read.
    #[error("reading the stored object {key}")]
    Damaged {
        /// Where it is.
        key: String,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
}

/// What all requests share.
pub(crate) struct Inner {
    /// The objects.
    pub store: Store,
    /// The kinds, as they stand now.
    registry: ArcSwap<Registry>,
    /// Who calls.
    pub authenticator: Authenticator,
    /// Who may do what.
    pub authorizer: Arc<Authorizer>,
    /// Webhooks and admission policies.
    pub admission: Admission,
    /// Service addresses and ports.
    pub addresses: Arc<Addresses>,
    /// OpenAPI documents.
    pub documents: Documents,
    /// Counters.
    pub metrics: Metrics,
    /// What else the server's health depends on.
    pub probes: Vec<Probe>,
    /// Room for requests.
    pub in_flight: InFlight,
    /// Long answers, and whether they are read.
    pub pulses: Arc<Pulses>,
    /// What bounds a request.
    pub limits: Limits,
    /// Records requests.
    pub audit: Option<Arc<Audit>>,
    /// Ends watches and background work.
    pub stop: CancellationToken,
    /// What goes on after an answer: connections that requests were passed on by.
    pub tasks: TaskTracker,
    /// The store refused a write for a reason that stays.
    pub broken: AtomicBool,
    nodes: RwLock<Option<Arc<dyn NodeConnector>>>,
    /// Is told who deletes and changes objects.
    pub witness: Option<Arc<dyn Witness>>,
    /// Is asked about writes after everything else that validates them.
    pub reviewer: Option<Arc<dyn Reviewer>>,
    /// Takes webhooks of other systems.
    receiver: RwLock<Option<Arc<dyn Receiver>>>,
    /// Room for them.
    pub hooks: Arc<Semaphore>,
}

impl Inner {
    /// The kinds as they stand now. A request takes them once and keeps them to its end.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// Serve these custom kinds beside the built-in ones from now on.
    pub(crate) fn serve_custom(&self, kinds: Vec<Arc<Kind>>) {
        let present = self.registry.load();
        self.registry.store(Arc::new(present.with_custom(kinds)));
    }

    /// Who takes webhooks of other systems, if anyone does.
    pub(crate) fn receiver(&self) -> Option<Arc<dyn Receiver>> {
        self.receiver.read().clone()
    }

    /// The way to the nodes, if there is one.
    pub(crate) fn connector(&self) -> Option<Arc<dyn NodeConnector>> {
        self.nodes.read().clone()
    }

    /// Commit writes, noting whether the store still takes any.
    pub(crate) async fn commit(&self, writes: Vec<Write>) -> Result<Committed, Error> {
        let result = self.store.commit(writes).await;
        if let Err(Error::Failed { .. } | Error::Closed) = &result {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Would an object be encrypted in another way if it were written now?
    pub(crate) fn stale(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> bool {
        let (group, plural) = &kind.storage;
        Key::new(group, plural, namespace, name)
            .ok()
            .and_then(|key| self.store.stale(&key).ok())
            .unwrap_or_default()
    }

    /// Refuse a caller that may not do this.
    pub(crate) fn authorize(&self, user: &User, wanted: &Attributes<'_>) -> Outcome<()> {
        let decision = self.authorizer.authorize(user, wanted);
        Self::refuse(user, wanted, &decision)
    }

    /// What a decision means to a caller.
    pub(crate) fn refuse(user: &User, wanted: &Attributes<'_>, decision: &Decision) -> Outcome<()> {
        if decision.allowed {
            return Ok(());
        }
        fail(Status::forbidden_by_authorization(&Denied {
            user: &user.name,
            verb: wanted.verb,
            group: wanted.group,
            resource: wanted.resource,
            subresource: wanted.subresource,
            namespace: wanted.namespace,
            name: wanted.name,
            path: wanted.path,
            reason: &decision.reason,
        }))
    }

    /// Refuse a caller that may not create objects of a kind.
    pub(crate) fn authorize_create(
        &self,
        call: &Call,
        kind: &Kind,
        namespace: Option<&str>,
    ) -> Outcome<()> {
        self.authorize(
            &call.user,
            &Attributes {
                verb: "create",
                group: &kind.group,
                version: &kind.version,
                resource: &kind.plural,
                namespace: namespace.unwrap_or_default(),
                ..Attributes::default()
            },
        )
    }
}

/// Tokens are good while what they are bound to is in the store.
struct Stored(Store);

impl Objects for Stored {
    fn object(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<Object> {
        let key = Key::new("", plural, namespace, name).ok()?;
        self.0.get(&key).ok()?
    }
}

/// The API server. A cheap handle: clones share everything.
#[derive(Clone)]
pub struct Api {
    pub(crate) inner: Arc<Inner>,
    tasks: TaskTracker,
    /// Ends the background work with the last handle.
    _stop: Arc<DropGuard>,
}

impl Api {
    /// Read what is stored, create what every cluster has, and be ready to serve.
    ///
    /// # Errors
    /// If the store can't be read or written.
    pub async fn new(options: Options) -> Result<Self, StartError> {
        let addresses = Addresses::new(options.service_network, options.node_ports);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let audit = match options.audit {
            None => None,
            Some(options) => Some(Audit::open(options).await.map_err(StartError::Audit)?),
        };
        let providers = options
            .issuers
            .into_iter()
            .map(oidc::Provider::new)
            .collect();
        let inner = Arc::new(Inner {
            registry: ArcSwap::from_pointee(Registry::new(kinds::all(&addresses))),
            authenticator: Authenticator::new(options.signer, Stored(options.store.clone()))
                .configured(providers, options.anonymous),
            authorizer: Arc::new(Authorizer::new()),
            admission: Admission::default(),
            addresses,
            documents: Documents::default(),
            metrics: Metrics::default(),
            probes: options.probes,
            in_flight: InFlight::new(options.limits.reading, options.limits.writing),
            pulses: Arc::default(),
            limits: options.limits,
            audit,
            stop: stop.clone(),
            tasks: tasks.clone(),
            broken: AtomicBool::new(false),
            nodes: RwLock::new(None),
            witness: options.witness,
            reviewer: options.reviewer,
            receiver: RwLock::new(None),
            hooks: Arc::new(Semaphore::new(HOOKS_AT_ONCE)),
            store: options.store,
        });
        startup::adopt_services(&inner)?;
        let (policy, nodes) = following::load_policy(&inner)?;
        for (following, after) in [(Following::Policy, policy), (Following::Nodes, nodes)] {
            tasks.spawn(following::follow(
                following,
                inner.store.clone(),
                inner.authorizer.clone(),
                after,
                stop.clone(),
            ));
        }
        tasks.spawn(Arc::clone(&inner.pulses).watch_over(inner.limits.stalled, stop.clone()));
        let catalog = custom::load(&inner)?;
        tasks.spawn(catalog.follow(inner.clone()));
        let (parts, read_at) = inner.admission.load(&inner.store)?;
        tasks.spawn(Admission::follow(inner.clone(), parts, read_at));
        tasks.close();
        startup::create_basics(&inner, options.advertise).await?;
        Ok(Self {
            inner,
            tasks,
            _stop: Arc::new(stop.drop_guard()),
        })
    }

    /// Set the way to the nodes.
    pub fn set_nodes(&self, nodes: Arc<dyn NodeConnector>) {
        *self.inner.nodes.write() = Some(nodes);
    }

    /// Sets who takes calls below [`HOOKS`](crate::HOOKS): webhooks of other systems.
    pub fn set_receiver(&self, receiver: Arc<dyn Receiver>) {
        *self.inner.receiver.write() = Some(receiver);
    }

    /// The store under the server.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// End all watches and the background work, and wait for the latter.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        self.tasks.wait().await;
        if let Some(audit) = &self.inner.audit {
            audit.close().await;
        }
    }
}
