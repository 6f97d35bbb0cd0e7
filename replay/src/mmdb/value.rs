//! Values of MaxMind's format and their bytes.
//!
//! Owns: [`Value`], [`Section`] (the data section that grows as values are added). Never: a tree.
//! Invariant: a text or a map is written out once; every further one is a pointer to the first,
//! and a pointer never leads to another.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Double(f64),
    U16(u16),
    U32(u32),
    U64(u64),
    Bool(bool),
    Map(Vec<(&'static str, Value)>),
    Array(Vec<Value>),
}

/// Values written one behind the other.
#[derive(Debug, Default)]
pub struct Section {
    bytes: Vec<u8>,
    /// Where a value stands, by 128 bits of hash.
    seen: HashMap<(u64, u64), u32>,
}

/// A value does not fit the format: more than 16 million parts or bytes, or over 4 GiB in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data section is full")]
pub struct SectionFull;

/// Type numbers of the format; those above 7 take a second byte.
const POINTER: u8 = 1;
const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const ARRAY: u8 = 11;
const BOOL: u8 = 14;

/// A pointer takes up to five bytes: what is not longer is written again.
const SHARED_BYTES_MIN: usize = 3;

// === impl Value ===

impl Value {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn hash_into(&self, hasher: &mut DefaultHasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Text(text) => text.hash(hasher),
            Self::Double(number) => number.to_bits().hash(hasher),
            Self::U16(number) => number.hash(hasher),
            Self::U32(number) => number.hash(hasher),
            Self::U64(number) => number.hash(hasher),
            Self::Bool(flag) => flag.hash(hasher),
            Self::Map(members) => {
                members.len().hash(hasher);
                for (key, value) in members {
                    key.hash(hasher);
                    value.hash_into(hasher);
                }
            }
            Self::Array(elements) => {
                elements.len().hash(hasher);
                for element in elements {
                    element.hash_into(hasher);
                }
            }
        }
    }
}

// === impl Section ===

