//! Closed lists of label values that belong to modules above.
//!
//! Owns: the words. Never: their meaning; each such module has a test that its own labels are these.

/// Events that notices tell of.
pub const NOTICE_KINDS: &[&str] = &["win", "billing", "loss", "impression"];
/// What became of a notice, or of a try.
pub const NOTICE_RESULTS: &[&str] = &["delivered", "failed", "aside", "dead", "dropped"];
/// Where an event that the journal received has gone.
pub const INTAKE_ENDS: &[&str] = &["rejected", "refused", "duplicate", "published", "appended"];
/// Where an event that the journal holds is, of a sink.
pub const OUTLET_STATES: &[&str] = &["carried", "delivered", "dead", "pending"];
/// What became of records of auctions.
pub const RECORD_ENDS: &[&str] = &["offered", "dropped", "written"];
/// Readers of the journal that hold it back.
pub const SINKS: &[&str] = &["notices", "broker"];
/// Notices that the broker keeps.
pub const KEPT_NOTICES: &[&str] = &["pending", "dead"];
/// What became of a message to the broker.
pub const BROKER_ENDS: &[&str] = &["stored", "repeat", "failed"];
/// Why a try failed.
pub const NOTICE_FAILED: &[&str] =
    &["blocked", "no_name", "connect", "tls", "timeout", "broken", "status"];
/// Rules that stop a notice (`notice::guard`).
pub const NOTICE_RULES: &[&str] = &[
    "bidder",
    "length",
    "characters",
    "form",
    "scheme",
    "user",
    "fragment",
    "port",
    "domain",
    "address",
    "own_address",
    "network",
    "peer",
];
/// What came of a try to take a source that changed.
pub const RELOAD_RESULTS: &[&str] = &[
    "ok",
    "unchanged",
    "unreadable",
    "too_large",
    "checksum",
    "inconsistent",
    "invalid",
    "canary",
    "older",
];
