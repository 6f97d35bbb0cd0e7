//! What a process does that runs short of memory.
//!
//! Owns: [`Pressure`] and when it rises and falls. Never: a file, a clock, a worker.
//! Invariant: events that are money are served at every level; a level falls only when the use is
//! clearly below where it rose, so that it does not flicker.

/// How short of memory the process is; each level does what the ones before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pressure {
    #[default]
    None,
    /// Caches are made small.
    Shrink,
    /// Requests for bids are shed as under overload.
    Shed,
    /// Idle connections are closed.
    Close,
}

/// Where levels begin, in per cent of the memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressureSettings {
    /// (50 to 99.)
    pub shrink_at: u8,
    /// Not below `shrink_at`.
    pub shed_at: u8,
    /// Not below `shed_at`.
    pub close_at: u8,
    /// Bytes of this process, instead of the limit of its control group.
    pub limit: Option<u64>,
}

/// A level is left when the use is so far below its beginning.
const FALL: f64 = 0.05;
/// Of the arithmetic: less is no difference.
const NOISE: f64 = 1e-9;
/// So much of the time stalled for memory is a shortage whatever the figures say.
const STALLED: f64 = 0.1;

impl Default for PressureSettings {
    fn default() -> Self {
        Self { shrink_at: 80, shed_at: 90, close_at: 95, limit: None }
    }
}

impl Pressure {
    const ALL: [Self; 4] = [Self::None, Self::Shrink, Self::Shed, Self::Close];

    /// From its number; an unknown one is the worst.
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Close)
    }

    /// For logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Shrink => "shrink",
            Self::Shed => "shed",
            Self::Close => "close",
        }
    }

    /// The level after a look: `part` of the limit is used.
    #[must_use]
    pub fn next(self, part: f64, stalled: Option<f64>, settings: &PressureSettings) -> Self {
        let begin = |percent: u8| f64::from(percent) / 100.0;
        let levels = [
            (Self::Close, begin(settings.close_at)),
            (Self::Shed, begin(settings.shed_at)),
            (Self::Shrink, begin(settings.shrink_at)),
        ];
        let holds = |(level, from): &(Self, f64)| {
            part >= *from || (self >= *level && part - (*from - FALL) > NOISE)
        };
        let level =
            levels.iter().find(|level| holds(level)).map_or(Self::None, |(level, _)| *level);
        let is_stalled = stalled.is_some_and(|part| part >= STALLED);
        if is_stalled { level.max(Self::Shrink) } else { level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_where_they_are_set_and_fall_later() {
        let settings = PressureSettings::default();
        let mut level = Pressure::None;
        for (percent, expected) in [
            (79, Pressure::None),
            (80, Pressure::Shrink),
            (76, Pressure::Shrink),
            (75, Pressure::None),
            (96, Pressure::Close),
            (91, Pressure::Close),
            (90, Pressure::Shed),
            (86, Pressure::Shed),
            (85, Pressure::Shrink),
            (94, Pressure::Shed),
            (20, Pressure::None),
        ] {
            level = level.next(f64::from(percent) / 100.0, None, &settings);
            assert_eq!(level, expected, "at {percent} %");
        }
    }

    #[test]
    fn a_process_that_stalls_for_memory_is_short_of_it() {
        let settings = PressureSettings::default();
        let next = |part, stalled| Pressure::None.next(part, Some(stalled), &settings);
        assert_eq!(next(0.5, 0.05), Pressure::None);
        assert_eq!(next(0.5, 0.2), Pressure::Shrink);
        assert_eq!(next(0.92, 0.2), Pressure::Shed);
    }

    #[test]
    fn a_level_survives_its_way_as_a_number() {
        for level in Pressure::ALL {
            assert_eq!(Pressure::of(level as u8), level);
        }
        assert_eq!(Pressure::of(200), Pressure::Close);
    }
}
