//! `gavel ledger` as it is run, over journals that a journal wrote.

use super::{MIDNIGHT_US, MINUTE_US, event};
use gavel::journal::Settings;
use gavel::journal::dead::{DeadLetters, Letter};
use gavel::journal::disk::real::RealDisk;
use gavel::journal::handle::Once;
use gavel::journal::open::open;
use gavel::money::Currency;
use gavel::money::multiplier::Multiplier;
use gavel::money_event::codec::{identify, write_auction, write_event};
use gavel::money_event::{Amount, AuctionRecord, EventType, MoneyEvent, kind};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn settings(dir: &Path) -> Settings {
    Settings {
        segment_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        record_bytes_max: 4 << 10,
        ballast_bytes: 0,
        ..Settings::new(dir)
    }
}

/// What one replica wrote.
fn journal(dir: &Path, events: &[MoneyEvent], auctions: u64) {
    let opened = open(settings(dir), Arc::new(RealDisk), identify).unwrap();
    for event in events {
        let mut payload = Vec::new();
        write_event(event, &mut payload);
        // the days of the cases are over, and what is over may not be told from a repeat
        let expires_s = 4_000_000_000;
        let once = opened.journal.append_once(event.id, expires_s, event.event.kind(), payload);
        let Once::New(ticket) = once else { panic!("{once:?}") };
        ticket.wait().unwrap();
    }
    for number in 0..auctions {
        let record = AuctionRecord {
            auction_id: format!("{}-{number}", dir.display()).into(),
            partner: "pub".into(),
            at_us: MIDNIGHT_US + number,
            bids: 2,
            wins: 1,
            ..AuctionRecord::default()
        };
        let mut payload = Vec::new();
        write_auction(&record, &mut payload);
        assert!(opened.journal.append_buffered(kind::AUCTION, payload));
    }
    opened.running.close();
}

