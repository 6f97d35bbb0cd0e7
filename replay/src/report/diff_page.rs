//! The page of a comparison of two builds.
//!
//! Owns: what stands on it. Never: a judgement.

use super::html::{Cell, count, document, escape, percent, section, table};
use super::page::{foot, verdict_box};
use crate::diff::{DiffResult, PathDiff, command};
use crate::verdict::Verdict;
use std::fmt::Write;

/// Paths shown; the rest is counted. Those that differ come first.
const PATHS_MAX: usize = 200;

/// The page.
pub fn page(result: &DiffResult) -> String {
    let verdict = command::verdict(result);
    let title = match verdict {
        Verdict::Pass => "No difference beyond the noise",
        Verdict::Failed => "The candidate answers differently",
        _ => "The comparison says nothing",
    };
    let kicker = format!(
        "{} \u{b7} primary {} \u{b7} secondary {} \u{b7} candidate {}",
        result.capture, result.primary, result.secondary, result.candidate
    );
    let body = [
        format!("<p class=\"kicker\">{}</p>", escape(&kicker)),
        verdict_box(verdict, title, &reasons(result)),
        section(
            "Paths that differed",
            "Alone: requests in which one of the three differs from the other two. Noise makes each \
             of them alone equally often; a fault makes the candidate so.",
            &paths(&result.paths),
        ),
        section("Examples", "", &examples(&result.paths)),
        section(
            "Noise",
            "Rules that would quieten it. None is needed: the test takes noise out by itself.",
            &rules(result),
        ),
        foot(),
    ];
    document(&format!("{title} \u{b7} gavel-replay"), &body.concat())
}

fn reasons(result: &DiffResult) -> Vec<String> {
    let mut found: Vec<String> = result.invalid().into_iter().collect();
    let different = result.paths.iter().filter(|path| path.is_different);
    found.extend(different.take(5).map(|path| {
        format!(
            "{}: {} of answers beyond the noise (p = {:.1e})",
            path.path,
            percent(path.excess.max(0.0)),
            path.p_adjusted
        )
    }));
    found.push(format!(
        "{} requests to three servers, {} asked again; {} paths steady, {} differed. A fault in {} of \
         answers would be found in nine of ten runs; a false alarm comes in at most {} of them.",
        count(result.requests),
        count(result.repeated),
        count(result.steady),
        count(result.paths.len() as u64),
        percent(result.detectable),
        percent(result.alpha)
    ));
    found
}

fn paths(paths: &[PathDiff]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<Cell>> = paths
        .iter()
        .take(PATHS_MAX)
        .map(|path| {
            let (class, word) =
                if path.is_different { ("bad", "differs") } else { ("quiet", "noise") };
            vec![
                Cell::Badge(class, word.to_owned()),
                Cell::Code(path.path.clone()),
                Cell::Figure(count(path.requests)),
                Cell::Figure(percent(path.noisy as f64 / path.requests.max(1) as f64)),
                Cell::Figure(count(path.candidate_alone)),
                Cell::Figure(format!(
                    "{}, {}",
                    count(path.primary_alone),
                    count(path.secondary_alone)
                )),
                Cell::Figure(format!(
                    "{} of {}",
                    path.again_candidate,
                    path.again_candidate + path.again_others
                )),
                Cell::Figure(format!("{:.1e}", path.p_adjusted)),
            ]
        })
        .collect();
    let heads = [
        "",
        "Path",
        "Requests",
        "Noise",
        "Candidate alone",
        "Others alone",
        "Again",
        "p, all paths",
    ];
    let mut out = table(&heads, &rows);
    if let Some(rest) = paths.len().checked_sub(PATHS_MAX).filter(|rest| *rest > 0) {
        let _ = write!(out, "<p class=\"lead gap\">{rest} further paths are noise.</p>");
    }
    out
}

fn examples(paths: &[PathDiff]) -> String {
    let rows: Vec<Vec<Cell>> = paths
        .iter()
        .filter(|path| path.is_different)
        .flat_map(|path| {
            path.examples.iter().map(|one| {
                vec![
                    Cell::Code(path.path.clone()),
                    Cell::Figure(one.request.to_string()),
                    Cell::Code(one.primary.clone()),
                    Cell::Code(one.candidate.clone()),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["Path", "Request", "Primary", "Candidate"], &rows)
}

fn rules(result: &DiffResult) -> String {
    if result.noise_rules.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<Cell>> = result
        .noise_rules
        .iter()
        .map(|rule| {
            let (badge, why) = match &rule.refused {
                None => (Cell::Badge("good", "may be ignored".to_owned()), String::new()),
                Some(why) => (Cell::Badge("warn", "kept".to_owned()), why.clone()),
            };
            vec![badge, Cell::Code(rule.rule.clone()), Cell::Text(why)]
        })
        .collect();
    table(&["", "Path", "Why"], &rows)
}
