//! A dead notice as a message of the stream, and the message that closes it.
//!
//! Owns: subjects, ids and lines of both. Never: a connection. Invariants: whatever is said twice of
//! one death has the same event and the same `origin`, so that it is one dead notice; a closing has
//! a subject that only this dead notice has, so that the stream can take one and no second.

use super::message::{Message, token};
use crate::money_event::shown::{DEAD_NOTICE, NOTICE_AGAIN, NOTICE_PURGED};
use serde_json::{Map, Value};

/// Where dead notices are, of all bidders.
pub fn dead_subjects(prefix: &str) -> String {
    format!("{prefix}.dead.>")
}

/// Where they are of one bidder, and of others whose names differ in nothing that a subject can have.
pub fn dead_subject(prefix: &str, bidder: &str) -> String {
    format!("{prefix}.dead.{}", token(bidder))
}

/// Where is what became of them.
pub fn closed_subjects(prefix: &str) -> String {
    format!("{prefix}.closed.>")
}

/// How a notice ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Death {
    pub reason: String,
    pub tries: u32,
    /// Place in the stream of the message that asked for the notice: its event, or a closing that
    /// had it sent again.
    pub origin: u64,
    /// When it was first to be sent, and when it was given up; microseconds since the epoch.
    pub first_us: u64,
    pub died_us: u64,
}

/// What the message said that asked for the notice, and how the notice ended.
pub fn dead(prefix: &str, payload: &[u8], death: &Death) -> Option<Message> {
    let mut line: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let kind = match text(&line, "type") {
        NOTICE_AGAIN => text(&line, "event").to_owned(),
        kind => kind.to_owned(),
    };
    line.remove("again_us");
    for (key, value) in [
        ("type", Value::from(DEAD_NOTICE)),
        ("event", kind.into()),
        ("reason", death.reason.as_str().into()),
        ("tries", death.tries.into()),
        ("origin", death.origin.into()),
        ("first_us", death.first_us.into()),
        ("died_us", death.died_us.into()),
    ] {
        line.insert(key.to_owned(), value);
    }
    let subject = dead_subject(prefix, text(&line, "bidder"));
    // not by the event alone: one that was sent again may die again, within the window of repeats
    let id = format!("dead-{}-{}", text(&line, "id"), death.origin);
    Some(Message {
        subject,
        id,
        sale: None,
        came_us: 0,
        payload: Value::Object(line).to_string().into(),
    })
}

/// What is to become of a dead notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It is sent again: its tries, and its day, begin anew.
    Again,
    /// Nobody sends it any more; why.
    Purged(String),
}

impl Closing {
    /// The type of its line.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Again => NOTICE_AGAIN,
            Self::Purged(_) => NOTICE_PURGED,
        }
    }
}

/// A dead notice that was read from the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadNotice {
    /// Its places in the stream; where it was interrupted it was said more than once.
    pub places: Vec<u64>,
    line: Map<String, Value>,
}

impl DeadNotice {
    /// `None` where the line is not one.
    pub fn read(place: u64, payload: &[u8]) -> Option<Self> {
        let line: Map<String, Value> = serde_json::from_slice(payload).ok()?;
        let is_one = text(&line, "type") == DEAD_NOTICE && !text(&line, "id").is_empty();
        is_one.then(|| Self { places: vec![place], line })
    }

    /// The first of its places: what people call it by.
    pub fn number(&self) -> u64 {
        self.places.first().copied().unwrap_or_default()
    }

    /// Of one death only.
    pub fn key(&self) -> String {
        format!("{}-{}", token(self.text("id")), self.whole("origin"))
    }

    /// A word of its line; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        text(&self.line, key)
    }

    /// A number of its line; 0 where there is none.
    pub fn whole(&self, key: &str) -> u64 {
        self.line.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    /// Where the message is that closes it, and no other one.
    pub fn closed_subject(&self, prefix: &str) -> String {
        format!("{prefix}.closed.{}.{}", token(self.text("bidder")), self.key())
    }

    /// The message that closes it.
    pub fn closed(&self, prefix: &str, closing: &Closing, now_us: u64) -> Message {
        let mut line = self.line.clone();
        line.insert("type".to_owned(), closing.kind().into());
        match closing {
            Closing::Again => drop(line.insert("again_us".to_owned(), now_us.into())),
            Closing::Purged(why) => {
                line.insert("purged_us".to_owned(), now_us.into());
                line.insert("purged_for".to_owned(), why.as_str().into());
            }
        }
        Message {
            subject: self.closed_subject(prefix),
            id: format!("{}-{}", closing.kind(), self.key()),
            sale: None,
            came_us: 0,
            payload: Value::Object(line).to_string().into(),
        }
    }
}

