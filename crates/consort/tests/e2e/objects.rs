//! Objects: made, shown, changed and deleted.

use crate::harness::{BUSYBOX, Cluster};

/// A deployment whose pods stop at once and need nothing from outside.
fn web(replicas: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: {BUSYBOX}
        imagePullPolicy: IfNotPresent
        command: [sleep, "100000"]
        ports: [{{containerPort: 8080, name: http}}]
"#
    )
}

#[test]
fn objects_are_made_shown_changed_and_deleted() {
    let cluster = Cluster::start();
    makes(&cluster);
    shows(&cluster);
    describes(&cluster);
    changes(&cluster);
    deletes(&cluster);
    cluster.stop();
}

fn makes(cluster: &Cluster) {
    cluster.write("web.yaml", &web(2));
    cluster.shows("kubectl apply -f web.yaml", "deployment.apps/web created");
    cluster.shows("kubectl apply -f web.yaml", "deployment.apps/web unchanged");
    cluster.shows(
        "kubectl rollout status deploy/web --timeout=60s",
        "successfully rolled out",
    );
    cluster.ok("kubectl create configmap settings --from-literal=colour=blue");
    cluster.shows(
        "kubectl create configmap settings --from-literal=a=b || true",
        "already exists",
    );
    cluster.ok("kubectl create secret generic key --from-literal=password=hidden");
    cluster.ok("kubectl create namespace side");
    cluster.ok("kubectl create -n side configmap other --from-literal=a=b");
    cluster.ok(
        "kubectl create deployment small --image=consort.dev/toolbox --replicas=0 -- sleep 1000",
    );
    cluster.ok("kubectl create job once --image=consort.dev/toolbox -- echo done-once");
    cluster.shows(
        "kubectl wait --for=condition=complete job/once --timeout=60s",
        "condition met",
    );
    assert_eq!(cluster.ok("kubectl logs job/once"), "done-once");
    cluster.shows(
        "kubectl expose deploy web --port=80 --target-port=http",
        "service/web exposed",
    );
    cluster.write(
        "new.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: b}\n",
    );
    cluster.shows(
        "kubectl apply --server-side -f new.yaml",
        "configmap/applied serverside-applied",
    );
    cluster.write(
        "layer/kustomization.yaml",
        "namePrefix: layered-\nconfigMapGenerator:\n- name: c\n  literals: [a=b]\n",
    );
    cluster.shows("kubectl apply -k layer", "configmap/layered-c-");
    // Bad input changes nothing and says where it is wrong.
    let kind = "apiVersion: v1\nkind: ConfigMap\nmetadata:";
    cluster.write("refused.yaml", &format!("{kind} {{name: Wrong_Name}}\n"));
    let refused = cluster.fails("kubectl apply -f refused.yaml");
    assert!(
        refused.contains("metadata.name: Invalid value"),
        "{refused}"
    );
    cluster.write(
        "unknown.yaml",
        &format!("{kind} {{name: typo}}\ndataa: {{a: b}}\n"),
    );
    let unknown = cluster.fails("kubectl apply -f unknown.yaml");
    assert!(unknown.contains("unknown field \"dataa\""), "{unknown}");
    assert!(
        cluster
            .fails("kubectl get configmap typo")
            .contains("configmaps \"typo\" not found")
    );
}

fn shows(cluster: &Cluster) {
    let wide = cluster.ok("kubectl get deploy web -o wide");
    assert!(
        wide.contains("SELECTOR") && wide.contains("app=web"),
        "{wide}"
    );
    let wide = cluster.ok("kubectl get pods -l app=web -o wide --no-headers");
    assert_eq!(
        wide.lines()
            .filter(|line| line.contains(" n1 ") && line.contains("Running"))
            .count(),
        2,
        "{wide}"
    );
    assert_eq!(
        cluster.ok("kubectl get deploy web -o name"),
        "deployment.apps/web"
    );
    assert_eq!(
        cluster.ok("kubectl get deploy web -o 'jsonpath={.spec.replicas}'"),
        "2"
    );
    assert_eq!(
        cluster.ok(
            "kubectl get cm settings --no-headers -o custom-columns=N:.metadata.name,C:.data.colour"
        ),
        "settings   blue"
    );
    let json: serde_json::Value =
        serde_json::from_str(&cluster.ok("kubectl get deploy web -o json")).expect("JSON");
    assert_eq!(json["status"]["readyReplicas"], 2);
    cluster.shows("kubectl get cm settings -o yaml", "colour: blue");
    cluster.shows("kubectl get cm -A", "other");
    assert_eq!(
        cluster.ok("kubectl get pods --field-selector=status.phase=Failed -o name"),
        ""
    );
    assert_eq!(
        cluster
            .ok("kubectl get pods -l 'app in (web),!nothing' -o name")
            .lines()
            .count(),
        2
    );
    cluster.shows("kubectl get all", "replicaset.apps/web-");
    let sorted = cluster.ok("kubectl get cm --sort-by=.metadata.name -o name");
    assert!(sorted.lines().is_sorted(), "{sorted}");

    let mut watch =
        cluster.spawn("kubectl get configmap -w -o 'jsonpath={.metadata.name}={.data.v}{\"\\n\"}'");
    watch.until_line("settings");
    cluster.ok("kubectl create configmap watched --from-literal=v=1");
    watch.until_line("watched=1");
    cluster.ok("kubectl patch configmap watched -p '{\"data\":{\"v\":\"2\"}}'");
    watch.until_line("watched=2");
    drop(watch);
}

