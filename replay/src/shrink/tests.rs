//! Reductions without a server.

use super::*;
use serde_json::{Value, json};
use std::convert::Infallible;

fn asked(body: &str) -> Asked {
    Asked { body: body.as_bytes().to_vec(), ..Asked::default() }
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

fn shrunk(set: &[Asked], checks: u64, mut fails: impl FnMut(&[Asked]) -> bool) -> Shrunk {
    assert!(fails(set), "the whole set has to fail");
    let mut budget = Budget { left: checks, used: 0 };
    let told = &mut |set: &[Asked]| Ok::<bool, Infallible>(fails(set));
    let Ok(shrunk) = shrink(set, &mut budget, true, told);
    assert!(fails(&shrunk.requests), "what is left fails: {shrunk:?}");
    shrunk
}

fn numbered(count: usize) -> Vec<Asked> {
    (0..count).map(|n| asked(&json!({"id": n.to_string(), "n": n, "x": "y"}).to_string())).collect()
}

#[test]
fn one_guilty_request_of_many_is_found_in_a_few_checks() {
    for guilty in [0, 1, 499, 998, 999] {
        let fails = |set: &[Asked]| set.iter().any(|asked| body(asked)["n"] == json!(guilty));
        let found = shrunk(&numbered(1_000), 5_000, fails);
        assert_eq!(found.places, [guilty]);
        assert_eq!(body(&found.requests[0]), json!({"n": guilty}));
        assert!(found.is_minimal && found.checks < 60, "{} checks", found.checks);
    }
}

#[test]
fn requests_that_fail_only_together_and_in_their_order_stay_together() {
    let fails = |set: &[Asked]| {
        let place = |n: u64| set.iter().position(|asked| body(asked)["n"] == json!(n));
        matches!((place(3), place(70)), (Some(one), Some(other)) if one < other)
    };
    let found = shrunk(&numbered(100), 5_000, fails);
    assert_eq!(found.places, [3, 70]);
    assert!(found.is_minimal);
}

#[test]
fn of_a_body_only_what_matters_is_left() {
    let request = json!({
        "id": "1", "test": 1,
        "imp": [
            {"id": "1", "banner": {"w": 300}, "bidfloor": 1.5},
            {"id": "2", "video": {"mimes": ["video/mp4", "video/webm"]}, "secure": 1},
        ],
        "device": {"ua": "a long name of an agent", "geo": {"country": "DEU"}},
    });
    let fails = |set: &[Asked]| {
        let value = set.first().map(body).unwrap_or_default();
        let imps = value["imp"].as_array().cloned().unwrap_or_default();
        let has_video =
            imps.iter().any(|imp| imp["video"]["mimes"].as_array().is_some_and(|m| m.len() > 1));
        has_video && value["device"]["ua"].is_string()
    };
    let found = shrunk(&[asked(&request.to_string())], 5_000, fails);
    // `test` is not for the reduction to take
    let expected = json!({
        "test": 1, "device": {"ua": ""},
        "imp": [{"video": {"mimes": ["video/mp4", "video/webm"]}}],
    });
    let mut left = body(&found.requests[0]);
    for mime in left["imp"][0]["video"]["mimes"].as_array_mut().unwrap() {
        assert!(mime == "" || mime.as_str().unwrap().starts_with("video/"));
    }
    left["imp"][0]["video"]["mimes"] = expected["imp"][0]["video"]["mimes"].clone();
    assert_eq!(left, expected);
    assert!(found.is_minimal);
}

#[test]
fn a_body_that_is_no_json_is_reduced_byte_by_byte() {
    let garbage = format!("{}\u{1}{{\"id\":{}", "x".repeat(300), "y".repeat(300));
    let fails = |set: &[Asked]| set.iter().any(|asked| asked.body.contains(&1));
    let found = shrunk(&[asked(&garbage)], 5_000, fails);
    assert_eq!(found.requests[0].body, [1]);
}

#[test]
fn a_number_that_only_the_first_spelling_has_is_kept() {
    let text = r#"{"a":1,"imp":[],"bidfloor":1.0e0}"#;
    let fails =
        |set: &[Asked]| set.iter().any(|asked| asked.body.windows(5).any(|part| part == b"1.0e0"));
    let found = shrunk(&[asked(text)], 5_000, fails);
    assert_eq!(found.requests[0].body, b"1.0e0");
}

#[test]
fn what_was_reached_when_the_checks_end_fails_and_says_that_it_is_not_minimal() {
    let fails = |set: &[Asked]| {
        [3, 500, 999].iter().all(|n| set.iter().any(|asked| body(asked)["n"] == json!(n)))
    };
    let found = shrunk(&numbered(1_000), 7, fails);
    assert!(!found.is_minimal && found.requests.len() >= 3);
    assert_eq!(found.checks, 7);
}

#[test]
fn a_fault_of_the_check_ends_it() {
    let mut budget = Budget { left: 100, used: 0 };
    let told = &mut |_: &[Asked]| Err::<bool, &str>("gone");
    assert_eq!(shrink(&numbered(9), &mut budget, true, told), Err("gone"));
}
