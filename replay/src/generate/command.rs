//! `gavel-replay generate`.
//!
//! Owns: its arguments; requests one a line, or as a capture. Never: what a request is made of.
//! Invariant: the same arguments give the same bytes, and a capture says that it is synthetic.

use super::{GenerateSettings, Generator};
use crate::random::Random;
use bytes::Bytes;
use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Origin, Record, Stratum};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The moment at which synthetic captures begin: 1 January 2026, so that none depends on when it
/// was made. Microseconds since the epoch.
const STARTED_US: u64 = 1_767_225_600_000_000;

/// Streams of chance beside those of the requests.
const TIMES: u64 = 0x7469_6d65;

/// What `generate` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// How many
    #[arg(long, default_value_t = 1_000)]
    pub count: u64,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Share of requests that are broken on purpose
    #[arg(long, default_value_t = 0.0)]
    pub broken: f64,
    /// Write a capture, labelled synthetic, instead of lines
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Write over the capture where there is one
    #[arg(long, requires = "capture")]
    pub force: bool,
    /// Requests a second in the capture, with the gaps of independent senders
    #[arg(long, default_value_t = 100.0, requires = "capture", value_parser = parse_rate)]
    pub rate: f64,
    /// Connections in the capture
    #[arg(long, default_value_t = 16, requires = "capture", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub connections: u64,
    /// Partner in the capture
    #[arg(long, default_value = "demo", requires = "capture", value_parser = parse_partner)]
    pub partner: String,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1e-3..=1e6).contains(rate));
    rate.ok_or_else(|| "a number from 0.001 to 1000000".to_owned())
}

/// It becomes part of a path.
fn parse_partner(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name.then(|| text.to_owned()).ok_or_else(|| "letters, digits, `-`, `_` and `.`".to_owned())
}

/// Writes requests.
pub fn run(args: &GenerateArgs, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let generator = Generator::new(GenerateSettings { seed: args.seed, broken: args.broken });
    if let Some(path) = &args.capture {
        let mut options = OpenOptions::new();
        options.write(true).create(args.force).truncate(args.force).create_new(!args.force);
        let file = options.open(path).map_err(|fault| told(path, &fault))?;
        let file = capture(&generator, args, BufWriter::new(file))?;
        file.into_inner()?.sync_all()?;
        writeln!(out, "{}: {} synthetic requests at {}/s", path.display(), args.count, args.rate)?;
        return Ok(());
    }
    match lines(&generator, args.count, out) {
        // whoever reads has enough
        Err(fault) if fault.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Requests one a line.
fn lines(generator: &Generator, count: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    let mut out = BufWriter::new(out);
    for number in 0..count {
        line.clear();
        generator.write(number, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()
}

fn told(path: &Path, fault: &io::Error) -> String {
    if fault.kind() == ErrorKind::AlreadyExists {
        return format!("{} is there already; --force writes over it", path.display());
    }
    format!("{}: {fault}", path.display())
}

/// Requests as a capture.
pub fn capture<W: Write>(generator: &Generator, args: &GenerateArgs, out: W) -> io::Result<W> {
    let header = Header {
        origin: Origin::Synthetic,
        started_us: STARTED_US,
        writer: format!("gavel-replay {}", env!("CARGO_PKG_VERSION")),
        pseudonym_key: None,
        sample_ppm: 1_000_000,
        note: format!(
            "synthetic traffic, fitted to public figures; seed {}, {}/s, nobody's data",
            args.seed, args.rate
        ),
    };
    let mut writer = Writer::new(out, &header, WriterSettings::default())?;
    let times = &mut Random::for_item(args.seed, TIMES);
    let mean = Duration::from_secs_f64(1.0 / args.rate);
    let mut at = Duration::ZERO;
    for number in 0..args.count {
        let mut body = Vec::new();
        let features = generator.write(number, &mut body);
        let version = if features.is_26 { "2.6" } else { "2.5" };
        writer.push(&Record {
            at,
            connection: 1 + times.below(args.connections),
            partner: args.partner.clone(),
            method: "POST".to_owned(),
            path: format!("/openrtb2/{}", args.partner),
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("x-openrtb-version".to_owned(), version.to_owned()),
            ],
            body: Bytes::from(body),
            stratum: Stratum::Sample,
            outcome: None,
            calls: Vec::new(),
        })?;
        at += times.waiting(mean);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gavel::capture::read::Reader;
    use std::collections::HashSet;

    fn made(seed: u64) -> Vec<u8> {
        let args = GenerateArgs {
            count: 2_000,
            seed,
            broken: 0.0,
            capture: None,
            force: false,
            rate: 500.0,
            connections: 8,
            partner: "acme".to_owned(),
        };
        let generator = Generator::new(GenerateSettings { seed, broken: 0.0 });
        capture(&generator, &args, Vec::new()).unwrap()
    }

    /// Nothing can be written any more.
    struct Gone(ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_enough_is_no_fault_and_a_full_disk_is() {
        let args = GenerateArgs {
            count: 1_000,
            seed: 1,
            broken: 0.0,
            capture: None,
            force: false,
            rate: 1.0,
            connections: 1,
            partner: "acme".to_owned(),
        };
        for (kind, is_fine) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            assert_eq!(run(&args, &mut Gone(kind)).is_ok(), is_fine, "{kind}");
        }
    }

    #[test]
    fn a_synthetic_capture_says_so_and_has_the_requests_at_the_rate() {
        let bytes = made(1);
        assert_eq!(bytes, made(1));
        let mut reader = Reader::new(&bytes[..]).unwrap();
        assert_eq!(reader.header().origin, Origin::Synthetic);
        let (mut record, mut last, mut connections) =
            (Record::default(), Duration::ZERO, HashSet::new());
        let generator = Generator::new(GenerateSettings::default());
        for number in 0..2_000 {
            assert!(reader.next(&mut record).unwrap());
            let mut body = Vec::new();
            generator.write(number, &mut body);
            assert_eq!(record.body, body);
            assert_eq!(record.path, "/openrtb2/acme");
            assert!(record.at >= last);
            last = record.at;
            connections.insert(record.connection);
        }
        assert!(!reader.next(&mut record).unwrap());
        assert_eq!(connections.len(), 8);
        // 2,000 waiting times of 2 ms: a deviation of 2.2 %
        assert!((3.7..4.3).contains(&last.as_secs_f64()), "{last:?}");
    }
}
