//! A request and its answer, read for judging.
//!
//! Owns: reading both bodies once, and the lenient view of their fields. Never: a rule. Invariant:
//! total for whatever was sent and answered.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::Value;
use std::time::Duration;

/// See the file's header.
#[derive(Debug)]
pub struct Pair<'a> {
    pub request: Option<Value>,
    pub status: u16,
    pub body: &'a [u8],
    /// Whether the head of a 204 announces a body.
    pub announces: bool,
    /// None: no JSON.
    pub answer: Option<Value>,
    /// From sending to the end of the answer.
    pub service: Option<Duration>,
}

/// A bid of the answer with its seat.
#[derive(Clone, Copy, Debug)]
pub struct SeatBid<'v> {
    pub seat: &'v str,
    pub bid: &'v Value,
}

impl<'a> Pair<'a> {
    /// Reads both.
    pub fn new(request: &[u8], status: u16, body: &'a [u8], service: Option<Duration>) -> Self {
        let answer = if body.is_empty() { None } else { serde_json::from_slice(body).ok() };
        let request = serde_json::from_slice(request).ok();
        Self { request, status, body, announces: false, answer, service }
    }

    /// The bids of the answer, whatever else is wrong with it.
    pub fn bids(&self) -> Vec<SeatBid<'_>> {
        let Some(answer) = &self.answer else { return Vec::new() };
        let mut found = Vec::new();
        for seat in list(answer, "seatbid") {
            let name = text(seat, "seat").unwrap_or_default();
            found.extend(list(seat, "bid").iter().map(|bid| SeatBid { seat: name, bid }));
        }
        found
    }

    /// The impression that a bid is for.
    pub fn imp(&self, bid: &Value) -> Option<&Value> {
        let wanted = scalar(bid.get("impid")?)?;
        let request = self.request.as_ref()?;
        list(request, "imp")
            .iter()
            .find(|imp| imp.get("id").and_then(scalar) == Some(wanted.clone()))
    }

    /// The deal of an impression that a bid names.
    pub fn deal<'v>(imp: &'v Value, bid: &Value) -> Option<&'v Value> {
        let wanted = scalar(bid.get("dealid")?)?;
        list(imp.get("pmp")?, "deals")
            .iter()
            .find(|deal| deal.get("id").and_then(scalar) == Some(wanted.clone()))
    }
}

/// An array's elements; none where it is not there.
pub fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A string's text.
pub fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

/// A number, also where it is written as text.
pub fn number(value: &Value, name: &str) -> Option<f64> {
    let found = match value.get(name)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    found.is_finite().then_some(found)
}

/// A text or a number as text: ids come as both.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The texts of an array of texts and numbers.
pub fn texts(value: &Value, name: &str) -> Vec<String> {
    list(value, name).iter().filter_map(scalar).collect()
}
