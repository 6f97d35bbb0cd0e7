//! The table of instruments: every number that gavel shows, once.
//!
//! Owns: names, kinds, help, labels and where each label's values come from. Never: a value.
//! Invariant: a label's values are a closed list or names from configuration, in capped slots;
//! nothing that comes over the network becomes a label.

pub mod money;

use super::meter::{Kind, Label, Meter, Values};
use super::words::{NOTICE_FAILED, NOTICE_KINDS, NOTICE_RESULTS, NOTICE_RULES, RELOAD_RESULTS};
use std::fmt::Write;

const PARTNER: Label = Label { name: "partner", values: Values::Partners };
const BIDDER: Label = Label { name: "bidder", values: Values::Bidders };
const WORKER: Label = Label { name: "worker", values: Values::Workers };
const LISTENER: Label = Label { name: "listener", values: Values::Listeners };
const DATABASE: Label = Label { name: "database", values: Values::Databases };
const SOURCE: Label = Label { name: "source", values: Values::Sources };

const fn counter(name: &'static str, help: &'static str, labels: &'static [Label]) -> Meter {
    Meter { name, kind: Kind::Counter, help, labels }
}

const fn gauge(name: &'static str, help: &'static str, labels: &'static [Label]) -> Meter {
    Meter { name, kind: Kind::Gauge, help, labels }
}

const fn histogram(name: &'static str, help: &'static str, labels: &'static [Label]) -> Meter {
    Meter { name, kind: Kind::Histogram, help, labels }
}

/// Ends of a request that are no refusal, in the order of their cells.
pub const REQUEST_ENDS: &[&str] = &["answered", "no_bid", "client_gone"];
/// Ends of a call that are no [`NoAnswer`](crate::negatives::no_answer::NoAnswer).
pub const CALL_ENDS: &[&str] = &["bid"];
/// What became of an answer that came after the deadline.
pub const LATE_ENDS: &[&str] = &["read", "abandoned"];
/// Why a connection was not taken on.
pub const ACCEPT_FAULTS: &[&str] = &["no_descriptor", "too_many", "other"];
/// Why an HTTP request of the public side was answered without being a bid request.
pub const HTTP_DENIALS: &[&str] = &[
    "no_route",
    "method",
    "ambiguous_host",
    "ambiguous_transfer_encoding",
    "bare_line_feed",
    "too_many_headers",
    "uri_too_long",
    "unreadable_head",
];
/// Why a connection was cut.
pub const CONNECTION_CUTS: &[&str] = &["slow_head", "slow_reader", "grace", "evicted"];
/// Why a request is kept in a recording.
pub const STRATA: &[&str] = &["sample", "refused", "novel", "slow", "large"];
/// Why one that was chosen is not there.
pub const CAPTURE_DROPS: &[&str] = &["queue_full", "too_large", "write", "stopped"];
/// Parts of the road, as `Stage` has them.
pub const STAGES: &[&str] = &["read", "admit", "enrich", "select", "wait", "auction", "respond"];
/// What became of a trace.
pub const TRACE_ENDS: &[&str] = &["sent", "queue_full", "not_delivered"];
/// Events that come back from upstream, in the order of their cells.
pub const EVENTS: &[&str] = &["win", "billing", "loss", "impression"];
/// What became of one.
pub const EVENT_ENDS: &[&str] = &["new", "repeat", "refused", "busy"];
/// Why one was none.
pub const EVENT_REJECTIONS: &[&str] = &["malformed", "unknown_key", "forged", "expired", "early"];
/// Sizes of a listener's accept queue.
pub const BACKLOGS: &[&str] = &["asked", "effective"];

