//! The highest rate that holds what is asked of it.
//!
//! Owns: which rate is tried next ([`Search`]) and what a search came to ([`Found`]). Pure: a run is
//! made by `command`, its end comes in as [`Seen`]. Never: a socket, a clock. Invariants: a rate is
//! called held only after the confirmation, and with how sure that is; a run whose figures mean
//! nothing is no evidence either way.
//!
//! Three stages. The ramp doubles the rate until one does not hold; the bisection halves the ratio
//! of the best and the worst until it is within `precision`; each rate of the two is decided by most
//! of `repeats` runs. The confirmation plays longer runs at what was found, and every one of them
//! must hold: else it goes down by a step and begins again. A rate that holds by luck in the
//! bisection does not survive that.

pub mod command;

use serde::{Deserialize, Serialize};

/// How a search goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchSettings {
    /// Where it begins. Requests a second.
    pub from: f64,
    /// Where it ends, whatever holds there.
    pub to: f64,
    /// The ratio of the lowest rate that does not hold to the highest that does comes to 1 and this.
    pub precision: f64,
    /// Runs by most of which a rate is decided; odd.
    pub repeats: u32,
    /// Runs that must all hold in the end.
    pub confirmations: u32,
}

/// Steps down in the confirmation, before nothing is called found.
pub const STEPS_DOWN_MAX: u32 = 10;

/// How sure the figure of a search is said to be.
pub const CONFIDENCE: f64 = 0.95;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Ramp,
    Bisect,
    Confirm,
}

/// A run that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub stage: Stage,
    /// Requests a second.
    pub rate: f64,
}

/// What a run showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Held,
    Missed,
    /// Its figures mean nothing: the generator was late, or what was sent was not what was recorded.
    Unknown,
}

/// Why there is no higher rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The target does not hold it.
    Target,
    /// It is the highest that was asked for.
    Asked,
    /// No valid run could be made beyond it: the generator is the limit, and the target may do more.
    Generator,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The highest rate that was confirmed; none: not even the lowest one was.
    pub rate: Option<f64>,
    /// The lowest rate above it that did not hold.
    pub missed: Option<f64>,
    pub bound: Bound,
    /// Runs at this rate that held, all stages together, and all valid ones.
    pub held: u32,
    pub of: u32,
    /// A run at this rate holds with at least this probability, as far as the confirmation tells,
    /// with [`CONFIDENCE`].
    pub holds_at_least: f64,
}

/// See the file's header.
#[derive(Clone, Debug)]
pub struct Search {
    settings: SearchSettings,
    step: Step,
    votes: Votes,
    low: Option<f64>,
    high: Option<(f64, Bound)>,
    steps_down: u32,
    /// Runs and their ends, for the account of the rate that is found.
    seen: Vec<(f64, Seen)>,
    found: Option<Found>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    held: u32,
    missed: u32,
    unknown: u32,
}

impl Search {
    pub fn new(settings: SearchSettings) -> Self {
        Self {
            settings,
            step: Step { stage: Stage::Ramp, rate: settings.from.min(settings.to) },
            votes: Votes::default(),
            low: None,
            high: None,
            steps_down: 0,
            seen: Vec::new(),
            found: None,
        }
    }

    /// The run that is to be made; none: it is over.
    pub fn next(&self) -> Option<Step> {
        self.found.is_none().then_some(self.step)
    }

    /// What came of it, where it is over.
    pub fn found(&self) -> Option<Found> {
        self.found
    }

    /// Takes what the run of [`Search::next`] showed.
    pub fn take(&mut self, seen: Seen) {
        self.seen.push((self.step.rate, seen));
        let votes = &mut self.votes;
        match seen {
            Seen::Held => votes.held += 1,
            Seen::Missed => votes.missed += 1,
            Seen::Unknown => votes.unknown += 1,
        }
        let most = match self.step.stage {
            Stage::Ramp | Stage::Bisect => self.settings.repeats / 2 + 1,
            Stage::Confirm => self.settings.confirmations,
        };
        let is_confirmed = self.step.stage == Stage::Confirm;
        let decided = match *votes {
            Votes { missed, .. } if missed >= if is_confirmed { 1 } else { most } => Seen::Missed,
            Votes { held, .. } if held >= most => Seen::Held,
            Votes { unknown, .. } if unknown >= most => Seen::Unknown,
            _ => return,
        };
        self.votes = Votes::default();
        match self.step.stage {
            Stage::Ramp | Stage::Bisect => self.decide(decided),
            Stage::Confirm => self.confirm(decided),
        }
    }

