//! A journal for people and other programs: what is in it, whether it is whole, its records.
//!
//! Owns: the texts of `gavel journal inspect`, `verify` and `export`. Never: a change to a file, a
//! lock: a journal may be looked at while it is written. Invariant: a gap is said where it is, in
//! every format; nothing is left out silently.

use super::cursor::{self, Cursor};
use super::disk::Disk;
use super::frame::{Class, HeaderFault, MARK, OWN_KINDS};
use super::survey::{Survey, Surveyed, survey};
use super::walk::{End, Hole, Piece, Record};
use super::{Dirs, JournalFault};
use crate::money_event::shown::{self, columns};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// All that a folder says of itself.
#[derive(Debug)]
pub struct Look {
    pub survey: Survey,
    pub cursors: BTreeMap<String, Option<Cursor>>,
}

/// Looks through a journal.
pub fn look(disk: &dyn Disk, dirs: &Dirs) -> Result<Look, JournalFault> {
    let cursors = cursor::load_all(disk, &dirs.main)?;
    let survey = survey(disk, dirs, furthest(&cursors), &mut |_, _| {})?;
    Ok(Look { survey, cursors })
}

/// The first sequence that no sink has passed: all before it had been durable.
pub fn furthest(cursors: &BTreeMap<String, Option<Cursor>>) -> u64 {
    cursors.values().flatten().map(|cursor| cursor.next).max().unwrap_or(0)
}

/// The word for a kind.
pub fn kind_label(kind: u8) -> Cow<'static, str> {
    match shown::label(kind) {
        Some(label) => label.into(),
        None if kind == MARK => "mark".into(),
        None => format!("kind_{kind}").into(),
    }
}

const fn class_label(class: Class) -> &'static str {
    match class {
        Class::Durable => "durable",
        Class::Buffered => "buffered",
    }
}

impl Look {
    /// `gavel journal inspect`: a table.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for segment in &self.survey.segments {
            let state = match (segment.is_damaged(), segment.end, &segment.header) {
                (_, _, Err(HeaderFault::Blank)) => "made ahead",
                (true, _, _) => "damaged",
                (false, End::Torn(_), _) => "unfinished commit at the end",
                (false, End::Clean, _) if segment.lost > 0 => "a segment behind it is missing",
                (false, End::Clean, _) => "whole",
            };
            lines.push(format!(
                "segment {:<8} sequences {:>12} to {:<12} {:>10} records {:>12} of {:>12} bytes  {state}",
                segment.file.ordinal,
                segment.first,
                segment.next.saturating_sub(1).max(segment.first),
                segment.records(),
                segment.end_offset.min(segment.file.bytes),
                segment.file.bytes,
            ));
        }
        for ((kind, is_buffered), count) in self.counts() {
            let class = if is_buffered { "buffered" } else { "durable" };
            lines.push(format!("type    {:<16} {class:<9} {count:>12}", kind_label(kind)));
        }
        for (name, cursor) in &self.cursors {
            lines.push(match cursor {
                None => format!("cursor  {name:<16} damaged: the sink will begin anew"),
                Some(Cursor { next, delivered, dead }) => {
                    let behind = self.survey.next.saturating_sub(*next);
                    format!(
                        "cursor  {name:<16} at {next}, {behind} behind; {delivered} delivered, {dead} dead"
                    )
                }
            });
        }
        lines.push(format!("next    {}", self.survey.next));
        lines.push(format!("lost    {}", self.survey.lost()));
        lines.join("\n")
    }

    /// The same as one JSON value.
    pub fn json(&self) -> Value {
        let segments: Vec<Value> = self.survey.segments.iter().map(segment_json).collect();
        let types: Vec<Value> = self
            .counts()
            .into_iter()
            .map(|((kind, is_buffered), count)| {
                let class = if is_buffered { Class::Buffered } else { Class::Durable };
                let (label, class) = (kind_label(kind), class_label(class));
                json!({ "type": label, "kind": kind, "class": class, "records": count })
            })
            .collect();
        let cursors: Map<String, Value> = self
            .cursors
            .iter()
            .map(|(name, cursor)| {
                let value = cursor.map(|Cursor { next, delivered, dead }| {
                    json!({ "next": next, "delivered": delivered, "dead": dead })
                });
                (name.clone(), value.unwrap_or(Value::Null))
            })
            .collect();
        json!({
            "segments": segments, "types": types, "cursors": cursors,
            "next": self.survey.next, "lost": self.survey.lost(),
        })
    }

    fn counts(&self) -> BTreeMap<(u8, bool), u64> {
        let mut sums = BTreeMap::new();
        for (key, count) in self.survey.segments.iter().flat_map(|segment| &segment.counts) {
            *sums.entry(*key).or_default() += count;
        }
        sums
    }

    /// `gavel journal verify`: everything that is not as it should be.
    pub fn findings(&self) -> Findings {
        let mut found = Findings::default();
        for segment in &self.survey.segments {
            found.add_segment(segment);
        }
        for (name, cursor) in &self.cursors {
            if cursor.is_none() {
                found.faults.push(format!("cursor {name}: the checksum does not hold"));
            }
        }
        found
    }
}

