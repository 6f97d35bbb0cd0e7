//! What a pseudonym looks like: how one is written, and how one is known without the key.
//!
//! Owns: the forms. Never: where they are written. Invariants: with one key, equal values become
//! equal pseudonyms, whatever field they stand in; whoever has no key can tell a pseudonym from a
//! value as it came, and cannot come back to the value.
//!
//! | value | pseudonym | known by |
//! |---|---|---|
//! | id | as long (16 letters and digits at least), digits for digits, hexadecimal for such, each letter by one of its case, what stands between them kept | the last four digits are a checksum: one in 10,000 others passes |
//! | IPv4 | the first 24 bits kept, then 4 keyed bits | the last 4 bits are a checksum: one in 16 others passes |
//! | IPv6 | the first 48 bits kept, then 64 keyed bits | the last 16 bits are a checksum |
//! | mail address | an id `@p.invalid` | its domain |
//! | latitude, longitude | rounded | at most two decimals |
//! | postal code | cut | at most three characters |
#![deny(clippy::indexing_slicing)]

use super::personal::{Treat, is_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Behind the local part of a mail address.
const MAIL_HOST: &str = "@p.invalid";
/// Letters and digits of the shortest token: fewer could not keep many users apart.
const TOKEN_LEAST: usize = 16;
/// Digits of a checksum.
const CHECK_DIGITS: usize = 4;
/// Digits of a number: more do not fit 64 bits.
const NUMBER_DIGITS_MAX: usize = 18;
/// Decimals of a position: about a kilometre.
const DECIMALS: usize = 2;
/// Characters of a postal code.
const ZIP_CHARS: usize = 3;

/// The secret by which values become pseudonyms.
#[derive(Clone)]
pub struct PseudonymKey([u8; 32]);

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PseudonymKey({})", self.name())
    }
}

impl PartialEq for PseudonymKey {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for PseudonymKey {}

impl PseudonymKey {
    /// From a secret of any length.
    pub fn new(secret: &str) -> Self {
        Self(blake3::derive_key("gavel capture pseudonyms 1", secret.as_bytes()))
    }

    /// What tells keys apart and gives nothing away.
    pub fn name(&self) -> String {
        let [a, b, c, d, ..] = blake3::derive_key("gavel capture key name 1", &self.0);
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }

    fn stream(&self, text: &[u8]) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&self.0).update(text).finalize_xof()
    }

    /// The pseudonym of a text; `None`: it stays as it is.
    pub fn replace(&self, treat: Treat, text: &str) -> Option<String> {
        if is_void(text) {
            return None;
        }
        let new = match treat {
            Treat::Id => self.token(text),
            Treat::Ip => self.address(text)?,
            Treat::Coordinate => match Degrees::of(text) {
                Degrees::Coarse => return None,
                Degrees::Rounded(rounded) => rounded,
                Degrees::None => self.token(text),
            },
            Treat::Zip => cut(text)?,
            Treat::Email => self.token(text) + MAIL_HOST,
        };
        Some(new)
    }

    /// As [`Self::replace`], for a number; what comes is a number too.
    pub fn replace_number(&self, treat: Treat, written: &str) -> Option<String> {
        match treat {
            Treat::Coordinate => match Degrees::of(written) {
                Degrees::Coarse => None,
                Degrees::Rounded(rounded) => Some(rounded),
                Degrees::None => self.replace_number(Treat::Id, written),
            },
            Treat::Zip => {
                let digits: String = written.chars().filter(char::is_ascii_digit).collect();
                cut(&digits).map(|cut| without_zeros(&cut))
            }
            Treat::Id | Treat::Ip | Treat::Email => {
                let digits: String = written.chars().filter(char::is_ascii_digit).collect();
                if is_void(&digits) {
                    return None;
                }
                let kept: String = digits.chars().take(NUMBER_DIGITS_MAX).collect();
                let token = self.stretched(written.as_bytes(), &kept);
                // a leading zero is no JSON, and a 1 fits
                Some(checked(&format!("1{}", token.get(1..).unwrap_or_default())))
            }
        }
    }

    fn token(&self, text: &str) -> String {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let mut token = if is_hex {
            // one id in two cases is one id
            self.stretched(text.to_ascii_lowercase().as_bytes(), text)
        } else {
            self.stretched(text.as_bytes(), text)
        };
        token = checked(&token);
        token
    }

    /// Something of the shape of `shape`, and long enough, that follows from `seed`.
    fn stretched(&self, seed: &[u8], shape: &str) -> String {
        let mut draw = Draw(self.stream(seed));
        let alphabets = Alphabets::of(shape);
        let mut out = String::with_capacity(shape.len().max(TOKEN_LEAST));
        let mut count = 0;
        for letter in shape.chars() {
            let drawn = match letter {
                _ if letter.is_ascii_alphanumeric() => draw.one(alphabets.of_letter(letter)),
                '-' | '_' | '.' | ':' | '+' | '/' | '=' | '~' | '|' | '*' => letter,
                _ if letter.is_alphabetic() => draw.one(b"abcdefghijklmnopqrstuvwxyz"),
                _ => '_',
            };
            count += usize::from(drawn.is_ascii_alphanumeric());
            out.push(drawn);
        }
        while count < TOKEN_LEAST {
            out.push(draw.one(alphabets.fill));
            count += 1;
        }
        out
    }

    /// What is no address becomes a token, which is none either.
    fn address(&self, text: &str) -> Option<String> {
        match text.parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => None,
            Ok(IpAddr::V6(address)) if address.is_unspecified() => None,
            Ok(IpAddr::V4(address)) => Some(self.v4(address).to_string()),
            Ok(IpAddr::V6(address)) => Some(match address.to_ipv4_mapped() {
                Some(mapped) => self.v4(mapped).to_ipv6_mapped().to_string(),
                None => self.v6(address).to_string(),
            }),
            Err(_) => Some(self.token(text)),
        }
    }

    fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let [a, b, c, _] = address.octets();
        let drawn = Draw(self.stream(&address.octets())).byte() & 0xf0;
        Ipv4Addr::new(a, b, c, drawn | check_v4([a, b, c, drawn]))
    }

    fn v6(&self, address: Ipv6Addr) -> Ipv6Addr {
        let mut octets = address.octets();
        let mut draw = Draw(self.stream(&octets));
        octets.iter_mut().skip(6).take(8).for_each(|octet| *octet = draw.byte());
        let check = check_v6(octets);
        octets.iter_mut().skip(14).zip(check).for_each(|(octet, byte)| *octet = byte);
        Ipv6Addr::from(octets)
    }
}

