//! What Prebid.js addresses to single bidders: each is told its own part, and nobody's else.
//!
//! Owns: [`Addressed`], what of it one bidder may have, and the edits that follow. Never: the rest
//! of `ext` and `user`.
//!
//! Invariant: where more than one rule speaks of a source, a bidder has its ids only if each of
//! them names it.

use super::moves::{self, Change, Moves};
use super::node::raw_key;
use super::walk::Walk;
use crate::bidder::OpenRtbVersion;
use crate::bidder::splice::Members;
use crate::privacy::disclosure::{Fate, Place};
use crate::request::prebid::{Eid, Prebid};
use crate::request::{Key, Object, ValidRequest};

/// What of it depends on the bidder, which goes by its configured name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addressed {
    /// Bit n: the ids of rule n of `Prebid::eid_rules` are not for it.
    withheld: u64,
    /// Its member of `Prebid::buyeruids`.
    buyeruid: Option<usize>,
}

impl Addressed {
    /// To a bidder of this name, in any letter case.
    pub fn of(request: &ValidRequest, bidder: &str) -> Self {
        let Prebid { buyeruids, eid_rules, .. } = &request.view.prebid;
        let is_own = |name: &[u8]| name.eq_ignore_ascii_case(bidder.as_bytes());
        let mut addressed = Self::default();
        for (rule, bit) in eid_rules.iter().zip(0..u64::BITS) {
            let is_named =
                request.texts_bytes(rule.bidders).any(|name| name == b"*" || is_own(name));
            addressed.withheld |= u64::from(!is_named) << bit;
        }
        if let Some(object) = buyeruids {
            let mut names = request.members(object).iter().map(|one| raw_key(request, one));
            addressed.buyeruid = names.position(is_own);
        }
        addressed
    }

    /// Whether the ids of a source are not for it.
    pub fn withholds(self, request: &ValidRequest, source: &[u8]) -> bool {
        let rules = request.view.prebid.eid_rules.iter().zip(0..u64::BITS);
        let mut withheld = rules.filter(|(_, bit)| self.withheld >> bit & 1 == 1);
        self.withheld != 0
            && withheld.any(|(rule, _)| {
                let of = request.text_bytes(rule.source);
                of.is_empty() || of.eq_ignore_ascii_case(source)
            })
    }

    /// The list of ids in `user` or its `ext`, without those that are not for it; `None`: as it came.
    fn eids(self, request: &ValidRequest, object: Option<&Object>) -> Option<Vec<u8>> {
        let list = request.member(object?, Key::Eids)?;
        let is_withheld = |eid: &Eid| self.withholds(request, request.text_bytes(eid.source));
        let eids = request.view.prebid.eids.iter();
        let inside = eids.filter(|eid| list.value_at <= eid.at.at && eid.at.end <= list.value_end);
        if !inside.clone().any(is_withheld) {
            return None;
        }
        let mut told = vec![b'['];
        for Eid { at, .. } in inside.filter(|eid| !is_withheld(eid)) {
            if told.len() > 1 {
                told.push(b',');
            }
            told.extend_from_slice(request.bytes().get(at.at as usize..at.end as usize)?);
        }
        told.push(b']');
        Some(told)
    }

    /// `user.ext.prebid` with the bidder's own id alone; empty: with none; `None`: as it came.
    fn prebid(self, request: &ValidRequest) -> Option<Vec<u8>> {
        let members = request.members(request.view.prebid.buyeruids.as_ref()?);
        let Some(own) = self.buyeruid.and_then(|at| members.get(at)) else {
            return Some(Vec::new());
        };
        let own = request.bytes().get(own.key_at as usize..own.value_end as usize)?;
        Some([b"{\"buyeruids\":{", own, b"}}"].concat())
    }
}

/// What stands in `user` for one bidder, where that differs from what came.
#[derive(Debug, Default)]
pub struct Own {
    /// Of `user` and of `user.ext`.
    eids: [Option<Vec<u8>>; 2],
    prebid: Option<Vec<u8>>,
}

impl Own {
    /// Adds it to what becomes of `user` in a body of `version`.
    pub fn add<'v>(&'v self, version: OpenRtbVersion, moves: &mut Moves<'v>) {
        let [in_user, in_ext] = self.eids.each_ref().map(Option::as_deref);
        // A list that moves comes from the other version's place.
        let (to, from) = match version {
            OpenRtbVersion::V25 => (&mut moves.ext, in_user),
            OpenRtbVersion::V26 => (&mut moves.own, in_ext),
        };
        let name = moves::EIDS;
        let list = to.iter_mut().find(|one| one.name.0 == Key::Eids && one.value.is_some());
        if let Some(list) = list {
            list.value = from.or(list.value);
        } else {
            moves.own.extend(in_user.map(|list| Change { name, value: Some(list) }));
            moves.ext.extend(in_ext.map(|list| Change { name, value: Some(list) }));
        }
        if let Some(prebid) = &self.prebid {
            let value = Some(&prebid[..]).filter(|prebid| !prebid.is_empty());
            moves.ext.push(Change { name: moves::PREBID, value });
        }
    }
}

impl Walk<'_, '_> {
    /// `ext`: what is addressed to single bidders and cannot be told to one alone goes to nobody.
    pub fn root_ext(&mut self) {
        let request = self.request;
        let Some(prebid) = &request.view.prebid.ext else { return };
        let members = request.members(prebid);
        let mut end = Members::of(prebid.open);
        for (index, member) in members.iter().enumerate() {
            let fate = self.disclosure.fate(Place::Prebid, member.key, b"");
            if member.key == Key::Bidderconfig || fate == Fate::Drop {
                end.drop(&mut self.to, member, members.get(index + 1));
            } else {
                end.keep(member);
            }
        }
    }

    /// What the bidder is told of `user` in place of what came. Under a strict disclosure nothing:
    /// neither ids nor `user.ext.prebid` are told at all.
    pub fn own_part(&self) -> Own {
        if !self.disclosure.is_full() {
            return Own::default();
        }
        let (request, addressed) = (self.request, self.kind.addressed);
        let objects = &request.view.objects;
        let eids = [&objects.user, &objects.user_ext];
        Own {
            eids: eids.map(|object| addressed.eids(request, object.as_ref())),
            prebid: addressed.prebid(request),
        }
    }
}
