//! What the demo shows at its end, and whether all was well.
//!
//! Owns: the table and the checks. Pure: it takes what the three parties counted (driver,
//! exchange, simulated bidders) and compares. Never: a connection.

use super::scrape::Scrape;
use super::text::{count, share, table, time};
use crate::drive::report::{Report, Validity, at};
use crate::fingerprint::gate::AxisFault;
use crate::fingerprint::summary::Summary;
use crate::judge::Judged;
use crate::random::seconds;
use crate::stub::stats::BidderStats;
use std::fmt::Write;
use std::time::Duration;

/// What the three parties counted.
pub(super) struct Outcome<'a> {
    pub report: &'a Report,
    /// Diversity of what was planned and of what was sent.
    pub judged: &'a Judged,
    pub metrics: &'a Scrape,
    pub bidders: &'a [BidderStats],
    /// Distinct requests that were at hand.
    pub distinct: usize,
    /// Asked for.
    pub per_second: f64,
    pub lateness_us_max: u64,
}

/// One thing that must be so.
pub(super) struct Check {
    pub is_good: bool,
    pub text: String,
}

/// Distinct requests that a demo plays at least.
pub(super) const DISTINCT_MIN: usize = 2_000;

/// Fewer requests say nothing of diversity.
const JUDGED_MIN: u64 = 100;

/// Ends of a call in which the bidder saw no request: no connection was to be had.
const UNSEEN: &[&str] = &["connect_refused", "connect_timeout", "tls", "pool_full"];

/// Ends of a call that are a fault of the bidder, as against no bid or a late one.
const QUIET: &[&str] = &["bid", "no_bid", "late"];

/// Part of the planned rate that must have been reached.
const RATE_HELD: f64 = 0.99;

impl Outcome<'_> {
    /// The whole report.
    pub fn text(&self) -> String {
        let report = self.report;
        let mut text = String::new();
        // writing to a String cannot fail, here and below
        let _ = writeln!(
            text,
            "  played    {} requests in {} ({} distinct, synthetic): {:.1}/s of {:.1}/s planned",
            count(report.sent),
            time(report.took),
            count((self.distinct as u64).min(report.sent)),
            report.sent_per_second(),
            self.per_second
        );
        let statuses: Vec<String> = report
            .statuses
            .iter()
            .map(|(status, answers)| format!("{status}: {}", count(*answers)))
            .collect();
        let _ = writeln!(
            text,
            "  answers   {}   fill {}{}",
            statuses.join("   "),
            share(report.filled, report.answered),
            match report.faulty() + report.shed + report.unsent + report.unfinished {
                0 => String::new(),
                lost => format!("   without answer: {}", count(lost)),
            }
        );
        let _ = writeln!(text, "  latency   {}", quantiles(|q| at(&report.latency, q)));
        if let Some(own) = self.own_time() {
            let _ = writeln!(text, "  gavel     {own}");
        }
        let _ = writeln!(
            text,
            "  driver    late by {} at p50, {} at p99",
            time(at(&report.lateness, 0.5)),
            time(at(&report.lateness, 0.99))
        );
        if let Some(sent) = self.judged.sent.as_ref().and_then(Summary::end) {
            let _ = writeln!(
                text,
                "  diversity {:.0} effective combinations of features, the most frequent has {:.1} %; \
                 compressible {:.1} : 1",
                sent.effective_combinations,
                100.0 * sent.top_combination,
                sent.squeezed.unwrap_or(0.0)
            );
        }
        let _ = writeln!(text, "\n{}", self.bidder_table());
        let mut ends = self.metrics.by("gavel_requests_total", "result", &[]);
        ends.retain(|(end, _)| !["answered", "no_bid", "client_gone"].contains(&end.as_str()));
        let rejected = self.metrics.by("gavel_bids_rejected_total", "reason", &[]);
        for (name, list) in [("refused", ends), ("rejected", rejected)] {
            if !list.is_empty() {
                let _ = writeln!(text, "  {name:<8}  {}", reasons(&list));
            }
        }
        text
    }

    /// What gavel itself adds: without the wait for bidders, and as CPU.
    fn own_time(&self) -> Option<String> {
        let own = |q| self.metrics.quantile("gavel_own_seconds", &[], q).map(seconds);
        let (p50, p99) = (own(0.5)?, own(0.99)?);
        let requests = self.metrics.count("gavel_requests_total", &[]).max(1);
        let cpu = self.metrics.sum("gavel_worker_cpu_seconds_total", &[]) / requests as f64;
        Some(format!(
            "own time per auction up to {} at p50, {} at p99; CPU {} a request",
            time(p50),
            time(p99),
            time(seconds(cpu))
        ))
    }

    fn bidder_table(&self) -> String {
        let headings = [
            "bidder", "calls", "bids", "rejected", "wins", "no bid", "late", "faults", "p50 ≤",
            "p99 ≤",
        ];
        let row = |bidder: &BidderStats| {
            let label = [("bidder", bidder.name.as_str())];
            let metrics = self.metrics;
            let calls = |end| {
                let labels = [("bidder", bidder.name.as_str()), ("result", end)];
                metrics.count("gavel_bidder_calls_total", &labels)
            };
            let all = metrics.count("gavel_bidder_calls_total", &label);
            let quiet: u64 = QUIET.iter().map(|end| calls(end)).sum();
            let answer = |q| {
                let at = metrics.quantile("gavel_bidder_answer_seconds", &label, q);
                at.map_or("-".to_owned(), |at| time(seconds(at)))
            };
            vec![
                bidder.name.clone(),
                count(all),
                count(metrics.count("gavel_bids_received_total", &label)),
                count(metrics.count("gavel_bids_rejected_total", &label)),
                count(metrics.count("gavel_wins_total", &label)),
                count(calls("no_bid")),
                count(calls("late")),
                count(all.saturating_sub(quiet)),
                answer(0.5),
                answer(0.99),
            ]
        };
        table(&headings, &self.bidders.iter().map(row).collect::<Vec<_>>())
    }

    /// What must be so for exit code 0.
    pub fn checks(&self) -> Vec<Check> {
        let report = self.report;
        let mut checks = Vec::new();
        let mut check = |is_good, text: String| checks.push(Check { is_good, text });
        let rate = report.sent_per_second();
        check(
            rate >= self.per_second * RATE_HELD,
            format!("the rate was held: {rate:.1} of {:.1} a second", self.per_second),
        );
        let validity = report.validity(self.lateness_us_max);
        check(
            validity == Validity::Valid,
            match validity {
                Validity::Valid => "the driver was in time".to_owned(),
                Validity::LateGenerator { lateness_p99 } => {
                    format!("the driver was late by {} at p99", time(lateness_p99))
                }
                Validity::Shed { requests } => format!("{} requests were shed", count(requests)),
            },
        );
        let distinct = (self.distinct as u64).min(report.sent);
        check(
            distinct >= (DISTINCT_MIN as u64).min(report.sent),
            format!("{} distinct requests", count(distinct)),
        );
        if report.sent >= JUDGED_MIN {
            let faults: Vec<String> = self.judged.gate.iter().map(AxisFault::to_string).collect();
            let told = if faults.is_empty() {
                "what was sent is as diverse as what was planned".to_owned()
            } else {
                format!("what was sent is less diverse: {}", faults.join("; "))
            };
            check(faults.is_empty(), told);
        }
        let lost = report.faulty() + report.unsent + report.unfinished;
        check(lost == 0, format!("{} requests without an answer", count(lost)));
        let broken: u64 = report.statuses.range(500..).map(|(_, answers)| *answers).sum();
        check(broken == 0, format!("{} answers of 5xx", count(broken)));
        let wins = report.filled;
        check(wins > 0, format!("{} answers with a win", count(wins)));
        let counted = self.metrics.count("gavel_requests_total", &[]);
        check(
            counted == report.sent,
            format!("gavel counted {} requests, {} were sent", count(counted), count(report.sent)),
        );
        for bidder in self.bidders {
            checks.push(self.reconciled(bidder));
        }
        checks
    }

    /// Whether a bidder saw each call that gavel counted, and gave each bid.
    fn reconciled(&self, bidder: &BidderStats) -> Check {
        let name = bidder.name.as_str();
        let ends = self.metrics.by("gavel_bidder_calls_total", "result", &[("bidder", name)]);
        let seen: u64 =
            ends.iter().filter(|(end, _)| !UNSEEN.contains(&end.as_str())).map(|one| one.1).sum();
        let bids = self.metrics.count("gavel_bids_received_total", &[("bidder", name)]);
        Check {
            is_good: seen == bidder.requests && bids <= bidder.bids && seen > 0,
            text: format!(
                "{name}: gavel counted {} calls and {} bids, the bidder {} and {} ({} late or lost)",
                count(seen),
                count(bids),
                count(bidder.requests),
                count(bidder.bids),
                count(bidder.bids.saturating_sub(bids)),
            ),
        }
    }
}

