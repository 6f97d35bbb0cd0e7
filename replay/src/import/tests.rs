//! Files as the tools write them, made from generated requests.

use super::command::{Format, read};
use super::input::Input;
use super::sink::{Account, Sink, SinkSettings};
use super::{ImportError, Skip, gor, lines};
use crate::generate::{GenerateSettings, Generator};
use gavel::capture::form::PseudonymKey;
use gavel::capture::pseudonym::Pseudonymiser;
use gavel::capture::read::Reader;
use gavel::capture::{Header, Origin, Record};
use proptest::prelude::*;
use std::io::Write;
use std::time::Duration;

fn header() -> Header {
    Header {
        origin: Origin::Imported,
        started_us: 0,
        writer: "test".to_owned(),
        pseudonym_key: None,
        sample_ppm: 1_000_000,
        note: String::new(),
    }
}

/// What an import gives: its account, its records and how it ended.
type Given = (Account, Vec<Record>, Result<(), ImportError>);

pub(super) fn imported(format: Format, bytes: &[u8], settings: &SinkSettings) -> Given {
    let mut sink = Sink::new(Vec::new(), header(), settings, None);
    let mut input = Input::new(bytes);
    let ended = read(format, &mut input, &mut sink);
    let (account, written) = sink.finish().unwrap();
    let mut records = Vec::new();
    if let Some(bytes) = written {
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let mut record = Record::default();
        while reader.next(&mut record).unwrap() {
            records.push(record.clone());
        }
    }
    assert_eq!(account.imported, records.len() as u64);
    (account, records, ended)
}

fn all(format: Format, bytes: &[u8]) -> (Account, Vec<Record>) {
    let (account, records, ended) = imported(format, bytes, &SinkSettings::default());
    ended.unwrap();
    (account, records)
}

pub(super) fn body(number: u64) -> Vec<u8> {
    let mut body = Vec::new();
    Generator::new(GenerateSettings::default()).write(number, &mut body);
    body
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

pub(super) fn post(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST /openrtb2/acme HTTP/1.1\r\nHost: exchange.example\r\nContent-Type: application/json\r\n\
         Cookie: a=b\r\nX-OpenRTB-Version: 2.5\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A GoReplay id: ports and address of the client, and a number.
fn id(client: u64, number: u64) -> String {
    format!("{client:04x}1f90c0000201{number:08x}")
}

fn record(head: &str, payload: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\n", payload, gor::SEPARATOR].concat()
}

/// `count` requests, each with its answer behind the next request.
fn gor_file(count: u64) -> Vec<u8> {
    let mut file = Vec::new();
    let at = |number: u64| 1_763_000_000_000_000_000 + number * 2_000_000;
    let answered = |number: u64| {
        let head = format!("2 {} {} 700", id(number % 3, number), at(number) + 5_000_000);
        record(&head, &answer(&format!("{{\"id\":\"{number}\"}}")))
    };
    for number in 0..count {
        let head = format!("1 {} {} 0", id(number % 3, number), at(number));
        file.extend(record(&head, &post(&body(number))));
        if number > 0 {
            file.extend(answered(number - 1));
        }
    }
    file.extend(answered(count - 1));
    file
}

fn check_requests(records: &[Record], count: u64) {
    assert_eq!(records.len() as u64, count);
    for (number, record) in (0..).zip(records) {
        assert_eq!(record.body, body(number), "request {number}");
        assert_eq!((record.method.as_str(), record.path.as_str()), ("POST", "/openrtb2/acme"));
        assert_eq!(record.partner, "acme");
        let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type", "x-openrtb-version"]);
    }
}

#[test]
fn goreplay_requests_are_joined_with_their_answers() {
    let file = gor_file(400);
    for bytes in [file.clone(), gzip(&file)] {
        let (account, records) = all(Format::Gor, &bytes);
        check_requests(&records, 400);
        assert_eq!((account.answered, account.skipped.len()), (400, 0));
        for (number, record) in (0_u32..).zip(&records) {
            assert_eq!(record.at, Duration::from_millis(2) * number);
            assert_eq!(record.connection, u64::from(number % 3) + 1);
            let outcome = record.outcome.as_ref().unwrap();
            assert_eq!((outcome.status, outcome.took), (200, Duration::from_millis(5)));
            assert_eq!(outcome.body, format!("{{\"id\":\"{number}\"}}"));
        }
    }
}

#[test]
fn a_goreplay_body_may_hold_what_ends_a_record() {
    let tricky = [b"{\"id\":\"".as_slice(), gor::SEPARATOR, b"1 abc 5\n\"}"].concat();
    let mut file = record("1 a1 1000 0", &post(&tricky));
    file.extend(record("1 a2 2000 0", &post(&body(1))));
    // the last may lack its end
    let last = record("1 a3 3000 0", &post(&body(2)));
    file.extend(&last[..last.len() - gor::SEPARATOR.len()]);
    let (_, records) = all(Format::Gor, &file);
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].body, tricky);
    assert_eq!(records[2].body, body(2));
}

