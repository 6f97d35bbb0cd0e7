//! The world of a run: bidders, configuration, and the servers as child processes.

use crate::CALLED;
use gavel::app::{self, ServeArgs};
use replay::drive::target::{Allow, Route, Target};
use replay::mmdb::{self, MmdbArgs};
use replay::stub::process::{self, Process};
use replay::stub::spec::{BidderSpec, StubSpec};
use std::error::Error;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PARTNERS: usize = 200;
const BIDDERS: usize = 50;

/// Everything that runs during the bench.
pub struct World {
    pub servers: Vec<Server>,
    stub: Process,
    city: String,
    _folder: TempDir,
}

/// One server that is measured.
pub struct Server {
    pub name: &'static str,
    pub target: Target,
    child: Child,
}

impl Server {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ours, and of no more use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    pub fn build(
        city: Option<&Path>,
        latency_ms: f64,
        is_small: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("gavel-limit-").tempdir()?;
        let spec = StubSpec {
            seed: 11,
            ..StubSpec::uniform(
                u32::try_from(CALLED)?,
                &BidderSpec {
                    latency_ms,
                    latency_sigma: 0.0,
                    bid_rate: 0.6,
                    ..BidderSpec::default()
                },
            )
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--part", "stub"]);
        let stub = process::spawn(command, &spec)?;
        let (city, shown) = city_file(city, folder.path(), is_small)?;
        let config = folder.path().join("gavel.toml");
        std::fs::write(&config, configuration(stub.addresses(), &city)?)?;
        let mut servers = Vec::new();
        for name in ["gavel", "null", "legacy"] {
            servers.push(start(name, &config, stub.addresses())?);
        }
        Ok(Self { servers, stub, city: shown, _folder: folder })
    }

    pub fn describe(&self) -> String {
        format!(
            "{PARTNERS} partners; {BIDDERS} bidders configured, {CALLED} called; city database: {}",
            self.city
        )
    }

    /// Calls that the simulated bidders have read so far.
    pub fn calls(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.stub.stats()?.iter().map(|bidder| bidder.requests).sum())
    }
}

fn city_file(
    given: Option<&Path>,
    folder: &Path,
    is_small: bool,
) -> Result<(PathBuf, String), Box<dyn Error>> {
    if let Some(path) = given {
        let bytes = std::fs::metadata(path)?.len();
        return Ok((std::fs::canonicalize(path)?, format!("{} MB, given", bytes / 1_000_000)));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if is_small {
        return Ok((root.join("configs/demo/geo/demo-city.mmdb"), "the demo's".to_owned()));
    }
    let path = folder.join("city.mmdb");
    let written = mmdb::run(&MmdbArgs { small: None, city_60mb: Some(path.clone()) })?;
    let bytes = written.first().map_or(0, |(_, bytes)| *bytes);
    Ok((path, format!("{} MB, generated", bytes / 1_000_000)))
}

/// 200 partners with keys, floors and block lists; five bidders that buy everything, and 45 that
/// buy what is never offered, each by another dimension.
fn configuration(bidders: &[SocketAddr], city: &Path) -> Result<String, std::fmt::Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo");
    let mut text = format!(
        "[admin]\nlisten = '127.0.0.1:0'\n[databases]\ncity = '{}'\nisp = '{root}/geo/demo-isp.mmdb'\n\
         device_regexes = '{root}/device/regexes.yaml'\ndevice_models = '{root}/device/models.toml'\n\
         [rates.per_base]\nEUR = 0.9\nGBP = 0.8\nJPY = 150.0\nAUD = 1.5\nCAD = 1.4\n",
        city.display(),
        root = root.display(),
    );
    for number in 0..PARTNERS {
        let key = blake3::hash(format!("key-{number}").as_bytes());
        writeln!(
            text,
            "[[partners]]\nname = 'p{number}'\nkeys = ['blake3:{key}']\nqps = 1000000\n\
             allow_unknown_channel = true\nfloor = 0.01\nbadv = ['blocked-{number}.example']\n\
             tmax_default = '1s'\nblock = {{ bots = false }}\n\
             schain = {{ asi = 'gavel.example', sid = 'p{number}' }}",
        )?;
    }
    for number in 0..BIDDERS {
        let address = bidders[number % bidders.len()];
        writeln!(text, "[[bidders]]\nname = 'b{number}'\nurl = 'http://{address}/bid'")?;
        let never = match number {
            0..CALLED => continue,
            _ => match number % 6 {
                0 => "countries = ['ATA']".to_owned(),
                1 => format!("domains = ['only-{number}.example']"),
                2 => "devicetypes = [8]\nchannels = ['site']".to_owned(),
                3 => format!("deals = ['deal-{number}']\ndeals_only = true"),
                4 => format!("publishers = ['publisher-{number}']"),
                _ => format!("partners = ['p{}']\nsizes = ['1x{number}']", number % PARTNERS),
            },
        };
        writeln!(text, "[bidders.targeting]\n{never}")?;
    }
    Ok(text)
}

fn start(
    name: &'static str,
    config: &Path,
    bidders: &[SocketAddr],
) -> Result<Server, Box<dyn Error>> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let listen = free.local_addr()?;
    drop(free);
    let list: Vec<String> = bidders.iter().map(ToString::to_string).collect();
    let child = Command::new(std::env::current_exe()?)
        .args(["--part", name, "--listen", &listen.to_string(), "--bidders", &list.join(",")])
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let routes = (0..PARTNERS)
        .map(|number| Route {
            path: format!("/openrtb2/p{number}"),
            headers: vec![("x-gavel-key".to_owned(), format!("key-{number}"))],
        })
        .collect();
    let server = Server { name, target: Target::at(listen, routes, Allow::Loopback)?, child };
    let start: Instant = gavel::clock::monotonic();
    while std::net::TcpStream::connect(listen).is_err() {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(format!("{name} does not listen").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// The exchange, as a child process runs it.
pub fn serve(config: PathBuf, listen: SocketAddr) {
    app::serve(&ServeArgs {
        config,
        operations: SocketAddr::from(([127, 0, 0, 1], 0)),
        listen: Some(listen),
        keep: None,
        exit_on_fault: true,
    });
}
