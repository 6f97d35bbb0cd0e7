//! The words of an auction: what goes in, what is compared, what comes out.
//!
//! Owns: [`AuctionInput`], [`Offer`], [`AuctionResult`] and their parts, and [`AuctionSettings`].
//! Never: a rule. Invariant: a [`BidRef`] names one bid of one answer of the same auction.

use super::pricing::Pricing;
use super::rules::Ruling;
use crate::bid::{Bid, BidAnswer, SeatBid};
use crate::money::{Cpm, Currency, Rates};
use crate::negatives::rejection::Rejection;
use crate::openrtb::codes::loss;
use crate::openrtb::ids::{AuctionType, BidderId, Media, MediaSet};
use crate::partner::Partner;
use crate::request::{Deal, Imp, ValidRequest, View};

/// Limits of screening and clearing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuctionSettings {
    /// Longest `adm` of a banner bid, in bytes after un-escaping.
    pub banner_bytes_max: usize,
    /// Longest `adm` of a video or audio bid, in bytes after un-escaping.
    pub vast_bytes_max: usize,
    /// Longest `adm` of a native bid, in bytes after un-escaping.
    pub native_bytes_max: usize,
    /// How often an auction is run again without one incomplete group (`seatbid.group`). Past
    /// it, every group that is still in is removed at once.
    pub group_rounds_max: u32,
    /// Most ads of a dynamic pod, also where its `maxseq` is higher or absent.
    pub pod_ads_max: u32,
}

impl Default for AuctionSettings {
    fn default() -> Self {
        Self {
            banner_bytes_max: 64 << 10,
            vast_bytes_max: 512 << 10,
            native_bytes_max: 64 << 10,
            group_rounds_max: 64,
            pod_ads_max: 16,
        }
    }
}

/// Everything that decides an auction. Equal inputs give equal results.
#[derive(Clone, Copy, Debug)]
pub struct AuctionInput<'a> {
    pub request: &'a ValidRequest,
    pub partner: &'a Partner,
    pub rates: &'a Rates,
    pub rules: &'a Ruling<'a>,
    pub settings: &'a AuctionSettings,
    /// In any order: it does not change who wins what.
    pub answers: &'a [Answered<'a>],
}

/// One bidder that answered with bids.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    pub bidder: BidderId,
    /// Its configured name: ties are broken by it, so that they fall alike after a reload.
    pub name: &'a str,
    pub seats: SeatRules<'a>,
    pub buys: BuyRules<'a>,
    /// One that it may bid in whatever the request's `cur` says: its own, which it was told.
    pub currency: Option<Currency>,
    /// The imps that it was offered: bit n is `View::imps[n]`.
    pub imps: u64,
    pub answer: &'a BidAnswer,
}

/// Seats that a bidder may bid for (as configured for it).
#[derive(Clone, Copy, Debug, Default)]
pub struct SeatRules<'a> {
    /// Empty: any.
    pub allowed: &'a [String],
    pub blocked: &'a [String],
    /// What a bid without a seat counts as; else the bidder's name.
    pub default: Option<&'a str>,
}

/// What a bidder buys (as configured for it), as far as one bid can be outside of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuyRules<'a> {
    /// Deals that it may bid under; empty: any.
    pub deals: &'a [String],
    /// It buys under deals alone.
    pub is_deal_only: bool,
    /// Empty: all.
    pub media: MediaSet,
}

impl<'a> Answered<'a> {
    /// The seat that a `seatbid` counts as: its own, the configured one, or the bidder's name.
    pub fn seat_name(&self, seat: &SeatBid) -> &'a [u8] {
        match self.answer.text_bytes(seat.seat) {
            b"" => self.seats.default.unwrap_or(self.name).as_bytes(),
            named => named,
        }
    }
}

