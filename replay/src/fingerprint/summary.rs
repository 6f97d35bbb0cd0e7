//! What is kept of a run's diversity.
//!
//! Owns: [`Summary`] and its parts, as they are written to files. Never: a judgement (that is
//! `gate`). Invariant: some kilobytes, however many requests there were.

use super::reuse::{CACHES, Reuse};
use serde::{Deserialize, Serialize};

/// A run, or a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Of the way in which it was measured; see [`Summary::VERSION`].
    pub version: u32,
    /// See `FingerprintSettings`.
    pub window_log: u32,
    pub reuse_window: u32,
    pub requests: u64,
    pub bytes: u64,
    /// Bodies that are not JSON.
    pub unreadable: u64,
    /// From the first request to the last.
    pub took_ns: u64,
    /// The axes, each line at more requests than the one before; the last at the end.
    pub notes: Vec<Axes>,
    /// Bytes of a body: the largest of each bucket, and how many are in it.
    pub sizes: Vec<(u64, u64)>,
    /// Times from one request to the next, in nanoseconds, likewise.
    pub gaps_ns: Vec<(u64, u64)>,
}

/// All axes after a number of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axes {
    pub requests: u64,
    /// Effective number of combinations of features (see `spread`).
    pub effective_combinations: f64,
    /// Share of the most frequent combination.
    pub top_combination: f64,
    /// Share of the most frequent body, ids taken out; 1 / 1,025 too low at most.
    pub top_body: f64,
    /// Bytes in for each byte out of a compressor with a long window, ids taken out; none where
    /// nothing came.
    pub squeezed: Option<f64>,
    pub distinct: Distinct,
    /// Bodies, ids taken out, that came again.
    pub bodies: Reused,
    /// User agents that came again.
    pub agents: Reused,
}

/// How many distinct values there were; 0.8 % standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distinct {
    /// Ids taken out.
    pub bodies: f64,
    pub agents: f64,
    pub addresses: f64,
    /// Domains, bundles and screens.
    pub places: f64,
    /// Tag ids within a place.
    pub placements: f64,
}

/// Values that came again within the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reused {
    /// Share of all values.
    pub share: f64,
    /// Requests from a value to the same again; up to 12.5 % too high.
    pub median_interval: Option<u64>,
    /// The same, exactly, where it is one number for more than half of what came again: a loop.
    pub loop_length: Option<u64>,
    /// Size of a cache (least recently used goes), and its hit rate.
    pub hit_rates: Vec<(u32, f64)>,
}

impl Reused {
    pub(super) fn of(reuse: &Reuse) -> Self {
        Self {
            share: reuse.share(),
            median_interval: reuse.median_interval(),
            loop_length: reuse.loop_length(),
            hit_rates: CACHES.into_iter().zip(reuse.hit_rates()).collect(),
        }
    }
}

impl Axes {
    /// With nine digits that matter: what is written is read again as the same number, and the
    /// last bits of a logarithm, which differ between machines, do not show.
    pub(super) fn rounded(mut self) -> Self {
        let distinct = &mut self.distinct;
        let rates = self.bodies.hit_rates.iter_mut().chain(&mut self.agents.hit_rates);
        for figure in rates.map(|(_, rate)| rate).chain(&mut self.squeezed).chain([
            &mut self.effective_combinations,
            &mut self.top_combination,
            &mut self.top_body,
            &mut distinct.bodies,
            &mut distinct.agents,
            &mut distinct.addresses,
            &mut distinct.places,
            &mut distinct.placements,
            &mut self.bodies.share,
            &mut self.agents.share,
        ]) {
            *figure = format!("{figure:.8e}").parse().unwrap_or(*figure);
        }
        self
    }
}

impl Summary {
    /// Changes whenever the same requests would give other figures.
    pub const VERSION: u32 = 1;

    /// The axes at the end; `None` where there was no request.
    pub fn end(&self) -> Option<&Axes> {
        self.notes.last()
    }

    /// The last axes at no more than so many requests.
    pub fn up_to(&self, requests: u64) -> Option<&Axes> {
        self.notes.iter().rev().find(|axes| axes.requests <= requests)
    }

    /// The axes at exactly so many requests.
    pub fn at(&self, requests: u64) -> Option<&Axes> {
        self.notes.iter().find(|axes| axes.requests == requests)
    }

    /// How often each distinct body came, on average: 1 where none came twice.
    pub fn times_each(axes: &Axes) -> f64 {
        axes.requests as f64 / axes.distinct.bodies.max(1.0)
    }
}

/// The value that this share of the values in buckets does not exceed.
pub fn quantile(buckets: &[(u64, u64)], share: f64) -> Option<u64> {
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let wanted = share * total as f64;
    let mut passed = 0;
    let found = buckets.iter().find(|(_, count)| {
        passed += count;
        passed as f64 >= wanted
    });
    found.map(|(upper, _)| *upper)
}
