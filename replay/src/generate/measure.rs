//! Measures the figures of a corpus.
//!
//! Owns: sizes and presence of fields, numbers only. Never: a text out of the corpus but the names
//! of standard fields. It is how `data/traffic.toml` came to be, and a test runs it again.

use super::mix::Measured;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is looked for: paths of standard fields; `imp` stands for any of the imps.
pub const PATHS: &[&str] = &[
    "app",
    "app.bundle",
    "app.publisher",
    "at",
    "badv",
    "bapp",
    "bcat",
    "cur",
    "device.carrier",
    "device.connectiontype",
    "device.devicetype",
    "device.geo",
    "device.geo.country",
    "device.geo.lat",
    "device.geo.zip",
    "device.h",
    "device.ip",
    "device.ipv6",
    "device.language",
    "device.lmt",
    "device.make",
    "device.model",
    "device.os",
    "device.ua",
    "imp.audio",
    "imp.banner",
    "imp.banner.format",
    "imp.bcat",
    "imp.bidfloor",
    "imp.bidfloorcur",
    "imp.exp",
    "imp.ext",
    "imp.instl",
    "imp.metric",
    "imp.native",
    "imp.pmp",
    "imp.pmp.deals",
    "imp.secure",
    "imp.video",
    "regs",
    "site",
    "site.page",
    "source",
    "tmax",
    "user",
    "user.buyeruid",
    "user.id",
];

/// Arrays whose elements are counted.
pub const ARRAYS: &[&str] = &["badv", "bcat", "cur", "imp", "imp.bcat", "imp.pmp.deals"];

/// Measures requests.
pub fn measure<'a>(file: &str, requests: impl Iterator<Item = &'a Value>) -> Measured {
    let mut sizes = Vec::new();
    let (mut present, mut elements) = (BTreeMap::new(), BTreeMap::new());
    for request in requests {
        sizes.push(request.to_string().len());
        for path in PATHS {
            *present.entry(*path).or_insert(0usize) += usize::from(!find(request, path).is_empty());
        }
        for path in ARRAYS {
            for found in find(request, path) {
                let (count, arrays) = elements.entry(*path).or_insert((0usize, 0usize));
                *count += found.as_array().map_or(0, Vec::len);
                *arrays += usize::from(found.is_array());
            }
        }
    }
    sizes.sort_unstable();
    let count = sizes.len();
    let at = |share: usize| sizes.get(count * share / 100).copied().unwrap_or(0);
    Measured {
        file: file.to_owned(),
        requests: count,
        bytes_mean: sizes.iter().sum::<usize>() / count.max(1),
        bytes_p10: at(10),
        bytes_p50: at(50),
        bytes_p90: at(90),
        present: rounded(present.into_iter().map(|(path, found)| (path, found, count))),
        elements: rounded(elements.into_iter().map(|(path, (sum, arrays))| (path, sum, arrays))),
    }
}

/// Quotients to three decimals; those without anything to divide are left out.
fn rounded<'a>(figures: impl Iterator<Item = (&'a str, usize, usize)>) -> BTreeMap<String, f64> {
    let quotient = |part: usize, whole: usize| (part as f64 / whole as f64 * 1e3).round() / 1e3;
    figures
        .filter(|(_, part, whole)| *part > 0 && *whole > 0)
        .map(|(path, part, whole)| (path.to_owned(), quotient(part, whole)))
        .collect()
}

/// The values at a path that are not null; an array on the way stands for each of its elements.
fn find<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for key in path.split('.') {
        let inside = |value: &'a Value| match value {
            Value::Array(list) => list.iter().collect(),
            value => vec![value],
        };
        found = found.into_iter().flat_map(inside).filter_map(|value| value.get(key)).collect();
    }
    found.retain(|value| !value.is_null());
    found
}
