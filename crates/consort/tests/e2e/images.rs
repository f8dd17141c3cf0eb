//! The images of a machine, and the pods that use them.

use crate::harness::{BUSYBOX, Cluster};

#[test]
fn an_image_in_use_stays_whether_its_pod_was_started_or_adopted_and_even_without_a_server() {
    let mut cluster = Cluster::start();
    cluster.ok(&format!(
        "kubectl run user --image={BUSYBOX} -- sh -c 'while ls /bin/busybox; do sleep 0.2; done'"
    ));
    cluster.ok("kubectl wait --for=condition=Ready pod/user --timeout=60s");
    let data = cluster.data_dir().display().to_string();
    let remove = format!("consort image rm --data-dir {data} {BUSYBOX}");
    let refused = |cluster: &Cluster| {
        let said = cluster.fails(&remove);
        let expected = format!("image {BUSYBOX} is in use by pod default/user (container user)");
        assert!(
            said.contains(&expected) && said.contains("--force"),
            "{said}"
        );
    };
    refused(&cluster);
    cluster.kill();
    // The pod goes on; the store is worked on by the command itself.
    refused(&cluster);
    cluster.launch(&[]);
    refused(&cluster);
    cluster.ok(&format!("{remove} --force"));
    cluster.ok("kubectl exec user -- ls /bin/busybox");
    cluster.shows(
        "kubectl get pod user -o jsonpath='{.status.containerStatuses[0].restartCount}'",
        "0",
    );
    let listed = cluster.ok(&format!("consort image list --data-dir {data}"));
    assert!(!listed.contains(BUSYBOX), "{listed}");
    cluster.ok("kubectl delete pod user --grace-period=1");
    cluster.import_busybox();
    cluster.ok(&remove);
    cluster.stop();
}
