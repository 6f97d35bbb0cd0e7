//! HTTP/2 frames by hand: what no library of clients sends, or leaves out.

use crate::server::{Server, wait_until};
use gavel::clock;
use gavel::http::HttpSettings;
use gavel::runtime::acceptor::AcceptSettings;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A bid request that has begun.
fn begun(stream: u32) -> Vec<u8> {
    let path = b"/openrtb2/acme";
    // POST, http, and a path and an authority as literals (RFC 7541, 6.2.2 and appendix A).
    let head = [b"\x83\x86\x04", &[u8::try_from(path.len()).unwrap()][..], path, b"\x01\x01a"];
    frame(HEADERS, END_HEADERS, stream, &head.concat())
}

/// The rest of it, which is the answer, too.
fn ended(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"{\"id\":\"1\"}")
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// One frame that came.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Peer(TcpStream);

impl Peer {
    /// `window`: bytes of each answer that it is willing to take.
    fn new(server: &Server, window: u32) -> Self {
        let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        let mut peer = Self(server.connect());
        peer.send(&[PREFACE.to_vec(), frame(SETTINGS, 0, 0, &window)]);
        peer
    }

    /// The server may have closed already.
    fn send(&mut self, frames: &[Vec<u8>]) {
        let _ = self.0.write_all(&frames.concat());
    }

    /// `None`: the connection has ended.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        if let Err(fault) = self.0.read_exact(&mut head) {
            assert_ne!(fault.kind(), ErrorKind::WouldBlock, "nothing comes, and no end");
            return None;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads up to a frame of that kind; `None`: there is none.
    fn find(&mut self, kind: u8, flags: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next())
            .find(|frame| frame.kind == kind && frame.flags & flags == flags)
    }
}

/// Whether a peer that resets so many streams at once can go on.
fn may_reset(streams: u32) -> bool {
    let server = Server::start(HttpSettings::default());
    let mut peer = Peer::new(&server, 65_535);
    let mut frames: Vec<_> =
        (0..streams).flat_map(|at| [begun(2 * at + 1), reset(2 * at + 1)]).collect();
    frames.push(frame(PING, 0, 0, b"are you?"));
    peer.send(&frames);
    loop {
        match peer.next() {
            Some(Frame { kind: PING, flags: ACK, .. }) => return true,
            Some(Frame { kind: GOAWAY, .. }) | None => return false,
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

#[test]
fn an_answer_that_is_not_taken_costs_the_connection_and_one_that_was_taken_back_does_not() {
    // Of one byte the whole answer is with the codec; of none, with the stream.
    for window in [0, 1] {
        let settings = HttpSettings {
            write_time: Duration::from_millis(200),
            sweep_every: Duration::from_millis(10),
            ..HttpSettings::default()
        };
        let server = Server::start_with(settings, 1, AcceptSettings::default());
        let (mut wise, mut slow) = (Peer::new(&server, window), Peer::new(&server, window));
        wise.send(&[begun(1), ended(1)]);
        assert!(wise.find(HEADERS, END_HEADERS).is_some());
        wise.send(&[reset(1)]);
        slow.send(&[begun(1), ended(1)]);
        while slow.next().is_some() {}
        let cuts = || server.count("gavel_connections_cut_total", &["slow_reader"]);
        wait_until("it is counted", || cuts() == 1);
        wise.send(&[frame(PING, 0, 0, b"are you?")]);
        assert!(wise.find(PING, ACK).is_some());
    }
}

#[test]
fn a_peer_that_does_not_say_that_it_knows_of_the_end_opens_no_stream_after_the_grace() {
    let settings = HttpSettings {
        age_max: Duration::from_millis(100),
        grace: Duration::from_millis(100),
        body_time: Duration::from_secs(10),
        sweep_every: Duration::from_millis(10),
        ..HttpSettings::default()
    };
    let server = Server::start_with(settings, 1, AcceptSettings::default());
    let mut peer = Peer::new(&server, 65_535);
    let until = clock::monotonic() + Duration::from_secs(20);
    let mut stream = 1;
    peer.send(&[begun(stream)]);
    let refused = 'open: loop {
        assert!(clock::monotonic() < until, "it opens streams for ever");
        // Something is always open: the next begins before this one ends.
        peer.send(&[begun(stream + 2), ended(stream)]);
        loop {
            let frame = peer.next().expect("it is told first");
            match frame.kind {
                RST_STREAM => break 'open frame,
                HEADERS if frame.stream == stream => break,
                _ => {}
            }
        }
        stream += 2;
    };
    assert_eq!(refused.payload, REFUSED_STREAM.to_be_bytes());
    while peer.next().is_some() {}
    let cuts = || server.count("gavel_connections_cut_total", &["grace"]);
    wait_until("it is counted", || cuts() == 1);
}
