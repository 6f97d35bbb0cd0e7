//! TLS on the ports of simulated bidders, for a caller that begins with it; others speak plainly
//! on the same port.
//!
//! Owns: an authority made for one run, the certificate of the bidders, and [`Secured`], one
//! connection's TLS between its socket and its bytes. Never: a key outside this process; the
//! file that is written holds the authority's certificate and nothing else.

use super::StubError;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// First byte of a TLS handshake (RFC 8446, 5.1); no method of HTTP begins with it.
const HANDSHAKE: u8 = 22;

/// Names that the certificate proves: where simulated bidders listen.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// Whether a connection whose first bytes these are wants TLS.
pub(super) fn is_wanted(first: &[u8]) -> bool {
    first.first() == Some(&HANDSHAKE)
}

/// Makes an authority and a certificate by it, and writes the authority's certificate to `file`.
pub(super) fn certify(file: &Path) -> Result<Arc<ServerConfig>, StubError> {
    let (authority, config) = make().map_err(StubError::Certificate)?;
    std::fs::write(file, authority)
        .map_err(|source| StubError::Authority { path: file.to_owned(), source })?;
    Ok(config)
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn make() -> Result<(String, Arc<ServerConfig>), Fault> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // another name than the bidders' certificate has, which would pass for its own authority
    params.distinguished_name.push(DnType::CommonName, "simulated authority");
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);

    let key = KeyPair::generate()?;
    let names: Vec<String> = NAMES.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((authority, Arc::new(config)))
}

/// TLS of one connection. Whoever uses it reads and writes the socket through it alone.
pub(super) struct Secured(ServerConnection);

impl Secured {
    pub fn new(config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        // what waits is bounded by the answers, of which each connection has one
        connection.set_buffer_limit(None);
        Ok(Self(connection))
    }

    /// Takes what came from the socket and puts behind `input` what it says.
    pub fn receive(&mut self, mut bytes: &[u8], input: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.0.read_tls(&mut bytes)? == 0 {
                return Err(ErrorKind::InvalidData.into());
            }
            self.0.process_new_packets().map_err(io::Error::other)?;
            match self.0.reader().read_to_end(input) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes of an answer; they reach the socket by [`Secured::flush`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(bytes)
    }

    /// Writes what waits; an error of the kind `WouldBlock`: some of it still does.
    pub fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(socket)?;
        }
        Ok(())
    }

    /// Something waits for the socket.
    pub fn is_waiting(&self) -> bool {
        self.0.wants_write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use std::net::TcpListener;

    /// More than the buffers of a connection take, so that a write must stop in between.
    const MUCH: usize = 64 << 20;

    #[test]
    fn what_the_socket_does_not_take_waits_and_arrives_whole() {
        let (authority, config) = make().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let trust = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(trust, name).unwrap();
        let reader = std::thread::spawn(move || {
            let mut stream = StreamOwned::new(client, socket);
            stream.write_all(b"go").unwrap();
            stream.flush().unwrap();
            // reads nothing before it is told that the other end could not go on
            std::thread::park();
            let mut whole = vec![0; MUCH];
            stream.read_exact(&mut whole).unwrap();
            whole
        });

        let (mut secured, mut input) = (Secured::new(&config).unwrap(), Vec::new());
        let mut bytes = vec![0; 4096];
        while input != b"go" {
            match server.read(&mut bytes) {
                Ok(count) => {
                    assert!(count > 0);
                    secured.receive(&bytes[..count], &mut input).unwrap();
                    secured.flush(&mut server).unwrap();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    std::thread::yield_now();
                }
            }
        }
        let sent: Vec<u8> = (0..MUCH).map(|at| (at % 251).to_le_bytes()[0]).collect();
        secured.send(&sent).unwrap();
        assert_eq!(secured.flush(&mut server).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(secured.is_waiting());
        reader.thread().unpark();
        while let Err(error) = secured.flush(&mut server) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            std::thread::yield_now();
        }
        assert!(!secured.is_waiting());
        assert!(reader.join().unwrap() == sent);
    }
}
