//! Results of the shards of one run become the result of the run.
//!
//! Owns: what may be merged, and how. Never: a file. Invariant: loss-free; every count and every
//! histogram of the sum is the sum of the parts, whatever their order.

use super::windows::Windows;
use super::{Counts, FeedAccount, Invalid, PlanOf, RunResult, ShareOf};
use std::collections::BTreeSet;

/// Why two results are not shards of one run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error("they are not shards of one run: {what} is {left:?} here and {right:?} there")]
    Different { what: &'static str, left: String, right: String },
    #[error("they are not shards of one run: one had ended before the other began")]
    Apart,
    #[error(
        "which shard it is does not stand in it: it was written by an older version; play the run again"
    )]
    NoShare,
    #[error("it is a whole run and no shard of one: shards are played with `--shard INDEX/COUNT`")]
    Whole,
    #[error("they are not shards of one run: this is one of {right}, the others are of {left}")]
    Counts { left: u32, right: u32 },
    #[error("shard {index}/{of} is there twice")]
    Twice { index: u32, of: u32 },
    #[error("of {of} shards {} missing: {}", if missing.len() == 1 { "one is" } else { "some are" }, list(missing))]
    Missing { of: u32, missing: Vec<u32> },
}

/// The first ones by number: there may be a thousand.
fn list(missing: &[u32]) -> String {
    const SHOWN: usize = 16;
    let numbers: Vec<String> = missing.iter().take(SHOWN).map(u32::to_string).collect();
    let rest = missing.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    numbers.join(", ") + &more
}

/// The shards of one run, until all of them are there.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    of: Option<u32>,
    seen: BTreeSet<u32>,
}

impl Gathered {
    /// Takes one in.
    pub fn take(&mut self, share: Option<ShareOf>) -> Result<(), MergeError> {
        let ShareOf { index, of } = share.ok_or(MergeError::NoShare)?;
        if of <= 1 {
            return Err(MergeError::Whole);
        }
        let left = *self.of.get_or_insert(of);
        if left != of {
            return Err(MergeError::Counts { left, right: of });
        }
        let is_new = self.seen.insert(index);
        if is_new { Ok(()) } else { Err(MergeError::Twice { index, of }) }
    }

    /// Whether that were all.
    pub fn check(&self) -> Result<(), MergeError> {
        let of = self.of.unwrap_or(0);
        let missing: Vec<u32> = (0..of).filter(|index| !self.seen.contains(index)).collect();
        if missing.is_empty() { Ok(()) } else { Err(MergeError::Missing { of, missing }) }
    }
}

impl RunResult {
    /// Adds another shard of the same run. Windows are laid side by side by the wall clock.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.check_same(other)?;
        let start = self.started_us.min(other.started_us);
        let end = self
            .started_us
            .saturating_add(self.took_us)
            .max(other.started_us.saturating_add(other.took_us));
        let mut windows = Windows::default();
        while windows.length_us() < self.window_us.max(other.window_us) {
            windows.double();
        }
        for part in [&*self, other] {
            let shift = part.started_us - start;
            for window in &part.windows {
                windows.counts_at(shift.saturating_add(window.start_us)).add(&window.counts);
            }
        }
        (self.window_us, self.windows) = windows.finish();
        self.started_us = start;
        self.took_us = end - start;
        self.whole.add(&other.whole);
        // they waited in different queues
        self.whole.queue_peak =
            self.windows.iter().map(|one| one.counts.queue_peak).max().unwrap_or(0);
        self.feed.add(&other.feed);
        add(&mut self.inspected, other.inspected);
        self.shards = self.shards.saturating_add(other.shards);
        self.merge_invalid(&other.invalid);
        self.judged.merge(&other.judged);
        self.settle();
        if self.plan.target != other.plan.target {
            self.plan.target = format!("{}, {}", self.plan.target, other.plan.target);
        }
        Ok(())
    }

    fn check_same(&self, other: &Self) -> Result<(), MergeError> {
        let (one, two) = (&self.plan, &other.plan);
        for (what, left, right) in [
            ("the source", &one.source.name, &two.source.name),
            ("the origin", &one.source.origin, &two.source.origin),
            ("the schedule", &one.schedule, &two.schedule),
            ("where it ends", &ends(one), &ends(two)),
            ("the protocol", &one.protocol, &two.protocol),
            ("how connections are kept", &one.connections, &two.connections),
            ("the seed", &one.seed.to_string(), &two.seed.to_string()),
            ("what is in the source", &hash(one), &hash(two)),
        ] {
            if left != right {
                let (left, right) = (left.clone(), right.clone());
                return Err(MergeError::Different { what, left, right });
            }
        }
        let ends = |result: &Self| result.started_us.saturating_add(result.took_us);
        let is_apart = self.started_us > ends(other) || other.started_us > ends(self);
        if is_apart { Err(MergeError::Apart) } else { Ok(()) }
    }

    /// Each reason once: of the late ones the worst, of the shed ones the sum.
    fn merge_invalid(&mut self, other: &[Invalid]) {
        for theirs in other {
            let mine = self.invalid.iter_mut().find(|mine| {
                std::mem::discriminant::<Invalid>(mine) == std::mem::discriminant(theirs)
            });
            match (mine, theirs) {
                (None, theirs) => self.invalid.push(theirs.clone()),
                (
                    Some(Invalid::LateGenerator { lateness_p99_us, .. }),
                    Invalid::LateGenerator { lateness_p99_us: late, .. },
                ) => *lateness_p99_us = (*lateness_p99_us).max(*late),
                (Some(Invalid::Shed { requests }), Invalid::Shed { requests: more }) => {
                    add(requests, *more);
                }
                (
                    Some(Invalid::Inspection { inspected, of }),
                    Invalid::Inspection { inspected: more, of: of_more },
                ) => {
                    add(inspected, *more);
                    add(of, *of_more);
                }
                (Some(Invalid::Diversity { axes }), Invalid::Diversity { axes: more }) => {
                    axes.extend_from_slice(more);
                    axes.sort();
                    axes.dedup();
                }
                (Some(_), _) => {}
            }
        }
    }
}

