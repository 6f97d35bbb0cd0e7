//! How often each of three answers was the odd one out, by path.
//!
//! Owns: the counts of one comparison and their merging. Never: a socket. Invariants: the order in
//! which requests were compared does not matter; the size is bounded by `PATHS_MAX`.

use super::answer::{KIND, Side};
use super::significance::{CHANCE, Evidence, adjusted, detectable, tail};
use super::{DiffResult, Example, PathDiff, noise};
use std::collections::{BTreeMap, BTreeSet};

/// Paths kept apart; differences on further ones are only counted.
const PATHS_MAX: usize = 4_000;

/// Examples kept a path: those first that held when they were looked at again, then those of the
/// lowest request numbers.
const EXAMPLES_MAX: usize = 3;

/// Whose answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Primary = 0,
    Secondary = 1,
    Candidate = 2,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Primary, Self::Secondary, Self::Candidate];
}

/// Three answers to one request.
#[derive(Clone, Debug)]
pub struct Trio {
    pub primary: Side,
    pub secondary: Side,
    pub candidate: Side,
}

/// Who was alone, by path.
pub type Alone = BTreeMap<String, Role>;

#[derive(Clone, Debug, Default)]
struct Counts {
    seen: u64,
    noisy: u64,
    /// By `Role`.
    alone: [u64; 3],
    again: [u64; 3],
    /// By whether it was not confirmed, and the number of the request.
    examples: BTreeMap<(bool, u64), Example>,
}

/// See the file's header.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub repeated: u64,
    pub unanswered: [u64; 3],
    /// See [`DiffResult::welcome`].
    pub welcome: u64,
    pub turned_away: [u64; 3],
    beyond: u64,
    paths: BTreeMap<String, Counts>,
}

impl Trio {
    /// Who is alone, and where primary and secondary differ.
    fn judged(&self) -> (Alone, BTreeSet<String>) {
        let noisy = self.primary.differences(&self.secondary);
        let primary = self.primary.differences(&self.candidate);
        let secondary = self.secondary.differences(&self.candidate);
        let mut alone = Alone::new();
        for path in primary.intersection(&secondary).filter(|path| !noisy.contains(*path)) {
            alone.insert(path.clone(), Role::Candidate);
        }
        for path in noisy.intersection(&primary).filter(|path| !secondary.contains(*path)) {
            alone.insert(path.clone(), Role::Primary);
        }
        for path in noisy.intersection(&secondary).filter(|path| !primary.contains(*path)) {
            alone.insert(path.clone(), Role::Secondary);
        }
        (alone, noisy)
    }
}

impl Trio {
    fn example(&self, request: u64, path: &str) -> Example {
        let (primary, candidate) = (self.primary.show(path), self.candidate.show(path));
        Example { request, primary, candidate }
    }
}

impl Tally {
    /// Takes in the first look at a request; gives who was alone, for another look.
    pub fn observe(&mut self, number: u64, trio: &Trio) -> Alone {
        self.requests += 1;
        let mut seen = trio.primary.paths();
        seen.extend(trio.candidate.paths());
        let (alone, noisy) = trio.judged();
        for path in seen.iter().chain(alone.keys().filter(|path| !seen.contains(*path))) {
            let Some(counts) = self.counts(path) else { continue };
            counts.seen += 1;
            counts.noisy += u64::from(noisy.contains(path));
            let Some(role) = alone.get(path) else { continue };
            counts.alone[*role as usize] += 1;
            if *role == Role::Candidate {
                counts.keep((true, number), trio.example(number, path));
            }
        }
        alone
    }

    /// Takes in further looks at a request in which somebody had been alone. One vote a request:
    /// looks at the same request need not be independent of each other.
    pub fn observe_again(&mut self, number: u64, first: &Alone, rounds: &[Trio]) {
        self.repeated += 1;
        let judged: Vec<Alone> = rounds.iter().map(|trio| trio.judged().0).collect();
        for path in first.keys() {
            let Some(counts) = self.counts(path) else { continue };
            for role in Role::ALL {
                let times = judged.iter().filter(|alone| alone.get(path) == Some(&role)).count();
                if times * 2 <= rounds.len() {
                    continue;
                }
                counts.again[role as usize] += 1;
                let last =
                    rounds.iter().zip(&judged).rfind(|(_, one)| one.get(path) == Some(&role));
                if let (Role::Candidate, Some((trio, _))) = (role, last) {
                    counts.examples.remove(&(true, number));
                    counts.keep((false, number), trio.example(number, path));
                }
            }
        }
    }

