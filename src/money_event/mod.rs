//! What is kept of an auction and of the events that bring money: the words of the journal.
//!
//! Owns: [`MoneyEvent`], [`AuctionRecord`], their kinds and their bytes. Never: a file, a token, a
//! clock. Invariant: an event that was written is read back the same; reading is total over any
//! bytes; we put nothing personal in here (no address, no user, no user agent). A bidder may: the URL
//! of its notice is kept as it will be called, with whatever it wrote into it.
//!
//! Bytes are fields of [`crate::tlv`], all numbers unsigned but amounts. A field that is absent is 0
//! or empty (a multiplier: 1); a reader passes over tags that it does not know. A change that an older
//! reader would misread is a new kind; but for the multiplier, since such a reader would bill nothing of
//! a new kind, and bills one impression so.
//!
//! This file is the folder's vocabulary; it imports none of its children.

pub mod codec;
pub mod shown;

use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, Currency};
use std::borrow::Cow;
use std::fmt;

/// Kinds of records in the journal, below 64 and never given twice. 0 to 7 are the journal's own.
pub mod kind {
    /// [`super::MoneyEvent`], by [`super::EventType`].
    pub const WIN: u8 = 8;
    /// See [`WIN`].
    pub const BILLING: u8 = 9;
    /// See [`WIN`].
    pub const LOSS: u8 = 10;
    /// See [`WIN`].
    pub const IMPRESSION: u8 = 11;
    /// [`super::AuctionRecord`].
    pub const AUCTION: u8 = 16;
    /// [`super::DropCount`].
    pub const DROPPED: u8 = 17;
    /// [`super::AuctionRecord`]'s counterpart in a journal of dead letters.
    pub const LETTER: u8 = 24;
    /// See [`LETTER`].
    pub const LETTER_CLOSED: u8 = 25;
}

/// Longest text of a field that came from outside (ids, seats): longer ones are cut when encoded,
/// so that no event is ever too long to be written.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Most bidders of one auction record.
pub const BIDDERS_MAX: usize = 256;

/// Longest URL of a notice (SSRF rules: 2 KiB).
pub const URL_BYTES_MAX: usize = 2048;

/// One sold bid: what its events have in common. The lowest four bits are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaleId(u128);

impl SaleId {
    /// From any 128 bits that no other sale has; the lowest four are dropped.
    pub const fn new(bits: u128) -> Self {
        Self(bits & !0xf)
    }

    /// The bits, the lowest four zero.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The id of its event of a type: an event happens once a sale.
    pub const fn event(self, event: EventType) -> EventId {
        EventId(self.0 | event.number())
    }
}

impl fmt::Display for SaleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What makes an event the same event: 128 bits that follow from its token alone (the sale, and in
/// the lowest four bits the type).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub u128);

impl EventId {
    /// The sale that it is an event of.
    pub const fn sale(self) -> SaleId {
        SaleId::new(self.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// The upstream says that the bid won its own auction (`nurl`).
    #[default]
    Win,
    /// The upstream says that the bid became billable (`burl`).
    Billing,
    /// The upstream says that the bid lost (`lurl`).
    Loss,
    /// The creative was seen to be rendered (a pixel of ours).
    Impression,
}

impl EventType {
    /// In the order of their kinds.
    pub const ALL: [Self; 4] = [Self::Win, Self::Billing, Self::Loss, Self::Impression];

    /// In an event's id.
    const fn number(self) -> u128 {
        match self {
            Self::Win => 1,
            Self::Billing => 2,
            Self::Loss => 3,
            Self::Impression => 4,
        }
    }

    /// Its kind in the journal.
    pub const fn kind(self) -> u8 {
        match self {
            Self::Win => kind::WIN,
            Self::Billing => kind::BILLING,
            Self::Loss => kind::LOSS,
            Self::Impression => kind::IMPRESSION,
        }
    }

    /// The type of a kind; `None` where the kind is no money event's.
    pub fn of_kind(kind: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.kind() == kind)
    }

    /// A word for people, files and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Billing => "billing",
            Self::Loss => "loss",
            Self::Impression => "impression",
        }
    }
}

/// A price per thousand with its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub price: Cpm,
    pub currency: Currency,
}

/// One event that money hangs on. Everything in it comes from its signed token, but for
/// `received_us` and, of a loss, its reason and price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoneyEvent {
    pub event: EventType,
    pub id: EventId,
    /// The bid request's `id`, and the `id` of the imp in it.
    pub auction_id: String,
    pub imp_id: String,
    /// Names of ours.
    pub partner: String,
    pub bidder: String,
    /// The buyer as the bidder named it, and the deal; empty where there is none.
    pub seat: String,
    pub deal: String,
    /// The bidder's side: what the bidder pays.
    pub gross: Amount,
    /// The publisher's side: what the partner gets.
    pub net: Amount,
    /// How many impressions were sold: both prices are of one of them.
    pub multiplier: Multiplier,
    /// Loss reason of the OpenRTB list; 0 where it is not a loss, or nobody said why.
    pub loss_reason: u32,
    /// Generation of the snapshot that held the auction.
    pub generation: u64,
    /// Microseconds since the epoch: when the auction was held, when the event came.
    pub auction_us: u64,
    pub received_us: u64,
    /// Seconds since the epoch: when its token ends. Until then a repeat is a duplicate; after it, a
    /// repeat is refused as expired.
    pub expires_s: u64,
    /// The bidder's own notice of it, every macro resolved; empty: it asked for none. What else is in
    /// it is the bidder's, ids of users perhaps.
    pub url: String,
}

/// What one auction was: for counts, not for money (a record may be dropped under pressure).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuctionRecord<'a> {
    /// The bid request's `id`.
    pub auction_id: Cow<'a, str>,
    /// What the HTTP request is called in its answer, in logs and traces.
    pub request_id: Cow<'a, str>,
    pub partner: Cow<'a, str>,
    /// Generation of the snapshot that held it.
    pub generation: u64,
    /// Microseconds since the epoch, when the request came; and how long the answer took.
    pub at_us: u64,
    pub took_us: u64,
    /// Imps that were valid.
    pub imps: u32,
    /// Bidders that were called, and that were not.
    pub called: u32,
    pub not_called: u32,
    /// Bids that came, and imps that were won.
    pub bids: u32,
    pub wins: u32,
    /// Label of how it ended: `won`, `no_bid`, or of the refusal.
    pub outcome: Cow<'a, str>,
    /// The parts of those that were called, or would have been but for what was so at that moment
    /// (those that never buy the like are in `not_called` alone); at most [`BIDDERS_MAX`].
    pub bidders: Vec<BidderPart<'a>>,
}

/// One bidder's part of an auction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BidderPart<'a> {
    pub bidder: Cow<'a, str>,
    /// Label of why it was not called, or gave no answer; empty where it answered.
    pub negative: Cow<'a, str>,
    /// Bids that came from it, and that won.
    pub bids: u32,
    pub wins: u32,
}

/// Auction records that were not kept, in a stretch of time: what the counts of the others lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCount {
    /// Microseconds since the epoch: behind the count before, up to this one.
    pub from_us: u64,
    pub to_us: u64,
    pub dropped: u64,
}