pub static REQUESTS: Meter = counter(
    "gavel_requests_total",
    "Bid requests by how they ended; `overload` and `partner_qps` are those that were shed; of \
     `client_gone` the answer was not waited for, though an auction that had begun was held to its end",
    &[PARTNER, Label { name: "result", values: Values::Refusals(REQUEST_ENDS) }],
);
pub static IMPS_REFUSED: Meter = counter(
    "gavel_imps_refused_total",
    "Imps left out of requests that went on without them",
    &[PARTNER, Label { name: "reason", values: Values::Refusals(&[]) }],
);
pub static LENIENCIES: Meter = counter(
    "gavel_leniencies_total",
    "Fields with a wrong type or spelling that were read all the same",
    &[PARTNER, Label { name: "field", values: Values::Leniencies }],
);
pub static CALLS: Meter = counter(
    "gavel_bidder_calls_total",
    "Calls to bidders by what came of them",
    &[BIDDER, Label { name: "result", values: Values::NoAnswers(CALL_ENDS) }],
);
pub static NOT_CALLED: Meter = counter(
    "gavel_bidders_not_called_total",
    "Auctions in which a bidder was not called, by the reason",
    &[BIDDER, Label { name: "reason", values: Values::NotCalled }],
);
pub static LATE: Meter = counter(
    "gavel_late_answers_total",
    "Answers after the deadline: read to their end, or abandoned with their connection",
    &[BIDDER, Label { name: "result", values: Values::Fixed(LATE_ENDS) }],
);
pub static BIDS: Meter =
    counter("gavel_bids_received_total", "Bids in the answers of bidders", &[BIDDER]);
pub static BIDS_REJECTED: Meter = counter(
    "gavel_bids_rejected_total",
    "Bids that were dropped before prices were compared",
    &[BIDDER, Label { name: "reason", values: Values::Rejections }],
);
pub static WINS: Meter = counter("gavel_wins_total", "Bids that won an imp", &[BIDDER]);
pub static WON_GROSS: Meter = counter(
    "gavel_won_gross_dollars_total",
    "What the bidders of won bids owe if each is billed once, in US dollars: of auctions, not of \
     billed events; tests aside",
    &[BIDDER],
);
pub static WON_NET: Meter = counter(
    "gavel_won_net_dollars_total",
    "What partners get of the same, after our margin",
    &[PARTNER],
);
pub static AUCTION_SECONDS: Meter = histogram(
    "gavel_auction_seconds",
    "From complete headers to the answer's bytes, of requests that were auctioned",
    &[],
);
pub static OWN_SECONDS: Meter = histogram(
    "gavel_own_seconds",
    "The same less the wait for the slowest awaited bidder: what gavel adds",
    &[],
);
pub static STAGE_SECONDS: Meter = histogram(
    "gavel_stage_seconds",
    "What each stage of the road took, of one request in sixteen and of those that are traced",
    &[Label { name: "stage", values: Values::Fixed(STAGES) }],
);
pub static ANSWER_SECONDS: Meter = histogram(
    "gavel_bidder_answer_seconds",
    "From the start of a call to the end of its answer, late ones included",
    &[BIDDER],
);
pub static IN_FLIGHT: Meter =
    gauge("gavel_requests_in_flight", "Bid requests being worked on or waited for", &[WORKER]);
pub static SHED_PART: Meter = gauge(
    "gavel_shed_ratio",
    "The part of the requests that the worker sheds at the moment, 0 to 1",
    &[WORKER],
);
pub static CPU_SECONDS: Meter =
    counter("gavel_worker_cpu_seconds_total", "CPU time of the worker's thread", &[WORKER]);
pub static LAG_SECONDS: Meter =
    gauge("gavel_worker_lag_seconds", "How late the worker's event loop last ran", &[WORKER]);
pub static CONNECTIONS_ACCEPTED: Meter =
    counter("gavel_connections_accepted_total", "Connections that a worker took on", &[WORKER]);
pub static CONNECTIONS_CLOSED: Meter =
    counter("gavel_connections_closed_total", "Connections that ended", &[WORKER]);
pub static CONNECTIONS_OPEN: Meter =
    gauge("gavel_connections_open", "Connections that are open", &[WORKER]);
