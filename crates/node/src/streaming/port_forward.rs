//! Port-forward: a client's connections to ports of a pod.
//!
//! | spoken over | how |
//! |---|---|
//! | SPDY/3.1, `portforward.k8s.io` | a pair of streams (`data`, `error`) for each connection |
//! | WebSocket, `SPDY/3.1+portforward.k8s.io` | the same, its bytes in binary messages |
//! | WebSocket, `v4.channel.k8s.io` | one connection a port; channels 2n for data, 2n+1 for errors |

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response};
use nix::sched::{CloneFlags, setns};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::channels::offered;
use super::query::Query;
use super::spdy::{Session, Stream};
use super::upgrade::{self, Connection, STREAM_PROTOCOL, Wanted};
use super::{Body, Error, Streaming};
use crate::agent::PodView;

const SPDY_PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNEL_PROTOCOLS: &[&str] = &["v4.channel.k8s.io", "channel.k8s.io"];
const CHUNK: usize = 32 << 10;
const WAITING: usize = 16;
const PORTS: usize = 100;
/// How long the second stream of a pair may take to appear.
const PAIR: Duration = Duration::from_secs(30);
const DIAL: Duration = Duration::from_secs(10);

impl Streaming {
    /// Connects the client to the pod's ports.
    pub(super) fn port_forward(
        &self,
        mut request: Request<Body>,
        query: &Query,
        view: PodView,
    ) -> Result<Response<Body>, Error> {
        let headers = request.headers();
        let (response, kind) = match upgrade::wanted(headers)? {
            Wanted::Spdy => {
                check_spdy(headers)?;
                (upgrade::to_spdy(SPDY_PROTOCOL), Kind::Spdy)
            }
            Wanted::WebSocket if offered(headers, &[TUNNEL_PROTOCOL]).is_some() => (
                upgrade::to_web_socket(headers, Some(TUNNEL_PROTOCOL))?,
                Kind::Tunnel,
            ),
            Wanted::WebSocket => {
                let protocol = CHANNEL_PROTOCOLS
                    .iter()
                    .find(|own| offered(headers, &[own]).is_some());
                let ports = ports(query)?;
                (
                    upgrade::to_web_socket(headers, protocol.copied())?,
                    Kind::Channels(ports),
                )
            }
        };
        let connection = upgrade::take(&mut request)?;
        let shutdown = self.shutdown.clone();
        let target = Target { netns: view.netns };
        self.sessions.spawn(async move {
            let session = async {
                let connection = match connection.await {
                    Ok(connection) => hyper_util::rt::TokioIo::new(connection),
                    Err(error) => {
                        tracing::debug!(%error, "a client did not wait for its upgrade");
                        return;
                    }
                };
                match kind {
                    Kind::Spdy => {
                        let (session, driver) = Session::new(connection);
                        tokio::join!(over_spdy(session, target), driver);
                    }
                    Kind::Tunnel => tunnel(connection, target).await,
                    Kind::Channels(ports) => over_channels(connection, &ports, target).await,
                }
            };
            tokio::select! {
                () = session => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(response)
    }
}

enum Kind {
    Spdy,
    Tunnel,
    Channels(Vec<u16>),
}

fn check_spdy(headers: &HeaderMap) -> Result<(), Error> {
    let values = headers.get_all(STREAM_PROTOCOL);
    let known = values.iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|name| name.trim() == SPDY_PROTOCOL))
    });
    if known {
        Ok(())
    } else {
        Err(Error::BadRequest(format!(
            "the stream protocol {SPDY_PROTOCOL} was not offered"
        )))
    }
}

fn ports(query: &Query) -> Result<Vec<u16>, Error> {
    let mut ports = Vec::new();
    for text in query
        .all("port")
        .iter()
        .chain(&query.all("ports"))
        .flat_map(|text| text.split(','))
    {
        let port: u16 = text
            .parse()
            .map_err(|_| Error::BadRequest(format!("{text:?} is not a port")))?;
        ports.push(port);
    }
    if ports.is_empty() || ports.len() > PORTS {
        return Err(Error::BadRequest(format!("give 1 to {PORTS} ports")));
    }
    Ok(ports)
}

