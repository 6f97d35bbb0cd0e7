//! Everything that has to do with bidders: who is called, with which bytes, and what comes back.
//!
//! This file is the folder's vocabulary: what is configured for a bidder, and the values that
//! travel between its children. It imports none of them.

pub mod alarm;
pub mod answer;
pub mod breaker;
pub mod call;
pub mod chunked;
pub mod desk;
pub mod dial;
pub mod doubt;
pub mod drain;
#[cfg(test)]
mod evil;
pub mod fanout;
#[cfg(test)]
pub(crate) mod fixture;
pub mod h2;
pub mod http1;
#[cfg(test)]
mod late_tests;
pub mod line;
pub mod net;
#[cfg(test)]
mod network_tests;
pub mod pool;
pub mod resolve;
pub mod response;
pub mod roster;
pub mod round_trip;
#[cfg(test)]
mod secure_tests;
pub mod shape;
pub mod shelf;
pub mod splice;
pub mod stream;
pub mod tls;

use crate::bid::BidAnswer;
use crate::bidder::shelf::Packet;
use crate::macros::seal::PriceKeys;
use crate::money::{Cpm, Currency};
use crate::negatives::no_answer::NoAnswer;
use crate::openrtb::ids::{BidderId, Channel, Country, MediaSet};
use std::time::Duration;

/// One demand partner, resolved from configuration, held in the snapshot.
#[derive(Clone, Debug)]
pub struct Bidder {
    /// Its name in configuration, metrics and in the state that survives a reload.
    pub name: String,
    pub endpoint: Endpoint,
    pub wire: Wire,
    pub targeting: Targeting,
    pub seats: Seats,
    pub time: CallTime,
    pub limits: CallLimits,
    pub notices: NoticeRules,
}

/// Where a bidder is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub is_tls: bool,
    /// Host name or address literal, without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, as sent.
    pub path: String,
}

/// How a bidder is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    pub version: OpenRtbVersion,
    pub http: HttpVersion,
    /// Compress requests.
    pub is_gzip: bool,
    /// What floors are sent in, and accepted in whatever the request's `cur` says; it has a rate.
    /// `None`: floors as they came.
    pub currency: Option<Currency>,
    /// Send `traceparent` (W3C Trace Context).
    pub tells_trace: bool,
    /// Source of `user.eids` (in lower case) whose ids are the bidder's own ids of users.
    pub buyeruid_source: Option<String>,
    /// Extra request headers, name and value checked at load.
    pub headers: Vec<(String, String)>,
}

/// Where the fields that moved in 2.6 are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenRtbVersion {
    /// `regs.ext.gdpr`, `user.ext.consent`, `source.ext.schain`, ...
    V25,
    #[default]
    V26,
}

/// HTTP towards a bidder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Http2,
}

/// What a bidder buys. An empty list means: all.
#[derive(Clone, Debug, Default)]
pub struct Targeting {
    pub channels: Vec<Channel>,
    pub media: MediaSet,
    /// Banner sizes `(w, h)`.
    pub sizes: Vec<(u32, u32)>,
    pub countries: Vec<Country>,
    /// Countries never bought.
    pub countries_blocked: Vec<Country>,
    /// `(country, region)`.
    pub regions: Vec<(Country, String)>,
    /// AdCOM device types.
    pub devicetypes: Vec<u8>,
    /// Lower-case names, such as `ios`.
    pub os: Vec<String>,
    /// Partner names.
    pub partners: Vec<String>,
    pub partners_blocked: Vec<String>,
    pub publishers: Vec<String>,
    pub publishers_blocked: Vec<String>,
    /// Lower-case domains (a listed domain covers its subdomains) and bundles.
    pub domains: Vec<String>,
    pub domains_blocked: Vec<String>,
    pub bundles: Vec<String>,
    pub bundles_blocked: Vec<String>,
    /// Deals that it may bid under.
    pub deals: Vec<String>,
    /// Calls only where the imp has one of `deals`, and takes no bid without one.
    pub is_deal_only: bool,
    /// Calls only where nothing restricts what may be told of the user.
    pub is_consent_needed: bool,
    /// Calls only for users with a `buyeruid` (one without a `buyeruid_source`) or an eid of one of
    /// `eid_sources`.
    pub is_matched_only: bool,
    /// In lower case.
    pub eid_sources: Vec<String>,
    /// Never pays more: imps with a higher floor are not offered (USD).
    pub floor_ceiling: Option<Cpm>,
}

