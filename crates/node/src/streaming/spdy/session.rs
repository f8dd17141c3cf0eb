//! A session: one connection, many streams.

use std::collections::HashMap;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::compression::{self, Headers};
use super::frame::{self, Incoming};

/// Chunks of a stream that wait for its reader; then the whole connection waits, as upstream's does.
const WAITING: usize = 64;
/// Frames that wait to be written.
const OUTGOING: usize = 64;
/// Streams a client may open that nobody has accepted.
const UNACCEPTED: usize = 256;
/// Streams of one session at a time.
const OPEN: usize = 2048;
const CHUNK: usize = 64 << 10;

enum Outgoing {
    Frame(Vec<u8>),
    Reply(u32),
    Data { stream: u32, fin: bool, data: Bytes },
}

/// The side of a session that takes new streams.
pub(in crate::streaming) struct Session {
    streams: mpsc::Receiver<Stream>,
    /// Keeps the driver going while there may be further streams.
    _outgoing: mpsc::Sender<Outgoing>,
}

/// A stream the client opened.
pub(in crate::streaming) struct Stream {
    headers: Headers,
    reader: Reader,
    writer: Writer,
}

/// What the client sends on a stream.
pub(in crate::streaming) struct Reader(mpsc::Receiver<Bytes>);

/// Sends to the client on a stream.
#[derive(Clone)]
pub(in crate::streaming) struct Writer {
    stream: u32,
    outgoing: mpsc::Sender<Outgoing>,
}

impl Session {
    /// A session over a connection, and the future that drives it. The future ends when the
    /// connection does, or when the session and all its streams have been dropped and everything
    /// they sent is written.
    pub(in crate::streaming) fn new<C>(connection: C) -> (Self, impl Future<Output = ()> + Send)
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (accepted, streams) = mpsc::channel(UNACCEPTED);
        let (outgoing, to_write) = mpsc::channel(OUTGOING);
        // The reader must not keep the writer alive.
        let weak = outgoing.downgrade();
        let driver = async move {
            let (input, output) = tokio::io::split(connection);
            tokio::select! {
                result = write_all(output, to_write) => log(result),
                result = async {
                    let result = read_all(input, accepted, &weak).await;
                    log(result);
                    // What is still to be sent is sent, if the connection can take it.
                    std::future::pending::<()>().await;
                } => result,
            }
        };
        (
            Self {
                streams,
                _outgoing: outgoing,
            },
            driver,
        )
    }

    /// The next stream the client opens; `None` once the connection has ended.
    pub(in crate::streaming) async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

fn log(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a SPDY session ended");
    }
}

