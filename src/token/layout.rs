//! The bytes of a token before they are signed.
//!
//! Owns: their order. Never: a key. Invariant: one content has one form, and reading is total over
//! any bytes; a change of the order is a new [`VERSION`].
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Claims, TEXT_BYTES_MAX};
use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, Currency};
use crate::money_event::{Amount, EventType, SaleId, URL_BYTES_MAX};
use crate::tlv::capped;

/// The first byte; the second is the key's id.
pub const VERSION: u8 = 2;

/// The version before, without a multiplier: it is one. What has none is still written so, since while one
/// replica is newer than the other, the older one takes nothing else, and its answer is the end of an event.
pub const VERSION_OF_ONE: u8 = 1;

/// Version, key, event and sale: what stands in the clear. No two tokens have the same.
pub const HEAD_BYTES: usize = 1 + 1 + 1 + 16;

/// What stands before the texts: version, key, event, sale, two amounts (8 + 3 each), `MIN_TO_WIN`
/// (a mark and 8), generation, time and end.
pub const FIXED_BYTES: usize = HEAD_BYTES + 2 * (8 + 3) + (1 + 8) + 3 * 8;

/// Behind it, of [`VERSION`] alone.
pub const MULTIPLIER_BYTES: usize = 8;

/// Appends the bytes of a token that the key signs.
pub fn write(claims: &Claims<'_>, key: u8, out: &mut Vec<u8>) {
    let is_one = claims.multiplier == Multiplier::ONE;
    let version = if is_one { VERSION_OF_ONE } else { VERSION };
    out.extend_from_slice(&[version, key, claims.event.kind()]);
    out.extend_from_slice(&claims.sale.bits().to_le_bytes());
    for amount in [claims.gross, claims.net] {
        out.extend_from_slice(&amount.price.micros().to_le_bytes());
        out.extend_from_slice(amount.currency.as_str().as_bytes());
    }
    out.push(u8::from(claims.min_to_win.is_some()));
    out.extend_from_slice(&claims.min_to_win.unwrap_or_default().micros().to_le_bytes());
    for number in [claims.generation, claims.auction_us, claims.expires_s] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if !is_one {
        out.extend_from_slice(&claims.multiplier.micros().to_le_bytes());
    }
    let Claims { auction_id, imp_id, partner, bidder, seat, deal, .. } = claims;
    for text in [auction_id, imp_id, partner, bidder, seat, deal] {
        write_text(text, TEXT_BYTES_MAX, out);
    }
    write_text(claims.url, URL_BYTES_MAX, out);
}

fn write_text(text: &str, most: usize, out: &mut Vec<u8>) {
    let text = capped(text, most);
    let length = u16::try_from(text.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads what [`write`] wrote, to its last byte.
pub fn read(bytes: &[u8]) -> Option<Claims<'_>> {
    let mut rest = Rest(bytes);
    let [version, _key, kind] = rest.array()?;
    if version != VERSION && version != VERSION_OF_ONE {
        return None;
    }
    let mut claims = Claims {
        event: EventType::of_kind(kind)?,
        sale: SaleId::new(u128::from_le_bytes(rest.array()?)),
        gross: rest.amount()?,
        net: rest.amount()?,
        ..Claims::default()
    };
    let [has_min] = rest.array()?;
    let min = Cpm::from_micros(i64::from_le_bytes(rest.array()?));
    claims.min_to_win = (has_min == 1).then_some(min);
    for number in [&mut claims.generation, &mut claims.auction_us, &mut claims.expires_s] {
        *number = u64::from_le_bytes(rest.array()?);
    }
    if version == VERSION {
        let multiplier = Multiplier::from_micros(i64::from_le_bytes(rest.array()?));
        claims.multiplier = multiplier.filter(|multiplier| *multiplier != Multiplier::ONE)?;
    }
    let Claims { auction_id, imp_id, partner, bidder, seat, deal, url, .. } = &mut claims;
    for text in [auction_id, imp_id, partner, bidder, seat, deal, url] {
        *text = rest.text()?;
    }
    rest.0.is_empty().then_some(claims)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (found, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*found)
    }

    fn amount(&mut self) -> Option<Amount> {
        let price = Cpm::from_micros(i64::from_le_bytes(self.array()?));
        let code = self.array::<3>()?;
        let currency = Currency::parse(std::str::from_utf8(&code).ok()?)?;
        Some(Amount { price, currency })
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}
