//! Watch: a stream of what happens to the objects a client selected.

use super::list::{Chosen, scan, selected_prefix};
use super::read;
use super::read::store_failure;
use super::selection::Selection;
use super::watch_line::{Word, json_line};
use crate::api::Inner;
use crate::body::{Body, BodyError};
use crate::call::Call;
use crate::custom;
use crate::error::{Outcome, internal};
use crate::form::{Form, broken_off};
use crate::kind::Kind;
use crate::metrics::Open;
use crate::pulse::{Feed, Pulse};
use crate::request::ListOptions;
use crate::table::Include;
use bytes::{Bytes, BytesMut};
use consort_object::status::Status;
use consort_object::{Encodings, Object, Revision};
use consort_store::{Change, Event, Watch};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use rand::RngExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A client without news hears of the present revision this often.
const BOOKMARK_EVERY: Duration = Duration::from_secs(55);

/// So long before a watch ends by its time, its client hears of the present revision.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// Lines are joined to pieces of about this many bytes: four TLS records, one write.
const PIECE: usize = 64 * 1024;

/// Under a flood of events each watch waits so long, for each watch that is open, between two pieces:
/// what comes meanwhile goes in one write. All watches together thus make some 20,000 writes a second
/// at most, and a lone event is not held back.
const PACE: Duration = Duration::from_micros(50);

/// However many watches there are, this is the longest that an event is held back.
const SLOWEST: Duration = Duration::from_millis(25);

/// `GET` of a collection with `watch`.
pub(crate) async fn watch(
    call: &Call,
    kind: &Arc<Kind>,
    namespace: Option<&str>,
    options: &ListOptions,
    name: Option<&str>,
) -> Outcome<Response<Body>> {
    let accept = if options.initial_events == Some(true) {
        call.accept_streamed()?
    } else {
        call.accept()?
    };
    let selection = Selection::parse(kind, options, name)?;
    let include = Include::parse(call.query.text("includeObject"))?;
    let store = &call.inner.store;
    let form = Form::new(kind.clone(), accept, include);
    let mut out = BytesMut::new();
    read::reached(store, options.revision).await?;
    let mut initial = None;
    let after = if options.initial_events == Some(true) {
        let prefix = selected_prefix(kind, namespace, &selection);
        let scan = scan(store, kind, &prefix, (None, None, None), &selection)
            .await
            .map_err(store_failure)?;
        let revision = scan.revision;
        let chosen = Chosen::new(&call.inner, kind, scan, &selection).await?;
        initial = Some(Initial {
            chosen,
            revision,
            at: 0,
        });
        revision
    } else {
        match options.revision.filter(|revision| *revision != 0) {
            Some(revision) => Revision(revision),
            None => store.revision(),
        }
    };
    let limits = &call.inner.limits;
    let timeout = options.timeout.unwrap_or_else(|| {
        let shortest = limits.watch_time.as_millis().max(1) as u64;
        Duration::from_millis(shortest + rand::rng().random_range(0..shortest))
    });
    let prefix = read::prefix(kind, namespace.or(selection.namespace.as_deref()));
    let source = match store.watch(&prefix, after) {
        Ok(source) => Some(source),
        // The stream begins, as the client asked for one, and ends with the error in it.
        Err(error @ consort_store::Error::Compacted { .. }) => {
            initial = None;
            form.error(&store_failure(error), &mut out)?;
            None
        }
        Err(other) => return Err(store_failure(other)),
    };
    let now = Instant::now();
    let lines = Lines {
        form,
        selection,
        source,
        initial,
        pending: VecDeque::new(),
        out,
        headings: true,
        bookmarks: options.bookmarks,
        upto: after,
        next_bookmark: now + BOOKMARK_EVERY.min(timeout.saturating_sub(BOOKMARK_BEFORE_END)),
        last_bookmark_done: false,
        last_piece: None,
        end: now + timeout,
        stop: call.inner.stop.child_token(),
        gone: kind
            .custom()
            .map_or_else(CancellationToken::new, |version| version.gone.clone()),
        inner: call.inner.clone(),
        open: call.inner.metrics.watch_opened(&kind.plural),
    };
    let mut response = Pulse::of(call).answer(lines);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(accept.encoding.stream_type()),
    );
    Ok(response)
}

