//! The body of a list: made of the stored bytes piece by piece, while it is sent.

use super::list::Chosen;
use crate::body::{Body, BodyError};
use crate::call::Call;
use crate::error::{Outcome, internal};
use crate::form::{Form, broken_off};
use crate::negotiate::Encoding;
use crate::pulse::{Feed, Pulse};
use crate::respond;
use bytes::{BufMut, Bytes, BytesMut};
use consort_object::proto;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{Response, StatusCode};
use std::collections::VecDeque;
use std::io::Write;

/// Lists are sent in pieces of about this many bytes. Four TLS records; more gains nothing.
const PIECE: usize = 64 * 1024;

/// Lists from this size on are compressed for clients that take it.
const GZIP_FROM: usize = 128 * 1024;

/// Objects looked at before deciding anew whether the disk has to be read.
const STEP: usize = 64;

/// Selecting among more objects than this is not done on the reactor.
pub(super) const MANY: usize = 2_000;

/// Where a list's items come from.
pub(super) enum Source {
    /// They are read while they are sent.
    Chosen(Chosen, Form),
    /// They are protobuf messages in their envelopes.
    Made(Vec<Bytes>),
}

/// A list on its way out.
pub(super) struct Items {
    pub(super) source: Source,
    pub(super) head: Option<Bytes>,
    pub(super) tail: Bytes,
    /// Are items separated by commas?
    pub(super) comma: bool,
    pub(super) at: usize,
}

impl Items {
    fn len(&self) -> usize {
        match &self.source {
            Source::Chosen(scan, _) => scan.len(),
            Source::Made(items) => items.len(),
        }
    }

    fn done(&self) -> bool {
        self.head.is_none() && self.tail.is_empty()
    }

    /// Can the next items be had at once, without the disk and without much work?
    fn quick(&self) -> bool {
        match &self.source {
            Source::Chosen(scan, form) => {
                form.raw() && scan.resident(self.at..(self.at + STEP).min(scan.len()))
            }
            Source::Made(_) => true,
        }
    }

    /// Append what comes next, `limit` bytes or a little more, and no more items than `steps`.
    fn fill(&mut self, out: &mut BytesMut, limit: usize, steps: usize) -> Outcome<()> {
        if let Some(head) = self.head.take() {
            out.put_slice(&head);
        }
        let end = self.len().min(self.at.saturating_add(steps));
        let mut length = Vec::new();
        while self.at < end && out.len() < limit {
            if self.comma && self.at > 0 {
                out.put_u8(b',');
            }
            match &self.source {
                Source::Chosen(scan, form) if form.raw() => {
                    out.put_slice(&scan.json(self.at)?);
                }
                Source::Chosen(scan, form) => {
                    let object = scan.object(self.at)?;
                    out.put_slice(&form.item(&object)?);
                }
                Source::Made(items) => {
                    let message = proto::message(&items[self.at]);
                    length.clear();
                    proto::item_head(message.len(), &mut length);
                    out.put_slice(&length);
                    out.put_slice(message);
                }
            }
            self.at += 1;
        }
        if self.at == self.len() {
            out.put_slice(&std::mem::take(&mut self.tail));
        }
        Ok(())
    }

    /// Append the next piece; what takes long is done off the reactor.
    async fn piece(mut self, mut out: BytesMut, limit: usize) -> Outcome<(Self, BytesMut)> {
        while out.len() < limit && !self.done() {
            if self.quick() {
                self.fill(&mut out, limit, STEP)?;
                continue;
            }
            let work = tokio::task::spawn_blocking(move || -> Outcome<_> {
                self.fill(&mut out, limit, usize::MAX)?;
                Ok((self, out))
            });
            (self, out) = work.await.map_err(internal)??;
        }
        Ok((self, out))
    }
}

/// Send a list: at once if it is short, else piece by piece.
pub(super) async fn send(call: &Call, encoding: Encoding, items: Items) -> Outcome<Response<Body>> {
    let gzip = call.gzip();
    let limit = if gzip { GZIP_FROM } else { PIECE };
    let (items, first) = items.piece(BytesMut::with_capacity(PIECE), limit).await?;
    let first = first.freeze();
    if items.done() {
        return Ok(respond::bytes(StatusCode::OK, encoding, first));
    }
    let pieces = Pieces {
        items: Some(items),
        first: Some(first),
        sent: VecDeque::new(),
    };
    let pulse = Pulse::of(call);
    let mut response = if gzip {
        pulse.answer(Packed::new(pieces))
    } else {
        pulse.answer(pieces)
    };
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(encoding.media_type()),
    );
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    Ok(response)
}

/// A long list, piece by piece.
struct Pieces {
    items: Option<Items>,
    first: Option<Bytes>,
    /// Buffers given out: they are used again when the connection has sent them, which spares the
    /// system from finding fresh memory for all of a list.
    sent: VecDeque<Bytes>,
}

impl Feed for Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let items = self.items.take().filter(|items| !items.done())?;
        let out = self.buffer();
        Some(match items.piece(out, PIECE).await {
            Ok((items, out)) => {
                self.items = Some(items);
                let piece = out.freeze();
                if self.sent.len() < 16 {
                    self.sent.push_back(piece.clone());
                }
                Ok(piece)
            }
            Err(failure) => Err(broken_off(failure.message)),
        })
    }
}

impl Pieces {
    fn buffer(&mut self) -> BytesMut {
        if let Some(oldest) = self.sent.pop_front() {
            match oldest.try_into_mut() {
                Ok(mut buffer) => {
                    buffer.clear();
                    return buffer;
                }
                Err(shared) => self.sent.push_front(shared),
            }
        }
        BytesMut::with_capacity(PIECE + 16 * 1024)
    }
}

/// A long list, compressed while it is sent.
struct Packed {
    pieces: Pieces,
    encoder: Option<flate2::write::GzEncoder<Vec<u8>>>,
}

impl Packed {
    fn new(pieces: Pieces) -> Self {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        Self {
            pieces,
            encoder: Some(encoder),
        }
    }
}

impl Feed for Packed {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let mut encoder = self.encoder.take()?;
            let piece = match self.pieces.next().await {
                Some(Ok(piece)) => Some(piece),
                Some(Err(error)) => return Some(Err(error)),
                None => None,
            };
            let work = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
                let Some(piece) = piece else {
                    return Ok((None, encoder.finish()?));
                };
                encoder.write_all(&piece)?;
                let out = std::mem::take(encoder.get_mut());
                Ok((Some(encoder), out))
            });
            match work.await {
                Ok(Ok((encoder, out))) => {
                    self.encoder = encoder;
                    if !out.is_empty() {
                        return Some(Ok(out.into()));
                    }
                }
                Ok(Err(error)) => return Some(Err(broken_off(error))),
                Err(error) => return Some(Err(broken_off(error))),
            }
        }
    }
}
