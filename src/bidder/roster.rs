//! Who is asked to bid, and on which imps.
//!
//! Owns: [`Roster`], the index that is compiled when bidders change; [`Roster::eligible`], which
//! asks it. Never: a clock, a budget, a breaker (the desk has those).
//!
//! Invariant: each bidder of the roster ends in exactly one invitation or one reason; the reason
//! is the first dimension that failed, in this order: partner, channel, country and region, device
//! type, operating system, publisher, domain or bundle, privacy, known user, seat; then, over all imps that
//! were left to the bidder: media, size, deals, floor.
//!
//! - A request that does not say (no country, no publisher) fails allow lists and passes block
//!   lists.
//! - Sizes bind banners only: an imp that offers the bidder another medium passes. A flexible or
//!   interstitial banner without sizes passes.
//! - A bidder that is `is_deal_only` is offered only imps with a deal that it may bid on: one that it names (or any, where it names none) and whose `wseat` leaves it a seat.
//!   An imp of a private auction is offered only by such a deal to anybody.
//! - The floor that is compared with a ceiling is the lowest by which the imp can be bought, in any
//!   of its media and durations: under none of its deals, unless the auction is private; or under
//!   one of them (`auction::floor`). One that cannot be converted passes.
//! - A deal of a type that we cannot clear by is nobody's.
//! - A site is the domain that it names, or else that of its page. Where it names both, block lists judge
//!   both.
//! - Names and eid sources are compared in lower case, publishers, seats and deals as they are.

#![deny(clippy::indexing_slicing)]

mod bits;
mod index;
mod wants;

use crate::auction::floor::Floors;
use crate::auction::pricing::Pricing;
use crate::bidder::{Bidder, ImpSet, Invitation};
use crate::facts::Facts;
use crate::money::{Cpm, Currency};
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::{BidderId, Channel, Media, PartnerId};
use crate::partner::Partner;
use crate::privacy::Consent;
use crate::request::{Imp, List, ValidRequest};
use bits::{Bits, each, has};
use index::{Dimension, Places, Shelves, Table};
use wants::{Seating, Wants};

/// Limits of the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterSettings {
    /// Labels of a domain, from its end, that are compared with bidders' lists (2 to 127).
    pub domain_labels_max: usize,
}

impl Default for RosterSettings {
    fn default() -> Self {
        // Real host names have up to five.
        Self { domain_labels_max: 10 }
    }
}

/// What bidders buy, as an index.
#[derive(Debug)]
pub struct Roster {
    settings: RosterSettings,
    all: Bits,
    none: Bits,
    /// By `PartnerId`: who buys from it.
    partners: Vec<Bits>,
    channels: [Bits; Channel::ALL.len()],
    places: Places,
    devicetypes: Dimension<u8>,
    os: Dimension<String>,
    publishers: Dimension<String>,
    shelves: Shelves,
    /// Who wants users only of whom all may be told.
    consent_needed: Bits,
    /// Who wants known users only, who of them has a source of ids of its own, and by which eid
    /// source each knows them.
    matched_only: Bits,
    sourced_only: Bits,
    eid_sources: Table<String, Bits>,
    seating: Seating,
    wants: Wants,
}

/// One question to the roster.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub request: &'a ValidRequest,
    pub facts: &'a Facts,
    pub consent: Consent,
    pub partner: PartnerId,
    pub pricing: &'a Pricing<'a>,
}

/// Its answer: every bidder of the roster, in one list or the other.
#[derive(Clone, Copy, Debug)]
pub struct Roll<'a> {
    /// Ascending by bidder.
    pub invitations: &'a [Invitation],
    pub not_called: &'a [(BidderId, NotCalled)],
}

/// A worker's buffers, used again for each request.
#[derive(Debug, Default)]
pub struct RosterScratch {
    /// Who is still in.
    alive: Bits,
    /// Who passes the dimension at hand, and a part of that.
    pass: Bits,
    part: Bits,
    /// For whoever sieves imps.
    spare: (Bits, Bits),
    /// By imp of the view: for whom it is still in.
    imps: Vec<Bits>,
    fold: String,
    domain: String,
    page: String,
    invitations: Vec<Invitation>,
    not_called: Vec<(BidderId, NotCalled)>,
}

