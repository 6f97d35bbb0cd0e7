//! The page of a run.
//!
//! Owns: what stands on it and in which order: the verdict first, then the figures, then the
//! reasons. Never: how a plot is drawn, how text is escaped.

use super::html::{Cell, count, document, escape, percent, rounded, seconds, section, table};
use super::plots::plots;
use crate::assertions::Assertions;
use crate::fingerprint::summary::{Axes, Summary};
use crate::judge::Judged;
use crate::result::RunResult;
use crate::result::packed::Packed;
use crate::slo::evaluate;
use crate::verdict::Verdict;
use std::fmt::Write;

/// The page.
pub fn page(run: &RunResult) -> String {
    let judged = &run.judged;
    let body = [
        head(run),
        figures(run),
        section("Objectives", "What the run was asked to hold.", &slos(&judged.slos)),
        judged.assertions.as_ref().map(assertions).unwrap_or_default(),
        section(
            "Measured",
            "Latency counts from the planned moment, so a target that stalls is charged for every \
             request it held up.",
            &format!("<div class=\"plots\">{}</div>", plots(run).concat()),
        ),
        diversity(judged),
        section("The run", "", &facts(run)),
        foot(),
    ];
    document(&format!("{} \u{b7} gavel-replay", sentence(run.verdict())), &body.concat())
}

pub(super) fn foot() -> String {
    format!("<footer>gavel-replay {}</footer>", env!("CARGO_PKG_VERSION"))
}

fn sentence(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "The run passed",
        Verdict::Failed => "The run failed",
        Verdict::Invalid => "The run is not valid",
        Verdict::Unreachable => "The target could not be reached",
        Verdict::Usage => "Nothing was run",
    }
}

/// The box at the top: a sign, a sentence, the reasons.
pub(super) fn verdict_box(verdict: Verdict, title: &str, reasons: &[String]) -> String {
    let sign = match verdict {
        Verdict::Pass => "\u{2713}",
        Verdict::Failed => "\u{2715}",
        Verdict::Invalid | Verdict::Unreachable | Verdict::Usage => "!",
    };
    let mut items = String::new();
    for reason in reasons {
        let _ = write!(items, "<li>{}</li>", escape(reason));
    }
    format!(
        "<header class=\"verdict {}\"><div class=\"sign\" aria-hidden=\"true\">{sign}</div>\
         <div><h1>{}</h1><ul>{items}</ul></div></header>",
        verdict.label(),
        escape(title)
    )
}

fn head(run: &RunResult) -> String {
    let plan = &run.plan;
    let kicker = format!(
        "{} ({}) \u{2192} {} \u{b7} {} \u{b7} {}",
        plan.source.name,
        plan.source.origin,
        plan.target,
        plan.schedule,
        moment(run.started_us)
    );
    let verdict = run.verdict();
    format!(
        "<p class=\"kicker\">{}</p>{}",
        escape(&kicker),
        verdict_box(verdict, sentence(verdict), &reasons(run))
    )
}

/// Why, in a few sentences.
fn reasons(run: &RunResult) -> Vec<String> {
    let judged = &run.judged;
    let mut found: Vec<String> = run.invalid.iter().map(ToString::to_string).collect();
    let missed: Vec<&str> =
        judged.slos.iter().filter(|slo| !slo.met).map(|slo| slo.slo.as_str()).collect();
    if !missed.is_empty() {
        found.push(format!(
            "{} of {} objectives not met: {}",
            missed.len(),
            judged.slos.len(),
            missed.join("; ")
        ));
    }
    if let Some(assertions) = &judged.assertions {
        let failed: Vec<&str> = assertions
            .rows
            .iter()
            .filter(|row| row.failed > 0)
            .map(|row| row.name.as_str())
            .chain(assertions.mix.iter().filter(|mix| mix.fault.is_some()).map(|_| "mix"))
            .collect();
        if !failed.is_empty() {
            found.push(format!("assertions that do not hold: {}", failed.join(", ")));
        }
    }
    if found.is_empty() {
        let objectives = match judged.slos.len() {
            0 => "No objective was given".to_owned(),
            1 => "The objective was met".to_owned(),
            many => format!("All {many} objectives were met"),
        };
        let assertions = if judged.assertions.is_some() { ", every assertion held" } else { "" };
        let gate = if judged.is_gated { ", and it was as diverse as the recording" } else { "" };
        found.push(format!("{objectives}{assertions}{gate}."));
    }
    found
}

pub(super) fn moment(us: u64) -> String {
    let found = i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    found.map_or("at no known time".to_owned(), |it| {
        it.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    })
}

