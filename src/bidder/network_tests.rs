//! The bidder network against bidders that misbehave, over real sockets.

use crate::bidder::evil::{
    Evil, admit, bidder, call, call_one, cold, late_counts, ok, on_worker, text,
};
use crate::bidder::fanout::fan_out;
use crate::bidder::net::NetSettings;
use crate::bidder::shelf::Packet;
use crate::bidder::{ImpSet, Invitation, Outgoing};
use crate::clock;
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::BidderId;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_request_is_written_as_agreed_and_its_answer_read() {
    let (seen, look) = mpsc::sync_channel(1);
    let evil = Evil::start(move |turn, stream| {
        seen.send((turn.head.to_owned(), turn.body.to_vec())).unwrap();
        stream.write_all(ok("{\"id\":\"1\"}").as_bytes()).is_ok()
    });
    on_worker(cold(), async |desk| {
        let answers = call(&desk, &[evil.bidder()], "{\"id\":\"q\"}", MS(2_000)).await;
        assert_eq!(answers[0].status, 200);
        assert!(answers[0].took > Duration::ZERO);
        assert_eq!(text(answers.into_iter().next().unwrap()).unwrap(), "{\"id\":\"1\"}");
        let (head, body) = look.recv().unwrap();
        let lines: Vec<_> = head.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "POST /bid?x=1 HTTP/1.1",
                &format!("host: {}", evil.address),
                "content-type: application/json",
                "accept: application/json",
                "x-openrtb-version: 2.6",
                "accept-encoding: gzip, deflate, zstd",
                "x-extra: yes",
                "content-length: 10",
                "",
                ""
            ]
        );
        assert_eq!(body, b"{\"id\":\"q\"}");
    });
}

#[test]
fn a_connection_carries_call_after_call() {
    let evil = Evil::saying(ok("{}"));
    on_worker(cold(), async |desk| {
        let bidder = evil.bidder();
        for _ in 0..50 {
            assert_eq!(call_one(&desk, &bidder).await.unwrap(), "{}");
        }
        assert_eq!(evil.accepted(), 1);
        desk.each_line(|line| {
            assert_eq!(line.counters.calls.get(), 50);
            assert_eq!(line.counters.reused.get(), 49);
            assert_eq!(line.counters.dials.get(), 1);
            assert_eq!((line.pool.idle(), line.pool.open()), (1, 1));
            assert_eq!(line.open_calls.get(), 0);
            assert!(line.round_trip.get() > Duration::ZERO);
        });
    });
}

#[test]
fn every_misbehaviour_has_its_reason() {
    let chunked =
        |rest: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
    let status = |status: u16| format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nhi");
    let cases: Vec<(&str, String, Result<&str, NoAnswer>)> = vec![
        ("no bid", "HTTP/1.1 204 No Content\r\n\r\n".into(), Err(NoAnswer::NoBid)),
        (
            "redirect",
            "HTTP/1.1 302 F\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".into(),
            Err(NoAnswer::Redirect),
        ),
        ("not found", status(404), Err(NoAnswer::ClientStatus)),
        ("too many", status(429), Err(NoAnswer::TooManyRequests)),
        ("failing", status(500), Err(NoAnswer::ServerStatus)),
        ("created", status(201), Err(NoAnswer::OtherStatus)),
        ("garbage", "\u{0}\u{1}\u{2} what is this\r\n\r\n".into(), Err(NoAnswer::Http)),
        ("html without http", "<html></html>".into(), Err(NoAnswer::Http)),
        ("switches", "HTTP/1.1 101 S\r\n\r\n".into(), Err(NoAnswer::Http)),
        ("interim first", format!("HTTP/1.1 100 C\r\n\r\n{}", ok("{}")), Ok("{}")),
        ("chunked", chunked("2\r\n{}\r\n0\r\n\r\n"), Ok("{}")),
        ("chunk overflow", chunked("fffffffffffffffff\r\n"), Err(NoAnswer::Http)),
        (
            "huge chunk",
            format!("{}{}", chunked("ffffffff\r\n"), "x".repeat(600_000)),
            Err(NoAnswer::TooLarge),
        ),
        (
            "huge length",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".into(),
            Err(NoAnswer::TooLarge),
        ),
        (
            "long head",
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000)),
            Err(NoAnswer::Http),
        ),
    ];
    on_worker(cold(), async |desk| {
        for (name, bytes, expected) in cases {
            let evil = Evil::saying(bytes);
            let got = call_one(&desk, &evil.bidder()).await;
            assert_eq!(got.as_deref().map_err(|why| *why), expected, "{name}");
        }
    });
}

