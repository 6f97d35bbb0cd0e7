//! `gavel-replay pack`: the files of a recording as one, as small as it can be.
//!
//! Owns: which parts of records are kept, the joining of files. Never: a change to what is kept:
//! bodies, times and outcomes stay as they are. Invariant: files of different origin or with
//! pseudonyms of different keys are not joined, since equal values would no longer be equal.

use crate::report::outputs;
use crate::verdict::{Failure, Verdict};
use gavel::capture::read::{self, CaptureError, Reader};
use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Record};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A block of this many bytes. A damaged byte costs its block, so it is not much larger than what
/// compresses well: with 8 MiB files were smaller by a quarter, and a cut cost all of them.
const BLOCK_BYTES: usize = 256 << 10;

/// What is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct PackArgs {
    /// Captures of one server, in any order
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The capture to write
    #[arg(long)]
    pub out: PathBuf,
    /// Write over the capture where there is one
    #[arg(long)]
    pub force: bool,
    /// Level of zstd: 1 is fast, 19 is small
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// Keep the exchanges with bidders of every n-th request only; 0: of none
    #[arg(long, default_value_t = 1)]
    pub bidders_of_every: u64,
    /// Leave out the bodies of gavel's answers
    #[arg(long)]
    pub no_answers: bool,
    /// Free text in the capture's head; without it: that of the first file
    #[arg(long)]
    pub note: Option<String>,
}

/// Why captures cannot be packed.
#[derive(Debug, thiserror::Error)]
enum PackError {
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: CaptureError },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is there already; --force writes over it", .0.display())]
    Exists(PathBuf),
    #[error("{} is also what is read", .0.display())]
    Itself(PathBuf),
    #[error(
        "{} and {} cannot be one capture: their {what} differs", one.display(), other.display()
    )]
    Differ { one: PathBuf, other: PathBuf, what: &'static str },
}

/// A file that is read.
struct Input {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
}

/// Packs; `Failed`: a file is damaged, what stood before the damage was packed.
pub fn run(args: &PackArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    pack(args, out).map_err(Failure::usage)
}

fn pack(args: &PackArgs, out: &mut dyn Write) -> Result<Verdict, PackError> {
    let mut inputs = open(&args.files)?;
    inputs.sort_by_key(|input| input.reader.header().started_us);
    let Some(first) = inputs.first() else { return Ok(Verdict::Pass) };
    let mut header = first.reader.header().clone();
    if let Some(note) = &args.note {
        header.note.clone_from(note);
    }
    let at_out = |source| PackError::Write { path: args.out.clone(), source };
    let file = create(args)?;
    let settings = WriterSettings { block_bytes: BLOCK_BYTES, level: args.level };
    let mut writer = Writer::new(BufWriter::new(file), &header, settings).map_err(at_out)?;
    let mut verdict = Verdict::Pass;
    let mut written = 0;
    for input in &mut inputs {
        let damage = copy(input, &header, args, &mut writer, &mut written).map_err(at_out)?;
        if let Some(damage) = damage {
            let told = writeln!(out, "{}: {damage}: the rest is left out", input.path.display());
            told.map_err(at_out)?;
            verdict = Verdict::Failed;
        }
    }
    let file = writer.finish().map_err(at_out)?;
    let file = file.into_inner().map_err(|fault| at_out(fault.into_error()))?;
    let bytes = file.metadata().map_err(at_out)?.len();
    writeln!(out, "{}: {written} records, {bytes} bytes", args.out.display()).map_err(at_out)?;
    Ok(verdict)
}

fn open(files: &[PathBuf]) -> Result<Vec<Input>, PackError> {
    let mut inputs: Vec<Input> = Vec::new();
    for path in files {
        let fault = |source| PackError::Read { path: path.clone(), source };
        let reader = read::open(path).map_err(fault)?;
        if let Some(first) = inputs.first() {
            let (one, other) = (first.reader.header(), reader.header());
            let what = differing(one, other);
            if let Some(what) = what {
                let (one, other) = (first.path.clone(), path.clone());
                return Err(PackError::Differ { one, other, what });
            }
        }
        inputs.push(Input { path: path.clone(), reader });
    }
    Ok(inputs)
}

