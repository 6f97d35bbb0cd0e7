//! Numbers as Prometheus' text format (version 0.0.4).
//!
//! Owns: [`prometheus`]. Never: a number of its own.
//! Invariant: each instrument's HELP and TYPE stand once, before its samples, and nothing in a
//! label can end its line.

use super::histogram::Counts;
use super::hub::{Hub, ProcessState, Sample, Value};
use std::fmt::Write;

/// What `/metrics` says in `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers of this moment.
pub fn prometheus(hub: &Hub, process: &ProcessState) -> String {
    let mut out = String::with_capacity(16 << 10);
    let mut family = "";
    hub.collect(process, &mut |sample| {
        if family != sample.meter.name {
            family = sample.meter.name;
            let kind = sample.meter.kind.label();
            let _ = writeln!(out, "# HELP {family} {}\n# TYPE {family} {kind}", sample.meter.help);
        }
        write_sample(&mut out, sample);
    });
    out
}

fn write_sample(out: &mut String, sample: &Sample<'_>) {
    match sample.value {
        Value::Whole(number) => {
            write_series(out, sample, "", None);
            let _ = writeln!(out, " {number}");
        }
        Value::Real(number) => {
            write_series(out, sample, "", None);
            let _ = writeln!(out, " {number}");
        }
        Value::Buckets(counts) => write_buckets(out, sample, counts),
    }
}

fn write_buckets(out: &mut String, sample: &Sample<'_>, counts: &Counts) {
    let mut so_far = 0;
    for (bucket, count) in counts.buckets.iter().enumerate() {
        so_far += count;
        let bound = match counts.scale.bound_us(bucket) {
            Some(micros) => (micros as f64 / 1e6).to_string(),
            None => "+Inf".to_owned(),
        };
        write_series(out, sample, "_bucket", Some(&bound));
        let _ = writeln!(out, " {so_far}");
    }
    write_series(out, sample, "_sum", None);
    let _ = writeln!(out, " {}", counts.sum_ns as f64 / 1e9);
    write_series(out, sample, "_count", None);
    let _ = writeln!(out, " {so_far}");
}

