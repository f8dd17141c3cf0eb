//! Services: spreading, every way in, changes under load, restarts, tampering, clean-up.

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    Host, PATIENCE, Server, ask, connect, greet, greet_from, greeting, inside, on_a_host, run,
};
use consort_net::{Attachment, Frontend, Network, Protocol, ServiceKey};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 45, 0, 10);

fn web() -> ServiceKey {
    ServiceKey("shop/web".into())
}

fn frontend(backends: &[SocketAddrV4]) -> Frontend {
    Frontend {
        vip: VIP,
        external: Vec::new(),
        port: 80,
        protocol: Protocol::Tcp,
        node_port: None,
        affinity: None,
        backends: backends.to_vec(),
    }
}

fn at(pod: &Attachment) -> SocketAddrV4 {
    SocketAddrV4::new(pod.ip, 8080)
}

/// Pods that answer with their names.
async fn pods(network: &Network, names: &[&str]) -> (Vec<Attachment>, Vec<Server>) {
    let mut pods = Vec::new();
    for name in names {
        pods.push(network.attach(name, &[]).await.unwrap());
    }
    let servers = pods
        .iter()
        .map(|pod| Server::start(&pod.netns, &pod.pod_id, 8080))
        .collect();
    (pods, servers)
}

#[test]
fn connections_are_spread_evenly_over_the_backends() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let (pods, _servers) = pods(&network, &["a", "b", "c"]).await;
        let client = network.attach("client", &[]).await.unwrap();
        network
            .balancer()
            .set(
                web(),
                vec![frontend(&[at(&pods[0]), at(&pods[1]), at(&pods[2])])],
            )
            .await
            .unwrap();
        let seen = inside(&client.netns, || {
            let mut seen: HashMap<String, usize> = HashMap::new();
            for _ in 0..300 {
                *seen.entry(greet("10.45.0.10:80").unwrap().0).or_default() += 1;
            }
            seen
        });
        let seen = seen.join().unwrap();
        // 100 expected each; 60 is six standard deviations away.
        assert!(
            seen.len() == 3 && seen.values().all(|count| *count > 60),
            "{seen:?}"
        );
        network.down().await.unwrap();
    });
}

#[test]
fn every_way_in_leads_to_the_service() {
    on_a_host(|host| async move {
        let outside = host.outside();
        let network = host.network().await;
        let (pods, _servers) = pods(&network, &["a"]).await;
        let client = network.attach("client", &[]).await.unwrap();
        let mut front = frontend(&[at(&pods[0])]);
        front.node_port = Some(30080);
        front.external = vec![Ipv4Addr::new(198, 51, 100, 7)];
        network.balancer().set(web(), vec![front]).await.unwrap();
        let gateway = network.gateway();

        assert_eq!(
            greet_from(&client.netns, "10.45.0.10:80").unwrap(),
            ("a".into(), client.ip)
        );
        assert_eq!(greet("10.45.0.10:80").unwrap(), ("a".into(), gateway));
        assert_eq!(
            greet_from(&pods[0].netns, "10.45.0.10:80").unwrap(),
            ("a".into(), gateway)
        );
        let remote = Ipv4Addr::new(192, 0, 2, 2);
        assert_eq!(
            greet_from(&outside.path, "192.0.2.1:30080").unwrap(),
            ("a".into(), remote)
        );
        assert_eq!(greet("192.0.2.1:30080").unwrap().0, "a");
        assert_eq!(greet("127.0.0.1:30080").unwrap(), ("a".into(), gateway));
        assert_eq!(
            greet_from(&client.netns, "192.0.2.1:30080").unwrap(),
            ("a".into(), client.ip)
        );
        assert_eq!(
            greet_from(&client.netns, "198.51.100.7:80").unwrap(),
            ("a".into(), client.ip)
        );
        network.down().await.unwrap();
    });
}

