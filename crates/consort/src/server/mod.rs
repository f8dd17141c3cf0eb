//! The server: every component wired together, started in order and stopped in the reverse order.
//!
//! ```text
//! store -> api -> reconcilers, scheduler -> node
//!           |-> TLS listener (kubectl and others)
//!           '-> in-process clients (everything in this process)
//! ```
//!
//! Each component is spawned on a task set owned here. The node stops first (it still needs the API
//! to report what it stops), then the reconcilers, then the API, then the store.

mod agent;
pub(crate) mod join;
mod lock;
mod nodes;
mod playbooks;
mod policies;
mod remote;
mod scores;
mod signing;
mod witness;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_api::identity::MASTERS;
use consort_api::identity::User;
use consort_api::identity::pki::Pki;
use consort_api::identity::tokens::Signer;
use consort_api::{Api, Probe};
use consort_net::Network;
use consort_reconcile::{Hub, Identities};
use consort_scheduler::Scheduler;
use consort_store::Store;
use consort_workloads::Workloads;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::error::{Failure, Kind, Result, chain};
use crate::settings::Server as Settings;
use crate::store::Opened;

pub(crate) use lock::{Lock, running_pid};
pub(crate) use remote::RemoteNode;

/// Identities of our own parts are named in roles, not in groups.
const NO_GROUPS: [&str; 0] = [];
/// How long components other than the node get to end.
const GRACE: Duration = Duration::from_secs(10);

/// What happens to pods when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStop {
    /// They run on and are adopted by the next start.
    Leave,
    /// They are stopped, and nothing of them is left on the host.
    StopPods,
}

/// The image store's directory within a data directory.
pub(crate) fn images_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("images")
}

/// The container runtime's directory within a data directory.
pub(crate) fn runtime_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("runtime")
}

/// A server that is up.
pub(crate) struct Running {
    /// Speaks to the API in process, as administrator.
    pub(crate) client: kube::Client,
    /// Where the API is reached.
    pub(crate) url: String,
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// The name of this machine's node, if it is one.
    pub(crate) node: Option<String>,
    store: Store,
    api: Api,
    serving: Layer,
    control: Layer,
    agent: Option<agent::Agent>,
    _lock: lock::Lock,
}

/// Tasks that start and stop together.
struct Layer {
    name: &'static str,
    token: CancellationToken,
    tasks: JoinSet<()>,
}

impl Layer {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            token: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Ends the tasks: politely, then by force after `grace`.
    async fn stop(&mut self, grace: Duration) {
        self.token.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, drained).await.is_err() {
            tracing::warn!(layer = self.name, "did not end in time");
            self.tasks.shutdown().await;
        }
    }
}

impl Running {
    /// Starts everything; returns when the API answers. The node registers a moment later.
    pub(crate) async fn start(settings: Settings, on_stop: OnStop) -> Result<Self> {
        let begun = Instant::now();
        if settings.node && !nix::unistd::geteuid().is_root() {
            return Err(Failure::new(
                Kind::Permission,
                "running pods needs root: network namespaces, mounts and control groups",
            )
            .hint("run this as root, or without pods: `consort server --no-node`"));
        }
        make_private_dir(&settings.data_dir)?;
        let lock = lock::Lock::take(&settings.data_dir)?;
        let listener = bind(settings.listen).await?;
        let network = if settings.node {
            Some(open_network(&settings).await?)
        } else {
            None
        };
        let started = Self::assemble(settings, on_stop, lock, listener, network.clone()).await;
        if let Ok(running) = &started {
            tracing::info!(url = running.url, elapsed = ?begun.elapsed(), "the API answers");
        } else if let Some(network) = network
            // Pods of an earlier run go on, and need their network.
            && network.attachments().is_empty()
            && let Err(error) = network.down().await
        {
            tracing::error!(error = chain(&error), "removing the pod network");
        }
        started
    }

