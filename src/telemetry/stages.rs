//! How long each part of the road takes.
//!
//! Owns: [`Stage`] and [`Marks`], the times of one request. Never: a clock (moments are given to
//! it), a number of more than one request.
//! Invariant: stages follow each other without a gap, so that their sum is the whole.

use std::time::{Duration, Instant};

/// A part of the road, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// From complete headers to the decoded body.
    Read,
    /// Parsing, and the checks of the request.
    Admit,
    /// Place, device, consent.
    Enrich,
    /// Who is called, and the bytes for each.
    Select,
    /// For the slowest bidder that was waited for; reading answers is in it.
    Wait,
    /// Screening the bids, and the auction.
    Auction,
    /// Our answer's bytes.
    Respond,
}

impl Stage {
    /// All, in the order of the road.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Admit,
        Self::Enrich,
        Self::Select,
        Self::Wait,
        Self::Auction,
        Self::Respond,
    ];

    /// For metrics and traces.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Admit => "admit",
            Self::Enrich => "enrich",
            Self::Select => "select",
            Self::Wait => "wait",
            Self::Auction => "auction",
            Self::Respond => "respond",
        }
    }
}

/// The times of one request's stages, as far as it came.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// `None`: nobody wants to know.
    last: Option<Instant>,
    took: [Option<Duration>; Stage::ALL.len()],
}

impl Marks {
    /// From the arrival on, where somebody wants to know.
    pub fn begin(at: Instant, is_wanted: bool) -> Self {
        Self { last: is_wanted.then_some(at), took: [None; Stage::ALL.len()] }
    }

    /// A stage has ended; `now` is asked for the time only where it is wanted.
    #[inline]
    pub fn end(&mut self, stage: Stage, now: impl FnOnce() -> Instant) {
        let Some(last) = self.last else { return };
        let now = now();
        self.last = Some(now);
        if let Some(took) = self.took.get_mut(stage as usize) {
            *took = Some(now.saturating_duration_since(last));
        }
    }

    /// The stages that ended, with what each took.
    pub fn ended(&self) -> impl Iterator<Item = (Stage, Duration)> {
        Stage::ALL.into_iter().zip(self.took).filter_map(|(stage, took)| Some((stage, took?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_table_of_instruments_names_them_in_their_order() {
        assert_eq!(Stage::ALL.map(Stage::label), super::super::meters::STAGES);
    }

    #[test]
    fn stages_follow_each_other_and_those_that_never_ended_are_left_out() {
        let start = clock::monotonic();
        let at = |ms| move || start + Duration::from_millis(ms);
        let mut marks = Marks::begin(start, true);
        marks.end(Stage::Read, at(3));
        marks.end(Stage::Admit, at(4));
        marks.end(Stage::Respond, at(10));
        let ended: Vec<_> = marks.ended().map(|(stage, took)| (stage, took.as_millis())).collect();
        assert_eq!(ended, [(Stage::Read, 3), (Stage::Admit, 1), (Stage::Respond, 6)]);
    }

    #[test]
    fn no_clock_is_read_for_a_request_that_is_not_timed() {
        let mut marks = Marks::begin(clock::monotonic(), false);
        marks.end(Stage::Read, || panic!("a clock was read"));
        assert_eq!(marks.ended().count(), 0);
    }
}
