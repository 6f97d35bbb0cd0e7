//! From a record as a worker wrote it down to one that may be kept: what is personal in it is replaced.
//!
//! Owns: [`Disguise`]: which fields are looked into, and what stands for a body that nobody can read.
//! Never: what is personal, what a pseudonym looks like. Invariant: a field that this does not know is
//! not kept, for nobody looked into it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Stratum;
use super::entry::{self, TooLong};
use super::form::PseudonymKey;
use super::format::{HEADERS_MAX, call, header, outcome, record};
use super::pseudonym::Pseudonymiser;
use crate::tlv::{TlvFault, field_bytes, fields};
use std::io;

/// What stands in the place of a body that nobody could read.
pub const UNREADABLE: &str = "x-gavel-unreadable-body";

/// Makes records fit to be kept; one a thread.
#[derive(Debug)]
pub struct Disguise {
    pseudonymiser: Pseudonymiser,
    keeps_unreadable: bool,
}

/// What was seen of a record on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub at_us: u64,
    pub stratum: Stratum,
}

/// Why a record is not there.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Lost {
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// These are no fields: a fault of whoever wrote them down.
    #[error(transparent)]
    Fields(#[from] TlvFault),
}

impl From<Lost> for io::Error {
    fn from(why: Lost) -> Self {
        Self::new(io::ErrorKind::InvalidInput, why)
    }
}

impl Disguise {
    pub const fn new(key: PseudonymKey, keeps_unreadable: bool) -> Self {
        Self { pseudonymiser: Pseudonymiser::new(key), keeps_unreadable }
    }

    /// Writes the record, whose fields are in `kept`, behind what is in `out`, after its length.
    pub fn append(&mut self, kept: &[u8], out: &mut Vec<u8>) -> Result<Told, Lost> {
        entry::append(out, |out| self.record(kept, out).map_err(Lost::from))
    }

