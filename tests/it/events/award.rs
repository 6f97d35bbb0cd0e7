//! Partners whose taking our answer is the award: the win counts, and is told, at once and once.

use super::{ONE, REQUEST, count, events, exported, path, send};
use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::server::wait_until;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gavel::macros::seal::PriceKeys;
use gavel::money::Cpm;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const WIN: &str = r#"gavel_events_total{event="win",result="new"}"#;
const REPEAT: &str = r#"gavel_events_total{event="win",result="repeat"}"#;

fn bidder(told: &Bidder) -> Bidder {
    bidding(2.5, told)
}

fn bidding(price: f64, told: &Bidder) -> Bidder {
    let nurl = format!(
        "http://{}/won?p=${{AUCTION_PRICE}}&l=${{AUCTION_LOSS}}&m=${{AUCTION_MIN_TO_WIN}}&t=${{AUCTION_IMP_TS}}",
        told.address
    );
    let markup =
        "<p id='${AUCTION_PRICE}|${AUCTION_MIN_TO_WIN}|${AUCTION_MBR}|${AUCTION_CURRENCY}'>";
    let body = json!({"id": "r-1", "seatbid": [{"seat": "s", "bid": [{"id": "1", "impid": "i-1",
        "price": price, "adm": markup, "w": 300, "h": 250, "mtype": 1, "nurl": nurl}]}]});
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = body.to_string().into_bytes();
    Bidder::start(Script { status: 200, headers, body, ..Script::default() })
}

