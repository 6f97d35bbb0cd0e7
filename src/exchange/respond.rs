//! Writes our bid response (4.2.1): the winners, and nothing that they did not say.
//!
//! Owns: the bytes of the answer. Never: who wins, at what price.
//!
//! A winning bid is copied from its bidder's bytes member by member, so that unknown members and
//! `ext` arrive as they were sent. Ours are: `price`, the clearing price in the currency of our
//! answer; `impid`, as the request wrote it; `mtype`, which we know even where the bid has none.
//! Invariant: no object that is written has one key twice.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::auction::offer::{Answered, AuctionResult, Win};
use crate::bid::{Bid, SeatBid};
use crate::money::Currency;
use crate::request::{Key, Member, ValidRequest};
use smallvec::SmallVec;

/// What is known about an auction when its answer is written.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    pub request: &'a ValidRequest,
    /// Those that the auction was held with, in the same order.
    pub answers: &'a [Answered<'a>],
    pub result: &'a AuctionResult,
    /// Our id of this answer; letters, digits and the like, not escaped.
    pub bidid: &'a str,
    /// Why there is no win, where there is none (4.2.1 `nbr`).
    pub nbr: u16,
    /// A JSON object for `ext`, such as the explanation.
    pub ext: Option<&'a [u8]>,
}

/// What goes around the winning bids, in bytes.
const FRAME_BYTES: usize = 256;

/// The response's JSON. Without a win it has `nbr` and no `seatbid`.
pub fn write(response: &Response<'_>) -> Vec<u8> {
    let mut winners: SmallVec<[Winner<'_>; 8]> =
        response.result.wins.iter().filter_map(|win| Winner::new(win, response.answers)).collect();
    winners.sort_by(|one, other| one.order().cmp(&other.order()));
    let copied = winners.iter().map(|winner| winner.bid.close.saturating_sub(winner.bid.open));
    let copied = copied.fold(0u32, u32::saturating_add) as usize;
    let ext_bytes = response.ext.map_or(0, <[u8]>::len);
    let capacity = copied.saturating_add(ext_bytes).saturating_add(FRAME_BYTES);
    let mut out = Vec::with_capacity(capacity);

    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id_json(response.request));
    if winners.is_empty() {
        out.extend_from_slice(b",\"nbr\":");
        write_number(&mut out, response.nbr.into());
    } else {
        out.extend_from_slice(b",\"seatbid\":[");
        write_seats(&mut out, response.request, &winners);
        out.extend_from_slice(b"],\"bidid\":\"");
        out.extend_from_slice(response.bidid.as_bytes());
        out.push(b'"');
        write_currency(&mut out, response.result.currency);
    }
    if let Some(ext) = response.ext {
        out.extend_from_slice(b",\"ext\":");
        out.extend_from_slice(ext);
    }
    out.push(b'}');
    out
}

/// The request's `id` as it stood in JSON (quotes included).
pub fn id_json(request: &ValidRequest) -> &[u8] {
    let id = request.member(&request.view.objects.root, Key::Id);
    id.map_or(b"\"\"", |member| request.value(member))
}

/// A win with the bytes behind it.
struct Winner<'a> {
    win: &'a Win,
    answered: &'a Answered<'a>,
    seatbid: &'a SeatBid,
    bid: &'a Bid,
    seat: &'a [u8],
}

/// What tells one `seatbid` of ours from another, in the order in which they are written.
///
/// Seats of different bidders with equal names stay apart. Two of one bidder are one, but a
/// group stays by itself: our partner may take all of it or nothing.
type SeatKey<'a> = (u16, Option<u32>, &'a [u8]);

impl<'a> Winner<'a> {
    fn new(win: &'a Win, answers: &'a [Answered<'a>]) -> Option<Self> {
        let (answered, seatbid, bid) = win.at.resolve(answers)?;
        Some(Self { win, answered, seatbid, bid, seat: answered.seat_name(seatbid) })
    }

    fn seat_key(&self) -> SeatKey<'a> {
        (self.win.bidder.0, self.seatbid.is_group.then_some(self.win.at.seat), self.seat)
    }

    fn order(&self) -> (SeatKey<'a>, u32) {
        (self.seat_key(), self.win.imp)
    }
}

fn write_seats(out: &mut Vec<u8>, request: &ValidRequest, winners: &[Winner<'_>]) {
    let seats = winners.chunk_by(|one, other| one.seat_key() == other.seat_key());
    for (seat, is_first) in seats.zip(std::iter::once(true).chain(std::iter::repeat(false))) {
        let Some(any) = seat.first() else { continue };
        out.extend_from_slice(if is_first { b"{\"seat\":" } else { b",{\"seat\":" });
        write_text(out, any.seat);
        if any.seatbid.is_group {
            out.extend_from_slice(b",\"group\":1");
        }
        out.extend_from_slice(b",\"bid\":[");
        for winner in seat {
            write_bid(out, request, winner);
            out.push(b',');
        }
        // the comma behind the last bid
        out.pop();
        out.extend_from_slice(b"]}");
    }
}

/// One bid (4.2.3).
fn write_bid(out: &mut Vec<u8>, request: &ValidRequest, winner: &Winner<'_>) {
    let answer = winner.answered.answer;
    out.push(b'{');
    for member in answer.members(winner.bid) {
        match member.key {
            Key::Mtype => continue,
            Key::Price => {
                out.extend_from_slice(b"\"price\":");
                winner.win.clearing.write_decimal(out);
            }
            Key::Impid => {
                out.extend_from_slice(b"\"impid\":");
                let imp = request.view.imps.get(winner.win.imp as usize);
                let id = imp.and_then(|imp| request.member(&imp.object, Key::Id));
                out.extend_from_slice(
                    id.map_or_else(|| answer.value(member), |id| request.value(id)),
                );
            }
            // `nurl`, `burl`, `lurl` and the macros of `adm` too: here our notices will take over.
            _ => write_member(out, winner, member),
        }
        out.push(b',');
    }
    out.extend_from_slice(b"\"mtype\":");
    write_number(out, winner.win.media.mtype().into());
    out.push(b'}');
}

/// A member as the bidder wrote it.
fn write_member(out: &mut Vec<u8>, winner: &Winner<'_>, member: &Member) {
    let span = member.key_at as usize..member.value_end as usize;
    out.extend_from_slice(winner.answered.answer.body.get(span).unwrap_or(b"\"\":null"));
}

fn write_currency(out: &mut Vec<u8>, currency: Currency) {
    out.extend_from_slice(b",\"cur\":\"");
    out.extend_from_slice(currency.as_str().as_bytes());
    out.push(b'"');
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A JSON string (RFC 8259, 7).
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.push(b'"');
    for byte in text.iter().copied() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
