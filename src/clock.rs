//! The one place that reads a clock.
//!
//! Owns: the two readings that the edges take (`monotonic`, `wall`), the [`Anchor`] that gives one
//! from the other, and [`Steady`], the wall clock without its jumps. Never: a timer, a sleep.
//! Stages that compute take an instant as a parameter instead; `.clippy.toml` bans the
//! readings of the standard library everywhere else.
#![expect(clippy::disallowed_methods, reason = "this file is what the ban points to")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock: deadlines, latencies, rates.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The monotonic clock as timers see it: a test may stop it, and let it run ahead.
pub fn timer() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The wall clock as time since the Unix epoch: records, tokens, ages of files.
///
/// A clock set before 1970 reads as the epoch itself: an age is then too large, never negative.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// One moment on both clocks. The wall clock of moments soon after follows from it, so that a
/// request reads one clock instead of two.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    monotonic: Instant,
    wall: Duration,
}

impl Anchor {
    /// This moment.
    pub fn now() -> Self {
        Self::of(monotonic(), wall())
    }

    /// A moment that was read elsewhere.
    pub const fn of(monotonic: Instant, wall: Duration) -> Self {
        Self { monotonic, wall }
    }

    /// It on the monotonic clock.
    pub const fn monotonic(self) -> Instant {
        self.monotonic
    }

    /// It on the wall clock.
    pub const fn wall(self) -> Duration {
        self.wall
    }

    /// The wall clock at a moment not before this one. Where the clock was set meanwhile, that
    /// shows with the next anchor.
    pub fn wall_at(self, moment: Instant) -> Duration {
        self.wall + moment.saturating_duration_since(self.monotonic)
    }
}

/// The wall clock may be off by so much before that is a jump.
const JUMP: Duration = Duration::from_secs(10);

/// For so long the clock of a start may be wrong.
const DOUBT_MAX: Duration = Duration::from_secs(3_600);

/// What the wall clock did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It jumped, and is now so much ahead of the time that has gone by since the start, or behind.
    Ahead(Duration),
    Behind(Duration),
    /// It is back.
    Back,
    /// It stayed where it had jumped to, and is believed from now on.
    Believed,
}

/// The wall clock without its jumps forward: never later than the wall clock at the start and the
/// monotonic time since, nor than the wall clock. What the wall clock says is believed again once it
/// has stayed ahead, or behind, for long enough: a clock that was wrong at the start is followed.
#[derive(Debug)]
pub struct Steady {
    anchor: Anchor,
    believe_after: Duration,
    /// Since when it has been off, and whether ahead.
    off: Option<(Instant, bool)>,
    /// Since when the clock of the start is in doubt, and by how much it may have been ahead.
    doubt: Option<(Instant, Duration)>,
}

impl Steady {
    /// From this moment on.
    pub const fn new(start: Anchor, believe_after: Duration) -> Self {
        Self { anchor: start, believe_after, off: None, doubt: None }
    }

    /// From this moment on, where the last that is known of before is `seen` (zero: nothing): as long as
    /// nobody knows whether the clock is right, no more time than that has gone by for certain.
    pub fn since(seen: Duration, start: Anchor, believe_after: Duration) -> Self {
        let ahead = start.wall.saturating_sub(seen);
        let doubt = (!seen.is_zero()).then_some((start.monotonic, ahead));
        Self { doubt, ..Self::new(start, believe_after) }
    }

    /// The time, and what is to be told of the wall clock: each jump once.
    pub fn look(&mut self, now: Anchor) -> (Duration, Option<Turn>) {
        let (time, turn) = self.without_jumps(now);
        // whoever sets clocks has done so by then
        let doubt_for = self.believe_after.min(DOUBT_MAX);
        let is_over = |since: Instant| now.monotonic.saturating_duration_since(since) >= doubt_for;
        self.doubt.take_if(|(since, _)| is_over(*since));
        (time.saturating_sub(self.doubt.map_or(Duration::ZERO, |(_, ahead)| ahead)), turn)
    }

