//! The whole process killed under load, again and again, with somebody outside who knows which events
//! were answered.
//!
//! Small here; `tests/full.sh kill` sets `GAVEL_FULL` and kills it a hundred times.

use super::{BASE, ONE, REQUEST, bidder, billed, config, events};
use crate::harness::http::{PATIENCE, read_message};
use crate::harness::server::Server;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const CLIENTS: usize = 4;

/// Paths of events that were answered with 204, and of those that were sent.
#[derive(Default)]
pub struct Audit {
    pub answered: Vec<String>,
    pub sent: BTreeSet<String>,
}

/// A connection that may end at any moment.
pub struct Link(BufReader<TcpStream>);

impl Link {
    pub fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// Status and body; `None`: it ended first.
    fn ask(&mut self, head: &str, body: &str) -> Option<(u16, Vec<u8>)> {
        let length = body.len();
        let message = format!(
            "{head} HTTP/1.1\r\nhost: x.example\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(message.as_bytes()).ok()?;
        let message = read_message(&mut self.0)?;
        Some((message.first_line.split(' ').nth(1)?.parse().ok()?, message.body))
    }
}

/// Sells and bills until the server is gone.
fn sell(address: SocketAddr, audit: &Mutex<Audit>, gone: &AtomicBool) {
    while !gone.load(Ordering::Relaxed) {
        let Some(mut link) = Link::open(address) else { return };
        while sell_once(&mut link, audit).is_some() {}
    }
}

pub fn sell_once(link: &mut Link, audit: &Mutex<Audit>) -> Option<()> {
    let (status, body) = link.ask("POST /openrtb2/pub", REQUEST)?;
    if status != 200 {
        return Some(());
    }
    let response: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let burl = response["seatbid"][0]["bid"][0]["burl"].as_str()?;
    let path = burl.strip_prefix(BASE).unwrap().to_owned();
    audit.lock().unwrap().sent.insert(path.clone());
    bill(link, path, audit)
}

fn bill(link: &mut Link, path: String, audit: &Mutex<Audit>) -> Option<()> {
    let (status, _) = link.ask(&format!("GET {path}"), "")?;
    if status == 204 {
        audit.lock().unwrap().answered.push(path);
    }
    Some(())
}

/// The id of the event that a token tells of: its sale, and the number of its type.
pub fn id(path: &str) -> String {
    let token = path.strip_prefix("/e/").unwrap().split('?').next().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    let sale = u128::from_le_bytes(bytes[3..19].try_into().unwrap());
    format!("{:032x}", sale | 2)
}

#[test]
fn what_was_answered_before_a_kill_is_there_once_after_it() {
    let rounds = if std::env::var_os("GAVEL_FULL").is_some() { 100 } else { 3 };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = config(dir.path(), "j", &bidder, &events(&[ONE]));
    let audit = Mutex::<Audit>::default();
    for round in 0..rounds {
        let mut server = Server::ready(&config);
        let address = server.public.unwrap();
        let before = audit.lock().unwrap().answered.clone();
        // what was answered before comes again, and is told from what is new
        let mut link = Link::open(address).unwrap();
        for path in before.iter().rev().take(5) {
            let (status, _) = link.ask(&format!("GET {path}"), "").unwrap();
            assert_eq!(status, 204);
        }
        let gone = AtomicBool::new(false);
        // from 20 on, another number each round
        let enough = before.len() + 20 + round * 37 % 90;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| sell(address, &audit, &gone));
            }
            while audit.lock().unwrap().answered.len() < enough {
                std::thread::yield_now();
            }
            gone.store(true, Ordering::Relaxed);
            server.signal(Signal::SIGKILL);
            server.wait();
        });
    }
    let mut server = Server::ready(&config);
    assert_eq!(server.terminate(), Some(0));

    let audit = audit.into_inner().unwrap();
    let counted = billed(&dir.path().join("j"));
    let lost = audit.answered.iter().filter(|path| !counted.contains_key(&id(path))).count();
    let twice = counted.values().filter(|count| **count > 1).count();
    let sent: BTreeSet<String> = audit.sent.iter().map(|path| id(path)).collect();
    let foreign = counted.keys().filter(|id| !sent.contains(*id)).count();
    println!(
        "{rounds} kills: {} events answered, {} sent, {} counted; {lost} lost, {twice} twice",
        audit.answered.len(),
        sent.len(),
        counted.len()
    );
    assert_eq!((lost, twice, foreign), (0, 0, 0));
}
