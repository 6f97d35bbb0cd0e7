//! The public listener from outside, over raw sockets.

use crate::server::{Server, post, read_answer, status, wait_until};
use bytes::Bytes;
use gavel::http::HttpSettings;
use gavel::lifecycle::Phase;
use gavel::runtime::acceptor::AcceptSettings;
use gavel::runtime::workers::Ended;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Times so short that a test sees them pass.
fn hasty() -> HttpSettings {
    HttpSettings {
        header_time: Duration::from_millis(150),
        idle_time: Duration::from_millis(400),
        body_time: Duration::from_millis(100),
        write_time: Duration::from_millis(200),
        sweep_every: Duration::from_millis(10),
        ..HttpSettings::default()
    }
}

/// Times so long that no test sees them pass.
fn patient() -> HttpSettings {
    let long = Duration::from_secs(60);
    HttpSettings { header_time: long, idle_time: long, stranger_idle_time: long, ..hasty() }
}

#[test]
fn a_bid_request_is_answered_and_its_connection_kept() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    for body in ["{\"id\":\"1\"}", "{}", "{\"id\":\"3\"}"] {
        stream
            .write_all(post("/openrtb2/acme", "x-openrtb-version: 2.5\r\n", body).as_bytes())
            .unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(answer.ends_with(body) && answer.contains("x-openrtb-version: 2.6"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    let arrivals = server.echo.clients.lock().unwrap();
    assert_eq!(arrivals.len(), 3);
    assert!(arrivals[0].serial < arrivals[1].serial && arrivals[0].partner.0 == 0);
    drop((arrivals, stream));
    assert_eq!(server.stop(), Ended::default());
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    let bodies: Vec<_> = (0..8).map(|number| format!("{{\"id\":\"{number}\"}}")).collect();
    let all: String = bodies.iter().map(|body| post("/openrtb2/acme", "", body)).collect();
    stream.write_all(all.as_bytes()).unwrap();
    for body in &bodies {
        assert!(read_answer(&mut stream).ends_with(body), "{body}");
    }
}

#[test]
fn a_body_in_pieces_or_chunks_or_coded_arrives_whole() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    for piece in post("/openrtb2/acme", "", "{\"id\":\"in pieces\"}").as_bytes().chunks(30) {
        stream.write_all(piece).unwrap();
        std::thread::yield_now();
    }
    assert!(read_answer(&mut stream).ends_with("{\"id\":\"in pieces\"}"));
    let chunked = "POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4\r\n{\"id\r\n5\r\n\":\"1\"\r\n1\r\n}\r\n0\r\n\r\n";
    stream.write_all(chunked.as_bytes()).unwrap();
    assert!(read_answer(&mut stream).ends_with("{\"id\":\"1\"}"));
}

#[test]
fn every_wrong_door_has_its_own_answer_and_keeps_the_connection() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    for (request, expected, header) in [
        (post("/nowhere", "", "{}"), "404", ""),
        (post("/metrics", "", "{}"), "404", ""),
        ("GET /openrtb2/acme HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405", "allow: POST"),
        (post("/openrtb2/nobody", "", "{}"), "401", ""),
        (post("/openrtb2/keyed", "", "{}"), "401", ""),
        (post("/openrtb2/stopped", "", "{}"), "429", "retry-after: 1"),
        (post("/openrtb2/keyed", "X-Gavel-Key: wrong\r\n", "{}"), "401", ""),
        (post("/openrtb2/keyed", "X-Gavel-Key: secret\r\n", "{}"), "200", ""),
        (post("/openrtb2/keyed/secret", "", "{}"), "200", ""),
        (
            post("/openrtb2/acme", "Content-Type: text/xml\r\n", "{}"),
            "415",
            "x-gavel-reason: content_type",
        ),
        (
            post("/openrtb2/acme", "Content-Encoding: br\r\n", "{}"),
            "415",
            "x-gavel-reason: content_encoding",
        ),
        (
            post("/openrtb2/acme", "Content-Encoding: gzip\r\n", "{}"),
            "400",
            "x-gavel-reason: encoding_broken",
        ),
        (post("/openrtb2/acme", "", "{}"), "200", "content-type: application/json"),
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(status(&answer), expected, "{request} {answer}");
        assert!(answer.contains(header) && !answer.contains("connection: close"), "{answer}");
    }
    for (partner, result, count) in [
        ("unknown", "unauthorised", 3),
        ("acme", "answered", 1),
        ("acme", "encoding_broken", 1),
        ("keyed", "answered", 2),
        ("stopped", "partner_qps", 1),
    ] {
        assert_eq!(server.requests(partner, result), count, "{partner} {result}");
    }
    for (reason, count) in [("no_route", 2), ("method", 1), ("unreadable_head", 0)] {
        assert_eq!(server.count("gavel_http_denied_total", &[reason]), count, "{reason}");
    }
    server.probe(b"\x01 what is this\r\n\r\n");
    let unreadable = || server.count("gavel_http_denied_total", &["unreadable_head"]);
    wait_until("it was counted", || unreadable() == 1);
}

