//! Which worker gets the next connection.
//!
//! Owns: the arithmetic from what workers publish to a choice. Pure: instants come in, an index
//! goes out. Never: a socket, a thread.
//! A connection stays on its worker; what can be done about a worker that has come to carry too
//! much is to ask it to let one connection go, which the partner opens anew ([`release`]).
//! Residue, by design: one HTTP/2 connection that carries more than a worker's share is that
//! worker's load. Then nothing better exists than to put nobody beside it.

use crate::lifecycle::load::Published;
use std::time::Duration;

/// A worker that has not published for this long is taken for stuck, hence for busy.
const SILENT: Duration = Duration::from_millis(400);
/// Fresh connections weigh on their worker for one to two of these, until their CPU shows.
const FRESH: Duration = Duration::from_millis(250);
/// What a fresh connection is expected to cost, in thousandths of a CPU: the mean of those that
/// have shown their load, within these bounds (one heavy partner must not scare all newcomers).
const EXPECTED: std::ops::RangeInclusive<u32> = 20..=100;
/// Less CPU than this, in thousandths, says nothing: among workers so idle, connections count.
const NOISE: u32 = 50;
/// A worker below this, in thousandths of a CPU, is never asked to let a connection go.
const RELEASE_LEAST: u32 = 150;
/// Nor one that is not this much busier than the mean, in hundredths.
const RELEASE_OVER_MEAN: u32 = 135;
/// A request in flight counts as this share of a CPU: 1/2000 (about 50 µs of CPU in 100 ms).
const IN_FLIGHT_PER_MILLE: u32 = 2;

/// How loaded one worker is, as far as placing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Thousandths of a CPU that its thread has used lately.
    pub busy: u32,
    pub in_flight: u32,
    pub connections: u32,
    /// Connections handed to it that its CPU time does not show yet.
    pub fresh: u32,
}

/// Follows one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Follower {
    last: Published,
    busy: u32,
    handed: u32,
    /// Handed in the current and in the last period of [`FRESH`].
    fresh: [u32; 2],
    period: u128,
}

impl Follower {
    /// Takes in what the worker published, at `now` of the same clock.
    pub fn see(&mut self, seen: Published, now: Duration) {
        let period = now.as_nanos() / FRESH.as_nanos();
        if period != self.period {
            let passed = if period == self.period + 1 { self.fresh[0] } else { 0 };
            (self.fresh, self.period) = ([0, passed], period);
        }
        let span = seen.at.saturating_sub(self.last.at);
        if !span.is_zero() {
            let used = seen.cpu.saturating_sub(self.last.cpu).as_nanos();
            let busy = u32::try_from(used * 1000 / span.as_nanos()).unwrap_or(1000).min(1000);
            // The mean of about the last four: 200 to 400 ms.
            self.busy = (self.busy * 3 + busy).div_ceil(4);
            self.last = seen;
        } else if now.saturating_sub(seen.at) > SILENT {
            self.busy = 1000;
        }
    }

    /// Notes that it was handed a connection.
    pub fn handed(&mut self) {
        self.handed = self.handed.wrapping_add(1);
        self.fresh[0] = self.fresh[0].saturating_add(1);
    }

    /// How many of its connections have shown no right to be here, those included that it has not
    /// published yet.
    pub fn strangers(&self) -> u32 {
        self.last.strangers.saturating_add(self.handed.wrapping_sub(self.last.taken))
    }

    /// Its load for [`pick`].
    pub fn load(&self) -> WorkerLoad {
        let unseen = self.handed.wrapping_sub(self.last.taken);
        WorkerLoad {
            busy: self.busy,
            in_flight: self.last.in_flight,
            connections: self.last.connections.saturating_add(unseen),
            fresh: self.fresh[0].saturating_add(self.fresh[1]).max(unseen),
        }
    }
}

