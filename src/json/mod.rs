//! One JSON document, read once, with the byte span of every value.
//!
//! Owns: how bytes become a tape with offsets ([`scratch`]), the walk over it ([`value`], and [`tour`] for who
//! looks at all of it), the names of the members that the road knows ([`key`]) and the search for keys that come twice
//! ([`unique`]). Never: what a member means.
//!
//! This file is the folder's vocabulary; it imports none of its children.
//!
//! What is one document: RFC 8259 in UTF-8, no byte order mark, nothing behind it but white
//! space, no unpaired surrogate (escaped or not), no control character inside a string.
//! An integer beyond 64 bits is read as the nearest double, so that it is only a fault where a
//! field is read that cannot hold it; a number beyond a double (`1e400`) is no JSON for us, as it
//! is for most readers behind us (RFC 8259, 6).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod key;
pub mod scratch;
pub mod tour;
pub mod unique;
pub mod value;

/// The bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not one JSON document (see the module).
    #[error("not one JSON document in UTF-8")]
    NotJson,
    /// Nested deeper than the scratch allows.
    #[error("nested too deep")]
    TooDeep,
}

/// A number as it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer of 0 and above, without sign, point and exponent.
    Unsigned(u64),
    /// A negative integer without point and exponent (or `-0`).
    Signed(i64),
    /// Anything else: finite; also an integer beyond 64 bits, as the nearest double.
    Float(f64),
}

impl Number {
    /// As a double, the nearest one.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(number) => number as f64,
            Self::Signed(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// As an integer, where it was written as one and fits.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).ok(),
            Self::Signed(number) => Some(number),
            Self::Float(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
