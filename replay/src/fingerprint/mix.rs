//! The hash of the fingerprint: 64 bits from bytes.
//!
//! Owns: the mixing. Never: a key, so it is not for what an adversary may gain by. Invariant: the
//! same on every machine and in every release of [`Summary::VERSION`]: summaries are compared
//! across both.
//!
//! [`Summary::VERSION`]: super::summary::Summary::VERSION

const ODD: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];

/// Of bytes, from a seed.
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ ODD[0];
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        state = fold(low(block) ^ ODD[1], high(block) ^ state);
    }
    if !rest.is_empty() {
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(rest) {
            *to = *from;
        }
        state = fold(low(&block) ^ ODD[2], high(&block) ^ state);
    }
    fold(state ^ ODD[1], bytes.len() as u64 ^ ODD[2])
}

/// Of two hashes, in this order.
pub fn pair(first: u64, second: u64) -> u64 {
    fold(fold(first ^ ODD[0], ODD[1]) ^ second, ODD[2])
}

/// The 128 bits of the product, folded into 64.
fn fold(left: u64, right: u64) -> u64 {
    let wide = u128::from(left) * u128::from(right);
    let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0);
    low ^ u64::try_from(wide >> 64).unwrap_or(0)
}

fn low(block: &[u8; 16]) -> u64 {
    block.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn high(block: &[u8; 16]) -> u64 {
    block.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hashes_differ_for_every_length_and_every_changed_bit() {
        let mut seen = HashSet::new();
        for length in 0..70 {
            let bytes = vec![0; length];
            assert!(seen.insert(hash(0, &bytes)), "{length} zeros");
            for at in 0..length {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    assert!(seen.insert(hash(0, &changed)), "bit {bit} of byte {at} of {length}");
                }
            }
        }
        assert_ne!(hash(0, b"a"), hash(1, b"a"));
        assert_ne!(pair(1, 2), pair(2, 1));
    }

    #[test]
    fn bits_of_hashes_of_numbers_are_even() {
        let mut ones = [0; 64];
        for number in 0..4_096_u64 {
            let hash = hash(0, &number.to_le_bytes());
            ones.iter_mut().enumerate().for_each(|(bit, count)| *count += hash >> bit & 1);
        }
        // 4,096 throws have a deviation of 32; 6 of them is one in 500 million
        assert!(ones.iter().all(|count| (1_856..2_240).contains(count)), "{ones:?}");
    }
}