/// The least loaded worker; among equals the one with fewer connections, then the lower index.
///
/// A fresh connection is expected to cost what a connection costs on average, so that a burst of
/// connections spreads although none of them has shown its load.
pub fn pick(loads: &[WorkerLoad]) -> Option<usize> {
    let settled = |load: &WorkerLoad| u64::from(load.connections.saturating_sub(load.fresh));
    let connections: u64 = loads.iter().map(settled).sum();
    let busy: u64 = loads.iter().map(|load| u64::from(load.busy)).sum();
    let mean = u32::try_from(busy.checked_div(connections).unwrap_or(0)).unwrap_or(u32::MAX);
    let expected = mean.clamp(*EXPECTED.start(), *EXPECTED.end());
    let cost = |load: &WorkerLoad| {
        load.busy
            .saturating_sub(NOISE)
            .saturating_add(load.in_flight / IN_FLIGHT_PER_MILLE)
            .saturating_add(load.fresh.saturating_mul(expected))
    };
    let keys = loads.iter().enumerate().map(|(at, load)| (cost(load), load.connections, at));
    keys.min().map(|(_, _, at)| at)
}

/// A worker that is to let a connection go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub worker: usize,
    /// Part of the worker's load, in thousandths, that the connection should best carry: half the
    /// distance to the idlest worker. One with twice as much would only swap the two.
    pub share: u32,
}

