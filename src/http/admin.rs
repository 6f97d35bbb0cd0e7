//! The admin listener: what is loaded, for whoever is on this machine.
//!
//! Owns: its address rule, its token, its routes (the console comes later). Never: a route of the
//! public listener.
//! Invariant: without a token it is reachable from this machine only; it is bound before anybody
//! is told that the process is ready.

use crate::http::ops::{OpsSettings, Plain};
use crate::http::reply::Page;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
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

/// The generation, ages and checksums of what is loaded, as JSON.
pub type SnapshotJson = Rc<dyn Fn() -> String>;

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
pub async fn serve(admin: Admin, snapshot: SnapshotJson, settings: OpsSettings) {
    let Admin { settings: admin, socket } = admin;
    let plain = Plain::new(settings);
    let admin = Rc::new(admin);
    let answer = move |request: &http::Request<hyper::body::Incoming>| {
        let is_authorised = admin.is_authorised(request.headers());
        page(is_authorised, request.method(), request.uri().path(), &*snapshot)
    };
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

fn page(is_authorised: bool, method: &Method, path: &str, snapshot: &dyn Fn() -> String) -> Page {
    match path {
        _ if !is_authorised => Page::Unauthorised,
        "/snapshot" if method == Method::GET => Page::Json(snapshot()),
        "/snapshot" => Page::Method,
        _ => Page::NoRoute,
    }
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

    #[test]
    fn there_is_one_route() {
        let snapshot = || "{\"generation\":1}".to_owned();
        for (may, method, path, expected) in [
            (true, Method::GET, "/snapshot", Page::Json(snapshot())),
            (true, Method::POST, "/snapshot", Page::Method),
            (false, Method::GET, "/snapshot", Page::Unauthorised),
            (false, Method::GET, "/", Page::Unauthorised),
            (true, Method::GET, "/", Page::NoRoute),
            (true, Method::GET, "/openrtb2/acme", Page::NoRoute),
        ] {
            assert_eq!(page(may, &method, path, &snapshot), expected, "{method} {path}");
        }
    }
}
