//! Consent strings in the form of TCF 2 (IAB Europe, "Consent string and vendor list formats v2").
//!
//! Owns: the bits of a core segment and their base64url. Never: a real person's choice; all of it
//! is drawn. Invariant: what is written decodes.

use crate::random::Random;

/// Vendors that a string speaks of at least and at most.
const VENDORS: (u64, u64) = (60, 360);

/// A core segment in base64url. `is_given`: most purposes are agreed to; else none.
pub(super) fn tcf(random: &mut Random, is_given: bool) -> String {
    let mut bits = Bits::default();
    // deciseconds of a day in 2024 or 2025
    let created = 17_040_672_000 + random.below(700) * 864_000;
    bits.put(2, 6);
    bits.put(created, 36);
    bits.put(created, 36);
    bits.put(random.between(2, 400), 12);
    bits.put(random.between(1, 30), 12);
    bits.put(random.between(1, 3), 6);
    // language "EN": letters count from A = 0
    bits.put(4, 6);
    bits.put(13, 6);
    bits.put(random.between(200, 350), 12);
    // policy version 4, not specific to a service, standard texts
    bits.put(4, 6);
    bits.put(0, 2);
    let odds = if is_given { 0.9 } else { 0.0 };
    bits.draw(12, random, odds * 0.5);
    bits.draw(10, random, odds);
    bits.put(0, 14);
    bits.draw(10, random, odds * 0.6);
    bits.put(0, 14);
    // purpose one is not treated differently; publisher country "DE"
    bits.put(0, 1);
    bits.put(3, 6);
    bits.put(4, 6);
    for share in [odds, odds * 0.4] {
        let vendors = random.between(VENDORS.0, VENDORS.1);
        bits.put(vendors, 16);
        bits.put(0, 1);
        bits.draw(vendors, random, share);
    }
    // no publisher restrictions
    bits.put(0, 12);
    bits.base64url()
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits used of the last byte, 0 for all.
    used: u32,
}

impl Bits {
    /// The low `count` bits of a number, the highest first.
    fn put(&mut self, number: u64, count: u32) {
        for bit in (0..count).rev() {
            self.push((number >> bit) & 1 == 1);
        }
    }

    /// So many bits, each set with the probability.
    fn draw(&mut self, count: u64, random: &mut Random, probability: f64) {
        for _ in 0..count {
            let bit = probability > 0.0 && random.chance(probability);
            self.push(bit);
        }
    }

    fn push(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used);
        }
        self.used = (self.used + 1) % 8;
    }

    fn base64url(&self) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let sextets = (self.bytes.len() * 8).div_ceil(6);
        let letter = |index: usize| {
            let at = index * 6;
            let high = u16::from(self.bytes[at / 8]) << 8;
            let low = u16::from(self.bytes.get(at / 8 + 1).copied().unwrap_or(0));
            let sextet = ((high | low) >> (10 - at % 8)) & 63;
            char::from(LETTERS[usize::from(sextet)])
        };
        (0..sextets).map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_start_as_the_standard_says_and_differ() {
        let mut random = Random::seeded(3);
        let strings: Vec<String> = (0..50).map(|n| tcf(&mut random, n % 2 == 0)).collect();
        for text in &strings {
            // version 2 in six bits is the letter C
            assert!(text.starts_with('C'), "{text}");
            assert!((40..200).contains(&text.len()), "{text}");
        }
        assert!(strings.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn bits_are_packed_highest_first() {
        let mut bits = Bits::default();
        bits.put(2, 6);
        bits.put(0b11_1111, 6);
        assert_eq!(bits.base64url(), "C_A");
    }
}
