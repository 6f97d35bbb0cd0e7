//! What one bidder is told by its own settings and the partner's, from the words of the table.

use super::Case;
use serde_json::{Value, json};

const UNITS: [(&str, f64); 3] = [("USD", 1.0), ("EUR", 2.0), ("JPY", 1.0 / 150.0)];

fn units(currency: &str) -> f64 {
    UNITS.iter().find(|(code, _)| *code == currency).unwrap().1
}

/// The texts of a list; a number stands for what it is written as.
fn strings(value: &Value) -> Vec<String> {
    let text = |one: &Value| match one {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

/// Member and seats that the bidder is told; `None`: there is no seat that it may bid for.
pub fn seats(case: &Case, request: &Value) -> Option<(&'static str, Vec<String>)> {
    let (ours, no_ours) = (&case.bidder.seats.allowed, &case.bidder.seats.blocked);
    let (theirs, no_theirs) = (strings(&request["wseat"]), strings(&request["bseat"]));
    let named = if theirs.is_empty() { ours.clone() } else { theirs.clone() };
    if named.is_empty() {
        let more = no_ours.iter().filter(|seat| !no_theirs.contains(seat)).cloned();
        return Some(("bseat", no_theirs.iter().cloned().chain(more).collect()));
    }
    let is_fine = |seat: &String| {
        (ours.is_empty() || ours.contains(seat))
            && !no_ours.contains(seat)
            && !no_theirs.contains(seat)
    };
    let left: Vec<String> = named.into_iter().filter(is_fine).collect();
    (!left.is_empty()).then_some(("wseat", left))
}

/// Compares a request and what became of it; `offered` are places in `imp`.
pub fn check(case: &Case, before: &Value, after: &Value, offered: &[usize]) {
    if case.has_seats() {
        let (key, list) = seats(case, before).unwrap();
        let other = if key == "wseat" { "bseat" } else { "wseat" };
        assert_eq!((strings(&after[key]), after.get(other)), (list, None), "{key}");
    }
    let is_all = before["imp"].as_array().unwrap().len() == offered.len();
    let says_all = !matches!(before["allimps"].as_u64(), None | Some(0));
    if says_all && !is_all {
        assert_eq!(after["allimps"], 0);
    } else {
        assert_eq!(before.get("allimps"), after.get("allimps"));
    }
    if !strings(&before["acat"]).is_empty() {
        assert_eq!(before.get("bcat"), after.get("bcat"));
    }
    check_user(case, before, after);
    let is_seen = case.partner.is_direct && case.facts.address.is_some();
    if is_seen && is_object_or_null(&before["device"]) {
        let address = if case.is_strict() { "192.0.2.0" } else { "192.0.2.77" };
        assert_eq!(after["device"]["ip"], address);
        assert!(after["device"].get("ipv6").is_none());
    }
    for (at, sent) in offered.iter().zip(after["imp"].as_array().unwrap()) {
        let given = &before["imp"][at];
        let is_said = !case.partner.is_secure || !given["secure"].is_null();
        let secure = if is_said { given["secure"].clone() } else { 1.into() };
        assert_eq!(sent["secure"], secure);
        check_floor(case, given, sent);
    }
    if let Some(own) = case.bidder.wire.currency {
        let asked = strings(&before["cur"]);
        let asked = if asked.is_empty() { vec!["USD".to_owned()] } else { asked };
        let more = asked.into_iter().filter(|one| one != own.as_str());
        let expected: Vec<String> = std::iter::once(own.to_string()).chain(more).collect();
        assert_eq!(strings(&after["cur"]), expected);
    }
}

/// Whether a rule of the request keeps the ids of a source from the bidder.
fn is_withheld(case: &Case, request: &Value, source: &Value) -> bool {
    let rules = request["ext"]["prebid"]["data"]["eidpermissions"].as_array();
    rules.into_iter().flatten().any(|rule| {
        let names = strings(&rule["bidders"]);
        let is_of = rule["source"].is_null() || rule["source"] == *source;
        is_of && !names.contains(&"*".to_owned()) && !names.contains(&case.bidder.name)
    })
}

/// What is addressed to single bidders; gives back whether ids are withheld from this one.
pub fn prebid(case: &Case, before: &Value, after: &Value) -> bool {
    let mut expected = before["ext"]["prebid"].clone();
    if let Value::Object(members) = &mut expected {
        members.remove("bidderconfig");
        if case.is_strict() {
            members.remove("data");
            members.remove("page_view_ids");
        }
    }
    assert_eq!(after["ext"]["prebid"], expected);
    if case.is_strict() {
        assert!(after["user"]["ext"]["prebid"].is_null());
        return false;
    }
    let mut expected = before["user"]["ext"]["prebid"].clone();
    if let Some(uids) = expected.get("buyeruids") {
        let name = &case.bidder.name;
        let own = uids.get(name).map(|uid| json!({ "buyeruids": { name: uid } }));
        expected = own.unwrap_or_default();
    }
    assert_eq!(after["user"]["ext"]["prebid"], expected);
    let eids = |request: &Value| {
        let user = &request["user"];
        let lists = [&user["eids"], &user["ext"]["eids"]];
        let eids = lists.into_iter().filter_map(Value::as_array).flatten();
        eids.cloned().collect::<Vec<_>>()
    };
    let (given, sent) = (eids(before), eids(after));
    let is_kept = |eid: &&Value| !is_withheld(case, before, &eid["source"]);
    assert!(sent.iter().all(|eid| is_kept(&eid) && given.contains(eid)));
    assert!(given.iter().filter(is_kept).all(|eid| sent.contains(eid)));
    !given.iter().all(|eid| is_kept(&eid))
}

fn check_user(case: &Case, before: &Value, after: &Value) {
    let Some(source) = &case.bidder.wire.buyeruid_source else { return };
    let user = &before["user"];
    if case.is_strict() {
        assert!(after["user"].get("buyeruid").is_none());
        return;
    }
    let lists = [&user["eids"], &user["ext"]["eids"]];
    let mut eids = lists.into_iter().filter_map(Value::as_array).flatten();
    let id = |eid: &Value| eid["uids"][0]["id"].as_str().map(str::to_owned);
    let of_source = |eid: &&Value| eid["source"].as_str() == Some(source.as_str());
    let known = eids.find(|eid| of_source(eid) && id(eid).is_some()).and_then(id);
    let known = known.filter(|_| !is_withheld(case, before, &Value::from(source.as_str())));
    let is_foreign = !matches!(user["buyeruid"].as_str(), None | Some(""));
    let none = if is_foreign { Value::Null } else { user["buyeruid"].clone() };
    let expected = known.map_or(none, Value::from);
    assert_eq!(after["user"]["buyeruid"], expected);
}

/// Floors: never below what both ask for, and above it by rounding only.
fn check_floor(case: &Case, given: &Value, sent: &Value) {
    let own = case.bidder.wire.currency;
    let currency = |imp: &Value| imp["bidfloorcur"].as_str().unwrap_or("USD").to_owned();
    let number = |imp: &Value| imp["bidfloor"].as_f64().unwrap_or_default();
    let partner = case.partner.floor.micros() as f64 / 1e6;
    let least = (number(given) * units(&currency(given))).max(partner);
    if let Some(own) = own.filter(|_| least > 0.0) {
        assert_eq!(currency(sent), own.as_str());
    }
    let least = if case.partner.margin.open.is_none() { least } else { least / 0.8 };
    let floor = number(sent) * units(&currency(sent));
    assert!(floor >= least - 1e-9, "{floor} is below {least}");
    assert!(floor <= least + 1e-5, "{floor} is above {least}");
}

fn is_object_or_null(value: &Value) -> bool {
    value.is_object() || value.is_null()
}
