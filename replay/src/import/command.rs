//! `gavel-replay import`.
//!
//! Owns: its arguments, which format a file has, and what it tells. Never: a format's rules.
//! Invariant: a capture that is there is not written over unasked.

use super::input::Input;
use super::sink::{Account, Sink, SinkSettings};
use super::{ImportError, ammo, gor, har, lines, pcap};
use crate::report::outputs;
use crate::verdict::{Failure, Verdict};
use gavel::capture::form::PseudonymKey;
use gavel::capture::format::MAGIC;
use gavel::capture::pseudonym::Pseudonymiser;
use gavel::capture::{Header, Origin};
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What `import` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// A file of another tool, plain or gzip
    pub file: PathBuf,
    /// The capture to write
    #[arg(long)]
    pub out: PathBuf,
    /// Write over the capture where there is one
    #[arg(long)]
    pub force: bool,
    /// What the file is; without it: as its content says
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Take only requests whose path begins so
    #[arg(long)]
    pub path_prefix: Option<String>,
    /// Take only requests to this host, as their `Host` header has it
    #[arg(long)]
    pub host: Option<String>,
    /// Write this path instead of theirs, such as `/openrtb2/demo`
    #[arg(long, value_parser = parse_path)]
    pub set_path: Option<String>,
    /// Name of the partner; without it: as a path `/openrtb2/{partner}` says
    #[arg(long)]
    pub partner: Option<String>,
    /// Requests a second, where the file has no times
    #[arg(long, default_value_t = 100.0, value_parser = parse_rate)]
    pub rate: f64,
    /// A file whose text is the secret of the pseudonyms: files of one secret can be joined;
    /// without it: a secret of this import alone
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Write what is personal as it came, and say so in the capture's head
    #[arg(long, conflicts_with = "key")]
    pub no_pseudonyms: bool,
    /// Free text in the capture's head
    #[arg(long, default_value = "")]
    pub note: String,
}

/// Files that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// GoReplay
    Gor,
    /// HTTP archive 1.2
    Har,
    /// Packets of plain HTTP/1.1: pcap or pcapng
    Pcap,
    /// JSON lines: bid requests, or requests with `at`, `path`, `headers` and `body`
    Jsonl,
    /// Yandex.Tank: phantom or uripost
    Yandex,
}

impl Format {
    /// As the first bytes say.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        if gor::is_one(bytes) {
            return Some(Self::Gor);
        }
        if pcap::file::is_one(bytes) {
            return Some(Self::Pcap);
        }
        if text.starts_with(b"{") {
            return Some(if har::is_one(text) { Self::Har } else { Self::Jsonl });
        }
        ammo::is_one(text).then_some(Self::Yandex)
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Gor => "GoReplay",
            Self::Har => "HTTP archive",
            Self::Pcap => "packets",
            Self::Jsonl => "JSON lines",
            Self::Yandex => "Yandex.Tank ammunition",
        }
    }
}

fn parse_path(text: &str) -> Result<String, String> {
    text.starts_with('/')
        .then(|| text.to_owned())
        .ok_or_else(|| "a path begins with `/`".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1e-3..=1e6).contains(rate));
    rate.ok_or_else(|| "a number from 0.001 to 1000000".to_owned())
}

/// Imports; it fails where the file ended badly, or nothing in it could be used.
pub fn run(args: &ImportArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    outputs::check([args.out.as_path()], &[&args.file])?;
    import(args, out).map_err(|source| Failure::usage(source.to_string()))
}

