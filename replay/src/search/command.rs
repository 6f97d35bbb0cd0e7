//! `gavel-replay search`.
//!
//! Owns: its arguments, the runs that a search asks for, what is printed and written. Never: the
//! choice of a rate. Invariants: every run is one of `run`'s, with its validity; each begins with
//! fresh ids, so that a target that knows the ones before gains nothing.

use super::{Bound, CONFIDENCE, Found, Search, SearchSettings, Seen, Stage, Step};
use crate::demo::parse_time;
use crate::demo::text::{count, share, time};
use crate::drive::plan::Plan;
use crate::drive::schedule::Schedule;
use crate::fingerprint::summary::Summary;
use crate::interrupt::Interrupt;
use crate::judge::JudgeArgs;
use crate::report::{outputs, write_file};
use crate::result::{Invalid, RunResult, SourceOf};
use crate::run::args::{PaceArgs, PlayArgs};
use crate::run::{self, view};
use crate::slo::evaluate;
use crate::verdict::{Failure, Verdict};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// What `search` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub play: PlayArgs,
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// The lowest rate, where it begins. Requests a second
    #[arg(long, default_value_t = 100.0)]
    pub from: f64,
    /// The highest rate, where it ends
    #[arg(long, default_value_t = 100_000.0)]
    pub to: f64,
    /// How near the rate that holds comes to one that does not, in percent
    #[arg(long, default_value_t = 5.0)]
    pub precision: f64,
    /// Length of a run
    #[arg(long, default_value = "10s", value_parser = parse_time)]
    pub step: Duration,
    /// Runs by most of which a rate is decided; odd
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub repeats: u32,
    /// Length of a run of the confirmation
    #[arg(long, default_value = "30s", value_parser = parse_time)]
    pub confirm: Duration,
    /// Runs of the confirmation, all of which must hold
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub confirmations: u32,
    /// Between two runs, for the target to come to rest
    #[arg(long, default_value = "1s", value_parser = parse_time)]
    pub rest: Duration,
    /// The gaps of independent senders instead of even ones
    #[arg(long)]
    pub poisson: bool,
    /// Write what was found, with every run, as JSON
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What a search came to, with the runs behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    pub target: String,
    pub source: SourceOf,
    /// What had to hold.
    pub slos: Vec<String>,
    pub settings: SearchSettings,
    pub runs: Vec<Ran>,
    pub found: Found,
}

/// One run of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    pub step: Step,
    pub seen: Seen,
    pub planned: u64,
    pub answered: u64,
    pub failed: u64,
    pub sent_per_second: f64,
    /// From the planned moment. Microseconds.
    pub p50_us: u64,
    pub p99_us: u64,
    /// The generator's own, at p99. Microseconds.
    pub lateness_p99_us: u64,
    /// What did not hold, or why the run means nothing.
    pub why: Vec<String>,
}

/// Rounds that lie between two runs: none has so many.
const ROUNDS_APART: u64 = 1 << 24;

/// Searches, shows and judges.
pub fn run(args: &SearchArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let settings = args.settings()?;
    let interrupt = Interrupt::listen().map_err(Failure::usage)?;
    outputs::check(args.out.as_deref(), &run::inputs(&args.play, &args.judge))?;
    run::raise_file_limit();
    let pace = PaceArgs { rate: Some(args.from), duration: Some(args.step), ..PaceArgs::default() };
    let (plan, source) = args.play.plan(&pace)?;
    let mut work = Work {
        args,
        recorded: run::recorded(&plan, &args.judge)?,
        plan,
        source,
        interrupt,
        ran: Vec::new(),
    };
    // what is wrong with an objective is said before the first run
    args.judge.prepare(work.recorded.clone())?;
    let mut search = Search::new(settings);
    writeln!(out, "{HEAD}").map_err(Failure::usage)?;
    while let Some(step) = search.next() {
        let seen = work.step(step, out)?;
        search.take(seen);
    }
    let Some(found) = search.found() else { return Err(Failure::invalid("it came to nothing")) };
    let result = SearchResult {
        target: args.play.target.clone(),
        source: work.source,
        slos: args.judge.slo.clone(),
        settings,
        runs: work.ran,
        found,
    };
    if let Some(path) = &args.out {
        let text = serde_json::to_string_pretty(&result).map_err(Failure::usage)?;
        write_file(path, text.as_bytes())?;
    }
    writeln!(out, "\n{}", told(&found, &settings)).map_err(Failure::usage)?;
    Ok(verdict(&found))
}