#[test]
fn backends_outside_the_pod_network_are_reached_from_inside_and_outside() {
    on_a_host(|host| async move {
        let outside = host.outside();
        let network = host.network().await;
        let client = network.attach("client", &[]).await.unwrap();
        let _far = Server::start(&outside.path, "far", 8080);
        let _near = Server::start("/proc/thread-self/ns/net".as_ref(), "near", 9090);
        let mut front = frontend(&["192.0.2.2:8080".parse().unwrap()]);
        front.node_port = Some(30080);
        let mut near = frontend(&["192.0.2.1:9090".parse().unwrap()]);
        near.port = 90;
        network
            .balancer()
            .set(web(), vec![front, near])
            .await
            .unwrap();
        let this = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(
            greet_from(&client.netns, "10.45.0.10:80").unwrap(),
            ("far".into(), this)
        );
        assert_eq!(greet("10.45.0.10:80").unwrap(), ("far".into(), this));
        assert_eq!(
            greet_from(&outside.path, "192.0.2.1:30080").unwrap(),
            ("far".into(), this)
        );
        assert_eq!(
            greet_from(&client.netns, "10.45.0.10:90").unwrap(),
            ("near".into(), client.ip)
        );
        assert_eq!(greet("10.45.0.10:90").unwrap().0, "near");
        network.down().await.unwrap();
    });
}

#[test]
fn a_service_without_backends_refuses_at_once() {
    on_a_host(|host| async move {
        let outside = host.outside();
        let network = host.network().await;
        let client = network.attach("client", &[]).await.unwrap();
        let mut tcp = frontend(&[]);
        tcp.node_port = Some(30080);
        let udp = Frontend {
            protocol: Protocol::Udp,
            port: 53,
            ..frontend(&[])
        };
        network.balancer().set(web(), vec![tcp, udp]).await.unwrap();
        let refused = |outcome: std::io::Result<_>| outcome.unwrap_err().kind();
        let started = Instant::now();
        for address in [
            "10.45.0.10:80",
            "10.45.0.10:81",
            "10.45.0.99:80",
            "192.0.2.1:30080",
        ] {
            assert_eq!(
                refused(greet_from(&client.netns, address)),
                std::io::ErrorKind::ConnectionRefused,
                "{address}"
            );
            assert_eq!(
                refused(greet(address)),
                std::io::ErrorKind::ConnectionRefused,
                "{address}"
            );
        }
        assert_eq!(
            refused(greet("127.0.0.1:30080")),
            std::io::ErrorKind::ConnectionRefused
        );
        assert_eq!(
            refused(greet_from(&outside.path, "192.0.2.1:30080")),
            std::io::ErrorKind::ConnectionRefused
        );
        let udp = inside(&client.netns, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect("10.45.0.10:53").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            socket.send(b"?").unwrap();
            socket.recv(&mut [0; 8]).unwrap_err().kind()
        });
        assert_eq!(udp.join().unwrap(), std::io::ErrorKind::ConnectionRefused);
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
        network.down().await.unwrap();
    });
}

#[test]
fn a_client_stays_with_its_backend_until_that_goes() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let (pods, _servers) = pods(&network, &["a", "b", "c", "d"]).await;
        let client = network.attach("client", &[]).await.unwrap();
        let sticky = |pods: &[Attachment]| {
            let mut front = frontend(&pods.iter().map(at).collect::<Vec<_>>());
            front.affinity = Some(Duration::from_secs(600));
            vec![front]
        };
        network.balancer().set(web(), sticky(&pods)).await.unwrap();
        let greeters = |n: usize| {
            inside(&client.netns, move || {
                (0..n)
                    .map(|_| greet("10.45.0.10:80").unwrap().0)
                    .collect::<HashSet<_>>()
            })
        };
        let first = greeters(20).join().unwrap();
        assert_eq!(first.len(), 1, "{first:?}");
        // Taking others away changes nothing for this client; taking its own does, once.
        let chosen = first.iter().next().unwrap();
        let (own, others): (Vec<_>, Vec<_>) =
            pods.into_iter().partition(|pod| pod.pod_id == *chosen);
        let fewer = [own[0].clone(), others[0].clone(), others[1].clone()];
        network.balancer().set(web(), sticky(&fewer)).await.unwrap();
        assert_eq!(greeters(20).join().unwrap(), first);
        network
            .balancer()
            .set(web(), sticky(&others))
            .await
            .unwrap();
        let second = greeters(20).join().unwrap();
        assert_eq!(second.len(), 1, "{second:?}");
        assert_ne!(second, first);
        network.down().await.unwrap();
    });
}

