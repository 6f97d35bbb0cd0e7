//! Whether a set of requests still fails.
//!
//! Owns: asking the servers, one request after the other, and what counts as failing ([`Failing`]).
//! Never: a reduction. Invariants: it fails only where it does each time of `tries`; it goes on to
//! fail in the same way: a set that breaks another rule, or the same one with other values, is
//! another failure (an answer to a request without impressions is for none of them).

use crate::ask::{Answered, AskError, Asked, Asker};
use crate::assertions::pair::Pair;
use crate::assertions::{Assertion, AssertionSettings, Outcome};
use crate::diff::answer::{Ignore, Side};
use std::time::Duration;

/// What counts as failing.
pub(super) enum Failing {
    /// An answer that breaks one of these rules.
    Assertion {
        rules: Vec<Assertion>,
        /// The one reason that counts; none: any.
        reason: Option<String>,
    },
    /// The candidate answers otherwise in a path in which the target answers twice alike.
    Differs { candidate: Box<Asker>, ignore: Ignore, path: Held },
    /// No answer: the connection breaks, or the time is over.
    Unanswered,
}

/// The path that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The one that is found next, and it alone from then on.
    Next,
    Only(String),
    /// Whichever it is each time.
    Any,
}

/// See the file's header.
pub(super) struct Check {
    pub target: Asker,
    pub failing: Failing,
    pub tries: u32,
    /// How long a target that is gone may take to come back.
    pub back: Duration,
}

/// Between two looks whether it is back.
const LOOK: Duration = Duration::from_millis(50);

impl Check {
    /// Whether the set fails each time.
    pub fn fails(&mut self, set: &[Asked]) -> Result<bool, AskError> {
        for _ in 0..self.tries {
            if self.failure(set)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// From now on only the rule that was broken counts, for this reason or (none) for any; of two
    /// builds that differ, the path that was found, or (none) any.
    pub fn hold_to(&mut self, why: Option<String>) {
        match &mut self.failing {
            Failing::Assertion { reason, .. } => *reason = why,
            Failing::Differs { path, .. } if why.is_none() => *path = Held::Any,
            Failing::Differs { .. } | Failing::Unanswered => {}
        }
    }

    /// The first failure of one go, in words. A rule that fails, or a path that differs, is from
    /// then on the only one, unless [any path](Held::Any) counts.
    pub fn failure(&mut self, set: &[Asked]) -> Result<Option<String>, AskError> {
        for asked in set {
            let answered = patient(&mut self.target, asked, self.back)?;
            let found = match &mut self.failing {
                Failing::Unanswered => answered.err().map(|error| error.to_string()),
                Failing::Assertion { rules, reason } => {
                    let found = broken(rules, asked, answered.ok().as_ref());
                    found.filter(|found| reason.as_ref().is_none_or(|reason| reason == found))
                }
                Failing::Differs { candidate, ignore, path } => {
                    let other = patient(candidate, asked, self.back)?;
                    let again = patient(&mut self.target, asked, self.back)?;
                    let [one, other, again] =
                        [answered, other, again].map(|answered| Side::new(&answered, ignore));
                    differs(path, &one, &again, &other)
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The first path in which the candidate alone differs, of those that count. What the target
/// makes anew each time, such as an id, says nothing.
fn differs(held: &mut Held, one: &Side, again: &Side, other: &Side) -> Option<String> {
    let noisy = one.differences(again);
    let mut found = one.differences(other).into_iter().filter(|path| !noisy.contains(path));
    let path = match held {
        Held::Only(held) => found.find(|path| path == held)?,
        Held::Next | Held::Any => found.next()?,
    };
    let why = format!("the candidate answers otherwise than the target: {path}");
    if *held == Held::Next {
        *held = Held::Only(path);
    }
    Some(why)
}

/// The first rule that the answer breaks; the others are forgotten.
fn broken(
    rules: &mut Vec<Assertion>,
    asked: &Asked,
    answered: Option<&Answered>,
) -> Option<String> {
    let answered = answered?;
    let is_body = |(name, value): &(String, String)| match name.as_str() {
        "content-length" => value.trim() != "0",
        name => name == "transfer-encoding",
    };
    let announces = answered.status == 204 && answered.headers.iter().any(is_body);
    let pair = Pair { announces, ..Pair::new(&asked.body, answered.status, &answered.body, None) };
    let settings = AssertionSettings::default();
    let (rule, why) = rules.iter().find_map(|rule| match rule.check(&pair, &settings) {
        Outcome::Fails(why) => Some((*rule, why)),
        Outcome::Holds | Outcome::NotJudged => None,
    })?;
    *rules = vec![rule];
    Some(format!("{}: {why}", rule.name()))
}

/// Asks; waits for a server that is gone. Every other fault is an outcome of the asking.
fn patient(
    server: &mut Asker,
    asked: &Asked,
    back: Duration,
) -> Result<Result<Answered, AskError>, AskError> {
    let start = gavel::clock::monotonic();
    loop {
        match server.ask(asked) {
            Err(error @ AskError::Unreachable(..)) if start.elapsed() >= back => return Err(error),
            Err(AskError::Unreachable(..)) => std::thread::sleep(LOOK),
            answered => return Ok(answered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(body: &str) -> Side {
        let answered = Answered { status: 200, headers: Vec::new(), body: body.into() };
        Side::new(&Ok(answered), &Ignore::default())
    }

    #[test]
    fn one_path_is_held_and_any_counts_where_that_was_given_up() {
        let target = side(r#"{"a":1,"b":1}"#);
        let (in_a, in_b) = (side(r#"{"a":2,"b":1}"#), side(r#"{"a":1,"b":2}"#));
        let finds =
            |held: &mut Held, other: &Side| differs(held, &target, &target, other).is_some();
        let mut held = Held::Next;
        assert!(finds(&mut held, &in_a) && !finds(&mut held, &in_b) && finds(&mut held, &in_a));
        let mut held = Held::Any;
        assert!(finds(&mut held, &in_a) && finds(&mut held, &in_b));
        assert!(!finds(&mut held, &target));
    }
}
