//! Damaged files under a database that serves: nothing waits, nothing panics, and nothing is taken
//! where there is a checksum. Where there is none, how much stays unseen is counted.

use super::renew::{CHECK, World, told};
use super::{demo, settings};
use gavel::enrich::databases::manifest::sha256;
use gavel::enrich::databases::{DatabaseSettings, Databases, RenewLabel};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Pseudo-random numbers (SplitMix64), the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// A way to damage a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Flips(usize),
    Zeros(usize),
    Noise(usize),
    /// A page of the file where another should be.
    Misplaced(usize),
}

impl Damage {
    fn done(self, good: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut bytes = good.to_vec();
        match self {
            Self::Cut => bytes.truncate(dice.below(good.len())),
            Self::Flips(count) => {
                for _ in 0..count {
                    let at = dice.below(good.len());
                    bytes[at] ^= u8::try_from(1 + dice.below(255)).unwrap();
                }
            }
            Self::Zeros(size) => {
                let at = dice.below(good.len() - size);
                bytes[at..at + size].fill(0);
            }
            Self::Noise(size) => {
                let at = dice.below(good.len() - size);
                bytes[at..at + size].fill_with(|| u8::try_from(dice.below(256)).unwrap());
            }
            Self::Misplaced(size) => {
                let pages = good.len() / size;
                let (from, to) = (dice.below(pages) * size, dice.below(pages) * size);
                bytes.copy_within(from..from + size, to);
            }
        }
        bytes
    }
}

/// Of each damage.
const ROUNDS: usize = 300;

/// Puts something at a path.
type Make = fn(&Path);

const ALL: [Damage; 9] = [
    Damage::Cut,
    Damage::Flips(1),
    Damage::Flips(16),
    Damage::Zeros(16),
    Damage::Zeros(64),
    Damage::Zeros(512),
    Damage::Zeros(4096),
    Damage::Noise(64),
    Damage::Misplaced(512),
];

#[test]
fn where_there_is_a_checksum_no_damage_is_taken() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let mut dice = Dice(1);
    let geo = ["demo-city", "demo-isp", "demo-connection-type", "demo-anonymous-ip"];
    for name in geo.map(|name| format!("{name}.mmdb")).into_iter().chain(["regexes.yaml".into()]) {
        let path = world.folder.path().join(&name);
        let good = std::fs::read(&path).unwrap();
        let beside = world.folder.path().join(format!("{name}.sha256"));
        std::fs::write(&beside, format!("{}  {name}\n", sha256(&good))).unwrap();
        for _ in 0..12 {
            for damage in ALL {
                if matches!(damage, Damage::Zeros(size) if size >= good.len()) {
                    continue;
                }
                let bad = damage.done(&good, &mut dice);
                world.put(&path, &bad);
                let renewal = live.renew(&world.settings, &CHECK);
                assert!(renewal.databases.is_none(), "{name} {damage:?}");
                let expected = usize::from(bad != good);
                let labels =
                    renewal.results.iter().map(gavel::enrich::databases::SourceResult::label);
                let refused = labels.filter(|label| *label == RenewLabel::Checksum).count();
                assert_eq!(refused, expected, "{name} {damage:?} {:?}", told(&renewal));
            }
        }
        for text in ["", "no sum", "abc  demo-city.mmdb\n", &"0".repeat(64)] {
            world.put(&path, &[&good[..], b" "].concat());
            std::fs::write(&beside, text).unwrap();
            let renewal = live.renew(&world.settings, &CHECK);
            assert!(renewal.databases.is_none() && told(&renewal)[0].ends_with(": checksum"));
        }
        std::fs::write(&beside, format!("{}\n", sha256(&good).to_uppercase())).unwrap();
        world.put(&path, &good);
        assert!(told(&live.renew(&world.settings, &CHECK)).is_empty());
    }
}

