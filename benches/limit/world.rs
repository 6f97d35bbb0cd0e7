//! The world of a run: bidders, configuration, and the servers as child processes.

use crate::{Arguments, CALLED};
use gavel::app::{self, ServeArgs};
use quick_cache::unsync::Cache;
use replay::client;
use replay::demo::scrape::Scrape;
use replay::drive::plan::RequestSet;
use replay::drive::target::{Allow, Route, Target};
use replay::mmdb::{self, MmdbArgs};
use replay::stub::process::{self, Process};
use replay::stub::spec::{BidderSpec, StubSpec};
use std::error::Error;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PARTNERS: usize = 200;
const BIDDERS: usize = 50;

/// User agents that a worker remembers: so few that one look-up in ten fails, as it would where
/// the world has more of them than these requests do.
const AGENTS_REMEMBERED: usize = 4_000;

/// What is compared: the servers, and of which two the ratio is shown.
#[derive(Debug)]
pub struct Contest {
    servers: &'static [Contestant],
    pub pairs: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug)]
struct Contestant {
    name: &'static str,
    /// What its process does.
    part: &'static str,
    /// Its settings of `[capture]`; `None`: it records nothing.
    capture: Option<&'static str>,
    /// More of its settings; `COLLECTOR` stands for an address that takes what is sent.
    more: &'static str,
}

const fn plain(name: &'static str) -> Contestant {
    Contestant { name, part: name, capture: None, more: "" }
}

const fn recording(name: &'static str, capture: &'static str) -> Contestant {
    Contestant { name, part: "gavel", capture: Some(capture), more: "" }
}

pub const YARDSTICKS: Contest = Contest {
    servers: &[plain("gavel"), plain("null"), plain("legacy")],
    pairs: &[("gavel", "null"), ("gavel", "legacy"), ("null", "legacy")],
};

/// Two binaries of gavel.
pub const BUILDS: Contest = Contest {
    servers: &[plain("gavel"), Contestant { part: "gavel", ..plain("before") }],
    pairs: &[("gavel", "before")],
};

/// Gavel alone, with a database that may be replaced.
pub const RELOAD: Contest = Contest { servers: &[plain("gavel")], pairs: &[] };

pub const CAPTURE: Contest = Contest {
    servers: &[
        Contestant { name: "off", part: "gavel", capture: None, more: "" },
        recording("sample", ""),
        recording("full", "sample_ppm = 1000000"),
        recording("bodies", "sample_ppm = 1000000\nbidders = 'bodies'"),
    ],
    pairs: &[("sample", "off"), ("full", "off"), ("bodies", "off")],
};

const fn telling(name: &'static str, more: &'static str) -> Contestant {
    Contestant { name, part: "gavel", capture: None, more }
}

/// Counters are cells that each worker writes for itself: they cannot be switched off, and
/// `benches/cells` says what they cost.
pub const TELEMETRY: Contest = Contest {
    servers: &[
        telling("off", "[telemetry]\nstages_of = 0\nlines_per_second_max = 0\n"),
        telling("on", "[telemetry.otlp]\nendpoint = 'http://COLLECTOR'\nevery = '1s'\n"),
        telling(
            "traced",
            "[telemetry]\nstages_of = 1\n[telemetry.otlp]\nendpoint = 'http://COLLECTOR'\n\
             every = '1s'\n[telemetry.traces]\nratio = 0.01\nper_second_max = 1000\n",
        ),
    ],
    pairs: &[("on", "off"), ("traced", "off")],
};

impl Contest {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.servers.iter().map(|one| one.name)
    }
}

/// Everything that runs during the bench.
pub struct World {
    pub servers: Vec<Server>,
    stub: Process,
    city: String,
    city_file: PathBuf,
    /// How often it was replaced.
    replaced: AtomicU64,
    folder: TempDir,
}

