//! A whole small cluster on a host of its own: an API server in this process, and a node whose pods
//! are real. Nothing of it touches the machine's own network, and nothing may be left of it.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unused_self)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use consort_api::Api as Server;
use consort_api::identity::{User, tokens::Signer};
use consort_image::Images;
use consort_net::{Network, network};
use consort_node::{Agent, Node, OnShutdown, Options};
use consort_reconcile::Hub;
use consort_runtime::Runtime;
use consort_store::Store;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use sha2::Digest;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const IMAGE: &str = "registry.test/busybox:1";
pub const NODE: &str = "node-1";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs a test on a host of its own and checks afterwards that nothing is left of it.
pub fn on_a_host<F: Future<Output = Bed>>(test: impl FnOnce(Bed) -> F + Send + 'static) {
    let outcome = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        assert!(
            Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .unwrap()
                .success()
        );
        // Worker threads are started from this one and share its namespaces.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let bed = Bed::new().await;
            let bed = test(bed).await;
            bed.finish().await;
        });
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub server: Server,
    pub client: Client,
    pub runtime: Runtime,
    pub images: Images,
    pub network: Network,
    pub agent: Option<Agent>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
    cgroup_parent: String,
    mounts: Vec<String>,
    /// When the node began to run.
    pub begun: Instant,
}

fn mount_table() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    text.lines()
        .map(|line| line.split(' ').nth(4).unwrap_or_default().to_owned())
        .collect()
}