fn text<'l>(line: &'l Map<String, Value>, key: &str) -> &'l str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &[u8] = br#"{"type":"billing","id":"00ab","bidder":"b.1","url":"https://b.example/1","received_us":5}"#;

    fn death(origin: u64) -> Death {
        Death { reason: "status 400".to_owned(), tries: 3, origin, first_us: 5, died_us: 9 }
    }

    fn found(message: &Message, place: u64) -> DeadNotice {
        DeadNotice::read(place, &message.payload).unwrap()
    }

    #[test]
    fn a_dead_notice_says_of_which_event_it_was_and_how_it_ended() {
        let message = dead("g", EVENT, &death(7)).unwrap();
        assert_eq!((message.subject.as_str(), message.id.as_str()), ("g.dead.b_1", "dead-00ab-7"));
        let one = found(&message, 12);
        assert_eq!((one.number(), one.key().as_str()), (12, "00ab-7"));
        for (key, value) in
            [("event", "billing"), ("bidder", "b.1"), ("reason", "status 400"), ("id", "00ab")]
        {
            assert_eq!(one.text(key), value, "{key}");
        }
        for (key, value) in [("tries", 3), ("origin", 7), ("first_us", 5), ("died_us", 9)] {
            assert_eq!(one.whole(key), value, "{key}");
        }
        for bad in [&b"x"[..], b"[]", b"\xff"] {
            assert_eq!(dead("g", bad, &death(1)), None, "{bad:?}");
        }
    }

    #[test]
    fn one_that_is_sent_again_and_dies_again_is_another_dead_notice_of_the_same_event() {
        let first = found(&dead("g", EVENT, &death(7)).unwrap(), 12);
        let again = first.closed("g", &Closing::Again, 77);
        assert_eq!(again.subject, "g.closed.b_1.00ab-7");
        let message = dead("g", &again.payload, &death(13)).unwrap();
        assert_eq!(message.id, "dead-00ab-13");
        let second = found(&message, 14);
        assert_eq!((second.text("event"), second.whole("again_us")), ("billing", 0));
        assert_ne!(second.key(), first.key());
    }

    #[test]
    fn both_closings_of_a_dead_notice_have_one_subject_and_ids_of_their_own() {
        let one = found(&dead("g", EVENT, &death(7)).unwrap(), 12);
        let again = one.closed("g", &Closing::Again, 77);
        let purged = one.closed("g", &Closing::Purged("too old".to_owned()), 77);
        assert_eq!(again.subject, purged.subject);
        assert_ne!(again.id, purged.id);
        assert_eq!(again.id, one.closed("g", &Closing::Again, 99).id);
        let line: Value = serde_json::from_slice(&purged.payload).unwrap();
        assert_eq!(
            (&line["type"], &line["purged_for"]),
            (&NOTICE_PURGED.into(), &"too old".into())
        );
        assert_eq!((&line["reason"], &line["purged_us"]), (&"status 400".into(), &77.into()));
        let line: Value = serde_json::from_slice(&again.payload).unwrap();
        assert_eq!((&line["type"], &line["again_us"]), (&NOTICE_AGAIN.into(), &77.into()));
    }

    #[test]
    fn what_is_no_dead_notice_is_not_read_as_one() {
        for bad in [EVENT, b"", b"[]", br#"{"type":"dead_notice"}"#, br#"{"type":1,"id":"x"}"#] {
            assert_eq!(DeadNotice::read(1, bad), None, "{bad:?}");
        }
        // one of an older build has no origin
        let old = br#"{"type":"dead_notice","id":"00ab","bidder":"b"}"#;
        assert_eq!(DeadNotice::read(1, old).unwrap().key(), "00ab-0");
    }
}
