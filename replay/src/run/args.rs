//! What `run` and `search` are asked, and the plan that it amounts to.
//!
//! Owns: the arguments and their meaning. Never: a run. Invariant: whatever is wrong is said before
//! anything is sent.

use crate::demo::parse_time;
use crate::drive::plan::{Bounds, DriveSettings, Keys, Plan, Pool, Protocol, Share};
use crate::drive::report::LONGEST_NS;
use crate::drive::schedule::{Burst, Schedule, Stage};
use crate::drive::target::{Allow, Target, is_tls};
use crate::feed::Feed;
use crate::feed::head::{parse_header, parse_headers};
use crate::feed::source::Source;
use crate::generate::{GenerateSettings, Generator};
use crate::result::SourceOf;
use crate::verdict::Failure;
use gavel::capture::Origin;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Distinct synthetic requests that are made beforehand; more are made while they are sent.
const SET_MAX: u64 = 10_000;

/// What is played, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct PlayArgs {
    /// The recording
    #[arg(required_unless_present = "synthetic", conflicts_with = "synthetic")]
    pub capture: Option<PathBuf>,
    /// So many distinct synthetic requests instead of a recording
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub synthetic: Option<u64>,
    /// Share of synthetic requests that are broken on purpose
    #[arg(long, default_value_t = 0.0, requires = "synthetic")]
    pub broken: f64,
    /// Where to, such as `http://127.0.0.1:8080`; a path in it wins over the recorded ones
    #[arg(long)]
    pub target: String,
    /// A host that is not this machine and may be sent to all the same
    #[arg(long)]
    pub allow: Option<String>,
    /// The path for all requests
    #[arg(long)]
    pub path: Option<String>,
    /// A further header, `name: value`
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// The key of a partner, `NAME=KEY`: it is not in the recording
    #[arg(long = "partner")]
    pub partners: Vec<String>,
    /// The key of all other partners
    #[arg(long)]
    pub key: Option<String>,
    /// The header that takes the key
    #[arg(long, default_value = "x-gavel-key")]
    pub key_header: String,
    /// Send requests as recorded: without it each says that it is a test (`test` is 1), so that
    /// nobody bills it. The header `x-gavel-replay: 1` is sent either way
    #[arg(long)]
    pub unmarked: bool,
    /// `recorded`, `churn[:REQUESTS]`, `N` or `N..MAX` kept alive
    #[arg(long, default_value = "16..512", value_parser = parse_connections)]
    pub connections: (Pool, u32, u32),
    /// Speak HTTP/2 without TLS, with prior knowledge
    #[arg(long)]
    pub h2: bool,
    /// Requests at once on a connection of HTTP/2
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub streams: u32,
    /// Threads that send
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Give an answer up after this time; at most a minute, the longest time that is told apart
    #[arg(long, default_value = "2s", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// Wait busily so long before each planned moment, in microseconds: exacter, for a core
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub spin: u64,
    /// Lateness of the generator at p99 from which the run means nothing, in microseconds
    #[arg(long, default_value_t = 2_000)]
    pub lateness_max: u64,
    /// Requests that may wait for a connection
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue: u32,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The part of the run that this process plays, such as `0/4`
    #[arg(long, value_parser = parse_shard)]
    pub shard: Option<Share>,
}

/// When it is sent.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PaceArgs {
    /// The recorded timing so many times as fast
    #[arg(long, conflicts_with_all = ["rate", "stages", "saturate"])]
    pub speed: Option<f64>,
    /// So many requests a second
    #[arg(long, conflicts_with_all = ["stages", "saturate"])]
    pub rate: Option<f64>,
    /// The gaps of independent senders instead of even ones
    #[arg(long)]
    pub poisson: bool,
    /// Stages and ramps, such as `30s:100,1m:100-2000`
    #[arg(long, conflicts_with = "saturate")]
    pub stages: Option<String>,
    /// Beside a rate or stages: many at once, such as `10s:500` (every 10 s, 500)
    #[arg(long = "burst")]
    pub bursts: Vec<String>,
    /// A closed loop: as many as the connections carry
    #[arg(long)]
    pub saturate: bool,
    /// How long; the recording is played again, with fresh ids, where it is shorter
    #[arg(long, value_parser = parse_time)]
    pub duration: Option<Duration>,
    /// How many requests at most
    #[arg(long)]
    pub requests: Option<u64>,
}

