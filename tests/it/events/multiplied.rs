//! A screen that many see at once: from its `qty` to the ledger and to all who ask how many.

use super::{ONE, auction, count, events, exported, path, send};
use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::server::Server;
use crate::server::wait_until;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const QTY: &str = r#""qty": { "multiplier" : 14.20, "sourcetype":1, "vendor":"measure.example" }"#;

fn request(qty: &str) -> String {
    format!(
        r#"{{"id":"r-1","at":1,"tmax":5000,"imp":[{{"id":"i-1",{qty}"banner":{{"w":300,"h":250}}}}],"dooh":{{"id":"d"}}}}"#
    )
}

/// One that asks `told` wherever it may how many impressions it was.
fn bidder(price: u32, told: &Bidder) -> Bidder {
    let notice =
        |kind: &str| format!("http://{}/{kind}-{price}?x=${{AUCTION_MULTIPLIER}}&", told.address);
    let body = json!({"id": "r-1", "seatbid": [{"seat": "s", "bid": [{"id": "1", "impid": "i-1",
        "price": price, "adm": "<p id='${AUCTION_MULTIPLIER}'>", "w": 300, "h": 250, "mtype": 1,
        "nurl": notice("win"), "burl": notice("bill"), "lurl": notice("loss")}]}]});
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = body.to_string().into_bytes();
    Bidder::start(Script { status: 200, headers, body, ..Script::default() })
}

fn config(folder: &Path, told: &Bidder, bidders: [&Bidder; 2]) -> PathBuf {
    let path = folder.join("gavel.toml");
    let [first, second] = bidders.map(|bidder| bidder.address);
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [notices]\nports = [{}]\nnetworks_allowed = ['127.0.0.0/8']\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '5s'\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{first}/'\n[bidders.time]\nmost = '5s'\n\
         [[bidders]]\nname = 'beta'\nurl = 'http://{second}/'\n[bidders.time]\nmost = '5s'\n\
         [journal]\ndir = '{}'\nsegment_bytes = '1MiB'\ncommit_bytes_max = '256KiB'\nballast_bytes = 0\n{}",
        told.address.port(),
        folder.join("j").display(),
        events(&[ONE])
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits until a notice has come, and gives what it says of how many.
fn told_of(told: &Bidder, kind: &str) -> String {
    let start = format!("GET /{kind}?x=");
    let find = || {
        let lines = told.seen().into_iter().map(|message| message.first_line);
        lines.filter_map(|line| line.strip_prefix(&start).map(str::to_owned)).next_back()
    };
    wait_until(kind, || find().is_some());
    find().unwrap().split('&').next().unwrap().to_owned()
}

#[test]
fn a_screen_that_14_2_see_is_billed_as_so_many_and_all_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = Bidder::start(Script { status: 204, ..Script::default() });
    let (winner, loser) = (bidder(10, &told), bidder(5, &told));
    let mut server = Server::ready(&config(folder.path(), &told, [&winner, &loser]));
    let sold = auction(&server, &request(&format!("{QTY},")));
    assert_eq!(sold["adm"], "<p id='14.2'>");
    assert_eq!(sold["price"], 10, "of one impression");
    let asked = winner.last().unwrap();
    let asked = String::from_utf8_lossy(&asked.body);
    assert!(asked.contains(QTY), "{asked}");
    assert_eq!(told_of(&told, "loss-5"), "14.2");
    for (name, kind) in [("nurl", "win-10"), ("burl", "bill-10"), ("lurl", "loss-10")] {
        assert_eq!(send(&server, "GET", &path(&sold, name, &[]), "").status, 204);
        assert_eq!(told_of(&told, kind), "14.2");
    }
    for series in [r#"gross_dollars_total{bidder="alpha"}"#, r#"net_dollars_total{partner="pub"}"#]
    {
        let won = server.metric(&format!("gavel_won_{series}"));
        assert!((won - 0.142).abs() < 1e-9, "{series} {won}");
    }
    assert_eq!(server.terminate(), Some(0));

    let rows = exported(&folder.path().join("j"));
    for kind in ["win", "billing", "loss"] {
        assert_eq!(count(&rows, kind), 1, "{rows:?}");
        let row = rows.iter().find(|row| row["type"] == kind).unwrap();
        assert_eq!((&row["multiplier"], &row["gross_micros"]), (&14.2.into(), &10_000_000.into()));
    }
    let money = &ledger(&folder.path().join("j"))["total"]["money"][0];
    let figures = ["billed", "spend", "revenue", "margin"].map(|name| money[name].clone());
    assert_eq!(figures, [json!(1), json!("0.142"), json!("0.142"), json!("0.00")]);
}

#[test]
fn an_imp_that_says_nothing_of_quantity_is_one_impression_and_the_macro_empty() {
    let folder = tempfile::tempdir().unwrap();
    let told = Bidder::start(Script { status: 204, ..Script::default() });
    let (winner, loser) = (bidder(10, &told), bidder(5, &told));
    let mut server = Server::ready(&config(folder.path(), &told, [&winner, &loser]));
    let sold = auction(&server, &request(""));
    assert_eq!(sold["adm"], "<p id=''>");
    assert_eq!(send(&server, "GET", &path(&sold, "burl", &[]), "").status, 204);
    assert_eq!((told_of(&told, "loss-5"), told_of(&told, "bill-10")), Default::default());
    // one that says so is told
    assert_eq!(auction(&server, &request(r#""qty":{"multiplier":1},"#))["adm"], "<p id='1'>");
    assert_eq!(server.terminate(), Some(0));
    let bill = exported(&folder.path().join("j")).into_iter().find(|row| row["type"] == "billing");
    assert_eq!(bill.unwrap()["multiplier"], 1);
    assert_eq!(ledger(&folder.path().join("j"))["total"]["money"][0]["spend"], "0.01");
}

fn ledger(dir: &Path) -> Json {
    let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
        .args(["ledger", "--format", "json"])
        .arg(dir)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
