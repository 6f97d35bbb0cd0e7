//! What late answers cost and prove: places to wait for them in, connections, and a bidder's health.

use crate::bidder::evil::{Evil, call, cold, late_counts, ok, on_worker, read_request, text};
use crate::bidder::net::{BreakerSettings, NetSettings};
use crate::bidder::{Bidder, desk::Desk};
use crate::negatives::no_answer::NoAnswer;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// One failure opens the breaker at once.
fn strict() -> NetSettings {
    let breaker = BreakerSettings {
        calls_min: 1,
        report_every: Duration::ZERO,
        ..BreakerSettings::default()
    };
    NetSettings { breaker, ..cold() }
}

/// Sends `bytes` and then nothing until the other side closes.
fn stalling(bytes: &'static str) -> Evil {
    Evil::start(move |_, stream| {
        stream.write_all(bytes.as_bytes()).unwrap();
        read_request(stream);
        false
    })
}

/// One call that is late.
async fn late(desk: &Rc<Desk>, bidder: &Bidder) {
    let answers = call(desk, std::slice::from_ref(bidder), "{}", MS(400)).await;
    assert_eq!(text(answers.into_iter().next().unwrap()), Err(NoAnswer::Late));
}

async fn drained(desk: &Desk, left: u32) {
    while desk.drains.get() > left {
        tokio::time::sleep(MS(1)).await;
    }
}

/// Whether its breaker is closed.
fn is_called(desk: &Desk, bidder: &Bidder) -> bool {
    let mut is_closed = None;
    desk.each_line(|line| {
        if line.key.name == bidder.name {
            is_closed = Some(line.breaker.is_closed());
        }
    });
    is_closed.unwrap()
}

#[test]
fn a_bidder_that_never_ends_leaves_the_others_places_to_be_late_in() {
    let hog = stalling("H");
    let (answer, wait) = mpsc::sync_channel::<()>(1);
    let wait = Mutex::new(wait);
    let slow = Evil::start(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(ok("{}").as_bytes()).is_ok()
    });
    let settings = NetSettings { drain_count_max: 4, drain_time_max: MS(60_000), ..strict() };
    on_worker(settings, async |desk| {
        for _ in 0..5 {
            late(&desk, &hog.bidder()).await;
        }
        assert_eq!(desk.drains.get(), 2, "half of the places");
        assert!(is_called(&desk, &hog.bidder()), "closed by us: it may be slow or ill");
        let slow = slow.bidder();
        for _ in 0..3 {
            late(&desk, &slow).await;
            answer.send(()).unwrap();
            drained(&desk, 2).await;
            assert!(is_called(&desk, &slow));
        }
        desk.each_line(|line| {
            let is_slow = line.key.name == slow.name;
            assert_eq!(line.pool.open(), if is_slow { 1 } else { 2 });
            assert_eq!(line.counters.dials.get(), if is_slow { 1 } else { 5 });
        });
        // two of the five still hold their places
        assert_eq!(late_counts(&desk), [3, 3, 3]);
    });
}

#[test]
fn an_answer_that_never_ends_speaks_against_its_bidder() {
    for bytes in ["", "H", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"] {
        let evil = stalling(bytes);
        let settings = NetSettings { drain_time_max: MS(20), ..strict() };
        on_worker(settings, async |desk| {
            let bidder = evil.bidder();
            late(&desk, &bidder).await;
            assert!(is_called(&desk, &bidder), "not yet");
            drained(&desk, 0).await;
            assert!(!is_called(&desk, &bidder), "{bytes:?}");
        });
    }
}

#[test]
fn where_no_late_answer_is_waited_for_silence_speaks_against_its_bidder() {
    for (bytes, is_well) in [("", false), ("H", true)] {
        let evil = stalling(bytes);
        let settings = NetSettings { drain_count_max: 0, ..strict() };
        on_worker(settings, async |desk| {
            let bidder = evil.bidder();
            late(&desk, &bidder).await;
            assert_eq!((desk.drains.get(), is_called(&desk, &bidder)), (0, is_well), "{bytes:?}");
        });
    }
}

#[test]
fn a_late_answer_over_its_bound_costs_its_connection_whatever_its_head_said_in_time() {
    let (answer, wait) = mpsc::sync_channel::<()>(1);
    let wait = Mutex::new(wait);
    let evil = Evil::start(move |_, stream| {
        let (head, body) = ("HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n", [b' '; 3000]);
        stream.write_all(head.as_bytes()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(&body).is_ok()
    });
    for (bytes_max, is_read) in [(2999, false), (3000, true)] {
        on_worker(NetSettings { drain_bytes_max: bytes_max, ..cold() }, async |desk| {
            late(&desk, &evil.bidder()).await;
            answer.send(()).unwrap();
            drained(&desk, 0).await;
            desk.each_line(|line| assert_eq!(line.pool.open(), u32::from(is_read)));
            assert_eq!(late_counts(&desk), if is_read { [1, 0, 1] } else { [0, 1, 0] });
        });
    }
}

#[test]
fn a_late_answer_is_given_up_when_its_time_is_over() {
    let evil = Evil::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        // silence until the other side closes
        read_request(stream);
        false
    });
    let settings = NetSettings { drain_time_max: MS(50), ..cold() };
    on_worker(settings, async |desk| {
        let bidder = evil.bidder();
        let answers = call(&desk, std::slice::from_ref(&bidder), "{}", MS(30)).await;
        assert_eq!(text(answers.into_iter().next().unwrap()), Err(NoAnswer::Late));
        while desk.drains.get() > 0 {
            tokio::time::sleep(MS(5)).await;
        }
        desk.each_line(|line| {
            assert_eq!((line.open_calls.get(), line.pool.open()), (0, 0));
        });
        assert_eq!(late_counts(&desk), [0, 1, 0]);
    });
}
