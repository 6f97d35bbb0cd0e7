//! Simulated bidders that answer as the bidders of a recording did.
//!
//! Owns: the recorded answers in memory, and which of them a request gets: that of the same request
//! (by its id), else one of a request alike (imps, place, user agent), else one of a request that
//! offers the same things, else any of that bidder; where several fit, the seed decides. Ids of the
//! request at hand take the place of the recorded ones.
//! Never: a socket. Invariant: the same request gets the same answer in every run.

use super::read::Wanted;
use super::spec::StubSpec;
use crate::random::Random;
use gavel::capture::read::{self, CaptureError};
use gavel::capture::{Record, RecordedCall};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub(super) mod likeness;
mod text;

use likeness::{Likeness, keys};
use text::Pieces;

/// Why a recording cannot be answered from.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: CaptureError },
    #[error(
        "{} has no exchange with a bidder whose answer is known ({records} records): record with \
         `[capture] bidders = true`", path.display()
    )]
    Nothing { path: PathBuf, records: u64 },
}

/// What was taken of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Exchanges that can be answered from.
    pub answers: u64,
    /// Left out: beyond the memory that is allowed.
    pub beyond: u64,
    /// Left out: what the bidder said is not known.
    pub unknown: u64,
    /// Why the file was not read to its end.
    pub damage: Option<String>,
}

/// All bidders of a recording.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    bidders: BTreeMap<String, Answers>,
    pub taken: Taken,
}

/// The answers of one bidder.
#[derive(Debug, Default)]
pub(super) struct Answers {
    list: Vec<Answer>,
    /// Hash of what a request is like, index of an answer; sorted.
    by_likeness: Vec<(u64, u32)>,
}

/// One recorded answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub after: Duration,
    pub act: Played,
}

/// What a bidder of the recording did.
#[derive(Debug, PartialEq)]
pub(super) enum Played {
    /// A status, and a body whose ids are replaced.
    Says(u16, Pieces),
    /// 200 and a body that goes as it is: it was not what it should be.
    Garbage(Box<[u8]>),
    Huge,
    Reset,
}

impl Recorded {
    /// Reads a capture; of one that is damaged, what stands before the damage.
    pub fn load(path: &std::path::Path, spec: &StubSpec) -> Result<Self, RecordedError> {
        let fault = |source| RecordedError::Read { path: path.to_owned(), source };
        let mut reader = read::open(path).map_err(fault)?;
        let mut recorded = Self::default();
        let mut record = Record::default();
        let late = crate::random::seconds(spec.recorded_late_ms / 1e3);
        let mut room = spec.recorded_bytes_max;
        loop {
            match reader.next(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(source) if source.good == 0 => return Err(fault(source)),
                Err(source) => {
                    recorded.taken.damage = Some(source.to_string());
                    break;
                }
            }
            for call in &record.calls {
                recorded.take(&record, call, late, &mut room);
            }
        }
        if recorded.taken.answers == 0 {
            return Err(RecordedError::Nothing { path: path.to_owned(), records: reader.given() });
        }
        for answers in recorded.bidders.values_mut() {
            answers.by_likeness.sort_unstable();
        }
        Ok(recorded)
    }

    fn take(&mut self, record: &Record, call: &RecordedCall, late: Duration, room: &mut usize) {
        let asked = if call.request.is_empty() { &record.body } else { &call.request };
        let (Some(wanted), Some(act)) = (super::read::read(asked), played(call, asked)) else {
            self.taken.unknown += 1;
            return;
        };
        let bytes = call.answer.len();
        if bytes > *room {
            self.taken.beyond += 1;
            return;
        }
        *room -= bytes;
        self.taken.answers += 1;
        let is_late = call.no_answer == "late";
        let after = if is_late { call.took.saturating_add(late) } else { call.took };
        let answers = self.bidders.entry(call.bidder.clone()).or_default();
        let index = u32::try_from(answers.list.len()).unwrap_or(u32::MAX);
        answers.list.push(Answer { after, act });
        answers.by_likeness.extend(keys(&wanted, asked).map(|(_, key)| (key, index)));
    }

    /// The names of the bidders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.bidders.keys().map(String::as_str)
    }

    /// The answers of a bidder, where it is in the recording.
    pub fn of(&self, name: &str) -> Option<&Answers> {
        self.bidders.get(name)
    }
}

impl Answers {
    /// The answer to a request, and how it was found. None only where there is none at all.
    pub fn choose(&self, seed: u64, wanted: &Wanted, body: &[u8]) -> Option<(&Answer, Likeness)> {
        let mut random = Random::for_bytes(seed, wanted.id);
        for (likeness, key) in keys(wanted, body) {
            let start = self.by_likeness.partition_point(|(one, _)| *one < key);
            let end = self.by_likeness.partition_point(|(one, _)| *one <= key);
            let fitting = self.by_likeness.get(start..end).unwrap_or_default();
            if !fitting.is_empty() {
                let (_, index) = *random.pick(fitting);
                return self.list.get(index as usize).map(|answer| (answer, likeness));
            }
        }
        self.list.get(random.index(self.list.len())).map(|answer| (answer, Likeness::Any))
    }
}

/// What a bidder did, as far as the recording tells.
fn played(call: &RecordedCall, asked: &[u8]) -> Option<Played> {
    let says = |status| Some(Played::Says(status, text::pieces(&call.answer, asked)));
    match call.no_answer.as_str() {
        // gavel's own part, not the bidder's
        "pool_full" => None,
        // where it was refused on the way the caller learns the same: no answer will come
        "connect_refused" | "connect_timeout" | "tls" | "broken" => Some(Played::Reset),
        "too_large" => Some(Played::Huge),
        "http" | "encoding" | "not_json" | "duplicate_key" | "invalid" | "wrong_id"
        | "too_many_bids" => Some(Played::Garbage(call.answer.as_ref().into())),
        // the late one is answered after its time, and nobody asks with what
        "late" => Some(Played::Says(204, Pieces::default())),
        _ => match call.status {
            0 => None,
            200 if call.answer.is_empty() => None,
            status => says(status),
        },
    }
}

/// Writes the answer; gives back the bytes of its head and its bids.
pub(super) fn write(out: &mut Vec<u8>, act: &Played, wanted: &Wanted) -> super::answer::Written {
    use std::io::Write;
    let start = out.len();
    // writing to a Vec cannot fail
    let (status, bids) = match act {
        Played::Reset => return super::answer::Written { head: 0, bids: 0 },
        Played::Says(status, pieces) => (*status, pieces.bids()),
        Played::Garbage(_) | Played::Huge => (200, 0),
    };
    let reason = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason.unwrap_or("Recorded"));
    if status == 204 || status == 304 {
        out.extend_from_slice(b"\r\n");
        return super::answer::Written { head: out.len() - start, bids };
    }
    let length = match act {
        Played::Says(_, pieces) => pieces.length(wanted),
        Played::Garbage(bytes) => bytes.len(),
        Played::Huge => super::answer::HUGE_BYTES,
        Played::Reset => 0,
    };
    let kind = "Content-Type: application/json";
    let _ = write!(out, "{kind}\r\nContent-Length: {length}\r\n\r\n");
    let head = out.len() - start;
    match act {
        Played::Says(_, pieces) => pieces.each(wanted, |bytes| out.extend_from_slice(bytes)),
        Played::Garbage(bytes) => out.extend_from_slice(bytes),
        Played::Huge => out.resize(out.len() + length, b' '),
        Played::Reset => {}
    }
    super::answer::Written { head, bids }
}

#[cfg(test)]
mod tests;
