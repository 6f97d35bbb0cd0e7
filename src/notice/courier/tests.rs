//! Real connections on loopback: what is delivered, and what is never dialled.

use super::*;
use crate::bidder::{NoticeRules, OpenRtbVersion, fixture};
use crate::notice::guard::GuardSettings;
use crate::partner::Network;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Answers each request with the same bytes, and remembers their heads.
struct Server {
    at: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

fn server(at: &str, answer: &str) -> Server {
    let listener = TcpListener::bind(at).unwrap();
    let at = listener.local_addr().unwrap();
    let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (log, count, answer) = (Arc::clone(&seen), Arc::clone(&connections), answer.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let (mut stream, log, answer) = (stream.unwrap(), Arc::clone(&log), answer.clone());
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut room = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut room) {
                    bytes.extend_from_slice(&room[..read]);
                    if bytes.ends_with(b"\r\n\r\n") {
                        log.lock().unwrap().push(String::from_utf8(bytes.split_off(0)).unwrap());
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Server { at, seen, connections }
}

/// A name server: the A answers of one name, in turn; the last for ever.
fn names(answers: Vec<Vec<[u8; 4]>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (at, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut packet) {
            let query = &packet[..len];
            let name_len = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
            let question = &query[12..12 + name_len + 4];
            let is_a = question[name_len..name_len + 2] == [0, 1];
            let turn = if is_a { count.fetch_add(1, Ordering::SeqCst) } else { 0 };
            let list = answers.get(turn).or(answers.last()).unwrap();
            let list: &[[u8; 4]] = if is_a { list } else { &[] };
            let mut reply = query[..2].to_vec();
            reply.extend([0x81, 0x80, 0, 1, 0, u8::try_from(list.len()).unwrap(), 0, 0, 0, 0]);
            reply.extend(question);
            for address in list {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                reply.extend(address);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    (at, asked)
}

/// A courier for a bidder under `bidder.example`, for which these are of the Internet.
fn courier(ports: &[u16], allowed: &[&str], names: Option<SocketAddr>) -> Courier {
    let guard = Guard::new(GuardSettings {
        ports: ports.to_vec(),
        allowed: allowed.iter().map(|net| Network::parse(net).unwrap()).collect(),
        ..GuardSettings::default()
    });
    let mut bidder = fixture::bidder(OpenRtbVersion::V26);
    bidder.notices = NoticeRules {
        domains: vec![
            "bidder.example".into(),
            "127.0.0.1".into(),
            "127.0.0.2".into(),
            "::1".into(),
        ],
        allows_http: Some(true),
        price_keys: None,
    };
    let permissions: Permissions =
        Box::new(move |name| (name == "b").then(|| Permission::of(&bidder)));
    let settings = CourierSettings {
        resolve: ResolveSettings {
            servers: names.into_iter().collect(),
            ttl_min: Duration::ZERO,
            query_time_max: Duration::from_secs(10),
            ..ResolveSettings::default()
        },
        connect: Duration::from_secs(20),
        total: Duration::from_secs(20),
        ..CourierSettings::default()
    };
    Courier::new(guard, permissions, settings, Tls::new(None).unwrap())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test)
}

#[test]
fn a_notice_is_a_get_with_fixed_headers_and_connections_are_kept() {
    let server = server("127.0.0.1:0", "HTTP/1.1 204 No Content\r\n\r\n");
    let courier = courier(&[server.at.port()], &["127.0.0.0/8"], None);
    run(async {
        for _ in 0..3 {
            let url = format!("http://{}/won?p=1.5", server.at);
            assert_eq!(courier.deliver("b", &url).await, Ok(()));
        }
    });
    let head = format!(
        "GET /won?p=1.5 HTTP/1.1\r\nhost: {}\r\nuser-agent: gavel\r\naccept: */*\r\n\r\n",
        server.at
    );
    assert_eq!(*server.seen.lock().unwrap(), vec![head; 3]);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn every_2xx_is_a_delivery_and_a_long_answer_is_not_read_on() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(9_000));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(9_000));
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Ok(())),
        ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
        (&long, Ok(())),
        (&endless, Ok(())),
        ("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", Ok(())),
        ("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", Ok(())),
        ("HTTP/1.1 299 Odd\r\ncontent-length: 0\r\n\r\n", Ok(())),
        ("HTTP/1.1 300 Choose\r\ncontent-length: 0\r\n\r\n", Err(Failure::Status(300))),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Err(Failure::Status(404))),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Err(Failure::Status(503))),
        ("SSH-2.0-x\r\n", Err(Failure::Broken)),
    ] {
        let server = server("127.0.0.1:0", answer);
        let courier = courier(&[server.at.port()], &["127.0.0.0/8"], None);
        let sent = run(courier.deliver("b", &format!("http://{}/", server.at)));
        assert_eq!(sent, expected, "{answer:.40}");
    }
}

