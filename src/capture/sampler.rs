//! Which requests are kept: one sampler a worker, without a lock.
//!
//! Owns: [`Sampler`], the strata. Never: a queue, a clock, what is in a record. Invariants: what it
//! holds is bounded by its settings, whatever comes; the same seed and the same requests give the same
//! choice.

use super::Stratum;
use super::entry::micros;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// How long a request may be among the slowest or largest.
const ROUND: Duration = Duration::from_secs(60);
/// How long refusals and new cells are counted.
const SECOND: Duration = Duration::from_secs(1);

/// How many of which are kept. Each worker keeps as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrataSettings {
    /// By chance: of a million.
    pub sample_ppm: u32,
    /// The first of each cell of features ...
    pub novel_per_cell: u8,
    /// ... but no more than these: after a start almost everything is new. A cell that finds no room
    /// stays new.
    pub novel_per_second: u32,
    /// Cells that are told apart; those that come later are not kept as new.
    pub cells_max: usize,
    pub slow_per_minute: usize,
    pub large_per_minute: usize,
    pub refused_per_second: u32,
}

impl Default for StrataSettings {
    fn default() -> Self {
        Self {
            sample_ppm: 500,
            novel_per_cell: 3,
            novel_per_second: 20,
            cells_max: 16_384,
            slow_per_minute: 5,
            large_per_minute: 5,
            refused_per_second: 5,
        }
    }
}

/// What is known of a request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub now: Instant,
    pub is_refused: bool,
    /// Its features, each in bits of its own; none of a request that was not read so far.
    pub cell: Option<u64>,
    pub took: Duration,
    /// Of its body.
    pub bytes: usize,
}

/// Why a request is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// To be kept at once.
    Now(Stratum),
    /// To be held ([`Sampler::hold`]): at the end of its minute it may be among the greatest.
    Perhaps(Stratum),
}

/// Spreads what is one number already.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// So many a second, and no more.
#[derive(Debug)]
struct Allowance {
    room: u32,
    since: Instant,
    count: u32,
}

impl Allowance {
    const fn new(room: u32, since: Instant) -> Self {
        Self { room, since, count: 0 }
    }

    fn takes(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= SECOND {
            (self.since, self.count) = (now, 0);
        }
        let has_room = self.count < self.room;
        self.count += u32::from(has_room);
        has_room
    }
}

/// The greatest of a minute, waiting for its end.
#[derive(Debug)]
struct Greatest {
    room: usize,
    held: Vec<(u64, Vec<u8>)>,
}

impl Greatest {
    fn new(room: usize) -> Self {
        Self { room, held: Vec::new() }
    }

    fn wants(&self, size: u64) -> bool {
        self.held.len() < self.room || self.held.iter().any(|(least, _)| *least < size)
    }

    fn put(&mut self, size: u64, record: Vec<u8>) {
        if self.held.len() == self.room {
            let least = self.held.iter().enumerate().min_by_key(|(_, (size, _))| *size);
            let Some(least) = least.map(|(at, _)| at) else { return };
            self.held.swap_remove(least);
        }
        self.held.push((size, record));
    }
}

/// Chooses, for one worker.
pub struct Sampler {
    settings: StrataSettings,
    random: u64,
    cells: HashMap<u64, u8, BuildHasherDefault<Spread>>,
    novel: Allowance,
    refused: Allowance,
    round: Instant,
    slow: Greatest,
    large: Greatest,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sampler").field("cells", &self.cells.len()).finish_non_exhaustive()
    }
}

impl Sampler {
    /// Everything by chance follows from `seed`.
    pub fn new(settings: StrataSettings, seed: u64, now: Instant) -> Self {
        Self {
            settings,
            random: seed,
            cells: HashMap::default(),
            novel: Allowance::new(settings.novel_per_second, now),
            refused: Allowance::new(settings.refused_per_second, now),
            round: now,
            slow: Greatest::new(settings.slow_per_minute),
            large: Greatest::new(settings.large_per_minute),
        }
    }

    /// Whether a request is written down, and when.
    pub fn see(&mut self, seen: &Seen) -> Option<Chosen> {
        if let Some(stratum) = self.at_once(seen) {
            return Some(Chosen::Now(stratum));
        }
        if self.slow.wants(micros(seen.took)) {
            Some(Chosen::Perhaps(Stratum::Slow))
        } else if self.large.wants(seen.bytes as u64) {
            Some(Chosen::Perhaps(Stratum::Large))
        } else {
            None
        }
    }

