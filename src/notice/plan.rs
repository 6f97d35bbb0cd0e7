//! What an auction has to say to the bids that lost it.
//!
//! Owns: [`losses`], [`Outbox`]. Never: a wait. Invariant: a bid without a `lurl` costs nothing; a
//! bidder is told its own reason and what would have won in its own currency, never another's price.

use super::Notice;
use super::tally::{Result as Ended, Tally};
use crate::auction::offer::{Answered, AuctionResult, Loss};
use crate::money_event::EventType;
use crate::request::ValidRequest;
use std::fmt::Write;
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
    let mut number = Vec::new();
    if let Some(price) = loss.min_to_win {
        price.write_decimal(&mut number);
    }
    let (min_to_win, reason) = (String::from_utf8(number).ok()?, loss.reason.code().to_string());
    let url = settle(answer.text(bid.lurl), &|name| match name {
        "AUCTION_ID" => request.text(request.view.id),
        "AUCTION_BID_ID" => answer.text(answer.bidid),
        "AUCTION_IMP_ID" => answer.text(bid.impid),
        "AUCTION_SEAT_ID" => answer.text(seat.seat),
        "AUCTION_AD_ID" => answer.text(bid.adid),
        "AUCTION_CURRENCY" => answer.currency.as_ref().map_or("", |currency| currency.as_str()),
        "AUCTION_LOSS" => &reason,
        "AUCTION_MIN_TO_WIN" => &min_to_win,
        // a price, and what follows from one, is the winner's
        _ => "",
    });
    Some(Notice { kind: EventType::Loss, bidder: answered.name.to_owned(), url })
}

/// Replaces `${NAME}` and `${NAME:B64}` in one pass; what was put in is not read again. A macro of
/// another family stays as it is.
fn settle<'v>(url: &str, value: &dyn Fn(&str) -> &'v str) -> String {
    let mut out = String::with_capacity(url.len() + 64);
    let mut rest = url;
    while let Some((before, found)) = rest.split_once("${") {
        out.push_str(before);
        let whole = found.split_once('}').filter(|(name, _)| name.starts_with("AUCTION_"));
        let Some((name, behind)) = whole else {
            out.push_str("${");
            rest = found;
            continue;
        };
        let (name, is_base64) = match name.strip_suffix(":B64") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let text = value(name);
        if is_base64 {
            use base64::Engine;
            encode(&base64::engine::general_purpose::STANDARD.encode(text), &mut out);
        } else {
            encode(text, &mut out);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Percent-encodes all but what RFC 3986 calls unreserved.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
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
    fn macros_are_settled_in_one_pass_and_their_values_are_encoded() {
        let value = |name: &str| match name {
            "AUCTION_ID" => "a b&c=${AUCTION_LOSS}",
            "AUCTION_LOSS" => "102",
            "AUCTION_MIN_TO_WIN" => "1.5",
            _ => "",
        };
        for (url, settled) in [
            (
                "https://b.example/l?r=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN}",
                "https://b.example/l?r=102&m=1.5",
            ),
            (
                "https://b.example/${AUCTION_ID}",
                "https://b.example/a%20b%26c%3D%24%7BAUCTION_LOSS%7D",
            ),
            ("https://b.example/${AUCTION_LOSS:B64}", "https://b.example/MTAy"),
            ("https://b.example/?p=${AUCTION_PRICE}", "https://b.example/?p="),
            ("https://b.example/?x=${OTHER}", "https://b.example/?x=${OTHER}"),
            ("https://b.example/?x=${AUCTION_LOSS", "https://b.example/?x=${AUCTION_LOSS"),
            ("https://b.example/?x=${${AUCTION_LOSS}}", "https://b.example/?x=${102}"),
            ("https://b.example/é${AUCTION_LOSS}", "https://b.example/é102"),
        ] {
            assert_eq!(settle(url, &value), settled, "{url}");
        }
    }

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
