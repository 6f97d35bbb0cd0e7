//! Substitution macros (`OpenRTB` 2.6, 4.4): what a bidder wants to know in its markup and notices.
//!
//! Owns: the fourteen names, `:B64`, how each value is written. Never: whose price a value is.
//! Invariants: one pass forward, and what was written is not read again; a value is written with
//! characters that mean nothing in a URL, in HTML, in JSON or to this pass; a text without macros
//! comes out as it went in.
//!
//! A known macro with a suffix that nobody agreed on becomes empty: in clear its value was not
//! meant to be seen. What is no macro of the standard stays: it is somebody else's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod seal;

use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, Currency, MICROS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use seal::Sealed;
use std::sync::LazyLock;

/// What every macro begins with.
const MARK: &[u8] = b"${AUCTION_";
static MARKS: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(MARK));

/// The longest name behind the mark, its suffix and the brace: `MIN_TO_WIN` and room for `:AES256`.
const NAME_BYTES_MAX: usize = 32;

/// The value of what is not known in a test (4.4).
const AUDIT: &str = "AUDIT";

/// What is known; empty and `None`: unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Macros<'a> {
    pub auction_id: &'a str,
    pub bid_id: &'a str,
    pub imp_id: &'a str,
    pub seat_id: &'a str,
    pub ad_id: &'a str,
    /// The bidder's clearing price and its bid, in `currency`: never the net.
    pub price: Option<Cpm>,
    pub bid: Option<Cpm>,
    pub currency: Option<Currency>,
    /// Loss reason.
    pub loss: Option<u32>,
    pub min_to_win: Option<Cpm>,
    /// How many impressions one is, where the request says so (`qty`).
    pub multiplier: Option<Multiplier>,
    /// When the imp was fulfilled, in milliseconds since the epoch.
    pub imp_ts: Option<u64>,
    /// What is not known is told as `AUDIT`.
    pub is_test: bool,
    /// What stays for a later pass.
    pub open: Open,
    /// `price` as its bidder alone can read it; `None`: `PRICE` is in clear.
    pub sealed: Option<Sealed>,
}

/// Which macros somebody else will substitute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    #[default]
    Nothing,
    /// `LOSS` and `IMP_TS`: the upstream knows them, and they show no price.
    Upstream,
    /// `MIN_TO_WIN` too: how it ended is told by the event.
    Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Id,
    BidId,
    ImpId,
    SeatId,
    AdId,
    Price,
    Currency,
    Mbr,
    Loss,
    MinToWin,
    Multiplier,
    ImpTs,
    DiscountPct,
    DiscountCpm,
}

impl Name {
    fn of(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"ID" => Self::Id,
            b"BID_ID" => Self::BidId,
            b"IMP_ID" => Self::ImpId,
            b"SEAT_ID" => Self::SeatId,
            b"AD_ID" => Self::AdId,
            b"PRICE" => Self::Price,
            b"CURRENCY" => Self::Currency,
            b"MBR" => Self::Mbr,
            b"LOSS" => Self::Loss,
            b"MIN_TO_WIN" => Self::MinToWin,
            b"MULTIPLIER" => Self::Multiplier,
            b"IMP_TS" => Self::ImpTs,
            b"DISCOUNT_PCT" => Self::DiscountPct,
            b"DISCOUNT_CPM" => Self::DiscountCpm,
            _ => return None,
        })
    }

    const fn stays(self, open: Open) -> bool {
        match self {
            Self::Loss | Self::ImpTs => !matches!(open, Open::Nothing),
            Self::MinToWin => matches!(open, Open::Outcome),
            _ => false,
        }
    }
}

/// Whether there may be a macro in a text.
pub fn are_in(text: &[u8]) -> bool {
    MARKS.find(text).is_some()
}