fn segment_json(segment: &Surveyed) -> Value {
    json!({
        "ordinal": segment.file.ordinal,
        "path": segment.file.path.to_string_lossy(),
        "first": segment.first,
        "next": segment.next,
        "records": segment.records(),
        "bytes": segment.end_offset.min(segment.file.bytes),
        "file_bytes": segment.file.bytes,
        "damaged": segment.is_damaged(),
        "lost": segment.lost,
        "torn": matches!(segment.end, End::Torn(_)),
    })
}

/// What `verify` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records are lost, or what says where they are.
    pub faults: Vec<String>,
    /// Nothing that was acknowledged is lost, but bytes are not as they were written.
    pub notes: Vec<String>,
}

impl Findings {
    fn add_segment(&mut self, segment: &Surveyed) {
        let path = segment.file.path.display();
        match &segment.header {
            Ok(_) | Err(HeaderFault::Blank) => {}
            Err(fault) => self.faults.push(format!("{path}: offset 0: {fault}")),
        }
        for Hole { from, to, offset, end, why } in &segment.holes {
            let last = to.saturating_sub(1);
            self.faults.push(format!(
                "{path}: offset {offset} to {end}: sequences {from} to {last} are lost: {why}"
            ));
        }
        let more = segment.hole_count.saturating_sub(segment.holes.len() as u64);
        if more > 0 {
            self.faults.push(format!("{path}: {more} more gaps"));
        }
        let at = segment.end_offset;
        match segment.end {
            End::Torn(why) => self.notes.push(format!(
                "{path}: offset {at}: a commit that was never acknowledged: {why}; the next start cuts it"
            )),
            End::Clean if segment.has_dirt => self.notes.push(format!(
                "{path}: offset {at}: bytes behind the last record that do not count"
            )),
            End::Clean => {}
        }
        if segment.file.is_named_damaged && segment.holes.is_empty() && segment.header.is_ok() {
            self.notes.push(format!("{path}: is called damaged, and is whole"));
        }
    }
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated, with a line of names (RFC 4180).
    Csv,
}

/// Which records.
#[derive(Clone, Debug)]
pub struct Choice {
    /// First and last sequence.
    pub from: u64,
    pub to: u64,
    /// None for all.
    pub kinds: Option<Vec<u8>>,
}

