//! The walk through one request that makes every edit of `shape`'s table.
//!
//! Owns: which object is edited how. Never: who is called, a comma (`splice` knows where they go).
//! Invariant: the walk goes strictly forward, object by object, in the order in which they came.

use super::Subject;
use super::common::Common;
use super::kind::{Buyeruid, Filling, Hole, Kind};
use super::moves::{self, Change, Moves, Name};
use super::node::Node;
use crate::bidder::OpenRtbVersion;
use crate::bidder::splice::{Members, Splicer, write_string};
use crate::enrich::geo::is_public;
use crate::money::{Cpm, Currency};
use crate::privacy::disclosure::{Disclosure, Fate, Place, truncated, write_rounded};
use crate::request::stream::{PriceSpot, SpotPrice};
use crate::request::{Element, Imp, Key, Member, Object, ValidRequest};
use memchr::memmem;
use std::net::IpAddr;
use std::ops::Range;

/// What `Sec-GPC: 1` becomes (`gpc.md`), and where nothing is that it could go into.
const GPC_SET: &[u8] = b"\"1\"";
const NEW_REGS: &[u8] = b"{\"ext\":{\"gpc\":\"1\"}}";

/// The walk through one request.
pub struct Walk<'a, 'd> {
    subject: &'a Subject<'a>,
    common: &'a Common<'a>,
    pub request: &'a ValidRequest,
    pub version: OpenRtbVersion,
    pub disclosure: Disclosure,
    pub to: Splicer<'a>,
    pub kind: Kind,
    imps: &'d mut Vec<Range<usize>>,
    holes: &'d mut Vec<Hole>,
}

impl<'a, 'd> Walk<'a, 'd> {
    /// At the first byte; ranges of the imp elements are put in `imps`, open places in `holes`.
    pub fn new(
        (subject, common): (&'a Subject<'a>, &'a Common<'a>),
        kind: Kind,
        to: Splicer<'a>,
        (imps, holes): (&'d mut Vec<Range<usize>>, &'d mut Vec<Hole>),
    ) -> Self {
        let (request, Kind { version, disclosure, .. }) = (subject.request, kind);
        Self { subject, common, request, version, disclosure, to, kind, imps, holes }
    }

    /// Walks through all of it; `None` where the supply chain is at its limit.
    pub fn root(&mut self) -> Option<()> {
        let request = self.request;
        let root = &request.view.objects.root;
        let chain = self.common.chain?;
        let cur = self.currencies();
        let members = request.members(root);
        let mut end = Members::of(root.open);
        for (index, member) in members.iter().enumerate() {
            if self.kind.has_seats && matches!(member.key, Key::Wseat | Key::Bseat) {
                end.drop(&mut self.to, member, members.get(index + 1));
            } else {
                self.root_member(member, chain, &cur);
                end.keep(member);
            }
        }
        self.root_end(&mut end, chain, &cur);
        Some(())
    }

    fn root_member(&mut self, member: &Member, chain: &[u8], cur: &[u8]) {
        match member.key {
            Key::Imp => self.imp_array(member),
            Key::Tmax => {
                self.to.replace_value(member, b"");
                self.hole(Filling::Tmax, 0);
            }
            Key::Allimps if !matches!(self.request.value(member), b"0" | b"null" | b"false") => {
                self.to.advance(member.value_end);
                self.hole(Filling::Allimps, self.request.value(member).len());
            }
            Key::At => {
                if let Some(at) = &self.common.at {
                    self.to.replace_value(member, at);
                }
            }
            Key::Cur if !cur.is_empty() => self.to.replace_value(member, cur),
            Key::Bcat | Key::Badv | Key::Bapp => {
                let list = self.common.lists.iter().find(|((key, _), _)| *key == member.key);
                if let Some((_, missing)) = list.filter(|(_, missing)| !missing.is_empty()) {
                    missing.append(self.request, member, &mut self.to);
                }
            }
            Key::Device => self.device(member),
            Key::User => self.user(member),
            Key::Regs => self.regs(member),
            Key::Source => self.source(member, chain),
            Key::Ext => self.root_ext(),
            _ => {}
        }
    }

