//! What a record costs once it was offered, in CPU time: as a whole, through the queue and the
//! writing thread, and by its two large parts, pseudonyms and packing.
//!
//! `cargo bench --bench capture -- [--records N] [--rounds 5] [--level N]`; with `--test` it
//! runs once, small. What a worker does before it offers a record is in `limit --capture`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench tells, and may panic")]

use bytes::Bytes;
use clap::Parser;
use gavel::capture::chunk::Outlet;
use gavel::capture::entry::append_record;
use gavel::capture::form::PseudonymKey;
use gavel::capture::pseudonym::Pseudonymiser;
use gavel::capture::recorder::{Bidders, CaptureSettings, Recorder};
use gavel::capture::rotate::RotateSettings;
use gavel::capture::sampler::StrataSettings;
use gavel::capture::write::{LEVEL_OF_SERVER, Writer, WriterSettings};
use gavel::capture::{Header, Origin, Record, RecordedCall, RecordedOutcome, read};
use nix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// Distinct records, as far as the recording goes.
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Level of zstd; else that of a server.
    #[arg(long, allow_hyphen_values = true)]
    level: Option<i32>,
    /// Run once, shortly.
    #[arg(long)]
    test: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn key() -> PseudonymKey {
    PseudonymKey::new("a secret of this bench")
}

/// Letters and digits that do not repeat, as a signed token has them.
fn token(number: u64, length: usize) -> String {
    let mut out = String::new();
    for part in 0.. {
        if out.len() >= length {
            break;
        }
        let mixed = blake3::hash(&[number.to_le_bytes(), u64::to_le_bytes(part)].concat());
        let letter =
            |byte: &u8| char::from(b"ABCDEFGHIJKLMNOPqrstuvwxyz012345"[usize::from(byte % 32)]);
        out.extend(mixed.as_bytes().iter().map(letter));
    }
    out.truncate(length);
    out
}

/// An answer with one bid, as `exchange::respond` writes it.
fn answer(number: u64) -> Bytes {
    let mut out = String::new();
    let creative = number * 31 % 5_000;
    let event = |kind| format!("https://x.example/e/{}", token(number * 2 + kind, 260));
    write!(
        out,
        "{{\"id\":\"{}\",\"seatbid\":[{{\"bid\":[{{\"id\":\"b{number}-1\",\"impid\":\"1\",\
         \"price\":{}.{:02},\"nurl\":\"{}\",\"burl\":\"{}\",\"adm\":\"<a href=\\\"https://bidder-3.\
         example/click?c={creative}&p=1.25\\\" target=\\\"_blank\\\" rel=\\\"noopener\\\"><img \
         src=\\\"https://cdn.bidder-3.example/creatives/{creative:04}/300x250.webp\\\" \
         width=\\\"300\\\" height=\\\"250\\\" alt=\\\"\\\" style=\\\"border:0\\\"></a><img \
         src=\\\"https://bidder-3.example/i?a={}&c={creative}\\\" width=\\\"1\\\" height=\\\"1\\\" \
         alt=\\\"\\\">\",\"adomain\":[\"brand-{}.example\"],\"cid\":\"c{}\",\"crid\":\"bidder-3-\
         {creative:04}\",\"cat\":[\"IAB7\"],\"mtype\":1,\"w\":300,\"h\":250}}],\"seat\":\"bidder-3\
         \"}}],\"cur\":\"USD\"}}",
        token(number, 32),
        number % 7,
        number % 100,
        event(0),
        event(1),
        token(number, 32),
        creative % 300,
        creative / 10,
    )
    .unwrap();
    out.into()
}

/// Bodies that the generator made, as partners send them.
fn requests() -> Vec<Bytes> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/replay/recordings/synthetic.capture");
    let mut reader = read::open(Path::new(path)).unwrap();
    let (mut record, mut bodies) = (Record::default(), Vec::new());
    while reader.next(&mut record).unwrap() {
        bodies.push(Bytes::copy_from_slice(&record.body));
    }
    bodies
}