impl Roster {
    /// Builds the index; `BidderId` and `PartnerId` are the positions in these slices.
    /// Bidders beyond the 65,535th have no id and are left out.
    pub fn compile(bidders: &[Bidder], partners: &[Partner], settings: RosterSettings) -> Self {
        let bidders = bidders.get(..usize::from(u16::MAX)).unwrap_or(bidders);
        let count = bidders.len();
        let by_partner = Dimension::compile(bidders, |bidder| {
            (bidder.targeting.partners.clone(), bidder.targeting.partners_blocked.clone())
        });
        let partners = partners.iter().map(|partner| {
            let mut buyers = Bits::none(count);
            buyers.copy(by_partner.of(Some(partner.name.as_str())));
            buyers
        });
        let by_channel =
            Dimension::compile(bidders, |bidder| (bidder.targeting.channels.clone(), Vec::new()));
        Self {
            settings,
            all: Bits::of(count, |_| true),
            none: Bits::none(count),
            partners: partners.collect(),
            channels: Channel::ALL.map(|channel| {
                let mut buyers = Bits::none(count);
                buyers.copy(by_channel.of(Some(&channel)));
                buyers
            }),
            places: Places::compile(bidders),
            devicetypes: Dimension::compile(bidders, |bidder| {
                (bidder.targeting.devicetypes.clone(), Vec::new())
            }),
            os: Dimension::compile(bidders, |bidder| (bidder.targeting.os.clone(), Vec::new())),
            publishers: Dimension::compile(bidders, |bidder| {
                let targeting = &bidder.targeting;
                (targeting.publishers.clone(), targeting.publishers_blocked.clone())
            }),
            shelves: Shelves::compile(bidders),
            consent_needed: Bits::of(count, |at| {
                bidders.get(at).is_some_and(|bidder| bidder.targeting.is_consent_needed)
            }),
            matched_only: Bits::of(count, |at| {
                bidders.get(at).is_some_and(|bidder| bidder.targeting.is_matched_only)
            }),
            sourced_only: Bits::of(count, |at| {
                bidders.get(at).is_some_and(|bidder| {
                    bidder.targeting.is_matched_only && bidder.wire.buyeruid_source.is_some()
                })
            }),
            eid_sources: index::listed(bidders, |own| &own.eid_sources),
            seating: Seating::compile(bidders),
            wants: Wants::compile(bidders),
        }
    }

    /// Who is asked, on which imps, and why each other bidder is not.
    pub fn eligible<'s>(&self, ask: &Ask<'_>, scratch: &'s mut RosterScratch) -> Roll<'s> {
        scratch.begin(&self.all);
        self.sieve_request(ask, scratch);
        self.sieve_imps(ask, scratch);
        scratch.invite(ask.request.view.imps.len());
        Roll { invitations: &scratch.invitations, not_called: &scratch.not_called }
    }

    fn sieve_request(&self, ask: &Ask<'_>, scratch: &mut RosterScratch) {
        let (request, view) = (ask.request, &ask.request.view);
        let partner = self.partners.get(usize::from(ask.partner.0));
        scratch.sieve(partner.unwrap_or(&self.none), NotCalled::Partner);
        if let Some(buyers) = self.channels.get(view.channel as usize) {
            scratch.sieve(buyers, NotCalled::Channel);
        }
        if !self.places.is_idle() {
            let country = ask.facts.country;
            self.places.of(country, region(ask), &mut scratch.pass);
            scratch.sieve_pass(NotCalled::Country);
        }
        if !self.devicetypes.is_idle() {
            let buyers = self.devicetypes.of(ask.facts.devicetype.as_ref());
            scratch.sieve(buyers, NotCalled::DeviceType);
        }
        if !self.os.is_idle() {
            let own = request.text(view.device.os);
            let known = ask.facts.device.as_ref().and_then(|device| device.os.as_deref());
            fold(if own.is_empty() { known.unwrap_or_default() } else { own }, &mut scratch.fold);
            let buyers = self.os.of(Some(scratch.fold.as_str()));
            scratch.sieve(buyers, NotCalled::Os);
        }
        if !self.publishers.is_idle() {
            let publisher = request.text(view.inventory.publisher_id);
            scratch.sieve(self.publishers.of(Some(publisher)), NotCalled::Publisher);
        }
        if !self.shelves.is_idle() {
            let (site, page) = request.sites();
            fold(site.text(), &mut scratch.domain);
            fold(page.text(), &mut scratch.page);
            fold(request.text(view.inventory.bundle), &mut scratch.fold);
            let labels_max = self.settings.domain_labels_max;
            let domains = (scratch.domain.as_str(), scratch.page.as_str());
            let names = (domains, scratch.fold.as_str());
            self.shelves.of(names, labels_max, &mut scratch.pass, &mut scratch.part);
            scratch.sieve_pass(NotCalled::Inventory);
        }
        self.sieve_user(ask, scratch);
        let has_seats = !view.wseat.is_empty() || !view.bseat.is_empty();
        if has_seats || !self.seating.is_idle() {
            let wanted = (!view.wseat.is_empty()).then(|| texts(request, view.wseat));
            self.seating.of(wanted, &texts(request, view.bseat), &mut scratch.pass);
            scratch.sieve_pass(NotCalled::Seat);
        }
    }

