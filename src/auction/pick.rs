//! Which offers win an imp, where it may be won by several.
//!
//! Owns: [`Picked`], and what keeps an offer out that money alone would have let in. Never: the
//! order of offers (`clear`), a price.
//!
//! - Most imps have one winner: the best offer.
//! - A partner that holds an auction of its own behind ours (`multibid`) gets up to so many of the
//!   best offers for an imp, the best first. Of two with one seat and creative only the better.
//! - A dynamic pod (3.2.7 `poddur`, implementation notes 7.6) is one imp for as many ads as fit:
//!   no more than `maxseq` (or the limit in the settings), no longer in all than `poddur`. Offers
//!   are taken best first as long as they fit, which earns well and is not always the most that
//!   could be earned. A bid that does not say how long it lasts counts as the longest that it may
//!   last. All ads of a pod are of the media of the best offer that may stand there.
//! - Of one pod (a dynamic one, or the imps of one `podid`, in their order) no two ads are alike,
//!   and each place that can be told from the others is sold once: see [`super::pod`].
//! - An offer competes with a winner where it could stand in that one's place. One that is apart from
//!   another winner, or that the pod has no place for however empty it is, does not: whatever it is
//!   worth, it could not have won.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::fit;
use super::offer::{Apart, LossReason, Offer, Terms};
use super::pod::{Likeness, Places, Separation};
use crate::bid::{Bid, BidAnswer};
use crate::request::Imp;
use crate::request::stream::{Pod, Slots};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Winners, as indexes of the offers.
#[derive(Debug, Default)]
pub struct Picked {
    /// By imp, then the best first.
    pub winners: SmallVec<[usize; 8]>,
    /// What else than price keeps offers out.
    kept_out: HashMap<usize, KeptOut>,
}

/// What keeps one offer out.
#[derive(Clone, Copy, Debug)]
struct KeptOut {
    /// `None`: a higher price would have helped.
    why: Option<LossReason>,
    rivals: Rivals,
}

/// Winners of its imp in whose place an offer could stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rivals {
    All,
    One(usize),
    None,
}

impl Picked {
    /// Why an offer did not win that no higher price would have helped.
    pub fn why(&self, offer: usize) -> Option<LossReason> {
        self.kept_out.get(&offer)?.why
    }

    /// Whether an offer could stand in the place of a winner of its imp.
    pub fn competes(&self, offer: usize, winner: usize) -> bool {
        self.kept_out.get(&offer).is_none_or(|kept| match kept.rivals {
            Rivals::All => true,
            Rivals::One(only) => only == winner,
            Rivals::None => false,
        })
    }
}

/// What an imp has room for.
#[derive(Clone, Copy)]
struct Room {
    ads: usize,
    /// Seconds that are left; `None`: it does not matter how long ads last.
    seconds: Option<u32>,
    /// Of a pod; `None`: it is none.
    places: Option<Places>,
}

/// Whether an imp is one of a pod, or a whole one.
pub fn is_in_pod(imp: &Imp) -> bool {
    [&imp.video, &imp.audio].iter().any(|stream| stream.pod.is_some())
}

/// Whether an imp may be sold as a dynamic pod.
pub fn may_be_dynamic(imp: &Imp) -> bool {
    [&imp.video, &imp.audio].iter().any(|stream| stream.pod.is_some_and(|pod| pod.seconds > 0))
}

/// Whether an imp that an offer won is a dynamic pod: each of its ads is sold by itself.
pub fn is_dynamic(terms: &Terms<'_>, offer: &Offer<'_>) -> bool {
    room(terms, offer).seconds.is_some()
}

/// What offers in pods have in common: what [`pick`] is told of them, and of any part of them.
pub fn likeness<'o>(terms: &Terms<'_>, offers: &'o [Offer<'o>]) -> Likeness {
    let imps = &terms.input.request.view.imps;
    let in_pods = |offer: &&Offer<'_>| imps.get(offer.imp as usize).is_some_and(is_in_pod);
    Likeness::of(terms, offers.iter().filter(in_pods))
}

/// The winners of every imp; `rank` orders offers of one imp. `is_last`: what keeps the others out is
/// asked afterwards.
pub fn pick<'o>(
    (terms, likeness): (&Terms<'_>, &Likeness),
    (offers, is_last): (&'o [Offer<'o>], bool),
    rank: impl Fn(&Offer<'o>, &Offer<'o>) -> Ordering,
) -> Picked {
    let imps = &terms.input.request.view.imps;
    if terms.input.partner.multibid <= 1 && !imps.iter().any(is_in_pod) {
        return best_of_each(imps.len(), offers, rank);
    }
    let mut picked = Picked::default();
    let mut own: Vec<usize> = Vec::new();
    for imp in 0..u32::try_from(imps.len()).unwrap_or(u32::MAX) {
        own.clear();
        own.extend(offers.iter().enumerate().filter(|(_, one)| one.imp == imp).map(|(at, _)| at));
        own.sort_by(|one, other| match (offers.get(*one), offers.get(*other)) {
            (Some(one), Some(other)) => rank(other, one),
            _ => Ordering::Equal,
        });
        Filler { terms, likeness, offers, is_last }.fill(&own, &mut picked);
    }
    picked
}

