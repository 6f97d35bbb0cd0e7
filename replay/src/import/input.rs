//! A file's bytes, with their offsets.
//!
//! Owns: [`Input`], a window that moves over a file, plain or gzip. Never: a format. Invariants: it
//! holds no more than was asked for, and a step; a file that cannot be read any further ends there, and why
//! is told ([`Input::fault`]) once all before it was given.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::ImportError;
use std::io::{BufReader, Read};

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How much is read at once.
const STEP: usize = 64 << 10;

/// See the file's header.
pub struct Input<'a> {
    from: Box<dyn Read + 'a>,
    window: Vec<u8>,
    /// What of the window is consumed.
    start: usize,
    /// Of the first byte that is not consumed.
    offset: u64,
    is_ended: bool,
    fault: Option<ImportError>,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input(at {})", self.offset)
    }
}

impl<'a> Input<'a> {
    /// Of a file that is plain or gzip, as its first bytes say.
    pub fn new(from: impl Read + 'a) -> Self {
        let mut input = Self::plain(Box::new(from));
        if input.want(2).starts_with(&[0x1f, 0x8b]) {
            let read = std::io::Cursor::new(std::mem::take(&mut input.window));
            let whole = BufReader::new(read.chain(input.from));
            return Self::plain(Box::new(flate2::bufread::MultiGzDecoder::new(whole)));
        }
        input
    }

    fn plain(from: Box<dyn Read + 'a>) -> Self {
        Self { from, window: Vec::new(), start: 0, offset: 0, is_ended: false, fault: None }
    }

    /// Of the first byte that is not consumed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was read and not consumed.
    pub fn held(&self) -> &[u8] {
        self.window.get(self.start..).unwrap_or_default()
    }

    /// At least so many bytes, where the file has them.
    pub fn want(&mut self, count: usize) -> &[u8] {
        while self.held().len() < count && !self.is_ended {
            self.read_more();
        }
        self.held()
    }

    /// Why it ended before the file did.
    pub fn fault(&mut self) -> Option<ImportError> {
        self.fault.take()
    }

    /// Passes over a byte order mark.
    pub fn pass_mark(&mut self) {
        if self.want(MARK.len()).starts_with(MARK) {
            self.consume(MARK.len());
        }
    }

    /// One step more; `false`: the file has ended.
    pub fn more(&mut self) -> bool {
        let before = self.held().len();
        self.want(before.saturating_add(1)).len() > before
    }

    /// Passes over so many bytes of those that are held.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.held().len());
        self.start = self.start.saturating_add(count);
        self.offset = self.offset.saturating_add(count as u64);
    }

    /// Passes over bytes that need not be held.
    pub fn pass(&mut self, mut count: u64) {
        while count > 0 {
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(STEP);
            let held = self.want(step).len().min(step);
            if held == 0 {
                return;
            }
            self.consume(held);
            count = count.saturating_sub(held as u64);
        }
    }

    /// The bytes before the next end of line, which is consumed with them; `None` at the end of the
    /// file. A line of more than `max` bytes is given in pieces, the second `false`.
    pub fn line(&mut self, max: usize) -> Option<(Vec<u8>, bool)> {
        let mut searched = 0;
        loop {
            let held = self.held();
            let found = held.get(searched..).and_then(|new| memchr::memchr(b'\n', new));
            if let Some(at) = found {
                let end = searched.saturating_add(at);
                let line = held.get(..end).unwrap_or_default().to_vec();
                self.consume(end.saturating_add(1));
                return Some((line, true));
            }
            searched = held.len();
            if searched > max {
                let piece = held.to_vec();
                self.consume(searched);
                return Some((piece, false));
            }
            if !self.more() {
                let rest = self.held().to_vec();
                self.consume(searched);
                return (!rest.is_empty()).then_some((rest, true));
            }
        }
    }

    fn read_more(&mut self) {
        // what is consumed goes when it is the larger part
        if self.start > self.held().len() {
            self.window.drain(..self.start);
            self.start = 0;
        }
        let length = self.window.len();
        self.window.resize(length.saturating_add(STEP), 0);
        let room = self.window.get_mut(length..).unwrap_or_default();
        let read = loop {
            match self.from.read(room) {
                Err(fault) if fault.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.window.truncate(length.saturating_add(count));
        self.is_ended = count == 0;
        let offset = self.offset.saturating_add(self.held().len() as u64);
        self.fault = match read {
            Ok(_) => return,
            // a gzip file that is cut off: the bytes before are good
            Err(fault) if fault.kind() == std::io::ErrorKind::UnexpectedEof => {
                Some(ImportError::CutShort { offset, what: "a gzip stream" })
            }
            Err(source) => Some(ImportError::Read { offset, source }),
        };
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_and_offsets_are_the_same_plain_and_packed() {
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
        let text = lines.join("\n") + "\n";
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        for bytes in [text.as_bytes(), &packed] {
            let mut input = Input::new(bytes);
            for number in 0..20_000 {
                let (line, is_whole) = input.line(1_000).unwrap();
                assert!(is_whole);
                assert_eq!(line, format!("line {number}").into_bytes());
            }
            assert_eq!(input.line(1_000), None);
            assert!(input.fault().is_none());
            assert_eq!(input.offset(), text.len() as u64);
        }
        let mut cut = Input::new(&packed[..packed.len() / 2]);
        let mut count = 0;
        while cut.line(1_000).is_some() {
            count += 1;
        }
        assert!(count > 5_000, "{count}: what came before is given");
        let fault = cut.fault().unwrap();
        assert!(matches!(fault, ImportError::CutShort { offset: 1.., .. }), "{fault}");
    }

    #[test]
    fn a_line_without_an_end_comes_in_pieces() {
        let bytes = vec![b'x'; 300_000];
        let mut input = Input::new(&bytes[..]);
        let (piece, is_whole) = input.line(1_000).unwrap();
        assert!(!is_whole && piece.len() <= 1_000 + STEP);
    }
}