#[test]
fn removing_a_backend_leaves_other_connections_alive() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let (pods, _servers) = pods(&network, &["a", "b"]).await;
        let client = network.attach("client", &[]).await.unwrap();
        network
            .balancer()
            .set(web(), vec![frontend(&[at(&pods[0]), at(&pods[1])])])
            .await
            .unwrap();
        let mut open = inside(&client.netns, || {
            (0..20)
                .map(|_| {
                    let mut stream = connect("10.45.0.10:80").unwrap();
                    let name = greeting(&mut stream).unwrap().0;
                    (name, stream)
                })
                .collect::<Vec<_>>()
        })
        .join()
        .unwrap();
        network
            .balancer()
            .set(web(), vec![frontend(&[at(&pods[0])])])
            .await
            .unwrap();
        for (name, stream) in &mut open {
            let mut echo = [0; 5];
            stream.write_all(b"still").unwrap();
            stream
                .read_exact(&mut echo)
                .unwrap_or_else(|error| panic!("connection to {name}: {error}"));
        }
        assert_eq!(greet_from(&client.netns, "10.45.0.10:80").unwrap().0, "a");
        network.down().await.unwrap();
    });
}

#[test]
fn a_udp_client_moves_on_when_its_backend_goes() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let (pods, _servers) = pods(&network, &["a", "b"]).await;
        let client = network.attach("client", &[]).await.unwrap();
        let udp = |pod: &Attachment| Frontend {
            protocol: Protocol::Udp,
            ..frontend(&[at(pod)])
        };
        network
            .balancer()
            .set(web(), vec![udp(&pods[0])])
            .await
            .unwrap();
        let socket = inside(&client.netns, || UdpSocket::bind("0.0.0.0:0").unwrap())
            .join()
            .unwrap();
        assert_eq!(ask(&socket, "10.45.0.10:80").unwrap().0, "a");
        network
            .balancer()
            .set(web(), vec![udp(&pods[1])])
            .await
            .unwrap();
        assert_eq!(ask(&socket, "10.45.0.10:80").unwrap().0, "b");
        network.down().await.unwrap();
    });
}

#[test]
fn an_unchanged_service_never_misses_a_connection_while_others_change() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let (pods, _servers) = pods(&network, &["a", "b"]).await;
        let client = network.attach("client", &[]).await.unwrap();
        let balancer = network.balancer();
        balancer
            .set(web(), vec![frontend(&[at(&pods[0]), at(&pods[1])])])
            .await
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicUsize::new(0));
        let greeter = inside(&client.netns, {
            let (stop, made) = (stop.clone(), made.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    greet("10.45.0.10:80").unwrap();
                    made.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        for round in 0u32.. {
            let mut front = frontend(&[]);
            front.vip = Ipv4Addr::new(10, 45, 1, (round % 50) as u8 + 1);
            front.backends = (0..round % 7)
                .map(|n| SocketAddrV4::new(Ipv4Addr::new(10, 44, 0, 200), 1000 + n as u16))
                .collect();
            balancer
                .set(ServiceKey(format!("other/{}", round % 50)), vec![front])
                .await
                .unwrap();
            let both = |order: [usize; 2]| vec![frontend(&order.map(|n| at(&pods[n])))];
            balancer
                .set(web(), both(if round % 2 == 0 { [0, 1] } else { [1, 0] }))
                .await
                .unwrap();
            if (round > 300 && made.load(Ordering::Relaxed) > 300) || greeter.is_finished() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "only {} connections",
                made.load(Ordering::Relaxed)
            );
        }
        stop.store(true, Ordering::Relaxed);
        greeter.join().unwrap();
        network.down().await.unwrap();
    });
}