/// The best offer of each imp.
fn best_of_each<'o>(
    imps: usize,
    offers: &'o [Offer<'o>],
    rank: impl Fn(&Offer<'o>, &Offer<'o>) -> Ordering,
) -> Picked {
    let mut best: SmallVec<[Option<usize>; 8]> = SmallVec::from_elem(None, imps);
    for (at, offer) in offers.iter().enumerate() {
        let Some(place) = best.get_mut(offer.imp as usize) else { continue };
        let leader = place.and_then(|leader: usize| offers.get(leader));
        if leader.is_none_or(|leader| rank(offer, leader) == Ordering::Greater) {
            *place = Some(at);
        }
    }
    Picked { winners: best.into_iter().flatten().collect(), ..Picked::default() }
}

/// The offers of an auction, while they are picked.
struct Filler<'f> {
    terms: &'f Terms<'f>,
    likeness: &'f Likeness,
    offers: &'f [Offer<'f>],
    is_last: bool,
}

impl Filler<'_> {
    /// Takes offers of one imp, best first, for as long as there is room.
    fn fill(&self, own: &[usize], picked: &mut Picked) {
        let terms = self.terms;
        let own = || own.iter().filter_map(|at| Some((*at, self.offers.get(*at)?)));
        let best = own()
            .map(|(_, offer)| offer)
            .find(|offer| !self.never_fits(offer) && self.apart(offer, picked).is_none());
        let mut room = best.map(|best| (room(terms, best), best.media));
        for (at, offer) in own() {
            if room.is_some_and(|(room, _)| room.ads == 0) {
                if !self.is_last {
                    return;
                }
                self.outbid((at, offer), picked);
                continue;
            }
            let left = room.and_then(|(room, media)| {
                let is_alike = room.places.is_none() || offer.media == media;
                Some((room.with(terms, offer).filter(|_| is_alike)?, media))
            });
            match (self.apart(offer, picked), left) {
                (None, Some(left)) => {
                    picked.winners.push(at);
                    room = Some(left);
                }
                (apart, _) if self.is_last => {
                    let why = Some(apart.map_or(LossReason::NoRoom, LossReason::Apart));
                    let rivals = self.rivals(offer, picked);
                    picked.kept_out.insert(at, KeptOut { why, rivals });
                }
                _ => {}
            }
        }
    }

    /// Takes note of an offer that comes when all is sold, where it is not its price alone that keeps
    /// it out of a pod.
    fn outbid(&self, (at, offer): (usize, &Offer<'_>), picked: &mut Picked) {
        let imp = self.terms.input.request.view.imps.get(offer.imp as usize);
        if !imp.is_some_and(is_in_pod) {
            return;
        }
        let rivals = self.rivals(offer, picked);
        if rivals == Rivals::All {
            return;
        }
        // a winner of its own imp it could have outbid
        let apart = self
            .winners(picked)
            .find_map(|(_, other)| self.between(offer, other).filter(|_| other.imp != offer.imp));
        let why = match apart {
            Some(apart) => Some(LossReason::Apart(apart)),
            None => self.never_fits(offer).then_some(LossReason::NoRoom),
        };
        picked.kept_out.insert(at, KeptOut { why, rivals });
    }

    /// In whose place an offer could stand, of the winners so far, which all come before it.
    fn rivals(&self, offer: &Offer<'_>, picked: &Picked) -> Rivals {
        if self.never_fits(offer) {
            return Rivals::None;
        }
        let bars = |other: &Offer<'_>| {
            let is_alike = other.imp != offer.imp || other.media == offer.media;
            let is_pod = || pod_of(self.terms, other).is_some();
            (!is_alike && is_pod()) || self.between(offer, other).is_some()
        };
        let mut barring = self.winners(picked).filter(|(_, other)| bars(other));
        match (barring.next(), barring.next()) {
            (None, _) => Rivals::All,
            (Some((at, only)), None) if only.imp == offer.imp => Rivals::One(at),
            _ => Rivals::None,
        }
    }

    /// Whether there is no room for it where nothing is sold yet.
    fn never_fits(&self, offer: &Offer<'_>) -> bool {
        room(self.terms, offer).with(self.terms, offer).is_none()
    }

    /// What keeps an offer from standing beside the winners so far.
    fn apart(&self, offer: &Offer<'_>, picked: &Picked) -> Option<Apart> {
        self.winners(picked).find_map(|(_, other)| self.between(offer, other))
    }

    fn between(&self, offer: &Offer<'_>, other: &Offer<'_>) -> Option<Apart> {
        apart((self.terms, self.likeness), offer, other)
    }

    fn winners<'p>(
        &'p self,
        picked: &'p Picked,
    ) -> impl Iterator<Item = (usize, &'p Offer<'p>)> + use<'p> {
        picked.winners.iter().filter_map(|at| Some((*at, self.offers.get(*at)?)))
    }
}

