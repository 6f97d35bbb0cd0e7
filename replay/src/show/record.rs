//! One record of a capture.
//!
//! Owns: how it is shown, and how it is found without reading what stands before. Never: a change
//! to it.

use super::{harmless, pretty, stratum};
use gavel::capture::read::{CaptureError, Reader};
use gavel::capture::{Header, Record, RecordedCall};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Read, Seek};
use std::time::Duration;

/// Width of the picture of the bidders' calls.
const PICTURE: usize = 40;

/// Record `number`, from 0; `None`: there are fewer.
pub fn find<R: Read + Seek>(
    reader: &mut Reader<R>,
    number: u64,
) -> Result<Option<Record>, CaptureError> {
    let index = reader.index()?;
    let mut before = 0;
    for block in &index.blocks {
        let behind = before + u64::from(block.count);
        if number < behind {
            reader.seek(block)?;
            break;
        }
        before = behind;
    }
    if before == index.records() {
        return Ok(None);
    }
    let mut record = Record::default();
    for _ in before..=number {
        if !reader.next(&mut record)? {
            return Ok(None);
        }
    }
    Ok(Some(record))
}

/// A moment of a capture on the wall clock.
pub fn wall_clock(header: &Header, at: Duration) -> Option<String> {
    let micros = i64::try_from(header.started_us).ok()?;
    let since = i64::try_from(at.as_micros()).ok()?;
    let moment = jiff::Timestamp::from_microsecond(micros.checked_add(since)?).ok()?;
    Some(format!("{moment:.6}"))
}

/// For people.
pub fn text(header: &Header, number: u64, record: &Record) -> String {
    let mut out = String::new();
    let seconds = record.at.as_secs_f64();
    let clock = wall_clock(header, record.at).unwrap_or_default();
    let line = &mut out;
    let mut tell = |name: &str, value: &str| {
        let _ = writeln!(line, "{name:<12}{}", harmless(value).replace('\n', " "));
    };
    tell("record", &number.to_string());
    tell("at", &format!("{seconds:.6} s, {clock}"));
    tell("connection", &record.connection.to_string());
    tell("partner", &record.partner);
    tell("request", &format!("{} {}", record.method, record.path));
    for (name, value) in &record.headers {
        tell("", &format!("{name}: {value}"));
    }
    tell("kept as", stratum(record.stratum));
    if let Some(outcome) = &record.outcome {
        let reason = if outcome.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", outcome.reason)
        };
        let took = outcome.took.as_secs_f64() * 1e3;
        tell(
            "answered",
            &format!(
                "{}{reason} after {took:.3} ms, generation {}",
                outcome.status, outcome.generation
            ),
        );
    }
    timeline(record, &mut out);
    body("body", &record.body, &mut out);
    if let Some(outcome) = record.outcome.as_ref().filter(|outcome| !outcome.body.is_empty()) {
        body("answer", &outcome.body, &mut out);
    }
    out
}

/// A line for each bidder: what came, when, and a picture of that.
fn timeline(record: &Record, out: &mut String) {
    let ends = record.calls.iter().map(|call| call.sent + call.took);
    let whole = ends.chain(record.outcome.iter().map(|outcome| outcome.took)).max();
    let Some(whole) = whole.filter(|whole| !whole.is_zero() && !record.calls.is_empty()) else {
        return;
    };
    let _ = writeln!(out, "bidders     over {:.3} ms", whole.as_secs_f64() * 1e3);
    let longest = record.calls.iter().map(|call| call.bidder.chars().count()).max().unwrap_or(0);
    for call in &record.calls {
        let end = if call.no_answer.is_empty() {
            call.status.to_string()
        } else {
            harmless(&call.no_answer)
        };
        let _ = writeln!(
            out,
            "  {:<longest$}  |{}|  {:.3} + {:.3} ms  {end}",
            harmless(&call.bidder),
            picture(call, whole),
            call.sent.as_secs_f64() * 1e3,
            call.took.as_secs_f64() * 1e3,
        );
    }
}

fn picture(call: &RecordedCall, whole: Duration) -> String {
    let column = |at: Duration| {
        let parts = at.as_nanos() * PICTURE as u128 / whole.as_nanos().max(1);
        usize::try_from(parts).unwrap_or(PICTURE).min(PICTURE)
    };
    let (from, to) = (column(call.sent), column(call.sent + call.took));
    // also what took no time is seen
    let from = from.min(PICTURE - 1);
    let to = to.max(from + 1);
    let mark = if call.no_answer.is_empty() { '=' } else { 'x' };
    (0..PICTURE).map(|at| if (from..to).contains(&at) { mark } else { ' ' }).collect()
}

fn body(name: &str, bytes: &[u8], out: &mut String) {
    let _ = writeln!(out, "{name:<12}{} bytes", bytes.len());
    match pretty::laid_out(bytes) {
        Some(laid) => {
            let _ = writeln!(out, "{}", harmless(&laid));
        }
        None if bytes.is_empty() => {}
        None => {
            let _ = writeln!(out, "(no JSON) {}", bytes.escape_ascii());
        }
    }
}

/// For programs. A body that is JSON is written as JSON, any other as text.
pub fn as_json(header: &Header, number: u64, record: &Record) -> Value {
    let parsed = |bytes: &[u8]| {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes).into_owned()))
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let headers: Vec<[&str; 2]> =
        record.headers.iter().map(|(name, value)| [name.as_str(), value.as_str()]).collect();
    let calls: Vec<Value> = record
        .calls
        .iter()
        .map(|call| {
            json!({
                "bidder": call.bidder, "sent_us": micros(call.sent), "took_us": micros(call.took),
                "status": call.status, "no_answer": call.no_answer,
                "request": parsed(&call.request), "answer": parsed(&call.answer),
            })
        })
        .collect();
    json!({
        "record": number,
        "at_us": micros(record.at),
        "wall_clock": wall_clock(header, record.at),
        "connection": record.connection,
        "partner": record.partner,
        "method": record.method,
        "path": record.path,
        "headers": headers,
        "stratum": stratum(record.stratum),
        "body": parsed(&record.body),
        "outcome": record.outcome.as_ref().map(|outcome| json!({
            "status": outcome.status, "reason": outcome.reason, "took_us": micros(outcome.took),
            "generation": outcome.generation, "body": parsed(&outcome.body),
        })),
        "calls": calls,
    })
}
