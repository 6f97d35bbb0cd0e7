use super::*;
use crate::result::packed::Packed;
use crate::result::{FeedAccount, PlanOf, VERSION};

const MS: u64 = 1_000_000;

/// A run of 100 ms windows: in each so many planned, and answered after so many milliseconds.
pub(crate) fn run<T: AsRef<[u64]>>(windows: &[(u64, T)]) -> RunResult {
    let mut whole = Counts::default();
    let mut found = Vec::new();
    for (index, (planned, latencies)) in windows.iter().enumerate() {
        let latencies = latencies.as_ref();
        let mut times = histogram();
        for ms in latencies {
            times.saturating_record(ms * MS);
        }
        let counts = Counts {
            planned: *planned,
            sent: *planned,
            answered: latencies.len() as u64,
            statuses: [(200, latencies.len() as u64)].into(),
            filled: Some(latencies.len() as u64),
            latency: Packed::new(&times),
            ..Counts::default()
        };
        whole.add(&counts);
        found.push(Window { start_us: index as u64 * 100_000, length_us: 100_000, counts });
    }
    RunResult {
        version: VERSION,
        plan: PlanOf::default(),
        started_us: 0,
        took_us: windows.len() as u64 * 100_000,
        window_us: 100_000,
        windows: found,
        whole,
        invalid: Vec::new(),
        feed: FeedAccount::default(),
        inspected: 0,
        shards: 1,
        judged: crate::judge::Judged::default(),
    }
}

fn judged(slo: &str, run: &RunResult) -> Verdict {
    Slo::parse(slo).unwrap().evaluate(run, None)
}

fn steady() -> RunResult {
    run(&[(10, [5; 10]); 20])
}

#[test]
fn objectives_of_the_whole_are_met_or_not() {
    let run = steady();
    for (slo, met) in [
        ("p99 < 6ms", true),
        ("p99 < 5ms", false),
        ("max <= 5.1ms", true),
        ("mean < 5.1ms", true),
        ("errors = 0", true),
        ("errors < 0.1%", true),
        ("fill > 99%", true),
        ("fill < 99%", false),
        ("status(2xx) = 200", true),
        ("status(503) = 0", true),
        ("rate >= 100/s", true),
        ("rate > 100.1/s", false),
        ("rate >= 0.99 * planned", true),
        ("sent >= 1.1 * planned", false),
    ] {
        let verdict = judged(slo, &run);
        assert_eq!(verdict.met, met, "{}", verdict.line());
    }
    let observed = judged("p99 < 6ms", &run).observed.unwrap();
    assert!((observed - 0.005).abs() < 0.000_01, "{observed}");
}

#[test]
fn an_answer_without_a_bid_fills_nothing_and_what_was_not_counted_is_no_fill() {
    let mut run = steady();
    for (filled, observed) in [(Some(50), Some(0.25)), (Some(0), Some(0.0)), (None, None)] {
        run.whole.filled = filled;
        let verdict = judged("fill > 20%", &run);
        assert_eq!((verdict.observed, verdict.met), (observed, filled == Some(50)), "{filled:?}");
    }
}

#[test]
fn every_span_is_judged_and_the_worst_is_named() {
    let mut windows: Vec<(u64, &[u64])> = vec![(10, &[5; 10]); 20];
    windows[7] = (10, &[5, 5, 5, 5, 5, 5, 5, 5, 5, 90]);
    let run = run(&windows);
    // 1 of 200 is slow: on the whole p99 does not see it, in spans of 0.5 s it does
    assert!(judged("p99 < 10ms", &run).met);
    let verdict = judged("p99 < 10ms over 500ms", &run);
    assert!(!verdict.met);
    let worst = verdict.worst.unwrap();
    assert_eq!(worst.length_us, 500_000);
    assert!(worst.start_us <= 700_000 && worst.start_us + worst.length_us > 700_000, "{worst:?}");
    assert!((verdict.observed.unwrap() - 0.09).abs() < 0.001);
    // a length that is no multiple of a window is rounded up, and that is said
    assert_eq!(judged("p50 < 10ms over 150ms", &run).worst.unwrap().length_us, 200_000);
    assert!(judged("p50 < 10ms over 150ms", &run).note.unwrap().contains("0.2 s"));
}

