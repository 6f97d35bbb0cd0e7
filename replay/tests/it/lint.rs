//! Pseudonyms over public requests: nothing personal is left, and nothing else has changed.

use bytes::Bytes;
use gavel::capture::form::{PseudonymKey, is_pseudonym};
use gavel::capture::names::by_path;
use gavel::capture::pseudonym::Pseudonymiser;
use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Origin, Record, personal};
use replay::generate::{GenerateSettings, Generator};
use replay::lint::command::{LintArgs, run};
use replay::lint::{Finding, Lint, What};
use replay::verdict::Verdict;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Beside the checkout, or where `GAVEL_CORPUS` says.
fn corpus() -> Option<Vec<Bytes>> {
    let folder = std::env::var_os("GAVEL_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    );
    let mut found = Vec::new();
    for name in ["requests-rtb4free.jsonl", "requests-iab-converter.jsonl"] {
        let text = std::fs::read_to_string(folder.join(name)).ok()?;
        for line in text.lines() {
            let at = line.find("\"request\":")? + "\"request\":".len();
            found.push(Bytes::copy_from_slice(&line.as_bytes()[at..line.len() - 1]));
        }
    }
    Some(found)
}

fn findings(body: &Bytes) -> Vec<Finding> {
    let mut found = Vec::new();
    let record = Record { body: body.clone(), ..Record::default() };
    Lint::default().record(&record, &mut found);
    // public requests have those, too, of names that say nothing
    found.retain(|finding| finding.what != What::Suspect);
    found
}

/// Both trees are equal but for personal values; gives how many of those there are.
fn compare(path: &mut Vec<String>, old: &Value, new: &Value) -> usize {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            assert_eq!(old.len(), new.len(), "{path:?}");
            let members = old.iter().map(|(name, value)| {
                path.push(name.clone());
                let changed = compare(path, value, &new[name]);
                path.pop();
                changed
            });
            members.sum()
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{path:?}");
            old.iter().zip(new).map(|(old, new)| compare(path, old, new)).sum()
        }
        _ if old == new => 0,
        _ => {
            assert_eq!(old.is_string(), new.is_string(), "{path:?}: {old} {new}");
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let declared = (1..=names.len()).find_map(|end| by_path(&names[..end]));
            let text = old.as_str().unwrap_or_default();
            let treat = declared.or_else(|| personal::by_look(&names, text));
            let is_part = treat.is_none() && !personal::parts(&names, text).is_empty();
            assert!(treat.is_some() || is_part, "{path:?} is not declared: {old} {new}");
            let shown = new.as_str().map_or_else(|| new.to_string(), str::to_owned);
            assert!(treat.is_none_or(|treat| is_pseudonym(treat, &shown)), "{path:?}: {new}");
            1
        }
    }
}

/// Members whose values are personal, looked up by another reader than the one under test.
fn has_person(body: &Bytes) -> bool {
    let Ok(request) = serde_json::from_slice::<Value>(body) else { return false };
    [
        "/device/ip",
        "/device/ifa",
        "/user/id",
        "/user/buyeruid",
        "/device/didsha1",
        "/device/dpidsha1",
    ]
    .iter()
    .filter_map(|path| request.pointer(path)?.as_str())
    .any(|value| !value.bytes().all(|byte| matches!(byte, b'0' | b'-' | b'.')))
}

/// What holds for every body; gives values that changed, and whether lint saw the person before.
fn check(pseudonymiser: &mut Pseudonymiser, body: &Bytes) -> (usize, bool) {
    let Ok(old) = serde_json::from_slice::<Value>(body) else {
        return (0, false);
    };
    let Some(written) = pseudonymiser.body(body) else { return (0, false) };
    let new: Value = serde_json::from_slice(&written)
        .unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&written)));
    let changed = compare(&mut Vec::new(), &old, &new);
    let left = findings(&written);
    assert!(left.is_empty(), "{left:?} in {}", String::from_utf8_lossy(&written));
    assert_eq!(pseudonymiser.body(body).unwrap(), written, "the same again");
    (changed, !findings(body).is_empty())
}

fn pseudonymiser() -> Pseudonymiser {
    Pseudonymiser::new(PseudonymKey::new("the key of the tests"))
}

#[test]
fn public_requests_keep_everything_but_the_person() {
    let Some(bodies) = corpus() else {
        println!("SKIPPED: no corpus; set GAVEL_CORPUS");
        return;
    };
    let mut pseudonymiser = pseudonymiser();
    let (mut changed, mut persons, mut seen) = (0, 0, 0);
    for body in &bodies {
        let (count, was_seen) = check(&mut pseudonymiser, body);
        changed += count;
        if count > 0 && has_person(body) {
            persons += 1;
            seen += usize::from(was_seen);
        }
    }
    println!(
        "{} bodies, {changed} values replaced, {seen} of {persons} persons seen",
        bodies.len()
    );
    assert!(persons > 500, "{persons}");
    // an address whose last bits agree by chance, and nothing else: one in sixteen at most
    assert!(seen * 10 >= persons * 9, "{seen} of {persons}");
}

