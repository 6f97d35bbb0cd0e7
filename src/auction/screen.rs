//! Which bids may take part.
//!
//! Owns: the rules that make an [`Offer`] of a bid, or a [`Rejection`], and their order. A bid
//! that breaks several rules is rejected by the first:
//!
//! 1. `id` present, no control character in an id and no more than 1,024 bytes, and not used before in
//!    this answer (the first use stands); no more than 64 domains, categories or attributes
//! 2. `impid` names an imp that this bidder was offered
//! 3. `price` is there, finite, above zero, and `cur` is one that the request allows and that has a
//!    rate; the price is under the partner's sanity cap
//! 4. the seat is allowed: by the bidder's configuration, then `wseat` and `bseat`
//! 5. the deal is one of the imp and of the bidder's (where some are configured), allows the seat and
//!    the advertiser; a private auction takes no bid without one, nor is one taken of a bidder that
//!    buys under deals alone; its `at` is one that we clear by
//! 6. the media is offered, and one that the bidder buys
//! 7. the price reaches the floor, which depends on the media and the duration (see `floor`)
//! 8. no category, advertiser or app that the request or the partner blocks or leaves out (see
//!    `block`)
//! 9. of its media: attributes, size, duration; then expiry (see `fit`)
//! 10. notices (`nurl`, `burl`, `lurl`) go to http or https, and are no longer than a notice may be,
//!     whatever stands for their macros in the end: a bid without the notices that it asks for would
//!     be one that its bidder does not know to be won, or does not pay
//! 11. markup is there, not too long, what its media says it is, and loads nothing over plain HTTP
//!     on a secure imp
//!
//! Prices and floors are compared in the auction's currency, each converted once. Conversion is
//! monotone, so a bid that reaches a floor of its own currency reaches it here too.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::block::Blocked;
use super::floor::{Ad, Floor, Floors};
use super::html::is_plain_http;
use super::offer::{Answered, BidRef, Loss, LossReason, Offer, Terms};
use super::{fit, markup, pick};
use crate::bid::{Bid, SeatBid};
use crate::domain::Host;
use crate::macros::{self, Macros};
use crate::money::{Cpm, Currency};
use crate::money_event::URL_BYTES_MAX;
use crate::negatives::rejection::Rejection;
use crate::openrtb::ids::Media;
use crate::request::{Deal, Imp, List};
use smallvec::SmallVec;
use std::collections::HashSet;

/// Answers with more bids than this have their ids looked up in a set.
const IDS_SCANNED_MAX: usize = 8;

/// Longest id of a bidder's: a macro may put it into markup as often as that has room for macros.
const ID_BYTES_MAX: usize = 1024;

/// Most entries of each list of a bid: what it lists is compared with what others list.
const LISTED_MAX: usize = 64;

/// All bids of an auction, judged.
#[derive(Debug, Default)]
pub struct Screened<'a> {
    pub offers: Vec<Offer<'a>>,
    pub losses: Vec<Loss>,
    /// Those of the losses that lack nothing that was looked at but money.
    pub short: Vec<Short>,
    pub groups: Vec<Group>,
}

/// A bid below its floor: what it would have had to reach.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    /// Index in `Screened::losses`.
    pub loss: usize,
    /// Index in `View::imps`.
    pub imp: u32,
    /// As `Offer::tier`.
    pub tier: u8,
    /// In the auction's currency.
    pub floor: Cpm,
}

/// Why a bid may not take part, and the [`Short`] of one that is below its floor: tier and floor.
struct Fall {
    why: Rejection,
    short: Option<(u8, Cpm)>,
}

impl From<Rejection> for Fall {
    fn from(why: Rejection) -> Self {
        Self { why, short: None }
    }
}

