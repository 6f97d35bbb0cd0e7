//! The admin listener: what is loaded, for whoever is on this machine.
//!
//! Owns: its address rule, its token, its routes (the console comes later). Never: a route of the
//! public listener.
//! Invariant: without a token it is reachable from this machine only.

use crate::http::ops::{OpsSettings, Plain};
use crate::http::reply::Page;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use subtle::ConstantTimeEq;
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

/// Serves the admin listener until its task is dropped; call it inside a local runtime, after
/// [`AdminSettings::check`].
pub async fn serve(
    admin: AdminSettings,
    snapshot: SnapshotJson,
    settings: OpsSettings,
) -> io::Result<()> {
    let admin = Rc::new(admin);
    let plain = Plain::new(settings);
    let guard = Rc::clone(&admin);
    let answer = move |request: &http::Request<hyper::body::Incoming>| {
        let is_authorised = guard.is_authorised(request.headers());
        page(is_authorised, request.method(), request.uri().path(), &*snapshot)
    };
    match &admin.address {
        AdminAddress::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => plain.take(stream, answer.clone()),
                    Err(fault) => plain.pause(&fault).await,
                }
            }
        }
        AdminAddress::Unix(path) => {
            let listener = UnixListener::bind(path)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => plain.take(stream, answer.clone()),
                    Err(fault) => plain.pause(&fault).await,
                }
            }
        }
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
