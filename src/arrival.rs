//! What has come in before anything was parsed: who, when, from where, and the bytes.
//!
//! Owns: [`Arrival`], [`BrowserSignals`] and [`Body`]. Never: a header map, a status code.

use crate::correlation::Correlation;
use crate::openrtb::ids::PartnerId;
use bytes::Bytes;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One inbound request whose headers are complete and accepted.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When its headers were complete, on the monotonic clock.
    pub at: Instant,
    /// The same moment on the wall clock, since the Unix epoch.
    pub wall: Duration,
    /// The client's address: the peer, or the right-most untrusted hop behind trusted proxies.
    pub client: IpAddr,
    /// Who sends it, by its index in the request's snapshot.
    pub partner: PartnerId,
    /// Unique per process run: worker number and a counter; seeds what must differ by request.
    pub serial: u64,
    /// An operator's own test request, from the admin listener: it is explained whatever its partner
    /// may see. Nothing that comes over the public listener has this.
    pub is_trial: bool,
    /// Traffic that is played again, of a partner for which that counts: a test, whatever its body
    /// says.
    pub is_replay: bool,
    /// Of the user's own browser, where that calls us itself; else nothing is said.
    pub browser: BrowserSignals,
    /// What it is called in answers, logs, traces and records.
    pub correlation: Correlation,
}

/// What a browser says of its user's wishes in the headers of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrowserSignals {
    /// Global Privacy Control: `Sec-GPC` is 1.
    pub is_gpc: bool,
    /// `DNT` is 1.
    pub is_do_not_track: bool,
}

/// The decoded bytes of a request body, exactly as they came (after content decoding).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(pub Bytes);

impl Body {
    /// Without a byte order mark before it, and whether there was one.
    #[must_use]
    pub fn without_mark(self) -> (Self, bool) {
        match self.0.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => (Self(self.0.slice_ref(rest)), true),
            None => (self, false),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
