//! Queues that are full, disks that are gone, and what comes to the file.

use super::*;
use crate::capture::read;
use crate::capture::rotate::finished;
use crate::capture::write::WriterSettings;
use std::path::Path;

fn settings(directory: &Path) -> CaptureSettings {
    CaptureSettings {
        files: RotateSettings {
            directory: directory.to_owned(),
            prefix: "t".to_owned(),
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(60),
            kept_bytes_max: 1 << 30,
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
    recording.offer(record(r#"{"user":{"id":"u-1"}}"#));
    recording.offer(record("{broken jo@mail.example"));
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
fn a_full_queue_drops_and_counts_and_never_waits() {
    let counters: Arc<Counters> = Arc::default();
    let folder = tempfile::tempdir().unwrap();
    let (queue, records) = sync_channel(2);
    let recording = Recording {
        settings: CaptureSettings { queue_bytes_max: 2_000, ..settings(folder.path()) },
        began: clock::monotonic(),
        number: 1,
        queue,
        thread: thread::current(),
        counters: Arc::clone(&counters),
        stop: Arc::default(),
    };
    (0..5).for_each(|_| recording.offer(record("{}")));
    assert_eq!((counters.queued(), counters.dropped(Dropped::QueueFull)), (2, 3));
    drop(records.recv().unwrap());
    recording.offer(Record { body: vec![b' '; 2_000].into(), ..Record::default() });
    assert_eq!(counters.dropped(Dropped::QueueFull), 4, "by bytes");
    drop(records);
    recording.offer(record("{}"));
    assert_eq!(counters.dropped(Dropped::Stopped) + counters.dropped(Dropped::QueueFull), 5);
}

#[test]
fn a_folder_that_is_not_there_costs_records_only() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let recording = recorder.apply(Some(&settings(&folder.path().join("none")))).unwrap();
    (0..3).for_each(|_| recording.offer(record("{}")));
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