    /// Takes the record of a request that was chosen perhaps, until its minute ends or others displace
    /// it.
    pub fn hold(&mut self, stratum: Stratum, seen: &Seen, record: Vec<u8>) {
        if stratum == Stratum::Slow {
            self.slow.put(micros(seen.took), record);
        } else {
            self.large.put(seen.bytes as u64, record);
        }
    }

    /// What the last minute left, once it is over.
    pub fn ended(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if now.saturating_duration_since(self.round) < ROUND {
            return Vec::new();
        }
        self.round = now;
        self.drain()
    }

    /// Whatever is held.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let held = self.slow.held.drain(..).chain(self.large.held.drain(..));
        held.map(|(_, record)| record).collect()
    }

    fn at_once(&mut self, seen: &Seen) -> Option<Stratum> {
        let other = if self.draw() < self.settings.sample_ppm {
            Some(Stratum::Sample)
        } else if !seen.is_refused {
            None
        } else if self.refused.takes(seen.now) {
            Some(Stratum::Refused)
        } else {
            return None;
        };
        // the cell is counted whatever else keeps the request
        let is_novel = seen.cell.is_some_and(|cell| self.is_novel(cell, seen.now, other.is_some()));
        other.or(is_novel.then_some(Stratum::Novel))
    }

    /// `is_kept`: for another reason.
    fn is_novel(&mut self, cell: u64, now: Instant, is_kept: bool) -> bool {
        let has_room = self.cells.len() < self.settings.cells_max;
        let count = match self.cells.entry(cell) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if has_room => entry.insert(0),
            Entry::Vacant(_) => return false,
        };
        if *count >= self.settings.novel_per_cell || !(is_kept || self.novel.takes(now)) {
            return false;
        }
        *count = count.saturating_add(1);
        true
    }

    /// 0 to 999,999, by the generator of Steele, Lea and Flood (2014).
    fn draw(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        u32::try_from((z >> 32).wrapping_mul(1_000_000) >> 32).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn none() -> StrataSettings {
        StrataSettings {
            sample_ppm: 0,
            novel_per_cell: 0,
            slow_per_minute: 0,
            large_per_minute: 0,
            refused_per_second: 0,
            ..StrataSettings::default()
        }
    }

    fn seen(now: Instant) -> Seen {
        Seen { now, is_refused: false, cell: None, took: Duration::from_millis(1), bytes: 100 }
    }

    /// As a worker does it; a record is its stratum and a number here.
    fn choose(sampler: &mut Sampler, seen: &Seen, number: u8) -> Option<Stratum> {
        match sampler.see(seen)? {
            Chosen::Now(stratum) => Some(stratum),
            Chosen::Perhaps(stratum) => {
                sampler.hold(stratum, seen, vec![stratum as u8, number]);
                None
            }
        }
    }

    fn chosen(settings: StrataSettings, seed: u64) -> Vec<Option<Stratum>> {
        let now = clock::monotonic();
        let mut sampler = Sampler::new(settings, seed, now);
        let requests = (0..20_000_u64).map(|number| Seen {
            is_refused: number % 97 == 0,
            cell: Some(number * number % 1_000),
            took: Duration::from_micros(number * 7_919 % 1_000),
            ..seen(now + Duration::from_millis(number))
        });
        requests.map(|seen| choose(&mut sampler, &seen, 0)).collect()
    }

    #[test]
    fn the_same_seed_chooses_the_same() {
        let settings = StrataSettings::default();
        assert_eq!(chosen(settings, 7), chosen(settings, 7));
        assert_ne!(chosen(settings, 7), chosen(settings, 8));
    }

    #[test]
    fn chance_takes_its_part_and_all_or_nothing_is_exact() {
        let count = |ppm| {
            let settings = StrataSettings { sample_ppm: ppm, ..none() };
            chosen(settings, 1).into_iter().flatten().count()
        };
        assert_eq!((count(0), count(1_000_000)), (0, 20_000));
        let tenth = count(100_000);
        assert!((1_850..2_150).contains(&tenth), "{tenth} of 20,000");
    }

    #[test]
    fn the_first_of_each_cell_are_kept_as_far_as_the_table_goes() {
        let now = clock::monotonic();
        let settings =
            StrataSettings { novel_per_cell: 2, novel_per_second: 1_000, cells_max: 10, ..none() };
        let mut sampler = Sampler::new(settings, 1, now);
        let kept = (0..1_000_u64)
            .filter(|number| {
                let seen = Seen { cell: Some(number % 50), ..seen(now) };
                choose(&mut sampler, &seen, 0).is_some()
            })
            .count();
        assert_eq!(kept, 20, "two of each of ten");
    }

    #[test]
    fn new_cells_wait_for_room_in_their_second_and_stay_new() {
        let now = clock::monotonic();
        let settings = StrataSettings { novel_per_cell: 1, novel_per_second: 3, ..none() };
        let mut sampler = Sampler::new(settings, 1, now);
        let mut kept = |second: u64| {
            let at = now + Duration::from_secs(second);
            let cells = (0..10_u64).filter(|cell| {
                choose(&mut sampler, &Seen { cell: Some(*cell), ..seen(at) }, 0).is_some()
            });
            cells.collect::<Vec<u64>>()
        };
        assert_eq!(kept(0), [0, 1, 2]);
        assert_eq!(kept(1), [3, 4, 5]);
        assert_eq!(kept(2), [6, 7, 8]);
        assert_eq!(kept(3), [9]);
        assert!(kept(4).is_empty());
    }

    #[test]
    fn less_than_one_of_a_thousand_is_kept_once_traffic_is_known() {
        let now = clock::monotonic();
        let mut sampler = Sampler::new(StrataSettings::default(), 1, now);
        // 5,000 a second for five minutes, of few cells that are usual and many that are not
        let mut kept = [0_u32; 5];
        for number in 0..1_500_000_u64 {
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let rare = if spread % 50 == 0 { spread / 50 % 1_000 } else { spread % 100 };
            let seen = Seen {
                cell: Some(rare),
                took: Duration::from_micros(spread % 7_919),
                ..seen(now + Duration::from_micros(number * 200))
            };
            let minute = usize::try_from(number / 300_000).unwrap();
            kept[minute] += u32::from(choose(&mut sampler, &seen, 0).is_some());
            kept[minute] += u32::try_from(sampler.ended(seen.now).len()).unwrap();
        }
        assert!(kept[0] > 1_000, "of a new process more: {kept:?}");
        assert!(kept[0] < 300 + 21 * 60, "but not many: {kept:?}");
        assert!(kept[4] < 300, "{kept:?} of 300,000");
    }

    #[test]
    fn refusals_are_kept_up_to_their_number_a_second() {
        let now = clock::monotonic();
        let settings = StrataSettings { refused_per_second: 3, ..none() };
        let mut sampler = Sampler::new(settings, 1, now);
        let mut kept = |at: u64| {
            let seen = Seen { is_refused: true, ..seen(now + Duration::from_millis(at)) };
            choose(&mut sampler, &seen, 0).is_some()
        };
        assert_eq!((0..10).filter(|_| kept(5)).count(), 3);
        assert_eq!((0..10).filter(|_| kept(1_006)).count(), 3);
    }

    #[test]
    fn the_slowest_and_the_largest_of_a_minute_are_kept_at_its_end() {
        let now = clock::monotonic();
        let settings = StrataSettings { slow_per_minute: 2, large_per_minute: 1, ..none() };
        let mut sampler = Sampler::new(settings, 1, now);
        for number in 0..100_u8 {
            let seen = Seen {
                took: Duration::from_micros(u64::from(number) * 37 % 100),
                bytes: usize::from(number) * 53 % 100,
                ..seen(now)
            };
            assert_eq!(choose(&mut sampler, &seen, number), None);
        }
        assert!(sampler.ended(now + Duration::from_secs(59)).is_empty());
        let kept = sampler.ended(now + Duration::from_secs(60));
        let slowest =
            |took: u32| (0..100).find(|number| u32::from(*number) * 37 % 100 == took).unwrap();
        for took in [98, 99] {
            assert!(kept.contains(&vec![Stratum::Slow as u8, slowest(took)]), "{kept:?}");
        }
        let is_large =
            |one: &Vec<u8>| one[0] == Stratum::Large as u8 && u32::from(one[1]) * 53 % 100 >= 98;
        assert!(kept.iter().any(is_large), "{kept:?}");
        assert_eq!(kept.len(), 3);
        assert!(sampler.ended(now + Duration::from_secs(200)).is_empty());
    }
}
