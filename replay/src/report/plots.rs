//! What of a run is plotted.
//!
//! Owns: which figures of a result become lines and bands. Never: how they are drawn. Invariant: at
//! most [`POINTS_MAX`] points a line, made by joining windows, never by leaving one out.

use super::html::{rounded, tick_seconds};
use super::svg::{Band, Line, Plot, Scale};
use crate::drive::report::histogram;
use crate::result::{Counts, RunResult};
use hdrhistogram::Histogram;

/// Points along a line at most.
const POINTS_MAX: usize = 120;

/// Requests of a point on average at least, where that leaves [`POINTS_LEAST`]: the p99 of three is
/// their slowest.
const REQUESTS_LEAST: u64 = 20;
const POINTS_LEAST: usize = 10;

/// A stretch of the run.
struct Part {
    /// Seconds from the start.
    start: f64,
    /// Seconds in which requests were planned; 0 behind the end of the plan.
    length: f64,
    counts: Counts,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
}

/// All plots of a run, as markup.
pub fn plots(run: &RunResult) -> Vec<String> {
    let parts = parts(run);
    if parts.is_empty() {
        return Vec::new();
    }
    let windows = run.window_us as f64 / 1e6;
    let end = parts.last().map_or(1.0, |part| part.start) + windows;
    let x = Scale { high: end.max(0.1), ..Scale::linear(end, "seconds of the run", tick) };
    let x = Scale { high: x.high.min(end.max(0.1)), ..x };
    vec![
        over_time(&parts, &x),
        by_percentile(run),
        rates(&parts, &x),
        statuses(&parts, &x),
        lateness(&parts, &x, run.plan.lateness_us_max),
        queue(&parts, &x),
    ]
}

/// Windows that are one point.
fn group(windows: usize, requests: u64) -> usize {
    let full = (windows as u64 * REQUESTS_LEAST).div_ceil(requests.max(1));
    let full = usize::try_from(full).unwrap_or(usize::MAX).min(windows / POINTS_LEAST);
    windows.div_ceil(POINTS_MAX).max(full).max(1)
}

fn parts(run: &RunResult) -> Vec<Part> {
    let group = group(run.windows.len(), run.whole.planned);
    run.windows
        .chunks(group)
        .map(|windows| {
            let mut counts = Counts::default();
            let (mut latency, mut late) = (histogram(), histogram());
            for window in windows {
                counts.add_numbers(&window.counts);
                // equal bounds: adding cannot fail
                let _ = latency.add(window.counts.latency.histogram());
                let _ = late.add(window.counts.lateness.histogram());
            }
            let start_us = windows.first().map_or(0, |window| window.start_us);
            let end_us = windows.last().map_or(0, |window| window.start_us + window.length_us);
            let length_us = end_us.min(run.took_us).saturating_sub(start_us);
            Part {
                start: start_us as f64 / 1e6,
                length: length_us as f64 / 1e6,
                counts,
                latency,
                lateness: late,
            }
        })
        .collect()
}

fn at(times: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!times.is_empty()).then(|| times.value_at_quantile(quantile) as f64 / 1e9)
}

/// The bounds of all points, for a logarithmic scale.
fn bounds(lines: &[Line]) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, y)| *y));
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(value), high.max(value)))
}

fn over_time(parts: &[Part], x: &Scale) -> String {
    let line = |name: &str, class, quantile: f64| Line {
        name: name.to_owned(),
        class,
        points: parts.iter().map(|part| (part.start, at(&part.latency, quantile))).collect(),
    };
    let lines = [
        line("p50", "s3", 0.5),
        line("p90", "s2", 0.9),
        line("p99", "s1", 0.99),
        line("slowest", "s5", 1.0),
    ];
    let (low, high) = bounds(&lines);
    let plot = Plot {
        title: "Latency over time".to_owned(),
        note: "From the planned moment to the end of the answer, at the moment it came.".to_owned(),
        x: x.clone(),
        y: Scale::log(low, high, "time", tick_seconds),
    };
    plot.lines(&lines)
}