    async fn assemble(
        settings: Settings,
        on_stop: OnStop,
        lock: lock::Lock,
        listener: TcpListener,
        network: Option<Network>,
    ) -> Result<Self> {
        let listen = listener.local_addr()?;
        let gateway = first_host(settings.pod_cidr);
        let up = async {
            match &network {
                Some(network) => network
                    .up()
                    .await
                    .map_err(|e| failed("setting up the pod network", &e)),
                None => Ok(()),
            }
        };
        // Neither is left half done when the other fails.
        let (up, opened) = tokio::join!(up, open(&settings, listen, gateway));
        up?;
        let (opened, pki) = opened?;
        let store = opened.store.clone();

        let advertise = SocketAddr::new(
            if settings.node {
                IpAddr::V4(gateway)
            } else {
                listen.ip()
            },
            listen.port(),
        );
        let pki = Arc::new(pki);
        let issuer = Settings::issuer(&settings.cluster_domain);
        let signer = Signer::new(pki.service_account_key(), issuer)
            .and_then(|signer| signer.with_keys(pki.verification_keys()))
            .map_err(|e| failed("starting the API", &e))?;
        let signer = Arc::new(signer);
        let mut options = consort_api::Options::new(store.clone(), signer.clone());
        options.issuers.clone_from(&settings.access.issuers);
        options.anonymous = settings.access.anonymous.clone();
        options.audit.clone_from(&settings.access.audit);
        options.service_network = settings.service_cidr;
        // A loopback address is of no use to pods, and there are none.
        options.advertise = Some(advertise).filter(|address| !address.ip().is_loopback());
        options.probes = probes(&opened);
        let rules = policies::Rules::default();
        options.reviewer = Some(Arc::new(rules.clone()));
        let (book, clerk) = witness::book();
        options.witness = Some(book);
        let api = Api::new(options)
            .await
            .map_err(|e| failed("starting the API", &e))?;
        rules
            .load(api.client(User::admin()))
            .await
            .map_err(|e| failed("reading the policies", &e))?;
        let tls = pki
            .server_config()
            .map_err(|e| failed("starting the API", &e))?;
        let mut api_layer = Layer::new("api");
        let serve = |layer: &mut Layer, listener: TcpListener| {
            let (api, tls, token) = (api.clone(), tls.clone(), layer.token.clone());
            layer
                .tasks
                .spawn(async move { api.serve(listener, Some(tls), token).await });
        };
        serve(&mut api_layer, listener);
        if network.is_some() {
            // Pods reach the API at their gateway; nothing beyond this host can.
            serve(&mut api_layer, bind(advertise).await?);
        }
        let socket = crate::store::listen(&settings.data_dir)?;
        let token = api_layer.token.clone();
        api_layer
            .tasks
            .spawn(crate::store::serve(socket, opened, token));
        let url = format!("https://{}", reachable(listen));
        let kubeconfig = crate::connect::admin_kubeconfig(&settings.data_dir);
        write_kubeconfig(&kubeconfig, &pki, &url)?;

        let mut control = Layer::new("reconcilers");
        let manager = api.client(User::new("system:kube-controller-manager", NO_GROUPS));
        let hub = Hub::with_identities(manager, identities(&api), control.token.clone());
        let token = control.token.clone();
        control.tasks.spawn(rules.follow(hub.clone(), token));
        start_control(&mut control, &api, &hub, &pki, signer);
        let writer = api.client(User::new("system:consort:witness", [MASTERS]));
        let token = control.token.clone();
        control.tasks.spawn(clerk.run(writer, token));
        scores::start(&mut control, &api, &settings.data_dir)?;
        playbooks::start(&mut control, &api, &hub);
        keep_machines(&mut control, &settings.data_dir)?;
        let agent = match network {
            Some(network) => {
                take_in(&mut control, &settings, &api, &pki, advertise)?;
                let client = api.client(User::node(&settings.node_name));
                let agent = agent::start(
                    &settings,
                    client,
                    network,
                    gateway,
                    agent::On::Server,
                    on_stop,
                )
                .await?;
                api.set_nodes(agent.connector());
                Some(agent)
            }
            None => None,
        };
        Ok(Self {
            client: api.client(User::admin()),
            url,
            kubeconfig,
            node: agent.is_some().then_some(settings.node_name),
            store,
            api,
            serving: api_layer,
            control,
            agent,
            _lock: lock,
        })
    }

    /// Waits until a component ends that should run for ever, and says which.
    pub(crate) async fn failed(&mut self) -> Failure {
        let agent = async {
            match &mut self.agent {
                Some(agent) => agent.ended().await,
                None => std::future::pending().await,
            }
        };
        let (name, ended) = tokio::select! {
            ended = agent => ended,
            ended = next(&mut self.control) => ended,
            ended = next(&mut self.serving) => ended,
        };
        let how = match ended {
            Ok(()) => "ended".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        Failure::new(Kind::Failed, format!("a part of the server ({name}) {how}"))
    }

    /// Waits until the API knows how the pods of an earlier run were found; at once without a node.
    pub(crate) async fn settled(&self) {
        if let Some(agent) = &self.agent {
            agent.settled().await;
        }
    }

    /// Stops everything, the node first and the store last.
    pub(crate) async fn stop(mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop().await;
        }
        self.control.stop(GRACE).await;
        self.serving.stop(GRACE).await;
        self.api.close().await;
        self.store.close().await;
    }
}

/// The external key managers that secrets depend on, as parts of the server's health.
fn probes(opened: &Opened) -> Vec<Probe> {
    let names = opened.encryption.health().into_iter().enumerate();
    names
        .map(|(at, _)| {
            let encryption = opened.encryption.clone();
            Probe {
                name: format!("kms-provider-{at}"),
                failure: Arc::new(move || encryption.health().get(at)?.failure.clone()),
            }
        })
        .collect()
}

async fn open_network(settings: &Settings) -> Result<Network> {
    let options = consort_net::network::Options {
        name: crate::identity::instance(&settings.data_dir),
        pod_cidr: settings.pod_cidr,
        cluster_cidr: settings.cluster_cidr,
        service_cidr: settings.service_cidr,
        mtu: None,
        state_dir: settings.data_dir.join("net"),
        node_port_addresses: Vec::new(),
        masquerade: true,
    };
    Network::open(options)
        .await
        .map_err(|e| failed("setting up the pod network", &e))
}

