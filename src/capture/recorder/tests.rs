//! Queues that are full, disks that are gone, and what comes to the file.

use super::*;
use crate::capture::chunk::Outlet;
use crate::capture::disguise::UNREADABLE;
use crate::capture::entry::append_record;
use crate::capture::rotate::finished;
use crate::capture::write::WriterSettings;
use crate::capture::{Record, RecordedCall, RecordedOutcome, read};
use bytes::Bytes;
use std::path::Path;

fn settings(directory: &Path) -> CaptureSettings {
    CaptureSettings {
        files: RotateSettings {
            directory: directory.to_owned(),
            prefix: "t".to_owned(),
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(60),
            kept_bytes_max: 1 << 30,
            kept_for: Duration::from_secs(3_600),
            writer: WriterSettings::default(),
        },
        key: PseudonymKey::new("the key of the tests"),
        strata: StrataSettings::default(),
        queue_records: 64,
        queue_bytes_max: 1 << 20,
        bidders: Bidders::Times,
        keeps_unreadable: false,
    }
}

fn record(body: &'static str) -> Record {
    Record { body: Bytes::from_static(body.as_bytes()), ..Record::default() }
}

/// By a worker of its own.
fn offer(recording: &Arc<Recording>, record: &Record) {
    Outlet::new(Arc::clone(recording)).keep(|out| append_record(record, out));
}

/// One without a thread, of which so many chunks may wait.
fn alone(settings: CaptureSettings, chunks: usize) -> (Arc<Recording>, Receiver<Chunk>) {
    let (queue, taken) = sync_channel(chunks);
    let recording = Recording {
        settings,
        began: clock::monotonic(),
        number: 1,
        queue,
        thread: thread::current(),
        counters: Arc::default(),
        room: Arc::default(),
    };
    (Arc::new(recording), taken)
}

fn written(directory: &Path) -> Vec<Record> {
    let mut found = Vec::new();
    for (path, _) in finished(directory, "t").unwrap() {
        let mut reader = read::open(&path).unwrap();
        let mut record = Record::default();
        while reader.next(&mut record).unwrap() {
            found.push(record.clone());
        }
    }
    found
}

