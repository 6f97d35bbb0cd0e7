//! Opening databases anew: what stays, what is taken, what is refused and for which reason.

use super::{WINTER, databases, demo, settings};
use gavel::enrich::databases::{
    DatabaseSettings, Databases, RenewCheck, RenewLabel, Renewal, Taken,
};
use gavel::enrich::lookup_ip;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// After the demo's databases were built, and long after the tests' files are written.
pub const CHECK: RenewCheck =
    RenewCheck { wall: Duration::from_secs(4_000_000_000), settle: Duration::ZERO, spare: None };

/// All of the demo in a folder of its own.
pub struct World {
    pub folder: tempfile::TempDir,
    pub settings: DatabaseSettings,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        let all = [
            &mut settings.city,
            &mut settings.isp,
            &mut settings.connection_type,
            &mut settings.anonymous,
            &mut settings.device_regexes,
            &mut settings.device_models,
        ];
        for path in all.into_iter().flatten() {
            let to = folder.path().join(path.file_name().unwrap());
            std::fs::copy(&*path, &to).unwrap();
            *path = to;
        }
        Self { folder, settings }
    }

    /// Puts a file in the place of another, as a rename over it does.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let beside = self.folder.path().join("beside");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, path).unwrap();
    }

    pub fn city(&self) -> PathBuf {
        self.settings.city.clone().unwrap()
    }
}

/// `role: label` of each source, where it is not `unchanged`.
pub fn told(renewal: &Renewal) -> Vec<String> {
    let changed = renewal.results.iter().filter(|one| one.label() != RenewLabel::Unchanged);
    changed.map(|one| format!("{}: {}", one.role, one.label().label())).collect()
}

/// A database as its maker builds it on another day.
pub fn rebuilt(bytes: &[u8], epoch: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let word = b"build_epoch";
    let at = bytes.windows(word.len()).rposition(|window| window == word).unwrap() + word.len();
    // control bytes of a uint64: size, extended type 9; then the number without leading zeros
    let size = usize::from(bytes[at]);
    assert!(size <= 8 && bytes[at + 1] == 2);
    let number = &epoch.to_be_bytes()[8 - size..];
    bytes[at + 2..at + 2 + size].copy_from_slice(number);
    bytes
}

pub const BUILT: u64 = 1_793_491_200;

#[test]
fn a_renewal_without_a_change_gives_nothing_new() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    for _ in 0..3 {
        let renewal = live.renew(&world.settings, &CHECK);
        assert!(renewal.databases.is_none());
        assert!(told(&renewal).is_empty() && renewal.results.len() == 5);
        assert!(renewal.results.iter().all(|one| !one.is_news));
    }
    // the same bytes under another inode are the same database
    let path = world.city();
    let same = std::fs::read(&path).unwrap();
    world.put(&path, &same);
    assert!(live.renew(&world.settings, &CHECK).databases.is_none());
}

#[test]
fn what_changes_is_taken_and_the_rest_is_shared() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let path = world.city();
    let newer = rebuilt(&std::fs::read(&path).unwrap(), BUILT + 86_400);
    world.put(&path, &newer);
    let renewal = live.renew(&world.settings, &CHECK);
    assert_eq!(told(&renewal), ["city: ok"]);
    assert!(renewal.results.iter().filter(|one| one.is_news).count() == 1);
    let next = renewal.databases.unwrap();
    assert_eq!(next.describe()[0].build_epoch, Some(BUILT + 86_400));
    assert!(Arc::ptr_eq(live.geo.isp.as_ref().unwrap(), next.geo.isp.as_ref().unwrap()));
    assert!(Arc::ptr_eq(live.device.as_ref().unwrap(), next.device.as_ref().unwrap()));
    assert_eq!(live.device_identity(), next.device_identity());
    assert_ne!(live.geo_identity(), next.geo_identity());
    assert!(next.renew(&world.settings, &CHECK).databases.is_none());
    let address = "198.18.7.7".parse().unwrap();
    assert_eq!(lookup_ip(&live, address, WINTER), lookup_ip(&next, address, WINTER));
}

#[test]
fn sources_come_go_and_move_with_the_settings() {
    let world = World::new();
    let live = databases();
    // the same content elsewhere: nothing is opened, but what is told names the new place
    let moved = live.renew(&world.settings, &CHECK);
    assert!(told(&moved).is_empty());
    let moved = moved.databases.unwrap();
    assert_eq!(moved.describe()[0].path, world.city());
    assert!(Arc::ptr_eq(live.geo.city.as_ref().unwrap(), moved.geo.city.as_ref().unwrap()));
    assert_eq!(live.geo_identity(), moved.geo_identity());
    let fewer = DatabaseSettings { isp: None, ..world.settings.clone() };
    let fewer_now = moved.renew(&fewer, &CHECK).databases.unwrap();
    assert!(fewer_now.geo.isp.is_none() && fewer_now.geo.city.is_some());
    let more = fewer_now.renew(&world.settings, &CHECK);
    assert_eq!(told(&more), ["isp: ok"]);
    assert!(more.databases.unwrap().geo.isp.is_some());
}

