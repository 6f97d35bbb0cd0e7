//! Records that were exported, read back: JSON lines and CSV.
//!
//! Owns: the reading of what `gavel journal export` and `gavel events pull` write. Never: a guess: a
//! line that is not understood is a fault with its number. Invariant: an exported record is read
//! back as the same record; memory is bounded by the longest line.

use super::source::{DeadNotice, Faults, Item, Take, checked, open};
use super::{CLOSINGS_MAX, LETTERS_MAX, LedgerFault, csv};
use crate::money::Currency;
use crate::money::multiplier::Multiplier;
use crate::money_event::shown::{DEAD_NOTICE, NOTICE_AGAIN, NOTICE_PURGED};
use crate::money_event::{
    Amount, AuctionRecord, BidderPart, DropCount, EventId, EventType, MoneyEvent, shown,
};
use serde::Deserialize;
use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::path::Path;

/// Longest line: a record of the longest kind, with every byte of it escaped.
pub const LINE_BYTES_MAX: usize = 2 << 20;

/// One line of an export.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    sequence: u64,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    lost_to: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    auction_id: Cow<'a, str>,
    request_id: Cow<'a, str>,
    #[serde(borrow)]
    imp_id: Cow<'a, str>,
    #[serde(borrow)]
    partner: Cow<'a, str>,
    #[serde(borrow)]
    bidder: Cow<'a, str>,
    #[serde(borrow)]
    seat: Cow<'a, str>,
    #[serde(borrow)]
    deal: Cow<'a, str>,
    gross_micros: Option<i64>,
    #[serde(borrow)]
    gross_currency: Cow<'a, str>,
    net_micros: Option<i64>,
    #[serde(borrow)]
    net_currency: Cow<'a, str>,
    multiplier: Option<f64>,
    loss_reason: u32,
    generation: u64,
    auction_us: u64,
    received_us: u64,
    expires_s: u64,
    #[serde(borrow)]
    url: Cow<'a, str>,
    took_us: u64,
    imps: u32,
    called: u32,
    not_called: u32,
    bids: u32,
    wins: u32,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    bidders: Vec<Part>,
    from_us: u64,
    to_us: u64,
    dropped: u64,
    hex: Option<String>,
    /// Of a dead notice: what its type was.
    #[serde(borrow)]
    event: Cow<'a, str>,
    origin: u64,
    tries: u32,
    reason: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part {
    bidder: String,
    negative: String,
    bids: u32,
    wins: u32,
}

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads an export: what its first byte says it is.
pub fn read(path: &Path, faults: &mut Faults, take: &mut Take<'_>) -> Result<(), LedgerFault> {
    let mut from = open(path)?;
    let fault = |cause| LedgerFault::Read(path.to_owned(), cause);
    let start = from.fill_buf().map_err(fault)?;
    // what a spreadsheet puts before it
    let mark = if start.starts_with(MARK) { MARK.len() } else { 0 };
    from.consume(mark);
    let first = from.fill_buf().map_err(fault)?.first().copied();
    let mut reading = Reading { path, faults, take, number: 0, letters: 0, closings: 0 };
    match first {
        None => Ok(()),
        Some(b'{') => reading.json_lines(&mut *from),
        Some(b's') => reading.csv(&mut *from),
        Some(_) => Err(LedgerFault::Strange {
            path: path.to_owned(),
            why: "it begins neither with { (JSON lines) nor with a line of names (CSV)",
        }),
    }
}

struct Reading<'r, 't> {
    path: &'r Path,
    faults: &'r mut Faults,
    take: &'r mut Take<'t>,
    /// Of the line.
    number: u64,
    /// Dead notices, and what became of such.
    letters: usize,
    closings: usize,
}

impl Reading<'_, '_> {
    fn cannot(&self, cause: io::Error) -> LedgerFault {
        LedgerFault::Read(self.path.to_owned(), cause)
    }

    fn fault(&mut self, why: &str) {
        let (path, number) = (self.path.display(), self.number);
        self.faults.add(|| format!("{path}: record {number}: {why}"));
    }

