//! A control plane in process, with a stand-in for scheduler and kubelet.

use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_reconcile::{Event, Hub, Identities, Informer};
use consort_workloads::{CertificateSigner, Options, TokenSigner, Workloads};
use k8s_openapi::{
    api::core::v1::{Namespace, Node, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{fmt::Debug, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const NS: &str = "shop";

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) hub: Hub,
    pub(crate) pods: Informer<Pod>,
    pub(crate) signer: Arc<Signer>,
    api: consort_api::Api,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

/// The cluster's keys, as the server hands them in.
#[derive(Debug)]
struct Keys {
    pki: Pki,
    signer: Arc<Signer>,
}

impl CertificateSigner for Keys {
    fn sign(&self, request: &[u8], usages: &[String], life: Duration) -> Result<String, String> {
        let signed = self.pki.sign_request(request, usages, life);
        signed.map_err(|error| error.to_string())
    }
}

impl TokenSigner for Keys {
    fn issue(&self, ns: &str, secret: &str, account: &str, uid: &str) -> Result<String, String> {
        let token = self.signer.issue_legacy(ns, secret, account, uid);
        token.map_err(|error| error.to_string())
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options {
            ca_pem: Some("-- the CA --".to_owned()),
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            consort_store::Store::open(consort_store::Options::new(dir.path().join("store")))
                .unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[]).unwrap();
        let signer =
            Signer::new(pki.service_account_key(), "https://kubernetes.default.svc").unwrap();
        let signer = Arc::new(signer);
        let api = consort_api::Api::new(consort_api::Options::new(store, signer.clone()))
            .await
            .unwrap();
        let client = api.client(User::admin());
        let shutdown = CancellationToken::new();
        let keys = Arc::new(Keys {
            pki,
            signer: signer.clone(),
        });
        let options = Options {
            certificates: Some(keys.clone()),
            tokens: Some(keys),
            ..options
        };
        let manager = api.client(User::new("system:kube-controller-manager", [""; 0]));
        let accounts = api.clone();
        let identities: Identities = Arc::new(move |name: &str| {
            accounts.client(User::service_account("kube-system", name, ""))
        });
        let hub = Hub::with_identities(manager, identities, shutdown.clone());
        let pods = hub.informer::<Pod>();
        let mut tasks = JoinSet::new();
        tasks.spawn(Workloads::new(hub.clone(), options).run(shutdown.clone()));
        tasks.spawn(kubelet(client.clone(), pods.clone(), shutdown.clone()));
        let cluster = Self {
            client,
            hub,
            pods,
            signer,
            api,
            shutdown,
            tasks,
            _dir: dir,
        };
        cluster.node("n1").await;
        cluster
            .create(
                &serde_json::from_value::<Namespace>(json!({"metadata": {"name": NS}})).unwrap(),
            )
            .await;
        cluster
    }

    pub(crate) async fn node(&self, name: &str) {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        self.create(&node).await;
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": Timestamp::now().to_string()}]}});
        let nodes = Api::<Node>::all(self.client.clone());
        nodes
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
    }

    /// A client whose requests are this user's.
    pub(crate) fn client_of(&self, user: User) -> Client {
        self.api.client(user)
    }

    pub(crate) fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NS)
    }

    pub(crate) async fn create<K>(&self, object: &K) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        self.all::<K>()
            .create(&PostParams::default(), object)
            .await
            .unwrap()
    }

    /// Creates an object in the test's namespace.
    pub(crate) async fn apply<K>(&self, value: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let object: K = serde_json::from_value(value).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap()
    }

    /// Waits until the object fulfils a condition, and returns it.
    pub(crate) async fn until<K>(&self, name: &str, what: &str, check: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let api = self.api::<K>();
        let mut last = None;
        let wait = async {
            loop {
                if let Some(object) = api.get_opt(name).await.unwrap() {
                    if check(&object) {
                        return object;
                    }
                    last = Some(object);
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        };
        let Ok(object) = tokio::time::timeout(DEADLINE, wait).await else {
            panic!(
                "{name} never: {what}; last seen {}",
                serde_json::to_string_pretty(&last).unwrap()
            )
        };
        object
    }

    pub(crate) async fn gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let api = self.api::<K>();
        eventually(&format!("{name} is gone"), async || {
            api.get_opt(name).await.unwrap().is_none()
        })
        .await;
    }

    /// The namespace's pods that are not being deleted.
    pub(crate) async fn living_pods(&self) -> Vec<Pod> {
        let mut pods = self
            .api::<Pod>()
            .list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        let ended = async {
            self.hub.closed().await;
            while self
                .tasks
                .join_next()
                .await
                .is_some_and(|task| task.is_ok())
            {}
            self.api.close().await;
        };
        tokio::time::timeout(DEADLINE, ended)
            .await
            .expect("everything stops");
    }
}

pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// Places pods on `n1`, runs them, and lets them go when they are deleted. The first container's
/// image decides what becomes of a pod: `ok` becomes ready, `stuck` never does, `exit-N` ends with
/// that code.
async fn kubelet(client: Client, pods: Informer<Pod>, shutdown: CancellationToken) {
    let mut changes = pods.subscribe();
    let mut address = 0_u32;
    let work = async {
        while let Some(event) = changes.next().await {
            if let Event::Applied { new, .. } = event {
                address += 1;
                step(&client, &new, address).await;
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// Does the next thing to a pod. Conflicts and pods that are gone bring another event.
async fn step(client: &Client, pod: &Pod, address: u32) {
    let namespace = pod.metadata.namespace.as_deref().unwrap();
    let name = pod.metadata.name.as_deref().unwrap();
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let spec = pod.spec.as_ref().unwrap();
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending");
    let finished = matches!(phase, "Succeeded" | "Failed");
    if pod.metadata.deletion_timestamp.is_some() {
        if spec.node_name.as_deref() != Some("n1") {
            return;
        }
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        if !finished {
            let status =
                json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed"}});
            let _ = api
                .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                .await;
        }
        let _ = api.delete(name, &now).await;
        return;
    }
    if spec.node_name.is_none() {
        let binding = json!({"metadata": {"name": name, "uid": pod.metadata.uid}, "target": {"kind": "Node", "name": "n1"}});
        let body = serde_json::to_vec(&binding).unwrap();
        let url = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = http::Request::post(url)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let _ = client.request::<Value>(request).await;
        return;
    }
    if phase != "Pending" {
        return;
    }
    let now = Timestamp::now().to_string();
    let container = &spec.containers[0];
    let image = container.image.as_deref().unwrap_or_default();
    let ip = Ipv4Addr::from(0x0a01_0000 + address).to_string();
    let mut status = json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
        "conditions": [{"type": "Ready", "status": if image == "ok" { "True" } else { "False" }, "lastTransitionTime": now}],
    });
    if let Some(code) = image.strip_prefix("exit-") {
        let code: i32 = code.parse().unwrap();
        status["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
        status["conditions"][0]["status"] = json!("False");
        status["containerStatuses"] = json!([{
            "name": container.name, "image": image, "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": now, "startedAt": now}},
        }]);
    }
    let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
    let _ = api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
}
