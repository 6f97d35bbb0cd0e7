//! The grammar of objectives.
//!
//! Owns: text to [`Slo`]. Never: what a figure is measured by. Invariant: total; every text gives
//! an objective or an error with its position.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    Base, Comparison, Counted, Limit, Metric, Rates, Slo, SloError, Statistic, StatusSet, Times,
    Unit,
};
use std::time::Duration;

/// The longest text that is read, in bytes.
const TEXT_MAX: usize = 200;

/// Ranges in one `status(...)`.
const RANGES_MAX: usize = 16;

/// The longest window, in seconds: a day.
const WINDOW_S_MAX: f64 = 86_400.0;

const METRICS: &str = "p50, p99.9, min, mean, max (also after latency, service, lateness), \
                       errors, unanswered, fill, status(503), rate, sent";
const STATISTICS: &str = "p50, p99, p99.9 (above 0, below 100), min, mean, max";
const COMPARISONS: &str = "<, <=, >, >=, =";
const STATUSES: &str = "codes of 100 to 599: 503, 5xx, 400-499, or several with commas";
const TIMES: &str = "a number with ns, us, ms, s or m";

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

pub(super) fn slo(text: &str) -> Result<Slo, SloError> {
    let mut reader = Reader { text, rest: text };
    if text.len() > TEXT_MAX {
        return Err(SloError {
            text: text.chars().take(40).chain("...".chars()).collect(),
            at: TEXT_MAX,
            what: "the text is too long".to_owned(),
            allowed: "200 bytes",
        });
    }
    let metric = reader.metric()?;
    let comparison = reader.comparison()?;
    let limit = reader.limit(&metric)?;
    if comparison == Comparison::Equal && limit.unit != Unit::Requests {
        let what = "only a number of requests can be equal to its limit".to_owned();
        return Err(reader.error(what, "<, <=, >, >= for times, shares and rates"));
    }
    let window = if reader.word("over") { Some(reader.window()?) } else { None };
    reader.end()?;
    Ok(Slo { text: text.trim().to_owned(), metric, comparison, limit, window })
}

impl<'a> Reader<'a> {
    fn error(&self, what: String, allowed: &'static str) -> SloError {
        let read = self.text.len().saturating_sub(self.rest.len());
        let at = self.text.get(..read).unwrap_or_default().chars().count().saturating_add(1);
        SloError { text: self.text.to_owned(), at, what, allowed }
    }

    /// "`xyz` is not a unit", with what stands there.
    fn unexpected(&self, what: &str, allowed: &'static str) -> SloError {
        let found: String = self.rest.chars().take_while(|c| !c.is_whitespace()).take(16).collect();
        let what = if found.is_empty() {
            format!("{what} is missing")
        } else {
            format!("`{found}` is not {what}")
        };
        self.error(what, allowed)
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn peek_word(&mut self) -> &'a str {
        self.skip();
        let end = self.rest.find(|c: char| !(c.is_alphabetic() || c == '_'));
        self.rest.get(..end.unwrap_or(self.rest.len())).unwrap_or_default()
    }

    /// Takes this word, where it stands there whole.
    fn word(&mut self, word: &str) -> bool {
        let is_there = self.peek_word().eq_ignore_ascii_case(word);
        if is_there {
            self.rest = self.rest.get(word.len()..).unwrap_or_default();
        }
        is_there
    }

