//! Machines of the built-in provider: made by a configuration, reached, changed, found to have drifted, and gone
//! without a trace. No server runs, and nothing is downloaded.

use crate::harness::Cluster;

/// `consort tf` on the configuration in the working directory, with the cluster's data directory.
fn tf(cluster: &Cluster, words: &str) -> String {
    cluster.ok(&command(cluster, words))
}

fn command(cluster: &Cluster, words: &str) -> String {
    format!(
        "CONSORT_DATA_DIR={} TF_CLI_CONFIG_FILE=/dev/null consort tf {words}",
        cluster.data_dir().display()
    )
}

fn machine(cluster: &Cluster, words: &str) -> String {
    format!(
        "CONSORT_DATA_DIR={} consort machine {words}",
        cluster.data_dir().display()
    )
}

/// A root file system with a shell, and nothing else.
fn busybox_root(cluster: &Cluster) {
    cluster.ok(
        "mkdir -p root/bin root/etc root/root root/tmp root/var root/proc root/sys root/dev && \
         cp \"$(command -v busybox)\" root/bin/busybox && \
         for name in sh cat wget nc sleep ping hostname id mkdir ls touch grep; do ln -s busybox root/bin/$name; done && \
         echo root:x:0:0:root:/root:/bin/sh > root/etc/passwd && echo root:x:0: > root/etc/group",
    );
}

const EXAMPLE: &str = include_str!("../../../../examples/machines/main.tf");

#[test]
fn the_example_is_applied_changed_repaired_and_destroyed() {
    let cluster = Cluster::unstarted();
    cluster.write("main.tf", EXAMPLE);
    let said = tf(&cluster, "init");
    assert!(
        said.contains("terraform.io/builtin/consort is built in"),
        "{said}"
    );
    cluster.fails("test -e .terraform.lock.hcl");
    tf(&cluster, "apply -auto-approve");
    let fetch = machine(
        &cluster,
        "exec client -- fetch http://server.lab.internal:8080/",
    );
    cluster.shows(&fetch, "Hello from a machine");
    cluster.shows(
        &machine(&cluster, "exec server -- fetch http://server:8080/"),
        "Hello",
    );
    cluster.shows("consort toolbox fetch http://127.0.0.1:8077/", "Hello");
    let shell = tf(&cluster, "output -raw shell");
    cluster.shows(&shell, "The server is at 10.77.0.10.");
    tf(&cluster, "plan -detailed-exitcode");

    // Somebody stopped one and removed the other.
    cluster.ok(&machine(&cluster, "stop server"));
    cluster.ok(&machine(&cluster, "rm client"));
    let plan = cluster.sh(&command(&cluster, "plan -detailed-exitcode"));
    assert_eq!(plan.code, 2, "{plan:?}");
    let said = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("running = false -> true"), "{said}");
    assert!(said.contains("1 to add, 1 to change"), "{said}");
    tf(&cluster, "apply -auto-approve -var greeting=Changed");
    cluster.shows(&fetch, "Changed");

    tf(&cluster, "destroy -auto-approve");
    cluster.nothing_is_left();
}

const ROOTS: &str = r##"
resource "consort_network" "net" {
  for_each = { a = "10.78.0.0/24", b = "10.79.0.0/24" }
  name     = each.key
  cidr     = each.value
}

resource "consort_machine" "one" {
  name        = "one"
  root        = "root"
  network     = consort_network.net["a"].name
  hostname    = "first"
  ssh_keys    = ["ssh-ed25519 AAAA me"]
  environment = { COLOUR = var.colour }
  user_data   = "#!/bin/sh\necho booted > /var/booted\n"
  mount {
    target = "/data"
  }
}

resource "consort_machine" "two" {
  name    = "two"
  root    = "root"
  network = consort_network.net["b"].name
  command = ["sh", "-c", "while :; do echo two | nc -l -p 80; done"]
}

variable "colour" {
  default = "red"
}

data "consort_machine" "two" {
  name = consort_machine.two.name
}

output "two" {
  value = data.consort_machine.two.address
}
"##;

#[test]
fn machines_from_a_directory_keep_what_they_write_and_networks_are_apart() {
    let cluster = Cluster::unstarted();
    busybox_root(&cluster);
    cluster.write("main.tf", ROOTS);
    tf(&cluster, "init");
    tf(&cluster, "apply -auto-approve");
    let one = |words: &str| machine(&cluster, &format!("exec one -- {words}"));
    assert_eq!(cluster.ok(&one("cat /var/booted")), "booted");
    assert_eq!(cluster.ok(&one("hostname")), "first");
    assert_eq!(cluster.ok(&one("sh -c 'echo $COLOUR'")), "red");
    cluster.shows(
        &one("cat /root/.ssh/authorized_keys"),
        "ssh-ed25519 AAAA me",
    );
    assert_eq!(tf(&cluster, "output -raw two"), "10.79.0.2");
    // From the host, and not from the other network.
    cluster.shows("busybox nc 10.79.0.2 80 < /dev/null", "two");
    cluster.fails(&one("nc -w 1 10.79.0.2 80"));
    // The directory stays as it was.
    cluster.fails("test -e root/var/booted");

    // It goes down for a new environment, and comes back with what it had.
    cluster.ok(&one("touch /var/kept /data/kept"));
    let plan = tf(&cluster, "apply -auto-approve -var colour=blue");
    assert!(plan.contains("0 added, 1 changed, 0 destroyed"), "{plan}");
    cluster.ok(&one("ls /var/kept /data/kept"));
    assert_eq!(cluster.ok(&one("sh -c 'echo $COLOUR'")), "blue");
    // Everybody who runs it is dead, as after a power cut.
    cluster.kill_what_runs();
    cluster.shows(&machine(&cluster, "list"), "ended");
    tf(&cluster, "apply -auto-approve -var colour=blue");
    cluster.ok(&one("ls /var/kept /data/kept"));
    cluster.shows(&one("cat /etc/hosts"), "10.78.0.2 one.a.internal one first");

    tf(&cluster, "destroy -auto-approve");
    cluster.nothing_is_left();
}

