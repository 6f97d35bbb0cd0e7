//! The walk through one request that makes every edit of `shape`'s table.
//!
//! Owns: which object is edited how. Never: who is called, a comma (`splice` knows where they go).
//! Invariant: the walk goes strictly forward, object by object, in the order in which they came.

use super::lists::Missing;
use super::moves::{self, Change, Moves, Name};
use super::node::Node;
use super::{ShapeSettings, Subject, schain};
use crate::auction::offer;
use crate::bidder::OpenRtbVersion;
use crate::bidder::splice::{Members, Splicer};
use crate::money::Cpm;
use crate::privacy::disclosure::{Disclosure, Fate, Place, write_rounded};
use crate::request::{Imp, Key, Member, Object, ValidRequest};
use std::ops::Range;

/// Buffers that every request uses again.
#[derive(Debug, Default)]
pub struct Spare {
    chain: Vec<u8>,
    missing: [Vec<u16>; 3],
}

/// What may be appended to an object: each with its key, as `"key":value`. In place: it is made
/// for each request.
#[derive(Clone, Copy, Debug)]
struct Found<'a, const MAX: usize> {
    members: [(Key, &'a str); MAX],
    count: usize,
}

/// What all walks through one request share, worked out once.
#[derive(Debug)]
pub struct Common<'a> {
    /// The supply chain with our node; empty where the partner has none. `None`: at its limit.
    chain: Option<&'a [u8]>,
    /// The digit of `at` where the partner forces another type than the request's.
    at: Option<[u8; 1]>,
    /// The partner's entries that the request's block lists do not have.
    lists: [(Name, Missing<'a>); 3],
    /// What was looked up: as many members as `enrich` renders, at most.
    device: Found<'a, 8>,
    geo: Found<'a, 12>,
}

/// The walk through one request.
pub struct Walk<'a, 'd> {
    subject: &'a Subject<'a>,
    common: &'a Common<'a>,
    pub request: &'a ValidRequest,
    pub version: OpenRtbVersion,
    pub disclosure: Disclosure,
    pub to: Splicer<'a>,
    tmax_at: Option<usize>,
    imps: &'d mut Vec<Range<usize>>,
}

impl<'a> Common<'a> {
    /// In the memory of `spare`.
    pub fn of(subject: &Subject<'a>, settings: ShapeSettings, spare: &'a mut Spare) -> Self {
        let &Subject { request, facts, partner, .. } = subject;
        let Spare { chain, missing } = spare;
        chain.clear();
        let is_open = partner.schain.as_ref().is_none_or(|node| {
            schain::write(request, node, settings.schain_nodes_max, chain).is_some()
        });
        Self {
            chain: is_open.then_some(chain),
            at: forced_at(subject),
            lists: missing_blocks(subject, missing),
            device: Found::of(facts.device_members(request)),
            geo: Found::of(facts.geo_members(request)),
        }
    }
}

impl<'a, const MAX: usize> Found<'a, MAX> {
    fn of(mut found: impl Iterator<Item = (Key, &'a str)>) -> Self {
        let (mut members, mut count) = ([(Key::Other, ""); MAX], 0);
        for (place, member) in members.iter_mut().zip(&mut found) {
            *place = member;
            count += 1;
        }
        debug_assert!(found.next().is_none(), "more than {MAX} members were looked up");
        Self { members, count }
    }

    fn iter(&self) -> impl Iterator<Item = &(Key, &'a str)> + use<'_, 'a, MAX> {
        self.members.iter().take(self.count)
    }
}

/// The digit of `at` where the partner forces another type than the request's.
fn forced_at(subject: &Subject<'_>) -> Option<[u8; 1]> {
    let view = &subject.request.view;
    let forced = subject.partner.auction_type?;
    let is_said = view.has_auction_type && view.auction_type == forced;
    (!is_said).then(|| [b'0' + forced.wire()])
}

/// The partner's entries that the request's block lists do not have, in the memory of `spare`.
fn missing_blocks<'a>(
    &Subject { request, partner, .. }: &Subject<'a>,
    spare: &'a mut [Vec<u16>; 3],
) -> [(Name, Missing<'a>); 3] {
    let view = &request.view;
    let bcat = if matches!(view.cattax, None | Some(1)) { &partner.bcat[..] } else { &[] };
    let [one, two, three] = spare;
    [
        ((Key::Bcat, "\"bcat\":"), Missing::of(request, view.bcat, bcat, one)),
        ((Key::Badv, "\"badv\":"), Missing::of(request, view.badv, &partner.badv, two)),
        ((Key::Bapp, "\"bapp\":"), Missing::of(request, view.bapp, &partner.bapp, three)),
    ]
}

impl<'a, 'd> Walk<'a, 'd> {
    /// At the first byte; ranges of the imp elements are put in `imps`.
    pub fn new(
        (subject, common): (&'a Subject<'a>, &'a Common<'a>),
        (version, disclosure): (OpenRtbVersion, Disclosure),
        to: Splicer<'a>,
        imps: &'d mut Vec<Range<usize>>,
    ) -> Self {
        let request = subject.request;
        Self { subject, common, request, version, disclosure, to, tmax_at: None, imps }
    }

    /// What was written, and where `tmax` goes in it.
    pub fn finish(self) -> (Option<Vec<u8>>, Option<usize>) {
        (self.to.finish(), self.tmax_at)
    }

    /// Walks through all of it; `None` where the supply chain is at its limit.
    pub fn root(&mut self) -> Option<()> {
        let (request, Common { chain, at, lists, .. }) = (self.request, self.common);
        let root = &request.view.objects.root;
        let chain = (*chain)?;
        let members = request.members(root);
        for member in members {
            match member.key {
                Key::Imp => self.imp_array(member),
                Key::Tmax => {
                    self.to.replace_value(member, b"");
                    self.tmax_at = Some(self.to.out.len());
                }
                Key::At => {
                    if let Some(at) = at {
                        self.to.replace_value(member, at);
                    }
                }
                Key::Bcat | Key::Badv | Key::Bapp => {
                    let list = lists.iter().find(|((key, _), _)| *key == member.key);
                    if let Some((_, missing)) = list.filter(|(_, missing)| !missing.is_empty()) {
                        missing.append(request, member, &mut self.to);
                    }
                }
                Key::Device => self.device(member),
                Key::User => self.user(member),
                Key::Regs => self.regs(),
                Key::Source => self.source(member, chain),
                _ => {}
            }
        }
        let mut end = Members::behind(root.open, members);
        let lacks = |key| request.member(root, key).is_none();
        if self.tmax_at.is_none() {
            self.insert(&mut end, "\"tmax\":", b"");
            self.tmax_at = Some(self.to.out.len());
        }
        if let Some(at) = at.filter(|_| lacks(Key::At)) {
            self.insert(&mut end, "\"at\":", &at);
        }
        for ((key, name), missing) in lists {
            if !missing.is_empty() && lacks(*key) {
                self.insert(&mut end, name, b"");
                missing.write_array(&mut self.to.out);
            }
        }
        if lacks(Key::Device) {
            self.insert_built(&mut end, "\"device\":", Self::new_device);
        }
        if lacks(Key::Source) && !chain.is_empty() {
            self.insert(&mut end, "\"source\":", b"");
            self.new_source(chain);
        }
        Some(())
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
        let partner = self.subject.partner;
        let mut floor_text = Vec::new();
        let mut moves = self.moves((&imp.object, imp.ext.as_ref()), None, moves::IMP);
        if partner.floor > Cpm::ZERO {
            let rates = self.subject.rates;
            let auction = offer::currency(&self.request.view, partner, rates);
            let currencies = (partner.currency, imp.bidfloorcur);
            let floor = rates.convert_up(partner.floor, currencies, auction);
            if let Some(floor) = floor.filter(|floor| *floor > imp.bidfloor) {
                floor.write_decimal(&mut floor_text);
                let name = moves::BIDFLOOR;
                moves.own.push(Change { name, value: Some(&floor_text) });
            }
        }
        if !moves.own.is_empty() || !moves.ext.is_empty() {
            let ext = imp.ext.as_ref();
            self.node(&Node { ext, ..Node::new(None, &imp.object, &moves) });
        }
    }

    fn regs(&mut self) {
        let objects = &self.request.view.objects;
        let Some(object) = &objects.regs else { return };
        let ext = objects.regs_ext.as_ref();
        let moves = self.moves((object, ext), None, moves::REGS);
        self.node(&Node { ext, ..Node::new(None, object, &moves) });
    }

    fn user(&mut self, member: &Member) {
        let objects = &self.request.view.objects;
        let Some(object) = &objects.user else { return self.withhold(member) };
        let ext = objects.user_ext.as_ref();
        let moves = self.moves((object, ext), Some(Place::User), moves::USER);
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
        let moves = Moves::default();
        let node = Node { ext, geo, ..Node::new(Some(Place::Device), object, &moves) };
        let mut end = self.node(&node);
        for &(key, text) in self.common.device.iter() {
            if self.disclosure.fate(Place::Device, key, b"") == Fate::Keep {
                self.insert(&mut end, text, b"");
            }
        }
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
        let is_kept = |key| {
            let fate = place.map_or(Fate::Keep, |place| self.disclosure.fate(place, key, b""));
            fate == Fate::Keep
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

    /// Appends what was looked up about the place.
    pub fn geo_members(&mut self, end: &mut Members) {
        for &(key, text) in self.common.geo.iter() {
            match self.disclosure.fate(Place::Geo, key, b"") {
                Fate::Keep => self.insert(end, text, b""),
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

    /// A `device` of nothing but what was looked up.
    fn new_device(&mut self, end: &mut Members) {
        for &(key, text) in self.common.device.iter() {
            if self.disclosure.fate(Place::Device, key, b"") == Fate::Keep {
                self.insert(end, text, b"");
            }
        }
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
