//! How much of what comes in a worker takes on, so that what it takes on is served in time.
//!
//! Owns: [`Admission`], one a worker, and [`Permit`]. Never: a clock, a queue, a random number.
//!
//! The measure is the lag of the worker's event loop: how late a short ticker runs is how long a
//! ready request waits. While the lag's recent minimum (a single pause is no overload) stands
//! over the target, a growing part of the requests is shed, and a shrinking one while it stands
//! under: a proportional-integral controller as in RFC 8033 (PIE), which settles with the worker
//! busy and the lag at its target, where steps up and down would swing around both. A worker that
//! keeps up takes a burst on: shedding begins when the lag has stood over its target for longer
//! than a burst may, or is more than a burst may cause. Which request
//! is shed is counted out evenly, so that the part holds over any few requests.
//!
//! Some requests shedding does not reach: who has no right, who is over its rate and who asks for
//! what is not there is answered without being taken on. Under overload these are to wait for their
//! answers, for they come from senders that send the next one when they have the last, and while
//! they are the most of what comes, shedding waits for what that does: to shed others in their place
//! would starve these, and help nobody.
//!
//! Invariant: never more than `in_flight_max` permits are out, nor permits for more than
//! `body_bytes_max` of bodies; each comes back by its drop.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How a worker sheds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Requests in flight on one worker, waiting for bidders included (1 to 1,000,000): what
    /// bounds its memory.
    pub in_flight_max: u32,
    /// Bytes of their bodies on one worker, and of answers that HTTP/2 peers have not taken; 0: no bound but `in_flight_max`.
    pub body_bytes_max: usize,
    /// Lag of the event loop that is aimed at under overload (1 ms to 100 ms).
    pub lag_target: Duration,
    /// How often the lag is to be observed (1 ms to 50 ms).
    pub lag_tick: Duration,
    /// For so long a burst may keep the lag over its target before anything is shed (0 to 1 h).
    pub burst_time: Duration,
    /// A greater lag is overload at once (1 ms to 1 h).
    pub burst_lag: Duration,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            in_flight_max: 10_000,
            body_bytes_max: 0,
            lag_target: Duration::from_millis(5),
            lag_tick: Duration::from_millis(5),
            burst_time: Duration::from_millis(100),
            burst_lag: Duration::from_millis(50),
        }
    }
}

/// The lag counts when so many observations in a row show it.
const WINDOW: usize = 3;
/// Change of the shed part for each second of lag that it is off target, a second.
const INTEGRAL: f64 = 60.0;
/// Change of the shed part for each second by which the lag grew.
const PROPORTIONAL: f64 = 10.0;
/// An idle worker forgets an overload in about this time, in seconds.
const FORGET: f64 = 0.3;
/// Some are always let in, else nothing would show that they could be served.
const SHED_MOST: f64 = 0.99;
/// Below this part nothing is being shed: the next lag may be that of a burst.
const SHED_LEAST: f64 = 0.01;
/// A longer time between two adjustments counts as this, in seconds.
const STEP_MOST: f64 = 0.05;

/// Who cannot be shed is to wait for its answer until the worker has kept up for so long: without
/// that it would come back at full speed each time it has helped.
const WARY: Duration = Duration::from_secs(2);
/// For so long shedding waits for what that does, which it does within the wait for one answer.
const PATIENCE: Duration = Duration::from_millis(250);
/// Requests count for the mix of what comes for about this time, in seconds.
const WEIGH: f64 = 1.0;

/// A worker's admission; clones are the same one.
#[derive(Clone, Debug)]
pub struct Admission(Rc<State>);

/// One request in flight; it leaves when dropped.
#[derive(Debug)]
pub struct Permit {
    state: Rc<State>,
    body_bytes: usize,
}

#[derive(Debug)]
struct State {
    settings: AdmissionSettings,
    in_flight: Cell<u32>,
    body_bytes: Cell<usize>,
    /// The part that is shed, 0 to `SHED_MOST`.
    shed: Cell<f64>,
    /// Parts that are owed: at one whole, a request is shed.
    owed: Cell<f64>,
    /// When the ticker last ran, and how late; when the part was last adjusted.
    ticked_at: Cell<Instant>,
    lag: Cell<Duration>,
    adjusted_at: Cell<Instant>,
    /// When the lag was last at its target or below.
    calm_at: Cell<Instant>,
    /// Until then the ticker cannot be said to be overdue.
    patient_until: Cell<Instant>,
    recent: Cell<[Duration; WINDOW]>,
    /// Minimum of `recent` at the observation before, in seconds.
    low_before: Cell<f64>,
    /// Recent requests that may be shed, and such that cannot be.
    sheddable: Cell<f64>,
    beyond: Cell<f64>,
    /// The worker was overloaded from then on, and is held for it until then.
    wary_since: Cell<Instant>,
    wary_until: Cell<Instant>,
}

