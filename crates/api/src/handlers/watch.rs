//! Watch: a stream of what happens to the objects a client selected.

use super::read;
use super::selection::Selection;
use crate::body::{self, Body, BodyError};
use crate::call::Call;
use crate::encoding;
use crate::error::{Outcome, internal};
use crate::kind::Kind;
use crate::negotiate::{Accept, Encoding, Shape};
use crate::request::ListOptions;
use crate::respond::show;
use crate::table::{self, Include};
use bytes::{BufMut, Bytes, BytesMut};
use consort_object::proto;
use consort_object::status::Status;
use consort_object::{Object, Revision};
use consort_store::{Change, Event, Watch};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A client without news hears of the present revision this often.
const BOOKMARK_EVERY: Duration = Duration::from_secs(55);

/// So long before a watch ends by its time, its client hears of the present revision.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// Watches that name no time end after between one and two times this.
const SHORTEST: u64 = 1800;

/// The annotation of the bookmark that ends the initial events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }

    fn of(change: Change) -> Self {
        match change {
            Change::Created => Self::Added,
            Change::Updated => Self::Modified,
            Change::Deleted => Self::Deleted,
        }
    }
}

/// `GET` of a collection with `watch`.
pub(crate) fn watch(
    call: &Call,
    kind: &Arc<Kind>,
    namespace: Option<&str>,
    options: &ListOptions,
    name: Option<&str>,
) -> Outcome<Response<Body>> {
    let accept = call.accept()?;
    let selection = Selection::parse(kind, options, name)?;
    let include = Include::parse(call.query.text("includeObject"))?;
    let store = &call.inner.store;
    let prefix = read::prefix(kind, namespace.or(selection.namespace.as_deref()));
    let form = Form {
        kind: kind.clone(),
        accept,
        include,
    };
    let mut ready = VecDeque::new();
    let mut headings = true;
    // Without a revision (or with "any") a watch begins with the present objects.
    let initial = match options.initial_events {
        Some(initial) => initial,
        None => options.revision.is_none_or(|revision| revision == 0),
    };
    let after = if initial {
        if let Some(revision) = options
            .revision
            .filter(|revision| *revision > store.revision().0)
        {
            return Err(read::store_failure(consort_store::Error::Future {
                asked: Revision(revision),
                now: store.revision(),
            }));
        }
        let page = store
            .range(&prefix, None, None, None, |head| selection.matches(head))
            .map_err(read::store_failure)?;
        for object in &page.objects {
            ready.push_back(form.object(Word::Added, object, std::mem::take(&mut headings))?);
        }
        if options.initial_events == Some(true) && options.bookmarks {
            ready.push_back(form.bookmark(page.revision, true)?);
        }
        page.revision
    } else {
        match options.revision.filter(|revision| *revision != 0) {
            Some(revision) => Revision(revision),
            None => store.revision(),
        }
    };
    let timeout = options
        .timeout
        .unwrap_or_else(|| Duration::from_secs(SHORTEST + rand::rng().random_range(0..SHORTEST)));
    let source = match store.watch(&prefix, after) {
        Ok(source) => Some(source),
        // The stream begins, as the client asked for one, and ends with the error in it.
        Err(error @ consort_store::Error::Compacted { .. }) => {
            ready.push_back(form.error(&read::store_failure(error))?);
            None
        }
        Err(other) => return Err(read::store_failure(other)),
    };
    let now = Instant::now();
    let feed = Feed {
        form,
        selection,
        source,
        ready,
        headings,
        bookmarks: options.bookmarks,
        upto: after,
        next_bookmark: now + BOOKMARK_EVERY.min(timeout.saturating_sub(BOOKMARK_BEFORE_END)),
        last_bookmark_done: false,
        end: now + timeout,
        stop: call.inner.stop.child_token(),
        _open: call.inner.metrics.watch_opened(&kind.plural),
    };
    let stream = futures::stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((piece, feed))
    });
    let mut response = Response::new(body::stream(stream));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(accept.encoding.stream_type()),
    );
    Ok(response)
}

/// How a watch's lines are made.
struct Form {
    kind: Arc<Kind>,
    accept: Accept,
    include: Include,
}