#[test]
fn faulty_goreplay_records_are_skipped_and_located() {
    let good = |id: &str, number| record(&format!("1 {id} 1000 0"), &post(&body(number)));
    let mut file = good("a0", 0);
    let mut faults = Vec::new();
    let mut long = post(&body(9));
    long.truncate(long.len() - 10);
    for (skip, bytes) in [
        (Skip::BadRecord, record("7 what is this", b"POST / HTTP/1.1\r\n\r\n")),
        (Skip::BadHttp, record("1 a1 1000 0", b"\x16\x03\x01 no HTTP")),
        (Skip::OtherLength, record("1 a2 1000 0", &long)),
        (Skip::Orphan, record("2 a9 1000 0", &answer("{}"))),
        (Skip::Replayed, record("3 a0 1000 0", &answer("{}"))),
        (Skip::OtherMethod, record("1 a4 1000 0", b"GET /metrics HTTP/1.1\r\n\r\n")),
    ] {
        faults.push((skip, file.len() as u64));
        file.extend(bytes);
        file.extend(good("b0", 1));
    }
    let (account, records) = all(Format::Gor, &file);
    assert_eq!(records.len(), 7, "{account:?}");
    for (skip, offset) in faults {
        assert_eq!(account.skipped.get(&skip), Some(&(1, offset)), "{skip:?}");
    }
}

#[test]
fn a_file_that_breaks_off_gives_what_came_before() {
    let file = gor_file(50);
    let whole = file.len() - file.len() / 3;
    let most = whole as u64;
    let (account, records, ended) = imported(Format::Gor, &file[..whole], &SinkSettings::default());
    let fault = ended.unwrap_err();
    assert!(matches!(fault, ImportError::CutShort { offset, .. } if offset <= most));
    assert!((25..50).contains(&account.imported), "{account:?}");
    assert_eq!(records[7].body, body(7));
    let (_, records, ended) = imported(Format::Gor, b"\x89PNG\r\n", &SinkSettings::default());
    assert!(matches!(ended, Err(ImportError::Foreign { offset: 0, .. })));
    assert_eq!(records, []);
}

#[test]
fn chunked_and_packed_bodies_are_decoded() {
    let packed = gzip(&body(3));
    let head = "POST /openrtb2/acme HTTP/1.1\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut message = head.as_bytes().to_vec();
    for piece in packed.chunks(100) {
        message.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        message.extend_from_slice(piece);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"0\r\n\r\n");
    let mut file = record("1 a0 1000 0", &message);
    file.extend(record(
        "1 a1 1000 0",
        b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ));
    let (account, records) = all(Format::Gor, &file);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].body, body(3));
    assert_eq!(account.skipped[&Skip::BadCoding].0, 1);
}

