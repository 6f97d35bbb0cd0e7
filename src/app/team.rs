//! The threads that serve: workers, acceptor, and the limits that they share.
//!
//! Owns: [`Team`]. Never: a signal, a log line of a request.

use super::books::Books;
use super::memory;
use super::notices::Sending;
use crate::bidder::desk::{Counts, Desk, Net};
use crate::bidder::net::NetSettings;
use crate::broker::link::Link;
use crate::capture::recorder::Recorder;
use crate::clock;
use crate::config::Config;
use crate::config::fault::chain;
use crate::enrich::databases::Databases;
use crate::exchange::{Exchange, ExchangeSettings};
use crate::http::events::EventDesk;
use crate::http::gates::{Gates, GatesParts};
use crate::http::serve::{Front, FrontParts};
use crate::http::trial::{self, Trial, TrialSeat};
use crate::journal::handle::Journal;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::load::LoadCell;
use crate::limits::bank::Bank;
use crate::notice::event_log::EventLog;
use crate::notice::plan::Outbox;
use crate::notice::tally::Tally;
use crate::runtime::acceptor::{self, AcceptorParts};
use crate::runtime::cpu;
use crate::runtime::listener;
use crate::runtime::queue::{QueueCell, QueueWatch};
use crate::runtime::workers::{self, Ended, Seat, Workers};
use crate::snapshot::{Live, Parts, Snapshot};
use crate::telemetry::hub::Hub;
use crate::telemetry::spans::{AuctionSpan, TraceRoad};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, Receiver};
use tracing::info;

/// Everything that runs beside the control runtime.
#[derive(Debug)]
pub struct Team {
    workers: Workers,
    count: usize,
    acceptor: JoinHandle<()>,
    address: SocketAddr,
    live: Arc<Live>,
    bank: Arc<Mutex<Bank>>,
    vitals: Vitals,
    net: Arc<Net>,
    sending: Sending,
    trials: Vec<mpsc::Sender<Trial>>,
    traces: Option<Receiver<AuctionSpan>>,
}

/// What the operations listener tells of a running team.
#[derive(Clone, Debug)]
pub struct Vitals {
    pub recorder: Arc<Recorder>,
    pub hub: Arc<Hub>,
    pub live: Arc<Live>,
    pub queue: Arc<QueueCell>,
    pub notices: Arc<Tally>,
    pub journal: Option<Journal>,
    pub broker: Option<Link>,
}

impl Team {
    /// Starts all of it, its accept queue to be watched by the caller; the error is a line for the
    /// report.
    pub fn start(
        config: &Config,
        databases: Arc<Databases>,
        lifecycle: &Arc<Lifecycle>,
        books: &Books,
    ) -> Result<(Self, QueueWatch), String> {
        let descriptors = acceptor::raise_descriptor_limit();
        let counted = cpu::worker_count(config.edge.cpu);
        info!(
            workers = counted.count,
            because = ?counted.because,
            quota_milli = counted.quota_milli,
            affinity = counted.affinity,
            "workers counted"
        );
        let telling = &config.telling;
        let road = telling.push.as_ref().map(|_| TraceRoad::new(telling.traces, counted.count));
        let (road, traces) = road.unzip();
        let hub = Hub::new(counted.count, telling.counted, &crate::admit::lenient::LABELS);
        let hub = Arc::new(hub.with_traces(road));
        let mut bank = Bank::new(counted.count, config.edge.lease);
        let recorder = Arc::new(Recorder::default());
        let live = Arc::new(Live::default());
        let parts = first(config, databases, &recorder);
        live.publish(Arc::new(Snapshot::new(1, parts, &mut bank, &hub, clock::monotonic())));
        let bank = Arc::new(Mutex::new(bank));

        let count = u32::try_from(counted.count).unwrap_or(u32::MAX);
        let most = acceptor::outbound_max(&config.edge.accept, descriptors, counted.count);
        let settings = NetSettings { connections_max: most, ..config.engine.net.clone() };
        let net = Net::new(settings, count, Arc::clone(&bank)).map_err(|fault| chain(&fault))?;
        let net = Arc::new(net);
        let bound = listener::bind(config.edge.listen, &config.edge.listener)
            .map_err(|fault| chain(&fault))?;
        let (trials, inboxes) = (0..counted.count).map(|_| trial::way()).unzip();
        let (log, journal, link) = (books.log(), books.journal(), books.link());
        let sending = Sending::start(config, Arc::clone(&live), (log.as_ref(), link.as_ref()))?;
        let main = worker_main(config, (&net, sending.outbox()), (&hub, &live), (inboxes, log));
        let workers = workers::spawn(counted.count, config.edge.workers, lifecycle, main)
            .map_err(|fault| chain(&fault))?;
        let watch = QueueWatch::new(&bound, config.edge.listener.backlog);
        let parts = AcceptorParts {
            outlets: workers.outlets(),
            started: workers.started(),
            lifecycle: Arc::clone(lifecycle),
            hub: Arc::clone(&hub),
            open: Arc::default(),
            settings: config.edge.accept,
        };
        let acceptor = acceptor::spawn(bound.listener, parts).map_err(|fault| fault.to_string())?;
        // the last of all: whatever failed before leaves no task behind
        tokio::task::spawn_local(Arc::clone(&net.resolver).run());
        let (queue, notices, broker) = (watch.cell(), sending.tally(), books.link());
        let vitals =
            Vitals { recorder, hub, live: Arc::clone(&live), queue, notices, journal, broker };
        let team = Self {
            workers,
            count: counted.count,
            acceptor,
            address: bound.address,
            live,
            bank,
            vitals,
            net,
            sending,
            trials,
            traces,
        };
        Ok((team, watch))
    }

