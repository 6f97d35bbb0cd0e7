//! What a run must have come to before its figures mean anything.
//!
//! Owns: the reasons against a run that its result alone tells ([`RunResult::settle`]), and the
//! account of what was turned away ([`Refusals`]). Never: an objective, a rule. Invariant: settling
//! again changes nothing, so that shards that were merged are settled as a whole.

use crate::assertions::{Assertion, Assertions};
use crate::result::{Invalid, RunResult};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a target says by this status that it has nothing to do with the request, whatever is in
/// it: who asks, the path, the method, a header or the coding is wrong, or it is to go elsewhere. One
/// that is too much (429, 503) was looked at.
pub fn is_turned_away(status: u16) -> bool {
    matches!(status, 300..=399 | 400 | 401 | 403 | 404 | 405 | 415)
}

/// Whether the recording lets expect that this request is answered so: it was turned away then, too,
/// or, where nothing is known of then, it is broken and 400 says so.
pub fn is_expected(status: u16, recorded: Option<u16>, request: &[u8]) -> bool {
    recorded.map_or_else(|| status == 400 && !is_whole(request), is_turned_away)
}

/// Whether it has at least what every bid request has: an id and impressions, each member once.
fn is_whole(request: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "that they can be read is all that matters")]
    struct Request {
        id: IgnoredAny,
        imp: Vec<Imp>,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "that it can be read is all that matters")]
    struct Imp {
        id: IgnoredAny,
        #[serde(default)]
        bidfloor: Option<f64>,
    }
    // whatever lies between them is left out by the one, and has its depth looked at by the other
    serde_json::from_slice::<Request>(request).is_ok()
        && serde_json::from_slice::<Value>(request).is_ok()
}

/// Answers that were looked at, by whether the recording lets expect that the request is turned
/// away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// To requests that were turned away when they were recorded, too, or are broken.
    pub expected: u64,
    /// To others, and those whose recorded status is not known.
    pub welcome: u64,
    /// Of the latter, those that were turned away now.
    pub turned: u64,
}

impl Refusals {
    /// Takes in an answer to a request that was recorded with this status.
    pub fn note(&mut self, status: u16, recorded: Option<u16>, request: &[u8]) {
        if is_expected(status, recorded, request) {
            self.expected += 1;
            return;
        }
        self.welcome += 1;
        self.turned += u64::from(is_turned_away(status));
    }

    /// Whether the recording does not explain it: it turned nobody away, or most of the others are
    /// turned away now, too.
    pub fn is_unexpected(&self) -> bool {
        self.turned.saturating_mul(2) > self.welcome || self.expected == 0
    }

    /// Adds another part's.
    pub fn merge(&mut self, other: &Self) {
        self.expected = self.expected.saturating_add(other.expected);
        self.welcome = self.welcome.saturating_add(other.welcome);
        self.turned = self.turned.saturating_add(other.turned);
    }
}

impl RunResult {
    /// Finds anew the reasons that follow from what the run came to.
    pub fn settle(&mut self) {
        self.invalid.retain(|why| !why.is_settled());
        let whole = &self.whole;
        let (planned, answered) = (whole.planned, whole.answered);
        if planned == 0 {
            self.invalid.push(Invalid::Nothing);
            return;
        }
        if answered == 0 {
            self.invalid.push(Invalid::Unanswered { requests: planned });
            return;
        }
        let refused = whole
            .statuses
            .iter()
            .filter(|(status, _)| is_turned_away(**status))
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        if refused.saturating_mul(2) > answered && self.judged.refusals.is_unexpected() {
            self.invalid.push(Invalid::Refused { refused, answered });
        }
        let assertions = self.judged.assertions.as_ref();
        self.invalid.extend(assertions.and_then(not_judged));
    }
}

impl Invalid {
    /// Whether [`RunResult::settle`] finds it.
    const fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Nothing | Self::Unanswered { .. } | Self::Refused { .. } | Self::NotJudged { .. }
        )
    }
}

