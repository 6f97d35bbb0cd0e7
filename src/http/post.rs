//! One POST to a server of the operator's own (a telemetry collector), on a connection of its own.
//!
//! Owns: [`PostTo`], an address that was checked, and [`post`]. Never: a retry, a redirect, a pool:
//! it is for what happens every few seconds beside the road. Invariant: it ends in time, and reads
//! no more of an answer than its head.

use crate::bidder::tls::{self, Tls};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where to, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostTo {
    /// Whether by TLS.
    is_secure: bool,
    host: String,
    port: u16,
    /// As the Host header has it.
    authority: String,
    path: String,
}

/// Why it did not arrive.
#[derive(Debug, Error)]
pub enum PostFault {
    #[error("nobody is reached at {authority}")]
    Connect { authority: String, source: io::Error },
    #[error("no TLS connection with {authority}")]
    Secure { authority: String, source: io::Error },
    #[error("{0} is no name that a certificate could have")]
    Name(String),
    #[error("the request to {authority} was not answered")]
    Exchange { authority: String, source: hyper::Error },
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
    #[error("{authority} answered {status}")]
    Status { authority: String, status: StatusCode },
    #[error("{authority} took longer than {time:?}")]
    Time { authority: String, time: Duration },
}

impl PostTo {
    /// From `http://HOST[:PORT][/PATH]` or the same with https; no user, no query.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        (!host.is_empty() && port > 0).then(|| Self {
            is_secure,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The same server, at a path below the one that was given.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path), ..self.clone() }
    }
}

/// Posts, and takes any status of 2xx for success.
pub async fn post(
    to: &PostTo,
    tls: &Tls,
    headers: &[(String, String)],
    body: Bytes,
    time: Duration,
) -> Result<(), PostFault> {
    let slow = |_| PostFault::Time { authority: to.authority.clone(), time };
    timeout(time, exchange(to, tls, headers, body)).await.map_err(slow)?
}

async fn exchange(
    to: &PostTo,
    tls: &Tls,
    headers: &[(String, String)],
    body: Bytes,
) -> Result<(), PostFault> {
    let connected = TcpStream::connect((to.host.as_str(), to.port)).await;
    let authority = || to.authority.clone();
    let stream =
        connected.map_err(|source| PostFault::Connect { authority: authority(), source })?;
    if !to.is_secure {
        return over(stream, to, headers, body).await;
    }
    let name = tls::server_name(&to.host).ok_or_else(|| PostFault::Name(to.host.clone()))?;
    let stream = tls.connector(false).connect(name, stream).await;
    let stream = stream.map_err(|source| PostFault::Secure { authority: authority(), source })?;
    over(stream, to, headers, body).await
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    to: &PostTo,
    headers: &[(String, String)],
    body: Bytes,
) -> Result<(), PostFault> {
    let broken = |source| PostFault::Exchange { authority: to.authority.clone(), source };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(if to.path.is_empty() { "/" } else { &to.path })
        .header(header::HOST, &to.authority);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body)).map_err(PostFault::Request)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answering = async { sender.send_request(request).await };
    let status = tokio::select! {
        answer = answering => answer.map_err(broken)?.status(),
        // it drives the exchange; if it ends first, there will be no answer
        ended = connection => {
            ended.map_err(broken)?;
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(PostFault::Connect { authority: to.authority.clone(), source });
        }
    };
    if status.is_success() {
        Ok(())
    } else {
        Err(PostFault::Status { authority: to.authority.clone(), status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_or_refused() {
        for (text, parts) in [
            ("http://collector:4318", Some((false, "collector", 4318, "/v1/metrics"))),
            ("http://collector/", Some((false, "collector", 80, "/v1/metrics"))),
            ("https://c.example/otlp/", Some((true, "c.example", 443, "/otlp/v1/metrics"))),
            ("http://[2001:db8::1]:4318", Some((false, "2001:db8::1", 4318, "/v1/metrics"))),
            ("ftp://c.example", None),
            ("c.example:4318", None),
            ("http://user@c.example", None),
            ("http://c.example/?a=b", None),
            ("http://c.example/#x", None),
            ("http://:80/", None),
            ("http://c.example:0/", None),
            ("", None),
        ] {
            let to = PostTo::parse(text).map(|to| to.below("/v1/metrics"));
            let got = to.as_ref().map(|to| (to.is_secure, &*to.host, to.port, &*to.path));
            assert_eq!(got, parts, "{text}");
        }
    }
}
