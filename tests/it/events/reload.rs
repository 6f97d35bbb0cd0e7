//! What a reload may bring of events into a process that has its journal, or has none.

use super::{BASE, ONE, REQUEST, auction, bidder, config, events, path, send, write};
use crate::harness::server::Server;
use std::path::Path;

/// Takes a section out of a file, up to the next one.
fn without(file: &Path, section: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let (head, tail) = text.split_once(section).unwrap();
    let rest = tail.find("\n[").map_or("", |at| &tail[at + 1..]);
    format!("{head}{rest}")
}

#[test]
fn events_that_come_with_a_reload_wait_for_the_journal_that_comes_with_them() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let file = config(dir.path(), "j", &bidder, "");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, without(&file, "[journal]")).unwrap();
    let mut server = Server::ready(&file);
    let whole = format!("{whole}{}", events(&[ONE]));
    // an award would be an event that nobody takes
    let awards = whole.replace("open = true\n", "open = true\nwin_notice = 'answer'\n");
    std::fs::write(&file, awards).unwrap();
    server.hang_up();
    let told = server.wait_log("not taken: the last good one stays in force");
    let fault = told["fault"].as_str().unwrap();
    assert!(fault.contains("win_notice") && fault.contains("until a restart"), "{fault}");

    std::fs::write(&file, &whole).unwrap();
    server.hang_up();
    let told = server.wait_log("these sections changed and need a restart to count");
    assert!(told["sections"].as_str().unwrap().contains("\"events\""), "{told}");
    server.wait_log("published");
    let bid = auction(&server, REQUEST);
    assert!(bid["burl"].as_str().unwrap().starts_with("https://b.example/burl?"), "{bid}");
    assert_eq!(server.terminate(), Some(0));

    let server = Server::ready(&file);
    let bid = auction(&server, REQUEST);
    assert!(bid["burl"].as_str().unwrap().starts_with(BASE), "{bid}");
    assert_eq!(send(&server, "GET", &path(&bid, "burl", &[]), "").status, 204);
}

#[test]
fn tokens_may_not_outlive_what_the_open_journal_remembers() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let file = config(dir.path(), "j", &bidder, &events(&[ONE]));
    let journal = dir.path().join("j");
    let kept = "ballast_bytes = 0\nkeep_for = '2h'\n[events]\nvideo_ttl = '1h'\n";
    let with = |text: &str| {
        write(&file, journal.to_str().unwrap(), &bidder, &events(&[ONE]));
        let whole = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, whole.replace("ballast_bytes = 0\n[events]\n", text)).unwrap();
    };
    with(kept);
    let mut server = Server::ready(&file);
    with(&kept.replace("'1h'", "'100h'").replace("'2h'", "'200h'"));
    server.hang_up();
    let told = server.wait_log("not taken: the last good one stays in force");
    let fault = told["fault"].as_str().unwrap();
    for part in ["events.video_ttl", "360000s", "until a restart at most 6900s", "7200s"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    // what goes with the open journal is taken
    with(&kept.replace("'1h'", "'115m'").replace("'2h'", "'200h'"));
    server.hang_up();
    server.wait_log("published");
    assert_eq!(server.terminate(), Some(0));
    // and all of it at the next start
    with(&kept.replace("'1h'", "'100h'").replace("'2h'", "'200h'"));
    let mut server = Server::ready(&file);
    assert_eq!(server.terminate(), Some(0));
}
