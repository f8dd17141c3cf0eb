//! Cluster DNS as `dig` sees it.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::{inside, on_a_host, run};
use consort_net::dns::{self, Endpoint, Port, ServiceRecord};
use consort_net::{Dns, Frontend, Protocol, Records, ServiceKey};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn port(name: &str, port: u16, protocol: Protocol) -> Port {
    Port {
        name: Some(name.into()),
        port,
        protocol,
    }
}

fn fill(records: &Records) {
    let web = ServiceRecord::ClusterIp {
        ip: Ipv4Addr::new(10, 96, 0, 20),
        ports: vec![
            port("http", 80, Protocol::Tcp),
            port("dns", 53, Protocol::Udp),
        ],
    };
    records.set_service("shop", "web", web);
    let endpoint = |last, hostname: Option<&str>| Endpoint {
        ip: Ipv4Addr::new(10, 244, 0, last),
        hostname: hostname.map(Into::into),
        ports: vec![port("db", 5432, Protocol::Tcp)],
    };
    let endpoints = vec![
        endpoint(2, Some("db-0")),
        endpoint(3, Some("db-1")),
        endpoint(4, None),
    ];
    records.set_service("shop", "db", ServiceRecord::Headless { endpoints });
    records.set_service(
        "shop",
        "out",
        ServiceRecord::ExternalName("host.example".into()),
    );
    records.set_service(
        "shop",
        "alias",
        ServiceRecord::ExternalName("web.shop.svc.cluster.local".into()),
    );
}

struct Running {
    addr: SocketAddr,
    records: Records,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), dns::Error>>,
}

impl Running {
    async fn start(addr: &str, upstream: Vec<SocketAddr>) -> Self {
        let options = dns::Options {
            addrs: vec![addr.parse().unwrap()],
            domain: "cluster.local".into(),
            upstream: Some(upstream),
            ttl: Duration::from_secs(5),
        };
        let dns = Dns::bind(options).await.unwrap();
        let (addr, records, shutdown) = (dns.addrs()[0], dns.records(), CancellationToken::new());
        let task = tokio::spawn(dns.run(shutdown.clone()));
        Self {
            addr,
            records,
            shutdown,
            task,
        }
    }

