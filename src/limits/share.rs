//! How a total is divided among workers by what they ask for.
//!
//! Owns: [`divide`]. Invariant: the shares add up to the total, exactly.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// The part that is spread evenly, so that an idle worker can start: one eighth.
const EVEN_PART: u64 = 8;

/// Divides `total` by `weights`, one share a weight, an even part aside.
///
/// What is left over by rounding goes out one by one, from `turn` on, to those that ask; callers
/// count `turn` up, so that nobody is last for ever. Without any weight all are equal.
pub fn divide(total: u64, weights: &[u64], turn: usize) -> Vec<u64> {
    let workers = u64::try_from(weights.len()).unwrap_or(u64::MAX).max(1);
    let even = match total.checked_div(workers.saturating_mul(EVEN_PART)).unwrap_or(0) {
        0 if total >= workers.saturating_mul(2) => 1,
        even => even,
    };
    let by_weight = total.saturating_sub(even.saturating_mul(workers));
    let sum = weights.iter().map(|weight| u128::from(*weight)).sum::<u128>();
    let mut shares: Vec<u64> = weights
        .iter()
        .map(|weight| {
            let part = u128::from(by_weight)
                .saturating_mul(u128::from(*weight))
                .checked_div(sum)
                .unwrap_or_else(|| u128::from(by_weight.checked_div(workers).unwrap_or(0)));
            even.saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
        })
        .collect();
    let mut left = total.saturating_sub(shares.iter().sum());
    let turn = turn.checked_rem(weights.len()).unwrap_or(0);
    let order = weights.iter().enumerate().cycle().skip(turn).take(weights.len());
    for (worker, weight) in order {
        if left == 0 {
            break;
        }
        if let Some(share) = shares.get_mut(worker).filter(|_| sum == 0 || *weight > 0) {
            *share = share.saturating_add(1);
            left = left.saturating_sub(1);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_follow_the_weights_above_an_even_part() {
        for (total, weights, turn, shares) in [
            (0, &[1u64, 2][..], 0, &[0u64, 0][..]),
            (16, &[0, 0], 0, &[8, 8]),
            (160, &[0, 1], 0, &[10, 150]),
            (160, &[1, 3], 0, &[45, 115]),
            (3, &[0, 5, 0, 0], 0, &[0, 3, 0, 0]),
            (1, &[0, 0, 0], 2, &[0, 0, 1]),
            (2, &[1, 1, 1], 5, &[1, 0, 1]),
            (7, &[0, 0, 9], 0, &[1, 1, 5]),
            (5, &[], 0, &[]),
        ] {
            assert_eq!(divide(total, weights, turn), shares, "{total} by {weights:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_total(
            total in 0u64..1_000_000_000,
            weights in proptest::collection::vec(0u64..1_000_000, 1..70),
            turn in 0usize..1000,
        ) {
            prop_assert_eq!(divide(total, &weights, turn).iter().sum::<u64>(), total);
        }
    }
}
