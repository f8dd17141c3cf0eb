//! Pods on one host: reaching each other, the host and the outside; restarts and clean-up.

mod common;

use std::net::Ipv4Addr;

use common::{Server, greet, greet_from, inside, on_a_host, run};
use consort_net::network::{Error, HostPort};
use consort_net::{Network, Protocol};

#[test]
fn pods_reach_each_other_and_the_host_reaches_them() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let a = network.attach("a", &[]).await.unwrap();
        let b = network.attach("b", &[]).await.unwrap();
        assert_ne!(a.ip, b.ip);
        let _server = Server::start(&b.netns, "b", 8080);
        let address = format!("{}:8080", b.ip);
        assert_eq!(greet_from(&a.netns, &address).unwrap(), ("b".into(), a.ip));
        assert_eq!(greet(&address).unwrap(), ("b".into(), network.gateway()));
        assert_eq!(
            greet_from(&b.netns, "127.0.0.1:8080").unwrap(),
            ("b".into(), Ipv4Addr::LOCALHOST)
        );
        let ping = inside(&a.netns, {
            let ip = b.ip.to_string();
            move || run("ping", &["-c", "1", "-W", "2", &ip])
        });
        assert!(ping.join().unwrap().contains(" 0% packet loss"));
        network.down().await.unwrap();
    });
}

#[test]
fn pods_reach_the_outside_under_the_hosts_address() {
    on_a_host(|host| async move {
        let outside = host.outside();
        let network = host.network().await;
        let a = network.attach("a", &[]).await.unwrap();
        let _server = Server::start(&outside.path, "world", 80);
        let seen = greet_from(&a.netns, "192.0.2.2:80").unwrap();
        assert_eq!(seen, ("world".into(), Ipv4Addr::new(192, 0, 2, 1)));
        network.down().await.unwrap();
    });
}

#[test]
fn a_host_port_leads_to_its_pod_from_everywhere_and_closes_with_it() {
    on_a_host(|host| async move {
        let outside = host.outside();
        let network = host.network().await;
        let port = HostPort {
            protocol: Protocol::Tcp,
            host_ip: None,
            host_port: 8000,
            container_port: 80,
        };
        let a = network
            .attach("a", std::slice::from_ref(&port))
            .await
            .unwrap();
        let b = network.attach("b", &[]).await.unwrap();
        let _server = Server::start(&a.netns, "a", 80);
        let client = Ipv4Addr::new(192, 0, 2, 2);
        assert_eq!(
            greet_from(&outside.path, "192.0.2.1:8000").unwrap(),
            ("a".into(), client)
        );
        assert_eq!(greet("192.0.2.1:8000").unwrap().0, "a");
        assert_eq!(
            greet("127.0.0.1:8000").unwrap(),
            ("a".into(), network.gateway())
        );
        assert_eq!(
            greet_from(&b.netns, "192.0.2.1:8000").unwrap(),
            ("a".into(), b.ip)
        );
        assert_eq!(
            greet_from(&a.netns, "192.0.2.1:8000").unwrap(),
            ("a".into(), network.gateway())
        );
        let taken = network.attach("c", &[port]).await.unwrap_err();
        assert!(
            matches!(&taken, Error::HostPortTaken { holder, .. } if holder == "a"),
            "{taken}"
        );
        network.detach("a").await.unwrap();
        assert!(greet_from(&outside.path, "192.0.2.1:8000").is_err());
        network.down().await.unwrap();
    });
}

#[test]
fn what_listens_on_the_gateway_is_hidden_from_the_outside() {
    on_a_host(|host| async move {
        let outside = host.outside();
        let network = host.network().await;
        let a = network.attach("a", &[]).await.unwrap();
        let _server = Server::start("/proc/thread-self/ns/net".as_ref(), "host", 7000);
        let address = format!("{}:7000", network.gateway());
        assert_eq!(greet_from(&a.netns, &address).unwrap().0, "host");
        assert_eq!(greet(&address).unwrap().0, "host");
        assert_eq!(
            greet_from(&outside.path, "192.0.2.1:7000").unwrap().0,
            "host"
        );
        let route = format!("--net={}", outside.path.display());
        run(
            "nsenter",
            &[
                &route,
                "ip",
                "route",
                "add",
                "10.44.0.0/16",
                "via",
                "192.0.2.1",
            ],
        );
        assert!(greet_from(&outside.path, &address).is_err());
        network.down().await.unwrap();
    });
}

#[test]
fn a_pod_cannot_reach_the_hosts_loopback() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let a = network.attach("a", &[]).await.unwrap();
        let _server = Server::start("/proc/thread-self/ns/net".as_ref(), "host", 7000);
        let attempt = inside(&a.netns, || {
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            run("ip", &["addr", "flush", "dev", "lo"]);
            run(
                "ip",
                &[
                    "route",
                    "add",
                    "table",
                    "local",
                    "127.0.0.1/32",
                    "via",
                    "10.44.0.1",
                    "dev",
                    "eth0",
                    "onlink",
                ],
            );
            greet("127.0.0.1:7000")
        });
        assert!(attempt.join().unwrap().is_err());
        network.down().await.unwrap();
    });
}

