//! Fields of tag, length and value: how records are written inside a file of our own.
//!
//! Owns: the writing of fields and the reading of them back. Never: a file, a checksum, a tag's
//! meaning. Invariant: reading is total over any bytes and allocates nothing; a field that is not
//! written reads as 0 or empty, so that a later minor version may add fields.
//!
//! All numbers are LEB128, at most ten bytes; a signed number is folded first (0, -1, 1, -2 ...),
//! so that small ones stay short.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Most fields that are read of one part, unknown ones included.
pub const FIELDS_MAX: usize = 4096;

/// The bytes are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlvFault {
    /// A number that ends too early or has more than 64 bits.
    #[error("a number ends too early or has more than 64 bits")]
    Number,
    /// A field is longer than what is left.
    #[error("a field is longer than the record")]
    Length,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// More than [`FIELDS_MAX`] fields.
    #[error("more than {FIELDS_MAX} fields")]
    Fields,
    /// A value that its field does not allow.
    #[error("{0} has a value that is not allowed")]
    Value(&'static str),
}

/// Appends a number.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field with a number; nothing for 0.
pub fn field_number(out: &mut Vec<u8>, tag: u64, value: u64) {
    if value == 0 {
        return;
    }
    let bits = u64::from(value.ilog2()).saturating_add(1);
    number(out, tag);
    number(out, bits.div_ceil(7));
    number(out, value);
}

/// Appends a field with a signed number; nothing for 0.
pub fn field_signed(out: &mut Vec<u8>, tag: u64, value: i64) {
    field_number(out, tag, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends a field with bytes; nothing where they are empty.
pub fn field_bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    if !value.is_empty() {
        field_part(out, tag, value);
    }
}

/// Appends a field with bytes, also where they are empty: a part of a list.
pub fn field_part(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    number(out, tag);
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The text without what is beyond `most` bytes, cut between characters.
pub fn capped(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// What stands in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// A number that is the whole of the field.
    pub fn number(self) -> Result<u64, TlvFault> {
        let mut rest = self.0;
        let value = take_number(&mut rest)?;
        if rest.is_empty() { Ok(value) } else { Err(TlvFault::Number) }
    }

    /// A signed number that is the whole of the field.
    pub fn signed(self) -> Result<i64, TlvFault> {
        let folded = self.number()?;
        Ok((folded >> 1).cast_signed() ^ (folded & 1).cast_signed().wrapping_neg())
    }

    /// A number of at most 32 bits.
    pub fn small(self, what: &'static str) -> Result<u32, TlvFault> {
        u32::try_from(self.number()?).map_err(|_| TlvFault::Value(what))
    }

    /// The text.
    pub fn text(self) -> Result<&'a str, TlvFault> {
        std::str::from_utf8(self.0).map_err(|_| TlvFault::Text)
    }

    /// The bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Calls `take` with each field in turn.
pub fn fields<'a>(
    mut rest: &'a [u8],
    mut take: impl FnMut(u64, Value<'a>) -> Result<(), TlvFault>,
) -> Result<(), TlvFault> {
    for _ in 0..FIELDS_MAX {
        if rest.is_empty() {
            return Ok(());
        }
        let tag = take_number(&mut rest)?;
        take(tag, Value(take_part(&mut rest)?))?;
    }
    if rest.is_empty() { Ok(()) } else { Err(TlvFault::Fields) }
}

/// Takes bytes that stand behind their length off the front of `rest`.
pub fn take_part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], TlvFault> {
    let length = usize::try_from(take_number(rest)?).map_err(|_| TlvFault::Length)?;
    let (part, behind) = rest.split_at_checked(length).ok_or(TlvFault::Length)?;
    *rest = behind;
    Ok(part)
}

fn take_number(rest: &mut &[u8]) -> Result<u64, TlvFault> {
    let mut value = 0_u64;
    for shift in (0..64_u32).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or(TlvFault::Number)?;
        *rest = behind;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits.checked_shl(shift).unwrap_or_default();
        if shifted.checked_shr(shift) != Some(bits) {
            break; // more than 64 bits
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(TlvFault::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            plain in any::<u64>(), signed in any::<i64>(), bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut out = Vec::new();
            field_number(&mut out, 1, plain);
            field_signed(&mut out, 2, signed);
            field_part(&mut out, 300, &bytes);
            let (mut a, mut b, mut c) = (0, 0, None);
            fields(&out, |tag, value| {
                match tag {
                    1 => a = value.number()?,
                    2 => b = value.signed()?,
                    300 => c = Some(value.bytes().to_vec()),
                    _ => panic!("tag {tag}"),
                }
                Ok(())
            }).unwrap();
            prop_assert_eq!((a, b, c), (plain, signed, Some(bytes)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&bytes, |_, value| {
                let _ = (value.number(), value.signed(), value.text());
                Ok(())
            });
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (most, cut) in [(0, ""), (1, "a"), (2, "a"), (3, "a\u{e9}"), (9, "a\u{e9}b")] {
            assert_eq!(capped("a\u{e9}b", most), cut);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let read = |bytes: &[u8]| fields(bytes, |_, value| value.number().map(drop));
        assert_eq!(read(&[1, 2, 5]), Err(TlvFault::Length));
        assert_eq!(read(&[0x80]), Err(TlvFault::Number));
        assert_eq!(read(&[1, 2, 5, 5]), Err(TlvFault::Number));
        let wide = [[1, 10].as_slice(), &[0xff; 10]].concat();
        assert_eq!(read(&wide), Err(TlvFault::Number));
        assert_eq!(read(&[1, 1, 0].repeat(FIELDS_MAX + 1)), Err(TlvFault::Fields));
        assert_eq!(read(&[1, 1, 0].repeat(FIELDS_MAX)), Ok(()));
    }
}
