//! A node is emptied with regard to what its pods' budgets allow.

use crate::harness::Cluster;

#[test]
fn a_drain_waits_for_the_disruption_budget_and_goes_on_when_it_allows_it() {
    let cluster = Cluster::start();
    cluster
        .ok("kubectl create deployment web --image=consort.dev/toolbox --replicas=2 -- sleep 1000");
    cluster.ok("kubectl create pdb web --selector=app=web --min-available=1");
    cluster.ok("kubectl rollout status deploy/web --timeout=60s");
    cluster
        .ok("kubectl wait pdb/web --for=jsonpath='{.status.disruptionsAllowed}'=1 --timeout=30s");
    let drain = "kubectl drain --selector=kubernetes.io/os=linux --ignore-daemonsets --force --grace-period=1";
    // What takes the place of the first pod has no node to run on, so the second has to stay.
    cluster.shows(
        &format!("{drain} --timeout=8s 2>&1 || true"),
        "Cannot evict pod as it would violate the pod's disruption budget",
    );
    cluster.shows("kubectl get nodes", "SchedulingDisabled");
    let running =
        "kubectl get pods -l app=web --field-selector=status.phase=Running -o name | wc -l";
    cluster.shows(running, "1");
    cluster.ok("kubectl patch pdb web --type=merge -p '{\"spec\":{\"minAvailable\":0}}'");
    cluster
        .ok("kubectl wait pdb/web --for=jsonpath='{.status.disruptionsAllowed}'=1 --timeout=30s");
    cluster.shows(&format!("{drain} --timeout=60s 2>&1"), "drained");
    cluster.shows(running, "0");
    cluster.stop();
}