/// The objects a watch begins with.
struct Initial {
    chosen: Chosen,
    revision: Revision,
    at: usize,
}

/// The state of one watch. What waits for a client is at most one batch of events, which all watchers
/// share, and one piece of lines.
pub(super) struct Lines {
    form: Form,
    selection: Selection,
    source: Option<Watch>,
    initial: Option<Initial>,
    pending: VecDeque<Arc<Event>>,
    out: BytesMut,
    headings: bool,
    bookmarks: bool,
    upto: Revision,
    next_bookmark: Instant,
    last_bookmark_done: bool,
    last_piece: Option<Instant>,
    end: Instant,
    stop: CancellationToken,
    /// The kind is no longer served.
    gone: CancellationToken,
    inner: Arc<Inner>,
    open: Open,
}

impl Feed for Lines {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if let Err(failure) = self.fill().await {
                self.fail(&failure);
            }
            if !self.out.is_empty() {
                self.last_piece = Some(Instant::now());
                return Some(Ok(self.out.split().freeze()));
            }
            if self.source.is_none() || !self.wait().await {
                return None;
            }
        }
    }
}

impl Lines {
    /// Makes lines of what is there already, up to a piece.
    async fn fill(&mut self) -> Outcome<()> {
        while let Some(mut initial) = self.initial.take() {
            if self.out.len() >= PIECE {
                self.initial = Some(initial);
                return Ok(());
            }
            let end = (initial.at + 32).min(initial.chosen.len());
            if self.form.raw() && initial.chosen.resident(initial.at..end) {
                while initial.at < end {
                    let json = initial.chosen.json(initial.at)?;
                    json_line(Word::Added, &json, &mut self.out);
                    initial.at += 1;
                }
            } else {
                initial = self.off_the_reactor(initial).await?;
            }
            if initial.at < initial.chosen.len() {
                self.initial = Some(initial);
            } else if self.bookmarks {
                self.form.bookmark(initial.revision, true, &mut self.out)?;
            }
        }
        while self.out.len() < PIECE
            && let Some(event) = self.pending.pop_front()
        {
            let shown = self.shown(&event).await?;
            self.event(shown.as_ref().unwrap_or(&event), shown.is_some())?;
        }
        Ok(())
    }

    /// Makes lines of initial objects that have to be read from the disk or encoded.
    async fn off_the_reactor(&mut self, mut initial: Initial) -> Outcome<Initial> {
        let mut out = std::mem::take(&mut self.out);
        let form = Form::new(self.form.kind.clone(), self.form.accept, self.form.include);
        let mut headings = std::mem::take(&mut self.headings);
        let work = tokio::task::spawn_blocking(move || -> Outcome<_> {
            while out.len() < PIECE && initial.at < initial.chosen.len() {
                let object = initial.chosen.object(initial.at)?;
                form.object(
                    Word::Added,
                    &object,
                    std::mem::take(&mut headings),
                    &mut out,
                )?;
                initial.at += 1;
            }
            Ok((initial, out))
        });
        let (initial, out) = work.await.map_err(internal)??;
        self.out = out;
        Ok(initial)
    }

