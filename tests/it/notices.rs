//! Bidders that lost are told so, by the real server, and only where they may be called.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::server::wait_until;

const REQUEST: &str =
    r#"{"id":"r 1","at":1,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;

fn bids(price: &str, lurl: &str) -> Bidder {
    let body = format!(
        r#"{{"id":"r 1","bidid":"x","seatbid":[{{"seat":"s","bid":[{{"id":"b","impid":"1","price":{price},"adm":"<p>ad</p>","adomain":["adv.example"],"crid":"c","w":300,"h":250,"mtype":1,"lurl":"{lurl}"}}]}}]}}"#
    );
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Bidder::start(Script { status: 200, headers, body: body.into_bytes(), ..Script::default() })
}

#[test]
fn a_bid_that_lost_is_told_why_and_what_would_have_won_and_no_other_place_is_called() {
    let told = Bidder::start(Script { status: 204, ..Script::default() });
    let canary = Bidder::start(Script { status: 204, ..Script::default() });
    let lurl = format!(
        "http://{}/lost?r=${{AUCTION_LOSS}}&m=${{AUCTION_MIN_TO_WIN}}&a=${{AUCTION_ID}}&p=${{AUCTION_PRICE}}",
        told.address
    );
    let winner = bids("2.0", &lurl);
    let loser = bids("1.0", &lurl);
    let hostile = bids("0.5", &format!("http://{}/", canary.address));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gavel.toml");
    let mut text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [notices]\nports = [{}]\nnetworks_allowed = ['127.0.0.0/8']\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '5s'\n",
        told.address.port()
    );
    for (name, bidder) in [("winner", &winner), ("loser", &loser), ("hostile", &hostile)] {
        text.push_str(&format!(
            "[[bidders]]\nname = '{name}'\nurl = 'http://{}/bid'\n[bidders.time]\nmost = '5s'\nconnect = '5s'\n",
            bidder.address
        ));
    }
    std::fs::write(&path, text).unwrap();
    let mut server = Server::ready(&path);
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 200);
    told.wait_for_one();
    let seen = told.seen();
    let [notice] = &seen[..] else { panic!("{seen:?}") };
    let line = notice.first_line.as_str();
    assert!(line.starts_with("GET /lost?r=102&m=2"), "{line}");
    assert!(line.ends_with("&a=r%201&p= HTTP/1.1"), "{line}");
    let one = |series: &str| (server.metric(series) - 1.0).abs() < 0.1;
    wait_until("the hostile one is stopped", || one(r#"gavel_notices_blocked_total{rule="port"}"#));
    assert_eq!(canary.connections(), 0);
    // it is counted when the answer is in, which is after the bidder has seen it
    let delivered = r#"gavel_notices_total{kind="loss",result="delivered"}"#;
    wait_until("the other one is delivered", || one(delivered));
    // a test is nobody's loss
    let explained = REQUEST.replacen('{', "{\"test\":1,", 1);
    assert_eq!(client.post("/openrtb2/pub", &[], explained.as_bytes()).unwrap().status, 200);
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!((told.seen().len(), canary.connections()), (1, 0));
}