#[test]
fn a_machine_that_cannot_be_made_is_not_there_and_the_error_says_where() {
    let cluster = Cluster::unstarted();
    busybox_root(&cluster);
    let network =
        "resource \"consort_network\" \"net\" {\n  name = \"net\"\n  cidr = \"10.80.0.0/24\"\n}\n";
    let with = |body: &str| {
        format!(
            "{network}resource \"consort_machine\" \"m\" {{\n  name = \"m\"\n  network = consort_network.net.name\n{body}\n}}\n"
        )
    };
    cluster.write(
        "main.tf",
        &with("  root = \"root\"\n  command = [\"sh\", \"-c\", \"echo no >&2; exit 3\"]"),
    );
    tf(&cluster, "init");
    let said = cluster.fails(&command(&cluster, "apply -auto-approve"));
    assert!(
        said.contains("ended right after its start with code 3: no"),
        "{said}"
    );
    assert!(said.contains("main.tf line 5"), "{said}");
    assert_eq!(cluster.ok(&machine(&cluster, "list --json")), "[]");

    cluster.write(
        "main.tf",
        &with("  root = \"root\"\n  user_data = \"#!/bin/sh\\necho bad; exit 4\""),
    );
    let said = cluster.fails(&command(&cluster, "apply -auto-approve"));
    assert!(said.contains("code 4: bad"), "{said}");

    for (body, message) in [
        ("  root = \"nowhere\"", "is not a directory"),
        ("  root = \"root\"\n  image = \"x\"", "exactly one of"),
        (
            "  root = \"root\"\n  address = \"10.80.0.1\"",
            "is the gateway",
        ),
        (
            "  root = \"root\"\n  address = \"10.81.0.1\"",
            "is not an address of a machine in network",
        ),
    ] {
        cluster.write("main.tf", &with(body));
        let said = cluster.fails(&command(&cluster, "apply -auto-approve"));
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(message), "{said}");
    }
    let other = network
        .replace("\"net\" {", "\"other\" {")
        .replace("name = \"net\"", "name = \"other\"");
    cluster.write("main.tf", &format!("{network}{other}"));
    let said = cluster.fails(&command(&cluster, "apply -auto-approve"));
    assert!(said.contains("overlaps with network"), "{said}");
    tf(&cluster, "destroy -auto-approve");
    cluster.nothing_is_left();
}

const NODE: &str = r#"
resource "consort_network" "lab" {
  name = "lab"
  cidr = "10.82.0.0/24"
}

resource "consort_machine" "n2" {
  name    = "n2"
  image   = "consort.dev/toolbox"
  network = consort_network.lab.name
  join    = true
}
"#;

const ON_THE_NODE: &str = r"
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  nodeName: n2
  containers:
  - { name: main, image: consort.dev/toolbox, command: [serve, --text, from the other node] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [{ port: 80, targetPort: 8080 }]
---
apiVersion: v1
kind: Pod
metadata: { name: ask }
spec:
  nodeName: n1
  restartPolicy: OnFailure
  containers:
  - { name: main, image: consort.dev/toolbox, command: [fetch, 'http://web.default.svc.cluster.local/'] }
";

#[test]
fn a_machine_joins_the_cluster_and_runs_pods_until_it_is_destroyed() {
    let cluster = Cluster::start();
    cluster.write("main.tf", NODE);
    tf(&cluster, "init");
    tf(&cluster, "apply -auto-approve");
    cluster.shows(
        "kubectl get node n2 -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}'",
        "True",
    );
    tf(&cluster, "plan -detailed-exitcode");
    cluster.apply(ON_THE_NODE);
    cluster.becomes(
        "kubectl get pod web -o 'jsonpath={.status.phase}'",
        "Running",
    );
    // Over the service's address, from a pod of the first node to one of the second.
    cluster.becomes(
        "kubectl get pod ask -o 'jsonpath={.status.phase}'",
        "Succeeded",
    );
    cluster.shows("kubectl logs ask", "from the other node");
    cluster.ok("kubectl delete pod web ask --now");
    tf(&cluster, "destroy -auto-approve");
    assert_eq!(cluster.ok("kubectl get nodes -o name"), "node/n1");
    cluster.stop();
}
