//! Round trips, and damage at every byte.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use super::*;
use crate::capture::format::{INDEX_ENTRY_BYTES, MAGIC, START_BYTES};
use crate::capture::write::{Writer, WriterSettings};
use crate::capture::{Origin, RecordedCall, RecordedOutcome, Stratum, format};
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::Cursor as IoCursor;
use std::time::Duration;

fn header() -> Header {
    Header {
        origin: Origin::Synthetic,
        started_us: 1_763_788_500_000_000,
        writer: "test".to_owned(),
        pseudonym_key: Some("k1".to_owned()),
        sample_ppm: 1_000,
        note: "é".to_owned(),
    }
}

fn written(records: &[Record], settings: WriterSettings) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header(), settings).unwrap();
    for record in records {
        writer.push(record).unwrap();
    }
    assert_eq!(writer.records(), records.len() as u64);
    writer.finish().unwrap()
}

const SMALL: WriterSettings = WriterSettings { block_bytes: 4 << 10, level: 1 };

/// What can be read, and what ended it.
fn read_all(bytes: &[u8]) -> (Vec<Record>, Option<CaptureError>) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut found = Vec::new();
    let mut record = Record::default();
    loop {
        match reader.next(&mut record) {
            Ok(true) => found.push(record.clone()),
            Ok(false) => return (found, None),
            Err(error) => {
                assert!(!reader.next(&mut record).unwrap(), "nothing after an error");
                return (found, Some(error));
            }
        }
    }
}

/// A file of three blocks.
fn example() -> (Vec<Record>, Vec<u8>) {
    let record = |number: u64| Record {
        at: Duration::from_micros(number * 10),
        connection: number,
        partner: "p".to_owned(),
        method: "POST".to_owned(),
        path: "/openrtb2/p".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: format!("{{\"id\":\"r-{number}\"}}").into(),
        stratum: Stratum::ALL[usize::try_from(number).unwrap() % 5],
        outcome: Some(RecordedOutcome { status: 204, ..RecordedOutcome::default() }),
        calls: vec![RecordedCall { bidder: "b".to_owned(), ..RecordedCall::default() }],
    };
    let records: Vec<Record> = (0..6).map(record).collect();
    let mut writer = Writer::new(Vec::new(), &header(), SMALL).unwrap();
    for pair in records.chunks(2) {
        for record in pair {
            writer.push(record).unwrap();
        }
        writer.flush_block().unwrap();
    }
    (records, writer.finish().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9/é ]{0,12}"]
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![0_u64..1_000, any::<u64>()].prop_map(Duration::from_micros)
}

prop_compose! {
    fn call()(
        (bidder, no_answer) in (text(), text()),
        (sent, took) in (time(), time()),
        status in any::<u16>(),
        (request, answer) in (blob(), blob()),
    ) -> RecordedCall {
        RecordedCall { bidder, sent, took, status, no_answer, request, answer }
    }
}

prop_compose! {
    fn outcome()(
        status in any::<u16>(),
        reason in text(),
        took in time(),
        generation in any::<u64>(),
        body in blob(),
    ) -> RecordedOutcome {
        RecordedOutcome { status, reason, took, generation, body }
    }
}

prop_compose! {
    fn record()(
        (at, connection) in (time(), any::<u64>()),
        (partner, method, path) in (text(), text(), text()),
        headers in vec((text(), text()), 0..4),
        body in blob(),
        stratum in 0_usize..5,
        outcome in proptest::option::of(outcome()),
        calls in vec(call(), 0..3),
    ) -> Record {
        let stratum = Stratum::ALL[stratum];
        Record { at, connection, partner, method, path, headers, body, stratum, outcome, calls }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in vec(record(), 0..40)) {
        let bytes = written(&records, SMALL);
        let (found, error) = read_all(&bytes);
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(found, records);
    }

    #[test]
    fn any_bytes_behind_a_start_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        let (_, mut file) = example();
        file.truncate(START_BYTES + serde_json::to_vec(&header()).unwrap().len());
        file.extend_from_slice(&bytes);
        prop_assert!(read_all(&file).1.is_some());
    }
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_blocks_and_says_where_it_ends() {
    let (records, bytes) = example();
    for cut in 0..bytes.len() {
        let (found, error) = read_all(&bytes[..cut]);
        let error = error.unwrap_or_else(|| panic!("cut at {cut} went unnoticed"));
        match error.kind {
            CaptureErrorKind::Truncated(_) => {}
            CaptureErrorKind::Foreign(_) if cut == 0 => {}
            other => panic!("cut at {cut}: {other:?}"),
        }
        assert_eq!(found, records[..found.len()], "cut at {cut}");
        assert_eq!(error.good, found.len() as u64, "cut at {cut}");
        assert!(error.offset <= cut as u64, "cut at {cut}: offset {}", error.offset);
        assert_eq!(found.len() % 2, 0, "cut at {cut}: whole blocks of two");
    }
    let tail = 12 + 3 * INDEX_ENTRY_BYTES + END_BYTES;
    assert_eq!(read_all(&bytes[..bytes.len() - tail]).0, records, "only the index is missing");
}

