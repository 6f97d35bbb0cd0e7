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
    /// Bytes of their bodies on one worker; 0: no bound but `in_flight_max`.
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
        }))
    }

    /// Takes a request on, or sheds it.
    pub fn try_enter(&self, now: Instant) -> Option<Permit> {
        let state = &*self.0;
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
        self.shed.set(shed.clamp(0.0, SHED_MOST));
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
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;
    use std::collections::VecDeque;

    /// Nanoseconds of one server that takes what is ready in order: requests, and a ticker.
    struct Worker {
        accepted_ns: u64,
        refused_ns: u64,
        is_shedding: bool,
        seed: u64,
    }

    #[derive(Default, Debug)]
    struct Second {
        /// Served within 100 ms of their arrival.
        good: u64,
        slowest_refusal_ns: u64,
        slowest_answer_ns: u64,
    }

    impl Worker {
        fn new(refused_ns: u64) -> Self {
            Self { accepted_ns: 50_000, refused_ns, is_shedding: true, seed: 7 }
        }

        /// Exponential, so that arrivals are a Poisson process.
        fn gap_ns(&mut self, mean_ns: f64) -> f64 {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            let unit = ((self.seed >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
            -unit.ln() * mean_ns
        }

        /// Plays seconds at these loads (1.0: what can be served when nothing is refused).
        fn play(&mut self, loads: &[f64]) -> Vec<Second> {
            let start = Instant::now();
            let settings = AdmissionSettings::default();
            let admission = Admission::new(settings, start);
            let tick_ns = settings.lag_tick.as_nanos() as f64;
            let (mut now, mut arrival, mut tick) = (0.0_f64, 0.0_f64, tick_ns);
            let mut queue: VecDeque<Option<f64>> = VecDeque::new();
            let (mut ticked, mut seconds) = (false, Vec::new());
            for (second, load) in loads.iter().enumerate() {
                let (end, mut tally) = ((second as f64 + 1.0) * 1e9, Second::default());
                while now < end {
                    while arrival <= now {
                        queue.push_back(Some(arrival));
                        arrival += self.gap_ns(self.accepted_ns as f64 / load);
                    }
                    if !ticked && tick <= now {
                        queue.push_back(None);
                        ticked = true;
                    }
                    let at = start + Duration::from_secs_f64(now / 1e9);
                    match queue.pop_front() {
                        None if ticked => now = arrival,
                        None => now = arrival.min(tick),
                        Some(None) => {
                            admission.observe_lag(at, Duration::from_secs_f64((now - tick) / 1e9));
                            (tick, ticked, now) = (now + tick_ns, false, now + 1000.0);
                        }
                        Some(Some(arrived)) => {
                            let permit = admission.try_enter(at);
                            let is_in = permit.is_some() || !self.is_shedding;
                            now += if is_in { self.accepted_ns } else { self.refused_ns } as f64;
                            tally.count(is_in, now - arrived);
                        }
                    }
                }
                seconds.push(tally);
            }
            seconds
        }
    }

    impl Second {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ns > 0")]
        fn count(&mut self, is_in: bool, took_ns: f64) {
            let took_ns = took_ns as u64;
            if is_in {
                self.good += u64::from(took_ns <= 100_000_000);
                self.slowest_answer_ns = self.slowest_answer_ns.max(took_ns);
            } else {
                self.slowest_refusal_ns = self.slowest_refusal_ns.max(took_ns);
            }
        }
    }

    const PEAK: u64 = 20_000; // 1 s / 50 µs

    fn parts(seconds: &[Second]) -> Vec<f64> {
        seconds.iter().map(|second| second.good as f64 / PEAK as f64).collect()
    }

    #[test]
    fn goodput_stays_over_four_fifths_of_the_peak_at_twice_and_four_times_the_load() {
        for (refused_ns, load) in [(3_000, 1.2), (3_000, 2.0), (7_000, 2.0), (3_000, 4.0)] {
            let got = parts(&Worker::new(refused_ns).play(&[load; 5]));
            assert!(got.iter().all(|part| *part >= 0.8), "{got:?} at {load}");
        }
    }

    #[test]
    fn goodput_is_what_the_cost_of_refusing_leaves() {
        for refused_ns in [1_500, 3_000, 7_000] {
            for load in [1.1, 1.5, 2.0, 3.0, 4.0] {
                let got = parts(&Worker::new(refused_ns).play(&[load; 4]));
                let cost = refused_ns as f64 / 50_000.0;
                let attainable = (1.0 - load * cost) / (1.0 - cost);
                assert!(got.iter().all(|part| *part >= 0.98 * attainable), "{got:?} at {load}");
            }
        }
    }

    #[test]
    fn without_shedding_the_same_load_leaves_nothing() {
        let mut worker = Worker { is_shedding: false, ..Worker::new(3_000) };
        assert!(parts(&worker.play(&[2.0; 3])).iter().skip(1).all(|part| *part < 0.01));
    }

    #[test]
    fn under_overload_answers_and_refusals_wait_about_as_long_as_the_target() {
        for load in [1.1, 2.0, 4.0] {
            let seconds = Worker::new(3_000).play(&[load; 5]);
            let first = seconds.first().unwrap();
            assert!(first.slowest_answer_ns < 100_000_000, "{first:?} at {load}");
            for second in seconds.iter().skip(1) {
                assert!(second.slowest_refusal_ns < 12_000_000, "{second:?} at {load}");
                assert!(second.slowest_answer_ns < 12_000_000, "{second:?} at {load}");
            }
        }
    }

    #[test]
    fn an_overload_is_forgotten_within_two_seconds() {
        let seconds = Worker::new(3_000).play(&[0.5, 4.0, 4.0, 0.9, 0.9, 0.9]);
        let got = parts(&seconds);
        assert!(got.iter().skip(4).all(|part| *part >= 0.89), "{got:?}");
    }

    #[test]
    fn a_worker_that_keeps_up_sheds_nothing() {
        for load in [0.3, 0.6, 0.9] {
            let seconds = Worker::new(3_000).play(&[load; 5]);
            let refused = seconds.iter().filter(|second| second.slowest_refusal_ns > 0).count();
            assert_eq!(refused, 0, "{seconds:?} at {load}");
        }
    }

    #[test]
    fn a_burst_passes_that_is_worked_off_in_time_and_a_larger_one_does_not() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (last, lag, is_shed) in [(95, 45, false), (150, 45, true), (30, 80, true)] {
            let admission = Admission::new(AdmissionSettings::default(), start);
            admission.observe_lag(start, ms(0));
            for at in (5..=last).step_by(5) {
                admission.observe_lag(start + ms(at), ms(lag));
            }
            assert_eq!(admission.shed_part() > 0.01, is_shed, "{lag} ms up to {last} ms");
        }
    }

    #[test]
    fn a_single_pause_is_no_overload() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let admission = Admission::new(AdmissionSettings::default(), start);
        for (at, lag) in [(5, 0), (10, 0), (85, 70), (90, 0), (95, 0)] {
            assert!(admission.try_enter(start + ms(at)).is_some());
            admission.observe_lag(start + ms(at), ms(lag));
            assert!(admission.shed_part() <= f64::EPSILON, "after {at} ms");
        }
    }

    #[test]
    fn no_more_than_the_maximum_is_in_flight() {
        let now = Instant::now();
        let settings = AdmissionSettings { in_flight_max: 3, ..AdmissionSettings::default() };
        let admission = Admission::new(settings, now);
        let mut held: Vec<_> = (0..5).filter_map(|_| admission.try_enter(now)).collect();
        assert_eq!((held.len(), admission.in_flight()), (3, 3));
        held.pop();
        assert!(admission.try_enter(now).is_some(), "and is back at once when it is dropped");
        assert_eq!(admission.in_flight(), 2);
    }

    #[test]
    fn bodies_have_room_together_and_one_alone_always_has() {
        let now = Instant::now();
        let settings = AdmissionSettings { body_bytes_max: 100, ..AdmissionSettings::default() };
        let admission = Admission::new(settings, now);
        let enter = || admission.try_enter(now).unwrap();
        let (mut first, mut second) = (enter(), enter());
        assert!(first.takes(500), "alone");
        assert!(!second.takes(1));
        assert!(first.takes(60), "in place of what it had");
        assert!(second.takes(40) && !second.takes(41) && second.takes(40));
        assert!(!enter().takes(1));
        drop(first);
        assert!(enter().takes(60));
        let boundless = Admission::new(AdmissionSettings::default(), now);
        let mut held: Vec<_> = (0..3).map(|_| boundless.try_enter(now).unwrap()).collect();
        assert!(held.iter_mut().all(|permit| permit.takes(usize::MAX / 4)));
    }
}