pub static ACCEPT_FAULTS_SEEN: Meter = counter(
    "gavel_accept_faults_total",
    "Connections that were turned away before anything of them was read",
    &[Label { name: "reason", values: Values::Fixed(ACCEPT_FAULTS) }],
);
pub static HTTP_DENIED: Meter = counter(
    "gavel_http_denied_total",
    "HTTP requests where partners call that were no bid request, or not readable as one",
    &[Label { name: "reason", values: Values::Fixed(HTTP_DENIALS) }],
);
pub static CONNECTIONS_CUT: Meter = counter(
    "gavel_connections_cut_total",
    "Connections that were cut: head or reader (also of an HTTP/2 stream) too slow, still there after being told to close, or evicted for a newcomer at `connections_max`",
    &[Label { name: "reason", values: Values::Fixed(CONNECTION_CUTS) }],
);
pub static TRACES: Meter = counter(
    "gavel_traces_total",
    "Traces of requests by what became of them; those that are not delivered are not sent again",
    &[Label { name: "result", values: Values::Fixed(TRACE_ENDS) }],
);
pub static PARENTS_MALFORMED: Meter = counter(
    "gavel_traceparent_malformed_total",
    "Requests whose `traceparent` could not be read; they were served as if they had none",
    &[],
);
pub static BACKLOG: Meter = gauge(
    "gavel_listener_backlog_connections",
    "Size of the accept queue: asked for, and left by the system's own limit",
    &[LISTENER, Label { name: "size", values: Values::Fixed(BACKLOGS) }],
);
pub static QUEUE: Meter = gauge(
    "gavel_listener_queue_connections",
    "Connections that are complete and wait to be accepted, when last looked (about every second)",
    &[LISTENER],
);
pub static LISTEN_OVERFLOWS: Meter = counter(
    "gavel_listen_overflows_total",
    "Connections that the kernel dropped since an accept queue was full (`ListenOverflows`): of the network namespace, since it exists",
    &[],
);
pub static LISTEN_DROPS: Meter = counter(
    "gavel_listen_drops_total",
    "Connections that the kernel dropped at a listening socket for whatever reason, overflows included (`ListenDrops`): of the network namespace, since it exists",
    &[],
);
pub static GENERATION: Meter =
    gauge("gavel_snapshot_generation", "Generation of the snapshot in force; 0: none yet", &[]);
pub static RELOADS: Meter = counter(
    "gavel_reloads_total",
    "Tries to take a source that changed, by what came of them",
    &[SOURCE, Label { name: "result", values: Values::Fixed(RELOAD_RESULTS) }],
);
pub static REFUSED: Meter = gauge(
    "gavel_source_refused",
    "1 while the last state of it that was seen could not be taken, and an older one is in force",
    &[SOURCE],
);
pub static RELOADED: Meter = gauge(
    "gavel_source_taken_timestamp_seconds",
    "When what is in force was taken, since the Unix epoch",
    &[SOURCE],
);
pub static DEGRADED: Meter = gauge(
    "gavel_degraded",
    "1 while the process runs on rules that were kept, since the configured ones are broken",
    &[],
);
pub static DATABASE_BUILT: Meter = gauge(
    "gavel_database_build_timestamp_seconds",
    "When the database was built, since the Unix epoch; of such as say it",
    &[DATABASE],
);
pub static DATABASE_AGE: Meter = gauge(
    "gavel_database_age_seconds",
    "Time since the database was built, where it says when",
    &[DATABASE],
);
pub static MEMORY_USED: Meter = gauge(
    "gavel_memory_used_bytes",
    "Memory that counts against the limit, files that were not used of late left out",
    &[],
);
pub static MEMORY_LIMIT: Meter =
    gauge("gavel_memory_limit_bytes", "Limit of the process's control group; 0: none", &[]);
