//! `consort up` and its end: nothing is left on the machine, and the next start finds everything.

use crate::harness::{Background, Cluster};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hello");

fn up(cluster: &Cluster) -> Background {
    cluster.spawn(&format!(
        "exec consort up {EXAMPLE} --node-name n1 --data-dir {} 2>&1",
        cluster.data_dir().display()
    ))
}

/// Ctrl-C in the server's terminal.
fn interrupt(cluster: &Cluster) {
    cluster.ok(&format!(
        "kill -INT $(cat {}/server.pid)",
        cluster.data_dir().display()
    ));
}

/// What differs from run to run, left out: times, the temporary directory, where the example lies, a plan's id. And the
/// lines of a walk, whose steps run side by side.
fn masked(cluster: &Cluster, text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.replace(&cluster.path().display().to_string(), "DIR");
        let step = line
            .trim_start()
            .split_once("s  ")
            .is_some_and(|(time, rest)| {
                time.parse::<f64>().is_ok()
                    && (rest.starts_with("begin ") || rest.starts_with("done "))
            });
        if step {
            continue;
        }
        let line = match line.split_once(' ') {
            Some(("from", _)) => "from EXAMPLE".to_owned(),
            Some(("Plan", rest)) => {
                let rest = rest.split_once(": ").map_or(rest, |(_, rest)| rest);
                format!("Plan ID: {rest}")
            }
            Some(("Operation", rest)) => {
                match (rest.split_once(" after "), rest.split_once(": ")) {
                    (Some((how, _)), Some((_, count))) => format!("Operation {how}: {count}"),
                    _ => line,
                }
            }
            _ => line,
        };
        let line = match line.trim_start().split_once("s ") {
            Some((time, rest)) if time.parse::<f64>().is_ok() => format!("TIME {rest}"),
            _ => line,
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[test]
fn up_tells_what_it_does_and_ctrl_c_leaves_nothing_and_loses_nothing() {
    let cluster = Cluster::unstarted();
    let mut first = up(&cluster);
    first.until_line("Ctrl-C stops everything");
    let uids = "kubectl get deployments,services,jobs,configmaps,secrets,pods -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}'";
    let before = cluster.ok(uids);
    cluster.shows(
        "curl -sf -m 5 http://127.0.0.1:30080/",
        "GREETING=Hello, world",
    );
    assert_eq!(
        cluster.ok("consort get deployments | sed -E 's/([0-9]+[smh])+$/AGE/'"),
        "NAME      READY   UP-TO-DATE   AVAILABLE   AGE\nbackend   3/3     3            3           AGE\nweb       2/2     2            2           AGE"
            .to_owned()
    );
    interrupt(&cluster);
    let (code, printed) = first.wait();
    assert_eq!(code, 0, "{printed}");
    assert_eq!(
        masked(&cluster, &printed),
        "TIME ok control plane ready at https://127.0.0.1:6443
TIME ok node n1 ready
hello: revision 0 -> 1, by consort:admin
from EXAMPLE
+ create

hello (manifests)  7 to create
  +   v1/ConfigMap/default/hello
  +   v1/Secret/default/hello
  +   apps/v1/Deployment/default/backend
  +   v1/Service/default/backend
  +   apps/v1/Deployment/default/web
  +   v1/Service/default/web
  +   batch/v1/Job/default/check

Plan ID: 7 to create; 0 points (threshold 49): may be carried out
Operation hello-1 succeeded: 7 of 7 done
service/web answers at http://127.0.0.1:30080
kubectl: export KUBECONFIG=DIR/data/admin.kubeconfig
Ctrl-C stops everything
TIME ok stopped; nothing is left running
"
    );
    cluster.nothing_is_left();

    // Again: everything is as it was, and then all of it dies at once.
    let mut second = up(&cluster);
    second.until_line("nothing to do, 7 unchanged");
    second.until_line("ok Deployment default/backend 3 of 3 available");
    second.until_line("ok Job default/check complete");
    second.until_line("Ctrl-C stops everything");
    assert_eq!(cluster.ok(uids), before);
    cluster.shows(
        "curl -sf -m 5 http://127.0.0.1:30080/",
        "GREETING=Hello, world",
    );
    cluster.kill_what_runs();
    drop(second);

    let mut third = up(&cluster);
    third.until_line("Ctrl-C stops everything");
    cluster.shows(
        "curl -sf -m 5 http://127.0.0.1:30080/",
        "GREETING=Hello, world",
    );
    interrupt(&cluster);
    assert_eq!(third.wait().0, 0);
    cluster.nothing_is_left();
}

#[test]
fn a_detached_server_is_stopped_by_down_and_a_start_can_be_interrupted() {
    let cluster = Cluster::unstarted();
    let dir = cluster.data_dir();
    let dir = dir.display();
    cluster.shows(
        &format!("consort up {EXAMPLE} --detach --node-name n1 --data-dir {dir}"),
        "runs in the background; stop it with consort down --data-dir",
    );
    cluster.shows(
        "curl -sf -m 5 http://127.0.0.1:30080/",
        "GREETING=Hello, world",
    );
    // A second server on the same directory is refused, and `up` uses the one that runs.
    let refused = cluster.fails(&format!(
        "consort server --data-dir {dir} --listen 127.0.0.1:7000"
    ));
    assert!(refused.contains("is served by process"), "{refused}");
    cluster.shows(
        &format!("consort up {EXAMPLE} --detach --data-dir {dir}"),
        "runs already",
    );
    cluster.shows(&format!("consort down --data-dir {dir}"), "stopped");
    cluster.nothing_is_left();
    cluster.shows(
        &format!("consort down --data-dir {dir}"),
        "no server runs on",
    );

    // Told to stop at several moments of a start (before it can hear of it, too); the process ends by itself and leaves nothing.
    for delay in ["0.01", "0.05", "0.1", "0.2", "0.4", "0.8"] {
        let script = format!(
            "consort up {EXAMPLE} --node-name n1 --data-dir {dir} >up.log 2>&1 & sleep {delay}; kill -TERM $!; wait $!; echo code $?"
        );
        let ran = cluster.sh(&script);
        assert!(
            ["code 0\n", "code 130\n", "code 143\n"].contains(&ran.stdout.as_str()),
            "after {delay} s: {ran:?}"
        );
        cluster.nothing_is_left();
    }
}
