//! Whether an objective is met.
//!
//! Owns: figures out of a result, over the whole or over every span, and their comparison. Never: a
//! file, a clock. Invariants: no data is not met; a planned request that was never answered counts
//! as slower than every answer, so that a server cannot better its percentiles by not answering.

use super::{Base, Counted, Limit, Metric, Rates, Slo, Statistic, Times, Unit};
use crate::drive::report::histogram;
use crate::result::{Counts, RunResult, Window};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What came of one objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// As it was written.
    pub slo: String,
    pub met: bool,
    /// Of the worst span, in `unit`; none: there was no data. Beyond every number (more requests
    /// without an answer than the percentile leaves out) it is left out too, and `note` says so.
    pub observed: Option<f64>,
    pub limit: Option<f64>,
    pub unit: Unit,
    /// The worst span, where spans are judged.
    pub worst: Option<Span>,
    /// What somebody should know who reads it.
    pub note: Option<String>,
}

/// A stretch of a run. Microseconds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub start_us: u64,
    pub length_us: u64,
}

/// The figures of a span.
struct Figures {
    counts: Counts,
    /// Only of the metric's times.
    times: Option<Histogram<u64>>,
    seconds: f64,
    /// Planned requests whose answers should have come in it.
    due: u64,
}

/// The comparison of one span.
#[derive(Clone, Copy, Debug)]
struct Found {
    observed: Option<f64>,
    limit: Option<f64>,
    span: Span,
}

impl Slo {
    /// Judges a run; `baseline` is the other run that an objective may speak of.
    pub fn evaluate(&self, run: &RunResult, baseline: Option<&RunResult>) -> Verdict {
        let whole = Span { start_us: 0, length_us: run.took_us };
        let reference = match (self.limit.base, baseline) {
            (Base::Baseline { .. }, None) => {
                return self.verdict(
                    Found { observed: None, limit: None, span: whole },
                    Some("there is no baseline to compare with".to_owned()),
                );
            }
            // a figure beyond every number is no limit: anything would be within it
            (Base::Baseline { .. }, Some(other)) => {
                self.worst(other, &|_| None).0.observed.filter(|it| it.is_finite())
            }
            _ => None,
        };
        let limit_of = |figures: &Figures| self.limit_of(figures, reference);
        let (found, note) = self.worst(run, &limit_of);
        self.verdict(found, note)
    }

    /// The worst span, with its limit.
    fn worst(
        &self,
        run: &RunResult,
        limit_of: &dyn Fn(&Figures) -> Option<f64>,
    ) -> (Found, Option<String>) {
        let whole = Span { start_us: 0, length_us: run.took_us };
        let nothing = Found { observed: None, limit: None, span: whole };
        let Some(window) = self.window else {
            let figures = Figures {
                counts: run.whole.clone(),
                times: self.times(&run.whole),
                seconds: run.took().as_secs_f64(),
                due: run.whole.planned,
            };
            let found =
                Found { observed: self.figure(&figures), limit: limit_of(&figures), span: whole };
            return (found, self.thin(&figures));
        };
        let wanted = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let steps = wanted.div_ceil(run.window_us.max(1));
        let length_us = steps.saturating_mul(run.window_us);
        if length_us > run.took_us
            || usize::try_from(steps).unwrap_or(usize::MAX) > run.windows.len()
        {
            let note = format!("the run is shorter than {:.1} s", length_us as f64 / 1e6);
            return (nothing, Some(note));
        }
        let mut worst: Option<Found> = None;
        for figures in Sliding::new(self, run, steps) {
            let (span, figures) = figures;
            if !self.is_judged(&figures) {
                continue;
            }
            let found = Found { observed: self.figure(&figures), limit: limit_of(&figures), span };
            if worst.is_none_or(|before| self.is_worse(&found, &before)) {
                worst = Some(found);
            }
        }
        let note = (length_us != wanted).then(|| {
            format!("spans of {:.1} s: the result's windows are that long", length_us as f64 / 1e6)
        });
        (worst.unwrap_or(nothing), note)
    }

    /// Whether a span says anything. Where nothing ended there is no time and no status to judge: an
    /// answer that comes later is judged where it comes, one that never comes where it is given up.
    fn is_judged(&self, figures: &Figures) -> bool {
        let counts = &figures.counts;
        match &self.metric {
            Metric::Time { of: Times::Lateness, .. } => counts.planned > 0,
            Metric::Time { .. } | Metric::Requests(Counted::Fill | Counted::Status(_)) => {
                counts.answered + unanswered(counts) > 0
            }
            Metric::Requests(Counted::Errors | Counted::Unanswered) => {
                planned(counts) + unanswered(counts) > 0
            }
            // a rate needs the whole span, and somebody who asked
            Metric::Rate(_) => counts.planned > 0 && figures.seconds > 0.0,
        }
    }

