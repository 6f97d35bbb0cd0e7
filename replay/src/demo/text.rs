//! How figures look to people.
//!
//! Owns: units, thousands and columns. Pure.

use std::fmt::Write;
use std::time::Duration;

/// A count with separated thousands: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the unit that suits it, with three digits: `8.12 ms`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let decimals = match number {
        n if n < 10.0 => 2,
        n if n < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

/// A part of a whole: `74.1 %`.
pub fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 / whole.max(1) as f64 * 100.0)
}

/// Rows under their headings: the first column to the left, the others to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut line = String::from("  ");
        for (column, (cell, width)) in cells.into_iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            // writing to a String cannot fail
            let _ = match column {
                0 => write!(line, "{cell}{gap}"),
                _ => write!(line, "  {gap}{cell}"),
            };
        }
        line.push('\n');
        line
    };
    let mut text = line(headings.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), expected);
        }
        for (nanos, expected) in [
            (8_120, "8.12 µs"),
            (81_200, "81.2 µs"),
            (812_000, "812 µs"),
            (8_120_000, "8.12 ms"),
            (8_120_000_000, "8.12 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), expected);
        }
        assert_eq!((share(1, 3), share(1, 0)), ("33.3 %".to_owned(), "100.0 %".to_owned()));
    }

    #[test]
    fn columns_stand_under_their_headings() {
        let rows =
            [vec!["a".to_owned(), "1,000".to_owned()], vec!["µµµ".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["x", "n"], &rows), "  x        n\n  a    1,000\n  µµµ      2\n");
    }
}
