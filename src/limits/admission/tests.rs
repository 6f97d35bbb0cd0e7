//! A controller on a worker that is played, in time that is counted.

use super::*;
use crate::clock;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Nanoseconds of one server that takes what is ready in order: requests, and a ticker.
struct Worker {
    accepted_ns: u64,
    refused_ns: u64,
    is_shedding: bool,
    /// Connections that send what cannot be shed, each again as soon as it has its answer.
    flood: usize,
    is_keeping_back: bool,
    seed: u64,
}

/// What is ready.
enum Ready {
    /// Since when.
    Request(f64),
    Flood,
    Tick,
}

/// What the answer to one of a flood costs, how soon the next is there, and how much later where the
/// answer is kept back.
const FLOOD_NS: f64 = 20e3;
const NEXT_NS: f64 = 100e3;
const HOLD_NS: f64 = 50e6;

#[derive(Default, Debug)]
struct Second {
    shed: u64,
    /// Served within 100 ms of their arrival.
    good: u64,
    slowest_refusal_ns: u64,
    slowest_answer_ns: u64,
}

impl Worker {
    fn new(refused_ns: u64) -> Self {
        Self {
            accepted_ns: 50_000,
            refused_ns,
            is_shedding: true,
            flood: 0,
            is_keeping_back: true,
            seed: 7,
        }
    }

    /// Under a flood of so many connections.
    fn flooded(flood: usize) -> Self {
        Self { flood, ..Self::new(3_000) }
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
        let start = clock::monotonic();
        let settings = AdmissionSettings::default();
        let admission = Admission::new(settings, start);
        let tick_ns = settings.lag_tick.as_nanos() as f64;
        let (mut now, mut arrival, mut tick) = (0.0_f64, 0.0_f64, tick_ns);
        let mut queue = VecDeque::new();
        let mut flood: BinaryHeap<_> = vec![Reverse(Duration::ZERO); self.flood].into();
        let next = |flood: &BinaryHeap<Reverse<Duration>>| {
            flood.peek().map_or(f64::INFINITY, |Reverse(due)| due.as_nanos() as f64)
        };
        let (mut ticked, mut seconds) = (false, Vec::new());
        for (second, load) in loads.iter().enumerate() {
            let (end, mut tally) = ((second as f64 + 1.0) * 1e9, Second::default());
            while now < end {
                while arrival <= now {
                    queue.push_back(Ready::Request(arrival));
                    arrival += self.gap_ns(self.accepted_ns as f64 / load);
                }
                while next(&flood) <= now {
                    flood.pop();
                    queue.push_back(Ready::Flood);
                }
                if !ticked && tick <= now {
                    queue.push_back(Ready::Tick);
                    ticked = true;
                }
                let at = start + Duration::from_secs_f64(now / 1e9);
                match queue.pop_front() {
                    None => now = arrival.min(tick).min(next(&flood)),
                    Some(Ready::Flood) => {
                        let waits = admission.is_to_wait(at) && self.is_keeping_back;
                        now += FLOOD_NS;
                        let due = now + NEXT_NS + if waits { HOLD_NS } else { 0.0 };
                        flood.push(Reverse(Duration::from_secs_f64(due / 1e9)));
                    }
                    Some(Ready::Tick) => {
                        admission.observe_lag(at, Duration::from_secs_f64((now - tick) / 1e9));
                        (tick, ticked, now) = (now + tick_ns, false, now + 1000.0);
                    }
                    Some(Ready::Request(arrived)) => {
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
            self.shed += 1;
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
fn a_flood_that_cannot_be_shed_costs_others_nothing_where_its_answers_are_kept_back() {
    let seconds = Worker::flooded(400).play(&[0.3; 12]);
    assert!(seconds.iter().all(|second| second.shed == 0), "{seconds:?}");
    assert!(seconds.iter().all(|second| second.good > 5_700), "{seconds:?}");
    let free = Worker { is_keeping_back: false, ..Worker::flooded(400) }.play(&[0.3; 12]);
    assert!(free.iter().skip(6).all(|second| second.good < 1_000), "{free:?}");
}

#[test]
fn under_a_flood_an_overload_of_what_can_be_shed_is_shed_as_ever() {
    // what is kept back comes 20 times a second from each
    let left = 1.0 - 400.0 * 20.0 * FLOOD_NS / 1e9;
    for load in [1.5, 2.0, 4.0] {
        let got = parts(&Worker::flooded(400).play(&[load; 8]));
        let attainable = left - (load - left) * 3_000.0 / 50_000.0;
        assert!(got.iter().skip(1).all(|part| *part >= 0.95 * attainable), "{got:?} at {load}");
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
    let start = clock::monotonic();
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
    let start = clock::monotonic();
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
    let now = clock::monotonic();
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
    let now = clock::monotonic();
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
