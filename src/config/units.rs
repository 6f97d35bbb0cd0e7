//! Times and sizes with their units, as configuration writes them.
//!
//! Owns: both directions. Invariant: what is written reads back as the same value.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
