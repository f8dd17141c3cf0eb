//! Answers that go on for long, and the clients that do not read them.
//!
//! Nothing is buffered for a client beyond one piece: the next is made when the connection has taken the
//! one before. So a client that stops reading costs no memory, but its connection, and what the
//! answer still refers to. It is cut off after a while.

use crate::body::{self, Body, BodyError};
use crate::call::Call;
use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Ends the connection a request came by; an extension of the request.
#[derive(Clone)]
pub(crate) struct Cut(pub CancellationToken);

/// The client is on this host; an extension of the request.
#[derive(Clone)]
pub(crate) struct Near;

/// What a long answer is made of.
pub(crate) trait Feed: Send + 'static {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, BodyError>>> + Send;
}

/// Whether one answer's client reads on.
pub(crate) struct Pulse {
    /// Milliseconds after `begun` at which the client was given a piece that it has not taken yet.
    since: AtomicU64,
    begun: Instant,
    cut: Option<CancellationToken>,
}

/// No piece is waiting for the client.
const READING: u64 = u64::MAX;

impl Pulse {
    /// Follows the answer to a call.
    pub(crate) fn of(call: &Call) -> Arc<Self> {
        let pulses = &call.inner.pulses;
        let cut = call.parts.extensions.get::<Cut>().map(|cut| cut.0.clone());
        let pulse = Arc::new(Self {
            since: AtomicU64::new(READING),
            begun: pulses.begun,
            cut,
        });
        if pulse.cut.is_some() {
            pulses.all.lock().push(Arc::downgrade(&pulse));
        }
        pulse
    }

    /// The answer that a feed is.
    pub(crate) fn answer(self: Arc<Self>, feed: impl Feed) -> Response<Body> {
        let stream = futures::stream::unfold((self, feed), |(pulse, mut feed)| async move {
            pulse.since.store(READING, Ordering::Relaxed);
            let piece = feed.next().await?;
            let now = pulse.begun.elapsed().as_millis() as u64;
            pulse.since.store(now, Ordering::Relaxed);
            Some((piece, (pulse, feed)))
        });
        Response::new(body::stream(stream))
    }
}

/// All long answers over connections.
pub(crate) struct Pulses {
    begun: Instant,
    all: Mutex<Vec<Weak<Pulse>>>,
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            all: Mutex::default(),
        }
    }
}

impl Pulses {
    /// Cuts off clients that have not taken a piece for so long; until stopped.
    pub(crate) async fn watch_over(self: Arc<Self>, patience: Duration, stop: CancellationToken) {
        let often = (patience / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let mut tick = tokio::time::interval(often);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.sweep(patience),
            }
        }
    }

    fn sweep(&self, patience: Duration) {
        let now = self.begun.elapsed();
        self.all.lock().retain(|pulse| {
            let Some(pulse) = pulse.upgrade() else {
                return false;
            };
            let since = pulse.since.load(Ordering::Relaxed);
            if since == READING || now.saturating_sub(Duration::from_millis(since)) < patience {
                return true;
            }
            if let Some(cut) = &pulse.cut {
                tracing::info!("a client does not read its answer: its connection is closed");
                cut.cancel();
            }
            false
        });
    }
}