/// One server that is measured.
pub struct Server {
    pub name: &'static str,
    pub target: Target,
    operations: SocketAddr,
    is_recording: bool,
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
        contest: &Contest,
        arguments: &Arguments,
        latency_ms: f64,
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
        let (city, shown) = city_file(arguments.city.as_deref(), folder.path(), arguments.test)?;
        // a copy, which may be replaced
        let copy = folder.path().join("geo").join("city.mmdb");
        std::fs::create_dir(folder.path().join("geo"))?;
        std::fs::copy(&city, &copy)?;
        let city = copy;
        let plain = configuration(stub.addresses(), &city)?;
        let find = |path: &Option<PathBuf>| path.as_deref().map(shipped).transpose();
        let (gavel, before) = (find(&arguments.gavel)?, find(&arguments.before)?);
        let mut servers = Vec::new();
        for one in contest.servers {
            let config = folder.path().join(format!("{}.toml", one.name));
            let section = capture_section(one, folder.path())?;
            let collector = stub.addresses().first().map(ToString::to_string).unwrap_or_default();
            let books = books_section(one, folder.path());
            let more = one.more.replace("COLLECTOR", &collector);
            std::fs::write(&config, format!("{plain}{section}{books}{more}"))?;
            let binary = if one.name == "before" { &before } else { &gavel };
            servers.push(start(one, &config, stub.addresses(), binary.as_deref())?);
        }
        Ok(Self {
            servers,
            stub,
            city: shown,
            city_file: city,
            replaced: AtomicU64::new(0),
            folder,
        })
    }

    pub fn describe(&self, requests: &RequestSet) -> String {
        format!(
            "{PARTNERS} partners; {BIDDERS} bidders configured, {CALLED} called; city database: {}; \
             a memory of {AGENTS_REMEMBERED} user agents knows {:.0} % of what comes",
            self.city,
            known_agents(requests) * 100.0
        )
    }

    /// Two files of the same database, to be put in its place by turns: written once, so that
    /// what is measured later is the taking and not the writing.
    pub fn prepare_cities(&self) -> std::io::Result<()> {
        for number in 0..2u64 {
            let spare = self.spare_city(number);
            std::fs::copy(&self.city_file, &spare)?;
            // what stands behind the metadata means nothing to a reader
            let mut file = std::fs::OpenOptions::new().append(true).open(&spare)?;
            std::io::Write::write_all(&mut file, format!("{number:016}").as_bytes())?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Puts the other one in the place of the one before, as a whole.
    pub fn replace_city(&self) -> std::io::Result<()> {
        let fresh = self.folder.path().join("geo").join("fresh");
        std::fs::hard_link(self.spare_city(self.replaced.fetch_add(1, Ordering::Relaxed)), &fresh)?;
        std::fs::rename(fresh, &self.city_file)
    }

    fn spare_city(&self, number: u64) -> PathBuf {
        self.folder.path().join("geo").join(format!("spare-{}", number % 2))
    }

    /// Generations that gavel has taken, and its resident memory in MB.
    pub fn generation(&self) -> Result<(u64, u64), Box<dyn Error>> {
        let (_, text) = client::get(self.servers[0].operations, "/metrics")?;
        let scrape = Scrape::parse(&String::from_utf8_lossy(&text));
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.servers[0].id()))?;
        let pages: u64 = pages.split(' ').nth(1).unwrap_or("0").parse()?;
        Ok((scrape.count("gavel_snapshot_generation", &[]), pages * 4096 / 1_000_000))
    }

    /// Says what became of the records of each server that records: a drop would have been cheap.
    pub fn report_drops(&self) -> Result<(), Box<dyn Error>> {
        for server in self.servers.iter().filter(|server| server.is_recording) {
            let (_, text) = client::get(server.operations, "/metrics")?;
            let scrape = Scrape::parse(&String::from_utf8_lossy(&text));
            println!(
                "{:>8}: {} records, {} dropped",
                server.name,
                scrape.count("gavel_capture_records_total", &[]),
                scrape.count("gavel_capture_dropped_total", &[])
            );
        }
        Ok(())
    }

    /// Calls that the simulated bidders have read so far.
    pub fn calls(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.stub.stats()?.iter().map(|bidder| bidder.requests).sum())
    }
}

