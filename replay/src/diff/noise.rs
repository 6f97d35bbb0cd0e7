//! Rules that would quieten noise, and which of them may be had.
//!
//! Owns: proposing `--ignore` rules. Never: applying one by itself. Invariant: no rule is proposed
//! that would hide more than noise; a refusal says what it would hide.
//!
//! The test needs no such rule, it cancels noise by itself; a field that differs every time only
//! costs the eye. A rule that is too broad costs a regression.

use super::answer::KIND;
use super::{NoiseRule, PathDiff};

/// A rule is worth having where at least so much of the answers is noise: 1 of 2.
const NOISE_SHARE: u64 = 2;

/// A path has to be seen so often before anything is said of it.
const SEEN_MIN: u64 = 20;

/// Fields on which money or safety hangs: nobody should stop looking at them unasked.
const NEVER: [(&str, &str); 8] = [
    (".price", "the price decides money"),
    (".cur", "the currency decides money"),
    (".impid", "it says which impression was sold"),
    (".dealid", "it says which deal was sold"),
    (".adomain", "block lists hang on the advertiser"),
    (".cat", "block lists hang on the category"),
    (".nbr", "it is the reason for no bid"),
    (".seat", "it says who bought"),
];

/// Rules for paths of which at least half is noise. `known`: every path with how often it was seen
/// and how often it was noisy.
pub(super) fn rules(paths: &[PathDiff], known: &[(&str, u64, u64)]) -> Vec<NoiseRule> {
    paths
        .iter()
        .filter(|path| !path.path.ends_with(KIND))
        .filter(|path| path.requests >= SEEN_MIN && path.noisy * NOISE_SHARE >= path.requests)
        .map(|path| NoiseRule { rule: path.path.clone(), refused: refused(path, paths, known) })
        .collect()
}

fn refused(path: &PathDiff, paths: &[PathDiff], known: &[(&str, u64, u64)]) -> Option<String> {
    let name = path.path.as_str();
    let of_kind = paths.iter().find(|one| one.path.strip_suffix(KIND) == Some(name));
    if of_kind.is_some_and(|one| one.is_different) {
        return Some("it would hide that the candidate's values are of another kind".to_owned());
    }
    if path.is_different {
        return Some("it would hide that the candidate differs beyond the noise here".to_owned());
    }
    if path.p < 0.05 {
        return Some(format!("the candidate may differ beyond the noise here (p = {:.3})", path.p));
    }
    if name == "status" || name == "body" || name == "$" {
        return Some("it would hide the whole answer".to_owned());
    }
    if name.ends_with("[*]") {
        return Some("it would hide whole elements, and that one is missing".to_owned());
    }
    let never = NEVER.iter().find(|(field, _)| name.ends_with(field));
    if let Some((_, why)) = never {
        return Some((*why).to_owned());
    }
    known.iter().find_map(|(other, seen, noisy)| {
        let below = other.strip_prefix(name)?;
        let is_inside = below.starts_with(['.', '[']);
        (is_inside && noisy * NOISE_SHARE < *seen).then(|| {
            format!("it would also hide {other}, which is steady in {} requests", seen - noisy)
        })
    })
}
