//! Looking into pods: logs, commands, files, ports.

use crate::harness::{BUSYBOX, Cluster};

/// A pod that serves a page, counts aloud, and answers on its standard input.
fn shell() -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: shell, labels: {{app: shell}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    command:
    - sh
    - -c
    - |
      echo first line; echo to-stderr >&2
      mkdir -p /tmp/www; echo a page > /tmp/www/index.html
      httpd -p 8080 -h /tmp/www
      n=0; while true; do n=$((n+1)); echo count $n; sleep 0.3; done
  - name: listener
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    stdin: true
    command: [sh, -c, 'while read line; do echo "got $line"; done; sleep 100000']
---
apiVersion: v1
kind: Service
metadata: {{name: shell}}
spec:
  selector: {{app: shell}}
  ports: [{{port: 80, targetPort: 8080}}]
"#
    )
}

#[test]
fn pods_are_looked_into() {
    let cluster = Cluster::start();
    cluster.apply(&shell());
    cluster.ok("kubectl wait --for=condition=Ready pod/shell --timeout=60s");
    logs(&cluster);
    commands(&cluster);
    attaches(&cluster);
    copies(&cluster);
    forwards(&cluster);
    older_clients(&cluster);
    debugs(&cluster);
    runs(&cluster);
    cluster.stop();
}

fn logs(cluster: &Cluster) {
    cluster.shows("kubectl logs shell -c main", "first line\n");
    cluster.shows("kubectl logs shell -c main", "to-stderr\n");
    assert_eq!(
        cluster
            .ok("kubectl logs shell -c main --tail=1")
            .lines()
            .count(),
        1
    );
    assert!(
        cluster
            .ok("kubectl logs shell -c main --limit-bytes=5")
            .starts_with("first")
    );
    let stamped = cluster.ok("kubectl logs shell -c main --timestamps --tail=1");
    assert!(
        stamped.starts_with("20") && stamped.contains("Z count "),
        "{stamped}"
    );
    cluster.shows(
        "kubectl logs -l app=shell --all-containers --prefix",
        "[pod/shell/main] ",
    );
    assert!(
        cluster
            .fails("kubectl logs shell -c nothing")
            .contains("container nothing is not valid")
    );
    assert!(
        cluster
            .fails("kubectl logs shell -c main --previous")
            .contains("previous terminated container")
    );
    let mut follow = cluster.spawn("kubectl logs -f shell -c main --tail=0");
    let first = follow.until_line("count ");
    assert_ne!(follow.until_line("count "), first);
    drop(follow);

    cluster.ok(&format!(
        "kubectl run crash --image={BUSYBOX} -- sh -c 'if [ -e /dev/shm/again ]; then echo again; else echo started; fi; exit 3'"
    ));
    cluster.until("the pod has crashed", || {
        let count = cluster
            .ok("kubectl get pod crash -o 'jsonpath={.status.containerStatuses[0].restartCount}'");
        count
            .parse::<u32>()
            .is_ok_and(|count| count > 0)
            .then_some(())
    });
    cluster.shows("kubectl logs crash --previous", "started");
    assert_eq!(
        cluster.ok("kubectl get pod crash -o 'jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}'"),
        "3"
    );
    cluster.ok("kubectl delete pod crash --now");
}

fn commands(cluster: &Cluster) {
    let ran = cluster.sh("kubectl exec shell -c main -- sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_eq!(ran.stdout, "out\n");
    assert!(ran.stderr.starts_with("err\n"), "{ran:?}");
    assert!(
        ran.stderr
            .ends_with("command terminated with exit code 7\n"),
        "{ran:?}"
    );
    let ran = cluster.sh("kubectl exec shell -c main -- true");
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", "")
    );
    assert!(
        cluster
            .fails("kubectl exec shell -c main -- /no/such/program")
            .contains("no such file")
    );
    assert_eq!(
        cluster.ok("printf abc | kubectl exec -i shell -c main -- cat"),
        "abc"
    );
    assert_eq!(
        cluster.ok("head -c 3000000 /dev/zero | kubectl exec -i shell -c main -- wc -c"),
        "3000000",
        "the end of the input arrives, and all of it before"
    );
    assert_eq!(
        cluster.ok("kubectl exec shell -c main -- head -c 3000000 /dev/zero | wc -c"),
        "3000000"
    );
    let terminal = cluster.ok("script -qec 'kubectl exec -it shell -c main -- tty' /dev/null");
    assert!(terminal.contains("/dev/pts/"), "{terminal}");
    let sized = "stty rows 33 cols 77; kubectl exec -it shell -c main -- \
                 sh -c \"until stty size | grep -q \\\"33 77\\\"; do sleep 0.1; done; echo fits\"";
    cluster.shows(&format!("script -qec '{sized}' /dev/null"), "fits");
    let ran =
        cluster.sh("script -qec 'kubectl exec -it shell -c main -- sh -c \"exit 9\"' /dev/null");
    assert_eq!(ran.code, 9, "{ran:?}");
}

fn attaches(cluster: &Cluster) {
    let mut attached = cluster
        .spawn("(echo one; sleep 1; echo two; sleep 60) | kubectl attach -i shell -c listener");
    attached.until_line("got one");
    attached.until_line("got two");
    drop(attached);
    let mut attached = cluster.spawn("kubectl attach shell -c main");
    attached.until_line("count ");
    drop(attached);
    cluster.shows("kubectl logs shell -c listener", "got two");
}

