//! How a connection to the broker is made.
//!
//! Owns: what of the settings goes into a connection. Never: a message. Invariant: who we are is read
//! from its file for each connection, so that a changed one needs no restart.

use super::{BrokerFault, Settings};
use crate::clock;
use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::future::ready;
use std::path::Path;
use std::time::Duration;
use tracing::error;

/// A silent peer is noticed after two of these.
const PING_EVERY: Duration = Duration::from_secs(5);

/// First pause before the connection is tried again, and the longest, in milliseconds.
const RECONNECT_MS: (u64, u64) = (50, 2_000);

/// Commands to the connection that wait for it.
const COMMANDS_MAX: usize = 16 << 10;

/// What every connection of ours has.
pub fn options(settings: &Settings) -> Result<ConnectOptions, BrokerFault> {
    // what cannot be read now is said now; later, each connection tries again
    let mut options = if auth(settings, b"")?.is_some() {
        let settings = settings.clone();
        ConnectOptions::with_auth_callback(move |nonce| ready(answer(&settings, &nonce)))
    } else {
        ConnectOptions::new()
    };
    options = options
        .name("gavel")
        .connection_timeout(settings.connect)
        .request_timeout(Some(settings.ack))
        .ping_interval(PING_EVERY)
        .client_capacity(COMMANDS_MAX)
        .reconnect_delay_callback(|attempts| jittered(attempts, RECONNECT_MS));
    if settings.is_tls {
        options = options.require_tls(true);
    }
    if let Some(path) = &settings.ca_file {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &settings.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// What a server is told that asks who comes. The log names a file that cannot be read, without a byte
/// of it.
fn answer(settings: &Settings, nonce: &[u8]) -> Result<Auth, AuthError> {
    let auth = auth(settings, nonce).map(Option::unwrap_or_default);
    auth.map_err(|fault| {
        error!(%fault, cause = ?fault, "the broker cannot be told who comes");
        AuthError::new(fault)
    })
}

/// Who we are, as its file says now; `None`: nobody in particular.
fn auth(settings: &Settings, nonce: &[u8]) -> Result<Option<Auth>, BrokerFault> {
    let text = |path: &Path| {
        let read = std::fs::read_to_string(path);
        read.map_err(|fault| BrokerFault::Credentials(path.to_owned(), fault))
    };
    let mut auth = Auth::new();
    if let Some(path) = &settings.credentials {
        let text = text(path)?;
        let absent = || BrokerFault::NoCredentials(path.clone());
        let (jwt, key) = credentials(&text).ok_or_else(absent)?;
        auth.jwt = Some(jwt.to_owned());
        auth.signature = Some(key.sign(nonce).map_err(|_| absent())?);
    } else if let Some((user, path)) = &settings.user {
        auth.username = Some(user.clone());
        auth.password = Some(text(path)?.trim().to_owned());
    } else {
        return Ok(None);
    }
    Ok(Some(auth))
}

/// The JWT and the key of a file of NATS: each is a line behind one that says what begins.
fn credentials(text: &str) -> Option<(&str, KeyPair)> {
    let lines = || text.lines().map(str::trim);
    let is_head = |line: &str| line.starts_with("---") && line.contains("BEGIN");
    let mut words = lines().zip(lines().skip(1)).filter(|(head, _)| is_head(head));
    let (_, jwt) = words.next()?;
    let (_, seed) = words.next()?;
    Some((jwt, KeyPair::from_seed(seed).ok()?))
}

/// Files that a connection is made with, by their keys.
pub fn files(settings: &Settings) -> Vec<(&'static str, &Path)> {
    let identity = settings.identity.as_ref();
    [
        ("credentials_file", settings.credentials.as_ref()),
        ("password_file", settings.user.as_ref().map(|(_, path)| path)),
        ("ca_file", settings.ca_file.as_ref()),
        ("cert_file", identity.map(|(certificate, _)| certificate)),
        ("key_file", identity.map(|(_, key)| key)),
    ]
    .into_iter()
    .filter_map(|(key, path)| Some((key, path?.as_path())))
    .collect()
}

/// Whether one of them is what its key says; the error is for people, without a byte of it.
pub fn check(key: &str, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let none = |what: &str| format!("{shown} holds no {what}");
    let text = std::fs::read(path).map_err(|fault| format!("{shown} cannot be read: {fault}"))?;
    match key {
        "ca_file" | "cert_file" => match CertificateDer::pem_slice_iter(&text).next() {
            Some(Ok(_)) => Ok(()),
            _ => Err(none("certificate")),
        },
        "key_file" => {
            PrivateKeyDer::from_pem_slice(&text).map(drop).map_err(|_| none("private key"))
        }
        "credentials_file" => {
            let text = String::from_utf8_lossy(&text);
            credentials(&text).map(drop).ok_or_else(|| none("credentials"))
        }
        _ => String::from_utf8(text).map(drop).map_err(|_| none("text")),
    }
}

/// A pause before a further attempt: half of it fixed, half by chance, twice as long each time.
pub fn jittered(attempts: usize, (first_ms, most_ms): (u64, u64)) -> Duration {
    let doubled = u32::try_from(attempts).unwrap_or(u32::MAX).min(20);
    let pause = first_ms.saturating_mul(1 << doubled).min(most_ms);
    let chance = u64::from(clock::wall().subsec_nanos()) % (pause / 2 + 1);
    Duration::from_millis(pause / 2 + chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn who_we_are_is_what_the_file_says_at_each_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("creds");
        let settings = Settings { credentials: Some(path.clone()), ..Settings::default() };
        for jwt in ["ey.one", "ey.two"] {
            let key = KeyPair::new_user();
            let text = format!(
                "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\
                 -----BEGIN USER NKEY SEED-----\r\n{}\r\n------END USER NKEY SEED------\n",
                key.seed().unwrap()
            );
            std::fs::write(&path, text).unwrap();
            assert_eq!(check("credentials_file", &path), Ok(()));
            let auth = auth(&settings, b"nonce").unwrap().unwrap();
            assert_eq!(auth.jwt.as_deref(), Some(jwt));
            key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        }
        std::fs::write(&path, "no key").unwrap();
        assert!(matches!(auth(&settings, b""), Err(BrokerFault::NoCredentials(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(options(&settings), Err(BrokerFault::Credentials(..))));
    }

    #[test]
    fn a_user_s_password_is_that_of_the_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "password", "one\n");
        let settings =
            Settings { user: Some(("gavel".to_owned(), path.clone())), ..Settings::default() };
        let password = || auth(&settings, b"").unwrap().unwrap().password;
        assert_eq!(password().as_deref(), Some("one"));
        file(dir.path(), "password", "two");
        assert_eq!(password().as_deref(), Some("two"));
        assert!(auth(&Settings::default(), b"").unwrap().is_none());
    }

    #[test]
    fn pauses_grow_to_their_bound() {
        for (attempts, least, most) in [(0, 25, 50), (1, 50, 100), (3, 200, 400), (99, 500, 1_000)]
        {
            let pause = jittered(attempts, (50, 1_000)).as_millis();
            assert!((least..=most).contains(&pause), "{attempts}: {pause}");
        }
    }
}