    /// A span without a figure is the worst; then the one that is furthest from its limit.
    fn is_worse(&self, found: &Found, before: &Found) -> bool {
        let distance = |one: &Found| {
            let over = one.observed.unwrap_or(f64::INFINITY) - one.limit.unwrap_or(0.0);
            match () {
                () if one.observed.is_none() => f64::INFINITY,
                () if self.comparison.is_ceiling() => over,
                () if matches!(self.comparison, super::Comparison::Equal) => over.abs(),
                () => -over,
            }
        };
        distance(found).total_cmp(&distance(before)).is_gt()
    }

    fn limit_of(&self, figures: &Figures, reference: Option<f64>) -> Option<f64> {
        let Limit { base, .. } = self.limit;
        match base {
            Base::Fixed(limit) => Some(limit),
            Base::Planned { factor } => {
                // what is not due yet may have been answered all the same
                let is_ceiling = self.comparison.is_ceiling();
                let count = if is_ceiling { figures.counts.planned } else { figures.due };
                Some(factor * count as f64 / figures.seconds)
            }
            Base::Baseline { factor, offset } => reference.map(|it| it * factor + offset),
        }
    }

    fn times(&self, counts: &Counts) -> Option<Histogram<u64>> {
        let Metric::Time { of, .. } = self.metric else { return None };
        let packed = match of {
            Times::Latency => &counts.latency,
            Times::Service => &counts.service,
            Times::Lateness => &counts.lateness,
        };
        Some(packed.histogram())
    }

    /// In the limit's unit; none: no data.
    fn figure(&self, figures: &Figures) -> Option<f64> {
        let counts = &figures.counts;
        match &self.metric {
            Metric::Time { of, statistic } => {
                let lost = match of {
                    // what was sent and never answered was not served in time either
                    Times::Latency => unanswered(counts),
                    Times::Service => counts.faulty().saturating_add(counts.unfinished),
                    Times::Lateness => 0,
                };
                time(figures.times.as_ref()?, lost, *statistic)
            }
            Metric::Requests(counted) => {
                let (count, of) = match counted {
                    Counted::Errors => (counts.failed(), planned(counts)),
                    Counted::Unanswered => (unanswered(counts), planned(counts)),
                    Counted::Fill => (counts.filled?, counts.answered),
                    Counted::Status(set) => {
                        let found = counts.statuses.iter().filter(|(code, _)| set.contains(**code));
                        (found.map(|(_, count)| *count).sum(), counts.answered)
                    }
                };
                let is_share = self.limit.unit == Unit::Share;
                // a number of requests that failed needs nothing to be a share of
                let is_seen = of > 0 || count > 0 && !is_share;
                if !is_seen {
                    return None;
                }
                Some(if is_share { count as f64 / of as f64 } else { count as f64 })
            }
            Metric::Rate(_) if figures.seconds <= 0.0 || counts.planned == 0 => None,
            Metric::Rate(Rates::Answered) => Some(counts.answered as f64 / figures.seconds),
            Metric::Rate(Rates::Sent) => Some(counts.sent as f64 / figures.seconds),
        }
    }

    /// A percentile out of too few answers is their maximum.
    fn thin(&self, figures: &Figures) -> Option<String> {
        let Metric::Time { statistic: Statistic::Quantile(quantile), .. } = self.metric else {
            return None;
        };
        let seen = figures.times.as_ref().map_or(0, Histogram::len);
        let needed = 1.0 / (1.0 - quantile);
        (seen > 0 && (seen as f64) < needed - 1e-6).then(|| {
            format!("out of {seen} answers only: this percentile wants {needed:.0} or more")
        })
    }

    fn verdict(&self, found: Found, note: Option<String>) -> Verdict {
        let Found { observed, limit, span } = found;
        let met = match (observed, limit) {
            (Some(observed), Some(limit)) => self.comparison.holds(observed, limit),
            _ => false,
        };
        let is_endless = observed.is_some_and(f64::is_infinite);
        let note = match note {
            _ if is_endless => {
                Some("more requests had no answer than the percentile leaves out".to_owned())
            }
            Some(note) => Some(note),
            None if observed.is_none() => Some("there is no data".to_owned()),
            None if limit.is_none() => Some("the baseline has no data".to_owned()),
            None => None,
        };
        Verdict {
            slo: self.text.clone(),
            met,
            // JSON has no infinity
            observed: observed.filter(|it| it.is_finite()),
            limit: limit.filter(|it| it.is_finite()),
            unit: self.limit.unit,
            worst: self.window.map(|_| span),
            note,
        }
    }
}

impl Verdict {
    /// One line for people.
    pub fn line(&self) -> String {
        let met = if self.met { "met" } else { "NOT met" };
        let observed = self.observed.map_or("none".to_owned(), |it| self.unit.show(it));
        let limit = self.limit.map_or("none".to_owned(), |it| self.unit.show(it));
        let mut line = format!("{met}: {} (observed {observed}, limit {limit}", self.slo);
        if let Some(span) = self.worst {
            let (start, length) = (span.start_us as f64 / 1e6, span.length_us as f64 / 1e6);
            line.extend([", worst ", &format!("from {start:.1} s for {length:.1} s")]);
        }
        line.push(')');
        if let Some(note) = &self.note {
            line.extend(["; ", note]);
        }
        line
    }
}

