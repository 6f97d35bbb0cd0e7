//! Cases as data: `cases/road/<sentence>.json` says what a partner sends, what each bidder must
//! have been sent and answers, and what the partner must get.
//!
//! A case is `{"config": {"partner": {..}, "bidders": [{..}], "rates": {..}}, "headers": {..},
//! "request": {..} | "text": "..", "bidders": {"NAME": {"sent": {..} | null, "status": 200,
//! "answer": {..} | "text": "..", "after_ms": 0}}, "reply": {"status": 200, "reason": "..",
//! "body": {..}}, "counts": {"SERIES": 1}}`. `"*"` in an expected value matches anything.
//! `BLESS=1` writes what came as what is expected; read the difference before you commit it.

use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, Reply};
use crate::harness::server::Server;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/road")
}

#[test]
fn every_case_of_the_road_ends_as_written() {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no case in {}", folder().display());
    let faults: Vec<String> = paths
        .iter()
        .flat_map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            check(path).into_iter().map(move |fault| format!("{name}: {fault}"))
        })
        .collect();
    println!("{} cases", paths.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn check(path: &Path) -> Vec<String> {
    let mut case: Value = serde_json::from_slice(&std::fs::read(path).unwrap())
        .unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    let dir = tempfile::tempdir().unwrap();
    let bidders = start_bidders(&case);
    let config = write_config(dir.path(), &case, &bidders);
    let server = Server::ready(&config);
    let reply = send(&case, &server);
    let bless = bless_wanted();
    let mut faults = Vec::new();
    compare_reply(&mut case, &reply, bless, &mut faults);
    for (name, bidder) in &bidders {
        let sent = bidder.seen().last().map(|message| message.body.clone());
        let sent = sent.map_or(Value::Null, |body| serde_json::from_slice(&body).unwrap());
        let wanted = &mut case["bidders"][name]["sent"];
        if bless {
            *wanted = steady(sent);
        } else {
            differences(wanted, &sent, &format!("sent to {name}"), &mut faults);
        }
    }
    compare_counts(&case, &server, &mut faults);
    if bless {
        std::fs::write(path, serde_json::to_string_pretty(&case).unwrap() + "\n").unwrap();
    }
    faults
}

#[expect(clippy::disallowed_methods, reason = "a test is told to bless by its environment")]
fn bless_wanted() -> bool {
    std::env::var("BLESS").is_ok_and(|value| value == "1")
}

fn start_bidders(case: &Value) -> BTreeMap<String, Bidder> {
    let empty = Map::new();
    let scripts = case["bidders"].as_object().unwrap_or(&empty);
    scripts
        .iter()
        .map(|(name, script)| (name.clone(), Bidder::start(read_script(script))))
        .collect()
}

fn read_script(script: &Value) -> Script {
    let body = match (&script["answer"], &script["text"]) {
        (Value::Null, Value::String(text)) => text.clone().into_bytes(),
        (Value::Null, _) => Vec::new(),
        (answer, _) => serde_json::to_vec(answer).unwrap(),
    };
    let status = script["status"].as_u64().unwrap_or(if body.is_empty() { 204 } else { 200 });
    Script {
        status: u16::try_from(status).unwrap(),
        headers: Vec::new(),
        body,
        after: Duration::from_millis(script["after_ms"].as_u64().unwrap_or(0)),
        ..Script::default()
    }
}

fn write_config(dir: &Path, case: &Value, bidders: &BTreeMap<String, Bidder>) -> PathBuf {
    let mut partner = json!({"name": "pub", "open": true, "tmax_default": "2s", "tmax_max": "5s"});
    overlay(&mut partner, &case["config"]["partner"]);
    let overlays = case["config"]["bidders"].as_array().cloned().unwrap_or_default();
    let listed: Vec<Value> = bidders
        .iter()
        .map(|(name, bidder)| {
            let mut entry = json!({"name": name, "url": format!("http://{}/bid", bidder.address)});
            if let Some(more) = overlays.iter().find(|more| more["name"] == **name) {
                overlay(&mut entry, more);
            }
            entry
        })
        .collect();
    let mut config = json!({
        "http": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
        "admission": {"lag_target": "100ms", "burst_time": "1h", "burst_lag": "1h"},
        "runtime": {"workers": 1},
        "partners": [partner],
        "bidders": listed,
    });
    if case["config"]["databases"] == "demo" {
        config["databases"] = demo_databases();
    }
    for (key, value) in case["config"].as_object().into_iter().flatten() {
        if !["partner", "bidders", "databases"].contains(&key.as_str()) {
            overlay(&mut config[key.as_str()], value);
        }
    }
    let path = dir.join("gavel.toml");
    std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
    path
}

/// The databases that the project ships, by absolute paths.
fn demo_databases() -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo");
    let file = |name: &str| folder.join(name).display().to_string();
    json!({
        "city": file("geo/demo-city.mmdb"),
        "device_regexes": file("device/regexes.yaml"),
        "device_models": file("device/models.toml"),
    })
}