/// A `seatbid` that wins all of its imps or none (4.2.2 `group`).
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub answer: u32,
    pub seat: u32,
    /// Every imp that it bids on.
    pub imps: u64,
    /// Its bids on imps that may be dynamic pods: each of them is an ad of its own.
    pub ads: u32,
    /// One of its bids names no imp at all: it can never be complete.
    pub is_hopeless: bool,
}

/// Judges every bid of every answer.
pub fn screen<'a>(terms: &'a Terms<'a>) -> Screened<'a> {
    let mut screened = Screened::default();
    let answers = terms.input.answers;
    let blocked = Blocked::new(terms);
    screened.offers.reserve(answers.iter().map(|answered| answered.answer.bids.len()).sum());
    for (answered, answer) in answers.iter().zip(0..) {
        let mut ids = SeenIds::new(answered.answer.bids.len());
        for (seatbid, seat) in answered.answer.seats.iter().zip(0..) {
            let mut group = Group { answer, seat, imps: 0, ads: 0, is_hopeless: false };
            for (bid, number) in answered.answer.bids(seatbid).iter().zip(seatbid.bids.first..) {
                let at = BidRef { answer, seat, bid: number };
                let candidate = Candidate { terms, blocked: &blocked, answered, seatbid, bid, at };
                let imp = candidate.imp();
                match imp.map(|(index, _)| 1u64.checked_shl(index).unwrap_or(0)) {
                    Some(bit) => group.imps |= bit,
                    None => group.is_hopeless = true,
                }
                let is_ad = imp.is_some_and(|(_, imp)| pick::may_be_dynamic(imp));
                group.ads = group.ads.saturating_add(is_ad.into());
                match candidate.judge(imp, &mut ids) {
                    Ok(offer) => screened.offers.push(offer),
                    Err(fall) => screened.rejected(&candidate, imp.map(|(index, _)| index), &fall),
                }
            }
            if seatbid.is_group {
                screened.groups.push(group);
            }
        }
    }
    screened
}

impl Screened<'_> {
    fn rejected(&mut self, candidate: &Candidate<'_, '_>, imp: Option<u32>, fall: &Fall) {
        if let (Some(imp), Some((tier, floor))) = (imp, fall.short) {
            self.short.push(Short { loss: self.losses.len(), imp, tier, floor });
        }
        self.losses.push(Loss {
            at: candidate.at,
            bidder: candidate.answered.bidder,
            imp,
            reason: LossReason::Rejected(fall.why),
            min_to_win: None,
        });
    }
}

