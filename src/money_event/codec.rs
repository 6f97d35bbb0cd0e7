//! Records to bytes and back.
//!
//! Owns: the tags. Never: a kind's meaning. Invariant: a tag is never given a second meaning.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    Amount, AuctionRecord, BIDDERS_MAX, BidderPart, DropCount, EventId, EventType, MoneyEvent,
    TEXT_BYTES_MAX, URL_BYTES_MAX,
};
use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, Currency};
use crate::tlv::{
    self, TlvFault, Value, field_bytes, field_number, field_part, field_signed, fields,
};
use std::borrow::Cow;

mod event_tag {
    pub const ID: u64 = 1;
    pub const AUCTION_ID: u64 = 2;
    pub const IMP_ID: u64 = 3;
    pub const PARTNER: u64 = 4;
    pub const BIDDER: u64 = 5;
    pub const SEAT: u64 = 6;
    pub const DEAL: u64 = 7;
    pub const GROSS: u64 = 8;
    pub const GROSS_CURRENCY: u64 = 9;
    pub const NET: u64 = 10;
    pub const NET_CURRENCY: u64 = 11;
    pub const LOSS_REASON: u64 = 12;
    pub const GENERATION: u64 = 13;
    pub const AUCTION_US: u64 = 14;
    pub const RECEIVED_US: u64 = 15;
    pub const EXPIRES_S: u64 = 16;
    pub const URL: u64 = 17;
    /// Absent: one.
    pub const MULTIPLIER: u64 = 18;
}

mod auction_tag {
    pub const AUCTION_ID: u64 = 1;
    pub const PARTNER: u64 = 2;
    pub const GENERATION: u64 = 3;
    pub const AT_US: u64 = 4;
    pub const TOOK_US: u64 = 5;
    pub const IMPS: u64 = 6;
    pub const CALLED: u64 = 7;
    pub const NOT_CALLED: u64 = 8;
    pub const BIDS: u64 = 9;
    pub const WINS: u64 = 10;
    pub const OUTCOME: u64 = 11;
    pub const BIDDER: u64 = 12;
    pub const REQUEST_ID: u64 = 13;
}

mod bidder_tag {
    pub const NAME: u64 = 1;
    pub const NEGATIVE: u64 = 2;
    pub const BIDS: u64 = 3;
    pub const WINS: u64 = 4;
}

mod drop_tag {
    pub const FROM_US: u64 = 1;
    pub const TO_US: u64 = 2;
    pub const DROPPED: u64 = 3;
}

fn capped(text: &str) -> &[u8] {
    tlv::capped(text, TEXT_BYTES_MAX).as_bytes()
}

/// Appends an event's bytes; its type is the record's kind.
pub fn write_event(event: &MoneyEvent, out: &mut Vec<u8>) {
    use event_tag as tag;
    field_part(out, tag::ID, &event.id.0.to_le_bytes());
    // first, so that whoever only asks which event it is need not read on
    field_number(out, tag::EXPIRES_S, event.expires_s);
    field_bytes(out, tag::AUCTION_ID, capped(&event.auction_id));
    field_bytes(out, tag::IMP_ID, capped(&event.imp_id));
    field_bytes(out, tag::PARTNER, capped(&event.partner));
    field_bytes(out, tag::BIDDER, capped(&event.bidder));
    field_bytes(out, tag::SEAT, capped(&event.seat));
    field_bytes(out, tag::DEAL, capped(&event.deal));
    field_signed(out, tag::GROSS, event.gross.price.micros());
    field_bytes(out, tag::GROSS_CURRENCY, event.gross.currency.as_str().as_bytes());
    field_signed(out, tag::NET, event.net.price.micros());
    field_bytes(out, tag::NET_CURRENCY, event.net.currency.as_str().as_bytes());
    if event.multiplier != Multiplier::ONE {
        field_number(out, tag::MULTIPLIER, event.multiplier.micros().unsigned_abs());
    }
    field_number(out, tag::LOSS_REASON, u64::from(event.loss_reason));
    field_number(out, tag::GENERATION, event.generation);
    field_number(out, tag::AUCTION_US, event.auction_us);
    field_number(out, tag::RECEIVED_US, event.received_us);
    field_bytes(out, tag::URL, tlv::capped(&event.url, URL_BYTES_MAX).as_bytes());
}

