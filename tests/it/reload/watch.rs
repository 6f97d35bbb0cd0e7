//! The watcher, on real folders.

use super::kubelet::{Payload, Step, Volume};
use super::styles::{Folder, Style};
use gavel::clock::monotonic;
use gavel::reload::watch::{Changes, Watch, WatchSettings};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long a busy machine may take; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);
/// Updates in a row: a watch on the file, or on `..data`, sees the first of them only.
const UPDATES: usize = 12;

/// Quick, and with no poll to help.
fn listening() -> WatchSettings {
    WatchSettings {
        debounce: Duration::from_millis(20),
        burst_max: Duration::from_secs(1),
        poll: Duration::from_secs(3_600),
        is_listening: true,
    }
}

/// The poll alone.
fn polling() -> WatchSettings {
    WatchSettings { poll: Duration::from_millis(20), is_listening: false, ..listening() }
}

/// Changes, until they name a path and `is_there`.
fn seen(watch: &mut Watch, path: &Path, is_there: impl Fn() -> bool) -> Changes {
    let mut all = Changes::default();
    let until = monotonic() + PATIENCE;
    loop {
        let changes = watch.wait(Some(until));
        assert!(!changes.is_empty(), "{} was not seen; before: {all:?}", path.display());
        let is_named = changes.renamed.contains(path) || changes.touched.contains(path);
        all.renamed.extend(changes.renamed);
        all.touched.extend(changes.touched);
        if is_named && is_there() {
            return all;
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

/// What has changed so far, without a wait for more.
fn now(watch: &mut Watch) -> Changes {
    watch.waker().wake();
    watch.wait(None)
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("files");
    (folder, path)
}

fn payload(keys: &[(&str, &str)]) -> Payload {
    keys.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect()
}

/// Updates one file again and again; gives the changes of each.
fn updates(style: Style, settings: WatchSettings) -> Vec<Changes> {
    let (_guard, root) = folder();
    let mut files = Folder::new(style, &root);
    files.update("rules.toml", b"0");
    files.update("other.toml", b"0");
    let (path, other) = (files.path("rules.toml"), files.path("other.toml"));
    let mut watch = Watch::new(settings, &[path.clone(), other]);
    assert_eq!(watch.deaf(), None);
    assert!(watch.unheard().is_empty());
    let update = |number: usize| {
        let bytes = "x".repeat(number).into_bytes();
        files.update("rules.toml", &bytes);
        seen(&mut watch, &path, || read(&path) == bytes)
    };
    (1..=UPDATES).map(update).collect()
}

#[test]
fn every_update_of_every_style_is_heard() {
    for style in Style::ALL {
        for (number, changes) in updates(style, listening()).into_iter().enumerate() {
            let what = format!("{style:?}, update {number}: {changes:?}");
            assert_eq!(changes.touched.is_empty(), style.is_atomic(), "{what}");
            assert_eq!(changes.renamed.is_empty(), !style.is_atomic(), "{what}");
            // one swap is one for all keys
            let is_volume = matches!(style, Style::ConfigMap | Style::Projected);
            assert_eq!(changes.renamed.len() == 2, is_volume, "{what}");
        }
    }
}

#[test]
fn the_poll_alone_sees_every_update_of_every_style() {
    for style in Style::ALL {
        for (number, changes) in updates(style, polling()).into_iter().enumerate() {
            // how a file was replaced can be told from a link only
            let is_volume = matches!(style, Style::ConfigMap | Style::Projected);
            let what = format!("{style:?}, update {number}: {changes:?}");
            assert_eq!(changes.renamed.is_empty(), !is_volume, "{what}");
            assert_eq!(changes.touched.is_empty(), is_volume, "{what}");
        }
    }
}

#[test]
fn keys_come_and_go_with_their_volume() {
    let (_guard, root) = folder();
    let mut volume = Volume::new(&root);
    volume.write(&payload(&[("a", "1"), ("gone", "1")]));
    let (a, gone, new) = (volume.path("a"), volume.path("gone"), volume.path("new"));
    let mut watch = Watch::new(listening(), &[a.clone(), gone.clone(), new.clone()]);
    volume.write(&payload(&[("a", "1"), ("new", "1")]));
    let mut all = Changes::default();
    while !(all.renamed.contains(&a) && all.renamed.contains(&new) && all.touched.contains(&gone)) {
        let changes = watch.wait(Some(monotonic() + PATIENCE));
        assert!(!changes.is_empty(), "{all:?}");
        all.renamed.extend(changes.renamed);
        all.touched.extend(changes.touched);
    }
    assert_eq!(all.touched, [gone].into());
    assert!(!volume.write(&payload(&[("a", "1"), ("new", "1")])));
    assert_eq!(now(&mut watch), Changes { is_asked: true, ..Changes::default() });
}

#[test]
fn a_volume_is_seen_in_the_midst_of_its_swap_too() {
    let (_guard, root) = folder();
    let mut volume = Volume::new(&root);
    volume.write(&payload(&[("a", "1")]));
    let (a, new) = (volume.path("a"), volume.path("new"));
    let mut watch = Watch::new(listening(), &[a.clone(), new.clone()]);
    volume.write_in_steps(&payload(&[("a", "2"), ("new", "2")]), |step| match step {
        Step::Written => {
            assert_eq!(now(&mut watch), Changes { is_asked: true, ..Changes::default() });
        }
        Step::Swapped => {
            let changes = now(&mut watch);
            assert_eq!((changes.renamed.len(), changes.touched.len()), (1, 0), "{changes:?}");
        }
        Step::Linked => {
            let changes = now(&mut watch);
            assert!(changes.renamed.contains(&new) && changes.touched.is_empty(), "{changes:?}");
        }
        Step::Pruned => {}
    });
    volume.write(&payload(&[("a", "3"), ("new", "2")]));
    seen(&mut watch, &a, || read(&a) == b"3");
}

#[test]
fn a_burst_of_writes_is_one_change() {
    let (_guard, root) = folder();
    let mut files = Folder::new(Style::Rewrite, &root);
    files.update("file", b"0");
    let path = files.path("file");
    // long enough that a busy machine does not make two bursts of it
    let settings =
        WatchSettings { debounce: Duration::from_secs(2), burst_max: PATIENCE, ..listening() };
    let mut watch = Watch::new(settings, std::slice::from_ref(&path));
    for number in 0..1_000 {
        fs::write(&path, number.to_string()).unwrap();
    }
    let changes = watch.wait(Some(monotonic() + PATIENCE));
    assert_eq!(changes, Changes { touched: [path].into(), ..Changes::default() });
    assert_eq!(now(&mut watch), Changes { is_asked: true, ..Changes::default() });
}

#[test]
fn writes_without_end_are_reported_all_the_same() {
    let (_guard, root) = folder();
    let mut files = Folder::new(Style::Rewrite, &root);
    files.update("file", b"0");
    let path = files.path("file");
    let settings = WatchSettings {
        debounce: Duration::from_secs(3_600),
        burst_max: Duration::from_millis(50),
        ..listening()
    };
    let mut watch = Watch::new(settings, std::slice::from_ref(&path));
    for _ in 0..3 {
        files.update("file", b"more");
        seen(&mut watch, &path, || true);
    }
}

#[test]
fn a_folder_may_go_and_come_again() {
    let (guard, root) = folder();
    let path = root.join("deep/file");
    // none of it is there yet
    let mut watch = Watch::new(listening(), std::slice::from_ref(&path));
    for round in 1..=4 {
        let bytes = "x".repeat(round).into_bytes();
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(&path, &bytes).unwrap();
        seen(&mut watch, &path, || read(&path) == bytes);
        fs::write(&path, b"and after that").unwrap();
        seen(&mut watch, &path, || read(&path) == b"and after that");
        if round % 2 == 0 {
            fs::remove_dir_all(&root).unwrap();
        } else {
            fs::rename(root.join("deep"), guard.path().join(round.to_string())).unwrap();
        }
        // else it may be back before anybody looks
        if round < 3 {
            seen(&mut watch, &path, || !path.exists());
        }
    }
}

#[test]
fn links_on_the_way_are_followed_wherever_they_lead() {
    let (guard, _) = folder();
    let release = |name: &str| guard.path().join("releases").join(name);
    for name in ["1", "2", "3"] {
        fs::create_dir_all(release(name)).unwrap();
        fs::write(release(name).join("file"), name).unwrap();
    }
    let lead = |name: &str| {
        symlink(release(name), guard.path().join("new")).unwrap();
        fs::rename(guard.path().join("new"), guard.path().join("current")).unwrap();
    };
    lead("1");
    let path = guard.path().join("current/file");
    let mut watch = Watch::new(listening(), std::slice::from_ref(&path));
    for name in ["2", "3", "1", "2"] {
        lead(name);
        let changes = seen(&mut watch, &path, || true);
        assert!(changes.renamed.contains(&path) && changes.touched.is_empty(), "{changes:?}");
        fs::write(release(name).join("file"), "in place").unwrap();
        let changes = seen(&mut watch, &path, || true);
        assert!(changes.touched.contains(&path), "{changes:?}");
    }
}

#[test]
fn a_file_that_is_written_after_its_link_is_not_whole() {
    let (_guard, root) = folder();
    fs::create_dir_all(root.join("store")).unwrap();
    let path = root.join("link");
    for settings in [listening(), polling()] {
        let mut watch = Watch::new(settings, std::slice::from_ref(&path));
        symlink("store/file", &path).unwrap();
        // a clock may stand still for a tick: the write is to be later for certain
        let made = fs::symlink_metadata(&path).unwrap().modified().unwrap();
        let written = fs::File::create(root.join("store/file")).unwrap();
        written.set_modified(made + Duration::from_millis(1)).unwrap();
        drop(written);
        let changes = seen(&mut watch, &path, || path.exists());
        assert!(changes.renamed.is_empty(), "{changes:?}");
        fs::remove_file(&path).unwrap();
        fs::remove_file(root.join("store/file")).unwrap();
    }
}

#[test]
fn what_is_no_file_is_never_opened() {
    let (guard, root) = folder();
    fs::create_dir_all(root.join("folder")).unwrap();
    let fifo = root.join("fifo");
    // an open of it would wait for a writer for ever
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    symlink("loop", root.join("loop")).unwrap();
    let file = root.join("file");
    let paths = [fifo, root.join("folder"), root.join("loop"), file.clone(), guard.path().into()];
    for settings in [listening(), polling()] {
        let mut watch = Watch::new(settings, &paths);
        fs::write(&file, "here").unwrap();
        seen(&mut watch, &file, || true);
        assert!(watch.frozen().is_empty());
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_path_that_is_new_is_reported_once_and_others_are_forgotten() {
    let (_guard, root) = folder();
    let mut files = Folder::new(Style::RenameOver, &root);
    files.update("a", b"1");
    files.update("b", b"1");
    let (a, b) = (files.path("a"), files.path("b"));
    let mut watch = Watch::new(listening(), std::slice::from_ref(&a));
    watch.set(&[a.clone(), a.clone(), b.clone()]);
    let changes = watch.wait(Some(monotonic() + PATIENCE));
    assert_eq!(changes, Changes { touched: [b.clone()].into(), ..Changes::default() });
    watch.set(&[a.clone(), a.clone(), b.clone()]);
    assert_eq!(now(&mut watch), Changes { is_asked: true, ..Changes::default() });
    files.update("b", b"2");
    let changes = seen(&mut watch, &b, || true);
    assert!(changes.renamed.contains(&b), "{changes:?}");
    files.update("a", b"2");
    watch.set(std::slice::from_ref(&b));
    assert_eq!(now(&mut watch), Changes { is_asked: true, ..Changes::default() });
}

#[test]
fn a_waker_ends_a_wait_from_another_thread() {
    let (_guard, root) = folder();
    let mut watch = Watch::new(listening(), &[root.join("file")]);
    let waker = watch.waker();
    let waiting = std::thread::spawn(move || watch.wait(Some(monotonic() + PATIENCE)));
    waker.wake();
    assert!(waiting.join().unwrap().is_asked);
}

#[test]
fn a_wait_ends_when_the_caller_says() {
    let (_guard, root) = folder();
    let mut watch = Watch::new(listening(), &[root.join("file")]);
    assert!(watch.wait(Some(monotonic())).is_empty());
}