/// The bid ids of one answer so far; those of bids that have an odd one are not among them.
enum SeenIds<'a> {
    Few(SmallVec<[&'a [u8]; IDS_SCANNED_MAX]>),
    Many(HashSet<&'a [u8]>),
}

impl<'a> SeenIds<'a> {
    fn new(bids: usize) -> Self {
        if bids > IDS_SCANNED_MAX {
            Self::Many(HashSet::with_capacity(bids))
        } else {
            Self::Few(SmallVec::new())
        }
    }

    /// Whether the id was asked for before.
    fn is_repeated(&mut self, id: &'a [u8]) -> bool {
        match self {
            Self::Many(seen) => !seen.insert(id),
            Self::Few(seen) => {
                let is_there = seen.contains(&id);
                if !is_there {
                    seen.push(id);
                }
                is_there
            }
        }
    }
}

/// One bid with all that it is judged by.
#[derive(Clone, Copy)]
struct Candidate<'a, 'b> {
    terms: &'a Terms<'a>,
    blocked: &'b Blocked<'a>,
    answered: &'a Answered<'a>,
    seatbid: &'a SeatBid,
    bid: &'a Bid,
    at: BidRef,
}

impl<'a> Candidate<'a, '_> {
    /// The imp that it bids on, among those that its bidder was offered.
    fn imp(&self) -> Option<(u32, &'a Imp)> {
        let (request, impid) =
            (self.terms.input.request, self.answered.answer.text_bytes(self.bid.impid));
        let offered = |index: u32| self.answered.imps.checked_shr(index).unwrap_or(0) & 1 == 1;
        let mut imps = (0u32..).zip(&request.view.imps);
        imps.find(|(index, imp)| offered(*index) && request.text_bytes(imp.id) == impid)
    }

    /// All rules in their order.
    fn judge(&self, imp: Option<(u32, &'a Imp)>, ids: &mut SeenIds<'a>) -> Result<Offer<'a>, Fall> {
        if self.bid.is_malformed {
            return Err(Rejection::Malformed.into());
        }
        self.id(ids)?;
        self.lists()?;
        let (index, imp) = imp.ok_or(Rejection::ImpUnknown)?;
        let (price, value) = self.price()?;
        let seat = self.seat()?;
        let deal = self.deal(imp, seat)?;
        let media = self.media(imp)?;
        let tier = self.terms.pricing.tier(deal);
        let floor = self.floor(imp, media, deal)?;
        if value < floor.value {
            let below_deal = floor.is_of_deal.then_some(Rejection::BelowDealFloor);
            let why = below_deal.unwrap_or(Rejection::BelowFloor);
            return Err(Fall { why, short: Some((tier, floor.value)) });
        }
        self.blocked.judge(self.answered, self.bid)?;
        fit::judge(self.terms.input.request, imp, media, self.answered.answer, self.bid)?;
        self.notices()?;
        self.markup(imp, media)?;
        Ok(Offer {
            at: self.at,
            bidder: self.answered.bidder,
            name: self.answered.name,
            seat,
            imp: index,
            media,
            deal,
            tier,
            auction_type: deal.and_then(|deal| deal.at).unwrap_or(self.terms.auction_type),
            price,
            value,
            floor: floor.value,
            fixed: floor.fixed,
            soft: floor.soft,
            is_group: self.seatbid.is_group,
        })
    }

    /// Its `id` is there, is its own, and no id is odd.
    fn id(&self, ids: &mut SeenIds<'a>) -> Result<(), Rejection> {
        let id = self.answered.answer.text_bytes(self.bid.id);
        if id.is_empty() {
            return Err(Rejection::IdMissing);
        }
        if self.has_odd_id() {
            return Err(Rejection::IdInvalid);
        }
        if ids.is_repeated(id) { Err(Rejection::IdDuplicate) } else { Ok(()) }
    }

    /// No list of it is too long; several domains in one text are several.
    fn lists(&self) -> Result<(), Rejection> {
        let (answer, bid) = (self.answered.answer, self.bid);
        let hosts = answer.texts_bytes(bid.adomain).flat_map(Host::parts);
        let is_short = |list: List| list.len as usize <= LISTED_MAX;
        let fits = is_short(bid.cat)
            && is_short(bid.attr)
            && is_short(bid.adomain)
            && hosts.take(LISTED_MAX.saturating_add(1)).count() <= LISTED_MAX;
        if fits { Ok(()) } else { Err(Rejection::ListTooLong) }
    }

    /// Whether an id that goes on to the partner, or into the macros of a notice, is too long or has a
    /// byte that ends a line there. `impid` and `dealid` are the request's own.
    fn has_odd_id(&self) -> bool {
        let answer = self.answered.answer;
        let Bid { id, adid, cid, crid, bundle, .. } = *self.bid;
        let mut ids = [id, adid, cid, crid, bundle, self.seatbid.seat, answer.bidid].into_iter();
        let is_odd = |id: &[u8]| id.len() > ID_BYTES_MAX || id.iter().any(u8::is_ascii_control);
        ids.any(|id| is_odd(answer.text_bytes(id)))
    }

    /// Where a notice goes that somebody will call.
    fn notices(&self) -> Result<(), Rejection> {
        let answer = self.answered.answer;
        let urls = [self.bid.nurl, self.bid.burl, self.bid.lurl];
        let mut urls = urls.into_iter().map(|url| answer.text_bytes(url));
        let is_called = |url: &[u8]| {
            let starts = |scheme: &[u8]| {
                url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            };
            (starts(b"https://") || starts(b"http://"))
                && !url.iter().any(u8::is_ascii_control)
                && self.is_within(url, URL_BYTES_MAX)
        };
        let fits = urls.all(|url| url.is_empty() || is_called(url));
        if fits { Ok(()) } else { Err(Rejection::NoticeInvalid) }
    }

    /// Whether a text is at most so long, whatever stands for its macros in the end.
    fn is_within(&self, text: &[u8], most: usize) -> bool {
        let (request, answer) = (self.terms.input.request, self.answered.answer);
        let seat = self.answered.seat_name(self.seatbid);
        let Bid { impid, adid, .. } = *self.bid;
        let lengths = [request.view.id, answer.bidid, impid, adid].map(|text| text.len as usize);
        let longest = lengths.into_iter().fold(seat.len(), usize::max);
        macros::fits(text, most, longest, || Macros {
            auction_id: request.text(request.view.id),
            bid_id: answer.text(answer.bidid),
            imp_id: answer.text(impid),
            seat_id: std::str::from_utf8(seat).unwrap_or(""),
            ad_id: answer.text(adid),
            ..Macros::default()
        })
    }

    /// The price as bid and in the auction's currency.
    fn price(&self) -> Result<(Cpm, Cpm), Rejection> {
        let price = self.bid.price.ok_or(Rejection::PriceMissing)?;
        let price = Cpm::from_wire(price).ok_or(Rejection::PriceInvalid)?;
        if price == Cpm::ZERO {
            return Err(Rejection::PriceMissing);
        }
        if price < Cpm::ZERO {
            return Err(Rejection::PriceInvalid);
        }
        let currency = self.answered.answer.currency.ok_or(Rejection::CurrencyUnknown)?;
        let value = self.value(price, currency)?;
        if value <= Cpm::ZERO {
            return Err(Rejection::PriceMissing);
        }
        if self.terms.bid_max.is_some_and(|max| value > max) {
            return Err(Rejection::PriceInvalid);
        }
        Ok((price, value))
    }

    /// The price in the auction's currency, where the request's `cur` allows the bid's (3.2.1),
    /// or the bidder was told that it may bid in it.
    fn value(&self, price: Cpm, currency: Currency) -> Result<Cpm, Rejection> {
        let allowed = &self.terms.input.request.view.currencies;
        let is_own = self.answered.currency == Some(currency);
        if !allowed.is_empty() && !allowed.contains(&currency) && !is_own {
            return Err(Rejection::CurrencyUnknown);
        }
        let converted = self.terms.input.rates.convert(price, currency, self.terms.currency);
        converted.ok_or(Rejection::CurrencyUnknown)
    }

    /// The seat, where all who have a say allow it. Seats are compared byte for byte.
    fn seat(&self) -> Result<&'a [u8], Rejection> {
        let request = self.terms.input.request;
        let rules = self.answered.seats;
        let seat = self.answered.seat_name(self.seatbid);
        let is_in = |list: &[String]| list.iter().any(|entry| entry.as_bytes() == seat);
        let is_ours = (rules.allowed.is_empty() || is_in(rules.allowed)) && !is_in(rules.blocked);
        let (wseat, bseat) = (request.view.wseat, request.view.bseat);
        let is_theirs = self.is_listed(wseat, seat).unwrap_or(true)
            && !self.is_listed(bseat, seat).unwrap_or(false);
        if is_ours && is_theirs { Ok(seat) } else { Err(Rejection::SeatNotAllowed) }
    }

    /// Whether a list of the request holds the value; `None` where the list is empty.
    fn is_listed(&self, list: List, value: &[u8]) -> Option<bool> {
        let mut entries = self.terms.input.request.texts_bytes(list);
        (!list.is_empty()).then(|| entries.any(|entry| entry == value))
    }

    /// The deal that it bids under (3.2.11, 3.2.12).
    fn deal(&self, imp: &Imp, seat: &[u8]) -> Result<Option<&'a Deal>, Rejection> {
        let (id, own) = (self.answered.answer.text_bytes(self.bid.dealid), self.answered.buys);
        if id.is_empty() {
            let needs_one = imp.is_private_auction || own.is_deal_only;
            return if needs_one { Err(Rejection::DealRequired) } else { Ok(None) };
        }
        let is_own = own.deals.is_empty() || own.deals.iter().any(|one| one.as_bytes() == id);
        let deal = self.terms.deal(imp, id).filter(|_| is_own).ok_or(Rejection::DealUnknown)?;
        if deal.is_foreign {
            return Err(Rejection::DealTypeUnknown);
        }
        if self.is_listed(deal.wseat, seat) == Some(false) {
            return Err(Rejection::SeatNotAllowed);
        }
        if !self.blocked.is_in_deal(deal, self.answered, self.bid) {
            return Err(Rejection::AdvertiserNotInDeal);
        }
        Ok(Some(deal))
    }

    /// What the price has to reach.
    fn floor(&self, imp: &Imp, media: Media, deal: Option<&Deal>) -> Result<Floor, Rejection> {
        let terms = self.terms;
        let floors = Floors {
            pricing: &terms.pricing,
            imp,
            convert: |price, from| terms.input.rates.convert(price, from, terms.currency),
        };
        let size = fit::size(terms.input.request, imp, media, self.bid);
        let ad = Ad { media, size, dur: self.bid.dur };
        floors.of(ad, deal).ok_or(Rejection::CurrencyUnknown)
    }

    /// What it is: its `mtype`, else the imp's only media, else what its markup looks like.
    fn media(&self, imp: &Imp) -> Result<Media, Rejection> {
        let media = match self.bid.mtype {
            Some(mtype) => Media::from_mtype(mtype),
            None if imp.media.len() == 1 => {
                Media::ALL.into_iter().find(|media| imp.media.contains(*media))
            }
            None => markup::guess(self.answered.answer.text_bytes(self.bid.adm), imp.media),
        };
        let own = self.answered.buys.media;
        let is_bought = |media: &Media| own.is_empty() || own.contains(*media);
        let media = media.filter(|media| imp.media.contains(*media)).filter(is_bought);
        media.ok_or(Rejection::MediaMismatch)
    }

    /// The markup: there, not too long, of its kind, and secure where it must be (3.2.4 `secure`).
    fn markup(&self, imp: &Imp, media: Media) -> Result<(), Rejection> {
        let (partner, settings) = (self.terms.input.partner, self.terms.input.settings);
        let answer = self.answered.answer;
        let (adm, is_secure) = (answer.text_bytes(self.bid.adm), imp.is_secure == Some(true));
        if !answer.has_markup(self.bid) {
            if !partner.allows_nurl_markup || self.bid.nurl.is_empty() {
                return Err(Rejection::MarkupMissing);
            }
            let is_plain = is_secure && is_plain_http(answer.text_bytes(self.bid.nurl));
            return if is_plain { Err(Rejection::NotSecure) } else { Ok(()) };
        }
        let longest = match media {
            Media::Banner => settings.banner_bytes_max,
            Media::Video | Media::Audio => settings.vast_bytes_max,
            Media::Native => settings.native_bytes_max,
        };
        if !self.is_within(adm, longest) {
            return Err(Rejection::MarkupTooLarge);
        }
        let is_object = self.bid.adm_object.is_some();
        if (is_object && media != Media::Native) || !markup::is_valid(adm, media) {
            return Err(Rejection::MarkupInvalid);
        }
        if is_secure && !markup::is_secure(adm, media) {
            return Err(Rejection::NotSecure);
        }
        Ok(())
    }
}