pub static MEMORY_PRESSURE: Meter = gauge(
    "gavel_memory_pressure",
    "0: enough memory; 1: caches are small; 2: bid requests are shed; 3: idle connections close",
    &[],
);
pub static SILENT: Meter = gauge(
    "gavel_bidder_silent_seconds",
    "How long a bidder that is wanted has given no answer, not even a no-bid; 0 after any answer",
    &[BIDDER],
);
pub static RATES_AGE: Meter = gauge(
    "gavel_rates_age_seconds",
    "Time since the exchange rates held, where they say when they did (`rates.as_of`)",
    &[],
);
pub static RATES_STALE: Meter = gauge(
    "gavel_rates_stale",
    "1 while the exchange rates are older than `rates.age_max`, or of a day to come, and convert nothing",
    &[],
);
pub static CAPTURED: Meter = counter(
    "gavel_capture_records_total",
    "Requests written to a recording, by why they were kept",
    &[Label { name: "stratum", values: Values::Fixed(STRATA) }],
);
pub static CAPTURE_DROPPED: Meter = counter(
    "gavel_capture_dropped_total",
    "Requests that were chosen for a recording and not written",
    &[Label { name: "reason", values: Values::Fixed(CAPTURE_DROPS) }],
);
pub static CAPTURE_BYTES: Meter =
    counter("gavel_capture_bytes_total", "Bytes written to recordings", &[]);
pub static CAPTURE_FILES: Meter =
    counter("gavel_capture_files_total", "Files of recordings that were finished", &[]);
pub static CAPTURE_QUEUE: Meter =
    gauge("gavel_capture_queue_records", "Requests that wait to be written to a recording", &[]);
pub static EVENTS_TAKEN: Meter = counter(
    "gavel_events_total",
    "Events from upstream with a good token: counted, counted before, not made durable (503), or beyond `events.in_flight_max` (503)",
    &[
        Label { name: "event", values: Values::Fixed(EVENTS) },
        Label { name: "result", values: Values::Fixed(EVENT_ENDS) },
    ],
);
pub static EVENTS_REJECTED: Meter = counter(
    "gavel_events_rejected_total",
    "What came as an event without a good token; it was answered as one",
    &[Label { name: "reason", values: Values::Fixed(EVENT_REJECTIONS) }],
);
pub static NOTICES: Meter = counter(
    "gavel_notices_total",
    "Notices to bidders by what became of them: `failed` is a try, of which a durable notice has more; `aside` waits without a try; `dead` is kept for `gavel dlq`; `dropped` is a loss notice beyond what may wait",
    &[
        Label { name: "kind", values: Values::Fixed(NOTICE_KINDS) },
        Label { name: "result", values: Values::Fixed(NOTICE_RESULTS) },
    ],
);
pub static NOTICE_FAILURES: Meter = counter(
    "gavel_notice_failures_total",
    "Tries to send a notice that failed, by why",
    &[Label { name: "reason", values: Values::Fixed(NOTICE_FAILED) }],
);
pub static NOTICES_BLOCKED: Meter = counter(
    "gavel_notices_blocked_total",
    "Tries that were stopped before a connection, by the rule that the URL or its address breaks",
    &[Label { name: "rule", values: Values::Fixed(NOTICE_RULES) }],
);
pub static NOTICES_PENDING: Meter = gauge(
    "gavel_notices_pending",
    "Durable notices that a bidder does not have yet and that are still tried",
    &[BIDDER],
);
pub static NOTICES_DEAD: Meter = gauge(
    "gavel_notices_dead",
    "Durable notices of a bidder that were given up and wait for a person (`gavel dlq`)",
    &[BIDDER],
);
pub static NOTICES_OLDEST: Meter = gauge(
    "gavel_notices_oldest_seconds",
    "Age of the oldest durable notice that a bidder does not have yet and that is still tried",
    &[BIDDER],
);
pub static LOG_DROPPED: Meter = counter(
    "gavel_log_lines_dropped_total",
    "Log lines that were not written: nobody read standard output, or writing to it failed",
    &[],
);
pub static STARTED: Meter =
    gauge("gavel_start_timestamp_seconds", "When the process started, since the Unix epoch", &[]);
pub static BUILD: Meter = gauge(
    "gavel_build_info",
    "Always 1; the label says what runs",
    &[Label { name: "version", values: Values::Version }],
);