#[test]
fn a_connection_that_ends_early_is_broken() {
    on_worker(cold(), async |desk| {
        for (name, bytes) in [
            ("closed without a byte", ""),
            ("closed inside the head", "HTTP/1.1 200 OK\r\ncontent-le"),
            ("short of its length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}"),
            ("inside a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}"),
        ] {
            let evil = Evil::start(move |_, stream| {
                stream.write_all(bytes.as_bytes()).unwrap();
                false
            });
            assert_eq!(call_one(&desk, &evil.bidder()).await, Err(NoAnswer::Broken), "{name}");
        }
    });
}

#[test]
fn nobody_listening_is_refused_and_a_full_backlog_times_out() {
    let vacant = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    on_worker(cold(), async |desk| {
        assert_eq!(call_one(&desk, &bidder(vacant)).await, Err(NoAnswer::ConnectRefused));
        let mut nowhere = bidder(vacant);
        nowhere.endpoint.host = "unresolved.invalid".to_owned();
        assert_eq!(call_one(&desk, &nowhere).await, Err(NoAnswer::ConnectRefused));
        // a socket that listens with a queue of one and never accepts: the third SYN is dropped
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        full.listen(0).unwrap();
        let at = full.local_addr().unwrap().as_socket().unwrap();
        let _fill: Vec<_> = (0..2)
            .filter_map(|_| std::net::TcpStream::connect_timeout(&at, MS(200)).ok())
            .collect();
        assert_eq!(call_one(&desk, &bidder(at)).await, Err(NoAnswer::ConnectTimeout));
    });
}

#[test]
fn late_answer_keeps_its_connection() {
    let (answer, wait) = mpsc::sync_channel::<()>(1);
    let wait = Mutex::new(wait);
    let evil = Evil::start(move |turn, stream| {
        if turn.request == 1 {
            wait.lock().unwrap().recv().unwrap();
        }
        stream.write_all(ok("{}").as_bytes()).is_ok()
    });
    on_worker(cold(), async |desk| {
        let bidder = evil.bidder();
        call_one(&desk, &bidder).await.unwrap();
        let answers = call(&desk, std::slice::from_ref(&bidder), "{}", MS(30)).await;
        assert_eq!(text(answers.into_iter().next().unwrap()), Err(NoAnswer::Late));
        assert_eq!(desk.drains.get(), 1);
        answer.send(()).unwrap();
        while desk.drains.get() > 0 {
            tokio::task::yield_now().await;
        }
        call_one(&desk, &bidder).await.unwrap();
        assert_eq!(evil.accepted(), 1);
        desk.each_line(|line| {
            assert_eq!((line.counters.late.get(), line.open_calls.get()), (1, 0));
        });
        assert_eq!(late_counts(&desk), [1, 0, 1]);
    });
}

#[test]
fn a_late_bidder_is_given_up_by_the_kernels_clock() {
    let (hold, wait) = mpsc::sync_channel::<()>(1);
    let wait = Mutex::new(wait);
    let evil = Evil::start(move |turn, stream| {
        if turn.request == 1 {
            // until the test is over
            let _ = wait.lock().unwrap().recv();
        }
        stream.write_all(ok("{}").as_bytes()).is_ok()
    });
    on_worker(cold(), async |desk| {
        let bidder = evil.bidder();
        call_one(&desk, &bidder).await.unwrap();
        // whatever waits for one of tokio's timers has it go off at once from here on
        tokio::time::pause();
        let before = clock::monotonic();
        let answers = call(&desk, std::slice::from_ref(&bidder), "{}", MS(30)).await;
        assert!(clock::monotonic().saturating_duration_since(before) >= MS(30));
        assert_eq!(text(answers.into_iter().next().unwrap()), Err(NoAnswer::Late));
        drop(hold);
    });
}

