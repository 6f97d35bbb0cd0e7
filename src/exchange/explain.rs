//! Explains an auction: every bidder and every bid, for a test request of a partner that may ask.
//!
//! Owns: `ext.gavel` of our answer. Never: an address, an id or a position of the user; what a
//! bidder pays: the reader is our partner, so every price is told as it would get it, without our
//! margin.
//! Off the hot road: it is written with `serde_json`.

use crate::auction::offer::{Answered, AuctionResult, BidRef, Loss, LossReason, Win};
use crate::auction::pricing::Pricing;
use crate::facts::Facts;
use crate::money::margin::TakeRate;
use crate::money::{Cpm, MICROS};
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::{BidderId, Country};
use crate::partner::Partner;
use crate::request::ValidRequest;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What is known about an auction when it is explained.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    pub generation: u64,
    pub request: &'a ValidRequest,
    pub pricing: Pricing<'a>,
    pub facts: &'a Facts,
    pub browser: Option<String>,
    /// The `tmax` that counted, after default and maximum.
    pub tmax: Duration,
    /// From the arrival to this moment.
    pub took: Duration,
    /// Imps that were turned away: their place in the request, and why.
    pub imps_refused: &'a [(u32, Refusal)],
    /// Every configured bidder that was considered.
    pub bidders: &'a [BidderStory<'a>],
    /// Those that the auction was held with.
    pub answers: &'a [Answered<'a>],
    pub result: &'a AuctionResult,
}

/// What happened with one bidder.
#[derive(Clone, Copy, Debug)]
pub struct BidderStory<'a> {
    pub bidder: BidderId,
    pub name: &'a str,
    pub call: Call,
}

/// Whether a bidder was called, and what came of it.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Not(NotCalled),
    /// `imps`: bit n is `View::imps[n]`. `status`: 0 where none came.
    Made {
        imps: u64,
        took: Duration,
        status: u16,
        answer: Result<(), NoAnswer>,
        /// Why the bidder did not bid, where it said so (4.2.1 `nbr`).
        nbr: Option<u16>,
    },
}

/// Whether this request is explained: a test (3.2.1 `test`) of a partner that may ask, or of an
/// operator.
pub fn is_wanted(request: &ValidRequest, partner: &Partner, is_trial: bool) -> bool {
    request.view.is_test && (partner.may_debug || is_trial)
}

/// The object for `ext` of our answer: `{"gavel":{...}}`.
pub fn explain(explanation: &Explanation<'_>) -> Vec<u8> {
    let gavel = json!({
        "generation": explanation.generation,
        "at": explanation.result.auction_type.wire(),
        "cur": explanation.result.currency.as_str(),
        "tmax_ms": millis(explanation.tmax),
        "took_ms": millis(explanation.took),
        "facts": facts(explanation.facts, explanation.browser.as_deref()),
        "imps_refused": refused(explanation.imps_refused),
        "bidders": explanation.bidders.iter().map(|story| bidder(explanation, story)).collect::<Vec<_>>(),
    });
    json!({ "gavel": gavel }).to_string().into_bytes()
}

/// A request that a rule stopped before any bidder was asked.
#[derive(Clone, Debug)]
pub struct Stopped<'a> {
    pub generation: u64,
    /// `None`: nothing was looked up yet.
    pub facts: Option<&'a Facts>,
    pub browser: Option<String>,
    /// From the arrival to this moment.
    pub took: Duration,
    /// Imps that were turned away: their place in the request, and why.
    pub imps_refused: &'a [(u32, Refusal)],
    pub rule: Refusal,
}

/// As [`explain`], of such a request.
pub fn stopped(stopped: &Stopped<'_>) -> Vec<u8> {
    let gavel = json!({
        "generation": stopped.generation,
        "rule": stopped.rule.label(),
        "took_ms": millis(stopped.took),
        "facts": stopped.facts.map(|known| facts(known, stopped.browser.as_deref())),
        "imps_refused": refused(stopped.imps_refused),
        "bidders": [],
    });
    json!({ "gavel": without_nulls(gavel) }).to_string().into_bytes()
}