/// One bid of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BidRef {
    /// Index in `AuctionInput::answers`.
    pub answer: u32,
    /// Index in `BidAnswer::seats`.
    pub seat: u32,
    /// Index in `BidAnswer::bids`.
    pub bid: u32,
}

impl BidRef {
    /// What it names.
    pub fn resolve<'a>(
        self,
        answers: &'a [Answered<'a>],
    ) -> Option<(&'a Answered<'a>, &'a SeatBid, &'a Bid)> {
        let answered = answers.get(self.answer as usize)?;
        let seat = answered.answer.seats.get(self.seat as usize)?;
        Some((answered, seat, answered.answer.bids.get(self.bid as usize)?))
    }
}

/// A bid that may take part: in the auction's currency, with its bidder and seat.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    pub at: BidRef,
    pub bidder: BidderId,
    pub name: &'a str,
    pub seat: &'a [u8],
    /// Index in `View::imps`.
    pub imp: u32,
    pub media: Media,
    pub deal: Option<&'a Deal>,
    /// Which offers come before which, whatever their prices: a higher tier first; 0 without a
    /// deal.
    pub tier: u8,
    /// How this offer is priced: the deal's `at`, else the auction's.
    pub auction_type: AuctionType,
    /// As bid, in the answer's currency.
    pub price: Cpm,
    /// As bid, in the auction's currency.
    pub value: Cpm,
    /// What it had to reach, in the auction's currency.
    pub floor: Cpm,
    /// The price that the deal fixes, in the auction's currency.
    pub fixed: Option<Cpm>,
    /// The soft floor of the rule that fits, in the auction's currency.
    pub soft: Option<Cpm>,
    /// Its `seatbid` wins all of its imps or none.
    pub is_group: bool,
}

impl Offer<'_> {
    /// The most that it would ever pay: its bid, or the price that its deal fixes.
    pub fn worth(&self) -> Cpm {
        self.fixed.map_or(self.value, |fixed| fixed.min(self.value))
    }
}

/// What came of an auction: every bid of every answer is in exactly one of the two lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuctionResult {
    /// The currency of the auction and of our answer.
    pub currency: Currency,
    /// Of the open auction.
    pub auction_type: AuctionType,
    /// By imp, then the best first. More than one of an imp: a dynamic pod, or `multibid`.
    pub wins: Vec<Win>,
    /// By bidder, then by the bid's place in its answer.
    pub losses: Vec<Loss>,
}

/// A bid that won its imp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Win {
    pub at: BidRef,
    pub bidder: BidderId,
    /// Index in `View::imps`.
    pub imp: u32,
    pub media: Media,
    /// Whether it won under a deal; the id is the bid's `dealid`.
    pub is_deal: bool,
    /// As bid, in the answer's currency.
    pub price: Cpm,
    /// As bid, in the auction's currency.
    pub value: Cpm,
    /// What the bidder pays, in the auction's currency: `floor <= clearing <= value`.
    pub clearing: Cpm,
    /// What the bidder pays, in the answer's currency; never over `price`.
    pub clearing_in_bid_currency: Cpm,
    /// What the partner gets, in the auction's currency: `clearing` without our margin.
    pub net: Cpm,
    /// The least bid that would have tied with the next one, or the floor, in the answer's
    /// currency (4.4.1); never over `price`. `None` where a rate is missing.
    pub min_to_win: Option<Cpm>,
}

/// A bid that did not win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub at: BidRef,
    pub bidder: BidderId,
    /// Index in `View::imps`; `None` where it named none that the bidder was offered.
    pub imp: Option<u32>,
    pub reason: LossReason,
    /// The least bid that would have tied with the winner, or reached the floor where nothing won,
    /// in the answer's currency (4.4.1). `None` where more money would not have helped.
    pub min_to_win: Option<Cpm>,
}

/// Why a bid did not win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// It did not take part.
    Rejected(Rejection),
    /// Another bid of its tier was worth more, or as much and drawn first.
    HigherBid,
    /// A bid under a deal outranked it.
    Deal,
    /// It could not stand beside a winner.
    Apart(Apart),
    /// The pod has no time left for it, or not the place that it wants.
    NoRoom,
}