fn gavel(arguments: &[&str], paths: &[&Path]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gavel")).args(arguments).args(paths).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const AS_OF: [&str; 2] = ["--as-of", "2026-12-24"];

fn ledger(arguments: &[&str], paths: &[&Path]) -> (i32, String, String) {
    gavel(&[&["ledger"], &AS_OF[..], arguments].concat(), paths)
}

fn json(arguments: &[&str], paths: &[&Path]) -> Json {
    let (code, out, err) = ledger(&[arguments, &["--format", "json"]].concat(), paths);
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

/// Two replicas: the bill of sale 1 came to both, sale 2 was never billed, sale 3 has no win and is
/// of another day and a deal.
fn replicas(root: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (a, b) = (root.join("a"), root.join("b"));
    let bill = |sale, minute| event(sale, EventType::Billing, MIDNIGHT_US + minute * MINUTE_US);
    let other = MoneyEvent {
        partner: "other".into(),
        deal: "=deal".into(),
        expires_s: 4_000_000_000,
        ..bill(3, 24 * 60)
    };
    let win = |sale| event(sale, EventType::Win, MIDNIGHT_US);
    journal(&a, &[win(1), bill(1, 2), win(2)], 3);
    journal(&b, &[bill(1, 1), other], 2);
    (a, b)
}

#[test]
fn replicas_are_one_ledger_and_a_bill_that_came_to_both_counts_once() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = replicas(root.path());
    let found = json(&["--by", "partner,day"], &[&a, &b]);
    let money = |billed, spend: &str, revenue: &str, margin: &str| {
        json!([{
            "billed": billed, "spend": spend, "spend_currency": "USD",
            "revenue": revenue, "revenue_currency": "USD", "margin": margin,
        }])
    };
    assert_eq!(found["rows"][0]["partner"], "other");
    assert_eq!(found["rows"][0]["day"], "2026-11-30");
    assert_eq!(found["rows"][1]["money"], money(1, "0.002500001", "0.002", "0.000500001"));
    assert_eq!(found["total"]["money"], money(2, "0.005000002", "0.004", "0.001000002"));
    let total = &found["total"];
    let counts = ["auctions", "bids", "sold", "wins", "billed"].map(|name| total[name].clone());
    assert_eq!(counts, [5, 10, 5, 2, 2].map(|count| json!(count)));
    let troubles = found["discrepancies"].as_object().unwrap();
    let counts: Vec<(&str, &Json)> =
        troubles.iter().map(|(name, stake)| (name.as_str(), &stake["count"])).collect();
    let one = json!(1);
    let expected = ["billed_without_win", "repeated", "won_not_billed"].map(|name| (name, &one));
    assert_eq!(counts, expected);
    assert_eq!(troubles["repeated"]["gross"]["USD"], "0.002500001");
    // auctions are of no deal
    let found = json(&["--by", "deal"], &[&a, &b]);
    assert_eq!(
        (&found["rows"][0]["deal"], &found["rows"][0]["auctions"]),
        (&"(open)".into(), &Json::Null)
    );
    assert_eq!(found["total"]["auctions"], 5);
    // only what came on the second day
    let found = json(&["--from", "2026-11-30", "--to", "2026-12-01T00:00:00Z"], &[&a, &b]);
    assert_eq!(found["rows"].as_array().unwrap().len(), 1);
    assert_eq!(found["total"]["billed"], 1);
}

#[test]
fn one_bill_is_as_many_impressions_as_it_says_from_the_journal_and_from_either_export() {
    let root = tempfile::tempdir().unwrap();
    let bill = |sale, price, many| MoneyEvent {
        gross: Amount::new(price, Currency::USD),
        net: Amount::new(price / 2, Currency::USD),
        multiplier: Multiplier::from_wire(many).unwrap(),
        ..event(sale, EventType::Billing, MIDNIGHT_US)
    };
    // 10 x 14.2, 2.500001 x 0.333333, 7 of one impression
    let bills = [bill(1, 10_000_000, 14.2), bill(2, 2_500_001, 0.333_333), bill(3, 7_000_000, 1.0)];
    let dir = root.path().join("a");
    journal(&dir, &bills, 0);
    let (lines, cells) = (root.path().join("a.jsonl"), root.path().join("a.csv"));
    for (format, file) in [("jsonl", &lines), ("csv", &cells)] {
        std::fs::write(file, gavel(&["journal", "export", "--format", format], &[&dir]).1).unwrap();
    }
    for paths in [vec![dir.as_path()], vec![&lines], vec![&cells], vec![&cells, &lines, &dir]] {
        let found = json(&[], &paths);
        let money = &found["total"]["money"][0];
        let figures = ["billed", "spend", "revenue", "margin"].map(|name| money[name].clone());
        // 0.142 + 0.000833332833333 + 0.007: to the last part, rounded nowhere
        let expected = [
            json!(3),
            json!("0.149833332833333"),
            json!("0.07491666625"),
            json!("0.074916666583333"),
        ];
        assert_eq!(figures, expected, "{paths:?}");
    }
    // an export of before there were multipliers has no such column
    let text = std::fs::read_to_string(&lines).unwrap();
    let old: Vec<String> = text
        .lines()
        .map(|line| {
            let mut line: Json = serde_json::from_str(line).unwrap();
            assert!(line.as_object_mut().unwrap().remove("multiplier").is_some());
            line.to_string()
        })
        .collect();
    std::fs::write(&lines, old.join("\n")).unwrap();
    assert_eq!(json(&[], &[&lines])["total"]["money"][0]["spend"], "0.019500001");
    let (_, found, _) = ledger(&["--discrepancies", "--format", "csv"], &[&dir]);
    assert!(found.starts_with("discrepancy,") && found.contains(",USD,14.2,"), "{found}");
    let (_, found, _) = ledger(&["--discrepancies"], &[&dir]);
    assert!(
        found.contains("gross 10 USD times 14.2\n") && found.contains("gross 7 USD\n"),
        "{found}"
    );
}

#[test]
fn an_export_is_as_good_as_its_journal_and_both_together_are_no_more() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = replicas(root.path());
    let (lines, cells) = (root.path().join("a.jsonl"), root.path().join("b.csv"));
    for (dir, format, file) in [(&a, "jsonl", &lines), (&b, "csv", &cells)] {
        let (code, out, _) = gavel(&["journal", "export", "--format", format], &[dir]);
        assert_eq!(code, 0);
        std::fs::write(file, out).unwrap();
    }
    let by = ["--by", "partner,bidder,deal,day"];
    let expected = json(&by, &[&a, &b]);
    for paths in [vec![&lines, &cells], vec![&a, &cells], vec![&cells, &a, &b, &lines]] {
        let paths: Vec<&Path> = paths.into_iter().map(std::path::PathBuf::as_path).collect();
        let mut found = json(&by, &paths);
        for how_often in ["event_records_read", "event_records_again"] {
            found[how_often] = expected[how_often].clone();
        }
        assert_eq!(found, expected, "{paths:?}");
    }
    let (once, twice) = (std::fs::read(&lines).unwrap(), root.path().join("twice.jsonl"));
    std::fs::write(&twice, once.repeat(2)).unwrap();
    let (mut found, expected) = (json(&by, &[&twice]), json(&by, &[&a]));
    for how_often in ["event_records_read", "event_records_again"] {
        found[how_often] = expected[how_often].clone();
    }
    assert_eq!(found, expected);
}

