//! The times of a schedule in a time zone.

use consort_object::cron::{Calendar, Schedule};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A schedule that fires on no day of so many (the 30th of February) never does; leap days on a certain weekday are
/// 28 years apart, 40 around a century.
const FAR: i32 = 366 * 41;

/// The first time of a schedule after a moment; none if there is none.
///
/// Times that a clock skips in spring do not happen, those it shows twice in autumn happen the first time.
pub(super) fn next_after(
    schedule: &Schedule,
    zone: &TimeZone,
    after: Timestamp,
) -> Option<Timestamp> {
    let calendar = match schedule {
        Schedule::Calendar(calendar) => calendar,
        Schedule::Every(step) => {
            // Counted from the epoch, so that the same schedule means the same times after a restart.
            let step = i64::try_from(step.as_secs()).ok()?.max(1);
            let next = (after.as_second().div_euclid(step) + 1).checked_mul(step)?;
            return Timestamp::from_second(next).ok();
        }
    };
    let start = after.to_zoned(zone.clone()).date();
    let mut date = start;
    for _ in 0..FAR {
        if is_day(calendar, date) {
            let found = times(calendar, date, zone).find(|time| *time > after);
            if found.is_some() {
                return found;
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// The last time of a schedule not after `now` and after `now - within`; none if there is none.
pub(super) fn last_within(
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
    within: SignedDuration,
) -> Option<Timestamp> {
    let earliest = now.checked_sub(within).ok()?;
    let calendar = match schedule {
        Schedule::Calendar(calendar) => calendar,
        Schedule::Every(step) => {
            let step = i64::try_from(step.as_secs()).ok()?.max(1);
            let last = now.as_second().div_euclid(step).checked_mul(step)?;
            return Timestamp::from_second(last)
                .ok()
                .filter(|time| *time > earliest);
        }
    };
    let mut date = now.to_zoned(zone.clone()).date();
    let first = earliest.to_zoned(zone.clone()).date();
    for _ in 0..FAR {
        if is_day(calendar, date) {
            let found = times(calendar, date, zone)
                .filter(|time| *time <= now && *time > earliest)
                .max();
            if found.is_some() {
                return found;
            }
        }
        if date <= first {
            return None;
        }
        date = date.yesterday().ok()?;
    }
    None
}

/// As cron has it: when both days of the month and weekdays are restricted, either suffices.
fn is_day(calendar: &Calendar, date: Date) -> bool {
    let has =
        |set: u64, number: i8| u8::try_from(number).is_ok_and(|number| set >> number & 1 == 1);
    let day = has(calendar.days, date.day());
    let weekday = has(calendar.weekdays, date.weekday().to_sunday_zero_offset());
    has(calendar.months, date.month())
        && if calendar.any_day || calendar.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
}

/// The times of a day, in the order of the clock.
fn times(calendar: &Calendar, date: Date, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
    let (hours, minutes) = (calendar.hours, calendar.minutes);
    (0..24_i8)
        .filter(move |hour| hours >> hour & 1 == 1)
        .flat_map(move |hour| {
            (0..60_i8)
                .filter(move |minute| minutes >> minute & 1 == 1)
                .map(move |minute| (hour, minute))
        })
        .filter_map(move |(hour, minute)| {
            let clock = date.at(hour, minute, 0, 0);
            let meant = zone.to_ambiguous_timestamp(clock);
            if matches!(meant.offset(), jiff::tz::AmbiguousOffset::Gap { .. }) {
                return None;
            }
            meant.earlier().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(schedule: &str, zone: &str, after: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        next_after(&schedule.parse().unwrap(), &zone, at(after))
            .map_or("never".to_owned(), |time| time.to_string())
    }

    #[test]
    fn schedules_fire_at_the_times_of_their_zone() {
        let utc = |schedule, after| next(schedule, "UTC", after);
        assert_eq!(
            utc("0 2 * * *", "2024-01-01T02:00:00Z"),
            "2024-01-02T02:00:00Z"
        );
        assert_eq!(
            utc("*/15 * * * *", "2024-01-01T23:50:00Z"),
            "2024-01-02T00:00:00Z"
        );
        assert_eq!(
            utc("0 0 29 2 *", "2023-03-01T00:00:00Z"),
            "2024-02-29T00:00:00Z"
        );
        assert_eq!(utc("0 0 31 2 *", "2023-03-01T00:00:00Z"), "never");
        // The first of a month, or a Monday.
        assert_eq!(
            utc("0 0 1 * 1", "2024-01-01T00:00:00Z"),
            "2024-01-08T00:00:00Z"
        );
        assert_eq!(
            next("0 22 * * *", "Europe/Berlin", "2024-07-01T12:00:00Z"),
            "2024-07-01T20:00:00Z"
        );
        // 02:30 does not happen on the day the clock is put forward.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z"),
            "2024-04-01T00:30:00Z"
        );
    }

    #[test]
    fn the_last_time_is_found_as_far_back_as_asked() {
        let zone = TimeZone::UTC;
        let last = |schedule: &str, hours| {
            last_within(
                &schedule.parse().unwrap(),
                &zone,
                at("2024-01-03T12:00:00Z"),
                SignedDuration::from_hours(hours),
            )
            .map(|time| time.to_string())
        };
        assert_eq!(
            last("0 11 * * *", 2).as_deref(),
            Some("2024-01-03T11:00:00Z")
        );
        assert_eq!(
            last("0 12 * * *", 1).as_deref(),
            Some("2024-01-03T12:00:00Z")
        );
        assert_eq!(last("0 10 * * *", 2), None);
        assert_eq!(
            last("0 0 1 1 *", 100).as_deref(),
            Some("2024-01-01T00:00:00Z")
        );
    }
}