#[test]
fn sums_over_sliding_spans_are_those_of_the_windows_in_them() {
    let pools: [&[u64]; 4] = [&[1, 2, 3], &[40], &[], &[7, 7, 7, 7, 80]];
    let windows: Vec<(u64, &[u64])> =
        (0..40usize).map(|index| (5, pools[(index * index + index / 3) % 4])).collect();
    let run = run(&windows);
    for steps in [1_usize, 3, 7, 40] {
        let slo = format!("max < 1s over {}ms", steps * 100);
        let worst = judged(&slo, &run);
        let all = windows.windows(steps).enumerate().filter_map(|(at, part)| {
            let most = part.iter().flat_map(|(_, times)| times.iter()).max()?;
            Some((*most, std::cmp::Reverse(at)))
        });
        let (most, at) = all.max().unwrap();
        let span = worst.worst.unwrap();
        assert_eq!(span.start_us, at.0 as u64 * 100_000, "{steps}");
        assert!((worst.observed.unwrap() - most as f64 / 1e3).abs() < 1e-3 * most as f64);
    }
}

#[test]
fn no_data_is_not_met() {
    let empty = run(&[(0, [0; 0]); 10]);
    for slo in
        ["p99 < 1s", "errors < 1%", "errors = 0", "rate >= 0/s", "fill > 0%", "p50 < 1s over 1s"]
    {
        let verdict = judged(slo, &empty);
        assert!(!verdict.met && verdict.observed.is_none(), "{}", verdict.line());
        assert!(verdict.note.is_some());
    }
    let short = judged("p99 < 1s over 1m", &steady());
    assert!(!short.met);
    assert!(short.note.unwrap().contains("shorter than 60.0 s"));
    let lonely = judged("p99 < baseline * 2", &steady());
    assert!(!lonely.met);
    assert!(lonely.note.unwrap().contains("no baseline"));
    let against_nothing =
        Slo::parse("p99 < baseline * 2").unwrap().evaluate(&steady(), Some(&empty));
    assert!(!against_nothing.met && against_nothing.limit.is_none());
}

#[test]
fn what_is_never_answered_is_slower_than_every_answer() {
    let mut result = run(&[(10, [5; 8]); 10]);
    // two of ten were given up in each window
    for counts in
        result.windows.iter_mut().map(|window| &mut window.counts).chain([&mut result.whole])
    {
        let lost = counts.planned - counts.answered;
        counts.faults.insert("timeout".to_owned(), lost);
    }
    assert!(judged("p75 < 10ms", &result).met);
    let verdict = judged("p99 < 10ms", &result);
    assert!(!verdict.met && verdict.observed.is_none(), "{}", verdict.line());
    assert!(verdict.note.unwrap().contains("no answer"));
    assert!(!judged("max < 1m", &result).met);
    assert!(!judged("errors < 19%", &result).met);
    assert!(judged("unanswered <= 20%", &result).met);
    assert!(!judged("p90 < 10ms over 200ms", &result).met);
    // the generator's own time has nothing to do with it
    assert!(!judged("lateness p99 < 1ms", &result).met, "no data");
}

#[test]
fn rates_are_judged_in_whole_spans_only_and_silence_where_nothing_was_planned_is_none() {
    let mut windows: Vec<(u64, &[u64])> = vec![(10, &[5; 10]); 20];
    windows[4] = (0, &[]);
    windows.push((3, &[5; 3]));
    let mut result = run(&windows);
    result.took_us = 2_030_000;
    assert!(judged("rate >= 100/s over 100ms", &result).met);
    assert!(judged("rate >= 0.99 * planned over 100ms", &result).met);
    assert!(!judged("rate >= 100/s over 1s", &result).met, "the pause counts in longer spans");
    assert!(judged("p99 < 10ms over 100ms", &result).met);
}

#[test]
fn another_run_is_a_limit() {
    let (base, slower) = (steady(), run(&[(10, [6; 10]); 20]));
    let judge = |slo: &str| Slo::parse(slo).unwrap().evaluate(&slower, Some(&base));
    assert!(judge("p99 < baseline * 1.25").met);
    let verdict = judge("p99 < baseline * 1.05");
    assert!(!verdict.met);
    assert!((verdict.limit.unwrap() - 0.005_25).abs() < 0.000_02, "{}", verdict.line());
    assert!(judge("p99 < baseline + 2ms").met);
    assert!(judge("fill >= baseline").met);
    assert!(!judge("p50 < baseline * 1.05 over 300ms").met);
}