    /// What the request lacks.
    fn root_end(&mut self, end: &mut Members, chain: &[u8], cur: &[u8]) {
        let request = self.request;
        let lacks = |key| request.member(&request.view.objects.root, key).is_none();
        if lacks(Key::Tmax) {
            self.insert(end, "\"tmax\":", b"");
            self.hole(Filling::Tmax, 0);
        }
        if let Some(at) = self.common.at.filter(|_| lacks(Key::At)) {
            self.insert(end, "\"at\":", &at);
        }
        if !cur.is_empty() && lacks(Key::Cur) {
            self.insert(end, "\"cur\":", cur);
        }
        for ((key, name), missing) in &self.common.lists {
            if !missing.is_empty() && lacks(*key) {
                self.insert(end, name, b"");
                missing.write_array(&mut self.to.out);
            }
        }
        if lacks(Key::Device) {
            self.insert_built(end, "\"device\":", Self::new_device);
        }
        if lacks(Key::Regs) && self.subject.facts.browser.is_gpc {
            self.insert(end, "\"regs\":", NEW_REGS);
        }
        if lacks(Key::Source) && !chain.is_empty() {
            self.insert(end, "\"source\":", b"");
            self.new_source(chain);
        }
        if self.kind.has_seats {
            end.advance(&mut self.to);
            self.hole(Filling::Seats, 0);
        }
    }

    /// Leaves a place open: the last so many bytes that were written.
    fn hole(&mut self, what: Filling, len: usize) {
        let end = self.to.out.len();
        self.holes.push(Hole { what, at: end.saturating_sub(len)..end });
    }

    /// The value of `cur`; empty: it stays as it came.
    fn currencies(&self) -> Vec<u8> {
        let mut cur = Vec::new();
        let Some(own) = self.kind.currency else { return cur };
        let theirs = &self.request.view.currencies[..];
        let others = if theirs.is_empty() { &[self.subject.partner.currency] } else { theirs };
        cur.push(b'[');
        write_string(own.as_str(), &mut cur);
        for other in others.iter().filter(|other| **other != own) {
            cur.push(b',');
            write_string(other.as_str(), &mut cur);
        }
        cur.push(b']');
        cur
    }

    fn imp_array(&mut self, member: &Member) {
        let mut imps = self.request.view.imps.iter().peekable();
        for (position, element) in self.request.view.imp_elements.iter().enumerate() {
            self.to.advance(element.at);
            let start = self.to.out.len();
            if let Some(imp) = imps.next_if(|imp| imp.position as usize == position) {
                self.imp(imp);
            }
            self.to.advance(element.end);
            self.imps.push(start..self.to.out.len());
        }
        self.to.advance(member.value_end);
    }

    fn imp(&mut self, imp: &Imp) {
        let (mut floor_text, mut currency_text) = (Vec::new(), Vec::new());
        let mut moves = self.moves((&imp.object, imp.ext.as_ref()), None, moves::IMP);
        if let Some((floor, currency)) = self.floor(imp) {
            floor.write_decimal(&mut floor_text);
            moves.own.push(Change { name: moves::BIDFLOOR, value: Some(&floor_text) });
            if currency != imp.bidfloorcur {
                write_string(currency.as_str(), &mut currency_text);
                moves.own.push(Change { name: moves::BIDFLOORCUR, value: Some(&currency_text) });
            }
        }
        if self.subject.partner.is_secure && self.lacks_value(&imp.object, Key::Secure) {
            moves.own.push(Change { name: moves::SECURE, value: Some(b"1") });
        }
        for (media, name) in moves::MEDIA {
            let is_there = || self.request.member(&imp.object, name.0).is_some();
            if !self.subject.partner.media.contains(media) && is_there() {
                moves.own.push(Change { name, value: None });
            }
        }
        let inside = self.marked_up(imp, &moves.own);
        if !moves.own.is_empty() || !moves.ext.is_empty() || !inside.is_empty() {
            let ext = imp.ext.as_ref();
            self.node(&Node { ext, inside: &inside, ..Node::new(None, &imp.object, &moves) });
        }
    }