/// The figures that a deployment without checksums lives with. The demo's database is small: in a
/// real one names and numbers, in which damage cannot be seen, have a like share.
#[test]
fn without_a_checksum_little_damage_stays_unseen() {
    // (damage, most in 1,000 that may be taken)
    let limits: [(Damage, usize); 9] = [
        (Damage::Cut, 0),
        // another letter in a name, another digit of a coordinate
        (Damage::Flips(1), 330),
        (Damage::Flips(16), 10),
        (Damage::Zeros(16), 10),
        (Damage::Zeros(64), 0),
        (Damage::Zeros(512), 0),
        (Damage::Zeros(4096), 0),
        (Damage::Noise(64), 10),
        (Damage::Misplaced(512), 30),
    ];
    let world = World::new();
    let settings = DatabaseSettings { city: settings().city, ..DatabaseSettings::default() };
    let live = Databases::open(&settings).unwrap();
    let path = world.city();
    let settings = DatabaseSettings { city: Some(path.clone()), ..settings };
    let good = std::fs::read(&path).unwrap();
    let mut dice = Dice(2);
    for (damage, per_mille_max) in limits {
        let (mut taken, mut verified) = (0, 0);
        for _ in 0..ROUNDS {
            let bad = damage.done(&good, &mut dice);
            world.put(&path, &bad);
            let renewal = live.renew(&settings, &CHECK);
            let verdict = maxminddb::Reader::from_source(&bad[..]).map(|reader| reader.verify());
            verified += usize::from(bad != good && matches!(verdict, Ok(Ok(()))));
            let is_taken = renewal.results[0].label() == RenewLabel::Ok;
            taken += usize::from(is_taken && bad != good);
        }
        let per_mille = taken * 1000 / ROUNDS;
        println!(
            "{damage:?} of {ROUNDS}: {verified} pass the reader's verification, {taken} taken"
        );
        assert!(per_mille <= per_mille_max, "{damage:?}: {per_mille} in 1000");
    }
}

#[test]
fn what_is_no_plain_file_is_refused_without_a_wait() {
    let world = World::new();
    let live = Databases::open(&world.settings).unwrap();
    let folder = world.folder.path();
    let sources = [world.city(), world.settings.device_regexes.clone().unwrap()];
    for path in sources {
        let is_city = path == world.city();
        let role = if is_city { "city" } else { "device" };
        let good = std::fs::read(&path).unwrap();
        let kinds: [(&str, Make); 6] = [
            ("unreadable", |path| {
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
            ("unreadable", |path| drop(UnixListener::bind(path).unwrap())),
            ("unreadable", |path| std::os::unix::fs::symlink(path, path).unwrap()),
            ("unreadable", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
            ("too_large", |path| {
                std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
            }),
            // a folder is a set of parts, and has no manifest
            ("unreadable", |path| std::fs::create_dir(path).unwrap()),
        ];
        for (label, make) in kinds {
            std::fs::remove_file(&path).unwrap();
            make(&path);
            let renewal = live.renew(&world.settings, &CHECK);
            assert_eq!(told(&renewal), [format!("{role}: {label}")]);
            assert!(renewal.databases.is_none());
            assert!(Databases::open(&world.settings).is_err());
            if path.is_dir() {
                std::fs::remove_dir(&path).unwrap();
                std::fs::write(&path, b"").unwrap();
            }
        }
        world.put(&path, &good);
    }
    assert!(told(&live.renew(&world.settings, &CHECK)).is_empty());
    // the same among the parts of a set, and in the place of a checksum
    let beside = folder.join("demo-city.mmdb.sha256");
    nix::unistd::mkfifo(&beside, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let newer =
        super::renew::rebuilt(&std::fs::read(world.city()).unwrap(), super::renew::BUILT + 1);
    world.put(&world.city(), &newer);
    assert_eq!(told(&live.renew(&world.settings, &CHECK)), ["city: unreadable"]);
}

#[test]
fn a_frame_that_unpacks_to_more_than_may_be_is_too_large() {
    let world = World::new();
    let path = world.folder.path().join("bomb.mmdb.zst");
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    assert!(bomb.len() < 1 << 20);
    std::fs::write(&path, &bomb).unwrap();
    let settings = DatabaseSettings {
        city: Some(path.clone()),
        address_bytes_max: 32 << 20,
        ..DatabaseSettings::default()
    };
    let live = Databases::default();
    assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: too_large"]);
    let plain = std::fs::read(demo("geo").join("demo-city.mmdb")).unwrap();
    let packed = zstd::bulk::compress(&plain, 3).unwrap();
    for cut in (0..packed.len()).step_by(53) {
        std::fs::write(&path, &packed[..cut]).unwrap();
        assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: invalid"], "{cut}");
    }
    // what follows the frame is no frame
    std::fs::write(&path, [&packed[..], b"more"].concat()).unwrap();
    assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: invalid"]);
    std::fs::write(&path, &packed).unwrap();
    assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: ok"]);
}
