//! Writes our bid response (4.2.1): the winners, and nothing that they did not say.
//!
//! Owns: the bytes of the answer. Never: who wins, at what price.
//!
//! A winning bid is copied from its bidder's bytes member by member, so that unknown members and
//! `ext` arrive as they were sent; but members that are read leniently are written as they were read,
//! in the types that they have to be of (4.2.3): ids that are numbers and markup that is an object as
//! strings, one domain as a list of one; and none that says nothing. One bid of another type would
//! cost a partner that reads by type the whole answer. Ours are: `price`, what the partner gets, in the currency of our
//! answer; `impid`, as the request wrote it; `mtype`, which we know even where the bid has none;
//! `nurl`, `burl` and `lurl` where events are taken. Macros are settled, see [`super::sell`].
//! Invariant: no object that is written has one key twice.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::sell::{Sale, Seller};
use crate::auction::offer::{Answered, AuctionResult, Win};
use crate::bid::{Bid, BidAnswer, SeatBid};
use crate::macros;
use crate::money::Currency;
use crate::request::{Key, List, Member, ValidRequest};
use smallvec::SmallVec;

/// What is known about an auction when its answer is written.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    pub request: &'a ValidRequest,
    /// Those that the auction was held with, in the same order.
    pub answers: &'a [Answered<'a>],
    pub result: &'a AuctionResult,
    /// Our id of this answer: written in hexadecimal, with a hyphen between the two.
    pub bidid: (u64, u64),
    /// A JSON object for `ext`, such as the explanation.
    pub ext: Option<&'a [u8]>,
    pub seller: Seller<'a>,
}

/// What goes around the winning bids, in bytes: about 80, and the names of a few seats.
const FRAME_BYTES: usize = 192;

/// What goes around one of them: its seat's 31, and what our price, imp and media have more.
const BID_FRAME_BYTES: usize = 64;

/// What our three notices of one take, where a notice of its bidder's is 100 bytes long.
const NOTICES_BYTES: usize = 1_200;

/// The response's JSON, of one win at least.
pub fn write(response: &Response<'_>) -> Vec<u8> {
    let mut winners: SmallVec<[Winner<'_>; 8]> =
        response.result.wins.iter().filter_map(|win| Winner::new(win, response.answers)).collect();
    winners.sort_by(|one, other| one.order().cmp(&other.order()));
    let id = id_json(response.request);
    let around =
        BID_FRAME_BYTES.saturating_add(response.seller.issuer.map_or(0, |_| NOTICES_BYTES));
    let copied = winners.iter().map(|winner| {
        (winner.bid.close.saturating_sub(winner.bid.open) as usize).saturating_add(around)
    });
    let parts = [FRAME_BYTES, id.len(), response.ext.map_or(0, <[u8]>::len)];
    let mut out = Vec::with_capacity(copied.chain(parts).fold(0, usize::saturating_add));

    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"seatbid\":[");
    write_seats(&mut out, response, &winners);
    out.extend_from_slice(b"],\"bidid\":\"");
    write_hex(&mut out, response.bidid.0);
    out.push(b'-');
    write_hex(&mut out, response.bidid.1);
    out.push(b'"');
    write_currency(&mut out, response.result.currency);
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

    fn sale(&self, response: &Response<'a>) -> Sale<'a> {
        Sale {
            request: response.request,
            win: self.win,
            answered: self.answered,
            bid: self.bid,
            seat: self.seat,
            currency: response.result.currency,
        }
    }

    fn seat_key(&self) -> SeatKey<'a> {
        (self.win.bidder.0, self.seatbid.is_group.then_some(self.win.at.seat), self.seat)
    }

    fn order(&self) -> (SeatKey<'a>, u32) {
        (self.seat_key(), self.win.imp)
    }
}

fn write_seats(out: &mut Vec<u8>, response: &Response<'_>, winners: &[Winner<'_>]) {
    let mut scratch = Vec::new();
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
            write_bid(out, response, winner, &mut scratch);
            out.push(b',');
        }
        // the comma behind the last bid
        out.pop();
        out.extend_from_slice(b"]}");
    }
}

/// One bid (4.2.3).
fn write_bid(
    out: &mut Vec<u8>,
    response: &Response<'_>,
    winner: &Winner<'_>,
    scratch: &mut Vec<u8>,
) {
    let (request, seller) = (response.request, response.seller);
    let answer = winner.answered.answer;
    let sale = winner.sale(response);
    out.push(b'{');
    for member in answer.members(winner.bid) {
        let before = out.len();
        match member.key {
            Key::Mtype => {}
            Key::Price => {
                out.extend_from_slice(b"\"price\":");
                winner.win.net.write_decimal(out);
            }
            Key::Impid => {
                out.extend_from_slice(b"\"impid\":");
                let imp = request.view.imps.get(winner.win.imp as usize);
                let id = imp.and_then(|imp| request.member(&imp.object, Key::Id));
                out.extend_from_slice(
                    id.map_or_else(|| answer.value(member), |id| request.value(id)),
                );
            }
            key if seller.replaces(&sale, key) => {}
            Key::Adm if winner.bid.adm_object.is_some() => {
                out.extend_from_slice(b"\"adm\":");
                let value = answer.value(member);
                if macros::are_in(value) {
                    scratch.clear();
                    seller.passing(&sale, Key::Adm).expand(value, scratch);
                    write_text(out, scratch);
                } else {
                    write_text(out, value);
                }
            }
            key @ (Key::Adm | Key::Nurl | Key::Burl | Key::Lurl) if is_text(answer, member) => {
                let plain = answer.text_bytes(match key {
                    Key::Adm => winner.bid.adm,
                    Key::Nurl => winner.bid.nurl,
                    Key::Burl => winner.bid.burl,
                    _ => winner.bid.lurl,
                });
                write_name(out, answer, member);
                seller.write_settled(&sale, key, (answer.value(member), plain), out);
            }
            Key::Adm | Key::Nurl | Key::Burl | Key::Lurl => {}
            _ => write_member(out, (answer, winner.bid), member),
        }
        if out.len() > before {
            out.push(b',');
        }
    }
    seller.write_notices(&sale, scratch, out);
    out.extend_from_slice(b"\"mtype\":");
    write_number(out, winner.win.media.mtype().into());
    out.push(b'}');
}