    /// The whole answer to a question.
    async fn dig(&self, args: &[&str]) -> String {
        let at = [
            format!("@{}", self.addr.ip()),
            "-p".into(),
            self.addr.port().to_string(),
        ];
        let args: Vec<String> = at
            .into_iter()
            .chain(["+tries=1".into(), "+time=5".into()])
            .chain(args.iter().map(|&a| a.into()))
            .collect();
        let output = tokio::process::Command::new("dig")
            .args(&args)
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The data of the answers, in order.
    async fn short(&self, name: &str, kind: &str) -> Vec<String> {
        let mut lines: Vec<_> = self
            .dig(&["+short", name, kind])
            .await
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

#[test]
fn services_and_their_pods_have_the_names_of_the_specification() {
    on_a_host(|_host| async {
        let dns = Running::start("127.0.0.1:0", Vec::new()).await;
        fill(&dns.records);
        let zone = "svc.cluster.local";
        assert_eq!(
            dns.short(&format!("web.shop.{zone}"), "A").await,
            ["10.96.0.20"]
        );
        assert_eq!(
            dns.short(&format!("WEB.Shop.{zone}"), "A").await,
            ["10.96.0.20"]
        );
        assert_eq!(
            dns.short(&format!("db.shop.{zone}"), "A").await,
            ["10.244.0.2", "10.244.0.3", "10.244.0.4"]
        );
        assert_eq!(
            dns.short(&format!("db-1.db.shop.{zone}"), "A").await,
            ["10.244.0.3"]
        );
        assert_eq!(
            dns.short(&format!("10-244-0-4.db.shop.{zone}"), "A").await,
            ["10.244.0.4"]
        );
        assert_eq!(
            dns.short("10-1-2-3.shop.pod.cluster.local", "A").await,
            ["10.1.2.3"]
        );
        assert_eq!(
            dns.short(&format!("_http._tcp.web.shop.{zone}"), "SRV")
                .await,
            ["0 100 80 web.shop.svc.cluster.local."]
        );
        assert_eq!(
            dns.short(&format!("_db._tcp.db.shop.{zone}"), "SRV").await,
            [
                "0 33 5432 10-244-0-4.db.shop.svc.cluster.local.",
                "0 33 5432 db-0.db.shop.svc.cluster.local.",
                "0 33 5432 db-1.db.shop.svc.cluster.local."
            ]
        );
        assert_eq!(
            dns.short("20.0.96.10.in-addr.arpa", "PTR").await,
            ["web.shop.svc.cluster.local."]
        );
        assert_eq!(
            dns.short("2.0.244.10.in-addr.arpa", "PTR").await,
            ["db-0.db.shop.svc.cluster.local."]
        );
        assert_eq!(
            dns.short("dns-version.cluster.local", "TXT").await,
            ["\"1.1.0\""]
        );
        assert_eq!(
            dns.short(&format!("alias.shop.{zone}"), "A").await,
            ["10.96.0.20", "web.shop.svc.cluster.local."]
        );
        dns.stop().await;
    });
}

#[test]
fn absent_names_and_absent_types_are_told_apart_and_carry_the_soa() {
    on_a_host(|_host| async {
        let dns = Running::start("127.0.0.1:0", Vec::new()).await;
        fill(&dns.records);
        for name in [
            "nothing.shop.svc.cluster.local",
            "web.nowhere.svc.cluster.local",
            "example.com.shop.svc.cluster.local",
            "web.shop.cluster.local",
            "db-9.db.shop.svc.cluster.local",
            "host.web.shop.svc.cluster.local",
            "_http._udp.web.shop.svc.cluster.local",
            "nonsense.shop.pod.cluster.local",
        ] {
            let answer = dns.dig(&[name, "A"]).await;
            assert!(
                answer.contains("status: NXDOMAIN")
                    && answer.contains("SOA\tns.dns.cluster.local."),
                "{answer}"
            );
            assert!(answer.contains(" aa "), "{answer}");
        }
        for (name, kind) in [
            ("web.shop.svc.cluster.local", "AAAA"),
            ("shop.svc.cluster.local", "A"),
            ("svc.cluster.local", "A"),
            ("cluster.local", "A"),
            ("_tcp.web.shop.svc.cluster.local", "A"),
            ("_http._tcp.web.shop.svc.cluster.local", "A"),
        ] {
            let answer = dns.dig(&[name, kind]).await;
            assert!(
                answer.contains("status: NOERROR") && answer.contains("ANSWER: 0, AUTHORITY: 1"),
                "{answer}"
            );
        }
        dns.records.remove_service("shop", "web");
        assert_eq!(
            dns.short("web.shop.svc.cluster.local", "A").await,
            Vec::<String>::new()
        );
        assert_eq!(
            dns.short("20.0.96.10.in-addr.arpa", "PTR").await,
            Vec::<String>::new()
        );
        let outside = dns.dig(&["example.com", "A"]).await;
        assert!(outside.contains("status: REFUSED"), "{outside}");
        dns.stop().await;
    });
}

#[test]
fn answers_too_long_for_udp_come_whole_over_tcp() {
    on_a_host(|_host| async {
        let dns = Running::start("127.0.0.1:0", Vec::new()).await;
        let endpoint = |n: u32| Endpoint {
            ip: Ipv4Addr::from(0x0af4_0000 + n),
            hostname: None,
            ports: Vec::new(),
        };
        dns.records.set_service(
            "shop",
            "big",
            ServiceRecord::Headless {
                endpoints: (0..500).map(endpoint).collect(),
            },
        );
        let name = "big.shop.svc.cluster.local";
        let cut = dns.dig(&["+ignore", "+noedns", name, "A"]).await;
        assert!(cut.contains(" tc "), "{cut}");
        assert_eq!(dns.short(name, "A").await.len(), 500);
        let edns = dns.dig(&["+ignore", "+bufsize=4096", name, "A"]).await;
        assert!(
            edns.contains("EDNS: version: 0") && edns.contains(" tc "),
            "{edns}"
        );
        dns.stop().await;
    });
}

#[test]
fn other_names_are_asked_of_the_hosts_resolvers() {
    on_a_host(|_host| async {
        // Another instance plays the resolver of the outside: what is its cluster is the world to us.
        let options = dns::Options {
            addrs: vec!["127.0.0.1:0".parse().unwrap()],
            domain: "example".into(),
            upstream: Some(Vec::new()),
            ttl: Duration::from_secs(30),
        };
        let world = Dns::bind(options).await.unwrap();
        let endpoint = |n: u32| Endpoint {
            ip: Ipv4Addr::from(0xc000_0200 + n),
            hostname: None,
            ports: Vec::new(),
        };
        let (addr, records, shutdown) =
            (world.addrs()[0], world.records(), CancellationToken::new());
        let all = (0..200).map(endpoint).collect();
        records.set_service("a", "b", ServiceRecord::Headless { endpoints: all });
        records.set_service(
            "a",
            "c",
            ServiceRecord::Headless {
                endpoints: vec![endpoint(7)],
            },
        );
        let task = tokio::spawn(world.run(shutdown.clone()));
        // The first resolver does not answer: nobody listens there.
        let dead = std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let dns = Running::start("127.0.0.1:0", vec![dead, addr]).await;

        assert_eq!(dns.short("c.a.svc.example", "A").await, ["192.0.2.7"]);
        let answer = dns.dig(&["c.a.svc.example", "A"]).await;
        assert!(
            answer.contains("IN\tA\t192.0.2.7")
                && answer.contains("\t30\t")
                && answer.contains(" ra"),
            "{answer}"
        );
        // Cut off by UDP on the way here, and whole at the client.
        assert_eq!(dns.short("b.a.svc.example", "A").await.len(), 200);
        let absent = dns.dig(&["none.a.svc.example", "A"]).await;
        assert!(
            absent.contains("status: NXDOMAIN") && absent.contains("ns.dns.example."),
            "{absent}"
        );
        dns.records.set_service(
            "shop",
            "out",
            ServiceRecord::ExternalName("c.a.svc.example".into()),
        );
        assert_eq!(
            dns.short("out.shop.svc.cluster.local", "A").await,
            ["192.0.2.7", "c.a.svc.example."]
        );

        shutdown.cancel();
        task.await.unwrap().unwrap();
        let started = Instant::now();
        let lost = dns.dig(&["c.a.svc.example", "A"]).await;
        assert!(lost.contains("status: SERVFAIL"), "{lost}");
        assert!(started.elapsed() < Duration::from_secs(5));
        dns.stop().await;
    });
}

#[test]
fn pods_reach_dns_under_the_address_of_its_service() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let pod = network.attach("a", &[]).await.unwrap();
        let dns = Running::start(&format!("{}:0", network.gateway()), Vec::new()).await;
        fill(&dns.records);
        let SocketAddr::V4(backend) = dns.addr else {
            panic!("IPv4 was asked for")
        };
        let front = |protocol| Frontend {
            vip: Ipv4Addr::new(10, 45, 0, 10),
            external: Vec::new(),
            port: 53,
            protocol,
            node_port: None,
            affinity: None,
            backends: vec![backend],
        };
        let fronts = vec![front(Protocol::Udp), front(Protocol::Tcp)];
        network
            .balancer()
            .set(ServiceKey("kube-system/kube-dns".into()), fronts)
            .await
            .unwrap();
        for transport in ["+notcp", "+tcp"] {
            let ask = || {
                let namespace = pod.netns.clone();
                tokio::task::spawn_blocking(move || {
                    inside(&namespace, move || {
                        run(
                            "dig",
                            &[
                                "@10.45.0.10",
                                "+short",
                                "+tries=1",
                                transport,
                                "web.shop.svc.cluster.local",
                            ],
                        )
                    })
                    .join()
                    .unwrap()
                })
            };
            assert_eq!(ask().await.unwrap(), "10.96.0.20\n", "{transport}");
        }
        dns.stop().await;
        network.down().await.unwrap();
    });
}

#[test]
fn a_port_in_use_is_reported_with_its_address() {
    on_a_host(|_host| async {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let options = dns::Options {
            addrs: vec![addr],
            domain: "cluster.local".into(),
            upstream: None,
            ttl: Duration::from_secs(5),
        };
        let error = Dns::bind(options).await.unwrap_err();
        assert_eq!(error.to_string(), format!("listening for DNS on {addr}"));
    });
}
