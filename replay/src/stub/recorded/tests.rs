use super::super::answer::HUGE_BYTES;
use super::super::read;
use super::*;
use crate::verdict::Failure;
use bytes::Bytes;
use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Origin};
use std::path::Path;

fn request(id: &str, w: u32, domain: &str) -> String {
    format!(
        r#"{{"id":"{id}","imp":[{{"id":"i-{id}","banner":{{"w":{w},"h":50}}}}],"site":{{"domain":"{domain}"}},"device":{{"ua":"u"}}}}"#
    )
}

fn answer(id: &str, price: u32) -> String {
    format!(r#"{{"id":"{id}","seatbid":[{{"bid":[{{"impid":"i-{id}","price":{price}}}]}}]}}"#)
}

fn call(id: &str, status: u16, no_answer: &str, body: &str) -> RecordedCall {
    RecordedCall {
        bidder: "b".to_owned(),
        sent: Duration::ZERO,
        took: Duration::from_millis(7),
        status,
        no_answer: no_answer.to_owned(),
        request: Bytes::from(request(id, 320, "one.example")),
        answer: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn capture(path: &Path, calls: Vec<RecordedCall>) {
    let header = Header {
        origin: Origin::Recorded,
        started_us: 0,
        writer: "test".to_owned(),
        pseudonym_key: None,
        sample_ppm: 1_000_000,
        note: String::new(),
    };
    let file = std::fs::File::create(path).unwrap();
    let mut writer = Writer::new(file, &header, WriterSettings::default()).unwrap();
    let record = Record { calls, ..Record::default() };
    writer.push(&record).unwrap();
    writer.finish().unwrap();
}

fn recorded(calls: Vec<RecordedCall>) -> Result<Recorded, RecordedError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.capture");
    capture(&path, calls);
    Recorded::load(&path, &StubSpec::default())
}

fn said(recorded: &Recorded, body: &str) -> (String, Likeness, Duration) {
    let wanted = read::read(body.as_bytes()).unwrap();
    let (answer, likeness) = recorded.of("b").unwrap().choose(1, &wanted, body.as_bytes()).unwrap();
    let mut out = Vec::new();
    let written = write(&mut out, &answer.act, &wanted);
    if !out.is_empty() {
        assert!(out[..written.head].ends_with(b"\r\n\r\n"));
    }
    (String::from_utf8(out).unwrap(), likeness, answer.after)
}

#[test]
fn the_same_request_gets_its_own_answer_and_others_the_nearest() {
    let mut other = call("r2", 200, "", &answer("r2", 9));
    other.request = Bytes::from(request("r2", 728, "two.example"));
    let recorded = recorded(vec![call("r1", 200, "", &answer("r1", 5)), other]).unwrap();
    assert_eq!(recorded.taken, Taken { answers: 2, ..Taken::default() });

    let (text, likeness, after) = said(&recorded, &request("r1", 320, "one.example"));
    assert!(text.ends_with(&answer("r1", 5)), "{text}");
    assert_eq!((likeness, after), (Likeness::Same, Duration::from_millis(7)));

    // a loop: a fresh id of the request, the same imp
    let again = request("r1", 320, "one.example").replacen("r1", "fresh", 1);
    let (text, likeness, _) = said(&recorded, &again);
    assert!(text.ends_with(&answer("r1", 5).replacen("r1", "fresh", 1)), "{text}");
    assert_eq!(likeness, Likeness::Alike);

    let (text, likeness, _) = said(&recorded, &request("r3", 728, "three.example"));
    assert!(text.ends_with(&answer("r3", 9)), "{text}");
    assert_eq!(likeness, Likeness::Offer);
    assert_eq!(said(&recorded, &request("r4", 1, "four.example")).1, Likeness::Any);
}

#[test]
fn a_draw_follows_from_the_seed_and_reaches_every_answer() {
    let calls = (0..8).map(|n| call(&format!("r{n}"), 200, "", &answer(&format!("r{n}"), n)));
    let recorded = recorded(calls.collect()).unwrap();
    let prices = || -> Vec<String> {
        (0..200)
            .map(|n| said(&recorded, &request(&format!("x{n}"), 320, "other.example")).0)
            .map(|text| text.split_once("price").unwrap().1.to_owned())
            .collect()
    };
    let seen: std::collections::BTreeSet<String> = prices().into_iter().collect();
    assert_eq!(seen.len(), 8);
    assert_eq!(prices(), prices());
}

#[test]
fn statuses_faults_and_delays_are_as_recorded() {
    for (status, no_answer, body, expected) in [
        (204, "no_bid", "", "HTTP/1.1 204 No Content\r\n\r\n"),
        (503, "server_status", "down", "HTTP/1.1 503 Service Unavailable\r\n"),
        (200, "not_json", "<html>", "HTTP/1.1 200 OK\r\n"),
        (0, "broken", "", ""),
        (0, "late", "", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let recorded = recorded(vec![call("r1", status, no_answer, body)]).unwrap();
        let (text, _, after) = said(&recorded, &request("r1", 320, "one.example"));
        assert!(text.starts_with(expected), "{no_answer}: {text}");
        assert!(text.ends_with(body), "{no_answer}: {text}");
        assert_eq!(text.is_empty(), expected.is_empty(), "{no_answer}");
        let late = if no_answer == "late" { 400 } else { 0 };
        assert_eq!(after, Duration::from_millis(7 + late), "{no_answer}");
    }
    let recorded = recorded(vec![call("r1", 200, "too_large", "")]).unwrap();
    assert!(said(&recorded, &request("r1", 320, "one.example")).0.len() > HUGE_BYTES);
}

#[test]
fn a_recording_without_what_bidders_said_is_refused_by_name() {
    // what is known of them: that there was an answer, and that gavel had no connection to spare
    let calls = vec![call("r1", 200, "", ""), call("r1", 0, "pool_full", "")];
    let fault = recorded(calls).unwrap_err().to_string();
    assert!(fault.contains("a.capture has no exchange with a bidder"), "{fault}");
    assert!(fault.contains("(1 records)"), "{fault}");
    let missing = Recorded::load(Path::new("no-such.capture"), &StubSpec::default());
    assert!(missing.unwrap_err().to_string().starts_with("no-such.capture cannot"));
}

#[test]
fn answers_beyond_the_memory_allowed_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.capture");
    let bodies: Vec<String> = (0..4).map(|n| answer(&format!("r{n}"), n)).collect();
    let calls = bodies.iter().enumerate().map(|(n, body)| call(&format!("r{n}"), 200, "", body));
    capture(&path, calls.collect());
    let spec = StubSpec { recorded_bytes_max: bodies[0].len() * 3, ..StubSpec::default() };
    let recorded = Recorded::load(&path, &spec).unwrap();
    assert_eq!(recorded.taken, Taken { answers: 3, beyond: 1, ..Taken::default() });
}

#[test]
fn of_a_file_that_is_cut_short_what_stands_before_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.capture");
    capture(&path, vec![call("r1", 200, "", &answer("r1", 5))]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let recorded = Recorded::load(&path, &StubSpec::default()).unwrap();
    assert_eq!(recorded.taken.answers, 1);
    assert!(recorded.taken.damage.unwrap().contains("after 1 good records"));
    std::fs::write(&path, &bytes[..40]).unwrap();
    let fault = Failure::usage(Recorded::load(&path, &StubSpec::default()).unwrap_err()).chain();
    assert_eq!(fault.matches("at byte 0").count(), 1, "{fault}");
}