#[test]
fn what_is_offered_is_written_with_pseudonyms() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let wanted = settings(folder.path());
    let recording = recorder.apply(Some(&wanted)).unwrap();
    assert!(Arc::ptr_eq(&recording, &recorder.apply(Some(&wanted)).unwrap()), "goes on");
    offer(&recording, &record(r#"{"user":{"id":"u-1"}}"#));
    offer(&recording, &record("{broken jo@mail.example"));
    recorder.stop();
    let found = written(folder.path());
    assert_eq!(found.len(), 2);
    let body = String::from_utf8(found[0].body.to_vec()).unwrap();
    assert!(!body.contains("u-1") && body.starts_with(r#"{"user":{"id":""#), "{body}");
    assert!(found[1].body.is_empty());
    let expected = (UNREADABLE.to_owned(), "23 bytes, begins with an object".to_owned());
    assert_eq!(found[1].headers, [expected]);
    let counters = recorder.counters();
    assert_eq!((counters.records(Stratum::Sample), counters.files(), counters.queued()), (2, 1, 0));
    assert!(counters.bytes() > 100);
}

#[test]
fn what_the_disk_has_not_taken_is_dropped_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let counters = Arc::<Counters>::default();
    let mut writing = Writing::new(&settings(folder.path()), Arc::clone(&counters), Arc::default());
    let mut chunk = Vec::new();
    append_record(&record("{}"), &mut chunk).unwrap();
    let kept = take_part(&mut chunk.as_slice()).unwrap();
    let count = || (counters.records(Stratum::Sample), counters.dropped(Dropped::Write));
    let flush = |writing: &mut Writing| {
        let flushed = writing.rotation.flush();
        writing.heard(flushed);
    };
    (0..3).for_each(|_| writing.write(kept, 0));
    assert_eq!(count(), (0, 0), "in memory");
    flush(&mut writing);
    assert_eq!(count(), (3, 0));
    (0..2).for_each(|_| writing.write(kept, 0));
    writing.heard(Err(io::ErrorKind::StorageFull.into()));
    assert_eq!(count(), (3, 2), "what was in the block");
    writing.heard(Ok(()));
    assert!(writing.fault.is_some(), "nothing has come to the disk since");
    let mut next = Writing::new(&settings(folder.path()), Arc::clone(&counters), Arc::default());
    next.fault = Some(clock::monotonic());
    next.write(kept, 0);
    assert!(next.fault.is_some());
    flush(&mut next);
    assert_eq!((count(), next.fault), ((4, 2), None));
}

#[test]
fn a_full_queue_drops_and_counts_and_never_waits() {
    let wanted = CaptureSettings { queue_bytes_max: 2_000, ..settings(Path::new("")) };
    let (recording, records) = alone(wanted, 2);
    let counters = Arc::clone(&recording.counters);
    (0..5).for_each(|_| offer(&recording, &record("{}")));
    assert_eq!((counters.queued(), counters.dropped(Dropped::QueueFull)), (2, 3));
    drop(records.recv().unwrap());
    offer(&recording, &Record { body: vec![b' '; 2_000].into(), ..Record::default() });
    assert_eq!(counters.dropped(Dropped::QueueFull), 4, "by bytes");
    offer(&recording, &Record { body: vec![b' '; 9 << 20].into(), ..Record::default() });
    assert_eq!(counters.dropped(Dropped::TooLarge), 1);
    let mut chunk = recording.empty_chunk();
    chunk.records = 64;
    recording.offer(chunk);
    assert_eq!(counters.dropped(Dropped::QueueFull), 68, "by records, and all of a chunk");
    assert_eq!(counters.queued(), 2);
    drop(records);
    offer(&recording, &record("{}"));
    assert_eq!(counters.dropped(Dropped::Stopped), 1);
}

#[test]
fn a_worker_hands_over_what_it_has_by_number_by_size_and_at_its_end() {
    let (recording, taken) = alone(settings(Path::new("")), 64);
    let count = || taken.try_iter().map(|chunk| chunk.records).collect::<Vec<_>>();
    let mut outlet = Outlet::new(recording);
    (0..20).for_each(|_| outlet.keep(|out| append_record(&record("{}"), out)));
    assert_eq!(count(), [8, 8], "an eighth of the 64 that may wait");
    let large = Record { body: vec![b' '; 100 << 10].into(), ..Record::default() };
    outlet.keep(|out| append_record(&large, out));
    assert_eq!(count(), [4, 1], "a large one goes alone");
    outlet.keep(|out| append_record(&record("{}"), out));
    outlet.hand_over();
    outlet.hand_over();
    assert_eq!(count(), [1]);
    outlet.keep(|out| append_record(&record("{}"), out));
    drop(outlet);
    assert_eq!(count(), [1]);
}

#[test]
fn a_large_record_goes_alone_and_takes_no_other_with_it() {
    let wanted = CaptureSettings { queue_bytes_max: 64 << 10, ..settings(Path::new("")) };
    let (recording, taken) = alone(wanted, 64);
    let mut outlet = Outlet::new(Arc::clone(&recording));
    let mut keep = |bytes: usize| {
        let body = vec![b' '; bytes].into();
        outlet.keep(|out| append_record(&Record { body, ..Record::default() }, out));
    };
    (0..3).for_each(|_| keep(10));
    keep(100 << 10);
    let [others] = &taken.try_iter().collect::<Vec<_>>()[..] else { panic!("not one chunk") };
    assert_eq!(others.records, 3);
    assert!(others.bytes.capacity() < 1 << 10, "{} for three small ones", others.bytes.capacity());
    assert_eq!(recording.counters.dropped(Dropped::QueueFull), 1, "the large one");
}

#[test]
fn it_ends_when_nobody_can_offer_any_more_or_nobody_will() {
    let folder = tempfile::tempdir().unwrap();
    let (recording, taken) = alone(settings(folder.path()), 64);
    let (counters, room) = (Arc::clone(&recording.counters), Arc::clone(&recording.room));
    let mut writing = Writing::new(&recording.settings, counters, room);
    assert_eq!(writing.look(&taken, false), Next::Rest, "workers may still have something");
    offer(&recording, &record("{}"));
    assert_eq!(writing.look(&taken, false), Next::Rest);
    offer(&recording, &record("[]"));
    assert_eq!(writing.look(&taken, true), Next::Rest, "something came");
    assert_eq!(writing.look(&taken, true), Next::End);
    offer(&recording, &record("1"));
    drop(recording);
    assert_eq!(writing.look(&taken, false), Next::End);
    writing.rotation.close().unwrap();
    assert_eq!(written(folder.path()).len(), 3);
}

#[test]
fn what_stands_behind_a_stalled_recording_keeps_no_other_back() {
    let (stalled, _taken) = alone(settings(Path::new("")), 64);
    (0..64).for_each(|_| offer(&stalled, &record("{}")));
    let (next, taken) = alone(settings(Path::new("")), 64);
    let next =
        Recording { counters: Arc::clone(&stalled.counters), ..Arc::into_inner(next).unwrap() };
    offer(&Arc::new(next), &record("{}"));
    assert_eq!(taken.try_iter().count(), 1);
    assert_eq!((stalled.counters.queued(), stalled.counters.dropped(Dropped::QueueFull)), (65, 0));
}

#[test]
fn records_that_cannot_be_told_apart_are_counted_as_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let recording = recorder.apply(Some(&settings(folder.path()))).unwrap();
    let mut bytes = Vec::new();
    append_record(&record("{}"), &mut bytes).unwrap();
    bytes.push(0x80);
    recording.offer(Chunk { bytes, records: 3 });
    recorder.stop();
    let counters = recorder.counters();
    assert_eq!((counters.records(Stratum::Sample), counters.dropped(Dropped::Write)), (1, 2));
    assert_eq!((written(folder.path()).len(), counters.queued()), (1, 0));
}

#[test]
fn what_cannot_be_read_is_kept_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let wanted = CaptureSettings { keeps_unreadable: true, ..settings(folder.path()) };
    let recording = recorder.apply(Some(&wanted)).unwrap();
    offer(&recording, &record("{broken"));
    recorder.stop();
    let found = written(folder.path());
    assert_eq!((found[0].body.as_ref(), found[0].headers.len()), (b"{broken".as_slice(), 0));
    let (path, _) = finished(folder.path(), "t").unwrap().remove(0);
    let note = read::open(&path).unwrap().header().note.clone();
    assert!(note.contains("bodies that are no JSON are as they came"), "{note}");
}

