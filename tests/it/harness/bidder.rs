//! A scripted bidder: keeps what it was sent and answers what the test says, when it says.

use super::http::{Message, PATIENCE, read_message};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How a bidder answers each request.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub after: Duration,
    /// Keep nothing: for loads that would fill the memory of the test.
    pub is_forgetful: bool,
}

/// What came in, and the news of it.
type Seen = (Mutex<Vec<Message>>, Condvar);

/// A bidder that listens on loopback for as long as the test runs.
pub struct Bidder {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    connections: Arc<AtomicUsize>,
}

impl Bidder {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Seen> = Arc::default();
        let keep = Arc::clone(&seen);
        let connections: Arc<AtomicUsize> = Arc::default();
        let opened = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                opened.fetch_add(1, Ordering::Relaxed);
                let (script, keep) = (script.clone(), Arc::clone(&keep));
                std::thread::spawn(move || converse(stream, &script, &keep));
            }
        });
        Self { address, seen, connections }
    }

    /// Waits until it was sent something.
    pub fn wait_for_one(&self) {
        let (seen, arrived) = &*self.seen;
        let empty = |seen: &mut Vec<Message>| seen.is_empty();
        let waited = arrived.wait_timeout_while(seen.lock().unwrap(), PATIENCE, empty).unwrap();
        assert!(!waited.1.timed_out(), "the bidder was never called");
    }

    /// How often somebody connected to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What it was sent last.
    pub fn last(&self) -> Option<Message> {
        self.seen.0.lock().unwrap().last().cloned()
    }

    /// What it was sent so far.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.0.lock().unwrap().clone()
    }
}

fn converse(stream: TcpStream, script: &Script, keep: &Seen) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(message) = read_message(&mut reader) {
        if !script.is_forgetful {
            keep.0.lock().unwrap().push(message);
            keep.1.notify_all();
        }
        std::thread::sleep(script.after);
        let mut answer = format!("HTTP/1.1 {} x\r\n", script.status);
        for (name, value) in &script.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if script.status != 204 {
            answer.push_str(&format!("content-length: {}\r\n", script.body.len()));
        }
        answer.push_str("\r\n");
        let mut bytes = answer.into_bytes();
        bytes.extend_from_slice(&script.body);
        if reader.get_mut().write_all(&bytes).is_err() {
            return;
        }
    }
}
