//! What all drafts of one request have in common.
//!
//! Owns: [`Common`] and the memory that it is made in. Never: what differs by the kind of bidder.

use super::lists::Missing;
use super::moves::Name;
use super::{ShapeSettings, Subject, schain};
use crate::request::Key;

/// Buffers that every request uses again.
#[derive(Debug, Default)]
pub struct Spare {
    chain: Vec<u8>,
    missing: [Vec<u16>; 3],
}

/// What may be appended to an object: each with its key, as `"key":value`. In place: it is made
/// for each request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a, const MAX: usize> {
    members: [(Key, &'a str); MAX],
    count: usize,
}

/// What all walks through one request share, worked out once.
#[derive(Debug)]
pub struct Common<'a> {
    /// The supply chain with our node; empty where the partner has none. `None`: at its limit.
    pub chain: Option<&'a [u8]>,
    /// The digit of `at` where the partner forces another type than the request's.
    pub at: Option<[u8; 1]>,
    /// The partner's entries that the request's block lists do not have.
    pub lists: [(Name, Missing<'a>); 3],
    /// What was looked up: as many members as `enrich` renders, at most.
    pub device: Found<'a, 8>,
    pub geo: Found<'a, 12>,
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

    /// Each, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &(Key, &'a str)> + use<'_, 'a, MAX> {
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
    let takes_bcat = matches!(view.cattax, None | Some(1)) && view.acat.is_empty();
    let bcat = if takes_bcat { &partner.bcat[..] } else { &[] };
    let [one, two, three] = spare;
    [
        ((Key::Bcat, "\"bcat\":"), Missing::of(request, view.bcat, bcat, one)),
        ((Key::Badv, "\"badv\":"), Missing::of(request, view.badv, &partner.badv, two)),
        ((Key::Bapp, "\"bapp\":"), Missing::of(request, view.bapp, &partner.bapp, three)),
    ]
}
