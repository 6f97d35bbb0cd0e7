//! The files that the demo's exchange runs with.
//!
//! Owns: `configs/demo/`, held in the program so that the demo runs from any directory, and the
//! changes that a run makes to them: where the bidders are. Never: an address of another machine.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use toml::{Table, Value};

/// The main file, as the exchange is told.
const MAIN: &str = "gavel.toml";

/// The file that a run changes.
const BIDDERS: &str = include_str!("../../../configs/demo/bidders.toml");

/// The simulated bidders.
pub const STUB: &str = include_str!("../../../configs/demo/stub.toml");

/// The others, each with its path under `configs/demo/`.
const FILES: &[(&str, &[u8])] = &[
    (MAIN, include_bytes!("../../../configs/demo/gavel.toml")),
    ("partners.toml", include_bytes!("../../../configs/demo/partners.toml")),
    ("device/models.toml", include_bytes!("../../../configs/demo/device/models.toml")),
    ("device/regexes.yaml", include_bytes!("../../../configs/demo/device/regexes.yaml")),
    ("geo/demo-city.mmdb", include_bytes!("../../../configs/demo/geo/demo-city.mmdb")),
    ("geo/demo-isp.mmdb", include_bytes!("../../../configs/demo/geo/demo-isp.mmdb")),
    (
        "geo/demo-connection-type.mmdb",
        include_bytes!("../../../configs/demo/geo/demo-connection-type.mmdb"),
    ),
    (
        "geo/demo-anonymous-ip.mmdb",
        include_bytes!("../../../configs/demo/geo/demo-anonymous-ip.mmdb"),
    ),
];

/// The files of one run; removed when it is dropped.
pub struct Files {
    folder: TempDir,
}

impl Files {
    /// Writes them, with the bidders (by name) at these addresses.
    pub fn write(bidders: &[(&str, SocketAddr)]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gavel-demo-").tempdir()?;
        for (name, bytes) in FILES {
            let path = folder.path().join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, bytes)?;
        }
        fs::write(folder.path().join("bidders.toml"), moved(BIDDERS, bidders)?)?;
        Ok(Self { folder })
    }

    /// The main file.
    pub fn main(&self) -> PathBuf {
        self.folder.path().join(MAIN)
    }

    /// Where the exchange's own lines go.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("gavel.log")
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The bidders' file with other addresses.
fn moved(text: &str, bidders: &[(&str, SocketAddr)]) -> io::Result<String> {
    let mut file: Table = toml::from_str(text).map_err(io::Error::other)?;
    let tables = file.get_mut("bidders").and_then(Value::as_array_mut);
    for table in tables.into_iter().flatten().filter_map(Value::as_table_mut) {
        let name = table.get("name").and_then(Value::as_str);
        let found = bidders.iter().find(|(known, _)| Some(*known) == name);
        let Some((_, address)) = found else {
            return Err(io::Error::other(format!("no simulated bidder is named {name:?}")));
        };
        table.insert("url".to_owned(), format!("http://{address}/bid").into());
    }
    toml::to_string(&file).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::spec::StubSpec;

    #[test]
    fn the_exchange_takes_the_files_and_finds_each_simulated_bidder() {
        let spec: StubSpec = toml::from_str(STUB).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let bidders: Vec<(&str, SocketAddr)> = spec
            .bidders
            .iter()
            .zip(20_000..)
            .map(|(one, n)| (one.name.as_str(), address(n)))
            .collect();
        let files = Files::write(&bidders).unwrap();
        let config = gavel::config::load(&files.main()).unwrap();
        assert_eq!(config.rules.bidders.len(), spec.bidders.len());
        for bidder in &config.rules.bidders {
            let (_, address) = bidders.iter().find(|(name, _)| *name == bidder.name).unwrap();
            assert_eq!(bidder.endpoint.port, address.port(), "{}", bidder.name);
        }
        let folder = files.folder().to_owned();
        drop(files);
        assert!(!folder.exists());
    }

    #[test]
    fn as_committed_the_two_files_agree_on_ports() {
        let spec: StubSpec = toml::from_str(STUB).unwrap();
        let file: Table = toml::from_str(BIDDERS).unwrap();
        for (stub, table) in spec.bidders.iter().zip(file["bidders"].as_array().unwrap()) {
            assert_eq!(table["name"].as_str(), Some(stub.name.as_str()));
            let url = format!("http://127.0.0.1:{}/bid", stub.port);
            assert_eq!(table["url"].as_str(), Some(url.as_str()));
        }
    }
}
