//! Questions that are not the cluster's go to the resolvers of the host.
//!
//! The client's message is passed on as it is, so that every record type and EDNS option works; only
//! its number is changed. Each try uses a socket, and so a port, of its own.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use hickory_proto::op::Message;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long one resolver may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often all of them are tried.
const ROUNDS: usize = 2;
/// Questions under way at a time; further ones wait, and their clients ask again.
const MOST: usize = 1024;
/// How often the resolver file is looked at.
const RECHECK: Duration = Duration::from_secs(5);
/// Largest UDP answer there is.
const LARGEST: usize = 65_535;
/// Length of the fixed part of a message.
const HEADER: usize = 12;

/// Asks other resolvers.
#[derive(Debug)]
pub(super) struct Forwarder {
    source: Source,
    own: Vec<SocketAddr>,
    slots: Semaphore,
}

#[derive(Debug)]
enum Source {
    Fixed(Vec<SocketAddr>),
    File { path: PathBuf, seen: Mutex<Seen> },
}

/// What the resolver file said when it was last looked at.
#[derive(Debug, Default)]
struct Seen {
    looked: Option<Instant>,
    modified: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl Forwarder {
    /// Asks `upstream`, or else the resolvers in `/etc/resolv.conf`; never the addresses in `own`.
    pub(super) fn new(upstream: Option<Vec<SocketAddr>>, own: Vec<SocketAddr>) -> Self {
        let source = match upstream {
            Some(servers) => Source::Fixed(servers),
            None => Source::File {
                path: "/etc/resolv.conf".into(),
                seen: Mutex::default(),
            },
        };
        Self {
            source,
            own,
            slots: Semaphore::new(MOST),
        }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = match &self.source {
            Source::Fixed(servers) => servers.clone(),
            Source::File { path, seen } => {
                let mut seen = seen.lock();
                if seen.looked.is_none_or(|looked| looked.elapsed() > RECHECK) {
                    seen.looked = Some(Instant::now());
                    let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
                    if modified.is_none() || modified != seen.modified {
                        seen.modified = modified;
                        seen.servers = parse(&fs::read_to_string(path).unwrap_or_default());
                    }
                }
                seen.servers.clone()
            }
        };
        servers.retain(|server| !self.own.contains(server));
        servers
    }

    /// The answer to a question given as a whole message. `None`: there is nobody to ask.
    pub(super) async fn ask(&self, question: &[u8]) -> io::Result<Option<Message>> {
        let servers = self.servers();
        if servers.is_empty() {
            return Ok(None);
        }
        let lost = || io::Error::from(io::ErrorKind::TimedOut);
        let _slot = timeout(PATIENCE, self.slots.acquire())
            .await
            .map_err(|_| lost())?
            .map_err(|_| lost())?;
        let mut failure = lost();
        for _ in 0..ROUNDS {
            for server in &servers {
                match timeout(PATIENCE, exchange(*server, question)).await {
                    Ok(Ok(answer)) => return Ok(Some(answer)),
                    Ok(Err(error)) => failure = error,
                    Err(_) => failure = lost(),
                }
            }
        }
        Err(failure)
    }
}

/// The resolvers of a `resolv.conf(5)`.
fn parse(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| -> Option<IpAddr> {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        words.next()?.parse().ok()
    };
    text.lines()
        .filter_map(address)
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

/// One question to one resolver: by UDP, and again by TCP when the answer was cut off.
async fn exchange(server: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut question = question.to_vec();
    let Some(id) = question.get_mut(..2) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Keyed with fresh randomness; together with the port this is what keeps forgers out.
    let random = (RandomState::new().build_hasher().finish() as u16).to_be_bytes();
    id.copy_from_slice(&random);

    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; LARGEST];
    let answer = loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything else is late or forged.
        if let Some(answer) = accept(&buffer[..length], &question) {
            break answer;
        }
    };
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], &question].concat())
        .await?;
    let length = usize::from(stream.read_u16().await?);
    let whole = buffer.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    stream.read_exact(whole).await?;
    accept(whole, &question).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Parses an answer, if it is one to this question.
fn accept(answer: &[u8], question: &[u8]) -> Option<Message> {
    if answer.len() < HEADER || answer[..2] != question[..2] {
        return None;
    }
    let answer = Message::from_vec(answer).ok()?;
    let asked = Message::from_vec(question).ok()?;
    (answer.queries == asked.queries || answer.queries.is_empty()).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_from_the_file_and_the_rest_of_it_is_ignored() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 192.0.2.1\nnameserver nonsense\nnameserver 2001:db8::1 # x\n";
        let found = parse(text);
        assert_eq!(
            found,
            [
                "192.0.2.1:53".parse().unwrap(),
                "[2001:db8::1]:53".parse().unwrap()
            ]
        );
    }
}
