//! Real servers as pods: Debian's nginx and redis, packed into images, pushed to a real registry and
//! pulled from it; and what goes on inside pods: volumes, hooks, limits, failures.

use crate::harness::{Background, Cluster};

const REGISTRY: &str = "127.0.0.1:5000";

/// Makes an image of Debian packages: their files, the libraries their programs link, and users; and
/// pushes it to the registry.
fn push(cluster: &Cluster, name: &str, programs: &str, packages: &str) {
    cluster.ok(&format!(
        r"set -eu -o pipefail
        root=$PWD/root-{name}
        mkdir -p $root/tmp $root/run $root/var/log/{name} $root/var/lib/{name} $root/data
        dpkg -L {packages} | sed 's,^/,,' | grep -v -E '^(\.|lib|lib/systemd.*|usr/share/(doc|man|lintian).*)?$' \
            | tar -C / -cf - --no-recursion -T - | tar -xf - -C $root
        for file in $(readlink -f {programs}) $(ldd {programs} | grep -o '\s/[^ :]*'); do
            mkdir -p $root$(dirname $file); cp -L $file $root$file
        done
        grep -E '^(root|www-data|redis|nobody):' /etc/passwd > $root/etc/passwd
        grep -E '^(root|www-data|redis|nogroup):' /etc/group > $root/etc/group
        umoci init --layout oci-{name} >/dev/null
        umoci new --image oci-{name}:1 >/dev/null
        umoci insert --image oci-{name}:1 $root / >/dev/null
        skopeo copy -q --dest-tls-verify=false oci:oci-{name}:1 docker://{REGISTRY}/debian/{name}:1
        rm -rf $root oci-{name}"
    ));
}

fn registry(cluster: &Cluster) -> Background {
    cluster.write(
        "registry.yml",
        &format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/registry}}}}\nhttp: {{addr: {REGISTRY}}}\n",
            cluster.path().display()
        ),
    );
    let registry = cluster.spawn("exec docker-registry serve registry.yml 2>&1");
    cluster.until("the registry answers", || {
        (cluster.sh(&format!("curl -sf http://{REGISTRY}/v2/")).code == 0).then_some(())
    });
    registry
}

fn nginx_configuration(version: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: nginx}}
data:
  nginx.conf: |
    daemon off; worker_processes 1; pid /tmp/nginx.pid; error_log /dev/stderr;
    events {{}}
    http {{
      access_log /dev/stdout;
      server {{
        listen 8080;
        location / {{ return 200 \"{version} $hostname\\n\"; }}
        location /healthz {{ access_log off; return 200 ok; }}
      }}
    }}"
    )
}