/// The part of the look-ups that a worker's memory of user agents answers, once it is full.
fn known_agents(requests: &RequestSet) -> f64 {
    let mut memory = Cache::new(AGENTS_REMEMBERED);
    let (mut known, mut asked) = (0u32, 0u32);
    let bodies = requests.iter().chain(requests.iter()).enumerate();
    for (number, body) in bodies {
        let Ok(request) = serde_json::from_slice::<serde_json::Value>(body) else { continue };
        let device = &request["device"];
        let agent = format!("{}{}", device["ua"], device["sua"]);
        let is_known = memory.get(&agent).is_some();
        if number >= requests.len() {
            asked += 1;
            known += u32::from(is_known);
        }
        if !is_known {
            memory.insert(agent, ());
        }
    }
    f64::from(known) / f64::from(asked.max(1))
}

/// A small folder's worth of files: the oldest go, as on a server.
fn capture_section(one: &Contestant, folder: &Path) -> std::io::Result<String> {
    let Some(settings) = one.capture else { return Ok(String::new()) };
    let directory = folder.join(format!("captures-{}", one.name));
    std::fs::create_dir(&directory)?;
    Ok(format!(
        "[capture]\nenabled = true\ndirectory = '{}'\nkey = 'a key of the bench'\n{settings}\n",
        directory.display()
    ))
}

/// Where it keeps the records of its auctions, and what signs the events of its sales.
fn books_section(one: &Contestant, folder: &Path) -> String {
    format!(
        "[journal]\ndir = '{}'\nballast_bytes = '0B'\nkeep_for = '49h'\n\
         [events]\nurl = 'https://x.example'\n\
         [[events.keys]]\nid = 1\nsecret = 'a secret of this bench and of nobody else'\n",
        folder.join(format!("journal-{}", one.name)).display()
    )
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
        "[admin]\nlisten = '127.0.0.1:0'\n[databases]\ndevice_cache_entries = {AGENTS_REMEMBERED}\ncity = '{}'\nisp = '{root}/geo/demo-isp.mmdb'\n\
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

/// The binary of `--gavel` or `--before`. Cargo runs a bench in the folder of its package.
fn shipped(path: &Path) -> Result<PathBuf, String> {
    let help = "a path that is not absolute is taken from `replay/`";
    path.canonicalize().map_err(|fault| format!("{}: {fault}; {help}", path.display()))
}

fn start(
    one: &Contestant,
    config: &Path,
    bidders: &[SocketAddr],
    gavel: Option<&Path>,
) -> Result<Server, Box<dyn Error>> {
    let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let [listen, operations] = free.map(|free| free.and_then(|free| free.local_addr()));
    let (listen, operations) = (listen?, operations?);
    let list: Vec<String> = bidders.iter().map(ToString::to_string).collect();
    let mut command = if let Some(shipped) = gavel.filter(|_| one.part == "gavel") {
        let mut command = Command::new(shipped);
        command.args(["serve", "--exit-on-fault"]);
        command
    } else {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--part", one.part, "--bidders", &list.join(",")]);
        command
    };
    let child = command
        .args(["--listen", &listen.to_string(), "--operations", &operations.to_string()])
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
    let mut server = Server {
        name: one.name,
        target: Target::at(listen, routes, Allow::Loopback)?,
        operations,
        is_recording: one.capture.is_some(),
        child,
    };
    let start: Instant = gavel::clock::monotonic();
    while std::net::TcpStream::connect(listen).is_err() {
        let has_ended = server.child.try_wait()?.is_some();
        if has_ended || start.elapsed() > Duration::from_secs(20) {
            return Err(format!("{} does not listen", one.name).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// The exchange, as a child process runs it.
pub fn serve(config: PathBuf, listen: SocketAddr, operations: SocketAddr) {
    app::serve(&ServeArgs {
        config,
        operations,
        listen: Some(listen),
        keep: None,
        exit_on_fault: true,
    });
}
