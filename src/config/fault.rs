//! A fault of the configuration, told so that it can be mended at once.
//!
//! Owns: [`Fault`], the search for the nearest name, and [`chain`] for faults of others. Never: reads a file.

use std::error::Error;
use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As named on the command line or by the file that refers to it.
    pub file: String,
    /// Key path, such as `bidders[2].url`; empty: the file as a whole.
    pub path: String,
    pub found: Found,
    /// What is allowed.
    pub wanted: String,
    /// The nearest name that exists.
    pub hint: Option<String>,
}

/// What stands at a fault's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// This, as TOML.
    Value(String),
    /// Something that a report does not show: it may be a secret under a wrong name.
    Hidden,
}

/// Where something stands that another place is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Key path.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of {}", self.path, self.file)
    }
}

impl Place {
    /// A key inside.
    #[must_use]
    pub fn of(&self, key: &str) -> Self {
        Self { file: self.file.clone(), path: format!("{}.{key}", self.path) }
    }

    /// A fault of what stands here.
    pub fn fault(&self, found: Found, wanted: impl Into<String>, hint: Option<String>) -> Fault {
        let (file, path) = (self.file.clone(), self.path.clone());
        Fault { file, path, found, wanted: wanted.into(), hint }
    }
}

impl Found {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Value(format!("{text:?}"))
    }
}

/// A fault with its causes, in one line.
pub fn chain(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(fault) = cause {
        text = format!("{text}: {fault}");
        cause = fault.source();
    }
    text
}

impl Fault {
    /// A fault of a file as a whole.
    pub fn of_file(file: &str, wanted: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            path: String::new(),
            found: Found::Hidden,
            wanted: wanted.into(),
            hint: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return write!(f, "{}: {}", self.file, self.wanted);
        }
        write!(f, "{}: {}", self.file, self.path)?;
        match &self.found {
            // A value is cut: a fault report is no place for a whole file.
            Found::Value(found) => write!(f, " = {}: must be {}", cut(found), self.wanted)?,
            Found::Hidden => write!(f, ": must be {}", self.wanted)?,
            Found::Nothing => write!(f, " is missing: must be {}", self.wanted)?,
        }
        match &self.hint {
            Some(hint) => write!(f, " (did you mean {hint}?)"),
            None => Ok(()),
        }
    }
}

/// Longest value that a report repeats, in characters.
const FOUND_MAX: usize = 80;

fn cut(found: &str) -> String {
    if found.chars().count() <= FOUND_MAX {
        return found.to_owned();
    }
    found.chars().take(FOUND_MAX).chain("...".chars()).collect()
}

/// The known name that is nearest to `name`, where one is near enough to be meant.
pub fn nearest(name: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|one| (distance(name, one), *one))
        .min()
        .filter(|(distance, one)| *distance <= 1 + one.chars().count() / 4)
        .map(|(_, one)| one.to_owned())
}

/// Edits (insert, delete, replace, swap of neighbours as two) from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, to) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            let best = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            left = best;
            *slot = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_and_nonsense_has_none() {
        let known = ["workers", "listen", "tmax_default", "qps"];
        for (typed, meant) in [
            ("wokers", Some("workers")),
            ("listne", Some("listen")),
            ("tmax_defualt", Some("tmax_default")),
            ("qp", Some("qps")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("a", "a", 0)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
