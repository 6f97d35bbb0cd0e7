//! Lives of a journal on a disk that fails, each told by its seed.
//!
//! `GAVEL_SEED=N` plays one seed; `GAVEL_FULL=1` plays 10,000 (or `GAVEL_SEEDS`) from `GAVEL_FROM`
//! on.

use super::disk::{Dice, Faults, SimDisk};
use gavel::journal::disk::Disk;
use gavel::journal::frame::Class;
use gavel::journal::maker::{Maker, Prepared};
use gavel::journal::open::{Recovered, recover};
use gavel::journal::published::{Published, Table};
use gavel::journal::store::{Entry, Store};
use gavel::journal::{Condition, JournalFault, Place, Refused, Settings, cursor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct Lives {
    dice: Dice,
    disk: SimDisk,
    settings: Settings,
    /// Payloads that were ever given to the journal under a sequence.
    offered: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    /// What must be there from now on.
    durable: BTreeMap<u64, Vec<u8>>,
    cursor: u64,
    counter: u64,
    acknowledged: u64,
    /// What a helper has made and not told of yet.
    made: Option<Prepared>,
}

impl Lives {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut settings = Settings {
            segment_bytes: 64 << 10,
            commit_bytes_max: 16 << 10,
            record_bytes_max: 4 << 10,
            ballast_bytes: dice.below(2) * (64 << 10),
            sinks: vec!["a".to_owned()],
            ..Settings::new("/main")
        };
        if dice.one_in(2) {
            settings.spill_dir = Some("/spill".into());
        }
        if dice.one_in(3) {
            settings.disk_bytes_max = (4 + dice.below(24)) * settings.segment_bytes;
        }
        let disk = SimDisk::new(dice.next());
        let (offered, durable) = (BTreeMap::new(), BTreeMap::new());
        Self {
            dice,
            disk,
            settings,
            offered,
            durable,
            cursor: 1,
            counter: 0,
            acknowledged: 0,
            made: None,
        }
    }

    /// What is found after a start is all that must be there, in order, and nothing else.
    fn start(&mut self) -> Option<Recovered> {
        let mut found = BTreeMap::new();
        let result = recover(&self.disk, &self.settings, &mut |_, record| {
            let twice = found.insert(record.sequence, record.payload.to_vec());
            assert_eq!(twice, None, "sequence {} came twice", record.sequence);
            assert!(found.keys().next_back() == Some(&record.sequence), "not in order");
        });
        let recovered = match result {
            Ok(recovered) => recovered,
            Err(JournalFault::Disk { .. }) => return None,
            Err(fault) => panic!("{fault}"),
        };
        let report = &recovered.report;
        assert_eq!((report.lost, report.damaged), (0, 0), "nothing is damaged: {report:?}");
        assert!(report.lost_cursors.is_empty(), "{report:?}");
        for (sequence, payload) in &self.durable {
            assert!(found.get(sequence) == Some(payload), "acknowledged {sequence} is not there");
        }
        for (sequence, payload) in &found {
            let offered = self.offered.get(sequence).is_some_and(|known| known.contains(payload));
            assert!(offered, "{sequence} was invented");
            assert!(*sequence < recovered.table.next);
        }
        assert!(recovered.cursors["a"].next >= self.cursor, "the cursor went back");
        // whoever asks now is told that these are counted
        self.durable = found;
        Some(recovered)
    }

    fn life(&mut self) {
        self.made = None;
        self.disk.set_faults(Faults::default());
        let dice = &mut self.dice;
        // some starts are interrupted too
        let early = dice.one_in(3);
        self.disk.crash_after(early.then(|| 1 + dice.below(20)));
        let Some(recovered) = self.start() else { return };
        let dice = &mut self.dice;
        let rates = [0, 0, 5, 20, 100];
        let rate = |dice: &mut Dice| rates[dice.index(rates.len())];
        self.disk.set_faults(Faults {
            sync_eio: rate(dice),
            write_eio: rate(dice),
            sync_full: rate(dice),
            sync_timeout: rate(dice),
        });
        let is_tight = dice.one_in(4);
        let room = self.disk.used() + dice.below(6) * (64 << 10);
        self.disk.set_room(if is_tight { room } else { u64::MAX });
        if !early {
            let dies = !dice.one_in(4);
            self.disk.crash_after(dies.then(|| 1 + dice.below(150)));
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let maker = Maker {
            disk: Arc::clone(&disk),
            settings: Arc::new(self.settings.clone()),
            dirs: Arc::new(self.settings.dirs()),
            published: Arc::new(Published::new(recovered.table, recovered.next_ordinal)),
        };
        maker.load_ballast();
        let mut store = Store::new(maker.clone(), disk);
        let in_use = || [Place::Main, Place::Spill].map(|place| maker.published.bytes_in(place));
        let most = in_use().map(|bytes| bytes.max(self.settings.disk_bytes_max));
        for _ in 0..self.dice.below(60) {
            self.step(&maker, &mut store);
            let is_within = in_use().iter().zip(most).all(|(bytes, most)| *bytes <= most);
            assert!(is_within, "{:?} of {most:?}", in_use());
            if self.disk.is_down() {
                return;
            }
        }
        if self.dice.one_in(2) {
            store.close(1);
        }
    }

    fn step(&mut self, maker: &Maker, store: &mut Store) {
        match self.dice.below(10) {
            0 => drop(store.mark(1)),
            // a helper is slow: the store may come to need one before it is told of this
            1 | 2 => match (self.made.take(), store.wants()) {
                (Some(prepared), _) => store.supply(prepared),
                (None, Some(place)) => match maker.make(place) {
                    Ok(prepared) if self.dice.one_in(2) => self.made = Some(prepared),
                    Ok(prepared) => store.supply(prepared),
                    Err(_) => store.cannot_make(place),
                },
                (None, None) => store.tick(),
            },
            3 => {
                for path in store.take_leftovers() {
                    let _ = self.disk.remove(&path);
                }
            }
            4 => {
                store.tick();
                let next = maker.published.durable();
                let next = self.cursor + self.dice.below(next.saturating_sub(self.cursor) + 1);
                let at = cursor::Cursor { next, delivered: 0, dead: 0 };
                // a sink goes past a record that it was given, and past nothing else
                let is_past_one = self.durable.contains_key(&(next - 1));
                if is_past_one && cursor::save(&self.disk, &self.settings.dir, "a", at).is_ok() {
                    self.cursor = next;
                }
            }
            _ => self.commit(maker, store),
        }
    }

    fn commit(&mut self, maker: &Maker, store: &mut Store) {
        let before = maker.published.durable();
        let payloads: Vec<Vec<u8>> = (0..=self.dice.below(5))
            .map(|_| {
                self.counter += 1;
                let mut payload = self.counter.to_le_bytes().to_vec();
                payload.resize(8 + self.dice.index(3000), 0x80 | self.counter.to_le_bytes()[0]);
                payload
            })
            .collect();
        for (sequence, payload) in (before..).zip(&payloads) {
            self.offered.entry(sequence).or_default().insert(payload.clone());
        }
        let class = if self.dice.one_in(5) { Class::Buffered } else { Class::Durable };
        let entries: Vec<Entry<'_>> =
            payloads.iter().map(|payload| Entry { kind: 9, class, ends_s: 0, payload }).collect();
        if let Ok(sequences) = store.commit(&entries, 1) {
            assert_eq!(sequences.start, before);
            assert_eq!(maker.published.durable(), sequences.end);
            self.acknowledged += payloads.len() as u64;
            self.durable.extend(sequences.zip(payloads));
        }
    }
}

/// Answers how many records were acknowledged.
fn play(seed: u64) -> u64 {
    let mut lives = Lives::new(seed);
    for _ in 0..6 {
        lives.life();
        // sometimes only the process ends, and the machine goes on
        if lives.disk.is_down() || lives.dice.one_in(2) {
            lives.disk.power_cycle();
        }
        lives.disk.crash_after(None);
        lives.disk.set_room(u64::MAX);
    }
    lives.disk.set_faults(Faults::default());
    assert!(lives.start().is_some(), "a disk without faults is read");
    lives.acknowledged
}

/// A store of small segments, and what makes them; and a commit of 10,000 bytes.
fn small_store(disk: &Arc<dyn Disk>, settings: Settings) -> (Maker, Store, Settings) {
    let settings = Settings {
        segment_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        record_bytes_max: 12 << 10,
        ballast_bytes: 0,
        ..settings
    };
    let fresh = recover(&**disk, &settings, &mut |_, _| ()).unwrap();
    let maker = Maker {
        disk: Arc::clone(disk),
        settings: Arc::new(settings.clone()),
        dirs: Arc::new(settings.dirs()),
        published: Arc::new(Published::new(fresh.table, fresh.next_ordinal)),
    };
    (maker.clone(), Store::new(maker, Arc::clone(disk)), settings)
}

fn commit(store: &mut Store) -> Result<u64, Refused> {
    let entry = Entry { kind: 9, class: Class::Durable, ends_s: 0, payload: &[7; 10_000] };
    store.commit(&[entry], 1).map(|sequences| sequences.end)
}

#[test]
fn a_segment_that_was_made_too_late_gets_a_new_number() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let (maker, mut store, settings) = small_store(&disk, Settings::new("/main"));
    commit(&mut store).unwrap();
    let late = maker.make(store.wants().unwrap()).unwrap();
    // more than the first segment holds: the store makes the next one by itself
    (0..10).for_each(|_| {
        commit(&mut store).unwrap();
    });
    store.supply(late);
    assert!(store.wants().is_none(), "it is there");
    assert!(store.take_leftovers().is_empty());
    let stalls = &maker.published.counts.stalls;
    let before = stalls.load(Ordering::Relaxed);
    let records = (0..6).map(|_| commit(&mut store).unwrap()).last().unwrap();
    assert_eq!(stalls.load(Ordering::Relaxed), before, "it is used");
    let again = recover(&*disk, &settings, &mut |_, _| ()).unwrap();
    assert_eq!((again.table.next, again.report.lost), (records, 0));
}