    fn number(&mut self) -> Option<f64> {
        self.skip();
        let end = self.rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
        let (digits, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        let number: f64 = digits.replace('_', "").parse().ok()?;
        self.rest = rest;
        number.is_finite().then_some(number)
    }

    fn metric(&mut self) -> Result<Metric, SloError> {
        let of = [
            ("latency", Times::Latency),
            ("service", Times::Service),
            ("lateness", Times::Lateness),
        ];
        for (name, of) in of {
            if self.word(name) {
                let statistic = self.statistic()?;
                let statistic =
                    statistic.ok_or_else(|| self.unexpected("a statistic", STATISTICS))?;
                return Ok(Metric::Time { of, statistic });
            }
        }
        if let Some(statistic) = self.statistic()? {
            return Ok(Metric::Time { of: Times::Latency, statistic });
        }
        let plain = [
            ("errors", Metric::Requests(Counted::Errors)),
            ("unanswered", Metric::Requests(Counted::Unanswered)),
            ("fill", Metric::Requests(Counted::Fill)),
            ("rate", Metric::Rate(Rates::Answered)),
            ("sent", Metric::Rate(Rates::Sent)),
        ];
        for (name, metric) in plain {
            if self.word(name) {
                return Ok(metric);
            }
        }
        if self.word("status") {
            return Ok(Metric::Requests(Counted::Status(self.statuses()?)));
        }
        Err(self.unexpected("a metric", METRICS))
    }

    /// `None`, and nothing taken: what stands there is no statistic.
    fn statistic(&mut self) -> Result<Option<Statistic>, SloError> {
        let named = [("min", Statistic::Min), ("mean", Statistic::Mean), ("max", Statistic::Max)];
        for (name, statistic) in named {
            if self.word(name) {
                return Ok(Some(statistic));
            }
        }
        if !self.peek_word().eq_ignore_ascii_case("p") {
            return Ok(None);
        }
        let before = self.rest;
        self.word("p");
        match self.number() {
            Some(percent) if percent > 0.0 && percent < 100.0 => {
                Ok(Some(Statistic::Quantile(percent / 100.0)))
            }
            _ => {
                self.rest = before;
                Err(self.unexpected("a percentile", STATISTICS))
            }
        }
    }

    fn statuses(&mut self) -> Result<StatusSet, SloError> {
        if !self.symbol("(") {
            return Err(self.unexpected("an opening bracket", "status(503)"));
        }
        let mut set = Vec::new();
        loop {
            set.push(self.range()?);
            if self.symbol(")") {
                return Ok(StatusSet(set));
            }
            if !self.symbol(",") || set.len() >= RANGES_MAX {
                return Err(self.unexpected("a comma or a closing bracket", STATUSES));
            }
        }
    }

    fn range(&mut self) -> Result<(u16, u16), SloError> {
        self.skip();
        let before = self.rest;
        let low = self.code();
        let found = match low {
            Some(class @ 1..=5) if self.word("xx") => {
                Some((class.saturating_mul(100), class.saturating_mul(100).saturating_add(99)))
            }
            Some(low) if self.symbol("-") => self.code().map(|high| (low, high)),
            Some(code) => Some((code, code)),
            None => None,
        };
        found.filter(|(low, high)| *low >= 100 && low <= high && *high <= 599).ok_or_else(|| {
            self.rest = before;
            self.unexpected("a status", STATUSES)
        })
    }

    fn code(&mut self) -> Option<u16> {
        self.skip();
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end)?;
        let code = digits.parse().ok()?;
        self.rest = rest;
        Some(code)
    }

