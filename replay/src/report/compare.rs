//! Two runs side by side, with what chance may have done.
//!
//! Owns: the figures that are compared and their intervals. Never: a file. Invariant: the same seed
//! gives the same intervals.
//!
//! Answers of one moment are not independent of each other: a pause of the target makes hundreds of
//! them slow at once. So the intervals come from drawing whole stretches of a run, about a second
//! each, with replacement (block bootstrap), never from single answers.

use crate::random::Random;
use crate::result::{Counts, RunResult, Window};
use crate::slo::{Counted, Metric, Rates, Slo, Statistic, Times, Unit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of a stretch that is drawn as one, at least. Microseconds.
const BLOCK_US: u64 = 1_000_000;

/// Stretches of a run at most: their histograms are walked for each draw.
const BLOCKS_MAX: usize = 60;

/// Fewer stretches than this say nothing about chance.
const BLOCKS_MIN: usize = 10;

/// Draws. An interval is from the lowest to the highest of them: 99.5 %, so that seldom one of several
/// figures differs by chance alone.
const DRAWS: u64 = 400;

/// One figure of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub name: String,
    pub unit: Unit,
    /// Small is good.
    pub is_ceiling: bool,
    pub before: Option<f64>,
    pub after: Option<f64>,
    /// The second less the first: 99.5 % interval; none: too short a run to tell.
    pub interval: Option<(f64, f64)>,
}

/// How a difference reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Better,
    Worse,
    /// The interval holds 0.
    Unclear,
    /// There is no interval.
    Unknown,
}

/// A stretch: its counts and how often each time came in it.
struct Block {
    counts: Counts,
    seconds: f64,
    times: Vec<(u64, u64)>,
}

/// What is compared.
#[derive(Clone, Copy)]
enum Figure {
    Quantile(f64),
    Errors,
    Fill,
    Rate,
}

const FIGURES: [(&str, Figure, Unit, bool); 7] = [
    ("latency p50", Figure::Quantile(0.5), Unit::Seconds, true),
    ("latency p90", Figure::Quantile(0.9), Unit::Seconds, true),
    ("latency p99", Figure::Quantile(0.99), Unit::Seconds, true),
    ("latency p99.9", Figure::Quantile(0.999), Unit::Seconds, true),
    ("errors", Figure::Errors, Unit::Share, true),
    ("fill", Figure::Fill, Unit::Share, false),
    ("rate", Figure::Rate, Unit::PerSecond, false),
];

impl Figure {
    fn is_of(self, metric: &Metric) -> bool {
        match (self, metric) {
            (
                Self::Quantile(mine),
                Metric::Time { of: Times::Latency, statistic: Statistic::Quantile(other) },
            ) => (mine - other).abs() < 1e-9,
            (Self::Errors, Metric::Requests(Counted::Errors))
            | (Self::Fill, Metric::Requests(Counted::Fill))
            | (Self::Rate, Metric::Rate(Rates::Answered)) => true,
            _ => false,
        }
    }
}

/// Compares.
pub fn compare(before: &RunResult, after: &RunResult, seed: u64) -> Vec<Compared> {
    let (first, second) = (blocks(before), blocks(after));
    let is_told = first.len() >= BLOCKS_MIN && second.len() >= BLOCKS_MIN;
    let mut random = Random::for_bytes(seed, b"compare");
    let mut draws: Vec<Vec<f64>> = vec![Vec::new(); FIGURES.len()];
    for _ in 0..if is_told { DRAWS } else { 0 } {
        let (one, two) = (Drawn::new(&first, &mut random), Drawn::new(&second, &mut random));
        for ((_, figure, ..), draws) in FIGURES.iter().zip(&mut draws) {
            if let (Some(one), Some(two)) = (one.figure(*figure), two.figure(*figure)) {
                draws.push(two - one);
            }
        }
    }
    let whole = |blocks: &[Block], figure| Drawn::all(blocks).figure(figure);
    FIGURES
        .iter()
        .zip(draws)
        .map(|((name, figure, unit, is_ceiling), mut draws)| {
            draws.sort_by(f64::total_cmp);
            let is_whole = draws.len() as u64 == DRAWS;
            let ends = draws.first().copied().zip(draws.last().copied());
            Compared {
                name: (*name).to_owned(),
                unit: *unit,
                is_ceiling: *is_ceiling,
                before: whole(&first, *figure),
                after: whole(&second, *figure),
                interval: if is_whole { ends } else { None },
            }
        })
        .collect()
}