/// What takes longer than the longest time told apart would be counted as that.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    let is_told = time <= Duration::from_nanos(LONGEST_NS);
    is_told
        .then_some(time)
        .ok_or_else(|| "must be at most 60s: no longer time is told apart".into())
}

fn parse_connections(text: &str) -> Result<(Pool, u32, u32), String> {
    let count = |text: &str| match text.parse::<u32>() {
        Ok(count @ 1..=65_536) => Ok(count),
        _ => Err(format!("{text:?} is no number from 1 to 65,536")),
    };
    if text == "recorded" {
        return Ok((Pool::Recorded, 1, 16_384));
    }
    if let Some(rest) = text.strip_prefix("churn") {
        let requests = match rest.strip_prefix(':') {
            Some(requests) => count(requests)?,
            None if rest.is_empty() => 1,
            None => return Err("it is `churn` or `churn:REQUESTS`".to_owned()),
        };
        return Ok((Pool::Churn { requests }, 1, 4_096));
    }
    let (first, most) = match text.split_once("..") {
        Some((first, most)) => (count(first)?, count(most)?),
        None => (count(text)?, count(text)?),
    };
    if first > most {
        return Err(format!("{first} is more than {most}"));
    }
    Ok((Pool::Keep, first, most))
}

fn parse_shard(text: &str) -> Result<Share, String> {
    let share = text
        .split_once('/')
        .and_then(|(index, of)| Some(Share { index: index.parse().ok()?, of: of.parse().ok()? }));
    share
        .filter(|share| share.index < share.of && share.of <= 1_024)
        .ok_or_else(|| "it is INDEX/COUNT, such as 0/4, with at most 1,024".to_owned())
}

/// `30s:100,1m:100-2000`
fn parse_stages(text: &str) -> Result<Vec<Stage>, String> {
    let stage = |part: &str| {
        let fault = |why: &str| format!("stage {part:?}: {why}");
        let (time, rates) =
            part.trim().split_once(':').ok_or_else(|| fault("it is TIME:RATE or TIME:FROM-TO"))?;
        let (from, to) = rates.split_once('-').unwrap_or((rates, rates));
        let rate = |text: &str| text.trim().parse().map_err(|_| fault("a rate is a number"));
        let time = parse_time(time.trim()).map_err(|why| fault(&why))?;
        Ok(Stage { time: Some(time), from: rate(from)?, to: rate(to)? })
    };
    text.split(',').map(stage).collect()
}

/// `10s:500`, or in words `every 10s: 500 at once`.
fn parse_burst(text: &str) -> Result<Burst, String> {
    let fault = || format!("burst {text:?}: it is TIME:COUNT, such as 10s:500");
    let short = text.trim().trim_start_matches("every").trim_end_matches("at once");
    let (every, count) = short.split_once(':').ok_or_else(fault)?;
    let every = parse_time(every.trim()).map_err(|_| fault())?;
    let count = count.trim().parse().map_err(|_| fault())?;
    Ok(Burst { every, count })
}

// === what they amount to ===

impl PaceArgs {
    /// `has_times`: the source has a timing of its own.
    pub fn schedule(&self, seed: u64, has_times: bool) -> Result<Schedule, Failure> {
        let poisson = self.poisson.then_some(seed);
        let bursts: Vec<Burst> = self
            .bursts
            .iter()
            .map(|text| parse_burst(text))
            .collect::<Result<_, _>>()
            .map_err(Failure::usage)?;
        let stages = match (&self.stages, self.rate) {
            (Some(text), _) => Some(parse_stages(text).map_err(Failure::usage)?),
            (None, Some(rate)) => Some(vec![Stage { time: None, from: rate, to: rate }]),
            (None, None) => None,
        };
        let schedule = match (stages, self.rate) {
            (Some(_), Some(per_second)) if bursts.is_empty() => match poisson {
                Some(seed) => Schedule::Poisson { per_second, seed },
                None => Schedule::Constant { per_second },
            },
            (Some(stages), _) => Schedule::Stages { stages, poisson, bursts },
            (None, _) if self.poisson || !bursts.is_empty() => {
                return Err(Failure::usage("--poisson and --burst go with --rate or --stages"));
            }
            (None, _) if self.saturate => Schedule::Saturate,
            (None, _) if has_times => Schedule::Recorded { speed: self.speed.unwrap_or(1.0) },
            (None, _) => {
                return Err(Failure::usage(
                    "synthetic requests have no timing of their own: give --rate, --stages or \
                     --saturate",
                ));
            }
        };
        schedule.check().map_err(Failure::usage)?;
        Ok(schedule)
    }

