//! Pull mode: a node keeps itself as a Playbook says, and tells how it stands. What the plays touch are files of the test.

use std::path::Path;

use serde_json::Value;

use crate::harness::Cluster;

/// A Playbook whose files are those of the ConfigMap `site`, and which writes below the test's own directory.
fn playbook(cluster: &Cluster, more: &str) -> String {
    format!(
        "apiVersion: consort.dev/v1\nkind: Playbook\nmetadata: {{name: site}}\nspec:\n  source: {{configMap: {{name: site}}}}\n  \
         groups: [web]\n  jitter: 1s\n  variables: {{place: {}}}\n{more}",
        cluster.path().display()
    )
}

/// A play that keeps a file with a line in it.
fn site(line: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: site}}\ndata:\n  site.yml: |\n    \
         - hosts: web\n      gather_facts: false\n      tasks:\n        \
         - name: keep the file\n          copy: {{content: \"{line}\\n\", dest: \"{{{{ place }}}}/kept\"}}\n"
    )
}

/// This node's entry in the status.
fn entry(cluster: &Cluster, name: &str) -> Option<Value> {
    let ran = cluster.sh(&format!("kubectl get playbook {name} -o json"));
    let object: Value = serde_json::from_str(&ran.stdout).ok()?;
    object["status"]["nodes"].as_array()?.first().cloned()
}

/// Waits until this node's entry is as it should be, and gives it.
fn until(cluster: &Cluster, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    cluster.until(what, || entry(cluster, "site").filter(|entry| holds(entry)))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_node_keeps_itself_as_a_playbook_says_and_tells_how_it_stands() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&[]);
    let kept = cluster.path().join("kept");
    cluster.until("the kind is served", || {
        (cluster.sh("kubectl get playbooks").code == 0).then_some(())
    });

    // What cannot be meant is refused when it is written.
    let wrong = cluster.fails(
        "printf '%s' '{\"apiVersion\":\"consort.dev/v1\",\"kind\":\"Playbook\",\"metadata\":{\"name\":\"x\"},\
         \"spec\":{\"selector\":{},\"source\":{}}}' | kubectl apply -f -",
    );
    assert!(
        wrong.contains("expected either git or configMap"),
        "{wrong}"
    );

    // Nothing happens on nodes whose labels do not match.
    cluster.apply(&site("one"));
    let selected = "  selector: {matchLabels: {role: web}}\n";
    cluster.apply(&playbook(&cluster, &format!("{selected}  interval: 2s\n")));
    cluster.becomes(
        "kubectl get playbook site -o 'jsonpath={.status.conditions[?(@.type==\"Converged\")].reason}'",
        "NoNodes",
    );
    assert!(!kept.exists());
    cluster.ok("kubectl label node n1 role=web");
    cluster.ok("kubectl wait --for=condition=Converged playbook/site --timeout=60s");
    assert_eq!(read(&kept), "one\n");
    let first = until(&cluster, "the node tells of its run", |it| {
        it["phase"] == "Converged"
    });
    assert_eq!(first["name"], "n1");
    assert!(first["digest"].as_str().unwrap().starts_with("sha256:"));
    cluster.shows("kubectl get playbooks", "configmap/site");
    cluster.shows(
        "kubectl get events --field-selector reason=Converged",
        "n1: ",
    );

    // What somebody changes is put back, and told.
    std::fs::write(&kept, "other\n").unwrap();
    let repaired = until(&cluster, "the drift is repaired", |it| {
        it["drift"]["repaired"] == true
    });
    assert_eq!(read(&kept), "one\n");
    let deed = &repaired["drift"]["changes"][0];
    assert_eq!(deed["task"], "keep the file");
    assert_eq!(deed["place"], "site.yml:4");
    assert_eq!(deed["what"], kept.to_str().unwrap());
    cluster.until("the repair is told", || {
        let ran = cluster.sh("kubectl get events --field-selector reason=DriftRepaired");
        ran.stdout.contains("keep the file").then_some(())
    });

    // A machine that only looks leaves it, and says so.
    cluster.apply(&playbook(
        &cluster,
        &format!("{selected}  interval: 2s\n  mode: check\n"),
    ));
    until(&cluster, "it only looks", |it| it["check"] == true);
    std::fs::write(&kept, "other\n").unwrap();
    cluster.ok("kubectl wait --for=condition=Drifted playbook/site --timeout=60s");
    assert_eq!(read(&kept), "other\n");

    // From now on only changes count, not the timer.
    cluster.apply(&playbook(&cluster, &format!("{selected}  interval: 1h\n")));
    cluster.ok("kubectl wait --for=condition=Converged playbook/site --timeout=60s");
    assert_eq!(read(&kept), "one\n");
    cluster.apply(&site("two"));
    cluster.until("the new source is carried out", || {
        (read(&kept) == "two\n").then_some(())
    });

    // What is wrong is told with its place, until it is mended.
    cluster.apply(&site("{{ nothing_like_this }}"));
    let failed = until(&cluster, "the failure is told", |it| {
        it["phase"] == "Failed"
    });
    assert_eq!(failed["faults"][0]["place"], "site.yml:4");
    cluster.ok("kubectl wait --for=condition=Failed playbook/site --timeout=60s");
    cluster.shows(
        "kubectl get playbook site -o 'jsonpath={.status.conditions[?(@.type==\"Failed\")].message}'",
        "site.yml:4: TASK [keep the file]: ",
    );
    cluster.apply(&site("three"));
    cluster.ok("kubectl wait --for=condition=Converged playbook/site --timeout=60s");
    assert_eq!(read(&kept), "three\n");

    // Somebody asks.
    let runs = until(&cluster, "it is at rest", |it| it["phase"] == "Converged")["runs"].clone();
    cluster.ok("kubectl annotate playbook site consort.dev/run-requested=now");
    let asked = until(&cluster, "it ran once more", |it| {
        it["runs"].as_u64() > runs.as_u64() && it["phase"] == "Converged"
    });
    assert_eq!(asked["cause"], "Requested");

    // A server that was stopped goes on where it was.
    cluster.terminate();
    cluster.launch(&[]);
    std::fs::write(&kept, "other\n").unwrap();
    cluster.ok("kubectl annotate playbook site --overwrite consort.dev/run-requested=again");
    until(&cluster, "it ran after the start", |it| {
        it["runs"].as_u64() > asked["runs"].as_u64() && it["phase"] == "Converged"
    });
    assert_eq!(read(&kept), "three\n");

    // A node that is no longer meant is no longer told of.
    cluster.ok("kubectl label node n1 role-");
    cluster.until("the entry is gone", || {
        entry(&cluster, "site").is_none().then_some(())
    });
    cluster.stop();
}