/// Seats that a bidder may bid for.
#[derive(Clone, Debug, Default)]
pub struct Seats {
    /// Empty: any.
    pub allowed: Vec<String>,
    pub blocked: Vec<String>,
    /// What a bid without a seat counts as; else the bidder's name.
    pub default: Option<String>,
}

/// Where a bidder's notices may go (win, billing, loss), and how its prices are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeRules {
    /// Domains in lower case, with all under them, and addresses. Empty: the registrable domain of
    /// the endpoint.
    pub domains: Vec<String>,
    /// Whether without TLS too; `None`: where the endpoint is without.
    pub allows_http: Option<bool>,
    /// What `${AUCTION_PRICE}` is sealed with for it; `None`: prices are in clear.
    pub price_keys: Option<PriceKeys>,
}

/// How long a bidder may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTime {
    /// Kept back from the deadline for the network: what is sent as `tmax` is less by this.
    pub margin: Duration,
    /// With less than this left it is not called.
    pub least: Duration,
    /// Never waited for longer than this.
    pub most: Duration,
    /// To connect, TLS included.
    pub connect: Duration,
}

/// How much of a bidder is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Requests a second of this process: its part of what is agreed; `None`: no limit.
    pub qps: Option<u32>,
    /// Calls open at once, over all workers.
    pub in_flight_max: u32,
    /// Connections kept, over all workers; each worker may have one.
    pub connections_max: u32,
    /// A connection older than this, or than up to a tenth less, is closed after its call.
    pub connection_age_max: Duration,
    /// Answer caps.
    pub wire_bytes_max: usize,
    pub body_bytes_max: usize,
    pub bids_max: u32,
}

impl Default for CallTime {
    fn default() -> Self {
        Self {
            margin: Duration::from_millis(5),
            least: Duration::from_millis(10),
            most: Duration::from_secs(1),
            connect: Duration::from_millis(150),
        }
    }
}

impl CallTime {
    /// The `tmax` that a bidder is told, with `left` until the deadline: how long it is waited
    /// for, less what its network takes.
    pub fn tmax_ms(&self, left: Duration, round_trip: Duration) -> u32 {
        let own = left.min(self.most).saturating_sub(self.margin + round_trip);
        u32::try_from(own.as_millis()).unwrap_or(u32::MAX).max(1)
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            qps: None,
            in_flight_max: 10_000,
            connections_max: 10_000,
            connection_age_max: Duration::from_secs(300),
            wire_bytes_max: 512 << 10,
            body_bytes_max: 2 << 20,
            bids_max: 100,
        }
    }
}

/// A set of imps of one request, by their index in `View::imps` (`limits.imps_max` <= 64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImpSet(pub u64);

impl ImpSet {
    /// Adds one; an index over 63 is ignored (the limit is checked at load).
    pub fn insert(&mut self, index: usize) {
        self.0 |= u32::try_from(index).ok().and_then(|bit| 1u64.checked_shl(bit)).unwrap_or(0);
    }

    /// Whether it is in.
    pub fn contains(self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|bit| self.0.checked_shr(bit).unwrap_or(0) & 1 == 1)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }
}

/// A bidder that will be called, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub bidder: BidderId,
    pub imps: ImpSet,
}

/// The bytes for one bidder.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub invitation: Invitation,
    /// The JSON body, before any compression.
    pub packet: Packet,
    /// The value of `traceparent`, for a bidder that wants it: boxed, since most want none.
    pub parent: Option<Box<str>>,
}

/// What came of one call.
#[derive(Debug)]
pub struct Answer {
    pub invitation: Invitation,
    /// From the start of the fan-out to the end of this answer, or to the deadline.
    pub took: Duration,
    /// HTTP status; 0 where none came.
    pub status: u16,
    pub result: Result<BidAnswer, NoAnswer>,
    /// Why there is no bid, where the bidder said so (4.2.1 `nbr`).
    pub nbr: Option<u16>,
}

/// An answer that gives nothing to auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    pub why: NoAnswer,
    /// As [`Answer::nbr`].
    pub nbr: Option<u16>,
}

impl From<NoAnswer> for Silence {
    fn from(why: NoAnswer) -> Self {
        Self { why, nbr: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bidder_is_told_the_time_that_it_is_waited_for() {
        let ms = Duration::from_millis;
        let time = CallTime { margin: ms(5), most: ms(80), ..CallTime::default() };
        for (left, round_trip, tmax) in [(60, 10, 45), (80, 0, 75), (500, 10, 65), (3, 10, 1)] {
            assert_eq!(time.tmax_ms(ms(left), ms(round_trip)), tmax, "{left} {round_trip}");
        }
    }
}