/// Reads an event of the type that its record's kind gives.
pub fn read_event(event: EventType, bytes: &[u8]) -> Result<MoneyEvent, TlvFault> {
    use event_tag as tag;
    let mut found = MoneyEvent { event, ..MoneyEvent::default() };
    fields(bytes, |tag, value| {
        match tag {
            tag::ID => found.id = id(value)?,
            tag::AUCTION_ID => value.text()?.clone_into(&mut found.auction_id),
            tag::IMP_ID => value.text()?.clone_into(&mut found.imp_id),
            tag::PARTNER => value.text()?.clone_into(&mut found.partner),
            tag::BIDDER => value.text()?.clone_into(&mut found.bidder),
            tag::SEAT => value.text()?.clone_into(&mut found.seat),
            tag::DEAL => value.text()?.clone_into(&mut found.deal),
            tag::GROSS => found.gross.price = Cpm::from_micros(value.signed()?),
            tag::GROSS_CURRENCY => found.gross.currency = currency(value)?,
            tag::NET => found.net.price = Cpm::from_micros(value.signed()?),
            tag::NET_CURRENCY => found.net.currency = currency(value)?,
            tag::MULTIPLIER => found.multiplier = multiplier(value)?,
            tag::LOSS_REASON => found.loss_reason = value.small("loss_reason")?,
            tag::GENERATION => found.generation = value.number()?,
            tag::AUCTION_US => found.auction_us = value.number()?,
            tag::RECEIVED_US => found.received_us = value.number()?,
            tag::EXPIRES_S => found.expires_s = value.number()?,
            tag::URL => value.text()?.clone_into(&mut found.url),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Which event a record is and when it ends being a duplicate of itself (seconds since the epoch);
/// `None` where the record is no money event or cannot be read. This is what the journal is opened
/// with, to build its index of duplicates anew.
pub fn identify(kind: u8, bytes: &[u8]) -> Option<(EventId, u64)> {
    EventType::of_kind(kind)?;
    let (mut event, mut expires_s) = (None, 0);
    fields(bytes, |tag, value| {
        match tag {
            event_tag::ID => event = Some(id(value)?),
            event_tag::EXPIRES_S => expires_s = value.number()?,
            _ => {}
        }
        Ok(())
    })
    .ok()?;
    Some((event?, expires_s))
}

/// Appends an auction record's bytes.
pub fn write_auction(auction: &AuctionRecord<'_>, out: &mut Vec<u8>) {
    use auction_tag as tag;
    field_bytes(out, tag::AUCTION_ID, capped(&auction.auction_id));
    field_bytes(out, tag::REQUEST_ID, capped(&auction.request_id));
    field_bytes(out, tag::PARTNER, capped(&auction.partner));
    field_number(out, tag::GENERATION, auction.generation);
    field_number(out, tag::AT_US, auction.at_us);
    field_number(out, tag::TOOK_US, auction.took_us);
    for (tag, count) in [
        (tag::IMPS, auction.imps),
        (tag::CALLED, auction.called),
        (tag::NOT_CALLED, auction.not_called),
        (tag::BIDS, auction.bids),
        (tag::WINS, auction.wins),
    ] {
        field_number(out, tag, u64::from(count));
    }
    field_bytes(out, tag::OUTCOME, capped(&auction.outcome));
    let mut part = Vec::new();
    for bidder in auction.bidders.iter().take(BIDDERS_MAX) {
        part.clear();
        field_bytes(&mut part, bidder_tag::NAME, capped(&bidder.bidder));
        field_bytes(&mut part, bidder_tag::NEGATIVE, capped(&bidder.negative));
        field_number(&mut part, bidder_tag::BIDS, u64::from(bidder.bids));
        field_number(&mut part, bidder_tag::WINS, u64::from(bidder.wins));
        field_part(out, tag::BIDDER, &part);
    }
}

/// Reads an auction record.
pub fn read_auction(bytes: &[u8]) -> Result<AuctionRecord<'static>, TlvFault> {
    use auction_tag as tag;
    let mut found = AuctionRecord::default();
    fields(bytes, |tag, value| {
        match tag {
            tag::AUCTION_ID => found.auction_id = owned(value)?,
            tag::REQUEST_ID => found.request_id = owned(value)?,
            tag::PARTNER => found.partner = owned(value)?,
            tag::GENERATION => found.generation = value.number()?,
            tag::AT_US => found.at_us = value.number()?,
            tag::TOOK_US => found.took_us = value.number()?,
            tag::IMPS => found.imps = value.small("imps")?,
            tag::CALLED => found.called = value.small("called")?,
            tag::NOT_CALLED => found.not_called = value.small("not_called")?,
            tag::BIDS => found.bids = value.small("bids")?,
            tag::WINS => found.wins = value.small("wins")?,
            tag::OUTCOME => found.outcome = owned(value)?,
            tag::BIDDER if found.bidders.len() == BIDDERS_MAX => {
                return Err(TlvFault::Value("the number of bidders"));
            }
            tag::BIDDER => found.bidders.push(bidder(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn owned(value: Value<'_>) -> Result<Cow<'static, str>, TlvFault> {
    Ok(Cow::Owned(value.text()?.to_owned()))
}

fn bidder(value: Value<'_>) -> Result<BidderPart<'static>, TlvFault> {
    let mut found = BidderPart::default();
    fields(value.bytes(), |tag, value| {
        match tag {
            bidder_tag::NAME => found.bidder = owned(value)?,
            bidder_tag::NEGATIVE => found.negative = owned(value)?,
            bidder_tag::BIDS => found.bids = value.small("a bidder's bids")?,
            bidder_tag::WINS => found.wins = value.small("a bidder's wins")?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Appends the bytes of a count of dropped records.
pub fn write_drops(count: DropCount, out: &mut Vec<u8>) {
    field_number(out, drop_tag::FROM_US, count.from_us);
    field_number(out, drop_tag::TO_US, count.to_us);
    field_number(out, drop_tag::DROPPED, count.dropped);
}

/// Reads a count of dropped records.
pub fn read_drops(bytes: &[u8]) -> Result<DropCount, TlvFault> {
    let mut found = DropCount::default();
    fields(bytes, |tag, value| {
        match tag {
            drop_tag::FROM_US => found.from_us = value.number()?,
            drop_tag::TO_US => found.to_us = value.number()?,
            drop_tag::DROPPED => found.dropped = value.number()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn id(value: Value<'_>) -> Result<EventId, TlvFault> {
    let bytes: [u8; 16] = value.bytes().try_into().map_err(|_| TlvFault::Value("id"))?;
    Ok(EventId(u128::from_le_bytes(bytes)))
}

fn multiplier(value: Value<'_>) -> Result<Multiplier, TlvFault> {
    let micros = i64::try_from(value.number()?).ok();
    micros.and_then(Multiplier::from_micros).ok_or(TlvFault::Value("multiplier"))
}

fn currency(value: Value<'_>) -> Result<Currency, TlvFault> {
    Currency::parse(value.text()?).ok_or(TlvFault::Value("currency"))
}

impl Amount {
    /// So many micros of a currency.
    pub const fn new(micros: i64, currency: Currency) -> Self {
        Self { price: Cpm::from_micros(micros), currency }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    fn event() -> MoneyEvent {
        MoneyEvent {
            event: EventType::Billing,
            id: EventId(0x0123_4567_89ab_cdef),
            auction_id: "a-1".into(),
            imp_id: "1".into(),
            partner: "pub".into(),
            bidder: "alpha".into(),
            seat: "s".into(),
            deal: String::new(),
            gross: Amount::new(2_500_000, Currency::USD),
            net: Amount::new(-1, Currency::parse("EUR").unwrap()),
            multiplier: Multiplier::from_wire(14.2).unwrap(),
            loss_reason: 0,
            generation: 7,
            auction_us: u64::MAX,
            received_us: 1,
            expires_s: 1_800_000_000,
            url: "https://b.example/won?p=1.5".into(),
        }
    }

    #[test]
    fn an_event_is_read_back_and_identified() {
        let mut bytes = Vec::new();
        write_event(&event(), &mut bytes);
        assert_eq!(read_event(EventType::Billing, &bytes), Ok(event()));
        let known = identify(EventType::Billing.kind(), &bytes);
        assert_eq!(known, Some((event().id, 1_800_000_000)));
        assert_eq!(identify(super::super::kind::AUCTION, &bytes), None);
        assert_eq!(identify(EventType::Billing.kind(), &bytes[1..]), None);
    }

    #[test]
    fn a_record_of_one_impression_has_the_bytes_of_before_there_were_multipliers() {
        let (mut one, mut many) = (Vec::new(), Vec::new());
        write_event(&MoneyEvent { multiplier: Multiplier::ONE, ..event() }, &mut one);
        write_event(&event(), &mut many);
        let mut field = Vec::new();
        field_number(&mut field, event_tag::MULTIPLIER, 14_200_000);
        assert_eq!(many.len(), one.len() + field.len());
        let read = |bytes: &[u8]| read_event(EventType::Billing, bytes).map(|one| one.multiplier);
        assert_eq!(read(&one), Ok(Multiplier::ONE));
        for (micros, expected) in [
            (1, Ok(Multiplier::from_micros(1).unwrap())),
            (1_000_000_000_000, Ok(Multiplier::MAX)),
            (1_000_000_000_001, Err(TlvFault::Value("multiplier"))),
            (u64::MAX, Err(TlvFault::Value("multiplier"))),
        ] {
            let mut bytes = one.clone();
            field_number(&mut bytes, event_tag::MULTIPLIER, micros);
            assert_eq!(read(&bytes), expected, "{micros}");
        }
        field_part(&mut one, event_tag::MULTIPLIER, &[0]);
        assert_eq!(read(&one), Err(TlvFault::Value("multiplier")));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = MoneyEvent { seat: "é".repeat(TEXT_BYTES_MAX), ..event() };
        let mut bytes = Vec::new();
        write_event(&long, &mut bytes);
        let read = read_event(EventType::Billing, &bytes).unwrap();
        assert_eq!(read.seat, "é".repeat(TEXT_BYTES_MAX / 2));
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over() {
        let mut bytes = Vec::new();
        write_event(&event(), &mut bytes);
        field_bytes(&mut bytes, 999, b"later");
        assert_eq!(read_event(EventType::Billing, &bytes), Ok(event()));
    }

    proptest! {
        #[test]
        fn an_auction_is_read_back(
            counts in any::<[u32; 5]>(), names in prop::collection::vec(".{0,20}", 5),
            bidders in prop::collection::vec((".{0,9}", any::<u32>()), 0..9), at in any::<[u64; 3]>(),
        ) {
            let auction = AuctionRecord {
                auction_id: (&names[0]).into(), partner: (&names[1]).into(), outcome: (&names[2]).into(),
                request_id: (&names[4]).into(),
                generation: at[0], at_us: at[1], took_us: at[2],
                imps: counts[0], called: counts[1], not_called: counts[2], bids: counts[3],
                wins: counts[4],
                bidders: bidders.into_iter().map(|(bidder, bids)| BidderPart {
                    bidder: bidder.into(), negative: (&names[3]).into(), bids, wins: bids / 2,
                }).collect(),
            };
            let mut bytes = Vec::new();
            write_auction(&auction, &mut bytes);
            prop_assert_eq!(read_auction(&bytes), Ok(auction));
        }

        #[test]
        fn a_count_of_drops_is_read_back(from_us in any::<u64>(), to_us in any::<u64>(), dropped in any::<u64>()) {
            let count = DropCount { from_us, to_us, dropped };
            let mut bytes = Vec::new();
            write_drops(count, &mut bytes);
            prop_assert_eq!(read_drops(&bytes), Ok(count));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read_event(EventType::Win, &bytes), read_auction(&bytes), identify(8, &bytes));
            let _ = read_drops(&bytes);
        }
    }
}
