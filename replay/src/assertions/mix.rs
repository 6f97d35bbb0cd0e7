//! What was answered then and what is answered now.
//!
//! Owns: the table of recorded against present statuses, and whether the share of bids has moved.
//! Never: one exchange's rule. Invariant: a distance that chance explains is no fault.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    pub rows: Vec<MixRow>,
    /// How far the share of bids may lie from the recording's.
    pub distance_max: f64,
    /// Why it does not hold.
    pub fault: Option<String>,
}

/// Requests of one recorded status, by what they are answered now; 0: not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixRow {
    pub recorded: u16,
    pub now: BTreeMap<u16, u64>,
}

/// Standard errors beyond which chance is no explanation (1 of 700 one-sided).
const ERRORS_MAX: f64 = 3.0;

impl Mix {
    /// From counts of (recorded, now).
    pub(super) fn new(counts: &BTreeMap<(u16, u16), u64>, distance_max: f64) -> Self {
        let mut rows: Vec<MixRow> = Vec::new();
        for ((recorded, now), count) in counts {
            match rows.last_mut().filter(|row| row.recorded == *recorded) {
                Some(row) => {
                    row.now.insert(*now, *count);
                }
                None => rows.push(MixRow { recorded: *recorded, now: [(*now, *count)].into() }),
            }
        }
        let mut mix = Self { rows, distance_max, fault: None };
        mix.judge();
        mix
    }

    /// Bids then, bids now, both of the same requests.
    fn judge(&mut self) {
        let (mut all, mut then, mut now, mut lost, mut won) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for row in &self.rows {
            for (status, count) in &row.now {
                let (was, is) = (row.recorded == 200, *status == 200);
                all += count;
                then += if was { *count } else { 0 };
                now += if is { *count } else { 0 };
                lost += if was && !is { *count } else { 0 };
                won += if is && !was { *count } else { 0 };
            }
        }
        let distance = (now as f64 - then as f64) / all.max(1) as f64;
        // the same requests then and now: only those that changed sides tell (McNemar)
        let errors = (won as f64 - lost as f64).abs() / ((won + lost).max(1) as f64).sqrt();
        let is_off = distance.abs() > self.distance_max && errors > ERRORS_MAX;
        self.fault = is_off.then(|| {
            format!(
                "{now} of {all} requests have a bid, {then} had one when they were recorded: \
                 {:+.1} %, at most {:.1} % are allowed",
                distance * 100.0,
                self.distance_max * 100.0
            )
        });
    }

    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        let mut counts = BTreeMap::new();
        for row in self.rows.iter().chain(&other.rows) {
            for (now, count) in &row.now {
                *counts.entry((row.recorded, *now)).or_insert(0) += count;
            }
        }
        *self = Self::new(&counts, self.distance_max);
    }
}
