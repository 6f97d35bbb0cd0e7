//! `[memory]`: what happens when memory runs short.
//!
//! Owns: the reading of `PressureSettings`. Never: a figure.

use super::reader::Table;
use crate::lifecycle::pressure::PressureSettings;

/// Reads the section.
pub fn read(root: &mut Table) -> PressureSettings {
    let d = PressureSettings::default();
    let mut t = root.section("memory");
    let shrink_at = t.integer(
        "shrink_at",
        d.shrink_at,
        50..=99,
        "Per cent of the memory limit at which caches are made small.",
    );
    let shed_at = t.integer(
        "shed_at",
        d.shed_at,
        50..=99,
        "Per cent at which requests for bids are shed as under overload; not below `shrink_at`.",
    );
    let close_at = t.integer(
        "close_at",
        d.close_at,
        50..=99,
        "Per cent at which idle connections are closed as well; not below `shed_at`.",
    );
    let limit = t.bytes(
        "limit",
        0,
        0..=1 << 40,
        "What this process may use (its resident memory); 0: what its control group allows, page cache that is not in use left out.",
    );
    if shed_at < shrink_at {
        t.fault_of("shed_at", "not below `shrink_at`", None);
    }
    if close_at < shed_at {
        t.fault_of("close_at", "not below `shed_at`", None);
    }
    t.end();
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0);
    PressureSettings { shrink_at, shed_at, close_at, limit }
}
