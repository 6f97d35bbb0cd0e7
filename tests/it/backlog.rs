//! The accept queue under bursts, in a network namespace of the test's own: its limits and its
//! counters are nobody else's. `GAVEL_FULL=1` (`tests/full.sh backlog`): ten times the usual connects
//! for five seconds.

#![expect(clippy::print_stdout, reason = "what cannot be tested here is said")]

use crate::harness::PATIENT;
use crate::harness::server::Server;
use crate::server::wait_until;
use gavel::clock::monotonic;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// More than a queue of 128 holds.
const OVER_128: usize = 400;

/// As many as come at once in a bad moment: ten times a common queue, below the usual somaxconn.
const BURST: usize = 4_000;

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Runs `test` on a thread that has a network of its own, and says so where that cannot be.
pub fn alone(test: impl FnOnce(&Path) + Send + 'static) {
    let ran = std::thread::spawn(move || {
        if let Err(fault) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("NOT RUN: no network namespace can be made here: {fault}");
            return;
        }
        raise_loopback().unwrap();
        // both ends of the connections are in this process and the server's
        gavel::runtime::acceptor::raise_descriptor_limit();
        let dir = tempfile::tempdir().unwrap();
        test(dir.path());
    });
    if let Err(panic) = ran.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What `ip link set lo up` does: rtnetlink, `RTM_NEWLINK` for the first interface with `IFF_UP`.
fn raise_loopback() -> std::io::Result<()> {
    let (af_netlink, route) = (Domain::from(16), socket2::Protocol::from(0));
    let mut socket = Socket::new(af_netlink, Type::RAW, Some(route))?;
    let mut bytes = Vec::new();
    bytes.extend(32_u32.to_ne_bytes());
    bytes.extend(16_u16.to_ne_bytes());
    // a request that wants an answer
    bytes.extend(5_u16.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([0; 4]);
    bytes.extend(1_i32.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    socket.write_all(&bytes)?;
    let mut answer = [0; 128];
    let got = socket.read(&mut answer)?;
    // nlmsghdr, then the error's number: 0 is none
    match answer[..got].get(16..20) {
        Some([0, 0, 0, 0]) => Ok(()),
        _ => Err(std::io::Error::other("the loopback interface cannot be raised")),
    }
}

fn start(folder: &Path, backlog: &str) -> Server {
    let config = folder.join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [listener]\nbacklog = '{backlog}'\n"
    );
    std::fs::write(&config, text).unwrap();
    Server::ready(&config)
}

/// A connect that is in progress, or is refused later: the kernel's counters are what is looked at.
fn begun(to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&to.into());
    socket
}

/// Begins so many connects at once, while the server can accept none of them.
fn burst(server: &Server, count: usize) -> Vec<Socket> {
    server.halt();
    let to: SocketAddr = server.public.unwrap();
    let sockets = (0..count).map(|_| begun(to)).collect();
    server.signal(Signal::SIGCONT);
    sockets
}

/// Connects of a usual second.
const USUAL: u32 = 200;

/// Ten times the usual connects; in between the server is stopped for `pause` of them, as a busy
/// machine or a swap of pages stops it.
fn flood(server: &Server, for_time: Duration, pause: usize) -> Vec<Socket> {
    let to: SocketAddr = server.public.unwrap();
    let gap = Duration::from_secs(1) / (10 * USUAL);
    let count = usize::try_from(for_time.as_micros() / gap.as_micros()).unwrap();
    let mut due = monotonic();
    let connect = |nth: usize| {
        // the last ones come while it runs
        match nth % (3 * pause) {
            0 if nth + pause < count => server.signal(Signal::SIGSTOP),
            at if at == pause => server.signal(Signal::SIGCONT),
            _ => {}
        }
        std::thread::sleep(due.saturating_duration_since(monotonic()));
        due += gap;
        begun(to)
    };
    let sockets = (0..count).map(connect).collect();
    server.signal(Signal::SIGCONT);
    sockets
}

/// A counter of this thread's network, from the kernel itself.
fn kernel(counter: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == counter).unwrap().1.parse().unwrap()
}

