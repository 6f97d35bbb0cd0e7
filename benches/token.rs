//! Tokens: what each bid costs to sign, and each event to check.

use criterion::{Criterion, criterion_group, criterion_main};
use gavel::money::Currency;
use gavel::money::multiplier::Multiplier;
use gavel::money_event::{Amount, EventType, SaleId};
use gavel::token::Claims;
use gavel::token::keys::{Key, Keys};
use std::hint::black_box;
use std::time::Duration;

fn claims() -> Claims<'static> {
    Claims {
        event: EventType::Billing,
        sale: SaleId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        auction_id: "7979d0c7-8074-4d3c-a9b1-2c6ff6a6b0c4",
        imp_id: "slot-1",
        partner: "publisher",
        bidder: "alpha",
        seat: "agency-12",
        deal: "deal-7781",
        gross: Amount::new(2_500_000, Currency::USD),
        net: Amount::new(2_000_000, Currency::USD),
        multiplier: Multiplier::ONE,
        min_to_win: None,
        generation: 7,
        auction_us: 1_800_000_000_000_000,
        expires_s: 1_800_003_600,
        url: "https://ads.example/billing?i=slot-1&p=2.5&m=${AUCTION_MIN_TO_WIN}",
    }
}

fn token(criterion: &mut Criterion) {
    let key = |id| Key::new(id, "a secret of this bench that is long enough");
    let keys = Keys::new(key(1), vec![key(2)]);
    let (mut scratch, mut issued) = (Vec::new(), Vec::new());
    keys.issue(&claims(), &mut scratch, &mut issued);
    let mut forged = issued.clone();
    if let Some(byte) = forged.get_mut(40) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    let now = Duration::from_secs(1_800_000_000);
    let mut out = Vec::new();
    criterion.bench_function("token/issue", |bencher| {
        bencher.iter(|| {
            out.clear();
            keys.issue(black_box(&claims()), &mut scratch, &mut out);
        });
    });
    for (name, token) in [("accept", &issued), ("refuse", &forged)] {
        criterion.bench_function(&format!("token/{name}"), |bencher| {
            bencher.iter(|| keys.accept(black_box(token), now, &mut scratch).is_ok());
        });
    }
}

criterion_group!(benches, token);
criterion_main!(benches);