#[test]
fn an_answer_to_a_stranger_is_the_same_whether_the_partner_exists_or_not() {
    let server = Server::start(hasty());
    let strip = |answer: String| {
        // an id of ours, drawn for each
        let own = ["date:", "x-request-id:"];
        let same = answer.lines().filter(|line| !own.iter().any(|name| line.starts_with(name)));
        same.collect::<Vec<_>>().join("\n")
    };
    let unknown = strip(server.probe(post("/openrtb2/nobody", "", "{}").as_bytes()));
    let wrong = strip(server.probe(post("/openrtb2/keyed", "X-Gavel-Key: k\r\n", "{}").as_bytes()));
    assert_eq!(unknown, wrong);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let server = Server::start(hasty());
    let mut stream = server.connect();
    stream
        .write_all(b"POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
        .unwrap();
    let answer = read_answer(&mut stream);
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    // What is still under way does not cost the client its answer: the server reads on for a bit.
    let whole = post("/openrtb2/acme", "", &"x".repeat(300_000));
    assert_eq!(status(&server.probe(whole.as_bytes())), "413");
    let chunks = "4000\r\n".to_owned() + &"x".repeat(0x4000) + "\r\n";
    let endless = "POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_owned()
        + &chunks.repeat(20);
    assert_eq!(status(&server.probe(endless.as_bytes())), "413");
}

#[test]
fn without_a_snapshot_nobody_is_served_yet() {
    let server = Server::start_empty(hasty());
    let answer = server.probe(post("/openrtb2/acme", "", "{}").as_bytes());
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains("x-gavel-reason: not_ready"));
}

#[test]
fn a_panic_costs_one_request_and_no_worker() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    for (body, expected) in [("panic", "500"), ("{}", "200"), ("panic", "500"), ("{}", "200")] {
        stream.write_all(post("/openrtb2/acme", "", body).as_bytes()).unwrap();
        assert_eq!(status(&read_answer(&mut stream)), expected);
    }
    drop(stream);
    assert_eq!(server.stop().panicked, 0);
}

#[test]
fn a_client_that_goes_away_does_not_end_its_auction() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    stream.write_all(post("/openrtb2/acme", "", "wait").as_bytes()).unwrap();
    wait_until("the auction has begun", || server.echo.begun.load(Ordering::SeqCst) == 1);
    drop(stream);
    wait_until("its connection is gone", || server.open() == 0);
    assert_eq!(server.echo.ended.load(Ordering::SeqCst), 0);
    server.echo.gate.add_permits(1);
    wait_until("the auction has ended", || server.echo.ended.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_request_is_counted_once_also_where_its_client_goes_away() {
    let server = Server::start(HttpSettings::default());
    let counted = |result| server.requests("acme", result);
    let gone = |bytes: &str| {
        let mut stream = server.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    };
    let waiting = gone(&post("/openrtb2/acme", "", "wait"));
    wait_until("the auction has begun", || server.echo.begun.load(Ordering::SeqCst) == 1);
    assert_eq!(counted("client_gone"), 0);
    drop(waiting);
    wait_until("its client is missed", || counted("client_gone") == 1);
    server.echo.gate.add_permits(1);
    wait_until("the auction has ended", || server.echo.ended.load(Ordering::SeqCst) == 1);
    // another one's answer comes, so that whatever the walker of the first could count is counted
    let mut stream = server.connect();
    stream.write_all(post("/openrtb2/acme", "", "{}").as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut stream)), "200");
    assert_eq!((counted("answered"), counted("client_gone")), (1, 1));
    // inside its body
    let whole = post("/openrtb2/acme", "", "{\"id\":1}");
    drop(gone(&whole[..whole.len() - 3]));
    let ends = || ["answered", "client_gone", "body_broken"].map(counted);
    wait_until("the third is counted", || ends().iter().sum::<u64>() == 3);
    assert_eq!(ends()[0], 1);
}

#[test]
fn dribblers_idlers_and_slow_bodies_are_gone_in_time() {
    let server = Server::start(hasty());
    let silent = server.connect();
    let mut dribbling = server.connect();
    dribbling.write_all(b"POST /openrtb2/acme HTTP/1.1\r\nHo").unwrap();
    let mut idle = server.connect();
    idle.write_all(post("/openrtb2/acme", "", "{}").as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut idle)), "200");
    let mut slow = server.connect();
    slow.write_all(b"POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{\"")
        .unwrap();
    let answer = read_answer(&mut slow);
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    for mut stream in [silent, dribbling, idle, slow] {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_err() || rest.is_empty(), "{ended:?} {rest:?}");
    }
    wait_until("no connection is left", || server.open() == 0);
    let cut = |reason| server.count("gavel_connections_cut_total", &[reason]);
    assert!(cut("slow_head") >= 1);
}