#[test]
fn what_is_beyond_every_number_is_no_limit() {
    let with_lost = |lost: u64| {
        let mut result = run(&[(10, [5; 8]); 10]);
        result.whole.faults.insert("timeout".to_owned(), lost);
        result
    };
    let (lossy, base) = (with_lost(20), with_lost(20));
    let judge = |slo: &str, run: &RunResult| Slo::parse(slo).unwrap().evaluate(run, Some(&base));
    for slo in ["p99 <= baseline * 1.05", "max <= baseline", "p99 >= baseline"] {
        for run in [&lossy, &steady()] {
            let verdict = judge(slo, run);
            assert!(!verdict.met && verdict.limit.is_none(), "{}", verdict.line());
            assert!(verdict.note.is_some());
        }
    }
    assert!(judge("p50 <= baseline * 1.05", &lossy).met, "half of them were answered");
}

#[test]
fn a_span_in_which_nothing_has_ended_yet_has_no_statuses() {
    // answers come 150 ms later: those of the first window in the second and third
    let mut windows: Vec<(u64, &[u64])> = vec![(10, &[150; 10]); 20];
    windows[0] = (10, &[]);
    windows[1] = (10, &[150; 5]);
    let good = run(&windows);
    for slo in
        ["fill > 99% over 100ms", "status(2xx) >= 5 over 100ms", "status(5xx) = 0 over 100ms"]
    {
        assert!(judged(slo, &good).met, "{}", judged(slo, &good).line());
    }
    // where all are given up there are none either, and that is seen
    let mut dead = run(&[(10, [5; 10]); 20]);
    dead.windows[7].counts.answered = 0;
    dead.windows[7].counts.statuses.clear();
    dead.windows[7].counts.faults.insert("timeout".to_owned(), 10);
    assert!(!judged("fill > 99% over 100ms", &dead).met);
    let silent = run(&[(10, [0; 0]); 20]);
    for slo in ["fill > 1% over 100ms", "status(5xx) = 0", "status(5xx) = 0 over 1s"] {
        assert!(!judged(slo, &silent).met, "{slo}");
    }
}

#[test]
fn failures_are_counted_also_where_nothing_was_planned() {
    let mut windows: Vec<(u64, &[u64])> = vec![(10, &[5; 10]); 20];
    windows[9] = (0, &[]);
    let mut result = run(&windows);
    result.windows[9].counts.faults.insert("timeout".to_owned(), 2);
    for (slo, met) in [
        ("errors <= 2 over 100ms", true),
        ("unanswered <= 2 over 100ms", true),
        ("errors < 2 over 100ms", false),
        ("unanswered = 0 over 100ms", false),
    ] {
        assert_eq!(judged(slo, &result).met, met, "{}", judged(slo, &result).line());
    }
}

#[test]
fn answers_under_way_are_not_missed_where_a_run_begins_or_its_rate_rises() {
    let meets = |windows: &[(u64, Vec<u64>)]| {
        ["rate >= 0.99 * planned over 500ms", "rate >= 0.99 * planned over 100ms"]
            .map(|slo| judged(slo, &run(windows)).met)
    };
    let answered = |count: u64| vec![80; usize::try_from(count).unwrap()];
    // each window's answers come in the next one
    let delayed = |planned: &dyn Fn(u64) -> u64| -> Vec<(u64, Vec<u64>)> {
        (0..40)
            .map(|at: u64| (planned(at), answered(at.checked_sub(1).map_or(0, planned))))
            .collect()
    };
    let ramp = |at: u64| if at < 20 { 10 * at } else { 10 * (40 - at) };
    assert_eq!(meets(&delayed(&|_| 100)), [true, true]);
    assert_eq!(meets(&delayed(&ramp)), [true, true]);
    // what the server does not do is seen all the same, also where the run begins
    for dead in [0..5, 20..25] {
        let mut windows = delayed(&|_| 100);
        for (_, answers) in &mut windows[dead.clone()] {
            answers.clear();
        }
        windows[dead.end].1 = answered(500);
        assert!(meets(&windows).contains(&false), "{dead:?}");
    }
    let slow: Vec<(u64, Vec<u64>)> = (0..40).map(|_| (100, answered(90))).collect();
    assert_eq!(meets(&slow), [false, false]);
}

#[test]
fn a_percentile_out_of_few_answers_says_so() {
    let verdict = judged("p99.9 < 10ms", &steady());
    assert!(verdict.met);
    assert!(verdict.note.unwrap().contains("200 answers"));
    assert_eq!(judged("p99 < 10ms", &steady()).note, None);
}