impl Room {
    /// What is left of it with an offer in it; `None`: the offer does not fit.
    fn with(self, terms: &Terms<'_>, offer: &Offer<'_>) -> Option<Self> {
        let seconds = match self.seconds {
            None => None,
            Some(left) => Some(left.checked_sub(seconds(terms, offer))?),
        };
        let places = match self.places {
            None => None,
            Some(places) => {
                let (_, bid) = bid(terms, offer)?;
                Some(places.with(Slots::of(bid.slotinpod))?)
            }
        };
        Some(Self { ads: self.ads.saturating_sub(1), seconds, places })
    }
}

/// What an imp has room for, by its best offer.
fn room(terms: &Terms<'_>, best: &Offer<'_>) -> Room {
    let input = terms.input;
    let Some(pod) = pod_of(terms, best) else {
        let ads = usize::from(input.partner.multibid.max(1));
        return Room { ads, seconds: None, places: None };
    };
    let places = Some(Places::new(pod.slots));
    if pod.seconds == 0 {
        return Room { ads: 1, seconds: None, places };
    }
    let most = input.settings.pod_ads_max;
    let ads = if pod.ads == 0 { most } else { pod.ads.min(most) };
    Room { ads: ads as usize, seconds: Some(pod.seconds), places }
}

/// The pod that an offer's imp is, or is in.
fn pod_of(terms: &Terms<'_>, offer: &Offer<'_>) -> Option<Pod> {
    terms.input.request.view.imps.get(offer.imp as usize)?.stream(offer.media)?.pod
}

/// Why two offers may not both win.
fn apart(
    (terms, likeness): (&Terms<'_>, &Likeness),
    one: &Offer<'_>,
    other: &Offer<'_>,
) -> Option<Apart> {
    let (answer, bid) = self::bid(terms, one)?;
    let (other_answer, other_bid) = self::bid(terms, other)?;
    if one.imp == other.imp {
        let is_creative = !bid.crid.is_empty()
            && (one.bidder, one.seat) == (other.bidder, other.seat)
            && answer.text_bytes(bid.crid) == other_answer.text_bytes(other_bid.crid);
        if is_creative {
            return Some(Apart::Creative);
        }
    }
    let pods = one_pod(terms, one, other)?;
    let separation = Separation::of(terms, pods);
    separation.between(likeness, (one, answer, bid), (other, other_answer, other_bid))
}

/// What both say of the pod that they are in; `None`: they are not in one.
fn one_pod(terms: &Terms<'_>, one: &Offer<'_>, other: &Offer<'_>) -> Option<[Pod; 2]> {
    let request = terms.input.request;
    let (first, second) = (pod_of(terms, one)?, pod_of(terms, other)?);
    let ids = (request.text_bytes(first.id), request.text_bytes(second.id));
    let is_one = one.imp == other.imp || (!ids.0.is_empty() && ids.0 == ids.1);
    is_one.then_some([first, second])
}

/// How long an ad lasts: as its bid says, else as long as it may.
fn seconds(terms: &Terms<'_>, offer: &Offer<'_>) -> u32 {
    let own = bid(terms, offer).and_then(|(_, bid)| bid.dur).filter(|dur| *dur > 0);
    own.unwrap_or_else(|| {
        let imp = terms.input.request.view.imps.get(offer.imp as usize);
        let stream = imp.and_then(|imp| imp.stream(offer.media));
        stream.map_or(u32::MAX, |stream| {
            let exact = terms.input.request.numbers(stream.rqddurs).iter().max();
            let exact = exact.and_then(|seconds| u32::try_from(*seconds).ok());
            exact.or(fit::longest(stream)).unwrap_or(u32::MAX)
        })
    })
}

fn bid<'a>(terms: &Terms<'a>, offer: &Offer<'_>) -> Option<(&'a BidAnswer, &'a Bid)> {
    let (answered, _, bid) = offer.at.resolve(terms.input.answers)?;
    Some((answered.answer, bid))
}
