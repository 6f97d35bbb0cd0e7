//! Requests in, outcomes out.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test may panic"
)]

mod corpus;
mod hostile;
mod leniencies;
mod rules;
mod rules_user;

use super::{Admitted, Scratch, admit};
use crate::admit::limits::Limits;
use crate::arrival::Body;
use crate::deadline::DeadlineSettings;
use crate::money::{Cpm, Currency, Rates};
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::Media;
use crate::partner::{NoBidStyle, Partner, ShedStyle, TrafficBlocks};

/// A partner that may send everything.
fn partner() -> Partner {
    Partner {
        name: "test".to_owned(),
        key_hashes: Vec::new(),
        sources: Vec::new(),
        qps: None,
        deadline: DeadlineSettings::default(),
        is_strict: false,
        allows_unknown_channel: false,
        channels: [true; 4],
        media: Media::ALL.into_iter().collect(),
        auction_type: None,
        currency: Currency::USD,
        floor: Cpm::ZERO,
        bcat: Vec::new(),
        badv: Vec::new(),
        bapp: Vec::new(),
        no_bid: NoBidStyle::Empty,
        shed: ShedStyle::Status,
        may_debug: false,
        schain: None,
        blocks: TrafficBlocks::default(),
        is_direct: false,
        allows_nurl_markup: false,
        bid_max: Cpm::from_micros(1_000_000_000),
    }
}

/// USD and EUR.
fn rates() -> Rates {
    Rates::new(Currency::USD, [(Currency::parse("EUR").unwrap(), 0.9)]).unwrap()
}

fn admit_with(body: &str, partner: &Partner) -> Result<Admitted, Refusal> {
    let limits = Limits::default();
    let body = Body(bytes::Bytes::copy_from_slice(body.as_bytes()));
    admit(body, partner, &limits, &rates(), &mut Scratch::new(&limits))
}

fn admit_text(body: &str) -> Result<Admitted, Refusal> {
    admit_with(body, &partner())
}

/// A valid request with more members in its root and in its one imp.
fn request(root: &str, imp: &str) -> String {
    let comma = |more: &str| if more.is_empty() { String::new() } else { format!(",{more}") };
    format!(
        r#"{{"id":"r","site":{{"id":"s"}},"imp":[{{"id":"1"{}}}]{}}}"#,
        comma(if imp.is_empty() { BANNER } else { imp }),
        comma(root)
    )
}

const BANNER: &str = r#""banner":{"w":300,"h":250}"#;
