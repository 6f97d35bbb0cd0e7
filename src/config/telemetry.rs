//! `[telemetry]`: where numbers are sent besides `/metrics`.
//!
//! Owns: [`PushSettings`]. Never: a number.

use super::reader::Table;
use super::words;
use crate::http::post::PostTo;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names that the process gives itself where the file does not.
const SERVICE_NAME: (&str, &str) = ("service.name", "gavel");

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

/// `None`: nothing is sent.
pub fn read(root: &mut Table, folder: &Path) -> Option<PushSettings> {
    let mut t = root.section("telemetry");
    let mut o = t.section("otlp");
    let to = o.parsed(
        "endpoint",
        "http://HOST:PORT or https://HOST:PORT, with or without a path",
        "The OpenTelemetry collector, OTLP over HTTP; `/v1/metrics` is added. None: nothing is sent.",
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
    t.end();
    Some(PushSettings { to: to?, every, time, headers, about, ca_file })
}