impl Form {
    /// Are stored bytes sent as they are?
    fn raw(&self) -> bool {
        self.accept.shape == Shape::Whole
            && self.accept.encoding == Encoding::Json
            && self.kind.view.is_none()
    }

    /// The line about an event; the ones that most watchers send are made once.
    fn event(&self, word: Word, event: &Event, headings: bool) -> Outcome<Bytes> {
        if self.raw() && word == Word::of(event.kind) {
            return Ok(event
                .line
                .get_or_init(|| json_line(word, &event.object.json))
                .clone());
        }
        self.object(word, &event.object, headings)
    }

    fn object(&self, word: Word, object: &Object, headings: bool) -> Outcome<Bytes> {
        if self.raw() {
            return Ok(json_line(word, &object.json));
        }
        if self.accept.shape.is_metadata() && self.accept.encoding == Encoding::Json {
            let metadata = table::metadata_json(&object.json).map_err(internal)?;
            return Ok(json_line(word, &metadata));
        }
        let stored = object.value().map_err(internal)?;
        let value = match self.accept.shape {
            Shape::Whole => show(&self.kind, stored),
            Shape::Table(version) => {
                let row = table::row(&self.kind, stored, self.include, Timestamp::now());
                let metadata = json!({"resourceVersion": object.revision.to_string()});
                table::table(&self.kind, version, &metadata, &[row], headings)
            }
            Shape::Metadata | Shape::MetadataList => table::metadata_only(&stored),
        };
        self.line(word, &value)
    }

    /// A line that only says how far the client is.
    fn bookmark(&self, revision: Revision, initial_end: bool) -> Outcome<Bytes> {
        let mut metadata = json!({
            "resourceVersion": revision.to_string(),
        });
        if initial_end {
            metadata["annotations"] = json!({INITIAL_END: "true"});
        }
        let value = match self.accept.shape {
            Shape::Whole => json!({
                "kind": self.kind.kind,
                "apiVersion": self.kind.api_version(),
                "metadata": metadata,
            }),
            Shape::Table(version) => {
                // Clients find the annotation on the row's object.
                let object = table::metadata_only(&json!({"metadata": metadata}));
                let cells: Vec<Value> = self
                    .kind
                    .strategy
                    .columns()
                    .iter()
                    .map(|_| Value::Null)
                    .collect();
                let row = json!({"cells": cells, "object": object});
                let metadata = json!({"resourceVersion": revision.to_string()});
                table::table(&self.kind, version, &metadata, &[row], false)
            }
            Shape::Metadata | Shape::MetadataList => {
                table::metadata_only(&json!({"metadata": metadata}))
            }
        };
        self.line(Word::Bookmark, &value)
    }

    fn error(&self, status: &Status) -> Outcome<Bytes> {
        let value: Value = serde_json::from_slice(&status.to_json()).map_err(internal)?;
        self.line(Word::Error, &value)
    }

    fn line(&self, word: Word, value: &Value) -> Outcome<Bytes> {
        let encoded = encoding::encode_value(value, self.accept.encoding)?;
        Ok(match self.accept.encoding {
            Encoding::Json => json_line(word, &encoded),
            Encoding::Protobuf => proto_frame(word, &encoded),
            Encoding::Yaml => {
                let event = json!({"type": word.text(), "object": value});
                let text = encoding::encode_value(&event, Encoding::Yaml)?;
                let mut out = BytesMut::with_capacity(text.len() + 4);
                out.put_slice(b"---\n");
                out.put_slice(&text);
                out.freeze()
            }
        })
    }
}

