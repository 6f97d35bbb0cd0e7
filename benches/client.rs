//! CPU of the calling thread for a fan-out to five bidders: our client against hyper's.
//!
//! The bidders are a child process that answers 700 bytes at once. Both clients do what an
//! auction needs and no more: a connection from a stack, one request, the whole answer, one timer
//! around all. Rounds alternate; what counts is the ratio of the medians.
//!
//! `cargo bench --bench client` (`-- --test` runs short rounds).
#![expect(clippy::print_stdout, reason = "a harness prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a harness may ask for the time")]

use bytes::Bytes;
use gavel::bid::BidAnswer;
use gavel::bidder::desk::{Counts, Desk, Net};
use gavel::bidder::fanout::fan_out;
use gavel::bidder::net::NetSettings;
use gavel::bidder::{
    Bidder, CallLimits, CallTime, Endpoint, HttpVersion, ImpSet, Invitation, NoticeRules,
    OpenRtbVersion, Outgoing, Seats, Targeting, Wire,
};
use gavel::limits::bank::Bank;
use gavel::limits::rate::LeaseSettings;
use gavel::openrtb::ids::BidderId;
use gavel::telemetry::hub::{Hub, TelemetrySettings};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bidders of an auction.
const BIDDERS: u16 = 5;
/// Bytes of a request's body and of an answer's.
const REQUEST: usize = 2_048;
const ANSWER: usize = 700;
/// Auctions at once on the thread.
const LANES: usize = 32;
const ROUNDS: usize = 7;

/// Holds one auction.
type Auction = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A client, made on the thread that uses it.
type Client = fn(&[SocketAddr]) -> Auction;
type Named = (&'static str, Client);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    if has("bidders") {
        return bidders();
    }
    let auctions = if has("--test") { 320 } else { 40_000 };
    let (_child, addresses) = start_bidders();
    let clients: &[Named] = match (has("ours"), has("hyper")) {
        (true, false) => &[("ours", ours)],
        (false, true) => &[("hyper", theirs)],
        _ => &[("ours", ours), ("hyper", theirs)],
    };
    let mut figures = vec![Vec::new(); clients.len()];
    for round in 0..ROUNDS {
        for ((_, client), costs) in clients.iter().zip(&mut figures) {
            let cost = measure(auctions, *client, &addresses);
            // the first round warms up
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    println!("{BIDDERS} bidders, {LANES} auctions at once, {auctions} a round, CPU-us an auction");
    let medians: Vec<f64> = figures
        .iter_mut()
        .zip(clients)
        .map(|(costs, (name, _))| {
            costs.sort_by(f64::total_cmp);
            let median = costs.get(costs.len() / 2).copied().unwrap_or_default();
            println!("  {name:6} {median:6.2}");
            median
        })
        .collect();
    if let [ours, theirs] = medians[..] {
        println!("  ratio  {:6.3}", ours / theirs);
    }
}

/// Runs auctions on a thread of their own and gives the thread's CPU time for each (us).
fn measure(auctions: usize, client: Client, addresses: &[SocketAddr]) -> f64 {
    let addresses = addresses.to_vec();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .expect("a runtime");
        runtime.block_on(async {
            let auction = client(&addresses);
            run(&auction, LANES * 4).await;
            let before = cpu_ns();
            run(&auction, auctions).await;
            (cpu_ns() - before) as f64 / auctions as f64 / 1000.0
        })
    });
    thread.join().expect("no panic")
}

