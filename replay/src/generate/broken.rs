//! Requests that are wrong on purpose.
//!
//! Owns: ways to break a valid body, each of which the exchange must refuse. For runs that mix
//! some of them in; the demo sends none.

use crate::random::Random;

/// Breaks a valid body in one of several ways.
pub(super) fn spoil(random: &mut Random, body: &mut Vec<u8>) {
    match random.index(6) {
        // cut off
        0 => body.truncate(1 + random.index(body.len().saturating_sub(2))),
        // no imps
        1 => replace(body, b"\"imp\":[", b"\"pmi\":["),
        // a key twice
        2 => replace(body, b"{\"id\":", b"{\"id\":\"x\",\"id\":"),
        // no id
        3 => replace(body, b"{\"id\":", b"{\"di\":"),
        // not a number
        4 => replace(body, b"\"imp\":[{", b"\"at\":99,\"imp\":[{\"bidfloor\":\"free\","),
        // deep
        _ => {
            let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
            replace(body, b"{\"id\":", &[b"{\"deep\":", deep.as_slice(), b",\"id\":"].concat());
        }
    }
}

/// Replaces the first occurrence.
fn replace(body: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    if let Some(at) = body.windows(old.len()).position(|window| window == old) {
        body.splice(at..at + old.len(), new.iter().copied());
    }
}