/// What differs from run to run is not expected: ids of our own, and times.
fn steady(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                *member = match key.as_str() {
                    "bidid" | "tmax" | "ms" | "took_ms" => json!("*"),
                    _ => steady(member.take()),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = steady(item.take())),
        _ => {}
    }
    value
}

fn overlay(onto: &mut Value, from: &Value) {
    match (onto, from) {
        (_, Value::Null) => {}
        (Value::Object(onto), Value::Object(from)) => {
            for (key, value) in from {
                overlay(onto.entry(key).or_insert(Value::Null), value);
            }
        }
        (onto, from) => *onto = from.clone(),
    }
}

fn send(case: &Value, server: &Server) -> Reply {
    let headers: Vec<(&str, &str)> = case["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let body = match &case["text"] {
        Value::String(text) => text.clone().into_bytes(),
        _ => serde_json::to_vec(&case["request"]).unwrap(),
    };
    let path = case["path"].as_str().unwrap_or("/openrtb2/pub");
    Client::connect(server.public.unwrap()).post(path, &headers, &body).expect("no answer at all")
}

fn compare_reply(case: &mut Value, reply: &Reply, bless: bool, faults: &mut Vec<String>) {
    let mut got = json!({"status": reply.status});
    if let Some(reason) = reply.header("x-gavel-reason") {
        got["reason"] = json!(reason);
    }
    if !reply.body.is_empty() {
        got["body"] = reply.json();
    }
    if bless {
        case["reply"] = steady(got);
    } else {
        differences(&case["reply"], &got, "reply", faults);
    }
}

fn compare_counts(case: &Value, server: &Server, faults: &mut Vec<String>) {
    for (series, wanted) in case["counts"].as_object().into_iter().flatten() {
        let got = server.metric(series);
        if Some(got) != wanted.as_f64() {
            faults.push(format!("{series} is {got}, not {wanted}"));
        }
    }
}

/// Every place where `got` is not as `wanted`; `"*"` matches anything that is there.
fn differences(wanted: &Value, got: &Value, path: &str, faults: &mut Vec<String>) {
    match (wanted, got) {
        (Value::String(any), got) if any == "*" && !got.is_null() => {}
        (Value::Object(wanted), Value::Object(got)) => {
            for key in wanted.keys().chain(got.keys().filter(|key| !wanted.contains_key(*key))) {
                let (w, g) = (wanted.get(key), got.get(key));
                match (w, g) {
                    (Some(w), Some(g)) => differences(w, g, &format!("{path}.{key}"), faults),
                    (w, g) => faults.push(format!("{path}.{key} is {g:?}, not {w:?}")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            for (index, (w, g)) in wanted.iter().zip(got).enumerate() {
                differences(w, g, &format!("{path}[{index}]"), faults);
            }
        }
        (wanted, got) if wanted == got => {}
        (wanted, got) => faults.push(format!("{path} is {got}, not {wanted}")),
    }
}
