//! Requests whose answers broke an assertion, as a capture.
//!
//! Owns: the file that `shrink` begins with. Never: a judgement. Invariant: it says where its
//! requests come from as the recording does: what had pseudonyms has them here under the same key.

use crate::assertions::inspector::Kept;
use crate::feed::source::Source;
use crate::report::outputs;
use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Record, RecordedOutcome};
use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// Between two of them: they are played one after the other.
const APART: Duration = Duration::from_millis(10);

/// Writes them in the order in which they failed.
pub(super) fn write(path: &Path, source: &Source, kept: Vec<Kept>) -> Result<(), Fault> {
    let note = "requests whose answers broke an assertion; the status is that of this run";
    let header = Header { note: note.to_owned(), ..source.header()? };
    let records = kept.into_iter().map(|one| Record {
        partner: one.partner,
        path: one.path,
        outcome: Some(RecordedOutcome { status: one.status, ..RecordedOutcome::default() }),
        ..of_body(one.request)
    });
    write_records(path, &header, records)
}

/// A record that is a body.
pub(crate) fn of_body(body: Vec<u8>) -> Record {
    Record {
        method: "POST".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.into(),
        ..Record::default()
    }
}

/// Writes a capture of a few requests, each a moment after the one before.
pub(crate) fn write_records(
    path: &Path,
    header: &Header,
    records: impl Iterator<Item = Record>,
) -> Result<(), Fault> {
    let file =
        outputs::capture(path, true).map_err(|fault| format!("{}: {fault}", path.display()))?;
    let mut writer = Writer::new(BufWriter::new(file), header, WriterSettings::default())?;
    for (number, record) in (0_u32..).zip(records) {
        writer.push(&Record { at: APART * number, ..record })?;
    }
    writer.finish()?.flush()?;
    Ok(())
}