#[test]
fn a_table_and_comma_separated_values_say_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = replicas(root.path());
    let (code, out, _) = ledger(&[], &[&a, &b]);
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["partner", "auctions", "bids", "sold"]);
    let row = [
        "pub",
        "5",
        "10",
        "5",
        "2",
        "0",
        "0",
        "1",
        "0.002500001",
        "USD",
        "0.002",
        "USD",
        "0.000500001",
    ];
    assert_eq!(lines[2], row);
    assert_eq!(lines[3][0], "total");
    assert!(out.contains("won_not_billed"), "{out}");
    let (_, out, _) = ledger(&["--format", "csv", "--by", "deal"], &[&a, &b]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "(open),,,,2,0,0,1,0.002500001,USD,0.002,USD,0.000500001");
    assert!(lines[2].starts_with("'=deal,"), "{out}");
}

#[test]
fn each_discrepancy_is_listed_with_its_event_and_undelivered_notices_are_among_them() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = replicas(root.path());
    let mut letters = DeadLetters::open(Arc::new(RealDisk), &settings(&a), 100).unwrap();
    for (sale, is_delivered) in [(1, false), (2, true)] {
        let mut payload = Vec::new();
        write_event(&event(sale, EventType::Billing, MIDNIGHT_US), &mut payload);
        let letter = Letter {
            sink: "notices".into(),
            reason: "status 500".into(),
            tries: 12,
            sequence: u64::try_from(sale).unwrap(),
            kind: kind::BILLING,
            payload,
            ..Letter::default()
        };
        let number = letters.bury(&letter).unwrap();
        if is_delivered {
            letters.delivered(number).unwrap();
        }
    }
    // the server still has them
    let (code, out, _) = ledger(&["--discrepancies", "--format", "json"], &[&a, &b]);
    letters.close(0);
    assert_eq!(code, 0);
    let found: Vec<Json> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (one["discrepancy"].as_str().unwrap(), one["auction_id"].as_str().unwrap()))
        .collect();
    let expected = [
        ("repeated", "auction-1"),
        ("won_not_billed", "auction-2"),
        ("billed_without_win", "auction-3"),
        ("undelivered", "auction-1"),
    ];
    assert_eq!(words, expected);
    assert_eq!(found[3]["note"], "notices: 12 tries: status 500");
    let (_, out, _) = ledger(&["--discrepancies"], &[&a, &b]);
    assert!(out.ends_with("4 discrepancies\n"), "{out}");
    let (_, out, _) = ledger(&["--discrepancies", "--format", "csv"], &[&a, &b]);
    assert_eq!(out.lines().count(), 5);
}