/// The elements of a map as another program sees them.
fn listed(map: &str) -> usize {
    let text = run("nft", &["-j", "list", "map", "ip", "consort-t1", map]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let map = json["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|item| item.get("map"))
        .unwrap();
    map["elem"].as_array().map_or(0, Vec::len)
}

fn many(services: u32, backends: u32) -> Vec<(ServiceKey, Vec<Frontend>)> {
    (0..services)
        .map(|n| {
            let backend =
                |b| SocketAddrV4::new(Ipv4Addr::from(0x0a2c_0000 + n * backends + b), 8080);
            let front = Frontend {
                vip: Ipv4Addr::from(0x0a2d_0100 + n),
                ..frontend(&(0..backends).map(backend).collect::<Vec<_>>())
            };
            (ServiceKey(format!("many/{n}")), vec![front])
        })
        .collect()
}

#[test]
fn a_thousand_services_of_ten_backends_are_quickly_there_changed_and_adopted() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let services = many(1000, 10);
        let started = Instant::now();
        network.balancer().sync(services.clone()).await.unwrap();
        let set_up = started.elapsed();
        assert_eq!((listed("services"), listed("backends")), (1000, 10_000));

        let started = Instant::now();
        let changes = 100;
        for (key, mut fronts) in services.iter().take(changes).cloned() {
            fronts[0].backends.pop();
            network.balancer().set(key, fronts).await.unwrap();
        }
        let change = started.elapsed() / changes as u32;
        assert_eq!(listed("backends"), 10_000 - changes);

        let before = run("nft", &["list", "map", "ip", "consort-t1", "backends"]);
        drop(network);
        let started = Instant::now();
        let network = host.network().await;
        let adopt = started.elapsed();
        assert_eq!(
            run("nft", &["list", "map", "ip", "consort-t1", "backends"]),
            before
        );
        network.balancer().sync(services).await.unwrap();
        assert_eq!(listed("backends"), 10_000);
        println!("set up {set_up:?}, one change {change:?}, adopted in {adopt:?}");
        // Generous: these bounds tell linear from quadratic, not fast from slow machines.
        assert!(
            set_up < Duration::from_secs(5) && change < Duration::from_millis(50),
            "{set_up:?} {change:?}"
        );
        network.down().await.unwrap();
        assert_eq!(run("nft", &["list", "ruleset"]), "");
    });
}

async fn answering(host: &Host) -> (Network, Vec<Attachment>, Vec<Server>) {
    let network = host.network().await;
    let (pods, servers) = pods(&network, &["a", "client"]).await;
    let mut front = frontend(&[at(&pods[0])]);
    front.affinity = Some(Duration::from_secs(60));
    front.node_port = Some(30080);
    network.balancer().set(web(), vec![front]).await.unwrap();
    (network, pods, servers)
}

#[test]
fn services_answer_while_nobody_looks_after_them_and_vanished_ones_go_after_a_restart() {
    on_a_host(|host| async move {
        let (network, pods, _servers) = answering(&host).await;
        let gone = Frontend {
            vip: Ipv4Addr::new(10, 45, 0, 11),
            ..frontend(&[at(&pods[0])])
        };
        network
            .balancer()
            .set(ServiceKey("shop/gone".into()), vec![gone])
            .await
            .unwrap();
        drop(network);
        assert_eq!(greet_from(&pods[1].netns, "10.45.0.10:80").unwrap().0, "a");
        let network = host.network().await;
        assert_eq!(greet_from(&pods[1].netns, "10.45.0.10:80").unwrap().0, "a");
        assert_eq!(greet_from(&pods[1].netns, "10.45.0.11:80").unwrap().0, "a");
        network
            .balancer()
            .sync(vec![(web(), vec![frontend(&[at(&pods[0])])])])
            .await
            .unwrap();
        assert_eq!(greet_from(&pods[1].netns, "10.45.0.10:80").unwrap().0, "a");
        assert!(greet_from(&pods[1].netns, "10.45.0.11:80").is_err());
        assert!(greet("127.0.0.1:30080").is_err());
        network.down().await.unwrap();
    });
}

