//! HTTP/2 frames by hand: what no library of clients sends.

use crate::server::Server;
use gavel::http::HttpSettings;
use std::io::{Read, Write};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A bid request that has begun, and is taken back.
fn begun_and_reset(stream: u32) -> Vec<u8> {
    let path = b"/openrtb2/acme";
    // POST, http, and a path and an authority as literals (RFC 7541, 6.2.2 and appendix A).
    let head = [b"\x83\x86\x04", &[u8::try_from(path.len()).unwrap()][..], path, b"\x01\x01a"];
    let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    [frame(HEADERS, END_HEADERS, stream, &head.concat()), reset].concat()
}

/// Whether a peer that resets so many streams at once can go on.
fn may_reset(streams: u32) -> bool {
    let server = Server::start(HttpSettings::default());
    let mut stream = server.connect();
    let mut bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, b"")].concat();
    (0..streams).for_each(|number| bytes.extend(begun_and_reset(2 * number + 1)));
    bytes.extend(frame(PING, 0, 0, b"are you?"));
    stream.write_all(&bytes).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        std::io::copy(&mut (&stream).take(u64::from(length)), &mut std::io::sink()).unwrap();
        match (head[3], head[4]) {
            (PING, ACK) => return true,
            (GOAWAY, _) => return false,
            _ => {}
        }
    }
}

#[test]
fn a_partner_that_gives_up_on_a_burst_keeps_its_connection_and_a_rapid_reset_does_not() {
    for (streams, may_go_on) in [(1, true), (50, true), (90, true), (300, false)] {
        assert_eq!(may_reset(streams), may_go_on, "{streams}");
    }
}
