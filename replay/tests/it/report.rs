//! Pages and files of a run, of a comparison and of shards, from results made up with a seed. They
//! are left in the build folder's `tmp/report`, for people to look at.

use clap::Parser;
use replay::assertions::{Assertions, Failing, Mix, MixRow, Row};
use replay::diff::{DiffResult, Example, NoiseRule, PathDiff};
use replay::drive::report::Report;
use replay::fingerprint::{Fingerprint, FingerprintSettings};
use replay::generate::{GenerateSettings, Generator};
use replay::judge::void::Refusals;
use replay::judge::{Judged, judge_slos, read_slos};
use replay::random::Random;
use replay::report::command::{CompareArgs, MergeArgs, run_compare, run_merge};
use replay::report::{ReportArgs, diff_page, html, page};
use replay::result::windows::Windows;
use replay::result::{Counts, FeedAccount, Invalid, PlanOf, RunResult, ShareOf, SourceOf, VERSION};
use replay::verdict::Verdict;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOSTILE: &str = "</td><script>alert('x')</script>&\"\u{202e}\u{1}";

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A rise, then 500/s, with a stall of the target in the middle; `factor` times as slow.
fn run_of(length: u64, seed: u64, factor: f64, shard: (u64, u64)) -> RunResult {
    let mut random = Random::for_item(seed, shard.0);
    let (mut windows, mut all) = (Windows::default(), Report::default());
    for window in 0..length {
        let mut report = Report::default();
        let rate = if window < 60 { window + 10 } else { 70 };
        let count = rate * 50 / 70 / shard.1;
        let stall = length >= 300 && (150..158).contains(&window);
        report.planned = count;
        report.sent = count;
        for _ in 0..count {
            let slow = if stall { 400.0 } else { 0.0 };
            let ms = factor * (3.0 + 9.0 * random.unit().powi(6) + 2.0 * random.unit())
                + slow * random.unit();
            let ns = (ms * 1e6).round().to_string().parse::<u64>().unwrap();
            let late = 4_000 + random.below(9_000) + if random.chance(0.01) { 90_000 } else { 0 };
            report.service.saturating_record(ns / if stall { 5 } else { 1 });
            report.latency.saturating_record(ns);
            report.lateness.saturating_record(late);
            report.answered += 1;
            let status = match random.below(100) {
                0..=61 => 200,
                _ if stall && random.chance(0.6) => 503,
                62..=97 => 204,
                _ => 400,
            };
            *report.statuses.entry(status).or_default() += 1;
            report.filled += u64::from(status == 200);
        }
        report.connects = u64::from(window == 0) * 16;
        report.queue_peak = if stall { count * (window - 149) } else { random.below(3) };
        all.merge(&report);
        windows.add(window * 100_000, &report);
    }
    let (window_us, windows) = windows.finish();
    let mut whole = Counts::default();
    whole.add_report(&all);
    RunResult {
        version: VERSION,
        plan: PlanOf {
            target: "http://127.0.0.1:8080".to_owned(),
            schedule: "recorded x2".to_owned(),
            connections: "recorded".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            speed: Some(2.0),
            // the draws differ, what is planned does not
            seed: 1,
            share: Some(ShareOf {
                index: shard.0.try_into().unwrap(),
                of: shard.1.try_into().unwrap(),
            }),
            ends: Some("1 rounds".to_owned()),
            source: SourceOf {
                name: "prebid-2026-11.cap".to_owned(),
                origin: "recorded".to_owned(),
                recorded_us: 0,
                note: String::new(),
                hash: Some("0123456789abcdef".to_owned()),
            },
            lateness_us_max: 2_000,
        },
        started_us: 1_795_000_000_000_000,
        took_us: length * 100_000,
        window_us,
        windows,
        inspected: whole.planned,
        whole,
        invalid: Vec::new(),
        feed: FeedAccount { records: 4_000, loops: 4, ..FeedAccount::default() },
        shards: 1,
        judged: Judged::default(),
    }
}

/// Ten seconds without a stall.
fn run(seed: u64, factor: f64, shard: (u64, u64)) -> RunResult {
    run_of(100, seed, factor, shard)
}