    fn sieve_user(&self, ask: &Ask<'_>, scratch: &mut RosterScratch) {
        let user = &ask.request.view.user;
        let (allows_ids, is_known) = (ask.consent.allows_ids(), !user.buyeruid.is_empty());
        if !allows_ids && !self.consent_needed.is_empty() {
            scratch.pass.copy(&self.all);
            scratch.pass.remove(&self.consent_needed);
            scratch.sieve_pass(NotCalled::Privacy);
        }
        // A `buyeruid` says nothing to whoever has a source of its own: it is not sent there.
        let strangers =
            if allows_ids && is_known { &self.sourced_only } else { &self.matched_only };
        if strangers.is_empty() {
            return;
        }
        scratch.part.copy(strangers);
        if allows_ids {
            for source in ask.request.texts(user.eid_sources) {
                fold(source, &mut scratch.fold);
                if let Some(bidders) = self.eid_sources.get(scratch.fold.as_str()) {
                    scratch.part.remove(bidders);
                }
            }
        }
        scratch.pass.copy(&self.all);
        scratch.pass.remove(&scratch.part);
        scratch.sieve_pass(NotCalled::UnmatchedUser);
    }

    /// Sieves imp by imp; a bidder is out when none is left to it.
    fn sieve_imps(&self, ask: &Ask<'_>, scratch: &mut RosterScratch) {
        let imps = &ask.request.view.imps[..];
        scratch.open_imps(imps.len());
        let wants = &self.wants;
        scratch.sieve_each(imps, NotCalled::Media, |imp, pass, _| {
            wants.add_media(|media| imp.media.contains(media), pass);
        });
        if wants.has_sizes() {
            scratch.sieve_each(imps, NotCalled::Size, |imp, pass, _| {
                self.of_size(ask.request, imp, pass);
            });
        }
        let has_deals = imps.iter().any(|imp| !imp.deals.is_empty() || imp.is_private_auction);
        if has_deals || !wants.deal_only.is_empty() {
            scratch.sieve_each(imps, NotCalled::DealOnly, |imp, pass, spare| {
                self.of_deals(ask.request, imp, pass, spare);
            });
        }
        if wants.has_ceilings() {
            scratch.sieve_each(imps, NotCalled::FloorCeiling, |imp, pass, _| {
                pass.add(&self.all);
                if let Some(out) = wants.priced_out(Self::lowest_floor(ask, imp)) {
                    pass.remove(out);
                }
            });
        }
    }

    fn of_size(&self, request: &ValidRequest, imp: &Imp, pass: &mut Bits) {
        let sizes = request.sizes(imp.banner.sizes);
        let is_flexible = imp.banner.is_ranged || !imp.banner.ratios.is_empty();
        if !imp.media.contains(Media::Banner) || is_flexible || sizes.is_empty() {
            pass.add(&self.all);
            return;
        }
        let is_other = |media| media != Media::Banner && imp.media.contains(media);
        self.wants.add_media(is_other, pass);
        self.wants.add_sizes(sizes.iter().map(|size| (size.w, size.h)), pass);
    }

    fn of_deals(
        &self,
        request: &ValidRequest,
        imp: &Imp,
        pass: &mut Bits,
        (buyers, seated): &mut (Bits, Bits),
    ) {
        if !imp.is_private_auction {
            pass.add(&self.all);
            pass.remove(&self.wants.deal_only);
        }
        for deal in request.deals(imp.deals).iter().filter(|deal| !deal.is_foreign) {
            self.wants.of_deal(request.text(deal.id), buyers);
            if !deal.wseat.is_empty() {
                let wanted = Some(texts(request, deal.wseat));
                self.seating.of(wanted, &std::iter::empty(), seated);
                buyers.keep(seated);
            }
            pass.add(buyers);
        }
    }

