//! The console from outside: its page, its numbers, its test request, and whom it turns away.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, Reply};
use crate::harness::server::Server;
use crate::server::wait_until;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const REQUEST: &str = r#"{"id":"r-1","at":1,"tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"},"device":{"ip":"203.0.113.77","ua":"canary-ua","ifa":"canary-ifa"},"user":{"id":"canary-user"}}"#;
const ANSWER: &str = r#"{"id":"r-1","seatbid":[{"seat":"</script><img src=x onerror=alert(1)>","bid":[{"id":"b","impid":"1","price":1.5,"adm":"<p>","w":300,"h":250}]}]}"#;
const LOCAL: &str = "localhost:9091";

/// An exchange with one bidder, of whose partners none may see an explanation.
struct Console {
    server: Server,
    admin: SocketAddr,
    bidder: Bidder,
    _dir: tempfile::TempDir,
}

impl Console {
    fn start(admin: &str) -> Self {
        let bidder =
            Bidder::start(Script { status: 200, body: ANSWER.into(), ..Script::default() });
        let dir = tempfile::tempdir().unwrap();
        let main = write(dir.path(), admin, &bidder);
        let mut server = Server::ready(&main);
        let admin = server.listening("admin");
        Self { server, admin, bidder, _dir: dir }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let mut client = Client::connect(self.admin);
        client.send(head.as_bytes());
        client.receive().expect("an answer")
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[("host", LOCAL)], "")
    }

    fn trial(&self, partner: &str, body: &str) -> Reply {
        self.ask("POST", "/trial", &[("host", LOCAL), ("x-gavel-partner", partner)], body)
    }
}

