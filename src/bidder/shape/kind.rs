//! What bidders have in common that share a draft, and what of it is filled in for each.
//!
//! Owns: [`Kind`], [`Hole`], [`Fill`] and the seats that one bidder is told. Never: the rest of
//! the request.

use super::Subject;
use super::prebid::Addressed;
use crate::bidder::splice::write_string;
use crate::bidder::{Bidder, ImpSet, OpenRtbVersion, Seats};
use crate::money::Currency;
use crate::privacy::disclosure::Disclosure;
use crate::request::{Text, ValidRequest};
use std::ops::Range;

/// What becomes of `user.buyeruid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buyeruid {
    /// As far as the disclosure allows it: the bidder has no source of its own.
    #[default]
    AsItCame,
    /// The id by which the bidder knows the user, whatever stands there.
    Own(Text),
    /// Left out: the bidder has a source, and nobody has synchronised this user with it there. What
    /// stands there is somebody else's id, which it would take for one of its own (3.2.20).
    Foreign,
}

/// Bidders of one kind get one draft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    pub version: OpenRtbVersion,
    pub disclosure: Disclosure,
    /// What floors and `cur` are written in; `None`: as they came.
    pub currency: Option<Currency>,
    pub buyeruid: Buyeruid,
    pub addressed: Addressed,
    /// Whether `wseat` and `bseat` are written for each bidder.
    pub has_seats: bool,
}

impl Kind {
    /// Of one bidder, for one request.
    pub fn of(subject: &Subject<'_>, bidder: &Bidder, disclosure: Disclosure) -> Self {
        let (wire, seats) = (&bidder.wire, &bidder.seats);
        let request = subject.request;
        let source = wire.buyeruid_source.as_deref().filter(|_| disclosure.is_full());
        let addressed = Addressed::of(request, &bidder.name);
        let of_source = |source| buyeruid(request, source, addressed);
        Self {
            version: wire.version,
            disclosure,
            currency: wire.currency.filter(|own| subject.pricing.takes(*own)),
            buyeruid: source.map(of_source).unwrap_or_default(),
            // Without ids there is nothing in which drafts would differ.
            addressed: if disclosure.is_full() { addressed } else { Addressed::default() },
            has_seats: !seats.allowed.is_empty() || !seats.blocked.is_empty(),
        }
    }
}

/// By the first id of a source, which is told in any letter case.
fn buyeruid(request: &ValidRequest, source: &str, addressed: Addressed) -> Buyeruid {
    let user = &request.view.user;
    let uids = request.view.texts.get(user.eid_uids.range()).unwrap_or_default();
    let mut known = request.texts_bytes(user.eid_sources).zip(uids);
    let found =
        known.find(|(one, uid)| one.eq_ignore_ascii_case(source.as_bytes()) && !uid.is_empty());
    match found.filter(|_| !addressed.withholds(request, source.as_bytes())) {
        Some((_, uid)) => Buyeruid::Own(*uid),
        None if user.buyeruid.is_empty() => Buyeruid::AsItCame,
        None => Buyeruid::Foreign,
    }
}

/// A place of a draft that differs from bidder to bidder; the range is what stands in it.
#[derive(Clone, Debug)]
pub struct Hole {
    pub what: Filling,
    pub at: Range<usize>,
}

/// What goes into a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    Tmax,
    /// `allimps`, where it says that these are all: 0 to a bidder that is not sent them all.
    Allimps,
    /// The whole member, with the comma before it.
    Seats,
}

/// What one bidder's holes are filled from.
#[derive(Clone, Copy, Debug)]
pub struct Fill<'f> {
    pub imps: ImpSet,
    pub tmax_ms: u32,
    pub seats: &'f Seats,
}

impl Fill<'_> {
    /// Writes `wseat` or `bseat`, never both (3.2.1); `None` where no seat is left.
    ///
    /// Where either side names whom it takes, `wseat`: who is on each such list and on no other.
    /// Else `bseat`: who is on one of the other lists. Seats are compared byte for byte.
    pub fn write_seats(&self, request: &ValidRequest, out: &mut Vec<u8>) -> Option<()> {
        let (allowed, blocked) = (&self.seats.allowed, &self.seats.blocked);
        let view = &request.view;
        let is_ours = |list: &[String], seat: &str| list.iter().any(|own| own == seat);
        let is_theirs =
            |seat: &str| request.texts_bytes(view.bseat).any(|one| one == seat.as_bytes());
        let is_free = |seat: &&str| !is_theirs(seat) && !is_ours(blocked, seat);
        let ours = || allowed.iter().map(String::as_str);
        if !view.wseat.is_empty() {
            let both = |seat: &&str| allowed.is_empty() || is_ours(allowed, seat);
            let seats = request.texts(view.wseat).filter(both).filter(is_free);
            return write_list(",\"wseat\":[", seats, out);
        }
        if !allowed.is_empty() {
            return write_list(",\"wseat\":[", ours().filter(is_free), out);
        }
        let more = blocked.iter().map(String::as_str).filter(|seat| !is_theirs(seat));
        write_list(",\"bseat\":[", request.texts(view.bseat).chain(more), out)
    }
}

/// `None` where there is nothing to write.
fn write_list<'s>(
    open: &str,
    list: impl Iterator<Item = &'s str>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut lead = open;
    for seat in list {
        out.extend_from_slice(lead.as_bytes());
        write_string(seat, out);
        lead = ",";
    }
    if lead == open {
        return None;
    }
    out.push(b']');
    Some(())
}
