//! The generator of synthetic requests: repeatable, diverse, valid, and true to its figures.

use gavel::admit::limits::Limits;
use gavel::admit::{self, Scratch};
use gavel::arrival::Body;
use replay::generate::measure::measure;
use replay::generate::mix::{Measured, TRAFFIC};
use replay::generate::{Features, GenerateSettings, Generator};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

const COUNT: u64 = 2_000;

fn generator(seed: u64) -> Generator {
    Generator::new(GenerateSettings { seed, ..GenerateSettings::default() })
}

fn parsed() -> Vec<Value> {
    let set = generator(1).set(COUNT);
    set.iter().map(|body| serde_json::from_slice(body).unwrap()).collect()
}

#[test]
fn a_seed_always_gives_the_same_requests() {
    let set = |seed| generator(seed).set(200).iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(set(1), set(1));
    assert_ne!(set(1), set(2));
    let mut alone = Vec::new();
    generator(1).write(150, &mut alone);
    assert_eq!(alone, set(1)[150]);
}

#[test]
fn every_request_is_json_with_distinct_ids_and_says_that_it_is_synthetic() {
    let mut ids = HashSet::new();
    for request in parsed() {
        assert_eq!(request["ext"]["synthetic"], 1);
        assert!(ids.insert(request["id"].as_str().unwrap().to_owned()));
        let places = ["site", "app", "dooh"].iter().filter(|key| !request[**key].is_null());
        assert_eq!(places.count(), 1, "{request}");
        for imp in request["imp"].as_array().unwrap() {
            let media = ["banner", "video", "audio", "native"];
            assert!(media.iter().any(|key| imp[*key].is_object()), "{imp}");
            if let Some(native) = imp["native"]["request"].as_str() {
                assert!(serde_json::from_str::<Value>(native).unwrap()["assets"].is_array());
            }
        }
    }
}

/// Bodies without their ids, so that a fresh id alone does not make a new request.
#[test]
fn bodies_differ_in_more_than_their_ids() {
    let mut bodies = HashSet::new();
    for mut request in parsed() {
        for path in ["/id", "/source/tid", "/user/id", "/user/buyeruid"] {
            if let Some(value) = request.pointer_mut(path) {
                *value = Value::Null;
            }
        }
        bodies.insert(request.to_string());
    }
    assert_eq!(bodies.len() as u64, COUNT);
}

#[test]
fn combinations_of_features_are_many_and_none_is_dominant() {
    let generator = generator(1);
    let (mut seen, mut body) = (HashMap::<Features, u32>::new(), Vec::new());
    let mut agents = HashSet::new();
    for number in 0..10_000 {
        body.clear();
        *seen.entry(generator.write(number, &mut body)).or_default() += 1;
        let request: Value = serde_json::from_slice(&body).unwrap();
        agents.insert(request["device"]["ua"].as_str().unwrap().to_owned());
    }
    let shares = seen.values().map(|count| f64::from(*count) / 10_000.0);
    let entropy: f64 = shares.clone().map(|share| -share * share.ln()).sum();
    let effective = entropy.exp();
    assert!(effective > 4_000.0, "{effective:.0} effective of {} combinations", seen.len());
    let top = shares.fold(0.0, f64::max);
    assert!(top < 0.01, "the most frequent has {top:.4}");
    // a device cache must neither hold everything nor nothing
    assert!((1_000..5_000).contains(&agents.len()), "{} user agents", agents.len());
}

#[test]
fn client_addresses_come_from_test_ranges_only() {
    for request in parsed() {
        let device = &request["device"];
        let v4 = device["ip"].as_str();
        let v6 = device["ipv6"].as_str();
        assert!(v4.is_some() || v6.is_some());
        assert!(v4.is_none_or(|ip| ip.starts_with("198.18.") || ip.starts_with("198.19.")));
        assert!(v6.is_none_or(|ip| ip.starts_with("2001:db8:")), "{v6:?}");
    }
}

