//! A host of its own for each test: a fresh network namespace with the loopback up, and an outside
//! world behind one link. Nothing here touches the machine's own network.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use consort_net::{Network, network};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test in a network and mount namespace of its own.
pub(crate) fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send + 'static) {
    let outcome = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        // sysfs shows the network namespace of whoever mounted it.
        run("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let host = Host {
            dir: tempfile::tempdir().unwrap(),
        };
        runtime.block_on(test(host));
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    pub(crate) fn options(&self, name: &str, third: u8) -> network::Options {
        network::Options {
            name: name.into(),
            pod_cidr: format!("10.{third}.0.0/24").parse().unwrap(),
            cluster_cidr: format!("10.{third}.0.0/16").parse().unwrap(),
            service_cidr: format!("10.{}.0.0/16", third + 1).parse().unwrap(),
            mtu: None,
            state_dir: self.dir.path().join(name),
            node_port_addresses: Vec::new(),
            masquerade: true,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn network(&self) -> Network {
        let network = Network::open(self.options("t1", 44)).await.unwrap();
        network.up().await.unwrap();
        network
    }

    /// Another machine at 192.0.2.2, reached from this one at 192.0.2.1.
    pub(crate) fn outside(&self) -> Outside {
        let path = self.dir.path().join("outside");
        File::create(&path).unwrap();
        let pinned = path.clone();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            mount(
                Some("/proc/thread-self/ns/net"),
                &pinned,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .unwrap();
        })
        .join()
        .unwrap();
        let namespace = format!("--net={}", path.display());
        run(
            "ip",
            &["link", "add", "up0", "type", "veth", "peer", "name", "up1"],
        );
        run("ip", &["addr", "add", "192.0.2.1/24", "dev", "up0"]);
        run("ip", &["link", "set", "up0", "up"]);
        // `ip netns` wants its own directory; moving by process works with any namespace.
        let mut holder = Command::new("nsenter")
            .args([&namespace, "sleep", "60"])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        let target = std::fs::metadata(&path)
            .map(|m| std::os::unix::fs::MetadataExt::ino(&m))
            .unwrap();
        let joined = format!("/proc/{}/ns/net", holder.id());
        while std::fs::metadata(&joined)
            .map(|m| std::os::unix::fs::MetadataExt::ino(&m))
            .ok()
            != Some(target)
        {
            assert!(Instant::now() < deadline, "nsenter did not start");
            std::thread::sleep(Duration::from_millis(2));
        }
        run(
            "ip",
            &["link", "set", "up1", "netns", &holder.id().to_string()],
        );
        holder.kill().unwrap();
        holder.wait().unwrap();
        for args in [
            &["link", "set", "lo", "up"][..],
            &["link", "set", "up1", "up"],
            &["addr", "add", "192.0.2.2/24", "dev", "up1"],
        ] {
            run("nsenter", &[&[namespace.as_str(), "ip"], args].concat());
        }
        Outside { path }
    }
}

pub(crate) struct Outside {
    pub(crate) path: PathBuf,
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

/// Runs a command that must succeed and gives its output.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Works in another network namespace.
pub(crate) fn inside<T: Send + 'static>(
    namespace: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let namespace = File::open(namespace).unwrap();
    std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// Answers every TCP connection and UDP datagram with its name and the client's address. A connection
/// stays open and echoes.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(namespace: &Path, name: &str, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let (tcp, udp) = inside(namespace, move || {
            (
                TcpListener::bind(address).unwrap(),
                UdpSocket::bind(address).unwrap(),
            )
        })
        .join()
        .unwrap();
        let threads = vec![
            std::thread::spawn({
                let (stop, name) = (stop.clone(), name.to_owned());
                move || serve_tcp(&tcp, &name, &stop)
            }),
            std::thread::spawn({
                let (stop, name) = (stop.clone(), name.to_owned());
                move || serve_udp(&udp, &name, &stop)
            }),
        ];
        Self { stop, threads }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_tcp(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let mut open: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while let Ok((mut stream, peer)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            let _ = writeln!(stream, "{name} {}", peer.ip());
            open.push(stream);
        }
        open.retain_mut(|stream| {
            let mut buffer = [0; 64];
            match stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(n) => stream.write_all(&buffer[..n]).is_ok(),
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn serve_udp(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut buffer = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    }
}

/// Connects and reads the server's greeting: its name and the address it saw.
pub(crate) fn greet(address: &str) -> std::io::Result<(String, Ipv4Addr)> {
    greeting(&mut connect(address)?)
}

pub(crate) fn connect(address: &str) -> std::io::Result<TcpStream> {
    let address: SocketAddrV4 = address.parse().unwrap();
    let stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(stream)
}

pub(crate) fn greeting(stream: &mut TcpStream) -> std::io::Result<(String, Ipv4Addr)> {
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    Ok(parse(&text))
}

/// The same over UDP, from a given socket.
pub(crate) fn ask(socket: &UdpSocket, address: &str) -> std::io::Result<(String, Ipv4Addr)> {
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(b"?", address)?;
    let mut buffer = [0; 64];
    let (n, _) = socket.recv_from(&mut buffer)?;
    Ok(parse(&buffer[..n]))
}

fn parse(text: &[u8]) -> (String, Ipv4Addr) {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let (name, ip) = text
        .split_once(' ')
        .unwrap_or_else(|| panic!("no greeting: {text:?}"));
    (name.to_owned(), ip.parse().unwrap())
}

/// From inside another namespace.
pub(crate) fn greet_from(namespace: &Path, address: &str) -> std::io::Result<(String, Ipv4Addr)> {
    let address = address.to_owned();
    inside(namespace, move || greet(&address)).join().unwrap()
}
