//! What stands around the plan of a score on a running server: rules that hold every write, decisions, interrupts,
//! questions, webhooks. `shop` has the way of one score from beginning to end.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::harness::{Cluster, Ran};

/// The command as people give it who name the server by its data directory.
fn consort(cluster: &Cluster, words: &str) -> String {
    format!(
        "CONSORT_DATA_DIR={} consort {words} 2>&1",
        cluster.data_dir().display()
    )
}

fn run(cluster: &Cluster, words: &str) -> Ran {
    cluster.sh(&consort(cluster, words))
}

/// A score with the parts that are given as YAML.
fn score(cluster: &Cluster, name: &str, parts: &str) {
    let text = format!(
        "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {{name: {name}}}\nspec:\n  parts:\n{parts}"
    );
    cluster.write(&format!("{name}/consort.yaml"), &text);
}

fn map(name: &str, mode: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{mode: {mode}}}\n"
    )
}

const APP: &str = "    - {name: app, manifests: {path: app}}\n";

#[test]
fn scores_are_guarded_decided_interrupted_asked_about_and_told_of_pushes() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&["--no-node"]);
    a_policy_with_admission_holds_every_write(&cluster);
    a_rejected_plan_is_not_carried_out(&cluster);
    an_interrupted_walk_goes_on_where_it_was(&cluster);
    a_person_at_a_terminal_is_asked(&cluster);
    a_saved_plan_is_carried_out_as_it_was_made(&cluster);
    pushes_are_told_as_the_usual_servers_tell_them(&cluster);
    cluster.terminate();
    what_a_stopped_server_holds_can_be_planned_against(&cluster);
    cluster.nothing_is_left();
}

fn a_policy_with_admission_holds_every_write(cluster: &Cluster) {
    score(
        cluster,
        "guard",
        "    - {name: rules, policy: {path: rules, admission: true}}\n",
    );
    cluster.write(
        "guard/rules/owner.rego",
        "package owner\n\ndeny contains msg if {\n\tinput.request.kind.kind == \"ConfigMap\"\n\t\
         not input.request.object.metadata.labels.owner\n\t\
         msg := sprintf(\"config map %s has no owner\", [input.request.object.metadata.name])\n}\n",
    );
    let applied = run(cluster, "apply guard --auto-approve");
    assert_eq!(applied.code, 0, "{applied:?}");
    // The rules hold from a moment after they are there.
    let refused = cluster.until("the rules hold", || {
        let tried =
            cluster.sh("kubectl create configmap nobodys --from-literal=a=b --dry-run=server 2>&1");
        (tried.code != 0).then_some(tried.stdout)
    });
    assert!(
        refused.contains("config map nobodys has no owner"),
        "{refused}"
    );
    cluster.fails("kubectl create configmap nobodys --from-literal=a=b");
    cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: anns, labels: {owner: ann}}");
    let refused = cluster.fails("kubectl label configmap anns owner-");
    assert!(
        refused.contains("config map anns has no owner"),
        "{refused}"
    );
    let gone = run(cluster, "destroy guard --auto-approve");
    assert_eq!(gone.code, 0, "{gone:?}");
    cluster.until("the rules hold no more", || {
        let tried = cluster.sh("kubectl label configmap anns owner-");
        (tried.code == 0).then_some(())
    });
}