    fn comparison(&mut self) -> Result<Comparison, SloError> {
        // longer ones first
        let all = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("==", Comparison::Equal),
            ("≤", Comparison::AtMost),
            ("≥", Comparison::AtLeast),
            ("<", Comparison::Below),
            (">", Comparison::Above),
            ("=", Comparison::Equal),
        ];
        for (symbol, comparison) in all {
            if self.symbol(symbol) {
                return Ok(comparison);
            }
        }
        Err(self.unexpected("a comparison", COMPARISONS))
    }

    fn limit(&mut self, metric: &Metric) -> Result<Limit, SloError> {
        if matches!(self.peek_word(), "baseline" | "planned") {
            return self.relative(metric, None);
        }
        let before = self.rest;
        let Some(number) = self.number() else {
            return Err(self.unexpected("a limit", allowed_limit(metric)));
        };
        // `0.99 * planned` and `99% of planned`
        let percent = self.symbol("%");
        if self.symbol("*") || (percent && self.word("of")) {
            let factor = if percent { number / 100.0 } else { number };
            return self.relative(metric, Some(factor));
        }
        let (base, unit) = match metric {
            Metric::Requests(_) if percent && number <= 100.0 => (number / 100.0, Unit::Share),
            Metric::Requests(_) if !percent && number.fract().abs() < f64::EPSILON => {
                (number, Unit::Requests)
            }
            Metric::Time { .. } if !percent => {
                let scale = self.scale(before)?;
                (number * scale, Unit::Seconds)
            }
            Metric::Rate(_) if !percent && self.symbol("/") && self.word("s") => {
                (number, Unit::PerSecond)
            }
            _ => {
                self.rest = before;
                return Err(self.unexpected("a limit for this metric", allowed_limit(metric)));
            }
        };
        Ok(Limit { base: Base::Fixed(base), unit })
    }

    /// `planned`, `baseline`, `baseline * 1.05 + 1ms`; behind a factor or with one.
    fn relative(&mut self, metric: &Metric, factor: Option<f64>) -> Result<Limit, SloError> {
        let unit = match metric {
            Metric::Time { .. } => Unit::Seconds,
            // runs differ in length: only shares compare
            Metric::Requests(_) => Unit::Share,
            Metric::Rate(_) => Unit::PerSecond,
        };
        self.skip();
        let before = self.rest;
        let is_planned = self.word("planned");
        if !is_planned && !self.word("baseline") {
            return Err(self.unexpected("a base", "planned, baseline"));
        }
        if is_planned && unit != Unit::PerSecond {
            self.rest = before;
            return Err(self.unexpected("a base of this metric", allowed_limit(metric)));
        }
        let factor = match factor {
            Some(factor) => factor,
            None if self.symbol("*") => self.factor()?,
            None => 1.0,
        };
        if is_planned {
            return Ok(Limit { base: Base::Planned { factor }, unit });
        }
        let sign = if self.symbol("+") {
            1.0
        } else if self.symbol("-") {
            -1.0
        } else {
            return Ok(Limit { base: Base::Baseline { factor, offset: 0.0 }, unit });
        };
        let offset = self.offset(metric)?;
        Ok(Limit { base: Base::Baseline { factor, offset: sign * offset }, unit })
    }

    fn offset(&mut self, metric: &Metric) -> Result<f64, SloError> {
        self.skip();
        let before = self.rest;
        match self.limit(metric)? {
            Limit { base: Base::Fixed(offset), unit } if unit != Unit::Requests => Ok(offset),
            _ => {
                self.rest = before;
                Err(self.unexpected("an offset", "a time, a share with %, a rate with /s"))
            }
        }
    }

    fn factor(&mut self) -> Result<f64, SloError> {
        let factor =
            self.number().ok_or_else(|| self.unexpected("a factor", "a number, as in * 1.05"))?;
        Ok(if self.symbol("%") { factor / 100.0 } else { factor })
    }

    /// Seconds in the unit that stands there.
    fn scale(&mut self, before: &'a str) -> Result<f64, SloError> {
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
        // `m` and `s` with a word behind them, such as `5s over`, end at the blank
        let word = self.peek_word();
        for (name, scale) in units {
            if word == name {
                self.word(name);
                return Ok(scale);
            }
        }
        if word.is_empty() {
            self.rest = before;
        }
        Err(self.unexpected("a time with its unit", TIMES))
    }

    fn window(&mut self) -> Result<Duration, SloError> {
        self.skip();
        let before = self.rest;
        let number = self.number().ok_or_else(|| self.unexpected("a window", TIMES))?;
        let seconds = number * self.scale(before)?;
        if seconds > 0.0 && seconds <= WINDOW_S_MAX {
            return Ok(Duration::from_secs_f64(seconds));
        }
        self.rest = before;
        Err(self.unexpected("a window", "above 0, at most a day"))
    }

    fn end(&mut self) -> Result<(), SloError> {
        self.skip();
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.unexpected("understood here", "the end, or `over` with a time, as in over 10s"))
    }
}