    /// Where the run ends: once through the recording, where nothing else is said.
    pub fn bounds(&self, schedule: &Schedule) -> Bounds {
        let has_end = self.duration.is_some()
            || self.requests.is_some()
            || matches!(schedule, Schedule::Stages { stages, .. } if stages.iter().all(|stage| stage.time.is_some()));
        Bounds {
            requests_max: self.requests.unwrap_or(u64::MAX),
            time_max: self.duration.unwrap_or(Duration::MAX),
            rounds_max: if has_end { u64::MAX } else { 1 },
        }
    }
}

impl PlayArgs {
    /// The plan, and what is said of its source.
    pub fn plan(&self, pace: &PaceArgs) -> Result<(Plan, SourceOf), Failure> {
        let source = self.source();
        let schedule = pace.schedule(self.seed, source.has_times())?;
        let (pool, connections, connections_max) = self.connections;
        let settings = DriveSettings {
            threads: self.threads,
            pool,
            protocol: if self.h2 { Protocol::Http2 } else { Protocol::Http1 },
            connections,
            connections_max,
            streams_max: self.streams,
            queue_max: self.queue,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            drain_ms_max: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            spin_us: self.spin,
            lateness_us_max: self.lateness_max,
            marks_tests: !self.unmarked,
            ..DriveSettings::default()
        };
        let said = self.source_of(&source)?;
        let plan = Plan {
            target: self.target()?,
            bounds: pace.bounds(&schedule),
            schedule,
            source,
            settings,
            keys: self.keys()?,
            seed: self.seed,
            share: self.shard.unwrap_or(Share::WHOLE),
        };
        Feed::check(&plan).map_err(Failure::usage)?;
        Ok((plan, said))
    }

    fn source(&self) -> Source {
        match (&self.capture, self.synthetic) {
            (Some(path), _) => Source::Capture(path.clone()),
            (None, distinct) => {
                let distinct = distinct.unwrap_or(1);
                let settings = GenerateSettings { seed: self.seed, broken: self.broken };
                let generator = Generator::new(settings);
                if distinct <= SET_MAX {
                    Source::Set(Arc::new(generator.set(distinct)))
                } else {
                    Source::Synthetic { generator, distinct }
                }
            }
        }
    }

    fn source_of(&self, source: &Source) -> Result<SourceOf, Failure> {
        let header = source.header().map_err(Failure::usage)?;
        let name = self.capture.as_ref().and_then(|path| path.file_name());
        Ok(SourceOf {
            name: name.map_or_else(
                || format!("{} synthetic requests", self.synthetic.unwrap_or(1)),
                |name| name.to_string_lossy().into_owned(),
            ),
            origin: match header.origin {
                Origin::Recorded => "recorded",
                Origin::Imported => "imported",
                Origin::Synthetic => "synthetic",
            }
            .to_owned(),
            recorded_us: header.started_us,
            note: header.note,
            hash: Some(self.hash().map_err(Failure::usage)?),
        })
    }

