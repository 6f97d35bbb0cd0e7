//! The fuzz targets over seeds and their mutations: quick, the same every time.

#[path = "../../fuzz/targets.rs"]
mod targets;

/// One good input for each parser.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let text: &[&str] = match target {
        "request" => &[
            r#"{"id":"r","at":1,"tmax":300,"cur":["USD"],"imp":[{"id":"1","bidfloor":0.5,"banner":{"format":[{"w":300,"h":250}]},"pmp":{"deals":[{"id":"d","at":3}]}},{"id":"2","native":{"request":"{\"assets\":[{\"id\":1}]}"}}],"site":{"id":"s","publisher":{"id":"p"}},"device":{"ua":"x\u00e9","ip":"192.0.2.1","geo":{"lat":1.5}},"user":{"ext":{"eids":[{"source":"a","uids":[{"id":"1"}]}]}},"regs":{"ext":{"gdpr":1}},"source":{"schain":{"nodes":[]}}}"#,
        ],
        "answer" => &[
            r#"{"id":"r-1","cur":"USD","seatbid":[{"seat":"s","bid":[{"id":"b","impid":"1","price":1.5,"adm":"<a>","adomain":["x.example"],"attr":[1],"w":300,"h":250,"ext":{}}]}]}"#,
        ],
        "response" => &[
            "\u{7}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "\u{3}HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "\u{1}HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ],
        "rules" => &[
            "[[partners]]\nname = 'p'\nopen = true\nqps = 7\n[[bidders]]\nname = 'b'\nurl = 'http://b.example/'\n[rates.per_base]\nEUR = 0.9\n",
        ],
        "forwarded" => {
            &["192.0.2.7, [2001:db8::1]:443", "for=192.0.2.7;proto=https, for=\"[2001:db8::1]\""]
        }
        _ => &["Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0.0.0"],
    };
    let mut seeds: Vec<Vec<u8>> = text.iter().map(|text| text.as_bytes().to_vec()).collect();
    if target == "coding" {
        let mut packed = Vec::new();
        gavel::coding::Gzip::default().encode(&seeds[0].repeat(20), &mut packed).unwrap();
        seeds.push(packed);
    }
    if target == "capture" {
        seeds = vec![capture(), b"\x0c\x02\x01\x07\xc8\x01\x02ab\x05\x02/x".to_vec()];
    }
    if target == "journal" {
        seeds.push(segment());
    }
    seeds
}

/// A whole file of two blocks.
fn capture() -> Vec<u8> {
    use gavel::capture::write::{Writer, WriterSettings};
    use gavel::capture::{Header, Origin, Record, RecordedCall, RecordedOutcome};
    let header = Header {
        origin: Origin::Synthetic,
        started_us: 1,
        writer: "w".to_owned(),
        pseudonym_key: None,
        sample_ppm: 1,
        note: String::new(),
    };
    let record = Record {
        partner: "p".to_owned(),
        headers: vec![("a".to_owned(), "b".to_owned())],
        body: "{}".into(),
        outcome: Some(RecordedOutcome { status: 204, ..RecordedOutcome::default() }),
        calls: vec![RecordedCall { status: 200, ..RecordedCall::default() }],
        ..Record::default()
    };
    let mut writer = Writer::new(Vec::new(), &header, WriterSettings::default()).unwrap();
    for _ in 0..2 {
        writer.push(&record).unwrap();
        writer.flush_block().unwrap();
    }
    writer.finish().unwrap()
}

/// A segment with two commits.
fn segment() -> Vec<u8> {
    use gavel::journal::frame::{Class, SegmentHeader, Tag, write_record};
    let mut bytes = SegmentHeader { ordinal: 1, first: 9, begun_us: 1 }.write().to_vec();
    for sequence in 9..15 {
        let tag = Tag { kind: 9, class: Class::Durable, opens: sequence % 3 == 0 };
        write_record(&mut bytes, sequence, tag, b"\x01\x02xy");
    }
    bytes.resize(bytes.len() + 40, 0);
    bytes
}

/// A step of the generator of Steele, Lea and Flood (2014): enough to place mutations.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mutate(seed: &[u8], state: &mut u64) -> Vec<u8> {
    const WORDS: [&[u8]; 12] = [
        b"null",
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b"-1",
        b"1e999",
        b"99999999999999999999",
        b"\\u0000",
        b"\xff\xfe",
        b"\r\n",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..=next(state) % 4 {
        let at = usize::try_from(next(state)).unwrap() % (bytes.len() + 1);
        match next(state) % 5 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (next(state) % 8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 9).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let word = WORDS[usize::try_from(next(state)).unwrap() % WORDS.len()];
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn no_parser_panics_on_mutations_of_good_input() {
    const ROUNDS: u64 = 3_000;
    let seed = 20_261_122;
    println!("seed {seed}, {ROUNDS} mutations of each input");
    for (name, target) in targets::ALL {
        for good in seeds(name) {
            target(&good);
            let mut state = seed;
            for _ in 0..ROUNDS {
                target(&mutate(&good, &mut state));
            }
        }
    }
}
