//! Partners, bidders and admitted requests for the tests of this folder.

use crate::admit::limits::Limits;
use crate::admit::{Scratch, admit};
use crate::arrival::Body;
use crate::bidder::{
    Bidder, CallLimits, CallTime, Endpoint, HttpVersion, NoticeRules, OpenRtbVersion, Seats,
    Targeting, Wire,
};
use crate::money::{Currency, Rates};
use crate::negatives::refusal::Refusal;
use crate::partner::Partner;
use crate::request::ValidRequest;
use bytes::Bytes;

/// A partner that asks for nothing.
pub fn partner() -> Partner {
    Partner { allows_unknown_channel: true, ..Partner::new("p") }
}

/// A bidder that buys everything.
pub fn bidder(version: OpenRtbVersion) -> Bidder {
    Bidder {
        name: "b".into(),
        endpoint: Endpoint {
            is_tls: false,
            host: "bidder.example".into(),
            port: 80,
            path: "/".into(),
        },
        wire: Wire {
            version,
            http: HttpVersion::Http1,
            is_gzip: false,
            currency: None,
            tells_trace: false,
            buyeruid_source: None,
            headers: Vec::new(),
        },
        targeting: Targeting::default(),
        seats: Seats::default(),
        time: CallTime::default(),
        limits: CallLimits::default(),
        notices: NoticeRules::default(),
    }
}

/// Dollars, euros at two dollars each, and yen at 150 for a dollar.
pub fn rates() -> Rates {
    let [eur, jpy] = ["EUR", "JPY"].map(|code| Currency::parse(code).unwrap());
    Rates::new(Currency::USD, [(eur, 0.5), (jpy, 150.0)]).unwrap()
}

/// Reads a request as the road does.
pub fn read(body: &str) -> Result<ValidRequest, Refusal> {
    read_of(body, &partner())
}

/// The same, of a certain partner.
pub fn read_of(body: &str, partner: &Partner) -> Result<ValidRequest, Refusal> {
    let limits = Limits::default();
    let body = Body(Bytes::copy_from_slice(body.as_bytes()));
    let admitted = admit(body, partner, &limits, &rates(), &mut Scratch::new(&limits));
    admitted.map(|admitted| admitted.request)
}

/// Small random choices from one seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ bits >> 31) % sides
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.roll(len as u64)).unwrap()
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub fn pick<'p>(&mut self, pool: &[&'p str]) -> &'p str {
        pool[self.index(pool.len())]
    }

    /// None of them mostly, else one to three.
    pub fn some(&mut self, pool: &[&str]) -> Vec<String> {
        if !self.one_in(4) {
            return Vec::new();
        }
        (0..=self.roll(3)).map(|_| self.pick(pool).to_owned()).collect()
    }
}