async fn next(layer: &mut Layer) -> (&'static str, std::result::Result<(), JoinError>) {
    match layer.tasks.join_next().await {
        Some(ended) => (layer.name, ended),
        None => std::future::pending().await,
    }
}

fn failed(doing: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Failed, format!("{doing}: {}", chain(error)))
}

/// Opens the store and the certificates; both wait for the disk, not for each other.
async fn open(settings: &Settings, listen: SocketAddr, gateway: Ipv4Addr) -> Result<(Opened, Pki)> {
    let (mut names, mut addresses) = server_names(settings);
    addresses.extend([listen.ip(), IpAddr::V4(gateway)]);
    names.dedup();
    let dir = settings.data_dir.join("pki");
    let pki = tokio::task::spawn_blocking(move || Pki::open(&dir, &names, &addresses));
    let (data_dir, encryption) = (
        settings.data_dir.clone(),
        settings.encryption_config.clone(),
    );
    let store = tokio::task::spawn_blocking(move || Opened::open(&data_dir, encryption.as_deref()));
    let (pki, store) = tokio::join!(pki, store);
    let store = store.map_err(anyhow::Error::from)??;
    let pki = pki
        .map_err(anyhow::Error::from)?
        .map_err(|e| failed("opening the certificates", &e))?;
    Ok((store, pki))
}

fn server_names(settings: &Settings) -> (Vec<String>, Vec<IpAddr>) {
    let domain = &settings.cluster_domain;
    let mut names: Vec<String> = vec![
        "localhost".to_owned(),
        settings.node_name.clone(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{domain}"),
    ];
    let mut addresses = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(settings.api_service_ip()),
    ];
    for name in &settings.tls_names {
        match name.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(name.clone()),
        }
    }
    (names, addresses)
}

fn first_host(cidr: ipnet::Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(cidr.network()) + 1)
}

/// An address clients on this host can use for what a listener is bound to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}

fn make_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Failed,
        };
        Failure::new(
            kind,
            format!("making the data directory {}: {error}", dir.display()),
        )
        .hint("name another with --data-dir")
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(Kind::Failed, format!("listening on {address}: {error}"));
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return failure.hint("another program has this port; choose another with --listen");
        }
        failure
    })
}

/// Writes the kubeconfig anew at each start: the port may have changed. It appears whole or not at
/// all, readable by its owner only.
fn write_kubeconfig(path: &Path, pki: &Pki, url: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let text = pki
        .kubeconfig(&User::admin(), url)
        .map_err(|e| failed("making the kubeconfig", &e))?;
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&partial, path)
    };
    write()
        .map_err(|error| Failure::new(Kind::Failed, format!("writing {}: {error}", path.display())))
}

/// Each reconciler writes as its own service account.
fn identities(api: &Api) -> Identities {
    let api = api.clone();
    Arc::new(move |name: &str| api.client(User::service_account("kube-system", name, "")))
}

/// Machines of this host may join as nodes; they reach the API where pods do.
fn take_in(
    layer: &mut Layer,
    settings: &Settings,
    api: &Api,
    pki: &Arc<Pki>,
    advertise: SocketAddr,
) -> Result<()> {
    let joins = join::Joins {
        data_dir: settings.data_dir.clone(),
        pki: Arc::clone(pki),
        url: format!("https://{advertise}"),
        client: api.client(User::admin()),
        node: settings.node_name.clone(),
        pod_cidr: settings.pod_cidr,
        cluster_cidr: settings.cluster_cidr,
        service_cidr: settings.service_cidr,
        cluster_domain: settings.cluster_domain.clone(),
        book: tokio::sync::Mutex::new(()),
    };
    let listener = join::listen(&settings.data_dir)?;
    let token = layer.token.clone();
    layer.tasks.spawn(join::serve(listener, joins, token));
    Ok(())
}

/// Machines of this host that are to run are started again, here as root.
fn keep_machines(layer: &mut Layer, data_dir: &Path) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let machines = crate::machines::open(data_dir)?;
    let token = layer.token.clone();
    layer.tasks.spawn(async move { machines.keep(token).await });
    Ok(())
}

fn start_control(layer: &mut Layer, api: &Api, hub: &Hub, pki: &Arc<Pki>, signer: Arc<Signer>) {
    let workloads = Workloads::new(
        hub.clone(),
        consort_workloads::Options {
            ca_pem: Some(pki.authority_pem().to_owned()),
            certificates: Some(Arc::new(signing::Certificates(pki.clone()))),
            tokens: Some(Arc::new(signing::Tokens(signer))),
            ..consort_workloads::Options::default()
        },
    );
    let token = layer.token.clone();
    layer.tasks.spawn(async move { workloads.run(token).await });
    let options = consort_scheduler::Options {
        client: Some(api.client(User::new("system:kube-scheduler", NO_GROUPS))),
        ..consort_scheduler::Options::default()
    };
    let scheduler = Scheduler::new(hub, options);
    let token = layer.token.clone();
    layer.tasks.spawn(async move { scheduler.run(token).await });
}
