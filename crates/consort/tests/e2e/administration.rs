//! What administrators ask for: nodes, permissions, the server itself; and a public manifest.

use std::path::{Path, PathBuf};

use crate::harness::{BUSYBOX, Cluster};

#[test]
fn the_server_is_asked_and_administered() {
    let cluster = Cluster::start();
    server(&cluster);
    permissions(&cluster);
    nodes(&cluster);
    cluster.stop();
}

fn server(cluster: &Cluster) {
    cluster.shows("kubectl version", "Server Version: v1.");
    cluster.shows(
        "kubectl cluster-info",
        "Kubernetes control plane is running at",
    );
    assert_eq!(cluster.ok("kubectl get --raw /healthz"), "ok");
    let versions = cluster.ok("kubectl api-versions");
    for version in ["v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1"] {
        assert!(versions.lines().any(|line| line == version), "{versions}");
    }
    let resources = cluster.ok("kubectl api-resources --verbs=list -o name");
    for resource in [
        "pods",
        "deployments.apps",
        "jobs.batch",
        "roles.rbac.authorization.k8s.io",
    ] {
        assert!(
            resources.lines().any(|line| line == resource),
            "{resources}"
        );
    }
    cluster.shows(
        "kubectl explain pod.spec.containers.image",
        "FIELD: image <string>",
    );
    for what in ["pods", "nodes"] {
        assert!(
            cluster
                .fails(&format!("kubectl top {what}"))
                .contains("Metrics API not available")
        );
    }
    let mut proxy = cluster.spawn("kubectl proxy --port=18001");
    proxy.until_line("Starting to serve on 127.0.0.1:18001");
    let names = cluster.ok("curl -sf http://127.0.0.1:18001/api/v1/namespaces");
    assert!(names.contains("kube-system"), "{names}");
    drop(proxy);
    assert!(
        cluster
            .fails("kubectl get wrongs")
            .contains("doesn't have a resource type \"wrongs\"")
    );
}

fn permissions(cluster: &Cluster) {
    assert_eq!(cluster.ok("kubectl auth can-i create pods"), "yes");
    cluster.shows("kubectl auth can-i --list", "*.*");
    cluster.shows("kubectl auth whoami", "system:masters");
    cluster.ok("kubectl create serviceaccount reader");
    let account = "system:serviceaccount:default:reader";
    assert!(
        cluster
            .fails(&format!("kubectl auth can-i list pods --as={account}"))
            .contains("no")
    );
    cluster.ok("kubectl create role reads --verb=get,list --resource=pods");
    cluster.ok("kubectl create rolebinding reads --role=reads --serviceaccount=default:reader");
    cluster.becomes(
        &format!("kubectl auth can-i list pods --as={account}"),
        "yes",
    );
    let config = "kubectl create token reader > token && kubectl config view --raw > mine.yaml && \
                  kubectl --kubeconfig mine.yaml config unset users && \
                  kubectl --kubeconfig mine.yaml config set-credentials reader --token=$(cat token) && \
                  kubectl --kubeconfig mine.yaml config set-context --current --user=reader";
    cluster.ok(config);
    cluster.shows("kubectl --kubeconfig mine.yaml auth whoami", account);
    cluster.ok("kubectl --kubeconfig mine.yaml get pods");
    assert!(
        cluster
            .fails("kubectl --kubeconfig mine.yaml get secrets")
            .contains("is forbidden")
    );
    let nobody = "kubectl --kubeconfig mine.yaml --token=wrong get pods";
    assert!(cluster.fails(nobody).contains("logged in"));
}

fn nodes(cluster: &Cluster) {
    cluster.ok(&format!(
        "kubectl create deployment moves --image={BUSYBOX} -- sh -c 'trap \"exit 0\" TERM; while true; do sleep 0.1; done'"
    ));
    cluster.ok("kubectl rollout status deploy/moves --timeout=60s");
    let used = cluster.ok("kubectl get --raw /api/v1/nodes/n1/proxy/stats/summary");
    let used: serde_json::Value = serde_json::from_str(&used).unwrap();
    assert!(
        used["node"]["cpu"]["usageNanoCores"].is_u64()
            && used["node"]["memory"]["usageBytes"].as_u64() > Some(0),
        "{used}"
    );
    let pods = used["pods"].as_array().unwrap();
    let moves = pods.iter().find(|pod| {
        pod["podRef"]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("moves-"))
    });
    let moves = &moves.expect("the pod of the deployment")["containers"][0];
    assert!(
        moves["memory"]["workingSetBytes"].as_u64() > Some(0),
        "{moves}"
    );
    assert_eq!(
        cluster.ok("kubectl get --raw /api/v1/nodes/n1/proxy/healthz"),
        "ok"
    );
    cluster.ok("kubectl cordon n1");
    cluster.shows("kubectl get node n1", "SchedulingDisabled");
    let before = cluster.ok("kubectl get pods -l app=moves -o name");
    let drained = cluster.ok("kubectl drain n1 --ignore-daemonsets --force --timeout=60s");
    assert!(drained.contains("node/n1 drained"), "{drained}");
    assert!(
        cluster
            .fails(&format!("kubectl get {before}"))
            .contains("not found")
    );
    cluster.becomes(
        "kubectl get pods -l app=moves -o 'jsonpath={.items[*].status.phase}'",
        "Pending",
    );
    cluster.ok("kubectl uncordon n1");
    cluster.ok("kubectl rollout status deploy/moves --timeout=60s");
    cluster.ok("kubectl taint node n1 reserved=yes:NoExecute");
    cluster.becomes(
        "kubectl get pods -l app=moves -o 'jsonpath={.items[*].status.phase}'",
        "Pending",
    );
    cluster.shows("kubectl events", "untolerated taint");
    cluster.ok("kubectl taint node n1 reserved-");
    cluster.ok("kubectl rollout status deploy/moves --timeout=60s");
}

/// Where public manifests are kept, if they are on this machine.
fn cases() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases");
    let cases = std::env::var_os("CONSORT_CASES").map_or(beside, PathBuf::from);
    cases.is_dir().then_some(cases)
}

#[test]
fn every_object_of_a_public_shop_is_accepted() {
    let Some(cases) = cases() else {
        println!("skipped: there is no ../shared/cases, and CONSORT_CASES is not set");
        return;
    };
    let manifest = cases.join("manifests/online-boutique.yaml");
    let mut cluster = Cluster::unstarted();
    cluster.launch(&["--no-node"]);
    let text = cluster.ok(&format!("kubectl apply -f {}", manifest.display()));
    assert_eq!(
        text.lines()
            .filter(|line| line.ends_with(" created"))
            .count(),
        35,
        "{text}"
    );
    let text = cluster.ok(&format!("kubectl apply -f {}", manifest.display()));
    assert_eq!(
        text.lines()
            .filter(|line| line.ends_with(" unchanged"))
            .count(),
        35,
        "{text}"
    );
    cluster.ok(&format!("kubectl diff -f {}", manifest.display()));
    cluster.ok(&format!("kubectl delete -f {}", manifest.display()));
    cluster.stop();
}
