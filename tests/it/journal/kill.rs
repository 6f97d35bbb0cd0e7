//! A process that writes at full speed is killed, again and again; an auditor outside keeps the
//! list of what it was told is durable. `GAVEL_FULL=1` kills it 100 times.

use gavel::journal::Settings;
use gavel::journal::disk::real::RealDisk;
use gavel::journal::frame::Class;
use gavel::journal::handle::{Journal, Once};
use gavel::journal::open::{open, recover};
use gavel::money_event::codec::{identify, read_event, write_event};
use gavel::money_event::{EventId, EventType, MoneyEvent};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIR: &str = "GAVEL_TEST_JOURNAL";
const LIFE: &str = "GAVEL_TEST_LIFE";
const EXPIRES_S: u64 = 4_000_000_000;

fn settings(dir: &Path) -> Settings {
    Settings {
        segment_bytes: 1 << 20,
        commit_bytes_max: 256 << 10,
        ballast_bytes: 0,
        ..Settings::new(dir)
    }
}

fn write(journal: &Journal, id: u128) {
    let event = MoneyEvent {
        event: EventType::Billing,
        id: EventId(id),
        auction_id: format!("auction-{id}"),
        expires_s: EXPIRES_S,
        url: String::new(),
        ..MoneyEvent::default()
    };
    let mut payload = Vec::new();
    write_event(&event, &mut payload);
    let once = journal.append_once(event.id, EXPIRES_S, event.event.kind(), payload);
    let ended = match once {
        Once::New(ticket) => ticket.wait(),
        Once::InFlight(echo) => echo.wait(),
        _ => return,
    };
    if ended.is_ok() {
        // one write: a line is told whole or not at all
        let line = format!("{id}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// The process that is killed; does nothing when it is run as a test.
#[test]
fn victim() {
    let (Some(dir), Some(life)) = (std::env::var_os(DIR), std::env::var_os(LIFE)) else { return };
    let life: u128 = life.to_str().unwrap().parse().unwrap();
    let opened = open(settings(Path::new(&dir)), Arc::new(RealDisk), identify).unwrap();
    let threads: Vec<_> = (0..16_u128)
        .map(|thread| {
            let journal = opened.journal.clone();
            std::thread::spawn(move || {
                for number in 0_u128.. {
                    write(&journal, (life << 64) | (thread << 48) | number);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let kills = if std::env::var_os("GAVEL_FULL").is_some() { 100 } else { 3 };
    let dir = tempfile::tempdir().unwrap();
    let mut told = BTreeSet::new();
    for life in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::kill::victim", "--nocapture"])
            .env(DIR, dir.path())
            .env(LIFE, life.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let until = 200 + 37 * (life % 20);
        let mut own = 0;
        while own < until {
            let line = lines.next().expect("the victim writes").unwrap();
            if let Ok(id) = line.parse::<u128>() {
                told.insert(id);
                own += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // what it said before it died was said too
        told.extend(lines.map_while(Result::ok).filter_map(|line| line.parse::<u128>().ok()));

        let mut found = BTreeSet::new();
        let recovered = recover(&RealDisk, &settings(dir.path()), &mut |_, record| {
            assert_eq!(record.tag.class, Class::Durable);
            let event = EventType::of_kind(record.tag.kind).unwrap();
            let event = read_event(event, record.payload).unwrap();
            assert!(found.insert(event.id.0), "{} is counted twice", event.id);
        })
        .unwrap();
        assert_eq!(recovered.report.lost, 0);
        let lost: Vec<_> = told.difference(&found).collect();
        assert!(lost.is_empty(), "life {life}: {} acknowledged events are lost", lost.len());
    }
    println!("{kills} kills, {} events acknowledged, none lost", told.len());
}