impl Counts {
    /// Adds the counts and times of another part.
    pub fn add(&mut self, other: &Self) {
        self.add_numbers(other);
        self.latency.add(&other.latency.histogram());
        self.service.add(&other.service.histogram());
        self.lateness.add(&other.lateness.histogram());
    }

    /// All but the histograms.
    pub(crate) fn add_numbers(&mut self, other: &Self) {
        add(&mut self.planned, other.planned);
        add(&mut self.sent, other.sent);
        add(&mut self.answered, other.answered);
        for (status, count) in &other.statuses {
            add(self.statuses.entry(*status).or_default(), *count);
        }
        if let Some(count) = other.filled {
            add(self.filled.get_or_insert(0), count);
        }
        for (fault, count) in &other.faults {
            add(self.faults.entry(fault.clone()).or_default(), *count);
        }
        add(&mut self.shed, other.shed);
        add(&mut self.unsent, other.unsent);
        add(&mut self.unfinished, other.unfinished);
        add(&mut self.connects, other.connects);
        add(&mut self.connect_faults, other.connect_faults);
        self.queue_peak = self.queue_peak.max(other.queue_peak);
        add(&mut self.bytes_sent, other.bytes_sent);
        add(&mut self.bytes_received, other.bytes_received);
    }
}

impl FeedAccount {
    /// Adds another shard's part.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.records, other.records);
        self.loops = self.loops.max(other.loops);
        add(&mut self.out_of_order, other.out_of_order);
        add(&mut self.skipped, other.skipped);
        add(&mut self.opaque, other.opaque);
        self.damage = self.damage.take().or_else(|| other.damage.clone());
    }
}

fn ends(plan: &PlanOf) -> String {
    plan.ends.clone().unwrap_or_default()
}

fn hash(plan: &PlanOf) -> String {
    plan.source.hash.clone().unwrap_or_default()
}

