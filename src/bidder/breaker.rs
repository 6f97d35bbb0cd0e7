//! Leaving a failing bidder alone, and coming back to it gently.
//!
//! Owns: [`Breaker`], the machine; [`Shared`], the one of the process for a bidder; [`View`], a
//! worker's cheap side of it. Never: a clock (instants are milliseconds that the caller passes).
//! Invariant: while the bidder is well, a call reads one shared word and writes only cells of its
//! worker; those are added to the machine about 20 times a second.
//!
//! Closed -> open: more than half of at least 20 calls in 10 s failed, over all workers.
//! Open -> ramp: three good probes in a row; a probe goes out every 250 ms, and one call in 100.
//! Ramp -> closed: 2 s later, if more than half of the ramp's calls did not fail again.
//! A 429 or 503 with `Retry-After` opens at once, and nothing goes out before that time is over.
//!
//! What counts as a failure is written at [`is_failure`].

use crate::bidder::net::BreakerSettings;
use crate::negatives::no_answer::NoAnswer;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Buckets of one second; the longest window is one less.
const BUCKETS: usize = 64;

/// How much of the calls the ramp starts with (%).
const RAMP_FIRST_PERCENT: u64 = 5;

/// Whether this end of a call speaks against the bidder's health.
///
/// A late answer does only where it came to no end in the background either: a bidder that answers
/// after the deadline is slow, not ill. No bid is a success, and so is an answer that reads as HTTP
/// but not as a bid response.
pub const fn is_failure(result: NoAnswer, is_endless: bool) -> bool {
    match result {
        NoAnswer::Late => is_endless,
        NoAnswer::ConnectRefused
        | NoAnswer::ConnectTimeout
        | NoAnswer::Tls
        | NoAnswer::Broken
        | NoAnswer::Http
        | NoAnswer::ServerStatus
        | NoAnswer::TooManyRequests => true,
        _ => false,
    }
}

/// How a bidder may be called at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Closed,
    /// Nothing before `quiet_until_ms`; then a probe at `probe_at_ms`.
    Open {
        probe_at_ms: u64,
        quiet_until_ms: u64,
    },
    Ramp {
        since_ms: u64,
    },
}

impl Phase {
    /// Packed into a word: a tag in the low two bits, a time above.
    fn word(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open { probe_at_ms, quiet_until_ms } => {
                (probe_at_ms.max(quiet_until_ms) << 2) | 1
            }
            Self::Ramp { since_ms } => (since_ms << 2) | 2,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    second: u64,
    calls: u32,
    failures: u32,
}

/// The machine: one for each bidder and process.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    buckets: [Bucket; BUCKETS],
    /// Good probes in a row.
    good: u32,
}

impl Breaker {
    /// Closed, with no history.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, phase: Phase::Closed, buckets: [Bucket::default(); BUCKETS], good: 0 }
    }

    /// How the bidder may be called.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether this call may go out as a probe; `is_lucky`: it is the one in a hundred.
    pub fn probe(&mut self, now_ms: u64, is_lucky: bool) -> bool {
        let Phase::Open { probe_at_ms, quiet_until_ms } = self.phase else { return true };
        if now_ms < quiet_until_ms || (now_ms < probe_at_ms && !is_lucky) {
            return false;
        }
        let probe_at_ms = now_ms + millis(self.settings.probe_every);
        self.phase = Phase::Open { probe_at_ms, quiet_until_ms };
        true
    }

    /// Adds ended calls and draws the consequence.
    pub fn record(&mut self, now_ms: u64, calls: u32, failures: u32) {
        match self.phase {
            Phase::Closed => {
                self.add(now_ms, calls, failures);
                if self.is_bad(now_ms, self.settings.calls_min) {
                    self.open(now_ms, now_ms);
                }
            }
            Phase::Open { .. } if failures > 0 => self.good = 0,
            Phase::Open { quiet_until_ms, .. } => {
                // what was sent before the bidder asked for quiet proves nothing
                self.good += if now_ms < quiet_until_ms { 0 } else { calls };
                if self.good >= self.settings.probes_good {
                    self.clear();
                    self.phase = Phase::Ramp { since_ms: now_ms };
                }
            }
            Phase::Ramp { since_ms } => {
                self.add(now_ms, calls, failures);
                if self.is_bad(now_ms, self.settings.ramp_calls_min) {
                    self.open(now_ms, now_ms);
                } else if now_ms >= since_ms + millis(self.settings.ramp) {
                    self.phase = Phase::Closed;
                }
            }
        }
    }

    /// The bidder asked to be left alone for `time`; a longer wish from before stands.
    pub fn hold(&mut self, now_ms: u64, time: Duration) {
        let until_ms = now_ms + millis(time.min(self.settings.retry_after_max));
        let before_ms = match self.phase {
            Phase::Open { quiet_until_ms, .. } => quiet_until_ms,
            Phase::Closed | Phase::Ramp { .. } => 0,
        };
        self.open(now_ms, until_ms.max(before_ms));
    }

    fn open(&mut self, now_ms: u64, quiet_until_ms: u64) {
        let probe_at_ms = now_ms + millis(self.settings.probe_every);
        self.good = 0;
        self.clear();
        self.phase = Phase::Open { probe_at_ms, quiet_until_ms };
    }

    fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    fn add(&mut self, now_ms: u64, calls: u32, failures: u32) {
        let second = now_ms / 1000;
        let at = usize::try_from(second % BUCKETS as u64).unwrap_or_default();
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if bucket.second != second {
            *bucket = Bucket { second, calls: 0, failures: 0 };
        }
        bucket.calls = bucket.calls.saturating_add(calls);
        bucket.failures = bucket.failures.saturating_add(failures);
    }

    fn is_bad(&self, now_ms: u64, calls_min: u32) -> bool {
        let second = now_ms / 1000;
        let window = self.settings.window.as_secs().clamp(1, BUCKETS as u64 - 1);
        let (mut calls, mut failures) = (0u64, 0u64);
        for bucket in &self.buckets {
            if bucket.second <= second && second - bucket.second < window {
                calls += u64::from(bucket.calls);
                failures += u64::from(bucket.failures);
            }
        }
        calls >= u64::from(calls_min)
            && failures * 100 > calls * u64::from(self.settings.failures_percent)
    }
}

