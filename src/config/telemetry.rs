//! `[telemetry]`: what is told, how much of it, and where it is sent besides `/metrics`.
//!
//! Owns: [`Telling`] and [`PushSettings`]. Never: a number.

use super::reader::Table;
use super::words;
use crate::http::post::PostTo;
use crate::telemetry::hub::TelemetrySettings;
use crate::telemetry::spans::TraceSettings;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names that the process gives itself where the file does not.
const SERVICE_NAME: (&str, &str) = ("service.name", "gavel");

/// What the process tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// Where to; `None`: nothing is sent.
    pub push: Option<PushSettings>,
    /// Of the requests that are sent as traces; only where there is a collector.
    pub traces: TraceSettings,
    pub counted: TelemetrySettings,
    /// One request in so many has its stages timed.
    pub stages_of: u32,
    /// A bidder that is called and gives no answer for so long is told of (10 s to 1 h).
    pub silent_after: Duration,
}

/// How numbers reach an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSettings {
    pub to: PostTo,
    /// Between two messages (1 s to 10 min).
    pub every: Duration,
    /// For one to arrive (100 ms to 60 s).
    pub time: Duration,
    /// Of each message.
    pub headers: Vec<(String, String)>,
    /// What the process says of itself: resource attributes.
    pub about: Vec<(String, String)>,
    /// More certificate authorities (PEM) than the built-in ones.
    pub ca_file: Option<PathBuf>,
}

/// Reads the section.
pub fn read(root: &mut Table, folder: &Path) -> Telling {
    let d = TelemetrySettings::default();
    let mut t = root.section("telemetry");
    let stages_of = t.integer(
        "stages_of",
        16,
        0..=65_536,
        "One request in so many has the time of each of its stages taken (`gavel_stage_seconds`); 0: none.",
    );
    let second = Duration::from_secs(1);
    let silent_after = t.duration(
        "silent_after",
        second * 300,
        second * 10..=second * 3600,
        "A bidder that is called and gives no answer for so long is told of: in the log, on `/ready`, and in `gavel_bidder_silent_seconds`.",
    );
    let lines_per_second_max = t.integer(
        "lines_per_second_max",
        d.lines_per_second_max,
        0..=1_000,
        "Log lines a second about requests that were refused, and as many about calls of bidders that failed; the next line says how many were left out.",
    );
    let traces = traces(&mut t);
    let push = push(&mut t, folder);
    t.end();
    let counted = TelemetrySettings { lines_per_second_max, ..d };
    Telling { push, traces, counted, stages_of, silent_after }
}

fn traces(telemetry: &mut Table) -> TraceSettings {
    let d = TraceSettings::default();
    let mut t = telemetry.section("traces");
    let settings = TraceSettings {
        ratio: t
            .decimal(
                "ratio",
                "0 to 1",
                "Part of the requests that are sent as traces to `telemetry.otlp.endpoint`. Default 0.001.",
                |ratio| (0.0..=1.0).contains(&ratio).then_some(ratio),
            )
            .unwrap_or(d.ratio),
        follows: t.flag(
            "follow",
            d.follows,
            "Also those whose sender traces them (`traceparent` with the sampled flag).",
        ),
        per_second_max: t.integer(
            "per_second_max",
            d.per_second_max,
            1..=10_000,
            "Traces a second, whatever the reason; also those of `test: 1` requests that are explained.",
        ),
        queue_max: t.integer(
            "queue_max",
            d.queue_max,
            16..=65_536,
            "Traces that wait to be sent; more are dropped and counted.",
        ),
    };
    t.end();
    settings
}

fn push(t: &mut Table, folder: &Path) -> Option<PushSettings> {
    let mut o = t.section("otlp");
    let to = o.parsed(
        "endpoint",
        "http://HOST:PORT or https://HOST:PORT, with or without a path",
        "The OpenTelemetry collector, OTLP over HTTP; `/v1/metrics` and `/v1/traces` are added. None: nothing is sent.",
        PostTo::parse,
    );
    let (second, every) = (Duration::from_secs(1), Duration::from_secs(15));
    let every = o.duration("every", every, second..=second * 600, "Between two messages.");
    let time = o.duration(
        "time",
        Duration::from_secs(5),
        Duration::from_millis(100)..=second * 60,
        "For a message to arrive; one that does not is dropped, counters go on.",
    );
    let mut headers = o.list(
        "headers",
        "`Name: value`, none that gavel writes itself",
        "Extra headers, such as a key of the collector's.",
        words::header,
    );
    headers.push(("content-type".to_owned(), "application/x-protobuf".to_owned()));
    let mut about = o.list(
        "attributes",
        "`name=value`",
        "What the process says of itself (resource attributes); `service.name` is gavel unless it is here.",
        |text| {
            let (name, value) = text.split_once('=')?;
            (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        },
    );
    if !about.iter().any(|(name, _)| name == SERVICE_NAME.0) {
        about.push((SERVICE_NAME.0.to_owned(), SERVICE_NAME.1.to_owned()));
    }
    let ca_file = o.parsed("ca_file", "a path to PEM", "More certificate authorities.", |text| {
        words::text(text).map(|text| folder.join(text))
    });
    o.end();
    Some(PushSettings { to: to?, every, time, headers, about, ca_file })
}
