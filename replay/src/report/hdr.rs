//! A run as an HdrHistogram log (text, version 1.3), for the tools that read one.
//!
//! Owns: the lines of the log: an interval for each window and each kind of time. Never: a figure
//! of its own. Invariant: the histograms of a tag add up to those of the whole run.

use crate::result::RunResult;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use std::fmt::Write;

/// Nanoseconds in a millisecond: what the maximum is given in, as HdrHistogram's own tools do.
const NS_PER_MS: f64 = 1e6;

/// The log.
pub fn log(run: &RunResult) -> String {
    let start = run.started_us as f64 / 1e6;
    let mut out = format!(
        "#[Logged with gavel-replay {}]\n#[Histogram log format version 1.3]\n#[StartTime: {start:.3} \
         (seconds since epoch)]\n#[BaseTime: 0.000 (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        env!("CARGO_PKG_VERSION")
    );
    for window in &run.windows {
        let counts = &window.counts;
        let kinds = [
            ("latency", &counts.latency),
            ("service", &counts.service),
            ("lateness", &counts.lateness),
        ];
        for (tag, packed) in kinds {
            let times = packed.histogram();
            if times.is_empty() {
                continue;
            }
            let mut bytes = Vec::new();
            // counts of requests are far below what the format holds
            if V2DeflateSerializer::new().serialize(&times, &mut bytes).is_err() {
                continue;
            }
            let _ = writeln!(
                out,
                "Tag={tag},{:.3},{:.3},{:.3},{}",
                start + window.start_us as f64 / 1e6,
                window.length_us as f64 / 1e6,
                times.max() as f64 / NS_PER_MS,
                STANDARD.encode(&bytes)
            );
        }
    }
    out
}