/// A bidder's machine and the word that the workers read.
#[derive(Debug)]
pub struct Shared {
    /// [`Phase::word`]: written only when the phase changes.
    word: AtomicU64,
    machine: Mutex<Breaker>,
    settings: BreakerSettings,
}

impl Shared {
    /// Closed.
    pub fn new(settings: BreakerSettings) -> Self {
        let machine = Mutex::new(Breaker::new(settings.clone()));
        Self { word: AtomicU64::new(0), machine, settings }
    }

    /// For operators: one of `closed`, `open`, `ramp`.
    pub fn label(&self) -> &'static str {
        match self.word.load(Ordering::Relaxed) & 3 {
            0 => "closed",
            1 => "open",
            _ => "ramp",
        }
    }

    /// Runs `act` on the machine, unless another worker is at it.
    fn with<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let mut machine = self.machine.try_lock().ok()?;
        let done = act(&mut machine);
        self.tell(&machine);
        Some(done)
    }

    /// The bidder asked to be left alone: too rare, and too clear a word, to be passed over where
    /// another worker is at the machine, which is there for less than a microsecond.
    fn hold(&self, now_ms: u64, time: Duration) {
        // the machine is whole after every assignment
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.hold(now_ms, time);
        self.tell(&machine);
    }

    fn tell(&self, machine: &Breaker) {
        let word = machine.phase().word();
        if self.word.load(Ordering::Relaxed) != word {
            self.word.store(word, Ordering::Relaxed);
        }
    }
}

/// A worker's side: counts in cells, asks the machine only while the bidder is not well.
#[derive(Debug)]
pub struct View {
    shared: Arc<Shared>,
    calls: Cell<u32>,
    failures: Cell<u32>,
    reported_ms: Cell<u64>,
    /// Calls not made since the last that was let through by its number.
    refused: Cell<u32>,
    /// In a ramp: what part of a call is saved up (%).
    credit: Cell<u64>,
}

impl View {
    /// On a bidder's machine.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            calls: Cell::default(),
            failures: Cell::default(),
            reported_ms: Cell::default(),
            refused: Cell::default(),
            credit: Cell::default(),
        }
    }

    /// Whether the bidder may be called now.
    pub fn may_call(&self, now_ms: u64) -> bool {
        let word = self.shared.word.load(Ordering::Relaxed);
        let at_ms = word >> 2;
        match word & 3 {
            0 => true,
            1 => self.may_probe(now_ms, at_ms),
            _ => self.may_ramp(now_ms.saturating_sub(at_ms)),
        }
    }

    /// Whether calls are held back at the moment, the ramp included.
    pub fn is_closed(&self) -> bool {
        self.shared.word.load(Ordering::Relaxed) == 0
    }

    /// Counts a call that ended.
    pub fn record(&self, now_ms: u64, is_failure: bool) {
        self.calls.set(self.calls.get() + 1);
        self.failures.set(self.failures.get() + u32::from(is_failure));
        let since = now_ms.saturating_sub(self.reported_ms.get());
        // a well bidder's calls may wait for the next report; what may turn a phase may not
        if since >= millis(self.shared.settings.report_every) || !self.is_closed() {
            self.report(now_ms);
        }
    }

    /// The bidder asked to be left alone for `time`.
    pub fn hold(&self, now_ms: u64, time: Duration) {
        self.shared.hold(now_ms, time);
    }

    /// Hands the cells to the machine; if it is busy, next time.
    fn report(&self, now_ms: u64) {
        let (calls, failures) = (self.calls.get(), self.failures.get());
        if self.shared.with(|machine| machine.record(now_ms, calls, failures)).is_some() {
            self.calls.set(0);
            self.failures.set(0);
            self.reported_ms.set(now_ms);
        }
    }

    fn may_probe(&self, now_ms: u64, probe_at_ms: u64) -> bool {
        let refused = self.refused.get() + 1;
        let is_lucky = refused >= self.shared.settings.probe_one_in;
        self.refused.set(if is_lucky { 0 } else { refused });
        if now_ms < probe_at_ms && !is_lucky {
            return false;
        }
        self.shared.with(|machine| machine.probe(now_ms, is_lucky)).unwrap_or(false)
    }

    fn may_ramp(&self, passed_ms: u64) -> bool {
        let ramp_ms = millis(self.shared.settings.ramp).max(1);
        let rise = (100 - RAMP_FIRST_PERCENT) * passed_ms.min(ramp_ms) / ramp_ms;
        let credit = self.credit.get() + RAMP_FIRST_PERCENT + rise;
        self.credit.set(if credit >= 100 { credit - 100 } else { credit });
        credit >= 100
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 3)
}

#[cfg(test)]
mod tests;
