//! What of a bid request only says which one it is.
//!
//! Owns: the rules by which ids and times are taken out, so that a fresh id does not make a new
//! request. Never: a judgement of what is left. Invariants: bytes are taken out, never changed; the
//! same body gives the same rest; memory is that of the largest body.
//!
//! Taken out: the ids of the request, of its imps, of the user and the device (a loop that gives
//! each user a fresh id is a loop all the same), transaction ids anywhere, whatever is written as
//! a UUID, and numbers that can only be a moment (seconds, milli-, micro- or nanoseconds since
//! 1970, in the years 2014 to 2033). Kept: addresses, consent strings, ids of deals, placements
//! and places.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use gavel::json::Number;
use gavel::json::value::{Kind, Value};
use gavel::request::{Element, Key};

/// 13 May 2014 to 18 May 2033.
const SECONDS: std::ops::Range<u64> = 1_400_000_000..2_000_000_000;

/// A buffer that bodies are copied into without their ids.
#[derive(Debug, Default)]
pub struct Cut {
    rest: Vec<u8>,
    /// Offset in the original up to which it was copied.
    copied: usize,
}

/// Where a member stands, as far as the meaning of `id` depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// The request, an imp, a user, an id of an id vendor: `id` is which one it is.
    Named,
    /// Anything else: `id` is what kind it is (a site, a deal, a segment).
    Other,
}

impl Cut {
    /// What is left of the body last given.
    pub fn bytes(&self) -> &[u8] {
        &self.rest
    }

    /// Takes a body that cannot be read, as it is.
    pub fn whole(&mut self, body: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(body);
    }

    /// Takes a body whose only value is `root`.
    pub fn without_ids(&mut self, body: &[u8], root: Value<'_>) {
        self.rest.clear();
        self.copied = 0;
        self.walk(body, root, Inside::Named);
        self.rest.extend_from_slice(body.get(self.copied..).unwrap_or_default());
    }

    /// Recursion is as deep as the reader allows.
    fn walk(&mut self, body: &[u8], value: Value<'_>, inside: Inside) {
        match value.kind() {
            Kind::Object(members) => {
                for member in members {
                    if is_id(member.key, member.name, inside) {
                        self.take_out(body, member.value.span());
                    } else {
                        let inside = match member.key {
                            Key::Imp | Key::User | Key::Uids => Inside::Named,
                            _ => Inside::Other,
                        };
                        self.walk(body, member.value, inside);
                    }
                }
            }
            Kind::Array(elements) => {
                for element in elements {
                    self.walk(body, element, inside);
                }
            }
            Kind::Text(text) if is_uuid(text.as_bytes()) || is_written_moment(text) => {
                self.take_out(body, value.span());
            }
            Kind::Number(Number::Unsigned(number)) if is_moment(number) => {
                self.take_out(body, value.span());
            }
            _ => {}
        }
    }

    fn take_out(&mut self, body: &[u8], span: Element) {
        let (at, end) = (to_usize(span.at), to_usize(span.end));
        self.rest.extend_from_slice(body.get(self.copied..at).unwrap_or_default());
        self.copied = end.max(self.copied);
    }
}

fn to_usize(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn is_id(key: Key, name: &str, inside: Inside) -> bool {
    match key {
        Key::Id => inside == Inside::Named,
        Key::Tid
        | Key::Buyeruid
        | Key::Ifa
        | Key::Didmd5
        | Key::Didsha1
        | Key::Dpidmd5
        | Key::Dpidsha1
        | Key::Macmd5
        | Key::Macsha1
        | Key::Lastfix => true,
        Key::Other => matches!(
            name,
            "transactionid"
                | "transactionId"
                | "auctionid"
                | "auctionId"
                | "requestid"
                | "requestId"
                | "request_id"
                | "bidderRequestId"
                | "sessionid"
                | "session_id"
                | "pageViewId"
                | "nonce"
                | "ts"
                | "timestamp"
        ),
        _ => false,
    }
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_moment(number: u64) -> bool {
    [1, 1_000, 1_000_000, 1_000_000_000]
        .iter()
        .any(|unit| number.checked_div(*unit).is_some_and(|seconds| SECONDS.contains(&seconds)))
}

fn is_written_moment(text: &str) -> bool {
    matches!(text.len(), 10 | 13 | 16 | 19) && text.parse().is_ok_and(is_moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gavel::json::scratch::Scratch;

    fn left(body: &str) -> String {
        let (mut scratch, mut text, mut cut) = (Scratch::new(64), Vec::new(), Cut::default());
        let document = scratch.read(body.as_bytes(), &mut text).unwrap();
        cut.without_ids(body.as_bytes(), document.root());
        String::from_utf8(cut.bytes().to_vec()).unwrap()
    }

    #[test]
    fn ids_and_moments_are_taken_out_and_nothing_else() {
        for (body, expected) in [
            (
                r#"{"id":"r1","imp":[{"id":"1","tagid":"t"}]}"#,
                r#"{"id":,"imp":[{"id":,"tagid":"t"}]}"#,
            ),
            (
                r#"{"site":{"id":"s"},"user":{"id":"u","data":[{"id":"d"}]}}"#,
                r#"{"site":{"id":"s"},"user":{"id":,"data":[{"id":"d"}]}}"#,
            ),
            (r#"{"source":{"tid":"x","ext":{"ts":5}}}"#, r#"{"source":{"tid":,"ext":{"ts":}}}"#),
            (
                r#"{"device":{"ifa":"i","ip":"192.0.2.1"}}"#,
                r#"{"device":{"ifa":,"ip":"192.0.2.1"}}"#,
            ),
            (
                r#"{"user":{"eids":[{"source":"a","uids":[{"id":"x","atype":1}]}]}}"#,
                r#"{"user":{"eids":[{"source":"a","uids":[{"id":,"atype":1}]}]}}"#,
            ),
            (
                r#"{"ext":[1763700000,1763700000000,"1763700000123",17637,250]}"#,
                r#"{"ext":[,,,17637,250]}"#,
            ),
            (r#"{"ext":{"a":"35c22289-06e2-48e9-a0cd-94aeb79fab43"}}"#, r#"{"ext":{"a":}}"#),
            (
                r#"{"imp":[{"id":"1","pmp":{"deals":[{"id":"deal-1"}]}}]}"#,
                r#"{"imp":[{"id":,"pmp":{"deals":[{"id":"deal-1"}]}}]}"#,
            ),
            ("[1]", "[1]"),
        ] {
            assert_eq!(left(body), expected);
        }
    }
}