fn figures(run: &RunResult) -> String {
    let whole = &run.whole;
    let of = |times: &Packed, quantile: f64| {
        if times.histogram().is_empty() {
            return "none".to_owned();
        }
        seconds(times.at(quantile).as_secs_f64())
    };
    let at = |quantile: f64| of(&whole.latency, quantile);
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let took = run.took().as_secs_f64().max(f64::MIN_POSITIVE);
    let all = [
        (
            "Requests",
            count(whole.planned),
            format!("{} sent, {} answered", count(whole.sent), count(whole.answered)),
        ),
        (
            "Rate",
            format!("{}/s", rounded(whole.sent as f64 / took)),
            format!("over {:.1} s", run.took().as_secs_f64()),
        ),
        (
            "Errors",
            percent(share(whole.failed(), whole.planned)),
            format!("{} of 5xx or never answered", count(whole.failed())),
        ),
        (
            "Fill",
            whole.filled.map_or("unknown".to_owned(), |it| percent(share(it, whole.answered))),
            whole
                .filled
                .map_or("not counted".to_owned(), |it| format!("{} answers with a bid", count(it))),
        ),
        ("Median", at(0.5), "latency, p50".to_owned()),
        ("p99", at(0.99), "latency".to_owned()),
        ("p99.9", at(0.999), format!("slowest {}", at(1.0))),
        (
            "Generator",
            of(&whole.lateness, 0.5),
            format!("late at the median, {} at p99", of(&whole.lateness, 0.99)),
        ),
    ];
    let mut out = String::from("<dl class=\"figures\">");
    for (name, figure, small) in all {
        let _ = write!(
            out,
            "<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>",
            escape(name),
            escape(&figure),
            escape(&small)
        );
    }
    out.push_str("</dl>");
    out
}

