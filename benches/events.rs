//! Durable events through the real server: how many a second, and how long an answer takes, beside
//! the disk's own time for the same bytes in the same run.
//!
//! `cargo bench --bench events -- [--clients 64] [--seconds 5] [--rounds 3] [--dir DIR]`; with
//! `--test` it runs once, small. Whatever its size it fails where an event is not answered, or not
//! counted once.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench tells, and may panic")]

mod disk;

use disk::{Flags, Times, disk_alone};
use gavel::clock;
use gavel::money::Currency;
use gavel::money::multiplier::Multiplier;
use gavel::money_event::codec::write_event;
use gavel::money_event::{Amount, EventType, SaleId};
use gavel::token::Claims;
use gavel::token::keys::{Key, Keys};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECRET: &str = "a secret of this bench that is long enough";

/// What an event takes on the disk beside its payload.
const FRAME_BYTES: usize = 17;

/// The goal, where nothing else runs: events a second, and the p99 of an answer.
const GOAL: (f64, f64) = (10_000.0, 20.0);

struct Options {
    clients: u64,
    seconds: u64,
    rounds: u64,
    dir: PathBuf,
}

fn options() -> Options {
    let flags = Flags::read();
    Options {
        clients: flags.number("--clients", 64, 8),
        seconds: flags.number("--seconds", 5, 0),
        rounds: flags.number("--rounds", 3, 1),
        dir: flags.dir(),
    }
}

/// The server, ended with the bench.
struct Server {
    child: Child,
    public: SocketAddr,
    operations: SocketAddr,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let config = dir.join("gavel.toml");
        let text = format!(
            "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [[partners]]\nname = 'publisher'\nopen = true\n\
             [journal]\ndir = '{}'\nballast_bytes = 0\n\
             [events]\nurl = 'https://x.example'\n[[events.keys]]\nid = 1\nsecret = '{SECRET}'\n",
            dir.join("journal").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["serve", "--operations", "127.0.0.1:0", "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut public, mut operations) = (None, None);
        for line in lines.by_ref().map_while(Result::ok) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let address = line["address"].as_str().and_then(|text| text.parse().ok());
            match (line["message"].as_str(), line["listener"].as_str()) {
                (Some("listening"), Some("public")) => public = address,
                (Some("listening"), Some("operations")) => operations = address,
                (Some("ready"), _) => break,
                _ => {}
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, public: public.unwrap(), operations: operations.unwrap() }
    }

    /// Billing events that count.
    fn counted(&self) -> u64 {
        let mut stream = TcpStream::connect(self.operations).unwrap();
        let ask = b"GET /metrics HTTP/1.1\r\nhost: x.example\r\nconnection: close\r\n\r\n";
        stream.write_all(ask).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let row = text.lines().find_map(|line| {
            line.strip_prefix("gavel_events_total{event=\"billing\",result=\"new\"} ")
        });
        row.map_or(0, |count| count.parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // already ended is as good
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn claims(id: u64, now: Duration) -> Claims<'static> {
    Claims {
        event: EventType::Billing,
        // spread as the hash of a sale is
        sale: SaleId::new(u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c830)),
        auction_id: "7979d0c7-8074-4d3c-a9b1-2c6ff6a6b0c4",
        imp_id: "slot-1",
        partner: "publisher",
        bidder: "alpha",
        seat: "agency-12",
        deal: "",
        gross: Amount::new(2_500_000, Currency::USD),
        net: Amount::new(2_000_000, Currency::USD),
        multiplier: Multiplier::ONE,
        min_to_win: None,
        generation: 1,
        auction_us: u64::try_from(now.as_micros()).unwrap(),
        expires_s: now.as_secs() + 3_600,
        // nobody is told: what is measured is the way in
        url: "",
    }
}

/// What all clients share.
struct Shared {
    to: SocketAddr,
    keys: Keys,
    now: Duration,
    next: AtomicU64,
    is_over: AtomicBool,
}

/// One connection; the next event goes out when the one before is answered.
async fn client(shared: Rc<Shared>) -> Vec<Duration> {
    let mut stream = tokio::net::TcpStream::connect(shared.to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut times, mut scratch, mut head, mut answer) =
        (Vec::new(), Vec::new(), Vec::new(), [0; 1024]);
    loop {
        head.clear();
        head.extend_from_slice(b"GET /e/");
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        shared.keys.issue(&claims(id, shared.now), &mut scratch, &mut head);
        head.extend_from_slice(b" HTTP/1.1\r\nhost: x.example\r\n\r\n");
        let begun = clock::monotonic();
        stream.write_all(&head).await.unwrap();
        let mut got = 0;
        while !answer[..got].ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut answer[got..]).await.unwrap();
            assert!(count > 0, "closed without an answer");
            got += count;
        }
        times.push(clock::monotonic().saturating_duration_since(begun));
        let line = String::from_utf8_lossy(&answer[..got.min(15)]);
        assert!(line.starts_with("HTTP/1.1 204"), "{line}");
        if shared.is_over.load(Ordering::Acquire) {
            return times;
        }
    }
}

