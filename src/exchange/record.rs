//! What the road tells the counters.
//!
//! Owns: which fact of a request goes into which cell. Never: a label that is not of a closed
//! list, a shared write (the cells are the worker's own).

use super::{Asked, Settled};
use crate::admit::Admitted;
use crate::arrival::Arrival;
use crate::auction::offer::{AuctionResult, LossReason};
use crate::bidder::Answer;
use crate::journal::handle::Journal;
use crate::money::Currency;
use crate::money_event::codec::write_auction;
use crate::money_event::{AuctionRecord, BIDDERS_MAX, BidderPart, kind};
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::{BidderId, PartnerId};
use crate::partner::Partner;
use crate::request::ValidRequest;
use crate::snapshot::Snapshot;
use crate::telemetry::cells::WorkerCells;
use std::time::Duration;
use tracing::info;

/// What was overlooked in a request that was taken, and the imps that it cost.
pub fn admitted(cells: &WorkerCells, snapshot: &Snapshot, id: PartnerId, admitted: &Admitted) {
    if admitted.refused_imps.is_empty() && admitted.leniencies.is_empty() {
        return;
    }
    let partner = cells.partner(snapshot.partner_slot(id));
    admitted.refused_imps.iter().for_each(|(_, why)| partner.imp_refused(*why));
    admitted.leniencies.iter().for_each(|field| partner.lenient(field.index()));
}

/// A line of the log for a call that failed, as far as there is room; a bidder that has no bid or
/// is late is no failure, and counted like all the others.
pub fn failed(cells: &WorkerCells, snapshot: &Snapshot, arrival: &Arrival, answers: &[Answer]) {
    for answer in answers {
        let why = match answer.result {
            Ok(_) | Err(NoAnswer::NoBid | NoAnswer::Late) => continue,
            Err(why) => why,
        };
        let Some(left_out) = cells.beside().calls.take(arrival.at) else { return };
        info!(
            request_id = arrival.correlation.request_id.as_str(),
            bidder = snapshot.bidder(answer.invitation.bidder).map(|bidder| bidder.name.as_str()),
            reason = why.label(),
            status = answer.status,
            took_us = u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
            left_out,
            "a bidder's call failed"
        );
    }
}

/// Each bidder's part in an auction. (How a request ends is counted where it is answered.)
pub fn settled(
    cells: &WorkerCells,
    snapshot: &Snapshot,
    not_called: &[(BidderId, NotCalled)],
    settled: &Settled<'_>,
) {
    let Settled { answers, result, .. } = settled;
    let bidder = |id| cells.bidder(snapshot.bidder_slot(id));
    for (id, why) in not_called {
        cells.not_called(snapshot.bidder_slot(*id), *why);
    }
    for answer in *answers {
        let cells = bidder(answer.invitation.bidder);
        match &answer.result {
            Ok(read) => cells.answered(answer.took, read.bids.len() as u64),
            Err(why) => cells.no_answer(*why, answer.took),
        }
    }
    result.wins.iter().for_each(|win| bidder(win.bidder).won());
    for loss in &result.losses {
        if let LossReason::Rejected(why) = loss.reason {
            bidder(loss.bidder).rejected(why);
        }
    }
}

/// What the wins of an auction are worth if each is billed once, for all the impressions that its imp is, in
/// US dollars at the rates in force; a currency without a rate counts nothing. Not for tests.
pub fn won(
    cells: &WorkerCells,
    snapshot: &Snapshot,
    id: PartnerId,
    request: &ValidRequest,
    result: &AuctionResult,
) {
    for win in &result.wins {
        let imp = request.view.imps.get(win.imp as usize);
        let multiplier = imp.and_then(|imp| imp.multiplier).unwrap_or_default();
        let dollars = |price| {
            let price = snapshot.rates.convert(price, result.currency, Currency::USD);
            let micros = price.map(|price| multiplier.times(price).micros());
            micros.and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0)
        };
        cells.bidder(snapshot.bidder_slot(win.bidder)).owes(dollars(win.clearing));
        cells.partner(snapshot.partner_slot(id)).earned(dollars(win.net));
    }
}

/// The record of an auction; one that the journal has no room for is dropped, and counted there.
pub fn keep(
    journal: &Journal,
    (snapshot, partner): (&Snapshot, &Partner),
    (arrival, took): (&Arrival, Duration),
    asked: &Asked,
    settled: &Settled<'_>,
) {
    let Settled { answers, result, .. } = settled;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let name = |id| snapshot.bidder(id).map_or("", |bidder| &bidder.name).into();
    let called = answers.iter().map(|answer| {
        let id = answer.invitation.bidder;
        BidderPart {
            bidder: name(id),
            negative: answer.result.as_ref().map_or_else(|why| why.label(), |_| "").into(),
            bids: answer.result.as_ref().map_or(0, |read| count(read.bids.len())),
            wins: count(result.wins.iter().filter(|win| win.bidder == id).count()),
        }
    });
    let of_the_moment = asked.not_called.iter().filter(|(_, why)| !why.is_by_targeting());
    let left_out = of_the_moment.map(|(id, why)| BidderPart {
        bidder: name(*id),
        negative: why.label().into(),
        ..BidderPart::default()
    });
    let bidders: Vec<_> = called.chain(left_out).take(BIDDERS_MAX).collect();
    let record = AuctionRecord {
        auction_id: asked.request.text(asked.request.view.id).into(),
        request_id: arrival.correlation.request_id.as_str().into(),
        partner: (&partner.name).into(),
        generation: snapshot.generation,
        at_us: micros(arrival.wall),
        took_us: micros(took),
        imps: count(asked.request.view.imps.len()),
        called: count(answers.len()),
        not_called: count(asked.not_called.len()),
        bids: bidders.iter().map(|one| one.bids).sum(),
        wins: count(result.wins.len()),
        outcome: if result.wins.is_empty() { "no_bid" } else { "won" }.into(),
        bidders,
    };
    let mut payload = Vec::with_capacity(512);
    write_auction(&record, &mut payload);
    journal.append_buffered(kind::AUCTION, payload);
}
