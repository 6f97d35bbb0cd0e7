//! The instant by which an auction must have answered, and the time that is left.
//!
//! Owns: the arithmetic from `tmax` to one absolute instant. Never reads a clock.
//! Invariant: a `Deadline` that exists left at least `DeadlineSettings::least` for bidders
//! when it was made.

use std::time::{Duration, Instant};

/// How a partner's `tmax` becomes an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineSettings {
    /// `tmax` where the request names none.
    pub tmax_default: Duration,
    /// A larger `tmax` is cut to this.
    pub tmax_max: Duration,
    /// Kept back for the way from us to the partner, and for closing the auction.
    pub margin: Duration,
    /// Less than this for the bidders is no auction.
    pub least: Duration,
}

impl Default for DeadlineSettings {
    fn default() -> Self {
        Self {
            tmax_default: Duration::from_millis(250),
            tmax_max: Duration::from_secs(1),
            margin: Duration::from_millis(20),
            least: Duration::from_millis(10),
        }
    }
}

/// An absolute end: bidders that have not answered by then are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
    tmax: Duration,
}

impl Deadline {
    /// The deadline of a request that arrived at `arrived` with `tmax_ms` on the wire;
    /// `None` when `now` leaves the bidders less than `settings.least`.
    ///
    /// `tmax` counts from the arrival (`OpenRTB` 2.6, 3.2.1: "maximum time in milliseconds the
    /// exchange allows for bids to be received, including Internet latency").
    pub fn new(
        arrived: Instant,
        now: Instant,
        tmax_ms: Option<u32>,
        settings: &DeadlineSettings,
    ) -> Option<Self> {
        let asked = match tmax_ms {
            None | Some(0) => settings.tmax_default,
            Some(ms) => Duration::from_millis(u64::from(ms)),
        };
        let tmax = asked.min(settings.tmax_max);
        let at = arrived + tmax.saturating_sub(settings.margin);
        let left = at.checked_duration_since(now)?;
        (left >= settings.least).then_some(Self { at, tmax })
    }

    /// The instant itself.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The `tmax` that this deadline was made from, after default and maximum.
    pub fn tmax(&self) -> Duration {
        self.tmax
    }

    /// What is left at `now`; zero once it has passed.
    pub fn left(&self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    #[test]
    fn tmax_is_defaulted_capped_and_counted_from_the_arrival() {
        let settings = DeadlineSettings::default();
        let arrived = Instant::now();
        let ms = Duration::from_millis;
        for (tmax, waited, left) in [
            (None, 0, Some(230)),
            (Some(0), 0, Some(230)),
            (Some(100), 0, Some(80)),
            (Some(100), 30, Some(50)),
            (Some(60_000), 0, Some(980)),
            (Some(100), 70, Some(10)),
            (Some(100), 71, None),
            (Some(5), 0, None),
        ] {
            let now = arrived + ms(waited);
            let got = Deadline::new(arrived, now, tmax, &settings).map(|d| d.left(now));
            assert_eq!(got, left.map(ms), "tmax {tmax:?}, waited {waited}");
        }
    }
}
