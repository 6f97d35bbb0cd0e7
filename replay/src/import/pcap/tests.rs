//! Packets as they are captured, well and badly.

use super::super::command::Format;
use super::super::sink::SinkSettings;
use super::super::tests::{answer, body, imported, post};
use super::super::{ImportError, NoAnswer, Skip};
use crate::random::Random;
use etherparse::PacketBuilder;
use gavel::capture::Record;
use proptest::prelude::*;
use std::time::Duration;

/// How packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Ethernet,
    Vlan,
    Null,
    Raw,
    Cooked,
    Cooked2,
}

impl Link {
    const ALL: [Self; 6] =
        [Self::Ethernet, Self::Vlan, Self::Null, Self::Raw, Self::Cooked, Self::Cooked2];

    fn number(self) -> u16 {
        match self {
            Self::Ethernet | Self::Vlan => 1,
            Self::Null => 0,
            Self::Raw => 101,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
        }
    }

    fn wrap(self, ip: &[u8], is_v6: bool) -> Vec<u8> {
        let kind: [u8; 2] = if is_v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let addresses = [2_u8; 12];
        match self {
            Self::Ethernet => [&addresses[..], &kind, ip].concat(),
            Self::Vlan => [&addresses[..], &[0x81, 0, 0, 7], &kind, ip].concat(),
            Self::Null => [&[2, 0, 0, 0], ip].concat(),
            Self::Raw => ip.to_vec(),
            Self::Cooked => [&[0; 14][..], &kind, ip].concat(),
            Self::Cooked2 => [&kind[..], &[0; 18], ip].concat(),
        }
    }
}

/// A packet before it is written.
#[derive(Clone, Debug)]
struct Packet {
    at_us: u64,
    bytes: Vec<u8>,
    is_v6: bool,
}

/// One connection, spoken from both sides.
struct Talk {
    port: u16,
    is_v6: bool,
    /// Next sequence numbers of client and server.
    numbers: [u32; 2],
    packets: Vec<Packet>,
}

#[derive(Clone, Copy)]
enum Flag {
    Syn,
    None,
    Fin,
}

impl Talk {
    fn begin(port: u16, is_v6: bool, at_us: u64) -> Self {
        // both wrap soon
        let numbers = [u32::MAX - 3_000, u32::MAX - 200];
        let mut talk = Self { port, is_v6, numbers, packets: Vec::new() };
        talk.segment(0, at_us, Flag::Syn, &[]);
        talk.segment(1, at_us + 50, Flag::Syn, &[]);
        talk
    }

    fn segment(&mut self, from: usize, at_us: u64, flag: Flag, payload: &[u8]) {
        let (source, target) = if from == 0 { (self.port, 80) } else { (80, self.port) };
        let numbers = (self.numbers[from], self.numbers[1 - from]);
        let (client, server) = (1 + u8::try_from(from).unwrap(), 2 - u8::try_from(from).unwrap());
        let ip = if self.is_v6 {
            let address = |last| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
            PacketBuilder::ipv6(address(client), address(server), 20)
        } else {
            PacketBuilder::ipv4([192, 0, 2, client], [192, 0, 2, server], 20)
        };
        let tcp = ip.tcp(source, target, numbers.0, 1_000);
        let tcp = match (flag, from) {
            (Flag::Syn, 0) => tcp.syn(),
            (Flag::Syn, _) => tcp.syn().ack(numbers.1),
            (Flag::None, _) => tcp.ack(numbers.1),
            (Flag::Fin, _) => tcp.fin().ack(numbers.1),
        };
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, payload).unwrap();
        self.packets.push(Packet { at_us, bytes, is_v6: self.is_v6 });
        let step = u32::try_from(payload.len()).unwrap();
        let sign = u32::from(!matches!(flag, Flag::None));
        self.numbers[from] = self.numbers[from].wrapping_add(step).wrapping_add(sign);
    }

    /// In segments of this many bytes.
    fn say(&mut self, from: usize, at_us: u64, bytes: &[u8], size: usize) {
        for part in bytes.chunks(size) {
            self.segment(from, at_us, Flag::None, part);
        }
    }

    fn end(mut self, at_us: u64) -> Vec<Packet> {
        self.segment(0, at_us, Flag::Fin, &[]);
        self.segment(1, at_us, Flag::Fin, &[]);
        self.packets
    }
}