fn write_series(out: &mut String, sample: &Sample<'_>, suffix: &str, le: Option<&str>) {
    out.push_str(sample.meter.name);
    out.push_str(suffix);
    let names = sample.meter.labels.iter().map(|label| label.name).chain(["le"]);
    let values = sample.labels.iter().copied().chain(le);
    let mut before = '{';
    for (name, value) in names.zip(values) {
        out.push(before);
        out.push_str(name);
        out.push_str("=\"");
        write_escaped(out, value);
        out.push('"');
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
}

fn write_escaped(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::negatives::no_answer::NoAnswer;
    use crate::negatives::not_called::NotCalled;
    use crate::negatives::refusal::Refusal;
    use crate::negatives::rejection::Rejection;
    use crate::telemetry::books::{BooksState, BrokerState};
    use crate::telemetry::cells::{ConnectionCut, HttpDenied};
    use crate::telemetry::hub::{
        AcceptFault, CaptureState, DatabaseState, ListenerState, MemoryNumbers, SilentState,
        SourceState, TelemetrySettings,
    };
    use crate::telemetry::meter::Kind;
    use crate::telemetry::meters;
    use crate::telemetry::notices::NoticeState;
    use crate::telemetry::slots::UNKNOWN;
    use crate::telemetry::stages::{Marks, Stage};
    use std::collections::BTreeMap;
    use std::time::Duration;

    const FIELDS: &[&str] = &["imp.bidfloor", "device.w"];

    /// Reads the text format: name with labels -> value; fails on anything that is not in order.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        let (mut series, mut types) = (BTreeMap::new(), BTreeMap::new());
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family, "TYPE follows its HELP");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else {
                let (id, value) = line.rsplit_once(' ').unwrap();
                let name = id.split('{').next().unwrap();
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .filter(|_| types.get(&family).is_some_and(|kind| kind == "histogram"))
                    .unwrap_or(name);
                assert_eq!(base, family, "{line}");
                assert!(series.insert(id.to_owned(), value.parse().unwrap()).is_none(), "{line}");
            }
        }
        series
    }

    fn count_everything(hub: &Hub, workers: usize) {
        let (partner, bidder) = (hub.partners().slot("a\"b\\c\nd"), hub.bidders().slot("x"));
        for worker in 0..workers {
            let cells = hub.worker(worker).unwrap();
            cells.partner(partner).answered();
            cells.partner(partner).no_bid();
            cells.partner(partner).imp_refused(Refusal::BannerSize);
            cells.partner(partner).lenient(1);
            cells.partner(UNKNOWN).refused(Refusal::Unauthorised);
            cells.bidder(bidder).answered(Duration::from_millis(30), 3);
            cells.bidder(bidder).no_answer(NoAnswer::Late, Duration::from_millis(80));
            cells.not_called(bidder, NotCalled::Budget);
            cells.bidder(bidder).rejected(Rejection::BelowFloor);
            cells.bidder(bidder).won();
            cells.bidder(bidder).owes(2_500_000_000);
            cells.partner(partner).earned(2_000_000_000);
            cells.bidder(bidder).late_read(Duration::from_millis(300));
            cells.bidder(bidder).late_abandoned();
            cells.auction(Duration::from_micros(30_050), Duration::from_micros(50));
            let start = clock::monotonic();
            let mut marks = Marks::begin(start, true);
            marks.end(Stage::Read, || start + Duration::from_micros(40));
            cells.stages(&marks);
            cells.parent_malformed();
            cells.connection_opened();
            cells.connection_opened();
            cells.connection_closed();
            cells.http_denied(HttpDenied::UnreadableHead);
            cells.connections_cut(ConnectionCut::Grace, 1);
            cells.pulse(Duration::from_millis(2), Duration::from_millis(1500), 7, 0.25);
        }
        hub.accept_fault(AcceptFault::NoDescriptor);
    }

    fn state() -> ProcessState {
        ProcessState {
            now: Duration::from_secs(2_000),
            started: Duration::from_secs(1_000),
            version: "1.2.3",
            generation: 4,
            listeners: vec![ListenerState {
                name: "public",
                backlog_asked: 65_535,
                backlog_effective: 4_096,
                waiting: 3,
                overflows_and_drops: Some((5, 6)),
            }],
            rates: Some((Duration::from_secs(60), false)),
            is_degraded: false,
            log_lines_dropped: 8,
            capture: CaptureState {
                records: vec![("sample", 3)],
                dropped: vec![("queue_full", 1)],
                bytes: 900,
                files: 2,
                queued: 4,
            },
            memory: MemoryNumbers { used: 7, limit: 9, pressure: 1 },
            silent: vec![SilentState {
                bidder: "x".into(),
                silent: Duration::from_secs(3),
                auctions: 4,
                is_long: false,
            }],
            notices: NoticeState {
                results: vec![("billing", "delivered", 7)],
                failures: vec![("status", 2)],
                blocked: vec![("port", 1)],
                waiting: vec![("alpha".to_owned(), 3, 1, Duration::from_secs(60))],
            },
            books: Some(BooksState {
                received: 10,
                intake: [1, 0, 2, 0, 7],
                outlets: vec![("notices".to_owned(), [1, 5, 1, 2])],
                records: [4, 1, 3],
                segments: 2,
                commit: Some([Duration::from_millis(1), Duration::from_millis(8)]),
                broker: Some(BrokerState {
                    is_well: true,
                    messages: [5, 1, 2],
                    notices: Some([4, 1]),
                    is_fed: Some(true),
                    ..BrokerState::default()
                }),
                ..BooksState::default()
            }),
            sources: vec![SourceState {
                name: "rules",
                taken: Duration::from_secs(1_700_000_002),
                results: vec![("ok", 2), ("invalid", 1)],
                is_refused: Some(true),
            }],
            databases: vec![DatabaseState {
                name: "city".to_owned(),
                built: Duration::from_secs(500),
            }],
        }
    }

    #[test]
    fn every_instrument_is_shown_once_in_order_and_reads_back() {
        let hub = Hub::new(2, TelemetrySettings::default(), FIELDS);
        count_everything(&hub, 2);
        let text = prometheus(&hub, &state());
        let series = parse(&text);
        for (id, value) in [
            (r#"gavel_requests_total{partner="unknown",result="unauthorised"}"#, 2.0),
            (r#"gavel_requests_total{partner="a\"b\\c\nd",result="answered"}"#, 2.0),
            (r#"gavel_leniencies_total{partner="a\"b\\c\nd",field="device.w"}"#, 2.0),
            (r#"gavel_bidder_calls_total{bidder="x",result="bid"}"#, 2.0),
            (r#"gavel_bidder_calls_total{bidder="x",result="late"}"#, 2.0),
            (r#"gavel_bids_received_total{bidder="x"}"#, 6.0),
            (r#"gavel_wins_total{bidder="x"}"#, 2.0),
            (r#"gavel_won_gross_dollars_total{bidder="x"}"#, 5.0),
            (r#"gavel_own_seconds_bucket{le="0.000048"}"#, 0.0),
            (r#"gavel_own_seconds_bucket{le="0.000056"}"#, 2.0),
            (r#"gavel_own_seconds_bucket{le="+Inf"}"#, 2.0),
            (r#"gavel_journal_intake_total{end="appended"}"#, 7.0),
            (r#"gavel_journal_outlet_events{sink="notices",state="pending"}"#, 2.0),
            (r#"gavel_journal_records_total{end="dropped"}"#, 1.0),
            (r#"gavel_journal_commit_seconds{part="0.99"}"#, 0.008),
            ("gavel_auction_seconds_count", 2.0),
            ("gavel_auction_seconds_sum", 0.0601),
            (r#"gavel_bidder_answer_seconds_count{bidder="x"}"#, 4.0),
            (r#"gavel_shed_ratio{worker="1"}"#, 0.25),
            (r#"gavel_worker_cpu_seconds_total{worker="0"}"#, 1.5),
            (r#"gavel_connections_open{worker="0"}"#, 1.0),
            (r#"gavel_accept_faults_total{reason="no_descriptor"}"#, 1.0),
            (r#"gavel_http_denied_total{reason="unreadable_head"}"#, 2.0),
            (r#"gavel_http_denied_total{reason="method"}"#, 0.0),
            (r#"gavel_connections_cut_total{reason="grace"}"#, 2.0),
            (r#"gavel_listener_backlog_connections{listener="public",size="effective"}"#, 4096.0),
            (r#"gavel_listener_queue_connections{listener="public"}"#, 3.0),
            ("gavel_listen_overflows_total", 5.0),
            ("gavel_listen_drops_total", 6.0),
            ("gavel_snapshot_generation", 4.0),
            (r#"gavel_source_refused{source="rules"}"#, 1.0),
            (r#"gavel_database_age_seconds{database="city"}"#, 1_500.0),
            ("gavel_log_lines_dropped_total", 8.0),
            (r#"gavel_build_info{version="1.2.3"}"#, 1.0),
        ] {
            let got = series.get(id).copied().unwrap_or(f64::NAN);
            assert!((got - value).abs() < 1e-9, "{id}: {got}, not {value}");
        }
        let shown: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
            .collect();
        assert_eq!(shown, meters::ALL.map(|meter| meter.name), "all, in the table's order");
    }

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let hub = Hub::new(1, TelemetrySettings::default(), FIELDS);
        let cells = hub.worker(0).unwrap();
        for micros in [1, 20, 300, 5_000, 70_000, 900_000, 11_000_000] {
            cells.auction(Duration::from_micros(micros), Duration::ZERO);
        }
        let text = prometheus(&hub, &ProcessState::default());
        let counts: Vec<u64> = text
            .lines()
            .filter(|line| line.starts_with("gavel_auction_seconds_bucket"))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert!(counts.is_sorted());
        assert_eq!(counts.last(), Some(&7));
        assert_eq!(counts.iter().rev().nth(1), Some(&6), "one is over the last bound");
    }

    #[test]
    fn a_million_names_make_no_more_series_than_the_cap() {
        let settings = TelemetrySettings {
            partners_max: 100,
            bidders_max: 10,
            ..TelemetrySettings::default()
        };
        let hub = Hub::new(2, settings, FIELDS);
        let cells = [hub.worker(0).unwrap(), hub.worker(1).unwrap()];
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut last = 0;
        for round in 1..=10 {
            for n in 0..100_000 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let slot = hub.partners().slot(&format!("{seed:x}"));
                cells[n % 2].partner(slot).answered();
            }
            let series = parse(&prometheus(&hub, &ProcessState::default()));
            let requests: Vec<_> =
                series.iter().filter(|(id, _)| id.starts_with("gavel_requests_total")).collect();
            assert_eq!(requests.len(), 101, "the cap, and `other`");
            let sum: f64 = requests.iter().map(|(_, count)| **count).sum();
            assert!((sum - f64::from(round) * 1e5).abs() < 0.5, "and nothing is lost");
            assert!(last == 0 || last == series.len());
            last = series.len();
        }
    }

    #[test]
    fn kinds_fit_what_is_given_for_them() {
        let hub = Hub::new(1, TelemetrySettings::default(), FIELDS);
        count_everything(&hub, 1);
        hub.collect(&state(), &mut |sample| {
            let is_buckets = matches!(sample.value, Value::Buckets(_));
            assert_eq!(is_buckets, sample.meter.kind == Kind::Histogram, "{}", sample.meter.name);
            assert_eq!(sample.labels.len(), sample.meter.labels.len(), "{}", sample.meter.name);
        });
    }
}