/// A search whose limit is the generator has not found what it was asked for.
pub fn verdict(found: &Found) -> Verdict {
    match (found.rate, found.bound) {
        (_, Bound::Generator) => Verdict::Invalid,
        (Some(_), Bound::Target | Bound::Asked) => Verdict::Pass,
        (None, Bound::Target | Bound::Asked) => Verdict::Failed,
    }
}

const HEAD: &str =
    "stage       rate  ended       p50       p99  failed    sent/s  generator late, p99";

struct Work<'a> {
    args: &'a SearchArgs,
    plan: Plan,
    source: SourceOf,
    recorded: Option<Summary>,
    interrupt: Interrupt,
    ran: Vec<Ran>,
}

impl SearchArgs {
    fn settings(&self) -> Result<SearchSettings, Failure> {
        let is_range = self.from > 0.0 && self.from <= self.to;
        if !is_range {
            return Err(Failure::usage("--from is above 0 and not above --to"));
        }
        Schedule::Constant { per_second: self.to }.check().map_err(Failure::usage)?;
        if !(0.5..=100.0).contains(&self.precision) {
            return Err(Failure::usage("--precision is from 0.5 to 100 percent"));
        }
        if self.repeats.is_multiple_of(2) {
            return Err(Failure::usage("--repeats is odd: most of them decide"));
        }
        if self.judge.slo.is_empty() && self.judge.assert.is_none() {
            return Err(Failure::usage("nothing has to hold: give --slo or --assert"));
        }
        Ok(SearchSettings {
            from: self.from,
            to: self.to,
            precision: self.precision / 100.0,
            repeats: self.repeats,
            confirmations: self.confirmations,
        })
    }
}

impl Work<'_> {
    /// Makes a run, shows it and keeps it.
    fn step(&mut self, step: Step, out: &mut dyn Write) -> Result<Seen, Failure> {
        if !self.ran.is_empty() {
            std::thread::sleep(self.args.rest);
        }
        let number = self.ran.len() as u64;
        let seed = self.args.play.seed.wrapping_add(number);
        self.plan.schedule = if self.args.poisson {
            Schedule::Poisson { per_second: step.rate, seed }
        } else {
            Schedule::Constant { per_second: step.rate }
        };
        self.plan.bounds.time_max = match step.stage {
            Stage::Ramp | Stage::Bisect => self.args.step,
            Stage::Confirm => self.args.confirm,
        };
        self.plan.settings.rounds_before = number * ROUNDS_APART;
        // another rate is what a search is about
        let mut judge = self.args.judge.prepare(self.recorded.clone())?.at_any_rate();
        let expected = Some(self.plan.bounds.time_max);
        let outcome = view::play(&self.plan, &mut [&mut judge], &self.interrupt, expected, out);
        let mut result =
            outcome.map_err(run::failure)?.into_result(&self.plan, self.source.clone());
        judge.finish(&mut result);
        if self.interrupt.is_asked() {
            return Err(Failure::invalid("it was ended before anything was found"));
        }
        let ran = Ran::of(step, &result);
        writeln!(out, "{}", ran.line()).map_err(Failure::usage)?;
        let ended = ran.seen;
        self.ran.push(ran);
        Ok(ended)
    }
}

