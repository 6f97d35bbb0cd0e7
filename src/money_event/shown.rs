//! Records as named columns, for people and for other programs.
//!
//! Owns: which kinds are known, the names of the columns and their order. Never: a file format.
//! Invariant: a kind's columns are always the same, in the same order; a record that cannot be read
//! as its kind is shown as an unknown one, in hexadecimal, never left out.

use super::codec::{read_auction, read_drops, read_event};
use super::{AuctionRecord, DropCount, EventType, MoneyEvent, kind};
use crate::money::MICROS;
use crate::money::multiplier::Multiplier;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Write;

/// Names with values.
pub type Columns = Vec<(&'static str, Value)>;

/// The word for a kind; `None` where it is unknown.
pub fn label(kind: u8) -> Option<&'static str> {
    match kind {
        kind::AUCTION => Some("auction"),
        kind::DROPPED => Some("dropped"),
        kind::LETTER => Some("letter"),
        kind::LETTER_CLOSED => Some("letter_closed"),
        _ => EventType::of_kind(kind).map(EventType::label),
    }
}

/// The kinds that a word stands for: a kind's word or number, or `money` for all money events.
pub fn kinds(word: &str) -> Option<Vec<u8>> {
    if word == "money" {
        return Some(EventType::ALL.map(EventType::kind).to_vec());
    }
    let named = (0..64).find(|kind| label(*kind) == Some(word));
    named.or_else(|| word.parse().ok().filter(|kind| *kind < 64)).map(|kind| vec![kind])
}

/// Types of the lines by which a stream of events says what becomes of a notice: that it is given up,
/// that it is to be sent again, that it is given up for ever.
pub const DEAD_NOTICE: &str = "dead_notice";
pub const NOTICE_AGAIN: &str = "notice_again";
pub const NOTICE_PURGED: &str = "notice_purged";

/// All columns that a record may have, in order.
pub const ALL: &[&str] = &[
    "id",
    "auction_id",
    "request_id",
    "imp_id",
    "partner",
    "bidder",
    "seat",
    "deal",
    "gross_micros",
    "gross_currency",
    "net_micros",
    "net_currency",
    "multiplier",
    "loss_reason",
    "generation",
    "auction_us",
    "received_us",
    "expires_s",
    "url",
    "took_us",
    "imps",
    "called",
    "not_called",
    "bids",
    "wins",
    "outcome",
    "bidders",
    "from_us",
    "to_us",
    "dropped",
    "hex",
];

/// Control characters, which a terminal may obey, as JSON writes them: a bidder's URL can have those
/// beyond ASCII, which JSON lets stand, and a stream is written to by others too. A line of JSON reads
/// back as the same.
pub fn tame(text: &str) -> Cow<'_, str> {
    // the first byte of each that there is
    let may_be = |byte: u8| byte.is_ascii_control() || byte == 0xc2;
    if !text.bytes().any(may_be) {
        return text.into();
    }
    let mut tamed = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            let _ = write!(tamed, "\\u{:04x}", u32::from(letter));
        } else {
            tamed.push(letter);
        }
    }
    tamed.into()
}

/// A record's columns.
pub fn columns(kind: u8, bytes: &[u8]) -> Columns {
    let known = match (EventType::of_kind(kind), kind) {
        (Some(event), _) => read_event(event, bytes).ok().map(|event| event_columns(&event)),
        (None, kind::AUCTION) => read_auction(bytes).ok().map(|record| auction_columns(&record)),
        (None, kind::DROPPED) => read_drops(bytes).ok().map(drop_columns),
        _ => None,
    };
    known.unwrap_or_else(|| vec![("hex", json!(hex(bytes)))])
}

fn event_columns(event: &MoneyEvent) -> Columns {
    vec![
        ("id", json!(event.id.to_string())),
        ("auction_id", json!(event.auction_id)),
        ("imp_id", json!(event.imp_id)),
        ("partner", json!(event.partner)),
        ("bidder", json!(event.bidder)),
        ("seat", json!(event.seat)),
        ("deal", json!(event.deal)),
        ("gross_micros", json!(event.gross.price.micros())),
        ("gross_currency", json!(event.gross.currency.as_str())),
        ("net_micros", json!(event.net.price.micros())),
        ("net_currency", json!(event.net.currency.as_str())),
        ("multiplier", multiplier(event.multiplier)),
        ("loss_reason", json!(event.loss_reason)),
        ("generation", json!(event.generation)),
        ("auction_us", json!(event.auction_us)),
        ("received_us", json!(event.received_us)),
        ("expires_s", json!(event.expires_s)),
        ("url", json!(event.url)),
    ]
}

