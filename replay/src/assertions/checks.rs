//! The rules, one function each.
//!
//! Owns: what each rule demands of one exchange. Never: counts. Invariant: total; nothing in a
//! request or an answer makes it panic.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::pair::{Pair, SeatBid, list, number, scalar, text, texts};
use super::{Assertion, AssertionSettings, Outcome};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Prices are equal within this share, and within a millionth of the currency, which is the
/// exchange's unit: both are rounded on their way.
const PRICE_ROUNDING: f64 = 1e-6;
const PRICE_UNIT: f64 = 1e-6;

/// How far two prices that are equal may lie apart.
fn rounding(price: f64) -> f64 {
    price.abs() * PRICE_ROUNDING + PRICE_UNIT
}

pub(super) fn check(one: Assertion, pair: &Pair<'_>, settings: &AssertionSettings) -> Outcome {
    match one {
        Assertion::Status => status(pair),
        Assertion::Empty if pair.status != 204 => Outcome::NotJudged,
        Assertion::Empty if pair.announces => {
            Outcome::Fails("204 whose head announces a body".to_owned())
        }
        Assertion::Empty => {
            holds(pair.body.is_empty(), || format!("204 with a body of {} bytes", pair.body.len()))
        }
        Assertion::Tmax => tmax(pair, settings),
        Assertion::Mix => Outcome::NotJudged,
        _ if pair.status != 200 => Outcome::NotJudged,
        Assertion::Parses => parses(pair),
        Assertion::Id => id(pair),
        Assertion::OneBid => one_bid(pair, settings),
        Assertion::Currency => currency(pair),
        Assertion::Shape => shape(pair),
        _ => each_bid(one, pair),
    }
}

fn holds(it_does: bool, why: impl FnOnce() -> String) -> Outcome {
    if it_does { Outcome::Holds } else { Outcome::Fails(why()) }
}

/// A rule of each bid: the first that fails; not judged where it is for none.
fn each_bid(one: Assertion, pair: &Pair<'_>) -> Outcome {
    let mut outcome = Outcome::NotJudged;
    for bid in pair.bids() {
        let found = match one {
            Assertion::Impid => impid(pair, bid),
            Assertion::Floor => floor(pair, bid),
            Assertion::Deal => deal(pair, bid),
            Assertion::Seat => seat(pair, bid),
            Assertion::Category => blocked(pair, bid.bid, "bcat", "cat", |one, two| one == two),
            Assertion::Advertiser => blocked(pair, bid.bid, "badv", "adomain", is_domain_of),
            Assertion::App => app(pair, bid.bid),
            Assertion::Attribute => attribute(pair, bid.bid),
            Assertion::Size => size(pair, bid.bid),
            Assertion::Markup => {
                let has = |name| text(bid.bid, name).is_some_and(|it| !it.trim().is_empty());
                let is_there = has("adm") || bid.bid.get("adm").is_some_and(Value::is_object);
                holds(is_there || has("nurl"), || "a bid has neither adm nor nurl".to_owned())
            }
            _ => Outcome::NotJudged,
        };
        match found {
            Outcome::Fails(_) => return found,
            Outcome::Holds => outcome = Outcome::Holds,
            Outcome::NotJudged => {}
        }
    }
    outcome
}

fn status(pair: &Pair<'_>) -> Outcome {
    let is_known = matches!(pair.status, 200 | 204 | 400..=499 | 503);
    holds(is_known, || format!("status {}", pair.status))
}

fn parses(pair: &Pair<'_>) -> Outcome {
    let is_answer = pair.answer.as_ref().is_some_and(|answer| {
        answer.is_object() && (answer.get("seatbid").is_some() || answer.get("nbr").is_some())
    });
    holds(is_answer, || "200 without a JSON object that has seatbid or nbr".to_owned())
}

fn id(pair: &Pair<'_>) -> Outcome {
    let of = |value: &Option<Value>| value.as_ref().and_then(|it| it.get("id")).and_then(scalar);
    let Some(asked) = of(&pair.request) else { return Outcome::NotJudged };
    let found = of(&pair.answer);
    holds(found.as_ref() == Some(&asked), || {
        format!("asked as {asked:?}, answered as {:?}", found.unwrap_or_default())
    })
}

fn shape(pair: &Pair<'_>) -> Outcome {
    let Some(answer) = pair.answer.as_ref().filter(|answer| answer.get("seatbid").is_some()) else {
        return Outcome::NotJudged;
    };
    let seats = list(answer, "seatbid");
    if seats.is_empty() {
        return Outcome::Fails("seatbid is empty".to_owned());
    }
    for seat in seats {
        if seat.get("seat").is_some_and(|name| !name.is_string()) {
            return Outcome::Fails("a seat is no text".to_owned());
        }
        let bids = list(seat, "bid");
        if bids.is_empty() {
            return Outcome::Fails("a seat has no bid".to_owned());
        }
        for bid in bids {
            let has_ids = ["id", "impid"]
                .into_iter()
                .all(|name| text(bid, name).is_some_and(|it| !it.is_empty()));
            if !has_ids {
                return Outcome::Fails("a bid has no id or no impid".to_owned());
            }
            let price = bid.get("price").and_then(Value::as_f64);
            if price.is_none_or(|price| price <= 0.0) {
                return Outcome::Fails(format!("a bid's price is {:?}", bid.get("price")));
            }
        }
    }
    Outcome::Holds
}

