//! Lists of one table.
//!
//! Owns: the part of [`Table`] that reads a list. Never: the meaning of a setting.
//! Invariant: each entry that cannot be read is a fault of its own; the others count.

use super::reader::Table;
use std::fmt::Display;
use std::ops::RangeInclusive;
use toml::Value;

impl Table<'_> {
    /// A list of texts, each of which `parse` takes.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        doc: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        self.row(key, "list", "empty".to_owned(), format!("each {wanted}"), doc);
        self.texts(key, wanted, parse).unwrap_or_default()
    }

    /// As [`Self::list`]; where the key is absent, it is the words of `default`.
    pub fn list_or<T>(
        &mut self,
        key: &'static str,
        default: &str,
        wanted: &'static str,
        doc: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        self.row(key, "list", default.to_owned(), format!("each {wanted}"), doc);
        self.texts(key, wanted, &parse)
            .unwrap_or_else(|| default.split_whitespace().filter_map(parse).collect())
    }

    /// A list of whole numbers.
    pub fn numbers<T>(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<T>,
        doc: &'static str,
    ) -> Vec<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let wanted = format!("a whole number, {} to {}", allowed.start(), allowed.end());
        self.row(key, "list", "empty".to_owned(), format!("each {wanted}"), doc);
        let read = |item: &Value| item.as_integer().and_then(|number| T::try_from(number).ok());
        let fitting = |item: &Value| read(item).filter(|number| allowed.contains(number));
        self.entries_of(key, &wanted, fitting).unwrap_or_default()
    }

    fn texts<T>(
        &self,
        key: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.entries_of(key, wanted, |item| item.as_str().and_then(&parse))
    }

    /// Every entry that `read` takes; `None`: there is no such key.
    fn entries_of<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let Value::Array(items) = value else {
            self.fault_at(key, Some(value), &format!("a list, each {wanted}"), None);
            return Some(Vec::new());
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match read(item) {
                Some(one) => list.push(one),
                None => self.fault_at(&format!("{key}[{index}]"), Some(item), wanted, None),
            }
        }
        Some(list)
    }
}
