//! `[notices]`: how bidders are told what became of their bids.
//!
//! Owns: names, defaults and ranges of its keys. Never: a connection.

use super::reader::Table;
use super::words;
use crate::notice::courier::CourierSettings;
use crate::notice::guard::GuardSettings;
use crate::notice::lane::LaneSettings;
use crate::notice::schedule::RetrySettings;
use crate::notice::sender::SenderSettings;
use std::time::Duration;

/// What notices are sent with.
#[derive(Clone, Debug, Default)]
pub struct NoticeSettings {
    pub guard: GuardSettings,
    pub courier: CourierSettings,
    pub sender: SenderSettings,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The section.
pub fn read(root: &mut Table) -> NoticeSettings {
    let mut t = root.section("notices");
    let settings =
        NoticeSettings { guard: guard(&mut t), courier: courier(&mut t), sender: sender(&mut t) };
    if settings.courier.connect > settings.courier.total {
        t.fault_of("connect", "at most `total`", None);
    }
    t.end();
    settings
}

fn guard(t: &mut Table) -> GuardSettings {
    let d = GuardSettings::default();
    let ports = t.numbers("ports", 1..=65_535, "Ports that may be called; empty: 80 and 443.");
    GuardSettings {
        ports: if ports.is_empty() { d.ports } else { ports },
        allowed: t.list(
            "networks_allowed",
            "an address or a range, such as 10.1.0.0/16",
            "Notices reach them although they are not of the Internet at large: bidders of this \
             cluster.",
            words::network,
        ),
        denied: t.list(
            "networks_denied",
            "an address or a range",
            "Notices never reach them, whatever else says so.",
            words::network,
        ),
        url_bytes_max: d.url_bytes_max,
    }
}

fn courier(t: &mut Table) -> CourierSettings {
    let d = CourierSettings::default();
    CourierSettings {
        connect: t.duration("connect", d.connect, ms(10)..=s(10), "To connect, TLS included."),
        total: t.duration("total", d.total, ms(10)..=s(30), "One try, answer included."),
        answer_bytes_max: t.bytes(
            "answer_bytes_max",
            d.answer_bytes_max,
            0..=64 << 10,
            "More of an answer's content is not waited for.",
        ),
        idle_connections_max: t.integer(
            "idle_connections_max",
            d.idle_connections_max,
            0..=10_000,
            "Connections kept for another notice.",
        ),
        idle_max: t.duration("idle_max", d.idle_max, ms(100)..=s(600), "For so long."),
        ..d
    }
}

fn sender(t: &mut Table) -> SenderSettings {
    let d = SenderSettings::default();
    let (lane, retry) = (lane(t), retry(t));
    SenderSettings {
        lane,
        retry,
        in_flight_max: t.integer(
            "in_flight_max",
            d.in_flight_max,
            1..=100_000,
            "Tries under way, of all bidders.",
        ),
        losses_max: t.integer(
            "losses_max",
            d.losses_max,
            1..=1_000_000,
            "Auctions whose loss notices wait; those of more are dropped and counted.",
        ),
        letters_max: t.integer(
            "letters_max",
            d.letters_max,
            100..=100_000_000,
            "Notices put aside or dead; of more, the oldest dead ones give way. A bidder has \
             at most as many put aside as it leaves for others: what comes beyond waits in \
             the journal, and holds up nobody else.",
        ),
        tick: d.tick,
    }
}

fn lane(t: &mut Table) -> LaneSettings {
    let d = LaneSettings::default();
    LaneSettings {
        in_flight_max: t.integer(
            "bidder_in_flight_max",
            d.in_flight_max,
            1..=10_000,
            "Tries under way to one bidder.",
        ),
        queue_max: t.integer(
            "bidder_queue_max",
            d.queue_max,
            1..=1_000_000,
            "Notices that wait for their first try to one bidder; durable ones beyond are put \
             aside, loss notices dropped.",
        ),
        patience: t.duration(
            "patience",
            d.patience,
            ms(10)..=s(60),
            "As `bidder_queue_max`: after waiting for so long.",
        ),
        failures_max: t.integer(
            "failures_max",
            d.failures_max,
            1..=1_000,
            "So many failures in a row, and the bidder is left alone ...",
        ),
        probe_every: t.duration(
            "probe_every",
            d.probe_every,
            ms(10)..=s(600),
            "... but for one try in about so long.",
        ),
        budget_tries: t.integer(
            "budget_tries",
            d.budget_tries,
            1..=10_000,
            "Tries beyond the first of a notice that a bidder may have at once; a tenth of its \
             notices adds to it.",
        ),
    }
}

fn retry(t: &mut Table) -> RetrySettings {
    let d = RetrySettings::default();
    RetrySettings {
        tries_max: t.integer(
            "tries_max",
            d.tries_max,
            1..=100,
            "Tries of a durable notice before it is a dead letter. With `events.ack = \
             \"broker\"` the stream counts how often one was taken, not its tries: there the \
             gaps follow from its age, to about so many tries, and only `retry_for` ends it.",
        ),
        steady_gap: t.duration(
            "retry_gap",
            d.steady_gap,
            ms(10)..=s(600),
            "Between its first tries, on average; later gaps grow to fill `retry_for`.",
        ),
        span: t.duration(
            "retry_for",
            d.span,
            s(1)..=s(7 * 86_400),
            "A durable notice that is older and not delivered is a dead letter.",
        ),
        ..d
    }
}
