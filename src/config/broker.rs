//! `[broker]`: the stream of NATS JetStream that events go to.
//!
//! Owns: names, defaults and ranges of its keys, and the relations between them. Never: a connection.

use super::reader::Table;
use super::words;
use crate::broker::Settings;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The section; `None` where it is not there. Paths are relative to `folder`.
pub fn read(root: &mut Table, folder: &Path) -> Option<Settings> {
    let mut t = root.section("broker");
    let d = Settings::default();
    let urls = t.list(
        "urls",
        "nats:// or tls:// with a host, without user and path",
        "Servers of NATS that lead to the cluster with the stream.",
        url,
    );
    let settings = Settings { urls, ..stream(&mut t, d) };
    let settings = security(&mut t, folder, settings);
    let settings = limits(&mut t, settings);
    let is_present = t.is_present();
    if is_present && settings.urls.is_empty() && !t.has("urls") {
        t.fault_of("urls", "at least one, where there is a `[broker]`", None);
    }
    t.end();
    is_present.then_some(settings)
}

fn stream(t: &mut Table, d: Settings) -> Settings {
    Settings {
        stream: t
            .parsed(
                "stream",
                "1 to 64 of A-Z, a-z, 0-9, - and _",
                "The stream that keeps events; `GAVEL` where it is absent. It must be there, in files, \
                 with retention by limits, and take the subjects `PREFIX.>`.",
                |text| is_word(text).then(|| text.to_owned()),
            )
            .unwrap_or(d.stream),
        prefix: t
            .parsed(
                "subject_prefix",
                "words of A-Z, a-z, 0-9, - and _ with dots between, at most 128 characters",
                "Begins every subject; `gavel` where it is absent. Events are at \
                 `PREFIX.event.KIND.PARTNER`, a dot of a partner's name written as `_`.",
                |text| {
                    let is_good = text.len() <= 128 && text.split('.').all(is_word);
                    is_good.then(|| text.to_owned())
                },
            )
            .unwrap_or(d.prefix),
        creates: t.flag(
            "create",
            d.creates,
            "Make the stream where it is not there: for demos and tests. Otherwise the log says with \
             which command to make it.",
        ),
        replicas: t.integer(
            "replicas",
            d.replicas,
            1..=5,
            "Copies of each message; a stream with fewer is warned of.",
        ),
        repeat_window: t.duration(
            "repeat_window",
            d.repeat_window,
            s(1)..=s(7 * 86_400),
            "For how long the stream is to know a repeat (its duplicate window; it keeps each \
             event's id in memory for so long). A later repeat stands in the stream twice and in the \
             ledger once.",
        ),
        has_auctions: t.flag(
            "auctions",
            d.has_auctions,
            "Records of auctions go to the stream, too, as far as they were not dropped.",
        ),
        ..d
    }
}

fn security(t: &mut Table, folder: &Path, d: Settings) -> Settings {
    let path = |text: &str| words::text(text).map(|text| folder.join(text));
    let wanted = "a path to a file";
    let credentials =
        t.parsed("credentials_file", wanted, "Who we are: a file of NATS (`.creds`).", path);
    let user = t.parsed("user", "a name", "... or a user of NATS ...", words::text);
    let password =
        t.parsed("password_file", wanted, "... and the file with the user's password.", path);
    if user.is_some() != password.is_some() {
        t.fault_of("user", "there together with `password_file`", None);
    }
    if credentials.is_some() && user.is_some() {
        t.fault_of("user", "absent where there is a `credentials_file`", None);
    }
    let is_tls = t.flag("tls", d.is_tls, "Never without TLS, whatever `urls` say.");
    let ca_file = t.parsed(
        "ca_file",
        wanted,
        "Authorities of the broker's certificate (PEM), instead of those of the system.",
        path,
    );
    let certificate = t.parsed("cert_file", wanted, "Our own certificate (PEM).", path);
    let key: Option<PathBuf> = t.parsed("key_file", wanted, "Its key (PEM).", path);
    if certificate.is_some() != key.is_some() {
        t.fault_of("cert_file", "there together with `key_file`", None);
    }
    let (user, identity) = (user.zip(password), certificate.zip(key));
    Settings { credentials, user, is_tls, ca_file, identity, ..d }
}

fn limits(t: &mut Table, d: Settings) -> Settings {
    Settings {
        connect: t.duration("connect", d.connect, ms(10)..=s(30), "To connect, TLS included."),
        ack: t.duration(
            "ack",
            d.ack,
            ms(10)..=s(30),
            "For the broker's acknowledgement of a message; then it is sent again.",
        ),
        wait: t.duration(
            "wait",
            d.wait,
            ms(10)..=s(60),
            "With `events.ack = \"broker\"`: for the acknowledgement of an event, all tries \
             together; then 503. A stream whose leader has crashed takes up to ten seconds to \
             choose another.",
        ),
        window: t.integer(
            "window",
            d.window,
            1..=8_192,
            "Messages out of the journal that wait for their acknowledgement.",
        ),
        retry_max: t.duration(
            "retry_max",
            d.retry_max,
            ms(50)..=s(300),
            "Longest pause before they are sent again.",
        ),
        patience: t.duration(
            "patience",
            d.patience,
            ms(100)..=s(600),
            "With `events.ack = \"broker\"`: after so long without an acknowledgement no auctions \
             are held.",
        ),
        ..d
    }
}

fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// A secret does not belong into a URL: it would be logged.
fn url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_good = matches!(url.scheme(), "nats" | "tls")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    is_good.then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_no_secret() {
        for good in ["nats://127.0.0.1:4222", "tls://nats.example:4222", "nats://[::1]:4222/"] {
            assert_eq!(url(good).as_deref(), Some(good.trim_end_matches('/')), "{good}");
        }
        for bad in ["", "127.0.0.1:4222", "http://a", "nats://u:p@a:1", "nats://a/x", "nats://"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
