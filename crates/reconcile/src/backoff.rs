//! Exponential back-off with jitter, for retries of any kind.

use std::time::Duration;

/// Grows a delay from `first` by doubling up to `limit`, with up to 20 % of jitter added so that
/// many waiters do not return at the same instant.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
}

impl Backoff {
    /// A back-off whose first delay is `first` and whose delays never exceed `limit` (before jitter).
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit }
    }

    /// The delay before retry number `failures` (0 for the first), jitter included.
    pub fn delay(&self, failures: u32) -> Duration {
        let base = self
            .first
            .saturating_mul(1 << failures.min(30))
            .min(self.limit);
        base + base.mul_f64(rand::random::<f64>() * 0.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_until_the_limit_and_stay_within_the_jitter() {
        let backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(60));
        for (failures, base) in [
            (0, 5),
            (1, 10),
            (5, 160),
            (13, 40_960),
            (14, 60_000),
            (4_000, 60_000),
        ] {
            let delay = backoff.delay(failures);
            assert!(
                delay >= Duration::from_millis(base),
                "{failures}: {delay:?}"
            );
            assert!(
                delay <= Duration::from_millis(base).mul_f64(1.21),
                "{failures}: {delay:?}"
            );
        }
    }
}
