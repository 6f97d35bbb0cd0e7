//! The table beside the regexes: what a model code is sold as, and the rules that regexes miss.
//!
//! Owns: [`Models`] with its file format (TOML). Never: a regex. Invariant: lookups are bounded by
//! the length of a model code, rules by [`RULES_MAX`].
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Deserialize;
use std::collections::HashMap;

/// More rules than this are a mistake: each costs a scan of every unknown user agent.
pub const RULES_MAX: usize = 256;

/// How much of a model code a `*` may stand for: regional letters and carriers' marks.
const SUFFIX_MAX: usize = 4;

/// The table, ready to be asked.
#[derive(Debug, Default)]
pub struct Models {
    exact: HashMap<String, Model>,
    /// Keys that end in `*`, without it.
    families: HashMap<String, Model>,
    /// Beginnings of model codes that tell the maker.
    prefixes: Vec<(String, String)>,
    rules: Vec<Rule>,
}

/// What is known of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub make: String,
    pub name: String,
    pub devicetype: u8,
    pub released: u16,
    /// Physical pixels, portrait width and height; 0 where unknown.
    pub screen: (u16, u16),
}

/// What a user agent's own words say over what the regexes found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// One of these stands in the user agent.
    any: Vec<String>,
    /// None of these does.
    none: Vec<String>,
    pub devicetype: Option<u8>,
    pub make: Option<String>,
    pub model: Option<String>,
    pub os: Option<String>,
    pub is_bot: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "make")]
    makes: Vec<Make>,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Make {
    name: String,
    #[serde(default)]
    prefixes: Vec<String>,
    /// Code, name, devicetype, year, width, height.
    #[serde(default)]
    models: Vec<(String, String, u8, u16, u16, u16)>,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("not a table of models")]
    Toml(#[source] toml::de::Error),
    #[error("model `{0}` stands twice")]
    Twice(String),
    #[error("devicetype {1} of `{0}` is not 1 to 8")]
    Devicetype(String, u8),
    #[error("{0} rules are more than {RULES_MAX}")]
    Rules(usize),
}

// === impl Models ===

impl Models {
    /// From the text of a file.
    pub fn parse(text: &str) -> Result<Self, ModelsError> {
        let file: File = toml::from_str(text).map_err(ModelsError::Toml)?;
        if file.rules.len() > RULES_MAX {
            return Err(ModelsError::Rules(file.rules.len()));
        }
        let wrong = |rule: &&Rule| rule.devicetype.is_some_and(|kind| !(1..=8).contains(&kind));
        if let Some(rule) = file.rules.iter().find(wrong) {
            let name = rule.any.first().cloned().unwrap_or_default();
            return Err(ModelsError::Devicetype(name, rule.devicetype.unwrap_or(0)));
        }
        let mut models = Self { rules: file.rules, ..Self::default() };
        for make in file.makes {
            models.add(make)?;
        }
        // the longest beginning speaks first
        models.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(models)
    }

    /// Models, beginnings and rules.
    pub fn len(&self) -> usize {
        [self.exact.len(), self.families.len(), self.prefixes.len(), self.rules.len()].iter().sum()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A model by its code: as it stands, else by the family that it belongs to.
    pub fn model(&self, code: &str) -> Option<&Model> {
        self.exact.get(code).or_else(|| {
            let ends = code.char_indices().map(|(at, _)| at).rev().take(SUFFIX_MAX);
            std::iter::once(code.len())
                .chain(ends)
                .find_map(|end| self.families.get(code.get(..end)?))
        })
    }

    /// The maker of a code that is no known model.
    pub fn make(&self, code: &str) -> Option<&str> {
        let is_start = |prefix: &str| {
            code.as_bytes()
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        self.prefixes.iter().find(|(prefix, _)| is_start(prefix)).map(|(_, make)| make.as_str())
    }

    /// The first rule that a user agent fits.
    pub fn rule(&self, ua: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.any.iter().any(|word| ua.contains(word))
                && !rule.none.iter().any(|word| ua.contains(word))
        })
    }

    fn add(&mut self, make: Make) -> Result<(), ModelsError> {
        let Make { name: make, prefixes, models } = make;
        self.prefixes.extend(prefixes.into_iter().map(|prefix| (prefix, make.clone())));
        for (code, name, devicetype, released, width, height) in models {
            if !(1..=8).contains(&devicetype) {
                return Err(ModelsError::Devicetype(code, devicetype));
            }
            let screen = (width, height);
            let model = Model { make: make.clone(), name, devicetype, released, screen };
            let twice = match code.strip_suffix('*') {
                Some(family) => self.families.insert(family.to_owned(), model),
                None => self.exact.insert(code.clone(), model),
            };
            if twice.is_some() {
                return Err(ModelsError::Twice(code));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        [[make]]
        name = "Samsung"
        prefixes = ["SM-", "GT-"]
        models = [["SM-G991*", "Galaxy S21", 4, 2021, 1080, 2400], ["SM-G991X", "Odd", 5, 0, 0, 0]]
        [[rule]]
        any = ["; AFT"]
        none = ["bot"]
        devicetype = 3
    "#;

    #[test]
    fn codes_are_found_exactly_then_by_family_then_by_maker() {
        let models = Models::parse(TABLE).unwrap();
        assert_eq!(models.model("SM-G991B").unwrap().name, "Galaxy S21");
        assert_eq!(models.model("SM-G991").unwrap().name, "Galaxy S21");
        assert_eq!(models.model("SM-G991X").unwrap().name, "Odd");
        assert_eq!(models.model("SM-G99"), None);
        assert_eq!(models.model("SM-G991BABCD"), None);
        assert_eq!(models.model("\u{e9}\u{e9}\u{e9}"), None);
        assert_eq!(models.make("sm-x1"), Some("Samsung"));
        assert_eq!(models.make("S"), None);
    }

    #[test]
    fn rules_need_one_word_and_none_of_the_others() {
        let models = Models::parse(TABLE).unwrap();
        assert_eq!(models.rule("x; AFTMM").unwrap().devicetype, Some(3));
        assert!(models.rule("x; AFTMM bot").is_none());
        assert!(models.rule("").is_none());
    }

    #[test]
    fn a_broken_table_says_what_is_wrong() {
        let twice = TABLE.replace("SM-G991X", "SM-G991*");
        assert!(matches!(Models::parse(&twice), Err(ModelsError::Twice(_))));
        let wrong = TABLE.replace("devicetype = 3", "devicetype = 9");
        assert!(matches!(Models::parse(&wrong), Err(ModelsError::Devicetype(..))));
        assert!(matches!(Models::parse("[[mak]]"), Err(ModelsError::Toml(_))));
        let many = "[[rule]]\nany = [\"x\"]\n".repeat(RULES_MAX + 1);
        assert!(matches!(Models::parse(&many), Err(ModelsError::Rules(_))));
    }
}