/// `gavel journal export`; answers how many records are lost within the choice.
pub fn export(
    disk: &dyn Disk,
    dirs: &Dirs,
    (format, choice): (Format, &Choice),
    out: &mut dyn Write,
) -> Result<u64, ExportFault> {
    let cursors = cursor::load_all(disk, &dirs.main)?;
    let (mut lost, mut written) = (0, Ok(()));
    if format == Format::Csv {
        let names = ["sequence", "type", "class", "lost_to"].into_iter();
        let names: Vec<&str> = names.chain(shown::ALL.iter().copied()).collect();
        written = writeln!(out, "{}", names.join(","));
    }
    survey(disk, dirs, furthest(&cursors), &mut |_, piece| {
        if written.is_err() {
            return;
        }
        match piece {
            Piece::Record(record) if choice.takes(record) => {
                written = write_record(format, record, out);
            }
            Piece::Hole(hole) if hole.from <= choice.to && hole.to > choice.from => {
                lost += hole.to - hole.from;
                written = write_hole(format, hole, out);
            }
            _ => {}
        }
    })?;
    written.and_then(|()| out.flush()).map_err(ExportFault::Write)?;
    Ok(lost)
}

/// An export that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    #[error(transparent)]
    Journal(#[from] JournalFault),
    #[error("cannot write the export")]
    Write(#[source] io::Error),
}

impl Choice {
    fn takes(&self, record: &Record<'_>) -> bool {
        (self.from..=self.to).contains(&record.sequence)
            && record.tag.kind >= OWN_KINDS
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&record.tag.kind))
    }
}

/// A record as one JSON object, as `gavel journal export` writes it; without a sequence where it is in
/// no journal.
pub fn json_line(
    sequence: Option<u64>,
    kind: u8,
    class: Class,
    payload: &[u8],
) -> Map<String, Value> {
    let mut object = Map::new();
    if let Some(sequence) = sequence {
        object.insert("sequence".into(), json!(sequence));
    }
    object.insert("type".into(), json!(kind_label(kind)));
    object.insert("class".into(), json!(class_label(class)));
    object.extend(columns(kind, payload).into_iter().map(|(name, value)| (name.to_owned(), value)));
    object
}

fn write_record(format: Format, record: &Record<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (sequence, tag, payload) = (record.sequence, record.tag, record.payload);
    match format {
        Format::Jsonl => {
            let object = json_line(Some(sequence), tag.kind, tag.class, payload);
            writeln!(out, "{}", shown::tame(&Value::Object(object).to_string()))
        }
        Format::Csv => {
            let (kind, class) = (kind_label(tag.kind), class_label(tag.class));
            let fields = columns(tag.kind, payload);
            write!(out, "{sequence},{kind},{class},")?;
            for name in shown::ALL {
                let value = fields.iter().find(|(known, _)| known == name);
                write!(out, ",{}", value.map(|(_, value)| cell(value)).unwrap_or_default())?;
            }
            writeln!(out)
        }
    }
}

fn write_hole(format: Format, hole: &Hole, out: &mut dyn Write) -> io::Result<()> {
    let (from, last) = (hole.from, hole.to.saturating_sub(1));
    match format {
        Format::Jsonl => {
            let why = hole.why.to_string();
            writeln!(
                out,
                "{}",
                json!({ "sequence": from, "type": "lost", "lost_to": last, "why": why })
            )
        }
        Format::Csv => writeln!(out, "{from},lost,,{last}{}", ",".repeat(shown::ALL.len())),
    }
}

/// With what a text begins that gets an apostrophe before it: one, too, so that it is told from those.
pub const GUARDED: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// A value in a cell. A text that a spreadsheet would take for a formula gets an apostrophe before
/// it: ids come from strangers.
pub fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) => return value.to_string(),
        other => other.to_string(),
    };
    let text = if text.starts_with(GUARDED) { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!("a,b"), "\"a,b\""),
            (json!("a\"b"), "\"a\"\"b\""),
            (json!("=1+1"), "'=1+1"),
            (json!("'=1"), "''=1"),
            (json!("'a"), "''a"),
            (json!("-1,\n"), "\"'-1,\n\""),
            (json!(-5), "-5"),
            (json!([{"a": 1}]), "\"[{\"\"a\"\":1}]\""),
        ] {
            assert_eq!(cell(&value), expected);
        }
    }
}
