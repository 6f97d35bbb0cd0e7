//! From the workers' queue to files: one thread, nicer than the workers.
//!
//! Owns: [`Recorder`], one a process; [`Recording`], what workers offer records to; the thread that
//! replaces what is personal and writes. Never: a choice (that is [`super::sampler`]).
//! Invariants: offering never waits: what does not fit is dropped and counted; nothing personal
//! comes to a file; a disk that is full or gone costs records, never the server.

use super::chunk::{Chunk, Room};
use super::disguise::Disguise;
use super::entry::micros;
use super::form::PseudonymKey;
use super::rotate::{RotateSettings, Rotation};
use super::sampler::StrataSettings;
use super::{Header, Origin, Stratum};
use crate::clock;
use crate::tlv::take_part;
use std::collections::VecDeque;
use std::io;
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
/// Most chunks between two looks at the clock.
const BATCH: usize = 16;
/// How long a record may wait in an open block.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// For whoever finds a file.
const NOTE: &str = "pseudonyms stand in place of personal fields; it is still data of persons";
/// ... with bodies that nobody could read.
const NOTE_UNREADABLE: &str = "pseudonyms stand in place of personal fields, but bodies that are no JSON are \
     as they came, with whatever is personal in them; it is data of persons";
/// How long a fault of the disk is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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
}

impl Counters {
    /// Written, by stratum: in a block that the disk has taken.
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

