//! What is agreed about money with the partner of one request.
//!
//! Owns: [`Pricing`]: margin, tier, the partner's own floor and floor rules, as they hold for this
//! request.
//! Who is invited, what bidders are sent and what bids have to reach is worked out from it alone,
//! so that the three agree. Never: a price that is paid.
//!
//! A floor of the publisher's is net. What a bid has to reach, and what a bidder is told, is the
//! floor marked up by our margin ([`TakeRate::mark_up`]); under a deal only where a margin on it is
//! agreed.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::offer;
use super::rules::Ruling;
use crate::money::margin::TakeRate;
use crate::money::{Cpm, CpmPerSecond, Currency, Rates};
use crate::openrtb::ids::Media;
use crate::partner::{DealTerms, Partner};
use crate::request::{Deal, Imp, Size, ValidRequest};

/// Terms of one request.
#[derive(Clone, Copy, Debug)]
pub struct Pricing<'a> {
    pub request: &'a ValidRequest,
    pub partner: &'a Partner,
    pub rates: &'a Rates,
    pub rules: &'a Ruling<'a>,
    /// Of what is sold without a deal.
    pub open: TakeRate,
}

impl<'a> Pricing<'a> {
    /// Looks up what holds for the request.
    pub fn new(
        request: &'a ValidRequest,
        partner: &'a Partner,
        rates: &'a Rates,
        rules: &'a Ruling<'a>,
    ) -> Self {
        let publisher = request.text_bytes(request.view.inventory.publisher_id);
        Self { request, partner, rates, rules, open: partner.margin.of(publisher) }
    }

    /// What we keep of a price, under a deal or under none.
    pub fn take_rate(&self, deal: Option<&Deal>) -> TakeRate {
        let Some(deal) = deal else { return self.open };
        self.take_rate_of(self.request.text_bytes(deal.id))
    }

    /// What we keep of a price under a deal.
    pub fn take_rate_of(&self, deal: &[u8]) -> TakeRate {
        let agreed = self.partner.deals.of(deal).and_then(|term| term.take_rate);
        agreed.unwrap_or(self.partner.margin.on_deals)
    }

    /// Which offers come before which: the higher first; 0 without a deal.
    pub fn tier(&self, deal: Option<&Deal>) -> u8 {
        let Some(deal) = deal else { return 0 };
        let agreed = self.partner.deals.of(self.request.text_bytes(deal.id));
        let tier = agreed.map_or(DealTerms::TIER_DEFAULT, |term| term.tier);
        DealTerms::TIERS.saturating_sub(tier).saturating_add(1)
    }

    /// The sizes of an imp's banner that a rule may name, and `None`: the bid is of another size,
    /// or no banner.
    pub fn sizes(
        &self,
        imp: &'a Imp,
        media: Media,
    ) -> impl Iterator<Item = Option<Size>> + use<'a> {
        let is_told = media == Media::Banner && !self.rules.is_idle();
        let sizes = if is_told { self.request.sizes(imp.banner.sizes) } else { &[] };
        let is_any = sizes.is_empty()
            || imp.is_interstitial
            || imp.banner.is_ranged
            || !imp.banner.ratios.is_empty();
        sizes.iter().copied().map(Some).chain(is_any.then_some(None))
    }

    /// Whether a bid in a currency could be compared: what a bidder may be told to bid in.
    pub fn takes(&self, currency: Currency) -> bool {
        let auction = offer::currency(&self.request.view, self.partner, self.rates);
        self.rates.knows(currency) && self.rates.converts(currency, auction)
    }

    /// Whether the floors that came are sent as they came, but for their currency.
    pub fn changes_no_floor(&self) -> bool {
        self.partner.floor == Cpm::ZERO && self.open.is_none() && self.rules.is_idle()
    }

    /// A floor as a bidder is told it in the currency `to`: a bid of it reaches the floor, marked
    /// up, where both are compared in the currency of the auction.
    pub fn sent(
        &self,
        floor: Cpm,
        (from, to): (Currency, Currency),
        rate: TakeRate,
    ) -> Option<Cpm> {
        let auction = offer::currency(&self.request.view, self.partner, self.rates);
        if rate.is_none() {
            return self.rates.convert_up(floor, (from, to), auction);
        }
        let gross = rate.mark_up(self.rates.convert(floor, from, auction)?);
        self.rates.convert_up(gross, (auction, to), auction)
    }

    /// As [`Self::sent`], of a floor by the second, which keeps its currency.
    pub fn sent_by_second(
        &self,
        floor: CpmPerSecond,
        currency: Currency,
        rate: TakeRate,
    ) -> CpmPerSecond {
        let auction = offer::currency(&self.request.view, self.partner, self.rates);
        let marked = rate.mark_up_by_second(floor);
        if currency == auction {
            return marked;
        }
        // Both sides are rounded in the auction's currency too: what two of its micros are worth,
        // marked up, and two of ours, is more than that can come to.
        let two = rate.mark_up(Cpm::from_micros(2));
        let slack = self
            .rates
            .convert_up(two, (auction, currency), auction)
            .and_then(|slack| slack.checked_add(two));
        slack.map_or(marked, |slack| marked.plus(slack))
    }

    /// The least of a video or an audio that names floors of its own, as a bidder is told it in the
    /// currency `to`: the partner's floor, or that of a rule.
    pub fn sent_least(&self, media: Media, to: Currency) -> Cpm {
        let sent = |price, from| self.sent(price, (from, to), self.open).unwrap_or_default();
        let rule = self.rules.of(media, None).map(|level| sent(level.floor, level.currency));
        sent(self.partner.floor, self.partner.currency).max(rule.unwrap_or_default())
    }

    /// The `bidfloor` of an imp as a bidder is told it in the currency `to`: the highest of the
    /// publisher's, the partner's, and the lowest that rules have for what the imp offers. `None`
    /// where the imp's cannot be converted.
    pub fn sent_for(&self, imp: &Imp, to: Currency) -> Option<Cpm> {
        let sent = |price, from| self.sent(price, (from, to), self.open);
        let own = sent(imp.bidfloor, imp.bidfloorcur)?;
        let partners = sent(self.partner.floor, self.partner.currency).unwrap_or_default();
        let offered = Media::ALL.into_iter().filter(|media| imp.media.contains(*media));
        let ads = offered.flat_map(|media| self.sizes(imp, media).map(move |size| (media, size)));
        let by_rule = |(media, size)| {
            let level = self.rules.of(media, size)?;
            sent(level.floor, level.currency)
        };
        let rules = if self.rules.is_idle() {
            Cpm::ZERO
        } else {
            ads.map(|ad| by_rule(ad).unwrap_or_default()).min().unwrap_or_default()
        };
        Some(own.max(partners).max(rules))
    }
}