/// Whether a text is at most so long once its macros are substituted, whatever is known then of prices
/// and of how it ended. `longest` is the length of the longest of the texts that `texts` gives.
pub fn fits<'a>(
    text: &[u8],
    most: usize,
    longest: usize,
    texts: impl FnOnce() -> Macros<'a>,
) -> bool {
    if text.len() > most {
        return false;
    }
    // a byte becomes three where it is encoded, four by way of base64; numbers are shorter than that
    let value = longest.max(20).saturating_mul(4).saturating_add(12);
    let surely = MARKS.find_iter(text).count().saturating_mul(value).saturating_add(text.len());
    if surely <= most {
        return true;
    }
    let longest = Cpm::from_micros(i64::MAX);
    let known = Macros {
        price: Some(longest),
        bid: Some(Cpm::from_micros(MICROS)),
        currency: Some(Currency::USD),
        loss: Some(u32::MAX),
        min_to_win: Some(longest),
        multiplier: Multiplier::from_wire(999_999.999_999),
        imp_ts: Some(u64::MAX),
        sealed: Some(Sealed::LONGEST),
        ..texts()
    };
    let mut whole = Vec::with_capacity(most);
    known.expand_within(text, most, &mut whole)
}

impl Macros<'_> {
    /// Appends a text with its macros substituted.
    ///
    /// The text may be the inside of a JSON string as it stands in JSON: a dollar sign and what
    /// belongs to a macro have no other spelling there but `\u....`, see [`are_in`] of the plain
    /// text; and values need no escape.
    pub fn expand(&self, text: &[u8], out: &mut Vec<u8>) {
        self.expand_within(text, usize::MAX, out);
    }

    /// As [`Self::expand`], and no further than until more than `most` bytes are appended: a text of
    /// macros alone may become thousands of times as long. Gives whether it came to its end within them.
    pub fn expand_within(&self, text: &[u8], most: usize, out: &mut Vec<u8>) -> bool {
        let most = out.len().saturating_add(most);
        let mut rest = text;
        while let Some(at) = MARKS.find(rest) {
            let (before, from) = rest.split_at(at);
            out.extend_from_slice(before);
            let behind = from.get(MARK.len()..).unwrap_or_default();
            match read(behind) {
                Some((name, suffix, length)) if !name.stays(self.open) => {
                    self.write(name, suffix, out);
                    rest = behind.get(length..).unwrap_or_default();
                    if out.len() > most {
                        return false;
                    }
                }
                _ => {
                    out.extend_from_slice(MARK);
                    rest = behind;
                }
            }
        }
        out.extend_from_slice(rest);
        out.len() <= most
    }

    /// Nothing is allocated for a value that needs no encoding.
    fn write(&self, name: Name, suffix: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.value(name, out);
        if out.len() == start && self.is_test {
            out.extend_from_slice(AUDIT.as_bytes());
        }
        let value = out.get(start..).unwrap_or_default();
        if suffix.is_empty() && value.iter().copied().all(is_unreserved) {
            return;
        }
        let value = out.split_off(start);
        match suffix {
            b"" => encode(&value, out),
            b"B64" => encode(STANDARD.encode(&value).as_bytes(), out),
            _ => {}
        }
    }

    fn value(&self, name: Name, out: &mut Vec<u8>) {
        let price = |price: Option<Cpm>, out: &mut Vec<u8>| {
            if let Some(price) = price {
                price.write_decimal(out);
            }
        };
        let number = |number: Option<u64>, out: &mut Vec<u8>| {
            if let Some(number) = number {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
        };
        match name {
            Name::Id => out.extend_from_slice(self.auction_id.as_bytes()),
            Name::BidId => out.extend_from_slice(self.bid_id.as_bytes()),
            Name::ImpId => out.extend_from_slice(self.imp_id.as_bytes()),
            Name::SeatId => out.extend_from_slice(self.seat_id.as_bytes()),
            Name::AdId => out.extend_from_slice(self.ad_id.as_bytes()),
            Name::Price => match &self.sealed {
                Some(sealed) => out.extend_from_slice(sealed.as_bytes()),
                None => price(self.price, out),
            },
            Name::Currency => {
                let code = self.currency.as_ref().map_or("", Currency::as_str);
                out.extend_from_slice(code.as_bytes());
            }
            Name::Mbr => price(self.ratio(), out),
            Name::Loss => number(self.loss.map(u64::from), out),
            Name::MinToWin => price(self.min_to_win, out),
            Name::Multiplier => {
                if let Some(multiplier) = self.multiplier {
                    multiplier.write_decimal(out);
                }
            }
            Name::ImpTs => number(self.imp_ts, out),
            // nobody tells us of discounts
            Name::DiscountPct | Name::DiscountCpm => {}
        }
    }

    /// Clearing price by bid price (`MBR`), to six decimals, cut.
    fn ratio(&self) -> Option<Cpm> {
        let (price, bid) = (self.price?.micros(), self.bid?.micros());
        let scaled = i128::from(price).checked_mul(i128::from(MICROS))?;
        i64::try_from(scaled.checked_div(i128::from(bid))?).ok().map(Cpm::from_micros)
    }
}