#[test]
fn what_pages_send_is_read_as_prebid_js_packs_it() {
    let sent = |query: &str, more: &str, body: &[u8]| {
        let head = format!(
            "POST /openrtb2/acme{query} HTTP/1.1\r\nOrigin: https://news.example\r\n{more}\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        record("1 a0 1000 0", &[head.as_bytes(), body].concat())
    };
    let coded = "Content-Encoding: gzip\r\n";
    for (query, more, packed, path) in [
        ("?gzip=1", "", gzip(&body(3)), "/openrtb2/acme"),
        ("?a=b&gzip=1", "", gzip(&body(3)), "/openrtb2/acme?a=b"),
        ("?gzip=1", coded, gzip(&body(3)), "/openrtb2/acme"),
        // it says so, and did not do it
        ("?gzip=1", "", body(3), "/openrtb2/acme"),
    ] {
        let (account, records) = all(Format::Gor, &sent(query, more, &packed));
        assert_eq!(records.len(), 1, "{query} {more} {account:?}");
        assert_eq!((&records[0].body[..], records[0].path.as_str()), (&body(3)[..], path));
        assert!(records[0].headers.contains(&("origin".into(), "https://news.example".into())));
    }
}

#[test]
fn only_what_is_asked_for_is_taken() {
    let file = gor_file(10);
    let only = |settings: SinkSettings| imported(Format::Gor, &file, &settings).0;
    let prefix =
        |path: &str| SinkSettings { path_prefix: Some(path.to_owned()), ..SinkSettings::default() };
    assert_eq!(only(prefix("/openrtb2/")).imported, 10);
    assert_eq!(only(prefix("/other")).skipped[&Skip::OtherPath].0, 10);
    let host = |host: &str| SinkSettings { host: Some(host.to_owned()), ..SinkSettings::default() };
    assert_eq!(only(host("exchange.example")).imported, 10);
    assert_eq!(only(host("other.example")).skipped[&Skip::OtherHost].0, 10);
    let path =
        SinkSettings { set_path: Some("/openrtb2/demo".to_owned()), ..SinkSettings::default() };
    let (_, records, _) = imported(Format::Gor, &file, &path);
    assert_eq!((records[0].path.as_str(), records[0].partner.as_str()), ("/openrtb2/demo", "demo"));
}

fn har_entry(number: u64) -> serde_json::Value {
    serde_json::json!({
        "startedDateTime": format!("2026-11-22T05:00:{:02}.250Z", number % 60),
        "time": 12.5,
        "connection": "443",
        "request": {
            "method": "POST", "url": "https://exchange.example/openrtb2/acme", "httpVersion": "h2",
            "headers": [{"name": "Content-Type", "value": "application/json"},
                {"name": "X-OpenRTB-Version", "value": "2.5"},
                {"name": "Content-Encoding", "value": "gzip"}],
            "postData": {"mimeType": "application/json", "text": String::from_utf8(body(number)).unwrap()}
        },
        "response": {"status": 200, "content": {"size": 2, "encoding": "base64", "text": "e30="}},
        "cache": {}, "timings": {}
    })
}

#[test]
fn http_archives_are_read_entry_by_entry() {
    let mut entries: Vec<_> = (0..30).map(har_entry).collect();
    entries[5]["startedDateTime"] = "yesterday".into();
    entries[6]["request"] = 5.into();
    entries[7]["request"]["postData"]["encoding"] = "rot13".into();
    let archive = serde_json::json!({"log": {"version": "1.2", "pages": [], "entries": entries, "comment": ""}});
    let text = serde_json::to_vec_pretty(&archive).unwrap();
    for bytes in [text.clone(), gzip(&text)] {
        let (account, records) = all(Format::Har, &bytes);
        assert_eq!(records.len(), 27, "{account:?}");
        assert_eq!(account.skipped[&Skip::BadRecord].0, 2);
        assert_eq!(account.skipped[&Skip::BadCoding].0, 1);
        assert_eq!(records[0].body, body(0));
        assert_eq!((records[26].at, records[0].connection), (Duration::from_secs(29), 443));
        let outcome = records[0].outcome.as_ref().unwrap();
        assert_eq!((outcome.status, &outcome.body[..]), (200, &b"{}"[..]));
        assert_eq!(outcome.took, Duration::from_micros(12_500));
    }
    let cut = &text[..text.len() / 2];
    let (account, _, ended) = imported(Format::Har, cut, &SinkSettings::default());
    let fault = ended.unwrap_err();
    assert!(
        matches!(fault, ImportError::CutShort { offset, .. } if offset == cut.len() as u64),
        "{fault}"
    );
    assert!(account.imported > 5);
    let (_, _, ended) = imported(Format::Har, b"{\"logs\":{}}", &SinkSettings::default());
    assert!(ended.unwrap_err().to_string().contains("missing field `log`"));
}

#[test]
fn what_a_browser_keeps_beside_a_request_costs_no_request() {
    let entries: Vec<_> = (0..4).map(har_entry).collect();
    let archive = |entries: &[serde_json::Value]| {
        serde_json::json!({"log": {"version": "1.2", "entries": entries}}).to_string()
    };
    let film = "\\u00e9x".repeat(3 << 20);
    for (place, value, imported, answered) in [
        ("/time", "null".to_owned(), 4, 4),
        ("/response", "7".to_owned(), 4, 3),
        ("/response", "null".to_owned(), 4, 3),
        ("/response/content/text", "null".to_owned(), 4, 4),
        ("/response/content/text", format!("\"{film}\\\\\""), 4, 4),
        ("/cache", format!("[\"{film}\"]"), 4, 4),
        ("/request/postData/text", format!("\"{film}\""), 3, 3),
    ] {
        let mut entries = entries.clone();
        *entries[1].pointer_mut(place).unwrap() = "HERE".into();
        let text = archive(&entries).replace("\"HERE\"", &value);
        let (account, records) = all(Format::Har, text.as_bytes());
        assert_eq!((account.imported, account.answered), (imported, answered), "{place}");
        assert_eq!(records[records.len() - 1].body, body(3), "{place}");
    }
}

#[test]
fn files_are_known_by_what_they_hold() {
    for (text, expected) in [
        ("{\"log\":{}}", Some(Format::Har)),
        ("\u{feff}{ \"log\" : {}}", Some(Format::Har)),
        ("{\"_meta\":1,\"x\":{\"id\":[\"}\\\"\"]},\"log\":{\"entries\":[", Some(Format::Har)),
        ("{\"log\":1}", Some(Format::Jsonl)),
        ("{\"id\":\"1\",\"log\":{}}", Some(Format::Jsonl)),
        ("{\"a\":1}\n{\"log\":{}}", Some(Format::Jsonl)),
        ("[Host: a]\n", Some(Format::Yandex)),
        ("5 /x\n", Some(Format::Yandex)),
        ("what", None),
    ] {
        assert_eq!(Format::of(text.as_bytes()), expected, "{text}");
    }
    for (text, expected) in
        [("[{\"id\":\"1\"}]", true), (" [\n\"a\"]", true), ("[]", true), ("[Host: a]", false)]
    {
        assert_eq!(lines::is_array(text.as_bytes()), expected, "{text}");
    }
    let (_, _, ended) = imported(Format::Jsonl, b"[{\"id\":\"1\"}]", &SinkSettings::default());
    assert!(ended.unwrap_err().to_string().contains("JSON array"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let line = [b"\xef\xbb\xbf", &body(0)[..], b"\n"].concat();
    assert_eq!(all(Format::Jsonl, &line).1[0].body, body(0));
    let text = serde_json::json!({"log": {"entries": [har_entry(0)]}}).to_string();
    assert_eq!(all(Format::Har, &[b"\xef\xbb\xbf", text.as_bytes()].concat()).1.len(), 1);
}

#[test]
fn a_small_packed_file_that_breaks_off_gives_what_came_before() {
    let file = gor_file(3);
    let packed = gzip(&file);
    for cut in [8, 1] {
        let (account, records, ended) =
            imported(Format::Gor, &packed[..packed.len() - cut], &SinkSettings::default());
        assert!(matches!(ended, Err(ImportError::CutShort { what: "a gzip stream", .. })));
        assert!(account.imported >= 2, "{account:?}");
        assert_eq!(records[0].body, body(0));
    }
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("a.gor.gz");
    std::fs::write(&name, &packed[..packed.len() - 8]).unwrap();
    let mut input = Input::new(std::fs::File::open(&name).unwrap());
    assert_eq!(super::command::recognise(&name, &mut input).unwrap(), Format::Gor);
}

#[test]
fn lines_may_be_requests_alone_or_with_their_circumstances() {
    let mut file = body(0);
    file.push(b'\n');
    let text = String::from_utf8(body(1)).unwrap();
    file.extend(format!("{{\"src\":\"x\",\"request\":{text}}}\n\n").bytes());
    file.extend(format!("{{\"at\":1.5,\"path\":\"/openrtb2/acme\",\"headers\":{{\"X-OpenRTB-Version\":\"2.6\"}},\"connection\":4,\"body\":{text}}}\n").bytes());
    let quoted = serde_json::to_string(&text).unwrap();
    file.extend(
        format!(
            "{{\"at\":\"1970-01-01T00:00:02Z\",\"uri\":\"/openrtb2/acme\",\"body\":{quoted}}}\n"
        )
        .bytes(),
    );
    file.extend(b"not json\n{\"a\":1}\n[]\n{\"at\":\"soon\",\"body\":{}}\n");
    let (account, records) = all(Format::Jsonl, &file);
    assert_eq!(records.len(), 4, "{account:?}");
    assert_eq!((&records[0].body[..], &records[1].body[..]), (&body(0)[..], &body(1)[..]));
    // at the rate of 100/s where there is no time
    assert_eq!(records[1].at, Duration::from_millis(10));
    assert_eq!(
        (records[2].at, records[3].at),
        (Duration::from_millis(1_500), Duration::from_secs(2))
    );
    assert_eq!((records[2].connection, &records[2].body[..]), (4, &body(1)[..]));
    assert_eq!(records[2].headers, [("x-openrtb-version".to_owned(), "2.6".to_owned())]);
    assert_eq!(records[3].body, body(1));
    assert_eq!(records[0].path, "/openrtb2/demo");
    let skipped: Vec<_> =
        account.skipped.iter().map(|(skip, (count, _))| (*skip, *count)).collect();
    assert_eq!(skipped, [(Skip::NotJson, 1), (Skip::NotARequest, 2), (Skip::BadRecord, 1)]);
}

#[test]
fn ammunition_is_read_raw_and_with_uris() {
    let mut phantom = Vec::new();
    let mut uripost =
        b"[Host: exchange.example]\n[X-OpenRTB-Version: 2.5]\n[Content-Type: application/json]\n"
            .to_vec();
    for number in 0..5 {
        let message = post(&body(number));
        phantom.extend(format!("{} tag\n", message.len()).bytes());
        phantom.extend(&message);
        phantom.push(b'\n');
        uripost.extend(format!("{} /openrtb2/acme tag\n", body(number).len()).bytes());
        uripost.extend(body(number));
        uripost.push(b'\n');
    }
    phantom.extend(b"0\n");
    let (_, records) = all(Format::Yandex, &phantom);
    check_requests(&records, 5);
    let (_, records) = all(Format::Yandex, &uripost);
    assert_eq!(records.len(), 5);
    assert_eq!(records[4].body, body(4));
    assert_eq!(records[4].at, Duration::from_millis(40));
    let cut = &uripost[..uripost.len() - 50];
    let (account, _, ended) = imported(Format::Yandex, cut, &SinkSettings::default());
    assert!(matches!(ended, Err(ImportError::CutShort { .. })));
    assert_eq!(account.imported, 4);
    let (_, _, ended) = imported(Format::Yandex, b"5 /x\nabcde\nwhat?\n", &SinkSettings::default());
    assert!(matches!(ended, Err(ImportError::Foreign { offset: 11, .. })));
}

#[test]
fn what_is_personal_is_replaced_and_what_is_opaque_is_left_out() {
    let personal = r#"{"id":"r1","device":{"ip":"198.51.100.77","ifa":"38400000-8cf0-11bd-b23e-10b96e40000d"},"imp":[{"id":"1"}]}"#;
    let mut file = record("1 a1 1000 0", &post(personal.as_bytes()));
    file.extend(record("2 a1 2000 0", &answer("{\"id\":\"r1\"}")));
    file.extend(record("1 a2 3000 0", &post(b"broken ip=198.51.100.77")));
    let pseudonyms = Pseudonymiser::new(PseudonymKey::new("a secret of the tests"));
    let settings = SinkSettings::default();
    let mut sink = Sink::new(Vec::new(), header(), &settings, Some(pseudonyms));
    read(Format::Gor, &mut Input::new(&file[..]), &mut sink).unwrap();
    let (account, written) = sink.finish().unwrap();
    assert_eq!(account.skipped[&Skip::Opaque].0, 1);
    let written = written.unwrap();
    let mut reader = Reader::new(&written[..]).unwrap();
    let mut record = Record::default();
    assert!(reader.next(&mut record).unwrap());
    let body = String::from_utf8(record.body.to_vec()).unwrap();
    assert!(body.starts_with(r#"{"id":"#) && body.ends_with(r#""imp":[{"id":"1"}]}"#), "{body}");
    assert!(!body.contains("198.51.100.77") && !body.contains("8cf0"), "{body}");
    assert!(body.contains(r#""ip":"198.51.100."#), "{body}");
    assert!(!reader.next(&mut record).unwrap());
}

/// What every format must bear: any bytes, and good files with bytes changed or cut off.
fn never_panics(format: Format, bytes: &[u8]) {
    let (account, records, _) = imported(format, bytes, &SinkSettings::default());
    assert_eq!(account.imported, records.len() as u64);
}

const FORMATS: [Format; 5] =
    [Format::Gor, Format::Har, Format::Pcap, Format::Jsonl, Format::Yandex];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_borne(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for format in FORMATS {
            never_panics(format, &bytes);
        }
    }

    #[test]
    fn damaged_files_are_borne(at in 0_usize..30_000, bit in 0_u8..8, cut in 0_usize..30_000) {
        let text = serde_json::json!({"log": {"entries": [har_entry(0), har_entry(1)]}}).to_string();
        for (format, mut bytes) in [(Format::Gor, gor_file(5)), (Format::Har, text.into_bytes())] {
            let length = bytes.len();
            bytes[at % length] ^= 1 << bit;
            never_panics(format, &bytes);
            never_panics(format, &bytes[..cut % length]);
        }
    }
}
