//! Windows of time, as Argo CD's projects have them.

use consort_object::cron::{self, Schedule};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::calendar::{last_within, next_after};

/// Whether a window lets in or keeps out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// While it is open, and while it is not open nothing is allowed.
    Allow,
    /// While it is open nothing is allowed.
    Deny,
}

/// A window that opens at the times of a schedule for a time, as it is written.
///
/// ```yaml
/// kind: deny
/// schedule: "0 22 * * *"
/// duration: 8h
/// timeZone: Europe/Berlin
/// manualSync: true
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Whether it lets in or keeps out.
    pub kind: WindowKind,
    /// When it opens: five fields of cron, or a shorthand such as `@daily`.
    pub schedule: String,
    /// For how long, in Go's or ISO's notation: `1h30m`.
    pub duration: String,
    /// The time zone of the schedule by its name in the IANA database. UTC without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Whether a person may ask for a sync all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual_sync: bool,
}

/// A window that means nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WindowError {
    /// Its schedule cannot be read.
    #[error("the schedule {schedule:?} of a sync window: {source}")]
    Schedule {
        /// As it is written.
        schedule: String,
        /// What is wrong.
        source: cron::Error,
    },
    /// Its duration cannot be read, or is not longer than nothing.
    #[error("the duration {duration:?} of a sync window: expected a time such as 1h30m")]
    Duration {
        /// As it is written.
        duration: String,
    },
    /// Its time zone is not known.
    #[error(
        "the time zone {zone:?} of a sync window is not known: expected a name such as Europe/Berlin"
    )]
    Zone {
        /// As it is written.
        zone: String,
    },
}

/// What windows say about a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permission {
    /// Whether a sync may be done now.
    pub allowed: bool,
    /// Why not, for people; empty if it may.
    pub because: String,
    /// When that may be otherwise at the earliest: a window opens or closes. None if never.
    pub changes: Option<Timestamp>,
}

/// The longest a window may be open; a longer one is always open, which is said otherwise.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);

impl Window {
    fn read(&self) -> Result<(Schedule, SignedDuration, TimeZone), WindowError> {
        let schedule = self
            .schedule
            .trim()
            .parse()
            .map_err(|source| WindowError::Schedule {
                schedule: self.schedule.clone(),
                source,
            })?;
        let duration = self
            .duration
            .trim()
            .parse::<SignedDuration>()
            .ok()
            .filter(|duration| duration.is_positive() && *duration <= LONGEST)
            .ok_or_else(|| WindowError::Duration {
                duration: self.duration.clone(),
            })?;
        let zone = match self.time_zone.as_deref().map(str::trim) {
            None | Some("") => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| WindowError::Zone {
                zone: name.to_owned(),
            })?,
        };
        Ok((schedule, duration, zone))
    }

    /// Checks that it means something.
    ///
    /// # Errors
    /// When its schedule, duration or time zone cannot be read.
    pub fn check(&self) -> Result<(), WindowError> {
        self.read().map(|_| ())
    }

    /// As it is told to people.
    fn told(&self) -> String {
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        format!("{:?} for {} ({zone})", self.schedule, self.duration)
    }
}