/// All, in the order in which they are shown.
pub static ALL: [&Meter; 78] = [
    &REQUESTS,
    &IMPS_REFUSED,
    &LENIENCIES,
    &CALLS,
    &NOT_CALLED,
    &LATE,
    &BIDS,
    &BIDS_REJECTED,
    &WINS,
    &WON_GROSS,
    &WON_NET,
    &AUCTION_SECONDS,
    &OWN_SECONDS,
    &STAGE_SECONDS,
    &ANSWER_SECONDS,
    &IN_FLIGHT,
    &SHED_PART,
    &CPU_SECONDS,
    &LAG_SECONDS,
    &CONNECTIONS_ACCEPTED,
    &CONNECTIONS_CLOSED,
    &CONNECTIONS_OPEN,
    &ACCEPT_FAULTS_SEEN,
    &HTTP_DENIED,
    &CONNECTIONS_CUT,
    &TRACES,
    &PARENTS_MALFORMED,
    &BACKLOG,
    &QUEUE,
    &LISTEN_OVERFLOWS,
    &LISTEN_DROPS,
    &GENERATION,
    &DEGRADED,
    &RELOADS,
    &REFUSED,
    &RELOADED,
    &DATABASE_BUILT,
    &DATABASE_AGE,
    &MEMORY_USED,
    &MEMORY_LIMIT,
    &MEMORY_PRESSURE,
    &SILENT,
    &RATES_AGE,
    &RATES_STALE,
    &CAPTURED,
    &CAPTURE_DROPPED,
    &CAPTURE_BYTES,
    &CAPTURE_FILES,
    &CAPTURE_QUEUE,
    &EVENTS_TAKEN,
    &EVENTS_REJECTED,
    &money::JOURNAL_RECEIVED,
    &money::JOURNAL_IN_HAND,
    &money::JOURNAL_INTAKE,
    &money::JOURNAL_OUTLETS,
    &money::JOURNAL_QUEUED,
    &money::JOURNAL_RECORDS,
    &money::JOURNAL_OFF,
    &money::JOURNAL_CONDITION,
    &money::JOURNAL_DISK,
    &money::JOURNAL_DISK_MAX,
    &money::JOURNAL_SEGMENTS,
    &money::JOURNAL_DAMAGED,
    &money::JOURNAL_COMMIT,
    &money::BROKER_WELL,
    &money::BROKER_MESSAGES,
    &money::BROKER_LAG,
    &money::BROKER_NOTICES,
    &money::BROKER_FED,
    &NOTICES,
    &NOTICE_FAILURES,
    &NOTICES_BLOCKED,
    &NOTICES_PENDING,
    &NOTICES_DEAD,
    &NOTICES_OLDEST,
    &LOG_DROPPED,
    &STARTED,
    &BUILD,
];

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut out =
        String::from("| instrument | kind | labels | what it says |\n|---|---|---|---|\n");
    for meter in ALL {
        let _ = write!(out, "| `{}` | {} | ", meter.name, meter.kind.label());
        for (index, label) in meter.labels.iter().enumerate() {
            let _ = write!(out, "{}`{}`: ", if index > 0 { "; " } else { "" }, label.name);
            label.values.write_markdown(&mut out);
        }
        let _ = writeln!(out, " | {} |", meter.help);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_end_in_what_they_are() {
        let mut seen = HashSet::new();
        for meter in ALL {
            assert!(seen.insert(meter.name), "{} stands twice", meter.name);
            assert!(meter.name.starts_with("gavel_"), "{}", meter.name);
            assert!(
                meter.name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()),
                "{}",
                meter.name
            );
            let is_counter = meter.kind == Kind::Counter;
            assert_eq!(meter.name.ends_with("_total"), is_counter, "{}", meter.name);
            if meter.kind == Kind::Histogram {
                assert!(meter.name.ends_with("_seconds"), "{}", meter.name);
            }
            assert!(!meter.help.is_empty() && !meter.help.ends_with('.'), "{}", meter.name);
        }
    }

    #[test]
    fn the_markdown_has_a_row_for_each_instrument() {
        let text = markdown();
        assert_eq!(text.lines().count(), ALL.len() + 2);
        for line in text.lines() {
            assert_eq!(line.matches('|').count(), 5, "{line}");
        }
        assert!(
            text.contains("| `gavel_wins_total` | counter | `bidder`: bidder names, `other` |")
        );
    }
}