fn quantiles(at: impl Fn(f64) -> Duration) -> String {
    let one = |(name, quantile)| format!("{name} {}", time(at(quantile)));
    let all = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    format!("{}   (from the planned moment)", all.map(one).join("   "))
}

fn reasons(list: &[(String, u64)]) -> String {
    let one = |(reason, times): &(String, u64)| format!("{reason}: {}", count(*times));
    list.iter().map(one).collect::<Vec<_>>().join("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "gavel_requests_total{partner=\"demo\",result=\"answered\"} 3000\n\
        gavel_bidder_calls_total{bidder=\"a\",result=\"bid\"} 2000\n\
        gavel_bidder_calls_total{bidder=\"a\",result=\"late\"} 900\n\
        gavel_bidder_calls_total{bidder=\"a\",result=\"server_status\"} 90\n\
        gavel_bidder_calls_total{bidder=\"a\",result=\"connect_timeout\"} 10\n\
        gavel_bids_received_total{bidder=\"a\"} 2000\n";

    fn report() -> Report {
        let mut report = Report { took: Duration::from_secs(3), ..Report::default() };
        (report.planned, report.sent, report.answered) = (3_000, 3_000, 3_000);
        report.statuses.insert(200, 3_000);
        report.filled = 3_000;
        report
    }

    fn failed(report: &Report, metrics: &str, seen: u64) -> usize {
        let bidder =
            BidderStats { name: "a".to_owned(), requests: seen, bids: 2_100, ..Default::default() };
        let outcome = Outcome {
            report,
            judged: &Judged::default(),
            metrics: &Scrape::parse(metrics),
            bidders: &[bidder],
            distinct: 5_000,
            per_second: 1_000.0,
            lateness_us_max: 1_000,
        };
        assert!(outcome.text().contains("a       3,000"), "{}", outcome.text());
        outcome.checks().iter().filter(|check| !check.is_good).count()
    }

    #[test]
    fn all_is_well_only_if_every_count_agrees() {
        assert_eq!(failed(&report(), METRICS, 2_990), 0);
        assert_eq!(failed(&report(), METRICS, 2_991), 1);
        let mut report = report();
        report.statuses.insert(500, 1);
        assert_eq!(failed(&report, METRICS, 2_990), 1);
        (report.sent, report.unsent) = (2_000, 1_000);
        // the rate, the lost ones, and what gavel counted
        assert_eq!(failed(&report, METRICS, 2_990), 4);
    }
}
