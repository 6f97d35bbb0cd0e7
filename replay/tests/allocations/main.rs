//! How often the memory allocator is called for each auction: a ratchet.
//!
//! Of its own, since the whole process is counted: the exchange runs in it; the bidders are a
//! child. One request follows the other on one connection, no deadline is near and nothing is shed, so
//! that the speed of the machine decides nothing: neither how many connections there are nor which answers
//! come in time. Only the workers are held to it: what does its work by the clock (a commit of the
//! journal, a look around ten times a second) allocates the more for an auction the slower it is.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]
#![expect(unsafe_code, reason = "an allocator that counts cannot be written without")]

use gavel::app::{self, ServeArgs};
use nix::sys::prctl;
use replay::generate::{GenerateSettings, Generator};
use replay::stub::process;
use replay::stub::spec::{BidderSpec, StubSpec};
use replay::wire::answer::{AnswerReader, Progress};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Calls for each auction with five bidders, those of hyper and tokio included. It may only be
/// lowered.
const ALLOCATIONS_MAX: f64 = 16.5;

const BIDDERS: u32 = 5;
const PROGRAM: &str = env!("CARGO_BIN_EXE_gavel-replay");

/// What threads are called that auctions run through.
const WORKERS: &[u8] = b"gavel-w";

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Before, threads that have no name yet are not asked for it.
static COUNTS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is counted; none: nobody has asked it.
    static IS_COUNTED: Cell<Option<bool>> = const { Cell::new(None) };
}

fn count() {
    if !COUNTS.load(Ordering::Relaxed) {
        return;
    }
    let is_counted = IS_COUNTED.get().unwrap_or_else(|| {
        // asking for the name allocates
        IS_COUNTED.set(Some(false));
        let name = prctl::get_name().unwrap_or_default();
        let is_one = name.as_bytes().starts_with(WORKERS);
        IS_COUNTED.set(Some(is_one));
        is_one
    });
    ALLOCATIONS.fetch_add(u64::from(is_counted), Ordering::Relaxed);
}

struct Counting;

// SAFETY: every call goes to the system's allocator with the very arguments that came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `block` came from `System`, as every block here does.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_auction_calls_the_allocator_seldom() {
    let spec = BidderSpec { latency_ms: 0.0, bid_rate: 0.6, ..BidderSpec::default() };
    let spec = StubSpec { seed: 11, ..StubSpec::uniform(BIDDERS, &spec) };
    let mut command = Command::new(PROGRAM);
    command.args(["stub", "--child"]);
    let stub = process::spawn(command, &spec).unwrap();
    let calls = || stub.stats().unwrap().iter().map(|bidder| bidder.requests).sum::<u64>();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gavel.toml");
    std::fs::write(&config, configuration(stub.addresses())).unwrap();
    let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let operations = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let args =
        ServeArgs { config, operations, listen: Some(listen), keep: None, exit_on_fault: true };
    std::thread::spawn(move || app::serve(&args));
    let mut client = loop {
        match TcpStream::connect(listen) {
            Ok(client) => break client,
            Err(_) => std::thread::yield_now(),
        }
    };
    let requests = requests();

    // caches and pools fill, buffers grow to the sizes that they need
    ask_all(&mut client, &requests);
    // what comes in two pieces on a busy machine costs one more: the best of three is what it takes
    let rounds = [(); 3].map(|()| {
        let called = calls();
        ALLOCATIONS.store(0, Ordering::Relaxed);
        COUNTS.store(true, Ordering::Relaxed);
        ask_all(&mut client, &requests);
        COUNTS.store(false, Ordering::Relaxed);
        let auctions = (calls() - called) as f64 / f64::from(BIDDERS);
        let each = ALLOCATIONS.load(Ordering::Relaxed) as f64 / auctions;
        eprintln!("{each:.1} allocations an auction, over {auctions}");
        assert!(auctions > 900.0, "{auctions} auctions are too few to count by");
        each
    });
    let each = rounds.into_iter().fold(f64::INFINITY, f64::min);
    assert!(each > ALLOCATIONS_MAX / 2.0, "{each:.1}: the threads are called otherwise now");
    assert!(each <= ALLOCATIONS_MAX, "{each:.1} allocations an auction");
}

/// A thousand requests, heads and all, none of which is in a hurry.
fn requests() -> Vec<Vec<u8>> {
    let generator = Generator::new(GenerateSettings { seed: 1, broken: 0.0 });
    let request = |number| {
        let mut body = Vec::new();
        generator.write(number, &mut body);
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["tmax"] = 10_000.into();
        let body = body.to_string();
        let head = "POST /openrtb2/p HTTP/1.1\r\nHost: gavel.example\r\nx-gavel-key: key\r\n\
                    Content-Type: application/json\r\nContent-Length";
        format!("{head}: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    (0..1_000).map(request).collect()
}

/// One after the other; allocates nothing but `answer`.
fn ask_all(client: &mut TcpStream, requests: &[Vec<u8>]) {
    let mut answer = vec![0; 64 << 10];
    for request in requests {
        client.write_all(request).unwrap();
        let (mut reader, mut filled) = (AnswerReader::default(), 0);
        loop {
            let count = client.read(&mut answer[filled..]).unwrap();
            filled += count;
            match reader.read(&answer[..filled], count == 0) {
                Progress::Complete(answer) => {
                    // 400: a floor in a currency that has no rate here
                    assert!(matches!(answer.status, 200 | 204 | 400), "{}", answer.status);
                    break;
                }
                Progress::More => {}
                Progress::Malformed => panic!("not an answer"),
            }
        }
    }
}

fn configuration(bidders: &[SocketAddr]) -> String {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo");
    let mut text = format!(
        "[admin]\nlisten = '127.0.0.1:0'\n\
         [admission]\nburst_time = '1h'\nburst_lag = '1h'\n[databases]\ncity = '{demo}/geo/demo-city.mmdb'\n\
         isp = '{demo}/geo/demo-isp.mmdb'\ndevice_regexes = '{demo}/device/regexes.yaml'\n\
         device_models = '{demo}/device/models.toml'\n[[partners]]\nname = 'p'\n\
         keys = ['blake3:{key}']\nfloor = 0.01\nbadv = ['blocked.example']\ntmax_default = '10s'\n\
         allow_unknown_channel = true\ntmax_max = '10s'\nblock = {{ bots = false }}\n\
         schain = {{ asi = 'gavel.example', sid = 'p' }}\n",
        demo = demo.display(),
        key = blake3::hash(b"key"),
    );
    for (number, address) in bidders.iter().enumerate() {
        writeln!(text, "[[bidders]]\nname = 'b{number}'\nurl = 'http://{address}/bid'").unwrap();
    }
    text
}
