//! What makes one request like another, in the eyes of a bidder.
//!
//! Owns: the three keys by which a recorded answer is looked for, from near to far.
//! Never: a judgement that depends on the run. Invariant: keys follow from the bytes alone.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Wanted;
use crate::stub::read::{Cursor, Imp, Offer};

/// How the answer to a request was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stub) enum Likeness {
    /// It is the recorded request.
    Same,
    /// The same imps, on the same site or in the same app, with the same user agent: what a request
    /// is when a recording is played again with ids of its own.
    Alike,
    /// The same formats and currencies are offered.
    Offer,
    /// Nothing was like it.
    Any,
}

/// The keys of a request, the nearest first; each is worked out when it is asked for.
pub(super) fn keys(wanted: &Wanted, body: &[u8]) -> impl Iterator<Item = (Likeness, u64)> {
    let kinds = [Likeness::Same, Likeness::Alike, Likeness::Offer];
    kinds.into_iter().map(move |kind| (kind, key(kind, wanted, body)))
}

fn key(kind: Likeness, wanted: &Wanted, body: &[u8]) -> u64 {
    match kind {
        Likeness::Same => Hash::new(1).bytes(wanted.id).end(),
        Likeness::Alike => {
            let imps = wanted.imps.iter().fold(offers(Hash::new(2), wanted), |hash, imp| {
                let deal = imp.deal.map_or(&b""[..], |deal| deal.id);
                hash.bytes(imp.id).number(imp.floor.to_bits()).bytes(deal)
            });
            let (place, agent) = surroundings(body).unwrap_or_default();
            imps.bytes(place).bytes(agent).end()
        }
        Likeness::Offer => offers(Hash::new(3), wanted).end(),
        Likeness::Any => 0,
    }
}

fn offers(hash: Hash, wanted: &Wanted) -> Hash {
    wanted.imps.iter().fold(hash.bytes(wanted.currencies), |hash, Imp { offer, .. }| {
        let number = match offer {
            Offer::Banner(w, h) => (u64::from(*w) << 32) | u64::from(*h),
            Offer::Video => 1,
            Offer::Audio => 2,
            Offer::Native => 3,
            Offer::Nothing => 4,
        };
        hash.number(number)
    })
}

/// The site's domain or page, or the app's bundle, and the user agent.
fn surroundings(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut place, mut agent) = (&b""[..], &b""[..]);
    let mut cursor = Cursor::new(body);
    cursor.object(|cursor, key| match key {
        b"site" | b"app" | b"dooh" => cursor.object(|cursor, key| match key {
            b"domain" | b"bundle" => cursor.scalar().map(|text| place = text),
            _ => cursor.skip(),
        }),
        b"device" => cursor.object(|cursor, key| match key {
            b"ua" => cursor.scalar().map(|text| agent = text),
            _ => cursor.skip(),
        }),
        _ => cursor.skip(),
    })?;
    Some((place, agent))
}

/// FNV-1a in 64 bits, mixed at the end: nobody gains by a collision here.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const fn new(kind: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ kind)
    }

    /// A text, with its end marked.
    fn bytes(self, bytes: &[u8]) -> Self {
        let step =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(step(bytes.iter().fold(self.0, step), &0xff))
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    const fn end(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}
