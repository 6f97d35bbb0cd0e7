//! A server that answers by a function of the request's body, for whoever asks one by one.

use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Origin, Record, RecordedOutcome};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Status and body for a body.
pub type Answer = dyn Fn(&[u8]) -> (u16, String) + Send + Sync;

/// Starts it on a free port; it ends with the process.
pub fn serve(answer: impl Fn(&[u8]) -> (u16, String) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer: Arc<Answer> = Arc::new(answer);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || talk(socket.unwrap(), &*answer));
        }
    });
    address
}

fn talk(mut socket: TcpStream, answer: &Answer) {
    let (mut buffer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&buffer).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| {
            rest.split("\r\n").next().and_then(|number| number.parse::<usize>().ok())
        });
        let head = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        if let (Some(head), Some(length)) = (head, length)
            && buffer.len() >= head + 4 + length
        {
            let (status, body) = answer(&buffer[head + 4..head + 4 + length]);
            buffer.drain(..head + 4 + length);
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
            if socket.write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
            continue;
        }
        match socket.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend_from_slice(&part[..count]),
        }
    }
}

/// What stands before records that a test makes.
pub fn header() -> Header {
    Header {
        origin: Origin::Synthetic,
        started_us: 0,
        writer: "test".to_owned(),
        pseudonym_key: None,
        sample_ppm: 1_000_000,
        note: String::new(),
    }
}

/// A capture of these bodies of one partner, a millisecond apart.
pub fn capture(path: &Path, bodies: impl Iterator<Item = String>) {
    capture_of(path, bodies.map(|body| ("demo", body)));
}

/// The same of several partners: the name of each body's, and the body.
pub fn capture_of<'p>(path: &Path, requests: impl Iterator<Item = (&'p str, String)>) {
    let file = File::create(path).unwrap();
    let mut writer = Writer::new(file, &header(), WriterSettings::default()).unwrap();
    for (number, (partner, body)) in requests.enumerate() {
        let record = Record {
            at: Duration::from_millis(number as u64),
            method: "POST".to_owned(),
            path: format!("/openrtb2/{partner}"),
            body: body.into(),
            outcome: Some(RecordedOutcome { status: 200, ..RecordedOutcome::default() }),
            ..Record::default()
        };
        writer.push(&record).unwrap();
    }
    writer.finish().unwrap();
}
