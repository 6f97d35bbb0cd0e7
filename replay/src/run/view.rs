//! A run while it lasts, as somebody at a terminal or in a log sees it.
//!
//! Owns: the thread of the run, the progress, and the end by Ctrl-C. Never: a measurement.
//! Invariant: a view that cannot be written does not end the run.

use crate::demo::text::{count, time};
use crate::drive::live::{Live, Standing};
use crate::drive::plan::Plan;
use crate::drive::{self, DriveError, Outcome};
use crate::inspect::Inspect;
use crate::interrupt::Interrupt;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Looks between two lines where nobody can redraw them.
const LOOKS_A_LINE: u32 = 8;

/// Makes a run and shows how it goes. `expected`: how long it will take, where that is known.
pub fn play(
    plan: &Plan,
    inspections: &mut [&mut dyn Inspect],
    interrupt: &Interrupt,
    expected: Option<Duration>,
    out: &mut dyn Write,
) -> Result<Outcome, DriveError> {
    let live = Live::new(plan.settings.threads);
    let start = gavel::clock::monotonic();
    let is_terminal = std::io::stdout().is_terminal();
    let (mut drawn, mut looks, mut before) = (0, 0u32, (Standing::default(), Duration::ZERO));
    let outcome = std::thread::scope(|scope| {
        let driver = scope.spawn(|| drive::run(plan, &live, inspections));
        while !driver.is_finished() {
            std::thread::park_timeout(LOOK);
            if interrupt.is_asked() {
                live.stop();
            }
            looks += 1;
            let (standing, elapsed) = (live.standing(), start.elapsed());
            if is_terminal {
                let block = block(&live, &standing, &before, elapsed, expected);
                let _ = write!(out, "{}{block}", up(drawn));
                drawn = block.lines().count();
            } else if looks.is_multiple_of(LOOKS_A_LINE) {
                let _ = writeln!(out, "{}", line(&standing, elapsed));
            }
            let _ = out.flush();
            before = (standing, elapsed);
        }
        driver.join()
    });
    let _ = write!(out, "{}", up(drawn));
    outcome.map_err(|_| DriveError::Panic)?
}

/// Over what was drawn before.
fn up(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\r\x1b[J") }
}

/// Of the last moments; without an answer in them there is no time.
fn latency(us: u64) -> String {
    if us == 0 { "none".to_owned() } else { time(Duration::from_micros(us)) }
}

fn line(standing: &Standing, elapsed: Duration) -> String {
    format!(
        "{:>6.1} s  planned {}  sent {}  answered {}  failed {}  p50 {}  p99 {}  late p99 {}  \
         waiting {}  open {}",
        elapsed.as_secs_f64(),
        count(standing.planned),
        count(standing.sent),
        count(standing.answered),
        count(standing.failed),
        latency(standing.p50_us),
        latency(standing.p99_us),
        time(Duration::from_micros(standing.lateness_p99_us)),
        count(standing.waiting),
        count(standing.open),
    )
}

fn block(
    live: &Live,
    standing: &Standing,
    (before, then): &(Standing, Duration),
    elapsed: Duration,
    expected: Option<Duration>,
) -> String {
    let passed = (elapsed.saturating_sub(*then)).as_secs_f64().max(1e-3);
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / passed;
    let statuses: Vec<String> = live
        .statuses()
        .iter()
        .map(|(status, times)| format!("{status}: {}", count(*times)))
        .collect();
    let mut text = String::new();
    // writing to a String cannot fail, here and below
    let _ = writeln!(text, "  {}", progress(elapsed, expected));
    let _ = writeln!(
        text,
        "  rate      planned {:.0}/s  sent {:.0}/s  answered {:.0}/s",
        rate(standing.planned, before.planned),
        rate(standing.sent, before.sent),
        rate(standing.answered, before.answered),
    );
    let _ = writeln!(
        text,
        "  requests  planned {}  sent {}  answered {}  failed {}",
        count(standing.planned),
        count(standing.sent),
        count(standing.answered),
        count(standing.failed),
    );
    let _ = writeln!(text, "  statuses  {}", statuses.join("  "));
    let _ = writeln!(
        text,
        "  latency   p50 {}  p99 {}   generator late by {} at p99",
        latency(standing.p50_us),
        latency(standing.p99_us),
        time(Duration::from_micros(standing.lateness_p99_us)),
    );
    let _ = writeln!(
        text,
        "  sockets   open {}  waiting for one {}   (Ctrl-C ends it in order)",
        count(standing.open),
        count(standing.waiting)
    );
    text
}

fn progress(elapsed: Duration, expected: Option<Duration>) -> String {
    let Some(expected) = expected.filter(|expected| !expected.is_zero()) else {
        return format!("{:.0} s", elapsed.as_secs_f64());
    };
    let done = (elapsed.as_secs_f64() / expected.as_secs_f64()).min(1.0);
    let bar: String =
        (0..30).map(|step| if f64::from(step) < done * 30.0 { '█' } else { '░' }).collect();
    format!(
        "{bar} {:.0} s of {:.0} s, {:.0} s to go",
        elapsed.as_secs_f64(),
        expected.as_secs_f64(),
        expected.saturating_sub(elapsed).as_secs_f64()
    )
}