#[test]
fn every_part_of_a_record_comes_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let recording = recorder.apply(Some(&settings(folder.path()))).unwrap();
    let text = str::to_owned;
    let call = |number: u16| RecordedCall {
        bidder: format!("bidder-{number}"),
        sent: Duration::from_micros(310),
        took: Duration::from_micros(u64::from(number)),
        status: number,
        no_answer: text("late"),
        request: Bytes::from_static(b"{\"id\": \"r\"}"),
        answer: Bytes::from_static(b"[1 ]"),
    };
    let whole = Record {
        at: Duration::from_micros(5),
        connection: 7,
        partner: text("acme"),
        method: text("POST"),
        path: text("/openrtb2/acme?x=1"),
        headers: vec![(text("content-type"), text("application/json"))],
        body: Bytes::from_static(b"{ \"id\":\"r\", \"tmax\":1.0 }"),
        stratum: Stratum::Novel,
        outcome: Some(RecordedOutcome {
            status: 200,
            reason: text("none"),
            took: Duration::from_millis(3),
            generation: 4,
            body: Bytes::from_static(b"{\"cur\":\"USD\"}"),
        }),
        calls: (0..3).map(call).collect(),
    };
    let personal = Record {
        path: text("/openrtb2/acme?uid=u-77&x=1"),
        headers: vec![(text("origin"), text("https://jo@mail.example"))],
        body: Bytes::from_static(b"{\"user\":{\"id\":\"u-77\"}}"),
        outcome: Some(RecordedOutcome {
            body: Bytes::from_static(b"{\"ext\":{\"uid\":\"u-77\"}}"),
            ..RecordedOutcome::default()
        }),
        calls: vec![RecordedCall {
            request: Bytes::from_static(b"{\"user\":{\"id\":\"u-77\"}}"),
            answer: Bytes::from_static(b"{\"x\":\"https://a.example/?uid=u-77\"}"),
            ..call(1)
        }],
        ..whole.clone()
    };
    offer(&recording, &whole);
    offer(&recording, &personal);
    recorder.stop();
    let found = written(folder.path());
    assert_eq!(found[0], whole, "nothing of it is personal");
    let said = format!("{:?}", found[1]);
    assert!(!said.contains("u-77") && !said.contains("mail.example"), "{said}");
    assert!(found[1].path.starts_with("/openrtb2/acme?uid="), "{said}");
    assert_eq!(found[1].calls[0].bidder, "bidder-1");
    assert_eq!(recorder.counters().records(Stratum::Novel), 2);
}

#[test]
fn a_folder_that_is_not_there_costs_records_only() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let recording = recorder.apply(Some(&settings(&folder.path().join("none")))).unwrap();
    (0..3).for_each(|_| offer(&recording, &record("{}")));
    recorder.stop();
    assert_eq!(recorder.counters().dropped(Dropped::Write), 3);
    assert_eq!(recorder.counters().queued(), 0);
}

#[test]
fn a_disk_that_is_full_costs_records_only() {
    // what stands for a full disk on Linux; its files cannot be renamed either
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let file = std::fs::OpenOptions::new().write(true).open(full).unwrap();
    let header = Header {
        origin: Origin::Recorded,
        started_us: 0,
        writer: String::new(),
        pseudonym_key: None,
        sample_ppm: 0,
        note: String::new(),
    };
    let mut writer = crate::capture::write::Writer::new(
        io::BufWriter::new(file),
        &header,
        WriterSettings::default(),
    )
    .unwrap();
    writer.push(&record("{}")).unwrap();
    assert_eq!(writer.finish().map(drop).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
