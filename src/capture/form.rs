//! What a pseudonym looks like: how one is written, and how one is known without the key.
//!
//! Owns: the forms. Never: where they are written. Invariants: with one key, equal values become
//! equal pseudonyms, whatever field they stand in, in braces, as a number, or encoded; whoever has no key can tell a pseudonym from a
//! value as it came, and cannot come back to the value.
//!
//! | value | pseudonym | known by |
//! |---|---|---|
//! | id | as long once decoded (16 letters and digits at least), digits for digits, hexadecimal for such, each letter by one of its case, what stands between them kept | the last four digits are a checksum: one in 10,000 others passes |
//! | IPv4 | the first 24 bits kept, then 4 keyed bits | the last 4 bits are a checksum: one in 16 others passes |
//! | IPv6 | the first 48 bits kept (of 6to4 40, for the next 8 are the host of an IPv4 address), keyed bits up to the 112th | the last 16 bits are a checksum |
//! | mail address | an id `@p.invalid` | its domain |
//! | latitude, longitude | rounded | at most two decimals |
//! | postal code | cut | at most three characters |
#![deny(clippy::indexing_slicing)]

use super::names::Treat;
use super::personal::coded::plain;
use super::personal::is_void;
use super::personal::looks::{four, unwrapped};
use super::shape::{self, Draw, is_token};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Behind the local part of a mail address.
const MAIL_HOST: &[u8] = b"@p.invalid";
/// Digits of a number: more do not fit 64 bits.
const NUMBER_DIGITS_MAX: usize = 18;
/// First digit of a number: a zero there is no JSON, and a 1 fits.
const NUMBER_FIRST: u8 = b'1';
/// Decimals of a position: about a kilometre.
const DECIMALS: usize = 2;
/// Characters of a postal code.
const ZIP_CHARS: usize = 3;
/// What an address begins with that has an IPv4 address in its next 32 bits (6to4: RFC 3056, 2). All others
/// that hold one have it in bits that are drawn.
const SIX_TO_FOUR: [u8; 2] = [0x20, 0x02];

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

    fn stream(&self, text: &[u8]) -> Draw {
        Draw::new(blake3::Hasher::new_keyed(&self.0).update(text).finalize_xof())
    }

    /// The pseudonym of a text; `None`: it stays as it is.
    pub fn replace(&self, treat: Treat, text: &str) -> Option<String> {
        let mut out = Vec::new();
        self.write(treat, text, &mut out).then_some(())?;
        String::from_utf8(out).ok()
    }

    /// As [`Self::replace`], behind what is in `out`; `false`: it stays as it is, and so does `out`.
    pub fn write(&self, treat: Treat, text: &str, out: &mut Vec<u8>) -> bool {
        if is_void(text) {
            return false;
        }
        match treat {
            Treat::Id => self.token(text, out),
            Treat::Ip => return self.address(text, out),
            Treat::Coordinate => match Degrees::of(text) {
                Degrees::Coarse => return false,
                Degrees::Fine(degrees) => degrees.round(out),
                Degrees::None => self.token(text, out),
            },
            Treat::Zip => match cut(text) {
                None => return false,
                Some(short) => out.extend_from_slice(short.as_bytes()),
            },
            Treat::Email => {
                self.token(&plain(text).to_ascii_lowercase(), out);
                out.extend_from_slice(MAIL_HOST);
            }
        }
        true
    }

    /// What stands in place of a text that nobody can read: as long, letters and nothing else.
    pub fn opaque(&self, text: &str, out: &mut Vec<u8>) {
        let start = out.len();
        shape::draw(&mut self.stream(text.as_bytes()), &"x".repeat(text.len()), out);
        shape::seal(out.get_mut(start..).unwrap_or_default());
    }

    /// As [`Self::write`], for a number; what comes is a number too.
    pub fn write_number(&self, treat: Treat, written: &str, out: &mut Vec<u8>) -> bool {
        match treat {
            Treat::Coordinate => match Degrees::of(written) {
                Degrees::Coarse => return false,
                Degrees::Fine(degrees) => degrees.round(out),
                Degrees::None => return self.write_number(Treat::Id, written, out),
            },
            Treat::Zip => {
                let digits: String = written.chars().filter(char::is_ascii_digit).collect();
                let Some(short) = cut(&digits) else { return false };
                out.extend_from_slice(without_zeros(short).as_bytes());
            }
            Treat::Id | Treat::Ip | Treat::Email => {
                let digits: String = written.chars().filter(char::is_ascii_digit).collect();
                if is_void(&digits) {
                    return false;
                }
                let kept = digits.get(..NUMBER_DIGITS_MAX).unwrap_or(&digits);
                let start = out.len();
                shape::draw(&mut self.stream(written.as_bytes()), kept, out);
                if let Some(first) = out.get_mut(start) {
                    *first = NUMBER_FIRST;
                }
                shape::seal(out.get_mut(start..).unwrap_or_default());
            }
        }
        true
    }

    /// Of a value without its codes; braces around it stay.
    fn token(&self, text: &str, out: &mut Vec<u8>) {
        let text = plain(text);
        let inner = unwrapped(&text);
        let front = text.len().saturating_sub(inner.len()) / 2;
        let (open, rest) = text.split_at_checked(front).unwrap_or_default();
        out.extend_from_slice(open.as_bytes());
        self.sealed(inner, out);
        out.extend_from_slice(rest.get(inner.len()..).unwrap_or_default().as_bytes());
    }

    fn sealed(&self, text: &str, out: &mut Vec<u8>) {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let start = out.len();
        if is_hex && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            // one id in two cases is one id
            shape::draw(&mut self.stream(text.to_ascii_lowercase().as_bytes()), text, out);
        } else {
            shape::draw(&mut self.stream(text.as_bytes()), text, out);
        }
        let token = out.get_mut(start..).unwrap_or_default();
        if is_whole_number(text)
            && let Some(first) = token.first_mut()
        {
            *first = NUMBER_FIRST;
        }
        shape::seal(token);
    }

    /// What is no address becomes a token, which is none either.
    fn address(&self, text: &str, out: &mut Vec<u8>) -> bool {
        let address =
            match four(text).map_or_else(|| text.parse(), |address| Ok(IpAddr::V4(address))) {
                Ok(IpAddr::V4(address)) => IpAddr::V4(self.v4(address)),
                Ok(IpAddr::V6(address)) => IpAddr::V6(match address.to_ipv4_mapped() {
                    Some(mapped) => self.v4(mapped).to_ipv6_mapped(),
                    None => self.v6(address),
                }),
                Err(_) => {
                    self.token(text, out);
                    return true;
                }
            };
        // writing to memory does not fail
        !text.parse::<IpAddr>().is_ok_and(|old| old.is_unspecified())
            && write!(out, "{address}").is_ok()
    }

    fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let [a, b, c, _] = address.octets();
        let drawn = self.stream(&address.octets()).byte() & 0xf0;
        Ipv4Addr::new(a, b, c, drawn | check_v4([a, b, c, drawn]))
    }

    fn v6(&self, address: Ipv6Addr) -> Ipv6Addr {
        let mut octets = address.octets();
        let mut draw = self.stream(&octets);
        let kept = if octets.starts_with(&SIX_TO_FOUR) { 5 } else { 6 };
        octets.iter_mut().take(14).skip(kept).for_each(|octet| *octet = draw.byte());
        let check = check_v6(octets);
        octets.iter_mut().skip(14).zip(check).for_each(|(octet, byte)| *octet = byte);
        Ipv6Addr::from(octets)
    }
}

