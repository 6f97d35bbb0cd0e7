//! Writes what one bidder is sent: the request's own bytes, edited.
//!
//! Owns: the declared edit set (the table), and [`Shaper`], which shapes one request for each of
//! its bidders. Never: a parse, a rewrite of what is not in the table, a decision on who is
//! called.
//!
//! Invariant: what is outside the edit set is byte-identical to what came in; no object of the
//! output has a key twice that the input did not have twice; a value that moves is copied.
//!
//! | where | edit |
//! |---|---|
//! | `imp` | elements that this bidder is not offered, and refused ones, are left out |
//! | `bidfloor` and `mincpmpersec` anywhere in `imp` | one that has more decimals than prices (six, and nine a second) and would be rounded down is rounded up: a bid must reach what came |
//! | `imp[].bidfloor` | raised to the partner's floor and marked up by our margin ([`Pricing::sent`]), in the imp's own `bidfloorcur`, rounded up, where that is higher and can be converted; inserted where absent |
//! | `bidfloor` and `mincpmpersec` in `imp[].video`, `imp[].audio` (their `durfloors`) and `imp[].pmp.deals[]` | marked up by our margin where there is one: on deals only where it is agreed. Those of `durfloors` of a video or an audio are raised to the partner's floor and that of rules, too, and where it has a `mincpmpersec` and no `durfloors`, one for all durations is put beside it: buyers look at these before the imp's `bidfloor`. The rest of these objects is copied |
//! | `imp[].banner`, `.video`, `.audio`, `.native` | left out where the partner may not sell that |
//! | `imp[].bidfloor`, `imp[].bidfloorcur` | for a bidder with a `currency` of its own: both in that, rounded up, where there is a floor and it can be converted. An imp with floors by duration keeps its currency, which is theirs, too, and `pmp.deals[]` keep theirs |
//! | `imp[].secure` | 1 where absent or `null`, for a partner whose inventory is `secure`; such an imp is screened as secure, too |
//! | `tmax` | replaced or inserted: what this bidder has |
//! | `allimps` | 0 instead of any other value where an element of `imp` is left out |
//! | `cur` | for a bidder with a `currency` of its own: replaced or inserted, that and those of the request (where it names none: the partner's) |
//! | `wseat`, `bseat` | for a bidder with configured seats, one of them instead of what came (see below) |
//! | `at` | replaced or inserted where the partner forces another type |
//! | `bcat`, `badv`, `bapp` | the partner's entries that are not in it yet (letter case aside) are appended; created where absent or `null`. `bcat` only where `cattax` is absent or 1 (Content Category 1.0), which the partner's list is written in, and where `acat` is empty: only one of the two may be used (3.2.1) |
//! | `device` and its `geo` | looked-up members that are absent are appended ([`Facts::device_members`], [`Facts::geo_members`]); either object is created where absent or `null` |
//! | `device.ip`, `device.ipv6` | for a partner whose users call us themselves, where neither is the public address that the user was seen at ([`Facts::address`]): that one of the two is this address, without its low bits under a strict disclosure, and the other is left out |
//! | `device.dnt`, `regs.ext.gpc` | for such a partner: 1 and "1" where the browser says so in `DNT` and `Sec-GPC`; `device`, `regs` and `regs.ext` are created for it |
//! | `user`, `user.geo`, `user.ext`, `device`, `device.geo`, `device.ext` | members dropped, reduced to their form or coarsened by the [`Disclosure`] table; an `ext` or `geo` that is no object is dropped under a strict one |
//! | `user.buyeruid` | for a bidder with a `buyeruid_source`: the first uid of the first of `user.eids` (or `user.ext.eids`) from there that is for it, else left out; never there under a strict disclosure |
//! | `ext.prebid` | `bidderconfig`, what is set for single bidders, is left out; and what the [`Disclosure`] table drops |
//! | `user.ext.prebid` | where it has `buyeruids`: `{"buyeruids":{..}}` with the member of this bidder's name (letter case aside) and nothing else; left out where there is none |
//! | `user.eids`, `user.ext.eids` | elements are left out whose source `ext.prebid.data.eidpermissions` has, where a rule of it names neither this bidder nor `*` |
//! | `source.schain` | our node is appended where the partner has one (see below) |
//! | `regs.{gdpr,us_privacy,gpp,gpp_sid}`, `user.{consent,eids}`, `source.schain`, `imp[].rwdd` | each stands once: for a 2.6 bidder there, for a 2.5 bidder in the object's `ext` (created where absent or `null`); see below |
//!
//! Else `cur` stays as it is: it is what the partner takes, and admission saw that it is known.
//!
//! **Seats.** A bid is held to the request's lists and to the bidder's (`seats.allowed`,
//! `seats.blocked`), so a bidder with lists is told what comes of both. Where the request's `wseat`
//! or `seats.allowed` names seats, `wseat`: those of them that no list forbids. Else `bseat`: the
//! request's and `seats.blocked`. Never both (3.2.1). For a bidder without lists both pass.
//!
//! **Moves.** A value in the other version's place is moved, byte for byte; `null` is taken for
//! absent. Where both places have it, the wrong one is dropped if the bytes are the same; if they
//! differ, both stay: we do not choose for the bidder. An `ext` that is no object takes nothing.
//!
//! **Supply chain** (OpenRTB SupplyChain object, "Implementation details"). Where a chain came,
//! our node goes to its end and `complete` stays as upstream wrote it. Where none came, or one
//! without a `nodes` array, we start one with `complete` 0, since we cannot vouch for who was
//! before us, or 1 where the partner owns the inventory. The node's `rid` is the request's `id`. A
//! chain that already has `schain_nodes_max` nodes is not resold. Where both `source.schain` and
//! `source.ext.schain` came, the first counts and the other is dropped. For a partner without a
//! node the chain passes as it is.

