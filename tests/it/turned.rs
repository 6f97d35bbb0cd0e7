//! Who is turned away, or goes before the answer comes: what becomes of the connection, and in which
//! count the request is.

use crate::server::{Server, post, read_answer, status, wait_until};
use flate2::Compression;
use flate2::write::GzEncoder;
use gavel::coding::Caps;
use gavel::http::HttpSettings;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;

#[test]
fn a_request_whose_client_closes_behind_it_is_counted_too() {
    const TIMES: u64 = 40;
    let server = Server::start(HttpSettings::default());
    let unknown = |result: &'static str| server.requests("unknown", result);
    let of_acme = || server.requests("acme", "answered") + server.requests("acme", "client_gone");
    let nowhere = || server.count("gavel_http_denied_total", &["no_route"]);
    let of_keyed =
        || server.requests("keyed", "answered") + server.requests("keyed", "client_gone");
    let counts: [(&str, &dyn Fn() -> u64); 5] = [
        ("/openrtb2/acme", &of_acme),
        ("/openrtb2/keyed/secret", &of_keyed),
        ("/openrtb2/keyed/wrong", &|| unknown("unauthorised")),
        ("/openrtb2/stopped", &|| server.requests("stopped", "partner_qps")),
        ("/nowhere", &nowhere),
    ];
    for (path, counted) in counts {
        let request = post(path, "", "{}");
        for _ in 0..TIMES {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            // whether an answer comes depends on what the server sees first
            let _ = stream.read_to_end(&mut Vec::new());
        }
        wait_until(path, || counted() >= TIMES);
        assert_eq!(counted(), TIMES, "{path}");
    }
}

#[test]
fn a_partner_that_sends_what_is_not_read_is_told_and_counted_as_itself() {
    let server = Server::start(HttpSettings::default());
    let refused = [
        ("Content-Type: text/xml\r\n", "{}", "415", "content_type"),
        ("Content-Encoding: br\r\n", "{}", "415", "content_encoding"),
        ("x-openrtb-version: 3.0\r\n", "{}", "400", "openrtb_version"),
        ("", &"x".repeat(300_000), "413", "body_too_large"),
    ];
    for (header, body, expected, label) in refused {
        for (path, partner, answer, result) in [
            ("/openrtb2/acme", "acme", expected, label),
            ("/openrtb2/keyed/secret", "keyed", expected, label),
            // whoever is over its rate learns that, and a stranger nothing
            ("/openrtb2/stopped", "stopped", "429", "partner_qps"),
            ("/openrtb2/keyed/wrong", "unknown", "401", "unauthorised"),
        ] {
            let before = server.requests(partner, result);
            let mut stream = server.connect();
            // the answer to what is too large may come before all of it is sent
            let _ = stream.write_all(post(path, header, body).as_bytes());
            assert_eq!(status(&read_answer(&mut stream)), answer, "{path} {header}");
            assert_eq!(server.requests(partner, result), before + 1, "{path} {header}");
            assert_eq!(server.requests("unknown", label), 0, "{path} {header}");
        }
    }
}

#[test]
fn a_body_that_is_too_large_only_once_decoded_does_not_cost_the_connection() {
    let caps = Caps { body_bytes_max: 64, ..Caps::default() };
    let server = Server::start(HttpSettings { caps, ..HttpSettings::default() });
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all("{\"id\":\"0123456789abcdefghijklmnopqrstuvwxyz".repeat(2).as_bytes())
        .unwrap();
    let packed = encoder.finish().unwrap();
    let head = format!(
        "POST /openrtb2/acme HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    let behind = post("/openrtb2/acme", "", "{}");
    let mut stream = server.connect();
    stream.write_all(&[head.as_bytes(), &packed, behind.as_bytes()].concat()).unwrap();
    let answer = read_answer(&mut stream);
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("body_too_large") && !answer.contains("connection: close"), "{answer}");
    assert_eq!(status(&read_answer(&mut stream)), "200", "what was sent behind it is answered");
    let counted = |result| server.requests("acme", result);
    assert_eq!((counted("body_too_large"), counted("answered")), (1, 1));
}
