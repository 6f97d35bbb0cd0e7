//! Comma-separated values, as `gavel journal export` writes them.
//!
//! Owns: reading a record (RFC 4180) and a cell. Never: what a column means. Invariant: total over
//! any bytes; memory is bounded by the longest record that is allowed.

use crate::journal::export::GUARDED;
use std::io::{self, BufRead};

/// Reads the next record into `cells`; false at the end. A record longer than `most` bytes, or one
/// that ends inside quotes, is an `InvalidData`.
pub fn record(from: &mut dyn BufRead, most: usize, cells: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    cells.clear();
    let mut cell = Vec::new();
    let (mut is_quoted, mut was_quote, mut taken) = (false, false, 0_usize);
    loop {
        let window = from.fill_buf()?;
        if window.is_empty() {
            if is_quoted && !was_quote {
                return Err(invalid("it ends inside quotes"));
            }
            let is_something = !cells.is_empty() || !cell.is_empty() || was_quote;
            if is_something {
                cells.push(cell);
            }
            return Ok(is_something);
        }
        let (mut used, mut is_end) = (0, false);
        for byte in window {
            used += 1;
            let was = std::mem::take(&mut was_quote);
            match (byte, is_quoted) {
                (b'"', true) if was => cell.push(b'"'),
                (b'"', true) => was_quote = true,
                (byte, true) if !was => cell.push(*byte),
                (b'"', false) if cell.is_empty() => is_quoted = true,
                (b',', _) => {
                    cells.push(std::mem::take(&mut cell));
                    is_quoted = false;
                }
                (b'\n', _) => {
                    cells.push(std::mem::take(&mut cell));
                    is_end = true;
                    break;
                }
                (b'\r', _) => {}
                (byte, _) => cell.push(*byte),
            }
        }
        from.consume(used);
        taken += used;
        if taken > most {
            return Err(invalid("it is too long"));
        }
        if is_end {
            return Ok(true);
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What stands in a cell: without the apostrophe that keeps a spreadsheet from taking it for a
/// formula.
pub fn text(cell: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(cell).ok()?;
    let bare = text.strip_prefix('\'').filter(|rest| rest.starts_with(GUARDED));
    Some(bare.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::export;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn all(bytes: &[u8]) -> io::Result<Vec<Vec<String>>> {
        // a window of a few bytes: every state must outlive it
        let mut from = BufReader::with_capacity(3, bytes);
        let (mut cells, mut found) = (Vec::new(), Vec::new());
        while record(&mut from, 1000, &mut cells)? {
            found.push(
                cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect(),
            );
        }
        Ok(found)
    }

    #[test]
    fn records_are_read_as_rfc_4180_writes_them() {
        for (text, expected) in [
            ("", vec![]),
            ("a", vec![vec!["a"]]),
            ("a,b\n", vec![vec!["a", "b"]]),
            ("a,\r\n,b\r\n", vec![vec!["a", ""], vec!["", "b"]]),
            ("\"a,\"\"b\"\"\nc\",d\n\"\"\n", vec![vec!["a,\"b\"\nc", "d"], vec![""]]),
            ("a\n\nb", vec![vec!["a"], vec![""], vec!["b"]]),
        ] {
            assert_eq!(all(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        assert!(all(b"a,\"b").is_err());
        assert!(all(&[b'a'; 2000]).is_err());
    }

    proptest! {
        #[test]
        fn a_cell_that_the_export_wrote_is_read_back(texts in prop::collection::vec("[a-c,\"\n'=+-]{0,6}", 1..5)) {
            let cells: Vec<String> =
                texts.iter().map(|text| export::cell(&serde_json::json!(text))).collect();
            let line = format!("{}\n", cells.join(","));
            let mut found = Vec::new();
            prop_assert!(record(&mut line.as_bytes(), 1000, &mut found).unwrap());
            let read: Vec<&str> = found.iter().map(|cell| text(cell).unwrap()).collect();
            prop_assert_eq!(read, texts);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&bytes);
        }
    }
}
