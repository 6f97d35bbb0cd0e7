//! `gavel journal` as it is run.

use gavel::journal::Settings;
use gavel::journal::disk::real::RealDisk;
use gavel::journal::handle::Once;
use gavel::journal::open::open;
use gavel::journal::sink::Sink;
use gavel::money::Currency;
use gavel::money_event::codec::{identify, write_auction, write_event};
use gavel::money_event::{Amount, AuctionRecord, EventId, EventType, MoneyEvent, kind};
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Six events and an auction.
fn journal(dir: &Path) {
    let settings = Settings {
        segment_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        record_bytes_max: 4 << 10,
        ballast_bytes: 0,
        sinks: vec!["files".to_owned()],
        ..Settings::new(dir)
    };
    let opened = open(settings, Arc::new(RealDisk), identify).unwrap();
    for number in 0..6_i64 {
        let event = MoneyEvent {
            event: if number % 2 == 0 { EventType::Win } else { EventType::Billing },
            id: EventId(u128::from(number.unsigned_abs()) + 1),
            auction_id: format!("a-{number}"),
            partner: "pub".to_owned(),
            seat: "=seat,\"1\"".to_owned(),
            gross: Amount::new(2_500_000 + number, Currency::USD),
            expires_s: 4_000_000_000,
            ..MoneyEvent::default()
        };
        let mut payload = Vec::new();
        write_event(&event, &mut payload);
        let once =
            opened.journal.append_once(event.id, event.expires_s, event.event.kind(), payload);
        let Once::New(ticket) = once else { panic!("{once:?}") };
        ticket.wait().unwrap();
    }
    let mut payload = Vec::new();
    let auction = AuctionRecord { bids: 3, outcome: "won".into(), ..AuctionRecord::default() };
    write_auction(&auction, &mut payload);
    assert!(opened.journal.append_buffered(kind::AUCTION, payload));
    let mut sink = Sink::new(&opened.journal, "files").unwrap();
    let batch = sink.read(4, 1 << 20).unwrap();
    sink.commit(&batch, 1).unwrap();
    opened.running.close();
}

fn gavel(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
        .arg("journal")
        .args(arguments)
        .arg(dir)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_journal_is_inspected_verified_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let (code, out, _) = gavel(&["inspect"], dir.path());
    assert_eq!(code, 0);
    for part in
        ["win              durable              3", "auction          buffered             1"]
    {
        assert!(out.contains(part), "{part:?} in\n{out}");
    }
    assert!(out.contains("at 5, ") && out.contains("3 delivered, 1 dead"), "{out}");
    let (code, out, _) = gavel(&["inspect", "--json"], dir.path());
    let json: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["cursors"]["files"]["next"]), (0, &Json::from(5)));
    let (code, out, err) = gavel(&["verify"], dir.path());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("0 lost; 0 faults"), "{out}");

    let (code, out, _) = gavel(&["export", "--type", "billing", "--from", "3"], dir.path());
    let rows: Vec<Json> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, rows.len()), (0, 2));
    assert_eq!(rows[0]["auction_id"], "a-3");
    assert_eq!(rows[0]["gross_micros"], 2_500_003);
    assert_eq!(rows[0]["id"], format!("{:032x}", 4));
    let (_, out, _) = gavel(&["export", "--format", "csv"], dir.path());
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 8);
    assert!(lines[0].starts_with("sequence,type,class,lost_to,id,auction_id"));
    assert!(lines[1].contains("\"'=seat,\"\"1\"\"\""), "{}", lines[1]);
    let commas = |line: &str| line.replace("\"'=seat,\"\"1\"\"\"", "").matches(',').count();
    assert!(lines[1..7].iter().all(|line| commas(line) == commas(lines[0])), "{out}");
}

#[test]
fn damage_is_told_with_its_place_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path());
    let path = dir.path().join("0000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, out, err) = gavel(&["verify"], dir.path());
    assert_eq!(code, 1);
    assert!(err.contains("offset 64 to ") && err.contains("sequences 1 to 1 are lost"), "{err}");
    assert!(out.contains("1 lost; 1 faults"), "{out}");
    let (code, out, err) = gavel(&["export"], dir.path());
    assert_eq!(code, 1);
    let first: Json = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["lost_to"]), (&"lost".into(), &1.into()));
    assert!(err.contains("1 records are lost"), "{err}");
    // looking changes nothing
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let (code, _, err) = gavel(&["inspect"], &dir.path().join("nowhere"));
    assert_eq!(code, 2);
    assert!(err.contains("cannot list"), "{err}");
    let empty = tempfile::tempdir().unwrap();
    for command in ["inspect", "verify", "export"] {
        let (code, out, err) = gavel(&[command], empty.path());
        assert_eq!((code, out.as_str()), (2, ""), "{command}");
        assert!(err.contains("is no folder of a journal: there is no segment"), "{err}");
    }
    let link = empty.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for out in [&path, &dir.path().join("new"), &link] {
        let (code, _, err) = gavel(&["export", "--out", out.to_str().unwrap()], dir.path());
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("is within the journal, where nobody else writes"), "{err}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(!dir.path().join("new").exists());
    let (code, _, err) = gavel(&["export", "--type", "bill"], dir.path());
    assert_eq!(code, 2);
    assert!(err.contains("allowed are win, billing"), "{err}");
}