/// A member as it was read, in the type that it has to be of; as the bidder wrote it where no rule is
/// about it.
fn write_member(out: &mut Vec<u8>, (answer, bid): (&BidAnswer, &Bid), member: &Member) {
    let number = |out: &mut Vec<u8>, number: Option<u32>| {
        if let Some(number) = number {
            write_name(out, answer, member);
            write_number(out, number.into());
        }
    };
    match member.key {
        Key::Id | Key::Adid | Key::Cid | Key::Crid | Key::Dealid | Key::Bundle => {
            write_id(out, answer, member);
        }
        Key::Adomain => write_texts(out, (answer, bid.adomain), member),
        Key::Cat => write_texts(out, (answer, bid.cat), member),
        Key::Attr => {
            let attr = answer.numbers(bid.attr);
            write_list(out, answer, member, attr.iter(), |out, attr| {
                out.extend_from_slice(itoa::Buffer::new().format(*attr).as_bytes());
            });
        }
        Key::Cattax => number(out, bid.cattax.map(u32::from)),
        Key::W => number(out, bid.w),
        Key::H => number(out, bid.h),
        Key::Wratio => number(out, bid.wratio),
        Key::Hratio => number(out, bid.hratio),
        Key::Dur => number(out, bid.dur),
        Key::Exp => number(out, bid.exp),
        Key::Slotinpod => {
            write_name(out, answer, member);
            out.extend_from_slice(itoa::Buffer::new().format(bid.slotinpod).as_bytes());
        }
        _ => {
            let span = member.key_at as usize..member.value_end as usize;
            out.extend_from_slice(answer.body.get(span).unwrap_or(b"\"\":null"));
        }
    }
}

/// An id: a string, also where the bidder wrote a number.
fn write_id(out: &mut Vec<u8>, answer: &BidAnswer, member: &Member) {
    let value = answer.value(member);
    if is_text(answer, member) {
        write_name(out, answer, member);
        out.extend_from_slice(value);
    } else if matches!(value.first(), Some(b'0'..=b'9' | b'-')) {
        write_name(out, answer, member);
        write_text(out, value);
    }
}

/// A list of strings.
fn write_texts(out: &mut Vec<u8>, (answer, list): (&BidAnswer, List), member: &Member) {
    write_list(out, answer, member, answer.texts_bytes(list), write_text);
}

/// A list that has something in it.
fn write_list<T>(
    out: &mut Vec<u8>,
    answer: &BidAnswer,
    member: &Member,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    write_name(out, answer, member);
    out.push(b'[');
    for item in items {
        write(out, item);
        out.push(b',');
    }
    // the comma behind the last one
    out.pop();
    out.push(b']');
}

/// A member's name and the colon, as the bidder wrote them.
fn write_name(out: &mut Vec<u8>, answer: &BidAnswer, member: &Member) {
    let name = member.key_at as usize..member.value_at as usize;
    out.extend_from_slice(answer.body.get(name).unwrap_or(b"\"\":"));
}

fn is_text(answer: &BidAnswer, member: &Member) -> bool {
    answer.value(member).first() == Some(&b'"')
}

fn write_currency(out: &mut Vec<u8>, currency: Currency) {
    out.extend_from_slice(b",\"cur\":\"");
    out.extend_from_slice(currency.as_str().as_bytes());
    out.push(b'"');
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// In lower case, without leading zeros.
fn write_hex(out: &mut Vec<u8>, number: u64) {
    let nibbles = number.checked_ilog2().unwrap_or(0) >> 2;
    let nibbles = (0..=nibbles).rev().filter_map(|at| number.checked_shr(at.saturating_mul(4)));
    out.extend(nibbles.map(|shifted| digit(shifted.to_le_bytes()[0])));
}

/// The digit of a byte's lower half.
fn digit(byte: u8) -> u8 {
    match byte & 15 {
        low @ 0..10 => b'0' | low,
        low => b'a'.saturating_add(low).saturating_sub(10),
    }
}

/// A JSON string (RFC 8259, 7).
pub(super) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text.iter().copied() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_written_as_the_standard_library_writes_it() {
        let powers = (0..64).map(|bit| 1u64 << bit);
        for number in powers.flat_map(|power| [power, power - 1, power | 0x0123_4567_89ab_cdef]) {
            let mut out = Vec::new();
            write_hex(&mut out, number);
            assert_eq!(out, format!("{number:x}").into_bytes());
        }
    }
}