#[test]
fn a_restart_keeps_pods_and_clears_what_is_half_there() {
    on_a_host(|host| async move {
        let first = host.network().await;
        let a = first.attach("a", &[]).await.unwrap();
        let b = first.attach("b", &[]).await.unwrap();
        let c = first.attach("c", &[]).await.unwrap();
        let _server = Server::start(&b.netns, "b", 8080);
        drop(first);
        // As if the process had died while it made one pod and removed another, and someone else
        // had taken the link of a third.
        std::fs::write(host.dir().join("t1/netns/stray"), "").unwrap();
        run(
            "ip",
            &[
                "link", "add", "cst1_ff", "type", "veth", "peer", "name", "stray",
            ],
        );
        run("ip", &["link", "del", "cst1_2"]);
        run("umount", &[c.netns.to_str().unwrap()]);

        let second = host.network().await;
        assert_eq!(second.attachments(), [a.clone(), b.clone()]);
        assert_eq!(
            greet_from(&a.netns, &format!("{}:8080", b.ip)).unwrap().0,
            "b"
        );
        assert!(!run("ip", &["link"]).contains("cst1_ff"));
        assert!(!host.dir().join("t1/netns/stray").exists());
        assert!(!c.netns.exists());
        assert_eq!(second.attach("b", &[]).await.unwrap(), b);
        second.down().await.unwrap();
    });
}

#[test]
fn down_leaves_nothing_behind() {
    on_a_host(|host| async move {
        let links = run("ip", &["-br", "link"]);
        let routes = run("ip", &["route", "show", "table", "all"]);
        let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
        let network = host.network().await;
        network.attach("a", &[]).await.unwrap();
        network.attach("b", &[]).await.unwrap();
        assert_ne!(run("nft", &["list", "ruleset"]), "");
        assert_eq!(
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            "1\n"
        );
        network.detach("b").await.unwrap();
        network.down().await.unwrap();
        assert_eq!(run("ip", &["-br", "link"]), links);
        assert_eq!(run("ip", &["route", "show", "table", "all"]), routes);
        assert_eq!(run("nft", &["list", "ruleset"]), "");
        assert_eq!(
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            forward
        );
        assert_eq!(
            std::fs::read_to_string("/proc/thread-self/mounts").unwrap(),
            mounts
        );
        assert!(!host.dir().join("t1").exists());
        network.down().await.unwrap();
    });
}

#[test]
fn two_instances_share_a_host_and_the_last_one_restores_forwarding() {
    on_a_host(|host| async move {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let one = host.network().await;
        let two = Network::open(host.options("t2", 60)).await.unwrap();
        two.up().await.unwrap();
        let a = one.attach("a", &[]).await.unwrap();
        let b = two.attach("a", &[]).await.unwrap();
        let _server = Server::start(&b.netns, "b", 8080);
        let address = format!("{}:8080", b.ip);
        assert_eq!(greet_from(&a.netns, &address).unwrap().0, "b");
        one.down().await.unwrap();
        assert_eq!(greet(&address).unwrap().0, "b");
        assert_eq!(
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            "1\n"
        );
        two.down().await.unwrap();
        assert_eq!(
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            "0\n"
        );
        assert_eq!(run("nft", &["list", "ruleset"]), "");
    });
}

#[test]
fn an_instance_refuses_addresses_that_another_one_has() {
    on_a_host(|host| async move {
        let one = host.network().await;
        let mut options = host.options("t2", 60);
        options.service_cidr = "10.45.0.0/16".parse().unwrap();
        let two = Network::open(options).await.unwrap();
        let refused = two.up().await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "10.45.0.0/16 is already in use: 10.45.0.0/16 on interface cs-t1"
        );
        one.down().await.unwrap();
    });
}

#[test]
fn bad_options_are_refused_with_what_was_expected() {
    on_a_host(|host| async move {
        let refused = |change: fn(&mut consort_net::network::Options)| {
            let mut options = host.options("t1", 44);
            change(&mut options);
            async { Network::open(options).await.unwrap_err().to_string() }
        };
        assert!(
            refused(|o| o.name = "Too long".into())
                .await
                .contains("1 to 6 characters")
        );
        assert!(
            refused(|o| o.pod_cidr = "10.44.0.0/31".parse().unwrap())
                .await
                .contains("8 to 29")
        );
        assert!(
            refused(|o| o.service_cidr = "10.44.3.0/24".parse().unwrap())
                .await
                .contains("overlap")
        );
        assert!(refused(|o| o.mtu = Some(20)).await.contains("576"));
        let network = Network::open(host.options("t1", 44)).await.unwrap();
        assert!(matches!(
            network.attach("../a", &[]).await,
            Err(Error::PodId(_))
        ));
    });
}
