//! When a difference is beyond chance.
//!
//! Owns: the exact tail of the binomial distribution, and which of many paths may be called
//! different. Never: what a path is. Pure.
//!
//! The same request goes to three servers in random order: primary, secondary, candidate. Where the
//! candidate is the same build, the three answers are exchangeable, however noisy the build is. So
//! of the requests in which exactly one of the three is the odd one out, the candidate is it in a
//! third, exactly, and nothing has to be assumed or estimated about the noise. The test is McNemar's
//! with the primary's own oddness as a second control: the tail of Binomial(odd, 1/3).

use std::collections::BTreeMap;

/// The chance that it is the candidate that is the odd one out of three equal builds.
pub const CHANCE: f64 = 1.0 / 3.0;

/// P(X >= `hits`) for X ~ Binomial(`of`, `chance`); 1 where nothing was seen.
pub fn tail(hits: u64, of: u64, chance: f64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    if hits > of {
        return 0.0;
    }
    let (hit, miss) = (chance.ln(), (-chance).ln_1p());
    // ln of the first term, then each from the one before: sums of positive terms lose nothing
    let choose: f64 =
        (0..of - hits).map(|step| ((hits + step + 1) as f64).ln() - ((step + 1) as f64).ln()).sum();
    let first = choose + hits as f64 * hit + (of - hits) as f64 * miss;
    let (mut sum, mut term) = (1.0_f64, 1.0_f64);
    for count in hits..of {
        term *= (of - count) as f64 / (count + 1) as f64 * chance / (1.0 - chance);
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    (first + sum.ln()).exp().min(1.0)
}

/// What was seen of one path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Its own p-value.
    pub p: f64,
    /// The smallest p-value that as many discordant requests could have given.
    pub p_min: f64,
}

/// p-values that hold for all paths together: the chance that any path of two equal builds comes
/// below `alpha` is at most `alpha` (Holm over the paths that could come below it at all: Tarone's
/// reduction, which depends on the numbers of discordant requests only, never on whose they are).
pub fn adjusted<K: Ord + Clone>(evidence: &BTreeMap<K, Evidence>, alpha: f64) -> BTreeMap<K, f64> {
    let mut smallest: Vec<f64> = evidence.values().map(|one| one.p_min).collect();
    smallest.sort_by(f64::total_cmp);
    let testable =
        |factor: usize| smallest.iter().take_while(|p| **p <= alpha / factor as f64).count();
    let factor = (1..=smallest.len()).find(|factor| testable(*factor) <= *factor);
    let factor = factor.unwrap_or(smallest.len()).max(1);
    let bound = alpha / factor as f64;
    let mut tested: Vec<(&K, f64)> =
        evidence.iter().filter(|(_, one)| one.p_min <= bound).map(|(k, one)| (k, one.p)).collect();
    tested.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let count = tested.len();
    let mut found: BTreeMap<K, f64> = evidence.keys().map(|key| (key.clone(), 1.0)).collect();
    let mut highest = 0.0_f64;
    for (rank, (key, p)) in tested.into_iter().enumerate() {
        highest = highest.max(p * (count - rank) as f64).min(1.0);
        found.insert(key.clone(), highest);
    }
    found
}

/// The smallest share of wrong answers on an otherwise steady path that `requests` requests find in
/// nine of ten runs; above 1: no share.
pub fn detectable(requests: u64, paths: u64, alpha: f64) -> f64 {
    // two looks at each path, each of which needs 3^-k below its part of alpha
    let needed = ((2.0 * paths.max(1) as f64 / alpha).ln() / 3.0_f64.ln()).ceil();
    if requests == 0 {
        return f64::INFINITY;
    }
    // the 10th percentile of a Poisson count reaches k at about k + 1.28 sqrt(k) + 1
    (needed + 1.2816 * needed.sqrt() + 1.0) / requests as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_distribution() {
        for (hits, of, chance, expected) in [
            (0, 10, 0.5, 1.0),
            (10, 10, 0.5, 1.0 / 1024.0),
            (9, 10, 0.5, 11.0 / 1024.0),
            (2, 3, CHANCE, 7.0 / 27.0),
            (1, 3, CHANCE, 19.0 / 27.0),
            (4, 3, CHANCE, 0.0),
        ] {
            let found = tail(hits, of, chance);
            assert!((found - expected).abs() < 1e-12, "{hits} of {of}: {found}");
        }
        // the sum over all terms, by brute force in another way
        for of in [30_u64, 200] {
            let mut pmf = vec![1.0_f64];
            for _ in 0..of {
                let mut next = vec![0.0; pmf.len() + 1];
                for (count, p) in pmf.iter().enumerate() {
                    next[count] += p * (1.0 - CHANCE);
                    next[count + 1] += p * CHANCE;
                }
                pmf = next;
            }
            for hits in [1, of / 4, of / 3, of / 2, of] {
                let at = usize::try_from(hits).unwrap();
                let expected: f64 = pmf[at..].iter().sum();
                let found = tail(hits, of, CHANCE);
                assert!((found / expected - 1.0).abs() < 1e-9, "{hits} of {of}");
            }
        }
        // far out and large: no overflow, no NaN
        assert!(tail(90_000, 100_000, CHANCE) < 1e-300);
        assert!((tail(33_333, 100_000, CHANCE) - 0.5).abs() < 0.01);
    }

    #[test]
    fn paths_that_could_never_be_called_do_not_weigh_on_those_that_could() {
        let strong = Evidence { p: 1e-6, p_min: 1e-9 };
        let weak = Evidence { p: 0.3, p_min: 0.3 };
        let mut evidence: BTreeMap<u32, Evidence> = (1..5_000).map(|key| (key, weak)).collect();
        evidence.insert(0, strong);
        let found = adjusted(&evidence, 1e-3);
        assert!(found[&0] < 1e-5, "{}", found[&0]);
        assert!(found[&1] > 0.9);
        // as many equally strong ones do
        let evidence: BTreeMap<u32, Evidence> = (0..5_000).map(|key| (key, strong)).collect();
        assert!(adjusted(&evidence, 1e-3).values().all(|p| *p > 1e-3));
    }

    #[test]
    fn holm_steps_down_and_never_back() {
        let one = |p: f64| Evidence { p, p_min: 1e-12 };
        let evidence: BTreeMap<u32, Evidence> =
            [(0, one(0.001)), (1, one(0.02)), (2, one(0.015)), (3, one(0.9))].into();
        let found = adjusted(&evidence, 0.05);
        for (key, expected) in [(0, 0.004), (2, 0.045), (1, 0.045), (3, 0.9)] {
            assert!((found[&key] - expected).abs() < 1e-12, "{key}: {}", found[&key]);
        }
    }

    #[test]
    fn more_requests_find_smaller_faults() {
        assert!(detectable(1_000, 40, 1e-3) < 0.025);
        assert!(detectable(10_000, 40, 1e-3) < 0.002_5);
        assert!(detectable(0, 40, 1e-3).is_infinite());
        assert!(detectable(5, 40, 1e-3) > 1.0);
    }
}