/// Where connections go.
#[derive(Clone)]
struct Target {
    /// The pod's network; the host's if there is none.
    netns: Option<PathBuf>,
}

impl Target {
    /// Connects to a port on the pod's own loopback, where it may be the only place a process
    /// listens.
    async fn dial(&self, port: u16) -> io::Result<TcpStream> {
        let netns = self.netns.clone();
        // The thread ends with the call: one that has been in another network must not be reused.
        let (done, dialled) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("dial".to_owned())
            .spawn(move || {
                let result = (|| {
                    if let Some(path) = netns {
                        let file = std::fs::File::open(path)?;
                        setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                    }
                    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    StdTcpStream::connect_timeout(&v4, DIAL).or_else(|error| {
                        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
                        StdTcpStream::connect_timeout(&v6, DIAL).map_err(|_| error)
                    })
                })();
                let _ = done.send(result);
            })?;
        let stream = dialled.await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        TcpStream::from_std(stream)
    }
}

/// A connection of which one stream is there already.
#[derive(Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

async fn over_spdy(mut session: Session, target: Target) {
    let mut waiting: HashMap<String, (Pair, tokio::time::Instant)> = HashMap::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = session.accept() => stream,
            Some(_) = connections.join_next() => continue,
        };
        let Some(stream) = stream else {
            break;
        };
        let now = tokio::time::Instant::now();
        waiting.retain(|_, (_, since)| now.duration_since(*since) < PAIR);
        // Old clients number nothing: then the port tells pairs apart.
        let key = stream
            .header("requestid")
            .or_else(|| stream.header("port"))
            .unwrap_or_default()
            .to_owned();
        let (pair, _) = waiting
            .entry(key.clone())
            .or_insert_with(|| (Pair::default(), now));
        match stream.header("streamtype") {
            Some("data") => pair.data = Some(stream),
            Some("error") => pair.error = Some(stream),
            _ => {
                stream.split().1.reset().await;
                continue;
            }
        }
        if pair.data.is_some()
            && pair.error.is_some()
            && let Some((
                Pair {
                    data: Some(data),
                    error: Some(error),
                },
                _,
            )) = waiting.remove(&key)
        {
            connections.spawn(forward(data, error, target.clone()));
        }
    }
    connections.shutdown().await;
}

async fn forward(data: Stream, error: Stream, target: Target) {
    let port = data
        .header("port")
        .and_then(|text| text.parse::<u16>().ok())
        .filter(|port| *port > 0);
    let (mut from_client, to_client) = data.split();
    let (_, errors) = error.split();
    let Some(port) = port else {
        errors.send("the header port is not a port".into()).await;
        errors.finish().await;
        to_client.reset().await;
        return;
    };
    match target.dial(port).await {
        Ok(stream) => {
            let (mut input, mut output) = stream.into_split();
            let upstream = async {
                while let Some(chunk) = from_client.receive().await {
                    if output.write_all(&chunk).await.is_err() {
                        break;
                    }
                }
                let _ = output.shutdown().await;
            };
            let downstream = async {
                let mut buffer = vec![0; CHUNK];
                loop {
                    match input.read(&mut buffer).await {
                        Ok(0) => break,
                        Ok(read) => {
                            if !to_client
                                .send(Bytes::copy_from_slice(&buffer[..read]))
                                .await
                            {
                                break;
                            }
                        }
                        Err(error) => {
                            errors
                                .send(format!("reading from port {port}: {error}").into())
                                .await;
                            break;
                        }
                    }
                }
                to_client.finish().await;
            };
            tokio::join!(upstream, downstream);
        }
        Err(error) => {
            let text =
                format!("error forwarding port {port} to pod: dialling 127.0.0.1:{port}: {error}");
            errors.send(text.into()).await;
            to_client.finish().await;
        }
    }
    errors.finish().await;
}