/// Counts of a file may be anything.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::report::Report;
    use crate::judge::Judged;
    use crate::result::{ResultError, VERSION, WINDOW_US};
    use std::path::Path;

    /// A shard whose window `n` has a request of `n + 1` ms.
    fn shard(started_us: u64, windows: u64) -> RunResult {
        let (mut parts, mut whole) = (Windows::default(), Counts::default());
        for number in 0..windows {
            let mut report = Report { planned: 1, sent: 1, answered: 1, ..Report::default() };
            report.statuses.insert(200, 1);
            report.latency.saturating_record((number + 1) * 1_000_000);
            parts.add(number * WINDOW_US, &report);
            whole.add_report(&report);
        }
        let (window_us, windows) = parts.finish();
        RunResult {
            version: VERSION,
            plan: PlanOf { target: "http://127.0.0.1:1".to_owned(), ..PlanOf::default() },
            started_us,
            took_us: windows.len() as u64 * window_us,
            window_us,
            windows,
            whole,
            invalid: Vec::new(),
            feed: FeedAccount { records: 7, loops: 1, ..FeedAccount::default() },
            inspected: 1,
            shards: 1,
            judged: Judged::default(),
        }
    }

    #[test]
    fn shards_add_up_whatever_their_order_and_lengths() {
        let (one, two) = (shard(1_000_000, 10), shard(1_250_000, 1_000));
        let mut sum = one.clone();
        sum.merge(&two).unwrap();
        let mut mirrored = two.clone();
        mirrored.merge(&one).unwrap();
        assert_eq!(sum, mirrored);
        assert_eq!((sum.whole.planned, sum.whole.status(200), sum.shards), (1_010, 1_010, 2));
        let mut both = one.whole.latency.histogram();
        both.add(two.whole.latency.histogram()).unwrap();
        assert_eq!(sum.whole.latency.histogram(), both);
        let in_windows: u64 =
            sum.windows.iter().map(|one| one.counts.latency.histogram().len()).sum();
        assert_eq!(in_windows, 1_010);
        assert_eq!(sum.window_us, 200_000);
        assert_eq!((sum.started_us, sum.feed.records), (1_000_000, 14));
    }

    #[test]
    fn what_is_not_of_one_run_is_not_merged() {
        let mut other = shard(0, 3);
        other.plan.schedule = "constant 5/s".to_owned();
        let fault = shard(0, 3).merge(&other).unwrap_err();
        assert!(matches!(fault, MergeError::Different { what: "the schedule", .. }), "{fault}");
        let mut other = shard(0, 3);
        other.plan.ends = Some("500 requests".to_owned());
        let fault = shard(0, 3).merge(&other).unwrap_err();
        assert!(matches!(fault, MergeError::Different { what: "where it ends", .. }), "{fault}");
        let mut other = shard(0, 3);
        other.plan.seed = 5;
        let fault = shard(0, 3).merge(&other).unwrap_err();
        assert!(matches!(fault, MergeError::Different { what: "the seed", .. }), "{fault}");
        let mut other = shard(0, 3);
        other.plan.source.hash = Some("another".to_owned());
        let fault = shard(0, 3).merge(&other).unwrap_err();
        assert!(fault.to_string().contains("what is in the source"), "{fault}");
        assert_eq!(shard(0, 3).merge(&shard(300_001, 3)), Err(MergeError::Apart));
    }

    #[test]
    fn shards_are_all_there_once_and_of_one_count() {
        let share = |index, of| Some(ShareOf { index, of });
        for (shares, expected) in [
            (vec![share(1, 2), share(0, 2)], Ok(())),
            (vec![share(0, 4), share(2, 4)], Err("of 4 shards some are missing: 1, 3".to_owned())),
            (vec![share(0, 3), share(1, 3)], Err("of 3 shards one is missing: 2".to_owned())),
            (vec![share(0, 2), share(0, 2)], Err("shard 0/2 is there twice".to_owned())),
            (
                vec![share(0, 2), share(1, 3)],
                Err(MergeError::Counts { left: 2, right: 3 }.to_string()),
            ),
            (vec![share(0, 1), share(0, 1)], Err(MergeError::Whole.to_string())),
            (vec![share(0, 2), None], Err(MergeError::NoShare.to_string())),
        ] {
            let mut gathered = Gathered::default();
            let all = shares.iter().try_for_each(|share| gathered.take(*share));
            let found = all.and_then(|()| gathered.check()).map_err(|fault| fault.to_string());
            assert_eq!(found, expected, "{shares:?}");
        }
    }

    #[test]
    fn reasons_against_a_run_are_kept() {
        let mut one = shard(0, 1);
        let mut two = shard(0, 1);
        one.invalid.push(Invalid::LateGenerator { lateness_p99_us: 5, limit_us: 2 });
        two.invalid.push(Invalid::LateGenerator { lateness_p99_us: 9, limit_us: 2 });
        two.invalid.push(Invalid::Shed { requests: 3 });
        one.merge(&two).unwrap();
        assert_eq!(
            one.invalid,
            [
                Invalid::LateGenerator { lateness_p99_us: 9, limit_us: 2 },
                Invalid::Shed { requests: 3 }
            ]
        );
    }

    #[test]
    fn a_result_is_read_as_it_was_written_and_nothing_else_is() {
        let path = Path::new("a.json");
        let result = shard(5, 20);
        let text = result.to_json();
        assert_eq!(RunResult::parse(text.as_bytes(), path).unwrap(), result);
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        let fault = RunResult::parse(newer.as_bytes(), path).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "a.json is a result of version 2; this program reads version 1"
        );
        for foreign in ["", "[]", "{}", "{\"version\":1}"] {
            let fault = RunResult::parse(foreign.as_bytes(), path).unwrap_err();
            assert!(matches!(fault, ResultError::Form { .. }), "{foreign}: {fault}");
        }
        let mut wrong = result.clone();
        wrong.whole.planned += 1;
        let fault = RunResult::parse(wrong.to_json().as_bytes(), path).unwrap_err();
        assert!(matches!(fault, ResultError::Contradiction { .. }), "{fault}");
        let mut wrong = result;
        wrong.window_us = 0;
        let fault = RunResult::parse(wrong.to_json().as_bytes(), path).unwrap_err();
        assert!(matches!(fault, ResultError::Contradiction { .. }), "{fault}");
    }
}
