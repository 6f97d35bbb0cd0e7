//! Tokens: what is issued is read back, and nothing else is taken.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]
use super::*;
use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, Currency};
use crate::money_event::{Amount, EventType, SaleId};
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn key(id: u8) -> Key {
    Key::new(id, &format!("a secret that nobody guesses, number {id}"))
}

fn keys(signs: u8, others: &[u8]) -> Keys {
    Keys::new(key(signs), others.iter().copied().map(key).collect())
}

fn claims() -> Claims<'static> {
    Claims {
        event: EventType::Billing,
        sale: SaleId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        auction_id: "a-1",
        imp_id: "1",
        partner: "pub",
        bidder: "alpha",
        seat: "s",
        deal: "",
        gross: Amount::new(2_500_000, Currency::USD),
        net: Amount::new(2_000_001, Currency::parse("EUR").unwrap()),
        multiplier: Multiplier::from_wire(14.2).unwrap(),
        min_to_win: Some(Cpm::from_micros(1_500_000)),
        generation: 7,
        auction_us: 1_800_000_000_000_000,
        expires_s: 1_800_003_600,
        url: "https://b.example/won?m=${AUCTION_MIN_TO_WIN}",
    }
}

fn issue(keys: &Keys, claims: &Claims<'_>) -> Vec<u8> {
    let mut token = Vec::new();
    keys.issue(claims, &mut Vec::new(), &mut token);
    token
}

fn refused(keys: &Keys, token: &[u8]) -> Option<Invalid> {
    keys.accept(token, NOW, &mut Vec::new()).err()
}

#[test]
fn a_token_is_read_back_as_it_was_issued() {
    let (keys, mut scratch) = (keys(1, &[]), Vec::new());
    for event in EventType::ALL {
        let token = issue(&keys, &Claims { event, ..claims() });
        assert!(token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        let read = keys.accept(&token, NOW, &mut scratch);
        assert_eq!(read, Ok(Claims { event, ..claims() }));
    }
}

/// Issued by the program before there were multipliers, of [`claims`].
const OLD: &str = "AQEJ4M2riWdFIwHvzauJZ0UjATKPh-mbFQ64JRTPURqprfmxVN847TKQu_Z2QQcEEOItqfQ3H9_mmte1SVMcFL4K\
    pNOk3-B6Kh7zeWwgPZuKBD4Utk9bRLXZ9k0vKOXJ0hbnSOnSWLkIo1hLFt570Iu1R_agtfOZilLD7fQ4boXd1g2P\
    uXpwxeP2a6KL-vPh-d2s1KiH7A-wiBxONXGHWuyl";

#[test]
fn a_token_of_the_version_before_is_one_impression_and_those_of_one_are_still_written_so() {
    let (keys, mut scratch) = (keys(1, &[]), Vec::new());
    let of_one = Claims { multiplier: Multiplier::ONE, ..claims() };
    assert_eq!(keys.accept(OLD.as_bytes(), NOW, &mut scratch), Ok(of_one));
    assert_eq!(issue(&keys, &of_one), OLD.as_bytes());
    for (claims, version) in [(of_one, layout::VERSION_OF_ONE), (claims(), layout::VERSION)] {
        let bytes = URL_SAFE_NO_PAD.decode(issue(&keys, &claims)).unwrap();
        assert_eq!(bytes[0], version);
    }
}

#[test]
fn a_multiplier_has_one_form_and_is_within_its_bounds() {
    let mut bytes = Vec::new();
    layout::write(&claims(), 1, &mut bytes);
    for (micros, multiplier) in [
        (1, Multiplier::from_micros(1)),
        (1_000_000_000_000, Some(Multiplier::MAX)),
        (1_000_000, None),
        (0, None),
        (-1, None),
        (1_000_000_000_001, None),
        (i64::MAX, None),
    ] {
        bytes[layout::FIXED_BYTES..][..8].copy_from_slice(&i64::to_le_bytes(micros));
        let read = layout::read(&bytes).map(|claims| claims.multiplier);
        assert_eq!(read, multiplier, "{micros}");
    }
    for version in [0, layout::VERSION_OF_ONE, layout::VERSION + 1] {
        bytes[0] = version;
        assert_eq!(layout::read(&bytes), None, "{version}");
    }
}

#[test]
fn whoever_holds_a_token_reads_neither_price_nor_name_nor_notice_in_it() {
    let (keys, claims) = (keys(1, &[]), claims());
    let clear: Vec<Vec<u8>> =
        [claims.partner, claims.bidder, claims.auction_id, "b.example", "won"]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .chain([claims.gross, claims.net].map(|one| one.price.micros().to_le_bytes().to_vec()))
            .collect();
    let hidden: Vec<Vec<u8>> = EventType::ALL
        .into_iter()
        .map(|event| URL_SAFE_NO_PAD.decode(issue(&keys, &Claims { event, ..claims })).unwrap())
        .collect();
    for bytes in &hidden {
        for text in &clear {
            assert!(!bytes.windows(text.len()).any(|window| window == text), "{text:?}");
        }
    }
    // nor by laying two tokens of one sale over each other
    let of = |at: usize| hidden[at][super::layout::HEAD_BYTES..].iter();
    let alike = of(0).zip(of(1)).filter(|(one, other)| one == other).count();
    assert!(alike < 10, "{alike} bytes are hidden alike");
}

#[test]
fn the_longest_token_is_no_longer_than_it_may_be() {
    let (long, url) = ("é".repeat(500), format!("https://b.example/{}", "x".repeat(3_000)));
    let [auction_id, imp_id, partner, bidder, seat, deal] = [long.as_str(); 6];
    let longest = Claims { auction_id, imp_id, partner, bidder, seat, deal, url: &url, ..claims() };
    let keys = keys(1, &[]);
    let token = issue(&keys, &longest);
    assert!(token.len() <= TOKEN_CHARS_MAX && token.len() + 4 > TOKEN_CHARS_MAX);
    let mut scratch = Vec::new();
    let read = keys.accept(&token, NOW, &mut scratch).unwrap();
    assert_eq!((read.seat.len(), read.url.len()), (256, 2048));
}

#[test]
fn each_bit_of_a_token_counts() {
    let keys = keys(1, &[2]);
    let token = issue(&keys, &claims());
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut altered = token.clone();
            altered[at] ^= 1 << bit;
            assert!(refused(&keys, &altered).is_some(), "bit {bit} of character {at}");
        }
    }
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert!(refused(&keys, altered.as_bytes()).is_some(), "bit {bit} of byte {at}");
        }
    }
    for length in 0..token.len() {
        assert!(refused(&keys, &token[..length]).is_some(), "{length} characters");
    }
}