/// Bytes of a keyed stream, as letters.
struct Draw(blake3::OutputReader);

impl Draw {
    fn byte(&mut self) -> u8 {
        let mut one = [0];
        self.0.fill(&mut one);
        let [byte] = one;
        byte
    }

    fn one(&mut self, alphabet: &[u8]) -> char {
        // of 65,536 values: no letter is favoured by more than a thousandth
        let number = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let at = number.checked_rem(alphabet.len()).unwrap_or_default();
        char::from(alphabet.get(at).copied().unwrap_or(b'x'))
    }
}

/// What letters become.
struct Alphabets {
    lower: &'static [u8],
    upper: &'static [u8],
    fill: &'static [u8],
}

const DIGITS: &[u8] = b"0123456789";

impl Alphabets {
    fn of(shape: &str) -> Self {
        let lower = || shape.bytes().any(|byte| byte.is_ascii_lowercase());
        let is = |test: fn(&u8) -> bool| shape.bytes().all(|byte| test(&byte) || byte == b'-');
        if is(u8::is_ascii_digit) {
            Self { lower: DIGITS, upper: DIGITS, fill: DIGITS }
        } else if is(u8::is_ascii_hexdigit) {
            let (small, large) = (b"0123456789abcdef", b"0123456789ABCDEF");
            Self { lower: small, upper: large, fill: if lower() { small } else { large } }
        } else {
            let (small, large) = (b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
            Self { lower: small, upper: large, fill: if lower() { small } else { large } }
        }
    }

    fn of_letter(&self, letter: char) -> &'static [u8] {
        let is_hex = self.lower.len() == 16;
        match letter {
            '0'..='9' if is_hex => self.fill,
            '0'..='9' => DIGITS,
            _ if letter.is_ascii_uppercase() => self.upper,
            _ => self.lower,
        }
    }
}

/// With the last letters and digits replaced by the checksum of those before.
fn checked(token: &str) -> String {
    let digits = format!("{:04}", check_token(token).unwrap_or_default());
    let mut digits = digits.chars().rev();
    let mut out: Vec<char> = token.chars().collect();
    let places = out.iter_mut().rev().filter(|letter| letter.is_ascii_alphanumeric());
    for (place, digit) in places.zip(digits.by_ref()) {
        *place = digit;
    }
    out.into_iter().collect()
}

/// The checksum of all letters and digits but the last four.
fn check_token(token: &str) -> Option<u32> {
    let plain: Vec<u8> = token
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_lowercase())
        .collect();
    let summed = plain.get(..plain.len().checked_sub(CHECK_DIGITS)?)?;
    Some(crc32c::crc32c(summed) % 10_000)
}

