//! Reads TOML tables key by key, and never stops at the first fault.
//!
//! Owns: [`Table`], the one way in which a setting gets from a file into a struct: name, default,
//! allowed range and documentation stand in one call, so that faults, hints and the generated
//! reference cannot drift from what is read. Never: the meaning of a setting.
//!
//! Invariant: each key of a file is either read by a call or reported as unknown.

use super::fault::{Fault, Found, Place, nearest};
use super::secrets::{shown, told};
use super::units::{read_moment, read_size, read_time, write_size, write_time};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;

/// One row of the generated reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub path: String,
    pub kind: &'static str,
    pub default: String,
    pub allowed: String,
    pub doc: &'static str,
    /// What the files say, as TOML, secrets left out; `None`: the default holds.
    pub set: Option<String>,
}

/// What a reading collects.
#[derive(Debug, Default)]
pub struct Findings {
    pub faults: Vec<Fault>,
    /// One for each key that was asked for, in the order of reading.
    pub rows: Vec<Row>,
    documents: bool,
}

impl Findings {
    /// For a reading of nothing: no fault counts, each array of tables is seen once.
    pub fn documenting() -> Self {
        Self { documents: true, ..Self::default() }
    }
}

/// One table of a file, or the absence of one (then every key has its default).
#[derive(Debug)]
pub struct Table<'a> {
    path: String,
    /// Which file, for the report.
    file: &'a str,
    values: Option<&'a toml::Table>,
    known: Vec<&'static str>,
    findings: &'a RefCell<Findings>,
}

impl<'a> Table<'a> {
    /// The root of a file.
    pub fn root(
        file: &'a str,
        values: Option<&'a toml::Table>,
        findings: &'a RefCell<Findings>,
    ) -> Self {
        Self { path: String::new(), file, values, known: Vec::new(), findings }
    }

    /// Where a key of this table stands.
    pub fn place(&self, key: &str) -> Place {
        Place { file: self.file.to_owned(), path: self.full(key) }
    }

