//! Puts together what an explanation is written from.
//!
//! Owns: which fact of a finished auction goes where in an [`Explanation`]. Never: on the road of
//! a request that did not ask for it.

use super::explain::{self, BidderStory, Call, Explanation};
use super::{Asked, Settled};
use crate::arrival::Arrival;
use crate::enrich;
use crate::openrtb::ids::BidderId;
use crate::snapshot::Snapshot;
use std::time::Instant;

/// The explanation of one auction, as the bytes of `ext`.
pub fn tell(
    snapshot: &Snapshot,
    arrival: &Arrival,
    asked: &Asked,
    settled: &Settled<'_>,
    now: Instant,
) -> Vec<u8> {
    let name = |id: BidderId| snapshot.bidder(id).map_or("", |bidder| bidder.name.as_str());
    let left_out = asked.not_called.iter().map(|(id, why)| (*id, Call::Not(*why)));
    let called = settled.answers.iter().map(|answer| {
        let call = Call::Made {
            imps: answer.invitation.imps.0,
            took: answer.took,
            status: answer.status,
            answer: answer.result.as_ref().map(|_| ()).map_err(|why| *why),
            nbr: answer.nbr,
        };
        (answer.invitation.bidder, call)
    });
    let mut bidders: Vec<BidderStory> = left_out
        .chain(called)
        .map(|(bidder, call)| BidderStory { bidder, name: name(bidder), call })
        .collect();
    bidders.sort_by_key(|story| story.bidder);
    explain::explain(&Explanation {
        generation: snapshot.generation,
        request: &asked.request,
        pricing: settled.pricing,
        facts: &asked.facts,
        browser: enrich::browser(&asked.request, &snapshot.databases),
        tmax: asked.deadline.tmax(),
        took: now.saturating_duration_since(arrival.at),
        imps_refused: &asked.refused_imps,
        bidders: &bidders,
        answers: settled.answered,
        result: settled.result,
    })
}