#[test]
fn a_segment_that_was_made_beside_the_last_one_that_has_room_is_not_used() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let limit = 2 * (64 << 10);
    let limited = Settings { disk_bytes_max: limit, ..Settings::new("/main") };
    let (maker, mut store, _) = small_store(&disk, limited);
    commit(&mut store).unwrap();
    let late = maker.make(store.wants().unwrap()).unwrap();
    (0..10).for_each(|_| {
        commit(&mut store).unwrap();
    });
    assert_eq!(maker.published.bytes_in(Place::Main), limit);
    store.supply(late.clone());
    assert_eq!(store.take_leftovers(), [late.path]);
    assert_eq!(maker.published.condition(), Condition::Last);
    // the last one is filled, and then there is nowhere left
    let end = (0..10).find_map(|_| commit(&mut store).err());
    assert_eq!((end, maker.published.bytes_in(Place::Main)), (Some(Refused::Failed), limit));
}

#[test]
fn a_folder_that_fails_is_not_the_last_while_there_is_another() {
    let settings = Settings { spill_dir: Some("/spill".into()), ..Settings::new("/main") };
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let maker = Maker {
        disk: Arc::clone(&disk),
        settings: Arc::new(settings.clone()),
        dirs: Arc::new(settings.dirs()),
        published: Arc::new(Published::new(Table::default(), 1)),
    };
    let mut store = Store::new(maker.clone(), disk);
    let condition = || maker.published.condition();
    store.cannot_make(Place::Main);
    assert_eq!((condition(), store.wants()), (Condition::Sound, Some(Place::Spill)));
    store.cannot_make(Place::Spill);
    assert_eq!(condition(), Condition::Last);
    // a further failure of the first folder is no relief
    store.tick();
    store.cannot_make(Place::Main);
    assert_eq!(condition(), Condition::Last);
    let made = maker.make(Place::Spill).unwrap();
    store.supply(made);
    assert_eq!(condition(), Condition::Sound);
}

#[test]
fn nothing_acknowledged_is_lost_whatever_the_disk_does() {
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var_os(name)?.into_string().ok()?;
        text.parse().ok()
    };
    let from = number("GAVEL_FROM").unwrap_or(1);
    let is_full = std::env::var_os("GAVEL_FULL").is_some();
    let count = number("GAVEL_SEEDS").unwrap_or(if is_full { 10_000 } else { 150 });
    let seeds = match number("GAVEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + count,
    };
    let mut acknowledged = 0;
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| play(seed)) {
            Ok(records) => acknowledged += records,
            Err(cause) => {
                println!("seed {seed}: GAVEL_SEED={seed} plays it again");
                std::panic::resume_unwind(cause);
            }
        }
    }
    println!("seeds {seeds:?}: {acknowledged} records acknowledged, none lost");
    assert!(acknowledged > 0);
}
