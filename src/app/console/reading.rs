//! All numbers of one moment, and what they grew by since another.
//!
//! Owns: [`Reading`]. Never: a rate, a rounding: the page divides by the time between the two.
//! Invariant: what went down, as no counter does while a process lives, grew by nothing.

use crate::telemetry::histogram::Counts;
use crate::telemetry::hub::{Sample, Value as Number};
use crate::telemetry::meter::{Kind, Meter};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// All numbers of one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    pub at: Instant,
    /// Since the Unix epoch.
    pub wall: Duration,
    families: Vec<Family>,
}

/// The numbers of one instrument.
#[derive(Clone, Debug)]
struct Family {
    meter: &'static Meter,
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    labels: Vec<Box<str>>,
    value: Kept,
}

#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Whole(u64),
    Real(f64),
    Buckets(Counts),
}

impl Reading {
    /// Without numbers.
    pub fn new(at: Instant, wall: Duration) -> Self {
        Self { at, wall, families: Vec::new() }
    }

    /// Takes a number down; those of one instrument come together.
    pub fn take(&mut self, sample: &Sample<'_>) {
        let value = match sample.value {
            Number::Whole(number) => Kept::Whole(number),
            Number::Real(number) => Kept::Real(number),
            Number::Buckets(counts) => Kept::Buckets(counts.clone()),
        };
        let labels = sample.labels.iter().map(|label| Box::from(*label)).collect();
        let series = Series { labels, value };
        match self.families.last_mut().filter(|last| last.meter.name == sample.meter.name) {
            Some(family) => family.series.push(series),
            None => self.families.push(Family { meter: sample.meter, series: vec![series] }),
        }
    }

    fn family(&self, meter: &Meter) -> Option<&Family> {
        self.families.iter().find(|family| family.meter.name == meter.name)
    }

    /// The sum of an instrument's whole numbers whose labels pass.
    pub fn sum(&self, meter: &Meter, passes: impl Fn(&[Box<str>]) -> bool) -> u64 {
        let series = self.family(meter).into_iter().flat_map(|family| &family.series);
        let whole = series.filter(|one| passes(&one.labels)).map(|one| match one.value {
            Kept::Whole(number) => number,
            Kept::Real(_) | Kept::Buckets(_) => 0,
        });
        whole.sum()
    }

    /// The sum of an instrument's real numbers.
    pub fn real(&self, meter: &Meter) -> f64 {
        let series = self.family(meter).into_iter().flat_map(|family| &family.series);
        let real = series.map(|one| if let Kept::Real(number) = one.value { number } else { 0.0 });
        real.sum()
    }

    /// The counts of an instrument's first histogram.
    pub fn buckets(&self, meter: &Meter) -> &[u64] {
        match self.family(meter).and_then(|family| family.series.first()).map(|one| &one.value) {
            Some(Kept::Buckets(counts)) => &counts.buckets,
            _ => &[],
        }
    }
}

/// By instrument: its labels' names, and for each series its labels, its value and, of what only
/// grows, by how much it grew since `then`.
pub fn json(now: &Reading, then: &Reading) -> Value {
    let shown = |family: &Family| {
        let before = then.family(family.meter);
        (family.meter.name.to_owned(), family.json(before))
    };
    now.families.iter().map(shown).collect::<Map<_, _>>().into()
}

impl Family {
    fn json(&self, before: Option<&Self>) -> Value {
        let before: HashMap<&[Box<str>], &Kept> = before
            .into_iter()
            .flat_map(|family| &family.series)
            .map(|one| (&*one.labels, &one.value))
            .collect();
        let series = self.series.iter().map(|one| {
            let grew = (self.meter.kind != Kind::Gauge)
                .then(|| one.value.grown(before.get(&*one.labels).copied()));
            json!([one.labels, one.value.json(), grew.map(|grew| grew.json())])
        });
        let mut shown = json!({
            "kind": self.meter.kind.label(),
            "help": self.meter.help,
            "labels": self.meter.labels.iter().map(|label| label.name).collect::<Vec<_>>(),
            "series": series.collect::<Vec<_>>(),
        });
        if let Some(Kept::Buckets(counts)) = self.series.first().map(|one| &one.value) {
            let bounds = (0..counts.buckets.len()).map(|at| counts.scale.bound_us(at));
            shown["bounds_us"] = bounds.collect::<Vec<_>>().into();
        }
        shown
    }
}