fn accepted(server: &Server) -> f64 {
    let text = server.metrics();
    let rows = text
        .lines()
        .filter_map(|row| row.strip_prefix("gavel_connections_accepted_total{")?.split_once("} "));
    rows.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

#[test]
fn ten_times_the_connects_overflow_a_queue_of_128_and_not_that_of_backlog_auto() {
    let is_full = std::env::var_os("GAVEL_FULL").is_some();
    let for_time = Duration::from_secs(if is_full { 5 } else { 1 });
    for (backlog, pause) in [("auto", 600), ("128", 300)] {
        alone(move |folder| {
            if std::fs::write(SOMAXCONN, "4096").is_err() {
                println!("NOT RUN: somaxconn of the namespace cannot be set here");
                return;
            }
            let mut server = start(folder, backlog);
            let before = kernel("ListenOverflows");
            let clients = flood(&server, for_time, pause);
            let overflows = || kernel("ListenOverflows") - before;
            if backlog == "auto" {
                wait_until("all are accepted", || accepted(&server) > clients.len() as f64 - 0.5);
                assert_eq!(overflows(), 0);
            } else {
                let said = server.wait_for(|line| {
                    line["message"].as_str().is_some_and(|text| text.contains("full accept queue"))
                });
                assert_eq!(said["level"], "WARN", "{said}");
                assert!(overflows() > 0);
            }
            wait_until("the metric says what the kernel says", || {
                (server.metric("gavel_listen_overflows_total") - overflows() as f64).abs() < 0.5
            });
            println!(
                "backlog {backlog}, somaxconn 4096: {} connects, {}/s for {for_time:?}, pauses of \
                 {pause}: ListenOverflows +{}, ListenDrops +{}, accepted {}",
                clients.len(),
                10 * USUAL,
                overflows(),
                kernel("ListenDrops"),
                accepted(&server),
            );
            drop(clients);
            assert_eq!(server.terminate(), Some(0));
        });
    }
}

#[test]
fn a_short_accept_queue_overflows_and_it_is_counted_and_said() {
    alone(|folder| {
        let mut server = start(folder, "128");
        assert!(server.metric("gavel_listen_overflows_total").abs() < 0.5);
        let _clients = burst(&server, OVER_128);
        wait_until("the overflow is counted", || {
            server.metric("gavel_listen_overflows_total") > 0.5
        });
        let said = server.wait_for(|line| {
            line["message"].as_str().is_some_and(|text| text.contains("full accept queue"))
        });
        assert_eq!(said["level"], "WARN", "{said}");
        assert_eq!(said["effective"], 128, "{said}");
        assert!(said["message"].as_str().unwrap().contains("listener.backlog"), "{said}");
        assert_eq!(server.terminate(), Some(0));
    });
}

#[test]
fn the_queue_of_backlog_auto_takes_a_burst() {
    alone(|folder| {
        if std::fs::write(SOMAXCONN, "4096").is_err() {
            println!("NOT RUN: somaxconn of the namespace cannot be set here");
            return;
        }
        let mut server = start(folder, "auto");
        let clients = burst(&server, BURST);
        wait_until("all are accepted", || accepted(&server) > BURST as f64 - 0.5);
        assert!(server.metric("gavel_listen_overflows_total").abs() < 0.5);
        drop(clients);
        assert_eq!(server.terminate(), Some(0));
    });
}

#[test]
fn another_somaxconn_is_taken_without_a_restart() {
    alone(|folder| {
        if std::fs::write(SOMAXCONN, "200").is_err() {
            println!("NOT RUN: somaxconn of the namespace cannot be set here");
            return;
        }
        let mut server = start(folder, "auto");
        let effective = r#"gavel_listener_backlog_connections{listener="public",size="effective"}"#;
        assert!((server.metric(effective) - 200.0).abs() < 0.5);
        std::fs::write(SOMAXCONN, "3000").unwrap();
        wait_until("it has listened again", || (server.metric(effective) - 3000.0).abs() < 0.5);
        server.wait_log("the accept queue has another length");
        let _clients = burst(&server, 1_000);
        wait_until("the queue has been worked off", || {
            server.metric(r#"gavel_listener_queue_connections{listener="public"}"#).abs() < 0.5
        });
        assert!(server.metric("gavel_listen_overflows_total").abs() < 0.5);
        assert_eq!(server.terminate(), Some(0));
    });
}