fn describes(cluster: &Cluster) {
    cluster.shows("kubectl describe deploy web", "ScalingReplicaSet");
    cluster.shows("kubectl describe pods -l app=web", "Started container web");
    cluster.shows("kubectl describe svc web", "Endpoints:                10.");
    cluster.shows("kubectl describe node n1", "KubeletReady");
    cluster.shows("kubectl describe namespace side", "Active");
    cluster.shows("kubectl describe job once", "1 Succeeded / 0 Failed");
    let secret = cluster.shows("kubectl describe secret key", "password:  6 bytes");
    assert!(!secret.contains("hidden"));
    cluster.shows("kubectl events --for deploy/web", "ScalingReplicaSet");
    cluster.shows(
        "kubectl explain deployment.spec.replicas",
        "FIELD: replicas <integer>",
    );
}

fn changes(cluster: &Cluster) {
    let replicas = "kubectl get deploy web -o 'jsonpath={.spec.replicas}'";
    cluster.ok("KUBE_EDITOR=\"sed -i 's/replicas: 2/replicas: 1/'\" kubectl edit deploy web");
    assert_eq!(cluster.ok(replicas), "1");
    cluster.ok("kubectl patch deploy web -p '{\"spec\":{\"replicas\":3}}'");
    assert_eq!(cluster.ok(replicas), "3");
    // A strategic patch merges containers by name, where a merge patch would replace the list.
    cluster.ok(
        "kubectl patch deploy small -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"second\",\"image\":\"x\"}]}}}}'",
    );
    assert_eq!(
        cluster
            .ok("kubectl get deploy small -o 'jsonpath={.spec.template.spec.containers[*].name}'"),
        "second toolbox"
    );
    cluster.ok(
        "kubectl patch deploy web --type=merge -p '{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}'",
    );
    cluster.ok("kubectl patch deploy web --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}]'");
    assert_eq!(cluster.ok(replicas), "1");
    assert!(
        cluster
            .fails("kubectl patch deploy web --type=json -p '[{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":9}]'")
            .contains("test")
    );
    cluster.ok("kubectl scale deploy web --replicas=2");
    assert!(
        cluster
            .fails("kubectl scale deploy web --current-replicas=7 --replicas=1")
            .contains("Expected replicas")
    );
    cluster.becomes(
        "kubectl get deploy web -o 'jsonpath={.status.readyReplicas}'",
        "2",
    );
    cluster.ok("kubectl label deploy web tier=front");
    assert_eq!(
        cluster.ok("kubectl get deploy -l tier=front -o name"),
        "deployment.apps/web"
    );
    assert!(
        cluster
            .fails("kubectl label deploy web tier=back")
            .contains("already has a value")
    );
    cluster.ok("kubectl label deploy web tier-");
    cluster.ok("kubectl annotate deploy web note=kept");
    assert_eq!(
        cluster.ok("kubectl get deploy web -o 'jsonpath={.metadata.annotations.note}'"),
        "kept"
    );

    cluster.write("web3.yaml", &web(3));
    let differs = cluster.sh("kubectl diff -f web3.yaml");
    assert_eq!(differs.code, 1, "{differs:?}");
    assert!(
        differs.stdout.contains("+  replicas: 3"),
        "{}",
        differs.stdout
    );
    assert_eq!(cluster.ok(replicas), "2", "diff changes nothing");
    cluster.ok("kubectl replace -f web3.yaml");
    assert_eq!(cluster.ok(replicas), "3");
    assert_eq!(cluster.sh("kubectl diff -f web3.yaml").code, 0);
    cluster.shows(
        "kubectl apply --dry-run=server -f web.yaml",
        "configured (server dry run)",
    );
    assert_eq!(cluster.ok(replicas), "3");
    let stale = "kubectl get cm settings -o yaml > old.yaml && kubectl label cm settings new=er && kubectl replace -f old.yaml";
    assert!(
        cluster
            .fails(stale)
            .contains("the object has been modified")
    );
}

