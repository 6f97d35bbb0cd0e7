//! What the shards of a run counted comes together.
//!
//! Owns: the windows and the whole of a run while it lasts, and the progress figures that follow
//! from them. Never: a socket, a plan. Invariant: whatever a shard handed over is in one window and
//! in the whole.

use super::live::Live;
use super::report::{Report, histogram};
use crate::result::windows::Windows;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// Windows of the shortest length whose times the progress line shows: half a second.
const SHOWN: usize = 5;

/// One shard's end of it.
pub(super) struct Line {
    pub windows: Receiver<(u64, Box<Report>)>,
    pub spares: SyncSender<Box<Report>>,
}

/// See the file's header.
pub(super) struct Collector<'a> {
    live: &'a Live,
    windows: Windows,
    wholes: Vec<Report>,
    recent: VecDeque<(u64, Histogram<u64>, Histogram<u64>)>,
}

/// How long it waits for one shard before it looks at the next.
const WAIT: Duration = Duration::from_millis(10);

impl<'a> Collector<'a> {
    pub fn new(live: &'a Live) -> Self {
        Self { live, windows: Windows::default(), wholes: Vec::new(), recent: VecDeque::new() }
    }

    /// Collects until every shard is gone; gives the windows and the whole.
    pub fn run(mut self, lines: &[Line]) -> (Windows, Report) {
        self.wholes.resize_with(lines.len(), Report::default);
        let mut open = vec![true; lines.len()];
        while open.contains(&true) {
            for (index, line) in lines.iter().enumerate() {
                match line.windows.recv_timeout(WAIT) {
                    Ok((start_us, report)) => {
                        self.take(index, start_us, &report);
                        let mut spare = report;
                        spare.reset();
                        // a shard that is gone needs none
                        let _ = line.spares.try_send(spare);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => open[index] = false,
                }
            }
        }
        let mut whole = Report::default();
        self.wholes.iter().for_each(|part| whole.merge(part));
        (self.windows, whole)
    }

    fn take(&mut self, shard: usize, start_us: u64, report: &Report) {
        self.windows.add(start_us, report);
        self.live.add_statuses(&report.statuses);
        if let Some(whole) = self.wholes.get_mut(shard) {
            whole.follow(report);
        }
        if self.recent.back().is_none_or(|(start, ..)| *start < start_us) {
            // a histogram is large: the oldest ones are used again
            let oldest = if self.recent.len() < SHOWN { None } else { self.recent.pop_front() };
            let (latency, lateness) = match oldest {
                Some((_, mut latency, mut lateness)) => {
                    latency.reset();
                    lateness.reset();
                    (latency, lateness)
                }
                None => (histogram(), histogram()),
            };
            self.recent.push_back((start_us, latency, lateness));
        }
        if let Some((_, latency, lateness)) = self.recent.back_mut() {
            // cannot fail: equal bounds
            let _ = (latency.add(&report.latency), lateness.add(&report.lateness));
        }
        self.show();
    }

    fn show(&self) {
        let (mut latency, mut lateness) = (histogram(), histogram());
        for (_, one, other) in &self.recent {
            let _ = (latency.add(one), lateness.add(other));
        }
        let us = |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) / 1_000;
        self.live.show(us(&latency, 0.5), us(&latency, 0.99), us(&lateness, 0.99));
    }
}