/// Rules that were asked for by name must have been judged; of all rules one, beside those that
/// every answer and none satisfies: not every traffic has deals.
fn not_judged(found: &Assertions) -> Option<Invalid> {
    let judged = |name: &str| found.rows.iter().any(|row| row.name == name && row.judged > 0);
    if found.named.is_empty() {
        let reads = |name: &str| name != Assertion::Status.name();
        let is_any = found.rows.iter().any(|row| reads(&row.name) && row.judged > 0);
        let is_asked = found.rows.iter().any(|row| reads(&row.name));
        return (is_asked && !is_any).then(|| Invalid::NotJudged { rules: Vec::new() });
    }
    let is_mix = |name: &str| name == Assertion::Mix.name() && found.mix.is_some();
    let rules: Vec<String> =
        found.named.iter().filter(|name| !judged(name) && !is_mix(name)).cloned().collect();
    (!rules.is_empty()).then_some(Invalid::NotJudged { rules })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assertions::{Mix, Row};
    use crate::generate::{GenerateSettings, Generator};
    use crate::slo::evaluate::tests::run;
    use std::collections::BTreeMap;

    const WHOLE: &[u8] = br#"{"id":"1","imp":[{"id":"1","bidfloor":0.5}]}"#;

    fn answered(statuses: &[(u16, u64)]) -> RunResult {
        let mut result = run(&[(10, [5; 10]); 10]);
        result.whole.answered = statuses.iter().map(|(_, count)| count).sum();
        result.whole.statuses = statuses.iter().copied().collect::<BTreeMap<_, _>>();
        result
    }

    fn rows(judged: &[(&str, u64)]) -> Vec<Row> {
        let row = |(name, judged): &(&str, u64)| Row {
            name: (*name).to_owned(),
            judged: *judged,
            failed: 0,
            examples: Vec::new(),
        };
        judged.iter().map(row).collect()
    }

    #[test]
    fn what_sent_nothing_or_heard_nothing_is_invalid() {
        let empty = RunResult { whole: crate::result::Counts::default(), ..answered(&[]) };
        for (mut result, expected) in [
            (empty, Some(Invalid::Nothing)),
            (answered(&[]), Some(Invalid::Unanswered { requests: 100 })),
            (answered(&[(204, 1)]), None),
            (answered(&[(503, 100)]), None),
        ] {
            for _ in 0..2 {
                result.settle();
                assert_eq!(result.invalid, expected.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn most_answers_turned_away_are_invalid_unless_the_recording_has_it_so() {
        // answers now, statuses then (none: unknown), whether it is valid
        for (now, then, is_valid) in [
            (&[(401, 100)][..], &[(None, 100)][..], false),
            (&[(401, 30), (403, 10), (404, 10), (405, 1), (204, 49)], &[(None, 100)], false),
            (&[(401, 50), (204, 50)], &[(None, 100)], true),
            (&[(400, 100)], &[(None, 100)], false),
            (&[(302, 100)], &[(None, 100)], false),
            (&[(307, 60), (415, 40)], &[(Some(204), 100)], false),
            (&[(429, 90), (422, 10)], &[(None, 100)], true),
            // as many as were broken then
            (&[(400, 60), (204, 40)], &[(Some(400), 60), (Some(200), 40)], true),
            (&[(400, 100)], &[(Some(400), 60), (Some(200), 40)], false),
            (&[(204, 100)], &[(Some(401), 100)], true),
            (&[(401, 100)], &[(Some(200), 100)], false),
            (&[(401, 100)], &[(Some(404), 100)], true),
            // those that were served then are turned away now, among many that always were
            (&[(401, 100)], &[(Some(403), 70), (Some(200), 30)], false),
        ] {
            let mut result = answered(now);
            let then = then.iter().flat_map(|(status, count)| vec![*status; *count]);
            let now = now.iter().flat_map(|(status, count)| (0..*count).map(|_| *status));
            now.zip(then).for_each(|(now, then)| result.judged.refusals.note(now, then, WHOLE));
            result.settle();
            assert_eq!(result.is_valid(), is_valid, "{:?}", result.whole.statuses);
        }
    }

    #[test]
    fn a_broken_request_that_is_refused_as_such_is_looked_at() {
        let generator = Generator::new(GenerateSettings { seed: 3, broken: 1.0 });
        for (status, is_valid) in [(400, true), (401, false), (302, false)] {
            let mut result = answered(&[(status, 100)]);
            for body in generator.set(100).iter() {
                result.judged.refusals.note(status, None, body);
            }
            result.settle();
            assert_eq!(result.is_valid(), is_valid, "{status}: {:?}", result.judged.refusals);
        }
    }

    #[test]
    fn what_was_asked_for_and_never_judged_is_invalid() {
        let all = [("status", 100), ("floor", 0), ("tmax", 0)];
        let judged = [("status", 100), ("floor", 0), ("tmax", 1)];
        for (rows_of, named, has_mix, expected) in [
            (&all[..], &[][..], true, Some(&[][..])),
            (&judged, &[], true, None),
            (&judged, &["status", "tmax"], false, None),
            (&judged, &["floor", "tmax"], false, Some(&["floor"])),
            (&[], &["mix"], true, None),
            (&[], &["mix"], false, Some(&["mix"])),
        ] {
            let mut result = answered(&[(204, 100)]);
            let mix = has_mix.then(Mix::default);
            let named = named.iter().map(|&name| name.to_owned()).collect();
            result.judged.assertions = Some(Assertions { rows: rows(rows_of), mix, named });
            result.settle();
            let rules = |rules: &[&str]| rules.iter().map(|&rule| rule.to_owned()).collect();
            let expected: Vec<_> =
                expected.iter().map(|it| Invalid::NotJudged { rules: rules(it) }).collect();
            assert_eq!(result.invalid, expected, "{rows_of:?}");
        }
    }
}