    /// The floors inside of the imp's members that our margin, rounding or the partner raises, as they
    /// are written; none of a medium that is left out.
    fn marked_up(&self, imp: &Imp, left_out: &[Change<'_>]) -> Vec<(Element, Vec<u8>)> {
        let spots = self.request.price_spots(imp.price_spots);
        if spots.is_empty() {
            return Vec::new();
        }
        // the few that floors stand in: an imp may have thousands of others
        let is_holder = |member: &&Member| {
            member.key == Key::Pmp || moves::MEDIA.iter().any(|(_, name)| name.0 == member.key)
        };
        let members = self.request.members(&imp.object);
        let holders: smallvec::SmallVec<[&Member; 6]> = members.iter().filter(is_holder).collect();
        let marked = spots.iter().filter_map(|spot| {
            let around = holders.iter().find(|member| spot.at.end <= member.value_end)?;
            let is_gone = |one: &Change<'_>| one.value.is_none() && one.name.0 == around.key;
            let is_left_out = left_out.iter().any(is_gone);
            Some((spot.at, self.spot(imp, spot, around).filter(|_| !is_left_out)?))
        });
        marked.collect()
    }

    /// What is written in the place of one such floor; `None`: it stays as it came.
    fn spot(&self, imp: &Imp, spot: &PriceSpot, around: &Member) -> Option<Vec<u8>> {
        let pricing = self.subject.pricing;
        let deals = &self.request.view.deals;
        let deal = spot.deal.and_then(|deal| deals.get(deal as usize));
        let (rate, currency) =
            (pricing.take_rate(deal), deal.map_or(imp.bidfloorcur, |deal| deal.bidfloorcur));
        let media = moves::MEDIA.into_iter().find(|(_, name)| name.0 == around.key);
        let least = media
            .filter(|_| deal.is_none())
            .map_or(Cpm::ZERO, |(media, _)| pricing.sent_least(media, currency));
        match spot.price {
            SpotPrice::Flat(floor) => {
                let sent = pricing.sent(floor, (currency, currency), rate)?.max(least);
                if sent == floor && !spot.is_raised {
                    return None;
                }
                let mut text = Vec::with_capacity(16);
                sent.write_decimal(&mut text);
                Some(text)
            }
            SpotPrice::BySecond(floor) => {
                // a floor for ads of any length stands beside it, where no other does
                let value = self.request.value(around);
                let is_beside = least > Cpm::ZERO
                    && [&b"durfloors"[..], br"\u"]
                        .into_iter()
                        .all(|name| memmem::find(value, name).is_none());
                if rate.is_none() && !spot.is_raised && !is_beside {
                    return None;
                }
                let sent = if rate.is_none() {
                    floor
                } else {
                    pricing.sent_by_second(floor, currency, rate)
                };
                let mut text = Vec::with_capacity(16);
                sent.write_decimal(&mut text);
                if is_beside {
                    text.extend_from_slice(b",\"durfloors\":[{\"mindur\":0,\"bidfloor\":");
                    least.write_decimal(&mut text);
                    text.extend_from_slice(b"}]");
                }
                Some(text)
            }
        }
    }

    /// The floor to be written, and its currency; `None`: the imp's stays as it came.
    fn floor(&self, imp: &Imp) -> Option<(Cpm, Currency)> {
        let pricing = self.subject.pricing;
        let is_changed = imp.is_floor_raised || !pricing.changes_no_floor();
        if !is_changed && self.kind.currency.is_none() {
            return None;
        }
        // Floors by duration are in the imp's currency, too, and keep it.
        let is_plain = imp.video.floors.is_empty() && imp.audio.floors.is_empty();
        if let Some(own) = self.kind.currency.filter(|own| is_plain && *own != imp.bidfloorcur)
            && let Some(floor) = pricing.sent_for(imp, own)
        {
            return Some((floor, own)).filter(|(floor, _)| *floor > Cpm::ZERO);
        }
        let floor = pricing.sent_for(imp, imp.bidfloorcur)?;
        (floor > imp.bidfloor || imp.is_floor_raised).then_some((floor, imp.bidfloorcur))
    }

    /// Whether a member is absent or `null`.
    fn lacks_value(&self, object: &Object, key: Key) -> bool {
        let member = self.request.member(object, key);
        member.is_none_or(|member| self.request.value(member) == b"null")
    }

    /// The browser's signal is told where there is one: who sees the header must (`gpc.md`).
    fn regs(&mut self, member: &Member) {
        let objects = &self.request.view.objects;
        let is_gpc = self.subject.facts.browser.is_gpc;
        let Some(object) = &objects.regs else {
            if is_gpc {
                self.to.replace_value(member, NEW_REGS);
            }
            return;
        };
        let ext = objects.regs_ext.as_ref();
        let mut moves = self.moves((object, ext), None, moves::REGS);
        if is_gpc {
            moves.ext.push(Change { name: moves::GPC, value: Some(GPC_SET) });
        }
        self.node(&Node { ext, ..Node::new(None, object, &moves) });
    }

    fn user(&mut self, member: &Member) {
        let objects = &self.request.view.objects;
        let Some(object) = &objects.user else { return self.withhold(member) };
        let ext = objects.user_ext.as_ref();
        let (mut uid, own) = (Vec::new(), self.own_part());
        let mut moves = self.moves((object, ext), Some(Place::User), moves::USER);
        own.add(self.version, &mut moves);
        match self.kind.buyeruid {
            Buyeruid::AsItCame => {}
            Buyeruid::Own(text) => {
                write_string(self.request.text(text), &mut uid);
                moves.own.push(Change { name: moves::BUYERUID, value: Some(&uid) });
            }
            Buyeruid::Foreign => moves.own.push(Change { name: moves::BUYERUID, value: None }),
        }
        let geo = objects.user_geo.as_ref();
        self.node(&Node { ext, geo, ..Node::new(Some(Place::User), object, &moves) });
    }

    fn device(&mut self, member: &Member) {
        let objects = &self.request.view.objects;
        let Some(object) = &objects.device else {
            if !self.replace_null(member, Self::new_device) {
                self.withhold(member);
            }
            return;
        };
        let (ext, geo) = (objects.device_ext.as_ref(), objects.device_geo.as_ref());
        let (mut text, mut moves) = (Vec::new(), Moves::default());
        if let Some(([name, other], address)) = self.observed() {
            self.write_address(address, &mut text);
            moves.own.push(Change { name, value: Some(&text) });
            moves.own.push(Change { name: other, value: None });
        }
        if self.subject.facts.browser.is_do_not_track {
            moves.own.push(Change { name: moves::DNT, value: Some(b"1") });
        }
        let node = Node { ext, geo, ..Node::new(Some(Place::Device), object, &moves) };
        let mut end = self.node(&node);
        self.device_members(&mut end);
        if self.request.member(object, Key::Geo).is_none() {
            self.insert_built(&mut end, "\"geo\":", Self::new_geo);
        }
    }

    fn source(&mut self, member: &Member, chain: &[u8]) {
        let objects = &self.request.view.objects;
        let Some(object) = &objects.source else {
            if !chain.is_empty() && self.request.value(member) == b"null" {
                self.to.replace_value(member, b"");
                self.new_source(chain);
            }
            return;
        };
        let ext = objects.source_ext.as_ref();
        let moves = if chain.is_empty() {
            self.moves((object, ext), None, moves::SOURCE)
        } else {
            let mut moves = Moves::default();
            let takes = moves::takes_members(self.request, object, ext);
            let version = if takes { self.version } else { OpenRtbVersion::V26 };
            moves.set(version, moves::SCHAIN, chain);
            moves
        };
        self.node(&Node { ext, ..Node::new(None, object, &moves) });
    }

    /// The members of an object that change their place.
    fn moves(
        &self,
        (object, ext): (&Object, Option<&Object>),
        place: Option<Place>,
        names: &'static [Name],
    ) -> Moves<'a> {
        let mut moves = Moves::default();
        // Nothing can come out of an `ext` that is not there.
        if self.version == OpenRtbVersion::V26 && ext.is_none()
            || !moves::takes_members(self.request, object, ext)
        {
            return moves;
        }
        // An `ext` that is not there has no member.
        let none = Object::default();
        let is_kept = |key, value: &[u8]| {
            place.is_none_or(|place| self.disclosure.fate(place, key, b"").keeps(value))
        };
        let objects = (object, ext.unwrap_or(&none));
        moves.relocate(self.request, objects, self.version, names, is_kept);
        moves
    }

