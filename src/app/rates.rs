//! Looks at the age of the exchange rates about every minute, and complains while they are old.
//!
//! Owns: when it is looked, and the words. Never: what stale rates do (`money`).

use crate::clock;
use crate::money::Rates;
use crate::snapshot::Live;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);

/// Rates are brought every day: older ones are complained of.
const OLD: Duration = Duration::from_secs(24 * 3_600);

/// Looks after which it is said again: an hour of them.
const AGAIN: u32 = 60;

/// What the rates are, by their age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Age {
    #[default]
    Fresh,
    /// Over a day: somebody should look.
    Old,
    /// Over the limit, or of a day to come: they convert nothing.
    Stale,
}

impl Age {
    fn of(rates: &Rates, wall: Duration) -> Self {
        match rates.age(wall) {
            _ if rates.are_stale(wall) => Self::Stale,
            Some(age) if age > OLD => Self::Old,
            _ => Self::Fresh,
        }
    }
}

/// What was said last, and how many looks ago.
#[derive(Debug, Default)]
struct Alarm {
    said: Age,
    looks: u32,
}

impl Alarm {
    /// What is to be said now: a change at once, an alarm again and again.
    fn look(&mut self, age: Age) -> Option<Age> {
        self.looks = self.looks.saturating_add(1);
        let is_due = age != self.said || (age != Age::Fresh && self.looks >= AGAIN);
        if is_due {
            *self = Self { said: age, looks: 0 };
        }
        is_due.then_some(age)
    }
}

/// Watches until it is aborted.
pub async fn watch(live: Arc<Live>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut alarm = Alarm::default();
    loop {
        look.tick().await;
        let Some(snapshot) = live.take() else { continue };
        let wall = clock::wall();
        let hours = snapshot.rates.age(wall).unwrap_or_default().as_secs() / 3_600;
        match alarm.look(Age::of(&snapshot.rates, wall)) {
            None => {}
            Some(Age::Fresh) => info!("exchange rates are fresh again"),
            Some(Age::Old) => warn!(hours, "exchange rates are old: bring newer ones"),
            Some(Age::Stale) => error!(
                hours,
                "exchange rates are too old, or of a day to come: only bids and floors of the \
                 auction's currency count"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_old_after_a_day_and_stale_behind_their_limit() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let rates = Rates::default().dated(hours(100), hours(72));
        for (at, age) in [
            (0, Age::Stale),
            (75, Age::Stale),
            (76, Age::Fresh),
            (124, Age::Fresh),
            (125, Age::Old),
            (172, Age::Old),
            (173, Age::Stale),
        ] {
            assert_eq!(Age::of(&rates, hours(at)), age, "{at}");
        }
        assert_eq!(Age::of(&Rates::default(), hours(9_000)), Age::Fresh);
    }

    #[test]
    fn a_change_is_said_at_once_and_an_alarm_every_hour() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.look(Age::Fresh), None);
        assert_eq!(alarm.look(Age::Old), Some(Age::Old));
        let said = (0..120).filter_map(|_| alarm.look(Age::Old)).count();
        assert_eq!(said, 2);
        assert_eq!(alarm.look(Age::Stale), Some(Age::Stale));
        assert_eq!(alarm.look(Age::Fresh), Some(Age::Fresh));
        assert_eq!((0..200).find_map(|_| alarm.look(Age::Fresh)), None);
    }
}