fn import(args: &ImportArgs, out: &mut dyn Write) -> Result<Verdict, Box<dyn Error>> {
    let told = |fault: std::io::Error| format!("{}: {fault}", args.file.display());
    let file = File::open(&args.file).map_err(told)?;
    let mut input = Input::new(file);
    let format = match args.format {
        Some(format) => format,
        None => recognise(&args.file, &mut input)?,
    };
    let key = if args.no_pseudonyms { None } else { Some(secret(args.key.as_deref())?) };
    let capture = create(&args.out, args.force)?;
    let settings = SinkSettings {
        path_prefix: args.path_prefix.clone(),
        host: args.host.clone(),
        set_path: args.set_path.clone(),
        partner: args.partner.clone(),
        rate: args.rate,
    };
    let header = Header {
        origin: Origin::Imported,
        started_us: 0,
        writer: format!("gavel-replay {}", env!("CARGO_PKG_VERSION")),
        pseudonym_key: key.as_ref().map(PseudonymKey::name),
        sample_ppm: 1_000_000,
        note: args.note.clone(),
    };
    let pseudonyms = key.map(Pseudonymiser::new);
    let mut sink = Sink::new(BufWriter::new(capture), header, &settings, pseudonyms);
    let ended = read(format, &mut input, &mut sink);
    let (account, written) = sink.finish()?;
    writeln!(out, "{}: {}, {} bytes read", args.file.display(), format.label(), input.offset())?;
    tell(&account, out)?;
    if written.is_none() {
        std::fs::remove_file(&args.out)?;
    }
    if let Err(fault) = &ended {
        writeln!(out, "{}: {}", args.file.display(), chain(fault))?;
    }
    match (&written, &ended) {
        (None, _) => writeln!(out, "nothing in it could be used, no capture is written")?,
        (Some(_), Err(_)) => writeln!(out, "what came before is in {}", args.out.display())?,
        (Some(_), Ok(())) => writeln!(out, "{} written", args.out.display())?,
    }
    if written.is_none() || ended.is_err() {
        return Ok(Verdict::Failed);
    }
    Ok(Verdict::Pass)
}

/// Reads a file of a known format.
pub fn read<W: Write>(
    format: Format,
    input: &mut Input<'_>,
    sink: &mut Sink<'_, W>,
) -> Result<(), ImportError> {
    let ended = match format {
        Format::Gor => gor::read(input, sink),
        Format::Har => har::read(input, sink),
        Format::Pcap => pcap::read(input, sink),
        Format::Jsonl => lines::read(input, sink),
        Format::Yandex => ammo::read(input, sink),
    };
    match input.fault() {
        // that is why it ended as it did
        Some(fault) => Err(fault),
        None => ended,
    }
}

/// In so many bytes a file shows what it is.
const LOOK_BYTES: usize = 64 << 10;

pub(super) fn recognise(path: &Path, input: &mut Input<'_>) -> Result<Format, Box<dyn Error>> {
    let name = path.display();
    if input.want(1).is_empty() {
        if let Some(fault) = input.fault() {
            return Err(format!("{name}: {}", chain(&fault)).into());
        }
        return Err(format!("{name} is empty").into());
    }
    let bytes = input.want(LOOK_BYTES);
    if lines::is_array(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)) {
        return Err(format!("{name}: {}", lines::ARRAY).into());
    }
    if bytes.starts_with(&MAGIC) {
        return Err(format!("{name} is a capture already").into());
    }
    Format::of(bytes).ok_or_else(|| {
        format!(
            "{name}: its first bytes are of no file that can be imported (GoReplay, HTTP archive, \
             pcap, JSON lines, Yandex.Tank ammunition); --format says what it is"
        )
        .into()
    })
}

/// Shortest secret.
const SECRET_BYTES_MIN: usize = 16;

/// Of a file, or of chance.
fn secret(path: Option<&Path>) -> Result<PseudonymKey, Box<dyn Error>> {
    let Some(path) = path else {
        let mut bits = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut bits)?;
        return Ok(PseudonymKey::new(&blake3::Hash::from_bytes(bits).to_hex()));
    };
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|fault| format!("{name}: {fault}"))?;
    let text = text.trim();
    if text.len() < SECRET_BYTES_MIN {
        let fault = format!("{name}: a secret has {SECRET_BYTES_MIN} bytes or more");
        return Err(fault.into());
    }
    Ok(PseudonymKey::new(text))
}

fn create(path: &Path, is_forced: bool) -> Result<File, Box<dyn Error>> {
    outputs::capture(path, is_forced).map_err(|fault| match fault.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already; --force writes over it", path.display()).into()
        }
        _ => format!("{}: {fault}", path.display()).into(),
    })
}

fn tell(account: &Account, out: &mut dyn Write) -> std::io::Result<()> {
    let seconds = account.took.as_secs_f64();
    writeln!(
        out,
        "{} requests imported, {} with their answers, over {seconds:.3} s",
        account.imported, account.answered
    )?;
    for (why, count) in &account.unanswered {
        writeln!(out, "{count} without an answer: {}", why.label())?;
    }
    if account.early > 0 {
        writeln!(out, "{} came before the first and are set to the start", account.early)?;
    }
    for (skip, (count, offset)) in &account.skipped {
        writeln!(out, "{count} skipped: {}, first at byte {offset}", skip.label())?;
    }
    Ok(())
}

/// A fault and its causes.
fn chain(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
