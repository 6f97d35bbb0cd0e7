//! Prices that only their bidder can read, whoever passes them on.
//!
//! Owns: [`PriceKeys`], the bytes of a sealed price. Never: which prices are sealed. Invariant: a key is
//! never shown.
//!
//! `OpenRTB` leaves the sealing of `${AUCTION_PRICE}` to exchange and bidder (2.6, 4.4). This is the
//! scheme that bidders have a reader for, the "encrypted price confirmation" of Google's real-time
//! bidding, in base64url without padding, 38 characters:
//!
//! - 16 bytes of a number that comes once. It begins with the time, so that a reader may refuse what
//!   is old: seconds since the epoch and microseconds, 4 bytes each, the highest first;
//! - the price in micros, 8 bytes with the highest first, XOR the first bytes of HMAC-SHA1 of the
//!   number with the encryption key;
//! - the first 4 bytes of HMAC-SHA1 of price and number with the integrity key.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::money::Cpm;
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use std::fmt;
use std::time::Duration;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes of the number's part without meaning; of the number, of the price and of the signature.
const CHANCE_BYTES: usize = 8;
const NUMBER_BYTES: usize = 2 * size_of::<u32>() + CHANCE_BYTES;
const PRICE_BYTES: usize = 8;
const SIGNATURE_BYTES: usize = 4;
const SEALED_BYTES: usize = NUMBER_BYTES + PRICE_BYTES + SIGNATURE_BYTES;
const SEALED_CHARS: usize = (SEALED_BYTES * 4).div_ceil(3);

/// The two keys that exchange and bidder share.
#[derive(Clone)]
pub struct PriceKeys {
    encryption: Key,
    integrity: Key,
    /// For telling two pairs apart without their secrets.
    print: [u8; 32],
}

/// A price that its bidder alone can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed([u8; SEALED_CHARS]);

impl Sealed {
    /// As long as any, in a text and in base64 of it.
    pub const LONGEST: Self = Self([b'~'; SEALED_CHARS]);
}

impl PriceKeys {
    /// From the secrets themselves.
    pub fn new(encryption: &[u8; KEY_BYTES], integrity: &[u8; KEY_BYTES]) -> Self {
        let mut print = blake3::Hasher::new();
        print.update(encryption);
        print.update(integrity);
        Self {
            encryption: Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, encryption),
            integrity: Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, integrity),
            print: *print.finalize().as_bytes(),
        }
    }

    /// A price under a number that is never used for another: whoever had both would learn how they
    /// differ. `None`: it is below zero, and no price.
    pub fn seal(&self, price: Cpm, number: [u8; NUMBER_BYTES]) -> Option<Sealed> {
        let price = u64::try_from(price.micros()).ok()?.to_be_bytes();
        let pad = sign(&self.encryption, &number);
        let mut signed = [0; PRICE_BYTES + NUMBER_BYTES];
        let (first, last) = signed.split_at_mut(PRICE_BYTES);
        first.copy_from_slice(&price);
        last.copy_from_slice(&number);
        let signature = sign(&self.integrity, &signed);

        let mut sealed = [0; SEALED_BYTES];
        let hidden = price.iter().zip(pad.as_ref()).map(|(price, pad)| price ^ pad);
        let signature = signature.as_ref().iter().take(SIGNATURE_BYTES).copied();
        let parts = number.into_iter().chain(hidden).chain(signature);
        sealed.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        let mut text = [0; SEALED_CHARS];
        URL_SAFE_NO_PAD.encode_slice(sealed, &mut text).ok()?;
        Some(Sealed(text))
    }
}

impl fmt::Debug for PriceKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PriceKeys").finish_non_exhaustive()
    }
}

