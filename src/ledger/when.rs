//! Moments as people write them.
//!
//! Owns: reading a date or a time of RFC 3339, and writing days and times. Never: a clock, a time
//! zone but UTC. Invariant: a moment that is read is within the years that can be written.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

/// Microseconds since the epoch of a date (its first moment, in UTC) or a time of RFC 3339.
pub fn parse(text: &str) -> Result<u64, String> {
    // a date in another spelling may say a time zone, which would not count
    let is_date = text.len() == "2026-11-29".len() && !text.contains(['T', 't', ' ']);
    let stamp = match text.parse::<Date>() {
        Ok(date) if is_date => date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()),
        _ => text.parse::<Timestamp>(),
    };
    stamp.ok().and_then(|stamp| u64::try_from(stamp.as_microsecond()).ok()).ok_or_else(|| {
        "allowed are a date such as 2026-11-29 (its begin in UTC) and a time of RFC 3339 such \
             as 2026-11-29T13:00:00Z, from 1970 on"
            .to_owned()
    })
}

fn stamp(at_us: u64) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(at_us).ok()?).ok()
}

/// The day, such as `2026-11-29`.
pub fn day(at_us: u64) -> String {
    stamp(at_us).map_or_else(
        || "(no day)".to_owned(),
        |stamp| stamp.to_zoned(TimeZone::UTC).date().to_string(),
    )
}

/// The time, such as `2026-11-29T13:00:00.25Z`.
pub fn time(at_us: u64) -> String {
    let stamp = stamp(at_us).and_then(|stamp| stamp.round(Unit::Microsecond).ok());
    stamp.map_or_else(|| "(no time)".to_owned(), |stamp| stamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("1970-01-02", Some(86_400_000_000)),
            ("1970-01-01T00:00:01Z", Some(1_000_000)),
            ("1970-01-01T01:00:00.000001+01:00", Some(1)),
            ("1969-12-31", None),
            ("2026-02-30", None),
            ("2026-11-29T13:00:00", None),
            ("2026-12-01[Europe/Berlin]", None),
            ("2026-12-01T00:00:00[Europe/Berlin]", None),
            ("20261201", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn days_and_times_are_written_in_utc() {
        assert_eq!(day(86_399_999_999), "1970-01-01");
        assert_eq!(day(86_400_000_000), "1970-01-02");
        assert_eq!(time(1_500_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(day(u64::MAX), "(no day)");
        assert_eq!(time(u64::MAX), "(no time)");
    }
}