#[test]
fn a_token_does_not_count_for_another_event_or_price() {
    let keys = keys(1, &[]);
    let tag = URL_SAFE_NO_PAD.decode(issue(&keys, &claims())).unwrap();
    let tag = &tag[tag.len() - TAG_BYTES..];
    for other in [
        Claims { event: EventType::Win, ..claims() },
        Claims { gross: Amount::new(1, Currency::USD), ..claims() },
        Claims { seat: "t", ..claims() },
        Claims { multiplier: Multiplier::MAX, ..claims() },
        Claims { multiplier: Multiplier::ONE, ..claims() },
    ] {
        let mut bytes = Vec::new();
        layout::write(&other, 1, &mut bytes);
        bytes.extend_from_slice(tag);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(refused(&keys, token.as_bytes()), Some(Invalid::Forged), "{other:?}");
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let keys = keys(1, &[]);
    let padded = [issue(&keys, &claims()), b"=".to_vec()].concat();
    let long = vec![b'A'; TOKEN_CHARS_MAX + 1];
    let zeros = vec![b'A'; 200];
    for token in [&b""[..], b"AQ", b"%00", b"a.b", b"\xff\xff\xff\xff", &padded, &long, &zeros] {
        assert_eq!(refused(&keys, token), Some(Invalid::Malformed), "{token:?}");
    }
}

#[test]
fn a_key_that_signs_no_more_is_taken_until_it_is_removed() {
    let token = issue(&keys(1, &[]), &claims());
    for (keys, refusal) in [
        (keys(2, &[1]), None),
        (keys(1, &[2]), None),
        (keys(2, &[]), Some(Invalid::UnknownKey)),
        (
            Keys::new(Key::new(1, "another secret under the same number"), vec![]),
            Some(Invalid::Forged),
        ),
    ] {
        assert_eq!(refused(&keys, &token), refusal, "{keys:?}");
    }
}

#[test]
fn a_token_is_taken_in_its_time_and_five_minutes_around_it() {
    let (keys, mut scratch) = (keys(1, &[]), Vec::new());
    let token = issue(&keys, &claims());
    let (at, end) = (NOW.as_secs(), claims().expires_s);
    for (now, refusal) in [
        (at - 301, Some(Invalid::Early)),
        (at - 300, None),
        (at, None),
        (end, None),
        (end + 300, None),
        (end + 301, Some(Invalid::Expired)),
        (0, Some(Invalid::Early)),
        (u64::MAX / 2, Some(Invalid::Expired)),
    ] {
        let read = keys.accept(&token, Duration::from_secs(now), &mut scratch);
        assert_eq!(read.err(), refusal, "{now}");
    }
    // one of two clocks is wrong: it is taken where it is good by the other
    for (one, other, refusal) in [
        (at, end + 7_200, None),
        (at - 7_200, at, None),
        (at - 7_200, end + 7_200, None),
        (end + 301, end + 7_200, Some(Invalid::Expired)),
        (at - 301, at - 7_200, Some(Invalid::Early)),
    ] {
        let now = Now::by(Duration::from_secs(one), Duration::from_secs(other));
        let read = keys.accept(&token, now, &mut scratch);
        assert_eq!(read.err(), refusal, "{one} {other}");
    }
}

#[test]
fn the_record_is_known_as_a_repeat_for_as_long_as_its_token_is_taken() {
    let event = claims().event(1, String::new());
    assert_eq!(event.expires_s, claims().expires_s + 300);
    assert_eq!(event.id, claims().sale.event(EventType::Billing));
}

#[test]
fn a_key_shows_nothing_of_its_secret() {
    let shown = format!("{:?}", keys(1, &[2]));
    assert!(!shown.contains("secret that") && shown.contains("id: 1"), "{shown}");
}

/// Any number of changes, one after the other; `GAVEL_FULL=1`: ten million.
#[test]
fn no_mutation_of_a_token_is_accepted() {
    let count: u64 = if std::env::var_os("GAVEL_FULL").is_some() { 10_000_000 } else { 100_000 };
    let keys = keys(1, &[2]);
    let bytes = URL_SAFE_NO_PAD.decode(issue(&keys, &claims())).unwrap();
    let (mut altered, mut token, mut scratch) = (Vec::new(), String::new(), Vec::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // xorshift64*: the same ten million each time
    let mut draw = move |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let drawn = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % below
    };
    for number in 0..count {
        altered.clone_from(&bytes);
        match draw(4) {
            0 => altered.truncate(draw(bytes.len())),
            1 => altered.extend((0..=draw(16)).map(|_| draw(256).to_le_bytes()[0])),
            2 => altered.swap(draw(bytes.len()), draw(bytes.len())),
            _ => {}
        }
        for _ in 0..draw(4) {
            let at = draw(altered.len().max(1));
            if let Some(byte) = altered.get_mut(at) {
                *byte = draw(256).to_le_bytes()[0];
            }
        }
        if altered == bytes {
            continue;
        }
        token.clear();
        URL_SAFE_NO_PAD.encode_string(&altered, &mut token);
        let read = keys.accept(token.as_bytes(), NOW, &mut scratch);
        assert!(read.is_err(), "mutation {number}: {token}");
    }
    println!("{count} mutations, none accepted");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let keys = keys(1, &[2]);
        prop_assert!(refused(&keys, &bytes).is_some());
        let token = URL_SAFE_NO_PAD.encode(&bytes);
        prop_assert!(refused(&keys, token.as_bytes()).is_some());
        let _ = layout::read(&bytes);
    }

    #[test]
    fn any_claims_are_read_back(
        texts in prop::collection::vec(".{0,20}", 7), micros in any::<[i64; 3]>(),
        bits in any::<u128>(), generation in any::<u64>(),
        many in prop_oneof![Just(1_000_000), 1_i64..=1_000_000_000_000],
    ) {
        let claims = Claims {
            sale: SaleId::new(bits), auction_id: &texts[0], imp_id: &texts[1],
            partner: &texts[2], bidder: &texts[3], seat: &texts[4], deal: &texts[5],
            url: &texts[6], gross: Amount::new(micros[0], Currency::USD),
            net: Amount::new(micros[1], Currency::USD),
            min_to_win: (micros[2] > 0).then(|| Cpm::from_micros(micros[2])),
            multiplier: Multiplier::from_micros(many).unwrap(), generation, ..claims()
        };
        let keys = keys(9, &[]);
        let mut scratch = Vec::new();
        prop_assert_eq!(keys.accept(&issue(&keys, &claims), NOW, &mut scratch), Ok(claims));
    }
}
