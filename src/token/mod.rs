//! Tokens in the URLs of our own notices: what happened to which sale, signed.
//!
//! Owns: [`Claims`], what a token says, and [`Invalid`], why one does not count. Never: a clock, an
//! answer to whoever brought it. Invariant: what [`keys::Keys::accept`] gives was written by
//! [`keys::Keys::issue`] of a process that had the same key, and nothing in it was changed.
//!
//! This file is the folder's vocabulary; it imports none of its children.

pub mod issuer;
pub mod keys;
mod layout;

use crate::money::Cpm;
use crate::money::multiplier::Multiplier;
use crate::money_event::{Amount, EventType, MoneyEvent, SaleId, URL_BYTES_MAX};
use std::time::Duration;

/// Longest of each text in a token (ids, names); longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 256;

/// Clocks of two machines may differ by so much.
pub const SKEW: Duration = Duration::from_secs(300);

/// Longest token, in characters: the fixed part, the multiplier and the signature, seven lengths, six
/// texts and a URL, in base64 without padding.
pub const TOKEN_CHARS_MAX: usize = (layout::FIXED_BYTES
    + layout::MULTIPLIER_BYTES
    + keys::TAG_BYTES
    + 7 * 2
    + 6 * TEXT_BYTES_MAX
    + URL_BYTES_MAX)
    .div_ceil(3)
    * 4;

/// Shortest, likewise: without a multiplier and a text.
pub const TOKEN_CHARS_MIN: usize =
    ((layout::FIXED_BYTES + keys::TAG_BYTES + 7 * 2) * 4).div_ceil(3);

/// What a token says: everything that its [`MoneyEvent`] will, but for what the upstream adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    pub event: EventType,
    pub sale: SaleId,
    pub auction_id: &'a str,
    pub imp_id: &'a str,
    /// Names of ours.
    pub partner: &'a str,
    pub bidder: &'a str,
    pub seat: &'a str,
    pub deal: &'a str,
    /// What the bidder pays, and what the partner gets.
    pub gross: Amount,
    pub net: Amount,
    /// How many impressions were sold at these prices.
    pub multiplier: Multiplier,
    /// The least bid that would have tied with the next one in our auction, in `gross`'s currency.
    pub min_to_win: Option<Cpm>,
    pub generation: u64,
    /// Microseconds since the epoch: when the auction was held.
    pub auction_us: u64,
    /// Seconds since the epoch: when the token ends.
    pub expires_s: u64,
    /// The bidder's own notice of this event, outcome macros still in it; empty: none.
    pub url: &'a str,
}

impl Claims<'_> {
    /// The record of the event, without a loss's reason; `url` is the bidder's notice, resolved.
    ///
    /// The record's end is that of the time in which the token is taken: until then a repeat must be
    /// known as one.
    pub fn event(&self, received_us: u64, url: String) -> MoneyEvent {
        MoneyEvent {
            event: self.event,
            id: self.sale.event(self.event),
            auction_id: self.auction_id.to_owned(),
            imp_id: self.imp_id.to_owned(),
            partner: self.partner.to_owned(),
            bidder: self.bidder.to_owned(),
            seat: self.seat.to_owned(),
            deal: self.deal.to_owned(),
            gross: self.gross,
            net: self.net,
            multiplier: self.multiplier,
            loss_reason: 0,
            generation: self.generation,
            auction_us: self.auction_us,
            received_us,
            expires_s: self.expires_s.saturating_add(SKEW.as_secs()),
            url,
        }
    }
}

/// Why a token does not count. Whoever brought it is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalid {
    /// No base64, too short, too long, or of a version that this program does not know.
    Malformed,
    /// Signed by a key that is not (or no longer) known.
    UnknownKey,
    /// The signature is not ours.
    Forged,
    /// Its time is over.
    Expired,
    /// Its auction has not been held yet.
    Early,
}

impl Invalid {
    /// In the order of their cells.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::UnknownKey, Self::Forged, Self::Expired, Self::Early];

    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Early => "early",
        }
    }
}