#[test]
fn a_flip_of_any_bit_is_noticed_and_what_stands_before_it_is_good() {
    let (records, bytes) = example();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            let (found, error) = read_all(&broken);
            let error = error.unwrap_or_else(|| panic!("flip at {at}.{bit} went unnoticed"));
            assert_eq!(found, records[..found.len()], "flip at {at}.{bit}");
            assert_eq!(error.good, found.len() as u64);
            assert!(error.offset <= at as u64, "flip at {at}.{bit}: offset {}", error.offset);
            let Ok(mut reader) = Reader::new(IoCursor::new(broken)) else { continue };
            let index = reader.index().unwrap();
            assert!(index.records() <= 6, "flip at {at}.{bit}: {index:?}");
        }
    }
}

#[test]
fn what_is_no_capture_is_told_from_a_newer_one() {
    let kind = |bytes: &[u8]| read_all(bytes).1.unwrap().kind;
    assert!(matches!(kind(b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n"), CaptureErrorKind::Foreign(_)));
    assert!(matches!(kind(b""), CaptureErrorKind::Foreign(_)));
    assert!(matches!(kind(&MAGIC[..5]), CaptureErrorKind::Truncated(_)));
    let (_, mut newer) = example();
    newer[8] = 2;
    assert!(matches!(kind(&newer), CaptureErrorKind::Newer(2)));
    let (_, mut more) = example();
    more.push(0);
    let (found, error) = read_all(&more);
    assert_eq!(found.len(), 6);
    assert!(matches!(error.unwrap().kind, CaptureErrorKind::Trailing));
}

/// One block with these records, already encoded, with checksums that hold.
fn forged(raw: &[u8], count: u32, raw_length: u32) -> Vec<u8> {
    let (_, mut file) = example();
    file.truncate(START_BYTES + serde_json::to_vec(&header()).unwrap().len());
    let packed = zstd::bulk::compress(raw, 1).unwrap();
    let mut head = format::BLOCK.to_vec();
    head.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
    head.extend_from_slice(&raw_length.to_le_bytes());
    head.extend_from_slice(&count.to_le_bytes());
    head.extend_from_slice(&[0; 16]);
    head.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    file.extend_from_slice(&head);
    file.extend_from_slice(&packed);
    file
}

fn forged_fault(raw: &[u8], count: u32) -> CaptureErrorKind {
    let length = u32::try_from(raw.len()).unwrap();
    read_all(&forged(raw, count, length)).1.unwrap().kind
}

#[test]
fn fields_of_a_later_minor_version_are_passed_over() {
    // connection 7, an unknown field of two bytes, path "/x"
    let raw = b"\x0c\x02\x01\x07\xc8\x01\x02ab\x05\x02/x";
    let (found, error) = read_all(&forged(raw, 1, 13));
    assert_eq!((found[0].connection, found[0].path.as_str()), (7, "/x"));
    assert!(matches!(error.unwrap().kind, CaptureErrorKind::Truncated(_)), "no index");
}

#[test]
fn a_block_that_lies_is_refused_without_room_for_it() {
    let bomb = vec![0; 1 << 20];
    let limit = |bytes: &[u8]| read_all(bytes).1.unwrap().kind;
    for (claimed, what) in [(1 << 10, "less"), (2 << 20, "more")] {
        let kind = limit(&forged(&bomb, 1, claimed));
        assert!(matches!(kind, CaptureErrorKind::Content(_)), "{what}: {kind:?}");
    }
    let kind = limit(&forged(&bomb, 1, 1 << 30));
    assert!(matches!(kind, CaptureErrorKind::Limit { max: 16_777_216, .. }), "{kind:?}");
    let kind = limit(&forged(b"", u32::MAX, 0));
    assert!(matches!(kind, CaptureErrorKind::Limit { .. }), "{kind:?}");
    assert!(matches!(forged_fault(b"", 1), CaptureErrorKind::Content(_)), "a record too few");
    assert!(matches!(forged_fault(b"\x00\x00", 1), CaptureErrorKind::Content(_)), "one too many");
    assert!(matches!(forged_fault(b"\xff\xff\xff\x7f", 1), CaptureErrorKind::Limit { .. }));
    assert!(matches!(forged_fault(&[0xff; 11], 1), CaptureErrorKind::Content(_)), "no number");
    assert!(matches!(forged_fault(b"\x03\x08\x01\x05", 1), CaptureErrorKind::Content(_)));
    assert!(matches!(forged_fault(b"\x03\x05\x01\xff", 1), CaptureErrorKind::Content(_)));
    // 5,000 empty headers: 2 bytes each
    let mut many = vec![0x90, 0x4e];
    many.extend_from_slice(&[6, 0].repeat(5_000));
    assert!(matches!(forged_fault(&many, 1), CaptureErrorKind::Limit { max: 127, .. }));
    let mut unknown = vec![0x90, 0x4e];
    unknown.extend_from_slice(&[77, 0].repeat(5_000));
    assert!(matches!(forged_fault(&unknown, 1), CaptureErrorKind::Limit { max: 4096, .. }));
}

#[test]
fn a_record_over_a_cap_is_refused_and_the_file_stays_good() {
    let mut writer = Writer::new(Vec::new(), &header(), SMALL).unwrap();
    let huge = Record { body: vec![0; 9 << 20].into(), ..Record::default() };
    assert_eq!(writer.push(&huge).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let call = RecordedCall::default();
    let many = Record { calls: vec![call; 1025], ..Record::default() };
    assert_eq!(writer.push(&many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let large = Record { body: vec![7; 7 << 20].into(), ..Record::default() };
    writer.push(&large).unwrap();
    let (found, error) = read_all(&writer.finish().unwrap());
    assert!(error.is_none());
    assert_eq!(found, [large]);
}

#[test]
fn a_file_is_read_again_from_the_start_and_from_any_block() {
    let (records, bytes) = example();
    let mut reader = Reader::new(IoCursor::new(bytes.clone())).unwrap();
    let mut record = Record::default();
    for _ in 0..3 {
        let index = reader.index().unwrap();
        assert!(!index.is_rebuilt);
        assert_eq!(index.records(), 6);
        for expected in &records {
            assert!(reader.next(&mut record).unwrap());
            assert_eq!(&record, expected);
            assert_eq!(reader.index().unwrap(), index, "also under way");
        }
        assert!(!reader.next(&mut record).unwrap());
        reader.rewind().unwrap();
    }
    let last = reader.index().unwrap().blocks[2];
    assert_eq!((last.first_us, last.count), (40, 2));
    reader.seek(&last).unwrap();
    assert!(reader.next(&mut record).unwrap());
    assert_eq!(record, records[4]);

    let torn = &bytes[..bytes.len() - 50];
    let mut reader = Reader::new(IoCursor::new(torn)).unwrap();
    let index = reader.index().unwrap();
    assert!(index.is_rebuilt);
    assert_eq!((index.blocks.len(), index.records()), (3, 6));
}

#[test]
fn the_room_of_a_block_is_used_again_once_its_bodies_are_gone() {
    let (_, bytes) = example();
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let mut record = Record::default();
    let mut places = Vec::new();
    while reader.next(&mut record).unwrap() {
        places.push(reader.raw.as_ptr());
    }
    assert_eq!(places[0], places[5], "{places:?}");
}
