//! How the simulated bidders behave.
//!
//! Owns: [`StubSpec`] with its defaults, as it stands in TOML or JSON, and what may stand in it.
//! Never: a draw; `model` makes those.

use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Of everything that takes time: ten minutes. Milliseconds.
const TIME_MS: RangeInclusive<f64> = 0.0..=600_000.0;

/// Beyond, a draw of ten thousand is e^40 times the median.
const SIGMA: RangeInclusive<f64> = 0.0..=10.0;

const SHARE: RangeInclusive<f64> = 0.0..=1.0;

/// Per thousand.
const PRICE: RangeInclusive<f64> = 0.0..=1e6;

/// All that is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bidders are not specified rightly:\n  {}", .0.join("\n  "))]
pub struct SpecError(pub Vec<String>);

/// A set of bidders that share a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StubSpec {
    /// Everything that is drawn follows from it and from the request's id.
    pub seed: u64,
    /// Threads; each serves every bidder. 1 to 64.
    pub threads: u32,
    /// Connections open at once, per thread; further ones are closed at once.
    pub connections_max: usize,
    /// One request, head and body. Bytes.
    pub request_bytes_max: usize,
    /// A capture with the exchanges of bidders: whoever is in it by its name answers as recorded,
    /// the others by their model.
    pub recorded: Option<PathBuf>,
    /// Recorded answers that are kept, all bidders together; what is beyond is left out and counted.
    /// Bytes.
    pub recorded_bytes_max: usize,
    /// A recording tells that an answer was late, not how late: so much after the caller gave up.
    /// Milliseconds.
    pub recorded_late_ms: f64,
    /// Bidders speak TLS, too, on the same ports, with a certificate that is made at the start; the
    /// certificate of its authority is written here, for the exchange's `network.ca_file`.
    pub ca_file: Option<PathBuf>,
    pub bidders: Vec<BidderSpec>,
}

/// One bidder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BidderSpec {
    pub name: String,
    /// On loopback; 0: any free one.
    pub port: u16,
    /// Median time to an answer. Milliseconds; 0: at once.
    pub latency_ms: f64,
    /// Deviation of the logarithm of that time; 0: always the median.
    pub latency_sigma: f64,
    /// Share of requests that are bid on.
    pub bid_rate: f64,
    /// Median price per thousand, in `currency`.
    pub price: f64,
    /// Deviation of the logarithm of the price.
    pub price_sigma: f64,
    /// ISO 4217; where a request does not allow it, the first that the request names.
    pub currency: String,
    /// Share of deals that are taken where an imp offers some.
    pub deal_rate: f64,
    pub faults: FaultSpec,
}

/// Shares of requests that go wrong, 0 to 1; the first that is drawn counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSpec {
    /// Answered after `slow_ms` on top.
    pub slow: f64,
    /// Milliseconds.
    pub slow_ms: f64,
    /// Status 500, 502 or 503.
    pub status: f64,
    /// Status 200 with something that is not JSON.
    pub garbage: f64,
    /// The connection is reset.
    pub reset: f64,
    /// A body of `HUGE_BYTES`.
    pub huge: f64,
    /// A few bytes every few milliseconds.
    pub drip: f64,
    /// No answer; the connection stays open.
    pub hang: f64,
}

impl Default for StubSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            threads: 1,
            connections_max: 16_384,
            request_bytes_max: 1 << 20,
            recorded: None,
            recorded_bytes_max: 256 << 20,
            recorded_late_ms: 400.0,
            ca_file: None,
            bidders: Vec::new(),
        }
    }
}

impl Default for BidderSpec {
    fn default() -> Self {
        Self {
            name: "bidder".to_owned(),
            port: 0,
            latency_ms: 0.0,
            latency_sigma: 0.0,
            bid_rate: 1.0,
            price: 1.5,
            price_sigma: 0.6,
            currency: "USD".to_owned(),
            deal_rate: 0.5,
            faults: FaultSpec::default(),
        }
    }
}

impl StubSpec {
    /// Every fault at once.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let mut faults = Faults(Vec::new());
        faults.unless(self.threads, &(1..=64), "threads");
        faults.unless(self.connections_max, &(1..=1_000_000), "connections_max");
        faults.unless(self.request_bytes_max, &(1..=1 << 30), "request_bytes_max");
        faults.unless(self.recorded_late_ms, &TIME_MS, "recorded_late_ms");
        for (index, bidder) in self.bidders.iter().enumerate() {
            let before = || self.bidders.iter().take(index);
            let at = |field: &str| format!("bidders[{index}].{field}");
            bidder.check(&mut faults, at);
            if let Some(other) = before().position(|other| other.name == bidder.name) {
                let (at, name) = (at("name"), &bidder.name);
                faults.0.push(format!("{at} = {name:?}: bidders[{other}] has this name, too"));
            }
            if let Some(other) = before().position(|other| other.port == bidder.port)
                && bidder.port > 0
            {
                let (at, port) = (at("port"), bidder.port);
                faults.0.push(format!("{at} = {port}: bidders[{other}] has this port, too"));
            }
        }
        if faults.0.is_empty() { Ok(()) } else { Err(SpecError(faults.0)) }
    }

    /// Bidders of a recording that are not specified get a free port.
    pub(super) fn complete<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if self.bidders.iter().all(|bidder| bidder.name != name) {
                let bidder = BidderSpec { name: name.to_owned(), ..BidderSpec::default() };
                self.bidders.push(bidder);
            }
        }
    }

    /// So many equal bidders that answer at once; names `bidder-0`, `bidder-1`, ...
    pub fn uniform(count: u32, one: &BidderSpec) -> Self {
        let bidder = |index| BidderSpec { name: format!("bidder-{index}"), ..one.clone() };
        Self { bidders: (0..count).map(bidder).collect(), ..Self::default() }
    }
}

