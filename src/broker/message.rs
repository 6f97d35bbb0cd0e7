//! A record of the journal as a message.
//!
//! Owns: subject, id and bytes of a message. Never: a connection. Invariant: the same event has the
//! same id wherever it comes from; its bytes are the line that `gavel journal export` writes of it,
//! so that the ledger and any other reader take both.

use crate::journal::export::{self, json_line};
use crate::journal::frame::Class;
use crate::money_event::codec::{identify, write_event};
use crate::money_event::shown;
use crate::money_event::{EventId, MoneyEvent, SaleId};
use bytes::Bytes;
use serde_json::{Map, Value};

/// No event has more bytes as a message, headers and a death included: six texts of a token with each byte
/// escaped (9 KiB), a URL of 2 KiB that is all quotes, names and numbers.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    /// What makes a repeat a repeat (`Nats-Msg-Id`).
    pub id: String,
    /// Messages of one sale stay in order.
    pub sale: Option<SaleId>,
    /// When it came, in microseconds since the epoch; 0 where the record does not say.
    pub came_us: u64,
    pub payload: Bytes,
}

/// The subjects of a stream.
pub fn subjects(prefix: &str) -> String {
    format!("{prefix}.>")
}

/// Where money events are, of all kinds and partners.
pub fn event_subjects(prefix: &str) -> String {
    format!("{prefix}.event.>")
}

/// Where is tried whether the stream takes anything.
pub fn probe_subject(prefix: &str) -> String {
    format!("{prefix}.probe")
}

/// An event that is not in a journal.
pub fn of_event(prefix: &str, event: &MoneyEvent) -> Message {
    let mut bytes = Vec::with_capacity(512);
    write_event(event, &mut bytes);
    message(prefix, event.event.kind(), json_line(None, event.event.kind(), Class::Durable, &bytes))
        .identified(event.id)
}

/// A record that is in one.
pub fn of_record(prefix: &str, sequence: u64, kind: u8, class: Class, payload: &[u8]) -> Message {
    let message = message(prefix, kind, json_line(Some(sequence), kind, class, payload));
    match identify(kind, payload) {
        Some((id, _)) => message.identified(id),
        // what has no id is the same where its bytes are
        None => Message { id: blake3::hash(payload).to_hex().to_string(), ..message },
    }
}

impl Message {
    fn identified(self, id: EventId) -> Self {
        Self { id: id.to_string(), sale: Some(id.sale()), ..self }
    }
}

fn message(prefix: &str, kind: u8, line: Map<String, Value>) -> Message {
    let label = export::kind_label(kind);
    let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or_default();
    let partner = token(text("partner"));
    let is_event = crate::money_event::EventType::of_kind(kind).is_some();
    let subject = match (is_event, partner.is_empty()) {
        (true, _) => format!("{prefix}.event.{label}.{partner}"),
        (false, false) => format!("{prefix}.{label}.{partner}"),
        (false, true) => format!("{prefix}.{label}"),
    };
    let came_us = number(if is_event { "received_us" } else { "auction_us" });
    let payload = Value::Object(line).to_string().into();
    Message { subject, id: String::new(), sale: None, came_us, payload }
}

/// A name as one word of a subject: the dots of a partner's name would be more of them.
pub(super) fn token(name: &str) -> String {
    let plain = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '-' | '_');
    name.chars().map(|char| if plain(char) { char } else { '_' }).collect()
}

/// A message as a line of an export: its place in the stream is its sequence.
pub fn line(sequence: u64, payload: &[u8]) -> Option<String> {
    let mut line: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    line.get("type").and_then(Value::as_str)?;
    line.insert("sequence".to_owned(), sequence.into());
    Some(shown::tame(&Value::Object(line).to_string()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::multiplier::Multiplier;
    use crate::money_event::codec::{write_auction, write_drops};
    use crate::money_event::{AuctionRecord, DropCount, EventType, kind};

    fn event() -> MoneyEvent {
        let sale = SaleId::new(0x1230);
        MoneyEvent {
            event: EventType::Billing,
            id: sale.event(EventType::Billing),
            partner: "a.b".into(),
            multiplier: Multiplier::from_wire(14.2).unwrap(),
            received_us: 77,
            ..MoneyEvent::default()
        }
    }

    #[test]
    fn an_event_is_the_same_message_from_the_journal_and_without_it() {
        let mut bytes = Vec::new();
        write_event(&event(), &mut bytes);
        let direct = of_event("x.y", &event());
        let relayed = of_record("x.y", 9, kind::BILLING, Class::Durable, &bytes);
        assert_eq!(direct.subject, "x.y.event.billing.a_b");
        assert_eq!((direct.id.as_str(), direct.came_us), ("00000000000000000000000000001232", 77));
        assert_eq!(direct.sale, Some(SaleId::new(0x1230)));
        assert_eq!(line(9, &direct.payload), line(9, &relayed.payload));
        assert!(line(9, &direct.payload).unwrap().contains("\"multiplier\":14.2,"));
        let same = (&relayed.subject, &relayed.id, relayed.sale, relayed.came_us);
        assert_eq!(same, (&direct.subject, &direct.id, direct.sale, direct.came_us));
    }

    #[test]
    fn the_largest_event_and_its_death_are_no_larger_than_is_said() {
        use crate::broker::dead::{Death, dead};
        // a token has texts of so many bytes (`token::TEXT_BYTES_MAX`), each of which may be escaped
        let text = || "\u{1}".repeat(256);
        let large = MoneyEvent {
            auction_id: text(),
            imp_id: text(),
            partner: text(),
            bidder: text(),
            seat: text(),
            deal: text(),
            url: "\"".repeat(crate::money_event::URL_BYTES_MAX),
            ..event()
        };
        let message = of_event("gavel", &large);
        let reason = "x".repeat(1024);
        let death =
            Death { reason, tries: 9, origin: 1 << 60, first_us: 1 << 60, died_us: 1 << 60 };
        let dead = dead("gavel", &message.payload, &death).unwrap();
        for one in [message, dead] {
            let headers = 256 + one.id.len();
            assert!(one.payload.len() + headers <= MESSAGE_BYTES_MAX, "{}", one.payload.len());
        }
    }

    #[test]
    fn records_without_an_id_are_told_by_their_bytes() {
        let mut bytes = Vec::new();
        let record = AuctionRecord { partner: "p".into(), at_us: 5, ..AuctionRecord::default() };
        write_auction(&record, &mut bytes);
        let one = of_record("g", 1, kind::AUCTION, Class::Buffered, &bytes);
        let again = of_record("g", 2, kind::AUCTION, Class::Buffered, &bytes);
        assert_eq!((one.subject.as_str(), one.sale, one.came_us), ("g.auction.p", None, 5));
        assert_eq!(one.id, again.id);
        bytes.clear();
        write_drops(DropCount { from_us: 1, to_us: 2, dropped: 3 }, &mut bytes);
        assert_eq!(of_record("g", 1, kind::DROPPED, Class::Buffered, &bytes).subject, "g.dropped");
    }

    #[test]
    fn a_line_has_the_streams_sequence_and_what_is_no_record_is_none() {
        let text = line(4, br#"{"sequence":9,"type":"win","id":"x"}"#).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["sequence"], 4);
        assert_eq!(value["type"], "win");
        for bad in [&b""[..], b"[]", b"{}", b"{\"type\":1}", b"\xff"] {
            assert_eq!(line(1, bad), None, "{bad:?}");
        }
    }
}