fn json_line(word: Word, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(word.text().as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

/// A `WatchEvent` in protobuf after its length (four bytes, big endian).
fn proto_frame(word: Word, object: &[u8]) -> Bytes {
    let event = proto::watch_event(word.text(), object);
    let mut out = BytesMut::with_capacity(event.len() + 4);
    out.put_u32(event.len() as u32);
    out.put_slice(&event);
    out.freeze()
}

/// The state of one watch.
struct Feed {
    form: Form,
    selection: Selection,
    source: Option<Watch>,
    ready: VecDeque<Bytes>,
    headings: bool,
    bookmarks: bool,
    upto: Revision,
    next_bookmark: Instant,
    last_bookmark_done: bool,
    end: Instant,
    stop: CancellationToken,
    _open: crate::metrics::Open,
}

impl Feed {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if let Some(piece) = self.take_ready() {
                return Some(Ok(piece));
            }
            let source = self.source.as_mut()?;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                batch = source.next() => match batch {
                    Ok(batch) => {
                        for event in &batch.events {
                            if let Err(failure) = self.event(event) {
                                self.fail(&failure);
                                break;
                            }
                        }
                        self.upto = batch.upto;
                    }
                    Err(error) => self.fail(&lagging(error)),
                },
                () = tokio::time::sleep_until(self.end) => return None,
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks && !self.last_bookmark_done => {
                    let last = self.end.saturating_duration_since(Instant::now()) <= BOOKMARK_BEFORE_END;
                    self.last_bookmark_done = last;
                    self.next_bookmark = (Instant::now() + BOOKMARK_EVERY)
                        .min(self.end.checked_sub(BOOKMARK_BEFORE_END).unwrap_or(self.end));
                    self.upto = source.progress();
                    match self.form.bookmark(self.upto, false) {
                        Ok(line) => self.ready.push_back(line),
                        Err(failure) => self.fail(&failure),
                    }
                }
            }
        }
    }

    /// One line as it is, or the first of several small ones joined.
    fn take_ready(&mut self) -> Option<Bytes> {
        const JOINED: usize = 32 * 1024;
        let first = self.ready.pop_front()?;
        let Some(second) = self.ready.front() else {
            return Some(first);
        };
        if first.len() + second.len() > JOINED {
            return Some(first);
        }
        let mut out = BytesMut::with_capacity(JOINED);
        out.put_slice(&first);
        while let Some(line) = self.ready.front()
            && out.len() + line.len() <= JOINED
        {
            out.put_slice(line);
            self.ready.pop_front();
        }
        Some(out.freeze())
    }

    /// Say what an event means to this client: an object may come to match or cease to.
    fn event(&mut self, event: &Event) -> Outcome<()> {
        let is = self.selection.matches(&event.object.head);
        let was = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selection.matches(&previous.head));
        let word = match (event.kind, was, is) {
            (Change::Created, _, true) | (Change::Updated, false, true) => Word::Added,
            (Change::Updated, true, true) => Word::Modified,
            (Change::Updated, true, false) => {
                // What it was when it last matched, at the revision at which it ceased to.
                let line = self.ceased(event)?;
                self.ready.push_back(line);
                return Ok(());
            }
            (Change::Deleted, was, is) if was || is => Word::Deleted,
            _ => return Ok(()),
        };
        let headings = std::mem::take(&mut self.headings);
        let line = self.form.event(word, event, headings)?;
        self.ready.push_back(line);
        Ok(())
    }

    fn ceased(&mut self, event: &Event) -> Outcome<Bytes> {
        let Some(previous) = &event.previous else {
            return self.form.object(Word::Deleted, &event.object, false);
        };
        let mut value = previous.value().map_err(internal)?;
        value["metadata"]["resourceVersion"] = event.revision.to_string().into();
        let object = Object {
            head: previous.head.clone(),
            revision: event.revision,
            json: serde_json::to_vec(&value).map_err(internal)?.into(),
        };
        let headings = std::mem::take(&mut self.headings);
        self.form.object(Word::Deleted, &object, headings)
    }

    /// End the watch with an error its client can read.
    fn fail(&mut self, failure: &Status) {
        self.source = None;
        if let Ok(line) = self.form.error(failure) {
            self.ready.push_back(line);
        }
    }
}

/// A client that reads too slowly has missed events: it has to list again.
fn lagging(error: consort_store::Error) -> crate::error::Failure {
    match error {
        consort_store::Error::Lagged { .. } => Box::new(Status::expired(format!(
            "The resourceVersion for the provided watch is too old: {error}"
        ))),
        other => read::store_failure(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_comes_before_the_object() {
        let line = json_line(Word::Added, b"{}");
        assert_eq!(line, "{\"type\":\"ADDED\",\"object\":{}}\n");
    }

    #[test]
    fn protobuf_frames_carry_their_length_first() {
        let frame = proto_frame(Word::Added, b"xyz");
        assert_eq!(&frame[..4], &[0, 0, 0, 14]);
        assert_eq!(&frame[4..], b"\x0a\x05ADDED\x12\x05\x0a\x03xyz");
    }
}
