//! The time of the machine.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Facts, Gathering};
use crate::times;

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    if !gathering.live {
        return Facts::new();
    }
    let zone = times::zone(gathering.context);
    let timestamp = Timestamp::now();
    let now = timestamp.to_zoned(zone.clone());
    let utc = timestamp.to_zoned(TimeZone::UTC);
    let local = |format: &str| now.strftime(format).to_string();
    let weekday = i32::from(now.weekday().to_sunday_zero_offset());
    let monday = (weekday + 6) % 7;
    let week = (i32::from(now.day_of_year()) - 1 + 7 - monday) / 7;
    let epoch = timestamp.as_second().to_string();
    let micro = timestamp.subsec_microsecond();
    Facts::from_iter([(
        "date_time".to_owned(),
        json!({
            "year": local("%Y"),
            "month": local("%m"),
            "weekday": local("%A"),
            "weekday_number": weekday.to_string(),
            "weeknumber": format!("{week:02}"),
            "day": local("%d"),
            "hour": local("%H"),
            "minute": local("%M"),
            "second": local("%S"),
            "epoch": epoch,
            "epoch_int": epoch,
            "date": local("%Y-%m-%d"),
            "time": local("%H:%M:%S"),
            "iso8601_micro": format!("{}.{micro:06}Z", utc.strftime("%Y-%m-%dT%H:%M:%S")),
            "iso8601": utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "iso8601_basic": format!("{}{micro:06}", local("%Y%m%dT%H%M%S")),
            "iso8601_basic_short": local("%Y%m%dT%H%M%S"),
            "tz": local("%Z"),
            "tz_dst": summer_name(&zone, timestamp),
            "tz_offset": local("%z"),
        }),
    )])
}

/// The name of the zone in summer, as C and Python find it: they look at this year's January and at half a year later.
fn summer_name(zone: &TimeZone, now: Timestamp) -> String {
    const YEAR: i64 = (365 * 24 + 6) * 3600;
    let winter = now.as_second() / YEAR * YEAR;
    let at = |second: i64| {
        let timestamp = Timestamp::from_second(second).unwrap_or(now);
        let told = zone.to_offset_info(timestamp);
        (told.offset().seconds(), told.abbreviation().to_owned())
    };
    let (january, july) = (at(winter), at(winter + YEAR / 2));
    // South of the equator summer is in January.
    if january.0 > july.0 {
        january.1
    } else {
        july.1
    }
}
