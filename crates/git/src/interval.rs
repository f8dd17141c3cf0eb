//! Times between things that are done again and again.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time between things that are done again and again: at least a second, written as `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.as_secs();
        let text = match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, seconds) => format!("{seconds}s"),
            (0, minutes, 0) => format!("{minutes}m"),
            (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
            (hours, 0, 0) => format!("{hours}h"),
            (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
        };
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| (1..=30 * 24 * 3600).contains(&duration.as_secs()))
            .map(Interval)
            .ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{text:?}: expected a time from one second to 30 days, such as 3m"
                ))
            })
    }
}
