//! Rules that were kept, and what is told of such as are broken.

use crate::harness::PATIENT;
use crate::harness::server::Server;
use crate::server::wait_until;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder with a configuration, a database and rules that are kept.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: TempDir::new().unwrap() };
        place.put("city.mmdb", demo_city());
        place.rules("one", "[databases]\ncity = 'city.mmdb'\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Beside, and renamed over.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path("new"), content).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn rules(&self, partner: &str, rest: &str) {
        let admin = self.path("admin.sock");
        let text = format!(
            "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = 'unix:{}'\n{PATIENT}\
             [[partners]]\nname = '{partner}'\nopen = true\n{rest}",
            admin.display()
        );
        self.put("gavel.toml", text);
    }

    fn start(&self) -> Server {
        let keep = self.path("kept");
        Server::start(&self.path("gavel.toml"), &["--keep", keep.to_str().unwrap()]).serving()
    }

    /// What is kept, as text.
    fn kept(&self) -> String {
        std::fs::read_to_string(self.path("kept/last-good-rules.json")).unwrap_or_default()
    }

    /// What an operator is told who names nothing but the file.
    fn snapshot(&self) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["debug", "snapshot", "--config"])
            .arg(self.path("gavel.toml"))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn demo_city() -> Vec<u8> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/geo/demo-city.mmdb");
    std::fs::read(demo).unwrap()
}

fn generation(server: &Server) -> f64 {
    server.metric("gavel_snapshot_generation")
}

fn is_degraded(server: &Server) -> bool {
    server.metric("gavel_degraded") > 0.5
}

#[test]
fn rules_that_no_process_could_start_with_do_not_take_the_place_of_the_last_good_ones() {
    for bad in [
        "[databases]\ncity = 'nope.mmdb'\n",
        "[databases]\ncity = 'city.mmdb'\n[network]\nca_file = 'noca.pem'\n",
    ] {
        let place = Place::new();
        let mut server = place.start();
        wait_until("rules are kept", || place.kept().contains("one"));
        place.rules("two", bad);
        server.wait_log("the new rules are not kept yet: not all that they name could be opened");
        assert!(place.kept().contains("one") && !place.kept().contains("two"));
        assert_eq!(server.terminate(), Some(0));

        let server = place.start();
        assert!(is_degraded(&server), "{}", server.readiness().text());
        place.rules("three", "[databases]\ncity = 'city.mmdb'\n");
        wait_until("good rules are kept again", || place.kept().contains("three"));
        wait_until("good rules end it", || !is_degraded(&server));
    }
}

#[test]
fn rules_that_take_away_every_partner_or_every_bidder_are_not_taken() {
    let place = Place::new();
    let bidder = "[[bidders]]\nname = 'alpha'\nurl = 'http://127.0.0.1:9/'\n";
    place.rules("one", bidder);
    let server = place.start();
    let tries = "gavel_reloads_total{source=\"rules\",result=\"canary\"}";
    let refused = "gavel_source_refused{source=\"rules\"}";
    let is_refused = |times: f64| {
        wait_until("a refusal", || server.metric(tries) > times - 0.5);
        assert!(server.metric(refused) > 0.5 && generation(&server) < 1.5);
    };
    place.put("gavel.toml", "");
    is_refused(1.0);
    place.rules("two", "");
    is_refused(2.0);
    let last = &place.snapshot()["sources"]["rules"]["last"];
    assert!(last["faults"][0].as_str().unwrap().contains("bidders is missing"), "{last}");
    place.rules("two", bidder);
    wait_until("rules with both are taken", || generation(&server) > 1.5);
    assert!(server.metric(refused) < 0.5);
}

#[test]
fn rules_may_have_nobody_from_the_start_on() {
    let place = Place::new();
    let server = place.start();
    place.rules("two", "");
    wait_until("rules without a bidder are taken", || generation(&server) > 1.5);
}

#[test]
fn a_database_that_is_broken_at_the_start_does_not_keep_kept_rules_from_serving() {
    let place = Place::new();
    let mut server = place.start();
    wait_until("rules are kept", || place.kept().contains("one"));
    assert_eq!(server.terminate(), Some(0));
    place.put("city.mmdb", "no database");
    let server = place.start();
    let told = server.readiness().text();
    assert!(told.contains("degraded") && told.contains("databases.city"), "{told}");
    place.put("city.mmdb", demo_city());
    wait_until("the database ends it", || !is_degraded(&server));
    assert_eq!(place.snapshot()["databases"][0]["role"], "city");
}

#[test]
fn a_fault_is_told_as_long_as_it_is_there_and_a_faulty_file_still_says_whom_to_ask() {
    let place = Place::new();
    let server = place.start();
    place.rules("one", "[databases]\ncity = 7\n");
    let tries = "gavel_reloads_total{source=\"rules\",result=\"invalid\"}";
    for count in 1..4 {
        wait_until("a try", || server.metric(tries) > f64::from(count) - 0.5);
        let last = &place.snapshot()["sources"]["rules"]["last"];
        assert_eq!(last["result"], "invalid");
        assert!(last["faults"][0].as_str().unwrap().contains("databases.city"), "{last}");
        server.hang_up();
    }
}

#[test]
fn a_file_in_the_place_of_an_empty_folder_is_a_change() {
    let place = Place::new();
    let server = place.start();
    std::fs::remove_file(place.path("city.mmdb")).unwrap();
    std::fs::create_dir(place.path("city.mmdb")).unwrap();
    let unreadable = "gavel_reloads_total{source=\"city\",result=\"unreadable\"}";
    wait_until("the folder is refused", || server.metric(unreadable) > 0.5);
    let before = generation(&server);
    std::fs::remove_dir(place.path("city.mmdb")).unwrap();
    // bytes behind the metadata mean nothing to a reader, and are another file
    place.put("city.mmdb", [&demo_city()[..], b"more"].concat());
    wait_until("the file is taken", || generation(&server) > before + 0.5);
}
