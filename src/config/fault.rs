//! A fault of the configuration, told so that it can be mended at once.
//!
//! Owns: [`Fault`] and the search for the nearest name. Never: reads a file.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As named on the command line or by the file that refers to it.
    pub file: String,
    /// Key path, such as `bidders[2].url`; empty: the file as a whole.
    pub path: String,
    /// What stands there, as TOML; `None`: nothing does.
    pub found: Option<String>,
    /// What is allowed.
    pub wanted: String,
    /// The nearest name that exists.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault of a file as a whole.
    pub fn of_file(file: &str, wanted: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            path: String::new(),
            found: None,
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
            Some(found) => write!(f, " = {}: must be {}", cut(found), self.wanted)?,
            None => write!(f, " is missing: must be {}", self.wanted)?,
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
