//! One function over bytes for each parser that reads what strangers send.
//!
//! None may panic, whatever the bytes. `tests/it/fuzz.rs` runs them over seeds and mutations;
//! `fuzz_targets/` hands them to libFuzzer.

use bytes::Bytes;
use gavel::admit::limits::Limits;
use gavel::admit::{self, Scratch};
use gavel::arrival::Body;
use gavel::bidder::answer;
use gavel::bidder::response::{ReadLimits, Reading};
use gavel::capture::read::Reader;
use gavel::capture::{Record, format};
use gavel::coding::{self, Caps, Coding};
use gavel::config::reader::{Findings, Table};
use gavel::config::rules::Draft;
use gavel::enrich::databases::Databases;
use gavel::http::ClientHeader;
use gavel::http::client_addr;
use gavel::journal::frame::SegmentHeader;
use gavel::journal::walk::{Bounds, Piece, Walk};
use gavel::money::Rates;
use gavel::money_event::shown;
use gavel::partner::{Network, Partner};
use std::cell::RefCell;
use std::io::Cursor;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// By name.
pub const ALL: [(&str, Target); 9] = [
    ("request", request),
    ("answer", answer),
    ("response", response),
    ("coding", coding),
    ("rules", rules),
    ("forwarded", forwarded),
    ("agent", agent),
    ("capture", capture),
    ("journal", journal),
];

/// A partner's bid request.
pub fn request(bytes: &[u8]) {
    let body = Body(Bytes::copy_from_slice(bytes));
    let limits = Limits::default();
    let mut scratch = Scratch::new(&limits);
    let partner = Partner::new("p");
    if let Ok(admitted) = admit::admit(body, &partner, &limits, &Rates::default(), &mut scratch) {
        assert_eq!(admitted.request.bytes(), bytes);
    }
}

/// A bidder's bid response.
pub fn answer(bytes: &[u8]) {
    let mut scratch = answer::AnswerScratch::new(64);
    let _ = answer::read(bytes, "r-1", 100, &mut scratch);
}

/// A bidder's HTTP answer, in pieces whose size the first byte chooses.
pub fn response(bytes: &[u8]) {
    let Some((piece, mut rest)) = bytes.split_first() else { return };
    let limits = ReadLimits { head_bytes_max: 4096, interim_max: 3, wire_bytes_max: 8192 };
    let mut reading = Reading::new(limits, vec![0; 512]);
    while !rest.is_empty() {
        let space = reading.space();
        let count = rest.len().min(space.len()).min(usize::from(*piece) + 1);
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        match reading.received(count) {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
    }
    let _ = reading.ended();
}

/// A body in each coding.
pub fn coding(bytes: &[u8]) {
    let caps = Caps { body_bytes_max: 64 << 10, ..Caps::default() };
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        if let Ok(body) = coding::decode(coding, bytes, &caps) {
            assert!(body.len() <= caps.body_bytes_max);
        }
    }
}

/// A file of partners and bidders.
pub fn rules(bytes: &[u8]) {
    let Ok(values) = String::from_utf8_lossy(bytes).parse::<toml::Table>() else { return };
    let findings = RefCell::new(Findings::default());
    let mut root = Table::root("fuzz.toml", Some(&values), &findings);
    let mut draft = Draft::default();
    draft.read(&mut root);
    draft.check(&root);
    root.end();
}

/// What a proxy says of the client.
pub fn forwarded(bytes: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return };
    let trusted: Vec<Network> = Network::parse("0.0.0.0/0").into_iter().collect();
    let peer = std::net::IpAddr::from([192, 0, 2, 1]);
    for (name, header) in
        [("x-forwarded-for", ClientHeader::XForwardedFor), ("forwarded", ClientHeader::Forwarded)]
    {
        let mut headers = http::HeaderMap::new();
        headers.append(name, value.clone());
        let _ = client_addr::client(peer, &headers, &trusted, header);
    }
}

/// A user agent, against no database (the expressions are linear by construction).
pub fn agent(bytes: &[u8]) {
    let _ = gavel::enrich::lookup_ua(&Databases::default(), &String::from_utf8_lossy(bytes));
}

/// A capture file, and what stands packed in a block of one, with checksums that hold.
pub fn capture(bytes: &[u8]) {
    read_capture(bytes);
    let Ok(packed) = zstd::bulk::compress(bytes, 1) else { return };
    let length = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let json = br#"{"origin":"synthetic","started_us":0,"writer":"","pseudonym_key":null,"sample_ppm":0,"note":""}"#;
    let mut file = format::MAGIC.to_vec();
    file.extend_from_slice(&format::MAJOR.to_le_bytes());
    file.extend_from_slice(&format::MINOR.to_le_bytes());
    file.extend_from_slice(&length(json.len()));
    let sum = crc32c::crc32c_append(crc32c::crc32c(&file), json);
    file.extend_from_slice(&sum.to_le_bytes());
    file.extend_from_slice(json);
    let mut head = format::BLOCK.to_vec();
    head.extend_from_slice(&length(packed.len()));
    head.extend_from_slice(&length(bytes.len()));
    head.extend_from_slice(&length(usize::from(bytes.first().copied().unwrap_or(1))));
    head.extend_from_slice(&[0; 16]);
    head.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    file.extend_from_slice(&head);
    file.extend_from_slice(&packed);
    assert!(read_capture(&file), "the start is good");
}

/// Whether its start could be read.
fn read_capture(bytes: &[u8]) -> bool {
    let Ok(mut reader) = Reader::new(Cursor::new(bytes)) else { return false };
    let mut record = Record::default();
    let mut count = 0;
    let good = loop {
        match reader.next(&mut record) {
            Ok(true) => count += 1,
            Ok(false) => break count,
            Err(error) => break error.good,
        }
    };
    assert_eq!(good, count);
    if let Ok(index) = reader.index() {
        assert!(index.blocks.len() <= format::BLOCKS_MAX);
    }
    true
}

/// A segment of a journal: each sequence once and in order, as a record or as lost.
pub fn journal(bytes: &[u8]) {
    let header = SegmentHeader::read(bytes);
    let first = header.map_or(1, |header| header.first);
    let beyond = first.saturating_add(5);
    for (limit, proven) in [(u64::MAX, 0), (u64::MAX, beyond), (beyond, beyond), (beyond, 0)] {
        for offset in [0, 64] {
            let bounds = Bounds { first, limit, proven, bytes: bytes.len() as u64, offset };
            let mut walk = Walk::new(bytes, bounds);
            let mut expected = first;
            loop {
                match walk.step() {
                    Ok(Piece::Record(record)) => {
                        assert_eq!(record.sequence, expected);
                        let _ = shown::columns(record.tag.kind, record.payload);
                        expected = expected.saturating_add(1);
                    }
                    Ok(Piece::Hole(hole)) => {
                        assert!(hole.from == expected && hole.to > expected);
                        expected = hole.to;
                    }
                    Ok(Piece::End { next, .. }) => {
                        assert_eq!(next, expected);
                        break;
                    }
                    Err(fault) => panic!("memory is read: {fault}"),
                }
            }
            assert!(limit == u64::MAX || proven < limit || expected >= limit);
        }
    }
}
