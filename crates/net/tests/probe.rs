//! probe
mod common;
#[test]
fn probe() {
    common::on_a_host(|host| async move {
        let network = host.network().await;
        let f = consort_net::Frontend {
            vip: "10.45.0.10".parse().unwrap(),
            external: vec![],
            port: 80,
            protocol: consort_net::Protocol::Tcp,
            node_port: Some(30080),
            affinity: Some(std::time::Duration::from_secs(60)),
            backends: vec!["10.44.0.9:80".parse().unwrap()],
        };
        let mut g = f.clone();
        g.port = 81;
        g.affinity = None;
        g.node_port = None;
        network
            .balancer()
            .set(consort_net::ServiceKey("a/b".into()), vec![f, g])
            .await
            .unwrap();
        for chain in [
            "refuse",
            "balance",
            "guard",
            "arriving",
            "sent",
            "forwarded",
            "leaving",
            "delivered",
            "source",
            "pick-1",
            "pick-1-sticky-60",
            "node-pick-1-sticky-60",
        ] {
            let out = std::process::Command::new("nft")
                .args(["list", "chain", "ip", "consort-t1", chain])
                .output()
                .unwrap();
            println!(
                "== {chain} {}\n{}{}",
                out.status,
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
        }
        let out = std::process::Command::new("nft")
            .args([
                "--debug=netlink",
                "list",
                "chain",
                "ip",
                "consort-t1",
                "pick-1-sticky-60",
            ])
            .output()
            .unwrap();
        println!("{}", String::from_utf8_lossy(&out.stdout));
        network.down().await.unwrap();
    });
}
