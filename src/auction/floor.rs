//! What a bid has to reach.
//!
//! Owns: which of the floors of a request counts. Screening asks for the floor of one bid; who is
//! invited depends on the lowest by which an imp can be bought. Never: a price that is paid.
//!
//! The first of these levels that says anything counts (implementation notes, 7.11.2): the deal
//! (`bidfloor`, `mincpmpersec`, `durfloors`), the video or the audio (`mincpmpersec`,
//! `durfloors`), the imp (`bidfloor`). Zero says nothing, but in `durfloors`. The partner's own
//! floor and that of the rule that fits (`rules`) are added to all but a deal's, which was agreed.
//!
//! - Where one level says several things, the highest counts. So it does where several ranges of
//!   `durfloors` hold a duration, which the standard leaves to us (3.2.35).
//! - For a duration outside of all `durfloors` the level's `bidfloor` counts, else the imp's.
//! - A bid without `dur` may last as long as the imp allows, so the strictest counts: the highest
//!   of the ranges that it could be in and of what lies outside of them, and the seconds of the
//!   longest ad that is allowed (of the shortest, where no longest is named).
//! - What depends on the duration is for video and audio bids: others go on to the next level.
//! - A deal of a fixed price that names it (`at` 3, `bidfloor`) has no other floor.
//! - What is found is the publisher's, and net: a bid has to reach it marked up by our margin
//!   (`pricing`).
//! - `mincpmpersec` and `durfloors` of an imp are in its `bidfloorcur` (3.2.4), a deal's in its own.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::fit;
use super::pricing::Pricing;
use super::rules::Level;
use crate::money::{Cpm, Currency};
use crate::openrtb::ids::{AuctionType, Media};
use crate::request::stream::{ByDuration, Stream};
use crate::request::{Deal, Imp, Size, ValidRequest};

/// The floors of one imp, and the currency that they are compared in.
#[derive(Debug)]
pub struct Floors<'a, C> {
    pub pricing: &'a Pricing<'a>,
    pub imp: &'a Imp,
    /// A price of a currency in the one that is compared in; `None` where a rate is missing.
    pub convert: C,
}

/// What one bid has to reach.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    pub value: Cpm,
    pub is_of_deal: bool,
    /// The price that a deal of type 3 fixes.
    pub fixed: Option<Cpm>,
    /// Below it a bid of a second-price auction pays itself, from it on at least this (`rules`).
    pub soft: Option<Cpm>,
}

/// What a floor may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Ad {
    pub media: Media,
    /// Of a banner, where it is known.
    pub size: Option<Size>,
    /// Seconds of a video or an audio, where they are known.
    pub dur: Option<u32>,
}

/// Which end counts where a duration is not known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Strictest,
    Loosest,
}

impl End {
    fn of(self, prices: impl Iterator<Item = Cpm>) -> Option<Cpm> {
        if self == Self::Strictest { prices.max() } else { prices.min() }
    }
}

/// Seconds that a creative may last, both ends included; `most` is `None` where nothing limits it.
#[derive(Clone, Copy)]
struct Span {
    least: u32,
    most: Option<u32>,
}

impl Span {
    /// Of a bid: its own duration, else what the imp allows.
    fn new(request: &ValidRequest, stream: &Stream, dur: Option<u32>) -> Self {
        if let Some(dur) = dur.filter(|dur| *dur > 0) {
            return Self { least: dur, most: Some(dur) };
        }
        let exact = request.numbers(stream.rqddurs).iter();
        let exact = exact.filter_map(|seconds| u32::try_from(*seconds).ok());
        Self {
            least: exact.clone().min().or(stream.minduration).unwrap_or(0),
            most: exact.max().or(fit::longest(stream)),
        }
    }

    fn is_known(self) -> bool {
        self.most == Some(self.least)
    }
}

/// What a level says of one bid.
#[derive(Clone, Copy)]
struct Said {
    price: Option<Cpm>,
    /// What the imp says counts too.
    or_imp: bool,
}