fn impid(pair: &Pair<'_>, SeatBid { bid, .. }: SeatBid<'_>) -> Outcome {
    if pair.request.is_none() {
        return Outcome::NotJudged;
    }
    holds(pair.imp(bid).is_some(), || {
        format!("a bid is for impression {:?}, which was not asked for", bid.get("impid"))
    })
}

fn one_bid(pair: &Pair<'_>, settings: &AssertionSettings) -> Outcome {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for SeatBid { bid, .. } in pair.bids() {
        let count =
            counts.entry(bid.get("impid").and_then(scalar).unwrap_or_default()).or_default();
        *count = count.saturating_add(1);
    }
    let most = counts.iter().max_by_key(|(_, count)| **count);
    match most {
        None => Outcome::NotJudged,
        Some((imp, count)) => holds(*count <= settings.bids_per_imp_max, || {
            format!("impression {imp:?} has {count} bids, {} agreed", settings.bids_per_imp_max)
        }),
    }
}

/// The currency of the answer; by the standard, dollars where it says nothing.
fn answered_in<'p>(pair: &'p Pair<'_>) -> &'p str {
    pair.answer.as_ref().and_then(|answer| text(answer, "cur")).unwrap_or("USD")
}

fn floor(pair: &Pair<'_>, SeatBid { bid, .. }: SeatBid<'_>) -> Outcome {
    let (Some(imp), Some(price)) = (pair.imp(bid), number(bid, "price")) else {
        return Outcome::NotJudged;
    };
    // a deal has its own floor instead of the impression's
    let from = Pair::deal(imp, bid).unwrap_or(imp);
    let Some(floor) = number(from, "bidfloor").filter(|floor| *floor > 0.0) else {
        return Outcome::NotJudged;
    };
    let currency = text(from, "bidfloorcur").unwrap_or("USD");
    if !currency.eq_ignore_ascii_case(answered_in(pair)) {
        return Outcome::NotJudged;
    }
    holds(price >= floor - rounding(floor), || {
        format!("price {price} {currency} is below the floor of {floor}")
    })
}

fn deal(pair: &Pair<'_>, SeatBid { bid, .. }: SeatBid<'_>) -> Outcome {
    let (Some(imp), Some(named)) = (pair.imp(bid), bid.get("dealid").and_then(scalar)) else {
        return Outcome::NotJudged;
    };
    let Some(deal) = Pair::deal(imp, bid) else {
        return Outcome::Fails(format!("deal {named:?} was not offered"));
    };
    let currency = text(deal, "bidfloorcur").unwrap_or("USD");
    let is_fixed = number(deal, "at").is_some_and(|at| (at - 3.0).abs() < f64::EPSILON);
    let (Some(agreed), Some(price)) = (number(deal, "bidfloor"), number(bid, "price")) else {
        return Outcome::Holds;
    };
    if !is_fixed || !currency.eq_ignore_ascii_case(answered_in(pair)) {
        return Outcome::Holds;
    }
    holds((price - agreed).abs() <= rounding(agreed), || {
        format!("deal {named:?} is fixed at {agreed}, the price is {price}")
    })
}

fn seat(pair: &Pair<'_>, SeatBid { seat, bid }: SeatBid<'_>) -> Outcome {
    let Some(request) = &pair.request else { return Outcome::NotJudged };
    let (wanted, refused) = (texts(request, "wseat"), texts(request, "bseat"));
    let of_deal = pair.imp(bid).and_then(|imp| Pair::deal(imp, bid));
    let of_deal = of_deal.map(|deal| texts(deal, "wseat")).unwrap_or_default();
    if wanted.is_empty() && refused.is_empty() && of_deal.is_empty() {
        return Outcome::NotJudged;
    }
    let is_in = |list: &[String]| list.iter().any(|one| one == seat);
    let is_allowed = (wanted.is_empty() || is_in(&wanted))
        && (of_deal.is_empty() || is_in(&of_deal))
        && !is_in(&refused);
    holds(is_allowed, || format!("seat {seat:?} is not allowed"))
}

fn currency(pair: &Pair<'_>) -> Outcome {
    let asked = pair.request.as_ref().map(|request| texts(request, "cur")).unwrap_or_default();
    if asked.is_empty() || pair.bids().is_empty() {
        return Outcome::NotJudged;
    }
    let found = answered_in(pair);
    holds(asked.iter().any(|one| one.eq_ignore_ascii_case(found)), || {
        format!("answered in {found}, asked for {}", asked.join(", "))
    })
}

