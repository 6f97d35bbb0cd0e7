//! The rules of the house that a compiler does not know: layers, sizes, what is absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors of ARCHITECTURE.md, lowest first.
const FLOORS: &[&[&str]] = &[
    &["clock", "openrtb", "money", "deadline", "domain", "tlv"],
    &[
        "arrival",
        "request",
        "bid",
        "facts",
        "negatives",
        "partner",
        "coding",
        "json",
        "money_event",
        "correlation",
    ],
    &["capture", "journal", "limits", "telemetry", "lifecycle", "macros"],
    &["admit", "enrich", "auction", "token", "ledger", "broker"],
    &["privacy"],
    &["bidder"],
    &["snapshot", "notice"],
    &["exchange"],
    &["http", "runtime"],
    &["config"],
    &["reload"],
    &["app"],
    &["main", "cli"],
];

/// Modules of the lowest two floors are words: they may use each other.
const WORDS: usize = 2;

/// Longest file, in lines.
const LINES_MAX: usize = 500;

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(under)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The part of a file that is not its inline tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

fn module(path: &Path) -> String {
    let first = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Modules that are named behind `crate::` (or, in the binary, `gavel::`).
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "gavel::"] {
        for (at, _) in text.match_indices(start) {
            let rest = &text[at + start.len()..];
            let names = rest.strip_prefix('{').map_or(rest, |group| group);
            let word: String =
                names.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.push(word);
        }
    }
    found
}

#[test]
fn imports_go_strictly_downwards() {
    let mut climbs = Vec::new();
    for (path, text) in sources("src") {
        let from = module(&path);
        if from == "lib" {
            continue;
        }
        let Some(own) = floor(&from) else {
            climbs.push(format!("{}: module {from} has no floor", path.display()));
            continue;
        };
        for to in imports(without_tests(&text)) {
            let Some(other) = floor(&to) else { continue };
            if to != from && (other > own || (other == own && own >= WORDS)) {
                climbs.push(format!(
                    "{}: {from} (floor {own}) -> {to} (floor {other})",
                    path.display()
                ));
            }
        }
    }
    assert!(climbs.is_empty(), "climbs:\n{}", climbs.join("\n"));
}

#[test]
fn every_module_of_the_library_has_a_floor_in_the_map_too() {
    let map = include_str!("../../src/ARCHITECTURE.md").split("## Floors").nth(1).unwrap();
    for (number, modules) in FLOORS.iter().enumerate().take(FLOORS.len() - 1) {
        let row = map
            .lines()
            .find(|line| line.starts_with(&format!("| {number} | `")))
            .unwrap_or_else(|| panic!("the map has no row for floor {number}"));
        for module in *modules {
            assert!(
                row.contains(&format!("`{module}`")),
                "floor {number} of the map lacks {module}"
            );
        }
    }
}

#[test]
fn what_the_map_calls_absent_is_absent() {
    // (words that may not stand, where they may)
    let rules: &[(&[&str], &[&str])] = &[
        (&["arc_swap::"], &["src/snapshot.rs"]),
        (&["hyper::", "hyper_util::"], &["src/http/", "src/bidder/"]),
        (&["StatusCode::"], &["src/http/reply.rs"]),
        (&["Instant::now(", "SystemTime::now("], &["src/clock.rs"]),
        (&["async_nats::"], &["src/broker/"]),
        (&["std::sync::RwLock", "unbounded_channel"], &[]),
    ];
    let pure = [
        "openrtb",
        "money",
        "deadline",
        "request",
        "bid",
        "facts",
        "json",
        "coding",
        "admit",
        "enrich",
        "auction",
        "privacy",
        "tlv",
        "money_event",
        "domain",
    ];
    let mut found = Vec::new();
    for (path, text) in sources("src") {
        let name = path.to_str().unwrap().to_owned();
        let code: String = without_tests(&text)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        for (words, places) in rules {
            let allowed = places.iter().any(|place| name.starts_with(place));
            for word in words.iter().filter(|word| !allowed && code.contains(**word)) {
                found.push(format!("{name}: {word}"));
            }
        }
        if pure.contains(&module(&path).as_str()) {
            for word in ["tokio::", "tracing::", "crate::clock", "crate::telemetry"] {
                if code.contains(word) {
                    found.push(format!("{name}: {word} in a pure module"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_is_longer_than_can_be_read_in_one_sitting() {
    let long: Vec<String> = ["src", "replay", "tests", "benches"]
        .iter()
        .filter(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).is_dir())
        .flat_map(|folder| sources(folder))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines}", path.display()))
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is() {
    for (path, text) in sources("src") {
        assert!(text.starts_with("//!"), "{} has no header", path.display());
    }
}

#[test]
fn the_four_negatives_have_unique_labels() {
    use gavel::negatives::{
        no_answer::NoAnswer, not_called::NotCalled, refusal::Refusal, rejection::Rejection,
    };
    let lists: [(&str, Vec<&str>, Vec<usize>); 4] = [
        (
            "refusal",
            Refusal::ALL.map(Refusal::label).into(),
            Refusal::ALL.map(Refusal::index).into(),
        ),
        (
            "not_called",
            NotCalled::ALL.map(NotCalled::label).into(),
            NotCalled::ALL.map(NotCalled::index).into(),
        ),
        (
            "no_answer",
            NoAnswer::ALL.map(NoAnswer::label).into(),
            NoAnswer::ALL.map(NoAnswer::index).into(),
        ),
        (
            "rejection",
            Rejection::ALL.map(Rejection::label).into(),
            Rejection::ALL.map(Rejection::index).into(),
        ),
    ];
    for (name, labels, indexes) in lists {
        let mut seen = BTreeMap::new();
        for (position, label) in labels.iter().enumerate() {
            assert_eq!(seen.insert(*label, position), None, "{name}: {label} twice");
            assert_eq!(indexes[position], position, "{name}: {label} is out of order");
        }
    }
}
