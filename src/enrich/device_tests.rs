//! The shipped device database against user agents that exercise its families.

use super::databases::{DatabaseSettings, Databases};
use super::device::{Agent, Hints, UA_BYTES_MAX};
use super::lookup_ua;
use crate::facts::Device;
use smallvec::smallvec;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The databases of the demo.
fn shipped() -> Databases {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/device");
    let settings = DatabaseSettings {
        device_regexes: Some(folder.join("regexes.yaml")),
        device_models: Some(folder.join("models.toml")),
        ..DatabaseSettings::default()
    };
    Databases::open(&settings).unwrap()
}

fn classify(databases: &Databases, ua: &str) -> Device {
    databases.device.as_ref().unwrap().classify(&Agent::new(ua, None))
}

/// `devicetype make model os osv browser`, with `-` for what is unknown.
fn short(databases: &Databases, agent: &Agent<'_>) -> String {
    let database = databases.device.as_ref().unwrap();
    let (device, browser) = (database.classify(agent), database.browser(agent).family);
    let mut out = device.devicetype.map_or("-".to_owned(), |kind| kind.to_string());
    for part in [&device.make, &device.model, &device.os, &device.osv, &browser] {
        write!(out, "|{}", part.as_deref().unwrap_or("-")).unwrap();
    }
    out + if device.is_bot { "|bot" } else { "" }
}

/// Where the public corpus is, if it is.
#[expect(clippy::disallowed_methods, reason = "a test finds the corpus by its environment")]
pub fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let named = std::env::var("GAVEL_CORPUS").map(PathBuf::from);
    let found = [Some(beside), named.ok()].into_iter().flatten().find(|path| path.is_dir());
    if found.is_none() {
        println!("SKIPPED: no corpus beside the project, and GAVEL_CORPUS names none");
    }
    found
}

#[test]
fn families_are_told_apart() {
    let databases = shipped();
    let cases = include_str!("device_cases.txt");
    let mut wrong = String::new();
    let mut count = 0;
    for pair in cases
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect::<Vec<_>>()
        .chunks(2)
    {
        let [ua, expected] = pair else { panic!("a case is two lines") };
        let found = short(&databases, &Agent::new(ua, None));
        if found != *expected {
            writeln!(wrong, "{ua}\n  expected {expected}\n  found    {found}").unwrap();
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 60, "{count}");
}

#[test]
fn browsers_have_versions_of_numbers() {
    let databases = shipped();
    let database = databases.device.as_ref().unwrap();
    let version = |ua: &str| database.browser(&Agent::new(ua, None)).version;
    let mut versions = 0;
    for ua in include_str!("device_cases.txt").lines().filter(|line| line.contains('/')) {
        let Some(version) = version(ua) else { continue };
        versions += 1;
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}: {ua}");
    }
    assert!(versions >= 40, "{versions}");
    for (ua, expected) in [
        ("Mozilla/5.0 (Linux; Android 10; K) Chrome/120.1.2.3 Mobile Safari/537.36", "120.1"),
        ("Mozilla/5.0 (Macintosh) Version/17.4 Safari/605.1.15", "17.4"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4) CriOS/124.0.6367.88 Mobile", "124.0"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0; Trident/4.0)", "8.0"),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", "11.0"),
    ] {
        assert_eq!(version(ua).as_deref(), Some(expected), "{ua}");
    }
}

#[test]
fn hints_outrank_the_user_agent() {
    let databases = shipped();
    let frozen = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                  Chrome/120.0.0.0 Mobile Safari/537.36";
    let hints = Hints {
        platform: "Android",
        platform_version: smallvec!["14", "0", "0"],
        browsers: smallvec!["Not_A Brand", "Chromium", "Google Chrome"],
        is_mobile: Some(true),
        model: "SM-S918B",
    };
    let database = databases.device.as_ref().unwrap();
    let agent = Agent::new(frozen, Some(hints.clone()));
    let device = database.classify(&agent);
    assert_eq!(short(&databases, &agent), "4|Samsung|SM-S918B|Android|14|Chrome Mobile");
    assert_eq!(device.name.as_deref(), Some("Galaxy S23 Ultra"));
    let alone = Agent::new("", Some(hints));
    assert_eq!(short(&databases, &alone), "4|Samsung|SM-S918B|Android|14|Chrome");
    let windows = Hints {
        platform: "Windows",
        platform_version: smallvec!["15", "0", "0"],
        browsers: smallvec!["Microsoft Edge", "Not A;Brand"],
        ..Hints::default()
    };
    let windows = Agent::new(frozen, Some(windows));
    assert_eq!(short(&databases, &windows), "2|-|-|Windows|11|Edge");
}

