//! Where two answers to one request differ.
//!
//! Owns: the paths of an answer, normalised so that the same field of all answers is one path, and
//! the rules by which fields are left out. Never: how often, or whether that matters. Invariants:
//! total for whatever a server answers; of a difference only its root is named, never what hangs
//! below it.
//!
//! A path is `status`, `header NAME`, `body` (no JSON on both sides) or an RFC 9535 JSONPath with
//! `[*]` for every element of an array. Elements are matched by `impid`, `seat` or `id`, where all
//! of them have one: bids in another order are equal. Where values are not only different but of
//! different kinds (absent, null, empty, of another type or sign), the path with ` (kind)` differs
//! too: in a field that is new in every answer, that is all that can be compared.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::token;
use crate::ask::{Answered, AskError};
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};
use std::collections::{BTreeMap, BTreeSet};

/// Headers that say nothing about the build: the clock, the connection, the length of the body.
const HEADERS_IGNORED: [&str; 5] =
    ["date", "connection", "keep-alive", "content-length", "transfer-encoding"];

/// The name that a server gives each request: whether it is there is compared, not what it says.
const REQUEST_ID: &str = "x-request-id";

/// What names an element of an array. `impid` before `id`: ids of bids may be fresh each time.
const NAMES: [&str; 3] = ["impid", "seat", "id"];

/// Behind a path: of what kind the value is.
pub(super) const KIND: &str = " (kind)";

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// The status, or the label of why there is none.
    status: String,
    headers: BTreeMap<String, String>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Empty,
    Json(Value),
    Other(Vec<u8>),
}

/// Fields that are left out.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    paths: Vec<JsonPath>,
    headers: BTreeSet<String>,
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ignore rule `{rule}`: {why}; allowed: an RFC 9535 JSONPath such as $.seatbid[*].bid[*].id, or \
     `header NAME`"
)]
pub struct IgnoreError {
    pub rule: String,
    pub why: String,
}

// === impl Ignore ===

impl Ignore {
    /// Reads rules: JSONPaths and `header NAME`.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, IgnoreError> {
        let mut ignore = Self::default();
        for rule in rules {
            let rule = rule.as_ref().trim();
            let fault = |why: String| IgnoreError { rule: rule.to_owned(), why };
            if let Some(name) = rule.strip_prefix("header ") {
                ignore.headers.insert(name.trim().to_ascii_lowercase());
                continue;
            }
            let path = JsonPath::parse(rule).map_err(|error| fault(error.to_string()))?;
            if rule == "$" {
                return Err(fault("it hides the whole answer".to_owned()));
            }
            ignore.paths.push(path);
        }
        Ok(ignore)
    }

    fn apply(&self, value: &mut Value) {
        for path in &self.paths {
            let places: Vec<Vec<Step>> = path
                .query_located(value)
                .iter()
                .map(|node| node.location().iter().map(Step::of).collect())
                .collect();
            // the last ones first: taking one out leaves the places of those before it
            for place in places.iter().rev() {
                remove(value, place);
            }
        }
    }
}

enum Step {
    Name(String),
    Index(usize),
}

impl Step {
    fn of(element: &PathElement<'_>) -> Self {
        match element {
            PathElement::Name(name) => Self::Name((*name).to_owned()),
            PathElement::Index(index) => Self::Index(*index),
        }
    }
}

fn remove(value: &mut Value, place: &[Step]) {
    let Some((end, before)) = place.split_last() else { return };
    let mut at = value;
    for step in before {
        let next = match step {
            Step::Name(name) => at.get_mut(name),
            Step::Index(index) => at.get_mut(index),
        };
        let Some(next) = next else { return };
        at = next;
    }
    match (at, end) {
        (Value::Object(map), Step::Name(name)) => {
            map.remove(name);
        }
        (Value::Array(list), Step::Index(index)) if *index < list.len() => {
            list.remove(*index);
        }
        _ => {}
    }
}

// === impl Side ===

impl Side {
    /// From what a server answered.
    pub fn new(answered: &Result<Answered, AskError>, ignore: &Ignore) -> Self {
        match answered {
            Ok(answered) => Self::of(answered, ignore),
            Err(error) => {
                let status = format!("none: {}", error.label());
                Self { status, headers: BTreeMap::new(), body: Body::Empty }
            }
        }
    }

    fn of(answered: &Answered, ignore: &Ignore) -> Self {
        let headers = answered
            .headers
            .iter()
            .filter(|(name, _)| !HEADERS_IGNORED.contains(&name.as_str()))
            .filter(|(name, _)| !ignore.headers.contains(name))
            .map(|(name, value)| {
                let is_name = name == REQUEST_ID && !value.is_empty();
                (name.clone(), if is_name { "ID".to_owned() } else { value.clone() })
            })
            .collect();
        let body = if answered.body.trim_ascii().is_empty() {
            Body::Empty
        } else {
            match serde_json::from_slice(&answered.body) {
                Ok(mut value) => {
                    ignore.apply(&mut value);
                    token::mask(&mut value);
                    Body::Json(value)
                }
                Err(_) => Body::Other(answered.body.clone()),
            }
        };
        Self { status: answered.status.to_string(), headers, body }
    }

    /// Paths that it has: the values of its body at every depth, its headers, its status.
    pub fn paths(&self) -> BTreeSet<String> {
        let mut found: BTreeSet<String> =
            self.headers.keys().map(|name| format!("header {name}")).collect();
        found.insert("status".to_owned());
        match &self.body {
            Body::Empty => {}
            Body::Json(value) => collect(value, &mut "$".to_owned(), &mut found),
            Body::Other(_) => {
                found.insert("body".to_owned());
            }
        }
        found
    }