fn a_rejected_plan_is_not_carried_out(cluster: &Cluster) {
    score(
        cluster,
        "held",
        &format!("{APP}    - {{name: rules, policy: {{path: rules}}}}\n"),
    );
    cluster.write("held/app/a.yaml", &map("held", "one"));
    cluster.write(
        "held/rules/ask.rego",
        "package ask\n\napproval contains \"somebody has to look\" if true\n",
    );
    let held = run(cluster, "apply held --auto-approve");
    assert_eq!(held.code, 7, "{held:?}");
    assert!(held.stdout.contains("somebody has to look"), "{held:?}");
    let id = held
        .stdout
        .split("consort approve ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next())
        .expect("the plan's id");
    let rejected = run(cluster, &format!("reject {id} --reason 'not on a Friday'"));
    assert_eq!(rejected.code, 0, "{rejected:?}");
    assert!(
        rejected.stdout.contains("rejected by consort:admin"),
        "{rejected:?}"
    );
    let refused = run(cluster, &format!("apply {id}"));
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(
        refused
            .stdout
            .contains("consort:admin has rejected the plan: not on a Friday"),
        "{refused:?}"
    );
    let again = run(cluster, &format!("approve {id}"));
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stdout.contains("has rejected"), "{again:?}");
    cluster.fails("kubectl get configmap held");
}

fn an_interrupted_walk_goes_on_where_it_was(cluster: &Cluster) {
    score(cluster, "slow", APP);
    // Nobody binds volumes here: the walk waits for that until somebody says it is done.
    cluster.write(
        "slow/app/all.yaml",
        &format!(
            "{}---\n\
             apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: disk, namespace: default}}\n\
             spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: after\n  namespace: default\n  annotations:\n    \
             config.kubernetes.io/depends-on: /namespaces/default/PersistentVolumeClaim/disk\n",
            map("before", "one")
        ),
    );
    let command = format!(
        "echo $$ > slow.pid; CONSORT_DATA_DIR={} exec consort apply slow --auto-approve 2>&1",
        cluster.data_dir().display()
    );
    let walk = cluster.spawn(&command);
    cluster.until("the walk waits", || {
        let there = cluster.sh("kubectl get configmap/before persistentvolumeclaim/disk");
        (there.code == 0).then_some(())
    });
    cluster.ok("kill -INT $(cat slow.pid)");
    let (code, printed) = walk.wait();
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("consort resume slow-1"), "{printed}");
    cluster.fails("kubectl get configmap after");
    let phase = "kubectl -n consort-system get operation slow-1 -o jsonpath='{.status.phase} {.status.done}'";
    assert_eq!(cluster.ok(phase), "Cancelled 1");
    cluster.ok(
        "kubectl patch pvc disk --subresource=status --type=merge -p '{\"status\": {\"phase\": \"Bound\"}}'",
    );
    let resumed = run(cluster, "resume slow");
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(
        !resumed.stdout.contains("ConfigMap/default/before"),
        "{resumed:?}"
    );
    assert!(
        resumed.stdout.contains("Operation slow-1 succeeded"),
        "{resumed:?}"
    );
    cluster.ok("kubectl get configmap after");
}

fn a_person_at_a_terminal_is_asked(cluster: &Cluster) {
    score(cluster, "asked", APP);
    cluster.write("asked/app/a.yaml", &map("asked", "one"));
    let answered = |answer: &str| {
        cluster.sh(&format!(
            "echo {answer} | script -qec 'CONSORT_DATA_DIR={} consort apply asked' /dev/null",
            cluster.data_dir().display()
        ))
    };
    let no = answered("y");
    assert_eq!(no.code, 1, "{no:?}");
    assert!(no.stdout.contains("Only `yes` is taken"), "{no:?}");
    assert!(no.stdout.contains("not carried out"), "{no:?}");
    cluster.fails("kubectl get configmap asked");
    let yes = answered("yes");
    assert_eq!(yes.code, 0, "{yes:?}");
    assert!(
        yes.stdout.contains("Operation asked-1 succeeded"),
        "{yes:?}"
    );
    cluster.ok("kubectl get configmap asked");
}

