//! What a recording is told of a request's road.
//!
//! Owns: [`Trace`] and the cell of features. Never: a choice of what is kept, a name of a person.
//! Made only while something is recorded: otherwise the road pays one comparison.

use crate::bidder::call::Raw;
use crate::bidder::desk::Permit;
use crate::bidder::{Answer, Outgoing};
use crate::capture::recorder::Bidders;
use crate::coding::{self, Caps, Coding};
use crate::facts::Facts;
use crate::openrtb::ids::{BidderId, Country};
use crate::privacy::Consent;
use crate::request::ValidRequest;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use std::time::Duration;

/// One request's.
#[derive(Debug, Default)]
pub struct Trace {
    /// The features by which new kinds of requests are told from old ones; none where the request
    /// was turned away before they were known.
    pub cell: Option<u64>,
    pub calls: Vec<CallTrace>,
    depth: Bidders,
    sent: Duration,
    /// What bidders said, as it comes.
    answers: Vec<(BidderId, Bytes)>,
    requests: Vec<(BidderId, Bytes)>,
}

/// One bidder's part.
#[derive(Debug)]
pub struct CallTrace {
    pub bidder: BidderId,
    pub sent: Duration,
    pub took: Duration,
    pub status: u16,
    /// Label of why there was no answer; empty where there was one.
    pub no_answer: &'static str,
    pub request: Bytes,
    pub answer: Bytes,
}

impl Trace {
    /// Where something is recorded.
    pub fn begin(snapshot: &Snapshot) -> Option<Box<Self>> {
        let recording = snapshot.recording.as_ref()?;
        Some(Box::new(Self { depth: recording.settings.bidders, ..Self::default() }))
    }

    /// The request was understood.
    pub fn known(&mut self, request: &ValidRequest, facts: &Facts, consent: Consent) {
        self.cell = Some(cell(request, facts, consent));
    }

    /// The bidders are asked now, so long after the arrival.
    pub fn asks(&mut self, calls: &[(Permit, Outgoing)], sent: Duration) {
        self.sent = sent;
        if self.depth == Bidders::Bodies {
            let copy = |(_, call): &(Permit, Outgoing)| {
                (call.invitation.bidder, Bytes::copy_from_slice(call.packet.body()))
            };
            self.requests = calls.iter().map(copy).collect();
        }
    }

    /// A bidder has answered with a bid response, decoded here once more.
    pub fn hears(&mut self, bidder: BidderId, raw: Raw<'_>, body_bytes_max: usize) {
        if self.depth != Bidders::Bodies {
            return;
        }
        let caps = Caps { body_bytes_max, ..Caps::default() };
        let body = Coding::parse([raw.encoding]).and_then(|coding| {
            coding::decode(coding, raw.content, &caps).map(|body| body.to_vec())
        });
        if let Ok(body) = body {
            self.answers.push((bidder, body.into()));
        }
    }

    /// All bidders have ended.
    pub fn heard(&mut self, answers: &[Answer]) {
        if self.depth == Bidders::None {
            return;
        }
        let (mut requests, mut bodies) =
            (std::mem::take(&mut self.requests), std::mem::take(&mut self.answers));
        self.calls = answers
            .iter()
            .map(|answer| {
                let bidder = answer.invitation.bidder;
                CallTrace {
                    bidder,
                    sent: self.sent,
                    took: answer.took,
                    status: answer.status,
                    no_answer: answer.result.as_ref().err().map_or("", |why| why.label()),
                    request: take_of(&mut requests, bidder),
                    answer: take_of(&mut bodies, bidder),
                }
            })
            .collect();
    }
}

fn take_of(list: &mut Vec<(BidderId, Bytes)>, bidder: BidderId) -> Bytes {
    let at = list.iter().position(|(known, _)| *known == bidder);
    at.map_or_else(Bytes::new, |at| list.swap_remove(at).1)
}

/// Kind of ad, device, country, channel, consent and deals of a request: each in bits of its own.
fn cell(request: &ValidRequest, facts: &Facts, consent: Consent) -> u64 {
    let view = &request.view;
    let mut media = 0;
    let (mut has_deals, mut is_private) = (false, false);
    for imp in &view.imps {
        media |= u64::from(imp.media.bits());
        has_deals |= !imp.deals.is_empty();
        is_private |= imp.is_private_auction;
    }
    let Country([a, b, c]) = facts.country.unwrap_or(Country([0; 3]));
    let parts = [
        (media, 8),
        (u64::from(facts.devicetype.unwrap_or(0)), 8),
        (u64::from(u32::from_be_bytes([0, a, b, c])), 24),
        (view.channel as u64, 4),
        (consent.restriction.map_or(0, |signal| signal as u64 + 1), 4),
        (u64::from(has_deals), 1),
        (u64::from(is_private), 1),
    ];
    parts.iter().fold(0, |cell, (value, bits)| cell << bits | value)
}
