//! From the workers' queue to files: one thread, nicer than the workers.
//!
//! Owns: [`Recorder`], one a process; [`Recording`], what workers offer records to; the thread that
//! replaces what is personal and writes. Never: a choice (that is [`super::sampler`]).
//! Invariants: offering never waits: what does not fit is dropped and counted; nothing personal
//! leaves the thread's memory; a disk that is full or gone costs records, never the server.

use super::form::PseudonymKey;
use super::pseudonym::Pseudonymiser;
use super::rotate::{RotateSettings, Rotation};
use super::sampler::StrataSettings;
use super::{Header, Origin, Record, Stratum};
use crate::clock;
use bytes::Bytes;
use std::io;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How much nicer than the workers the thread is.
const NICE: i32 = 10;
/// How often it looks for records. Nobody wakes it for one: that would cost a worker more than
/// offering it; only a queue that is half full does.
const TICK: Duration = Duration::from_millis(100);
/// Most records between two looks at the clock.
const BATCH: usize = 256;
/// How long a record may wait in an open block.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How long a fault of the disk is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// What stands in the place of a body that nobody could read.
pub const UNREADABLE: &str = "x-gavel-unreadable-body";

/// What of bidders is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bidders {
    None,
    /// When each was asked, how long it took, its status.
    #[default]
    Times,
    /// Also what it was sent and what it said.
    Bodies,
}

/// How traffic is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureSettings {
    pub files: RotateSettings,
    pub key: PseudonymKey,
    pub strata: StrataSettings,
    /// Records that wait for the thread, and their bytes.
    pub queue_records: usize,
    pub queue_bytes_max: usize,
    pub bidders: Bidders,
    /// Whether bodies are kept that are no JSON, as they came.
    pub keeps_unreadable: bool,
}

/// Why a record was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The thread is behind.
    QueueFull,
    /// It is larger than a record may be.
    TooLarge,
    /// The disk did not take it.
    Write,
    /// Recording had just been switched off.
    Stopped,
}

impl Dropped {
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::TooLarge, Self::Write, Self::Stopped];

    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Write => "write",
            Self::Stopped => "stopped",
        }
    }
}

