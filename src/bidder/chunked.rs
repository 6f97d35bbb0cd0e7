//! The chunked coding of HTTP/1.1 answers (RFC 9112, 7.1), strictly.
//!
//! Owns: [`Chunks`], a machine that is given bytes one run at a time. Never: a buffer, a copy.
//! Invariant: what it says does not depend on where the runs are cut.
//!
//! Stricter than most: a line ends with CR LF only, a size has at most 16 digits, extensions and
//! trailers together are short. A bidder that needs more is broken or hostile.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Digits of a chunk's size: 16 hold any `u64`.
const DIGITS_MAX: u32 = 16;

/// Bytes of all extensions and trailers of one answer.
const EXTRAS_MAX: usize = 4 << 10;

/// What stands next on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// First digit of a size.
    Size,
    /// More digits, white space, an extension, or the end of the line.
    SizeMore,
    /// White space after a size.
    SizeSpace,
    /// Inside an extension.
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Start of a trailer line, or of the empty line that ends the answer.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// The bytes are not the chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What to do with the first bytes of the run that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes were framing: drop them.
    Framing(usize),
    /// So many bytes are content.
    Content(usize),
    /// The answer ended before the run's first byte.
    End,
}

/// Where a decoder stands.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    next: Next,
    /// Content left in this chunk; while a size is read, the size so far.
    left: u64,
    digits: u32,
    extras: usize,
}

impl Chunks {
    /// Before the first size.
    pub const fn start() -> Self {
        Self { next: Next::Size, left: 0, digits: 0, extras: 0 }
    }

    /// Whether the last chunk and the trailers are read.
    pub fn is_end(&self) -> bool {
        self.next == Next::End
    }

    /// Takes from the start of `run`, which is not empty: all of it if it is framing, or up to a
    /// change between framing and content.
    pub fn take(&mut self, run: &[u8]) -> Result<Taken, Malformed> {
        match self.next {
            Next::End => return Ok(Taken::End),
            Next::Data => {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(run.len());
                self.left = self.left.saturating_sub(here as u64);
                if self.left == 0 {
                    self.next = Next::DataCr;
                }
                return Ok(Taken::Content(here));
            }
            _ => {}
        }
        let mut used = 0usize;
        for &byte in run {
            self.framing(byte)?;
            used = used.saturating_add(1);
            if matches!(self.next, Next::Data | Next::End) {
                break;
            }
        }
        Ok(Taken::Framing(used))
    }

    fn framing(&mut self, byte: u8) -> Result<(), Malformed> {
        self.next = match (self.next, byte) {
            (Next::Size | Next::SizeMore, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)?
            }
            (Next::SizeMore | Next::SizeSpace, b' ' | b'\t') => self.extra(Next::SizeSpace)?,
            (Next::SizeMore | Next::SizeSpace, b';')
            | (Next::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extra(Next::Extension)?,
            (Next::SizeMore | Next::SizeSpace | Next::Extension, b'\r') => Next::SizeLf,
            (Next::SizeLf, b'\n') if self.left == 0 => Next::TrailerStart,
            (Next::SizeLf, b'\n') => Next::Data,
            (Next::DataCr, b'\r') => Next::DataLf,
            (Next::DataLf, b'\n') => {
                self.digits = 0;
                Next::Size
            }
            (Next::TrailerStart, b'\r') => Next::EndLf,
            (Next::TrailerStart | Next::TrailerName, _) if is_name(byte) => {
                self.extra(Next::TrailerName)?
            }
            (Next::TrailerName, b':') | (Next::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extra(Next::TrailerValue)?
            }
            (Next::TrailerValue, b'\r') => Next::TrailerLf,
            (Next::TrailerLf, b'\n') => Next::TrailerStart,
            (Next::EndLf, b'\n') => Next::End,
            _ => return Err(Malformed),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<Next, Malformed> {
        let value = char::from(byte).to_digit(16).ok_or(Malformed)?;
        self.digits = self.digits.saturating_add(1);
        if self.digits > DIGITS_MAX {
            return Err(Malformed);
        }
        // `left` is 0 before the first digit: a chunk's content is used up when its size begins
        self.left = (self.left << 4) | u64::from(value);
        Ok(Next::SizeMore)
    }

    fn extra(&mut self, next: Next) -> Result<Next, Malformed> {
        self.extras = self.extras.saturating_add(1);
        if self.extras > EXTRAS_MAX { Err(Malformed) } else { Ok(next) }
    }
}

/// Bytes of a field's name (RFC 9110, 5.6.2).
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
