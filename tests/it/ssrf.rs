//! Notices of hostile bidders, sent by the real server in a network where every address there is
//! leads to a listener of the test: whom it connects to, nobody could hide.
//!
//! Needs a network namespace and a mount of its own (root); where they cannot be made it says so.
//! `tests/full.sh ssrf` sets `GAVEL_FULL`: more rounds, and what cannot be made is a failure.

#![expect(clippy::print_stdout, reason = "what cannot be tested here is said")]

use crate::backlog::alone;
use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, read_message};
use crate::harness::server::Server;
use crate::server::wait_until;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

const REQUEST: &str =
    r#"{"id":"r","at":1,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;

/// Where notices may go, by `networks_allowed`: without it nothing would show that any can.
const ALLOWED: &str = "203.0.113.7";

/// What a name leads to; one that turns does so from its second query on.
const NAMES: [(&str, &[&str]); 12] = [
    ("good", &[ALLOWED]),
    ("turns", &[ALLOWED]),
    ("loop", &["127.0.0.1"]),
    ("loop6", &["::1"]),
    ("mapped", &["::ffff:10.0.0.1"]),
    ("private", &["10.2.3.4"]),
    ("metadata", &["169.254.169.254"]),
    ("one-of-two", &["127.0.0.1", ALLOWED]),
    ("two-of-two", &[ALLOWED, "fe80::1"]),
    ("nat64", &["64:ff9b::10.0.0.1"]),
    ("six-to-four", &["2002:a00:1::1"]),
    ("carrier", &["100.64.0.1"]),
];

/// The addresses that somebody connected to.
type Reached = Arc<Mutex<BTreeSet<IpAddr>>>;

/// Takes connections to any address, notes which, and answers 204.
fn canary(reached: &Reached) {
    for port in [80, 443] {
        let listener = TcpListener::bind(("::", port)).unwrap();
        let reached = Arc::clone(reached);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let to = stream.local_addr().unwrap().ip().to_canonical();
                reached.lock().unwrap().insert(to);
                thread::spawn(move || answer(stream));
            }
        });
    }
}

fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    while read_message(&mut reader).is_some() {
        if reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Answers queries for names below `bidder.example`, with a time to live of nothing.
fn name_server() {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut asked = BTreeMap::<String, usize>::new();
        let mut query = [0; 512];
        while let Ok((got, from)) = socket.recv_from(&mut query) {
            let Some(reply) = reply(&query[..got], &mut asked) else { continue };
            let _ = socket.send_to(&reply, from);
        }
    });
}

fn reply(query: &[u8], asked: &mut BTreeMap<String, usize>) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while let length @ 1.. = usize::from(*query.get(at)?) {
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let question = query.get(12..at + 5)?;
    let addresses: Vec<IpAddr> = addresses(&labels.join("."), kind, asked);
    // id; an answer, recursion wanted and there, no error; one question
    let mut reply = [query.get(..2)?, &[0x81, 0x80, 0, 1]].concat();
    reply.extend(u16::try_from(addresses.len()).ok()?.to_be_bytes());
    reply.extend([0; 4]);
    reply.extend(question);
    for address in addresses {
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        // the name of the question, its type, the Internet, no time to live
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 0]);
        reply.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
        reply.extend(bytes);
    }
    Some(reply)
}

/// Those of a name of the type that is asked for (1: IPv4, 28: IPv6).
fn addresses(name: &str, kind: u16, asked: &mut BTreeMap<String, usize>) -> Vec<IpAddr> {
    let Some(label) = name.strip_suffix(".bidder.example") else { return Vec::new() };
    let Some((_, list)) = NAMES.iter().find(|(known, _)| *known == label) else {
        return Vec::new();
    };
    let list: Vec<IpAddr> = list.iter().map(|one| one.parse().unwrap()).collect();
    let mut own: Vec<IpAddr> = list
        .into_iter()
        .filter(|one| (kind == 1 && one.is_ipv4()) || (kind == 28 && one.is_ipv6()))
        .collect();
    let times = asked.entry(format!("{label} {kind}")).or_default();
    *times += 1;
    if label == "turns" && kind == 1 && *times > 1 {
        own = vec!["169.254.169.254".parse().unwrap()];
    }
    own
}

/// URLs of the corpus that are well formed, and whether nothing but where they lead can stop them.
fn hostile() -> Vec<(bool, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/notice/guard/hostile.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let rules = ["address", "domain", "user", "fragment", "port"];
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let chosen = lines.filter(|(rule, _)| rules.contains(rule));
    let mut urls: Vec<_> = chosen.map(|(rule, url)| (rule == "address", url.to_owned())).collect();
    let names = NAMES.iter().map(|(label, _)| *label);
    let names = names.filter(|label| !["good", "turns"].contains(label));
    urls.extend(names.map(|label| (true, format!("http://{label}.bidder.example/"))));
    urls
}

/// A bidder that bids a little for each URL, which it wants to be told at that it has lost.
fn bids(price: f64, urls: &[String]) -> Bidder {
    let bid = |(number, url): (usize, &String)| {
        json!({"id": number.to_string(), "impid": "1", "price": price, "adm": "<p>ad</p>",
               "adomain": ["adv.example"], "crid": number.to_string(), "w": 300, "h": 250,
               "mtype": 1, "lurl": url})
    };
    let bids: Vec<_> = urls.iter().enumerate().map(bid).collect();
    let body = json!({"id": "r", "seatbid": [{"seat": "s", "bid": bids}]}).to_string();
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Bidder::start(Script { status: 200, headers, body: body.into_bytes(), ..Script::default() })
}

