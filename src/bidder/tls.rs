//! TLS towards bidders.
//!
//! Owns: [`Tls`]: the trust and the sessions of the process. Never: a connection, a fallback to
//! plain text, a way to switch verification off. Invariant: a handshake that succeeds proved the
//! configured host name against a trusted authority.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("cannot read certificate authorities from {path}")]
    Read { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("{path} holds a certificate that is no authority")]
    Authority { path: PathBuf, source: rustls::Error },
    #[error("no protocol version is left")]
    Versions { source: rustls::Error },
}

/// One configuration for each protocol that ALPN may name; sessions are resumed.
#[derive(Clone, Debug)]
pub struct Tls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Tls {
    /// With the built-in authorities, and those of a PEM file.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TlsFault> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = ca_file {
            add_file(&mut roots, path)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut http1 = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsFault::Versions { source })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = http1.clone();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http1: Arc::new(http1), http2: Arc::new(http2) })
    }

    /// What makes handshakes.
    pub fn connector(&self, wants_http2: bool) -> TlsConnector {
        TlsConnector::from(if wants_http2 { self.http2.clone() } else { self.http1.clone() })
    }
}

/// The name that the certificate must prove; `None` where it is none.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsFault> {
    let at = || path.to_owned();
    let read = |source| TlsFault::Read { path: at(), source };
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        roots
            .add(certificate.map_err(read)?)
            .map_err(|source| TlsFault::Authority { path: at(), source })?;
        count += 1;
    }
    if count == 0 { Err(TlsFault::Empty { path: at() }) } else { Ok(()) }
}
