//! Comparisons of scripted builds, over many seeds.

use super::answer::Ignore;
use super::run::{Compare, DiffSettings};
use super::tally::{Role, Tally};
use super::{DiffResult, NoiseRule};
use crate::ask::{Answered, Asked};
use crate::random::Random;
use crate::sample::Sample;
use serde_json::{Value, json};

/// Makes an answer of a role to request `number`, with numbers that are new each time.
type Script<'a> = &'a dyn Fn(Role, u64, &mut Random) -> Value;

fn compared(seed: u64, requests: u64, repeats: u64, script: Script<'_>) -> DiffResult {
    let settings = DiffSettings { seed, repeats, fresh_ids: false, ..DiffSettings::default() };
    let ignore = Ignore::default();
    let mut compare = Compare { settings: &settings, ignore: &ignore, tally: Tally::default() };
    let mut random = Random::seeded(seed);
    for number in 0..requests {
        let sample = Sample { number, ..Sample::default() };
        compare.request(&sample, &mut |role: Role, _: &Asked| {
            let body = script(role, number, &mut random).to_string().into_bytes();
            Ok(Answered { status: 200, headers: Vec::new(), body })
        });
    }
    compare.tally.result(settings.alpha)
}

/// The chance that makes two answers differ in 5 of 100 requests, where each is off by itself:
/// 2 e (1 - e) + e^2 (two that are off differ) = 0.05.
const OFF: f64 = 0.025_320_565;

/// A price that is off in some answers of every build.
fn noisy(random: &mut Random) -> f64 {
    if random.chance(OFF) { random.unit() } else { 2.5 }
}

fn is_wrong(number: u64) -> bool {
    // 2 of 100 requests, spread
    Random::for_item(99, number).chance(0.02)
}

#[test]
fn two_percent_wrong_behind_five_percent_noise_is_found() {
    for seed in 0..12 {
        let result = compared(seed, 2_000, 4, &|role, number, random| {
            let noisy = noisy(random);
            let is_off = role == Role::Candidate && is_wrong(number);
            json!({"id": "r", "price": if is_off { 9.0 } else { noisy }, "cur": "USD"})
        });
        let path = &result.paths[0];
        assert_eq!(path.path, "$.price", "seed {seed}");
        assert!(path.is_different && result.is_different(), "seed {seed}: {path:?}");
        assert!((0.01..0.03).contains(&path.excess), "seed {seed}: {path:?}");
        // what it says of the noise is right: 5 % and some
        assert!((60..150).contains(&path.noisy), "seed {seed}: {path:?}");
        assert!(!path.examples.is_empty());
        assert_eq!(result.invalid(), None);
    }
}

#[test]
fn a_fault_that_comes_by_chance_is_found_without_a_second_look() {
    for seed in 0..6 {
        let result = compared(seed, 6_000, 0, &|role, _, random| {
            let noisy = noisy(random);
            let is_off = role == Role::Candidate && random.chance(0.02);
            json!({"price": if is_off { 9.0 } else { noisy }})
        });
        assert!(result.is_different(), "seed {seed}: {:?}", result.paths);
    }
}

/// A build with noise of every kind: now and then, in certain requests only, always, a bid that
/// comes and goes, a key that is new each time.
fn restless(number: u64, random: &mut Random) -> Value {
    let is_torn = Random::for_item(5, number).chance(0.1);
    let mut bids = vec![json!({
        "impid": "1",
        "price": noisy(random),
        "id": random.bits().to_string(),
        "crid": if is_torn { random.below(2) } else { 7 },
    })];
    if random.chance(0.9) {
        bids.push(json!({"impid": "2", "price": 1}));
    }
    let key = format!("k{}", random.below(400));
    json!({"id": "r", "bidid": random.bits(), "seatbid": [{"seat": "s", "bid": bids}],
           "ext": {key: 1}, "coin": random.chance(0.5)})
}

#[test]
fn twenty_runs_of_a_restless_build_against_itself_raise_no_alarm() {
    for seed in 0..20 {
        let result = compared(seed, 400, 4, &|_, number, random| restless(number, random));
        assert!(result.paths.len() > 300, "seed {seed}");
        assert!(!result.is_different(), "seed {seed}: {:?}", result.paths[0]);
    }
}

#[test]
fn p_values_of_equal_builds_are_not_too_small() {
    let runs = 400;
    let below = |limit: f64| {
        let hits = (0..runs).filter(|seed| {
            let result = compared(*seed, 80, 4, &|_, _, random| json!(random.below(4)));
            result.paths[0].p <= limit
        });
        hits.count() as f64 / runs as f64
    };
    // three standard errors of a share of 0.1 over 400 runs
    let found = below(0.1);
    assert!(found <= 0.1 + 0.045, "{found}");
    assert!(found > 0.005, "the test would find nothing: {found}");
}

