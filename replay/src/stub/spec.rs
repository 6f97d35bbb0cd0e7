//! How the simulated bidders behave.
//!
//! Owns: [`StubSpec`] with its defaults, as it stands in TOML or JSON. Never: a draw; `model`
//! makes those.

use serde::{Deserialize, Serialize};

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
    /// Status 500.
    pub status: f64,
    /// Status 200 with something that is not JSON.
    pub garbage: f64,
    /// The connection is reset.
    pub reset: f64,
    /// A body of `HUGE_BYTES`.
    pub huge: f64,
    /// A few bytes every few milliseconds.
    pub drip: f64,
}

impl Default for StubSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            threads: 1,
            connections_max: 16_384,
            request_bytes_max: 1 << 20,
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
    /// So many equal bidders that answer at once; names `bidder-0`, `bidder-1`, ...
    pub fn uniform(count: u32, one: &BidderSpec) -> Self {
        let bidder = |index| BidderSpec { name: format!("bidder-{index}"), ..one.clone() };
        Self { bidders: (0..count).map(bidder).collect(), ..Self::default() }
    }
}
