//! Files and folders that are opened when the process starts, and not again: whether they can be.
//!
//! Owns: [`Cold`] (which they are), [`Cold::needed`] and [`Cold::faults`]. Never: what they are used
//! for, a connection, a folder that is made.

use super::engine::Engine;
use super::events::Events;
use super::fault::{Fault, Found, Place, chain};
use super::plain;
use super::telemetry::Telling;
use crate::bidder::tls::Tls;
use crate::broker::{self, dial};
use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};

/// What a configuration names of such.
#[derive(Clone, Debug, Default)]
pub struct Cold {
    /// `network.ca_file`.
    pub authorities: Option<PathBuf>,
    /// `[journal]`: `dir` and `spill_dir`.
    pub journal: Option<(PathBuf, Option<PathBuf>)>,
    /// `[broker]`.
    pub broker: Option<broker::Settings>,
    /// `telemetry.otlp.ca_file`, where something is sent.
    pub collector: Option<PathBuf>,
    /// `capture.directory`, where something is recorded.
    pub capture: Option<PathBuf>,
}

// === impl Cold ===

impl Cold {
    /// What these settings name; `capture` is where something is recorded.
    pub fn of(
        engine: &Engine,
        events: &Events,
        telling: &Telling,
        capture: Option<PathBuf>,
    ) -> Self {
        let journal = events.journal.as_ref();
        Self {
            authorities: engine.net.ca_file.clone(),
            journal: journal.map(|one| (one.dir.clone(), one.spill_dir.clone())),
            broker: events.broker.clone(),
            collector: telling.push.as_ref().and_then(|push| push.ca_file.clone()),
            capture,
        }
    }

    /// All of them, to be watched: a change may make a start possible.
    pub fn paths(&self) -> Vec<PathBuf> {
        let broker = self.broker.iter().flat_map(dial::files).map(|(_, path)| path.to_owned());
        [&self.authorities, &self.collector].into_iter().flatten().cloned().chain(broker).collect()
    }

    /// What a process cannot start with.
    pub fn needed(&self, file: &str) -> Vec<Fault> {
        let mut faults = Faults { file, found: Vec::new() };
        faults.authorities("network.ca_file", self.authorities.as_deref());
        if let Some((dir, spill)) = &self.journal {
            faults.journal(dir, spill.as_deref());
        }
        if let Some(broker) = &self.broker {
            for (key, path) in dial::files(broker) {
                let read = regular(path).and_then(|()| dial::check(key, path));
                faults.add(&format!("broker.{key}"), "a file that can be read", read);
            }
        }
        faults.found
    }

    /// And what it would start without.
    pub fn faults(&self, file: &str) -> Vec<Fault> {
        let mut faults = Faults { file, found: self.needed(file) };
        faults.authorities("telemetry.otlp.ca_file", self.collector.as_deref());
        if let Some(folder) = &self.capture {
            let wanted = "a folder that is there and can be written to";
            faults.add("capture.directory", wanted, writable(folder));
        }
        faults.found
    }
}

/// Of one configuration.
struct Faults<'a> {
    file: &'a str,
    found: Vec<Fault>,
}

// === impl Faults ===

impl Faults<'_> {
    fn add(&mut self, key: &str, wanted: &str, result: Result<(), String>) {
        let Err(why) = result else { return };
        let place = Place { file: self.file.to_owned(), path: key.to_owned() };
        self.found.push(place.fault(Found::Hidden, format!("{wanted}: {why}"), None));
    }

    fn authorities(&mut self, key: &str, path: Option<&Path>) {
        let Some(path) = path else { return };
        let read = regular(path)
            .and_then(|()| Tls::new(Some(path)).map(drop).map_err(|fault| chain(&fault)));
        self.add(key, "a file of certificate authorities (PEM)", read);
    }

    fn journal(&mut self, dir: &Path, spill: Option<&Path>) {
        let folder = |path: &Path| match std::fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => Err(format!("{} is none", path.display())),
            // it is made where it is not there
            _ => Ok(()),
        };
        self.add("journal.dir", "a folder", folder(dir));
        let Some(spill) = spill else { return };
        self.add("journal.spill_dir", "a folder", folder(spill));
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| plain(path));
        let same = format!("{} is both", dir.display());
        let apart = if real(dir) == real(spill) { Err(same) } else { Ok(()) };
        self.add("journal.spill_dir", "another folder than `dir`", apart);
    }
}

/// Nothing else is opened: a pipe would wait for its writer for ever.
fn regular(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(format!("{shown} is not a regular file")),
        Err(cause) => Err(format!("{shown} cannot be read: {cause}")),
    }
}

fn writable(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(meta) if !meta.is_dir() => return Err(format!("{shown} is none")),
        Ok(_) => {}
        Err(cause) => return Err(format!("{shown}: {cause}")),
    }
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|cause| format!("{shown}: {}", cause.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_cannot_be_used_is_told_by_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        let broker = broker::Settings {
            credentials: Some(at("no.creds")),
            ca_file: Some(at("file")),
            identity: Some((at("file"), at("file"))),
            ..broker::Settings::default()
        };
        let cold = Cold {
            authorities: Some(dir.path().to_owned()),
            journal: Some((at("a"), Some(at("./b/../a")))),
            broker: Some(broker),
            collector: Some(at("file")),
            capture: Some(at("none")),
        };
        let told: Vec<String> = cold.faults("g").iter().map(ToString::to_string).collect();
        let wanted = [
            "g: network.ca_file: must be a file of certificate authorities (PEM): ",
            "g: journal.spill_dir: must be another folder than `dir`: ",
            "g: broker.credentials_file: must be a file that can be read: ",
            "g: broker.ca_file: must be a file that can be read: ",
            "g: broker.cert_file: must be a file that can be read: ",
            "g: broker.key_file: must be a file that can be read: ",
            "g: telemetry.otlp.ca_file: must be a file of certificate authorities (PEM): ",
            "g: capture.directory: must be a folder that is there and can be written to: ",
        ];
        assert_eq!(told.len(), wanted.len(), "{told:#?}");
        for (told, wanted) in told.iter().zip(wanted) {
            assert!(told.starts_with(wanted), "{told}");
        }
        assert_eq!(cold.needed("g").len(), 6);
        let folder = dir.path().to_owned();
        let well = Cold {
            journal: Some((at("a"), Some(at("b")))),
            capture: Some(folder),
            ..Cold::default()
        };
        assert_eq!(well.faults("g"), []);
    }
}
