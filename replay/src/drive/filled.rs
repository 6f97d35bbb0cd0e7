//! Whether an answer has a bid.
//!
//! Owns: the look at a body for one. Never: a reading of the body as JSON, which would hold up the
//! thread that sends. Invariant: what stands within a text of JSON, such as markup, is no bid.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use memchr::memmem;

/// Its quotes cannot stand within a text without a backslash before each.
const NAME: &[u8] = b"\"bid\"";

/// Whether a list of bids begins anywhere, with one in it.
pub(super) fn has_bid(body: &[u8]) -> bool {
    memmem::find_iter(body, NAME).any(|at| {
        let rest = body.get(at..).and_then(|rest| rest.strip_prefix(NAME));
        [b':', b'[', b'{'].into_iter().try_fold(rest.unwrap_or_default(), then).is_some()
    })
}

/// What stands behind this sign, where nothing but space stands before it.
fn then(rest: &[u8], sign: u8) -> Option<&[u8]> {
    rest.trim_ascii_start().strip_prefix(&[sign])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_a_bid_is_one_and_a_reason_or_markup_is_none() {
        for (body, expected) in [
            (r#"{"id":"1","seatbid":[{"bid":[{"id":"2","impid":"1","price":1}]}]}"#, true),
            ("{\"seatbid\" : [ {\n \"seat\":\"s\", \"bid\" :\t[\n {} ] } ] }", true),
            (r#"{"seatbid":[{"bid":[]},{"bid":[{"id":"2"}]}]}"#, true),
            (r#"{"id":"1","nbr":2}"#, false),
            (r#"{"id":"1","seatbid":[]}"#, false),
            (r#"{"id":"1","seatbid":[{"bid":[]}]}"#, false),
            (r#"{"id":"1","ext":{"why":"no \"bid\":[{} came"}}"#, false),
            (r#"{"id":"1","bidid":[{}],"bid":"x"}"#, false),
            (r#"{"bid""#, false),
            ("", false),
        ] {
            assert_eq!(has_bid(body.as_bytes()), expected, "{body}");
        }
    }
}
