//! `generate --capture`, `import` and `show`, as one calls them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gavel-replay")).args(arguments).output().unwrap()
}

/// What it printed, where it ended as it should.
fn told(arguments: &[&str], code: i32) -> String {
    let output = replay(arguments);
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    out + &err
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

fn synthetic(folder: &Path, count: u32) -> String {
    let file = path(folder, "synthetic.cap");
    told(&["generate", "--count", &count.to_string(), "--rate", "200", "--capture", &file], 0);
    file
}

#[test]
fn a_synthetic_capture_is_shown_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = synthetic(folder.path(), 400);
    let shown = told(&["show", &file, "--fingerprint"], 0);
    for part in [
        "synthetic: made by the generator",
        "records       400",
        "demo 100.0 %",
        "sample 100.0 %",
        "channel       app",
        "effective combinations",
        "cache of user agents",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("too little to judge by"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&told(&["show", &file, "--json"], 0)).unwrap();
    assert_eq!((&json["records"], &json["header"]["origin"]), (&400.into(), &"synthetic".into()));
    // it is not written over unasked
    let again = told(&["generate", "--count", "1", "--capture", &file], 1);
    assert!(again.contains("is there already"), "{again}");
}

#[test]
fn one_record_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // some blocks of 512 KiB
    let file = synthetic(folder.path(), 1_000);
    let lines = told(&["generate", "--count", "1000"], 0);
    for number in [0, 1, 500, 999] {
        let arguments = ["show", &file, "--json", "--record", &number.to_string()];
        let json: serde_json::Value = serde_json::from_str(&told(&arguments, 0)).unwrap();
        let body: serde_json::Value =
            serde_json::from_str(lines.lines().nth(number).unwrap()).unwrap();
        assert_eq!(json["body"], body, "record {number}");
    }
    let shown = told(&["show", &file, "--record", "7"], 0);
    assert!(shown.contains("request     POST /openrtb2/demo\n"), "{shown}");
    assert!(shown.contains("\n  \"imp\": [\n"), "{shown}");
    let none = told(&["show", &file, "--record", "1000"], 2);
    assert!(none.contains("has no record 1000"), "{none}");
}

#[test]
fn a_damaged_capture_shows_what_is_good_and_where_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let file = synthetic(folder.path(), 1_000);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let shown = told(&["show", &file], 1);
    assert!(shown.contains("BROKEN at byte "), "{shown}");
    assert!(!shown.contains("records       0\n"), "{shown}");
    fs::write(&file, b"something else").unwrap();
    let foreign = told(&["show", &file], 2);
    assert!(foreign.contains("not the bytes of a capture"), "{foreign}");
}

#[test]
fn an_import_has_pseudonyms_unless_it_is_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, key) = (path(folder.path(), "lines.jsonl"), path(folder.path(), "key"));
    fs::write(&lines, told(&["generate", "--count", "100"], 0)).unwrap();
    fs::write(&key, "a secret of the tests\n").unwrap();
    let captures = ["one", "two", "three"].map(|name| path(folder.path(), name));
    told(&["import", &lines, "--out", &captures[0], "--key", &key], 0);
    told(&["import", &lines, "--out", &captures[1], "--key", &key], 0);
    told(&["import", &lines, "--out", &captures[2]], 0);
    let [one, two, three] = captures.clone().map(|capture| fs::read(capture).unwrap());
    assert_eq!(one, two);
    assert_ne!(one, three);
    let linted = told(&["lint", &captures[0], &captures[2]], 0);
    println!("{linted}");
    fs::write(&key, "short").unwrap();
    let short = told(&["import", &lines, "--out", "other", "--key", &key], 2);
    assert!(short.contains("16 bytes or more"), "{short}");
}

#[test]
fn lines_are_imported_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, file) = (path(folder.path(), "lines.jsonl"), path(folder.path(), "lines.cap"));
    fs::write(&lines, told(&["generate", "--count", "300"], 0) + "not json\n").unwrap();
    let told_once = told(&["import", &lines, "--out", &file, "--no-pseudonyms"], 0);
    assert!(told_once.contains("300 requests imported"), "{told_once}");
    assert!(told_once.contains("1 skipped: not JSON, first at byte"), "{told_once}");
    assert!(told(&["show", &file], 0).contains("imported from another tool"));
    let again = told(&["import", &lines, "--out", &file, "--no-pseudonyms"], 2);
    assert!(again.contains("--force writes over it"), "{again}");
    let itself = told(&["import", &file, "--out", "other", "--no-pseudonyms"], 2);
    assert!(itself.contains("is a capture already"), "{itself}");
    fs::write(&lines, "what is this\n").unwrap();
    let foreign = told(&["import", &lines, "--out", "other", "--no-pseudonyms"], 2);
    assert!(foreign.contains("no file that can be imported"), "{foreign}");
}

/// The public corpus, where it is.
#[test]
fn the_public_corpus_becomes_a_capture() {
    let Some(corpus) = std::env::var_os("GAVEL_CORPUS").map(PathBuf::from) else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, count) in [("requests-rtb4free", 1_070), ("requests-iab-converter", 147)] {
        let lines = path(&corpus, &format!("{name}.jsonl"));
        let file = path(folder.path(), &format!("{name}.cap"));
        let imported = told(&["import", &lines, "--out", &file, "--no-pseudonyms"], 0);
        assert!(imported.contains(&format!("{count} requests imported")), "{imported}");
        let shown = told(&["show", &file, "--fingerprint"], 0);
        println!("{shown}");
        // what was recorded of real traffic is enough to judge by
        assert!(!shown.contains("too little to judge by"), "{shown}");
    }
}