fn blocks(run: &RunResult) -> Vec<Block> {
    let a_block = BLOCK_US.div_ceil(run.window_us.max(1)).max(1);
    let least = usize::try_from(a_block).unwrap_or(1);
    let group = run.windows.len().div_ceil(BLOCKS_MAX).max(least);
    run.windows.chunks(group).map(|windows| block(windows, run.took_us)).collect()
}

fn block(windows: &[Window], took_us: u64) -> Block {
    let mut counts = Counts::default();
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for window in windows {
        counts.add_numbers(&window.counts);
        for step in window.counts.latency.histogram().iter_recorded() {
            *times.entry(step.value_iterated_to()).or_default() += step.count_at_value();
        }
    }
    let start = windows.first().map_or(0, |window| window.start_us);
    let end = windows.last().map_or(0, |window| window.start_us + window.length_us);
    let seconds = end.min(took_us).saturating_sub(start) as f64 / 1e6;
    Block { counts, seconds, times: times.into_iter().collect() }
}

/// The sum of the stretches that were drawn.
#[derive(Default)]
struct Drawn {
    planned: u64,
    failed: u64,
    lost: u64,
    answered: u64,
    /// None: not counted.
    filled: Option<u64>,
    seconds: f64,
    times: BTreeMap<u64, u64>,
    times_len: u64,
}

impl Drawn {
    fn new(blocks: &[Block], random: &mut Random) -> Self {
        let mut drawn = Self::default();
        let mut weights = vec![0_u64; blocks.len()];
        for _ in 0..blocks.len() {
            if let Some(weight) = weights.get_mut(random.index(blocks.len())) {
                *weight += 1;
            }
        }
        for (block, weight) in blocks.iter().zip(weights).filter(|(_, weight)| *weight > 0) {
            drawn.add(block, weight);
        }
        drawn
    }

    fn all(blocks: &[Block]) -> Self {
        let mut drawn = Self::default();
        for block in blocks {
            drawn.add(block, 1);
        }
        drawn
    }

    fn add(&mut self, block: &Block, weight: u64) {
        let counts = &block.counts;
        self.planned += weight * counts.planned;
        self.failed += weight * counts.failed();
        self.lost += weight * (counts.faulty() + counts.unfinished + counts.shed + counts.unsent);
        self.answered += weight * counts.answered;
        if let Some(filled) = counts.filled {
            *self.filled.get_or_insert(0) += weight * filled;
        }
        self.seconds += weight as f64 * block.seconds;
        for (value, count) in &block.times {
            *self.times.entry(*value).or_default() += weight * count;
            self.times_len += weight * count;
        }
    }

    fn figure(&self, figure: Figure) -> Option<f64> {
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        match figure {
            Figure::Quantile(quantile) => self.quantile(quantile),
            Figure::Errors => share(self.failed, self.planned.max(self.answered)),
            Figure::Fill => share(self.filled?, self.answered),
            Figure::Rate => (self.seconds > 0.0).then(|| self.answered as f64 / self.seconds),
        }
    }

    /// Seconds; what was never answered is slower than all. None: it is among those.
    fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (quantile * (self.times_len + self.lost) as f64).ceil().max(1.0);
        let mut passed = 0_u64;
        let found = self.times.iter().find(|(_, count)| {
            passed += **count;
            passed as f64 >= rank
        });
        found.map(|(value, _)| *value as f64 / 1e9)
    }
}

impl Compared {
    /// What the interval says.
    pub fn reading(&self) -> Reading {
        let Some((low, high)) = self.interval else { return Reading::Unknown };
        match (low > 0.0, high < 0.0) {
            (false, false) => Reading::Unclear,
            (is_more, _) if is_more == self.is_ceiling => Reading::Worse,
            _ => Reading::Better,
        }
    }

    /// Whether this objective says how much worse than before it may be.
    pub fn is_bounded_by(&self, slo: &Slo) -> bool {
        let mine = FIGURES.iter().find(|(name, ..)| *name == self.name);
        slo.needs_baseline()
            && slo.comparison.is_ceiling() == self.is_ceiling
            && mine.is_some_and(|(_, figure, ..)| figure.is_of(&slo.metric))
    }
}
