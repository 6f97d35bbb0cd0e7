//! What an auction has to say to the bids that lost it.
//!
//! Owns: [`losses`], [`Outbox`]. Never: a wait. Invariant: a bid without a `lurl` costs nothing; a
//! bidder is told its own reason and what would have won in its own currency, never another's price.

use super::Notice;
use super::tally::{Result as Ended, Tally};
use crate::auction::offer::{Answered, AuctionResult, Loss};
use crate::macros::Macros;
use crate::money_event::{EventType, URL_BYTES_MAX};
use crate::request::ValidRequest;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// The loss notices of an auction: one for each losing bid that has a `lurl`. None for a test.
pub fn losses(
    request: &ValidRequest,
    answers: &[Answered<'_>],
    result: &AuctionResult,
) -> Vec<Notice> {
    if request.view.is_test {
        return Vec::new();
    }
    result.losses.iter().filter_map(|loss| notice(request, answers, loss)).collect()
}

fn notice(request: &ValidRequest, answers: &[Answered<'_>], loss: &Loss) -> Option<Notice> {
    let (answered, seat, bid) = loss.at.resolve(answers)?;
    if bid.lurl.len == 0 {
        return None;
    }
    let answer = answered.answer;
    let imp = loss.imp.and_then(|imp| request.view.imps.get(imp as usize));
    let macros = Macros {
        auction_id: request.text(request.view.id),
        bid_id: answer.text(answer.bidid),
        imp_id: answer.text(bid.impid),
        seat_id: std::str::from_utf8(answered.seat_name(seat)).unwrap_or(""),
        ad_id: answer.text(bid.adid),
        currency: answer.currency,
        loss: Some(loss.reason.code().into()),
        min_to_win: loss.min_to_win,
        multiplier: imp.and_then(|imp| imp.multiplier),
        // a price, and what follows from one, is the winner's
        ..Macros::default()
    };
    let mut url = Vec::new();
    // one that is too long is counted where it is sent: its bid may be one that was never taken
    macros.expand_within(answer.text_bytes(bid.lurl), URL_BYTES_MAX, &mut url);
    let url = String::from_utf8(url).ok()?;
    Some(Notice { kind: EventType::Loss, bidder: answered.name.to_owned(), url })
}

/// Where an auction leaves its loss notices.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Sender<Vec<Notice>>,
    tally: Arc<Tally>,
}

impl Outbox {
    /// Into the queue of a sender.
    pub fn new(queue: Sender<Vec<Notice>>, tally: Arc<Tally>) -> Self {
        Self { queue, tally }
    }

    /// Hands them over, or drops and counts them. Never waits.
    pub fn offer(&self, notices: Vec<Notice>) {
        let count = notices.len();
        if count > 0 && self.queue.try_send(notices).is_err() {
            (0..count).for_each(|_| self.tally.count(EventType::Loss, Ended::Dropped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_the_queue_is_dropped_and_counted() {
        let (queue, mut taken) = tokio::sync::mpsc::channel(1);
        let tally = Arc::new(Tally::default());
        let outbox = Outbox::new(queue, Arc::clone(&tally));
        let notice = || Notice { kind: EventType::Loss, bidder: "b".into(), url: "u".into() };
        outbox.offer(Vec::new());
        outbox.offer(vec![notice()]);
        outbox.offer(vec![notice(), notice()]);
        assert_eq!(taken.try_recv().unwrap().len(), 1);
        let dropped = |(kind, result, count): &(&str, &str, u64)| {
            (*kind == "loss" && *result == "dropped").then_some(*count)
        };
        assert_eq!(tally.results().iter().find_map(dropped), Some(2));
    }
}