#[test]
fn nginx_from_a_registry_serves_is_scaled_and_takes_a_new_configuration() {
    let cluster = Cluster::start();
    let registry = registry(&cluster);
    push(
        &cluster,
        "nginx",
        "/usr/sbin/nginx",
        "nginx-common nginx-light",
    );
    cluster.apply(&nginx_configuration("one"));
    cluster.apply(&format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: nginx}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: nginx}}}}
  template:
    metadata: {{labels: {{app: nginx}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: nginx
        image: {REGISTRY}/debian/nginx:1
        command: [/usr/sbin/nginx, -c, /etc/consort/nginx.conf]
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
        livenessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 2}}
        volumeMounts: [{{name: conf, mountPath: /etc/consort}}]
      volumes: [{{name: conf, configMap: {{name: nginx}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: nginx}}
spec:
  type: NodePort
  selector: {{app: nginx}}
  ports: [{{port: 80, targetPort: http, nodePort: 30123}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: sh, image: consort.dev/toolbox, imagePullPolicy: IfNotPresent, command: [sleep, \"1000\"]}}]"
    ));
    cluster.ok("kubectl rollout status deployment/nginx --timeout=60s");
    cluster.ok("kubectl wait --for=condition=Ready pod/client --timeout=60s");
    // By cluster address, by node port, by name from another pod.
    cluster.shows(
        "curl -sf -m 5 http://$(kubectl get service nginx -o jsonpath={.spec.clusterIP})/",
        "one nginx-",
    );
    cluster.shows("curl -sf -m 5 http://127.0.0.1:30123/", "one nginx-");
    cluster.shows(
        "kubectl exec client -- fetch http://nginx.default.svc.cluster.local/",
        "one nginx-",
    );
    cluster.shows("kubectl logs deployment/nginx", "GET / HTTP/1.1");

    cluster.ok("kubectl scale deployment/nginx --replicas=3");
    cluster.ok("kubectl rollout status deployment/nginx --timeout=60s");
    cluster.becomes(
        "for i in $(seq 40); do curl -s -m 5 http://127.0.0.1:30123/ | tr -d '\\n'; echo; done | sort -u | wc -l",
        "3",
    );

    cluster.apply(&nginx_configuration("two"));
    cluster.ok("kubectl rollout restart deployment/nginx");
    cluster.ok("kubectl rollout status deployment/nginx --timeout=60s");
    cluster.becomes(
        "for i in $(seq 20); do curl -s -m 5 http://127.0.0.1:30123/ | cut -d' ' -f1; done | sort -u",
        "two",
    );
    drop(registry);
    cluster.stop();
}

#[test]
fn redis_runs_as_its_user_and_keeps_its_data_over_a_restart_of_its_container() {
    let cluster = Cluster::start();
    let registry = registry(&cluster);
    push(
        &cluster,
        "redis",
        "/usr/bin/redis-server /usr/bin/redis-cli",
        "redis-server redis-tools",
    );
    cluster.apply(&format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: redis}}
data:
  redis.conf: |
    bind 0.0.0.0
    protected-mode no
    dir /data
    appendonly yes
    appendfsync always
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: redis}}
spec:
  selector: {{matchLabels: {{app: redis}}}}
  template:
    metadata: {{labels: {{app: redis}}}}
    spec:
      terminationGracePeriodSeconds: 5
      securityContext: {{runAsUser: 12345, runAsGroup: 12345, fsGroup: 12345, runAsNonRoot: true}}
      containers:
      - name: redis
        image: {REGISTRY}/debian/redis:1
        command: [/usr/bin/redis-server, /etc/consort/redis.conf]
        livenessProbe: {{tcpSocket: {{port: 6379}}, periodSeconds: 2}}
        readinessProbe:
          exec: {{command: [/usr/bin/redis-cli, ping]}}
          periodSeconds: 1
        resources: {{limits: {{cpu: 500m, memory: 128Mi}}}}
        volumeMounts:
        - {{name: conf, mountPath: /etc/consort}}
        - {{name: data, mountPath: /data}}
      volumes:
      - {{name: conf, configMap: {{name: redis}}}}
      - {{name: data, emptyDir: {{}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: redis}}
spec: {{selector: {{app: redis}}, ports: [{{port: 6379}}]}}"
    ));
    cluster.ok("kubectl rollout status deployment/redis --timeout=60s");
    let redis = "redis-cli -h $(kubectl get service redis -o jsonpath={.spec.clusterIP})";
    assert_eq!(cluster.ok(&format!("{redis} set greeting hello")), "OK");
    cluster.shows(
        "kubectl exec deployment/redis -- /usr/bin/redis-cli config get dir",
        "/data",
    );
    let owner = "stat -c %u $(find {}/node/pods/*/volumes/data -name '*.aof' | head -n 1)";
    let owner = owner.replace("{}", &cluster.data_dir().display().to_string());
    assert_eq!(
        cluster.ok(&owner),
        "12345",
        "the server runs as another user than its pod names"
    );
    // It ends by itself, is started again, and its volume is still there.
    cluster.sh(&format!("{redis} shutdown nosave"));
    cluster.becomes("kubectl get pods -l app=redis -o jsonpath='{.items[0].status.containerStatuses[0].restartCount} {.items[0].status.containerStatuses[0].ready}'", "1 true");
    cluster.becomes(&format!("timeout 5 {redis} get greeting"), "hello");
    drop(registry);
    cluster.stop();
}

#[test]
fn pods_have_their_volumes_hooks_and_users() {
    let cluster = Cluster::start();
    let host = cluster.path().join("host");
    std::fs::create_dir(&host).unwrap();
    cluster.apply(&format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: blue}}
---
apiVersion: v1
kind: Secret
metadata: {{name: key}}
stringData: {{token: s3cret}}
---
apiVersion: v1
kind: Pod
metadata: {{name: all, labels: {{tier: front}}}}
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
  - name: first
    image: e2e.test/busybox:1
    command: [sh, -c, 'echo made by init > /scratch/file']
    volumeMounts: [{{name: scratch, mountPath: /scratch}}]
  containers:
  - name: main
    image: e2e.test/busybox:1
    command: [sh, -c, 'trap \"exit 0\" TERM; sleep 1000 & wait']
    securityContext: {{runAsUser: 1234, runAsGroup: 4321, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true}}
    env:
    - {{name: COLOUR, valueFrom: {{configMapKeyRef: {{name: settings, key: colour}}}}}}
    - {{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}
    lifecycle:
      postStart: {{exec: {{command: [sh, -c, 'echo started > /scratch/hook']}}}}
      preStop: {{exec: {{command: [sh, -c, 'echo stopping > /host/hook']}}}}
    volumeMounts:
    - {{name: scratch, mountPath: /scratch}}
    - {{name: host, mountPath: /host}}
    - {{name: settings, mountPath: /settings}}
    - {{name: key, mountPath: /key, readOnly: true}}
    - {{name: about, mountPath: /about}}
    - {{name: both, mountPath: /both}}
  volumes:
  - {{name: scratch, emptyDir: {{}}}}
  - {{name: host, hostPath: {{path: {}, type: Directory}}}}
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: key, secret: {{secretName: key, defaultMode: 0444}}}}
  - {{name: about, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}
  - name: both
    projected:
      sources:
      - configMap: {{name: settings, items: [{{key: colour, path: a/colour}}]}}
      - secret: {{name: key}}",
        host.display()
    ));
    std::fs::set_permissions(&host, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    cluster.ok("kubectl wait --for=condition=Ready pod/all --timeout=60s");
    let inside = |script: &str| cluster.ok(&format!("kubectl exec all -- sh -c '{script}'"));
    assert_eq!(inside("id -u; id -g").replace('\n', " "), "1234 4321");
    assert_eq!(
        inside("cat /scratch/file /scratch/hook"),
        "made by init\nstarted"
    );
    assert_eq!(
        inside("echo $COLOUR $NODE; cat /settings/colour /key/token"),
        "blue n1\nblues3cret"
    );
    assert_eq!(
        inside("cat /about/labels; echo; cat /both/a/colour /both/token"),
        "tier=\"front\"\nblues3cret"
    );
    inside("! touch /new 2>/dev/null && touch /scratch/new");
    // A changed ConfigMap reaches the mounted file of the running pod.
    cluster.ok("kubectl patch configmap settings -p '{\"data\":{\"colour\":\"green\"}}'");
    cluster.becomes("kubectl exec all -- cat /settings/colour", "green");
    cluster.ok("kubectl delete pod all --timeout=30s");
    assert_eq!(
        std::fs::read_to_string(host.join("hook")).unwrap(),
        "stopping\n"
    );
    cluster.stop();
}