fn judged(mut run: RunResult, slos: &[&str]) -> RunResult {
    let texts: Vec<String> = slos.iter().map(|&slo| slo.to_owned()).collect();
    let print = |seed, distinct: u64| {
        let generator = Generator::new(GenerateSettings { seed, broken: 0.0 });
        let mut print = Fingerprint::new(FingerprintSettings::default());
        let mut body = Vec::new();
        for number in 0..600 {
            body.clear();
            generator.write(number % distinct, &mut body);
            print.observe(Duration::from_millis(number), "demo", "/openrtb2/demo", &body);
        }
        print.summary()
    };
    let row = |name: &str, judged, failed, why: &str| Row {
        name: name.to_owned(),
        judged,
        failed,
        examples: if failed > 0 {
            vec![Failing { number: 17, why: why.to_owned() }]
        } else {
            Vec::new()
        },
    };
    run.judged = Judged {
        slos: judge_slos(&read_slos(&texts).unwrap(), &run, None),
        assertions: Some(Assertions {
            rows: vec![
                row("status", 14_000, 0, ""),
                row("floor", 8_400, 3, "price 1.2 USD is below the floor of 1.5"),
                row("currency", 8_400, 1, HOSTILE),
                row("deal", 0, 0, ""),
            ],
            mix: Some(Mix {
                rows: vec![
                    MixRow { recorded: 200, now: [(200, 8_300), (204, 120)].into() },
                    MixRow { recorded: 204, now: [(200, 90), (204, 5_400), (0, 2)].into() },
                ],
                distance_max: 0.05,
                fault: None,
            }),
            named: Vec::new(),
        }),
        recorded: Some(print(3, 600)),
        sent: Some(print(4, 300)),
        is_gated: true,
        gate: Vec::new(),
        refusals: Refusals::default(),
    };
    run
}

const SLOS: [&str; 5] = [
    "p99 < 80ms",
    "p99.9 < 200ms over 5s",
    "errors < 0.5%",
    "rate >= 0.99 * planned",
    "lateness p99 < 2ms",
];