/// Whether a worker is so much busier than the others that a connection should move.
pub fn release(loads: &[WorkerLoad]) -> Option<Release> {
    let (worker, most) = loads.iter().enumerate().max_by_key(|(_, load)| load.busy)?;
    let least = loads.iter().map(|load| load.busy).min()?;
    let sum: u64 = loads.iter().map(|load| u64::from(load.busy)).sum();
    let workers = u64::try_from(loads.len()).ok()?;
    let is_over = u64::from(most.busy) * 100 * workers > sum * u64::from(RELEASE_OVER_MEAN);
    if most.busy < RELEASE_LEAST || most.connections < 2 || !is_over {
        return None;
    }
    Some(Release { worker, share: (most.busy - least) * 500 / most.busy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(busy: u32, in_flight: u32, connections: u32, fresh: u32) -> WorkerLoad {
        WorkerLoad { busy, in_flight, connections, fresh }
    }

    #[test]
    fn the_least_loaded_worker_is_picked() {
        for (name, loads, picked) in [
            ("nobody", vec![], None),
            ("all idle: the first", vec![load(0, 0, 0, 0); 3], Some(0)),
            ("fewer connections", vec![load(0, 0, 2, 0), load(0, 0, 1, 0)], Some(1)),
            (
                "less CPU beats fewer connections",
                vec![load(800, 0, 1, 0), load(100, 0, 40, 0)],
                Some(1),
            ),
            ("requests in flight count", vec![load(100, 900, 1, 0), load(300, 0, 1, 0)], Some(1)),
            (
                "fresh connections count before they show",
                vec![load(0, 0, 3, 3), load(50, 0, 1, 0)],
                Some(1),
            ),
            (
                "a burst behind an h2c partner",
                vec![load(900, 0, 1, 0), load(100, 0, 3, 2)],
                Some(1),
            ),
        ] {
            assert_eq!(pick(&loads), picked, "{name}");
        }
    }

    #[test]
    fn a_burst_of_connections_spreads_evenly() {
        let mut workers = [Follower::default(); 4];
        for _ in 0..40 {
            let loads: Vec<_> = workers.iter().map(Follower::load).collect();
            workers[pick(&loads).unwrap()].handed();
        }
        for worker in &workers {
            assert_eq!(worker.load().connections, 10);
        }
    }

    #[test]
    fn a_worker_that_stays_silent_is_taken_for_busy() {
        let mut worker = Follower::default();
        let ms = Duration::from_millis;
        worker.see(Published { at: ms(50), cpu: ms(5), ..Published::default() }, ms(60));
        assert!(worker.load().busy < 100);
        worker.see(Published { at: ms(50), cpu: ms(5), ..Published::default() }, ms(600));
        assert_eq!(worker.load().busy, 1000);
    }

    /// Four workers whose connections cost exact thousandths of a CPU.
    #[derive(Default)]
    struct Floor {
        followers: [Follower; 4],
        seen: [Published; 4],
        busy: [u32; 4],
        now: Duration,
    }

    impl Floor {
        /// Opens a connection; gives its worker.
        fn open(&mut self, share: u32) -> usize {
            let loads: Vec<_> = self.followers.iter().map(Follower::load).collect();
            let at = pick(&loads).unwrap();
            self.followers[at].handed();
            self.busy[at] += share;
            self.seen[at].taken += 1;
            self.seen[at].connections += 1;
            at
        }

        fn close(&mut self, at: usize, share: u32) {
            self.busy[at] -= share;
            self.seen[at].connections -= 1;
        }

        fn pass(&mut self, time: Duration) {
            let (step, end) = (Duration::from_millis(50), self.now + time);
            while self.now < end {
                self.now += step;
                for at in 0..self.busy.len() {
                    self.seen[at].at = self.now;
                    self.seen[at].cpu += step * self.busy[at] / 1000;
                    self.followers[at].see(self.seen[at], self.now);
                }
            }
        }

        /// Busiest worker over the mean, in hundredths.
        fn skew(&self) -> u32 {
            self.busy.iter().max().unwrap() * 400 / self.busy.iter().sum::<u32>()
        }
    }

    /// Lets one connection go as a worker does: the one nearest to the share, if that helps.
    fn let_go(floor: &mut Floor, shares: &[u32], places: &mut [usize]) {
        let loads: Vec<_> = floor.followers.iter().map(Follower::load).collect();
        let Some(Release { worker, share }) = release(&loads) else { return };
        let wanted = floor.busy[worker] * share / 1000;
        let candidates = (0..shares.len()).filter(|at| places[*at] == worker);
        let Some(at) = candidates
            .filter(|at| shares[*at] < 2 * wanted)
            .min_by_key(|at| shares[*at].abs_diff(wanted))
        else {
            return;
        };
        floor.close(worker, shares[at]);
        places[at] = floor.open(shares[at]);
    }

    #[test]
    fn eight_skewed_connections_and_one_h2c_partner_end_within_one_and_a_half_times_the_mean() {
        let skewed = [240, 30, 180, 60, 120, 90, 150, 30];
        for gap_ms in [0, 100, 400] {
            for position in 0..=skewed.len() {
                let mut shares = skewed.to_vec();
                shares.insert(position, 300);
                let mut floor = Floor::default();
                let mut places = Vec::new();
                for share in &shares {
                    places.push(floor.open(*share));
                    floor.pass(Duration::from_millis(gap_ms));
                }
                floor.pass(Duration::from_secs(1));
                let first = floor.skew();
                for _ in 0..5 {
                    let_go(&mut floor, &shares, &mut places);
                    floor.pass(Duration::from_secs(1));
                }
                let settled = floor.skew();
                println!("every {gap_ms} ms, h2c as number {position}: {first} %, {settled} %");
                assert!(settled <= 150, "{gap_ms} {position}: {settled} {:?}", floor.busy);
            }
        }
    }

    #[test]
    fn only_a_worker_that_is_too_busy_and_has_two_connections_lets_one_go() {
        for (name, loads, expected) in [
            ("nobody", vec![], None),
            ("even", vec![load(500, 0, 5, 0), load(400, 0, 5, 0)], None),
            ("all but idle", vec![load(100, 0, 5, 0), load(0, 0, 5, 0)], None),
            ("one connection is all it has", vec![load(900, 0, 1, 0), load(100, 0, 9, 0)], None),
            ("too busy", vec![load(800, 0, 5, 0), load(200, 0, 5, 0)], Some((0, 375))),
        ] {
            let expected = expected.map(|(worker, share)| Release { worker, share });
            assert_eq!(release(&loads), expected, "{name}");
        }
    }

    #[test]
    fn connections_that_come_at_once_are_spread_by_number() {
        // Nothing is known of nine connections that come in one moment: two or three on each
        // worker is all that can be done. Their loads even out as they are let go.
        let shares = [300, 240, 30, 180, 60, 120, 90, 150, 30];
        let mut floor = Floor::default();
        for share in shares {
            floor.open(share);
        }
        assert!(floor.seen.iter().all(|seen| (2..=3).contains(&seen.connections)));
    }
}
