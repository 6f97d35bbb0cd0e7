//! Members in JSON, ready to be spliced.
//!
//! Owns: the wire names of the keys that enrichment writes. Invariant: what comes out is one
//! valid JSON member, whatever the text is.

use crate::request::Key;
use std::fmt::{Display, Write};

/// A string member.
pub fn text(key: Key, value: &str) -> (Key, String) {
    // a `str` always serialises
    let value = serde_json::to_string(value).unwrap_or_else(|_| "\"\"".to_owned());
    number(key, value)
}

/// A member whose value is JSON as it prints.
pub fn number(key: Key, value: impl Display) -> (Key, String) {
    let mut out = String::with_capacity(32);
    out.push('"');
    out.push_str(name(key));
    out.push_str("\":");
    // writing to a String does not fail
    let _ = write!(out, "{value}");
    out.shrink_to_fit();
    (key, out)
}

/// The key on the wire.
fn name(key: Key) -> &'static str {
    match key {
        Key::Accuracy => "accuracy",
        Key::Carrier => "carrier",
        Key::City => "city",
        Key::Connectiontype => "connectiontype",
        Key::Country => "country",
        Key::Devicetype => "devicetype",
        Key::Ipservice => "ipservice",
        Key::Lat => "lat",
        Key::Lon => "lon",
        Key::Make => "make",
        Key::Metro => "metro",
        Key::Model => "model",
        Key::Os => "os",
        Key::Osv => "osv",
        Key::Region => "region",
        Key::Type => "type",
        Key::Utcoffset => "utcoffset",
        Key::Zip => "zip",
        // enrichment writes no other; an empty name would be seen in every test
        _ => "",
    }
}
