//! Requests out of a capture, for the commands that ask one after the other.
//!
//! Owns: which records are taken, and a request with a fresh id. Never: load. Invariants: bounded in
//! number and bytes; the same seed takes the same records; what is to be marked says that it is a
//! test. A file that is damaged gives what stands before the damage, and says so.

use crate::ask::Asked;
use crate::feed::rekey::Rekey;
use crate::random::Random;
use gavel::capture::read::{self, CaptureError};
use gavel::capture::{Header, Record};
use gavel::json::scratch::Scratch;
use gavel::json::value::Kind;
use std::path::Path;

/// Of all bodies that are kept.
const BYTES_MAX: usize = 256 << 20;

/// Nesting of a body whose id is replaced.
const DEPTH_MAX: usize = 128;

/// One request of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its place in the file, from 0.
    pub number: u64,
    pub asked: Asked,
    /// The status that was recorded.
    pub recorded: Option<u16>,
    pub partner: String,
}

/// What was taken out of a capture.
#[derive(Debug)]
pub struct Samples {
    pub header: Header,
    /// In the order of the file.
    pub requests: Vec<Sample>,
    /// Records in the file that can be asked.
    pub of: u64,
    /// Records that are no POST, or for which there was no room.
    pub passed_over: u64,
    /// Where the file ended too early, and why.
    pub damage: Option<CaptureError>,
}

/// Takes at most `count` requests, each record with the same chance. `is_marked`: each says that it
/// is a test.
pub fn take(
    path: &Path,
    count: usize,
    seed: u64,
    is_marked: bool,
) -> Result<Samples, CaptureError> {
    let mut reader = read::open(path)?;
    let mut random = Random::for_bytes(seed, b"sample");
    let mut kept: Vec<Sample> = Vec::new();
    let (mut of, mut passed_over, mut bytes, mut damage) = (0_u64, 0_u64, 0_usize, None);
    let mut record = Record::default();
    for number in 0_u64.. {
        match reader.next(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                damage = Some(error);
                break;
            }
        }
        if record.method != "POST" || bytes.saturating_add(record.body.len()) > BYTES_MAX {
            passed_over += 1;
            continue;
        }
        of += 1;
        // a reservoir: the n-th record takes a place with chance count / n
        let place = if kept.len() < count { kept.len() } else { random.index(as_index(of)) };
        if place >= count {
            continue;
        }
        bytes += record.body.len();
        let sample = Sample::of(number, &record);
        match kept.get_mut(place) {
            Some(old) => {
                bytes -= old.asked.body.len();
                *old = sample;
            }
            None => kept.push(sample),
        }
    }
    kept.sort_by_key(|sample| sample.number);
    if is_marked {
        let mut mark = Rekey::new(seed, true);
        for sample in &mut kept {
            let body = std::mem::take(&mut sample.asked.body);
            mark.write(&body, 0, &mut sample.asked.body);
        }
    }
    Ok(Samples { header: reader.header().clone(), requests: kept, of, passed_over, damage })
}

fn as_index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Sample {
    fn of(number: u64, record: &Record) -> Self {
        let asked = Asked {
            path: record.path.clone(),
            headers: record.headers.clone(),
            // a copy: the record's body holds its whole block
            body: record.body.to_vec(),
        };
        let recorded = record.outcome.as_ref().map(|outcome| outcome.status);
        Self { number, asked, recorded, partner: record.partner.clone() }
    }
}

/// The body with another request id; as it is, where it has none or is no JSON.
pub fn with_id(body: &[u8], id: &str) -> Vec<u8> {
    let mut scratch = Scratch::new(DEPTH_MAX);
    let mut text = Vec::new();
    let span = scratch.read(body, &mut text).ok().and_then(|document| {
        let Kind::Object(mut members) = document.root().kind() else { return None };
        members.find(|member| member.name == "id").map(|member| member.value.span())
    });
    let Some(span) = span else { return body.to_vec() };
    let (at, end) = (as_index(span.at.into()), as_index(span.end.into()));
    match (body.get(..at), body.get(end..)) {
        (Some(before), Some(behind)) => [before, b"\"", id.as_bytes(), b"\"", behind].concat(),
        _ => body.to_vec(),
    }
}

/// An id that follows from a seed, a request and a round: 32 hex digits.
pub fn fresh_id(seed: u64, number: u64, round: u64) -> String {
    let mut random = Random::for_item(seed ^ round.rotate_left(32), number);
    format!("{:016x}{:016x}", random.bits(), random.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_request_s_own_id_is_replaced() {
        for (body, expected) in [
            (r#"{"id":"a","imp":[{"id":"1"}]}"#, r#"{"id":"NEW","imp":[{"id":"1"}]}"#),
            (r#"{"imp":[{"id":"1"}], "id" : 5 }"#, r#"{"imp":[{"id":"1"}], "id" : "NEW" }"#),
            (r#"{"imp":[{"id":"1"}]}"#, r#"{"imp":[{"id":"1"}]}"#),
            ("[1]", "[1]"),
            ("{\"id\":", "{\"id\":"),
            ("", ""),
        ] {
            let found = with_id(body.as_bytes(), "NEW");
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }

    #[test]
    fn ids_are_fresh_for_each_request_and_round() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..100 {
            for round in 0..10 {
                assert!(seen.insert(fresh_id(7, number, round)));
            }
        }
        assert_eq!(fresh_id(7, 3, 1), fresh_id(7, 3, 1));
    }
}
