//! The load driver against servers that behave in scripted ways.

use replay::drive::live::Live;
use replay::drive::plan::{Bounds, DriveSettings, Plan, RequestSet};
use replay::drive::report::{Fault, Report, Validity};
use replay::drive::schedule::Schedule;
use replay::drive::target::{Allow, Target};
use replay::drive::{self, DriveError};
use replay::feed::source::Source;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi";

/// A server that calls `answer` with the number of each request; an empty answer hangs up.
fn server(answer: impl Fn(u64) -> &'static [u8] + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || serve(socket.unwrap(), &*answer, &count));
        }
    });
    address
}

fn serve(mut socket: TcpStream, answer: &dyn Fn(u64) -> &'static [u8], count: &AtomicU64) {
    let (mut buffer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        while !buffer.ends_with(b"\r\n\r\nbody") {
            match socket.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(len) => buffer.extend_from_slice(&part[..len]),
            }
        }
        buffer.clear();
        let bytes = answer(count.fetch_add(1, SeqCst));
        if bytes.is_empty() || socket.write_all(bytes).is_err() || bytes == LAST {
            return;
        }
    }
}

fn plan(address: SocketAddr, schedule: Schedule, requests_max: u64) -> Plan {
    let target = Target::parse(&format!("http://{address}/x"), Allow::Loopback).unwrap();
    Plan {
        schedule,
        bounds: Bounds { requests_max, time_max: Duration::from_secs(20), ..Bounds::default() },
        settings: DriveSettings { connections: 2, ..DriveSettings::default() },
        ..Plan::of_set(target, Arc::new(["body"].into_iter().collect()))
    }
}

fn run(plan: &Plan) -> Report {
    let report = drive::run(plan, &Live::new(plan.settings.threads), &mut []).unwrap().report;
    assert_eq!(report.planned, report.sent + report.shed + report.unsent, "{report:?}");
    assert_eq!(report.sent, report.answered + report.faulty() + report.unfinished);
    assert_eq!(report.latency.len(), report.answered);
    assert_eq!(report.answered, report.statuses.values().sum::<u64>());
    report
}

#[test]
fn answers_without_a_body_do_not_hold_the_run_up() {
    let address = server(|number| if number % 2 == 0 { NO_CONTENT } else { OK });
    let report = run(&plan(address, Schedule::Constant { per_second: 2_000.0 }, 200));
    assert_eq!((report.status(204), report.status(200)), (100, 100));
    assert_eq!((report.planned, report.faulty(), report.connect_faults), (200, 0, 0));
    assert_eq!(report.lateness.len(), 200);
}

#[test]
fn a_closed_loop_sends_no_more_than_its_connections_carry() {
    let address = server(|_| OK);
    let report = run(&plan(address, Schedule::Saturate, 500));
    assert_eq!((report.answered, report.queue_peak), (500, 0));
}

#[test]
fn several_threads_send_the_whole_plan_once() {
    let address = server(|_| OK);
    let mut plan = plan(address, Schedule::Poisson { per_second: 3_000.0, seed: 3 }, 301);
    plan.settings.threads = 3;
    let report = run(&plan);
    assert_eq!((report.planned, report.answered), (301, 301));
}

#[test]
fn a_connection_that_the_server_closes_is_opened_again() {
    let address = server(|_| LAST);
    let report = run(&plan(address, Schedule::Constant { per_second: 500.0 }, 50));
    assert_eq!((report.answered, report.faulty()), (50, 0));
    assert!(report.connects >= 50, "{}", report.connects);
}

#[test]
fn faults_of_the_server_are_counted_by_kind() {
    let address = server(|number| match number {
        1 => b"",
        2 => b"nonsense\r\n\r\n",
        3 => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        4 => b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        _ => OK,
    });
    let mut plan = plan(address, Schedule::Constant { per_second: 200.0 }, 40);
    plan.settings.timeout_ms = 300;
    let report = run(&plan);
    assert_eq!(report.fault(Fault::Closed), 1);
    assert_eq!(report.fault(Fault::Malformed), 1);
    assert_eq!(report.fault(Fault::Timeout), 1);
    assert_eq!(report.status(500), 1);
    assert_eq!(report.answered, 37);
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = plan(address, Schedule::Saturate, 5);
    let fault = drive::run(&plan, &Live::new(1), &mut []).unwrap_err();
    assert!(matches!(fault, DriveError::Unreachable(at) if at == address), "{fault}");
}

