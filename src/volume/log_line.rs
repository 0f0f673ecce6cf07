//! One line of a log: its time, and what it says.

use crate::volume::log_files::tai64n;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

/// Split a line into its time, if it begins with one, and the rest. The time is as s6-log writes it for `T`, in the zone
/// of the machine; or for `t`, in TAI64N; or as in the boot log, with an offset.
pub fn split<'a>(line: &'a str, zone: &TimeZone) -> (Option<Timestamp>, &'a str) {
    let local = |text: &str| zone.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    let tried = [
        line.split_once("  ").and_then(|(time, rest)| Some((local(time)?, rest))),
        line.split_once(' ').and_then(|(time, rest)| Some((tai64n(time).or_else(|| time.parse().ok())?, rest))),
    ];
    match tried.into_iter().flatten().next() {
        Some((time, rest)) => (Some(time), rest),
        None => (None, line),
    }
}

/// A time as the tools print it: ISO 8601 with milliseconds, in this zone and with its offset.
pub fn shown(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
}

/// The time that an operator has typed: a date, a time of today, both, both with an offset, or a span before now.
pub fn since(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let zone = now.time_zone();
    let at = |time: DateTime| zone.to_timestamp(time).ok();
    (text.parse().ok())
        .or_else(|| at(text.parse::<DateTime>().ok()?))
        .or_else(|| at(now.date().to_datetime(text.parse::<Time>().ok().filter(|_| text.contains(':'))?)))
        .or_else(|| Some(now.checked_sub(text.parse::<Span>().ok()?.abs()).ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::offset;

    #[test]
    fn a_line_begins_with_a_time_of_s6_log_or_of_the_boot_log_or_with_none() {
        let zone = TimeZone::fixed(offset(1));
        for (line, time, rest) in [
            ("2026-11-26 16:20:16.552335152  one  two", Some("2026-11-26T15:20:16.552335152Z"), "one  two"),
            ("2026-11-26 16:20:16.552335152  ", Some("2026-11-26T15:20:16.552335152Z"), ""),
            ("@400000000000000a00000000 one", Some("1970-01-01T00:00:00Z"), "one"),
            ("2026-11-26T16:20:16+0100 profile=x", Some("2026-11-26T15:20:16Z"), "profile=x"),
            ("  indented  text", None, "  indented  text"),
            ("2026-11-26 16:20  one", Some("2026-11-26T15:20:00Z"), "one"),
            ("@4000 one", None, "@4000 one"),
            ("", None, ""),
        ] {
            assert_eq!(split(line, &zone), (time.map(|t| t.parse().unwrap()), rest), "{line}");
        }
        let time = "2026-11-26T15:20:16.5523Z".parse().unwrap();
        assert_eq!(shown(time, &zone), "2026-11-26T16:20:16.552+0100");
    }

    #[test]
    fn since_is_a_date_a_time_or_a_span_before_now() {
        let zone = TimeZone::fixed(offset(1));
        let now = "2026-11-26T15:20:16Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone);
        for (text, time) in [
            ("2026-11-26", Some("2026-11-25T23:00:00Z")),
            ("2026-11-26 10:00", Some("2026-11-26T09:00:00Z")),
            ("2026-11-26T10:00:05+0000", Some("2026-11-26T10:00:05Z")),
            ("10:00", Some("2026-11-26T09:00:00Z")),
            ("10m", Some("2026-11-26T15:10:16Z")),
            ("1h30m", Some("2026-11-26T13:50:16Z")),
            ("2d", Some("2026-11-24T15:20:16Z")),
            ("10m ago", Some("2026-11-26T15:10:16Z")),
            ("soon", None),
            ("10", None),
            ("", None),
        ] {
            assert_eq!(since(text, &now), time.map(|t| t.parse().unwrap()), "{text}");
        }
    }
}