fn check_v4(octets: [u8; 4]) -> u8 {
    crc32c::crc32c(&octets).to_le_bytes().first().copied().unwrap_or_default() & 0x0f
}

fn check_v6(octets: [u8; 16]) -> [u8; 2] {
    let (summed, _) = octets.split_at(14);
    let [low, high, ..] = crc32c::crc32c(summed).to_le_bytes();
    [low, high]
}

/// A latitude or longitude.
enum Degrees {
    /// Few decimals already.
    Coarse,
    Rounded(String),
    /// No number of degrees.
    None,
}

impl Degrees {
    fn of(text: &str) -> Self {
        match text.trim().parse::<f64>() {
            _ if is_coarse(text) => Self::Coarse,
            Ok(number) if number.abs() <= 360.0 => Self::Rounded(format!("{number:.DECIMALS$}")),
            Ok(_) | Err(_) => Self::None,
        }
    }
}

/// Degrees with few decimals, without an exponent.
fn is_coarse(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !whole.is_empty()
        && whole.len() <= 3
        && decimals.len() <= DECIMALS
        && digits(whole)
        && digits(decimals)
}

/// `None`: short already.
fn cut(text: &str) -> Option<String> {
    (text.chars().count() > ZIP_CHARS).then(|| text.chars().take(ZIP_CHARS).collect())
}

/// A JSON number has no zeros before it.
fn without_zeros(digits: &str) -> String {
    let short = digits.trim_start_matches('0');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

/// Whether a value may stand in a recording in place of what it names: it is a pseudonym, or says
/// nothing.
pub fn is_pseudonym(treat: Treat, text: &str) -> bool {
    if is_void(text) {
        return true;
    }
    match treat {
        Treat::Id => is_token(text),
        Treat::Ip => match text.parse() {
            Ok(IpAddr::V4(address)) => is_v4(address),
            Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(mapped) => is_v4(mapped),
                None => address.is_unspecified() || is_v6(address),
            },
            Err(_) => is_token(text),
        },
        Treat::Coordinate => is_coarse(text) || is_token(text),
        Treat::Zip => text.chars().count() <= ZIP_CHARS,
        Treat::Email => text.strip_suffix(MAIL_HOST).is_some_and(is_token),
    }
}

fn is_token(text: &str) -> bool {
    let count = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let mut last: Vec<u8> =
        text.bytes().rev().filter(u8::is_ascii_alphanumeric).take(CHECK_DIGITS).collect();
    last.reverse();
    let claimed =
        String::from_utf8(last).ok().filter(|last| last.bytes().all(|b| b.is_ascii_digit()));
    count >= TOKEN_LEAST
        && !text.contains('@')
        && claimed.and_then(|claimed| claimed.parse().ok()) == check_token(text)
}

fn is_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    address.is_unspecified() || check_v4([a, b, c, d & 0xf0]) == d & 0x0f
}