    fn decide(&mut self, decided: Seen) {
        let rate = self.step.rate;
        match decided {
            Seen::Held => self.low = Some(rate),
            Seen::Missed => self.high = Some((rate, Bound::Target)),
            Seen::Unknown => self.high = Some((rate, Bound::Generator)),
        }
        let Some(low) = self.low else { return self.end(None) };
        let next = match self.high {
            None if low >= self.settings.to => {
                self.high = Some((self.settings.to, Bound::Asked));
                None
            }
            None => Some((Stage::Ramp, rounded(low * 2.0).min(self.settings.to))),
            Some((high, _)) => {
                let is_wide = high / low > 1.0 + self.settings.precision;
                let middle = rounded((low * high).sqrt());
                // rounded rates may have none between them
                let is_between = low < middle && middle < high;
                (is_wide && is_between).then_some((Stage::Bisect, middle))
            }
        };
        let (stage, rate) = next.unwrap_or((Stage::Confirm, low));
        self.step = Step { stage, rate };
    }

    fn confirm(&mut self, decided: Seen) {
        let rate = self.step.rate;
        let bound = match decided {
            Seen::Held => return self.end(Some(rate)),
            Seen::Missed => Bound::Target,
            Seen::Unknown => Bound::Generator,
        };
        self.high = Some((rate, bound));
        self.steps_down += 1;
        let next = rounded(rate / (1.0 + self.settings.precision));
        if self.steps_down > STEPS_DOWN_MAX || next < self.settings.from {
            return self.end(None);
        }
        self.step = Step { stage: Stage::Confirm, rate: next };
    }

    fn end(&mut self, rate: Option<f64>) {
        let at = rate.unwrap_or(self.step.rate).to_bits();
        let ends = |wanted: Seen| {
            let all = self.seen.iter().filter(|(rate, _)| rate.to_bits() == at);
            u32::try_from(all.filter(|(_, seen)| *seen == wanted).count()).unwrap_or(u32::MAX)
        };
        let (held, missed) = (ends(Seen::Held), ends(Seen::Missed));
        let (high, bound) = self.high.unzip();
        let bound = bound.unwrap_or(Bound::Target);
        self.found = Some(Found {
            rate,
            missed: high.filter(|_| bound == Bound::Target),
            bound,
            held,
            of: held + missed,
            holds_at_least: rate.map_or(0.0, |_| sure_of(self.settings.confirmations)),
        });
    }
}

/// A rate between those that were asked for, as somebody may type it again: to three digits or more.
fn rounded(rate: f64) -> f64 {
    if rate >= 100.0 {
        return rate.round();
    }
    let mut unit = 100.0;
    // the lowest rate of all is far above what this comes to
    while rate * unit < 100.0 && unit < 1e300 {
        unit *= 10.0;
    }
    (rate * unit).round() / unit
}