#[test]
fn what_fails_in_pods_is_told_as_kubectl_users_know_it() {
    let cluster = Cluster::start();
    let pod = |name: &str, policy: &str, container: &str| {
        cluster.apply(&format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: {policy}
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: e2e.test/busybox:1
    imagePullPolicy: IfNotPresent
{container}"
        ));
    };
    pod(
        "hungry",
        "Never",
        "    command: [tail, /dev/zero]\n    resources: {limits: {memory: 24Mi}}",
    );
    pod(
        "crashing",
        "Always",
        "    command: [sh, -c, 'echo so long; exit 3']",
    );
    pod("failing", "Never", "    command: [sh, -c, 'exit 4']");
    pod(
        "retrying",
        "OnFailure",
        "    command: [sh, -c, 'test -e /tmp/x/again || { touch /tmp/x/again; exit 1; }']\n    volumeMounts: [{name: x, mountPath: /tmp/x}]\n  volumes: [{name: x, emptyDir: {}}]",
    );
    pod(
        "slow",
        "Always",
        "    command: [sh, -c, 'while :; do :; done']\n    resources: {limits: {cpu: 100m}}",
    );
    pod(
        "chatty",
        "Always",
        "    command: [sh, -c, 'yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 170000; echo the end; sleep 1000']",
    );
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: \"127.0.0.1:1/no/such:1\"}]
---
apiVersion: v1
kind: Pod
metadata: {name: root-refused}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true}
  containers: [{name: c, image: \"e2e.test/busybox:1\", command: [sleep, \"9\"]}]",
    );
    let state = |pod: &str, path: &str| {
        format!("kubectl get pod {pod} -o jsonpath='{{.status.containerStatuses[0].{path}}}'")
    };
    let reads =
        |pod: &str, path: &str, expected: &str| cluster.becomes(&state(pod, path), expected);
    reads("hungry", "state.terminated.reason", "OOMKilled");
    reads("hungry", "state.terminated.exitCode", "137");
    reads("crashing", "state.waiting.reason", "CrashLoopBackOff");
    reads("crashing", "lastState.terminated.exitCode", "3");
    cluster.shows(
        "kubectl logs crashing --previous || kubectl logs crashing",
        "so long",
    );
    reads("failing", "state.terminated.exitCode", "4");
    assert_eq!(
        cluster.ok("kubectl get pod failing -o jsonpath={.status.phase}"),
        "Failed"
    );
    cluster.becomes("kubectl get pod retrying -o jsonpath='{.status.phase} {.status.containerStatuses[0].restartCount}'", "Succeeded 1");
    reads("nowhere", "state.waiting.reason", "ImagePullBackOff");
    cluster.shows(
        "kubectl get events --field-selector involvedObject.name=nowhere",
        "ErrImagePull",
    );
    reads(
        "root-refused",
        "state.waiting.reason",
        "CreateContainerConfigError",
    );
    cluster.shows("kubectl get pod root-refused -o yaml", "runAsNonRoot");

    // The limit on the processor is the kernel's to keep: it holds the container back.
    cluster.becomes(
        "kubectl get pod slow -o jsonpath={.status.phase}",
        "Running",
    );
    cluster.until("the busy container is throttled", || {
        let throttled = cluster.sh(
            "grep -rh ^nr_throttled /sys/fs/cgroup/*/consort-*/*/*/cpu.stat /sys/fs/cgroup/consort-*/*/*/cpu.stat 2>/dev/null | sort -u",
        );
        throttled.stdout.lines().any(|line| !line.ends_with(" 0")).then_some(())
    });

    // 12 MB of log are more than one file holds; the end is there all the same.
    cluster.becomes("kubectl logs chatty --tail=1", "the end");
    let logs = cluster.ok(&format!(
        "find {}/node/pods/*/logs/c -name '*.log*' -size +1M | wc -l",
        cluster.data_dir().display()
    ));
    assert!(
        logs.parse::<u32>().unwrap() >= 2,
        "the log was not rotated: {logs} files"
    );
    cluster.stop();
}
