//! The keys that sign tokens, and the check of what comes back.
//!
//! Owns: [`Keys`]. Never: where a secret is kept. Invariants: of two tokens that are not taken the
//! one takes as long to check as the other, as far as the signature is concerned; a secret is never
//! shown.
//!
//! A token is the bytes of [`layout`](super::layout), which name version and key, and HMAC-SHA256
//! over them, cut to its first 128 bits (RFC 2104, 5), in base64url without padding. A key is
//! rotated in three reloads: add the new one, sign with it, and take the old one away when its last
//! token has ended. Replicas may be a reload apart at each of these steps.

use super::{Claims, Invalid, SKEW, TOKEN_CHARS_MAX, layout};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::time::Duration;

/// Bytes of a signature.
pub const TAG_BYTES: usize = 16;

/// Most keys at once: two while one is rotated, and some for what went wrong.
pub const KEYS_MAX: usize = 8;

/// A shorter secret can be guessed.
pub const SECRET_CHARS_MIN: usize = 32;

/// What derives a signing key from a secret: the same secret elsewhere signs something else.
const PURPOSE: &str = "gavel 2026 event token";

/// One key.
#[derive(Clone)]
pub struct Key {
    /// Stands in every token that it signs; never given to two keys.
    pub id: u8,
    secret: hmac::Key,
    /// For telling two keys apart without their secrets.
    print: [u8; 8],
}

/// The keys of one generation: the first one signs, all are taken.
#[derive(Clone, Debug)]
pub struct Keys {
    signs: Key,
    others: Vec<Key>,
}

impl Key {
    /// From a secret of [`SECRET_CHARS_MIN`] characters or more.
    pub fn new(id: u8, secret: &str) -> Self {
        let derived = blake3::derive_key(PURPOSE, secret.as_bytes());
        let print = blake3::hash(&derived).as_bytes().first_chunk().copied().unwrap_or_default();
        Self { id, secret: hmac::Key::new(hmac::HMAC_SHA256, &derived), print }
    }

    fn tag(&self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let whole = hmac::sign(&self.secret, bytes);
        whole.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.print) == (other.id, other.print)
    }
}

impl Keys {
    /// `signs` signs; tokens of `others` are taken too.
    pub fn new(signs: Key, others: Vec<Key>) -> Self {
        Self { signs, others }
    }

    /// Appends a token. Never longer than [`TOKEN_CHARS_MAX`].
    pub fn issue(&self, claims: &Claims<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        layout::write(claims, self.signs.id, scratch);
        let tag = self.signs.tag(scratch);
        scratch.extend_from_slice(&tag);
        let at = out.len();
        out.resize(at + scratch.len().div_ceil(3) * 4, 0);
        let into = out.get_mut(at..).unwrap_or_default();
        // there is room: what padding would need is there too
        let written = URL_SAFE_NO_PAD.encode_slice(&*scratch, into).unwrap_or(0);
        out.truncate(at + written);
    }

    /// What a token says, where it is one of ours and its time has come and is not over. `now` is
    /// since the epoch; the claims borrow from `scratch`.
    pub fn accept<'a>(
        &self,
        token: &[u8],
        now: Duration,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Claims<'a>, Invalid> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(Invalid::Malformed);
        }
        scratch.clear();
        URL_SAFE_NO_PAD.decode_vec(token, scratch).map_err(|_| Invalid::Malformed)?;
        let (bytes, tag) = scratch.split_last_chunk::<TAG_BYTES>().ok_or(Invalid::Malformed)?;
        let [layout::VERSION, id, ..] = bytes else { return Err(Invalid::Malformed) };
        let known = std::iter::once(&self.signs).chain(&self.others).find(|key| key.id == *id);
        // an unknown key costs as much time as a known one
        let expected = known.unwrap_or(&self.signs).tag(bytes);
        let is_signed = verify_slices_are_equal(&expected, tag).is_ok();
        if known.is_none() {
            return Err(Invalid::UnknownKey);
        }
        if !is_signed {
            return Err(Invalid::Forged);
        }
        let claims = layout::read(bytes).ok_or(Invalid::Malformed)?;
        if now.as_secs() > claims.expires_s.saturating_add(SKEW.as_secs()) {
            return Err(Invalid::Expired);
        }
        if Duration::from_micros(claims.auction_us) > now + SKEW {
            return Err(Invalid::Early);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