impl LossReason {
    /// Short stable code: metric label, log field, explanation.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.label(),
            Self::HigherBid => "lost_to_higher_bid",
            Self::Deal => "lost_to_deal",
            Self::Apart(apart) => apart.label(),
            Self::NoRoom => "no_room",
        }
    }

    /// Loss reason code of `OpenRTB` (`${AUCTION_LOSS}`, 4.4).
    pub const fn code(self) -> u16 {
        match self {
            Self::Rejected(rejection) => rejection.loss_reason(),
            Self::HigherBid | Self::NoRoom => loss::LOST_TO_HIGHER_BID,
            Self::Deal => loss::LOST_TO_DEAL,
            Self::Apart(Apart::Advertiser) => loss::CREATIVE_ADVERTISER,
            Self::Apart(Apart::Category) => loss::CREATIVE_CATEGORY,
            Self::Apart(Apart::Creative) => loss::CREATIVE_GENERAL,
        }
    }
}

/// What a bid has in common with a winner that it may not stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Apart {
    /// The pod has an ad of the advertiser.
    Advertiser,
    /// The pod has an ad of the category.
    Category,
    /// The pod has the creative, or the imp has it from the same seat.
    Creative,
}

impl Apart {
    const fn label(self) -> &'static str {
        match self {
            Self::Advertiser => "advertiser_is_there",
            Self::Category => "category_is_there",
            Self::Creative => "creative_is_there",
        }
    }
}

/// What the children of the auction work with: the input and what was found out once.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub input: &'a AuctionInput<'a>,
    pub pricing: Pricing<'a>,
    /// Of the auction and of our answer.
    pub currency: Currency,
    /// Of the open auction; never `Fixed`.
    pub auction_type: AuctionType,
    /// Over it a bid is a mistake, in the auction's currency; `None` where no rate says what that is.
    pub bid_max: Option<Cpm>,
}

/// The currency of the auction: the partner's where the request's `cur` is empty or holds it,
/// else the first of `cur` that has a rate (3.2.1).
pub fn currency(view: &View, partner: &Partner, rates: &Rates) -> Currency {
    let (own, taken) = (partner.currency, &view.currencies);
    if taken.is_empty() || taken.contains(&own) {
        return own;
    }
    let known = taken.iter().find(|currency| rates.knows(**currency));
    known.or(taken.first()).copied().unwrap_or(own)
}

impl<'a> Terms<'a> {
    /// From the input.
    ///
    /// For the currency see [`currency`]. The type is the partner's where it forces one,
    /// else the request's; `Fixed` is for deals only and counts as first price here.
    pub fn new(input: &'a AuctionInput<'a>) -> Self {
        let (partner, view) = (input.partner, &input.request.view);
        let own = partner.currency;
        let currency = currency(view, partner, input.rates);
        let auction_type = match partner.auction_type.unwrap_or(view.auction_type) {
            AuctionType::SecondPrice => AuctionType::SecondPrice,
            AuctionType::FirstPrice | AuctionType::Fixed => AuctionType::FirstPrice,
        };
        let (max, of) = partner.bid_max.map_or((Partner::BID_MAX, Currency::USD), |max| (max, own));
        // a bound, and no price: stale rates are good enough for it
        let bid_max = input.rates.convert_roughly(max, of, currency);
        let pricing = Pricing::new(input.request, partner, input.rates, input.rules);
        Self { input, pricing, currency, auction_type, bid_max }
    }

    /// The deal of an imp by its id.
    pub fn deal(&self, imp: &Imp, id: &[u8]) -> Option<&'a Deal> {
        let request = self.input.request;
        request.deals(imp.deals).iter().find(|deal| request.text_bytes(deal.id) == id)
    }
}