fn differing(one: &Header, other: &Header) -> Option<&'static str> {
    if one.origin != other.origin {
        return Some("origin");
    }
    if one.pseudonym_key != other.pseudonym_key {
        return Some("key of pseudonyms");
    }
    (one.sample_ppm != other.sample_ppm).then_some("sample")
}

fn create(args: &PackArgs) -> Result<File, PackError> {
    let path = &args.out;
    let is_same = |file: &Path| match (file.canonicalize(), path.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if args.files.iter().any(|file| is_same(file)) {
        return Err(PackError::Itself(path.clone()));
    }
    outputs::capture(path, args.force).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => PackError::Exists(path.clone()),
        _ => PackError::Write { path: path.clone(), source },
    })
}

/// Copies the records of a file; gives back why it was not read to its end.
fn copy(
    input: &mut Input,
    header: &Header,
    args: &PackArgs,
    writer: &mut Writer<BufWriter<File>>,
    written: &mut u64,
) -> io::Result<Option<CaptureError>> {
    let shift_us = input.reader.header().started_us.saturating_sub(header.started_us);
    let mut record = Record::default();
    loop {
        match input.reader.next(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(damage) => return Ok(Some(damage)),
        }
        record.at += Duration::from_micros(shift_us);
        if args.bidders_of_every == 0 || !written.is_multiple_of(args.bidders_of_every) {
            record.calls.clear();
        }
        if let Some(outcome) = record.outcome.as_mut().filter(|_| args.no_answers) {
            outcome.body.clear();
        }
        writer.push(&record)?;
        *written += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gavel::capture::{Origin, RecordedCall, RecordedOutcome};

    fn header(started_us: u64, key: &str) -> Header {
        Header {
            origin: Origin::Recorded,
            started_us,
            writer: "test".to_owned(),
            pseudonym_key: Some(key.to_owned()),
            sample_ppm: 1_000,
            note: "first".to_owned(),
        }
    }

    fn record(at_ms: u64) -> Record {
        let outcome = RecordedOutcome { status: 200, body: "{}".into(), ..Default::default() };
        Record {
            at: Duration::from_millis(at_ms),
            body: format!("{{\"id\":\"{at_ms}\"}}").into(),
            outcome: Some(outcome),
            calls: vec![RecordedCall::default()],
            ..Record::default()
        }
    }

    fn write(path: &Path, header: &Header, count: u64) {
        let file = File::create(path).unwrap();
        let mut writer = Writer::new(file, header, WriterSettings::default()).unwrap();
        for at in 0..count {
            writer.push(&record(at)).unwrap();
        }
        writer.finish().unwrap();
    }

    fn read_all(path: &Path) -> (Header, Vec<Record>) {
        let mut reader = read::open(path).unwrap();
        let (mut records, mut record) = (Vec::new(), Record::default());
        while reader.next(&mut record).unwrap() {
            records.push(record.clone());
        }
        (reader.header().clone(), records)
    }

    fn args(folder: &Path, files: &[&str]) -> PackArgs {
        PackArgs {
            files: files.iter().map(|name| folder.join(name)).collect(),
            out: folder.join("out"),
            force: true,
            level: 19,
            bidders_of_every: 1,
            no_answers: false,
            note: None,
        }
    }

    #[test]
    fn files_of_one_server_become_one_in_the_order_of_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(&folder.join("late"), &header(6_000_000, "k"), 3);
        write(&folder.join("early"), &header(1_000_000, "k"), 2);
        let mut said = Vec::new();
        let verdict = run(&args(folder, &["late", "early"]), &mut said).unwrap();
        assert_eq!(verdict, Verdict::Pass);
        let (head, records) = read_all(&folder.join("out"));
        assert_eq!(head, header(1_000_000, "k"));
        let times: Vec<_> = records.iter().map(|one| one.at.as_millis()).collect();
        assert_eq!(times, [0, 1, 5_000, 5_001, 5_002]);
        assert_eq!(records[0], record(0));
        assert!(String::from_utf8(said).unwrap().contains("5 records"));
    }

    #[test]
    fn what_is_not_wanted_is_left_out_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(&folder.join("a"), &header(0, "k"), 4);
        let mut args = args(folder, &["a"]);
        (args.bidders_of_every, args.no_answers) = (3, true);
        args.note = Some("packed".to_owned());
        run(&args, &mut Vec::new()).unwrap();
        let (head, records) = read_all(&folder.join("out"));
        assert_eq!(head.note, "packed");
        let calls: Vec<_> = records.iter().map(|one| one.calls.len()).collect();
        assert_eq!(calls, [1, 0, 0, 1]);
        let mut expected = record(1);
        expected.calls.clear();
        expected.outcome.as_mut().unwrap().body.clear();
        assert_eq!(records[1], expected);
    }

    #[test]
    fn what_cannot_be_one_capture_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(&folder.join("a"), &header(0, "k"), 1);
        write(&folder.join("b"), &header(0, "other"), 1);
        let fault = |args: &PackArgs| run(args, &mut Vec::new()).unwrap_err().chain();
        assert!(fault(&args(folder, &["a", "b"])).contains("key of pseudonyms differs"));
        assert!(!folder.join("out").exists());
        let onto_itself = PackArgs { out: folder.join("a"), ..args(folder, &["a"]) };
        assert!(fault(&onto_itself).ends_with("is also what is read"));
        let onto_another = PackArgs { out: folder.join("b"), force: false, ..args(folder, &["a"]) };
        assert!(fault(&onto_another).contains("--force"));
        std::fs::write(folder.join("empty"), "").unwrap();
        for name in ["absent", "empty"] {
            let told = fault(&args(folder, &[name]));
            let (before, cause) = told.split_once(" cannot be read: ").unwrap();
            assert!(before.ends_with(name) && !cause.is_empty(), "{told}");
            assert_eq!(told.matches(cause).count(), 1, "{told}");
        }
    }

    #[test]
    fn a_packed_file_that_is_cut_or_damaged_keeps_most_of_its_records() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let gate = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/gate.capture");
        run(&PackArgs { files: vec![gate.clone()], ..args(folder, &[]) }, &mut Vec::new()).unwrap();
        for file in [gate, folder.join("out")] {
            let bytes = std::fs::read(&file).unwrap();
            let at = bytes.len() * 9 / 10;
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            for damaged in [&bytes[..at], &flipped] {
                let mut reader = Reader::new(damaged).unwrap();
                let mut record = Record::default();
                let fault = loop {
                    match reader.next(&mut record) {
                        Ok(true) => {}
                        Ok(false) => panic!("the damage is not told"),
                        Err(fault) => break fault,
                    }
                };
                let given = reader.given();
                assert!(given >= 350, "{given} of 700 of {}: {fault}", file.display());
            }
        }
    }

    #[test]
    fn what_stands_before_damage_is_packed_and_the_command_fails() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(&folder.join("a"), &header(0, "k"), 4);
        let bytes = std::fs::read(folder.join("a")).unwrap();
        std::fs::write(folder.join("a"), &bytes[..bytes.len() - 1]).unwrap();
        let mut said = Vec::new();
        let verdict = run(&args(folder, &["a"]), &mut said).unwrap();
        assert_eq!(verdict, Verdict::Failed);
        assert_eq!(read_all(&folder.join("out")).1.len(), 4);
        assert!(String::from_utf8(said).unwrap().contains("after 4 good records"));
    }
}