    /// The lowest price, in USD, by which the imp can be bought.
    fn lowest_floor(ask: &Ask<'_>, imp: &Imp) -> Cpm {
        let rates = ask.pricing.rates;
        let usd =
            |floor, currency| rates.convert(floor, currency, Currency::USD).unwrap_or_default();
        let convert = |floor, currency| Some(usd(floor, currency));
        let floors = Floors { pricing: ask.pricing, imp, convert };
        let deals = ask.request.deals(imp.deals).iter().filter(|deal| !deal.is_foreign);
        let open = (!imp.is_private_auction).then_some(None);
        let offers = deals.map(Some).chain(open);
        offers.filter_map(|deal| floors.lowest(deal)).min().unwrap_or_default()
    }
}

impl RosterScratch {
    fn begin(&mut self, all: &[u64]) {
        self.alive.copy(all);
        self.invitations.clear();
        self.not_called.clear();
    }

    /// Takes those out that are not in `pass`.
    fn sieve(&mut self, pass: &[u64], reason: NotCalled) {
        let Self { alive, not_called, .. } = self;
        alive.sift(pass, |index| not_called.push((BidderId(narrow(index)), reason)));
    }

    /// As [`Self::sieve`], by `self.pass`.
    fn sieve_pass(&mut self, reason: NotCalled) {
        let Self { alive, pass, not_called, .. } = self;
        alive.sift(pass, |index| not_called.push((BidderId(narrow(index)), reason)));
    }

    /// Every imp is in for everybody that is.
    fn open_imps(&mut self, count: usize) {
        if self.imps.len() < count {
            self.imps.resize(count, Bits::default());
        }
        self.imps.iter_mut().take(count).for_each(|imp| imp.copy(&self.alive));
    }

    /// Sieves each imp by what `who` adds to an empty set (the other two are spare), and then
    /// everybody by what is left of all imps.
    fn sieve_each(
        &mut self,
        imps: &[Imp],
        reason: NotCalled,
        who: impl Fn(&Imp, &mut Bits, &mut (Bits, Bits)),
    ) {
        let words = self.alive.len();
        let mut left = std::mem::take(&mut self.part);
        let mut spare = std::mem::take(&mut self.spare);
        left.clear(words);
        for (imp, own) in imps.iter().zip(&mut self.imps) {
            self.pass.clear(words);
            who(imp, &mut self.pass, &mut spare);
            own.keep(&self.pass);
            left.add(own);
        }
        self.sieve(&left, reason);
        (self.part, self.spare) = (left, spare);
    }

    /// Invites who is left.
    fn invite(&mut self, count: usize) {
        let Self { alive, imps, invitations, .. } = self;
        each(alive, |index| {
            let mut set = ImpSet::default();
            for (at, imp) in imps.iter().take(count).enumerate() {
                if has(imp, index) {
                    set.insert(at);
                }
            }
            invitations.push(Invitation { bidder: BidderId(narrow(index)), imps: set });
        });
    }
}

/// A bidder's index; `compile` takes no more than fit.
fn narrow(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The region, without a country's prefix (`US-CA`): the request's, else the address's where that
/// is in the country that pretargeting goes by.
fn region<'a>(ask: &Ask<'a>) -> &'a str {
    let own = ask.request.text(ask.request.view.device.region);
    if !own.is_empty() {
        return own.split_once('-').map_or(own, |(_, region)| region);
    }
    let geo = ask.facts.geo.as_deref().filter(|geo| geo.country == ask.facts.country);
    geo.and_then(|geo| geo.region.as_deref()).unwrap_or_default()
}

/// The strings of a list, as an iterator that can be asked again.
fn texts(request: &ValidRequest, list: List) -> impl Iterator<Item = &str> + Clone {
    let texts = request.view.texts.get(list.range()).unwrap_or_default();
    texts.iter().map(|text| request.text(*text))
}

fn fold(text: &str, out: &mut String) {
    out.clear();
    out.push_str(text);
    out.make_ascii_lowercase();
}

#[cfg(test)]
mod tests;