/// Whether a sync may be done at a moment, by itself or because a person asked for it (`manual`).
///
/// The rules are Argo CD's: without windows always; while a deny window is open not, except by hand where all open
/// ones allow that; else while an allow window is open; where there are allow windows and none is open not, except by
/// hand where all of them allow that.
///
/// # Errors
/// When a window cannot be read.
pub fn permission(
    windows: &[Window],
    manual: bool,
    now: Timestamp,
) -> Result<Permission, WindowError> {
    let mut changes: Option<Timestamp> = None;
    let mut open = Vec::with_capacity(windows.len());
    for window in windows {
        let (schedule, duration, zone) = window.read()?;
        let since = last_within(&schedule, &zone, now, duration);
        let next = next_after(&schedule, &zone, now);
        let closes = since.and_then(|since| since.checked_add(duration).ok());
        for change in [next, closes].into_iter().flatten() {
            changes = Some(changes.map_or(change, |earliest| earliest.min(change)));
        }
        open.push((window, since.is_some()));
    }
    let of = |kind, wanted| {
        let found = open
            .iter()
            .filter(move |(window, open)| window.kind == kind && *open == wanted);
        found.map(|(window, _)| *window).collect::<Vec<_>>()
    };
    let by_hand = |windows: &[&Window]| manual && windows.iter().all(|window| window.manual_sync);
    let denying = of(WindowKind::Deny, true);
    let because = if let Some(first) = denying.first() {
        (!by_hand(&denying)).then(|| format!("a deny window is open: {}", first.told()))
    } else if of(WindowKind::Allow, true).is_empty() {
        let closed = of(WindowKind::Allow, false);
        closed
            .first()
            .filter(|_| !by_hand(&closed))
            .map(|first| format!("no allow window is open: {}", first.told()))
    } else {
        None
    };
    Ok(Permission {
        allowed: because.is_none(),
        because: because.unwrap_or_default(),
        changes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kind: WindowKind, schedule: &str, duration: &str, manual: bool) -> Window {
        Window {
            kind,
            schedule: schedule.to_owned(),
            duration: duration.to_owned(),
            time_zone: None,
            manual_sync: manual,
        }
    }

    fn allowed(windows: &[Window], manual: bool, at: &str) -> bool {
        permission(windows, manual, at.parse().unwrap())
            .unwrap()
            .allowed
    }

    #[test]
    fn windows_allow_and_deny_as_argo_cd_has_it() {
        use WindowKind::{Allow, Deny};
        let noon = "2024-01-01T12:00:00Z";
        let open = |kind, manual| window(kind, "0 11 * * *", "2h", manual);
        let closed = |kind, manual| window(kind, "0 14 * * *", "2h", manual);
        for (windows, by_itself, by_hand) in [
            (vec![], true, true),
            (vec![open(Allow, false)], true, true),
            (vec![closed(Allow, false)], false, false),
            (vec![closed(Allow, true)], false, true),
            (
                vec![closed(Allow, true), closed(Allow, false)],
                false,
                false,
            ),
            (vec![open(Deny, false)], false, false),
            (vec![open(Deny, true)], false, true),
            (vec![open(Deny, true), open(Deny, false)], false, false),
            (vec![closed(Deny, false)], true, true),
            (vec![open(Allow, false), open(Deny, false)], false, false),
            (vec![open(Allow, false), closed(Deny, false)], true, true),
            (vec![closed(Allow, false), open(Deny, true)], false, true),
        ] {
            assert_eq!(allowed(&windows, false, noon), by_itself, "{windows:?}");
            assert_eq!(allowed(&windows, true, noon), by_hand, "{windows:?}");
        }
    }

    #[test]
    fn a_window_is_open_from_its_time_until_its_duration_is_over() {
        let windows = [window(WindowKind::Allow, "0 22 * * *", "8h", false)];
        for (at, open) in [
            ("2024-01-01T21:59:59Z", false),
            ("2024-01-01T22:00:00Z", true),
            ("2024-01-02T05:59:59Z", true),
            ("2024-01-02T06:00:00Z", false),
        ] {
            assert_eq!(allowed(&windows, false, at), open, "{at}");
        }
        let now = "2024-01-01T12:00:00Z".parse().unwrap();
        let next = permission(&windows, false, now).unwrap().changes;
        assert_eq!(next, "2024-01-01T22:00:00Z".parse().ok());
    }

    #[test]
    fn a_window_that_means_nothing_is_an_error() {
        for (schedule, duration, zone) in [
            ("61 * * * *", "1h", None),
            ("* * * * *", "soon", None),
            ("* * * * *", "-1h", None),
            ("* * * * *", "0s", None),
            ("* * * * *", "1h", Some("Mars/Olympus")),
        ] {
            let window = Window {
                time_zone: zone.map(str::to_owned),
                ..window(WindowKind::Deny, schedule, duration, false)
            };
            assert!(window.check().is_err(), "{window:?}");
        }
    }
}