/// Of a run that held each of `runs` times: the probability at which that would come about with a
/// chance of no more than 1 - [`CONFIDENCE`] (Clopper and Pearson's lower bound).
pub fn sure_of(runs: u32) -> f64 {
    (1.0 - CONFIDENCE).powf(1.0 / f64::from(runs.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use proptest::prelude::*;

    fn settings(from: f64, to: f64) -> SearchSettings {
        SearchSettings { from, to, precision: 0.05, repeats: 3, confirmations: 5 }
    }

    /// Plays a target; gives what was found and how many runs that took.
    fn searched(settings: SearchSettings, mut target: impl FnMut(Step) -> Seen) -> (Found, u32) {
        let (mut search, mut runs) = (Search::new(settings), 0);
        while let Some(step) = search.next() {
            search.take(target(step));
            runs += 1;
            assert!(runs < 1_000, "it does not end");
        }
        (search.found().unwrap(), runs)
    }

    fn sharp(limit: f64) -> impl Fn(Step) -> Seen {
        move |step| if step.rate <= limit { Seen::Held } else { Seen::Missed }
    }

    #[test]
    fn a_sharp_limit_is_found_within_the_precision_from_below() {
        for limit in [100.0, 101.0, 333.0, 1_234.0, 4_999.0, 79_999.0] {
            let (found, runs) = searched(settings(100.0, 100_000.0), sharp(limit));
            let rate = found.rate.unwrap();
            assert!(rate <= limit && rate * 1.06 >= limit, "{rate} of {limit}");
            assert!(found.missed.unwrap() > limit && found.bound == Bound::Target, "{found:?}");
            assert!(found.held >= 5 && found.held == found.of, "{found:?}");
            assert!(runs <= 2 * 16 + 5, "{runs} runs for {limit}");
        }
    }

    #[test]
    fn a_rate_that_is_not_tried_beyond_says_so() {
        let (found, _) = searched(settings(100.0, 1_000.0), |_| Seen::Held);
        assert_eq!((found.rate, found.bound, found.missed), (Some(1_000.0), Bound::Asked, None));
        assert!((found.holds_at_least - 0.549).abs() < 0.001, "{found:?}");
    }

    #[test]
    fn nothing_is_found_where_the_lowest_rate_does_not_hold() {
        let (found, runs) = searched(settings(100.0, 1_000.0), |_| Seen::Missed);
        assert_eq!((found.rate, found.bound, runs), (None, Bound::Target, 2));
        assert_eq!((found.held, found.of), (0, 2));
    }

    #[test]
    fn a_late_generator_is_named_as_the_limit_and_not_the_target() {
        let (found, _) = searched(settings(100.0, 10_000.0), |step| {
            if step.rate <= 700.0 { Seen::Held } else { Seen::Unknown }
        });
        assert_eq!((found.bound, found.missed), (Bound::Generator, None));
        assert!(found.rate.unwrap() > 650.0, "{found:?}");
        let (found, _) = searched(settings(100.0, 10_000.0), |_| Seen::Unknown);
        assert_eq!((found.rate, found.bound), (None, Bound::Generator));
    }

    #[test]
    fn the_rates_that_were_asked_for_are_played_as_they_are() {
        let played = |from, to| {
            let mut rates = Vec::new();
            let (found, _) = searched(settings(from, to), |step| {
                rates.push(step.rate);
                Seen::Held
            });
            assert_eq!((found.rate, found.bound), (Some(to), Bound::Asked));
            rates.dedup();
            rates
        };
        assert_eq!(played(20.0, 50.004), [20.0, 40.0, 50.004]);
        assert_eq!(played(100.3, 150.6), [100.3, 150.6]);
        assert_eq!(played(0.004, 0.0085), [0.004, 0.008, 0.0085]);
    }

    #[test]
    fn rates_with_none_between_them_are_near_enough() {
        let fine = SearchSettings { precision: 0.005, ..settings(150.0, 1_000.0) };
        let (found, _) = searched(fine, sharp(150.0));
        assert_eq!((found.rate, found.missed), (Some(150.0), Some(151.0)));
    }

    proptest! {
        #[test]
        fn every_search_ends(
            from in -4.0..6.0_f64, octaves in 0.0..20.0_f64, precision in 0.005..1.0_f64,
            limit in -0.1..1.1_f64, late in -0.1..1.5_f64, repeats in 0..3_u32,
        ) {
            let from = 10.0_f64.powf(from);
            let to = (from * octaves.exp2()).min(10_000_000.0);
            let at = |share: f64| from * (to / from).powf(share) * (1.0 + share.min(0.0));
            let settings =
                SearchSettings { from, to, precision, repeats: 2 * repeats + 1, confirmations: 5 };
            let (found, runs) = searched(settings, |step| {
                assert!((from..=to).contains(&step.rate), "{step:?}");
                match () {
                    () if step.rate > at(late) => Seen::Unknown,
                    () if step.rate > at(limit) => Seen::Missed,
                    () => Seen::Held,
                }
            });
            // to double and to halve, each by so many runs; and to confirm
            let halved = (2.0_f64.ln() / (1.0 + precision).ln()).log2().max(0.0);
            let rates = octaves.ceil() + 2.0 + halved.ceil() + 2.0;
            prop_assert!(f64::from(runs) <= rates * f64::from(repeats + 1) + 5.0, "{}", runs);
            prop_assert!(found.rate.is_none_or(|rate| rate <= at(limit).min(at(late))));
        }
    }

    /// One run in five goes wrong whatever the rate: the vote is not swayed, the confirmation is.
    #[test]
    fn one_bad_run_does_not_sway_the_vote_and_one_good_run_not_the_confirmation() {
        let mut calls = 0;
        let (found, _) = searched(settings(100.0, 10_000.0), |step| {
            calls += 1;
            let is_bad = step.stage != Stage::Confirm && calls % 3 == 0;
            let held = step.rate <= 2_000.0;
            match (held, is_bad) {
                (true, false) | (false, true) => Seen::Held,
                (true, true) | (false, false) => Seen::Missed,
            }
        });
        assert!((1_800.0..=2_000.0).contains(&found.rate.unwrap()), "{found:?}");
        let mut confirmed = 0;
        let (found, _) = searched(settings(100.0, 10_000.0), |step| {
            confirmed += u32::from(step.stage == Stage::Confirm);
            let is_held = step.rate <= if confirmed > 0 { 1_500.0 } else { 2_000.0 };
            if is_held { Seen::Held } else { Seen::Missed }
        });
        assert!((1_400.0..=1_500.0).contains(&found.rate.unwrap()), "{found:?}");
    }

    /// A target that holds less often the nearer it comes to its limit: what is confirmed holds
    /// mostly, over many seeds.
    #[test]
    fn what_is_confirmed_mostly_holds_where_the_limit_is_soft() {
        let chance = |rate: f64| 1.0 / (1.0 + ((rate - 2_000.0) / 100.0).exp());
        let mut weak = 0;
        for seed in 0..200 {
            let mut random = Random::seeded(seed);
            let (found, _) = searched(settings(100.0, 10_000.0), |step| {
                if random.chance(chance(step.rate)) { Seen::Held } else { Seen::Missed }
            });
            // none at all is allowed: it went down below where it began
            let is_weak = found.rate.is_some_and(|rate| chance(rate) < found.holds_at_least);
            weak += u32::from(is_weak);
        }
        // one in twenty, and three deviations of a count of that over 200
        assert!(weak <= 19, "{weak} of 200 were confirmed where they hold too seldom");
    }
}
