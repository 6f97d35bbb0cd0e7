//! Times and sizes with their units, as configuration writes them.
//!
//! Owns: both directions. Invariant: what is written reads back as the same value.

use std::time::Duration;
use toml::value::{Datetime, Offset};

/// `250ms`, `5s`, `2m`, `1h`; whole numbers only.
pub fn read_time(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(split)?;
    let number: u64 = digits.parse().ok()?;
    match unit.trim_start() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

/// As [`read_time`] reads it, in the largest unit that is exact.
pub fn write_time(time: Duration) -> String {
    let millis = time.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis > 0 && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

/// `256KiB`, `2MiB`, `1GiB`, `100B`.
pub fn read_size(text: &str) -> Option<usize> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(split)?;
    let number: usize = digits.parse().ok()?;
    let shift = match unit.trim_start() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// As [`read_size`] reads it, in the largest unit that is exact.
pub fn write_size(size: usize) -> String {
    for (shift, name) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if size > 0 && size.is_multiple_of(1 << shift) {
            return format!("{}{name}", size >> shift);
        }
    }
    format!("{size}B")
}

/// A moment that TOML can write, since the Unix epoch; `None` before it, or without an offset.
pub fn read_moment(moment: &Datetime) -> Option<Duration> {
    let (date, time, offset) = (moment.date?, moment.time?, moment.offset?);
    let offset = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // days since 0000-03-01 of the Gregorian calendar: years begin in March, so leap days end them
    let (month, shift) = (i64::from(date.month), i64::from(date.month <= 2));
    let year = i64::from(date.year) - shift;
    let in_year = (153 * (month + 12 * shift - 3) + 2) / 5 + i64::from(date.day) - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + in_year;
    let seconds = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 - offset * 60;
    let whole =
        (days - DAYS_TO_1970) * 86_400 + seconds + i64::from(time.second.unwrap_or_default());
    u64::try_from(whole).ok().map(Duration::from_secs)
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_from_the_unix_epoch() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59Z", Some(951_868_799)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("2026-11-29T05:00:00Z", Some(1_795_928_400)),
            ("2026-11-29T05:00:00+02:00", Some(1_795_921_200)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-29T05:00:00", None),
            ("2026-11-29", None),
        ] {
            let read = read_moment(&text.parse().unwrap());
            assert_eq!(read.map(|read| read.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn times_and_sizes_read_what_they_write() {
        for text in ["250ms", "5s", "2m", "1h", "0ms"] {
            assert_eq!(write_time(read_time(text).unwrap()), text);
        }
        for text in ["256KiB", "2MiB", "1GiB", "100B"] {
            assert_eq!(write_size(read_size(text).unwrap()), text);
        }
        for bad in ["", "5", "s", "5 parsecs", "-5s", "1.5s", "99999999999999999999h"] {
            assert_eq!(read_time(bad), None, "{bad}");
        }
        for bad in ["", "KiB", "5KB", "99999999999999999999GiB"] {
            assert_eq!(read_size(bad), None, "{bad}");
        }
    }
}