fn by_percentile(run: &RunResult) -> String {
    let whole = &run.whole;
    percentiles(
        whole.answered,
        "Each step to the right is ten times rarer. The gap is time that requests waited to be sent.",
        &[
            ("from the planned moment", "s1", &whole.latency.histogram()),
            ("from sending", "s2", &whole.service.histogram()),
        ],
    )
}

/// Latency of two runs by percentile, as markup.
pub fn both(before: &RunResult, after: &RunResult) -> String {
    percentiles(
        before.whole.answered.min(after.whole.answered),
        "From the planned moment. Each step to the right is ten times rarer.",
        &[
            ("before", "s5", &before.whole.latency.histogram()),
            ("after", "s1", &after.whole.latency.histogram()),
        ],
    )
}

fn percentiles(answered: u64, note: &str, all: &[(&str, &'static str, &Histogram<u64>)]) -> String {
    // 1 - q: a decade a nine, as far as there are answers to tell
    let nines = (answered.max(10) as f64).log10().clamp(1.0, 6.0);
    let lines: Vec<Line> = all
        .iter()
        .map(|(name, class, times)| {
            let points = (0..=100).map(|step| {
                let exponent = nines * f64::from(step) / 100.0;
                (exponent, at(times, 1.0 - 10_f64.powf(-exponent)))
            });
            Line { name: (*name).to_owned(), class, points: points.collect() }
        })
        .collect();
    let (low, high) = bounds(&lines);
    let names = [
        (0.0, "0 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (5.0, "99.999 %"),
        (6.0, "99.9999 %"),
    ];
    let ticks = names.iter().filter(|(at, _)| *at <= nines + 1e-6);
    let plot = Plot {
        title: "Latency by percentile".to_owned(),
        note: note.to_owned(),
        x: Scale {
            low: 0.0,
            high: nines,
            is_log: false,
            label: "of answers were as fast".to_owned(),
            show: |_| String::new(),
            ticks: Some(ticks.map(|(at, name)| (*at, (*name).to_owned())).collect()),
        },
        y: Scale::log(low, high, "time", tick_seconds),
    };
    plot.lines(&lines)
}

/// As short as it can be: steps that were added up are a hair beside what they stand for.
fn tick(seconds: f64) -> String {
    format!("{}", (seconds * 1e6).round() / 1e6)
}

fn a_second(value: f64) -> String {
    if !(f64::EPSILON..10.0).contains(&value) {
        return rounded(value);
    }
    format!("{value:.1}")
}

fn rates(parts: &[Part], x: &Scale) -> String {
    let line = |name: &str, class, of: fn(&Counts) -> u64| Line {
        name: name.to_owned(),
        class,
        points: parts
            .iter()
            .map(|part| {
                // a stretch that the end of the plan cuts to a sliver says nothing of a rate
                let is_told = part.length > 0.0;
                (part.start, is_told.then(|| of(&part.counts) as f64 / part.length))
            })
            .collect(),
    };
    let lines = [
        line("planned", "s5", |counts| counts.planned),
        line("sent", "s1", |counts| counts.sent),
        line("answered", "s2", |counts| counts.answered),
    ];
    let plot = Plot {
        title: "Rate".to_owned(),
        note: "Where sent falls below planned the generator was held up; where answered does, the \
               target."
            .to_owned(),
        x: x.clone(),
        y: Scale::linear(bounds(&lines).1, "requests a second", a_second),
    };
    plot.lines(&lines)
}

fn statuses(parts: &[Part], x: &Scale) -> String {
    type Of = fn(&Counts) -> u64;
    let sum = |counts: &Counts, low: u16, high: u16| -> u64 {
        counts.statuses.range(low..=high).map(|(_, count)| *count).sum()
    };
    let other: Of = |counts| {
        let known = counts.statuses.range(..=204).filter(|(code, _)| [200, 204].contains(*code));
        let below: u64 = counts.statuses.range(..400).map(|(_, count)| *count).sum();
        below - known.map(|(_, count)| *count).sum::<u64>()
    };
    let lost: Of = |counts| counts.faulty() + counts.unfinished + counts.shed + counts.unsent;
    let bands = [
        ("200", "s1", (|counts: &Counts| counts.status(200)) as Of),
        ("204", "s2", |counts: &Counts| counts.status(204)),
        ("other", "s5", other),
        ("4xx", "s3", |_| 0),
        ("5xx", "s4", |_| 0),
        ("no answer", "s6", lost),
    ];
    let heights = |name: &str, of: Of| -> Vec<f64> {
        let rate = |part: &Part| {
            let count = match name {
                "4xx" => sum(&part.counts, 400, 499),
                "5xx" => sum(&part.counts, 500, 999),
                _ => of(&part.counts),
            };
            if part.length > 0.0 { count as f64 / part.length } else { 0.0 }
        };
        parts.iter().map(rate).collect()
    };
    let bands: Vec<Band> = bands
        .into_iter()
        .map(|(name, class, of)| Band { name: name.to_owned(), class, heights: heights(name, of) })
        .filter(|band| band.heights.iter().any(|height| *height > 0.0))
        .collect();
    let top = (0..parts.len())
        .map(|place| bands.iter().filter_map(|band| band.heights.get(place)).sum::<f64>())
        .fold(0.0, f64::max);
    let xs: Vec<f64> = parts.iter().map(|part| part.start).collect();
    let plot = Plot {
        title: "Statuses".to_owned(),
        note: "Answers by status, stacked, at the moment they came.".to_owned(),
        x: x.clone(),
        y: Scale::linear(top, "answers a second", a_second),
    };
    plot.stack(&xs, &bands)
}

fn lateness(parts: &[Part], x: &Scale, limit_us: u64) -> String {
    let line = |name: &str, class, quantile: f64| Line {
        name: name.to_owned(),
        class,
        points: parts.iter().map(|part| (part.start, at(&part.lateness, quantile))).collect(),
    };
    let mut lines =
        vec![line("p50", "s3", 0.5), line("p99", "s1", 0.99), line("latest", "s5", 1.0)];
    if limit_us > 0 {
        let limit = Some(limit_us as f64 / 1e6);
        let points = vec![(x.low, limit), (x.high, limit)];
        lines.push(Line { name: "limit of p99".to_owned(), class: "s6", points });
    }
    let (low, high) = bounds(&lines);
    let plot = Plot {
        title: "Lateness of the generator".to_owned(),
        note: "From the planned moment to its being taken up: the harness\u{2019}s own error."
            .to_owned(),
        x: x.clone(),
        y: Scale::log(low, high, "time", tick_seconds),
    };
    plot.lines(&lines)
}

fn queue(parts: &[Part], x: &Scale) -> String {
    let points = |of: fn(&Counts) -> u64| -> Vec<(f64, Option<f64>)> {
        parts.iter().map(|part| (part.start, Some(of(&part.counts) as f64))).collect()
    };
    let lines = [
        Line {
            name: "waiting at most".to_owned(),
            class: "s1",
            points: points(|counts| counts.queue_peak),
        },
        Line {
            name: "connections opened".to_owned(),
            class: "s2",
            points: points(|counts| counts.connects),
        },
    ];
    let plot = Plot {
        title: "Waiting for a connection".to_owned(),
        note: "Requests whose moment had come while every connection was busy.".to_owned(),
        x: x.clone(),
        y: Scale::linear(bounds(&lines).1, "requests, connections", a_second),
    };
    plot.lines(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_short_run_are_round() {
        for (seconds, expected) in
            [(3.0 * 0.2, "0.6"), (0.1 + 0.2, "0.3"), (0.05, "0.05"), (0.0, "0"), (120.0, "120")]
        {
            assert_eq!(tick(seconds), expected);
        }
    }

    #[test]
    fn a_point_has_requests_enough_or_the_line_points_enough() {
        for (windows, requests, expected) in [
            (0, 0, 1),
            (100, 5_000, 1),
            (1_200, 1_000_000, 10),
            (411, 690, 12),
            (100, 50, 10),
            (100, 0, 10),
            (5, 1, 1),
        ] {
            assert_eq!(group(windows, requests), expected, "{windows} {requests}");
        }
    }
}
