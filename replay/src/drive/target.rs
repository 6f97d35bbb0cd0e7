//! Where requests are sent.
//!
//! Owns: [`Target`] with its routes, and the rule that a load goes to this machine only, unless
//! someone said otherwise. Never: TLS, a connection.

use std::net::{SocketAddr, ToSocketAddrs};

/// One server and the paths on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    /// What the Host header says.
    pub host: String,
    /// Request number `n` takes route `n % routes.len()`; never empty.
    pub routes: Vec<Route>,
}

/// A path with the headers that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Path and query.
    pub path: String,
    /// Further headers, such as the partner's key.
    pub headers: Vec<(String, String)>,
}

/// Which targets a load may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// Addresses of this machine.
    #[default]
    Loopback,
    /// Any; the operator says that the target is theirs.
    Any,
}

/// Why a target is not one.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{0:?} is not of the form http://HOST:PORT/PATH")]
    Form(String),
    #[error(
        "{0:?}: gavel-replay speaks no TLS; give the address of plain HTTP, or of a proxy that adds it"
    )]
    Tls(String),
    #[error("a header or path holds a control character")]
    Control,
    #[error("the address of {host:?} cannot be found")]
    Resolve { host: String, source: std::io::Error },
    #[error("{0:?} has no address")]
    NoAddress(String),
    #[error("{0} is not on this machine; sending load elsewhere needs --allow")]
    NotAllowed(SocketAddr),
}

impl Target {
    /// From `http://HOST:PORT/PATH`, with one route.
    pub fn parse(url: &str, allow: Allow) -> Result<Self, TargetError> {
        let form = || TargetError::Form(url.to_owned());
        if is_tls(url) {
            return Err(TargetError::Tls(url.to_owned()));
        }
        let rest = url.strip_prefix("http://").ok_or_else(form)?;
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        if host.is_empty() || host.contains('@') {
            return Err(form());
        }
        let with_port = if has_port(host) { host.to_owned() } else { format!("{host}:80") };
        let address = with_port
            .to_socket_addrs()
            .map_err(|source| TargetError::Resolve { host: host.to_owned(), source })?
            .next()
            .ok_or_else(|| TargetError::NoAddress(host.to_owned()))?;
        let routes = vec![Route { path, headers: Vec::new() }];
        Self { address, host: host.to_owned(), routes }.checked(allow)
    }

    /// A server that is known by its address.
    pub fn at(address: SocketAddr, routes: Vec<Route>, allow: Allow) -> Result<Self, TargetError> {
        Self { address, host: address.to_string(), routes }.checked(allow)
    }

    /// The same with further headers on every route.
    pub fn with_headers(
        mut self,
        headers: &[(String, String)],
        allow: Allow,
    ) -> Result<Self, TargetError> {
        for route in &mut self.routes {
            route.headers.extend_from_slice(headers);
        }
        self.checked(allow)
    }

    fn checked(self, allow: Allow) -> Result<Self, TargetError> {
        if self.routes.is_empty() {
            return Err(TargetError::Form(self.host));
        }
        let texts = self.routes.iter().flat_map(|route| {
            let headers = route.headers.iter().flat_map(|(name, value)| [name, value]);
            headers.chain([&route.path])
        });
        if texts.chain([&self.host]).any(|text| text.contains(|c: char| c.is_control())) {
            return Err(TargetError::Control);
        }
        match allow {
            Allow::Loopback if !self.address.ip().to_canonical().is_loopback() => {
                Err(TargetError::NotAllowed(self.address))
            }
            _ => Ok(self),
        }
    }
}

/// Whether what is asked for is the one thing that is close to a target.
pub fn is_tls(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Whether `HOST:PORT` has its port; a bare IPv6 address must stand in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        && !host.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_goes_to_this_machine_unless_allowed() {
        for url in
            ["http://127.0.0.1:8080/openrtb2/demo", "http://[::1]:8080/x", "http://127.9.9.9"]
        {
            Target::parse(url, Allow::Loopback).unwrap();
        }
        for url in ["http://192.0.2.1:8080/x", "http://[2001:db8::1]:80/", "http://0.0.0.0:1/"] {
            let fault = Target::parse(url, Allow::Loopback).unwrap_err();
            assert!(matches!(fault, TargetError::NotAllowed(_)), "{url}: {fault}");
            Target::parse(url, Allow::Any).unwrap();
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for url in ["", "https://127.0.0.1/", "127.0.0.1:80", "http:///x", "http://a@127.0.0.1/"] {
            assert!(Target::parse(url, Allow::Any).is_err(), "{url}");
        }
        let fault = Target::parse("HTTPS://127.0.0.1/", Allow::Any).unwrap_err();
        assert!(fault.to_string().contains("speaks no TLS"), "{fault}");
        let route = Route { path: "/".into(), headers: vec![("x".into(), "a\r\nb".into())] };
        let address = "127.0.0.1:80".parse().unwrap();
        let fault = Target::at(address, vec![route], Allow::Loopback).unwrap_err();
        assert!(matches!(fault, TargetError::Control));
    }
}
