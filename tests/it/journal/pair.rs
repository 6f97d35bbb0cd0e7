//! A journal of which only one of the two folders is there.

use super::threads::{bill, small};
use gavel::journal::disk::real::RealDisk;
use gavel::journal::frame::{HEADER_BYTES, SegmentHeader};
use gavel::journal::open::{Opened, open};
use gavel::journal::{JournalFault, Settings};
use gavel::money_event::codec::identify;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Folders of a journal whose own has room for a few segments.
struct Folders {
    _keep: tempfile::TempDir,
    main: PathBuf,
    spill: PathBuf,
    elsewhere: PathBuf,
}

impl Folders {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let [main, spill, elsewhere] =
            ["main", "spill", "elsewhere"].map(|name| keep.path().join(name));
        fs::create_dir(&elsewhere).unwrap();
        Self { _keep: keep, main, spill, elsewhere }
    }

    fn settings(&self, spill_dir: Option<&PathBuf>) -> Settings {
        Settings {
            disk_bytes_max: 3 * (64 << 10),
            spill_dir: spill_dir.cloned(),
            ballast_bytes: 0,
            ..small(&self.main)
        }
    }

    fn open(&self, spill_dir: Option<&PathBuf>) -> Result<Opened, JournalFault> {
        open(self.settings(spill_dir), Arc::new(RealDisk), identify)
    }
}

/// Fills the journal's own folder, so that an event stands in the spill folder; gives its id.
fn fill(folders: &Folders) -> u128 {
    let Opened { journal, running, .. } = folders.open(Some(&folders.spill)).unwrap();
    for _ in 0..1_000 {
        journal.append_durable(20, vec![7; 4_000]).unwrap().wait().unwrap();
        if journal.published().parts().is_spilling {
            break;
        }
    }
    assert_eq!(bill(&journal, 1), Ok(true));
    assert!(journal.published().parts().is_spilling);
    running.close();
    1
}

#[test]
fn a_journal_does_not_begin_without_its_spill_folder() {
    let folders = Folders::new();
    let last = fill(&folders);
    for given in [None, Some(&folders.elsewhere)] {
        let refused = folders.open(given).map(|_| ()).unwrap_err();
        assert!(matches!(&refused, JournalFault::NoSpill { .. }), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(folders.spill.to_str().unwrap()), "{text}");
    }
    // moved to another place it is the same folder
    let moved = folders.spill.with_file_name("moved");
    fs::rename(&folders.spill, &moved).unwrap();
    let Opened { journal, running, .. } = folders.open(Some(&moved)).unwrap();
    assert_eq!((bill(&journal, last), bill(&journal, last + 1)), (Ok(false), Ok(true)));
    running.close();
    // it is lost, and somebody says so
    fs::remove_dir_all(&moved).unwrap();
    assert!(folders.open(None).is_err());
    fs::remove_file(folders.main.join("spill-folder")).unwrap();
    folders.open(None).unwrap().running.close();
}

#[test]
fn a_spill_folder_without_a_record_may_be_left_out() {
    let folders = Folders::new();
    let opened = folders.open(Some(&folders.spill)).unwrap();
    assert_eq!(bill(&opened.journal, 1), Ok(true));
    opened.running.close();
    fs::remove_dir_all(&folders.spill).unwrap();
    folders.open(None).unwrap().running.close();
    // not closed: it is looked into
    let opened = folders.open(Some(&folders.spill)).unwrap();
    let marks = [folders.main.join("spill-folder"), folders.spill.join("spill-of")];
    let kept = marks.each_ref().map(|mark| fs::read(mark).unwrap());
    opened.running.close();
    marks.iter().zip(kept).for_each(|(mark, bytes)| fs::write(mark, bytes).unwrap());
    let Opened { journal, running, .. } = folders.open(None).unwrap();
    assert_eq!(bill(&journal, 1), Ok(false));
    running.close();
    assert!(!marks[0].exists());
}

#[test]
fn a_spill_folder_does_not_begin_as_the_journal() {
    let folders = Folders::new();
    fill(&folders);
    let lost = folders.main.with_file_name("lost");
    fs::rename(&folders.main, &lost).unwrap();
    let refused = folders.open(Some(&folders.spill)).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, JournalFault::NoMain { .. }), "{refused:?}");
    fs::remove_dir_all(&folders.main).unwrap();
    fs::rename(&lost, &folders.main).unwrap();
    folders.open(Some(&folders.spill)).unwrap().running.close();
}

#[test]
fn segments_that_both_have_durable_records_of_one_sequence_are_refused_and_kept() {
    let folders = Folders::new();
    let Opened { journal, running, .. } = folders.open(None).unwrap();
    (1..4).for_each(|id| assert_eq!(bill(&journal, id), Ok(true)));
    running.close();
    let [one, other] = [1, 2].map(|number| folders.main.join(format!("{number:016}.seg")));
    let mut bytes = fs::read(&one).unwrap();
    let (old, _) = bytes.split_first_chunk::<HEADER_BYTES>().unwrap();
    let header = SegmentHeader { ordinal: 2, ..SegmentHeader::read(old).unwrap() };
    bytes[..HEADER_BYTES].copy_from_slice(&header.write());
    fs::write(&other, &bytes).unwrap();
    let refused = folders.open(None).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, JournalFault::Both { first: 1, .. }), "{refused:?}");
    assert!(one.exists() && other.exists());
}

#[test]
fn commands_say_that_a_part_is_not_there() {
    let folders = Folders::new();
    fill(&folders);
    let run = |arguments: &[&str], spill: &[&Path]| {
        let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(arguments)
            .arg(&folders.main)
            .args(spill)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for command in ["inspect", "verify", "export"] {
        let (code, err) = run(&["journal", command], &[]);
        assert_eq!(code, 1, "{command}: {err}");
        assert!(
            err.contains("the journal may have gone on in") && err.contains("--spill"),
            "{err}"
        );
        assert_eq!(run(&["journal", command], &[Path::new("--spill"), &folders.elsewhere]).0, 1);
        let given = run(&["journal", command], &[Path::new("--spill"), &folders.spill]);
        assert_eq!(given, (0, String::new()), "{command}");
    }
    let (code, err) = run(&["ledger"], &[]);
    assert!(code == 1 && err.contains("the journal may have gone on in"), "{code}: {err}");
    let pair = format!("{}={}", folders.main.display(), folders.spill.display());
    let given = run(&["ledger"], &[Path::new("--spill"), Path::new(&pair)]);
    assert!(!given.1.contains("the journal may have gone on in"), "{}", given.1);
}
