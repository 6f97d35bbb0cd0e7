//! Watches the memory of the process, tells the workers how short it is, and the log when that
//! changes.
//!
//! Owns: when it is looked, and the words. Never: a figure (`runtime::memory`), a level
//! (`lifecycle::pressure`), what a worker does about it.

use crate::lifecycle::load::LoadCell;
use crate::lifecycle::pressure::{Pressure, PressureSettings};
use crate::limits::admission::AdmissionSettings;
use crate::runtime::memory::{MemorySeen, MemoryWatch};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Between two looks: a process that fills 256 MiB in a second is seen at each 64 MiB.
const LOOK: Duration = Duration::from_millis(250);

/// A request takes several times its body (the copy that is read, its structure, what bidders are
/// sent), and half of the memory is for other things.
const BODIES_PART: u64 = 16;

/// How each of so many workers sheds: bodies that come faster than [`LOOK`] sees are bounded by
/// what the process may use.
pub fn bounded(
    admission: AdmissionSettings,
    pressure: &PressureSettings,
    workers: usize,
) -> AdmissionSettings {
    if admission.body_bytes_max != 0 {
        return admission;
    }
    let limit = MemoryWatch::new(pressure.limit).look().limit;
    let share = limit.map_or(0, |limit| limit / BODIES_PART / workers.max(1) as u64);
    AdmissionSettings { body_bytes_max: usize::try_from(share).unwrap_or(usize::MAX), ..admission }
}

/// What was last seen, for `/metrics`.
pub type MemoryState = Rc<Cell<(MemorySeen, Pressure)>>;

/// Watches until it is aborted.
pub async fn watch(settings: PressureSettings, cells: Vec<Arc<LoadCell>>, state: MemoryState) {
    let watch = MemoryWatch::new(settings.limit);
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut level = Pressure::None;
    loop {
        tick.tick().await;
        let seen = watch.look();
        let next = level.next(seen.part(), seen.stalled, &settings);
        if next != level {
            for cell in &cells {
                cell.press(next);
            }
            tell(level, next, &seen);
            level = next;
        }
        state.set((seen, level));
    }
}

fn tell(before: Pressure, now: Pressure, seen: &MemorySeen) {
    let is_worse = now > before;
    let (used, limit, stalled) = (seen.used, seen.limit.unwrap_or(0), seen.stalled);
    let (before, pressure) = (before.label(), now.label());
    if is_worse {
        let does = match now {
            Pressure::None | Pressure::Shrink => "caches are made small",
            Pressure::Shed => "requests for bids are shed; give the process more memory",
            Pressure::Close => "idle connections are closed; give the process more memory",
        };
        warn!(used, limit, stalled, pressure, before, "memory runs short: {does}");
    } else {
        info!(used, limit, pressure, before, "memory is less short");
    }
}