impl Bed {
    async fn new() -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            let _ = tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_test_writer()
                .try_init();
        }
        let dir = tempfile::Builder::new()
            .prefix("consort-node-")
            .tempdir()
            .unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup_parent = format!("consort-node-test-{}-{number}", std::process::id());
        let store = Store::open(consort_store::Options::new(dir.path().join("store"))).unwrap();
        let random = ring::rand::SystemRandom::new();
        let key = ring::signature::EcdsaKeyPair::generate_pkcs8(
            &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &random,
        )
        .unwrap();
        let signer = Arc::new(Signer::new(key.as_ref(), "https://kubernetes.default.svc").unwrap());
        let server = Server::new(consort_api::Options::new(store, signer))
            .await
            .unwrap();
        let client = server.client(User::admin());
        let network = Network::open(network::Options {
            name: format!("n{number}"),
            pod_cidr: "10.77.0.0/24".parse().unwrap(),
            cluster_cidr: "10.77.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            mtu: None,
            state_dir: dir.path().join("net"),
            node_port_addresses: Vec::new(),
            masquerade: true,
        })
        .await
        .unwrap();
        network.up().await.unwrap();
        let mut store = consort_image::Options::new(dir.path().join("images"));
        store.users = Arc::new(consort_node::ImageUsers::new(dir.path().join("run")));
        let images = Images::open(store).unwrap();
        images
            .import(&busybox_archive(dir.path()), None)
            .await
            .unwrap();
        let runtime = Runtime::new(consort_runtime::Options {
            root: dir.path().join("run"),
            shim_exe: env!("CARGO_BIN_EXE_consort-node-shim").into(),
            cgroup_parent: cgroup_parent.clone(),
        })
        .unwrap();
        for (namespace, name) in [("default", "default")] {
            let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
                Api::namespaced(client.clone(), namespace);
            let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            accounts
                .create(&PostParams::default(), &account)
                .await
                .unwrap();
        }
        let mut bed = Self {
            mounts: mount_table(),
            dir,
            server,
            client,
            runtime,
            images,
            network,
            agent: None,
            running: None,
            cgroup_parent,
            begun: Instant::now(),
        };
        bed.start(OnShutdown::StopPods);
        bed
    }

    /// Starts the node.
    pub fn start(&mut self, on_shutdown: OnShutdown) {
        self.begun = Instant::now();
        let stop = CancellationToken::new();
        let hub = Hub::new(self.server.client(User::node(NODE)), stop.child_token());
        let options = Options::new(
            NODE,
            self.dir.path().join("node"),
            hub,
            self.runtime.clone(),
            self.images.clone(),
            self.network.clone(),
        );
        let node = Node::new(options);
        self.agent = Some(node.agent());
        // The hub goes on while pods are being stopped.
        let shutdown = CancellationToken::new();
        let watched = shutdown.clone();
        let task = tokio::spawn(async move {
            node.run(watched, on_shutdown).await.unwrap();
            stop.cancel();
        });
        self.running = Some((shutdown, task));
    }

    /// Stops the node in the way it was told at its start.
    pub async fn stop(&mut self) {
        if let Some((shutdown, task)) = self.running.take() {
            shutdown.cancel();
            tokio::time::timeout(Duration::from_secs(90), task)
                .await
                .expect("the node did not stop")
                .unwrap();
        }
    }

    /// Stops a node that was to leave its pods and starts one that is to stop them.
    pub async fn restart(&mut self, on_shutdown: OnShutdown) {
        self.stop().await;
        self.start(on_shutdown);
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object of any kind from its manifest.
    pub async fn create<K>(&self, manifest: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "default");
        api.create(
            &PostParams::default(),
            &serde_json::from_value(manifest).unwrap(),
        )
        .await
        .unwrap()
    }

    /// Creates a pod on the node. `spec` needs no more than what it is about.
    pub async fn pod(&self, name: &str, spec: Value) -> Pod {
        self.create(self.manifest(name, spec)).await
    }

    pub fn manifest(&self, name: &str, mut spec: Value) -> Value {
        let map = spec.as_object_mut().unwrap();
        map.entry("nodeName").or_insert(json!(NODE));
        map.entry("automountServiceAccountToken")
            .or_insert(json!(false));
        map.entry("terminationGracePeriodSeconds")
            .or_insert(json!(1));
        for list in ["containers", "initContainers"] {
            for container in map
                .get_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                container
                    .as_object_mut()
                    .unwrap()
                    .entry("image")
                    .or_insert(json!(IMAGE));
            }
        }
        json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
    }

    /// Waits until a pod is as `condition` wants it.
    pub async fn until(&self, name: &str, what: &str, condition: impl Fn(&Pod) -> bool) -> Pod {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pod = self.pods().get_opt(name).await.unwrap();
            if let Some(pod) = &pod
                && condition(pod)
            {
                return pod.clone();
            }
            if Instant::now() > deadline {
                let status = pod.map(|p| serde_json::to_string_pretty(&p.status).unwrap());
                let events = self.events(name).await;
                panic!(
                    "{name} is not {what} in time: {}\n{events:#?}",
                    status.unwrap_or_else(|| "gone".to_owned())
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, phase, |pod| self::phase(pod) == phase)
            .await
    }

    pub async fn until_ready(&self, name: &str) -> Pod {
        self.until(name, "ready", is_ready).await
    }

    /// What the agent knows of a pod: one that has just come back takes over the pods it finds.
    pub async fn view(&self, name: &str) -> consort_node::PodView {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.agent.as_ref().unwrap().pod("default", name);
            match found {
                Ok(view) => return view,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_gone(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.pods().get_opt(name).await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "{name} is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn delete(&self, name: &str) {
        self.pods()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Reasons and messages of the events about a pod, oldest first.
    pub async fn events(&self, pod: &str) -> Vec<(String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let params = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        let mut events = api.list(&params).await.unwrap().items;
        events.sort_by_key(|e| {
            e.metadata
                .resource_version
                .clone()
                .and_then(|v| v.parse::<u64>().ok())
        });
        events
            .into_iter()
            .map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    /// Waits for an event with this reason whose message contains `text`.
    pub async fn until_event(&self, pod: &str, reason: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.events(pod).await;
            if events.iter().any(|(r, m)| r == reason && m.contains(text)) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "no event {reason} {text:?}: {events:#?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a container has written so far.
    pub fn log(&self, pod: &str, container: &str) -> String {
        let Ok(view) = self.agent.as_ref().unwrap().pod("default", pod) else {
            return String::new();
        };
        let Ok(path) = view.log(container, false) else {
            return String::new();
        };
        fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default())
            .fold(String::new(), |all, line| all + line + "\n")
    }

    pub async fn until_log(&self, pod: &str, container: &str, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log(pod, container);
            if log.contains(text) {
                return log;
            }
            if Instant::now() >= deadline {
                let status = self.pods().get(pod).await.unwrap().status;
                let events = self.events(pod).await;
                panic!("{text:?} is not in the log: {log:?}; {status:?}; {events:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops everything and checks that nothing is left.
    async fn finish(mut self) {
        if self.running.is_none() {
            self.start(OnShutdown::StopPods);
        }
        self.stop().await;
        assert!(
            self.runtime.adopt().await.unwrap().is_empty(),
            "sandboxes are left"
        );
        assert!(self.network.attachments().is_empty(), "networks are left");
        self.network.down().await.unwrap();
        self.runtime.close().unwrap();
        let left: Vec<String> = mount_table()
            .into_iter()
            .filter(|m| !self.mounts.contains(m))
            .collect();
        assert!(left.is_empty(), "mounts are left: {left:#?}");
        assert_eq!(
            cgroups(&self.cgroup_parent),
            Vec::<PathBuf>::new(),
            "cgroups are left"
        );
        self.server.close().await;
    }
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| [entry.path().join(name), entry.path()])
        .filter(|path| path.ends_with(name) && path.exists())
        .collect()
}

pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or_default()
}

pub fn is_ready(pod: &Pod) -> bool {
    pod.status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

pub fn container<'a>(pod: &'a Pod, name: &str) -> &'a k8s_openapi::api::core::v1::ContainerStatus {
    let status = pod.status.as_ref().unwrap();
    status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses)
        .flatten()
        .find(|c| c.name == name)
        .unwrap_or_else(|| panic!("no container {name}"))
}

/// How often a container has been restarted; 0 before it has a status.
pub fn restarts(pod: &Pod, name: &str) -> i32 {
    let statuses = pod
        .status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten());
    statuses
        .filter(|c| c.name == name)
        .map(|c| c.restart_count)
        .sum()
}

/// The reason a container waits for.
pub fn waiting(pod: &Pod, name: &str) -> String {
    let statuses = pod.status.iter().flat_map(|s| {
        s.container_statuses
            .iter()
            .chain(&s.init_container_statuses)
            .flatten()
    });
    let mut of_name = statuses.filter(|c| c.name == name);
    let state = of_name
        .next()
        .and_then(|c| c.state.clone())
        .unwrap_or_default();
    state.waiting.and_then(|w| w.reason).unwrap_or_default()
}

pub fn sh(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

/// A Docker archive with a static busybox.
fn busybox_archive(dir: &Path) -> PathBuf {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let busybox =
        fs::read(busybox.expect("these tests need busybox: apt-get install busybox-static"))
            .unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    let add = |layer: &mut tar::Builder<Vec<u8>>,
               path: &str,
               kind: tar::EntryType,
               mode: u32,
               data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        layer.append_data(&mut header, path, data).unwrap();
    };
    for path in ["bin", "etc", "tmp", "root"] {
        add(
            &mut layer,
            path,
            tar::EntryType::Directory,
            if path == "tmp" { 0o1777 } else { 0o755 },
            b"",
        );
    }
    add(
        &mut layer,
        "bin/busybox",
        tar::EntryType::Regular,
        0o755,
        &busybox,
    );
    add(
        &mut layer,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\n",
    );
    add(
        &mut layer,
        "etc/group",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:\n",
    );
    for applet in [
        "sh", "cat", "echo", "sleep", "ls", "id", "env", "hostname", "stat", "wget", "nc", "httpd",
        "touch", "rm", "test", "true", "false", "ps", "grep", "mount", "kill", "date", "head",
        "wc", "ip", "mkdir", "readlink",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        layer
            .append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let hex = |bytes: &[u8]| {
        sha2::Sha256::digest(bytes)
            .iter()
            .fold(String::new(), |all, b| all + &format!("{b:02x}"))
    };
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["sh", "-c", "echo default command; sleep 3600"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
    })
    .to_string();
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}])
        .to_string();
    let path = dir.join("busybox.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    for (name, data) in [
        ("manifest.json", manifest.as_bytes()),
        ("config.json", config.as_bytes()),
        ("layer.tar", &layer),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, name, data).unwrap();
    }
    archive.finish().unwrap();
    path
}
