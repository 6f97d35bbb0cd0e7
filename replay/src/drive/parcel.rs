//! One planned request on its way through a run.
//!
//! Owns: [`Parcel`], the buffers that go round: the feed fills one, a shard sends it and takes the
//! answer into it, an inspection reads it, the feed gets it back. Never: a decision. Invariant:
//! reused; a run allocates as many as can be under way at once, however long it is.

use super::filled::has_bid;
use super::report::Fault;
use crate::inspect::{End, Exchange};
use crate::wire::answer::unchunk;
use crate::wire::poller::Nanos;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Parcel {
    // what the feed says
    pub number: u64,
    pub round: u64,
    /// Offset from the start; `None`: as soon as a connection is free.
    pub at: Option<Nanos>,
    pub connection: u64,
    /// Whether it is the last of its connection.
    pub is_last: bool,
    pub partner: String,
    pub path: String,
    pub recorded_status: Option<u16>,
    /// Head (of HTTP/1.1; of HTTP/2 the block of headers) and body, ready to be written.
    pub request: Vec<u8>,
    pub head_len: usize,
    // what the shard says
    pub planned_at: Nanos,
    /// 0: not sent.
    pub sent_at: Nanos,
    pub ended_at: Nanos,
    pub end: End,
    /// What came back: of HTTP/1.1 with its head, of HTTP/2 the body.
    pub answer: Vec<u8>,
    pub answer_body: Range<usize>,
    pub is_chunked: bool,
    /// Of a 204: its head announces a body.
    pub announces: bool,
}

/// Parcels that have come to their end.
pub(crate) type Done = VecDeque<Box<Parcel>>;

/// A buffer that has grown beyond is given up on its way back: in the end every buffer would have
/// seen a large body, and some 4,500 of them go round. Twice a usual request.
const KEPT_BYTES_MAX: usize = 4 << 10;

impl Default for Parcel {
    fn default() -> Self {
        Self {
            number: 0,
            round: 0,
            at: None,
            connection: 0,
            is_last: false,
            partner: String::new(),
            path: String::new(),
            recorded_status: None,
            request: Vec::new(),
            head_len: 0,
            planned_at: 0,
            sent_at: 0,
            ended_at: 0,
            end: End::Unsent,
            answer: Vec::new(),
            answer_body: 0..0,
            is_chunked: false,
            announces: false,
        }
    }
}

impl Parcel {
    /// Makes it as good as new, its buffers kept.
    pub fn clear(&mut self) {
        for buffer in [&mut self.request, &mut self.answer] {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        self.partner.clear();
        self.path.clear();
        *self = Self {
            request: std::mem::take(&mut self.request),
            answer: std::mem::take(&mut self.answer),
            partner: std::mem::take(&mut self.partner),
            path: std::mem::take(&mut self.path),
            ..Self::default()
        };
    }

    /// The part before the body.
    pub fn head(&self) -> &[u8] {
        self.request.get(..self.head_len).unwrap_or_default()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.request.get(self.head_len..).unwrap_or_default()
    }

    /// It ends without an answer.
    pub fn fail(mut self: Box<Self>, fault: Fault) -> Box<Self> {
        self.end = End::Fault(fault);
        self
    }

    /// The body of the answer; `scratch` takes what a chunked one amounts to.
    fn answered<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let raw = self.answer.get(self.answer_body.clone()).unwrap_or_default();
        if !self.is_chunked {
            return raw;
        }
        scratch.clear();
        unchunk(raw, scratch);
        scratch
    }

    /// Whether it was answered with a bid; `scratch` as above.
    pub fn is_filled(&self, scratch: &mut Vec<u8>) -> bool {
        self.end.status() == Some(200) && has_bid(self.answered(scratch))
    }

    /// As an inspection sees it; `scratch` as above.
    pub fn exchange<'a>(&'a self, start: Nanos, scratch: &'a mut Vec<u8>) -> Exchange<'a> {
        let since = |at: Nanos| Duration::from_nanos(at.saturating_sub(start));
        Exchange {
            number: self.number,
            round: self.round,
            connection: self.connection,
            planned: since(self.planned_at),
            sent: (self.sent_at > 0).then(|| since(self.sent_at)),
            latency: Duration::from_nanos(self.ended_at.saturating_sub(self.planned_at)),
            partner: &self.partner,
            path: &self.path,
            request: self.body(),
            end: self.end,
            answer: self.answered(scratch),
            announces: self.announces,
            recorded_status: self.recorded_status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_filled_by_a_bid_in_200_also_one_that_chunks_cut() {
        let whole = r#"{"seatbid":[{"bid":[{"id":"1"}]}]}"#;
        let (one, two) = whole.split_at(16);
        let chunked = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        for (status, answer, is_chunked, expected) in [
            (200, whole, false, true),
            (200, &chunked, true, true),
            (200, &chunked, false, false),
            (400, whole, false, false),
            (200, r#"{"id":"1","nbr":2}"#, false, false),
        ] {
            let parcel = Parcel {
                end: End::Answered(status),
                answer: answer.as_bytes().to_vec(),
                answer_body: 0..answer.len(),
                is_chunked,
                ..Parcel::default()
            };
            assert_eq!(parcel.is_filled(&mut vec![7]), expected, "{status} {answer}");
        }
    }
}
