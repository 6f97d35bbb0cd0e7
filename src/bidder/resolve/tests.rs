//! Names that resolve, fail, change and go stale; with a name server of the test's own.

use super::{Addresses, Resolver, State};
use crate::bidder::net::ResolveSettings;
use crate::clock;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

fn state(now: Instant) -> State {
    State { list: Arc::default(), due: Some(now), stale_since: None }
}

#[test]
fn literals_and_localhost_are_never_queried() {
    let now = clock::monotonic();
    for (host, list) in [
        ("192.0.2.7", vec![ip(7)]),
        ("2001:db8::7", vec!["2001:db8::7".parse().unwrap()]),
        ("LocalHost", vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]),
    ] {
        let addresses = Addresses::new(host, now);
        assert_eq!(addresses.list()[..], list[..], "{host}");
        assert_eq!(addresses.lock().due, None, "{host}");
    }
    let name = Addresses::new("bidder.example", now);
    assert!(name.list().is_empty());
    assert_eq!(name.lock().due, Some(now));
}

#[test]
fn a_time_to_live_is_kept_within_bounds() {
    let settings = ResolveSettings::default();
    let now = clock::monotonic();
    for (ttl_s, due_s) in [(0, 5), (4, 5), (60, 60), (604_800, 300)] {
        let mut state = state(now);
        state.settle(now, Some((vec![ip(1)], Duration::from_secs(ttl_s))), &settings);
        assert_eq!(state.due, Some(now + Duration::from_secs(due_s)), "{ttl_s}");
    }
}

#[test]
fn a_thousand_addresses_are_sixteen_and_another_order_is_no_change() {
    let settings = ResolveSettings::default();
    let now = clock::monotonic();
    let mut state = state(now);
    let many: Vec<IpAddr> =
        (0..1_000u16).map(|n| IpAddr::V4(Ipv4Addr::from(0xc633_6400 + u32::from(n)))).collect();
    state.settle(now, Some((many, Duration::ZERO)), &settings);
    assert_eq!(state.list.len(), 16);
    state.settle(now, Some((vec![ip(2), ip(1)], Duration::ZERO)), &settings);
    let before = state.list.clone();
    state.settle(now, Some((vec![ip(1), ip(2)], Duration::ZERO)), &settings);
    assert!(Arc::ptr_eq(&before, &state.list));
}

#[test]
fn after_a_failure_the_last_addresses_serve_for_an_hour() {
    let settings = ResolveSettings::default();
    let now = clock::monotonic();
    let mut state = state(now);
    state.settle(now, None, &settings);
    assert!(state.list.is_empty());
    assert_eq!(state.due, Some(now + Duration::from_secs(5)));
    state.settle(now, Some((vec![ip(1)], Duration::from_secs(60))), &settings);
    let ran_out = now + Duration::from_secs(60);
    state.settle(ran_out + Duration::from_secs(3_600), None, &settings);
    assert_eq!(state.list.len(), 1);
    state.settle(ran_out + Duration::from_secs(3_601), None, &settings);
    assert!(state.list.is_empty());
    // an empty answer is a failure too
    state.settle(now, Some((vec![ip(1)], Duration::from_secs(60))), &settings);
    state.settle(ran_out, Some((Vec::new(), Duration::from_secs(60))), &settings);
    assert_eq!(state.list.len(), 1);
}

/// Answers A queries with the address of the moment, and nothing to any other; one whose last
/// number is 0 is silence.
fn name_server(address: Arc<Mutex<[u8; 4]>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut packet) {
            counter.fetch_add(1, Ordering::SeqCst);
            let address = *address.lock().unwrap();
            if address[3] != 0 {
                socket.send_to(&answer(&packet[..len], address), from).unwrap();
            }
        }
    });
    (at, asked)
}

/// A response to the query's one question (RFC 1035, 4.1).
fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
    let name_len = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..12 + name_len + 4];
    let is_a = question[name_len..name_len + 2] == [0, 1];
    let mut reply = query[..2].to_vec();
    // response, recursion available, no fault; one question, perhaps one answer
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    reply.extend(question);
    if is_a {
        // the name of the question, A, IN, TTL 1 s, four bytes
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend(address);
    }
    reply
}

#[test]
fn a_watched_name_follows_its_name_server_and_outlives_it() {
    let address = Arc::new(Mutex::new([192, 0, 2, 1]));
    let (server, asked) = name_server(address.clone());
    let settings = ResolveSettings {
        servers: vec![server],
        ttl_min: Duration::from_millis(20),
        retry_after_failure: Duration::from_millis(20),
        query_time_max: Duration::from_millis(100),
        ..ResolveSettings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let resolver = Arc::new(Resolver::new(settings));
        let watched = resolver.watch("bidder.example.");
        assert!(Arc::ptr_eq(&watched, &resolver.watch("bidder.example.")));
        let task = tokio::task::JoinSet::from_iter([resolver.clone().run()]);
        wait_until(|| watched.list()[..] == [ip(1)]).await;
        *address.lock().unwrap() = [192, 0, 2, 2];
        wait_until(|| watched.list()[..] == [ip(2)]).await;
        // the server falls silent
        *address.lock().unwrap() = [0, 0, 0, 0];
        let (_, failed) = resolver.counts();
        wait_until(|| resolver.counts().1 > failed + 1).await;
        assert_eq!(watched.list()[..], [ip(2)]);
        // nobody holds the name any more
        drop(watched);
        wait_until(|| resolver.names.lock().unwrap().is_empty()).await;
        let (queries, _) = resolver.counts();
        assert!(queries > 3 && asked.load(Ordering::SeqCst) > 3);
        drop(task);
    });
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let from = std::panic::Location::caller();
    async move {
        let until = clock::monotonic() + Duration::from_secs(10);
        while !is_so() {
            assert!(clock::monotonic() < until, "never so: {from}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
