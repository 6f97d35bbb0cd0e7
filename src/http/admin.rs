//! The admin listener: the console and what it shows, for whoever is on this machine.
//!
//! Owns: its address rule, its token, its routes. Never: a route of the public listener.
//! Invariant: without a token it is reachable from this machine only, and not for pages of other
//! sites in a browser here (`own`); the page itself, which has no number in it, is the one thing
//! that needs no token; it is bound before anybody is told that the process is ready.

use crate::http::body::{self, Bounds};
use crate::http::ops::{OpsSettings, Plain};
use crate::http::reply::Page;
use crate::http::trial::{TrialAsk, TrialDesk};
use crate::http::{console, own};
use crate::negatives::refusal::Refusal;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fmt, io};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    /// A unix socket; the directory's permissions say who may.
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Of a test request that is too large, so much is read past before that is said.
const PASSED_OVER_MAX: usize = 16 << 20;

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    pub address: AdminAddress,
    /// BLAKE3 of the token that `Authorization: Bearer` must present; needed where the address
    /// can be reached from elsewhere.
    pub token_hash: Option<[u8; 32]>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { address: AdminAddress::Tcp(([127, 0, 0, 1], 0).into()), token_hash: None }
    }
}

impl AdminSettings {
    /// Whether it may start; else why not.
    pub fn check(&self) -> Result<(), String> {
        match &self.address {
            AdminAddress::Tcp(address)
                if !address.ip().to_canonical().is_loopback() && self.token_hash.is_none() =>
            {
                Err(format!(
                    "the admin listener on {address} needs a token: only loopback and unix sockets go without"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether it can be had beside a listener on `other`: one on all addresses takes the port on
    /// each.
    pub fn is_beside(&self, other: SocketAddr) -> bool {
        let AdminAddress::Tcp(own) = self.address else { return true };
        let (one, two) = (own.ip(), other.ip());
        let is_all = one.is_unspecified() || two.is_unspecified();
        let is_apart = one != two && !(is_all && one.is_ipv4() == two.is_ipv4());
        own.port() == 0 || own.port() != other.port() || is_apart
    }

    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let Some(hash) = &self.token_hash else { return true };
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .unwrap_or_default();
        blake3::hash(token).as_bytes().ct_eq(hash).into()
    }
}

/// Names the partner of a test request. No page of another site can send it: a browser asks first
/// whether it may (CORS), and that is never answered.
const PARTNER: HeaderName = HeaderName::from_static("x-gavel-partner");
/// The client's address in a test request.
const CLIENT: HeaderName = HeaderName::from_static("x-gavel-client");

/// What the admin listener serves from.
pub struct AdminRoutes {
    /// The generation, ages and checksums of what is loaded, as JSON.
    pub snapshot: Box<dyn Fn() -> String>,
    /// What the console shows, as JSON, with the steps after the one that is named.
    pub console: Box<dyn Fn(u64) -> String>,
    pub trials: TrialDesk,
}

/// The admin listener, bound.
#[derive(Debug)]
pub struct Admin {
    settings: AdminSettings,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// It cannot be where it is to be.
#[derive(Debug, Error)]
#[error("cannot bind the admin listener to {at}")]
pub struct AdminFault {
    at: String,
    source: io::Error,
}

/// Binds it; call it inside a runtime, after [`AdminSettings::check`].
pub fn bind(settings: AdminSettings) -> Result<Admin, AdminFault> {
    let socket = match &settings.address {
        AdminAddress::Tcp(address) => bind_tcp(*address).map(Socket::Tcp),
        AdminAddress::Unix(path) => bind_unix(path).map(Socket::Unix),
    };
    match socket {
        Ok(socket) => Ok(Admin { settings, socket }),
        Err(source) => {
            let at = match settings.address {
                AdminAddress::Tcp(address) => address.to_string(),
                AdminAddress::Unix(path) => format!("unix:{}", path.display()),
            };
            Err(AdminFault { at, source })
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A socket of a process that has ended stays behind as a file: it is replaced, one that somebody
/// listens on is not.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let taken = match UnixListener::bind(path) {
        Err(fault) if fault.kind() == io::ErrorKind::AddrInUse => fault,
        other => return other,
    };
    match std::os::unix::net::UnixStream::connect(path) {
        Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        _ => Err(taken),
    }
}

impl Admin {
    /// Where it is, for the log.
    pub fn address(&self) -> String {
        match (&self.socket, &self.settings.address) {
            (Socket::Tcp(listener), AdminAddress::Tcp(asked)) => {
                listener.local_addr().unwrap_or(*asked).to_string()
            }
            (_, AdminAddress::Unix(path)) => format!("unix:{}", path.display()),
            (_, AdminAddress::Tcp(asked)) => asked.to_string(),
        }
    }
}

/// Serves the admin listener until its task is dropped; call it inside a local runtime.
pub async fn serve(admin: Admin, routes: AdminRoutes, settings: OpsSettings) {
    let Admin { settings: admin, socket } = admin;
    let plain = Plain::new(settings);
    let desk = Rc::new(AdminDesk { settings: admin, limits: settings, routes });
    let answer = move |request| Rc::clone(&desk).answer(request);
    match socket {
        Socket::Tcp(listener) => loop {
            match listener.accept().await {
                Ok((stream, _)) => plain.take(stream, answer.clone()),
                Err(fault) => plain.pause(&fault).await,
            }
        },
        Socket::Unix(listener) => loop {
            match listener.accept().await {
                Ok((stream, _)) => plain.take(stream, answer.clone()),
                Err(fault) => plain.pause(&fault).await,
            }
        },
    }
}

/// What answers.
struct AdminDesk {
    settings: AdminSettings,
    limits: OpsSettings,
    routes: AdminRoutes,
}

/// Where a request leads that may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Console,
    Snapshot,
    Numbers,
    Trial,
}

impl AdminDesk {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Page {
        let (parts, body) = request.into_parts();
        match route(&self.settings, &parts) {
            Err(page) => page,
            Ok(Route::Console) => Page::Html(console::page()),
            Ok(Route::Snapshot) => Page::Json((self.routes.snapshot)()),
            Ok(Route::Numbers) => Page::Json((self.routes.console)(since(parts.uri.query()))),
            Ok(Route::Trial) => match asked(&parts.headers) {
                Err(why) => invalid(why),
                Ok(ask) => self.trial(ask, &parts.headers, body).await,
            },
        }
    }

    async fn trial(&self, mut ask: TrialAsk, headers: &HeaderMap, body: Incoming) -> Page {
        let bounds = Bounds { bytes_max: self.limits.body_bytes_max, time: self.limits.body_time };
        let length =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > bounds.bytes_max) {
            // one who still sends would find the connection gone, and not the answer
            body::drain(body, Bounds { bytes_max: PASSED_OVER_MAX, ..bounds }).await;
            return Page::TooLarge;
        }
        ask.body = match body::read(body, length, bounds).await {
            Ok(read) => read,
            Err(Refusal::BodyTooLarge) => return Page::TooLarge,
            Err(_) => return Page::TooSlow,
        };
        match self.routes.trials.hold(ask).await {
            Ok(told) => Page::Json(told),
            Err(fault) => invalid(&fault.to_string()),
        }
    }
}

/// Where it leads, if it may: its sender, then its path, then its method.
fn route(settings: &AdminSettings, parts: &Parts) -> Result<Route, Page> {
    let path = parts.uri.path();
    // a link on another page may lead here: the page has nothing in it
    if !(path == "/" && parts.method == Method::GET) {
        own::check(&parts.headers, settings.token_hash.is_some())
            .map_err(|why| Page::Foreign(why.label()))?;
    }
    let (method, route) = match path {
        "/" => {
            return if parts.method == Method::GET {
                Ok(Route::Console)
            } else {
                Err(Page::Method)
            };
        }
        _ if !settings.is_authorised(&parts.headers) => return Err(Page::Unauthorised),
        "/snapshot" => (Method::GET, Route::Snapshot),
        "/console.json" => (Method::GET, Route::Numbers),
        "/trial" => (Method::POST, Route::Trial),
        _ => return Err(Page::NoRoute),
    };
    match method {
        _ if parts.method == method => Ok(route),
        Method::POST => Err(Page::PostOnly),
        _ => Err(Page::Method),
    }
}

/// `since=N`: the last step that the reader has; 0 where it does not say.
fn since(query: Option<&str>) -> u64 {
    let mut members = query.unwrap_or_default().split('&');
    members.find_map(|member| member.strip_prefix("since=")?.parse().ok()).unwrap_or(0)
}

/// Whose test request it is.
fn asked(headers: &HeaderMap) -> Result<TrialAsk, &'static str> {
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().ok());
    let partner = text(PARTNER).flatten().ok_or("the header x-gavel-partner names a partner")?;
    let client = match text(CLIENT) {
        None => None,
        Some(client) => {
            let client = client.and_then(|text| text.parse().ok());
            Some(client.ok_or("the header x-gavel-client is not an address")?)
        }
    };
    Ok(TrialAsk { partner: partner.to_owned(), client, body: bytes::Bytes::new() })
}

fn invalid(why: &str) -> Page {
    Page::Invalid(json!({ "fault": why }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_without_a_token_only_where_this_machine_alone_can_reach_it() {
        let tcp = |address: &str| AdminAddress::Tcp(address.parse().unwrap());
        for (address, token_hash, may_start) in [
            (tcp("127.0.0.1:9000"), None, true),
            (tcp("127.8.8.8:9000"), None, true),
            (tcp("[::1]:9000"), None, true),
            (tcp("[::ffff:127.0.0.1]:9000"), None, true),
            (AdminAddress::Unix("/run/gavel.sock".into()), None, true),
            (tcp("0.0.0.0:9000"), None, false),
            (tcp("[::]:9000"), None, false),
            (tcp("192.0.2.1:9000"), None, false),
            (tcp("0.0.0.0:9000"), Some([1; 32]), true),
        ] {
            let settings = AdminSettings { address, token_hash };
            assert_eq!(settings.check().is_ok(), may_start, "{settings:?}");
        }
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let token_hash = Some(*blake3::hash(b"secret").as_bytes());
        let settings = AdminSettings { token_hash, ..AdminSettings::default() };
        for (header, expected) in [
            (None, false),
            (Some("Bearer secret"), true),
            (Some("Bearer secret2"), false),
            (Some("secret"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(settings.is_authorised(&headers), expected, "{header:?}");
        }
        assert!(AdminSettings::default().is_authorised(&HeaderMap::new()));
    }

    #[test]
    fn two_listeners_on_one_port_need_addresses_of_their_own() {
        for (admin, public, is_beside) in [
            ("127.0.0.1:9000", "127.0.0.1:9000", false),
            ("127.0.0.1:9000", "0.0.0.0:9000", false),
            ("0.0.0.0:9000", "192.0.2.1:9000", false),
            ("[::1]:9000", "[::]:9000", false),
            ("[::1]:9000", "0.0.0.0:9000", true),
            ("127.0.0.1:9000", "192.0.2.1:9000", true),
            ("127.0.0.1:9000", "127.0.0.1:9001", true),
            ("127.0.0.1:0", "127.0.0.1:0", true),
        ] {
            let address = AdminAddress::Tcp(admin.parse().unwrap());
            let settings = AdminSettings { address, token_hash: None };
            assert_eq!(settings.is_beside(public.parse().unwrap()), is_beside, "{admin} {public}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_another_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gavel.sock");
        let settings = AdminSettings { address: AdminAddress::Unix(path), token_hash: None };
        let first = bind(settings.clone()).unwrap();
        let fault = bind(settings.clone()).unwrap_err();
        assert!(fault.to_string().contains("gavel.sock"), "{fault}");
        drop(first);
        bind(settings).unwrap();
    }

    fn parts(method: &Method, path: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn each_route_has_its_method_and_all_but_the_page_need_the_token() {
        let open = AdminSettings::default();
        let token_hash = Some(*blake3::hash(b"secret").as_bytes());
        let locked = AdminSettings { token_hash, ..AdminSettings::default() };
        let (get, post) = (Method::GET, Method::POST);
        for (method, path, expected) in [
            (&get, "/", Ok(Route::Console)),
            (&get, "/?x", Ok(Route::Console)),
            (&post, "/", Err(Page::Method)),
            (&get, "/snapshot", Ok(Route::Snapshot)),
            (&post, "/snapshot", Err(Page::Method)),
            (&get, "/console.json?since=4", Ok(Route::Numbers)),
            (&Method::HEAD, "/console.json", Err(Page::Method)),
            (&post, "/trial", Ok(Route::Trial)),
            (&get, "/trial", Err(Page::PostOnly)),
            (&Method::OPTIONS, "/trial", Err(Page::PostOnly)),
            (&get, "//", Err(Page::NoRoute)),
            (&get, "/console", Err(Page::NoRoute)),
            (&post, "/openrtb2/acme", Err(Page::NoRoute)),
        ] {
            let bare = parts(method, path, &[("host", "localhost")]);
            assert_eq!(route(&open, &bare), expected, "{method} {path}");
            let denied =
                if bare.uri.path() == "/" { expected.clone() } else { Err(Page::Unauthorised) };
            assert_eq!(route(&locked, &bare), denied, "{method} {path} without the token");
            let token = [("host", "gavel.example"), ("authorization", "Bearer secret")];
            assert_eq!(route(&locked, &parts(method, path, &token)), expected, "{method} {path}");
        }
    }

    #[test]
    fn pages_of_other_sites_reach_nothing_but_the_empty_page() {
        let open = AdminSettings::default();
        for (headers, reason) in [
            ([("host", "evil.example"), ("x", "y")], "foreign_host"),
            ([("host", "localhost"), ("origin", "http://evil.example")], "foreign_origin"),
            ([("host", "localhost"), ("sec-fetch-site", "cross-site")], "foreign_origin"),
        ] {
            for (method, path) in [
                (Method::GET, "/snapshot"),
                (Method::GET, "/console.json"),
                (Method::POST, "/trial"),
                (Method::POST, "/"),
                (Method::GET, "/nowhere"),
            ] {
                let got = route(&open, &parts(&method, path, &headers));
                assert_eq!(got, Err(Page::Foreign(reason)), "{method} {path}");
            }
            assert_eq!(route(&open, &parts(&Method::GET, "/", &headers)), Ok(Route::Console));
        }
    }

    #[test]
    fn a_test_request_names_its_partner_in_a_header() {
        let ask = |headers: &[(&str, &str)]| {
            let told = asked(&parts(&Method::POST, "/trial", headers).headers);
            told.map(|ask| (ask.partner, ask.client))
        };
        let address = Some("2001:db8::1".parse().unwrap());
        let named = ("x-gavel-partner", "acme");
        assert_eq!(ask(&[named]), Ok(("acme".to_owned(), None)));
        assert_eq!(
            ask(&[named, ("x-gavel-client", "2001:db8::1")]),
            Ok(("acme".to_owned(), address))
        );
        assert!(ask(&[]).is_err());
        assert!(ask(&[("x-gavel-partner", "\u{e9}")]).is_err());
        assert!(ask(&[named, ("x-gavel-client", "localhost")]).is_err());
        for (query, expected) in
            [(None, 0), (Some("since=7"), 7), (Some("a=b&since=8"), 8), (Some("since=-1"), 0)]
        {
            assert_eq!(since(query), expected, "{query:?}");
        }
    }
}
