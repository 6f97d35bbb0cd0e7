//! Limits of the network towards bidders that hold for all of them.
//!
//! Owns: [`NetSettings`]. What is agreed with one bidder stands in `bidder::CallLimits`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bounds of pools, dials, drains and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetSettings {
    /// Connections to all bidders, over all workers: what the descriptors of the process leave.
    pub connections_max: u32,
    /// An idle connection is closed after this (s).
    pub idle_max: Duration,
    /// Dials under way at once, for each bidder and worker.
    pub dial_in_flight_max: u32,
    /// Connections opened for a bidder that is new to a worker, before its first call.
    pub warm_connections: u32,
    /// Late answers read to their end in the background at once, for each worker; of one bidder half
    /// as many.
    pub drain_count_max: u32,
    /// A late answer longer than this is not read to its end (bytes on the wire).
    pub drain_bytes_max: usize,
    /// A late answer that takes longer than this after the deadline is given up (ms).
    pub drain_time_max: Duration,
    /// Head of an answer, status line included (bytes).
    pub head_bytes_max: usize,
    /// Interim (1xx) heads before an answer.
    pub interim_max: u32,
    /// First size of a buffer of a call: there are such to write from and such to read into (bytes).
    pub buffer_bytes: usize,
    /// A buffer that grew over this is not kept (bytes).
    pub buffer_kept_bytes_max: usize,
    /// Buffers of either kind kept for reuse, for each worker.
    pub buffers_kept_max: usize,
    /// HTTP/2 connections to one bidder, for each worker.
    pub h2_connections_max: u32,
    /// Calls open at once on one HTTP/2 connection, where the bidder allows as many.
    pub h2_streams_max: u32,
    /// More certificate authorities (PEM) beside the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// When the breaker of a bidder opens, and how it closes again.
    pub breaker: BreakerSettings,
    /// How names are resolved.
    pub resolve: ResolveSettings,
}

/// When a bidder is left alone, and how it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Calls younger than this are judged (whole seconds, 1 to 60).
    pub window: Duration,
    /// Fewer calls than this are no evidence.
    pub calls_min: u32,
    /// Opens when more than this share of the window's calls failed (%).
    pub failures_percent: u32,
    /// While open, one call in this long is let through as a probe (ms).
    pub probe_every: Duration,
    /// While open, one call in this many is let through too.
    pub probe_one_in: u32,
    /// Good probes in a row that start the way back.
    pub probes_good: u32,
    /// From the first share of the calls to all of them (ms).
    pub ramp: Duration,
    /// Calls in the ramp that are evidence for opening again.
    pub ramp_calls_min: u32,
    /// A longer `Retry-After` is cut to this (s).
    pub retry_after_max: Duration,
    /// A worker reports its calls to the others this often (ms).
    pub report_every: Duration,
}

/// How names become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveSettings {
    /// Name servers; empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// A shorter time to live counts as this (s).
    pub ttl_min: Duration,
    /// A longer time to live counts as this (s).
    pub ttl_max: Duration,
    /// After a failure the last addresses are used for this long (s).
    pub stale_max: Duration,
    /// Until the next try after a failure (s).
    pub retry_after_failure: Duration,
    /// One query, all its tries included (ms).
    pub query_time_max: Duration,
    /// Addresses of one name.
    pub addresses_max: usize,
    /// Queries at once.
    pub queries_max: usize,
    /// Names watched at once.
    pub names_max: usize,
}

impl Default for NetSettings {
    fn default() -> Self {
        Self {
            connections_max: u32::MAX,
            idle_max: Duration::from_secs(30),
            dial_in_flight_max: 64,
            warm_connections: 1,
            drain_count_max: 256,
            drain_bytes_max: 256 << 10,
            drain_time_max: Duration::from_secs(2),
            head_bytes_max: 16 << 10,
            interim_max: 8,
            buffer_bytes: 8 << 10,
            buffer_kept_bytes_max: 64 << 10,
            buffers_kept_max: 256,
            h2_connections_max: 2,
            h2_streams_max: 100,
            ca_file: None,
            breaker: BreakerSettings::default(),
            resolve: ResolveSettings::default(),
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            calls_min: 20,
            failures_percent: 50,
            probe_every: Duration::from_millis(250),
            probe_one_in: 100,
            probes_good: 3,
            ramp: Duration::from_secs(2),
            ramp_calls_min: 8,
            retry_after_max: Duration::from_secs(60),
            report_every: Duration::from_millis(50),
        }
    }
}

impl Default for ResolveSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            ttl_min: Duration::from_secs(5),
            ttl_max: Duration::from_secs(300),
            stale_max: Duration::from_secs(3600),
            retry_after_failure: Duration::from_secs(5),
            query_time_max: Duration::from_millis(500),
            addresses_max: 16,
            queries_max: 16,
            names_max: 4096,
        }
    }
}