    fn counts(&mut self, path: &str) -> Option<&mut Counts> {
        if !self.paths.contains_key(path) {
            if self.paths.len() >= PATHS_MAX {
                self.beyond += 1;
                return None;
            }
            self.paths.insert(path.to_owned(), Counts::default());
        }
        self.paths.get_mut(path)
    }

    /// Adds what another thread compared.
    pub fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.repeated += other.repeated;
        self.beyond += other.beyond;
        self.welcome += other.welcome;
        let mine = self.unanswered.iter_mut().chain(&mut self.turned_away);
        for (mine, theirs) in mine.zip(other.unanswered.into_iter().chain(other.turned_away)) {
            *mine += theirs;
        }
        for (path, theirs) in other.paths {
            let Some(mine) = self.counts(&path) else { continue };
            mine.seen += theirs.seen;
            mine.noisy += theirs.noisy;
            for role in Role::ALL {
                mine.alone[role as usize] += theirs.alone[role as usize];
                mine.again[role as usize] += theirs.again[role as usize];
            }
            for (key, example) in theirs.examples {
                mine.keep(key, example);
            }
        }
    }

    /// What it comes to. Names of servers and files are the caller's.
    pub fn result(&self, alpha: f64) -> DiffResult {
        let discordant: BTreeMap<&str, &Counts> = self
            .paths
            .iter()
            .filter(|(_, counts)| counts.noisy + counts.alone[Role::Candidate as usize] > 0)
            .map(|(path, counts)| (path.as_str(), counts))
            .collect();
        let evidence: BTreeMap<&str, Evidence> =
            discordant.iter().map(|(path, counts)| (*path, counts.evidence())).collect();
        let adjusted = adjusted(&evidence, alpha);
        let mut paths: Vec<PathDiff> = discordant
            .iter()
            .map(|(path, counts)| {
                let p = evidence.get(path).map_or(1.0, |one| one.p);
                counts.path_diff(path, p, adjusted.get(path).copied().unwrap_or(1.0), alpha)
            })
            .collect();
        // a field that is called different is so once
        let different: BTreeSet<String> =
            paths.iter().filter(|one| one.is_different).map(|one| one.path.clone()).collect();
        paths.retain(|one| {
            let of = one.path.strip_suffix(KIND);
            of.is_none_or(|value| one.is_different && !different.contains(value))
        });
        paths.sort_by(|one, other| {
            one.p.total_cmp(&other.p).then_with(|| one.path.cmp(&other.path))
        });
        let steady = self.paths.len() - discordant.len();
        let known: Vec<(&str, u64, u64)> = self
            .paths
            .iter()
            .map(|(path, counts)| (path.as_str(), counts.seen, counts.noisy))
            .collect();
        DiffResult {
            capture: String::new(),
            primary: String::new(),
            secondary: String::new(),
            candidate: String::new(),
            seed: 0,
            requests: self.requests,
            repeated: self.repeated,
            unanswered: self.unanswered,
            welcome: self.welcome,
            turned_away: self.turned_away,
            alpha,
            detectable: detectable(self.requests, discordant.len() as u64, alpha),
            noise_rules: noise::rules(&paths, &known),
            paths,
            steady: steady as u64,
            beyond: self.beyond,
            ignored: Vec::new(),
        }
    }
}

impl Counts {
    fn keep(&mut self, key: (bool, u64), example: Example) {
        self.examples.insert(key, example);
        if self.examples.len() > EXAMPLES_MAX {
            self.examples.pop_last();
        }
    }

    /// The smaller of two exact p-values, twice.
    fn evidence(&self) -> Evidence {
        let look = |alone: [u64; 3]| {
            let of = alone.iter().sum();
            (tail(alone[Role::Candidate as usize], of, CHANCE), tail(of, of, CHANCE))
        };
        let (first, again) = (look(self.alone), look(self.again));
        Evidence {
            p: (2.0 * first.0.min(again.0)).min(1.0),
            p_min: (2.0 * first.1.min(again.1)).min(1.0),
        }
    }

    fn path_diff(&self, path: &str, p: f64, p_adjusted: f64, alpha: f64) -> PathDiff {
        let [primary, secondary, candidate] = self.alone;
        let by_noise = (primary + secondary) as f64 / 2.0;
        PathDiff {
            path: path.to_owned(),
            requests: self.seen,
            noisy: self.noisy,
            candidate_alone: candidate,
            primary_alone: primary,
            secondary_alone: secondary,
            again_candidate: self.again[Role::Candidate as usize],
            again_others: self.again[Role::Primary as usize] + self.again[Role::Secondary as usize],
            p,
            p_adjusted,
            is_different: p_adjusted <= alpha,
            excess: (candidate as f64 - by_noise) / self.seen.max(1) as f64,
            examples: self.examples.values().cloned().collect(),
        }
    }
}
