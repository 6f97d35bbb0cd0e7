//! What a run came to, for a terminal.
//!
//! Owns: the lines. Never: a judgement.

use crate::demo::text::{count, time};
use crate::result::packed::Packed;
use crate::result::{Counts, RunResult};
use std::io::{self, Write};

/// Writes the summary.
pub fn write(result: &RunResult, out: &mut dyn Write) -> io::Result<()> {
    let whole = &result.whole;
    writeln!(
        out,
        "sent {} of {} planned in {} ({:.1}/s) over {}, connections {}",
        count(whole.sent),
        count(whole.planned),
        time(result.took()),
        result.sent_per_second(),
        result.plan.protocol,
        result.plan.connections
    )?;
    let statuses: Vec<String> = whole
        .statuses
        .iter()
        .map(|(status, times)| format!("{status}: {}", count(*times)))
        .collect();
    writeln!(out, "answered {}   {}", count(whole.answered), statuses.join("   "))?;
    if whole.answered < whole.planned {
        writeln!(out, "without answer   {}", lost(whole))?;
    }
    for (name, times) in
        [("latency", &whole.latency), ("service", &whole.service), ("late by", &whole.lateness)]
    {
        writeln!(out, "{name:<9} {}", quantiles(times))?;
    }
    writeln!(
        out,
        "connections opened {}, refused {}; at most {} requests waited for one",
        count(whole.connects),
        count(whole.connect_faults),
        count(whole.queue_peak)
    )?;
    let feed = &result.feed;
    writeln!(
        out,
        "read {} records, {} round(s); inspected {} of {}",
        count(feed.records),
        count(feed.loops),
        count(result.inspected),
        count(whole.planned)
    )?;
    for (number, what) in [
        (feed.out_of_order, "records stood too late in the file and were sent when they were read"),
        (feed.skipped, "records cannot be sent and were left out"),
        (feed.opaque, "requests could not be made unique: no JSON object, or no id in it"),
    ] {
        if number > 0 {
            writeln!(out, "note: {} {what}", count(number))?;
        }
    }
    if let Some(damage) = &feed.damage {
        writeln!(out, "note: the recording is damaged, what was good was played: {damage}")?;
    }
    for line in result.judged.lines() {
        writeln!(out, "{line}")?;
    }
    for reason in &result.invalid {
        writeln!(out, "NOT valid: {reason}")?;
    }
    Ok(())
}

fn lost(whole: &Counts) -> String {
    let faults = whole.faults.iter().map(|(fault, times)| (fault.as_str(), *times));
    let ends = [("shed", whole.shed), ("unsent", whole.unsent), ("unfinished", whole.unfinished)];
    let all: Vec<String> = faults
        .chain(ends)
        .filter(|(_, times)| *times > 0)
        .map(|(name, times)| format!("{name}: {}", count(times)))
        .collect();
    all.join("   ")
}

fn quantiles(times: &Packed) -> String {
    let times = times.histogram();
    if times.is_empty() {
        return "none".to_owned();
    }
    let one =
        |(name, quantile)| format!("{name} {}", time(crate::drive::report::at(&times, quantile)));
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)].map(one).join("   ")
}