    /// Waits for news, a bookmark's time, or the end: false.
    async fn wait(&mut self) -> bool {
        let Some(source) = &mut self.source else {
            return false;
        };
        if let Some(last) = self.last_piece.take() {
            let due = last + (PACE * self.open.all()).min(SLOWEST);
            if due.saturating_duration_since(Instant::now()) >= Duration::from_millis(1) {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return false,
                    () = tokio::time::sleep_until(due.min(self.end)) => {}
                }
            }
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return false,
            batch = source.next() => match batch {
                Ok(batch) => {
                    self.pending.extend(batch.events);
                    self.upto = batch.upto;
                    self.refresh();
                }
                Err(error) => self.fail(&lagging(error)),
            },
            () = self.gone.cancelled() => return false,
            () = tokio::time::sleep_until(self.end) => return false,
            () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks && !self.last_bookmark_done => {
                let last = self.end.saturating_duration_since(Instant::now()) <= BOOKMARK_BEFORE_END;
                self.last_bookmark_done = last;
                self.next_bookmark = (Instant::now() + BOOKMARK_EVERY)
                    .min(self.end.checked_sub(BOOKMARK_BEFORE_END).unwrap_or(self.end));
                self.upto = source.progress();
                if let Err(failure) = self.form.bookmark(self.upto, false, &mut self.out) {
                    self.fail(&failure);
                }
            }
        }
        true
    }

    /// A custom kind may have another schema by now.
    fn refresh(&mut self) {
        let kind = &self.form.kind;
        if kind.custom().is_none() {
            return;
        }
        let registry = self.inner.registry();
        if let Some(present) = registry.resource(&kind.group, &kind.version, &kind.plural)
            && !Arc::ptr_eq(present, kind)
        {
            self.selection.follow(present);
            self.form = Form::new(present.clone(), self.form.accept, self.form.include);
        }
    }

    /// The event with its objects as the kind shows them; none if they are already.
    async fn shown(&self, event: &Event) -> Outcome<Option<Event>> {
        let kind = &self.form.kind;
        let Some(version) = kind.custom() else {
            return Ok(None);
        };
        let current = |object: &Object| version.is_current(&*object.head);
        if current(&event.object) && event.previous.as_ref().is_none_or(current) {
            return Ok(None);
        }
        let mut objects = vec![event.object.clone()];
        objects.extend(event.previous.clone());
        let mut objects = custom::shown_all(&self.inner, kind, objects)
            .await?
            .into_iter();
        let Some(object) = objects.next() else {
            return Ok(None);
        };
        Ok(Some(Event {
            revision: event.revision,
            key: event.key.clone(),
            object,
            previous: objects.next(),
            kind: event.kind,
            lines: Encodings::default(),
        }))
    }

    /// Say what an event means to this client: an object may come to match or cease to. `shown`: its
    /// objects were brought into the form they are shown in.
    fn event(&mut self, event: &Event, shown: bool) -> Outcome<()> {
        let matches = |object: &Object| {
            if shown {
                self.selection.matches_shown(&*object.head)
            } else {
                self.selection.matches(&*object.head)
            }
        };
        let is = matches(&event.object);
        let was = event.previous.as_ref().is_some_and(matches);
        let word = match (event.kind, was, is) {
            (Change::Created, _, true) | (Change::Updated, false, true) => Word::Added,
            (Change::Updated, true, true) => Word::Modified,
            // What it was when it last matched, at the revision at which it ceased to.
            (Change::Updated, true, false) => return self.ceased(event),
            (Change::Deleted, was, is) if was || is => Word::Deleted,
            _ => return Ok(()),
        };
        let headings = std::mem::take(&mut self.headings);
        self.form.event(word, event, headings, &mut self.out)
    }

    fn ceased(&mut self, event: &Event) -> Outcome<()> {
        let Some(previous) = &event.previous else {
            return Ok(());
        };
        let mut value = previous.value().map_err(internal)?;
        value["metadata"]["resourceVersion"] = event.revision.to_string().into();
        let object = Object {
            head: previous.head.clone(),
            revision: event.revision,
            json: serde_json::to_vec(&value).map_err(internal)?.into(),
            encodings: Encodings::default(),
        };
        let headings = std::mem::take(&mut self.headings);
        self.form
            .object(Word::Deleted, &object, headings, &mut self.out)
    }

    /// End the watch with an error its client can read.
    fn fail(&mut self, failure: &Status) {
        self.source = None;
        self.initial = None;
        self.pending.clear();
        if let Err(unsaid) = self.form.error(failure, &mut self.out) {
            broken_off(unsaid.message);
        }
    }
}

/// A client that reads too slowly has missed events: it has to list again.
fn lagging(error: consort_store::Error) -> crate::error::Failure {
    match error {
        consort_store::Error::Lagged { .. } => Box::new(Status::expired(format!(
            "The resourceVersion for the provided watch is too old: {error}"
        ))),
        other => store_failure(other),
    }
}