    /// Whether there is something under a key.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A text as it stands there, whatever else is wrong with it.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.value(key).and_then(Value::as_str)
    }

    /// Whether the file has this table at all.
    pub fn is_present(&self) -> bool {
        self.values.is_some()
    }

    /// A sub-table; absent reads as empty.
    #[must_use]
    pub fn section(&mut self, key: &'static str) -> Table<'a> {
        self.known.push(key);
        let values = match self.value(key) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                self.fault(key, Some(other), "a table", None);
                None
            }
        };
        self.child(key.to_owned(), values)
    }

    /// An array of tables. A documenting reading sees one, empty.
    pub fn sections(&mut self, key: &'static str) -> Vec<Table<'a>> {
        self.known.push(key);
        if self.findings.borrow().documents {
            return vec![self.child(format!("{key}[]"), None)];
        }
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    let path = format!("{key}[{index}]");
                    if let Value::Table(table) = item {
                        return Some(self.child(path, Some(table)));
                    }
                    self.fault_at(&path, Some(item), "a table", None);
                    None
                })
                .collect(),
            Some(other) => {
                self.fault(key, Some(other), "an array of tables ([[...]])", None);
                Vec::new()
            }
        }
    }

    /// Every value of a table whose names are free, such as currency codes; `name` is what stands for
    /// one of them in the reference.
    pub fn entries(
        &mut self,
        name: &'static str,
        kind: &'static str,
        allowed: &str,
        doc: &'static str,
    ) -> Vec<(&'a str, &'a Value)> {
        self.row(name, kind, "none".to_owned(), allowed.to_owned(), doc);
        let values = self.values.take().into_iter().flatten();
        values.map(|(key, value)| (key.as_str(), value)).collect()
    }

    /// A whole number.
    pub fn integer<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: RangeInclusive<T>,
        doc: &'static str,
    ) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let range = || format!("{} to {}", allowed.start(), allowed.end());
        self.row(key, "integer", default.to_string(), range(), doc);
        let Some(value) = self.value(key) else { return default };
        let read = value.as_integer().and_then(|number| T::try_from(number).ok());
        if let Some(fitting) = read.filter(|number| allowed.contains(number)) {
            fitting
        } else {
            self.fault(key, Some(value), &format!("a whole number, {}", range()), None);
            default
        }
    }

    /// A whole number that may be absent.
    pub fn integer_optional<T>(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<T>,
        doc: &'static str,
    ) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let range = format!("{} to {}", allowed.start(), allowed.end());
        self.row(key, "integer", "none".to_owned(), range.clone(), doc);
        let value = self.value(key)?;
        let read = value.as_integer().and_then(|number| T::try_from(number).ok());
        let read = read.filter(|number| allowed.contains(number));
        if read.is_none() {
            self.fault(key, Some(value), &format!("a whole number, {range}"), None);
        }
        read
    }

    /// A time with its unit, such as `250ms`, `5s`, `2m`, `1h`.
    pub fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Duration {
        let range = format!("{} to {}", write_time(*allowed.start()), write_time(*allowed.end()));
        self.row(key, "duration", write_time(default), range.clone(), doc);
        let Some(value) = self.value(key) else { return default };
        if let Some(fitting) =
            value.as_str().and_then(read_time).filter(|time| allowed.contains(time))
        {
            fitting
        } else {
            let wanted = format!("a time with its unit (ms, s, m, h), {range}");
            self.fault(key, Some(value), &wanted, None);
            default
        }
    }

    /// A size with its unit, such as `256KiB`, or a number of bytes.
    pub fn bytes(
        &mut self,
        key: &'static str,
        default: usize,
        allowed: RangeInclusive<usize>,
        doc: &'static str,
    ) -> usize {
        let range = format!("{} to {}", write_size(*allowed.start()), write_size(*allowed.end()));
        self.row(key, "size", write_size(default), range.clone(), doc);
        let Some(value) = self.value(key) else { return default };
        let read = match value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            Value::String(text) => read_size(text),
            _ => None,
        };
        if let Some(fitting) = read.filter(|size| allowed.contains(size)) {
            fitting
        } else {
            let wanted = format!("a size in bytes or with its unit (KiB, MiB, GiB), {range}");
            self.fault(key, Some(value), &wanted, None);
            default
        }
    }

    /// A moment with its offset from UTC, as TOML writes it (RFC 3339), since the Unix epoch.
    pub fn moment(&mut self, key: &'static str, doc: &'static str) -> Option<Duration> {
        const WANTED: &str = "a date and time with its offset, such as 2026-01-31T12:00:00Z";
        self.row(key, "moment", "none".to_owned(), WANTED.to_owned(), doc);
        let value = self.value(key)?;
        let read = match value {
            Value::Datetime(moment) => read_moment(moment),
            Value::String(text) => text.parse().ok().as_ref().and_then(read_moment),
            _ => None,
        };
        if read.is_none() {
            self.fault(key, Some(value), WANTED, None);
        }
        read
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, default: bool, doc: &'static str) -> bool {
        self.row(key, "flag", default.to_string(), "true or false".to_owned(), doc);
        let Some(value) = self.value(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.fault(key, Some(value), "true or false", None);
            default
        })
    }

    /// A text that `parse` takes; absent is `None`.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        doc: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.row(key, "text", "none".to_owned(), wanted.to_owned(), doc);
        let value = self.value(key)?;
        let read = value.as_str().and_then(&parse);
        if read.is_none() {
            self.fault(key, Some(value), wanted, None);
        }
        read
    }

    /// As [`Self::parsed`], and absence is a fault.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        doc: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.row(key, "text", "required".to_owned(), wanted.to_owned(), doc);
            self.fault(key, None, wanted, None);
            return None;
        }
        self.parsed(key, wanted, doc, parse)
    }

    /// One of a closed list of names; the first is the default.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        names: &[(&'static str, T)],
        doc: &'static str,
    ) -> Option<T> {
        let list = names.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let wanted = format!("one of {}", list.join(", "));
        let first = list.first().copied().unwrap_or("none");
        self.row(key, "choice", first.to_owned(), wanted.clone(), doc);
        let first = names.first().map(|(_, value)| *value);
        let Some(value) = self.value(key) else { return first };
        let read = value.as_str().and_then(|text| names.iter().find(|(name, _)| *name == text));
        if let Some((_, found)) = read {
            return Some(*found);
        }
        let hint = value.as_str().and_then(|text| nearest(text, &list));
        self.fault(key, Some(value), &wanted, hint);
        first
    }

    /// A number with a fraction, as a text or a TOML number; absent is `None`.
    pub fn decimal<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        doc: &'static str,
        parse: impl Fn(f64) -> Option<T>,
    ) -> Option<T> {
        self.row(key, "number", "none".to_owned(), wanted.to_owned(), doc);
        let value = self.value(key)?;
        let number = match value {
            Value::Float(number) => Some(*number),
            #[expect(clippy::cast_precision_loss, reason = "the parser bounds it far below 2^53")]
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        };
        let read = number.and_then(&parse);
        if read.is_none() {
            self.fault(key, Some(value), wanted, None);
        }
        read
    }

    /// A fault that is found outside a single key's reading, such as a relation between two.
    pub fn fault_of(&self, key: &str, wanted: &str, hint: Option<String>) {
        self.fault_at(key, self.value(key), wanted, hint);
    }

    /// A fault that was put together elsewhere.
    pub fn add(&self, fault: Fault) {
        let mut findings = self.findings.borrow_mut();
        if !findings.documents {
            findings.faults.push(fault);
        }
    }

    /// Ends the reading of this table: what nobody asked for is a fault with the nearest key.
    pub fn end(self) {
        let Some(values) = self.values else { return };
        for key in values.keys() {
            if !self.known.contains(&key.as_str()) {
                let hint = nearest(key, &self.known);
                // whose value it is nobody knows: it may be a secret under a mistyped name
                self.add(self.place(key).fault(Found::Hidden, "a known key", hint));
            }
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.values.and_then(|values| values.get(key))
    }

    fn child(&self, name: String, values: Option<&'a toml::Table>) -> Table<'a> {
        let path = if self.path.is_empty() { name } else { format!("{}.{name}", self.path) };
        Table { path, file: self.file, values, known: Vec::new(), findings: self.findings }
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn row(
        &mut self,
        key: &'static str,
        kind: &'static str,
        default: String,
        allowed: String,
        doc: &'static str,
    ) {
        self.known.push(key);
        let set = self.value(key).map(|value| shown(key, value));
        let path = self.full(key);
        self.findings.borrow_mut().rows.push(Row { path, kind, default, allowed, doc, set });
    }

    pub(super) fn fault(
        &self,
        key: &str,
        value: Option<&Value>,
        wanted: &str,
        hint: Option<String>,
    ) {
        self.fault_at(key, value, wanted, hint);
    }

    pub(super) fn fault_at(
        &self,
        key: &str,
        value: Option<&Value>,
        wanted: &str,
        hint: Option<String>,
    ) {
        let found = value.map_or(Found::Nothing, |value| told(key, value));
        self.add(self.place(key).fault(found, wanted, hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_in_one_reading_with_path_value_range_and_hint() {
        let file: toml::Table = "
            wokers = 3
            [http]
            idle = '5 parsecs'
            body = '9GiB'
            mode = 'fats'
            names = ['a', 7]
            [[list]]
            n = 70
        "
        .parse()
        .unwrap();
        let findings = RefCell::new(Findings::default());
        let mut root = Table::root("a.toml", Some(&file), &findings);
        assert_eq!(root.integer("workers", 1, 1..=8, ""), 1);
        let mut http = root.section("http");
        http.duration("idle", Duration::ZERO, Duration::ZERO..=Duration::from_secs(60), "");
        http.bytes("body", 1, 1..=1 << 20, "");
        http.choice("mode", &[("fast", 1), ("slow", 2)], "");
        assert_eq!(http.list("names", "a name", "", |text| Some(text.to_owned())), ["a"]);
        http.end();
        for mut one in root.sections("list") {
            one.integer("n", 1, 0..=64, "");
            one.required("name", "a name", "", |text| Some(text.to_owned()));
            one.end();
        }
        root.end();
        let report: Vec<String> =
            findings.borrow().faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            report,
            [
                "a.toml: http.idle = \"5 parsecs\": must be a time with its unit (ms, s, m, h), 0ms to 1m",
                "a.toml: http.body = \"9GiB\": must be a size in bytes or with its unit (KiB, MiB, GiB), 1B to 1MiB",
                "a.toml: http.mode = \"fats\": must be one of fast, slow (did you mean fast?)",
                "a.toml: http.names[1] = 7: must be a name",
                "a.toml: list[0].n = 70: must be a whole number, 0 to 64",
                "a.toml: list[0].name is missing: must be a name",
                "a.toml: wokers: must be a known key (did you mean workers?)",
            ]
        );
    }
}
