//! Reads a page of metrics in Prometheus' text format.
//!
//! Owns: the few questions that a report asks of it. Never: a connection. Invariant: total over
//! any text; a line that is not understood is passed over.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

/// One page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// From the text of a page.
    pub fn parse(text: &str) -> Self {
        Self { series: text.lines().filter_map(series).collect() }
    }

    /// The sum of all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|series| series.value).sum()
    }

    /// The same as a count.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        // counts are whole and far below 2^53; a duration's seconds round the same way
        crate::random::seconds(self.sum(name, labels).round()).as_secs()
    }

    /// The sums by one label, those of zero left out, the largest first.
    pub fn by(&self, name: &str, label: &str, labels: &[(&str, &str)]) -> Vec<(String, u64)> {
        let mut sums: Vec<(String, u64)> = Vec::new();
        for series in self.matching(name, labels) {
            let Some(value) = series.labels.get(label) else { continue };
            if sums.iter().any(|(known, _)| known == value) {
                continue;
            }
            let mut all = labels.to_vec();
            all.push((label, value));
            let count = self.count(name, &all);
            if count > 0 {
                sums.push((value.clone(), count));
            }
        }
        sums.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        sums
    }

    /// A quantile of a histogram (its name without suffix), in its unit: the upper bound of the
    /// bucket that holds it. `None` where nothing was observed.
    pub fn quantile(&self, name: &str, labels: &[(&str, &str)], quantile: f64) -> Option<f64> {
        let bucket = format!("{name}_bucket");
        let mut bounds: Vec<(f64, f64)> = Vec::new();
        for series in self.matching(&bucket, labels) {
            let bound: f64 = series.labels.get("le")?.parse().ok()?;
            match bounds.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += series.value,
                None => bounds.push((bound, series.value)),
            }
        }
        bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let total = bounds.last()?.1;
        let wanted = total * quantile;
        (total > 0.0).then(|| bounds.iter().find(|(_, count)| *count >= wanted))?.map(|one| one.0)
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| {
            series.name == name
                && labels
                    .iter()
                    .all(|(key, value)| series.labels.get(*key).is_some_and(|own| own == value))
        })
    }
}

/// One line, such as `name{label="value"} 1`.
fn series(line: &str) -> Option<Series> {
    if line.starts_with('#') {
        return None;
    }
    let (id, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, rest) = id.split_once('{').unwrap_or((id, "}"));
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut chars = after.char_indices();
        loop {
            match chars.next()? {
                (_, '\\') => text.push(chars.next()?.1),
                (at, '"') => {
                    rest = after.get(at..)?.trim_start_matches('"');
                    break;
                }
                (_, letter) => text.push(letter),
            }
        }
        labels.insert(label.trim_start_matches([',', ' ']).to_owned(), text);
    }
    Some(Series { name: name.trim().to_owned(), labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = "# HELP calls x\n# TYPE calls counter\n\
        calls{bidder=\"a\",result=\"bid\"} 3\ncalls{bidder=\"a\",result=\"late\"} 2\n\
        calls{bidder=\"b,}\\\"\",result=\"bid\"} 7\nup 1\n\
        own_bucket{le=\"0.001\"} 50\nown_bucket{le=\"0.002\"} 99\nown_bucket{le=\"+Inf\"} 100\n\
        own_count 100\n";

    #[test]
    fn sums_go_over_the_labels_that_are_not_named() {
        let page = Scrape::parse(PAGE);
        assert_eq!(page.count("calls", &[]), 12);
        assert_eq!(page.count("calls", &[("bidder", "a")]), 5);
        assert_eq!(page.count("calls", &[("bidder", "b,}\""), ("result", "bid")]), 7);
        assert_eq!(page.count("up", &[]), 1);
        assert_eq!(page.count("absent", &[]), 0);
        let by = page.by("calls", "result", &[]);
        assert_eq!(by, [("bid".to_owned(), 10), ("late".to_owned(), 2)]);
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let page = Scrape::parse(PAGE);
        let at = |quantile| page.quantile("own", &[], quantile).unwrap();
        assert!((at(0.5) - 0.001).abs() < 1e-9);
        assert!((at(0.99) - 0.002).abs() < 1e-9);
        assert!(at(1.0).is_infinite());
        assert_eq!(page.quantile("absent", &[], 0.5), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,200}") {
            let _ = Scrape::parse(&text).quantile("a", &[], 0.5);
        }
    }
}