    /// Records that wait for a thread (those that workers have not handed over are not counted).
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed) as u64
    }

    fn drop_some(&self, why: Dropped, count: usize) {
        if let Some(cell) = self.dropped.get(why as usize) {
            cell.fetch_add(count as u64, Ordering::Relaxed);
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
    queue: SyncSender<Chunk>,
    /// Who takes chunks from it.
    thread: Thread,
    counters: Arc<Counters>,
    room: Arc<Room>,
}

impl Recording {
    /// Puts records before the thread, or drops and counts them. Never waits.
    pub fn offer(&self, chunk: Chunk) {
        let CaptureSettings { queue_records, queue_bytes_max, .. } = self.settings;
        let (records, bytes) = (chunk.records, chunk.bytes.len());
        let (waiting, held) = self.room.enter(records, bytes);
        self.counters.queued.fetch_add(records, Ordering::Relaxed);
        let has_room = held + bytes <= queue_bytes_max && waiting + records <= queue_records;
        let sent =
            if has_room { self.queue.try_send(chunk) } else { Err(TrySendError::Full(chunk)) };
        let (why, chunk) = match sent {
            Ok(()) => {
                // of all that are offered, one comes across each half
                let comes_across =
                    |from: usize, more, most| (from..from + more).contains(&(most / 2));
                if comes_across(waiting, records, queue_records)
                    || comes_across(held, bytes, queue_bytes_max)
                {
                    self.thread.unpark();
                }
                return;
            }
            Err(TrySendError::Full(chunk)) => (Dropped::QueueFull, chunk),
            Err(TrySendError::Disconnected(chunk)) => (Dropped::Stopped, chunk),
        };
        self.counters.queued.fetch_sub(records, Ordering::Relaxed);
        self.room.leave(records, bytes);
        self.room.put(chunk);
        self.count_drops(why, records);
    }

    /// Records that did not come so far.
    pub fn count_drops(&self, why: Dropped, records: usize) {
        self.counters.drop_some(why, records);
    }

    /// One to be filled, in memory that was used before where there is some.
    pub fn empty_chunk(&self) -> Chunk {
        self.room.take()
    }
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
    threads: Vec<Writer>,
}

/// A thread that writes, and whether it is to end as soon as nothing waits, although somebody could still
/// offer.
#[derive(Debug)]
struct Writer {
    thread: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
}

impl Recorder {
    /// For `/metrics`.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// What is to be recorded from now on. The same settings go on with the same recording; other
    /// ones end it: its thread writes what comes until nobody holds it any more, and finishes its file.
    pub fn apply(&self, wanted: Option<&CaptureSettings>) -> Option<Arc<Recording>> {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.now.as_ref().map(|now| &now.settings) != wanted {
            if state.now.take().is_some() {
                info!("recording stops");
            }
            state.threads.retain(|writer| !writer.thread.is_finished());
            state.number += 1;
            let (number, counters) = (state.number, Arc::clone(&self.counters));
            let started = wanted.and_then(|settings| start(settings.clone(), number, counters));
            state.now = started.map(|(recording, writer)| {
                state.threads.push(writer);
                Arc::new(recording)
            });
        }
        state.now.clone()
    }

    /// Ends what is under way and waits until it is written. Blocks.
    pub fn stop(&self) {
        self.apply(None);
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for Writer { thread, is_over } in state.threads.drain(..) {
            is_over.store(true, Ordering::Release);
            thread.thread().unpark();
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
) -> Option<(Recording, Writer)> {
    let (queue, chunks) = sync_channel(settings.queue_records);
    let (is_over, room): (Arc<AtomicBool>, Arc<Room>) = Default::default();
    let writing = Writing::new(&settings, Arc::clone(&counters), Arc::clone(&room));
    let (ends, directory) = (Arc::clone(&is_over), settings.files.directory.clone());
    let thread = std::thread::Builder::new().name("gavel-capture".to_owned()).spawn(move || {
        // On Linux the niceness is the thread's own.
        if let Err(fault) = rustix::process::nice(NICE) {
            warn!(%fault, "recording runs at the workers' priority");
        }
        writing.run(&chunks, &ends);
    });
    match thread {
        Ok(thread) => {
            info!(directory = %directory.display(), key = settings.key.name(), "recording");
            let (began, taker) = (clock::monotonic(), thread.thread().clone());
            let recording =
                Recording { settings, began, number, queue, thread: taker, counters, room };
            Some((recording, Writer { thread, is_over }))
        }
        Err(fault) => {
            error!(%fault, "nothing will be recorded");
            None
        }
    }
}

/// What a look at the queue leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Look,
    Rest,
    End,
}

/// The thread's own.
struct Writing {
    disguise: Disguise,
    rotation: Rotation,
    counters: Arc<Counters>,
    room: Arc<Room>,
    /// Of `rotation`, as far as they are in `counters`.
    told: (u64, u64),
    /// Records that are in memory alone, the first first; and how many `rotation` had brought to the disk
    /// when they were counted.
    pending: VecDeque<Stratum>,
    kept: u64,
    /// Since a fault of the disk: until when it is left alone.
    fault: Option<Instant>,
}

impl Writing {
    fn new(settings: &CaptureSettings, counters: Arc<Counters>, room: Arc<Room>) -> Self {
        let header = Header {
            origin: Origin::Recorded,
            started_us: micros(clock::wall()),
            writer: concat!("gavel ", env!("CARGO_PKG_VERSION")).to_owned(),
            pseudonym_key: Some(settings.key.name()),
            sample_ppm: settings.strata.sample_ppm,
            note: if settings.keeps_unreadable { NOTE_UNREADABLE } else { NOTE }.to_owned(),
        };
        Self {
            disguise: Disguise::new(settings.key.clone(), settings.keeps_unreadable),
            rotation: Rotation::new(settings.files.clone(), header),
            counters,
            room,
            told: (0, 0),
            pending: VecDeque::new(),
            kept: 0,
            fault: None,
        }
    }

    fn run(mut self, chunks: &Receiver<Chunk>, is_over: &AtomicBool) {
        let mut flushed = clock::monotonic();
        loop {
            let next = self.look(chunks, is_over.load(Ordering::Acquire));
            let now = clock::monotonic();
            if now.saturating_duration_since(flushed) >= FLUSH_EVERY {
                flushed = now;
                let ticked = self.rotation.tick(micros(clock::wall()));
                let flushed = ticked.and_then(|()| self.rotation.flush());
                self.heard(flushed);
            }
            match next {
                Next::Look => {}
                Next::Rest => thread::park_timeout(TICK),
                Next::End => break,
            }
        }
        let closed = self.rotation.close();
        self.heard(closed);
        self.tell();
    }

    /// Takes what waits. It ends when nobody can offer anything any more, and where nobody will
    /// (`is_last`) when nothing waits.
    fn look(&mut self, chunks: &Receiver<Chunk>, is_last: bool) -> Next {
        let (count, why) = self.take_batch(chunks);
        match why {
            Some(TryRecvError::Disconnected) => Next::End,
            _ if is_last && count == 0 => Next::End,
            Some(TryRecvError::Empty) => Next::Rest,
            None => Next::Look,
        }
    }

    /// Takes what waits; gives how many, and what stopped it before there were [`BATCH`].
    fn take_batch(&mut self, chunks: &Receiver<Chunk>) -> (usize, Option<TryRecvError>) {
        let now_us = micros(clock::wall());
        for count in 0..BATCH {
            match chunks.try_recv() {
                Ok(chunk) => self.take(chunk, now_us),
                Err(why) => {
                    self.tell();
                    return (count, Some(why));
                }
            }
        }
        self.tell();
        (BATCH, None)
    }

    fn take(&mut self, chunk: Chunk, now_us: u64) {
        self.counters.queued.fetch_sub(chunk.records, Ordering::Relaxed);
        self.room.leave(chunk.records, chunk.bytes.len());
        let mut rest = chunk.bytes.as_slice();
        for left in (1..=chunk.records).rev() {
            let Ok(kept) = take_part(&mut rest) else {
                error!(left, "a worker's records cannot be told apart: a fault of this program");
                self.counters.drop_some(Dropped::Write, left);
                break;
            };
            if self.fault.is_some_and(|until| clock::monotonic() < until) {
                self.counters.drop_some(Dropped::Write, 1);
            } else {
                self.write(kept, now_us);
            }
        }
        self.room.put(chunk);
    }

    fn write(&mut self, kept: &[u8], now_us: u64) {
        let (disguise, mut stratum) = (&mut self.disguise, Stratum::default());
        let pushed = self.rotation.push(now_us, |writer| {
            writer.push_with(|raw| {
                let told = disguise.append(kept, raw);
                told.map(|told| {
                    stratum = told.stratum;
                    told.at_us
                })
            })
        });
        match &pushed {
            Err(fault) if fault.kind() == io::ErrorKind::InvalidInput => {
                self.counters.drop_some(Dropped::TooLarge, 1);
                return self.heard(Ok(()));
            }
            _ => self.pending.push_back(stratum),
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

    /// Counts what has come to the disk, and after a fault what has not. Logs faults of the disk where they
    /// are news; that one is over says only a block that was written.
    fn heard(&mut self, result: io::Result<()>) {
        let kept = self.rotation.kept();
        let more = usize::try_from(kept.saturating_sub(self.kept)).unwrap_or(usize::MAX);
        self.kept = kept;
        for stratum in self.pending.drain(..more.min(self.pending.len())) {
            self.counters.wrote(stratum);
        }
        match result {
            Ok(()) => {
                if more > 0 && self.fault.take().is_some() {
                    info!("recording goes on");
                }
            }
            Err(fault) => {
                self.counters.drop_some(Dropped::Write, self.pending.len());
                self.pending.clear();
                if self.fault.is_none() {
                    let directory = self.rotation.directory().display();
                    error!(%directory, %fault, "cannot record: records are dropped until it can");
                }
                self.fault = Some(clock::monotonic() + RETRY_AFTER);
            }
        }
    }
}

#[cfg(test)]
mod tests;