    fn without_jumps(&mut self, now: Anchor) -> (Duration, Option<Turn>) {
        let line = self.anchor.wall_at(now.monotonic);
        let is_ahead = now.wall > line;
        let by = now.wall.abs_diff(line);
        let time = now.wall.min(line);
        match self.off {
            _ if by <= JUMP => (time, self.off.take().map(|_| Turn::Back)),
            Some((since, was_ahead)) if was_ahead == is_ahead => {
                if now.monotonic.saturating_duration_since(since) < self.believe_after {
                    return (time, None);
                }
                (self.anchor, self.off) = (now, None);
                (now.wall, Some(Turn::Believed))
            }
            _ => {
                self.off = Some((now.monotonic, is_ahead));
                (time, Some(if is_ahead { Turn::Ahead(by) } else { Turn::Behind(by) }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_is_told_once_and_followed_when_it_lasts() {
        let s = Duration::from_secs;
        let (began, wall) = (monotonic(), s(1_000_000));
        let mut steady = Steady::new(Anchor::of(began, wall), s(3_600));
        let mut look = |at: u64, said: u64| {
            let (time, turn) = steady.look(Anchor::of(began + s(at), s(said)));
            (time.as_secs(), turn)
        };
        assert_eq!(look(10, 1_000_010), (1_000_010, None));
        // set by little, either way
        assert_eq!(look(20, 1_000_029), (1_000_020, None));
        assert_eq!(look(30, 1_000_021), (1_000_021, None));
        // forth and back
        assert_eq!(look(40, 1_259_240), (1_000_040, Some(Turn::Ahead(s(259_200)))));
        assert_eq!(look(41, 1_259_241), (1_000_041, None));
        assert_eq!(look(42, 1_000_042), (1_000_042, Some(Turn::Back)));
        // back and forth
        assert_eq!(look(50, 0), (0, Some(Turn::Behind(s(1_000_050)))));
        assert_eq!(look(51, 1), (1, None));
        assert_eq!(look(52, 2_000_000), (1_000_052, Some(Turn::Ahead(s(999_948)))));
        // it stays there
        assert_eq!(look(3_651, 2_003_599), (1_003_651, None));
        assert_eq!(look(3_652, 2_003_600), (2_003_600, Some(Turn::Believed)));
        assert_eq!(look(3_700, 2_003_648), (2_003_648, None));
        // and was wrong there: what is forgotten follows, and is bounded by it from now on
        assert_eq!(look(4_000, 1_004_000), (1_004_000, Some(Turn::Behind(s(999_948)))));
        assert_eq!(look(7_600, 1_007_600), (1_007_600, Some(Turn::Believed)));
        assert_eq!(look(7_601, 2_007_601), (1_007_601, Some(Turn::Ahead(s(1_000_000)))));
    }

    #[test]
    fn a_clock_that_may_be_wrong_at_the_start_lets_no_more_time_go_by_than_is_certain() {
        let s = Duration::from_secs;
        let (began, wall) = (monotonic(), s(1_000_000));
        let mut steady = Steady::since(s(900_000), Anchor::of(began, wall), s(3_600));
        let mut look = |at: u64, said: u64| {
            let (time, turn) = steady.look(Anchor::of(began + s(at), s(said)));
            (time.as_secs(), turn)
        };
        assert_eq!(look(10, 1_000_010), (900_010, None));
        // it was a day ahead, and is set right
        assert_eq!(look(20, 913_620), (813_620, Some(Turn::Behind(s(86_400)))));
        assert_eq!(look(3_599, 917_199), (817_199, None));
        assert_eq!(look(3_620, 917_220), (917_220, Some(Turn::Believed)));
        // nothing is known of before
        let mut steady = Steady::since(s(0), Anchor::of(began, wall), s(3_600));
        assert_eq!(steady.look(Anchor::of(began, wall)), (wall, None));
    }

    #[test]
    fn the_wall_clock_goes_on_from_its_anchor() {
        let anchor = Anchor::now();
        let later = Duration::from_millis(1_500);
        assert_eq!(anchor.wall_at(anchor.monotonic), anchor.wall);
        assert_eq!(anchor.wall_at(anchor.monotonic + later), anchor.wall + later);
    }
}