    fn record(&mut self, kept: &[u8], out: &mut Vec<u8>) -> Result<Told, TlvFault> {
        use record::{AT, BODY, CALL, CONNECTION, HEADER, METHOD, OUTCOME, PARTNER, PATH, STRATUM};
        let (mut told, mut headers) = (Told::default(), 0_usize);
        fields(kept, |tag, value| {
            match tag {
                AT => told.at_us = value.number()?,
                STRATUM => told.stratum = stratum(value.number()?)?,
                _ => {}
            }
            match tag {
                AT | CONNECTION | PARTNER | METHOD | STRATUM => {
                    field_bytes(out, tag, value.bytes());
                }
                PATH => self.text(tag, value.text()?, out),
                HEADER => {
                    headers = headers.saturating_add(1);
                    entry::field(out, tag, |out| self.header(value.bytes(), out))?;
                }
                OUTCOME => entry::field(out, tag, |out| self.outcome(value.bytes(), out))?,
                CALL => entry::field(out, tag, |out| self.call(value.bytes(), out))?,
                BODY => {
                    let left_out = self.body(tag, value.bytes(), out);
                    if let Some(what) = left_out.filter(|_| headers < HEADERS_MAX) {
                        entry::field(out, HEADER, |out| entry::header(UNREADABLE, &what, out));
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(told)
    }

    fn header(&mut self, kept: &[u8], out: &mut Vec<u8>) -> Result<(), TlvFault> {
        let mut name = "";
        fields(kept, |tag, value| {
            match tag {
                header::NAME => {
                    name = value.text()?;
                    field_bytes(out, tag, value.bytes());
                }
                header::VALUE => {
                    let value = value.text()?;
                    let new = self.pseudonymiser.header(name, value);
                    field_bytes(out, tag, new.as_deref().unwrap_or(value).as_bytes());
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn outcome(&mut self, kept: &[u8], out: &mut Vec<u8>) -> Result<(), TlvFault> {
        use outcome::{BODY, GENERATION, REASON, STATUS, TOOK};
        fields(kept, |tag, value| {
            match tag {
                STATUS | REASON | TOOK | GENERATION => field_bytes(out, tag, value.bytes()),
                BODY => drop(self.body(tag, value.bytes(), out)),
                _ => {}
            }
            Ok(())
        })
    }

    fn call(&mut self, kept: &[u8], out: &mut Vec<u8>) -> Result<(), TlvFault> {
        use call::{ANSWER, BIDDER, NO_ANSWER, REQUEST, SENT, STATUS, TOOK};
        fields(kept, |tag, value| {
            match tag {
                BIDDER | SENT | TOOK | STATUS | NO_ANSWER => field_bytes(out, tag, value.bytes()),
                REQUEST | ANSWER => drop(self.body(tag, value.bytes(), out)),
                _ => {}
            }
            Ok(())
        })
    }

    fn text(&self, tag: u64, text: &str, out: &mut Vec<u8>) {
        let new = self.pseudonymiser.text(text);
        field_bytes(out, tag, new.as_deref().unwrap_or(text).as_bytes());
    }

    /// Gives what is known of a body that was left out.
    fn body(&mut self, tag: u64, body: &[u8], out: &mut Vec<u8>) -> Option<String> {
        let start = out.len();
        let read = entry::field(out, tag, |out| self.pseudonymiser.append(body, out));
        if read.is_some() {
            return None;
        }
        out.truncate(start);
        if self.keeps_unreadable {
            field_bytes(out, tag, body);
            return None;
        }
        let class = match body.first()? {
            b'{' => "an object",
            b'[' => "an array",
            b'"' => "a text",
            byte if byte.is_ascii_alphanumeric() => "a letter or digit",
            byte if byte.is_ascii() => "another character",
            _ => "no character",
        };
        Some(format!("{} bytes, begins with {class}", body.len()))
    }
}

fn stratum(number: u64) -> Result<Stratum, TlvFault> {
    Stratum::of(number).ok_or(TlvFault::Value("the stratum"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlv::field_number;

    #[test]
    fn what_it_does_not_know_is_not_kept_and_headers_keep_their_cap() {
        let mut kept = Vec::new();
        field_number(&mut kept, record::AT, 7);
        field_bytes(&mut kept, 99, b"nobody looked into this");
        for _ in 0..HEADERS_MAX {
            entry::field(&mut kept, record::HEADER, |out| {
                entry::header("a", "b", out);
                field_bytes(out, 99, b"nor into this");
            });
        }
        field_bytes(&mut kept, record::BODY, b"{broken");
        let mut out = Vec::new();
        let key = PseudonymKey::new("a secret of the tests");
        let told = Disguise::new(key, false).append(&kept, &mut out).unwrap();
        assert_eq!((told.at_us, told.stratum), (7, Stratum::Sample));
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("into this") && !shown.contains("broken"), "{shown}");
        let mut headers = 0;
        let whole = crate::tlv::take_part(&mut out.as_slice()).unwrap();
        fields(whole, |tag, _| {
            headers += usize::from(tag == record::HEADER);
            Ok(())
        })
        .unwrap();
        assert_eq!(headers, HEADERS_MAX);
    }

    #[test]
    fn headers_keep_what_they_are_for_and_nothing_of_a_person() {
        let key = || PseudonymKey::new("a secret of the tests");
        let address = key().replace(crate::capture::names::Treat::Ip, "203.0.113.9").unwrap();
        for (name, came, kept) in [
            ("user-agent", "jo-agent 203.0.113.9", format!("jo-agent {address}")),
            (
                "user-agent",
                "Mozilla/5.0 Chrome/120.0.0.0",
                "Mozilla/5.0 Chrome/120.0.0.0".to_owned(),
            ),
            ("x-openrtb-version", "2.6-202309", "2.6-202309".to_owned()),
            ("x-openrtb-version", "jo doe 203.0.113.7", "?".to_owned()),
            ("accept-encoding", "gzip;q=1.0, br;q=0.5", "gzip;q=1.0, br;q=0.5".to_owned()),
        ] {
            let mut record = Vec::new();
            entry::field(&mut record, record::HEADER, |out| entry::header(name, came, out));
            let mut out = Vec::new();
            Disguise::new(key(), false).append(&record, &mut out).unwrap();
            let mut expected = Vec::new();
            entry::field(&mut expected, record::HEADER, |out| entry::header(name, &kept, out));
            assert!(out.ends_with(&expected), "{name}: {}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn what_is_no_record_leaves_nothing_behind() {
        let key = PseudonymKey::new("a secret of the tests");
        let mut disguise = Disguise::new(key, false);
        for kept in [&b"\x01\x05\x01"[..], b"\x08\x01\x63", b"\x0a\x02\x01\x07", b"\x80"] {
            let mut out = b"before".to_vec();
            assert!(disguise.append(kept, &mut out).is_err(), "{kept:?}");
            assert_eq!(out, b"before", "{kept:?}");
        }
    }
}
