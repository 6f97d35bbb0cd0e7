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
mod letters;
mod rules;
mod rules_user;

use super::{Admitted, Scratch, admit};
use crate::admit::limits::Limits;
use crate::arrival::Body;
use crate::money::{Currency, Rates};
use crate::negatives::refusal::Refusal;
use crate::partner::Partner;

/// A partner that may send everything.
fn partner() -> Partner {
    Partner::new("test")
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
