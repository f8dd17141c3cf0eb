//! Exponential back-off of restarts and image pulls, as a plain value.

use jiff::{SignedDuration, Timestamp};

/// First delay between two attempts.
pub(crate) const FIRST: SignedDuration = SignedDuration::from_secs(10);
/// Longest delay between two attempts.
pub(crate) const LIMIT: SignedDuration = SignedDuration::from_secs(300);
/// Going well for this long forgets everything.
const RESET: SignedDuration = SignedDuration::from_secs(600);

/// How long to wait after a failure: 10 s, doubling to 5 min, forgotten after 10 min without one.
///
/// The first attempt after a failure is free, as it is upstream: a container that ends for the first
/// time is started again at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The current delay and when it was set; `None` before the first attempt.
    current: Option<(SignedDuration, Timestamp)>,
}

impl Backoff {
    /// When the next attempt may be made, given when the last one failed.
    pub(crate) fn ready_at(&self, failed_at: Timestamp) -> Timestamp {
        match self.current {
            Some((delay, set_at)) if failed_at.duration_since(set_at) <= RESET => failed_at + delay,
            _ => failed_at,
        }
    }

    /// The delay that applies now, for messages.
    pub(crate) fn delay(&self) -> SignedDuration {
        self.current.map_or(FIRST, |(delay, _)| delay)
    }

    /// Notes that an attempt is being made after a failure at `failed_at`.
    pub(crate) fn next(&mut self, failed_at: Timestamp, now: Timestamp) {
        let delay = match self.current {
            Some((delay, set_at)) if failed_at.duration_since(set_at) <= RESET => {
                (delay * 2).min(LIMIT)
            }
            _ => FIRST,
        };
        self.current = Some((delay, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_delay_doubles_to_its_limit_and_is_forgotten_after_a_long_run() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.ready_at(at(0)), at(0), "the first restart is free");
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..8 {
            backoff.next(now, now);
            delays.push(backoff.delay().as_secs());
            let ready = backoff.ready_at(now);
            assert_eq!(ready, now + backoff.delay());
            now = ready;
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
        let later = now + SignedDuration::from_secs(601);
        assert_eq!(backoff.ready_at(later), later);
        backoff.next(later, later);
        assert_eq!(backoff.delay().as_secs(), 10);
    }
}