    fn json_lines(&mut self, from: &mut dyn BufRead) -> Result<(), LedgerFault> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.number += 1;
            let most = LINE_BYTES_MAX as u64;
            let read = (&mut *from).take(most).read_until(b'\n', &mut bytes);
            match read.map_err(|cause| self.cannot(cause))? {
                0 => return Ok(()),
                LINE_BYTES_MAX if !bytes.ends_with(b"\n") => {
                    self.fault("it is longer than a record can be; the rest is not read");
                    return Ok(());
                }
                _ if bytes.trim_ascii().is_empty() => {}
                _ => match serde_json::from_slice::<Line<'_>>(&bytes) {
                    Ok(line) => self.line(&line)?,
                    Err(fault) => self.fault(&fault.to_string()),
                },
            }
        }
    }

    fn csv(&mut self, from: &mut dyn BufRead) -> Result<(), LedgerFault> {
        let mut cells = Vec::new();
        csv::record(from, LINE_BYTES_MAX, &mut cells).map_err(|cause| self.cannot(cause))?;
        let names: Vec<String> =
            cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
        for needed in ["type", "id", "gross_micros", "net_micros"] {
            if !names.iter().any(|name| name == needed) {
                let path = self.path.to_owned();
                return Err(LedgerFault::Strange {
                    path,
                    why: "its first line does not name the columns of an export",
                });
            }
        }
        loop {
            self.number += 1;
            match csv::record(from, LINE_BYTES_MAX, &mut cells) {
                Ok(false) => return Ok(()),
                Ok(true) if cells.len() != names.len() => {
                    self.fault(&format!("{} cells for {} names", cells.len(), names.len()));
                }
                Ok(true) => match line_of(&names, &cells) {
                    Ok(line) => self.line(&line)?,
                    Err(why) => self.fault(&why),
                },
                // where the next record begins is not known
                Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
                    self.fault(&format!("{fault}; the rest is not read"));
                    return Ok(());
                }
                Err(fault) => return Err(self.cannot(fault)),
            }
        }
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), LedgerFault> {
        if line.kind == "lost" {
            let (from, to) = (line.sequence, line.lost_to);
            self.fault(&format!("sequences {from} to {to} are lost"));
            return Ok(());
        }
        match item(line).transpose() {
            None => Ok(()),
            Some(Ok(Item::Dead(_))) if self.letters >= LETTERS_MAX => {
                self.fault(&format!("only {LETTERS_MAX} dead notices are read"));
                Ok(())
            }
            Some(Ok(Item::Closed(_))) if self.closings >= CLOSINGS_MAX => {
                self.fault(&format!("only {CLOSINGS_MAX} closed notices are read"));
                Ok(())
            }
            Some(Ok(item)) => {
                self.letters += usize::from(matches!(item, Item::Dead(_)));
                self.closings += usize::from(matches!(item, Item::Closed(_)));
                (self.take)(item)
            }
            Some(Err(why)) => {
                self.fault(&why);
                Ok(())
            }
        }
    }
}

/// A line as a record; `None` for one that does not count.
fn item(line: &Line<'_>) -> Result<Option<Item>, String> {
    let event = EventType::ALL.into_iter().find(|event| event.label() == line.kind);
    if line.hex.is_some() && shown::kinds(&line.kind).is_some() {
        return Err(format!("a {} that could not be read when it was exported", line.kind));
    }
    Ok(Some(match (event, &*line.kind) {
        (Some(event), _) => checked(Item::Event(event_of(event, line)?))?,
        (None, "auction") => Item::Auction(auction_of(line)),
        (None, "dropped") => {
            let Line { from_us, to_us, dropped, .. } = *line;
            Item::Dropped(DropCount { from_us, to_us, dropped })
        }
        (None, DEAD_NOTICE) => checked(Item::Dead(dead_of(line)?))?,
        (None, NOTICE_AGAIN | NOTICE_PURGED) => Item::Closed((id_of(&line.id)?, line.origin)),
        (None, "") => return Err("it has no type".to_owned()),
        (None, _) => return Ok(None),
    }))
}

fn dead_of(line: &Line<'_>) -> Result<DeadNotice, String> {
    let event = EventType::ALL.into_iter().find(|event| event.label() == line.event);
    let event = event.ok_or_else(|| format!("event {:?} is none that exists", line.event))?;
    Ok(DeadNotice {
        event: Box::new(event_of(event, line)?),
        origin: line.origin,
        tries: line.tries,
        reason: line.reason.to_string(),
    })
}

fn event_of(event: EventType, line: &Line<'_>) -> Result<MoneyEvent, String> {
    Ok(MoneyEvent {
        event,
        id: id_of(&line.id)?,
        auction_id: line.auction_id.to_string(),
        imp_id: line.imp_id.to_string(),
        partner: line.partner.to_string(),
        bidder: line.bidder.to_string(),
        seat: line.seat.to_string(),
        deal: line.deal.to_string(),
        gross: amount("gross", line.gross_micros, &line.gross_currency)?,
        net: amount("net", line.net_micros, &line.net_currency)?,
        multiplier: multiplier(line.multiplier)?,
        loss_reason: line.loss_reason,
        generation: line.generation,
        auction_us: line.auction_us,
        received_us: line.received_us,
        expires_s: line.expires_s,
        url: line.url.to_string(),
    })
}

