//! A histogram of latencies in constant memory.

use std::time::Duration;

/// Sub-buckets of each power of two: latencies are told within 1/32.
const STEPS: usize = 32;

/// Counts latencies in microseconds, each bucket 3% wide.
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; 64 * STEPS],
            count: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.longest = self.longest.max(latency);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// The latency that `share` (0 to 1) of all did not exceed.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(highest(at)).min(self.longest);
            }
        }
        self.longest
    }
}

/// Below `STEPS` exact; above, the top five bits after the leading one choose the step.
fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let power = micros.ilog2() as usize;
    let shift = power - 5;
    (shift + 1) * STEPS + ((micros >> shift) as usize - STEPS)
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    let lowest = ((bucket % STEPS + STEPS) as u64) << shift;
    lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut latencies = Latencies::default();
        for millis in 1..=100 {
            latencies.add(Duration::from_millis(millis));
        }
        let close = |share, millis: u64| {
            let found = latencies.percentile(share).as_secs_f64() * 1e3;
            assert!(
                (found / millis as f64 - 1.0).abs() < 0.035,
                "{share}: {found}"
            );
        };
        close(0.5, 50);
        close(0.9, 90);
        close(0.99, 99);
        assert_eq!(latencies.percentile(1.0), Duration::from_millis(100));
    }

    proptest! {
        #[test]
        fn every_value_is_in_its_bucket_within_a_thirtysecond(micros in any::<u64>()) {
            let highest = highest(bucket(micros));
            prop_assert!(highest >= micros);
            prop_assert!(highest - micros <= micros / 32 + 1);
        }
    }
}
