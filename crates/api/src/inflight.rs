//! How many requests are worked on at once. What is beyond is refused at once with 429: a client that
//! comes back later gets its answer sooner than one that waits in a queue which only grows.
//!
//! Requests that stay open (watches, logs, exec and the like) do not count, and neither do those of this
//! process' own parts; administrators (`system:masters`) always get in, as upstream has it.

use crate::error::{Outcome, fail};
use crate::identity::User;
use consort_object::status::Status;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Seconds after which a refused client should come back.
const RETRY_AFTER: u32 = 1;

const MASTERS: &str = "system:masters";

/// Room for requests.
pub(crate) struct InFlight {
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

impl InFlight {
    /// Room for so many requests that read and that write.
    pub(crate) fn new(reading: usize, writing: usize) -> Self {
        Self {
            reading: Arc::new(Semaphore::new(reading.min(Semaphore::MAX_PERMITS))),
            writing: Arc::new(Semaphore::new(writing.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// A place for a request, until it is dropped; `None` for those that need none.
    pub(crate) fn enter(&self, verb: &str, user: &User) -> Outcome<Option<OwnedSemaphorePermit>> {
        let reads = matches!(verb, "get" | "list" | "watch" | "head" | "options");
        let room = if reads { &self.reading } else { &self.writing };
        match Arc::clone(room).try_acquire_owned() {
            Ok(place) => Ok(Some(place)),
            Err(_) if user.groups.iter().any(|group| group == MASTERS) => Ok(None),
            Err(_) => fail(Status::too_many_requests(
                "Too many requests, please try again later.",
                RETRY_AFTER,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_refuses_all_but_administrators_and_reads_do_not_crowd_out_writes() {
        let room = InFlight::new(1, 1);
        let anyone = User::new("jane", ["dev"]);
        let first = room.enter("list", &anyone).unwrap();
        let refused = room.enter("get", &anyone).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after_seconds()),
            (429, Some(1))
        );
        assert!(room.enter("get", &User::admin()).unwrap().is_none());
        assert!(room.enter("create", &anyone).unwrap().is_some());
        drop(first);
        assert!(room.enter("get", &anyone).unwrap().is_some());
    }
}