fn copies(cluster: &Cluster) {
    cluster.ok(
        "mkdir -p tree/deep && head -c 300000 /dev/urandom > tree/deep/file && echo x > tree/small",
    );
    cluster.ok("kubectl cp -c main tree shell:/tmp/tree");
    cluster.ok("kubectl cp -c main shell:/tmp/tree back");
    cluster.ok("diff -r tree back");
}

fn forwards(cluster: &Cluster) {
    for target in ["pod/shell 18080:8080", "service/shell 18080:80"] {
        let mut forward = cluster.spawn(&format!("kubectl port-forward {target}"));
        forward.until_line("Forwarding from 127.0.0.1:18080");
        for _ in 0..3 {
            assert_eq!(
                cluster.ok("curl -sf -m 10 http://127.0.0.1:18080/"),
                "a page"
            );
        }
        drop(forward);
    }
    // Where nothing listens, the client is told which port refused.
    let mut forward = cluster.spawn("kubectl port-forward pod/shell 18081:9 2>&1");
    forward.until_line("Forwarding from 127.0.0.1:18081");
    cluster.fails("curl -sf -m 10 http://127.0.0.1:18081/");
    forward.until_line("error forwarding port 9 to pod");
    drop(forward);
}

/// Clients before WebSockets speak SPDY.
fn older_clients(cluster: &Cluster) {
    let exec = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl exec";
    let ran = cluster.sh(&format!(
        "{exec} shell -c main -- sh -c 'echo out; echo err >&2; exit 7'"
    ));
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "out\n"), "{ran:?}");
    assert!(ran.stderr.starts_with("err\n"), "{ran:?}");
    assert_eq!(
        cluster.ok(&format!(
            "head -c 3000000 /dev/zero | {exec} -i shell -c main -- wc -c"
        )),
        "3000000"
    );
    assert_eq!(
        cluster.ok(&format!(
            "{exec} shell -c main -- head -c 3000000 /dev/zero | wc -c"
        )),
        "3000000"
    );
    let terminal = cluster.ok("export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false; \
         script -qec 'kubectl exec -it shell -c main -- tty' /dev/null");
    assert!(terminal.contains("/dev/pts/"), "{terminal}");
    let mut forward = cluster
        .spawn("KUBECTL_PORT_FORWARD_WEBSOCKETS=false kubectl port-forward pod/shell 18080:8080");
    forward.until_line("Forwarding from 127.0.0.1:18080");
    for _ in 0..3 {
        assert_eq!(
            cluster.ok("curl -sf -m 10 http://127.0.0.1:18080/"),
            "a page"
        );
    }
    drop(forward);
}

fn debugs(cluster: &Cluster) {
    cluster.ok(&format!(
        "kubectl debug shell --image={BUSYBOX} --image-pull-policy=IfNotPresent -c looker -- sh -c 'echo looked; wget -qO- 127.0.0.1:8080'"
    ));
    cluster.becomes("kubectl logs shell -c looker", "looked\na page");
    cluster.shows("kubectl describe pod shell", "Ephemeral Containers:");
    // It is there for the processes of the container it is pointed at.
    cluster.ok(&format!(
        "kubectl debug shell --image={BUSYBOX} --image-pull-policy=IfNotPresent -c watcher --target=main -- ps -o comm"
    ));
    cluster.becomes("kubectl logs shell -c watcher | grep -cx httpd", "1");
    let named = cluster.ok(&format!(
        "kubectl debug node/n1 --image={BUSYBOX} -- ls -d /host/proc"
    ));
    assert!(named.contains("node-debugger-n1-"), "{named}");
    cluster.becomes(
        "kubectl get pods --no-headers | grep node-debugger-n1- | grep -c Completed",
        "1",
    );
    cluster.shows(
        "kubectl logs $(kubectl get pods -o name | grep node-debugger-n1-)",
        "/host/proc",
    );
}

fn runs(cluster: &Cluster) {
    cluster.ok(&format!(
        "kubectl run plain --image={BUSYBOX} --restart=Never -- sh -c 'echo ran; exit 4'"
    ));
    cluster.ok("kubectl wait --for=jsonpath='{.status.phase}'=Failed pod/plain --timeout=60s");
    assert_eq!(cluster.ok("kubectl logs plain"), "ran");
    cluster.shows("kubectl get pod plain", "Error");
    let piped = cluster.ok(&format!(
        "echo 'echo from the pipe; exit' | kubectl run piped --image={BUSYBOX} --restart=Never -i --rm -- sh"
    ));
    assert!(piped.contains("from the pipe"), "{piped}");
    assert!(piped.contains("pod \"piped\" deleted"), "{piped}");
    let ran = cluster.sh(&format!(
        "script -qec 'kubectl run term --image={BUSYBOX} --restart=Never -it --rm -- sh -c \"sleep 1; tty; exit 5\"' /dev/null"
    ));
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.stdout.contains("/dev/pts/"), "{ran:?}");
    assert!(cluster.fails("kubectl get pod term").contains("not found"));
}