impl Section {
    /// Where the value stands; it is added if it is new.
    pub fn add(&mut self, value: &Value) -> Result<u32, SectionFull> {
        if let Some(at) = self.seen.get(&digest(value)) {
            return Ok(*at);
        }
        let at = self.end()?;
        self.write(value)?;
        Ok(at)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn end(&self) -> Result<u32, SectionFull> {
        u32::try_from(self.bytes.len()).map_err(|_| SectionFull)
    }

    fn write(&mut self, value: &Value) -> Result<(), SectionFull> {
        match value {
            Value::Text(text) => return self.shared(value, |section| section.text(text)),
            Value::Map(members) => return self.shared(value, |section| section.map(members)),
            Value::Array(elements) => {
                self.control(ARRAY, elements.len())?;
                return elements.iter().try_for_each(|element| self.write(element));
            }
            Value::Double(number) => {
                self.control(DOUBLE, 8)?;
                self.bytes.extend(number.to_be_bytes());
            }
            Value::U16(number) => self.unsigned(U16, &number.to_be_bytes())?,
            Value::U32(number) => self.unsigned(U32, &number.to_be_bytes())?,
            Value::U64(number) => self.unsigned(U64, &number.to_be_bytes())?,
            // the flag is the size
            Value::Bool(flag) => self.control(BOOL, usize::from(*flag))?,
        }
        Ok(())
    }

    /// Writes a value, or a pointer to where it stands already.
    fn shared(
        &mut self,
        value: &Value,
        write: impl FnOnce(&mut Self) -> Result<(), SectionFull>,
    ) -> Result<(), SectionFull> {
        let digest = digest(value);
        if let Some(at) = self.seen.get(&digest) {
            self.pointer(*at);
            return Ok(());
        }
        let at = self.end()?;
        write(self)?;
        if self.bytes.len() - at as usize > SHARED_BYTES_MIN {
            self.seen.insert(digest, at);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), SectionFull> {
        self.control(TEXT, text.len())?;
        self.bytes.extend(text.as_bytes());
        Ok(())
    }

    fn map(&mut self, members: &[(&'static str, Value)]) -> Result<(), SectionFull> {
        self.control(MAP, members.len())?;
        for (key, value) in members {
            self.write(&Value::text(key))?;
            self.write(value)?;
        }
        Ok(())
    }

    /// Big-endian without leading zeros.
    fn unsigned(&mut self, kind: u8, bytes: &[u8]) -> Result<(), SectionFull> {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        self.control(kind, bytes.len() - start)?;
        self.bytes.extend(&bytes[start..]);
        Ok(())
    }

    /// Type and size, in one to five bytes.
    fn control(&mut self, kind: u8, size: usize) -> Result<(), SectionFull> {
        let (low, rest) = match size {
            0..29 => (size, 0),
            29..285 => (29, 1),
            285..65_821 => (30, 2),
            65_821..16_843_037 => (31, 3),
            _ => return Err(SectionFull),
        };
        let low = u8::try_from(low).map_err(|_| SectionFull)?;
        if kind > MAP {
            self.bytes.extend([low, kind - MAP]);
        } else {
            self.bytes.push((kind << 5) | low);
        }
        let base = [0, 29, 285, 65_821][rest];
        let beyond = u32::try_from(size - base).map_err(|_| SectionFull)?.to_be_bytes();
        if rest > 0 {
            self.bytes.extend(&beyond[4 - rest..]);
        }
        Ok(())
    }

    /// In the shortest of its four forms; each starts where the one before it ends.
    fn pointer(&mut self, at: u32) {
        const TWO: u32 = 1 << 11;
        const THREE: u32 = TWO + (1 << 19);
        const FOUR: u32 = THREE + (1 << 27);
        let (form, offset, bits) = match at {
            0..TWO => (0, at, 2),
            TWO..THREE => (1, at - TWO, 3),
            THREE..FOUR => (2, at - THREE, 4),
            FOUR.. => (3, at, 5),
        };
        let bytes = u64::from(offset).to_be_bytes();
        let start = self.bytes.len();
        self.bytes.extend(&bytes[8 - bits..]);
        // the top byte of the offset has at most three bits, but for the longest form: none
        self.bytes[start] |= (POINTER << 5) | (form << 3);
    }
}

/// 128 bits: at millions of values, two that differ and meet are not to be expected.
fn digest(value: &Value) -> (u64, u64) {
    let half = |salt: u8| {
        // DefaultHasher::new has fixed keys: the same file on every machine
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        value.hash_into(&mut hasher);
        hasher.finish()
    };
    (half(1), half(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &[Value]) -> Vec<u8> {
        let mut section = Section::default();
        for value in values {
            section.write(value).unwrap();
        }
        section.bytes
    }

    #[test]
    fn values_are_written_as_the_format_says() {
        assert_eq!(written(&[Value::text("en")]), b"\x42en");
        assert_eq!(written(&[Value::U16(0)]), [0xa0]);
        assert_eq!(written(&[Value::U16(500)]), [0xa2, 1, 0xf4]);
        assert_eq!(written(&[Value::U32(66_051)]), [0xc3, 1, 2, 3]);
        assert_eq!(written(&[Value::U64(1)]), [1, 2, 1]);
        assert_eq!(written(&[Value::Bool(true)]), [1, 7]);
        assert_eq!(written(&[Value::Array(vec![])]), [0, 4]);
        assert_eq!(written(&[Value::Map(vec![("a", Value::U16(1))])]), b"\xe1\x41a\xa1\x01");
        assert_eq!(&written(&[Value::text(&"x".repeat(30))])[..2], [0x5d, 1]);
        assert_eq!(&written(&[Value::text(&"x".repeat(286))])[..3], [0x5e, 0, 1]);
        assert_eq!(&written(&[Value::text(&"x".repeat(65_822))])[..4], [0x5f, 0, 0, 1]);
    }

    #[test]
    fn a_second_one_is_a_pointer_of_the_shortest_form() {
        let twice = [Value::text("Berlin"), Value::text("Berlin")];
        assert_eq!(written(&twice), b"\x46Berlin\x20\x00");
        let form = |at| {
            let mut section = Section::default();
            section.pointer(at);
            section.bytes
        };
        assert_eq!(form(2_047), [0x27, 0xff]);
        assert_eq!(form(2_048), [0x28, 0, 0]);
        assert_eq!(form(526_335), [0x2f, 0xff, 0xff]);
        assert_eq!(form(526_336), [0x30, 0, 0, 0]);
        assert_eq!(form(134_744_064), [0x38, 8, 8, 8, 0]);
    }
}
