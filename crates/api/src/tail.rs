//! Following stored objects from inside the server: what is kept in memory of them stays as they are.
//!
//! Three things are made of stored objects and consulted on every request: the kinds of custom resource
//! definitions, the webhooks and policies, and what the authorizer knows. Each reads its collections once
//! and then takes in a [`Tail`] of what changes. When it was overtaken it says [`News::Lost`]:
//! events are missing, and what is there now has to be read anew.

use crate::api::StartError;
use consort_object::Revision;
use consort_store::{Batch, Error, Store, Watch};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What could not be read is tried again after this.
const RETRY: Duration = Duration::from_millis(200);

/// The changes under one prefix of the store, in order, until the server stops.
pub(crate) struct Tail {
    store: Store,
    prefix: String,
    stop: CancellationToken,
    after: Revision,
    state: State,
}

enum State {
    /// To be watched from `after`.
    Idle,
    Open(Watch),
    /// Events were missed, and that was said already if `told`.
    Lost {
        told: bool,
    },
}

/// What a tail has to say.
pub(crate) enum News {
    /// These happened.
    Events(Batch),
    /// Some were missed: read everything anew, then [`Tail::resume`] from where that was read. Said again
    /// after a while until it is.
    Lost,
    /// The server stops.
    Over,
}

impl Tail {
    /// Follow what is under a prefix from a revision on.
    pub(crate) fn new(
        store: Store,
        prefix: String,
        after: Revision,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            prefix,
            stop,
            after,
            state: State::Idle,
        }
    }

    /// What comes next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            if self.stop.is_cancelled() {
                return News::Over;
            }
            let error = match &mut self.state {
                State::Idle => match self.store.watch(&self.prefix, self.after) {
                    Ok(watch) => {
                        self.state = State::Open(watch);
                        continue;
                    }
                    Err(error) => error,
                },
                State::Open(watch) => {
                    let next = tokio::select! {
                        () = self.stop.cancelled() => return News::Over,
                        next = watch.next() => next,
                    };
                    match next {
                        Ok(batch) => {
                            self.after = batch.upto;
                            return News::Events(batch);
                        }
                        Err(error) => error,
                    }
                }
                State::Lost { told: false } => {
                    self.state = State::Lost { told: true };
                    return News::Lost;
                }
                State::Lost { told: true } => {
                    if self.pause().await {
                        return News::Lost;
                    }
                    continue;
                }
            };
            match error {
                Error::Closed => return News::Over,
                Error::Compacted { .. } | Error::Lagged { .. } | Error::Future { .. } => {
                    tracing::warn!(
                        prefix = self.prefix,
                        "stored objects are read anew: {error}"
                    );
                    self.state = State::Lost { told: false };
                }
                // It may pass: the next call tries again at the same place.
                error => {
                    tracing::error!(%error, prefix = self.prefix, "following stored objects");
                    self.pause().await;
                }
            }
        }
    }

    /// Everything was read anew: go on from where it was. A failure is said again by the next [`News`].
    pub(crate) fn resume(&mut self, read: Result<Revision, StartError>) {
        match read {
            Ok(revision) => {
                self.after = revision;
                self.state = State::Idle;
            }
            Err(error) => {
                tracing::error!(%error, prefix = self.prefix, "reading stored objects anew");
            }
        }
    }

    /// `false` when the server stops.
    async fn pause(&self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(RETRY) => true,
        }
    }
}
