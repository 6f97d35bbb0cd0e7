//! The texts of a report.
//!
//! Owns: tables, JSON and CSV of totals and of findings. Never: a sum. Invariant: an amount is
//! written exactly, with as many decimals as it has, as text: a JSON number would not hold it.

use super::sale::{Finding, times};
use super::sums::{Money, Pair, Row, Rows};
use super::tally::Totals;
use super::{Question, Span, when};
use crate::journal::export::cell;
use crate::money::multiplier::PARTS;
use crate::money_event::shown::{multiplier, tame};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object; of findings one a line.
    Json,
    /// Comma-separated, with a line of names (RFC 4180).
    Csv,
}

/// [`PARTS`] of a unit as a decimal, at least two digits behind the point.
pub fn amount(parts: i128) -> String {
    let (whole, rest) = (parts.unsigned_abs() / PARTS, parts.unsigned_abs() % PARTS);
    let digits = format!("{rest:015}");
    let kept = digits.trim_end_matches('0').len().max(2);
    let sign = if parts < 0 { "-" } else { "" };
    format!("{sign}{whole}.{}", digits.get(..kept).unwrap_or(&digits))
}

fn margin(money: &Money, pair: Pair) -> Option<String> {
    money.margin(pair).map(amount)
}

/// Columns behind those of the groups.
const COUNTS: [&str; 7] = ["auctions", "bids", "sold", "wins", "losses", "shown", "billed"];
const AMOUNTS: [&str; 5] = ["spend", "currency", "revenue", "currency", "margin"];

/// Writes the totals.
pub fn totals(
    format: Format,
    question: &Question,
    totals: &Totals,
    faults: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Table => table(question, totals, out),
        Format::Json => {
            let value = json_of(question, totals, faults);
            format!("{value:#}").lines().try_for_each(|line| writeln!(out, "{}", tame(line)))
        }
        Format::Csv => csv(question, &totals.rows, out),
    }
}

/// Lines of cells: the counts stand in the first line of a group, amounts in one for each pair of
/// currencies.
fn lines(question: &Question, key: &[String], row: &Row, is_total: bool) -> Vec<Vec<String>> {
    let is_known = is_total || !question.by.contains(&super::Axis::Deal);
    let ours = |count: u64| if is_known { count.to_string() } else { "-".to_owned() };
    let mut first: Vec<String> = key.to_vec();
    first.extend([ours(row.auctions), ours(row.bids), ours(row.sold)]);
    first.extend([row.wins, row.losses, row.shown].map(|count| count.to_string()));
    if row.money.is_empty() {
        first.push("0".to_owned());
        first.extend(["", "", "", "", ""].map(str::to_owned));
        return vec![first];
    }
    let mut found: Vec<Vec<String>> = Vec::new();
    for (pair, money) in &row.money {
        let mut line = if found.is_empty() {
            first.clone()
        } else {
            key.iter().cloned().chain(std::iter::repeat_n(String::new(), 6)).collect()
        };
        line.extend([
            money.billed.to_string(),
            amount(money.gross),
            pair.gross.to_string(),
            amount(money.net),
            pair.net.to_string(),
            margin(money, *pair).unwrap_or_else(|| "-".to_owned()),
        ]);
        found.push(line);
    }
    found
}

fn names(question: &Question) -> Vec<String> {
    let groups = question.by.iter().map(|axis| axis.label());
    groups.chain(COUNTS).chain(AMOUNTS).map(str::to_owned).collect()
}