#[test]
fn a_redirect_is_a_failure_and_nobody_follows_it() {
    let canary = server("127.0.0.1:0", "HTTP/1.1 204 No Content\r\n\r\n");
    for status in [301, 302, 303, 307, 308] {
        for to in [
            format!("http://{}/", canary.at),
            format!("//{}/", canary.at),
            format!("http://127.1:{}/", canary.at.port()),
        ] {
            let answer = format!(
                "HTTP/1.1 {status} Moved\r\nlocation: {to}\r\nrefresh: 0; url={to}\r\n\
                 content-length: 0\r\n\r\n"
            );
            let first = server("127.0.0.2:0", &answer);
            let ports = [first.at.port(), canary.at.port()];
            let courier = courier(&ports, &["127.0.0.0/8"], None);
            let sent = run(courier.deliver("b", &format!("http://{}/", first.at)));
            assert_eq!(sent, Err(Failure::Status(status)), "{to}");
        }
    }
    assert_eq!(canary.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn a_name_that_is_rebound_to_this_machine_reaches_nobody() {
    let outside = server("127.0.0.2:0", "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    let port = outside.at.port();
    let canary = server(&format!("127.0.0.1:{port}"), "HTTP/1.1 204 No Content\r\n\r\n");
    let canary6 = server(&format!("[::1]:{port}"), "HTTP/1.1 204 No Content\r\n\r\n");
    let (good, bad) = ([127, 0, 0, 2], [127, 0, 0, 1]);
    let (at, asked) =
        names(vec![vec![good], vec![bad], vec![good, bad], vec![bad, good], vec![[0; 4]]]);
    // the first address alone stands for one of the Internet
    let courier = courier(&[port], &["127.0.0.2"], Some(at));
    let url = format!("http://n.bidder.example:{port}/won");
    run(async {
        assert_eq!(courier.deliver("b", &url).await, Ok(()));
        for _ in 0..4 {
            let sent = courier.deliver("b", &url).await;
            assert_eq!(sent, Err(Failure::Blocked(Blocked::Address)));
        }
        for literal in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]"] {
            let sent = courier.deliver("b", &format!("http://{literal}:{port}/")).await;
            assert!(matches!(sent, Err(Failure::Blocked(_))), "{literal}: {sent:?}");
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    assert_eq!(outside.connections.load(Ordering::SeqCst), 1);
    assert_eq!(canary.connections.load(Ordering::SeqCst), 0);
    assert_eq!(canary6.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn the_whole_corpus_opens_no_connection() {
    let canary = server("127.0.0.1:0", "HTTP/1.1 204 No Content\r\n\r\n");
    let port = canary.at.port();
    let canary6 = server(&format!("[::1]:{port}"), "HTTP/1.1 204 No Content\r\n\r\n");
    let (at, _) = names(vec![vec![[127, 0, 0, 1]]]);
    let courier = courier(&[80, 443, port], &[], Some(at));
    run(async {
        for line in include_str!("../guard/hostile.txt").lines().filter(|l| !l.starts_with("# ")) {
            let (_, url) = line.split_once(' ').unwrap();
            // to the canary's port, where the URL does not say another
            let (head, tail) = url.split_at(url.rfind('/').unwrap_or(url.len()));
            for url in [url.to_owned(), format!("{head}:{port}{tail}")] {
                let sent = courier.deliver("b", &url).await;
                assert!(matches!(sent, Err(Failure::Blocked(_))), "{url}: {sent:?}");
            }
        }
        let gone = courier.deliver("other", "https://bidder.example/").await;
        assert_eq!(gone, Err(Failure::Blocked(Blocked::Bidder)));
    });
    assert_eq!(canary.connections.load(Ordering::SeqCst), 0);
    assert_eq!(canary6.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn a_bidder_that_says_nothing_costs_the_total_time_and_no_more() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let mut courier = courier(&[at.port()], &["127.0.0.0/8"], None);
    courier.settings.total = Duration::from_millis(50);
    let sent = run(courier.deliver("b", &format!("http://{at}/")));
    assert_eq!(sent, Err(Failure::Timeout));
    drop(silent);
    let mut patient = courier;
    patient.settings.total = Duration::from_secs(20);
    let sent = run(patient.deliver("b", &format!("http://{at}/")));
    assert_eq!(sent, Err(Failure::Connect));
}
