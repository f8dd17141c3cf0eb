//! Bad input and bad circumstances: each a clear error with the right exit code or HTTP status, and
//! nothing changed.

use crate::harness::Cluster;

#[track_caller]
fn exits(cluster: &Cluster, script: &str, code: i32, expected: &[&str]) {
    let ran = cluster.sh(script);
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, code, "$ {script}\n{all}");
    for text in expected {
        assert!(all.contains(text), "$ {script}\nlacks {text:?}:\n{all}");
    }
    assert!(!all.contains("panicked"), "$ {script}\n{all}");
    assert!(
        !all.contains('\u{1b}'),
        "colours without a terminal: $ {script}\n{all}"
    );
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let cluster = Cluster::unstarted();
    exits(
        &cluster,
        "consort frobnicate",
        2,
        &["unrecognized subcommand 'frobnicate'"],
    );
    exits(
        &cluster,
        "consort server --listen nowhere",
        2,
        &["invalid value 'nowhere'"],
    );
    exits(
        &cluster,
        "consort get pods --data-dir none",
        3,
        &[
            "no server is known",
            "none/admin.kubeconfig, which does not exist",
            "hint: start one",
        ],
    );
    cluster.write("config.yaml", "server:\n  listen: nowhere\n");
    exits(
        &cluster,
        "consort server --config config.yaml",
        2,
        &["invalid socket address", "config.yaml:2:11"],
    );
    cluster.write("config.yaml", "server:\n  listn: x\n");
    exits(
        &cluster,
        "consort server --config config.yaml",
        2,
        &["unknown field `listn`", "config.yaml:2:3"],
    );
    exits(
        &cluster,
        "consort server --config none.yaml",
        2,
        &["none.yaml", "No such file"],
    );
    exits(
        &cluster,
        "consort up none --data-dir d",
        4,
        &["reading none: No such file"],
    );
    cluster.write(
        "bad/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: [\n",
    );
    exits(
        &cluster,
        "consort up bad --data-dir d",
        4,
        &["not valid YAML", "bad/a.yaml:5:11", "labels: ["],
    );
    exits(&cluster, "test -e d", 1, &[]);
    exits(
        &cluster,
        "setpriv --reuid 65534 --inh-caps +dac_override --ambient-caps +dac_override consort server --data-dir d",
        5,
        &["running pods needs root", "hint: run this as root"],
    );
    exits(
        &cluster,
        "consort server --no-node --data-dir /proc/none",
        1,
        &["making the data directory /proc/none"],
    );
    exits(
        &cluster,
        "python3 -c 'import socket,time; s=socket.socket(); s.bind((\"127.0.0.1\",7001)); s.listen(); print(1, flush=True); time.sleep(60)' > bound & \
         until test -s bound; do sleep 0.05; done; consort server --data-dir d --listen 127.0.0.1:7001; code=$?; kill %1; exit $code",
        1,
        &[
            "listening on 127.0.0.1:7001: Address already in use",
            "hint:",
        ],
    );
    cluster.nothing_is_left();
}