#[test]
fn sizes_and_presence_follow_the_figures() {
    let requests = parsed();
    let ours = measure("", requests.iter());
    assert!((1_800..2_300).contains(&ours.bytes_mean), "{} bytes", ours.bytes_mean);
    let corpus = &TRAFFIC.corpus["ordinary"];
    for path in [
        "bcat",
        "device.ua",
        "device.devicetype",
        "device.language",
        "device.h",
        "imp.bidfloor",
        "imp.bcat",
    ] {
        let (mine, theirs) = (share(&ours, path), share(corpus, path));
        let is_moved = path == "imp.bcat";
        assert!(is_moved || (mine - theirs).abs() < 0.06, "{path}: {mine} for {theirs}");
    }
}

fn share(measured: &Measured, path: &str) -> f64 {
    measured.present.get(path).copied().unwrap_or(0.0)
}

#[test]
fn broken_requests_come_as_often_as_they_are_asked_for() {
    let settings = GenerateSettings { seed: 4, broken: 0.3 };
    let valid: HashSet<Vec<u8>> = generator(4).set(1_000).iter().map(<[u8]>::to_vec).collect();
    let mixed = Generator::new(settings).set(1_000);
    let broken = mixed.iter().filter(|body| !valid.contains(*body)).count();
    assert!((250..350).contains(&broken), "{broken}");
}

#[test]
fn the_exchange_admits_every_request_without_a_leniency() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo/gavel.toml");
    let rules = gavel::config::load(&config).unwrap().rules;
    let limits = Limits::default();
    let mut scratch = Scratch::new(&limits);
    for body in generator(1).set(COUNT).iter() {
        let text = String::from_utf8_lossy(body).into_owned();
        let body = Body(body.to_vec().into());
        let admitted = admit::admit(body, &rules.partners[0], &limits, &rules.rates, &mut scratch);
        let admitted = admitted.unwrap_or_else(|refusal| panic!("{refusal:?}: {text}"));
        assert!(admitted.refused_imps.is_empty(), "{:?}: {text}", admitted.refused_imps);
        let lenient: Vec<_> = admitted.leniencies.iter().collect();
        assert!(lenient.is_empty(), "{lenient:?}: {text}");
    }
}

#[test]
fn the_exchange_refuses_every_request_that_is_broken_on_purpose() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo/gavel.toml");
    let rules = gavel::config::load(&config).unwrap().rules;
    let limits = Limits::default();
    let mut scratch = Scratch::new(&limits);
    let settings = GenerateSettings { seed: 4, broken: 1.0 };
    for body in Generator::new(settings).set(1_000).iter() {
        let text = String::from_utf8_lossy(body).into_owned();
        let body = Body(body.to_vec().into());
        let admitted = admit::admit(body, &rules.partners[0], &limits, &rules.rates, &mut scratch);
        assert!(admitted.is_err(), "{text}");
    }
}

/// The figures in the data file are those of the public files, where these are at hand.
#[test]
fn the_figures_are_those_of_the_public_corpora() {
    let Some(folder) = corpus() else {
        println!("SKIPPED: no ../shared/corpus beside the repository and no GAVEL_CORPUS");
        return;
    };
    for (name, committed) in &TRAFFIC.corpus {
        let text = std::fs::read_to_string(folder.join(&committed.file)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let requests: Vec<Value> = lines.map(|mut line| line["request"].take()).collect();
        let measured = measure(&committed.file, requests.iter());
        assert_eq!(&measured, committed, "{name}: measured\n{}", as_toml(&measured));
    }
}

/// In the form of the data file.
fn as_toml(measured: &Measured) -> String {
    let table = |map: &std::collections::BTreeMap<String, f64>| {
        let rows: Vec<_> =
            map.iter().map(|(key, value)| format!("\"{key}\" = {value:?}")).collect();
        rows.join("\n")
    };
    format!(
        "file = {:?}\nrequests = {}\nbytes_mean = {}\nbytes_p10 = {}\nbytes_p50 = {}\n\
         bytes_p90 = {}\n[present]\n{}\n[elements]\n{}",
        measured.file,
        measured.requests,
        measured.bytes_mean,
        measured.bytes_p10,
        measured.bytes_p50,
        measured.bytes_p90,
        table(&measured.present),
        table(&measured.elements)
    )
}

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    #[expect(clippy::disallowed_methods, reason = "a test may be told where the public data is")]
    let told = std::env::var("GAVEL_CORPUS").ok().map(PathBuf::from);
    [Some(beside), told].into_iter().flatten().find(|folder| folder.is_dir())
}