    pub fn workers(&self) -> usize {
        self.count
    }

    /// Where partners call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    pub fn bank(&self) -> Arc<Mutex<Bank>> {
        Arc::clone(&self.bank)
    }

    /// The way of an operator's test requests to each worker.
    pub fn trials(&self) -> Vec<mpsc::Sender<Trial>> {
        self.trials.clone()
    }

    pub fn net(&self) -> Arc<Net> {
        Arc::clone(&self.net)
    }

    /// Where the workers' traces come out, once, and where it is counted what becomes of them;
    /// `None`: nothing is traced.
    pub fn take_traces(&mut self) -> Option<(Receiver<AuctionSpan>, Arc<Hub>)> {
        Some((self.traces.take()?, Arc::clone(&self.vitals.hub)))
    }

    /// Where each worker says how loaded it is, and is told of the process's memory.
    pub fn loads(&self) -> Vec<Arc<LoadCell>> {
        self.workers.cells().to_vec()
    }

    pub fn vitals(&self) -> Vitals {
        self.vitals.clone()
    }

    /// Waits for all threads. Blocks.
    pub fn join(self) -> Ended {
        let acceptor_died = self.acceptor.join().is_err();
        let mut ended = self.workers.join();
        ended.panicked += usize::from(acceptor_died);
        self.vitals.recorder.stop();
        // no worker is left that could hand over more
        self.sending.end();
        ended
    }
}

/// What the first snapshot is made of.
fn first(config: &Config, databases: Arc<Databases>, recorder: &Recorder) -> Parts {
    Parts {
        recording: recorder.apply(config.rules.capture.as_ref()),
        issuer: config.rules.issuer.clone(),
        partners: config.rules.partners.clone(),
        bidders: config.rules.bidders.clone(),
        rates: Arc::clone(&config.rules.rates),
        floors: Arc::clone(&config.rules.floors),
        databases,
        privacy: config.rules.privacy.clone(),
        sellers: config.rules.sellers.clone(),
        roster: config.engine.roster,
    }
}

/// What each worker builds on its own thread.
fn worker_main(
    config: &Config,
    (net, outbox): (&Arc<Net>, Outbox),
    (hub, live): (&Arc<Hub>, &Arc<Live>),
    (trials, log): (Vec<mpsc::Receiver<Trial>>, Option<EventLog>),
) -> impl Fn(Seat) -> Box<dyn Fn(TcpStream, SocketAddr) -> Serving> + Send + Sync + 'static {
    let (net, hub, live) = (Arc::clone(net), Arc::clone(hub), Arc::clone(live));
    let http = Arc::new(config.edge.http.clone());
    let admission = memory::bounded(config.edge.admission, &config.memory, trials.len());
    let waiting_max = config.events.in_flight_max;
    // each worker takes its own
    let trials: Vec<_> = trials.into_iter().map(|inbox| Mutex::new(Some(inbox))).collect();
    let engine = &config.engine;
    let settings = ExchangeSettings {
        limits: engine.limits,
        enrich: engine.enrich,
        shape: engine.shape,
        auction: engine.auction,
    };
    move |seat| {
        let cells = Rc::new(hub.worker(seat.index).expect("the hub has cells for each worker"));
        let counts = Counts { hub: Arc::clone(&hub), cells: Rc::clone(&cells) };
        let desk = Desk::new(Arc::clone(&net), seat.index, counts);
        let journal = log.as_ref().map(|log| log.journal().clone());
        let road = Exchange::new(settings, desk, Rc::clone(&cells))
            .recording_in(journal)
            .with_outbox(outbox.clone());
        let road = Rc::new(road);
        let inbox = trials
            .get(seat.index)
            .and_then(|inbox| inbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(inbox) = inbox {
            let seat = TrialSeat {
                worker: seat.index,
                road: Rc::clone(&road),
                live: Arc::clone(&live),
                tasks: seat.tasks.clone(),
                body_bytes_max: http.caps.body_bytes_max,
            };
            tokio::task::spawn_local(trial::serve(inbox, seat));
        }
        let (counts, tasks) = (Rc::clone(&cells), seat.tasks.clone());
        let desk = log.clone().map(|log| EventDesk::new(log, counts, tasks, waiting_max));
        let gates = Gates::new(GatesParts {
            worker: seat.index,
            admission,
            cells,
            load: Rc::clone(&seat.load),
        });
        let front = Front::new(FrontParts {
            worker: seat.index,
            road,
            live: Arc::clone(&live),
            settings: Arc::clone(&http),
            tasks: seat.tasks,
            load: seat.load,
            lifecycle: seat.lifecycle,
            gates,
            events: desk,
        });
        Box::new(move |stream, peer| Box::pin(Rc::clone(&front).serve(stream, peer)))
    }
}

/// One connection's task.
type Serving = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Deals out the leased limits for as long as the process runs.
pub async fn rebalance(bank: Arc<Mutex<Bank>>, tick: Duration) {
    let mut tick = tokio::time::interval(tick);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        bank.lock().unwrap_or_else(PoisonError::into_inner).rebalance(clock::monotonic());
    }
}