#[test]
fn nine_that_drip_do_not_hold_up_the_tenth_nor_the_auction() {
    let drip = Evil::start(|_, stream| {
        // one byte a round, until nobody reads any more
        ok(&"x".repeat(400_000)).bytes().all(|byte| {
            std::thread::sleep(MS(2));
            stream.write_all(&[byte]).is_ok()
        })
    });
    let good = Evil::saying(ok("{}"));
    on_worker(cold(), async |desk| {
        let mut bidders = vec![drip.bidder(); 9];
        bidders.iter_mut().enumerate().for_each(|(at, b)| b.name = format!("drip {at}"));
        bidders.push(good.bidder());
        let before = clock::monotonic();
        let answers = call(&desk, &bidders, "{}", MS(100)).await;
        let took = before.elapsed();
        assert!(took >= MS(100) && took < MS(160), "{took:?}");
        let results: Vec<_> = answers.into_iter().map(text).collect();
        assert_eq!(results[..9], vec![Err(NoAnswer::Late); 9]);
        assert_eq!(results[9].as_deref(), Ok("{}"));
    });
}

#[test]
fn an_answer_with_bytes_behind_it_costs_its_connection() {
    let evil =
        Evil::saying(format!("{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", ok("{}")));
    on_worker(cold(), async |desk| {
        for round in 1..=3 {
            assert_eq!(call_one(&desk, &evil.bidder()).await.as_deref(), Ok("{}"));
            assert_eq!(evil.accepted(), round);
        }
    });
}