#[test]
fn a_head_that_begins_with_the_request_before_it_has_no_longer_than_any_other() {
    let header_time = Duration::from_secs(1);
    let server = Server::start(HttpSettings { header_time, ..patient() });
    let bid = post("/openrtb2/acme", "", "{}");
    let mut streams = [server.connect(), server.connect()];
    for (stream, behind) in streams.iter_mut().zip(["", "POST /openrtb2/acme HTTP/1.1\r\nHo"]) {
        stream.write_all(format!("{bid}{behind}").as_bytes()).unwrap();
        assert_eq!(status(&read_answer(stream)), "200");
    }
    let [mut quiet, mut ahead] = streams;
    assert_eq!(ahead.read(&mut [0; 1]).unwrap_or(0), 0);
    let cut = || server.count("gavel_connections_cut_total", &["slow_head"]);
    wait_until("it was counted", || cut() == 1);
    quiet.write_all(bid.as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut quiet)), "200");
}

#[test]
fn a_reader_that_does_not_read_is_cut() {
    let long = Duration::from_secs(10);
    let server = Server::start(HttpSettings { idle_time: long, body_time: long, ..hasty() });
    let mut stream = server.connect();
    let body = "x".repeat(250_000);
    // Answers pile up unread until the kernel takes no more of them.
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = post("/openrtb2/acme", "", &body);
    while stream.write_all(request.as_bytes()).is_ok() {}
    wait_until("it was cut", || server.open() == 0);
    let cut = || server.count("gavel_connections_cut_total", &["slow_reader"]);
    wait_until("it was counted", || cut() == 1);
}

#[test]
fn an_old_connection_is_told_with_its_answer() {
    let age_max = Duration::from_millis(50);
    let server = Server::start(HttpSettings { age_max, ..hasty() });
    let mut stream = server.connect();
    let mut answers = 0;
    loop {
        stream.write_all(post("/openrtb2/acme", "", "{}").as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(status(&answer), "200", "{answer}");
        answers += 1;
        if answer.contains("connection: close") {
            break;
        }
    }
    println!("{answers} answers in {age_max:?}");
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_worker_that_is_asked_to_lets_one_of_its_connections_go() {
    let server = Server::start_with(hasty(), 1, AcceptSettings::default());
    let mut streams = [server.connect(), server.connect()];
    let mut told = 0;
    while told == 0 {
        // A worker that has not seen requests yet has nothing to let go.
        server.ask_to_let_go(500);
        for stream in &mut streams {
            stream.write_all(post("/openrtb2/acme", "", "{}").as_bytes()).unwrap();
            told += usize::from(read_answer(stream).contains("connection: close"));
        }
    }
}

#[test]
fn nobody_can_lock_the_others_out_by_holding_connections() {
    let accept = AcceptSettings { connections_max: Some(8), ..AcceptSettings::default() };
    let server = Server::start_with(patient(), 1, accept);
    let bid = post("/openrtb2/acme", "", "{}");
    let mut partners: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for partner in &mut partners {
        partner.write_all(bid.as_bytes()).unwrap();
        assert_eq!(status(&read_answer(partner)), "200");
    }
    // Known by nobody, and each with the beginning of a next request.
    let held: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /").unwrap();
            assert_eq!(status(&read_answer(&mut stream)), "404");
            stream
        })
        .collect();
    for number in 1..=4 {
        wait_until("the cap holds", || server.open() == 8);
        let mut newcomer = server.connect();
        newcomer.write_all(bid.as_bytes()).unwrap();
        assert_eq!(status(&read_answer(&mut newcomer)), "200");
        partners.push(newcomer);
        let cut = || server.count("gavel_connections_cut_total", &["evicted"]);
        wait_until("somebody went for it", || cut() == number);
    }
    for partner in &mut partners {
        partner.write_all(bid.as_bytes()).unwrap();
        assert_eq!(status(&read_answer(partner)), "200", "no partner lost its connection");
    }
    assert_eq!(server.count("gavel_accept_faults_total", &["too_many"]), 0);
    drop(held);
}