#[test]
fn synthetic_requests_keep_everything_but_the_person() {
    let generator = Generator::new(GenerateSettings { seed: 7, broken: 0.05 });
    let mut pseudonymiser = pseudonymiser();
    let set = generator.set(3_000);
    let changed: usize =
        set.iter().map(|body| check(&mut pseudonymiser, &Bytes::copy_from_slice(body)).0).sum();
    assert!(changed > 3_000, "{changed}");
}

/// A value as JSON in JSON in JSON ...
fn nested(value: &str, times: usize) -> String {
    (0..times).fold(value.to_owned(), |inner, _| {
        let inner = serde_json::to_string(&inner).unwrap();
        format!("{{\"a\":{inner}}}")
    })
}

#[test]
fn what_is_replaced_is_what_is_found_wherever_it_stands() {
    let person = r#"{"user":{"id":"u-77"}}"#;
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let page = |text: &str| format!(r#"{{"site":{{"page":{}}}}}"#, quoted(text));
    for (body, secret) in [
        (page("https://a/?r=https%3A%2F%2Fb%2F%3Fe%3Djo.doe%2540mail.example"), "jo.doe"),
        (page("https://a/?r=https%3A%2F%2Fb%2F%3Fgclid%3DCjw%26uid%3Du-77"), "u-77"),
        (page("https://a/?idfa={6d92078a-8246-4ba4-ae5b-76104861e7dc}"), "8246"),
        (page("https://a/?user[id]=u-77"), "u-77"),
        (page("https://a/?user%5Bphone%5D=4915112345678"), "4915112345678"),
        (page("uid=u-77&x=1"), "u-77"),
        (page("https://a/user/6d92078a-8246-4ba4-ae5b-76104861e7dc/profile"), "8246"),
        (page("http://203.0.113.77/x"), ".77"),
        (page("48.137154,11.576124"), "48.137"),
        (page("o'brien.jo@mail.example"), "brien"),
        (page("jo.doe%2Btag%40mail.example"), "tag"),
        (page("203.0.113.77, 198.51.100.93"), ".93"),
        (page("203.0.113.77:51234"), ".77"),
        (page("fe80::1%eth0"), "fe80::1%"),
        (r#"{"device":{"ext":{"delivery_ip":"203.0.113.77"}}}"#.to_owned(), ".77"),
        (r#"{"ext":{"driver":"203.0.113.77"}}"#.to_owned(), ".77"),
        (r#"{"ext":{"203.0.113.77":1}}"#.to_owned(), ".77"),
        (r#"{"ext":{"jo@mail.example":{"a":1}}}"#.to_owned(), "jo@"),
        (r#"{"user":{"6d92078a-8246-4ba4-ae5b-76104861e7dc":[]}}"#.to_owned(), "8246"),
        (r#"{"geo":{"loc":"48.137154,11.576124"}}"#.to_owned(), "48.137"),
        (r#"{"geo":{"loc":[48.137154,11.576124]}}"#.to_owned(), "48.137"),
        (r#"{"shape":{"coordinates":[[48.137154,11.576124]]}}"#.to_owned(), "48.137"),
        (page("https://a/?d={%22uid%22:%22u-77%22}"), "u-77"),
        (page("https://a/#%7B+%22uid%22%3A%22u-77%22%7D"), "u-77"),
        (page("https://a/?d={\"uid\": \"u-77\"}"), "u-77"),
        (page("x('?a=1\\u0026uid\\x3du-77')"), "u-77"),
        (page("https://a/?lastname=O'Connor"), "Connor"),
        (page("https://jo.doe:pw@a.example/"), "jo.doe"),
        (page("jo.doe&#64;mail.example"), "jo.doe"),
        (page("Visitor 91.64.12.33, 91.64.12.77"), ".77"),
        (page("lat:48.137154,lon:11.575400"), "48.137"),
        (r#"{"user":{"keywords":"gaid:6d92078a-8246-4ba4-ae5b-76104861e7dc"}}"#.to_owned(), "8246"),
        (r#"{"user":{"ext":{"idl_env":"u-77"}}}"#.to_owned(), "u-77"),
        (r#"{"user":{"eids":[{"source":"a","uids":["u-77"]}]}}"#.to_owned(), "u-77"),
        (r#"{"user":{"eids":"[u-77"}}"#.to_owned(), "u-77"),
        (r#"{"user":{"eids":["[\"u-77","{u-77}","%7B%22u-77}"]}}"#.to_owned(), "u-77"),
        (r#"{"ext":{"ids":[{"value":"u-77","name":"gaid"}]}}"#.to_owned(), "u-77"),
        (r#"{"geo":{"ext":{"latE7":481371540,"geohash":"u281z7j57ez"}}}"#.to_owned(), "z7j57"),
        (format!(r#"{{"a":{}}}"#, quoted(&quoted(person))), "u-77"),
        (nested(person, 6), "u-77"),
        (nested(person, 12), "u-77"),
        (page(r#"{"user":{"id":"u-77""#), "u-77"),
        (page(&format!("{}{}", "[".repeat(200), person)), "u-77"),
    ] {
        let body = Bytes::from(body);
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert!(!findings(&body).is_empty(), "not found: {shown}");
        let new = pseudonymiser().body(&body).unwrap();
        assert_eq!(findings(&new), [], "{shown} became {}", String::from_utf8_lossy(&new));
        let text = String::from_utf8(new.to_vec()).unwrap();
        assert!(!text.contains(secret), "{shown} became {text}");
        serde_json::from_str::<Value>(&text).unwrap();
    }
}

#[test]
fn the_recordings_of_the_project_are_clean_where_they_were_recorded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/prebid.capture");
    let mut out = Vec::new();
    let args = LintArgs { captures: vec![path], show: 20, strict: true };
    let verdict = run(&args, &mut out).unwrap();
    assert_eq!(verdict, Verdict::Pass, "{}", String::from_utf8_lossy(&out));
}

#[test]
fn bytes_outside_the_values_stay_as_they_came() {
    let body = "{ \"b\" : 1.50e0,\n\"user\":{\"id\":\"u-1\",\"id\" : \"u-1\" ,\"yob\":1980}, \"a\":[1 ,2],\"\\u0069p\":\"203.0.113.9\"}";
    let new = pseudonymiser().body(&Bytes::from_static(body.as_bytes())).unwrap();
    let new = String::from_utf8(new.to_vec()).unwrap();
    let token = new.split('"').find(|text| text.len() == 17).expect("u-1 in 16 letters and digits");
    let address = new.split('"').find(|text| text.starts_with("203.")).unwrap();
    assert_eq!(new, body.replace("u-1", token).replace("203.0.113.9", address));
    let marked = Bytes::from_static(b"\xef\xbb\xbf{\"user\":{\"id\":\"u-1\"}}");
    assert!(pseudonymiser().body(&marked).unwrap().starts_with(b"\xef\xbb\xbf{\"user\""));
    assert_eq!(pseudonymiser().body(&Bytes::from_static(b"not json")), None);
}

#[test]
fn the_command_fails_where_a_value_is_left_and_says_where_but_not_what() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, body: Bytes| {
        let header = Header {
            origin: Origin::Recorded,
            started_us: 0,
            writer: "test".to_owned(),
            pseudonym_key: None,
            sample_ppm: 1,
            note: String::new(),
        };
        let path = folder.path().join(name);
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = Writer::new(file, &header, WriterSettings::default()).unwrap();
        writer.push(&Record::default()).unwrap();
        writer.push(&Record { body, ..Record::default() }).unwrap();
        writer.finish().unwrap();
        path
    };
    let body = Bytes::from_static(br#"{"device":{"ifa":"6d92078a-8246-4ba4-ae5b-76104861e7dc"}}"#);
    let clean = write("clean", pseudonymiser().body(&body).unwrap());
    let dirty = write("dirty", body);
    let suspect = write("suspect", Bytes::from_static(br#"{"user":{"x":"A4AAABlh7Sm1rVcb"}}"#));
    let lint = |path: &Path, strict: bool| {
        let mut out = Vec::new();
        let args = LintArgs { captures: vec![path.to_owned()], show: 20, strict };
        (run(&args, &mut out).unwrap(), String::from_utf8(out).unwrap())
    };
    let (verdict, said) = lint(&clean, true);
    assert_eq!(verdict, Verdict::Pass, "{said}");
    let (verdict, said) = lint(&dirty, false);
    assert_eq!(verdict, Verdict::Failed, "{said}");
    assert!(said.contains("record 1, body: device.ifa: identifier as it came"), "{said}");
    assert!(!said.contains("6d92078a"), "{said}");
    let (verdict, said) = lint(&suspect, false);
    assert_eq!(verdict, Verdict::Pass, "{said}");
    assert!(said.ends_with("2 records, 0 findings, 1 suspects\n"), "{said}");
    assert_eq!(lint(&suspect, true).0, Verdict::Failed);
    std::fs::write(&dirty, b"no capture").unwrap();
    let args = LintArgs { captures: vec![dirty], show: 1, strict: false };
    let failure = run(&args, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.verdict, Verdict::Usage);
    assert!(failure.to_string().contains("capture file"), "{failure}");
}