fn a_saved_plan_is_carried_out_as_it_was_made(cluster: &Cluster) {
    score(cluster, "saved", APP);
    cluster.write("saved/app/a.yaml", &map("saved", "one"));
    let planned = run(cluster, "plan saved -o plan.json");
    assert_eq!(planned.code, 0, "{planned:?}");
    // Nothing of the directory is needed, whatever became of it.
    cluster.write("saved/app/a.yaml", &map("saved", "two"));
    cluster.write("saved/app/b.yaml", "no manifest");
    let second = cluster.ok("tail -n1 plan.json | head -c 12; stat -c ' %a' plan.json");
    assert_eq!(second, "{\"sources\":\" 600");
    let applied = run(cluster, "apply plan.json");
    assert_eq!(applied.code, 0, "{applied:?}");
    let mode = "kubectl get configmap saved -o jsonpath='{.data.mode}'";
    assert_eq!(cluster.ok(mode), "one");
    let stale = run(cluster, "apply plan.json");
    assert_eq!(stale.code, 8, "{stale:?}");
    // A plan without its sources is not filled up with what lies there by now.
    cluster.ok("head -n1 plan.json | sed 's/\"author\":\"/&x/' > bare.json");
    let bare = run(cluster, "apply bare.json");
    assert_eq!(bare.code, 1, "{bare:?}");
    assert!(
        bare.stdout
            .contains("the sources of the plan of saved are gone"),
        "{bare:?}"
    );
}

/// A call of a product's webhook: its headers, in which `SIGNATURE` stands for the body's and `TOKEN` for the secret, and
/// its body.
struct Hook {
    product: &'static str,
    headers: &'static [&'static str],
    body: &'static str,
}

const HOOKS: [Hook; 5] = [
    Hook {
        product: "github",
        headers: &[
            "User-Agent: GitHub-Hookshot/044aadd",
            "X-GitHub-Event: push",
            "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "X-Hub-Signature: sha1=7d38cdd689735b008b3c702edd92eea23791c5f6",
            "X-Hub-Signature-256: sha256=SIGNATURE",
        ],
        body: r#"{"ref": "refs/heads/main", "before": "0", "after": "1", "repository": {"full_name": "org/hooked"},
            "pusher": {"name": "ann"}, "commits": [{"id": "1", "message": "x", "added": ["a.yaml"]}]}"#,
    },
    Hook {
        product: "gitlab",
        headers: &[
            "User-Agent: GitLab/17.5.1",
            "X-Gitlab-Event: Push Hook",
            "X-Gitlab-Instance: https://gitlab.example.com",
            "X-Gitlab-Token: TOKEN",
        ],
        body: r#"{"object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "checkout_sha": "1",
            "project": {"id": 15, "path_with_namespace": "org/hooked"}, "commits": []}"#,
    },
    Hook {
        product: "gitea",
        headers: &[
            "User-Agent: Go-http-client/1.1",
            "X-Gitea-Event: push",
            "X-Gitea-Event-Type: push",
            "X-Gitea-Signature: SIGNATURE",
            "X-Gogs-Event: push",
            "X-Gogs-Signature: SIGNATURE",
            "X-Hub-Signature: sha1=7d38cdd689735b008b3c702edd92eea23791c5f6",
            "X-Hub-Signature-256: sha256=SIGNATURE",
            "X-GitHub-Event: push",
        ],
        body: r#"{"ref": "refs/heads/main", "before": "0", "after": "1", "compare_url": "", "total_commits": 1,
            "repository": {"full_name": "org/hooked"}, "pusher": {"login": "ann"}}"#,
    },
    Hook {
        product: "bitbucket-cloud",
        headers: &[
            "User-Agent: Bitbucket-Webhooks/2.0",
            "X-Event-Key: repo:push",
            "X-Hook-UUID: 1a2b3c4d-0000-0000-0000-000000000000",
            "X-Attempt-Number: 1",
            "X-Hub-Signature: sha256=SIGNATURE",
        ],
        body: r#"{"push": {"changes": [{"old": {"type": "branch", "name": "main"}, "new": {"type": "branch", "name": "main",
            "target": {"hash": "1"}}, "created": false, "forced": false}]}, "repository": {"full_name": "org/hooked"}}"#,
    },
    Hook {
        product: "bitbucket-server",
        headers: &[
            "User-Agent: Atlassian HttpClient 4.2.0 / Bitbucket-9.4.0",
            "X-Event-Key: repo:refs_changed",
            "X-Request-Id: 1",
            "X-Hub-Signature: sha256=SIGNATURE",
        ],
        body: r#"{"eventKey": "repo:refs_changed", "date": "2026-01-01T00:00:00+0000", "actor": {"name": "ann"},
            "repository": {"slug": "hooked"}, "changes": [{"ref": {"id": "refs/heads/main", "displayId": "main",
            "type": "BRANCH"}, "refId": "refs/heads/main", "fromHash": "0", "toHash": "1", "type": "UPDATE"}]}"#,
    },
];

