//! Remote commands: a process's streams, carried to a client.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::channels::{self, Version};
use super::process::{DRAIN, Input, Output, Process, Source, Streams};
use super::query::Query;
use super::upgrade::{self, Connection, Wanted};
use super::{Body, Error, Streaming, spdy};

const CHUNK: usize = 32 << 10;
/// Messages that wait for a slow client before its process is made to wait.
const WAITING: usize = 8;
/// Clients are asked for a sign of life this often, so that those that are gone do not keep their
/// processes.
const PING: Duration = Duration::from_secs(30);
/// How long streams of a SPDY client may take to appear.
const STREAMS: Duration = Duration::from_secs(30);

impl Streaming {
    /// Connects a process to the client's connection.
    pub(super) fn remote(
        &self,
        mut request: Request<Body>,
        query: &Query,
        source: Source,
    ) -> Result<Response<Body>, Error> {
        let flag = |long: &str, short: &str| query.flag(long) || query.flag(short);
        let tty = query.flag("tty");
        let streams = Streams {
            stdin: flag("input", "stdin"),
            stdout: flag("output", "stdout"),
            stderr: flag("error", "stderr") && !tty,
            tty,
        };
        if !streams.stdin && !streams.stdout && !streams.stderr {
            return Err(Error::BadRequest(
                "you must specify at least 1 of stdin, stdout, stderr".into(),
            ));
        }
        let (response, protocol) = match upgrade::wanted(request.headers())? {
            Wanted::WebSocket => {
                let (version, name) =
                    channels::negotiate(request.headers()).map_err(|offered| {
                        Error::BadRequest(format!(
                            "none of the offered protocols is known: {offered}"
                        ))
                    })?;
                (
                    upgrade::to_web_socket(request.headers(), name)?,
                    Protocol::Channels(version),
                )
            }
            Wanted::Spdy => {
                let version = spdy::command_version(request.headers())?;
                (upgrade::to_spdy(version.name()), Protocol::Spdy(version))
            }
        };
        let connection = upgrade::take(&mut request)?;
        let shutdown = self.shutdown.clone();
        self.sessions.spawn(async move {
            let session = async {
                let connection = match connection.await {
                    Ok(connection) => hyper_util::rt::TokioIo::new(connection),
                    Err(error) => {
                        tracing::debug!(%error, "a client did not wait for its upgrade");
                        return;
                    }
                };
                match protocol {
                    Protocol::Channels(version) => {
                        over_web_socket(connection, version, streams, source).await;
                    }
                    Protocol::Spdy(version) => {
                        over_spdy(connection, version, streams, source).await;
                    }
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

enum Protocol {
    Channels(Version),
    Spdy(spdy::CommandVersion),
}

/// What a client's messages mean to the process.
enum FromClient {
    Input(Bytes),
    EndOfInput,
    Resize(u16, u16),
    Gone,
}

async fn over_web_socket(
    connection: Connection,
    version: Version,
    streams: Streams,
    source: Source,
) {
    let (mut sink, mut messages) = upgrade::web_socket(connection).await.split();
    let (outgoing, mut to_send) = mpsc::channel::<Message>(WAITING);
    let (incoming, received) = mpsc::channel::<FromClient>(WAITING);

    let writer = async move {
        let mut ping = tokio::time::interval(PING);
        ping.tick().await;
        loop {
            tokio::select! {
                message = to_send.recv() => match message {
                    Some(message) => {
                        if sink.send(message).await.is_err() {
                            return;
                        }
                    }
                    None => break,
                },
                _ = ping.tick() => {
                    if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = sink.send(upgrade::goodbye()).await;
        let _ = sink.close().await;
    };
    let reader = async move {
        while let Some(Ok(message)) = messages.next().await {
            let mut data = match message {
                Message::Binary(data) => data,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if data.is_empty() {
                continue;
            }
            let channel = data.split_to(1)[0];
            let meaning = match channel {
                channels::STDIN => FromClient::Input(data),
                channels::RESIZE => match channels::parse_size(&data) {
                    Some((columns, rows)) => FromClient::Resize(columns, rows),
                    None => continue,
                },
                channels::CLOSE if data.first() == Some(&channels::STDIN) => FromClient::EndOfInput,
                _ => continue,
            };
            // When the process takes no more input, the connection still has to be read, to see it
            // close.
            let _ = incoming.send(meaning).await;
        }
        let _ = incoming.send(FromClient::Gone).await;
    };
    let session = async move {
        let first = if streams.stdout {
            channels::STDOUT
        } else {
            channels::STDERR
        };
        let send = |channel: u8, data: &[u8]| {
            let mut message = Vec::with_capacity(data.len() + 1);
            message.push(channel);
            message.extend_from_slice(data);
            outgoing.send(Message::binary(message))
        };
        // Tells old clients that the session has begun, as upstream does.
        let _ = send(first, &[]).await;
        let outcome = match source.open(streams).await {
            Ok(process) => {
                let sender = |channel| {
                    let outgoing = outgoing.clone();
                    move |data: Vec<u8>| {
                        let outgoing = outgoing.clone();
                        async move {
                            outgoing
                                .send(Message::binary([&[channel], &data[..]].concat()))
                                .await
                                .is_ok()
                        }
                    }
                };
                run(
                    process,
                    streams,
                    received,
                    sender(channels::STDOUT),
                    sender(channels::STDERR),
                )
                .await
            }
            Err(error) => Some(Err(error.to_string())),
        };
        let Some(outcome) = outcome else {
            return;
        };
        if version.tells_status() {
            let status = channels::status(&outcome).to_string();
            let _ = send(channels::ERROR, status.as_bytes()).await;
        } else if let Some(text) = old_error(&outcome) {
            let _ = send(channels::ERROR, text.as_bytes()).await;
        }
    };
    // The reader ends with the client, the writer when the session has let go of its sender.
    tokio::select! {
        ((), ()) = async { tokio::join!(session, writer) } => {}
        () = async { reader.await; std::future::pending().await } => {}
    }
}

fn old_error(outcome: &Result<i32, String>) -> Option<String> {
    match outcome {
        Ok(0) => None,
        Ok(code) => Some(format!(
            "command terminated with non-zero exit code: exit status {code}"
        )),
        Err(message) => Some(message.clone()),
    }
}

/// Moves bytes between the process and a client until the process has ended and its output is
/// through. `None` if the client went first: then the process is let go, which kills an executed one.
async fn run<O, E, FO, FE>(
    mut process: Process,
    streams: Streams,
    mut received: mpsc::Receiver<FromClient>,
    stdout: O,
    stderr: E,
) -> Option<Result<i32, String>>
where
    O: Fn(Vec<u8>) -> FO + Send + 'static,
    E: Fn(Vec<u8>) -> FE + Send + 'static,
    FO: Future<Output = bool> + Send + 'static,
    FE: Future<Output = bool> + Send + 'static,
{
    let mut input: Option<Input> = process.stdin().filter(|_| streams.stdin);
    let mut outputs = JoinSet::new();
    if let Some(out) = process.stdout() {
        outputs.spawn(copy_out(out, streams.stdout, stdout));
    }
    if let Some(err) = process.stderr() {
        outputs.spawn(copy_out(err, streams.stderr, stderr));
    }
    let outcome = loop {
        tokio::select! {
            ended = process.wait() => break ended.map_err(|error| error.to_string()),
            message = received.recv() => match message {
                Some(FromClient::Input(data)) => {
                    if let Some(stdin) = &mut input {
                        // A process that does not read must not keep its end from being seen.
                        tokio::select! {
                            written = async { stdin.write_all(&data).await.is_ok() && stdin.flush().await.is_ok() } => {
                                if !written {
                                    input = None;
                                }
                            }
                            ended = process.wait() => break ended.map_err(|error| error.to_string()),
                        }
                    }
                }
                Some(FromClient::EndOfInput) => {
                    if let Some(mut stdin) = input.take() {
                        let _ = stdin.shutdown().await;
                    }
                }
                Some(FromClient::Resize(columns, rows)) => process.resize(columns, rows).await,
                Some(FromClient::Gone) | None => return None,
            },
        }
    };
    let drained = async { while outputs.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        outputs.abort_all();
    }
    Some(outcome)
}

/// Sends output on; what nobody asked for is still read, so that the process never waits for it.
async fn copy_out<S, F>(mut output: Output, wanted: bool, send: S)
where
    S: Fn(Vec<u8>) -> F,
    F: Future<Output = bool>,
{
    let mut buffer = vec![0; CHUNK];
    let mut wanted = wanted;
    loop {
        match output.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if wanted && !send(buffer[..read].to_vec()).await {
                    wanted = false;
                }
            }
        }
    }
}

async fn over_spdy(
    connection: Connection,
    version: spdy::CommandVersion,
    streams: Streams,
    source: Source,
) {
    let (mut session, driver) = spdy::Session::new(connection);
    let served = async move {
        let opened = tokio::time::timeout(
            STREAMS,
            spdy::command_streams(&mut session, streams, version),
        )
        .await;
        let Ok(Some(mut parts)) = opened else {
            return;
        };
        let (incoming, received) = mpsc::channel::<FromClient>(WAITING);
        let mut feeders = JoinSet::new();
        if let Some(mut stdin) = parts.stdin.take() {
            let incoming = incoming.clone();
            feeders.spawn(async move {
                while let Some(data) = stdin.receive().await {
                    if incoming.send(FromClient::Input(data)).await.is_err() {
                        return;
                    }
                }
                let _ = incoming.send(FromClient::EndOfInput).await;
            });
        }
        if let Some(mut resize) = parts.resize.take() {
            let incoming = incoming.clone();
            feeders.spawn(async move {
                while let Some(data) = resize.receive().await {
                    if let Some((columns, rows)) = channels::parse_size(&data) {
                        let _ = incoming.send(FromClient::Resize(columns, rows)).await;
                    }
                }
            });
        }
        // The client is gone when the session takes no further stream.
        feeders.spawn(async move {
            while session.accept().await.is_some() {}
            let _ = incoming.send(FromClient::Gone).await;
        });
        let sender = |stream: Option<spdy::Writer>| {
            move |data: Vec<u8>| {
                let stream = stream.clone();
                async move {
                    match stream {
                        Some(stream) => stream.send(data.into()).await,
                        None => false,
                    }
                }
            }
        };
        let outcome = match source.open(streams).await {
            Ok(process) => {
                let (stdout, stderr) = (sender(parts.stdout.clone()), sender(parts.stderr.clone()));
                run(process, streams, received, stdout, stderr).await
            }
            Err(error) => Some(Err(error.to_string())),
        };
        if let Some(outcome) = outcome {
            let text = if version.tells_status() {
                Some(channels::status(&outcome).to_string())
            } else {
                old_error(&outcome)
            };
            if let Some(text) = text {
                parts.error.send(text.into()).await;
            }
            parts.error.finish().await;
            for stream in [parts.stdout, parts.stderr].into_iter().flatten() {
                stream.finish().await;
            }
        }
        feeders.abort_all();
    };
    tokio::join!(served, driver);
}
