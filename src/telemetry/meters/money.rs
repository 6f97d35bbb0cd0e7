//! The instruments of the journal and of the broker behind it.
//!
//! Owns: as [`super`], of these. Never: a value.

use super::super::meter::{Label, Meter, Values};
use super::super::words::{
    BROKER_ENDS, INTAKE_ENDS, KEPT_NOTICES, OUTLET_STATES, RECORD_ENDS, SINKS,
};
use super::{counter, gauge};

/// Parts of the journal's commits.
pub const COMMIT_PARTS: &[&str] = &["0.5", "0.99"];

pub static JOURNAL_RECEIVED: Meter = counter(
    "gavel_journal_received_total",
    "Events that came to the journal: `received` = `in_hand` + `rejected` + `refused` + `duplicate` + `published` + `appended`",
    &[],
);
pub static JOURNAL_IN_HAND: Meter =
    gauge("gavel_journal_in_hand_events", "Events that wait to become durable", &[]);
pub static JOURNAL_INTAKE: Meter = counter(
    "gavel_journal_intake_total",
    "Where events that came have gone; `appended` are durable in the journal, `published` at the broker",
    &[Label { name: "end", values: Values::Fixed(INTAKE_ENDS) }],
);
pub static JOURNAL_OUTLETS: Meter = gauge(
    "gavel_journal_outlet_events",
    "Where durable events are, since the start: `carried` (there before it) + `appended` = `delivered` + `dead` + `pending`",
    &[
        Label { name: "sink", values: Values::Fixed(SINKS) },
        Label { name: "state", values: Values::Fixed(OUTLET_STATES) },
    ],
);
pub static JOURNAL_QUEUED: Meter =
    gauge("gavel_journal_queued_records", "Records of auctions that wait to be written", &[]);
pub static JOURNAL_RECORDS: Meter = counter(
    "gavel_journal_records_total",
    "Records of auctions: `offered` = queued + `dropped` + `written`",
    &[Label { name: "end", values: Values::Fixed(RECORD_ENDS) }],
);
pub static JOURNAL_OFF: Meter = gauge(
    "gavel_journal_off_events",
    "By how much the equations of the journal are off in all: 0, or money is missing",
    &[],
);
pub static JOURNAL_CONDITION: Meter = gauge(
    "gavel_journal_condition",
    "0 sound, 1 slow, 2 low on room, 3 on the spill folder, 4 no room for more auctions, 5 takes nothing",
    &[],
);
pub static JOURNAL_DISK: Meter = gauge("gavel_journal_disk_bytes", "Size of its segments", &[]);
pub static JOURNAL_DISK_MAX: Meter = gauge(
    "gavel_journal_disk_max_bytes",
    "Size of its segments at which there are no more auctions; 0: the oldest go before",
    &[],
);
pub static JOURNAL_SEGMENTS: Meter =
    gauge("gavel_journal_segments", "Segments that are there, damaged ones included", &[]);
pub static JOURNAL_DAMAGED: Meter =
    gauge("gavel_journal_damaged_segments", "Segments of which durable records are lost", &[]);
pub static JOURNAL_COMMIT: Meter = gauge(
    "gavel_journal_commit_seconds",
    "Time in which so large a part of the commits ended, to a power of two",
    &[Label { name: "part", values: Values::Fixed(COMMIT_PARTS) }],
);
pub static BROKER_WELL: Meter = gauge(
    "gavel_broker_acknowledging",
    "1 while the broker acknowledges what it is sent, 0 since it failed to or before it first did",
    &[],
);
pub static BROKER_MESSAGES: Meter = counter(
    "gavel_broker_messages_total",
    "Messages to the broker: `stored`, or a `repeat` of one that it had; `failed` is a try, of which one that waits in the journal has more",
    &[Label { name: "result", values: Values::Fixed(BROKER_ENDS) }],
);
pub static BROKER_LAG: Meter = gauge(
    "gavel_broker_lag_seconds",
    "Age of the oldest record of the journal that the broker does not have",
    &[],
);
pub static BROKER_NOTICES: Meter = gauge(
    "gavel_broker_notices",
    "Notices that the stream keeps, of all replicas, with `events.ack = \"broker\"` or where it was so before: `pending` are not settled, with events that nobody has looked at; `dead` were given up and wait for a person (`gavel dlq`)",
    &[Label { name: "state", values: Values::Fixed(KEPT_NOTICES) }],
);
pub static BROKER_FED: Meter = gauge(
    "gavel_broker_notices_taken",
    "1 while this process takes notices from the consumers of the stream, 0 while it cannot; absent where there are none",
    &[],
);
