//! What a durable event costs: events a second and their times, beside the disk's own time for the
//! same bytes in the same run; and how long a start takes for a gibibyte.
//!
//! `cargo bench --bench journal -- [--clients 64] [--seconds 5] [--rounds 3] [--recover-mib 1024]
//! [--dir DIR]`; with `--test` it runs once, small.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench tells, and may panic")]

mod disk;

use disk::{Flags, Times, disk_alone};
use gavel::clock;
use gavel::journal::Settings;
use gavel::journal::disk::real::RealDisk;
use gavel::journal::handle::{Journal, Once};
use gavel::journal::open::open;
use gavel::money::Currency;
use gavel::money::multiplier::Multiplier;
use gavel::money_event::codec::{identify, write_event};
use gavel::money_event::{Amount, EventId, EventType, MoneyEvent};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const EXPIRES_S: u64 = 4_000_000_000;

struct Options {
    clients: u64,
    seconds: u64,
    rounds: u64,
    recover_mib: u64,
    dir: PathBuf,
}

fn options() -> Options {
    let flags = Flags::read();
    Options {
        clients: flags.number("--clients", 64, 8),
        seconds: flags.number("--seconds", 5, 0),
        rounds: flags.number("--rounds", 3, 1),
        recover_mib: flags.number("--recover-mib", 1024, 1),
        dir: flags.dir(),
    }
}

fn event(id: u128, now_us: u64) -> MoneyEvent {
    MoneyEvent {
        event: EventType::Billing,
        // spread as the hash of a token is
        id: EventId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        auction_id: format!("3f0c2a9e-{id:012x}"),
        imp_id: "1".to_owned(),
        partner: "publisher".to_owned(),
        bidder: "bidder-alpha".to_owned(),
        seat: "seat-17".to_owned(),
        deal: String::new(),
        gross: Amount::new(2_350_000, Currency::USD),
        net: Amount::new(2_000_000, Currency::USD),
        multiplier: Multiplier::ONE,
        loss_reason: 0,
        generation: 7,
        auction_us: now_us,
        received_us: now_us,
        expires_s: EXPIRES_S,
        url: String::new(),
    }
}

/// Each client waits for its event before it sends the next, as an upstream's connection does. The
/// clients are tasks of two threads, as they are in the server.
fn clients(journal: &Journal, clients: u64, time: Duration, next_id: &Arc<AtomicU64>) -> Times {
    let done = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|half| {
            let (journal, done, ids) = (journal.clone(), Arc::clone(&done), Arc::clone(next_id));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let tasks = tokio::task::LocalSet::new();
                let own: Vec<_> = (0..clients.div_ceil(2))
                    .filter(|client| client * 2 + half < clients)
                    .map(|_| {
                        let client = client(journal.clone(), Arc::clone(&done), Arc::clone(&ids));
                        tasks.spawn_local(client)
                    })
                    .collect();
                let mut all = Vec::new();
                tasks.block_on(&runtime, async {
                    for task in own {
                        all.extend(task.await.unwrap());
                    }
                });
                all
            })
        })
        .collect();
    std::thread::sleep(time);
    done.store(true, Ordering::Release);
    let times = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    Times(times).sorted()
}

async fn client(journal: Journal, done: Arc<AtomicBool>, ids: Arc<AtomicU64>) -> Vec<Duration> {
    let mut times = Vec::new();
    loop {
        let begun = clock::monotonic();
        let event = event(ids.fetch_add(1, Ordering::Relaxed).into(), 1_800_000_000_000_000);
        let mut payload = Vec::with_capacity(256);
        write_event(&event, &mut payload);
        match journal.append_once(event.id, EXPIRES_S, event.event.kind(), payload) {
            Once::New(ticket) => ticket.await.unwrap(),
            other => panic!("{other:?}"),
        };
        times.push(clock::monotonic().saturating_duration_since(begun));
        if done.load(Ordering::Acquire) {
            return times;
        }
    }
}

fn durable_events(options: &Options, dir: &Path) {
    let settings = Settings { ballast_bytes: 0, ..Settings::new(dir.join("journal")) };
    let opened = open(settings, Arc::new(RealDisk), identify).unwrap();
    let ids = Arc::new(AtomicU64::new(1));
    let time = Duration::from_millis(options.seconds * 1000 + 20);
    // the first segment is being made
    clients(&opened.journal, 1, Duration::from_millis(1), &ids);
    let mut payload = Vec::new();
    write_event(&event(1, 1_800_000_000_000_000), &mut payload);
    let bytes = usize::try_from(options.clients).unwrap() * (payload.len() + 17);
    println!("an event has {} bytes, {} clients", payload.len() + 17, options.clients);
    for round in 1..=options.rounds {
        let before = disk_alone(dir, bytes, 20 + options.seconds * 20);
        let begun = clock::monotonic();
        let times = clients(&opened.journal, options.clients, time, &ids);
        let took = clock::monotonic().saturating_duration_since(begun).as_secs_f64();
        let after = disk_alone(dir, bytes, 20 + options.seconds * 20);
        let disk = Times([before.0, after.0].concat()).sorted();
        println!("round {round}");
        println!("  disk alone, {bytes} bytes and fdatasync: {}", disk.text());
        println!("  journal: {:.0} events/s, {}", times.0.len() as f64 / took, times.text());
        println!("  an event's p99 is {:.1} times the disk's", times.at(990) / disk.at(990));
    }
    let counts = &opened.journal.published().counts;
    let commits = counts.commits.load(Ordering::Relaxed);
    let records = counts.committed_records.load(Ordering::Relaxed);
    println!(
        "{commits} commits of {:.1} records, {} segments made while a commit waited",
        records as f64 / commits as f64,
        counts.stalls.load(Ordering::Relaxed)
    );
    opened.running.close();
}

fn recovery(options: &Options, dir: &Path) {
    let settings = Settings {
        ballast_bytes: 0,
        waiting_records_max: 1_000_000,
        ..Settings::new(dir.join("recover"))
    };
    let opened = open(settings.clone(), Arc::new(RealDisk), identify).unwrap();
    let (mut id, mut last) = (0_u128, None);
    while opened.journal.status().durable * 200 < options.recover_mib << 20 {
        for _ in 0..10_000 {
            id += 1;
            let event = event(id, 1_800_000_000_000_000);
            let mut payload = Vec::with_capacity(256);
            write_event(&event, &mut payload);
            match opened.journal.append_once(event.id, EXPIRES_S, event.event.kind(), payload) {
                Once::New(ticket) => last = Some(ticket),
                other => panic!("{other:?}"),
            }
        }
        last.take().unwrap().wait().unwrap();
    }
    opened.running.close();
    for round in ["first", "second"] {
        let opened = open(settings.clone(), Arc::new(RealDisk), identify).unwrap();
        let report = &opened.report;
        let gib = report.bytes as f64 / f64::from(1 << 30);
        let took = report.took.as_secs_f64();
        println!(
            "{round} start: {:.2} GiB, {} records, {} ids in {took:.2} s: {:.2} s a GiB",
            gib,
            report.records,
            opened.journal.status().ids,
            took / gib
        );
        opened.running.close();
    }
}

fn main() {
    let options = options();
    let dir = tempfile::tempdir_in(&options.dir).unwrap();
    durable_events(&options, dir.path());
    recovery(&options, dir.path());
}
