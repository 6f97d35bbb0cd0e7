//! The small costs that every request pays: a counter, a token, a permit, a key, a coding.

use criterion::{Criterion, criterion_group, criterion_main};
use gavel::clock;
use gavel::coding::{Caps, Coding, Gzip, decode};
use gavel::http::auth;
use gavel::limits::admission::{Admission, AdmissionSettings};
use gavel::limits::gate::GateBook;
use gavel::limits::rate::{LeaseSettings, RateBook};
use gavel::negatives::refusal::Refusal;
use gavel::telemetry::hub::{Hub, TelemetrySettings};
use std::hint::black_box;
use std::time::Duration;

fn counters(bench: &mut Criterion) {
    let hub = Hub::new(2, TelemetrySettings::default(), &["field"]);
    let Some(cells) = hub.worker(0) else { return };
    let (partner, bidder) = (hub.partners().slot("a"), hub.bidders().slot("b"));
    bench.bench_function("count a refusal of a partner", |b| {
        b.iter(|| cells.partner(black_box(partner)).refused(black_box(Refusal::IdMissing)));
    });
    bench.bench_function("count an answer of a bidder with its time", |b| {
        b.iter(|| {
            let took = black_box(Duration::from_micros(31_234));
            cells.bidder(black_box(bidder)).answered(took, 1);
        });
    });
}

fn limits(bench: &mut Criterion) {
    let now = clock::monotonic();
    let book = RateBook::open(u32::MAX, 2, LeaseSettings::default(), now);
    let lease = book.account().lease(0);
    bench.bench_function("take a token", |b| b.iter(|| black_box(lease.try_take(black_box(now)))));
    let gate = GateBook::open(1_000, 2);
    let gate = gate.account().lease(0);
    bench.bench_function("enter and leave a gate", |b| b.iter(|| black_box(gate.try_enter())));
    let admission = Admission::new(AdmissionSettings::default(), now);
    bench.bench_function("enter and leave a worker", |b| {
        b.iter(|| black_box(admission.try_enter(black_box(now))));
    });
}

fn edge(bench: &mut Criterion) {
    let key = b"0123456789abcdef0123456789abcdef";
    bench.bench_function("hash a key", |b| b.iter(|| auth::hash_key(black_box(key))));
    let body: Vec<u8> = (0..60u32)
        .flat_map(|n| format!(r#"{{"id":"{}"}},"#, n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect();
    let (mut gzip, mut wire) = (Gzip::default(), Vec::new());
    bench.bench_function("gzip 1.2 KB", |b| {
        b.iter(|| {
            wire.clear();
            gzip.encode(black_box(&body), &mut wire)
        });
    });
    bench.bench_function("gunzip it", |b| {
        b.iter(|| decode(Coding::Gzip, black_box(&wire), &Caps::default()).is_ok());
    });
}

criterion_group!(benches, counters, limits, edge);
criterion_main!(benches);
