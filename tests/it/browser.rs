//! What a browser asks for a page, and what it is told: CORS, and JSON as plain text.

use crate::harness::PATIENT;
use crate::harness::http::{Client, Reply};
use crate::harness::server::Server;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

const REQUEST: &str =
    r#"{"id":"r-1","tmax":900,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;
const PAGE: (&str, &str) = ("origin", "https://page.example");
const OTHER: (&str, &str) = ("origin", "https://other.example");
const PLAIN: (&str, &str) = ("content-type", "text/plain");

fn exchange(folder: &std::path::Path) -> Server {
    let config = folder.join("gavel.toml");
    let text = format!(
        "{PATIENT}[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [[partners]]\nname = 'pages'\nopen = true\norigins = ['https://page.example']\n\
         [[partners]]\nname = 'server'\nopen = true\n\
         [[partners]]\nname = 'anybody'\nopen = true\norigins = ['*']\n\
         [[partners]]\nname = 'keyed'\nkeys = ['{}']\norigins = ['*']\n",
        "blake3:84d53ce2f18ae4856edfe631810f984b8c78bf3c0e136bac89e45642c5c85b37"
    );
    std::fs::write(&config, text).unwrap();
    Server::ready(&config)
}

fn ask_first(client: &mut Client, partner: &str, origin: (&str, &str)) -> Reply {
    let (name, value) = origin;
    client.send(
        format!(
            "OPTIONS /openrtb2/{partner} HTTP/1.1\r\nhost: gavel.test\r\n{name}: {value}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: content-encoding,content-type\r\n\r\n"
        )
        .as_bytes(),
    );
    client.receive().unwrap()
}

/// Whether a browser gives the answer to the page.
fn may_read(reply: &Reply, origin: (&str, &str)) -> bool {
    let allowed = reply.header("access-control-allow-origin");
    let is_with_credentials = reply.header("access-control-allow-credentials") == Some("true");
    let varies = reply.header("vary") == Some("origin");
    assert!(allowed.is_some() == is_with_credentials && allowed.is_some() == varies, "{reply:?}");
    allowed == Some(origin.1)
}

#[test]
fn a_page_may_call_where_its_partner_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = exchange(folder.path());
    let client = &mut Client::connect(server.public.unwrap());
    for (partner, origin, headers, status, is_read) in [
        ("pages", PAGE, &[PLAIN][..], 204, true),
        ("pages", PAGE, &[("content-type", "text/plain;charset=UTF-8")], 204, true),
        ("pages", PAGE, &[], 204, true),
        ("pages", PAGE, &[("content-type", "text/html")], 415, true),
        ("pages", OTHER, &[PLAIN], 415, false),
        ("pages", OTHER, &[], 204, false),
        ("server", PAGE, &[PLAIN], 415, false),
        ("server", PAGE, &[], 204, false),
        ("anybody", OTHER, &[PLAIN], 204, true),
        ("keyed", PAGE, &[PLAIN], 401, true),
        ("keyed/demo-key", PAGE, &[PLAIN], 204, true),
        ("nobody", PAGE, &[], 401, false),
    ] {
        let headers = [&[origin][..], headers].concat();
        let reply = client.post(&format!("/openrtb2/{partner}"), &headers, REQUEST.as_bytes());
        let reply = reply.unwrap();
        assert_eq!(reply.status, status, "{partner} {headers:?}");
        assert_eq!(may_read(&reply, origin), is_read, "{partner} {headers:?}: {reply:?}");
    }
    let reply = client.post("/openrtb2/pages", &[PAGE, PLAIN], b"{").unwrap();
    assert_eq!((reply.status, reply.header("x-gavel-reason")), (400, Some("not_json")));
    assert!(may_read(&reply, PAGE), "what is wrong is told");
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(REQUEST.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let reply = client.post("/openrtb2/pages?gzip=1", &[PAGE, PLAIN], &packed).unwrap();
    assert_eq!(reply.status, 204, "packed, and said so in the query");
    assert_eq!(client.post("/openrtb2/server?gzip=1", &[], &packed).unwrap().status, 400);
    assert_eq!(client.post("/openrtb2/server", &[PLAIN], b"{}").unwrap().status, 415);
}

#[test]
fn a_browser_that_asks_first_is_told_what_a_page_may_send() {
    let folder = tempfile::tempdir().unwrap();
    let server = exchange(folder.path());
    let client = &mut Client::connect(server.public.unwrap());
    let reply = ask_first(client, "keyed/demo-key", PAGE);
    assert_eq!((reply.status, may_read(&reply, PAGE)), (204, true), "{reply:?}");
    assert_eq!(reply.header("access-control-allow-methods"), Some("POST"));
    let headers = reply.header("access-control-allow-headers").unwrap();
    for needed in ["content-type", "content-encoding", "x-gavel-key", "authorization"] {
        assert!(headers.split(", ").any(|header| header == needed), "{needed}: {headers}");
    }
    assert_eq!(reply.header("access-control-max-age"), Some("7200"));
    for (partner, origin) in [("server", PAGE), ("pages", OTHER), ("nobody", PAGE)] {
        let reply = ask_first(client, partner, origin);
        assert_eq!((reply.status, may_read(&reply, origin)), (405, false), "{partner} {origin:?}");
    }
    client.send(
        b"OPTIONS /openrtb2/pages HTTP/1.1\r\nhost: a\r\norigin: https://page.example\r\n\r\n",
    );
    assert_eq!(client.receive().unwrap().status, 405, "it asks nothing");
}
