//! A whole exchange in its own process, scripted bidders, and a plain HTTP client.

pub mod bidder;
pub mod group;
pub mod http;
pub mod nats;
pub mod server;

/// For tests that are about something else than overload: a machine that is busy with other tests
/// makes an exchange lag, which is then no reason to shed.
pub const PATIENT: &str =
    "[admission]\nlag_target = '100ms'\nburst_time = '1h'\nburst_lag = '1h'\n";