impl<C: Fn(Cpm, Currency) -> Option<Cpm>> Floors<'_, C> {
    /// What a bid has to reach; `None` where a rate is missing.
    pub fn of(&self, ad: Ad, deal: Option<&Deal>) -> Option<Floor> {
        self.gross(ad, deal, End::Strictest)
    }

    /// No bid of the imp, under this deal or under none, has to reach less.
    pub fn lowest(&self, deal: Option<&Deal>) -> Option<Cpm> {
        let offered = Media::ALL.into_iter().filter(|media| self.imp.media.contains(*media));
        let ads = offered.flat_map(|media| {
            let sizes = self.pricing.sizes(self.imp, media);
            sizes.map(move |size| Ad { media, size, dur: None })
        });
        let floors = ads.filter_map(|ad| self.gross(ad, deal, End::Loosest));
        floors.map(|floor| floor.value).min()
    }

    /// What is found, marked up.
    fn gross(&self, ad: Ad, deal: Option<&Deal>, end: End) -> Option<Floor> {
        let found = self.find(ad, deal, end)?;
        let rate = self.pricing.take_rate(deal);
        let gross = |price: Option<Cpm>| price.map(|price| rate.mark_up(price));
        let (fixed, soft) = (gross(found.fixed), gross(found.soft));
        Some(Floor { value: rate.mark_up(found.value), fixed, soft, ..found })
    }

    fn find(&self, ad: Ad, deal: Option<&Deal>, end: End) -> Option<Floor> {
        let Ad { media, size, dur } = ad;
        let stream = self.imp.stream(media);
        let span = stream.map(|stream| Span::new(self.pricing.request, stream, dur));
        let level = self.pricing.rules.of(media, size);
        let least = self.least(level)?;
        if let Some(deal) = deal {
            let flat = self.price(deal.bidfloor, deal.bidfloorcur)?;
            if let (Some(price), Some(AuctionType::Fixed)) = (flat, deal.at) {
                return Some(Floor { value: price, is_of_deal: true, fixed: flat, soft: None });
            }
            let said = self.said(flat, deal.bidfloorcur, &deal.floors, span, end)?;
            if let Some(value) = self.among(said, least, end)? {
                let is_of_deal = said.price == Some(value);
                return Some(Floor { value, is_of_deal, fixed: None, soft: None });
            }
        }
        let own = match stream {
            Some(stream) => self.said(None, self.imp.bidfloorcur, &stream.floors, span, end)?,
            None => Said { price: None, or_imp: false },
        };
        let value = match self.among(own, least, end)? {
            Some(value) => value.max(least),
            None => self.imps(least)?,
        };
        let soft = match level.filter(|_| deal.is_none()) {
            Some(Level { soft: Some(soft), currency, .. }) => (self.convert)(soft, currency),
            _ => None,
        };
        Some(Floor { value, is_of_deal: false, fixed: None, soft })
    }

    /// The partner's own floor, or that of a rule.
    fn least(&self, level: Option<Level>) -> Option<Cpm> {
        let partner = self.pricing.partner;
        let own = (self.convert)(partner.floor, partner.currency)?;
        let Some(Level { floor, currency, .. }) = level else { return Some(own) };
        Some(own.max((self.convert)(floor, currency)?))
    }

    /// What the imp itself says.
    fn imps(&self, least: Cpm) -> Option<Cpm> {
        let own = (self.convert)(self.imp.bidfloor, self.imp.bidfloorcur)?;
        Some(own.max(least))
    }

    /// What of a level counts; the inner `None`: it says nothing.
    #[expect(clippy::option_option, reason = "a missing rate is not a level that is silent")]
    fn among(&self, said: Said, least: Cpm, end: End) -> Option<Option<Cpm>> {
        let imps = if said.or_imp { Some(self.imps(least)?) } else { None };
        Some(end.of(said.price.into_iter().chain(imps)))
    }

    /// A price that is not zero; the outer `None`: a rate is missing.
    #[expect(clippy::option_option, reason = "as above")]
    fn price(&self, price: Cpm, currency: Currency) -> Option<Option<Cpm>> {
        if price <= Cpm::ZERO { Some(None) } else { (self.convert)(price, currency).map(Some) }
    }

    /// What a level says of a bid that may last `span`; `flat` is its `bidfloor`.
    fn said(
        &self,
        flat: Option<Cpm>,
        currency: Currency,
        floors: &ByDuration,
        span: Option<Span>,
        end: End,
    ) -> Option<Said> {
        let Some(span) = span else { return Some(Said { price: flat, or_imp: false }) };
        let seconds = match end {
            End::Strictest => span.most.unwrap_or(span.least),
            End::Loosest => span.least,
        };
        let by_second = self.price(floors.per_second.over(seconds), currency)?;
        let ranges = self.pricing.request.dur_floors(floors.ranges);
        let fitting = ranges.iter().filter(|range| {
            span.least <= range.most && span.most.is_none_or(|most| range.least <= most)
        });
        let in_range = match end.of(fitting.map(|range| range.bidfloor)) {
            Some(price) => Some((self.convert)(price, currency)?),
            None => None,
        };
        let leaves_some = in_range.is_none() || !span.is_known();
        Some(Said {
            price: [flat, by_second, in_range].into_iter().flatten().max(),
            or_imp: !ranges.is_empty() && leaves_some && flat.or(by_second).is_none(),
        })
    }
}