#[test]
fn a_node_follows_a_repository_with_secrets_and_ends_what_it_runs_when_it_is_told_to() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&[]);
    let git = "git -c user.name=Ann -c user.email=ann@example.org";
    cluster.write(
        "origin/machines/site.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    \
         - copy: {content: \"{{ said }} {{ token }} {{ consort_node }}\\n\", dest: \"{{ place }}/kept\", mode: '0600'}\n",
    );
    cluster.write("origin/machines/group_vars/all.yml", "said: one\n");
    cluster.ok(&format!(
        "cd origin && git init -q -b main && git add -A && {git} commit -qm 'Say one'"
    ));
    cluster.until("the kind is served", || {
        (cluster.sh("kubectl get playbooks").code == 0).then_some(())
    });
    cluster.ok("kubectl create secret generic tokens --from-literal=token='{{ as it is }}'");
    let kept = cluster.path().join("kept");
    cluster.apply(&format!(
        "apiVersion: consort.dev/v1\nkind: Playbook\nmetadata: {{name: site}}\nspec:\n  \
         source: {{git: {{url: {0}/work/origin, path: machines, interval: 1s}}}}\n  selector: {{}}\n  interval: 1h\n  \
         variables: {{place: {0}}}\n  variablesFrom: [{{secret: {{name: tokens}}}}]\n",
        cluster.path().display()
    ));
    cluster.ok("kubectl wait --for=condition=Converged playbook/site --timeout=60s");
    assert_eq!(read(&kept), "one {{ as it is }} n1\n");
    let entry = until(&cluster, "the commit is told", |it| {
        it["revision"]
            .as_str()
            .is_some_and(|told| told.ends_with("Say one"))
    });
    let commit = cluster.ok("git -C origin rev-parse HEAD");
    assert_eq!(entry["digest"], commit);

    // A commit and a secret are news.
    cluster.write("origin/machines/group_vars/all.yml", "said: two\n");
    cluster.ok(&format!("cd origin && {git} commit -qam 'Say two'"));
    cluster.until("the commit is carried out", || {
        read(&kept).starts_with("two ").then_some(())
    });
    cluster.ok("kubectl create secret generic tokens --from-literal=token=new --dry-run=client -o yaml | kubectl apply -f -");
    cluster.until("the secret is used", || {
        (read(&kept) == "two new n1\n").then_some(())
    });

    // A run that nobody wants any more is ended with what it has started.
    cluster.write(
        "origin/machines/site.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - shell: echo $$ > {{ place }}/pid; exec sleep 1000\n",
    );
    cluster.ok(&format!("cd origin && {git} commit -qam 'Sleep'"));
    let pid = cluster.until("it sleeps", || {
        let pid = read(&cluster.path().join("pid"));
        pid.trim().parse::<u32>().ok()
    });
    let runs = || Path::new(&format!("/proc/{pid}/exe")).exists();
    assert!(runs());
    cluster.ok("kubectl patch playbook site --type=merge -p '{\"spec\":{\"suspend\":true}}'");
    cluster.until("the sleep is over", || (!runs()).then_some(()));
    until(&cluster, "it is suspended", |it| it["phase"] == "Suspended");
    // So is one when the server stops.
    std::fs::remove_file(cluster.path().join("pid")).unwrap();
    cluster.ok("kubectl patch playbook site --type=merge -p '{\"spec\":{\"suspend\":false}}'");
    let pid = cluster.until("it sleeps again", || {
        let pid = read(&cluster.path().join("pid"));
        pid.trim().parse::<u32>().ok()
    });
    cluster.terminate();
    assert!(!Path::new(&format!("/proc/{pid}/exe")).exists());
    cluster.nothing_is_left();
}