fn check_v4(octets: [u8; 4]) -> u8 {
    crc32c::crc32c(&octets).to_le_bytes().first().copied().unwrap_or_default() & 0x0f
}

fn check_v6(octets: [u8; 16]) -> [u8; 2] {
    let (summed, _) = octets.split_at(14);
    let [low, high, ..] = crc32c::crc32c(summed).to_le_bytes();
    [low, high]
}

/// Whether a text may as well be a number of JSON, and becomes the same then.
fn is_whole_number(text: &str) -> bool {
    (1..=NUMBER_DIGITS_MAX).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A latitude or longitude.
enum Degrees {
    /// Few decimals already.
    Coarse,
    Fine(Fine),
    /// No number of degrees.
    None,
}

/// Degrees with many decimals.
struct Fine(f64);

impl Fine {
    fn round(&self, out: &mut Vec<u8>) {
        // writing to memory does not fail
        let _written = write!(out, "{:.DECIMALS$}", self.0);
    }
}

impl Degrees {
    fn of(text: &str) -> Self {
        match text.trim().parse::<f64>() {
            _ if is_coarse(text) => Self::Coarse,
            Ok(number) if number.abs() <= 360.0 => Self::Fine(Fine(number)),
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
fn cut(text: &str) -> Option<&str> {
    let (end, _) = text.char_indices().nth(ZIP_CHARS)?;
    text.get(..end)
}

/// A JSON number has no zeros before it.
fn without_zeros(digits: &str) -> &str {
    let short = digits.trim_start_matches('0');
    if short.is_empty() { "0" } else { short }
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
        Treat::Email => is_mail(text),
    }
}

fn is_mail(text: &str) -> bool {
    let local = text.as_bytes().strip_suffix(MAIL_HOST).map(<[u8]>::len);
    local.and_then(|length| text.get(..length)).is_some_and(is_token)
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

    fn replaced_number(treat: Treat, written: &str) -> Option<String> {
        let mut out = Vec::new();
        key().write_number(treat, written, &mut out).then(|| String::from_utf8(out).unwrap())
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
    fn one_value_written_in_several_ways_has_one_pseudonym() {
        let key = key();
        let new = |treat: Treat, text: &str| key.replace(treat, text).unwrap();
        let mail = new(Treat::Email, "jo.doe@mail.example");
        for written in [
            "jo.doe%40mail.example",
            "Jo.Doe@MAIL.example",
            "jo.doe%2540mail.example",
            "jo.doe&#64;mail.example",
        ] {
            assert_eq!(new(Treat::Email, written), mail, "{written}");
        }
        let id = "6d92078a-8246-4ba4-ae5b-76104861e7dc";
        let token = new(Treat::Id, id);
        let braces = new(Treat::Id, &format!("{{{}}}", id.to_uppercase()));
        assert_eq!(braces, format!("{{{}}}", token.to_uppercase()));
        assert!(is_pseudonym(Treat::Id, &braces));
        assert_eq!(new(Treat::Id, &format!("%7B{id}%7D")), format!("{{{token}}}"));
        assert_eq!(key.replace(Treat::Id, "{00000000-0000-0000-0000-000000000000}"), None);
        for number in ["1234567890123", "7", "123456789012345678"] {
            assert_eq!(replaced_number(Treat::Id, number).unwrap(), new(Treat::Id, number));
        }
        assert_eq!(new(Treat::Ip, "091.064.012.033"), new(Treat::Ip, "91.64.12.33"));
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
        // an IPv4 address that is written into one keeps no more than its own network
        let is_host_left = |host: &u16| {
            let new = key.replace(Treat::Ip, &format!("2002:5540:c{host:02x}::1")).unwrap();
            assert!(is_pseudonym(Treat::Ip, &new), "{new}");
            let [first, second, third, ..] = new.parse::<Ipv6Addr>().unwrap().segments();
            assert_eq!((first, second, third >> 8), (0x2002, 0x5540, 0xc), "{new}");
            third & 0xff == *host
        };
        assert!((0..64).filter(is_host_left).count() < 4, "one of 256 by chance");
        for written in ["64:ff9b::203.0.113.77", "::203.0.113.77", "2001:0:1:2:3:4:34ff:8eb2"] {
            let [old, new] = [written, &key.replace(Treat::Ip, written).unwrap()].map(|address| {
                let [.., high, _] = address.parse::<Ipv6Addr>().unwrap().segments();
                high
            });
            assert_ne!(new, old, "{written}");
        }
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
        assert_eq!(replaced_number(Treat::Coordinate, "48.137154").unwrap(), "48.14");
        assert_eq!(replaced_number(Treat::Zip, "94103").unwrap(), "941");
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
                if let Some(new) = replaced_number(treat, &written) {
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
