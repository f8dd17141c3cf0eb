//! Durations, sorted, and what is said of them.

use std::time::Duration;

/// Measured durations.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time in milliseconds that this share of all, 0 to 1, did not exceed.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        let place = ((self.0.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.0
            .get(place)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_whole_is_the_longest() {
        let times = Times::new([3, 1, 2].map(Duration::from_millis).to_vec());
        assert!((times.ms(0.5) - 2.0).abs() < 1e-9);
        assert!((times.ms(1.0) - 3.0).abs() < 1e-9);
        assert!(Times::default().ms(0.5).is_nan());
    }
}