#[test]
fn where_all_are_partners_the_longest_idle_goes_and_none_that_is_served() {
    let accept = AcceptSettings { connections_max: Some(2), ..AcceptSettings::default() };
    let server = Server::start_with(patient(), 1, accept);
    let (mut busy, mut idle) = (server.connect(), server.connect());
    idle.write_all(post("/openrtb2/acme", "", "{}").as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut idle)), "200");
    busy.write_all(post("/openrtb2/acme", "", "wait").as_bytes()).unwrap();
    wait_until("its auction has begun", || server.echo.begun.load(Ordering::SeqCst) == 2);
    let mut newcomer = server.connect();
    newcomer.write_all(post("/openrtb2/acme", "", "wait").as_bytes()).unwrap();
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0, "it was closed");
    wait_until("the newcomer's, too", || server.echo.begun.load(Ordering::SeqCst) == 3);
    // Now nobody can go: the next one is turned away.
    assert_eq!(server.connect().read(&mut [0; 1]).unwrap_or(0), 0);
    let (cuts, faults) = ("gavel_connections_cut_total", "gavel_accept_faults_total");
    wait_until("it is counted", || server.count(faults, &["too_many"]) == 1);
    wait_until("one was evicted", || server.count(cuts, &["evicted"]) == 1);
    server.echo.gate.add_permits(2);
    for stream in [&mut busy, &mut newcomer] {
        assert_eq!(status(&read_answer(stream)), "200");
    }
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_closes_the_rest() {
    let server = Server::start(hasty());
    let idle = server.connect();
    let mut waiting = server.connect();
    waiting.write_all(post("/openrtb2/acme", "", "wait").as_bytes()).unwrap();
    wait_until("it is in flight", || server.echo.begun.load(Ordering::SeqCst) == 1);
    server.lifecycle.advance(Phase::Draining);
    // Draining still accepts, and says so with each answer.
    let answer = wait_for_close(&server);
    assert_eq!(status(&answer), "200", "{answer}");
    let (gate, address) = (server.echo.gate.clone(), server.address);
    let stopped = std::thread::spawn(move || server.stop());
    wait_until("the listener is closed", || std::net::TcpStream::connect(address).is_err());
    gate.add_permits(1);
    let answer = read_answer(&mut waiting);
    assert!(status(&answer) == "200" && answer.contains("connection: close"), "{answer}");
    assert_eq!(stopped.join().unwrap(), Ended::default());
    let _ = idle.shutdown(Shutdown::Both);
}

/// Asks on new connections until an answer closes its connection.
fn wait_for_close(server: &Server) -> String {
    for _ in 0..1000 {
        let mut stream = server.connect();
        stream.write_all(post("/openrtb2/acme", "", "{}").as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        if answer.contains("connection: close") {
            return answer;
        }
    }
    panic!("no answer closed its connection");
}

#[test]
fn http2_by_prior_knowledge_is_served_on_the_same_port() {
    let server = Server::start(HttpSettings { age_max: Duration::from_millis(300), ..hasty() });
    let address = server.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let tasks = tokio::task::LocalSet::new();
        let connection = tasks.run_until(async move {
            let driver = tokio::task::spawn_local(connection);
            for (path, body, expected) in [
                ("/openrtb2/acme", "{\"id\":\"2\"}", 200),
                ("/openrtb2/keyed", "{}", 401),
                ("/nowhere", "{}", 404),
                ("/openrtb2/acme", "panic", 500),
                ("/openrtb2/acme", "{}", 200),
            ] {
                let request = Request::post(format!("http://gavel.example{path}"))
                    .version(Version::HTTP_2)
                    .body(Full::new(Bytes::from(body)))
                    .unwrap();
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(answer.status().as_u16(), expected, "{path}");
                let got = answer.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(got, if expected == 200 { body } else { "" });
            }
            // Its age ends it with a GOAWAY, not an error.
            driver.await.unwrap()
        });
        connection.await.unwrap();
    });
    wait_until("the connection is gone", || server.open() == 0);
}

/// So often in a row: chance alone would not come to it.
const EVEN_PLACINGS: u32 = 12;

#[test]
fn connections_spread_over_the_workers() {
    let server = Server::start_with(HttpSettings::default(), 4, AcceptSettings::default());
    let all = || server.connections().iter().sum::<u32>();
    let even = Cell::new(0);
    // A worker that the machine has kept from running for a while is taken for stuck and gets none:
    // the row begins anew then.
    wait_until("each worker has its part, time after time", || {
        let streams: Vec<_> = (0..8).map(|_| server.connect()).collect();
        wait_until("all are there", || server.open() == 8 && all() == 8);
        let is_even = server.connections().iter().all(|has| (1..=3).contains(has));
        drop(streams);
        wait_until("all are gone", || server.open() == 0 && all() == 0);
        even.set(if is_even { even.get() + 1 } else { 0 });
        even.get() == EVEN_PLACINGS
    });
}

#[test]
fn a_refusal_does_not_wait_for_a_body_that_waits_for_it() {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    stream
        .write_all(b"POST /openrtb2/nobody HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        .unwrap();
    let answer = read_answer(&mut stream);
    assert!(status(&answer) == "401" && answer.contains("connection: close"), "{answer}");
}