fn pcap(packets: &[Packet], link: Link) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(u32::from(link.number()).to_le_bytes());
    for packet in packets {
        let bytes = link.wrap(&packet.bytes, packet.is_v6);
        let length = u32::try_from(bytes.len()).unwrap();
        for field in [
            u32::try_from(packet.at_us / 1_000_000).unwrap() + 1_763_000_000,
            u32::try_from(packet.at_us % 1_000_000).unwrap(),
            length,
            length,
        ] {
            file.extend(field.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = u32::try_from(padded + 12).unwrap().to_be_bytes();
    let mut out = [&kind.to_be_bytes()[..], &length, body].concat();
    out.resize(out.len() + padded - body.len(), 0);
    out.extend(length);
    out
}

/// Big-endian, with nanoseconds, and with a block that nobody knows.
fn pcapng(packets: &[Packet], link: Link) -> Vec<u8> {
    let section = [&[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0][..], &[0xff; 8]].concat();
    let mut file = block(0x0a0d_0d0a, &section);
    let options = [0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0];
    file.extend(block(
        1,
        &[&link.number().to_be_bytes()[..], &[0, 0, 0, 4, 0, 0], &options].concat(),
    ));
    file.extend(block(0x0bad, b"whatever"));
    for packet in packets {
        let bytes = link.wrap(&packet.bytes, packet.is_v6);
        let at = (packet.at_us + 1_763_000_000_000_000) * 1_000;
        let (high, low) =
            (u32::try_from(at >> 32).unwrap(), u32::try_from(at & 0xffff_ffff).unwrap());
        let length = u32::try_from(bytes.len()).unwrap();
        let mut inside = Vec::new();
        for field in [0, high, low, length, length] {
            inside.extend(field.to_be_bytes());
        }
        inside.extend(bytes);
        file.extend(block(6, &inside));
    }
    file
}

/// Requests over one connection, each with its answer 3 ms later.
fn talk(port: u16, is_v6: bool, numbers: std::ops::Range<u64>) -> Vec<Packet> {
    let mut talk = Talk::begin(port, is_v6, 0);
    let mut at = 0;
    for number in numbers {
        at = 1_000 + number * 10_000;
        talk.say(0, at, &post(&body(number)), 700);
        talk.say(1, at + 3_000, &answer(&format!("{{\"id\":\"{number}\"}}")), 60);
    }
    talk.end(at + 5_000)
}

fn all(bytes: &[u8]) -> (super::super::sink::Account, Vec<Record>) {
    let (account, records, ended) = imported(Format::Pcap, bytes, &SinkSettings::default());
    ended.unwrap();
    (account, records)
}

fn check(records: &[Record], count: u64) {
    assert_eq!(records.len() as u64, count);
    for record in records {
        let number = u64::try_from(record.at.as_micros()).unwrap() / 10_000;
        assert_eq!(record.body, body(number));
        let outcome = record.outcome.as_ref().unwrap();
        assert_eq!((outcome.status, outcome.took), (200, Duration::from_millis(3)));
        assert_eq!(outcome.body, format!("{{\"id\":\"{number}\"}}"));
    }
}

#[test]
fn requests_are_found_behind_every_link_in_both_formats() {
    for link in Link::ALL {
        for is_v6 in [false, true] {
            let packets = talk(40_000, is_v6, 0..12);
            for file in [pcap(&packets, link), pcapng(&packets, link)] {
                let (account, records) = all(&file);
                check(&records, 12);
                assert_eq!(account.answered, 12);
                assert!(account.skipped.is_empty(), "{link:?} {account:?}");
            }
        }
    }
}

#[test]
fn segments_out_of_order_and_sent_again_make_no_difference() {
    for seed in 0..30 {
        let mut random = Random::seeded(seed);
        let mut packets = talk(40_000, false, 0..40);
        // the first two are the opening
        for _ in 0..60 {
            let one = 2 + random.index(packets.len() - 8);
            let other = one + random.index(4);
            let at = (packets[one].at_us, packets[other].at_us);
            if at.0 == at.1 {
                packets.swap(one, other);
            }
            let again = packets[one].clone();
            packets.insert(one + 1, again);
        }
        let (account, records) = all(&pcap(&packets, Link::Ethernet));
        check(&records, 40);
        assert!(account.skipped.is_empty(), "seed {seed}: {account:?}");
    }
}

#[test]
fn what_opens_or_ends_a_connection_may_come_again() {
    let packets = talk(40_000, false, 0..50);
    let at_us = packets.get(packets.len() / 2).unwrap().at_us;
    // the client's SYN and the server's once more in the middle; both ends of streams at the end
    for again in [0, 1] {
        let mut packets = packets.clone();
        let copy = Packet { at_us, ..packets[again].clone() };
        packets.insert(packets.len() / 2, copy);
        packets.push(packets[packets.len() - 2].clone());
        let (account, records) = all(&pcap(&packets, Link::Ethernet));
        check(&records, 50);
        assert_eq!((account.answered, account.skipped.len()), (50, 0), "{account:?}");
    }
    // a client that says at once that it has no more to ask, twice
    let mut half = Talk::begin(40_001, false, 0);
    half.say(0, 1_000, &post(&body(0)), 700);
    half.segment(0, 1_000, Flag::Fin, &[]);
    half.packets.push(half.packets[half.packets.len() - 1].clone());
    half.say(1, 4_000, &answer("{\"id\":\"0\"}"), 500);
    half.segment(1, 4_000, Flag::Fin, &[]);
    let (account, _) = all(&pcap(&half.packets, Link::Ethernet));
    assert_eq!((account.imported, account.answered), (1, 1), "{account:?}");
}

#[test]
fn requests_without_an_answer_are_counted_by_reason() {
    let asked = |port| {
        let mut talk = Talk::begin(port, false, 0);
        talk.say(0, 1_000, &post(&body(0)), 700);
        talk
    };
    let mut gap = talk(40_000, false, 0..600);
    let second = gap.iter().position(|packet| packet.at_us == 201_000).unwrap() + 1;
    gap.remove(second);
    for (packets, why) in [
        (asked(1).end(5_000), NoAnswer::Closed),
        (asked(1).packets, NoAnswer::FileEnd),
        (gap, NoAnswer::Gap),
    ] {
        let (account, _) = all(&pcap(&packets, Link::Ethernet));
        let unanswered = account.imported - account.answered;
        assert!(unanswered > 0, "{account:?}");
        assert_eq!(account.unanswered.get(&why), Some(&unanswered), "{account:?}");
    }
}

#[test]
fn pipelined_requests_get_their_own_answers_and_connections_their_numbers() {
    let mut first = Talk::begin(40_000, false, 0);
    let requests: Vec<u8> = (0..3).flat_map(|number| post(&body(number))).collect();
    first.say(0, 1_000, &requests, 1_000);
    for number in 0..3 {
        first.say(1, 4_000, &answer(&format!("{{\"id\":\"{number}\"}}")), 500);
    }
    let mut second = Talk::begin(40_001, false, 0);
    second.say(0, 1_000, &post(&body(3)), 1_000);
    // until the end of the connection, after an interim answer
    second.say(1, 4_000, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end", 500);
    let mut packets = first.end(5_000);
    packets.extend(second.end(6_000));
    packets.sort_by_key(|packet| packet.at_us);
    let (account, records) = all(&pcap(&packets, Link::Raw));
    assert_eq!(account.answered, 4, "{account:?}");
    for (number, record) in (0..).zip(&records[..3]) {
        assert_eq!(record.body, body(number));
        assert_eq!(record.outcome.as_ref().unwrap().body, format!("{{\"id\":\"{number}\"}}"));
        assert_eq!(record.connection, records[0].connection);
    }
    assert_eq!(records[3].outcome.as_ref().unwrap().body, "to the end");
    assert_ne!(records[3].connection, records[0].connection);
}

/// Requests over one connection; each is answered with its number, and those of `early` before
/// their last bytes are sent.
fn hasty(numbers: std::ops::Range<u64>, early: &[u64]) -> Talk {
    let mut talk = Talk::begin(40_000, false, 0);
    for number in numbers {
        let (at, bytes) = (1_000 + number * 10_000, post(&body(number)));
        let said = answer(&format!("{{\"id\":\"{number}\"}}"));
        let cut = if early.contains(&number) { bytes.len() - 100 } else { bytes.len() };
        talk.say(0, at, &bytes[..cut], 700);
        talk.say(1, at + 3_000, &said, 60);
        talk.say(0, at + 4_000, &bytes[cut..], 700);
    }
    talk
}

#[test]
fn an_answer_that_comes_before_the_end_of_its_request_is_that_requests() {
    let (account, records) = all(&pcap(&hasty(0..12, &[0, 5, 6]).end(900_000), Link::Ethernet));
    check(&records, 12);
    assert_eq!((account.answered, account.skipped.len()), (12, 0), "{account:?}");
    // the connection ends, and the rest of the request never came
    let mut talk = hasty(0..3, &[]);
    let bytes = post(&body(3));
    talk.say(0, 31_000, &bytes[..bytes.len() - 100], 700);
    talk.say(1, 34_000, &answer("{\"id\":\"3\"}"), 60);
    let (account, records) = all(&pcap(&talk.end(40_000), Link::Ethernet));
    check(&records, 3);
    assert_eq!(account.skipped[&Skip::Orphan].0, 1, "{account:?}");
}

#[test]
fn behind_an_answer_that_nobody_asked_for_no_request_gets_anothers() {
    let mut talk = hasty(0..3, &[]);
    talk.say(1, 25_000, &answer("{\"id\":\"none\"}"), 60);
    for number in 3..6 {
        let at = 1_000 + number * 10_000;
        talk.say(0, at, &post(&body(number)), 700);
        talk.say(1, at + 3_000, &answer(&format!("{{\"id\":\"{number}\"}}")), 60);
    }
    let (account, records) = all(&pcap(&talk.end(900_000), Link::Ethernet));
    assert_eq!((account.imported, account.answered), (6, 3), "{account:?}");
    check(&records[..3], 3);
    assert!(records[3..].iter().all(|record| record.outcome.is_none()));
}

#[test]
fn a_lost_packet_costs_its_request_and_no_answer_goes_to_another() {
    let mut packets = talk(40_000, false, 0..600);
    // a piece of the body of request 20
    let body_of_20 = packets.iter().position(|packet| packet.at_us == 201_000).unwrap() + 1;
    packets.remove(body_of_20);
    let (account, records) = all(&pcap(&packets, Link::Ethernet));
    assert!(account.skipped.contains_key(&Skip::Gap), "{account:?}");
    assert!(records.len() > 590, "{} of 600", records.len());
    for record in &records {
        let outcome = record.outcome.as_ref();
        // times are those of the packets also where the bytes waited
        let number = (0..600).find(|number| record.body == body(*number)).unwrap();
        assert_ne!(number, 20);
        assert!(outcome.is_none_or(|outcome| outcome.body == format!("{{\"id\":\"{number}\"}}")));
    }
}

#[test]
fn what_began_before_the_capture_and_what_is_no_http_is_counted() {
    let mut packets = talk(40_000, false, 0..4);
    packets.drain(..3); // the opening and the head of the first request
    let mut tls = Talk::begin(40_001, false, 500);
    tls.say(0, 600, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc], 100);
    tls.say(0, 700, &[0x17, 0x03, 0x03, 0, 1, 2, 3, 4, 5], 100);
    packets.extend(tls.end(800));
    let mut h2 = Talk::begin(40_002, false, 500);
    h2.say(0, 600, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 100);
    packets.extend(h2.end(800));
    packets.push(Packet { at_us: 900, bytes: vec![0x45, 0, 0, 1], is_v6: false });
    packets.sort_by_key(|packet| packet.at_us);
    let (account, records) = all(&pcap(&packets, Link::Ethernet));
    assert_eq!(records.len(), 3, "{account:?}");
    assert_eq!(account.skipped[&Skip::Encrypted].0, 1);
    assert_eq!(account.skipped[&Skip::Http2].0, 1);
    assert_eq!(account.skipped[&Skip::BadPacket].0, 1);
}

#[test]
fn a_file_that_breaks_off_gives_what_came_before() {
    let packets = talk(40_000, false, 0..50);
    for file in [pcap(&packets, Link::Ethernet), pcapng(&packets, Link::Ethernet)] {
        let cut = &file[..file.len() / 2];
        let (account, _, ended) = imported(Format::Pcap, cut, &SinkSettings::default());
        let fault = ended.unwrap_err();
        assert!(matches!(fault, ImportError::CutShort { offset: 1.., .. }), "{fault}");
        assert!((20..30).contains(&account.imported), "{account:?}");
    }
    let (_, _, ended) = imported(Format::Pcap, b"what", &SinkSettings::default());
    assert!(matches!(ended, Err(ImportError::Foreign { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_are_borne(
        at in 0_usize..20_000, value in any::<u8>(), cut in 0_usize..20_000, is_next in any::<bool>(),
    ) {
        let packets = talk(40_000, false, 0..4);
        let mut file = if is_next { pcapng(&packets, Link::Vlan) } else { pcap(&packets, Link::Vlan) };
        let length = file.len();
        file[at % length] = value;
        let (account, records, _) = imported(Format::Pcap, &file, &SinkSettings::default());
        prop_assert_eq!(account.imported, records.len() as u64);
        let _ = imported(Format::Pcap, &file[..cut % length], &SinkSettings::default());
    }
}