impl Stream {
    /// A header's value.
    pub(in crate::streaming) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The two directions.
    pub(in crate::streaming) fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Reader {
    /// The next bytes; `None` at the client's end of the stream.
    pub(in crate::streaming) async fn receive(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Writer {
    /// Sends bytes; `false` once the connection has ended.
    pub(in crate::streaming) async fn send(&self, data: Bytes) -> bool {
        self.outgoing
            .send(Outgoing::Data {
                stream: self.stream,
                fin: false,
                data,
            })
            .await
            .is_ok()
    }

    /// Ends this direction.
    pub(in crate::streaming) async fn finish(&self) {
        let end = Outgoing::Data {
            stream: self.stream,
            fin: true,
            data: Bytes::new(),
        };
        let _ = self.outgoing.send(end).await;
    }

    /// Gives the stream up.
    pub(in crate::streaming) async fn reset(&self) {
        let _ = self
            .outgoing
            .send(Outgoing::Frame(frame::reset(self.stream, 5)))
            .await;
    }
}

async fn write_all<W: AsyncWrite>(
    output: W,
    mut frames: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut output = std::pin::pin!(tokio::io::BufWriter::with_capacity(CHUNK, output));
    let mut compression = compression::Writer::new()?;
    let mut last = 0;
    while let Some(frame) = frames.recv().await {
        let mut next = Some(frame);
        // Everything that waits goes out with one flush.
        while let Some(frame) = next {
            match frame {
                Outgoing::Frame(frame) => output.write_all(&frame).await?,
                Outgoing::Reply(stream) => {
                    last = last.max(stream);
                    let block = compression.write(&[])?;
                    output.write_all(&frame::reply(stream, &block)).await?;
                }
                Outgoing::Data { stream, fin, data } => {
                    output
                        .write_all(&frame::data_head(stream, fin, data.len()))
                        .await?;
                    output.write_all(&data).await?;
                }
            }
            next = frames.try_recv().ok();
        }
        output.flush().await?;
    }
    output.write_all(&frame::go_away(last)).await?;
    output.flush().await?;
    output.shutdown().await
}

async fn read_all<R: AsyncRead>(
    input: R,
    accepted: mpsc::Sender<Stream>,
    outgoing: &mpsc::WeakSender<Outgoing>,
) -> io::Result<()> {
    let mut input = std::pin::pin!(input);
    let mut compression = compression::Reader::new();
    let mut streams: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        while let Some(incoming) = frame::read(&mut buffer)? {
            // Without a sender nobody is left who would care for what comes.
            let Some(outgoing) = outgoing.upgrade() else {
                return Ok(());
            };
            match incoming {
                Incoming::Open { stream, fin, block } => {
                    let headers = compression.read(&block)?;
                    if streams.len() >= OPEN {
                        let _ = outgoing
                            .send(Outgoing::Frame(frame::reset(stream, 3)))
                            .await;
                        continue;
                    }
                    let (chunks, reader) = mpsc::channel(WAITING);
                    if !fin {
                        streams.insert(stream, chunks);
                    }
                    let _ = outgoing.send(Outgoing::Reply(stream)).await;
                    let writer = Writer { stream, outgoing };
                    if accepted
                        .send(Stream {
                            headers,
                            reader: Reader(reader),
                            writer,
                        })
                        .await
                        .is_err()
                    {
                        streams.remove(&stream);
                    }
                }
                Incoming::Headers { block } => drop(compression.read(&block)?),
                Incoming::Data { stream, fin, data } => {
                    let length = u32::try_from(data.len()).unwrap_or_default();
                    if let Some(chunks) = streams.get(&stream)
                        && !data.is_empty()
                        && chunks.send(data).await.is_err()
                    {
                        streams.remove(&stream);
                    }
                    if length > 0 {
                        for window in [0, stream] {
                            let _ = outgoing
                                .send(Outgoing::Frame(frame::window_update(window, length)))
                                .await;
                        }
                    }
                    if fin {
                        streams.remove(&stream);
                    }
                }
                Incoming::Reset { stream } => drop(streams.remove(&stream)),
                Incoming::Ping { id } => {
                    let _ = outgoing.send(Outgoing::Frame(frame::ping(id))).await;
                }
                // Streams that are open go on to their end.
                Incoming::GoAway | Incoming::Other => {}
            }
        }
        if input.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame that opens a stream.
    fn open(compression: &mut compression::Writer, stream: u32, kind: &str) -> Vec<u8> {
        let block = compression
            .write(&[("streamtype".to_owned(), kind.to_owned())])
            .unwrap();
        let mut body = Vec::new();
        body.extend_from_slice(&stream.to_be_bytes());
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&block);
        let mut frame = vec![0x80, 3, 0, 1, 0];
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        frame.extend_from_slice(&body);
        frame
    }

    #[tokio::test]
    async fn a_stream_carries_data_both_ways_and_ends() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (mut session, driver) = Session::new(server);
        let driver = tokio::spawn(driver);
        let mut compression = compression::Writer::new().unwrap();
        client
            .write_all(&open(&mut compression, 1, "data"))
            .await
            .unwrap();
        client
            .write_all(&frame::data_head(1, true, 5))
            .await
            .unwrap();
        client.write_all(b"hello").await.unwrap();
        let stream = session.accept().await.unwrap();
        assert_eq!(stream.header("streamtype"), Some("data"));
        let (mut reader, writer) = stream.split();
        assert_eq!(reader.receive().await.unwrap(), "hello");
        assert_eq!(reader.receive().await, None);
        assert!(writer.send(Bytes::from_static(b"bye")).await);
        writer.finish().await;
        drop((writer, session));
        let mut wire = BytesMut::new();
        while client.read_buf(&mut wire).await.unwrap() > 0 {}
        driver.await.unwrap();
        let mut data = Vec::new();
        let mut ended = false;
        while let Some(incoming) = frame::read(&mut wire).unwrap() {
            if let Incoming::Data {
                stream: 1,
                fin,
                data: more,
            } = incoming
            {
                data.extend_from_slice(&more);
                ended |= fin;
            }
        }
        assert_eq!(data, b"bye");
        assert!(ended);
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_every_stream() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (mut session, driver) = Session::new(server);
        let driver = tokio::spawn(driver);
        let mut compression = compression::Writer::new().unwrap();
        client
            .write_all(&open(&mut compression, 1, "stdin"))
            .await
            .unwrap();
        let (mut reader, writer) = session.accept().await.unwrap().split();
        drop(client);
        assert_eq!(reader.receive().await, None);
        assert!(session.accept().await.is_none());
        drop((writer, session));
        driver.await.unwrap();
    }
}