#[test]
fn bad_objects_are_refused_with_their_place_and_the_right_status() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&["--no-node"]);
    let deployment = |spec: &str, container: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  {spec}\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      containers:\n      - name: c\n        image: x\n        {container}\n"
        )
    };
    cluster.write(
        "unknown.yaml",
        &deployment("replica: 3", "imagePullPolcy: Never"),
    );
    cluster.write("wrong.yaml", &deployment("replicas: three", "tty: true"));
    cluster.write("good.yaml", &deployment("replicas: 0", "tty: true"));
    cluster.write(
        "name.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: Not_Valid\n",
    );
    cluster.write(
        "kind.yaml",
        "apiVersion: v1\nkind: Frobnicator\nmetadata:\n  name: a\n",
    );
    exits(
        &cluster,
        "consort apply -f unknown.yaml",
        4,
        &["spec.replica", "imagePullPolcy", "unknown.yaml:6"],
    );
    exits(
        &cluster,
        "kubectl apply -f unknown.yaml",
        1,
        &[
            "unknown field \"spec.replica\"",
            "unknown field \"spec.template.spec.containers[0].imagePullPolcy\"",
        ],
    );
    exits(
        &cluster,
        "consort apply -f wrong.yaml",
        4,
        &["spec.replicas", "wrong.yaml:6"],
    );
    exits(
        &cluster,
        "consort apply -f name.yaml",
        4,
        &["Not_Valid", "RFC 1123", "name.yaml:4"],
    );
    exits(
        &cluster,
        "consort apply -f kind.yaml",
        4,
        &["Frobnicator", "kind.yaml:2"],
    );
    exits(&cluster, "consort get deployments", 0, &[]);
    exits(&cluster, "consort get frobs", 2, &["frobs"]);
    exits(
        &cluster,
        "consort get configmap none",
        1,
        &["configmaps \"none\" not found"],
    );
    exits(&cluster, "consort delete configmap none", 1, &["not found"]);
    exits(
        &cluster,
        "consort delete configmap none --ignore-not-found",
        0,
        &[],
    );
    exits(
        &cluster,
        "consort logs none",
        1,
        &["pods \"none\" not found"],
    );
    exits(
        &cluster,
        "consort exec none -- true",
        1,
        &["pods \"none\" not found"],
    );
    exits(
        &cluster,
        "consort apply -f good.yaml",
        0,
        &["deployment.apps/web created"],
    );
    exits(
        &cluster,
        "consort apply -f good.yaml",
        0,
        &["deployment.apps/web unchanged"],
    );
    exits(&cluster, "consort describe deployment web", 0, &["web"]);
    exits(&cluster, "consort delete deployment web", 0, &["web"]);
    exits(
        &cluster,
        "consort get pods --server https://127.0.0.1:1",
        3,
        &["reaching the server", "refused", "hint:"],
    );

    // A pod cannot be changed, so seeing a change where there is none would be an error.
    cluster.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec:\n  containers: [{name: c, image: x, ports: [{containerPort: 80}]}]\n");
    exits(
        &cluster,
        "consort apply -f pod.yaml",
        0,
        &["pod/one created"],
    );
    exits(
        &cluster,
        "consort apply -f pod.yaml",
        0,
        &["pod/one unchanged"],
    );

    // The statuses on the wire.
    cluster.ok("python3 -c \"print('{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"ConfigMap\\\",\\\"metadata\\\":{\\\"name\\\":\\\"big\\\"},\\\"data\\\":{\\\"k\\\":\\\"' + 'x' * 4000000 + '\\\"}}')\" > big.json");
    let api = "https://127.0.0.1:6443/api/v1/namespaces/default/configmaps";
    let status = |options: &str, code: &str| {
        cluster.becomes(
            &format!(
                "curl -sk -o body -w '%{{http_code}}' -H 'Content-Type: application/json' {options}"
            ),
            code,
        );
    };
    cluster.ok("kubectl config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d > crt; kubectl config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d > key");
    let admin = "--cert crt --key key";
    status(&format!("{admin} --data-binary @big.json {api}"), "413");
    status(&format!("{admin} -d nonsense {api}"), "400");
    status(
        &format!("{admin} -d '{{\"metadata\":{{\"name\":\"Not_Valid\"}}}}' {api}"),
        "422",
    );
    status(
        &format!("{admin} -d '{{\"metadata\":{{\"name\":\"x\"}}}}' {api}"),
        "201",
    );
    status(
        &format!("{admin} -d '{{\"metadata\":{{\"name\":\"x\"}}}}' {api}"),
        "409",
    );
    status(
        &format!(
            "{admin} -X PUT -d '{{\"metadata\":{{\"name\":\"x\",\"resourceVersion\":\"1\"}}}}' {api}/x"
        ),
        "409",
    );
    status(&format!("{admin} {api}/none"), "404");
    status(api, "403");
    status(&format!("-H 'Authorization: Bearer wrong' {api}"), "401");
    cluster.ok("kubectl create serviceaccount robot");
    exits(
        &cluster,
        "kubectl --token=$(kubectl create token robot) --kubeconfig=/dev/null --server=https://127.0.0.1:6443 --insecure-skip-tls-verify get secrets",
        1,
        &["Forbidden", "system:serviceaccount:default:robot"],
    );
    cluster.stop();
}

#[test]
fn a_full_disk_is_told_and_got_over() {
    let mut cluster = Cluster::unstarted();
    let dir = cluster.data_dir();
    cluster.ok(&format!(
        "mkdir {0} && mount -t tmpfs -o size=48m tmpfs {0}",
        dir.display()
    ));
    cluster.launch(&["--no-node"]);
    cluster.ok("kubectl create configmap before --from-literal=a=b");
    cluster.sh(&format!("cat /dev/zero > {}/ballast", dir.display()));
    cluster.ok("head -c 900000 /dev/urandom | base64 -w0 | head -c 900000 > big");
    let refused = cluster.until("the disk is full", || {
        let ran = cluster.sh("kubectl -v=6 create configmap c-$RANDOM$RANDOM --from-file=big");
        (ran.code != 0).then_some(ran.stderr)
    });
    assert!(
        refused.to_lowercase().contains("disk") || refused.to_lowercase().contains("space"),
        "{refused}"
    );
    // WebDAV's code for it, which says what upstream's 500 does not.
    assert!(refused.contains("507 Insufficient Storage"), "{refused}");
    // Reading goes on.
    cluster.shows("kubectl get configmap before -o name", "configmap/before");
    cluster.ok(&format!("rm {}/ballast", dir.display()));
    cluster.until("writes go on", || {
        (cluster
            .sh("kubectl create configmap after --from-literal=a=b")
            .code
            == 0)
            .then_some(())
    });
    cluster.terminate();
    cluster.launch(&["--no-node"]);
    cluster.ok("kubectl get configmap before after");
    // A damaged store is refused with its file named, not guessed at.
    cluster.terminate();
    cluster.ok(&format!(
        "for f in $(find {}/store -type f -size +100k); do dd if=/dev/urandom of=$f bs=1 seek=30000 count=64 conv=notrunc 2>/dev/null; done",
        dir.display()
    ));
    exits(
        &cluster,
        &format!("consort server --no-node --data-dir {}", dir.display()),
        1,
        &["is damaged at byte", "/store/"],
    );
    cluster.ok(&format!("umount {}", dir.display()));
    cluster.stop();
}