/// Name, suffix and length of a macro behind its mark, the brace included.
fn read(text: &[u8]) -> Option<(Name, &[u8], usize)> {
    let window = text.get(..text.len().min(NAME_BYTES_MAX))?;
    let end = memchr::memchr(b'}', window)?;
    let (name, suffix) = match window.get(..end)? {
        whole if !whole.contains(&b':') => (whole, &b""[..]),
        whole => {
            let at = memchr::memchr(b':', whole)?;
            (whole.get(..at)?, whole.get(at.checked_add(1)?..)?)
        }
    };
    Some((Name::of(name)?, suffix, end.checked_add(1)?))
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Appends a value percent-encoded but for what is unreserved.
fn encode(value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    for byte in value.iter().copied() {
        if is_unreserved(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> Macros<'static> {
        Macros {
            auction_id: "a-1",
            bid_id: "b-1",
            imp_id: "i-1",
            seat_id: "s-1",
            ad_id: "ad-1",
            price: Some(Cpm::from_micros(1_500_000)),
            bid: Some(Cpm::from_micros(2_000_000)),
            currency: Some(Currency::USD),
            loss: Some(102),
            min_to_win: Some(Cpm::from_micros(1_490_000)),
            multiplier: Multiplier::from_wire(14.2),
            imp_ts: Some(1_800_000_000_123),
            is_test: false,
            open: Open::Nothing,
            sealed: None,
        }
    }

    fn expand(macros: &Macros<'_>, text: &str) -> String {
        let mut out = Vec::new();
        macros.expand(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    const ALL: [(&str, &str); 14] = [
        ("ID", "a-1"),
        ("BID_ID", "b-1"),
        ("IMP_ID", "i-1"),
        ("SEAT_ID", "s-1"),
        ("AD_ID", "ad-1"),
        ("PRICE", "1.5"),
        ("CURRENCY", "USD"),
        ("MBR", "0.75"),
        ("LOSS", "102"),
        ("MIN_TO_WIN", "1.49"),
        ("MULTIPLIER", "14.2"),
        ("IMP_TS", "1800000000123"),
        ("DISCOUNT_PCT", ""),
        ("DISCOUNT_CPM", ""),
    ];

    #[test]
    fn a_text_of_macros_grows_no_further_than_it_may() {
        let id = "a".repeat(1 << 10);
        let macros = Macros { bid_id: &id, ..Macros::default() };
        let text = "${AUCTION_BID_ID}".repeat(10_000);
        let mut out = b"before".to_vec();
        assert!(!macros.expand_within(text.as_bytes(), 2048, &mut out));
        assert!((2055..=6 + 2048 + 1024).contains(&out.len()), "{}", out.len());
        for (count, most, expected) in [(2, 2048, true), (2, 2047, false), (0, 0, true)] {
            let text = "${AUCTION_BID_ID}".repeat(count);
            let is_whole = macros.expand_within(text.as_bytes(), most, &mut Vec::new());
            assert_eq!(is_whole, expected, "{count} {most}");
            let is_short = fits(text.as_bytes(), most, id.len(), || macros);
            assert_eq!(is_short, expected, "{count} {most}");
        }
        assert!(!fits(&[b'x'; 11], 10, 0, Macros::default));
    }

    #[test]
    fn table_4_4_each_macro_is_its_value_empty_where_unknown_and_audit_in_a_test() {
        let (nothing, audit) = (Macros::default(), Macros { is_test: true, ..Macros::default() });
        for (name, value) in ALL {
            let text = format!("<${{AUCTION_{name}}}>");
            assert_eq!(expand(&known(), &text), format!("<{value}>"));
            assert_eq!(expand(&nothing, &text), "<>", "{name}");
            assert_eq!(expand(&audit, &text), "<AUDIT>", "{name}");
            let text = format!("${{AUCTION_{name}:B64}}");
            let encoded = STANDARD.encode(value).replace('=', "%3D");
            assert_eq!(expand(&known(), &text), encoded, "{name}");
            assert_eq!(expand(&known(), &format!("${{AUCTION_{name}:AES}}")), "", "{name}");
        }
    }

    #[test]
    fn section_4_4_a_price_in_a_win_notice_in_clear_and_in_base64() {
        let text = "http://adserver.example/win?impid=${AUCTION_IMP_ID}&winprice=${AUCTION_PRICE}\
                    &b=${AUCTION_PRICE:B64}";
        let expected = "http://adserver.example/win?impid=i-1&winprice=1.5&b=MS41";
        assert_eq!(expand(&known(), text), expected);
    }

    #[test]
    fn section_4_4_a_price_may_be_sealed_by_agreement() {
        let keys = seal::PriceKeys::new(&[1; 32], &[2; 32]);
        let sealed = Macros { sealed: keys.seal(known().price.unwrap(), [3; 16]), ..known() };
        let text = expand(&sealed, "${AUCTION_PRICE}");
        assert_eq!(text.len(), 38);
        assert!(text.bytes().all(is_unreserved), "{text}");
        assert_eq!(expand(&sealed, "${AUCTION_PRICE:B64}"), encoded(&STANDARD.encode(&text)));
        assert_eq!(expand(&sealed, "${AUCTION_MBR}|${AUCTION_CURRENCY}"), "0.75|USD");
    }

    fn encoded(value: &str) -> String {
        let mut out = Vec::new();
        encode(value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_no_macro_of_the_standard_stays() {
        for text in [
            "",
            "$",
            "${",
            "${AUCTION_",
            "${AUCTION_}",
            "${AUCTION_PRICE",
            "${AUCTION_PRICES}",
            "${auction_price}",
            "${CLICK_URL}",
            "${AUCTION_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX}",
            "${AUCTION_é}",
            "$${AUCTION_ P}",
        ] {
            assert_eq!(expand(&known(), text), text);
        }
        assert_eq!(expand(&known(), "${AUCTION_${AUCTION_PRICE}}"), "${AUCTION_1.5}");
        assert_eq!(expand(&known(), "$${AUCTION_PRICE}}"), "$1.5}");
    }

    #[test]
    fn how_it_ended_waits_for_the_event() {
        let open = Macros { open: Open::Outcome, ..known() };
        let text =
            "p=${AUCTION_PRICE}&l=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN:B64}&t=${AUCTION_IMP_TS}";
        let later = expand(&open, text);
        let kept = "p=1.5&l=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN:B64}&t=${AUCTION_IMP_TS}";
        assert_eq!(later, kept);
        let upstream = expand(
            &Macros { open: Open::Upstream, ..known() },
            "${AUCTION_MIN_TO_WIN}${AUCTION_LOSS}",
        );
        assert_eq!(upstream, "1.49${AUCTION_LOSS}");
        assert_eq!(expand(&known(), &later), "p=1.5&l=102&m=MS40OQ%3D%3D&t=1800000000123");
    }

    #[test]
    fn a_value_cannot_break_out_or_become_a_macro() {
        let evil = "${AUCTION_PRICE}\"'<>&\r\n\\ é%";
        let macros = Macros { auction_id: evil, open: Open::Outcome, ..known() };
        let once = expand(&macros, "${AUCTION_ID}");
        assert_eq!(once, "%24%7BAUCTION_PRICE%7D%22%27%3C%3E%26%0D%0A%5C%20%C3%A9%25");
        assert_eq!(expand(&known(), &once), once);
    }

    proptest! {
        #[test]
        fn what_was_written_is_not_read_again(parts in prop::collection::vec(
            prop_oneof![Just("${AUCTION_ID}".to_owned()), Just("${AUCTION_".to_owned()),
                Just("}".to_owned()), ".{0,8}"], 0..12), id in ".{0,30}") {
            let text = parts.concat();
            let macros = Macros { auction_id: &id, ..known() };
            let encoded: String = id.bytes().map(|byte| {
                let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            }).collect();
            let is_only_id = !["PRICE", "LOSS", "MBR"].iter().any(|name| text.contains(name));
            if is_only_id {
                prop_assert_eq!(expand(&macros, &text), text.replace("${AUCTION_ID}", &encoded));
            }
        }
    }
}