/// SPDY within binary messages of a WebSocket.
async fn tunnel(connection: Connection, target: Target) {
    let (mut sink, mut messages) = upgrade::web_socket(connection).await.split();
    let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(2 * CHUNK);
    let (session, driver) = Session::new(far);
    let (mut from_session, mut to_session) = tokio::io::split(near);
    let inward = async move {
        while let Some(Ok(message)) = messages.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Close(_) => break,
                _ => continue,
            };
            if to_session.write_all(&data).await.is_err() {
                break;
            }
        }
        let _ = to_session.shutdown().await;
    };
    let outward = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from_session.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if sink
                        .send(Message::binary(buffer[..read].to_vec()))
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            }
        }
        let _ = sink.send(upgrade::goodbye()).await;
        let _ = sink.close().await;
    };
    tokio::select! {
        ((), (), ()) = async { tokio::join!(over_spdy(session, target), driver, outward) } => {}
        () = async { inward.await; tokio::time::sleep(Duration::from_secs(1)).await } => {}
    }
}

/// The older form: all ports are connected at once, each on a channel of its own.
async fn over_channels(connection: Connection, ports: &[u16], target: Target) {
    let (mut sink, mut messages) = upgrade::web_socket(connection).await.split();
    let (outgoing, mut to_send) = mpsc::channel::<Message>(WAITING);
    let mut inputs = Vec::new();
    let mut connections = JoinSet::new();
    for (index, port) in ports.iter().copied().enumerate() {
        let (input, received) = mpsc::channel::<Bytes>(WAITING);
        inputs.push(Some(input));
        let channel = u8::try_from(2 * index).unwrap_or(u8::MAX - 1);
        connections.spawn(channel_connection(
            channel,
            port,
            received,
            outgoing.clone(),
            target.clone(),
        ));
    }
    drop(outgoing);
    let writer = async move {
        while let Some(message) = to_send.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.send(upgrade::goodbye()).await;
        let _ = sink.close().await;
    };
    let reader = async move {
        while let Some(Ok(message)) = messages.next().await {
            let mut data = match message {
                Message::Binary(data) => data,
                Message::Close(_) => return,
                _ => continue,
            };
            if data.is_empty() {
                continue;
            }
            let channel = usize::from(data.split_to(1)[0]);
            if channel % 2 == 0
                && let Some(slot) = inputs.get_mut(channel / 2)
                && let Some(input) = slot
                && input.send(data).await.is_err()
            {
                *slot = None;
            }
        }
    };
    tokio::select! {
        () = writer => {}
        () = reader => {}
    }
    connections.shutdown().await;
}

async fn channel_connection(
    channel: u8,
    port: u16,
    mut received: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Message>,
    target: Target,
) {
    let message = |channel: u8, data: &[u8]| Message::binary([&[channel], data].concat());
    // Each channel begins with the port it is for, low byte first.
    for channel in [channel, channel + 1] {
        if outgoing
            .send(message(channel, &port.to_le_bytes()))
            .await
            .is_err()
        {
            return;
        }
    }
    let stream = match target.dial(port).await {
        Ok(stream) => stream,
        Err(error) => {
            let text =
                format!("error forwarding port {port} to pod: dialling 127.0.0.1:{port}: {error}");
            let _ = outgoing.send(message(channel + 1, text.as_bytes())).await;
            return;
        }
    };
    let (mut input, mut output) = stream.into_split();
    let upstream = async {
        while let Some(chunk) = received.recv().await {
            if output.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = output.shutdown().await;
    };
    let downstream = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read) = input.read(&mut buffer).await {
            if read == 0
                || outgoing
                    .send(message(channel, &buffer[..read]))
                    .await
                    .is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        () = async { upstream.await; std::future::pending().await } => {}
        () = downstream => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_both_forms() {
        assert_eq!(ports(&Query::parse("port=80&port=81")).unwrap(), [80, 81]);
        assert_eq!(ports(&Query::parse("ports=80,81")).unwrap(), [80, 81]);
        assert!(ports(&Query::parse("")).is_err());
        assert!(ports(&Query::parse("port=x")).is_err());
    }

    #[tokio::test]
    async fn a_port_is_dialled_on_loopback() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target { netns: None };
        let (dialled, accepted) = tokio::join!(target.dial(port), listener.accept());
        assert_eq!(dialled.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        drop(listener);
        assert!(target.dial(port).await.is_err());
    }
}