    /// Under a strict disclosure, what should be an object and is none is not sent.
    fn withhold(&mut self, member: &Member) {
        if !self.disclosure.is_full() && self.request.value(member) != b"null" {
            self.to.replace_value(member, b"null");
        }
    }

    /// Appends what was looked up about the device.
    fn device_members(&mut self, end: &mut Members) {
        for &(key, text) in self.common.device.iter() {
            if self.disclosure.fate(Place::Device, key, b"").keeps_ours() {
                self.insert(end, text, b"");
            }
        }
    }

    /// Appends what was looked up about the place.
    pub fn geo_members(&mut self, end: &mut Members) {
        for &(key, text) in self.common.geo.iter() {
            match self.disclosure.fate(Place::Geo, key, b"") {
                fate if fate.keeps_ours() => self.insert(end, text, b""),
                Fate::Round => {
                    let mut rounded = Vec::with_capacity(8);
                    let Some((name, value)) = text.split_once(':') else { continue };
                    if write_rounded(value.as_bytes(), &mut rounded) {
                        self.insert(end, name, b":");
                        self.to.out.extend_from_slice(&rounded);
                    }
                }
                _ => {}
            }
        }
    }

    /// The address that a user of a direct partner was seen at, where the request does not name
    /// it, with the member for it and the one of the other family. What was looked up is of this
    /// address: beside another one, place and carrier would be those of another device.
    fn observed(&self) -> Option<([&'static Name; 2], IpAddr)> {
        let address = self.subject.facts.address.filter(|_| self.subject.partner.is_direct)?;
        let own = &self.request.view.device;
        let mut named = [own.ip, own.ipv6].into_iter().flatten();
        if !is_public(address) || named.any(|own| own.to_canonical() == address) {
            return None;
        }
        Some(match address {
            IpAddr::V4(_) => ([moves::IP, moves::IPV6], address),
            IpAddr::V6(_) => ([moves::IPV6, moves::IP], address),
        })
    }

    fn write_address(&self, address: IpAddr, out: &mut Vec<u8>) {
        let told = if self.disclosure.is_full() { address } else { truncated(address) };
        write_string(&told.to_string(), out);
    }

    /// A `device` of nothing but what was looked up.
    fn new_device(&mut self, end: &mut Members) {
        if let Some(([name, _], address)) = self.observed() {
            self.insert(end, name.1, b"");
            let mut text = Vec::new();
            self.write_address(address, &mut text);
            self.to.out.extend_from_slice(&text);
        }
        if self.subject.facts.browser.is_do_not_track {
            self.insert(end, moves::DNT.1, b"1");
        }
        self.device_members(end);
        self.insert_built(end, "\"geo\":", Self::new_geo);
    }

    pub fn new_geo(&mut self, end: &mut Members) {
        self.geo_members(end);
    }

    fn new_source(&mut self, chain: &[u8]) {
        let (open, close): (&[u8], &[u8]) = match self.version {
            OpenRtbVersion::V25 => (b"{\"ext\":{\"schain\":", b"}}"),
            OpenRtbVersion::V26 => (b"{\"schain\":", b"}"),
        };
        for part in [open, chain, close] {
            self.to.out.extend_from_slice(part);
        }
    }
}
