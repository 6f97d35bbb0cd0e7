//! A bidder of our own for tests, on a raw socket: it does whatever its script says.

use crate::bid::BidAnswer;
use crate::bidder::call::Raw;
use crate::bidder::desk::{Counts, Desk, Net, Permit};
use crate::bidder::fanout::fan_out;
use crate::bidder::net::NetSettings;
use crate::bidder::shelf::Packet;
use crate::bidder::{
    Answer, Bidder, CallLimits, CallTime, Endpoint, ImpSet, Invitation, NoticeRules, Outgoing,
    Seats, Silence, Targeting, Wire,
};
use crate::clock;
use crate::limits::bank::Bank;
use crate::limits::rate::LeaseSettings;
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::BidderId;
use crate::telemetry::hub::{Hub, ProcessState, TelemetrySettings};
use crate::telemetry::render::prometheus;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a script is told.
pub struct Turn<'a> {
    /// Which request on its connection, from 0.
    pub request: usize,
    pub head: &'a str,
    pub body: &'a [u8],
}

/// A running bidder; its threads end with the process.
pub struct Evil {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
}

impl Evil {
    /// Runs `script` for each request; the connection is closed when it gives `false`.
    pub fn start(
        script: impl Fn(&Turn<'_>, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let evil = Self { address, accepted: accepted.clone() };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                accepted.fetch_add(1, Ordering::SeqCst);
                let script = script.clone();
                std::thread::spawn(move || converse(stream, &*script));
            }
        });
        evil
    }

    /// Always sends these bytes and keeps the connection open.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, stream| stream.write_all(&bytes).is_ok())
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub fn bidder(&self) -> Bidder {
        bidder(self.address)
    }
}

fn converse(mut stream: TcpStream, script: &dyn Fn(&Turn<'_>, &mut TcpStream) -> bool) {
    let mut request = 0;
    while let Some((head, body)) = read_request(&mut stream) {
        if !script(&Turn { request, head: &head, body: &body }, &mut stream) {
            return;
        }
        request += 1;
    }
}

/// One request off a socket; `None` at its end.
pub fn read_request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// 200 with a length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub fn bidder(address: SocketAddr) -> Bidder {
    Bidder {
        name: format!("b{}", address.port()),
        endpoint: Endpoint {
            is_tls: false,
            host: address.ip().to_string(),
            port: address.port(),
            path: "/bid?x=1".to_owned(),
        },
        wire: Wire {
            version: crate::bidder::OpenRtbVersion::V26,
            http: crate::bidder::HttpVersion::Http1,
            is_gzip: false,
            currency: None,
            tells_trace: false,
            buyeruid_source: None,
            headers: vec![("x-extra".to_owned(), "yes".to_owned())],
        },
        targeting: Targeting::default(),
        seats: Seats::default(),
        time: CallTime::default(),
        limits: CallLimits::default(),
        notices: NoticeRules::default(),
    }
}

/// Runs `test` as a worker would: on a local runtime, with a desk.
pub fn on_worker(settings: NetSettings, test: impl AsyncFnOnce(Rc<Desk>)) {
    let bank = Arc::new(Mutex::new(Bank::new(1, LeaseSettings::default())));
    let net = Arc::new(Net::new(settings, 1, bank).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    let hub = Arc::new(Hub::new(1, TelemetrySettings::default(), &[]));
    let cells = Rc::new(hub.worker(0).unwrap());
    runtime.block_on(async { test(Desk::new(net, 0, Counts { hub, cells })).await });
}

/// No connection is opened before it is needed: for tests that count them.
pub fn cold() -> NetSettings {
    NetSettings { warm_connections: 0, ..NetSettings::default() }
}

pub fn admit(
    desk: &Desk,
    generation: u64,
    bidders: &[Bidder],
    at: u16,
) -> Result<Permit, NotCalled> {
    let now = clock::monotonic();
    let left = Duration::from_millis(500);
    desk.table(generation, bidders, now).admit(BidderId(at), now, left)
}

/// Calls all bidders with `body`; an answer's content comes back as `BidAnswer::body`.
pub async fn call(desk: &Rc<Desk>, bidders: &[Bidder], body: &str, most: Duration) -> Vec<Answer> {
    // each call sees a snapshot of its own: what is warm stays warm
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
    let calls = (0..u16::try_from(bidders.len()).unwrap())
        .map(|at| {
            let invitation = Invitation { bidder: BidderId(at), imps: ImpSet(1) };
            let wants_trace = bidders[usize::from(at)].wire.tells_trace;
            let parent = wants_trace.then(|| format!("span-{at}").into());
            let outgoing = Outgoing { invitation, packet: Packet::of(body.as_bytes()), parent };
            (admit(desk, generation, bidders, at).unwrap(), outgoing)
        })
        .collect();
    fan_out(desk, calls, clock::monotonic() + most, keep).await
}

/// Late answers of all bidders that were read to their end, that were abandoned, and that have a time.
pub fn late_counts(desk: &Desk) -> [u64; 3] {
    let text = prometheus(&desk.counts.hub, &ProcessState::default());
    let sum = |name: &str, label: &str| -> u64 {
        let is_it = |line: &&str| line.starts_with(name) && line.contains(label);
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
        text.lines().filter(is_it).map(value).sum()
    };
    let late = "gavel_late_answers_total{";
    let timed = sum("gavel_bidder_answer_seconds_count", "");
    [sum(late, "\"read\""), sum(late, "\"abandoned\""), timed]
}

/// One bidder; what came as text.
pub async fn call_one(desk: &Rc<Desk>, bidder: &Bidder) -> Result<String, NoAnswer> {
    let answers =
        call(desk, std::slice::from_ref(bidder), "{}", Duration::from_millis(2_000)).await;
    text(answers.into_iter().next().unwrap())
}

pub fn text(answer: Answer) -> Result<String, NoAnswer> {
    answer.result.map(|answer| String::from_utf8(answer.body).unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that fan_out wants")]
fn keep(_: &Invitation, raw: Raw<'_>) -> Result<BidAnswer, Silence> {
    Ok(BidAnswer { body: raw.content.to_vec(), ..BidAnswer::default() })
}