const JOINED: &str = r#"
resource "consort_network" "net" {
  name = "net"
  cidr = "10.79.0.0/24"
}

resource "consort_machine" "far" {
  name    = "far"
  image   = "consort.dev/toolbox"
  network = consort_network.net.name
  join    = true
  memory  = 512
}
"#;

#[test]
fn a_machine_that_joined_keeps_itself_as_a_playbook_says() {
    let mut cluster = Cluster::unstarted();
    cluster.launch(&[]);
    cluster.write("infra/main.tf", JOINED);
    let consort = |words: &str| {
        let data = cluster.data_dir();
        format!("CONSORT_DATA_DIR={} consort {words}", data.display())
    };
    cluster.write(
        "far/consort.yaml",
        "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {name: far}\nspec:\n  parts:\n    - name: infra\n      \
         terraform: {path: infra}\n  approval: {threshold: 100}\n",
    );
    cluster.ok("mv infra far/infra");
    cluster.ok(&consort("apply far --auto-approve"));
    cluster.ok("kubectl wait --for=condition=Ready node/far --timeout=60s");
    cluster.ok("kubectl label node far role=web");
    cluster.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: site}\ndata:\n  site.yml: |\n    \
         - hosts: all\n      tasks:\n        - copy: {content: \"{{ consort_node }} {{ ansible_facts.kernel }}\\n\", dest: /kept}\n",
    );
    cluster.apply(
        "apiVersion: consort.dev/v1\nkind: Playbook\nmetadata: {name: site}\nspec:\n  source: {configMap: {name: site}}\n  \
         selector: {matchLabels: {role: web}}\n  interval: 2s\n  jitter: 1s\n",
    );
    cluster.ok("kubectl wait --for=condition=Converged playbook/site --timeout=60s");
    let told = entry(&cluster, "site").expect("an entry");
    assert_eq!(told["name"], "far");
    let kept = consort("machine exec far -- cat /kept");
    cluster.shows(&kept, "far ");
    // What is changed there is put back there.
    let revised = cluster.ok(&kept).replace("far", "site far");
    cluster.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: site}\ndata:\n  site.yml: |\n    \
         - hosts: all\n      tasks:\n        - copy: {content: \"site {{ consort_node }} {{ ansible_facts.kernel }}\\n\", dest: /kept}\n",
    );
    cluster.becomes(&kept, &revised);
    cluster.ok(&consort("destroy far --auto-approve"));
    cluster.stop();
}