fn config(folder: &Path, more: &str, told: &Bidder, bidder: &Bidder) -> PathBuf {
    let path = folder.join("gavel.toml");
    let partner = |name: &str, notice: &str| {
        format!(
            "[[partners]]\nname = '{name}'\nopen = true\ntmax_default = '5s'\ntmax_max = '5s'\n\
             win_notice = '{notice}'\n{more}"
        )
    };
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [notices]\nports = [{}]\nnetworks_allowed = ['127.0.0.0/8']\n{}{}\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n\
         [journal]\ndir = '{}'\nsegment_bytes = '1MiB'\ncommit_bytes_max = '256KiB'\nballast_bytes = 0\n{}",
        told.address.port(),
        partner("awards", "answer"),
        partner("pub", "upstream"),
        bidder.address,
        folder.join("j").display(),
        events(&[ONE])
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn ask(server: &Server, partner: &str, request: &str) -> Json {
    let mut client = Client::connect(server.public.unwrap());
    let reply = client.post(&format!("/openrtb2/{partner}"), &[], request.as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["seatbid"][0]["bid"][0].clone()
}

#[test]
fn an_answer_that_is_the_award_is_a_win_once_and_told_once() {
    let (folder, told) =
        (tempfile::tempdir().unwrap(), Bidder::start(Script { status: 204, ..Script::default() }));
    let bidder = bidder(&told);
    let mut server = Server::ready(&config(folder.path(), "", &told, &bidder));
    let sold = ask(&server, "awards", REQUEST);
    told.wait_for_one();
    let line = told.last().unwrap().first_line;
    assert!(line.starts_with("GET /won?p=2.5&l=0&m="), "{line}");
    assert!(line.ends_with("&t= HTTP/1.1"), "{line}");
    wait_until("the win is counted", || server.metric(WIN) >= 1.0);

    // it calls our nurl all the same: the same event
    assert_eq!(send(&server, "GET", &path(&sold, "nurl", &[]), "").status, 204);
    assert!((server.metric(REPEAT) - 1.0).abs() < 0.5, "{}", server.metrics());
    // a test is nobody's win, and whoever calls is waited for
    ask(&server, "awards", &REQUEST.replacen('{', "{\"test\":1,", 1));
    let waits = ask(&server, "pub", REQUEST);
    assert!((server.metric(WIN) - 1.0).abs() < 0.5, "{}", server.metrics());
    assert_eq!(send(&server, "GET", &path(&waits, "nurl", &[]), "").status, 204);
    let delivered = r#"gavel_notices_total{kind="win",result="delivered"}"#;
    wait_until("the second is delivered", || server.metric(delivered) >= 2.0);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(told.seen().len(), 2);
    let rows = exported(&folder.path().join("j"));
    assert_eq!((count(&rows, "win"), count(&rows, "auction")), (2, 2), "{rows:?}");
}

#[test]
fn a_sealed_price_is_told_to_nobody_on_the_way_to_its_bidder() {
    let (folder, told) =
        (tempfile::tempdir().unwrap(), Bidder::start(Script { status: 204, ..Script::default() }));
    let bidder = bidder(&told);
    let file = config(folder.path(), "", &told, &bidder);
    let keys = PriceKeys::new(&[1; 32], &[2; 32]);
    insert(&file, &sealing());
    let mut server = Server::ready(&file);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let sold = ask(&server, "pub", REQUEST);
        let markup = sold["adm"].as_str().unwrap();
        let sealed = markup.strip_prefix("<p id='").and_then(|rest| rest.strip_suffix("|||USD'>"));
        let sealed = sealed.unwrap_or_else(|| panic!("{markup}"));
        let number = *URL_SAFE_NO_PAD.decode(sealed).unwrap().first_chunk().unwrap();
        let expected = keys.seal(Cpm::from_micros(2_500_000), number).unwrap();
        assert_eq!(sealed.as_bytes(), expected.as_bytes());
        let seconds = u32::from_be_bytes(*number.first_chunk().unwrap());
        let age = gavel::clock::wall().as_secs() - u64::from(seconds);
        assert!(age < 3600, "{age}");
        assert!(!numbers.contains(&number), "two prices under one number");
        numbers.push(number);

        let seen = told.seen().len();
        assert_eq!(send(&server, "GET", &path(&sold, "nurl", &[]), "").status, 204);
        wait_until("the bidder is told", || told.seen().len() > seen);
        let line = told.last().unwrap().first_line;
        // nobody is between us and it
        let rest = line.strip_prefix(&format!("GET /won?p={sealed}&l=0&m="));
        assert!(rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())), "{line}");
    }
    let unpaid = ask(&server, "pub", &REQUEST.replacen('{', "{\"test\":1,", 1));
    assert_eq!(unpaid["adm"], "<p id='AUDIT|AUDIT|AUDIT|USD'>");
    // without events the bidder's own notice goes through the partner
    assert!(
        unpaid["nurl"]
            .as_str()
            .unwrap()
            .ends_with("/won?p=AUDIT&l=${AUCTION_LOSS}&m=AUDIT&t=${AUCTION_IMP_TS}"),
        "{unpaid}"
    );
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn what_would_have_won_tells_no_sealed_price_of_another_bidder() {
    for (keys, expected) in [("", "<p id='3|2.5|1|USD'>"), (&*sealing(), "<p id='3||1|USD'>")] {
        let folder = tempfile::tempdir().unwrap();
        let told = Bidder::start(Script { status: 204, ..Script::default() });
        let (loser, winner) = (bidder(&told), bidding(3.0, &told));
        let file = config(folder.path(), "", &told, &loser);
        let second = format!(
            "{keys}[[bidders]]\nname = 'beta'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n",
            winner.address
        );
        insert(&file, &second);
        let server = Server::ready(&file);
        assert_eq!(ask(&server, "pub", REQUEST)["adm"], expected);
    }
}

/// The keys of a bidder whose prices are sealed.
fn sealing() -> String {
    let text = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
    format!("[bidders.notices]\nencryption_key = '{}'\nintegrity_key = '{}'\n", text(1), text(2))
}

/// Behind the bidder.
fn insert(file: &Path, text: &str) {
    let before = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, before.replace("[journal]", &format!("{text}[journal]"))).unwrap();
}

#[test]
fn an_award_by_answer_needs_events_and_one_bid_for_an_imp() {
    let (folder, told) =
        (tempfile::tempdir().unwrap(), Bidder::start(Script { status: 204, ..Script::default() }));
    let path = config(folder.path(), "multibid = 3\n", &told, &told);
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["check", "--config", path.to_str().unwrap()])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (code, text) = check();
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("1 fault") && text.contains("partners[0].win_notice"), "{text}");
    let written = std::fs::read_to_string(&path).unwrap();
    let (before, _) = written.split_once("[events]").unwrap();
    std::fs::write(&path, before.replace("multibid = 3\n", "")).unwrap();
    let (code, text) = check();
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("`upstream` where no event is taken"), "{text}");
}