/// A multiplier as a number, a whole one without a point.
pub fn multiplier(multiplier: Multiplier) -> Value {
    let micros = multiplier.micros();
    if micros % MICROS == 0 { json!(micros / MICROS) } else { json!(multiplier.to_wire()) }
}

fn auction_columns(record: &AuctionRecord<'_>) -> Columns {
    let bidders: Vec<Value> = record
        .bidders
        .iter()
        .map(|part| {
            json!({
                "bidder": part.bidder, "negative": part.negative,
                "bids": part.bids, "wins": part.wins,
            })
        })
        .collect();
    vec![
        ("auction_id", json!(record.auction_id)),
        ("request_id", json!(record.request_id)),
        ("partner", json!(record.partner)),
        ("generation", json!(record.generation)),
        ("auction_us", json!(record.at_us)),
        ("took_us", json!(record.took_us)),
        ("imps", json!(record.imps)),
        ("called", json!(record.called)),
        ("not_called", json!(record.not_called)),
        ("bids", json!(record.bids)),
        ("wins", json!(record.wins)),
        ("outcome", json!(record.outcome)),
        ("bidders", json!(bidders)),
    ]
}

fn drop_columns(count: DropCount) -> Columns {
    vec![
        ("from_us", json!(count.from_us)),
        ("to_us", json!(count.to_us)),
        ("dropped", json!(count.dropped)),
    ]
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money_event::codec::{write_auction, write_event};

    #[test]
    fn every_column_is_in_the_list_in_its_order() {
        let (mut event, mut auction) = (Vec::new(), Vec::new());
        write_event(&MoneyEvent::default(), &mut event);
        write_auction(&AuctionRecord::default(), &mut auction);
        let kinds = [(kind::WIN, event), (kind::AUCTION, auction), (kind::DROPPED, Vec::new())];
        for (kind, bytes) in kinds.into_iter().chain([(63, vec![1, 0xab])]) {
            let places: Vec<usize> = columns(kind, &bytes)
                .iter()
                .map(|(name, _)| ALL.iter().position(|known| known == name).unwrap())
                .collect();
            assert!(places.is_sorted(), "{kind}: {places:?}");
        }
        assert_eq!(columns(63, &[1, 0xab]), vec![("hex", json!("01ab"))]);
    }

    #[test]
    fn a_multiplier_is_a_number_as_people_write_it() {
        for (micros, expected) in
            [(1_000_000, "1"), (14_200_000, "14.2"), (500_000, "0.5"), (1, "1e-6")]
        {
            let shown = multiplier(Multiplier::from_micros(micros).unwrap()).to_string();
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_record_that_is_not_of_its_kind_is_shown_as_it_is() {
        assert_eq!(columns(kind::WIN, &[0xff]), vec![("hex", json!("ff"))]);
    }

    #[test]
    fn no_line_has_a_character_that_a_terminal_would_obey_and_each_reads_back() {
        for text in
            ["\u{9b}31mred", "\u{7f}\u{80}\u{9f}", "\u{1b}]0;x\u{7}", "caf\u{e9} \u{a0}", "plain"]
        {
            let line = json!({ text: text }).to_string();
            let tamed = tame(&line);
            assert!(!tamed.chars().any(char::is_control), "{tamed:?}");
            assert_eq!(serde_json::from_str::<Value>(&tamed).unwrap(), json!({ text: text }));
            let is_harmless = text.chars().all(|letter| !letter.is_control());
            assert_eq!(tame(text) == text, is_harmless, "{text:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, expected) in [
            ("plain \u{e9}", "plain \u{e9}"),
            ("a\u{9b}2J", "a\\u009b2J"),
            ("\u{1b}[31m", "\\u001b[31m"),
        ] {
            assert_eq!(tame(text), expected);
        }
        let line = tame(&json!({ "url": "https://b.example/\u{9b}2J" }).to_string()).into_owned();
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (read["url"].as_str(), line.is_ascii()),
            (Some("https://b.example/\u{9b}2J"), true)
        );
    }

    #[test]
    fn kinds_are_named_by_word_or_number() {
        assert_eq!(kinds("billing"), Some(vec![kind::BILLING]));
        assert_eq!(kinds("16"), Some(vec![kind::AUCTION]));
        assert_eq!(kinds("money").unwrap().len(), 4);
        assert_eq!((kinds("64"), kinds("bill")), (None, None));
    }
}