impl Kept {
    fn grown(&self, before: Option<&Self>) -> Self {
        match (self, before) {
            (Self::Whole(now), Some(Self::Whole(then))) => Self::Whole(now.saturating_sub(*then)),
            (Self::Real(now), Some(Self::Real(then))) => Self::Real((now - then).max(0.0)),
            (Self::Buckets(now), Some(Self::Buckets(then))) => {
                let pairs = now.buckets.iter().zip(&then.buckets);
                Self::Buckets(Counts {
                    scale: now.scale,
                    buckets: pairs.map(|(now, then)| now.saturating_sub(*then)).collect(),
                    sum_ns: now.sum_ns.saturating_sub(then.sum_ns),
                })
            }
            // it was not there
            (now, _) => now.clone(),
        }
    }

    /// A histogram as its count, its sum in seconds, and pairs of bucket and count.
    fn json(&self) -> Value {
        match self {
            Self::Whole(number) => json!(number),
            Self::Real(number) => json!(number),
            Self::Buckets(counts) => json!({
                "count": counts.count(),
                "sum": counts.sum_ns as f64 / 1e9,
                "buckets": sparse(counts.buckets.iter().copied()),
            }),
        }
    }
}

/// Pairs of place and count, of those that are not 0.
pub fn sparse(counts: impl Iterator<Item = u64>) -> Vec<(usize, u64)> {
    counts.enumerate().filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::telemetry::histogram::Scale;
    use crate::telemetry::meters::{ANSWER_SECONDS, IN_FLIGHT, REQUESTS};

    fn reading(numbers: &[(&[&str], u64)]) -> Reading {
        let mut reading = Reading::new(clock::monotonic(), Duration::ZERO);
        for (labels, number) in numbers {
            let value = Number::Whole(*number);
            reading.take(&Sample { meter: &REQUESTS, labels, value });
        }
        reading
    }

    #[test]
    fn what_grew_is_told_apart_from_what_was_there() {
        let then = reading(&[(&["a", "answered"], 5), (&["b", "no_bid"], 9)]);
        let now = reading(&[(&["a", "answered"], 7), (&["a", "no_bid"], 1), (&["b", "no_bid"], 8)]);
        let shown = json(&now, &then);
        let family = &shown["gavel_requests_total"];
        assert_eq!(family["labels"], json!(["partner", "result"]));
        let expected =
            json!([[["a", "answered"], 7, 2], [["a", "no_bid"], 1, 1], [["b", "no_bid"], 8, 0]]);
        assert_eq!(family["series"], expected);
        assert_eq!(now.sum(&REQUESTS, |labels| &*labels[0] == "a"), 8);
    }

    #[test]
    fn gauges_do_not_grow_and_histograms_are_sparse() {
        let mut reading = Reading::new(clock::monotonic(), Duration::ZERO);
        reading.take(&Sample { meter: &IN_FLIGHT, labels: &["0"], value: Number::Whole(3) });
        let mut counts = Counts::new(Scale::COARSE);
        counts.buckets[2] = 4;
        counts.sum_ns = 1_500_000_000;
        let value = Number::Buckets(&counts);
        reading.take(&Sample { meter: &ANSWER_SECONDS, labels: &["x"], value });
        let shown = json(&reading, &reading);
        assert_eq!(shown[IN_FLIGHT.name]["series"], json!([[["0"], 3, null]]));
        let family = &shown[ANSWER_SECONDS.name];
        let whole = json!({ "count": 4, "sum": 1.5, "buckets": [[2, 4]] });
        let none = json!({ "count": 0, "sum": 0.0, "buckets": [] });
        assert_eq!(family["series"], json!([[["x"], whole, none]]));
        assert_eq!(family["bounds_us"][0], 256);
        assert_eq!(family["bounds_us"].as_array().unwrap().last(), Some(&Value::Null));
    }

    #[test]
    fn a_name_cannot_leave_its_string() {
        let name = "</script><img src=x>\u{2028}\"'\\";
        let shown = json(&reading(&[(&[name, "answered"], 1)]), &reading(&[]));
        let read: Value = serde_json::from_str(&shown.to_string()).unwrap();
        assert_eq!(read["gavel_requests_total"]["series"][0][0][0], name);
    }
}
