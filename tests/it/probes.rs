//! Framing that two readers could read differently, and what gavel says to each: the golden list.

use crate::server::{Server, post, read_answer, status};
use gavel::http::HttpSettings;
use std::io::Write as _;
use std::time::Duration;

const OK_BODY: &str = "Content-Length: 2\r\n\r\n{}";

/// Name, bytes, the status of the one answer before the close.
type Probe = (&'static str, String, &'static str);

const CLOSE: &str = "Connection: close\r\n";

fn with(headers: &str, body: &str) -> String {
    format!("POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// What hyper answers by itself: lengths, codings, lines.
fn of_lengths_and_lines() -> Vec<Probe> {
    vec![
        ("well-formed", with(&format!("{CLOSE}Content-Length: 2\r\n"), "{}"), "200"),
        (
            "two lengths that differ",
            with("Content-Length: 2\r\nContent-Length: 3\r\n", "{} "),
            "400",
        ),
        ("a list of lengths that differ", with("Content-Length: 2, 3\r\n", "{} "), "400"),
        ("a length with a plus", with("Content-Length: +2\r\n", "{}"), "400"),
        ("a negative length", with("Content-Length: -1\r\n", "{}"), "400"),
        ("a hexadecimal length", with("Content-Length: 0x2\r\n", "{}"), "400"),
        ("a length of 2^64", with("Content-Length: 18446744073709551616\r\n", "{}"), "400"),
        ("a length of 2^64 - 1", with("Content-Length: 18446744073709551615\r\n", "{}"), "431"),
        ("a transfer coding that is not chunked", with("Transfer-Encoding: gzip\r\n", "{}"), "400"),
        ("chunked not last", with("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400"),
        (
            "a vertical tab before chunked",
            with("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
            "400",
        ),
        ("a space before the colon", with("X : y\r\nContent-Length: 2\r\n", "{}"), "400"),
        ("a folded line", with("X: y\r\n z\r\nContent-Length: 2\r\n", "{}"), "400"),
        ("a bare CR in a value", with("X: y\rz\r\nContent-Length: 2\r\n", "{}"), "400"),
        ("a NUL in a value", with("X: y\0z\r\nContent-Length: 2\r\n", "{}"), "400"),
    ]
}

/// What hyper answers by itself: versions, sizes, chunks.
fn of_versions_and_sizes() -> Vec<Probe> {
    vec![
        (
            "HTTP/1.0 with a transfer coding",
            "POST /openrtb2/acme HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            "400",
        ),
        ("HTTP/1.2", format!("POST /openrtb2/acme HTTP/1.2\r\nHost: a\r\n{OK_BODY}"), "400"),
        ("HTTP/0.9", "GET /\r\n\r\n".to_owned(), "400"),
        (
            "more than a hundred headers",
            with(&format!("{}Content-Length: 2\r\n", "X: y\r\n".repeat(120)), "{}"),
            "431",
        ),
        (
            "a header over the buffer",
            with(&format!("X: {}\r\nContent-Length: 2\r\n", long(500_000)), "{}"),
            "431",
        ),
        (
            "a broken chunk size",
            with("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "a chunk that ends with a bare LF",
            with("Transfer-Encoding: chunked\r\n", "2\n{}\r\n0\r\n\r\n"),
            "400",
        ),
    ]
}

/// What hyper lets pass, and gavel does not.
fn of_gavel() -> Vec<Probe> {
    vec![
        ("no host", format!("POST /openrtb2/acme HTTP/1.1\r\n{OK_BODY}"), "400"),
        ("two hosts", with("Host: b\r\nContent-Length: 2\r\n", "{}"), "400"),
        ("the same host twice", with("Host: a\r\nContent-Length: 2\r\n", "{}"), "400"),
        (
            "another host in the target",
            format!("POST http://b/openrtb2/acme HTTP/1.1\r\nHost: a\r\n{OK_BODY}"),
            "400",
        ),
        (
            "a host that is none",
            format!("POST /openrtb2/acme HTTP/1.1\r\nHost: a b\r\n{OK_BODY}"),
            "400",
        ),
        (
            "a host with a user",
            format!("POST /openrtb2/acme HTTP/1.1\r\nHost: me@a\r\n{OK_BODY}"),
            "400",
        ),
        (
            "a request line that ends with a bare LF",
            format!("POST /openrtb2/acme HTTP/1.1\nHost: a\r\n{OK_BODY}"),
            "400",
        ),
        (
            "a header that ends with a bare LF",
            format!("POST /openrtb2/acme HTTP/1.1\r\nHost: a\n{OK_BODY}"),
            "400",
        ),
        (
            "a head that ends with a bare LF",
            "POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\n{}".to_owned(),
            "400",
        ),
        (
            "more headers than the limit",
            with(&format!("{}Content-Length: 2\r\n", "X: y\r\n".repeat(70)), "{}"),
            "431",
        ),
        (
            "a long target",
            format!("POST /openrtb2/acme?{} HTTP/1.1\r\nHost: a\r\n{OK_BODY}", long(9_000)),
            "414",
        ),
    ]
}

/// Codings of the transfer that hyper lets pass, and gavel does not.
fn of_transfer_codings() -> Vec<Probe> {
    vec![
        (
            "gzip, chunked",
            with("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "a length before chunked",
            with(
                "Content-Length: 99\r\nTransfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
            "400",
        ),
        (
            "a length behind chunked",
            with(
                "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
                "2\r\n{}\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
            "400",
        ),
        (
            "chunked twice",
            with(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            "400",
        ),
    ]
}

/// Methods that change what a connection is, and what stands behind a refusal.
fn of_methods() -> Vec<Probe> {
    vec![
        (
            "CONNECT",
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n".to_owned(),
            "404",
        ),
        ("TRACE", format!("TRACE /openrtb2/acme HTTP/1.1\r\nHost: a\r\n{CLOSE}\r\n"), "405"),
        (
            "an upgrade is not taken",
            with(&format!("Upgrade: websocket\r\n{CLOSE}Content-Length: 2\r\n"), "{}"),
            "200",
        ),
        // A smuggled second request behind a refused first one is never read.
        (
            "behind a refusal",
            format!(
                "{}{}",
                with("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
                post("/openrtb2/acme", "", "{}")
            ),
            "400",
        ),
    ]
}

#[test]
fn a_bare_line_feed_is_found_behind_what_was_sent_ahead() {
    let server = Server::start(HttpSettings::default());
    let sized = post("/openrtb2/acme", "", "{}");
    let chunked = with("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n");
    let bare = sized.replacen("\r\n", "\n", 1);
    for ahead in [format!("{sized}{sized}"), format!("{chunked}{sized}"), chunked] {
        let answer = server.probe(format!("{ahead}{bare}{sized}").as_bytes());
        let answers: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).collect();
        let statuses: Vec<&str> = answers.iter().filter_map(|answer| answer.get(..3)).collect();
        let honest = ahead.matches("POST").count();
        assert_eq!(statuses, [&vec!["200"; honest][..], &["400"]].concat(), "{answer}");
    }
    // Alone again, on a connection on which requests were sent ahead.
    let mut stream = server.connect();
    stream.write_all(format!("{sized}{sized}").as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(status(&read_answer(&mut stream)), "200");
    }
    stream.write_all(bare.as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut stream)), "400");
}

#[test]
fn every_probe_gets_the_answer_of_the_golden_list_and_a_close() {
    let short = Duration::from_millis(300);
    let server = Server::start(HttpSettings {
        header_time: short,
        idle_time: short,
        body_time: short,
        linger_time: Duration::from_millis(20),
        sweep_every: Duration::from_millis(10),
        ..HttpSettings::default()
    });
    let mut wrong = Vec::new();
    let probes = [
        of_lengths_and_lines(),
        of_versions_and_sizes(),
        of_transfer_codings(),
        of_gavel(),
        of_methods(),
    ];
    for (name, bytes, expected) in probes.into_iter().flatten() {
        let answer = server.probe(bytes.as_bytes());
        let count = answer.matches("HTTP/1.").count();
        if status(&answer) != expected || count > 1 {
            wrong.push(format!("{name}: wanted {expected}, got {count} answers: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