impl BidderSpec {
    fn check(&self, faults: &mut Faults, at: impl Fn(&str) -> String) {
        for (value, allowed, field) in [
            (self.latency_ms, TIME_MS, "latency_ms"),
            (self.latency_sigma, SIGMA, "latency_sigma"),
            (self.bid_rate, SHARE, "bid_rate"),
            (self.price, PRICE, "price"),
            (self.price_sigma, SIGMA, "price_sigma"),
            (self.deal_rate, SHARE, "deal_rate"),
            (self.faults.slow_ms, TIME_MS, "faults.slow_ms"),
        ] {
            faults.unless(value, &allowed, &at(field));
        }
        let FaultSpec { slow, status, garbage, reset, huge, drip, hang, slow_ms: _ } = self.faults;
        let shares = [
            (slow, "slow"),
            (status, "status"),
            (garbage, "garbage"),
            (reset, "reset"),
            (huge, "huge"),
            (drip, "drip"),
            (hang, "hang"),
        ];
        for (value, field) in shares {
            faults.unless(value, &SHARE, &at(&format!("faults.{field}")));
        }
        let sum: f64 = shares.iter().map(|(value, _)| value).sum();
        // a hair of room: ten times 0.1 are one
        if shares.iter().all(|(value, _)| SHARE.contains(value)) && sum > 1.0 + 1e-9 {
            faults.0.push(format!("{} are {sum} together, allowed: at most 1", at("faults")));
        }
        if self.name.is_empty() {
            faults.0.push(format!("{} is empty", at("name")));
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|it| it.is_ascii_uppercase()) {
            let (at, currency) = (at("currency"), &self.currency);
            faults.0.push(format!("{at} = {currency:?}, allowed: three capital letters"));
        }
    }
}

/// What was found wrong, one line each.
struct Faults(Vec<String>);

impl Faults {
    fn unless<T: Copy + Display + PartialOrd>(
        &mut self,
        value: T,
        allowed: &RangeInclusive<T>,
        at: &str,
    ) {
        if !allowed.contains(&value) {
            let (low, high) = (allowed.start(), allowed.end());
            self.0.push(format!("{at} = {value}, allowed: {low} to {high}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let spec: StubSpec = toml::from_str(text).unwrap();
        spec.check().err().map_or(Vec::new(), |SpecError(faults)| faults)
    }

    #[test]
    fn every_value_that_cannot_be_is_told_at_once() {
        let text = r#"
            threads = 0
            [[bidders]]
            name = "a"
            port = 9601
            bid_rate = 2.0
            price = -4
            latency_ms = -3
            currency = "usd"
            [[bidders]]
            name = "a"
            port = 9601
            latency_sigma = nan
            [bidders.faults]
            status = 5
        "#;
        assert_eq!(
            told(text),
            [
                "threads = 0, allowed: 1 to 64",
                "bidders[0].latency_ms = -3, allowed: 0 to 600000",
                "bidders[0].bid_rate = 2, allowed: 0 to 1",
                "bidders[0].price = -4, allowed: 0 to 1000000",
                "bidders[0].currency = \"usd\", allowed: three capital letters",
                "bidders[1].latency_sigma = NaN, allowed: 0 to 10",
                "bidders[1].faults.status = 5, allowed: 0 to 1",
                "bidders[1].name = \"a\": bidders[0] has this name, too",
                "bidders[1].port = 9601: bidders[0] has this port, too",
            ]
        );
    }

    #[test]
    fn shares_of_faults_are_one_at_most_and_free_ports_are_no_port() {
        let faults = "[[bidders]]\nname = \"\"\n[bidders.faults]\nslow = 0.7\nhang = 0.4\n";
        let told_of = told(faults);
        assert_eq!(told_of.len(), 2, "{told_of:?}");
        assert!(told_of[0].starts_with("bidders[0].faults are 1.1"), "{told_of:?}");
        assert_eq!(told_of[1], "bidders[0].name is empty");
        assert!(told("[[bidders]]\nname = \"a\"\n[[bidders]]\nname = \"b\"\n").is_empty());
        assert!(told(crate::demo::files::STUB).is_empty());
    }
}