fn blocked(
    pair: &Pair<'_>,
    bid: &Value,
    list_name: &str,
    of_bid: &str,
    is_same: impl Fn(&str, &str) -> bool,
) -> Outcome {
    let Some(request) = &pair.request else { return Outcome::NotJudged };
    let (blocked, found) = (texts(request, list_name), texts(bid, of_bid));
    if blocked.is_empty() || found.is_empty() {
        return Outcome::NotJudged;
    }
    let hit = found.iter().find(|one| blocked.iter().any(|other| is_same(one, other)));
    match hit {
        None => Outcome::Holds,
        Some(hit) => Outcome::Fails(format!("{of_bid} has {hit:?}, which {list_name} blocks")),
    }
}

/// A domain or one below it.
fn is_domain_of(one: &str, blocked: &str) -> bool {
    let (one, blocked) = (one.to_ascii_lowercase(), blocked.to_ascii_lowercase());
    one.strip_suffix(&blocked).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn app(pair: &Pair<'_>, bid: &Value) -> Outcome {
    let Some(request) = &pair.request else { return Outcome::NotJudged };
    let (blocked, Some(bundle)) = (texts(request, "bapp"), text(bid, "bundle")) else {
        return Outcome::NotJudged;
    };
    if blocked.is_empty() {
        return Outcome::NotJudged;
    }
    holds(!blocked.iter().any(|one| one == bundle), || {
        format!("bundle is {bundle:?}, which bapp blocks")
    })
}

/// The media object that a bid is for: by `mtype`, or the only one.
fn medium<'v>(imp: &'v Value, bid: &Value) -> Option<(&'static str, &'v Value)> {
    const MEDIA: [&str; 4] = ["banner", "video", "audio", "native"];
    let offered: Vec<(&'static str, &Value)> =
        MEDIA.into_iter().filter_map(|name| imp.get(name).map(|value| (name, value))).collect();
    let by_type = number(bid, "mtype").and_then(|mtype| {
        let place = (1..=4_u8).position(|one| (f64::from(one) - mtype).abs() < f64::EPSILON)?;
        let name = MEDIA.get(place)?;
        offered.iter().find(|(found, _)| found == name)
    });
    by_type.or(if offered.len() == 1 { offered.first() } else { None }).copied()
}

fn attribute(pair: &Pair<'_>, bid: &Value) -> Outcome {
    let Some((name, medium)) = pair.imp(bid).and_then(|imp| medium(imp, bid)) else {
        return Outcome::NotJudged;
    };
    let (blocked, found) = (texts(medium, "battr"), texts(bid, "attr"));
    if blocked.is_empty() || found.is_empty() {
        return Outcome::NotJudged;
    }
    let hit = found.iter().find(|one| blocked.contains(one));
    match hit {
        None => Outcome::Holds,
        Some(hit) => Outcome::Fails(format!("attribute {hit} is blocked by the {name}'s battr")),
    }
}

fn size(pair: &Pair<'_>, bid: &Value) -> Outcome {
    let Some(imp) = pair.imp(bid) else { return Outcome::NotJudged };
    let Some(("banner", banner)) = medium(imp, bid) else { return Outcome::NotJudged };
    let is_full = number(imp, "instl").is_some_and(|instl| instl > 0.0);
    let (Some(w), Some(h)) = (number(bid, "w"), number(bid, "h")) else {
        return Outcome::NotJudged;
    };
    let formats = list(banner, "format");
    let is_flexible = formats.iter().any(|format| format.get("wratio").is_some());
    if is_full || is_flexible || (w <= 0.0 && h <= 0.0) {
        return Outcome::NotJudged;
    }
    let mut offered: Vec<(f64, f64)> = formats
        .iter()
        .chain([banner])
        .filter_map(|one| Some((number(one, "w")?, number(one, "h")?)))
        .collect();
    if offered.is_empty() {
        return Outcome::NotJudged;
    }
    let is_offered = offered.iter().any(|(width, height)| {
        (width - w).abs() < f64::EPSILON && (height - h).abs() < f64::EPSILON
    });
    offered.truncate(4);
    holds(is_offered, || format!("size {w}x{h} was not offered: {offered:?}"))
}

fn tmax(pair: &Pair<'_>, settings: &AssertionSettings) -> Outcome {
    let tmax = pair.request.as_ref().and_then(|request| number(request, "tmax"));
    let (Some(tmax), Some(service)) = (tmax.filter(|it| *it > 0.0 && *it < 1e6), pair.service)
    else {
        return Outcome::NotJudged;
    };
    if !matches!(pair.status, 200 | 204) {
        return Outcome::NotJudged;
    }
    let limit = Duration::from_secs_f64(tmax / 1e3)
        .saturating_add(Duration::from_millis(settings.tmax_slack_ms));
    holds(service <= limit, || format!("{:.1} ms, tmax is {tmax}", service.as_secs_f64() * 1e3))
}