const fn allowed_limit(metric: &Metric) -> &'static str {
    match metric {
        Metric::Time { .. } => "a time such as 80ms, or baseline * 1.05",
        Metric::Requests(_) => {
            "a whole number of requests, a share of at most 100% such as 0.1%, or baseline * 1.05"
        }
        Metric::Rate(_) => "a rate such as 5000/s, 0.99 * planned, or baseline * 0.95",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixed(text: &str) -> (f64, Unit) {
        let limit = slo(text).unwrap().limit;
        match limit.base {
            Base::Fixed(figure) => (figure, limit.unit),
            other => panic!("{other:?}"),
        }
    }

    fn close(observed: f64, expected: f64) -> bool {
        (observed - expected).abs() <= expected.abs() * 1e-12
    }

    #[test]
    fn every_kind_of_objective_is_read() {
        let read = slo("p99.9 < 200ms over 10s").unwrap();
        let Metric::Time { of: Times::Latency, statistic: Statistic::Quantile(q) } = read.metric
        else {
            panic!("{read:?}");
        };
        assert!(close(q, 0.999));
        assert_eq!(
            (read.comparison, read.window),
            (Comparison::Below, Some(Duration::from_secs(10)))
        );
        for (text, figure, unit) in [
            ("p99<80ms", 0.08, Unit::Seconds),
            ("lateness p99 < 2ms", 0.002, Unit::Seconds),
            ("service max <= 1.5s", 1.5, Unit::Seconds),
            ("mean < 250us", 0.000_25, Unit::Seconds),
            ("mean < 250 µs", 0.000_25, Unit::Seconds),
            ("errors < 0.1%", 0.001, Unit::Share),
            ("errors <= 5", 5.0, Unit::Requests),
            ("status(503) = 0", 0.0, Unit::Requests),
            ("fill > 20%", 0.2, Unit::Share),
            ("rate >= 5_000/s", 5_000.0, Unit::PerSecond),
        ] {
            let (observed, observed_unit) = fixed(text);
            assert!(close(observed, figure) && observed_unit == unit, "{text}: {observed}");
        }
        for (text, base) in [
            ("rate >= 0.99 * planned", Base::Planned { factor: 0.99 }),
            ("sent >= 99% of planned", Base::Planned { factor: 0.99 }),
            ("p99 < baseline * 1.05", Base::Baseline { factor: 1.05, offset: 0.0 }),
            ("p99 < baseline + 2ms", Base::Baseline { factor: 1.0, offset: 0.002 }),
            ("fill >= baseline - 1%", Base::Baseline { factor: 1.0, offset: -0.01 }),
            ("p50 <= 1.1 * baseline + 1ms", Base::Baseline { factor: 1.1, offset: 0.001 }),
        ] {
            assert_eq!(slo(text).unwrap().limit.base, base, "{text}");
        }
    }

    #[test]
    fn statuses_are_codes_classes_ranges_and_lists() {
        let set = |text: &str| match slo(text).unwrap().metric {
            Metric::Requests(Counted::Status(set)) => set,
            other => panic!("{other:?}"),
        };
        let all = set("status(200, 204, 4xx, 500-503) <= 10");
        let held = [200, 204, 400, 499, 500, 503].map(|code| all.contains(code));
        assert_eq!(held, [true; 6]);
        assert_eq!([201, 399, 504, 0].map(|code| all.contains(code)), [false; 4]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_may_stand_there() {
        for (text, at, what) in [
            ("", 1, "a metric is missing"),
            ("latency < 5ms", 9, "`<` is not a statistic"),
            ("p0 < 5ms", 1, "`p0` is not a percentile"),
            ("p100 < 5ms", 1, "`p100` is not a percentile"),
            ("pp < 5ms", 1, "`pp` is not a metric"),
            ("p99 ~ 5ms", 5, "`~` is not a comparison"),
            ("p99 <", 6, "a limit is missing"),
            ("p99 < 80", 7, "`80` is not a time with its unit"),
            ("p99 < 80q", 9, "`q` is not a time with its unit"),
            ("p99 < 5%", 7, "`5%` is not a limit for this metric"),
            ("p99 = 5ms", 10, "only a number of requests can be equal to its limit"),
            ("errors < 0.1", 10, "`0.1` is not a limit for this metric"),
            ("errors < 101%", 10, "`101%` is not a limit for this metric"),
            ("status 503 = 0", 8, "`503` is not an opening bracket"),
            ("status(700) = 0", 8, "`700)` is not a status"),
            ("status(6xx) = 0", 8, "`6xx)` is not a status"),
            ("status(503-500) = 0", 8, "`503-500)` is not a status"),
            ("status(503 = 0", 12, "`=` is not a comma or a closing bracket"),
            ("rate > 5", 8, "`5` is not a limit for this metric"),
            ("p99 < planned", 7, "`planned` is not a base of this metric"),
            ("p99 < 2 * base", 11, "`base` is not a base"),
            ("p99 < baseline * x", 18, "`x` is not a factor"),
            ("errors < baseline + 5", 21, "`5` is not an offset"),
            ("p99 < 5ms over", 15, "a window is missing"),
            ("p99 < 5ms over 0s", 16, "`0s` is not a window"),
            ("p99 < 5ms above 3s", 11, "`above` is not understood here"),
            ("µ", 1, "`µ` is not a metric"),
        ] {
            let error = slo(text).unwrap_err();
            assert_eq!((error.at, error.what.as_str()), (at, what), "{text}");
            assert!(!error.allowed.is_empty());
        }
        assert!(slo(&"p".repeat(201)).is_err());
        let shown = slo("p99 < 80q").unwrap_err().to_string();
        assert!(shown.starts_with("objective `p99 < 80q`, at character 9: `q` is not"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = slo(&text);
        }

        #[test]
        fn any_words_of_the_grammar_are_read_or_refused(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "p99", "p", "status", "(", ")", "5xx", "<", "=", "80", "ms", "%", "*", "over",
                    "planned", "baseline", "+", "-", ".", "rate", "/s", "errors", "fill", "of",
                ]),
                0..10,
            )
        ) {
            let _ = slo(&words.join(" "));
            let _ = slo(&words.concat());
        }
    }
}