/// What was counted since the process began.
#[derive(Debug, Default)]
pub struct Counters {
    records: [AtomicU64; Stratum::ALL.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
    bytes: AtomicU64,
    files: AtomicU64,
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
}

impl Counters {
    /// Written, by stratum.
    pub fn records(&self, stratum: Stratum) -> u64 {
        self.records.get(stratum as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped.get(why as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Of files, finished or not.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Finished.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Records that wait.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed) as u64
    }

    fn drop_one(&self, why: Dropped) {
        if let Some(cell) = self.dropped.get(why as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wrote(&self, stratum: Stratum) {
        if let Some(cell) = self.records.get(stratum as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A recording that is switched on. Workers hold it through their snapshots.
#[derive(Debug)]
pub struct Recording {
    pub settings: CaptureSettings,
    /// From which records count their time.
    pub began: Instant,
    /// Tells recordings of one process apart.
    pub number: u64,
    queue: SyncSender<Record>,
    /// Who takes records from it.
    thread: Thread,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Recording {
    /// Puts a record before the thread, or drops and counts it. Never waits.
    pub fn offer(&self, record: Record) {
        let bytes = weight(&record);
        let (counters, settings) = (&self.counters, &self.settings);
        let held = counters.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if held + bytes > settings.queue_bytes_max {
            counters.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            counters.drop_one(Dropped::QueueFull);
            return;
        }
        let waiting = counters.queued.fetch_add(1, Ordering::Relaxed);
        let why = match self.queue.try_send(record) {
            Ok(()) => {
                // of all that are offered, one comes across each half (what another recording has
                // left waiting counts too, and then the next look comes with the tick only)
                let half = settings.queue_bytes_max / 2;
                if waiting == settings.queue_records / 2 || (held..held + bytes).contains(&half) {
                    self.thread.unpark();
                }
                return;
            }
            Err(TrySendError::Full(_)) => Dropped::QueueFull,
            Err(TrySendError::Disconnected(_)) => Dropped::Stopped,
        };
        counters.queued.fetch_sub(1, Ordering::Relaxed);
        counters.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        counters.drop_one(why);
    }
}

/// What a record holds in memory, about.
fn weight(record: &Record) -> usize {
    let calls = record.calls.iter().map(|call| call.request.len() + call.answer.len() + 128);
    let answer = record.outcome.as_ref().map_or(0, |outcome| outcome.body.len());
    record.body.len() + answer + calls.sum::<usize>() + 512
}

/// Switches recordings on and off.
#[derive(Debug, Default)]
pub struct Recorder {
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Option<Arc<Recording>>,
    number: u64,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// For `/metrics`.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// What is to be recorded from now on. The same settings go on with the same recording; other
    /// ones end it: its thread writes what waits, and finishes its file.
    pub fn apply(&self, wanted: Option<&CaptureSettings>) -> Option<Arc<Recording>> {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.now.as_ref().map(|now| &now.settings) != wanted {
            if let Some(old) = state.now.take() {
                old.stop.store(true, Ordering::Release);
                info!("recording stops");
            }
            state.threads.retain(|thread| !thread.is_finished());
            state.number += 1;
            let (number, counters) = (state.number, Arc::clone(&self.counters));
            let started = wanted.and_then(|settings| start(settings.clone(), number, counters));
            state.now = started.map(|(recording, thread)| {
                state.threads.push(thread);
                Arc::new(recording)
            });
        }
        state.now.clone()
    }

    /// Ends what is under way and waits until it is written. Blocks.
    pub fn stop(&self) {
        self.apply(None);
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in state.threads.drain(..) {
            if thread.join().is_err() {
                error!("the recording thread panicked");
            }
        }
    }
}

/// A recording and its thread; `None`: there is no thread to be had, and the log says so.
fn start(
    settings: CaptureSettings,
    number: u64,
    counters: Arc<Counters>,
) -> Option<(Recording, JoinHandle<()>)> {
    let (queue, records) = sync_channel(settings.queue_records);
    let stop: Arc<AtomicBool> = Arc::default();
    let writing = Writing::new(&settings, Arc::clone(&counters));
    let (stopped, directory) = (Arc::clone(&stop), settings.files.directory.clone());
    let thread = std::thread::Builder::new().name("gavel-capture".to_owned()).spawn(move || {
        // On Linux the niceness is the thread's own.
        if let Err(fault) = rustix::process::nice(NICE) {
            warn!(%fault, "recording runs at the workers' priority");
        }
        writing.run(&records, &stopped);
    });
    match thread {
        Ok(thread) => {
            info!(directory = %directory.display(), key = settings.key.name(), "recording");
            let (began, taker) = (clock::monotonic(), thread.thread().clone());
            let recording =
                Recording { settings, began, number, queue, thread: taker, counters, stop };
            Some((recording, thread))
        }
        Err(fault) => {
            error!(%fault, "nothing will be recorded");
            None
        }
    }
}

/// The thread's own.
struct Writing {
    pseudonymiser: Pseudonymiser,
    keeps_unreadable: bool,
    rotation: Rotation,
    counters: Arc<Counters>,
    /// Of `rotation`, as far as they are in `counters`.
    told: (u64, u64),
    /// Since a fault of the disk: until when it is left alone.
    fault: Option<Instant>,
}

impl Writing {
    fn new(settings: &CaptureSettings, counters: Arc<Counters>) -> Self {
        let header = Header {
            origin: Origin::Recorded,
            started_us: micros(clock::wall()),
            writer: concat!("gavel ", env!("CARGO_PKG_VERSION")).to_owned(),
            pseudonym_key: Some(settings.key.name()),
            sample_ppm: settings.strata.sample_ppm,
            note: "pseudonyms stand in place of personal fields; it is still data of persons"
                .to_owned(),
        };
        Self {
            pseudonymiser: Pseudonymiser::new(settings.key.clone()),
            keeps_unreadable: settings.keeps_unreadable,
            rotation: Rotation::new(settings.files.clone(), header),
            counters,
            told: (0, 0),
            fault: None,
        }
    }

    fn run(mut self, records: &Receiver<Record>, stop: &AtomicBool) {
        let mut flushed = clock::monotonic();
        loop {
            let is_stopping = stop.load(Ordering::Acquire);
            let (count, why) = self.take_batch(records);
            if why == Some(TryRecvError::Disconnected) {
                break;
            }
            let now = clock::monotonic();
            if now.saturating_duration_since(flushed) >= FLUSH_EVERY {
                flushed = now;
                let ticked = self.rotation.tick(micros(clock::wall()));
                let flushed = ticked.and_then(|()| self.rotation.flush());
                self.heard(flushed);
            }
            // workers may still offer for a moment after the stop: it ends when nothing more came
            if is_stopping && count == 0 {
                break;
            }
            if why.is_some() {
                thread::park_timeout(TICK);
            }
        }
        let closed = self.rotation.close();
        self.heard(closed);
        self.tell();
    }

    /// Takes what waits; gives how many, and what stopped it before there were [`BATCH`].
    fn take_batch(&mut self, records: &Receiver<Record>) -> (usize, Option<TryRecvError>) {
        let now_us = micros(clock::wall());
        for count in 0..BATCH {
            match records.try_recv() {
                Ok(record) => self.take(record, now_us),
                Err(why) => {
                    self.tell();
                    return (count, Some(why));
                }
            }
        }
        self.tell();
        (BATCH, None)
    }

    fn take(&mut self, mut record: Record, now_us: u64) {
        self.counters.queued.fetch_sub(1, Ordering::Relaxed);
        self.counters.queued_bytes.fetch_sub(weight(&record), Ordering::Relaxed);
        if self.fault.is_some_and(|until| clock::monotonic() < until) {
            return self.counters.drop_one(Dropped::Write);
        }
        self.disguise(&mut record);
        let pushed = self.rotation.push(&record, now_us);
        match &pushed {
            Ok(()) => self.counters.wrote(record.stratum),
            Err(fault) if fault.kind() == io::ErrorKind::InvalidInput => {
                return self.counters.drop_one(Dropped::TooLarge);
            }
            Err(_) => self.counters.drop_one(Dropped::Write),
        }
        self.heard(pushed);
    }

    /// Brings the figures up to date.
    fn tell(&mut self) {
        let (bytes, files) = (self.rotation.bytes(), self.rotation.files());
        self.counters.bytes.fetch_add(bytes.saturating_sub(self.told.0), Ordering::Relaxed);
        self.counters.files.fetch_add(files.saturating_sub(self.told.1), Ordering::Relaxed);
        self.told = (bytes.max(self.told.0), files);
    }

    /// Logs faults of the disk where they are news.
    fn heard(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if self.fault.take().is_some() {
                    info!("recording goes on");
                }
            }
            Err(fault) => {
                if self.fault.is_none() {
                    let directory = self.rotation.directory().display();
                    error!(%directory, %fault, "cannot record: records are dropped until it can");
                }
                self.fault = Some(clock::monotonic() + RETRY_AFTER);
            }
        }
    }

    /// Replaces what is personal.
    fn disguise(&mut self, record: &mut Record) {
        let values = record.headers.iter_mut().map(|(_, value)| value);
        for text in iter::once(&mut record.path).chain(values) {
            if let Some(new) = self.pseudonymiser.text(text) {
                *text = new;
            }
        }
        if let Some(what) = self.body(&mut record.body) {
            record.headers.push((UNREADABLE.to_owned(), what));
        }
        if let Some(outcome) = &mut record.outcome {
            self.body(&mut outcome.body);
        }
        for call in &mut record.calls {
            self.body(&mut call.request);
            self.body(&mut call.answer);
        }
    }

    /// Gives what is known of a body that was taken out.
    fn body(&mut self, body: &mut Bytes) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        if let Some(new) = self.pseudonymiser.body(body) {
            *body = new;
            return None;
        }
        if self.keeps_unreadable {
            return None;
        }
        let class = match body.first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a text",
            Some(byte) if byte.is_ascii_alphanumeric() => "a letter or digit",
            Some(byte) if byte.is_ascii() => "another character",
            _ => "no character",
        };
        let what = format!("{} bytes, begins with {class}", body.len());
        *body = Bytes::new();
        Some(what)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