fn is_v6(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    octets.ends_with(&check_v6(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const TREATS: [Treat; 5] = [Treat::Id, Treat::Ip, Treat::Coordinate, Treat::Zip, Treat::Email];

    fn key() -> PseudonymKey {
        PseudonymKey::new("a secret of the tests")
    }

    fn treats() -> impl Strategy<Value = Treat> {
        proptest::sample::select(TREATS.to_vec())
    }

    fn shape(text: &str) -> String {
        let class = |letter: char| match letter {
            '0'..='9' => '9',
            'a'..='z' => 'a',
            'A'..='Z' => 'A',
            other => other,
        };
        text.chars().map(class).collect()
    }

    #[test]
    fn a_pseudonym_has_the_shape_of_its_value_and_is_always_the_same() {
        let key = key();
        let upper = "6D92078A-8246-4BA4-AE5B-76104861E7DC";
        let new = key.replace(Treat::Id, upper).unwrap();
        assert_eq!((new.len(), new.matches('-').count()), (36, 4), "{new}");
        assert!(new.bytes().all(|b| b == b'-' || b.is_ascii_digit() || b.is_ascii_uppercase()));
        let lower = key.replace(Treat::Id, &upper.to_lowercase()).unwrap();
        assert_eq!(lower, new.to_lowercase(), "the same device in another case");
        assert_eq!(key.replace(Treat::Id, upper).unwrap(), new);
        assert_ne!(PseudonymKey::new("another").replace(Treat::Id, upper).unwrap(), new);
        let digits = key.replace(Treat::Id, "12345678901234567890").unwrap();
        assert_eq!(shape(&digits), "9".repeat(20));
        let mixed = key.replace(Treat::Id, "CAESEBabc-123_xyzabcdefgh").unwrap();
        assert_eq!(shape(&mixed).get(..20), Some("AAAAAAaaa-999_aaaaaa"), "{mixed}");
        assert_eq!(key.replace(Treat::Id, "7").unwrap().len(), 16, "short ids become long ones");
        for void in ["", "0", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(key.replace(Treat::Id, void), None, "it says that there is no id");
        }
    }

    #[test]
    fn addresses_keep_their_network() {
        let key = key();
        let new = key.replace(Treat::Ip, "203.0.113.77").unwrap();
        assert!(new.starts_with("203.0.113."), "{new}");
        let new6 = key.replace(Treat::Ip, "2001:db8:7:1:2:3:4:5").unwrap();
        assert!(new6.starts_with("2001:db8:7:"), "{new6}");
        let mapped = key.replace(Treat::Ip, "::ffff:203.0.113.77").unwrap();
        assert_eq!(mapped, format!("::ffff:{new}"));
        assert_eq!(key.replace(Treat::Ip, "0.0.0.0"), None);
        let hosts: HashSet<String> = (0..=255)
            .map(|host| key.replace(Treat::Ip, &format!("203.0.113.{host}")).unwrap())
            .collect();
        assert!((12..=16).contains(&hosts.len()), "{} of 16", hosts.len());
    }

    #[test]
    fn positions_and_postal_codes_become_coarse() {
        let key = key();
        for (treat, text, expected) in [
            (Treat::Coordinate, "48.137154", Some("48.14")),
            (Treat::Coordinate, "-0.5", None),
            (Treat::Coordinate, "11", None),
            (Treat::Coordinate, "1e1", Some("10.00")),
            (Treat::Zip, "94103", Some("941")),
            (Treat::Zip, "SW1A 1AA", Some("SW1")),
            (Treat::Zip, "75", None),
        ] {
            assert_eq!(key.replace(treat, text).as_deref(), expected, "{text}");
        }
        assert_eq!(key.replace_number(Treat::Coordinate, "48.137154").unwrap(), "48.14");
        assert_eq!(key.replace_number(Treat::Zip, "94103").unwrap(), "941");
    }

    proptest! {
        #[test]
        fn every_pseudonym_is_known_as_one_and_no_value_survives(
            text in prop_oneof!["[ -~]{0,40}", ".{0,20}", "[0-9a-f]{32}", "[0-9]{1,20}",
                "-?[0-9]{1,3}\\.[0-9]{1,9}"],
            treat in treats(),
        ) {
            match key().replace(treat, &text) {
                Some(new) => {
                    prop_assert!(is_pseudonym(treat, &new), "{:?} {:?} {:?}", treat, text, new);
                    prop_assert!(serde_json::to_string(&new).unwrap().len() == new.len() + 2 || treat == Treat::Zip);
                }
                None => prop_assert!(is_pseudonym(treat, &text), "{:?} {:?}", treat, text),
            }
        }

        #[test]
        fn numbers_stay_numbers(number in any::<f64>(), whole in any::<i64>(), treat in treats()) {
            for written in [whole.to_string(), format!("{number:e}"), number.to_string()] {
                if serde_json::from_str::<serde_json::Number>(&written).is_err() {
                    continue;
                }
                if let Some(new) = key().replace_number(treat, &written) {
                    prop_assert!(serde_json::from_str::<serde_json::Number>(&new).is_ok(), "{}", new);
                    prop_assert!(is_pseudonym(treat, &new) || matches!(treat, Treat::Ip | Treat::Email), "{}", new);
                }
            }
        }
    }

    #[test]
    fn hardly_a_value_as_it_came_passes_for_a_pseudonym() {
        let passed = |treat: Treat, values: &mut dyn Iterator<Item = String>| {
            values.filter(|value| is_pseudonym(treat, value)).count()
        };
        let mut ids =
            (0..20_000_u64).map(|n| format!("{:032x}", (u128::from(n) << 70) | 0xabcd_1234));
        assert!(passed(Treat::Id, &mut ids) < 20);
        let mut v4 = (0..65_536_u32).map(|n| Ipv4Addr::from(0xcb00_0000 | (n << 3)).to_string());
        let count = passed(Treat::Ip, &mut v4);
        assert!((3_000..5_200).contains(&count), "{count}: one in 16");
        let mut v6 =
            (0..65_536_u128).map(|n| Ipv6Addr::from((0x2001_0db8 << 96) | (n * 77)).to_string());
        assert!(passed(Treat::Ip, &mut v6) < 20);
    }
}
