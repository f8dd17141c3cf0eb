//! Kills while work is going on: nothing acknowledged is lost, and the application answers again.

use crate::harness::{Background, Cluster};

const APPLICATION: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: e2e.test/busybox:1
        command: [sh, -c, 'mkdir /www; hostname > /www/index.html; (while :; do echo tick; sleep 0.2; done) & exec httpd -f -p 8080 -h /www']
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}";

/// Creates objects one after the other and prints the name of each once it is acknowledged, until
/// [`check`] ends it; the server may be away meanwhile.
fn writer(cluster: &Cluster, prefix: &str) -> Background {
    cluster.spawn(&format!(
        "i=0; until test -e {prefix}.end; do i=$((i+1)); kubectl create configmap {prefix}-$i --from-literal=n=$i >/dev/null 2>&1 && echo {prefix}-$i; done"
    ))
}

/// Everything that was acknowledged is there, and whole.
fn check(cluster: &Cluster, written: Background, prefix: &str) -> usize {
    cluster.write(&format!("{prefix}.end"), "");
    let (_, acknowledged) = written.wait();
    let present = cluster.ok(
        "kubectl get configmaps -o jsonpath='{range .items[*]}{.metadata.name}={.data.n}{\"\\n\"}{end}'",
    );
    for name in acknowledged.lines() {
        let number = name.trim_start_matches(prefix).trim_start_matches('-');
        let line = format!("{name}={number}");
        assert!(
            present.lines().any(|one| one == line),
            "{name} was acknowledged and is lost"
        );
    }
    acknowledged.lines().count()
}

/// Name, container and restarts of each pod of the application.
fn pods(cluster: &Cluster) -> String {
    cluster.ok("kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}' | sort")
}

fn answers(cluster: &Cluster) {
    cluster.until("the application answers", || {
        (cluster.sh("curl -sf -m 2 http://127.0.0.1:30080/").code == 0).then_some(())
    });
}

fn restarts(cluster: &Cluster, expected: &str) {
    cluster.becomes("kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready} {end}' | tr ' ' '\\n' | sort | xargs", expected);
}

#[test]
fn pods_outlive_a_killed_server_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start();
    cluster.apply(APPLICATION);
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    let before = pods(&cluster);
    let mut written = writer(&cluster, "first");
    written.until_line("first-5");
    cluster.kill();
    // The pods and the way to them need no server.
    cluster.ok("for i in 1 2 3 4 5 6; do curl -sf -m 2 http://127.0.0.1:30080/; done");
    cluster.launch(&[]);
    assert!(check(&cluster, written, "first") >= 5);
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    assert_eq!(
        pods(&cluster),
        before,
        "the pods were not adopted as they were"
    );
    let pod = cluster.ok("kubectl get pods -l app=web -o name | head -n 1");
    cluster.shows(&format!("kubectl exec {pod} -- hostname"), "web-");
    let mut log = cluster.spawn(&format!("kubectl logs -f --tail=1 {pod}"));
    log.until_line("tick");
    log.until_line("tick");
    drop(log);

    // In the middle of a rollout, with a job running.
    cluster.ok("kubectl create job work --image=e2e.test/busybox:1 -- sh -c 'sleep 3; echo done'");
    cluster.becomes("kubectl get job work -o jsonpath={.status.ready}", "1");
    cluster.ok("kubectl patch deployment web -p '{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"round\":\"2\"}}}}}'");
    let mut written = writer(&cluster, "second");
    written.until_line("second-2");
    cluster.kill();
    cluster.launch(&[]);
    assert!(check(&cluster, written, "second") >= 2);
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    cluster.ok("kubectl wait --for=condition=Complete job/work --timeout=60s");
    assert_eq!(
        cluster.ok("kubectl get job work -o jsonpath='{.status.succeeded} {.status.failed}'"),
        "1"
    );
    answers(&cluster);
    cluster.stop();
}

#[test]
fn killed_containers_shims_and_whole_trees_come_back() {
    let mut cluster = Cluster::start();
    cluster.apply(APPLICATION);
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    // A container's process.
    cluster.kill_one("httpd -f -p 8080");
    restarts(&cluster, "0true 1true");
    cluster.ok("kubectl get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[0].lastState.terminated.exitCode}' | grep -x 137");
    // A shim: its pod gets a new sandbox.
    cluster.kill_one("__shim");
    cluster.becomes(
        "kubectl get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}' | tr ' ' '\\n' | awk '{n += $1} END {print n}'",
        "2",
    );
    cluster.ok("kubectl wait --for=condition=Ready pod -l app=web --timeout=60s");
    answers(&cluster);
    // Server, shims and containers at once, while objects are written.
    let mut written = writer(&cluster, "third");
    written.until_line("third-5");
    cluster.kill_everything();
    cluster.launch(&[]);
    assert!(check(&cluster, written, "third") >= 5);
    cluster.ok("kubectl wait --for=condition=Ready pod -l app=web --timeout=60s");
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    answers(&cluster);
    cluster.stop();
}

#[test]
fn a_server_told_to_keep_its_pods_leaves_them_running() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&["--keep-pods"]);
    cluster.import_busybox();
    cluster.apply(APPLICATION);
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    let before = pods(&cluster);
    cluster.terminate();
    cluster.ok("curl -sf -m 2 http://127.0.0.1:30080/");
    cluster.launch(&[]);
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    assert_eq!(
        pods(&cluster),
        before,
        "the pods were not adopted as they were"
    );
    answers(&cluster);
    cluster.stop();
}