fn refused(imps: &[(u32, Refusal)]) -> Vec<Value> {
    let told = |(position, refusal): &(u32, Refusal)| json!({ "position": position, "reason": refusal.label() });
    imps.iter().map(told).collect()
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// The price as it is written on the wire: exact up to 10^9 units.
fn units(price: Cpm) -> f64 {
    price.micros() as f64 / MICROS as f64
}

/// What was looked up, without what tells one user from another.
fn facts(facts: &Facts, browser: Option<&str>) -> Value {
    let (geo, device) = (facts.geo.as_deref(), facts.device.as_deref());
    let told = json!({
        "country": facts.country.as_ref().map(Country::as_str),
        "region": geo.and_then(|geo| geo.region.as_deref()),
        "connectiontype": geo.and_then(|geo| geo.connectiontype),
        "anonymous": geo.map(|geo| geo.is_anonymous),
        "hosting": geo.map(|geo| geo.is_hosting),
        "devicetype": facts.devicetype,
        "os": device.and_then(|device| device.os.as_deref()),
        "browser": browser,
        "bot": device.map(|device| device.is_bot),
    });
    without_nulls(told)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

fn bidder(explanation: &Explanation<'_>, story: &BidderStory<'_>) -> Value {
    let (imps, took, status, answer, nbr) = match story.call {
        Call::Not(reason) => {
            return json!({
                "name": story.name,
                "called": false,
                "reason": reason.label(),
                "nonbid": reason.status(),
            });
        }
        Call::Made { imps, took, status, answer, nbr } => (imps, took, status, answer, nbr),
    };
    let request = explanation.request;
    let offered = (0u32..).zip(&request.view.imps).filter(|(index, _)| is_in(imps, *index));
    let mut told = json!({
        "name": story.name,
        "called": true,
        "imps": offered.map(|(_, imp)| request.text(imp.id)).collect::<Vec<_>>(),
        "ms": millis(took),
        "status": status,
    });
    if let Err(reason) = answer {
        told["reason"] = reason.label().into();
        told["nonbid"] = reason.status().into();
        if let Some(nbr) = nbr {
            told["nbr"] = nbr.into();
        }
        return told;
    }
    let result = explanation.result;
    let wins = result.wins.iter().filter(|win| win.bidder == story.bidder);
    let losses = result.losses.iter().filter(|loss| loss.bidder == story.bidder);
    let mut bids: Vec<_> = wins.map(|win| (win.at, won(explanation, win))).collect();
    bids.extend(losses.map(|loss| (loss.at, lost(loss))));
    bids.sort_by_key(|(at, _)| *at);
    told["bids"] = bids.into_iter().map(|(at, end)| bid(explanation, at, end)).collect();
    told
}

fn is_in(imps: u64, index: u32) -> bool {
    imps.checked_shr(index).unwrap_or(0) & 1 == 1
}

/// A bid as it was made, with how it ended.
fn bid(explanation: &Explanation<'_>, at: BidRef, end: Map<String, Value>) -> Value {
    let Some((answered, seatbid, bid)) = at.resolve(explanation.answers) else {
        return Value::Object(end);
    };
    let answer = answered.answer;
    let some = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let rate = rate(explanation, answer.text_bytes(bid.dealid));
    // what is no price is told as it came
    let price = bid.price.map(|came| Cpm::from_wire(came).map_or(came, |one| units(rate.net(one))));
    let mut told = json!({
        "id": answer.text(bid.id),
        "impid": answer.text(bid.impid),
        "seat": String::from_utf8_lossy(answered.seat_name(seatbid)),
        "price": price,
        "cur": answer.currency.map(|currency| currency.to_string()),
        "dealid": some(answer.text(bid.dealid)),
        "crid": some(answer.text(bid.crid)),
    });
    if let Some(members) = told.as_object_mut() {
        members.extend(end);
    }
    without_nulls(told)
}

fn members(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

/// What we keep of a bid under a deal; empty: under none.
fn rate(explanation: &Explanation<'_>, deal: &[u8]) -> TakeRate {
    let pricing = &explanation.pricing;
    if deal.is_empty() { pricing.open } else { pricing.take_rate_of(deal) }
}

fn won(explanation: &Explanation<'_>, win: &Win) -> Map<String, Value> {
    let bid = win.at.resolve(explanation.answers);
    let deal = bid.map(|(answered, _, bid)| answered.answer.text_bytes(bid.dealid));
    let rate = rate(explanation, deal.unwrap_or_default());
    members(json!({
        "result": "won",
        "media": win.media.label(),
        "value": units(rate.net(win.value)),
        "clearing": units(win.net),
        "clearing_cur": explanation.result.currency.as_str(),
    }))
}

fn lost(loss: &Loss) -> Map<String, Value> {
    let (result, nonbid) = match loss.reason {
        LossReason::Rejected(rejection) => ("rejected", Some(rejection.status())),
        LossReason::HigherBid | LossReason::Deal | LossReason::Apart(_) | LossReason::NoRoom => {
            ("lost", None)
        }
    };
    members(json!({
        "result": result,
        "reason": loss.reason.label(),
        "loss": loss.reason.code(),
        "nonbid": nonbid,
    }))
}
