//! A run as JUnit XML, for the pages of CI systems.
//!
//! Owns: one test case for each objective, assertion and gate, and one for the validity of the run.
//! Never: a verdict of its own. Invariant: well-formed whatever the traffic held.

use super::html::escape;
use crate::result::RunResult;
use std::fmt::Write;

/// One case.
struct Case {
    suite: &'static str,
    name: String,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// The document.
pub fn xml(run: &RunResult) -> String {
    let cases = cases(run);
    let failed = |cases: &[&Case]| {
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_))).count()
    };
    let skipped = |cases: &[&Case]| {
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped(_))).count()
    };
    let all: Vec<&Case> = cases.iter().collect();
    let took = run.took().as_secs_f64();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"gavel-replay\" tests=\"{}\" \
         failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{took:.3}\">\n",
        all.len(),
        failed(&all),
        skipped(&all)
    );
    for suite in ["validity", "objectives", "assertions", "diversity"] {
        let part: Vec<&Case> = cases.iter().filter(|case| case.suite == suite).collect();
        if part.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\">",
            part.len(),
            failed(&part),
            skipped(&part)
        );
        for case in part {
            let head = format!(
                "    <testcase classname=\"gavel-replay.{suite}\" name=\"{}\"",
                escape(&case.name)
            );
            let _ = match &case.outcome {
                Outcome::Passed => writeln!(out, "{head}/>"),
                Outcome::Skipped(why) => {
                    writeln!(out, "{head}><skipped message=\"{}\"/></testcase>", escape(why))
                }
                Outcome::Failed(why) => writeln!(
                    out,
                    "{head}><failure message=\"{0}\" type=\"{suite}\">{0}</failure></testcase>",
                    escape(why)
                ),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn cases(run: &RunResult) -> Vec<Case> {
    let outcome = |fault: Option<String>| fault.map_or(Outcome::Passed, Outcome::Failed);
    let why: Vec<String> = run.invalid.iter().map(ToString::to_string).collect();
    let mut found = vec![Case {
        suite: "validity",
        name: "the run is valid".to_owned(),
        outcome: outcome((!why.is_empty()).then(|| why.join("; "))),
    }];
    found.extend(run.judged.slos.iter().map(|slo| Case {
        suite: "objectives",
        name: slo.slo.clone(),
        outcome: outcome((!slo.met).then(|| slo.line())),
    }));
    if let Some(assertions) = &run.judged.assertions {
        found.extend(assertions.rows.iter().map(|row| {
            let example = row.examples.first().map(|one| one.why.as_str()).unwrap_or_default();
            let outcome = match (row.judged, row.failed) {
                (0, _) => Outcome::Skipped("never judged in this traffic".to_owned()),
                (_, 0) => Outcome::Passed,
                (judged, failed) => Outcome::Failed(format!("{failed} of {judged}: {example}")),
            };
            Case { suite: "assertions", name: row.name.clone(), outcome }
        }));
        found.extend(assertions.mix.iter().map(|mix| Case {
            suite: "assertions",
            name: "mix".to_owned(),
            outcome: outcome(mix.fault.clone()),
        }));
    }
    if run.judged.is_gated {
        let faults: Vec<String> = run.judged.gate.iter().map(ToString::to_string).collect();
        found.push(Case {
            suite: "diversity",
            name: "as diverse as the recording".to_owned(),
            outcome: outcome((!faults.is_empty()).then(|| faults.join("; "))),
        });
    }
    found
}