#[test]
fn a_notice_that_a_stream_says_is_dead_is_undelivered_until_the_stream_says_what_became_of_it() {
    let root = tempfile::tempdir().unwrap();
    let line = |kind: &str, sale, origin: u64| {
        let one = event(sale, EventType::Billing, MIDNIGHT_US);
        json!({
            "type": kind, "event": "billing", "id": one.id.to_string(), "origin": origin,
            "auction_id": format!("auction-{sale}"), "received_us": MIDNIGHT_US, "tries": 12,
            "reason": "status 500", "gross_micros": 2_500_001, "gross_currency": "USD",
            "net_micros": 2_000_000, "net_currency": "USD", "url": "https://b.example/1",
        })
    };
    let mut unknown = line("dead_notice", 9, 90);
    unknown["event"] = "bill".into();
    let mut unlike = line("dead_notice", 9, 90);
    unlike["event"] = "win".into();
    let write = |name: &str, lines: &[Json]| {
        let path = root.path().join(name);
        let text: Vec<String> = lines.iter().map(Json::to_string).collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        path
    };
    let dead = |sale, origin| line("dead_notice", sale, origin);
    let first = write(
        "first.jsonl",
        // the second of these was interrupted, and said once more
        &[dead(1, 10), dead(2, 20), dead(2, 20), dead(3, 30), dead(4, 40), unknown, unlike],
    );
    // the third dies again when it is sent again; the fourth nobody sends any more
    let closings = [line("notice_again", 3, 30), dead(3, 31), line("notice_purged", 4, 40)];
    let later = write("later.jsonl", &[&[line("notice_again", 1, 10)], &closings[..]].concat());
    let listed = |paths: &[&Path]| {
        let (code, out, err) = ledger(&["--discrepancies", "--format", "json"], paths);
        assert_eq!(code, 1);
        assert!(err.contains("first.jsonl: record 6: event \"bill\" is none that exists"), "{err}");
        assert!(
            err.contains("record 7: the id ") && err.contains(" is not that of a win"),
            "{err}"
        );
        let found = out.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let found: Vec<Json> = found.collect();
        assert!(found.iter().all(|one| one["discrepancy"] == "undelivered"), "{out}");
        assert!(found.iter().all(|one| one["note"] == "stream: 12 tries: status 500"), "{out}");
        let names = found.iter().map(|one| one["auction_id"].as_str().unwrap().to_owned());
        names.collect::<Vec<String>>()
    };
    assert_eq!(listed(&[&first]), ["auction-1", "auction-2", "auction-3", "auction-4"]);
    for both in [[&first, &later], [&later, &first]] {
        assert_eq!(listed(&both.map(std::path::PathBuf::as_path)), ["auction-2", "auction-3"]);
    }
    let (_, out, _) = ledger(&["--format", "json"], &[&first, &later]);
    let found: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(found["discrepancies"]["undelivered"]["count"], 2);
    assert_eq!(found["total"]["billed"], 0, "they are no events");
    // more of them than are held: the rest is told, and those that are held are counted
    let all: Vec<Json> = (0..=100_000).map(|sale| dead(sale, 1)).collect();
    let (code, out, err) = ledger(&["--format", "json"], &[&write("all.jsonl", &all)]);
    let found: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["discrepancies"]["undelivered"]["count"]), (1, &json!(100_000)));
    assert!(err.contains("record 100001: only 100000 dead notices are read"), "{err}");
}

#[test]
fn damage_is_named_with_its_place_ends_with_1_and_the_rest_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = replicas(root.path());
    let path = a.join("0000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + 30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, out, err) = ledger(&["--format", "json"], &[&a, &b]);
    assert_eq!(code, 1);
    assert!(err.contains("sequences 1 to 1 are lost"), "{err}");
    let found: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(found["total"]["billed"], 2);
    assert_eq!(found["total"]["wins"], 1);
    assert_eq!(found["faults"].as_array().unwrap().len(), 1);
    // an export of it says so too
    let export = root.path().join("a.jsonl");
    let (_, out, _) = gavel(&["journal", "export"], &[&a]);
    std::fs::write(&export, out).unwrap();
    let (code, _, err) = ledger(&[], &[&export]);
    assert_eq!(code, 1);
    assert!(err.contains("record 1: sequences 1 to 1 are lost"), "{err}");
    // a tail that was never acknowledged is no damage
    let end = std::fs::metadata(b.join("0000000000000001.seg")).unwrap().len();
    let file = std::fs::File::options().write(true).open(b.join("0000000000000001.seg")).unwrap();
    file.set_len(end - 3).unwrap();
    assert_eq!(ledger(&[], &[&b]).0, 0);
}

