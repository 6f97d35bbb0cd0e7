//! A database as a set of parts, small enough for ConfigMaps, and the manifest that names them.
//!
//! Owns: [`Manifest`], its format and limits; whoever writes a set uses it too. Never: a file.
//! Invariant: a [`Manifest`] that was parsed names plain files in its own folder, whose sizes add
//! up.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::{Deserialize, Serialize};

/// The manifest's name in a folder of parts.
pub const MANIFEST: &str = "manifest.json";

/// The only format so far.
pub const FORMAT: u32 = 1;

/// Longest manifest: 4,096 parts at about 200 bytes each fit.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Parts of one set: 3.6 GB of parts of 900,000 bytes.
pub const PARTS_MAX: usize = 4096;

/// What stands in `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Of the file that the parts make; `.zst` at its end: it is compressed.
    pub name: String,
    /// Counts up with each set.
    pub generation: u64,
    /// Which of the two slots the parts lie in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Of all parts together.
    pub bytes: u64,
    pub sha256: String,
    pub parts: Vec<Part>,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

/// Sets take turns, so that a new one never overwrites what the manifest in use names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    A,
    B,
}

// === impl Slot ===

impl Slot {
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

// === impl Manifest ===

impl Manifest {
    /// From the bytes of a file; the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|fault| fault.to_string())?;
        if manifest.format != FORMAT {
            return Err(format!("format {} is not {FORMAT}", manifest.format));
        }
        if manifest.parts.is_empty() || manifest.parts.len() > PARTS_MAX {
            return Err(format!("{} parts are not 1 to {PARTS_MAX}", manifest.parts.len()));
        }
        if let Some(part) = manifest.parts.iter().find(|part| !is_plain(&part.file)) {
            return Err(format!("{:?} is no plain name of a file", part.file));
        }
        let sums = manifest.parts.iter().map(|part| &part.sha256);
        if let Some(sum) = sums.chain([&manifest.sha256]).find(|sum| !is_sha256(sum)) {
            return Err(format!("{sum:?} is no sha256 in lower-case hex"));
        }
        let sizes = manifest.parts.iter().map(|part| part.bytes);
        let sum = sizes.fold(0_u64, u64::saturating_add);
        if sum != manifest.bytes {
            return Err(format!("the parts have {sum} bytes, not {}", manifest.bytes));
        }
        Ok(manifest)
    }

    /// As it is written.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// A name that cannot lead out of its folder, and that a ConfigMap takes as a key.
fn is_plain(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=253).contains(&name.len())
        && name.chars().all(is_word)
        && !name.starts_with("..")
        && name != "."
}

/// 64 digits of lower-case hex.
pub fn is_sha256(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(is_hex)
}

/// In lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a text cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}