/// A server freezes for a tenth of a run at 1,000 a second. `GAVEL_FULL=1`: 1 s of 10 s, else
/// 0.2 s of 2 s. It thaws when what was planned in that time has been planned, so that no speed of
/// the machine decides: request `j` of the freeze waits for as long as the rest of it at least.
#[test]
fn a_server_that_stalls_is_charged_for_every_request_it_held_up() {
    let full = std::env::var_os("GAVEL_FULL").is_some();
    let count: u64 = if full { 10_000 } else { 2_000 };
    let (from, freeze) = (count / 5, count / 10);
    let live = Arc::new(Live::new(1));
    let seen = Arc::clone(&live);
    let address = server(move |number| {
        while number == from && seen.standing().planned < from + freeze {
            std::thread::yield_now();
        }
        OK
    });
    let mut plan = plan(address, Schedule::Constant { per_second: 1_000.0 }, count);
    plan.settings = DriveSettings { connections: 1, connections_max: 1, ..plan.settings };
    let report = drive::run(&plan, &live, &mut []).unwrap().report;
    assert_eq!((report.planned, report.sent, report.answered), (count, count, count));
    let p99 = report.latency.value_at_quantile(0.99) / 1_000_000;
    let service = report.service.value_at_quantile(0.99) / 1_000_000;
    println!("p99 {p99} ms from the planned moment, {service} ms from sending");
    // the slowest hundredth of the run is the first tenth of the freeze
    assert!(p99 >= freeze * 89 / 100, "{p99} ms");
    // a driver that waits for its answer before it plans would have seen one request held up
    let over =
        |times: &hdrhistogram::Histogram<u64>| times.count_between(freeze * 950_000, u64::MAX);
    assert!(over(&report.latency) >= freeze / 25, "{} slow ones", over(&report.latency));
    assert_eq!(over(&report.service), 1);
    assert!(report.queue_peak >= freeze - 20, "{}", report.queue_peak);
}

#[test]
fn what_exceeds_the_queue_is_shed_and_makes_the_run_invalid() {
    let live = Arc::new(Live::new(1));
    let seen = Arc::clone(&live);
    let address = server(move |_| {
        while seen.standing().planned < 200 {
            std::thread::yield_now();
        }
        OK
    });
    let mut plan = plan(address, Schedule::Constant { per_second: 1_000.0 }, 300);
    plan.settings =
        DriveSettings { connections: 1, connections_max: 3, queue_max: 50, ..plan.settings };
    plan.settings.lateness_us_max = u64::MAX / 2_000;
    let report = drive::run(&plan, &live, &mut []).unwrap().report;
    assert_eq!(report.planned, 300);
    assert!(report.shed >= 140, "{} shed", report.shed);
    assert_eq!(report.connects, 3);
    assert_eq!(report.queue_peak, 50);
    let validity = report.validity(plan.settings.lateness_us_max);
    assert_eq!(validity, Validity::Shed { requests: report.shed });
}

#[test]
fn a_late_generator_makes_the_run_invalid() {
    let mut report = Report::default();
    for _ in 0..100 {
        report.lateness.record(5_000_000).unwrap();
    }
    assert!(matches!(report.validity(2_000), Validity::LateGenerator { .. }));
    assert_eq!(report.validity(6_000), Validity::Valid);
}

#[test]
fn a_plan_without_requests_is_refused() {
    let address = server(|_| OK);
    let mut plan = plan(address, Schedule::Saturate, 5);
    plan.source = Source::Set(Arc::new(RequestSet::default()));
    let fault = drive::run(&plan, &Live::new(1), &mut []).unwrap_err();
    assert!(matches!(fault, DriveError::NoRequests));
}