fn config(folder: &Path, urls: &[(bool, String)], winner: &Bidder, loser: &Bidder) -> PathBuf {
    // each such address is the bidder's own, so that nothing but the address can stop it
    let led = urls.iter().filter(|(is_led, _)| *is_led);
    let own = led.filter_map(|(_, url)| match url::Url::parse(url).ok()?.host()? {
        url::Host::Domain(_) => None,
        url::Host::Ipv4(v4) => Some(v4.to_string()),
        url::Host::Ipv6(v6) => Some(v6.to_string()),
    });
    let own: BTreeSet<String> = own.chain(["bidder.example", ALLOWED].map(str::to_owned)).collect();
    let path = folder.join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [notices]\nnetworks_allowed = ['{ALLOWED}']\npatience = '1m'\nfailures_max = 1000\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '5s'\n\
         [[bidders]]\nname = 'winner'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n\
         [[bidders]]\nname = 'hostile'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n\
         [bidders.limits]\nbids_max = 1000\n[bidders.notices]\nhttp = 'yes'\ndomains = {:?}\n",
        winner.address, loser.address, own
    );
    let text = text.replace("domains = {", "domains = [").replace('}', "]");
    std::fs::write(&path, text).unwrap();
    path
}

/// Everything leads here, names too; why not, where that cannot be had.
fn make_network(folder: &Path) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|fault| format!("no mounts of its own: {fault}"))?;
    let resolv = folder.join("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
    let resolv = resolv.to_str().unwrap();
    for command in [
        &["mount", "--make-rprivate", "/"][..],
        &["mount", "--bind", resolv, "/etc/resolv.conf"],
        &["ip", "route", "add", "local", "default", "dev", "lo"],
        &["ip", "-6", "route", "add", "local", "default", "dev", "lo"],
    ] {
        let output = Command::new(command[0]).args(&command[1..]).output();
        let output = output.map_err(|fault| format!("{}: {fault}", command[0]))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{command:?}: {why}"));
        }
    }
    Ok(())
}

/// The sum of all series of a metric that begin so.
fn sum(server: &Server, start: &str) -> f64 {
    let metrics = server.metrics();
    let rows = metrics.lines().filter(|line| line.starts_with(start));
    rows.filter_map(|row| row.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn hostile_bidders_reach_nobody(folder: &Path, rounds: u32) {
    let reached = Reached::default();
    canary(&reached);
    name_server();
    // the canary is one: what it stands on can be reached, whatever the address
    for address in ["169.254.169.254", "10.2.3.4", "fd00:ec2::254"] {
        TcpStream::connect((address.parse::<IpAddr>().unwrap(), 80)).unwrap();
    }
    wait_until("the canary sings", || reached.lock().unwrap().len() == 3);
    reached.lock().unwrap().clear();

    let urls = hostile();
    let count = urls.len();
    assert!(count >= 120, "{count}");
    let mut all: Vec<String> = urls.iter().map(|(_, url)| url.clone()).collect();
    // sent after the others of its round, and taken
    all.extend(["turns", "good"].map(|label| format!("http://{label}.bidder.example/won")));
    all.push(format!("http://{ALLOWED}/won"));
    let (winner, loser) = (bids(2.0, &["http://good.bidder.example/".to_owned()]), bids(1.0, &all));
    let mut server = Server::ready(&config(folder, &urls, &winner, &loser));
    let mut client = Client::connect(server.public.unwrap());
    let each = |count: usize, round: u32| f64::from(round * u32::try_from(count).unwrap());
    // a name may not be found in time where the machine is busy; what needs none is always judged
    let is_named = |url: &&(bool, String)| url.1.contains(".bidder.example");
    let unnamed = count - urls.iter().filter(is_named).count();
    for round in 1..=rounds {
        let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        wait_until("each was tried", || {
            sum(&server, "gavel_notices_total{kind=\"loss\"") >= each(all.len(), round)
        });
        let blocked = sum(&server, "gavel_notices_blocked_total{");
        assert!(blocked >= each(unnamed, round), "{blocked} in round {round}");
    }
    let delivered = r#"gavel_notices_total{kind="loss",result="delivered"}"#;
    wait_until("one that may be called is", || server.metric(delivered) >= 1.0);
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    let reached = reached.lock().unwrap().clone();
    println!("{count} hostile URLs, {rounds} times; connections to: {reached:?}");
    assert_eq!(reached, BTreeSet::from([ALLOWED.parse::<IpAddr>().unwrap()]));
}

#[test]
fn no_forbidden_address_is_connected_to_in_a_network_where_all_of_them_answer() {
    let is_full = std::env::var_os("GAVEL_FULL").is_some();
    alone(move |folder| match make_network(folder) {
        Ok(()) => hostile_bidders_reach_nobody(folder, if is_full { 50 } else { 1 }),
        Err(why) if is_full => panic!("it cannot be run here: {why}"),
        Err(why) => println!("NOT RUN: {why}"),
    });
}
