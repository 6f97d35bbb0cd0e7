//! The ledger: against histories whose truth is known, and as it is run.

mod command;
mod model;
mod size;

use gavel::money::{Cpm, Currency};
use gavel::money_event::{Amount, EventType, MoneyEvent, SaleId};

/// 2026-11-29T00:00:00Z.
pub const MIDNIGHT_US: u64 = 1_795_910_400_000_000;
/// A minute.
pub const MINUTE_US: u64 = 60_000_000;

/// An event of a sale of one partner and bidder.
pub fn event(sale: u128, event: EventType, received_us: u64) -> MoneyEvent {
    MoneyEvent {
        event,
        id: SaleId::new(sale << 4).event(event),
        auction_id: format!("auction-{sale}"),
        imp_id: "1".into(),
        partner: "pub".into(),
        bidder: "alpha".into(),
        gross: Amount { price: Cpm::from_micros(2_500_001), currency: Currency::USD },
        net: Amount { price: Cpm::from_micros(2_000_000), currency: Currency::USD },
        auction_us: MIDNIGHT_US,
        received_us,
        expires_s: MIDNIGHT_US / 1_000_000 + 3600,
        url: "https://b.example/notice?p=2.5".into(),
        ..MoneyEvent::default()
    }
}
