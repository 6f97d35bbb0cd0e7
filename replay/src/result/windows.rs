//! The windows of a run while it lasts.
//!
//! Owns: the doubling of their length. Never: a clock. Invariant: never more than
//! [`WINDOWS_MAX`]; nothing that was added is lost when the length doubles.

use super::{Counts, WINDOW_US, WINDOWS_MAX, Window};
use crate::drive::report::Report;

/// See the file's header.
#[derive(Clone, Debug)]
pub struct Windows {
    length_us: u64,
    windows: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Self {
        Self { length_us: WINDOW_US, windows: Vec::new() }
    }
}

impl Windows {
    /// Adds what happened from `start_us` on, within one of the shortest windows.
    pub fn add(&mut self, start_us: u64, report: &Report) {
        self.counts_at(start_us).add_report(report);
    }

    /// Length of each, and all of them.
    pub fn finish(self) -> (u64, Vec<Window>) {
        (self.length_us, self.windows)
    }

    /// The counts of the window that holds a moment, which is made where it is not there.
    pub(super) fn counts_at(&mut self, at_us: u64) -> &mut Counts {
        while at_us / self.length_us >= WINDOWS_MAX as u64 {
            self.double();
        }
        let index = usize::try_from(at_us / self.length_us).unwrap_or(WINDOWS_MAX - 1);
        while self.windows.len() <= index {
            let start_us = self.windows.len() as u64 * self.length_us;
            let length_us = self.length_us;
            self.windows.push(Window { start_us, length_us, counts: Counts::default() });
        }
        &mut self.windows[index].counts
    }

    /// The length of each.
    pub(super) fn length_us(&self) -> u64 {
        self.length_us
    }

    /// Joins each two neighbours.
    pub(super) fn double(&mut self) {
        self.length_us = self.length_us.saturating_mul(2);
        let mut joined: Vec<Window> = Vec::with_capacity(self.windows.len().div_ceil(2));
        for (index, window) in std::mem::take(&mut self.windows).into_iter().enumerate() {
            match joined.last_mut() {
                Some(last) if index % 2 == 1 => last.counts.add(&window.counts),
                _ => joined.push(Window {
                    start_us: joined.len() as u64 * self.length_us,
                    length_us: self.length_us,
                    counts: window.counts,
                }),
            }
        }
        self.windows = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_fits_and_nothing_is_lost() {
        let mut windows = Windows::default();
        for second in 0..3_600 {
            let mut report = Report { planned: 3, queue_peak: second, ..Report::default() };
            report.latency.saturating_record(second * 1_000);
            windows.add(second * 1_000_000, &report);
        }
        let (length_us, windows) = windows.finish();
        assert_eq!(length_us, 6_400_000);
        assert_eq!(windows.len(), 563);
        assert_eq!(windows.iter().map(|window| window.counts.planned).sum::<u64>(), 10_800);
        let times: u64 = windows.iter().map(|window| window.counts.latency.histogram().len()).sum();
        assert_eq!(times, 3_600);
        assert_eq!(windows[562].counts.queue_peak, 3_599);
        for (index, window) in windows.iter().enumerate() {
            assert_eq!(window.start_us, index as u64 * length_us);
        }
    }
}
