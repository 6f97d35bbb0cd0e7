//! An overview for people.
//!
//! Owns: the words and the columns. Never: a count.

use super::record::wall_clock;
use super::tally::{Sizes, Tally};
use super::{Overview, harmless};
use crate::fingerprint::gate::{GateLimits, floor};
use crate::fingerprint::summary::Summary;
use gavel::capture::Origin;
use std::fmt::Write as _;
use std::time::Duration;

/// Values of a feature that are shown.
const TOP: usize = 6;

/// Partners, statuses and reasons that are shown.
const TOP_NAMES: usize = 12;

/// See the file's header.
pub fn text(overview: &Overview) -> String {
    let mut out = String::new();
    head(overview, &mut out);
    time(overview, &mut out);
    for (name, tally) in [
        ("partners", &overview.partners),
        ("kept as", &overview.strata),
        ("statuses", &overview.statuses),
        ("reasons", &overview.reasons),
    ] {
        counted(name, tally, TOP_NAMES, overview.records, &mut out);
    }
    sizes("bodies", &overview.sizes, &|bytes| format!("{bytes} B"), &mut out);
    let millis =
        |micros: u64| format!("{:.3} ms", Duration::from_micros(micros).as_secs_f64() * 1e3);
    sizes("took", &overview.took_us, &millis, &mut out);
    for (name, bidder) in &overview.bidders {
        let name = format!("bidder {}", harmless(name));
        counted(&name, &bidder.outcomes, TOP, bidder.calls, &mut out);
        sizes("", &bidder.took_us, &millis, &mut out);
    }
    if overview.unreadable > 0 {
        line("no JSON", &overview.unreadable.to_string(), &mut out);
    }
    let readable = overview.records - overview.unreadable;
    for (name, tally) in &overview.features {
        counted(name, tally, TOP, readable, &mut out);
    }
    if let Some(summary) = &overview.fingerprint {
        fingerprint(summary, &mut out);
    }
    if let Some(broken) = &overview.broken {
        let _ = writeln!(
            out,
            "BROKEN at byte {}, after {} good records: {}",
            broken.offset, broken.good_records, broken.what
        );
    }
    out
}

fn line(name: &str, value: &str, out: &mut String) {
    let _ = writeln!(out, "{name:<14}{}", harmless(value).replace('\n', " "));
}

fn head(overview: &Overview, out: &mut String) {
    let header = &overview.header;
    let origin = match header.origin {
        Origin::Recorded => "recorded",
        Origin::Imported => "imported from another tool",
        Origin::Synthetic => "synthetic: made by the generator",
    };
    line("origin", origin, out);
    line("writer", &header.writer, out);
    let pseudonyms = match &header.pseudonym_key {
        Some(key) => format!("with the key {key}"),
        None => "none: values are as they came".to_owned(),
    };
    line("pseudonyms", &pseudonyms, out);
    if header.origin == Origin::Recorded {
        line("by chance", &format!("{} of a million", header.sample_ppm), out);
    }
    if !header.note.is_empty() {
        line("note", &header.note, out);
    }
    line("records", &overview.records.to_string(), out);
}

fn time(overview: &Overview, out: &mut String) {
    let (Some(first), Some(last)) = (overview.first_us, overview.last_us) else { return };
    let clock = |at| wall_clock(&overview.header, Duration::from_micros(at)).unwrap_or_default();
    line("from", &clock(first), out);
    line("to", &clock(last), out);
    let span = Duration::from_micros(last - first);
    let rate = overview.records as f64 / span.as_secs_f64().max(1e-6);
    let rate = if span.is_zero() { String::new() } else { format!(", {rate:.1} requests/s") };
    line("span", &format!("{:.3} s{rate}", span.as_secs_f64()), out);
    line("over time", &format!("|{}|", overview.over_time.sparkline()), out);
}

fn counted(name: &str, tally: &Tally, most: usize, all: u64, out: &mut String) {
    if tally.is_empty() {
        return;
    }
    let (top, rest) = tally.top(most);
    let share = |count: u64| count as f64 / all.max(1) as f64 * 100.0;
    let mut parts: Vec<String> =
        top.iter().map(|(value, count)| format!("{value} {:.1} %", share(*count))).collect();
    if rest > 0 {
        parts.push(format!("others {:.1} %", share(rest)));
    }
    line(name, &parts.join(", "), out);
}

fn sizes(name: &str, sizes: &Sizes, shown: &dyn Fn(u64) -> String, out: &mut String) {
    let at = |share| sizes.at(share).map(shown);
    if let (Some(half), Some(most), Some(nearly), Some(all)) = (at(0.5), at(0.9), at(0.99), at(1.0))
    {
        line(name, &format!("p50 {half}, p90 {most}, p99 {nearly}, max {all} (to an eighth)"), out);
    }
}

/// The axes, and what the gate would say of the recording itself.
pub fn fingerprint(summary: &Summary, out: &mut String) {
    let Some(end) = summary.end() else { return };
    let _ = writeln!(out, "fingerprint of {} requests", end.requests);
    let share = |share: f64| format!("{:.3} %", share * 100.0);
    let distinct = end.distinct;
    for (name, value) in [
        ("effective combinations", format!("{:.1}", end.effective_combinations)),
        ("top combination", share(end.top_combination)),
        ("top body", share(end.top_body)),
        ("compression ratio", end.squeezed.map_or_else(String::new, |ratio| format!("{ratio:.2}"))),
        (
            "distinct bodies",
            format!("{:.0} (each {:.2} times)", distinct.bodies, Summary::times_each(end)),
        ),
        ("distinct user agents", format!("{:.0}", distinct.agents)),
        ("distinct addresses", format!("{:.0}", distinct.addresses)),
        ("distinct places", format!("{:.0}", distinct.places)),
        ("distinct placements", format!("{:.0}", distinct.placements)),
    ] {
        let _ = writeln!(out, "  {name:<24}{value}");
    }
    for (name, reused) in [("bodies", &end.bodies), ("user agents", &end.agents)] {
        let rates: Vec<String> = reused
            .hit_rates
            .iter()
            .map(|(size, rate)| format!("{size}: {:.1} %", rate * 100.0))
            .collect();
        let name = format!("cache of {name}");
        let _ = writeln!(out, "  {name:<24}{}", rates.join(", "));
    }
    if let Some(length) = end.bodies.loop_length.filter(|_| end.bodies.share > 0.5) {
        let _ = writeln!(out, "  {:<24}the same bodies come again after {length}", "a loop");
    }
    for fault in floor(summary, &GateLimits::default()) {
        let _ = writeln!(out, "  too little to judge by: {}", fault.of_recording());
    }
}
