//! A whole server on port 0 with a road that echoes, and what its tests speak to it with.

use bytes::Bytes;
use gavel::arrival::{Arrival, Body};
use gavel::clock;
use gavel::exchange::{Outcome, Verdict};
use gavel::http::auth::hash_key;
use gavel::http::gates::{Gates, GatesParts};
use gavel::http::serve::{Front, FrontParts};
use gavel::http::{HttpSettings, Road};
use gavel::lifecycle::{Lifecycle, Phase};
use gavel::limits::admission::AdmissionSettings;
use gavel::limits::bank::Bank;
use gavel::limits::rate::LeaseSettings;
use gavel::partner::Partner;
use gavel::runtime::acceptor::{AcceptSettings, AcceptorParts};
use gavel::runtime::listener::ListenSettings;
use gavel::runtime::workers::{Ended, WorkerSettings, Workers};
use gavel::runtime::{acceptor, listener, workers};
use gavel::snapshot::{Held, Live, Parts, Snapshot};
use gavel::telemetry::hub::{CaptureState, Hub, ProcessState, TelemetrySettings, Value};
use gavel::telemetry::notices::NoticeState;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A road that answers with the body; `panic` panics, `wait` waits for the gate.
#[derive(Clone)]
pub struct Echo {
    pub gate: Arc<Semaphore>,
    pub begun: Arc<AtomicU32>,
    pub ended: Arc<AtomicU32>,
    pub clients: Arc<Mutex<Vec<Arrival>>>,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            begun: Arc::default(),
            ended: Arc::default(),
            clients: Arc::default(),
        }
    }
}

impl Road for Echo {
    async fn hold(&self, snapshot: Held, arrival: Arrival, body: Body) -> Outcome {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.clients.lock().unwrap().push(arrival);
        match body.as_slice() {
            b"panic" => panic!("on purpose"),
            b"wait" => self.gate.acquire().await.unwrap().forget(),
            _ => {}
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        let verdict = Verdict::Answered(Bytes::copy_from_slice(body.as_slice()));
        Outcome { generation: snapshot.generation, verdict, wins: Vec::new(), trace: None }
    }
}

pub fn partner(name: &str, key: Option<&str>) -> Partner {
    Partner {
        key_hashes: key.map(|key| hash_key(key.as_bytes())).into_iter().collect(),
        ..Partner::new(name)
    }
}

/// Each partner's slot, and its rate. The rates are never rebalanced: what a worker was leased
pub struct Server {
    pub address: SocketAddr,
    pub lifecycle: Arc<Lifecycle>,
    open: Arc<AtomicU32>,
    hub: Arc<Hub>,
    acceptor: JoinHandle<()>,
    workers: Workers,
    pub echo: Echo,
}

impl Server {
    pub fn start(settings: HttpSettings) -> Self {
        Self::start_with(settings, 2, AcceptSettings::default())
    }

    /// One that has no snapshot.
    pub fn start_empty(settings: HttpSettings) -> Self {
        Self::build(settings, 2, AcceptSettings::default(), false)
    }

    pub fn start_with(settings: HttpSettings, count: usize, accept: AcceptSettings) -> Self {
        Self::build(settings, count, accept, true)
    }

    /// Connections open over all workers.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    /// Requests of a partner that ended so.
    pub fn requests(&self, partner: &str, result: &str) -> u64 {
        self.count("gavel_requests_total", &[partner, result])
    }

    /// What an instrument shows under these labels.
    pub fn count(&self, name: &str, labels: &[&str]) -> u64 {
        let mut sum = 0;
        let process = ProcessState {
            now: Duration::ZERO,
            started: Duration::ZERO,
            version: "test",
            generation: 1,
            listeners: Vec::new(),
            rates: None,
            is_degraded: false,
            capture: CaptureState::default(),
            notices: NoticeState::default(),
            sources: Vec::new(),
            databases: Vec::new(),
            ..ProcessState::default()
        };
        self.hub.collect(&process, &mut |sample| {
            if sample.meter.name == name
                && sample.labels == labels
                && let Value::Whole(count) = sample.value
            {
                sum += count;
            }
        });
        sum
    }