#[test]
fn faults_in_status_presence_and_order_of_blame_are_told_apart() {
    let result = compared(3, 500, 4, &|role, number, _| match role {
        Role::Candidate if number % 20 == 0 => json!({"seatbid": []}),
        _ => json!({"seatbid": [{"seat": "a"}, {"seat": "b"}]}),
    });
    assert_eq!(result.paths.len(), 1);
    let path = &result.paths[0];
    assert_eq!((path.path.as_str(), path.candidate_alone, path.noisy), ("$.seatbid[*]", 25, 0));
    assert_eq!((path.again_candidate, path.again_others), (25, 0));
    assert_eq!(path.examples[0].request, 0);
    // the same fault in the primary is not the candidate's
    let result = compared(3, 500, 4, &|role, number, _| match role {
        Role::Primary if number % 20 == 0 => json!({"seatbid": []}),
        _ => json!({"seatbid": [{"seat": "a"}, {"seat": "b"}]}),
    });
    assert!(!result.is_different());
    assert_eq!((result.paths[0].primary_alone, result.paths[0].candidate_alone), (25, 0));
}

#[test]
fn a_fault_in_a_field_that_is_new_each_time_is_found_by_its_kind() {
    let result = compared(5, 1_500, 4, &|role, number, random| {
        let is_off = role == Role::Candidate && is_wrong(number);
        json!({"bidid": if is_off { String::new() } else { random.bits().to_string() }})
    });
    let path = result.paths.iter().find(|path| path.is_different).unwrap();
    assert_eq!(path.path, "$.bidid (kind)");
    let refused = result.noise_rules[0].refused.as_ref().unwrap();
    assert!(refused.contains("another kind"), "{refused}");
}

#[test]
fn too_few_requests_say_nothing_rather_than_that_all_is_well() {
    let result = compared(1, 5, 4, &|_, _, _| json!({"a": 1}));
    assert!(result.invalid().unwrap().contains("too few"));
}

#[test]
fn rules_for_noise_are_proposed_unless_they_would_hide_something_else() {
    let result = compared(8, 600, 4, &|role, number, random| {
        let is_off = role == Role::Candidate && number % 2 == 0;
        json!({
            "bidid": random.bits(),
            "price": random.unit(),
            "trace": if is_off { json!(7) } else { json!(random.below(3)) },
            "ext": if random.chance(0.6) { json!({"a": 1}) } else { json!("none") },
            "quiet": random.chance(0.02),
        })
    });
    let rule = |name: &str| -> &NoiseRule {
        result.noise_rules.iter().find(|rule| rule.rule == name).unwrap()
    };
    assert_eq!(rule("$.bidid").refused, None);
    assert!(rule("$.price").refused.as_ref().unwrap().contains("money"));
    // the candidate's answer is not what chance would make of it
    assert!(rule("$.trace").refused.as_ref().unwrap().contains("differ"));
    // hidden with it: what is below, and steady
    assert!(result.noise_rules.iter().all(|rule| rule.rule != "$.quiet"));
    let refused = result.noise_rules.iter().find(|rule| rule.rule == "$.ext");
    if let Some(rule) = refused {
        assert!(rule.refused.as_ref().unwrap().contains("$.ext.a"), "{rule:?}");
    }
}

#[test]
fn a_comparison_in_parts_is_the_same_comparison() {
    let settings = DiffSettings { fresh_ids: false, ..DiffSettings::default() };
    let ignore = Ignore::default();
    let part = |numbers: &[u64]| {
        let mut compare = Compare { settings: &settings, ignore: &ignore, tally: Tally::default() };
        for number in numbers {
            let mut random = Random::for_item(4, *number);
            let sample = Sample { number: *number, ..Sample::default() };
            compare.request(&sample, &mut |_, _| {
                let body = restless(*number, &mut random).to_string().into_bytes();
                Ok(Answered { status: 200, headers: Vec::new(), body })
            });
        }
        compare.tally
    };
    let whole = part(&(0..60).collect::<Vec<_>>());
    let mut merged = part(&(30..60).collect::<Vec<_>>());
    merged.merge(part(&(0..30).collect::<Vec<_>>()));
    // below the number that may always be looked at again
    assert_eq!(merged.result(0.001).paths.len(), whole.result(0.001).paths.len());
    assert_eq!(merged.requests, whole.requests);
}