fn id_of(text: &str) -> Result<EventId, String> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    number.map(EventId).ok_or_else(|| format!("id {text:?} is not 32 hexadecimal digits"))
}

/// Money is never guessed: what is absent is a fault.
fn amount(side: &str, micros: Option<i64>, currency: &str) -> Result<Amount, String> {
    let micros = micros.ok_or_else(|| format!("{side}_micros is absent"))?;
    if micros < 0 {
        return Err(format!("{side}_micros is {micros}, less than nothing"));
    }
    let known = Currency::parse(currency);
    let known = known.ok_or_else(|| format!("{side}_currency {currency:?} is no currency"))?;
    Ok(Amount::new(micros, known))
}

/// Exports of before there were any have none: an imp was an impression.
fn multiplier(number: Option<f64>) -> Result<Multiplier, String> {
    let Some(number) = number else { return Ok(Multiplier::ONE) };
    Multiplier::from_wire(number).ok_or_else(|| {
        format!("multiplier {number} is not above 0 and at most {}", Multiplier::MAX)
    })
}

fn auction_of(line: &Line<'_>) -> AuctionRecord<'static> {
    let part = |part: &Part| BidderPart {
        bidder: part.bidder.clone().into(),
        negative: part.negative.clone().into(),
        bids: part.bids,
        wins: part.wins,
    };
    AuctionRecord {
        auction_id: line.auction_id.to_string().into(),
        request_id: line.request_id.to_string().into(),
        partner: line.partner.to_string().into(),
        generation: line.generation,
        at_us: line.auction_us,
        took_us: line.took_us,
        imps: line.imps,
        called: line.called,
        not_called: line.not_called,
        bids: line.bids,
        wins: line.wins,
        outcome: line.outcome.to_string().into(),
        bidders: line.bidders.iter().map(part).collect(),
    }
}

/// A line from its cells; an empty cell is an absent field.
fn line_of<'c>(names: &[String], cells: &'c [Vec<u8>]) -> Result<Line<'c>, String> {
    let mut line = Line::default();
    for (name, cell) in names.iter().zip(cells) {
        let text = csv::text(cell).ok_or_else(|| format!("{name} is not UTF-8"))?;
        if !text.is_empty() {
            set(&mut line, name, text)?;
        }
    }
    Ok(line)
}

fn set<'c>(line: &mut Line<'c>, name: &str, text: &'c str) -> Result<(), String> {
    fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{name} {text:?} is no number that fits"))
    }
    let words = Cow::Borrowed(text);
    match name {
        "sequence" => line.sequence = number(name, text)?,
        "type" => line.kind = words,
        "lost_to" => line.lost_to = number(name, text)?,
        "id" => line.id = words,
        "auction_id" => line.auction_id = words,
        "request_id" => line.request_id = words,
        "imp_id" => line.imp_id = words,
        "partner" => line.partner = words,
        "bidder" => line.bidder = words,
        "seat" => line.seat = words,
        "deal" => line.deal = words,
        "gross_micros" => line.gross_micros = Some(number(name, text)?),
        "gross_currency" => line.gross_currency = words,
        "net_micros" => line.net_micros = Some(number(name, text)?),
        "net_currency" => line.net_currency = words,
        "multiplier" => line.multiplier = Some(number(name, text)?),
        "loss_reason" => line.loss_reason = number(name, text)?,
        "generation" => line.generation = number(name, text)?,
        "auction_us" => line.auction_us = number(name, text)?,
        "received_us" => line.received_us = number(name, text)?,
        "expires_s" => line.expires_s = number(name, text)?,
        "url" => line.url = words,
        "took_us" => line.took_us = number(name, text)?,
        "imps" => line.imps = number(name, text)?,
        "called" => line.called = number(name, text)?,
        "not_called" => line.not_called = number(name, text)?,
        "bids" => line.bids = number(name, text)?,
        "wins" => line.wins = number(name, text)?,
        "outcome" => line.outcome = words,
        "bidders" => {
            line.bidders =
                serde_json::from_str(text).map_err(|fault| format!("bidders: {fault}"))?;
        }
        "from_us" => line.from_us = number(name, text)?,
        "to_us" => line.to_us = number(name, text)?,
        "dropped" => line.dropped = number(name, text)?,
        "hex" => line.hex = Some(text.to_owned()),
        _ => {}
    }
    Ok(())
}