    /// Connections of each worker, as it publishes them.
    pub fn connections(&self) -> Vec<u32> {
        self.workers.cells().iter().map(|cell| cell.read().connections).collect()
    }

    fn build(
        settings: HttpSettings,
        count: usize,
        accept: AcceptSettings,
        has_snapshot: bool,
    ) -> Self {
        let lifecycle = Arc::new(Lifecycle::default());
        let live = Arc::new(Live::default());
        let mut partners = vec![partner("acme", None), partner("keyed", Some("secret"))];
        partners.push(Partner { qps: Some(0), ..partner("stopped", None) });
        let hub = Arc::new(Hub::new(count, TelemetrySettings::default(), &[]));
        if has_snapshot {
            let mut bank = Bank::new(count, LeaseSettings::default());
            let parts = Parts::plain(partners, Vec::new());
            let now = clock::monotonic();
            live.publish(Arc::new(Snapshot::new(1, parts, &mut bank, &hub, now)));
        }
        let echo = Echo::default();
        let settings = Arc::new(settings);
        let (road, shared) = (echo.clone(), Arc::clone(&live));
        let worker_settings =
            WorkerSettings { drain_max: Duration::from_secs(5), ..WorkerSettings::default() };
        let shared_hub = Arc::clone(&hub);
        let workers = workers::spawn(count, worker_settings, &lifecycle, move |seat| {
            let gates = Gates::new(GatesParts {
                worker: seat.index,
                // a busy machine is no overload here
                admission: AdmissionSettings {
                    burst_time: Duration::from_secs(3600),
                    burst_lag: Duration::from_secs(3600),
                    ..AdmissionSettings::default()
                },
                cells: Rc::new(shared_hub.worker(seat.index).unwrap()),
                load: Rc::clone(&seat.load),
            });
            let front = Front::new(FrontParts {
                worker: seat.index,
                road: Rc::new(road.clone()),
                live: Arc::clone(&shared),
                settings: Arc::clone(&settings),
                tasks: seat.tasks,
                load: seat.load,
                lifecycle: seat.lifecycle,
                gates,
                events: None,
            });
            move |stream, peer| front.clone().serve(stream, peer)
        })
        .unwrap();
        let bound =
            listener::bind("127.0.0.1:0".parse().unwrap(), &ListenSettings::default()).unwrap();
        let open = Arc::new(AtomicU32::new(0));
        let parts = AcceptorParts {
            outlets: workers.outlets(),
            started: workers.started(),
            lifecycle: Arc::clone(&lifecycle),
            hub: Arc::clone(&hub),
            open: Arc::clone(&open),
            settings: accept,
        };
        let acceptor = acceptor::spawn(bound.listener, parts).unwrap();
        lifecycle.advance(Phase::Ready);
        Self { address: bound.address, lifecycle, open, hub, acceptor, workers, echo }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends the bytes on a new connection; gives everything up to the server's close, which must
    /// come by itself.
    pub fn probe(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may have answered and closed before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks the first worker to let a connection of so many thousandths of its load go, as the
    /// acceptor does when it is too busy.
    pub fn ask_to_let_go(&self, share: u32) {
        self.workers.cells()[0].ask_to_let_go(share);
    }

    pub fn stop(self) -> Ended {
        self.lifecycle.advance(Phase::Closing);
        self.acceptor.join().unwrap();
        self.workers.join()
    }
}

pub fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: gavel.example\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// One answer off a connection that stays open: its head, and as much body as it declares.
pub fn read_answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0; 1];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap() == 0 {
            return String::from_utf8(text).unwrap();
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never came to be: {what}");
}
