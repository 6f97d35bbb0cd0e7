//! The breaker over time that a test makes.

use super::{Breaker, Phase, Shared, View, is_failure};
use crate::bidder::net::BreakerSettings;
use crate::negatives::no_answer::NoAnswer;
use std::sync::Arc;
use std::time::Duration;

fn breaker() -> Breaker {
    Breaker::new(BreakerSettings::default())
}

fn view() -> View {
    View::new(Arc::new(Shared::new(BreakerSettings::default())))
}

#[test]
fn it_opens_over_half_of_twenty_calls_in_ten_seconds() {
    // (calls and failures at second n ...) -> open
    type Case = (&'static [(u64, u32, u32)], bool);
    let cases: [Case; 7] = [
        (&[(0, 19, 19)], false),
        (&[(0, 20, 10)], false),
        (&[(0, 20, 11)], true),
        (&[(0, 10, 10), (9, 10, 1)], true),
        (&[(0, 10, 10), (10, 10, 1)], false),
        (&[(0, 1000, 0), (5, 1000, 990)], false),
        (&[(0, 1000, 0), (10, 1000, 990)], true),
    ];
    for (calls, is_open) in cases {
        let mut breaker = breaker();
        for (second, calls, failures) in calls {
            breaker.record(second * 1000, *calls, *failures);
        }
        assert_eq!(breaker.phase() != Phase::Closed, is_open, "{calls:?}");
    }
}

#[test]
fn an_open_one_lets_probes_through_and_three_good_ones_start_the_ramp() {
    let mut breaker = breaker();
    breaker.record(0, 20, 20);
    assert!(!breaker.probe(0, false));
    assert!(!breaker.probe(249, false));
    assert!(breaker.probe(250, false));
    assert!(!breaker.probe(251, false));
    assert!(breaker.probe(252, true), "one in a hundred goes out between");
    breaker.record(300, 1, 0);
    breaker.record(550, 1, 1);
    breaker.record(800, 2, 0);
    assert!(matches!(breaker.phase(), Phase::Open { .. }), "a bad one starts the count again");
    breaker.record(1050, 1, 0);
    assert_eq!(breaker.phase(), Phase::Ramp { since_ms: 1050 });
    breaker.record(1100, 10, 2);
    breaker.record(3050, 10, 2);
    assert_eq!(breaker.phase(), Phase::Closed);
}

#[test]
fn a_ramp_that_fails_opens_again() {
    let mut breaker = breaker();
    breaker.record(0, 20, 20);
    breaker.record(100, 3, 0);
    assert!(matches!(breaker.phase(), Phase::Ramp { .. }));
    breaker.record(200, 7, 7);
    assert!(matches!(breaker.phase(), Phase::Ramp { .. }));
    breaker.record(300, 1, 1);
    assert!(matches!(breaker.phase(), Phase::Open { .. }));
}

#[test]
fn a_wish_to_be_left_alone_is_honoured_up_to_a_minute() {
    let mut breaker = breaker();
    breaker.hold(1_000, Duration::from_secs(5));
    assert!(!breaker.probe(5_999, false) && !breaker.probe(5_999, true));
    breaker.record(2_000, 50, 0);
    assert!(matches!(breaker.phase(), Phase::Open { .. }), "sent before the wish");
    assert!(breaker.probe(6_000, false));
    breaker.hold(10_000, Duration::from_secs(3_600));
    assert!(!breaker.probe(69_999, true));
    assert!(breaker.probe(70_000, false));
}

#[test]
fn a_shorter_wish_does_not_undo_a_longer_one() {
    let mut breaker = breaker();
    breaker.hold(1_000, Duration::from_secs(30));
    breaker.hold(1_010, Duration::from_secs(1));
    assert!(!breaker.probe(30_999, true));
    assert!(breaker.probe(31_000, false));
    breaker.hold(31_100, Duration::from_secs(1));
    assert!(!breaker.probe(32_099, true), "nor is it undone by one that is over");
    assert!(breaker.probe(32_100, false));
}

#[test]
fn a_wish_is_heeded_while_another_worker_is_at_the_machine() {
    let shared = Arc::new(Shared::new(BreakerSettings::default()));
    let machine = shared.machine.lock().unwrap();
    let other = shared.clone();
    let wish = std::thread::spawn(move || View::new(other).hold(1_000, Duration::from_secs(5)));
    // time enough for it to be passed over
    for _ in 0..10_000 {
        if wish.is_finished() {
            break;
        }
        std::thread::yield_now();
    }
    drop(machine);
    wish.join().unwrap();
    assert!(!View::new(shared).may_call(5_999));
}

#[test]
fn a_bidder_that_heals_has_all_its_calls_back_within_five_seconds() {
    // 1,000 calls a second over four workers, ill until 20 s; a good answer takes 20 ms
    let shared = Arc::new(Shared::new(BreakerSettings::default()));
    let workers: Vec<View> = (0..4).map(|_| View::new(shared.clone())).collect();
    let (mut sent_ill, mut sent_last_second) = (0, 0);
    for ms in 0..26_000u64 {
        let worker = &workers[usize::try_from(ms % 4).unwrap()];
        if worker.may_call(ms) {
            let is_ill = ms < 20_000;
            sent_ill += u32::from((6_000..20_000).contains(&ms));
            sent_last_second += u32::from(ms >= 25_000);
            worker.record(ms, is_ill);
        }
    }
    let share = f64::from(sent_ill) / 14_000.0;
    assert!(share < 0.015, "{share} of the calls went to an ill bidder");
    assert_eq!(sent_last_second, 1_000);
}

#[test]
fn what_one_worker_sees_all_workers_heed() {
    let shared = Arc::new(Shared::new(BreakerSettings::default()));
    let (one, other) = (View::new(shared.clone()), View::new(shared));
    assert!(other.may_call(0) && other.is_closed());
    for call in 0..25 {
        one.record(100 + call * 10, true);
    }
    assert!(!other.may_call(400));
    assert!(!other.is_closed());
}

#[test]
fn a_well_bidder_is_never_held_back() {
    let view = view();
    for ms in 0..60_000 {
        assert!(view.may_call(ms));
        view.record(ms, ms % 3 == 0);
    }
}

#[test]
fn only_the_transport_speaks_against_a_bidder() {
    let failures: Vec<NoAnswer> =
        NoAnswer::ALL.into_iter().filter(|why| is_failure(*why, true)).collect();
    assert_eq!(
        failures,
        [
            NoAnswer::Late,
            NoAnswer::ConnectRefused,
            NoAnswer::ConnectTimeout,
            NoAnswer::Tls,
            NoAnswer::Broken,
            NoAnswer::Http,
            NoAnswer::TooManyRequests,
            NoAnswer::ServerStatus,
        ]
    );
    assert!(!is_failure(NoAnswer::Late, false), "slow is not ill");
}
