//! How the simulated bidders behave.
//!
//! Owns: [`StubSpec`] with its defaults, as it stands in TOML or JSON. Never: a draw; `model`
//! makes those.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