mod common;
mod draft;
mod kind;
mod lists;
mod moves;
mod node;
mod prebid;
mod schain;
mod walk;

use crate::auction::pricing::Pricing;
use crate::bidder::{Bidder, Invitation};
use crate::facts::Facts;
use crate::negatives::not_called::NotCalled;
use crate::partner::Partner;
use crate::privacy::disclosure::Disclosure;
use crate::request::ValidRequest;
use common::{Common, Spare};
use draft::Draft;
use kind::{Fill, Kind};

/// Limits of shaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeSettings {
    /// Nodes that a supply chain may have when it leaves us, ours included (1 to 100).
    pub schain_nodes_max: u32,
}

impl Default for ShapeSettings {
    fn default() -> Self {
        Self { schain_nodes_max: 20 }
    }
}

/// What all bodies of one request are made from.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub request: &'a ValidRequest,
    pub facts: &'a Facts,
    pub partner: &'a Partner,
    pub pricing: &'a Pricing<'a>,
}

/// A worker's buffers for shaping, used again for each request.
#[derive(Debug, Default)]
pub struct ShapeScratch {
    settings: ShapeSettings,
    drafts: Vec<Draft>,
    spare: Spare,
}

impl ShapeScratch {
    /// Empty buffers.
    pub fn new(settings: ShapeSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Starts on one request; nothing of the one before is left.
    pub fn begin<'a>(&'a mut self, subject: Subject<'a>) -> Shaper<'a> {
        let Self { settings, drafts, spare } = self;
        Shaper { subject, common: Common::of(&subject, *settings, spare), drafts, made: 0 }
    }
}

/// Shapes one request for one bidder after the other.
///
/// Bidders of one `Kind` (version, disclosure, ...) differ in little: in imps, `tmax` and seats.
/// The rest is done once, in a `Draft`, from which each body is copied in a few pieces.
#[derive(Debug)]
pub struct Shaper<'a> {
    subject: Subject<'a>,
    common: Common<'a>,
    drafts: &'a mut Vec<Draft>,
    /// How many of the drafts are of this request; the others only hold memory.
    made: usize,
}

impl Shaper<'_> {
    /// Appends the body for one bidder to `out`; `tmax_ms` is written as it is. `Err(Rendering)`:
    /// the chain is at its hop limit, the invitation has no imp or no seat of this request, or
    /// spans contradict each other; what `out` got is then worth nothing.
    pub fn shape(
        &mut self,
        invitation: &Invitation,
        bidder: &Bidder,
        disclosure: Disclosure,
        tmax_ms: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), NotCalled> {
        let subject = self.subject;
        let kind = Kind::of(&subject, bidder, disclosure);
        let fill = Fill { imps: invitation.imps, tmax_ms, seats: &bidder.seats };
        self.draft(&kind)
            .and_then(|draft| draft.body(subject.request, &fill, out))
            .ok_or(NotCalled::Rendering)
    }

    fn draft(&mut self, kind: &Kind) -> Option<&Draft> {
        let made = self.drafts.get(..self.made)?;
        let found = made.iter().position(|draft| draft.is_for(kind));
        let index = found.unwrap_or(self.made);
        if found.is_none() {
            if self.drafts.len() == index {
                self.drafts.push(Draft::default());
            }
            let draft = self.drafts.get_mut(index)?;
            draft.write((&self.subject, &self.common), *kind);
            self.made += 1;
        }
        self.drafts.get(index)
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
