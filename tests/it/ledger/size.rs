//! How much memory a report takes. `GAVEL_FULL=1`: a million events.

use super::{MIDNIGHT_US, event};
use gavel::money_event::EventType;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a million events may take; a smaller number must not take more.
const PEAK_KIB_MAX: u64 = 200 << 10;

#[test]
fn a_report_over_more_than_fits_takes_no_more_memory() {
    let sales: u64 = if std::env::var_os("GAVEL_FULL").is_some() { 500_000 } else { 40_000 };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    for sale in 0..sales {
        // so that the ids do not come in order
        let sale = u128::from(sale.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for kind in [EventType::Win, EventType::Billing] {
            let one = event(sale, kind, MIDNIGHT_US);
            writeln!(
                file,
                "{{\"type\":\"{}\",\"id\":\"{}\",\"auction_id\":\"{}\",\"partner\":\"pub\",\"bidder\":\"alpha\",\
                 \"gross_micros\":1000001,\"gross_currency\":\"USD\",\"net_micros\":900000,\
                 \"net_currency\":\"USD\",\"received_us\":{MIDNIGHT_US},\"expires_s\":4000000000}}",
                kind.label(), one.id, one.auction_id,
            )
            .unwrap();
        }
    }
    file.into_inner().unwrap().sync_all().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gavel"))
        .args(["ledger", "--format", "json", "--memory", "8", "--temp"])
        .arg(dir.path())
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        // the highest so far: what is read last is what counts
        peak_kib = peak_of(child.id()).unwrap_or(peak_kib).max(peak_kib);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["total"]["billed"], sales);
    let micros = i128::from(sales) * 1_000_001;
    let spend = gavel::ledger::report::amount(micros * i128::from(gavel::money::MICROS));
    assert_eq!(json["total"]["money"][0]["spend"], spend);
    assert!(json["discrepancies"].as_object().unwrap().is_empty(), "{json}");
    println!("{} events: peak {} MiB", 2 * sales, peak_kib >> 10);
    assert!(peak_kib > 0 && peak_kib < PEAK_KIB_MAX, "{peak_kib} KiB");
}

fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
