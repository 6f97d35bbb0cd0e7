//! The same bytes through our reader and through hyper's client.

use super::corpus::corpus;
use super::{answers, config, read};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What hyper's client makes of the same bytes.
fn hyper(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let server = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                far.read_buf(&mut request).await.unwrap();
            }
            far.write_all(bytes).await.unwrap();
            drop(far);
        };
        let request = http::Request::post("/").body(Full::new(Bytes::new())).unwrap();
        let client = async {
            let response = send.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            let content = response.into_body().collect().await.ok()?.to_bytes().to_vec();
            Some((status, content))
        };
        let connection = async {
            // ends with the other side; upgrades are not wanted
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ((), got) = async { tokio::join!(server, client) } => got,
            () = connection => None,
        }
    })
}

/// Where we are stricter than hyper, and why. Each is a part of the head or the bytes.
const STRICTER: &[(&str, &str)] = &[
    ("length and chunks", "RFC 9112, 6.3: an attempt at splitting; hyper drops the length"),
    ("chunks twice", "only one coding, named once, has one reading"),
    ("another coding", "we offered none; hyper reads it raw until the end"),
    ("another coding below", "we offered none; hyper gives the gzip bytes as content"),
    ("endless until the end", "hyper has no cap"),
    ("huge chunk", "hyper has no cap"),
    ("many chunks", "hyper has no cap"),
    ("a long head", "hyper's cap is its buffer, 400 KB"),
    ("many fields", "hyper takes 100"),
    ("long trailers", "hyper's cap is larger"),
    ("a long chunk size of zeros", "16 digits hold any size"),
    ("another protocol", "an upgrade that nobody asked for; hyper hands over the raw stream"),
    ("endless interim answers", "hyper waits for as long as they come"),
    ("an empty line first", "no server sends one; hyper skips it"),
    ("a list of lengths", "RFC 9110, 8.6 allows to refuse it; hyper takes equal ones"),
];

#[test]
fn hyper_agrees_but_where_we_are_stricter_on_purpose() {
    for (name, bytes, _) in corpus() {
        let ours = read([bytes.as_bytes()]).ok().map(|got| (got.status, got.content));
        let theirs = hyper(bytes.as_bytes());
        let is_stricter = STRICTER.iter().any(|(known, _)| *known == name);
        if is_stricter {
            assert_eq!(ours, None, "{name} is on the list of what we refuse");
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

/// The same list as marks in random bytes: what may differ there.
fn is_strict_ground(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let heads = text.matches("transfer-encoding").count();
    let is_split = heads > 1 || (heads == 1 && text.contains("content-length"));
    let other_coding = heads > 0 && !text.contains("transfer-encoding: chunked\r\n");
    // hyper does not look at a length where no content follows
    let is_bare = text.contains("http/1.1 204") || text.contains("http/1.1 100");
    is_split
        || other_coding
        || (is_bare && text.contains("content-length"))
        || text.contains("http/1.1 101")
        || text.contains("content-length: 2, 2")
        || text.starts_with(['\r', '\n'])
        || ["\n\n\r", "\n\n\n", "\r\n\r\n\r", "\r\n\r\n\n", "\n\r\n\r"]
            .iter()
            .any(|empty| text.contains(empty))
}

proptest! {
    #![proptest_config(config(1_500))]

    #[test]
    fn hyper_agrees_on_likely_answers(bytes in answers()) {
        let ours = read([bytes.as_slice()]).ok().map(|got| (got.status, got.content));
        let theirs = hyper(&bytes);
        if ours != theirs {
            prop_assert!(ours.is_none() && is_strict_ground(&bytes),
                "{:?}: ours {ours:?}, hyper {theirs:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