#[test]
fn what_others_change_in_the_table_is_repaired() {
    on_a_host(|host| async move {
        let (network, pods, _servers) = answering(&host).await;
        let balancer = network.balancer();
        let plain = Frontend {
            vip: Ipv4Addr::new(10, 45, 0, 11),
            ..frontend(&[at(&pods[0])])
        };
        balancer
            .set(ServiceKey("shop/plain".into()), vec![plain])
            .await
            .unwrap();
        balancer.verify().await.unwrap();
        assert_eq!(balancer.verify().await.unwrap(), 0);
        let table = ["ip", "consort-t1"];
        let tampering: &[&[&str]] = &[
            &["flush", "ruleset"],
            &["flush", "map", table[0], table[1], "services"],
            &["flush", "map", table[0], table[1], "backends"],
            &["flush", "set", table[0], table[1], "hairpin"],
            &["flush", "chain", table[0], table[1], "balance"],
            &[
                "flush",
                "chain",
                table[0],
                table[1],
                "sticky-10.45.0.10-tcp-80",
            ],
            &["delete", "chain", table[0], table[1], "source"],
            &[
                "add",
                "element",
                table[0],
                table[1],
                "services",
                "{ 10.45.0.77 . tcp . 80 : goto refuse }",
            ],
            &["add", "chain", table[0], table[1], "stray"],
            &["add", "rule", table[0], table[1], "refuse", "drop"],
        ];
        let whole = || {
            run("nft", &["-s", "list", "table", "ip", "consort-t1"])
                .lines()
                .map(str::to_owned)
                .collect::<HashSet<_>>()
        };
        let before = whole();
        for args in tampering {
            run("nft", args);
            assert!(
                balancer.verify().await.unwrap() > 0,
                "{args:?} went unnoticed"
            );
            assert_eq!(balancer.verify().await.unwrap(), 0, "{args:?}");
            assert_eq!(
                greet_from(&pods[1].netns, "10.45.0.10:80").unwrap().0,
                "a",
                "{args:?}"
            );
            assert_eq!(greet("127.0.0.1:30080").unwrap().0, "a", "{args:?}");
            assert_eq!(greet("10.45.0.11:80").unwrap().0, "a", "{args:?}");
        }
        // Who is remembered changes with every connection.
        let stable = |lines: HashSet<String>| {
            lines
                .into_iter()
                .filter(|line| !line.contains("timeout 1m") || line.contains("update"))
                .collect::<HashSet<_>>()
        };
        assert_eq!(stable(whole()), stable(before));
        // A change finds out by itself.
        run("nft", &["flush", "ruleset"]);
        balancer
            .set(
                ServiceKey("shop/other".into()),
                vec![Frontend {
                    port: 81,
                    ..frontend(&[])
                }],
            )
            .await
            .unwrap();
        assert_eq!(greet_from(&pods[1].netns, "10.45.0.10:80").unwrap().0, "a");
        network.down().await.unwrap();
    });
}

#[test]
fn impossible_frontends_are_refused_and_change_nothing() {
    on_a_host(|host| async move {
        let network = host.network().await;
        let balancer = network.balancer();
        let twice = vec![frontend(&[]), frontend(&[])];
        let error = balancer.set(web(), twice).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "service shop/web: port 80/TCP is there twice"
        );
        let long = Frontend {
            affinity: Some(Duration::from_secs(90_000)),
            ..frontend(&[])
        };
        assert!(balancer.set(web(), vec![long]).await.is_err());
        assert_eq!(listed("services"), 0);
        network.down().await.unwrap();
    });
}