#[test]
fn the_age_of_a_build_decides() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let path = world.city();
    let bytes = std::fs::read(&path).unwrap();
    let wall = |seconds| RenewCheck { wall: Duration::from_secs(seconds), ..CHECK };
    world.put(&path, &rebuilt(&bytes, BUILT - 1));
    assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["city: older"]);
    let backwards = DatabaseSettings { allow_older: true, ..world.settings.clone() };
    assert_eq!(told(&live.renew(&backwards, &CHECK)), ["city: ok"]);
    let ahead = BUILT + 49 * 3600;
    world.put(&path, &rebuilt(&bytes, ahead));
    assert_eq!(told(&live.renew(&world.settings, &wall(BUILT))), ["city: invalid"]);
    let again = live.renew(&world.settings, &wall(BUILT + 60));
    assert!(told(&again) == ["city: invalid"] && !again.results[0].is_news);
    // an hour later it is no longer too far ahead
    assert_eq!(told(&live.renew(&world.settings, &wall(BUILT + 3600))), ["city: ok"]);
}

#[test]
fn a_refusal_is_news_once_and_its_end_is_too() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let path = world.city();
    let good = std::fs::read(&path).unwrap();
    for broken in [&b"no database"[..], b"", &good[..good.len() / 2]] {
        world.put(&path, broken);
        let first = live.renew(&world.settings, &CHECK);
        assert_eq!(told(&first), ["city: invalid"]);
        assert!(first.databases.is_none() && first.results[0].is_news);
        let second = live.renew(&world.settings, &CHECK);
        assert!(told(&second) == ["city: invalid"] && !second.results[0].is_news);
    }
    std::fs::remove_file(&path).unwrap();
    for is_news in [true, false] {
        let gone = live.renew(&world.settings, &CHECK);
        assert_eq!(told(&gone), ["city: unreadable"]);
        assert_eq!(gone.results[0].is_news, is_news);
    }
    world.put(&path, &good);
    let healed = live.renew(&world.settings, &CHECK);
    assert!(healed.databases.is_none() && healed.results[0].is_news);
    assert_eq!(healed.results[0].result.as_ref().unwrap(), &Taken::Unchanged);
}

#[test]
fn a_file_that_may_be_half_written_waits_unless_a_checksum_stands_beside_it() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let path = world.city();
    let newer = rebuilt(&std::fs::read(&path).unwrap(), BUILT + 1);
    std::fs::write(&path, &newer).unwrap();
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap();
    let after = |span| RenewCheck { wall: written + span, settle: Duration::from_secs(2), ..CHECK };
    let early = live.renew(&world.settings, &after(Duration::from_millis(1900)));
    assert!(early.databases.is_none());
    assert_eq!(early.results[0].result.as_ref().unwrap(), &Taken::Settling);
    let late = live.renew(&world.settings, &after(Duration::from_millis(2100)));
    assert_eq!(told(&late), ["city: ok"]);
    std::fs::write(
        world.folder.path().join("demo-city.mmdb.sha256"),
        format!("{}  demo-city.mmdb\n", gavel::enrich::databases::manifest::sha256(&newer)),
    )
    .unwrap();
    let early = live.renew(&world.settings, &after(Duration::from_millis(1)));
    assert_eq!(told(&early), ["city: ok"]);
}

#[test]
fn canaries_stop_a_database_that_tells_other_countries() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let path = world.city();
    let bytes = std::fs::read(&path).unwrap();
    // a valid database in which every country is another one: the two letters of each are swapped
    let mut other = bytes.clone();
    let live_codes = ["US", "DE", "FR", "GB", "IN", "BR", "JP"];
    for code in live_codes {
        let [a, b] = <[u8; 2]>::try_from(code.as_bytes()).unwrap();
        let text = [0x42, a, b];
        for at in 0..other.len() - 3 {
            if other[at..at + 3] == text {
                other[at + 1..at + 3].copy_from_slice(b"SE");
            }
        }
    }
    assert_ne!(other, bytes);
    world.put(&path, &other);
    assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["city: canary"]);
    let trusting = DatabaseSettings { canary_percent: 0, ..world.settings.clone() };
    assert_eq!(told(&live.renew(&trusting, &CHECK)), ["city: ok"]);
    // one of another kind of content altogether
    world.put(&path, &std::fs::read(demo("geo").join("demo-isp.mmdb")).unwrap());
    assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["city: invalid"]);
}

#[test]
fn regexes_that_know_nothing_are_refused() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let path = world.settings.device_regexes.clone().unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let lists = "user_agent_parsers: []\nos_parsers: []\ndevice_parsers: []\n";
    world.put(&path, lists.as_bytes());
    assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["device: canary"]);
    for broken in ["", "- a\n- b", "a: &a [*a, *a]", "user_agent_parsers: [{regex: '('}]"] {
        world.put(&path, broken.as_bytes());
        assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["device: invalid"], "{broken}");
    }
    world.put(&path, format!("{good}\n# later\n").as_bytes());
    let renewal = live.renew(&world.settings, &CHECK);
    assert_eq!(told(&renewal), ["device: ok"]);
    let next = renewal.databases.unwrap();
    assert_eq!(next.geo_identity(), live.geo_identity());
    assert_ne!(next.device_identity(), live.device_identity());
    let table = world.settings.device_models.clone().unwrap();
    world.put(&table, b"[[made]]");
    assert_eq!(told(&next.renew(&world.settings, &CHECK)), ["device: invalid"]);
}

/// References that multiply: the reader's budget ends it.
#[test]
fn a_yaml_bomb_is_refused_within_its_budget() {
    let world = World::new();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        bomb += &format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", "));
    }
    let live = Databases::open(&world.settings).unwrap();
    let path = world.settings.device_regexes.clone().unwrap();
    for text in [bomb.clone(), format!("user_agent_parsers:\n{bomb}"), "[".repeat(1 << 20)] {
        world.put(&path, text.as_bytes());
        assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["device: invalid"]);
    }
}
