//! Answers that are right and answers that are hostile, with what they must come to.

use crate::bidder::response::Fault;

/// A 200 with these fields.
pub fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

/// A chunked 200.
pub fn chunked(rest: &str) -> String {
    head("transfer-encoding: chunked\r\n") + rest
}

/// Name, bytes, and status and content, or the fault.
pub type Case = (&'static str, String, Result<(u16, String), Fault>);

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn corpus() -> Vec<Case> {
    let ok = |text: &str| Ok((200, text.to_owned()));
    let (http, broken, large) = (Err(Fault::Http), Err(Fault::Broken), Err(Fault::TooLarge));
    vec![
        ("a length", head("content-length: 2\r\n") + "{}", ok("{}")),
        ("a length of nothing", head("content-length: 0\r\n"), ok("")),
        ("until the end", head("") + "{}", ok("{}")),
        ("old, until the end", "HTTP/1.0 200 OK\r\n\r\n{}".into(), ok("{}")),
        ("no reason", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n".into(), ok("")),
        ("no content", "HTTP/1.1 204 N\r\n\r\n".into(), Ok((204, String::new()))),
        (
            "no content, with some",
            "HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\nhi".into(),
            Ok((204, String::new())),
        ),
        (
            "not modified",
            "HTTP/1.1 304 N\r\ncontent-length: 9\r\n\r\n".into(),
            Ok((304, String::new())),
        ),
        ("chunks", chunked("1\r\n{\r\n0001\r\n}\r\n0\r\n\r\n"), ok("{}")),
        ("chunks with extras", chunked("2 ;a=b\r\n{}\r\n0;x\r\ntrailer: y\r\n\r\n"), ok("{}")),
        ("no chunk", chunked("0\r\n\r\n"), ok("")),
        (
            "upper case",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n"
                .into(),
            ok("0123456789"),
        ),
        (
            "interim",
            format!("HTTP/1.1 103 E\r\nlink: x\r\n\r\n{}", head("content-length: 1\r\n") + "x"),
            ok("x"),
        ),
        ("line feeds alone in the head", "HTTP/1.1 200 OK\ncontent-length: 1\n\nx".into(), ok("x")),
        ("nothing", String::new(), broken.clone()),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent".into(), broken.clone()),
        ("short of its length", head("content-length: 3\r\n") + "{}", broken.clone()),
        ("inside a chunk", chunked("5\r\n{}"), broken.clone()),
        ("before the last chunk", chunked("2\r\n{}\r\n"), broken.clone()),
        ("before the last line", chunked("2\r\n{}\r\n0\r\n"), broken),
        ("one length twice", head("content-length: 2\r\ncontent-length: 2\r\n") + "{}", ok("{}")),
        ("two lengths", head("content-length: 2\r\ncontent-length: 3\r\n") + "{}", http.clone()),
        ("a list of lengths", head("content-length: 2, 2\r\n") + "{}", http.clone()),
        ("a signed length", head("content-length: +2\r\n") + "{}", http.clone()),
        ("a negative length", head("content-length: -2\r\n") + "{}", http.clone()),
        ("a hexadecimal length", head("content-length: 0x2\r\n") + "{}", http.clone()),
        ("an empty length", head("content-length:\r\n") + "{}", http.clone()),
        ("a length over 64 bits", head("content-length: 18446744073709551616\r\n"), http.clone()),
        ("the longest length", head("content-length: 18446744073709551615\r\n"), large.clone()),
        (
            "length and chunks",
            head("content-length: 2\r\ntransfer-encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
            http.clone(),
        ),
        (
            "chunks twice",
            head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n",
            http.clone(),
        ),
        ("another coding", head("transfer-encoding: gzip\r\n") + "{}", http.clone()),
        (
            "another coding below",
            head("transfer-encoding: gzip, chunked\r\n") + "0\r\n\r\n",
            http.clone(),
        ),
        (
            "a disguised coding",
            head("transfer-encoding: \x0bchunked\r\n") + "0\r\n\r\n",
            http.clone(),
        ),
        (
            "old chunks",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            http.clone(),
        ),
        ("a folded field", head("x: a\r\n b\r\ncontent-length: 0\r\n"), http.clone()),
        ("space before the colon", head("content-length : 0\r\n"), http.clone()),
        ("NUL in a value", head("x: a\0b\r\n"), http.clone()),
        ("a chunk size over 64 bits", chunked("10000000000000000\r\n"), http.clone()),
        ("a long chunk size of zeros", chunked("00000000000000000\r\n\r\n"), http.clone()),
        ("a huge chunk", chunked("ffffffffffffffff\r\n") + &"x".repeat(70_000), large.clone()),
        (
            "many chunks",
            chunked("1000\r\n")
                + &format!("{}\r\n", "x".repeat(4096))
                + &format!("1000\r\n{}\r\n", "x".repeat(4096)).repeat(20),
            large.clone(),
        ),
        ("a trailer that is no field", chunked("0\r\nno field\r\n\r\n"), http.clone()),
        ("no chunk size", chunked("\r\n\r\n"), http.clone()),
        ("a chunk size in prose", chunked("five\r\n"), http.clone()),
        ("a chunk longer than it says", chunked("1\r\n{}\r\n0\r\n\r\n"), http.clone()),
        ("a line feed alone behind a size", chunked("2\n{}\r\n0\r\n\r\n"), http.clone()),
        ("a line feed alone behind a chunk", chunked("2\r\n{}\n0\r\n\r\n"), http.clone()),
        ("a line feed alone at the end", chunked("2\r\n{}\r\n0\r\n\n"), http.clone()),
        ("a line feed in an extension", chunked("2;a\nb\r\n{}\r\n0\r\n\r\n"), http.clone()),
        (
            "a long extension",
            chunked(&format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000))),
            http.clone(),
        ),
        ("long trailers", chunked(&format!("0\r\n{}\r\n", "t: x\r\n".repeat(5_000))), http.clone()),
        ("endless until the end", head("") + &"x".repeat(70_000), large),
        ("a long head", head(&format!("x: {}\r\n", "y".repeat(17_000))), http.clone()),
        ("many fields", head(&"x: y\r\n".repeat(65)), http.clone()),
        ("endless interim answers", "HTTP/1.1 102 P\r\n\r\n".repeat(9), http.clone()),
        ("another protocol", "HTTP/1.1 101 S\r\n\r\n".into(), http.clone()),
        ("an early version", "HTTP/0.9 200 OK\r\n\r\n".into(), http.clone()),
        ("a later version", "HTTP/2.0 200 OK\r\n\r\n".into(), http.clone()),
        ("an impossible status", "HTTP/1.1 099 X\r\n\r\n".into(), http.clone()),
        ("a long status", "HTTP/1.1 2000 X\r\n\r\n".into(), http.clone()),
        ("garbage", "hello, world\r\n\r\n".into(), http.clone()),
        (
            "an empty line first",
            "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(),
            http.clone(),
        ),
        ("garbage without a line", "x".into(), http),
    ]
}