#[test]
fn a_connection_that_the_bidder_closed_is_not_used_again() {
    let (closed, wait) = mpsc::sync_channel(1);
    let evil = Evil::start(move |_, stream| {
        stream.write_all(ok("{}").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        closed.send(()).unwrap();
        false
    });
    on_worker(cold(), async |desk| {
        for round in 1..=3 {
            assert_eq!(call_one(&desk, &evil.bidder()).await.as_deref(), Ok("{}"));
            wait.recv().unwrap();
            // one turn of the driver, so that it hears of the end
            tokio::time::sleep(MS(5)).await;
            assert_eq!(evil.accepted(), round);
        }
        desk.each_line(|line| assert_eq!(line.counters.reused_broken.get(), 0));
    });
}

#[test]
fn connections_have_an_age_and_a_number() {
    let evil = Evil::saying(ok("{}"));
    on_worker(cold(), async |desk| {
        let mut old = evil.bidder();
        old.limits.connection_age_max = Duration::ZERO;
        for round in 1..=3 {
            call_one(&desk, &old).await.unwrap();
            assert_eq!(evil.accepted(), round);
        }
        let mut one = evil.bidder();
        one.name = "one".to_owned();
        one.limits.connections_max = 1;
        let twice = [one.clone(), one];
        let answers = call(&desk, &twice, "{}", MS(2_000)).await;
        let mut results: Vec<_> = answers.into_iter().map(text).collect();
        assert_eq!(results.remove(1), Err(NoAnswer::PoolFull));
        assert_eq!(results.remove(0).as_deref(), Ok("{}"));
    });
}

#[test]
fn a_bidder_whose_calls_pile_up_leaves_the_others_connections() {
    let hog = Evil::start(|_, stream| {
        crate::bidder::evil::read_request(stream);
        false
    });
    let good = Evil::saying(ok("{}"));
    on_worker(NetSettings { connections_max: 4, ..cold() }, async |desk| {
        let bidders = [vec![hog.bidder(); 5], vec![good.bidder()]].concat();
        let answers = call(&desk, &bidders, "{}", MS(200)).await;
        let results: Vec<_> = answers.into_iter().map(text).collect();
        assert_eq!(results[..2], [Err(NoAnswer::Late), Err(NoAnswer::Late)]);
        assert_eq!(results[2..5], vec![Err(NoAnswer::PoolFull); 3]);
        assert_eq!(results[5].as_deref(), Ok("{}"));
        // and what is closed can be opened again
        let mut young = good.bidder();
        young.limits.connection_age_max = Duration::ZERO;
        for _ in 0..5 {
            assert_eq!(call_one(&desk, &young).await.as_deref(), Ok("{}"));
        }
    });
}

#[test]
fn a_call_without_a_connection_of_ours_says_nothing_of_its_bidder() {
    let evil = Evil::saying(ok("{}"));
    let mut settings = cold();
    (settings.breaker.calls_min, settings.breaker.report_every) = (1, Duration::ZERO);
    on_worker(settings, async |desk| {
        let bidders = [evil.bidder()];
        drop(admit(&desk, 1, &bidders, 0).unwrap());
        desk.each_line(|line| {
            for _ in 0..5 {
                line.ended(0, Err(NoAnswer::PoolFull), true);
            }
            assert!(line.breaker.is_closed(), "no failure");
            line.ended(0, Err(NoAnswer::Broken), true);
            assert!(!line.breaker.is_closed(), "no success");
        });
    });
}

#[test]
fn a_permit_counts_until_it_is_dropped() {
    let evil = Evil::saying(ok("{}"));
    on_worker(cold(), async |desk| {
        let mut bidder = evil.bidder();
        bidder.limits.in_flight_max = 2;
        let bidders = [bidder];
        let held = [admit(&desk, 1, &bidders, 0).unwrap(), admit(&desk, 1, &bidders, 0).unwrap()];
        assert_eq!(admit(&desk, 1, &bidders, 0).unwrap_err(), NotCalled::InFlight);
        drop(held);
        assert!(admit(&desk, 1, &bidders, 0).is_ok());
    });
}

#[test]
fn a_bidder_that_fails_is_left_alone_and_one_that_asks_for_it_at_once() {
    let failing = Evil::saying("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n");
    let asking = Evil::saying("HTTP/1.1 429 X\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n");
    let mut settings = cold();
    settings.breaker.report_every = Duration::ZERO;
    on_worker(settings, async |desk| {
        let bidders = [failing.bidder(), asking.bidder()];
        for _ in 0..20 {
            assert_eq!(call_one(&desk, &bidders[0]).await, Err(NoAnswer::ServerStatus));
        }
        assert_eq!(admit(&desk, 1, &bidders, 0).unwrap_err(), NotCalled::BreakerOpen);
        assert_eq!(call_one(&desk, &bidders[1]).await, Err(NoAnswer::TooManyRequests));
        assert_eq!(admit(&desk, 1, &bidders, 1).unwrap_err(), NotCalled::BreakerOpen);
    });
}

#[test]
fn what_refuses_a_call_is_asked_in_order() {
    let evil = Evil::saying(ok("{}"));
    on_worker(cold(), async |desk| {
        let mut bidder = evil.bidder();
        bidder.limits.in_flight_max = 1;
        // a burst is 200 ms of the rate: one call
        bidder.limits.qps = Some(5);
        bidder.time.most = MS(600);
        let mut hasty = bidder.clone();
        hasty.name = "hasty".into();
        hasty.time.most = MS(14);
        let bidders = [bidder, hasty];
        let now = clock::monotonic();
        let table = desk.table(1, &bidders, now);
        let admit = |left| table.admit(BidderId(0), now, left).map(drop);
        // the least is 10 ms beside a margin of 5
        assert_eq!(admit(MS(14)), Err(NotCalled::NoTime));
        // what it is given is what counts, not what is left
        assert_eq!(table.admit(BidderId(1), now, MS(500)).map(drop), Err(NotCalled::NoTime));
        // the one token is still there
        let held = table.admit(BidderId(0), now, MS(15)).unwrap();
        assert_eq!(admit(MS(14)), Err(NotCalled::NoTime));
        assert_eq!(admit(MS(500)), Err(NotCalled::InFlight));
        drop(held);
        assert_eq!(admit(MS(500)), Err(NotCalled::Budget));
        desk.each_line(|line| assert_eq!(line.open_calls.get(), 0));
    });
}

#[test]
fn a_round_trip_that_was_measured_too_long_is_put_right_by_a_call() {
    let evil = Evil::saying(ok("{}"));
    on_worker(cold(), async |desk| {
        let bidders = [evil.bidder()];
        call_one(&desk, &bidders[0]).await.unwrap();
        let now = clock::monotonic();
        let table = desk.table(u64::MAX, &bidders, now);
        let measured = &table.entries()[0].line.round_trip;
        // two lots of nothing but bad ones
        for hours in 1..=2 {
            measured.connected(MS(2_000), now + Duration::from_secs(3_600 * hours));
        }
        let one = table.admit(BidderId(0), now, MS(100)).unwrap();
        assert_eq!(one.round_trip, MS(85), "the least of 10 ms is left, beside a margin of 5");
        let refused = |now| table.admit(BidderId(0), now, MS(100)).map(drop);
        assert_eq!(refused(now), Err(NotCalled::RoundTrip));
        drop(table.admit(BidderId(0), now + MS(1_000), MS(100)).unwrap());
        assert_eq!(refused(now + MS(1_999)), Err(NotCalled::RoundTrip));
        let outgoing = Outgoing {
            invitation: Invitation { bidder: BidderId(0), imps: ImpSet(1) },
            packet: Packet::of(b"{}"),
            parent: None,
        };
        let due = clock::monotonic() + MS(1_000);
        let answers =
            fan_out(&desk, vec![(one, outgoing)], due, |_, _| Err(NoAnswer::NoBid.into()));
        assert_eq!(answers.await[0].status, 200);
        assert!(measured.get() < MS(1_000), "{:?}", measured.get());
        desk.each_line(|line| assert_eq!(line.counters.dials.get(), 1));
    });
}

#[test]
fn a_compressed_request_unpacks_to_its_body() {
    let (seen, look) = mpsc::sync_channel(1);
    let evil = Evil::start(move |turn, stream| {
        seen.send((turn.head.to_owned(), turn.body.to_vec())).unwrap();
        stream.write_all(ok("{}").as_bytes()).is_ok()
    });
    on_worker(cold(), async |desk| {
        let mut bidder = evil.bidder();
        bidder.wire.is_gzip = true;
        let body = "{\"id\":\"compressed\"}".repeat(100);
        for _ in 0..2 {
            call(&desk, std::slice::from_ref(&bidder), &body, MS(2_000)).await;
            let (head, packed) = look.recv().unwrap();
            assert!(head.contains("\r\ncontent-encoding: gzip\r\n"));
            let mut text = String::new();
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
            assert_eq!(text, body);
        }
    });
}

#[test]
fn a_bidder_that_leaves_the_snapshot_is_let_go_with_its_connections() {
    let (stays, leaves) = (Evil::saying(ok("{}")), Evil::saying(ok("{}")));
    on_worker(cold(), async |desk| {
        let both = [stays.bidder(), leaves.bidder()];
        call(&desk, &both, "{}", MS(2_000)).await;
        let held = admit(&desk, u64::MAX - 1, &both, 1).unwrap();
        let count = || {
            let mut lines = 0;
            desk.each_line(|_| lines += 1);
            lines
        };
        desk.table(u64::MAX, &both[..1], clock::monotonic());
        assert_eq!(count(), 2);
        desk.sweep(clock::monotonic() + Duration::from_secs(10));
        assert_eq!(count(), 2, "a call is open on it");
        drop(held);
        assert_eq!(count(), 1);
        // the one that stayed is warm
        desk.table(u64::MAX, &both[..1], clock::monotonic());
        desk.each_line(|line| assert_eq!(line.pool.idle(), 1));
    });
}

#[test]
fn calls_that_are_dropped_midway_give_everything_back() {
    let evil = Evil::start(|_, stream| {
        crate::bidder::evil::read_request(stream);
        false
    });
    on_worker(cold(), async |desk| {
        let bidder = evil.bidder();
        let call = call(&desk, std::slice::from_ref(&bidder), "{}", MS(2_000));
        assert!(tokio::time::timeout(MS(30), call).await.is_err());
        desk.each_line(|line| {
            assert_eq!((line.open_calls.get(), line.pool.open()), (0, 0));
        });
    });
}
