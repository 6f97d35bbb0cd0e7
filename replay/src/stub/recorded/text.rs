//! A recorded body with places for the ids of another request.
//!
//! Owns: where the ids stand in a bid response. Never: any other change: what lies between is sent
//! byte for byte. Invariant: a body that cannot be read as a bid response goes as it is.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Wanted;
use crate::stub::read::{self, Cursor};

/// A body in pieces.
#[derive(Debug, Default, PartialEq)]
pub(in crate::stub) struct Pieces(Vec<Piece>);

/// A part of a body.
#[derive(Debug, PartialEq)]
pub(in crate::stub) enum Piece {
    /// As recorded.
    Text(Box<[u8]>),
    /// The request's id.
    Request,
    /// The id of the request's imp at this place.
    Imp(usize),
}

impl Pieces {
    /// Bids in it.
    pub fn bids(&self) -> usize {
        self.0.iter().filter(|piece| matches!(piece, Piece::Imp(_))).count()
    }

    /// Bytes of the body.
    pub fn length(&self, wanted: &Wanted) -> usize {
        let mut length = 0usize;
        self.each(wanted, |bytes| length = length.saturating_add(bytes.len()));
        length
    }

    /// Gives out the body, piece by piece.
    pub fn each<'a>(&'a self, wanted: &'a Wanted, mut give: impl FnMut(&'a [u8])) {
        for piece in &self.0 {
            match piece {
                Piece::Text(bytes) => give(bytes),
                Piece::Request => give(wanted.id),
                // a request with fewer imps: a bid for the first, as good as any
                Piece::Imp(nth) => {
                    let imp = wanted.imps.get(*nth).or_else(|| wanted.imps.first());
                    give(imp.map_or(b"", |imp| imp.id));
                }
            }
        }
    }
}

/// A place in a body: where it starts and ends, and what stands there.
type Place = (usize, usize, Piece);

/// Cuts a bid response where it says an id of the request that it answered.
pub(super) fn pieces(answer: &[u8], asked: &[u8]) -> Pieces {
    let places = read::read(asked).and_then(|wanted| places(answer, &wanted)).unwrap_or_default();
    let mut pieces = Vec::new();
    let mut done = 0;
    let text = |from: usize, to: usize, pieces: &mut Vec<Piece>| {
        if let Some(bytes) = answer.get(from..to).filter(|bytes| !bytes.is_empty()) {
            pieces.push(Piece::Text(bytes.into()));
        }
    };
    for (start, end, piece) in places {
        text(done, start, &mut pieces);
        pieces.push(piece);
        done = end;
    }
    text(done, answer.len(), &mut pieces);
    Pieces(pieces)
}

fn places(answer: &[u8], wanted: &Wanted) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    let mut cursor = Cursor::new(answer);
    cursor.object(|cursor, key| match key {
        b"id" => {
            let (start, end, _) = string(cursor)?;
            places.push((start, end, Piece::Request));
            Some(())
        }
        b"seatbid" => cursor.array(|cursor| {
            cursor.object(|cursor, key| match key {
                b"bid" => cursor.array(|cursor| bid(cursor, wanted, &mut places)),
                _ => cursor.skip(),
            })
        }),
        _ => cursor.skip(),
    })?;
    Some(places)
}

fn bid(cursor: &mut Cursor<'_>, wanted: &Wanted, places: &mut Vec<Place>) -> Option<()> {
    cursor.object(|cursor, key| {
        if key != b"impid" {
            return cursor.skip();
        }
        let (start, end, id) = string(cursor)?;
        // an id that is no imp's was the bidder's own fault, and stays one
        if let Some(nth) = wanted.imps.iter().position(|imp| imp.id == id) {
            places.push((start, end, Piece::Imp(nth)));
        }
        Some(())
    })
}

/// The letters of a string or number, and where they stand.
fn string<'a>(cursor: &mut Cursor<'a>) -> Option<(usize, usize, &'a [u8])> {
    let start = cursor.position()?;
    let text = cursor.scalar()?;
    let quote = usize::from(cursor.is_quote(start));
    let start = start.checked_add(quote)?;
    Some((start, start.checked_add(text.len())?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, asked: &str, other: &str, expected: &str) {
        let pieces = pieces(answer.as_bytes(), asked.as_bytes());
        let wanted = read::read(other.as_bytes()).unwrap();
        let mut body = Vec::new();
        pieces.each(&wanted, |bytes| body.extend_from_slice(bytes));
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(pieces.length(&wanted), expected.len());
    }

    #[test]
    fn ids_of_the_request_at_hand_take_the_place_of_the_recorded_ones() {
        let asked = r#"{"id":"r1","imp":[{"id":"a"},{"id":"b"}]}"#;
        let answer = r#"{"id": "r1","seatbid":[{"seat":"s","bid":[{"id":"r1","impid":"b","price":1}]},{"bid":[{"impid" : "a"},{"impid":"x"}]}]}"#;
        check(answer, asked, asked, answer);
        let other = r#"{"id":"other","imp":[{"id":"one"},{"id":"two"},{"id":"three"}]}"#;
        let expected = r#"{"id": "other","seatbid":[{"seat":"s","bid":[{"id":"r1","impid":"two","price":1}]},{"bid":[{"impid" : "one"},{"impid":"x"}]}]}"#;
        check(answer, asked, other, expected);
    }

    #[test]
    fn a_request_with_fewer_imps_is_bid_on_for_its_first() {
        let asked = r#"{"id":"r1","imp":[{"id":"a"},{"id":"b"}]}"#;
        let answer = r#"{"id":"r1","seatbid":[{"bid":[{"impid":"b"}]}]}"#;
        let other = r#"{"id":"q","imp":[{"id":"only"}]}"#;
        check(answer, asked, other, r#"{"id":"q","seatbid":[{"bid":[{"impid":"only"}]}]}"#);
    }

    #[test]
    fn what_is_no_bid_response_goes_as_it_is() {
        for answer in ["", "<html>", "{\"id\":", "[1]", "{\"seatbid\":7}", "{\"id\":{}}"] {
            check(answer, r#"{"id":"r","imp":[]}"#, r#"{"id":"q","imp":[]}"#, answer);
            check(answer, "no request", r#"{"id":"q","imp":[]}"#, answer);
        }
    }
}