impl PartialEq for PriceKeys {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for PriceKeys {}

/// A key as it is handed over: 32 bytes in base64, of either alphabet, with padding or without.
pub fn key(text: &str) -> Option<[u8; KEY_BYTES]> {
    const FORMS: [GeneralPurpose; 4] = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    FORMS.iter().find_map(|form| form.decode(text).ok()?.try_into().ok())
}

impl Sealed {
    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a number is made of: when its auction was, and what no other auction of that microsecond has.
pub fn number(at: Duration, chance: [u8; CHANCE_BYTES]) -> [u8; NUMBER_BYTES] {
    let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
    let parts = seconds.into_iter().chain(at.subsec_micros().to_be_bytes()).chain(chance);
    let mut number = [0; NUMBER_BYTES];
    number.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCRYPTION: &str = "skU7Ax_NL5pPAFyKdkfZjZz2-VhIN8bjj1rVFOaJ_5o=";
    const INTEGRITY: &str = "arO23ykdNqUQ5LEoQ0FVmPkBd7xB5CO89PDZlSjpFxo=";

    fn keys() -> PriceKeys {
        PriceKeys::new(&key(ENCRYPTION).unwrap(), &key(INTEGRITY).unwrap())
    }

    /// What a bidder does. `None`: not from who has the keys.
    fn opened(text: &[u8]) -> Option<u64> {
        let sealed = URL_SAFE_NO_PAD.decode(text).unwrap();
        let (number, rest) = sealed.split_at(NUMBER_BYTES);
        let (hidden, signature) = rest.split_at(PRICE_BYTES);
        let pad = sign(&keys().encryption, number);
        let price: Vec<u8> = hidden.iter().zip(pad.as_ref()).map(|(one, pad)| one ^ pad).collect();
        let expected = sign(&keys().integrity, &[&price, number].concat());
        let price = u64::from_be_bytes(price.try_into().unwrap());
        expected.as_ref().starts_with(signature).then_some(price)
    }

    fn sealed(number: &[u8; NUMBER_BYTES], micros: i64) -> Vec<u8> {
        keys().seal(Cpm::from_micros(micros), *number).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn the_examples_that_bidders_test_their_readers_with() {
        for (micros, text) in [
            (100, "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCce_6msaw"),
            (1900, "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCAWJRxOgA"),
            (2700, "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWWw"),
        ] {
            let written = sealed(b"abc123def456ghi7", micros);
            assert_eq!(String::from_utf8(written).unwrap(), text);
            assert_eq!(opened(text.as_bytes()), Some(micros.unsigned_abs()));
        }
    }

    #[test]
    fn each_price_comes_back_and_an_altered_one_is_noticed() {
        for micros in [0, 1, 1_500_000, i64::MAX] {
            let text = sealed(&[7; NUMBER_BYTES], micros);
            assert_eq!(opened(&text), Some(micros.unsigned_abs()));
            let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            for altered_at in 0..bytes.len() {
                let alter = |(at, byte): (usize, &u8)| byte ^ u8::from(at == altered_at);
                let altered: Vec<u8> = bytes.iter().enumerate().map(alter).collect();
                let altered = URL_SAFE_NO_PAD.encode(altered);
                assert_eq!(opened(altered.as_bytes()), None, "{altered_at}");
            }
        }
        assert_eq!(keys().seal(Cpm::from_micros(-1), [7; NUMBER_BYTES]), None);
    }

    #[test]
    fn a_number_begins_with_the_time() {
        let number = number(Duration::new(0x0102_0304, 0x0005_0607 * 1_000), *b"12345678");
        assert_eq!(number, *b"\x01\x02\x03\x04\x00\x05\x06\x0712345678");
    }

    #[test]
    fn keys_come_in_each_form_of_base64_and_are_never_shown() {
        let plain = ENCRYPTION.trim_end_matches('=');
        let standard = ENCRYPTION.replace('_', "/").replace('-', "+");
        for text in [ENCRYPTION, plain, &standard, standard.trim_end_matches('=')] {
            assert_eq!(key(text), key(ENCRYPTION), "{text}");
            assert!(key(text).is_some());
        }
        for text in ["", "short", plain.trim_end_matches('o'), &format!("AAAA{ENCRYPTION}")] {
            assert_eq!(key(text), None, "{text}");
        }
        assert_eq!(format!("{:?}", keys()), "PriceKeys { .. }");
        let other = PriceKeys::new(&key(INTEGRITY).unwrap(), &key(INTEGRITY).unwrap());
        assert!(keys() == keys() && keys() != other);
    }
}