/// All clients on one thread: as little of the machine as goes.
fn run(shared: Shared, clients: u64, time: Duration) -> (Times, Shared) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let shared = Rc::new(shared);
    let own: Vec<_> = (0..clients).map(|_| tasks.spawn_local(client(Rc::clone(&shared)))).collect();
    let mut all = Vec::new();
    tasks.block_on(&runtime, async {
        tokio::time::sleep(time).await;
        shared.is_over.store(true, Ordering::Release);
        for task in own {
            all.extend(task.await.unwrap());
        }
    });
    let shared = Rc::into_inner(shared).unwrap();
    shared.is_over.store(false, Ordering::Release);
    (Times(all).sorted(), shared)
}

fn main() {
    let options = options();
    let dir = tempfile::tempdir_in(&options.dir).unwrap();
    let server = Server::start(dir.path());
    let now = clock::wall();
    let mut payload = Vec::new();
    write_event(&claims(1, now).event(0, String::new()), &mut payload);
    let bytes = usize::try_from(options.clients).unwrap() * (payload.len() + FRAME_BYTES);
    println!("an event has {} bytes, {} clients", payload.len() + FRAME_BYTES, options.clients);
    let mut shared = Shared {
        to: server.public,
        keys: Keys::new(Key::new(1, SECRET), Vec::new()),
        now,
        next: AtomicU64::new(1),
        is_over: AtomicBool::new(false),
    };
    let disk_count = 20 + options.seconds * 20;
    for round in 1..=options.rounds {
        let before = disk_alone(dir.path(), bytes, disk_count);
        let begun = clock::monotonic();
        let time = Duration::from_millis(options.seconds * 1000 + 20);
        let (times, back) = run(shared, options.clients, time);
        shared = back;
        let took = clock::monotonic().saturating_duration_since(begun).as_secs_f64();
        let after = disk_alone(dir.path(), bytes, disk_count);
        let disk = Times([before.0, after.0].concat()).sorted();
        let rate = times.0.len() as f64 / took;
        println!("round {round}");
        println!("  disk alone, {bytes} bytes and fdatasync: {}", disk.text());
        println!("  endpoint: {rate:.0} events/s, {}", times.text());
        println!("  an answer's p99 is {:.1} times the disk's", times.at(990) / disk.at(990));
        if options.seconds > 0 {
            let is_met = rate >= GOAL.0 && times.at(990) <= GOAL.1;
            println!("  the goal is {}", if is_met { "met" } else { "not met" });
        }
    }
    let sent = shared.next.into_inner() - 1;
    assert_eq!(server.counted(), sent, "each is counted once");
    println!("{sent} events sent, answered and counted");
}
