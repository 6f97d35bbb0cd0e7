//! A broker that asks who comes, and shows who it is.

use super::wait_until;
use crate::harness::nats::Nats;
use gavel::broker::Settings;
use gavel::broker::command::pull;
use gavel::broker::link::Link;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::net::Ipv4Addr;
use std::path::Path;

/// An authority with what it signed: files by their names.
fn certificates(dir: &Path, address: Ipv4Addr) {
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        write(name, &params.self_signed(&key).unwrap().pem());
        Issuer::new(params, key)
    };
    authority("other.pem");
    let issuer = authority("ca.pem");
    for name in ["server", "client"] {
        let params = CertificateParams::new(vec![address.to_string()]).unwrap();
        let key = KeyPair::generate().unwrap();
        write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
}

/// Whether the broker is reached with these settings.
fn is_reached(settings: &Settings) -> bool {
    pull(settings, 1, None).is_ok()
}

#[test]
fn only_the_right_authority_is_trusted_and_we_show_who_we_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let nats = Nats::start_with(|address| {
        certificates(dir.path(), address);
        let named = [("cert", "server.pem"), ("key", "server.key"), ("cacert", "ca.pem")];
        let named = named.map(|(what, name)| format!("--tls{what}={}", path(name).display()));
        [vec!["--tlsverify".to_owned()], named.to_vec()].concat()
    });
    let Some(nats) = nats else { return };
    let good = Settings {
        is_tls: true,
        ca_file: Some(path("ca.pem")),
        identity: Some((path("client.pem"), path("client.key"))),
        ..nats.settings()
    };
    let (link, running) = Link::start(good.clone()).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    running.close();
    assert!(is_reached(&good));
    assert!(!is_reached(&Settings { ca_file: Some(path("other.pem")), ..good.clone() }));
    assert!(!is_reached(&Settings { identity: None, ..good.clone() }));
    assert!(!is_reached(&Settings { is_tls: false, ca_file: None, identity: None, ..good }));
}

#[test]
fn a_user_needs_its_password() {
    let login = |_| ["--user=gavel", "--pass=s3cret"].map(str::to_owned).to_vec();
    let Some(nats) = Nats::start_with(login) else { return };
    let dir = tempfile::tempdir().unwrap();
    let login = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Settings { user: Some(("gavel".to_owned(), path)), ..nats.settings() }
    };
    let good = login("good", "s3cret\n");
    let (link, running) = Link::start(good.clone()).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    running.close();
    assert!(is_reached(&good));
    assert!(!is_reached(&login("bad", "secret")));
    assert!(!is_reached(&nats.settings()));
}

#[test]
fn a_password_that_was_changed_at_both_ends_needs_no_restart() {
    let login = |_| ["--user=gavel", "--pass=s3cret"].map(str::to_owned).to_vec();
    let Some(mut nats) = Nats::start_with(login) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "s3cret").unwrap();
    let user = Some(("gavel".to_owned(), path.clone()));
    let (link, running) = Link::start(Settings { user, ..nats.settings() }).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    nats.die();
    wait_until("it is missed", || !link.health().is_well());
    std::fs::write(&path, "changed").unwrap();
    nats.come_back_with(&["--user=gavel", "--pass=changed"]);
    wait_until("the broker is there again", || link.health().is_well());
    running.close();
}