impl Admission {
    /// Sheds nothing yet.
    pub fn new(settings: AdmissionSettings, now: Instant) -> Self {
        Self(Rc::new(State {
            settings,
            in_flight: Cell::new(0),
            body_bytes: Cell::new(0),
            shed: Cell::new(0.0),
            owed: Cell::new(0.0),
            ticked_at: Cell::new(now),
            lag: Cell::new(Duration::ZERO),
            adjusted_at: Cell::new(now),
            calm_at: Cell::new(now),
            patient_until: Cell::new(now + 2 * settings.lag_tick),
            recent: Cell::new([Duration::ZERO; WINDOW]),
            low_before: Cell::new(0.0),
            sheddable: Cell::new(0.0),
            beyond: Cell::new(0.0),
            wary_since: Cell::new(now),
            wary_until: Cell::new(now),
        }))
    }

    /// Takes a request on, or sheds it.
    pub fn try_enter(&self, now: Instant) -> Option<Permit> {
        let state = &*self.0;
        state.sheddable.set(state.sheddable.get() + 1.0);
        if now >= state.patient_until.get() {
            state.notice_silence(now);
        }
        if state.in_flight.get() >= state.settings.in_flight_max {
            return None;
        }
        let owed = state.owed.get() + state.shed.get();
        if owed >= 1.0 {
            state.owed.set(owed - 1.0);
            return None;
        }
        state.owed.set(owed);
        state.in_flight.set(state.in_flight.get() + 1);
        Some(Permit { state: Rc::clone(&self.0), body_bytes: 0 })
    }

    /// Takes in that a request is answered that cannot be shed. Whether it is to wait for that.
    pub fn is_to_wait(&self, now: Instant) -> bool {
        let state = &*self.0;
        state.beyond.set(state.beyond.get() + 1.0);
        now < state.wary_until.get()
    }

    /// Takes in how late a ticker of `lag_tick` ran.
    pub fn observe_lag(&self, now: Instant, lag: Duration) {
        let state = &*self.0;
        state.ticked_at.set(now);
        state.lag.set(lag);
        state.patient_until.set(now + 2 * state.settings.lag_tick);
        state.adjust(now, lag);
    }

    /// The part of the requests that is shed at the moment, 0 to 1.
    pub fn shed_part(&self) -> f64 {
        self.0.shed.get()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight.get()
    }
}

impl State {
    /// A ticker that does not come is late too: it stands behind the requests that wait. So the
    /// road need not wait for the ticker to learn of an overload.
    #[cold]
    fn notice_silence(&self, now: Instant) {
        let tick = self.settings.lag_tick;
        let overdue = now.saturating_duration_since(self.ticked_at.get()).saturating_sub(tick);
        self.patient_until.set(now + tick);
        self.adjust(now, overdue.max(self.lag.get()));
    }

    fn adjust(&self, now: Instant, lag: Duration) {
        let step = now.saturating_duration_since(self.adjusted_at.replace(now)).as_secs_f64();
        let step = step.min(STEP_MOST);
        let [_, second, third] = self.recent.get();
        let recent = [second, third, lag];
        self.recent.set(recent);
        let before = self.shed.get();
        let low = recent.into_iter().min().unwrap_or_default();
        if lag <= self.settings.lag_target {
            self.calm_at.set(now);
        }
        let is_burst = before < SHED_LEAST
            && low <= self.settings.burst_lag
            && now.saturating_duration_since(self.calm_at.get()) < self.settings.burst_time;
        let low = if is_burst { 0.0 } else { low.as_secs_f64() };
        let grown = low - self.low_before.replace(low);
        let target = self.settings.lag_target.as_secs_f64();
        let shed = before + INTEGRAL * step * (low - target) + PROPORTIONAL * grown;
        let is_at_ease = low < target / 2.0;
        let shed = if is_at_ease { shed.min(before) * (1.0 - step / FORGET) } else { shed };
        let is_waiting = self.is_waiting(now, step, low > target);
        let shed = if is_waiting { shed.min(before) } else { shed };
        self.shed.set(shed.clamp(0.0, SHED_MOST));
    }

    /// Whether shedding waits for what it does that those beyond it wait.
    fn is_waiting(&self, now: Instant, step: f64, is_overloaded: bool) -> bool {
        let kept = 1.0 - step / WEIGH;
        let (sheddable, beyond) = (self.sheddable.get() * kept, self.beyond.get() * kept);
        self.sheddable.set(sheddable);
        self.beyond.set(beyond);
        if is_overloaded {
            if now >= self.wary_until.get() {
                self.wary_since.set(now);
            }
            self.wary_until.set(now + WARY);
        }
        beyond > sheddable && now < self.wary_since.get() + PATIENCE
    }
}

impl Permit {
    /// Takes room for a body of so many bytes, in place of what it had; false where there is none.
    /// One body alone always has room.
    #[must_use]
    pub fn takes(&mut self, body_bytes: usize) -> bool {
        let others = self.state.body_bytes.get().saturating_sub(self.body_bytes);
        let all = others.saturating_add(body_bytes);
        let most = self.state.settings.body_bytes_max;
        if most != 0 && others != 0 && all > most {
            return false;
        }
        self.body_bytes = body_bytes;
        self.state.body_bytes.set(all);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let State { in_flight, body_bytes, .. } = &*self.state;
        in_flight.set(in_flight.get().saturating_sub(1));
        body_bytes.set(body_bytes.get().saturating_sub(self.body_bytes));
    }
}

#[cfg(test)]
mod tests;
