//! What a second process asks of the one that serves: `gavel debug snapshot`.
//!
//! Owns: the one request to the admin listener. Never: a shell, a library of clients: it is one
//! request over loopback or a unix socket.

use crate::config::files::Files;
use crate::config::{self, Reading};
use crate::http::admin::AdminAddress;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// More than any answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Where the admin listener of this configuration is, also of one with faults: it is then that
/// somebody asks. The error is a line for people.
pub fn address(main: &Path) -> Result<AdminAddress, String> {
    let Reading { result, named } = config::read_from(main, &Files::on_disk());
    match (named, result) {
        (Some(named), _) => Ok(named.admin),
        (None, Ok(config)) => Ok(config.edge.admin.address),
        (None, Err(report)) => {
            Err(format!("say where the admin listener is with --admin: {report}"))
        }
    }
}

/// `/snapshot` of the process whose admin listener is there; `token` where it asks for one. The
/// error is a line for people.
pub fn snapshot(address: &AdminAddress, token: Option<&str>) -> Result<String, String> {
    let answer = match address {
        AdminAddress::Tcp(address) if address.port() == 0 => {
            return Err("`admin.listen` has port 0: only its log says which it took".to_owned());
        }
        AdminAddress::Tcp(address) => TcpStream::connect(address).and_then(|stream| {
            stream.set_read_timeout(Some(TIME_MAX))?;
            ask(stream, token)
        }),
        AdminAddress::Unix(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(TIME_MAX))?;
            ask(stream, token)
        }),
    };
    let answer = answer.map_err(|fault| format!("no answer from {address}: {fault}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(body.to_owned()),
        "" => Err(format!("{address} gives no answer of HTTP")),
        status => Err(format!("{address} says {status}")),
    }
}

fn ask(mut stream: impl Read + Write, token: Option<&str>) -> io::Result<String> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    // 1.0: the answer ends with the connection
    write!(stream, "GET /snapshot HTTP/1.0\r\nhost: localhost\r\n{token}\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
