//! How a connection to the broker is made.
//!
//! Owns: what of the settings goes into a connection. Never: a message.

use super::{BrokerFault, Settings};
use crate::clock;
use async_nats::ConnectOptions;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::time::Duration;

/// A silent peer is noticed after two of these.
const PING_EVERY: Duration = Duration::from_secs(5);

/// First pause before the connection is tried again, and the longest, in milliseconds.
const RECONNECT_MS: (u64, u64) = (50, 2_000);

/// Commands to the connection that wait for it.
const COMMANDS_MAX: usize = 16 << 10;

/// What every connection of ours has.
pub async fn options(settings: &Settings) -> Result<ConnectOptions, BrokerFault> {
    let mut options = ConnectOptions::new()
        .name("gavel")
        .connection_timeout(settings.connect)
        .request_timeout(Some(settings.ack))
        .ping_interval(PING_EVERY)
        .client_capacity(COMMANDS_MAX)
        .reconnect_delay_callback(|attempts| jittered(attempts, RECONNECT_MS));
    if let Some(path) = &settings.credentials {
        let read = options.credentials_file(path).await;
        options = read.map_err(|fault| BrokerFault::Credentials(path.clone(), fault))?;
    }
    if let Some((user, path)) = &settings.user {
        let read = std::fs::read_to_string(path);
        let password = read.map_err(|fault| BrokerFault::Credentials(path.clone(), fault))?;
        options = options.user_and_password(user.clone(), password.trim().to_owned());
    }
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
            ConnectOptions::with_credentials(&text).map(drop).map_err(|_| none("credentials"))
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

    #[test]
    fn pauses_grow_to_their_bound() {
        for (attempts, least, most) in [(0, 25, 50), (1, 50, 100), (3, 200, 400), (99, 500, 1_000)]
        {
            let pause = jittered(attempts, (50, 1_000)).as_millis();
            assert!((least..=most).contains(&pause), "{attempts}: {pause}");
        }
    }
}