fn write(dir: &Path, admin: &str, bidder: &Bidder) -> PathBuf {
    let path = dir.join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{admin}\n{PATIENT}\
         [[partners]]\nname = 'pub'\nopen = true\nqps = 1\ntmax_default = '5s'\ntmax_max = '9s'\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/bid?key=canary-key'\n\
         headers = ['x-auth: canary-header']\n[bidders.time]\nmost = '5s'\n",
        bidder.address
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_page_may_run_its_own_script_only_and_stands_in_no_frame() {
    let console = Console::start("");
    let page = console.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    assert!(page.text().starts_with("<!doctype html>"));
}

#[test]
fn a_test_request_walks_the_road_for_a_partner_that_may_see_nothing() {
    let console = Console::start("");
    // more than the partner's one a second: the operator is not the partner
    for _ in 0..3 {
        let reply = console.trial("pub", REQUEST);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let told = reply.json();
        assert_eq!((&told["status"], &told["generation"]), (&200.into(), &1.into()), "{told}");
        let bidder = &told["answer"]["ext"]["gavel"]["bidders"][0];
        assert_eq!(bidder["name"], "alpha");
        assert_eq!(bidder["bids"][0]["result"], "won", "{bidder}");
        // markup stays a string of JSON
        assert_eq!(bidder["bids"][0]["seat"], "</script><img src=x onerror=alert(1)>");
    }
    let sent: Value = serde_json::from_slice(&console.bidder.last().unwrap().body).unwrap();
    assert_eq!(sent["test"], 1, "the bidder knows that it is a test");
    // and it is none of the partner's own
    let counted =
        console.server.metric("gavel_requests_total{partner=\"pub\",result=\"answered\"}");
    assert!(counted.abs() < 1e-9, "{counted}");
    // the partner itself still gets no explanation
    let marked = REQUEST.replacen('{', "{\"test\":1,", 1);
    let mut public = Client::connect(console.server.public.unwrap());
    let answer = public.post("/openrtb2/pub", &[], marked.as_bytes()).unwrap();
    assert!(answer.status == 200 && answer.json()["ext"].is_null(), "{}", answer.text());
}

#[test]
fn a_test_request_that_cannot_be_one_says_what_is_wrong() {
    let console = Console::start("");
    for (partner, body, status, part) in [
        ("pub", "{", 400, "not a JSON object"),
        ("pub", "[]", 400, "not a JSON object"),
        ("pub", r#"{"id":"1","test":0}"#, 400, "`test` is 0"),
        ("nobody", REQUEST, 400, "no partner `nobody`"),
        // what the road turns away it explains as it does to the partner
        ("pub", "{}", 200, "id_missing"),
        ("pub", r#"{"id":"1","imp":[{"id":"1"}],"site":{}}"#, 200, "imp_no_media"),
        ("pub", r#"{"id":"1","id":"2"}"#, 200, "duplicate_key"),
    ] {
        let reply = console.trial(partner, body);
        assert!(reply.status == status && reply.text().contains(part), "{body}: {}", reply.text());
    }
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(300 << 10));
    assert_eq!(console.trial("pub", &large).json()["reason"], "body_too_large");
    assert_eq!(console.trial("pub", &" ".repeat(2 << 20)).status, 413);
    let unnamed = console.ask("POST", "/trial", &[("host", LOCAL)], REQUEST);
    assert_eq!(unnamed.status, 400, "a form of another site cannot name a partner");
    assert!(console.bidder.seen().is_empty());
}

#[test]
fn other_sites_in_the_operators_browser_reach_nothing() {
    let console = Console::start("");
    for (headers, reason) in [
        (vec![("host", "rebound.example")], "foreign_host"),
        (vec![("host", LOCAL), ("origin", "http://evil.example")], "foreign_origin"),
        (vec![("host", LOCAL), ("origin", "null")], "foreign_origin"),
        (vec![("host", LOCAL), ("sec-fetch-site", "cross-site")], "foreign_origin"),
    ] {
        for (method, path) in [("GET", "/console.json"), ("GET", "/snapshot"), ("POST", "/trial")] {
            let headers = [&headers[..], &[("x-gavel-partner", "pub")]].concat();
            let reply = console.ask(method, path, &headers, REQUEST);
            assert_eq!(reply.status, 403, "{path} {headers:?}");
            assert_eq!(reply.header("x-gavel-reason"), Some(reason));
            assert!(reply.body.is_empty());
        }
    }
    let asked = console.ask("OPTIONS", "/trial", &[("host", LOCAL)], "");
    assert_eq!(asked.status, 405);
    assert_eq!(asked.header("access-control-allow-origin"), None);
    assert!(console.bidder.seen().is_empty());
}

#[test]
fn with_a_token_only_the_empty_page_goes_without() {
    let hash = blake3::hash(b"letmein").to_hex();
    let console = Console::start(&format!("token = 'blake3:{hash}'"));
    assert_eq!(console.get("/").status, 200);
    for (method, path) in [("GET", "/console.json"), ("GET", "/snapshot"), ("POST", "/trial")] {
        let mut headers = vec![("host", "gavel.example"), ("x-gavel-partner", "pub")];
        assert_eq!(console.ask(method, path, &headers, REQUEST).status, 401, "{path}");
        headers.push(("authorization", "Bearer letmein"));
        assert_eq!(console.ask(method, path, &headers, REQUEST).status, 200, "{path}");
    }
}

#[test]
fn the_numbers_move_and_hold_no_secret_and_nothing_of_a_user() {
    let console = Console::start("");
    let mut public = Client::connect(console.server.public.unwrap());
    let status = public.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status;
    assert_eq!(status, 200);
    let trial = console.trial("pub", REQUEST).text();
    let numbers = || console.get("/console.json?since=0").json();
    wait_until("the request is in a step", || {
        let shown = numbers();
        let steps = shown["steps"].as_array().unwrap();
        steps.iter().map(|step| step["answered"].as_u64().unwrap()).sum::<u64>() == 1
            || shown["families"]["gavel_requests_total"]["series"][0][1] == 1
    });
    let shown = numbers();
    let grew = |name: &str| shown["families"][name]["series"][0][1].as_f64().unwrap();
    // 1.5 a thousand, once: the test request is worth nothing
    assert!((grew("gavel_won_gross_dollars_total") - 0.0015).abs() < 1e-12);
    assert!((grew("gavel_won_net_dollars_total") - 0.0015).abs() < 1e-12);
    assert_eq!(shown["process"]["is_ready"], true);
    assert_eq!(shown["partners"][0]["name"], "pub");
    assert_eq!(shown["partners"][0]["qps"], 1);
    let bidder = &shown["bidders"][0];
    assert_eq!((&bidder["name"], &bidder["breaker"]), (&"alpha".into(), &"closed".into()));
    assert_eq!(bidder["at"], format!("http://{}", console.bidder.address));
    assert!(shown["listener"]["effective"].as_u64().unwrap() > 0);
    let seq = shown["seq"].as_u64().unwrap();
    wait_until("another step", || numbers()["seq"].as_u64().unwrap() > seq);
    let later = console.get(&format!("/console.json?since={seq}")).json();
    let steps = later["steps"].as_array().unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|step| step["seq"].as_u64().unwrap() > seq));
    let all = shown.to_string() + &trial;
    for canary in ["203.0.113.77", "canary-"] {
        assert!(!all.contains(canary), "{canary}");
    }
}

#[test]
fn nothing_of_it_is_on_the_listener_of_partners_or_of_operations() {
    let console = Console::start("");
    let marked = REQUEST.replacen('{', "{\"test\":1,", 1);
    for address in [console.server.public.unwrap(), console.server.operations] {
        for path in ["/", "/console.json", "/snapshot", "/trial"] {
            for method in ["GET", "POST"] {
                let mut client = Client::connect(address);
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nhost: {LOCAL}\r\nx-gavel-partner: pub\r\n\
                     content-length: {}\r\n\r\n{marked}",
                    marked.len()
                );
                client.send(head.as_bytes());
                let status = client.receive().expect("an answer").status;
                assert_eq!(status, 404, "{method} {path} at {address}");
            }
        }
    }
    assert!(console.bidder.seen().is_empty());
}