pub(super) fn slos(verdicts: &[evaluate::Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let figure = |value: Option<f64>, one: &evaluate::Verdict| {
        value.map_or("none".to_owned(), |value| one.unit.show(value))
    };
    let rows: Vec<Vec<Cell>> = verdicts
        .iter()
        .map(|one| {
            let (class, word) = if one.met { ("good", "met") } else { ("bad", "not met") };
            let mut note = one.note.clone().unwrap_or_default();
            if let Some(span) = one.worst {
                let (start, length) = (span.start_us as f64 / 1e6, span.length_us as f64 / 1e6);
                let at = format!("worst from {start:.1} s to {:.1} s", start + length);
                note = if note.is_empty() { at } else { format!("{at}; {note}") };
            }
            vec![
                Cell::Badge(class, word.to_owned()),
                Cell::Code(one.slo.clone()),
                Cell::Figure(figure(one.observed, one)),
                Cell::Figure(figure(one.limit, one)),
                Cell::Text(note),
            ]
        })
        .collect();
    table(&["", "Objective", "Observed", "Limit", "Note"], &rows)
}

fn assertions(found: &Assertions) -> String {
    let rows: Vec<Vec<Cell>> = found
        .rows
        .iter()
        .map(|row| {
            let (class, word) = match (row.failed, row.judged) {
                (0, 0) => ("quiet", "not judged"),
                (0, _) => ("good", "holds"),
                _ => ("bad", "fails"),
            };
            let example = row
                .examples
                .first()
                .map_or(String::new(), |one| format!("request {}: {}", one.number, one.why));
            vec![
                Cell::Badge(class, word.to_owned()),
                Cell::Code(row.name.clone()),
                Cell::Figure(count(row.judged)),
                Cell::Figure(count(row.failed)),
                Cell::Text(example),
            ]
        })
        .collect();
    let mut body = table(&["", "Assertion", "Judged", "Failed", "Example"], &rows);
    if let Some(mix) = &found.mix {
        let name =
            |status: u16| if status == 0 { "no answer".to_owned() } else { status.to_string() };
        let rows: Vec<Vec<Cell>> = mix
            .rows
            .iter()
            .flat_map(|row| {
                let all: u64 = row.now.values().sum();
                row.now.iter().map(move |(now, number)| {
                    vec![
                        Cell::Text(name(row.recorded)),
                        Cell::Text(name(*now)),
                        Cell::Figure(count(*number)),
                        Cell::Figure(percent(*number as f64 / all.max(1) as f64)),
                    ]
                })
            })
            .collect();
        let lead = mix.fault.as_deref().unwrap_or("As many bids as when it was recorded.");
        let _ = write!(
            body,
            "<h3 class=\"gap\">Answers then and now</h3><p class=\"lead\">{}</p>{}",
            escape(lead),
            table(&["Recorded", "Now", "Requests", "Share"], &rows)
        );
    }
    section("Assertions", "Rules of the domain, judged from each request and its answer.", &body)
}

/// An axis of diversity: its name, how to read it, its figure.
type AxisOf = (&'static str, fn(&Axes) -> f64, fn(f64) -> String);

fn diversity(judged: &Judged) -> String {
    let Some(sent) = judged.sent.as_ref().and_then(Summary::end) else { return String::new() };
    // beside the recording at as many requests: axes grow with them
    let then = judged.recorded.as_ref().and_then(|it| it.at(sent.requests).or_else(|| it.end()));
    let plain: fn(f64) -> String = rounded;
    let axes: [AxisOf; 9] = [
        (
            "Effective combinations of features",
            |axes| axes.effective_combinations,
            |it| format!("{it:.1}"),
        ),
        ("Distinct bodies, ids aside", |axes| axes.distinct.bodies, plain),
        ("Distinct user agents", |axes| axes.distinct.agents, plain),
        ("Distinct addresses", |axes| axes.distinct.addresses, plain),
        ("Distinct sites and apps", |axes| axes.distinct.places, plain),
        ("Share of the most frequent combination", |axes| axes.top_combination, percent),
        ("Share of the most frequent body", |axes| axes.top_body, percent),
        ("Compression ratio", |axes| axes.squeezed.unwrap_or(0.0), |it| format!("{it:.1}")),
        ("Bodies that came again", |axes| axes.bodies.share, percent),
    ];
    let rows: Vec<Vec<Cell>> = axes
        .iter()
        .map(|(name, of, show)| {
            let (was, is) = (then.map(of), of(sent));
            let most = was.unwrap_or(0.0).max(is).max(f64::MIN_POSITIVE);
            let width = |value: f64| (100.0 * value / most).clamp(0.0, 100.0);
            let bars = format!(
                "<div class=\"bars\" aria-hidden=\"true\"><i style=\"width:{:.1}%\"></i>\
                 <i style=\"width:{:.1}%\"></i></div>",
                width(was.unwrap_or(0.0)),
                width(is)
            );
            vec![
                Cell::Text((*name).to_owned()),
                Cell::Figure(was.map_or("\u{2013}".to_owned(), show)),
                Cell::Figure(show(is)),
                Cell::Markup(bars),
            ]
        })
        .collect();
    let lead = match (judged.is_gated, judged.gate.len()) {
        (false, _) => "Not compared with the recording: no gate was asked for.".to_owned(),
        (true, 0) => "What was sent is as diverse as what was recorded.".to_owned(),
        (true, faults) => format!("Less diverse than the recording on {faults} axes."),
    };
    let mut body = table(&["Axis", "Recorded", "Sent", "Recorded above, sent below"], &rows);
    if !judged.gate.is_empty() {
        body.push_str("<ul class=\"gap\">");
        for fault in &judged.gate {
            let _ = write!(body, "<li>{}</li>", escape(&fault.to_string()));
        }
        body.push_str("</ul>");
    }
    section("Diversity", &lead, &body)
}

fn facts(run: &RunResult) -> String {
    let (plan, whole) = (&run.plan, &run.whole);
    let list =
        |counts: Vec<String>| if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let statuses =
        whole.statuses.iter().map(|(code, number)| format!("{code}: {}", count(*number)));
    let faults = whole.faults.iter().map(|(name, number)| format!("{name}: {}", count(*number)));
    let feed = &run.feed;
    let facts = [
        (
            "Source",
            format!(
                "{} ({}), {} records in {} {}",
                plan.source.name,
                plan.source.origin,
                count(feed.records),
                feed.loops,
                if feed.loops == 1 { "round" } else { "rounds" }
            ),
        ),
        ("Note of the source", plan.source.note.clone()),
        ("Target", plan.target.clone()),
        ("Schedule", plan.schedule.clone()),
        (
            "Connections",
            format!(
                "{}, {}; {} opened, {} attempts failed",
                plan.connections,
                plan.protocol,
                count(whole.connects),
                count(whole.connect_faults)
            ),
        ),
        ("Started", moment(run.started_us)),
        ("Statuses", list(statuses.collect())),
        ("Sent and not answered", list(faults.collect())),
        (
            "Not sent",
            format!(
                "{} shed, {} without a connection in time",
                count(whole.shed),
                count(whole.unsent)
            ),
        ),
        ("Unfinished at the end", count(whole.unfinished)),
        (
            "Bytes",
            format!("{} sent, {} received", count(whole.bytes_sent), count(whole.bytes_received)),
        ),
        ("Inspected", format!("{} of {} exchanges", count(run.inspected), count(whole.planned))),
        ("Seed", plan.seed.to_string()),
        ("Shards", run.shards.to_string()),
    ];
    let rows: Vec<Vec<Cell>> = facts
        .into_iter()
        .filter(|(_, fact)| !fact.is_empty())
        .map(|(name, fact)| vec![Cell::Text(name.to_owned()), Cell::Text(fact)])
        .collect();
    table(&["", ""], &rows)
        .replace("<thead><tr><th scope=\"col\"></th><th scope=\"col\"></th></tr></thead>", "")
}