impl Ran {
    /// A target for which requests pile up until some are shed, or that turns them away or does not
    /// answer, does not hold; a generator that is late, or sends nothing or something else than what
    /// was recorded, says nothing of the target.
    fn of(step: Step, result: &RunResult) -> Self {
        let whole = &result.whole;
        let is_void = |why: &Invalid| match why {
            Invalid::LateGenerator { .. }
            | Invalid::Diversity { .. }
            | Invalid::Inspection { .. }
            | Invalid::Baseline { .. }
            | Invalid::Interrupted
            | Invalid::Nothing => true,
            Invalid::Shed { .. }
            | Invalid::Unanswered { .. }
            | Invalid::Refused { .. }
            | Invalid::NotJudged { .. } => false,
        };
        let is_held = run::verdict(result) == Verdict::Pass;
        let seen = if result.invalid.iter().any(is_void) {
            Seen::Unknown
        } else if is_held {
            Seen::Held
        } else {
            Seen::Missed
        };
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut why: Vec<String> = result.invalid.iter().map(Invalid::to_string).collect();
        why.extend(result.judged.slos.iter().filter(|slo| !slo.met).map(evaluate::Verdict::line));
        let rows = result.judged.assertions.iter().flat_map(|all| &all.rows);
        let failed = rows.filter(|row| row.failed > 0);
        why.extend(failed.map(|row| format!("assertion {} in {}", row.name, row.failed)));
        Self {
            step,
            seen,
            planned: whole.planned,
            answered: whole.answered,
            failed: whole.failed(),
            sent_per_second: result.sent_per_second(),
            p50_us: us(whole.latency.at(0.5)),
            p99_us: us(whole.latency.at(0.99)),
            lateness_p99_us: us(whole.lateness.at(0.99)),
            why,
        }
    }

    fn line(&self) -> String {
        let us = |us, of| if of == 0 { "none".to_owned() } else { time(Duration::from_micros(us)) };
        let stage = match self.step.stage {
            Stage::Ramp => "ramp",
            Stage::Bisect => "bisect",
            Stage::Confirm => "confirm",
        };
        let seen = match self.seen {
            Seen::Held => "held",
            Seen::Missed => "missed",
            Seen::Unknown => "no use",
        };
        let mut line = format!(
            "{stage:<8} {:>7}  {seen:<6} {:>8} {:>9} {:>7} {:>9.1}  {}",
            self.step.rate,
            us(self.p50_us, self.answered),
            us(self.p99_us, self.answered),
            share(self.failed, self.planned),
            self.sent_per_second,
            us(self.lateness_p99_us, self.planned),
        );
        for why in &self.why {
            line.push_str("\n           ");
            line.push_str(why);
        }
        line
    }
}

fn told(found: &Found, settings: &SearchSettings) -> String {
    let Some(rate) = found.rate else {
        return match found.bound {
            Bound::Generator => {
                "nothing found: no valid run could be made (see the lateness)".into()
            }
            Bound::Target | Bound::Asked => format!(
                "nothing found: not even {} a second holds ({} of {} runs at the last rate did)",
                settings.from, found.held, found.of
            ),
        };
    };
    let beyond = match (found.bound, found.missed) {
        (Bound::Asked, _) => "it is the highest that was to be tried".to_owned(),
        (Bound::Generator, _) => {
            "NOT the target's limit: beyond it no valid run could be made here".to_owned()
        }
        (Bound::Target, Some(missed)) => format!("{missed} a second does not hold"),
        (Bound::Target, None) => String::new(),
    };
    format!(
        "{rate} a second holds: {} of {} runs did, the last {} of them long ones; {beyond}\na run at \
         this rate holds with a probability of {:.0} % or more (confidence {:.0} %)",
        count(found.held.into()),
        count(found.of.into()),
        settings.confirmations,
        100.0 * found.holds_at_least,
        100.0 * CONFIDENCE
    )
}