/// Nothing from elsewhere, nothing that runs, every tag that is opened closed.
fn is_sound(page: &str) {
    for word in [
        "<script",
        "http-equiv=\"refresh",
        "src=",
        "href=",
        "url(",
        "@import",
        "NaN",
        "inf\"",
        "\u{202e}",
        "onerror",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    for tag in
        ["div", "section", "table", "tr", "td", "svg", "ul", "li", "figure", "p", "h2", "span"]
    {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        // `<td` is no `<t`
        let opened = page.split(&open).skip(1).filter(|rest| rest.starts_with([' ', '>']));
        assert_eq!(opened.count(), page.matches(&close).count(), "{tag}");
    }
}

#[test]
fn a_run_becomes_a_page_and_files_that_tools_read() {
    let folder = folder();
    let run = judged(run_of(300, 1, 1.0, (0, 1)), &SLOS);
    let file = |name: &str| Some(folder.join(name));
    let report = ReportArgs {
        html: file("run.html"),
        json: file("run.json"),
        junit: file("run.xml"),
        hdr: file("run.hlog"),
    };
    report.write(&run).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let page = read("run.html");
    is_sound(&page);
    assert!(page.contains("The run failed") && page.contains("&lt;script&gt;"));
    assert!(page.contains("Content-Security-Policy"));
    assert_eq!(RunResult::open(&folder.join("run.json")).unwrap(), run);

    let xml = read("run.xml");
    assert!(xml.contains("tests=\"12\"") && xml.contains("failures=\"5\""), "{xml}");
    assert!(xml.contains("skipped=\"1\"") && !xml.contains("<script"));
    assert_eq!(xml.matches("<failure ").count(), 5);

    // read again by the crate's reader of that format, every time is there
    let log = read("run.hlog");
    let mut sum = replay::drive::report::Report::default().latency;
    let mut deserializer = hdrhistogram::serialization::Deserializer::new();
    let mut intervals = 0;
    for entry in hdrhistogram::serialization::interval_log::IntervalLogIterator::new(log.as_bytes())
    {
        use base64::Engine;
        use hdrhistogram::serialization::interval_log::LogEntry;
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        if interval.tag().map(|tag| tag.as_str().to_owned()) != Some("latency".to_owned()) {
            continue;
        }
        let engine = base64::engine::general_purpose::STANDARD;
        let bytes = engine.decode(interval.encoded_histogram()).unwrap();
        sum.add(deserializer.deserialize::<u64, _>(&mut bytes.as_slice()).unwrap()).unwrap();
        intervals += 1;
    }
    assert_eq!((intervals, sum), (300, run.whole.latency.histogram()));
}

#[test]
fn a_run_that_holds_and_one_that_is_empty_have_pages_too() {
    let good = RunResult { judged: Judged::default(), ..run(2, 1.0, (0, 1)) };
    let text = page::page(&good);
    is_sound(&text);
    assert!(text.contains("The run passed"));
    std::fs::write(folder().join("good.html"), text).unwrap();
    let empty = RunResult {
        windows: Vec::new(),
        whole: Counts::default(),
        took_us: 0,
        ..run(2, 1.0, (0, 1))
    };
    is_sound(&page::page(&empty));
}

#[derive(Parser)]
struct CompareLine {
    #[command(flatten)]
    args: CompareArgs,
}

#[derive(Parser)]
struct MergeLine {
    #[command(flatten)]
    args: MergeArgs,
}

fn write(name: &str, run: &RunResult) -> String {
    let path = folder().join(name);
    std::fs::write(&path, run.to_json()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn two_runs_are_compared_with_what_chance_may_have_done() {
    let (one, same, slow) = (run(3, 1.0, (0, 1)), run(4, 1.0, (0, 1)), run(5, 1.15, (0, 1)));
    let before = write("before.json", &one);
    let compared = |after: &RunResult, name: &str, slos: &[&str]| {
        let (after, path) = (write(name, after), folder().join(format!("{name}.html")));
        let words = ["x", &before, &after, "--html", path.to_str().unwrap()];
        let words = words.into_iter().chain(slos.iter().flat_map(|slo| ["--slo", slo]));
        let mut shown = Vec::new();
        let verdict = run_compare(&CompareLine::parse_from(words).args, &mut shown).unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        is_sound(&page);
        (verdict, String::from_utf8(shown).unwrap(), page)
    };
    let (verdict, shown, page) = compared(&same, "same.json", &["p50 < baseline * 1.05"]);
    assert_eq!(verdict, Verdict::Pass, "{shown}");
    assert!(page.contains("The second run holds"));
    let line = |shown: &str, name: &str| {
        shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    assert!(line(&shown, "latency p50").ends_with("no clear difference"), "{shown}");
    let (verdict, shown, _) = compared(&slow, "slow.json", &["p50 < baseline * 1.05"]);
    assert_eq!(verdict, Verdict::Failed, "{shown}");
    assert!(line(&shown, "latency p50").ends_with("worse"), "{shown}");
    assert!(line(&shown, "rate").ends_with("no clear difference"), "{shown}");
    // what is worse fails whether or not anything was asked; an objective may allow it, of its figure
    let all = ["p50", "p90", "p99", "p99.9"].map(|it| format!("{it} < baseline * 1.3"));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for (slos, expected) in [
        (&[][..], Verdict::Failed),
        (&["p99 < 500s"], Verdict::Failed),
        (&all[..1], Verdict::Failed),
        (&all, Verdict::Pass),
        (&["p50 < baseline * 1.05", "p90 < baseline * 2", "p99 < baseline * 2"], Verdict::Failed),
    ] {
        let (verdict, shown, page) = compared(&slow, "slow.json", slos);
        assert_eq!(verdict, expected, "{slos:?} {shown}");
        assert_eq!(page.contains("The second run holds"), expected == Verdict::Pass);
        assert!(shown.contains(&format!("verdict: {}", expected.label())), "{shown}");
    }
    // figures of another load: they are shown, and nothing is judged by them
    let mut other = same.clone();
    other.plan.source.hash = Some("another".to_owned());
    other.plan.schedule = "constant 5/s".to_owned();
    other.plan.share = Some(ShareOf { index: 1, of: 2 });
    for slo in ["p50 < baseline * 1.05", "p50 < 1s"] {
        let (verdict, shown, page) = compared(&other, "other-load.json", &[slo]);
        assert_eq!(verdict, Verdict::Invalid, "{shown}");
        assert!(page.contains("Two loads, side by side") && !page.contains("The second run"));
        for what in [
            "what is in the source was `0123456789abcdef`",
            "the schedule was",
            "the part of the run was `the whole` before and is `1/2` now",
        ] {
            let told = format!("these are runs of two loads: {what}");
            assert!(shown.contains(&format!("NOT valid: {told}")), "{shown}");
            assert!(page.contains(&html::escape(&told)), "{told}");
        }
    }
    let short = run_of(20, 6, 1.0, (0, 1));
    for (slos, expected) in [
        (&[][..], Verdict::Invalid),
        (&["p50 < 1s"], Verdict::Invalid),
        (&["p50 < baseline * 1.5"], Verdict::Pass),
    ] {
        let (verdict, shown, _) = compared(&short, "short.json", slos);
        assert_eq!(verdict, expected, "{slos:?} {shown}");
        assert!(line(&shown, "latency p50").contains("too short"), "{shown}");
    }
}

#[test]
fn shards_become_the_run_and_strangers_are_refused() {
    let shards: Vec<RunResult> = (0..2)
        .map(|shard| judged(run(6, 1.0, (shard, 2)), &["p99 < 1ms", "errors < 5%"]))
        .collect();
    let names: Vec<String> = shards
        .iter()
        .enumerate()
        .map(|(at, shard)| write(&format!("shard{at}.json"), shard))
        .collect();
    let out = folder().join("merged.json");
    let out = out.to_str().unwrap();
    let mut shown = Vec::new();
    let words = ["x", &names[0], &names[1], "--out", out];
    let verdict = run_merge(&MergeLine::parse_from(words).args, &mut shown).unwrap();
    assert_eq!(verdict, Verdict::Failed);
    let merged = RunResult::open(out.as_ref()).unwrap();
    assert_eq!(merged.whole.planned, shards[0].whole.planned + shards[1].whole.planned);
    let mut sum = shards[0].whole.latency.histogram();
    sum.add(shards[1].whole.latency.histogram()).unwrap();
    assert_eq!(merged.whole.latency.histogram(), sum);
    // judged again as a whole: both objectives once
    assert_eq!(merged.judged.slos.len(), 2);
    assert!(!merged.judged.slos[0].met && merged.judged.slos[1].met);
    let floor =
        merged.judged.assertions.unwrap().rows.iter().find(|row| row.name == "floor").cloned();
    assert_eq!(floor.unwrap().failed, 6);

    let mut other = shards[1].clone();
    other.plan.schedule = "constant 5/s".to_owned();
    let other = write("other.json", &other);
    let words = ["x", &names[0], &other, "--out", out];
    let failure = run_merge(&MergeLine::parse_from(words).args, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.verdict, Verdict::Usage);
    assert!(failure.chain().contains("schedule"), "{}", failure.chain());
    // a shard of a run that was to end elsewhere
    let mut other = shards[1].clone();
    other.plan.ends = Some("500 requests".to_owned());
    let other = write("other.json", &other);
    let words = ["x", &names[0], &other, "--out", out];
    let failure = run_merge(&MergeLine::parse_from(words).args, &mut Vec::new()).unwrap_err();
    assert!(failure.chain().contains("where it ends"), "{}", failure.chain());
    // two of three are no run, nor is what says not which shard it is
    for (share, expected) in
        [(Some(ShareOf { index: 1, of: 3 }), "others are of 2"), (None, "play the run again")]
    {
        let mut other = shards[1].clone();
        other.plan.share = share;
        let other = write("other.json", &other);
        let words = ["x", &names[0], &other, "--out", out];
        let failure = run_merge(&MergeLine::parse_from(words).args, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.verdict, Verdict::Usage);
        assert!(failure.chain().contains(expected), "{}", failure.chain());
    }
    let mut two = shards.clone();
    two.iter_mut().zip(0..).for_each(|(shard, index)| {
        shard.plan.share = Some(ShareOf { index, of: 3 });
    });
    let two: Vec<String> =
        two.iter().zip(["one.json", "two.json"]).map(|(it, name)| write(name, it)).collect();
    let words = ["x", &two[0], &two[1], "--out", out];
    let failure = run_merge(&MergeLine::parse_from(words).args, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.verdict, Verdict::Usage);
    assert!(failure.chain().contains("of 3 shards one is missing: 2"), "{}", failure.chain());
    let words = ["x", &names[0], &names[0], "--out", out];
    let failure = run_merge(&MergeLine::parse_from(words).args, &mut Vec::new()).unwrap_err();
    assert!(failure.chain().contains("twice"), "{}", failure.chain());
}

#[test]
fn a_run_in_shards_is_held_against_its_own_baseline_whatever_they_were_held_against() {
    let out = folder().join("held-merged.json");
    let out = out.to_str().unwrap();
    let mut shards = [0, 1].map(|shard| run(6, 1.0, (shard, 2)));
    shards[1].invalid.push(Invalid::Baseline { unlike: vec!["the part of the run".to_owned()] });
    let names = ["held0.json", "held1.json"];
    let [one, two] = [0, 1].map(|shard| write(names[shard], &shards[shard]));
    let whole = write("held-whole.json", &run(6, 1.0, (0, 1)));
    for (baseline, is_valid) in [(&whole, true), (&one, false)] {
        let words = ["x", &one, &two, "--out", out, "--slo", "p99 < baseline * 9"];
        let words = words.into_iter().chain(["--baseline", baseline.as_str()]);
        run_merge(&MergeLine::parse_from(words).args, &mut Vec::new()).unwrap();
        let merged = RunResult::open(out.as_ref()).unwrap();
        let is_found = merged.invalid.iter().any(|it| matches!(it, Invalid::Baseline { .. }));
        assert_eq!(!is_found, is_valid, "{baseline}: {:?}", merged.invalid);
    }
}

#[test]
fn a_comparison_of_builds_has_a_page() {
    let path = |path: &str, is_different: bool| PathDiff {
        path: path.to_owned(),
        requests: 2_000,
        noisy: 104,
        candidate_alone: if is_different { 91 } else { 50 },
        primary_alone: 51,
        secondary_alone: 49,
        again_candidate: if is_different { 40 } else { 1 },
        again_others: 2,
        p: if is_different { 1e-18 } else { 0.44 },
        p_adjusted: if is_different { 4e-17 } else { 1.0 },
        is_different,
        excess: if is_different { 0.0205 } else { 0.0 },
        examples: vec![Example {
            request: 7,
            primary: HOSTILE.to_owned(),
            candidate: "9".to_owned(),
        }],
    };
    let result = DiffResult {
        capture: "prebid-2026-11.cap".to_owned(),
        primary: "http://127.0.0.1:8080".to_owned(),
        secondary: "http://127.0.0.1:8080".to_owned(),
        candidate: "http://127.0.0.1:8081".to_owned(),
        seed: 1,
        requests: 2_000,
        repeated: 150,
        unanswered: [0, 0, 1],
        welcome: 2_000,
        turned_away: [0; 3],
        alpha: 0.001,
        detectable: 0.0081,
        paths: vec![
            path("$.seatbid[*].bid[*].price", true),
            path("$.bidid", false),
            path(HOSTILE, false),
        ],
        steady: 31,
        beyond: 0,
        ignored: Vec::new(),
        noise_rules: vec![
            NoiseRule { rule: "$.bidid".to_owned(), refused: None },
            NoiseRule {
                rule: "$.ext".to_owned(),
                refused: Some("it would also hide $.ext.a".to_owned()),
            },
        ],
    };
    let text = diff_page::page(&result);
    is_sound(&text);
    assert!(text.contains("The candidate answers differently"));
    assert!(text.contains(&html::escape(HOSTILE)));
    std::fs::write(folder().join("diff.html"), text).unwrap();
}
