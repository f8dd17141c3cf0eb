//! The body type that requests and responses carry, and the ways to make and read one.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a body's stream may fail with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The one body type of the server: requests, responses, streams.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is these bytes and a line feed after them, which are not copied for it.
pub(crate) fn line(bytes: Bytes) -> Body {
    Line {
        text: Some(bytes),
        feed: true,
    }
    .map_err(|never| match never {})
    .boxed_unsync()
}

struct Line {
    text: Option<Bytes>,
    feed: bool,
}

impl http_body::Body for Line {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let next = match self.text.take() {
            Some(text) => Some(text),
            None => std::mem::take(&mut self.feed).then_some(Bytes::from_static(b"\n")),
        };
        Poll::Ready(next.map(|data| Ok(http_body::Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && !self.feed
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let text = self.text.as_ref().map_or(0, Bytes::len) as u64;
        http_body::SizeHint::with_exact(text + u64::from(self.feed))
    }
}

/// A body without bytes.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// A body made of a stream of chunks.
pub(crate) fn stream<S>(chunks: S) -> Body
where
    S: futures::Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
{
    use futures::TryStreamExt;
    http_body_util::StreamBody::new(chunks.map_ok(http_body::Frame::data)).boxed_unsync()
}

/// Why a body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// More bytes than the server accepts.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client went away or broke the protocol.
    #[error("reading the request body")]
    Broken(#[source] BodyError),
}

/// Read a body to its end, refusing more than `limit` bytes.
pub(crate) async fn read(mut body: Body, limit: usize) -> Result<Bytes, ReadError> {
    let mut first: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ReadError::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length > limit {
            return Err(ReadError::TooLarge { limit });
        }
        match (&mut first, &mut joined) {
            (None, _) => first = Some(data),
            (Some(_), Some(joined)) => joined.extend_from_slice(&data),
            (Some(head), joined) => {
                let mut all = BytesMut::with_capacity(length * 2);
                all.extend_from_slice(head);
                all.extend_from_slice(&data);
                *joined = Some(all);
            }
        }
    }
    Ok(match joined {
        Some(all) => all.freeze(),
        None => first.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
        assert_eq!(read(full("12345"), 5).await.unwrap(), "12345");
        assert!(matches!(
            read(full("123456"), 5).await,
            Err(ReadError::TooLarge { limit: 5 })
        ));
    }

    #[tokio::test]
    async fn a_line_knows_its_length_with_its_feed() {
        let body = line("{}".into());
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        assert_eq!(read(body, 100).await.unwrap(), "{}\n");
    }

    #[tokio::test]
    async fn chunks_are_joined_in_order() {
        let chunks = ["ab", "cd", "ef"].map(|part| Ok(Bytes::from_static(part.as_bytes())));
        let body = stream(futures::stream::iter(chunks));
        assert_eq!(read(body, 100).await.unwrap(), "abcdef");
    }
}
