//! Our own notice URLs.
//!
//! Owns: [`Issuer`], what a generation signs them with and where they lead. Never: a sale.
//! Invariant: a URL is at most [`URL_CHARS_MAX`] characters and has none that JSON escapes.

use super::keys::Keys;
use super::{Claims, TOKEN_CHARS_MAX};
use crate::money_event::EventType;
use std::time::Duration;

/// Longest configured base.
pub const BASE_CHARS_MAX: usize = 256;

/// Longest of our URLs: the base, `/e/`, a token and the query.
pub const URL_CHARS_MAX: usize = BASE_CHARS_MAX + 3 + TOKEN_CHARS_MAX + QUERY_LOSS.len();

/// What the upstream fills in, of a loss: its reason and what would have won.
const QUERY_LOSS: &str = "?l=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN}";

/// ... and of a win.
const QUERY_WIN: &str = "?m=${AUCTION_MIN_TO_WIN}";

/// ... and when it bills.
const QUERY_BILLING: &str = "?m=${AUCTION_MIN_TO_WIN}&t=${AUCTION_IMP_TS}";

/// What makes our URLs; reloadable.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub keys: Keys,
    /// The public base of the event endpoint: scheme, host, perhaps a path, no slash at the end.
    pub base: String,
    /// How long tokens of banners and native ads live.
    pub banner_ttl: Duration,
    /// ... and of video, audio and whatever is shown in an app: it may be kept for hours.
    pub video_ttl: Duration,
}

impl Issuer {
    /// No token lives longer: repeats of its event are told for so long.
    pub fn ttl_max(&self) -> Duration {
        self.banner_ttl.max(self.video_ttl)
    }

    /// Appends the URL of an event, macros for the upstream in it.
    pub fn write_url(&self, claims: &Claims<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.base.as_bytes());
        out.extend_from_slice(b"/e/");
        self.keys.issue(claims, scratch, out);
        let query = match claims.event {
            EventType::Win => QUERY_WIN,
            EventType::Billing => QUERY_BILLING,
            EventType::Loss => QUERY_LOSS,
            EventType::Impression => "",
        };
        out.extend_from_slice(query.as_bytes());
    }
}