fn records(count: usize) -> Vec<Record> {
    let requests = requests();
    let call = |number: u64| RecordedCall {
        bidder: format!("bidder-{number}"),
        sent: Duration::from_micros(310 + number),
        took: Duration::from_micros(900 + number * 7),
        status: if number.is_multiple_of(2) { 200 } else { 204 },
        ..RecordedCall::default()
    };
    let text = str::to_owned;
    let record = |(number, body): (u64, Bytes)| Record {
        at: Duration::from_micros(number * 100),
        connection: number % 64,
        partner: format!("p{}", number % 8),
        method: text("POST"),
        path: format!("/openrtb2/p{}", number % 8),
        headers: vec![(text("content-type"), text("application/json"))],
        body,
        outcome: Some(RecordedOutcome {
            status: 200,
            took: Duration::from_micros(1_500 + number % 900),
            generation: 3,
            body: answer(number),
            ..RecordedOutcome::default()
        }),
        calls: (0..5).map(|one| call(number % 50 + one)).collect(),
        ..Record::default()
    };
    (0..).zip(requests.into_iter().take(count)).map(record).collect()
}

fn cpu(clock: ClockId) -> Duration {
    clock_gettime(clock).unwrap().into()
}

/// Microseconds of a record.
fn timed(clock: ClockId, count: usize, what: impl FnOnce()) -> f64 {
    let began = cpu(clock);
    what();
    cpu(clock).saturating_sub(began).as_secs_f64() * 1e6 / count as f64
}

fn header() -> Header {
    Header {
        origin: Origin::Synthetic,
        started_us: 0,
        writer: "bench".to_owned(),
        pseudonym_key: Some(key().name()),
        sample_ppm: 1_000_000,
        note: String::new(),
    }
}

/// Everything that happens to a record from the moment that a worker writes it down.
fn whole(records: &[Record], directory: &Path, writer: WriterSettings) -> f64 {
    let recorder = Recorder::default();
    let settings = CaptureSettings {
        files: RotateSettings {
            directory: directory.to_owned(),
            prefix: "bench".to_owned(),
            bytes_max: 64 << 20,
            age_max: Duration::from_secs(900),
            kept_bytes_max: 64 << 20,
            kept_for: Duration::from_secs(3_600),
            writer,
        },
        key: key(),
        strata: StrataSettings::default(),
        queue_records: records.len() + 1,
        queue_bytes_max: usize::MAX / 2,
        bidders: Bidders::Times,
        keeps_unreadable: false,
    };
    let count = records.len();
    let recording = recorder.apply(Some(&settings)).unwrap();
    let cost = timed(ClockId::CLOCK_PROCESS_CPUTIME_ID, count, || {
        let mut outlet = Outlet::new(recording);
        for record in records {
            outlet.keep(|out| append_record(record, out));
        }
        drop(outlet);
        recorder.stop();
    });
    let written: u64 = gavel::capture::Stratum::ALL
        .iter()
        .map(|stratum| recorder.counters().records(*stratum))
        .sum();
    assert_eq!(written, count as u64, "a drop would have been cheap");
    cost
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.test {
        arguments = Arguments { records: 500, rounds: 1, ..arguments };
    }
    let level = arguments.level.unwrap_or(LEVEL_OF_SERVER);
    let settings = WriterSettings { level, ..WriterSettings::default() };
    let came = records(arguments.records);
    let bytes: usize = came
        .iter()
        .map(|record| record.body.len() + record.outcome.as_ref().map_or(0, |one| one.body.len()))
        .sum();
    println!("{} records, {} B of bodies each", came.len(), bytes / came.len());
    let folder = tempfile::tempdir().unwrap();
    let mut pseudonymiser = Pseudonymiser::new(key());
    for _ in 0..arguments.rounds {
        let thread = ClockId::CLOCK_THREAD_CPUTIME_ID;
        let mut disguised = came.clone();
        let pseudonyms = timed(thread, came.len(), || {
            for record in &mut disguised {
                record.body = pseudonymiser.body(&record.body).unwrap();
                if let Some(outcome) = &mut record.outcome {
                    outcome.body = pseudonymiser.body(&outcome.body).unwrap();
                }
            }
        });
        let mut writer = Writer::new(Vec::new(), &header(), settings).unwrap();
        let packing = timed(thread, came.len(), || {
            for record in &disguised {
                writer.push(record).unwrap();
            }
            writer.flush_block().unwrap();
        });
        let whole = whole(&came, folder.path(), settings);
        println!(
            "pseudonyms {pseudonyms:.2} µs, packing {packing:.2} µs to {} B; as a whole {whole:.2} CPU-µs a record",
            writer.bytes() / came.len() as u64
        );
    }
}
