//! The real kubectl over TLS on loopback.
#![allow(missing_docs)]

mod support;

use consort_api::identity::User;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use support::Server;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server on a socket, and kubectl with its kubeconfig.
struct Kubectl {
    server: Server,
    config: PathBuf,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Kubectl {
    async fn start() -> Self {
        let server = Server::start().await;
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let config = server.dir.path().join("kubeconfig");
        let text = server
            .pki
            .kubeconfig(&User::admin(), &format!("https://{address}"))
            .unwrap();
        std::fs::write(&config, text).unwrap();
        let shutdown = CancellationToken::new();
        let tls = server.pki.server_config().unwrap();
        let (api, stop) = (server.api.clone(), shutdown.clone());
        let serving = tokio::spawn(async move { api.serve(listener, Some(tls), stop).await });
        Self {
            server,
            config,
            shutdown,
            serving,
        }
    }

    /// Run kubectl with this on its standard input; what it wrote, and whether it succeeded.
    async fn run(&self, arguments: &str, input: &str) -> (bool, String) {
        let mut child = tokio::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.config)
            .arg(format!(
                "--cache-dir={}",
                self.server.dir.path().join("cache").display()
            ))
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl is installed");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let limit = std::time::Duration::from_secs(60);
        let output = tokio::time::timeout(limit, child.wait_with_output())
            .await
            .expect("kubectl hangs")
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.success(), text)
    }

    async fn ok(&self, arguments: &str) -> String {
        let (success, text) = self.run(arguments, "").await;
        assert!(success, "kubectl {arguments}: {text}");
        text
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }
}

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: 'nginx:1'}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_change_show_and_delete() {
    let kubectl = Kubectl::start().await;
    for want in [
        "deployment.apps/web created",
        "deployment.apps/web unchanged",
    ] {
        let (success, text) = kubectl.run("apply -f -", WEB).await;
        assert!(success && text.contains(want), "{text}");
    }
    let (success, diff) = kubectl.run("diff -f -", WEB).await;
    assert!(success, "nothing differs: {diff}");
    kubectl.ok("scale deployment web --replicas=3").await;
    kubectl.ok("set image deployment/web main=nginx:2").await;
    kubectl.ok("label deployment web tier=front").await;
    kubectl.ok("annotate deployment web note=x").await;
    kubectl.ok("rollout restart deployment/web").await;
    kubectl.ok("rollout pause deployment/web").await;
    let wide = kubectl.ok("get deployments -o wide").await;
    assert!(
        wide.contains("0/3") && wide.contains("nginx:2") && wide.contains("app=web"),
        "{wide}"
    );
    assert!(
        kubectl
            .ok("get deployment web --subresource=scale")
            .await
            .contains('3')
    );
    assert!(kubectl.ok("get all").await.contains("service/kubernetes"));
    assert!(kubectl.ok("describe service web").await.contains("10.96."));
    kubectl
        .ok("expose deployment web --name=web2 --port=80 --type=NodePort")
        .await;
    kubectl.ok("run one --image=nginx").await;
    assert!(
        kubectl
            .ok("get pod one -o jsonpath={.spec.restartPolicy}")
            .await
            .contains("Always")
    );
    kubectl.ok("delete pod one").await;
    kubectl.ok("delete deployment,service web").await;
    let (success, text) = kubectl.run("get deployment web", "").await;
    assert!(
        !success && text.contains("deployments.apps \"web\" not found"),
        "{text}"
    );
    kubectl.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_kubectl_asks_of_a_server() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("create namespace shop").await;
    kubectl
        .ok("create configmap settings --from-literal=a=1 -n shop")
        .await;
    kubectl
        .ok("create secret generic key --from-literal=p=q -n shop")
        .await;
    assert!(kubectl.ok("create token default").await.starts_with("eyJ"));
    assert!(kubectl.ok("auth whoami").await.contains("consort:admin"));
    assert_eq!(kubectl.ok("auth can-i create pods").await.trim(), "yes");
    let (_, denied) = kubectl.run("auth can-i create pods --as=nobody", "").await;
    assert_eq!(denied.trim(), "no");
    assert!(
        kubectl
            .ok("explain deployment.spec.strategy")
            .await
            .contains("rollingUpdate")
    );
    assert!(kubectl.ok("api-resources").await.contains("deployments"));
    assert!(
        kubectl
            .ok("api-versions")
            .await
            .contains("events.k8s.io/v1")
    );
    assert!(kubectl.ok("version").await.contains("consort"));
    assert!(
        kubectl
            .ok("get --raw /readyz?verbose")
            .await
            .contains("[+]store ok")
    );
    kubectl.ok("patch configmap settings -n shop --type=json -p [{\"op\":\"add\",\"path\":\"/data/b\",\"value\":\"2\"}]").await;
    kubectl
        .ok("wait --for=jsonpath={.data.b}=2 configmap/settings -n shop --timeout=5s")
        .await;
    let chunked = kubectl.ok("get clusterroles --chunk-size=5").await;
    assert!(
        chunked.contains("cluster-admin") && chunked.contains("view"),
        "{chunked}"
    );
    let typo = WEB.replace("selector:", "selektor:");
    let (success, text) = kubectl.run("apply -f -", &typo).await;
    assert!(
        !success && text.contains("unknown field \"spec.selektor\""),
        "{text}"
    );
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: b}\n";
    for _ in 0..2 {
        let (success, text) = kubectl.run("apply --server-side -f -", apply).await;
        assert!(success && text.contains("serverside-applied"), "{text}");
    }
    kubectl.ok("delete configmap settings -n shop").await;
    kubectl.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_keeps_owners_and_tells_conflicts() {
    let kubectl = Kubectl::start().await;
    let two = WEB.replace(
        "spec:\n  selector: {match",
        "spec:\n  replicas: 2\n  selector: {match",
    );
    let apply = "apply --server-side -f -";
    let (done, text) = kubectl.run(apply, &two).await;
    assert!(
        done && text.contains("deployment.apps/web serverside-applied"),
        "{text}"
    );
    let version = kubectl
        .ok("get deploy web -o jsonpath={.metadata.resourceVersion}")
        .await;
    let (done, text) = kubectl.run(apply, &two).await;
    assert!(done, "{text}");
    let again = kubectl
        .ok("get deploy web -o jsonpath={.metadata.resourceVersion}")
        .await;
    assert_eq!(version, again, "nothing changed");

    // The replicas change hands through the scale, and are missed in the manifest.
    kubectl.ok("scale deploy web --replicas=5").await;
    let shown = kubectl
        .ok("get deploy web -o json --show-managed-fields")
        .await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let scaled = shown["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["subresource"] == "scale")
        .expect("the scale's entry");
    assert_eq!(
        scaled["fieldsV1"],
        serde_json::json!({"f:spec": {"f:replicas": {}}})
    );
    assert_eq!(scaled["apiVersion"], "apps/v1");
    let (done, text) = kubectl.run(apply, &two).await;
    assert!(!done, "{text}");
    assert!(
        text.contains("Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"),
        "{text}"
    );
    let (same, text) = kubectl
        .run("diff --server-side --force-conflicts -f -", &two)
        .await;
    assert!(
        !same && text.contains("-  replicas: 5") && text.contains("+  replicas: 2"),
        "{text}"
    );
    let (done, text) = kubectl
        .run("apply --server-side --force-conflicts -f -", &two)
        .await;
    assert!(done, "{text}");
    assert_eq!(
        kubectl
            .ok("get deploy web -o jsonpath={.spec.replicas}")
            .await,
        "2"
    );
    let (same, text) = kubectl.run("diff --server-side -f -", &two).await;
    assert!(same, "{text}");

    // What is left out goes; what another manager owns stays.
    let labelled = two.replace(
        "metadata: {name: web}\nspec:\n  replicas",
        "metadata: {name: web, labels: {one: a, two: b}}\nspec:\n  replicas",
    );
    assert!(kubectl.run(apply, &labelled).await.0);
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {two: b}}\n";
    assert!(
        kubectl
            .run("apply --server-side --field-manager=other -f -", other)
            .await
            .0
    );
    assert!(kubectl.run(apply, &two).await.0);
    let labels = kubectl
        .ok("get deploy web -o jsonpath={.metadata.labels}")
        .await;
    assert_eq!(labels, "{\"two\":\"b\"}");
    let (done, text) = kubectl
        .run(
            "apply --server-side -f -",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndatum: {}\n",
        )
        .await;
    assert!(
        !done && text.contains(".datum: field not declared in schema"),
        "{text}"
    );
    kubectl.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_side_apply_is_taken_over_by_the_server() {
    let kubectl = Kubectl::start().await;
    let map = |data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {data}\n")
    };
    let (done, text) = kubectl.run("apply -f -", &map("{a: '1', b: '1'}")).await;
    assert!(done, "{text}");
    // kubectl moves the ownership itself, by a JSON patch of the managed fields.
    let (done, text) = kubectl
        .run("apply --server-side -f -", &map("{a: '2'}"))
        .await;
    assert!(done, "{text}");
    assert_eq!(
        kubectl.ok("get cm m -o jsonpath={.data}").await,
        "{\"a\":\"2\"}"
    );
    let shown = kubectl
        .ok("get cm m -o jsonpath={.metadata.managedFields[*].manager}")
        .await;
    assert_eq!(
        shown, "kubectl-last-applied kubectl",
        "the entry of the client-side apply is gone, its annotation has one"
    );
    // And back: the client-side apply finds its annotation in step.
    let (done, text) = kubectl.run("apply -f -", &map("{a: '3'}")).await;
    assert!(done, "{text}");
    assert_eq!(
        kubectl.ok("get cm m -o jsonpath={.data}").await,
        "{\"a\":\"3\"}"
    );
    kubectl.stop().await;
}
