//! `examples/shop`: machines, an application on them and rules, as one plan. From nothing with two commands; then changed,
//! held, denied, healed, followed in Git, rolled back and destroyed.

use crate::harness::Cluster;

const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shop");

fn consort(cluster: &Cluster, words: &str) -> String {
    format!(
        "CONSORT_DATA_DIR={} consort {words}",
        cluster.data_dir().display()
    )
}

#[test]
fn the_shop_comes_up_and_is_changed_held_denied_healed_followed_rolled_back_and_destroyed() {
    let cluster = Cluster::unstarted();
    cluster.ok(&format!("cp -r {SHOP} shop"));
    let run = |words: &str| cluster.ok(&consort(&cluster, words));

    // Two commands from nothing.
    let plan = run("plan shop");
    for expected in [
        "+   consort_machine.store",
        "(known after apply: string, from infra/consort_machine.store)",
        "(sensitive value)",
        "runs a single replica",
        "13 to create; 1 warning; 0 points (threshold 49): may be carried out",
    ] {
        assert!(plan.contains(expected), "{expected:?} in:\n{plan}");
    }
    let mut up = cluster.spawn(&consort(
        &cluster,
        "up shop --auto-approve --node-name n1 2>&1",
    ));
    // The application does not wait for machines it does not need.
    up.until_line("done   +   app/v1/Secret/shop/store");
    up.until_line("done   +   infra/consort_machine.store");
    up.until_line("begin  +   app/v1/ConfigMap/shop/places");
    up.until_line("Operation shop-1 succeeded");
    up.until_line("Ctrl-C stops everything");
    // At once: pods of nodes that have just joined find services by name, every time.
    for _ in 0..20 {
        cluster.shows(
            "curl -sf -m 2 http://127.0.0.1:30081/",
            "hello from catalog",
        );
    }
    cluster.becomes(
        "kubectl -n shop get deployment store -o jsonpath='{.status.availableReplicas}'",
        "1",
    );
    let again = run("plan shop");
    assert!(again.contains("nothing to do, 13 unchanged"), "{again}");

    // A change of a few points goes through.
    cluster.ok("sed -i 's/CURRENCY: EUR/CURRENCY: CHF/' shop/consort.yaml");
    let applied = run("apply shop --auto-approve 2>&1");
    assert!(
        applied.contains("because rolls: v1/ConfigMap/shop/places changes"),
        "{applied}"
    );
    assert!(applied.contains("3 points (threshold 49)"), "{applied}");
    assert!(applied.contains("Operation shop-2 succeeded"), "{applied}");

    // A rule's own message stops a plan.
    cluster.ok("cp -r shop denied && sed -i '/limits:/,+1d' denied/deploy/30-web.yaml");
    let denied = cluster.sh(&consort(&cluster, "apply denied --auto-approve 2>&1"));
    assert_eq!(denied.code, 6, "{denied:?}");
    assert!(
        denied
            .stdout
            .contains("container \"serve\" of app/apps/v1/Deployment/shop/web has no memory limit"),
        "{denied:?}"
    );

    // Taking the machine with the data away is held until somebody approves.
    cluster.ok(
        "sed -i 's/name    = \"shop-store\"/&\\n  address = \"10.78.0.50\"/' shop/infra/main.tf",
    );
    let held = cluster.sh(&consort(&cluster, "apply shop --auto-approve 2>&1"));
    assert_eq!(held.code, 7, "{held:?}");
    assert!(held.stdout.contains("NEEDS AN APPROVAL"), "{held:?}");
    let id = held
        .stdout
        .split("consort approve ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .expect("the plan's id")
        .to_owned();
    assert_eq!(
        cluster
            .sh(&consort(&cluster, &format!("apply {id} --auto-approve")))
            .code,
        7
    );
    run(&format!("approve {id}"));
    let applied = run(&format!("apply {id} 2>&1"));
    assert!(applied.contains("Operation shop-3 succeeded"), "{applied}");
    let machine = applied.find("done   -/+ infra/consort_machine.store");
    let places = applied.find("begin  ~   app/v1/ConfigMap/shop/places");
    assert!(machine.is_some() && machine < places, "{applied}");

    // What somebody deletes comes back, and `why` knows who it was.
    cluster.ok("kubectl -n shop delete deployment web");
    cluster.becomes(
        "kubectl -n shop get deployment web -o jsonpath='{.status.availableReplicas}'",
        "2",
    );
    cluster.until("the healing is recorded", || {
        let why = cluster.sh(&consort(&cluster, "why deployment/web -n shop"));
        (why.stdout.contains("deleted by consort:admin with kubectl")
            && why.stdout.contains("to put back what had drifted"))
        .then_some(())
    });

    // A repository is followed.
    cluster.ok(
        "cp -r shop repo && cd repo && git init -q -b main && git add -A && \
         git -c user.name=Ada -c user.email=ada@example.com commit -qm 'The shop'",
    );
    let follow = format!(
        "score add shop --git {}/work/repo --ref main --interval 1s",
        cluster.path().display()
    );
    run(&follow);
    cluster.ok(
        "cd repo && sed -i 's/CURRENCY: CHF/CURRENCY: SEK/' consort.yaml && \
         git -c user.name=Ada -c user.email=ada@example.com commit -qam 'Sell in Sweden'",
    );
    cluster.becomes(
        "kubectl -n shop get configmap places -o jsonpath='{.data.CURRENCY}'",
        "SEK",
    );
    cluster.until("the commit is all carried out", || {
        let history = cluster.sh(&consort(&cluster, "history"));
        let line = history
            .stdout
            .lines()
            .find(|line| line.contains("Sell in Sweden"))?;
        line.contains("succeeded").then_some(())
    });
    cluster.shows(
        &consort(&cluster, "why configmap/places -n shop"),
        "\"Sell in Sweden\" was written by Ada <ada@example.com>",
    );

    // Back to the first revision, and away with all of it.
    run("score rm shop");
    run("rollback shop-1 --auto-approve");
    cluster.becomes(
        "kubectl -n shop get configmap places -o jsonpath='{.data.CURRENCY}'",
        "EUR",
    );
    let destroyed = cluster.sh(&consort(&cluster, "destroy shop --auto-approve 2>&1"));
    assert_eq!(destroyed.code, 7, "{destroyed:?}");
    let id = destroyed
        .stdout
        .split("consort approve ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .expect("the plan's id")
        .to_owned();
    run(&format!("approve {id}"));
    run(&format!("apply {id}"));
    cluster.fails("kubectl get namespace shop");
    assert_eq!(cluster.ok("kubectl get nodes -o name"), "node/n1");

    cluster.ok(&format!(
        "kill -INT $(cat {}/server.pid)",
        cluster.data_dir().display()
    ));
    let (code, printed) = up.wait();
    assert_eq!(code, 0, "{printed}");
    cluster.nothing_is_left();
}