fn pushes_are_told_as_the_usual_servers_tell_them(cluster: &Cluster) {
    cluster.write("hooked/a.yaml", &map("hooked", "none"));
    cluster.ok(
        "cd hooked && git init -q -b main && git config user.name Ann && git config user.email ann@example.com && \
         git add -A && git commit -qm First",
    );
    // Nothing is found out by asking: the next poll is far away.
    let added = run(
        cluster,
        "score add hooked --git hooked --ref main --interval 12h --webhook",
    );
    assert_eq!(added.code, 0, "{added:?}");
    let token = added
        .stdout
        .split("with the secret ")
        .nth(1)
        .expect("the webhook's secret")
        .trim();
    let mode = "kubectl get configmap hooked -o jsonpath='{.data.mode}'";
    cluster.becomes(mode, "none");
    for hook in HOOKS {
        let product = hook.product;
        cluster.ok(&format!(
            "cd hooked && sed -i 's/mode: .*/mode: {product}}}/' a.yaml && git commit -qam 'For {product}'"
        ));
        let refused = call(cluster, &hook, "somebody else's secret");
        assert!(refused.starts_with("401 "), "{product}: {refused}");
        let pinged = Hook {
            body: "{\"zen\": \"Keep it logically awesome.\"}",
            headers: &[
                "X-GitHub-Event: ping",
                "X-Hub-Signature-256: sha256=SIGNATURE",
            ],
            ..hook
        };
        let answer = call(cluster, &pinged, token);
        assert!(answer.starts_with("200 ping: nothing to do"), "{answer}");
        assert_ne!(cluster.ok(mode), product);
        let taken = call(cluster, &hook, token);
        assert!(
            taken.starts_with("202 main is looked at"),
            "{product}: {taken}"
        );
        cluster.becomes(mode, product);
    }
    let removed = run(cluster, "score rm hooked");
    assert_eq!(removed.code, 0, "{removed:?}");
}

/// Makes a call as a product does that knows this secret; gives the status and the answer.
fn call(cluster: &Cluster, hook: &Hook, token: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any key will do");
    mac.update(hook.body.as_bytes());
    let signature: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    cluster.write("hook.json", hook.body);
    let headers: String = hook
        .headers
        .iter()
        .map(|header| {
            header
                .replace("SIGNATURE", &signature)
                .replace("TOKEN", token)
        })
        .map(|header| format!(" -H \"{header}\""))
        .collect();
    cluster.ok(&format!(
        "curl -sk -m 10 -o answer -w '%{{http_code}} ' -H 'Content-Type: application/json'{headers} \
         --data-binary @hook.json https://127.0.0.1:6443/hooks/scores/hooked && cat answer"
    ))
}

fn what_a_stopped_server_holds_can_be_planned_against(cluster: &Cluster) {
    let same = run(cluster, "plan asked");
    assert_eq!(same.code, 0, "{same:?}");
    assert!(
        same.stdout.contains("nothing to do, 1 unchanged"),
        "{same:?}"
    );
    cluster.write("asked/app/a.yaml", &map("asked", "two"));
    let changed = run(cluster, "plan asked");
    assert_eq!(changed.code, 0, "{changed:?}");
    for expected in ["1 to change", "\"one\"", "\"two\""] {
        assert!(changed.stdout.contains(expected), "{expected}: {changed:?}");
    }
}