#[test]
fn lines_that_are_not_understood_are_named_by_number_and_the_others_count() {
    let root = tempfile::tempdir().unwrap();
    let good = |kind: EventType, sale| {
        let one = event(sale, kind, MIDNIGHT_US);
        json!({
            "type": kind.label(), "id": one.id.to_string(), "gross_micros": 5, "gross_currency": "USD",
            "net_micros": 4, "net_currency": "USD",
        })
    };
    let mut lines = vec![good(EventType::Billing, 1).to_string()];
    for (field, value) in [
        ("id", json!("12")),
        ("id", json!(event(1, EventType::Win, 0).id.to_string())),
        ("gross_micros", json!(1.5)),
        ("gross_micros", json!(1e30)),
        ("net_micros", json!(-4)),
        ("multiplier", json!(0)),
        ("multiplier", json!(1_000_001)),
        ("multiplier", json!("14.2")),
        ("net_currency", json!("dollars")),
        ("type", json!("")),
        ("hex", json!("00")),
    ] {
        let mut bad = good(EventType::Billing, 2);
        bad[field] = value;
        lines.push(bad.to_string());
    }
    let mut bad = good(EventType::Billing, 2);
    bad.as_object_mut().unwrap().remove("net_micros");
    lines.extend([bad.to_string(), "{\"type\":".to_owned(), "[]".to_owned(), String::new()]);
    lines.push(json!({ "type": "kind_40", "hex": "00" }).to_string());
    lines.push(good(EventType::Win, 1).to_string());
    let path = root.path().join("events.jsonl");
    // a spreadsheet's mark before it all
    std::fs::write(&path, format!("\u{feff}{}", lines.join("\n"))).unwrap();
    let (code, out, err) = ledger(&["--format", "json"], &[&path]);
    assert_eq!(code, 1);
    let faults: Vec<&str> = err.lines().collect();
    assert_eq!(faults.len(), 14, "{err}");
    for (number, fault) in (2..).zip(&faults) {
        assert!(fault.contains(&format!("events.jsonl: record {number}: ")), "{fault}");
    }
    let found: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["total"]["billed"], &found["total"]["wins"]), (&1.into(), &1.into()));
    assert_eq!(found["total"]["money"][0]["spend"], "0.000000005");
    // more faults than are told are counted
    std::fs::write(&path, "{\"type\":1}\n".repeat(50)).unwrap();
    let (code, _, err) = ledger(&[], &[&path]);
    assert_eq!((code, err.lines().count()), (1, 21));
    assert!(err.ends_with("30 more faults\n"), "{err}");
}

#[test]
fn what_is_no_journal_and_no_export_ends_with_2() {
    let root = tempfile::tempdir().unwrap();
    let text = root.path().join("notes.txt");
    std::fs::write(&text, "nothing").unwrap();
    let columns = root.path().join("other.csv");
    std::fs::write(&columns, "sequence,colour\n1,red\n").unwrap();
    let empty = root.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (path, why) in [
        (&text, "is neither a journal's folder nor an export"),
        (&columns, "does not name the columns"),
        (&empty, "there is no segment in it"),
        (&root.path().join("nowhere"), "cannot read"),
    ] {
        let (code, _, err) = ledger(&[], &[path]);
        assert_eq!(code, 2);
        assert!(err.contains(why), "{err}");
    }
    for arguments in
        [["--by", "seat"], ["--from", "yesterday"], ["--memory", "7"], ["--spill", "x=y"]]
    {
        let (code, _, err) = ledger(&arguments, &[&empty]);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(err.contains(arguments[1]), "{err}");
    }
    let (code, _, err) = ledger(&["--from", "2026-12-02", "--to", "2026-12-01"], &[&empty]);
    assert_eq!(code, 2);
    assert!(err.contains("--from is not before --to"), "{err}");
}

#[test]
fn dropped_auction_records_are_told_beside_the_counts() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        Settings { buffered_records_max: 1, buffered_bytes_max: 1, ..settings(dir.path()) };
    let opened = open(settings, Arc::new(RealDisk), identify).unwrap();
    for _ in 0..7 {
        assert!(!opened.journal.append_buffered(kind::AUCTION, vec![0; 100]));
    }
    let mut payload = Vec::new();
    let bill = event(1, EventType::Billing, MIDNIGHT_US);
    write_event(&bill, &mut payload);
    let once = opened.journal.append_once(bill.id, bill.expires_s, kind::BILLING, payload);
    let Once::New(ticket) = once else { panic!("{once:?}") };
    ticket.wait().unwrap();
    assert!(opened.journal.status().figures.hold());
    opened.running.close();
    let found = json(&[], &[dir.path()]);
    assert_eq!(found["auction_records_dropped"], 7);
    let (_, out, _) = gavel(&["journal", "export", "--type", "dropped"], &[dir.path()]);
    let counted: Json = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(counted["dropped"], 7);
}