#[test]
fn hostile_user_agents_are_bounded() {
    let databases = shipped();
    let long = "Mozilla/5.0 (Linux; Android 10; ".to_owned() + &"A-".repeat(4096);
    assert_eq!(Agent::new(&long, None).ua.len(), UA_BYTES_MAX);
    let wide = "\u{1f980}".repeat(2048);
    assert!(Agent::new(&wide, None).ua.len() > UA_BYTES_MAX - 4);
    let seeds = [
        long,
        wide,
        "; ".repeat(4096),
        "(((((".repeat(1600),
        "Android 1; SM-".repeat(600),
        "\"\\\u{0}\n</script>".repeat(500),
        "Windows Phone; NOKIA; ".repeat(400),
        "Roku((((; ; ; ".repeat(500),
    ];
    for ua in &seeds {
        let device = classify(&databases, ua);
        for (_, member) in &device.rendered {
            assert!(member.len() < 160, "{member}");
            serde_json::from_str::<serde_json::Value>(&format!("{{{member}}}")).unwrap();
        }
    }
}

#[test]
fn an_operator_may_ask_for_a_user_agent() {
    let databases = shipped();
    let answer = lookup_ua(&databases, "Mozilla/5.0 (compatible; Googlebot/2.1)");
    assert_eq!(answer["device"]["is_bot"], true);
    let roles: Vec<_> = databases.describe().iter().map(|info| info.role).collect();
    assert_eq!(roles, ["device_models", "device_regexes"]);
    assert!(databases.describe().iter().all(|info| info.entries > 100 && info.bytes > 0));
}

/// Figures over the public corpus, and a floor under each.
#[test]
fn the_corpus_is_mostly_known() {
    let Some(corpus) = corpus() else { return };
    let databases = shipped();
    let mut agents = BTreeSet::new();
    for name in ["requests-rtb4free.jsonl", "requests-iab-converter.jsonl"] {
        for line in std::fs::read_to_string(corpus.join(name)).unwrap().lines() {
            let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            let ua = line["request"]["device"]["ua"].as_str();
            agents.extend(ua.filter(|ua| ua.starts_with("Mozilla/")).map(str::to_owned));
        }
    }
    let devices: Vec<Device> = agents.iter().map(|ua| classify(&databases, ua)).collect();
    let percent = |name: &str, has: fn(&Device) -> bool| {
        let known = devices.iter().filter(|device| has(device)).count();
        let percent = known * 100 / devices.len();
        println!("{name}: {known} of {} user agents, {percent} %", devices.len());
        percent
    };
    for ua in &agents {
        let device = classify(&databases, ua);
        if device.make.is_none() || device.model.is_none() {
            println!("unknown: {} {ua}", short(&databases, &Agent::new(ua, None)));
        }
    }
    assert!(percent("devicetype", |device| device.devicetype.is_some()) >= 99);
    assert!(percent("os", |device| device.os.is_some()) >= 99);
    assert!(percent("osv", |device| device.osv.is_some()) >= 95);
    assert!(percent("make", |device| device.make.is_some()) >= 95);
    assert!(percent("model", |device| device.model.is_some()) >= 95);
    let database = databases.device.as_ref().unwrap();
    let shown = |ua: &String| database.browser(&Agent::new(ua, None)).family.is_some();
    assert!(agents.iter().filter(|ua| shown(ua)).count() * 100 / agents.len() >= 95, "browsers");
    percent("marketing name", |device| device.name.is_some());
}
