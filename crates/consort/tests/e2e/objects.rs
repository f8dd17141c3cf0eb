//! Objects: made, shown, changed and deleted.

use crate::harness::Cluster;

#[test]
fn a_fresh_server_answers_kubectl_and_leaves_nothing_behind() {
    let cluster = Cluster::start();
    cluster.shows("kubectl version", "Server Version: v1.");
    cluster.shows(
        "kubectl cluster-info",
        "Kubernetes control plane is running at",
    );
    assert_eq!(cluster.ok("kubectl get nodes -o name"), "node/n1");
    cluster.stop();
}
