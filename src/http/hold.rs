//! Answers that are kept back for a moment.
//!
//! Owns: [`Holds`], one a worker. Never: whether an answer is one of them, a request that is let in.
//! Invariant: no more than `HELD_MAX` are kept back at once, and each for no longer than `HOLD`.
//!
//! Who cannot be shed costs what its answer costs, as often as it asks. Most send the next request
//! when they have the answer to the last: kept back, a connection (on HTTP/2: a stream) asks 20 times
//! a second and no more.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::sleep;

/// Short enough for an honest sender's time-out, long against what an answer costs.
const HOLD: Duration = Duration::from_millis(50);

/// With `HOLD` 10,000 answers a second: about a tenth of what a worker can give.
const HELD_MAX: u32 = 500;

/// The answers that a worker keeps back.
#[derive(Debug, Default)]
pub struct Holds {
    held: Cell<u32>,
}

/// One of them.
struct Held<'a>(&'a Cell<u32>);

impl Holds {
    /// Waits for as long as an answer is kept back. `false`, and at once, where there are enough of
    /// them: the connection is to end with that one.
    pub async fn hold(&self) -> bool {
        if self.held.get() >= HELD_MAX {
            return false;
        }
        self.held.set(self.held.get() + 1);
        let _held = Held(&self.held);
        sleep(HOLD).await;
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::pin::pin;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn no_more_than_enough_are_kept_back_and_each_for_a_moment() {
        let (holds, began) = (Holds::default(), Instant::now());
        let waits: Vec<_> = (0..HELD_MAX).map(|_| holds.hold()).collect();
        let mut all = pin!(join_all(waits));
        let short = HOLD * 4 / 5;
        assert!(timeout(short, &mut all).await.is_err(), "all of them are kept back");
        assert!(!holds.hold().await, "there are enough");
        assert_eq!(began.elapsed(), short, "that is told at once");
        assert!(all.await.into_iter().all(|was_kept| was_kept));
        assert_eq!(began.elapsed(), HOLD);
        assert!(timeout(short, holds.hold()).await.is_err(), "there is room again");
        assert_eq!(holds.held.get(), 0, "who does not wait for it gives its place back");
    }
}