async fn run(auction: &Auction, auctions: usize) {
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let auction = auction.clone();
            tokio::task::spawn_local(async move {
                for _ in 0..auctions / LANES {
                    auction().await;
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.expect("no panic");
    }
}

fn ours(addresses: &[SocketAddr]) -> Auction {
    let bank = Arc::new(Mutex::new(Bank::new(1, LeaseSettings::default())));
    let net = Net::new(NetSettings::default(), 1, bank).expect("settings");
    let hub = Arc::new(Hub::new(1, TelemetrySettings::default(), &[]));
    let counts = Counts { cells: Rc::new(hub.worker(0).expect("one worker")), hub };
    let desk = Desk::new(Arc::new(net), 0, counts);
    let bidders: Rc<[Bidder]> = addresses.iter().map(|address| bidder(*address)).collect();
    Rc::new(move || {
        let (desk, bidders) = (desk.clone(), bidders.clone());
        Box::pin(async move {
            let now = Instant::now();
            let left = Duration::from_secs(1);
            let table = desk.table(1, &bidders, now);
            let calls = (0..BIDDERS)
                .map(|at| {
                    let permit = table.admit(BidderId(at), now, left).expect("admitted");
                    let invitation = Invitation { bidder: BidderId(at), imps: ImpSet(1) };
                    let mut packet = desk.shelves.packet();
                    packet.body_mut().extend_from_slice(&[b'x'; REQUEST]);
                    (permit, Outgoing { invitation, packet, parent: None })
                })
                .collect();
            let answers = fan_out(&desk, calls, now + left, |_, raw| {
                Ok(BidAnswer { body: raw.content.to_vec(), ..BidAnswer::default() })
            })
            .await;
            assert!(answers.iter().all(|answer| answer.status == 200));
        })
    })
}

/// hyper's connections, held in a stack for each bidder.
#[derive(Clone)]
struct Held {
    address: SocketAddr,
    idle: Rc<RefCell<Vec<SendRequest<Full<Bytes>>>>>,
}

fn theirs(addresses: &[SocketAddr]) -> Auction {
    let held: Rc<[Held]> =
        addresses.iter().map(|address| Held { address: *address, idle: Rc::default() }).collect();
    Rc::new(move || {
        let held = held.clone();
        Box::pin(async move {
            let [one, two, three, four, five] = &held[..] else { return };
            let all = async {
                tokio::join!(
                    their_call(one),
                    their_call(two),
                    their_call(three),
                    their_call(four),
                    their_call(five)
                )
            };
            tokio::time::timeout(Duration::from_secs(1), all).await.expect("in time");
        })
    })
}

async fn their_call(held: &Held) -> Vec<u8> {
    let kept = held.idle.borrow_mut().pop();
    let mut send = match kept {
        Some(send) => send,
        None => connect(held.address).await,
    };
    send.ready().await.expect("ready");
    let request = http::Request::post("/bid?x=1")
        .header("host", "bidder.example")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("x-openrtb-version", "2.6")
        .body(Full::new(Bytes::from(vec![b'x'; REQUEST])))
        .expect("a request");
    let response = send.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    held.idle.borrow_mut().push(send);
    body.to_vec()
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("an option");
    let (send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::task::spawn_local(connection);
    send
}

fn bidder(address: SocketAddr) -> Bidder {
    Bidder {
        name: address.to_string(),
        endpoint: Endpoint {
            is_tls: false,
            host: address.ip().to_string(),
            port: address.port(),
            path: "/bid?x=1".to_owned(),
        },
        wire: Wire {
            version: OpenRtbVersion::V26,
            http: HttpVersion::Http1,
            is_gzip: false,
            tells_trace: false,
            currency: None,
            buyeruid_source: None,
            headers: Vec::new(),
        },
        targeting: Targeting::default(),
        seats: Seats::default(),
        time: CallTime::default(),
        limits: CallLimits::default(),
        notices: NoticeRules::default(),
    }
}

/// CPU time of this thread (ns).
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// The child process.
struct Bidders(Child);

impl Drop for Bidders {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_bidders() -> (Bidders, Vec<SocketAddr>) {
    let mut child = Command::new(std::env::current_exe().expect("our name"))
        .arg("bidders")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let addresses = out
        .lines()
        .take(usize::from(BIDDERS))
        .map(|line| line.expect("a line").parse().expect("an address"))
        .collect();
    (Bidders(child), addresses)
}

/// Answers everybody, a thread for each connection.
fn bidders() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                date: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: ";
    let answer = format!("{head}{ANSWER}\r\n\r\n{}", "y".repeat(ANSWER));
    let answer: Arc<[u8]> = answer.into_bytes().into();
    let threads: Vec<_> = (0..BIDDERS)
        .map(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
            println!("{}", listener.local_addr().expect("an address"));
            let answer = answer.clone();
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    let answer = answer.clone();
                    std::thread::spawn(move || serve(stream, &answer));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let (mut buffer, mut filled) = (vec![0; 16 << 10], 0);
    // all requests have one length: when the head is whole, what to wait for is known
    while let Ok(count @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += count;
        let head = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|at| filled >= at + 4 + REQUEST) {
            filled = 0;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}
