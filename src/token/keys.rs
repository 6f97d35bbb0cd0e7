//! The keys that sign tokens, and the check of what comes back.
//!
//! Owns: [`Keys`]. Never: where a secret is kept. Invariants: of two tokens that are not taken the
//! one takes as long to check as the other, as far as the signature is concerned; a secret is never
//! shown; whoever holds a token learns from it which event of which sale it is, by its version whether that
//! is of one impression (which the request says, too), and nothing else.
//!
//! A token is the bytes of `layout`, which name version and key, what stands behind
//! their head encrypted (AES-256 in counter mode, NIST SP 800-38A, 6.5), and HMAC-SHA256 over them as
//! they are then, cut to its first 128 bits (RFC 2104, 5), in base64url without padding. It passes
//! through the partner and the page: a signature alone would let both read what the bidder pays. The
//! first counter is a hash of the head, of which there are no two alike. A key is
//! rotated in three reloads: add the new one, sign with it, and take the old one away when its last
//! token has ended. Replicas may be a reload apart at each of these steps.

use super::{Claims, Invalid, SKEW, TOKEN_CHARS_MAX, layout};
use aws_lc_rs::cipher::{
    AES_256, AES_256_KEY_LEN, AES_CTR_IV_LEN, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a signature.
pub const TAG_BYTES: usize = 16;

/// Most keys at once: two while one is rotated, and some for what went wrong.
pub const KEYS_MAX: usize = 8;

/// A shorter secret can be guessed.
pub const SECRET_CHARS_MIN: usize = 32;

/// What derives a signing key from a secret: the same secret elsewhere signs something else.
const PURPOSE: &str = "gavel 2026 event token";
/// ... and the key that hides.
const HIDING: &str = "gavel 2026 event token, hidden part";

/// One key.
#[derive(Clone)]
pub struct Key {
    /// Stands in every token that it signs; never given to two keys.
    pub id: u8,
    secret: hmac::Key,
    hides: Arc<EncryptingKey>,
    /// For telling two keys apart without their secrets.
    print: [u8; 8],
}

/// The time, as far as it is certain: what is over, or has not come, is so by both. Since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub earliest: Duration,
    pub latest: Duration,
}

impl Now {
    /// By two clocks.
    pub fn by(one: Duration, other: Duration) -> Self {
        Self { earliest: one.min(other), latest: one.max(other) }
    }
}

impl From<Duration> for Now {
    fn from(now: Duration) -> Self {
        Self::by(now, now)
    }
}

/// The keys of one generation: the first one signs, all are taken.
#[derive(Clone, Debug)]
pub struct Keys {
    signs: Key,
    others: Vec<Key>,
}

impl Key {
    /// From a secret of [`SECRET_CHARS_MIN`] characters or more.
    ///
    /// # Panics
    /// Never: the cipher takes every key of its length.
    pub fn new(id: u8, secret: &str) -> Self {
        let derived = blake3::derive_key(PURPOSE, secret.as_bytes());
        let print = blake3::hash(&derived).as_bytes().first_chunk().copied().unwrap_or_default();
        let hides: [u8; AES_256_KEY_LEN] = blake3::derive_key(HIDING, secret.as_bytes());
        let hides = UnboundCipherKey::new(&AES_256, &hides).and_then(EncryptingKey::ctr);
        let hides = Arc::new(hides.expect("a key of the length that the cipher has"));
        Self { id, secret: hmac::Key::new(hmac::HMAC_SHA256, &derived), hides, print }
    }

    /// Hides what stands behind the head, or shows it again: the two are one. `None`: too short.
    fn turn(&self, bytes: &mut [u8]) -> Option<()> {
        let (head, rest) = bytes.split_at_mut_checked(layout::HEAD_BYTES)?;
        let counter: [u8; AES_CTR_IV_LEN] = *blake3::hash(head).as_bytes().first_chunk()?;
        let context = EncryptionContext::Iv128(counter.into());
        self.hides.less_safe_encrypt(rest, context).ok().map(drop)
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

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.signs).chain(&self.others)
    }

    /// A key of `before` whose number another secret has now: none of its tokens would be taken.
    pub fn replaced(&self, before: &Self) -> Option<u8> {
        let is_replaced = |old: &&Key| self.all().any(|new| new.id == old.id && new != *old);
        before.all().find(is_replaced).map(|old| old.id)
    }

    /// Appends a token. Never longer than [`TOKEN_CHARS_MAX`].
    pub fn issue(&self, claims: &Claims<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        layout::write(claims, self.signs.id, scratch);
        // what cannot be hidden is not written: a token that nobody takes
        if self.signs.turn(scratch).is_none() {
            return;
        }
        let tag = self.signs.tag(scratch);
        scratch.extend_from_slice(&tag);
        let at = out.len();
        out.resize(at + scratch.len().div_ceil(3) * 4, 0);
        let into = out.get_mut(at..).unwrap_or_default();
        // there is room: what padding would need is there too
        let written = URL_SAFE_NO_PAD.encode_slice(&*scratch, into).unwrap_or(0);
        out.truncate(at + written);
    }

    /// What a token says, where it is one of ours and its time has come and is not over. The claims
    /// borrow from `scratch`.
    pub fn accept<'a>(
        &self,
        token: &[u8],
        now: impl Into<Now>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Claims<'a>, Invalid> {
        let Now { earliest, latest } = now.into();
        if token.len() > TOKEN_CHARS_MAX {
            return Err(Invalid::Malformed);
        }
        scratch.clear();
        URL_SAFE_NO_PAD.decode_vec(token, scratch).map_err(|_| Invalid::Malformed)?;
        let (bytes, tag) = scratch.split_last_chunk::<TAG_BYTES>().ok_or(Invalid::Malformed)?;
        let [layout::VERSION | layout::VERSION_OF_ONE, id, ..] = bytes else {
            return Err(Invalid::Malformed);
        };
        let known = std::iter::once(&self.signs).chain(&self.others).find(|key| key.id == *id);
        // an unknown key costs as much time as a known one
        let key = known.unwrap_or(&self.signs);
        let expected = key.tag(bytes);
        let is_signed = verify_slices_are_equal(&expected, tag).is_ok();
        if known.is_none() {
            return Err(Invalid::UnknownKey);
        }
        if !is_signed {
            return Err(Invalid::Forged);
        }
        let length = bytes.len();
        scratch.truncate(length);
        key.turn(scratch).ok_or(Invalid::Malformed)?;
        let claims = layout::read(scratch).ok_or(Invalid::Malformed)?;
        if earliest.as_secs() > claims.expires_s.saturating_add(SKEW.as_secs()) {
            return Err(Invalid::Expired);
        }
        if Duration::from_micros(claims.auction_us) > latest + SKEW {
            return Err(Invalid::Early);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