    /// Of the file, or of what makes the requests.
    fn hash(&self) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        if let Some(path) = &self.capture {
            hasher.update_reader(File::open(path)?)?;
        } else {
            let made = format!("{:?} {} {}", self.synthetic, self.broken, self.seed);
            hasher.update(made.as_bytes());
        }
        // 64 bits tell recordings apart; nobody gains by two that are alike
        Ok(hasher.finalize().to_hex().chars().take(16).collect())
    }

    fn target(&self) -> Result<Target, Failure> {
        let headers = parse_headers(&self.headers).map_err(Failure::usage)?;
        let rest = self.target.strip_prefix("http://").unwrap_or(&self.target);
        let host = rest.split('/').next().unwrap_or_default();
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let is_allowed = self.allow.as_deref().is_some_and(|allow| allow == host || allow == bare);
        let allow = if is_allowed { Allow::Any } else { Allow::Loopback };
        let url = match &self.path {
            Some(path) if !is_tls(&self.target) => {
                format!("http://{host}/{}", path.trim_start_matches('/'))
            }
            _ => self.target.clone(),
        };
        Target::parse(&url, allow)
            .and_then(|target| target.with_headers(&headers, allow))
            .map_err(Failure::usage)
    }

    fn keys(&self) -> Result<Keys, Failure> {
        let pair = |text: &String| {
            let (name, key) = text
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--partner {text:?} is not NAME=KEY")))?;
            Ok((name.to_owned(), key.to_owned()))
        };
        let keys = Keys {
            header: self.key_header.clone(),
            of_partner: self.partners.iter().map(pair).collect::<Result<_, Failure>>()?,
            of_others: self.key.clone(),
        };
        for key in keys.of_partner.values().chain(&keys.of_others) {
            parse_header(&format!("{}: {key}", keys.header)).map_err(Failure::usage)?;
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_recorded_churned_or_kept() {
        for (text, expected) in [
            ("recorded", Some((Pool::Recorded, 1, 16_384))),
            ("churn", Some((Pool::Churn { requests: 1 }, 1, 4_096))),
            ("churn:5", Some((Pool::Churn { requests: 5 }, 1, 4_096))),
            ("8", Some((Pool::Keep, 8, 8))),
            ("8..64", Some((Pool::Keep, 8, 64))),
            ("64..8", None),
            ("0", None),
            ("churned", None),
            ("", None),
        ] {
            assert_eq!(parse_connections(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_pace_is_stages_a_rate_or_the_recorded_one() {
        let stage =
            |seconds, from, to| Stage { time: Some(Duration::from_secs(seconds)), from, to };
        assert_eq!(
            parse_stages("30s:100, 1m:100-2000"),
            Ok(vec![stage(30, 100.0, 100.0), stage(60, 100.0, 2_000.0)])
        );
        for wrong in ["", "30s", "30:x", "10d:5", "1s:1-x"] {
            assert!(parse_stages(wrong).is_err(), "{wrong:?}");
        }
        let burst = Burst { every: Duration::from_secs(10), count: 500 };
        assert_eq!(parse_burst("10s:500"), Ok(burst));
        assert_eq!(parse_burst("every 10s: 500 at once"), Ok(burst));
        assert!(parse_burst("500").is_err());
        let none = PaceArgs::default();
        assert_eq!(none.schedule(1, true).unwrap(), Schedule::Recorded { speed: 1.0 });
        assert!(none.schedule(1, false).is_err());
        let burst = PaceArgs { bursts: vec!["10s:5".to_owned()], ..none };
        assert!(burst.schedule(1, true).is_err());
        let both = PaceArgs { rate: Some(5.0), ..burst };
        assert!(
            matches!(both.schedule(1, true), Ok(Schedule::Stages { bursts, .. }) if bursts.len() == 1)
        );
    }

    #[test]
    fn an_answer_is_given_up_before_times_can_no_longer_be_told_apart() {
        assert_eq!(parse_timeout("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_timeout("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["61s", "300s", "2m"] {
            assert!(parse_timeout(wrong).unwrap_err().contains("60s"), "{wrong}");
        }
        assert!(parse_timeout("0s").is_err());
    }

    #[test]
    fn a_shard_is_a_part_of_a_whole() {
        assert_eq!(parse_shard("1/4"), Ok(Share { index: 1, of: 4 }));
        for wrong in ["4/4", "0/0", "1", "x/2", "0/9999"] {
            assert!(parse_shard(wrong).is_err(), "{wrong:?}");
        }
    }
}