fn deletes(cluster: &Cluster) {
    let pods = "kubectl get pods -l app=web -o name | wc -l";
    cluster.becomes(pods, "3");
    cluster.ok("kubectl delete deploy web --cascade=orphan");
    assert_eq!(
        cluster
            .ok("kubectl get rs -l app=web -o name")
            .lines()
            .count(),
        1
    );
    assert_eq!(cluster.ok(pods), "3");
    cluster.ok("kubectl delete rs -l app=web --cascade=foreground");
    assert_eq!(
        cluster.ok(pods),
        "0",
        "in the foreground, what is owned goes first"
    );
    cluster.ok("kubectl apply -f web.yaml && kubectl rollout status deploy/web --timeout=60s");
    cluster.ok("kubectl delete deploy web");
    cluster.becomes(pods, "0");
    cluster.ok(&format!(
        "kubectl run stays --image={BUSYBOX} --overrides='{{\"spec\":{{\"terminationGracePeriodSeconds\":2}}}}' -- sleep 100000"
    ));
    cluster.ok("kubectl wait --for=condition=Ready pod/stays --timeout=60s");
    cluster.ok("kubectl delete pod stays --force --grace-period=0");
    assert!(cluster.fails("kubectl get pod stays").contains("not found"));
    assert!(
        cluster
            .fails("kubectl delete pod stays")
            .contains("not found")
    );
    cluster.ok("kubectl delete pod stays --ignore-not-found");
    cluster.ok("kubectl delete namespace side");
    assert!(
        cluster
            .fails("kubectl get -n side cm other")
            .contains("not found")
    );
    cluster.shows("kubectl delete configmap --all", "\"settings\" deleted");
    cluster.becomes("kubectl get cm -o name", "configmap/kube-root-ca.crt");
    cluster.ok("kubectl delete job,deploy,svc -l '!component' --all=false && kubectl get svc kubernetes || true");
    cluster.becomes("kubectl get pods -o name", "");
}

#[test]
fn rollouts_go_forward_back_and_wait() {
    let cluster = Cluster::start();
    let status = "kubectl rollout status deploy/web --timeout=60s";
    let variable = "kubectl get deploy web -o 'jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"V\")].value}'";
    cluster.apply(&web(2));
    cluster.ok(status);
    cluster.ok("kubectl set env deploy/web V=2");
    cluster.shows(status, "successfully rolled out");
    assert_eq!(
        cluster.ok("kubectl exec deploy/web -- sh -c 'echo $V'"),
        "2"
    );
    let history = cluster.ok("kubectl rollout history deploy/web");
    assert!(
        history.contains("\n1 ") && history.contains("\n2 "),
        "{history}"
    );
    cluster.shows("kubectl rollout history deploy/web --revision=2", "V:\t2");
    cluster.ok("kubectl rollout undo deploy/web");
    cluster.shows(status, "successfully rolled out");
    assert_eq!(cluster.ok(variable), "");
    cluster.ok("kubectl rollout undo deploy/web --to-revision=2");
    cluster.shows(status, "successfully rolled out");
    assert_eq!(cluster.ok(variable), "2");

    let sets = cluster.ok("kubectl get rs -o name");
    cluster.ok("kubectl rollout pause deploy/web");
    cluster.ok("kubectl set env deploy/web V=3");
    cluster.becomes(
        "kubectl get deploy web -o 'jsonpath={.metadata.generation} {.status.observedGeneration}' | awk '{print $1==$2}'",
        "1",
    );
    assert_eq!(
        cluster.ok("kubectl get rs -o name"),
        sets,
        "a paused rollout starts nothing"
    );
    cluster.ok("kubectl rollout resume deploy/web");
    cluster.shows(status, "successfully rolled out");
    assert_eq!(
        cluster.ok("kubectl exec deploy/web -- sh -c 'echo $V'"),
        "3"
    );

    let before = cluster.ok("kubectl get pods -l app=web -o name");
    cluster.ok("kubectl rollout restart deploy/web");
    cluster.shows(status, "successfully rolled out");
    let pods = "kubectl get pods -l app=web --field-selector=status.phase=Running -o name";
    cluster.until("the old pods are gone", || {
        let now = cluster.ok(pods);
        (now.lines().count() == 2 && now.lines().all(|pod| !before.contains(pod))).then_some(())
    });
    cluster.ok("kubectl set image deploy/web web=consort.dev/toolbox");
    cluster.shows(status, "successfully rolled out");

    // An image that cannot be had stops the rollout and leaves the old pods serving.
    cluster.ok(
        "kubectl patch deploy web -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"web\",\"image\":\"e2e.test/missing:1\",\"imagePullPolicy\":\"Never\"}]}}}}'",
    );
    cluster.becomes(
        "kubectl get pods -l app=web -o 'jsonpath={..waiting.reason}' | tr ' ' '\\n' | grep -m1 ErrImageNeverPull",
        "ErrImageNeverPull",
    );
    assert_eq!(
        cluster.ok("kubectl get deploy web -o 'jsonpath={.status.availableReplicas}'"),
        "2"
    );
    assert!(
        cluster
            .fails("kubectl rollout status deploy/web --timeout=1s")
            .contains("timed out")
    );
    cluster.ok("kubectl rollout undo deploy/web");
    cluster.ok(status);
    cluster.shows(
        "kubectl wait --for=condition=Available deploy/web --timeout=30s",
        "condition met",
    );
    cluster.shows(
        "kubectl wait --for=jsonpath='{.status.readyReplicas}'=2 deploy/web --timeout=30s",
        "condition met",
    );
    let deletion =
        cluster.spawn("kubectl wait --for=delete deploy/web --timeout=60s && echo is-gone");
    cluster.ok("kubectl delete deploy web");
    let (code, printed) = deletion.wait();
    assert!(
        code == 0 && printed.contains("is-gone"),
        "{code}: {printed}"
    );
    cluster.stop();
}
