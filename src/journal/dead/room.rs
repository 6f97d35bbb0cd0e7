//! How much the folder of letters takes.
//!
//! Owns: when its segments go, and when letters are moved. Never: a letter's state. Invariants: a
//! letter that is moved is durable in its new place before the old one goes; what closes a letter
//! goes no sooner than the letter; a fault of the disk here fails nobody's step, and is tried again at
//! the next.
//!
//! Segments go from the oldest on. One letter that is open for a month would hold back all that came
//! behind it: so where what is done with takes more than half of what is open (and a few segments),
//! the open letters of the oldest segment are written anew at the end, under their numbers. To free a
//! segment, two are written at most.

use super::super::frame::record_bytes;
use super::super::maker::damaged_name;
use super::super::survey::path_of;
use super::{DeadLetters, Letter, form};
use crate::journal::JournalFault;
use crate::journal::published::Segment;
use crate::money_event::kind::LETTER;

/// Letters, and what becomes of them, take one part in so many of `disk_bytes_max`, beside the
/// journal's segments; ...
const SHARE: u64 = 8;
/// ... but so many segments of their own in any case.
const SEGMENTS_MIN: u64 = 16;
/// Segments of what is done with that stay in any case.
const SLACK: u64 = 4;
/// Steps that pass after one for which no segment could be made ahead.
const PAUSE: u32 = 64;

/// Where the folder ends, come what may: far behind its share, so that what closes letters, and
/// makes room, has a place.
pub(super) fn limit(disk_bytes_max: u64, segment_bytes: u64) -> u64 {
    disk_bytes_max.max(2 * SEGMENTS_MIN * segment_bytes)
}

impl DeadLetters {
    /// What open letters may take: half of the folder's share, since what is done with stays for a
    /// while.
    fn bytes_max(&self) -> u64 {
        let least = SEGMENTS_MIN * self.settings.segment_bytes;
        (self.settings.disk_bytes_max / SHARE).max(least) / 2
    }

    /// Bytes that more letters may take.
    pub fn room(&self) -> u64 {
        self.bytes_max().saturating_sub(self.index.bytes)
    }

    /// Bytes that more letters may take where dead ones give way.
    pub fn room_without_dead(&self) -> u64 {
        self.bytes_max().saturating_sub(self.index.bytes.saturating_sub(self.index.dead_bytes))
    }

    /// Of an open letter, in the mean; never 0.
    pub fn mean_bytes(&self) -> u64 {
        self.index.bytes.checked_div(self.index.known.len() as u64).unwrap_or_default().max(1)
    }

    /// Of the longest that can be.
    pub fn bytes_of_longest(&self) -> u64 {
        record_bytes(self.settings.record_bytes_max) as u64
    }

    /// What a letter takes.
    pub fn bytes_of(letter: &Letter) -> u64 {
        record_bytes(form::write(letter, super::LetterState::Dead, None).len()) as u64
    }

    /// Removes what holds no open letter, and moves letters that hold back much of it.
    pub(super) fn tidy(&mut self) {
        self.pause = self.pause.saturating_sub(1);
        let tidied = self.trim().and_then(|()| self.make_ahead()).and_then(|()| {
            // without a segment ahead what closes letters needs the rest of the last one
            let has_place = self.store.wants().is_none();
            // one a step: a step writes less, and does not wait for many commits
            if has_place && self.is_mostly_done() && self.move_oldest()? {
                self.trim()?;
                self.make_ahead()?;
            }
            Ok(())
        });
        if let Err(fault) = &tidied
            && !self.is_untidy
        {
            tracing::warn!(%fault, cause = ?fault, "the folder of letters does not shrink");
        }
        self.is_untidy = tidied.is_err();
    }

    /// One segment is always there already: on a disk that others have filled, what closes letters
    /// has a place.
    fn make_ahead(&mut self) -> Result<(), JournalFault> {
        let is_failed = self.published.parts().is_failed;
        if is_failed || self.pause > 0 || self.published.table().segments.is_empty() {
            return Ok(());
        }
        self.probe().inspect_err(|_| self.pause = PAUSE)
    }

    fn is_mostly_done(&self) -> bool {
        let segments = self.published.table().segments;
        let all: u64 = segments.iter().map(|segment| segment.file_bytes).sum();
        let open = self.index.bytes;
        all > open + open / 2 + SLACK * self.settings.segment_bytes
    }

    /// Writes the open letters of the oldest segment anew; false where that cannot be.
    fn move_oldest(&mut self) -> Result<bool, JournalFault> {
        let segments = self.published.table().segments;
        let [oldest, _, ..] = segments.as_slice() else { return Ok(false) };
        let numbers = self.index.before(oldest.next);
        let letters = self.read(&numbers)?;
        if letters.len() != numbers.len() {
            // what the disk has lost stays where a start finds that it did
            return Ok(false);
        }
        let write = |(number, state, letter): &_| form::write(letter, *state, Some(*number));
        let payloads: Vec<Vec<u8>> = letters.iter().map(write).collect();
        let places = self.append_all(LETTER, &payloads, 0)?;
        for ((at, payload), (number, state, letter)) in
            places.into_iter().zip(&payloads).zip(letters)
        {
            self.index.put(number, &letter, state, (at, payload.len()));
        }
        Ok(true)
    }

    /// Removes the oldest segments that hold no open letter.
    fn trim(&mut self) -> Result<(), JournalFault> {
        let oldest = self.index.first_place().unwrap_or(u64::MAX);
        let segments = self.published.table().segments;
        let last = segments.len().saturating_sub(1);
        let gone = segments.iter().take(last).take_while(|segment| segment.next <= oldest);
        let mut is_any_gone = false;
        for segment in gone {
            // in their order: what closes a letter stands behind it
            self.remove(segment)?;
            self.published.forget(&[segment.ordinal]);
            is_any_gone = true;
        }
        if !is_any_gone {
            return Ok(());
        }
        let dir = &self.settings.dir;
        self.disk.sync_dir(dir).map_err(JournalFault::disk("sync", dir))
    }

    /// One with damage stays for people under a name that is no segment's: its letters would be open
    /// again where what closed them has gone.
    fn remove(&self, segment: &Segment) -> Result<(), JournalFault> {
        let dirs = self.settings.dirs();
        let path = path_of(&dirs, segment.place, segment.ordinal, segment.is_damaged);
        if segment.is_damaged {
            let kept = dirs.of(segment.place).join(damaged_name(segment.ordinal) + ".done");
            self.disk.rename(&path, &kept).map_err(JournalFault::disk("rename", &path))
        } else {
            self.disk.remove(&path).map_err(JournalFault::disk("remove", &path))
        }
    }
}