/// Requests of a span that should have been answered; answers of an earlier one may come in it.
fn planned(counts: &Counts) -> u64 {
    counts.planned.max(counts.answered)
}

fn unanswered(counts: &Counts) -> u64 {
    let lost = [counts.faulty(), counts.shed, counts.unsent, counts.unfinished];
    lost.into_iter().fold(0, u64::saturating_add)
}

/// Seconds. Lost requests are slower than every other.
fn time(times: &Histogram<u64>, lost: u64, statistic: Statistic) -> Option<f64> {
    let all = times.len().saturating_add(lost);
    if all == 0 {
        return None;
    }
    let ns = match statistic {
        Statistic::Min => times.min(),
        // a mean over what never came is none
        Statistic::Max | Statistic::Mean if lost > 0 => return Some(f64::INFINITY),
        Statistic::Max => times.max(),
        Statistic::Mean => return Some(times.mean() / 1e9),
        Statistic::Quantile(quantile) => {
            // the smallest rank at which the share reached is the quantile; a little below, so
            // that 0.99 of 100 is the 99th and not the 100th
            let rank = (quantile * all as f64 - 1e-9 * all as f64).ceil().max(1.0);
            if rank > times.len() as f64 {
                return Some(f64::INFINITY);
            }
            times.value_at_quantile(((rank - 0.5) / times.len() as f64).clamp(0.0, 1.0))
        }
    };
    if times.is_empty() { Some(f64::INFINITY) } else { Some(ns as f64 / 1e9) }
}

/// Every run of so many windows, each from the one before by a step.
struct Sliding<'a> {
    slo: &'a Slo,
    run: &'a RunResult,
    windows: std::slice::Iter<'a, Window>,
    held: VecDeque<(&'a Window, Option<Histogram<u64>>)>,
    steps: usize,
    /// Windows that go by before an answer comes.
    lag: usize,
    /// The number of the next span.
    span: usize,
    times: Option<Histogram<u64>>,
}

impl<'a> Sliding<'a> {
    fn new(slo: &'a Slo, run: &'a RunResult, steps: u64) -> Self {
        let times = matches!(slo.metric, Metric::Time { .. }).then(histogram);
        let steps = usize::try_from(steps).unwrap_or(usize::MAX).max(1);
        let lag = match slo.metric {
            // twice the median: what is later than that is late, and not under way
            Metric::Rate(Rates::Answered) => {
                let ns = run.whole.latency.histogram().value_at_quantile(0.5).saturating_mul(2);
                usize::try_from((ns / 1_000).div_ceil(run.window_us.max(1))).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        let windows = run.windows.iter();
        Self { slo, run, windows, held: VecDeque::new(), steps, lag, span: 0, times }
    }

    /// Planned requests whose answers should have come in the span from a window on: no more than
    /// were planned in it, as where the rate falls, and no more than were planned so much earlier as
    /// an answer takes, as where the rate rises or the run has just begun.
    fn due(&self, first: usize, planned: u64) -> u64 {
        let (from, to) = (first.saturating_sub(self.lag), first.saturating_add(self.steps));
        let earlier = self.run.windows.get(from..to.saturating_sub(self.lag)).unwrap_or_default();
        earlier.iter().map(|window| window.counts.planned).sum::<u64>().min(planned)
    }
}

impl Iterator for Sliding<'_> {
    type Item = (Span, Figures);

    fn next(&mut self) -> Option<Self::Item> {
        if self.held.len() == self.steps
            && let Some((_, Some(gone))) = self.held.pop_front()
            && let Some(sum) = &mut self.times
        {
            // it was added before: there is nothing below zero
            sum.subtract(&gone).ok()?;
        }
        self.held.truncate(self.steps.saturating_sub(1));
        while self.held.len() < self.steps {
            let window = self.windows.next()?;
            let times = self.slo.times(&window.counts);
            if let (Some(sum), Some(times)) = (&mut self.times, &times) {
                sum.add(times).ok()?;
            }
            self.held.push_back((window, times));
        }
        let start_us = self.held.front()?.0.start_us;
        let end_us = self.held.back().map(|(last, _)| last.start_us + last.length_us)?;
        let mut counts = Counts::default();
        for (window, _) in &self.held {
            counts.add_numbers(&window.counts);
        }
        let span = Span { start_us, length_us: end_us - start_us };
        // the plan may end within the last window, and answers come behind its end
        let is_whole = end_us <= self.run.took_us;
        let seconds = if is_whole { span.length_us as f64 / 1e6 } else { 0.0 };
        let due = self.due(self.span, counts.planned);
        self.span += 1;
        Some((span, Figures { counts, times: self.times.clone(), seconds, due }))
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
pub(crate) mod tests;
