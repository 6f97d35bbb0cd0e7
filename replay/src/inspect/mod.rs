//! Looking at what was really sent and what came back.
//!
//! Owns: the seam between a run and whoever looks at its exchanges (fingerprint, assertions,
//! failing pairs). Never: a socket, the pace of a run. Invariant: an inspection never holds a run
//! up: what it is too slow for is not shown to it, and counted.

use crate::drive::report::Fault;
use std::time::Duration;

/// One planned request, when all about it is known. In the order in which that came to be.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Its place in the plan, from 0.
    pub number: u64,
    /// The round through the source in which it was sent, from 0.
    pub round: u64,
    /// The source's connection; 0 where the source has none.
    pub connection: u64,
    /// When it was planned, from the start of the run on.
    pub planned: Duration,
    /// When it was sent, from the start of the run on; `None`: it was not.
    pub sent: Option<Duration>,
    /// From the planned moment to the end of the answer, or to its being given up.
    pub latency: Duration,
    /// The partner's name; empty where none was known.
    pub partner: &'a str,
    /// Path and query, as sent; a key in it is replaced in the recording already.
    pub path: &'a str,
    /// The body that was planned, without a coding of the content.
    pub request: &'a [u8],
    pub end: End,
    /// The body of the answer, without the transfer's chunks; empty where there was none.
    pub answer: &'a [u8],
    /// Whether the head of a 204 announces a body, which it cannot have.
    pub announces: bool,
    /// The status that the recording has for it.
    pub recorded_status: Option<u16>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer of this status.
    Answered(u16),
    /// Sent, and no answer.
    Fault(Fault),
    /// Sent, and the run ended before the answer came.
    Unfinished,
    /// Not sent: too many waited for a connection.
    Shed,
    /// Not sent: no connection was free in time.
    Unsent,
}

impl End {
    /// The status, where an answer came.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) => Some(status),
            Self::Fault(_) | Self::Unfinished | Self::Shed | Self::Unsent => None,
        }
    }

    /// Whether it was sent.
    pub fn is_sent(self) -> bool {
        !matches!(self, Self::Shed | Self::Unsent)
    }
}

/// Somebody who looks at exchanges, on a thread of its own beside the run. What it found it keeps;
/// whoever made it takes that after the run.
pub trait Inspect: Send {
    /// Looks at one. It may take its time: exchanges it has no time for are left out and counted.
    fn exchange(&mut self, exchange: &Exchange<'_>);
}