    /// Paths in which it differs from another one. Behind another status nothing further is named.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        if self.status != other.status {
            return BTreeSet::from(["status".to_owned()]);
        }
        let mut found = BTreeSet::new();
        for name in self.headers.keys().chain(other.headers.keys()) {
            if self.headers.get(name) != other.headers.get(name) {
                found.insert(format!("header {name}"));
            }
        }
        match (&self.body, &other.body) {
            (Body::Json(one), Body::Json(two)) => {
                differ(one, two, &mut "$".to_owned(), &mut found);
            }
            (one, two) if one == two => {}
            _ => {
                found.insert("body".to_owned());
            }
        }
        found
    }

    /// A short text of what stands at a path, for people: the first place where it is.
    pub fn show(&self, path: &str) -> String {
        const SHOWN_MAX: usize = 120;
        let path = path.strip_suffix(KIND).unwrap_or(path);
        let text = if path == "status" {
            self.status.clone()
        } else if let Some(name) = path.strip_prefix("header ") {
            self.headers.get(name).cloned().unwrap_or_else(|| "absent".to_owned())
        } else {
            match &self.body {
                Body::Json(value) => match JsonPath::parse(path) {
                    Ok(query) => {
                        let nodes = query.query(value).all();
                        let texts: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                        if texts.is_empty() { "absent".to_owned() } else { texts.join(", ") }
                    }
                    Err(_) => value.to_string(),
                },
                Body::Empty => "no body".to_owned(),
                Body::Other(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            }
        };
        match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{} ...", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }
}

/// Appends a member's name; gives the length to cut back to.
fn push_name(path: &mut String, name: &str) -> usize {
    let before = path.len();
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    if is_plain {
        path.extend([".", name]);
    } else {
        // JSON's escapes are those of a double-quoted name (RFC 9535, 2.3.1.1)
        path.extend(["[", &Value::from(name).to_string(), "]"]);
    }
    before
}

fn push_element(path: &mut String) -> usize {
    let before = path.len();
    path.push_str("[*]");
    before
}

fn collect(value: &Value, path: &mut String, found: &mut BTreeSet<String>) {
    if !found.contains(path.as_str()) {
        found.insert(path.clone());
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let before = push_name(path, name);
                collect(inner, path, found);
                path.truncate(before);
            }
        }
        Value::Array(list) => {
            let before = push_element(path);
            for inner in list {
                collect(inner, path, found);
            }
            path.truncate(before);
        }
        _ => {}
    }
}

fn differ(one: &Value, two: &Value, path: &mut String, found: &mut BTreeSet<String>) {
    match (one, two) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, mine) in left {
                let before = push_name(path, name);
                match right.get(name) {
                    Some(theirs) => differ(mine, theirs, path, found),
                    None => absent(path, found),
                }
                path.truncate(before);
            }
            for name in right.keys().filter(|name| !left.contains_key(*name)) {
                let before = push_name(path, name);
                absent(path, found);
                path.truncate(before);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            let before = push_element(path);
            let (left, right) = matched(left, right);
            for (name, mine) in &left {
                match right.get(name) {
                    Some(theirs) => differ(mine, theirs, path, found),
                    None => {
                        found.insert(path.clone());
                    }
                }
            }
            if right.keys().any(|name| !left.contains_key(name)) {
                found.insert(path.clone());
            }
            path.truncate(before);
        }
        _ if is_equal(one, two) => {}
        _ => {
            found.insert(path.clone());
            if kind(one) != kind(two) {
                found.insert(format!("{path}{KIND}"));
            }
        }
    }
}

fn absent(path: &str, found: &mut BTreeSet<String>) {
    found.insert(path.to_owned());
    found.insert(format!("{path}{KIND}"));
}

/// What is alike in values that are new each time.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|it| it < 0.0) => "negative",
        Value::Number(number) if number.as_f64().is_some_and(|it| it > 0.0) => "positive",
        Value::Number(_) => "zero",
        Value::String(text) if text.is_empty() => "empty",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// 1 and 1.0 are one number.
fn is_equal(one: &Value, two: &Value) -> bool {
    if let (Value::Number(left), Value::Number(right)) = (one, two)
        && (left.is_f64() || right.is_f64())
        && let (Some(left), Some(right)) = (left.as_f64(), right.as_f64())
    {
        return left.total_cmp(&right).is_eq();
    }
    one == two
}

type Named<'v> = BTreeMap<(String, usize), &'v Value>;

/// Elements by name, where all have one of the same kind and some of the names are on both sides;
/// else by their place.
fn matched<'v>(left: &'v [Value], right: &'v [Value]) -> (Named<'v>, Named<'v>) {
    for key in NAMES {
        if let (Some(one), Some(two)) = (named(left, key), named(right, key))
            && (key != "id" || one.keys().any(|name| two.contains_key(name)))
        {
            return (one, two);
        }
    }
    let by_place = |list: &'v [Value]| -> Named<'v> {
        list.iter().enumerate().map(|(place, value)| ((String::new(), place), value)).collect()
    };
    (by_place(left), by_place(right))
}

fn named<'v>(list: &'v [Value], key: &str) -> Option<Named<'v>> {
    let mut found = Named::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for value in list {
        let name = match value.get(key)? {
            Value::String(text) => text.clone(),
            number @ Value::Number(_) => number.to_string(),
            _ => return None,
        };
        let count = counts.entry(name.clone()).or_default();
        found.insert((name, *count), value);
        *count = count.saturating_add(1);
    }
    Some(found)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