fn table(question: &Question, totals: &Totals, out: &mut dyn Write) -> io::Result<()> {
    let mut all = vec![names(question)];
    for (key, row) in &totals.rows.rows {
        all.extend(lines(question, key, row, false));
    }
    let mut key = vec!["total".to_owned()];
    key.resize(question.by.len(), String::new());
    all.extend(lines(question, &key, &totals.rows.total, true));
    aligned(&all, question.by.len(), out)?;
    writeln!(out)?;
    for (trouble, stake) in &totals.troubles {
        let sums: Vec<String> = stake
            .gross
            .iter()
            .map(|(currency, sum)| format!("{} {currency}", amount(*sum)))
            .collect();
        writeln!(out, "{:<20} {:>8}  gross {}", trouble.label(), stake.count, sums.join(", "))?;
    }
    if totals.rows.dropped > 0 {
        let dropped = totals.rows.dropped;
        writeln!(out, "{dropped} auction records were dropped: auctions, bids and sold lack them")?;
    }
    let (events, copies) = (totals.events, totals.copies);
    writeln!(out, "{events} records of events were read, {copies} of them again")
}

/// Columns side by side: groups to the left, the rest to the right.
fn aligned(all: &[Vec<String>], groups: usize, out: &mut dyn Write) -> io::Result<()> {
    let columns = all.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = all.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in all {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // names are ours, deals are a stranger's
            let cell: String = cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            let gap = if column == 0 { "" } else { "  " };
            let cell = if column < groups {
                format!("{gap}{cell:<width$}")
            } else {
                format!("{gap}{cell:>width$}")
            };
            text.push_str(&cell);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn csv(question: &Question, rows: &Rows, out: &mut dyn Write) -> io::Result<()> {
    let groups = question.by.iter().map(|axis| axis.label());
    let money = ["spend", "spend_currency", "revenue", "revenue_currency", "margin"];
    let names: Vec<&str> = groups.chain(COUNTS).chain(money).collect();
    writeln!(out, "{}", names.join(","))?;
    for (key, row) in &rows.rows {
        for line in lines(question, key, row, false) {
            let groups = question.by.len();
            let cells: Vec<String> = line
                .iter()
                .enumerate()
                // a margin may begin with a sign and is a number all the same
                .map(|(at, text)| if at < groups { cell(&json!(text)) } else { absent(text) })
                .collect();
            writeln!(out, "{}", cells.join(","))?;
        }
    }
    Ok(())
}

fn absent(text: &str) -> String {
    if text == "-" { String::new() } else { text.to_owned() }
}

fn json_of(question: &Question, totals: &Totals, faults: &[String]) -> Value {
    let rows: Vec<Value> = totals
        .rows
        .rows
        .iter()
        .map(|(key, row)| {
            let mut object = Map::new();
            for (axis, name) in question.by.iter().zip(key) {
                object.insert(axis.label().to_owned(), json!(name));
            }
            row_json(question, row, false, &mut object);
            Value::Object(object)
        })
        .collect();
    let mut total = Map::new();
    row_json(question, &totals.rows.total, true, &mut total);
    let Span { from_us, to_us } = question.span;
    json!({
        "by": question.by.iter().map(|axis| axis.label()).collect::<Vec<_>>(),
        "time": question.moment.label(),
        "from": (from_us > 0).then(|| when::time(from_us)),
        "to": (to_us < u64::MAX).then(|| when::time(to_us)),
        "as_of": when::time(question.as_of_us),
        "rows": rows,
        "total": total,
        "auction_records_dropped": totals.rows.dropped,
        "event_records_read": totals.events,
        "event_records_again": totals.copies,
        "discrepancies": troubles_json(totals),
        "faults": faults,
    })
}

fn row_json(question: &Question, row: &Row, is_total: bool, object: &mut Map<String, Value>) {
    let is_known = is_total || !question.by.contains(&super::Axis::Deal);
    let ours = |count: u64| is_known.then_some(count);
    for (name, value) in [
        ("auctions", json!(ours(row.auctions))),
        ("bids", json!(ours(row.bids))),
        ("sold", json!(ours(row.sold))),
        ("wins", json!(row.wins)),
        ("losses", json!(row.losses)),
        ("shown", json!(row.shown)),
        ("billed", json!(row.billed)),
    ] {
        object.insert(name.to_owned(), value);
    }
    let money: Vec<Value> = row
        .money
        .iter()
        .map(|(pair, money)| {
            json!({
                "billed": money.billed,
                "spend": amount(money.gross), "spend_currency": pair.gross.as_str(),
                "revenue": amount(money.net), "revenue_currency": pair.net.as_str(),
                "margin": margin(money, *pair),
            })
        })
        .collect();
    object.insert("money".to_owned(), json!(money));
}

fn troubles_json(totals: &Totals) -> Value {
    let troubles = totals.troubles.iter().map(|(trouble, stake)| {
        let gross: Map<String, Value> = stake
            .gross
            .iter()
            .map(|(currency, sum)| (currency.to_string(), json!(amount(*sum))))
            .collect();
        (trouble.label().to_owned(), json!({ "count": stake.count, "gross": gross }))
    });
    Value::Object(troubles.collect())
}

/// Names of the columns of a finding.
const FINDING: [&str; 16] = [
    "discrepancy",
    "sale",
    "event",
    "auction_id",
    "imp_id",
    "partner",
    "bidder",
    "seat",
    "deal",
    "gross_micros",
    "gross_currency",
    "net_micros",
    "net_currency",
    "multiplier",
    "received",
    "note",
];

fn finding_values(finding: &Finding<'_>) -> [Value; 16] {
    let event = finding.event;
    [
        json!(finding.trouble.label()),
        json!(event.id.sale().to_string()),
        json!(event.id.to_string()),
        json!(event.auction_id),
        json!(event.imp_id),
        json!(event.partner),
        json!(event.bidder),
        json!(event.seat),
        json!(event.deal),
        json!(event.gross.price.micros()),
        json!(event.gross.currency.as_str()),
        json!(event.net.price.micros()),
        json!(event.net.currency.as_str()),
        multiplier(event.multiplier),
        json!(when::time(event.received_us)),
        json!(finding.note),
    ]
}

/// The line of names of findings, where a format has one.
pub fn findings_head(format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Csv => writeln!(out, "{}", FINDING.join(",")),
        Format::Table | Format::Json => Ok(()),
    }
}

/// Writes a finding.
pub fn finding(format: Format, finding: &Finding<'_>, out: &mut dyn Write) -> io::Result<()> {
    let values = finding_values(finding);
    match format {
        Format::Csv => {
            let cells: Vec<String> = values.iter().map(cell).collect();
            writeln!(out, "{}", cells.join(","))
        }
        Format::Json => {
            let named = FINDING.into_iter().map(str::to_owned).zip(values);
            writeln!(out, "{}", tame(&Value::Object(named.collect()).to_string()))
        }
        Format::Table => {
            let event = finding.event;
            let texts = [&event.partner, &event.bidder, &event.deal, &event.auction_id];
            // ids are a stranger's
            let [partner, bidder, deal, auction] =
                texts.map(|text| text.escape_debug().to_string());
            let deal = if deal.is_empty() { String::new() } else { format!(" deal {deal}") };
            let many = times(event.multiplier);
            let note = if finding.note.is_empty() {
                String::new()
            } else {
                format!(": {}", tame(&finding.note))
            };
            writeln!(
                out,
                "{:<20} {} {} partner {partner} bidder {bidder}{deal} auction {auction} gross {} {}{many}{note}",
                finding.trouble.label(),
                when::time(event.received_us),
                event.id,
                event.gross.price,
                event.gross.currency,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_to_their_last_part() {
        let nano = 1_000_000;
        for (parts, expected) in [
            (0, "0.00"),
            (1, "0.000000000000001"),
            (nano, "0.000000001"),
            (-nano, "-0.000000001"),
            (1_500_000_000 * nano, "1.50"),
            (12_345_678_901 * nano, "12.345678901"),
            (12_345_678_901_234_560, "12.34567890123456"),
            (i128::from(u64::MAX) * 1_000_000_000 * nano, "18446744073709551615.00"),
        ] {
            assert_eq!(amount(parts), expected);
        }
    }
}
