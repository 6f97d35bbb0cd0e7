//! Sets of parts: packed, opened, damaged, mixed, swapped.

use super::renew::{BUILT, CHECK, World, rebuilt, told};
use super::{WINTER, demo};
use base64::Engine;
use gavel::app::pack::{CONFIGMAP_BYTES_MAX, PackArgs, pack};
use gavel::enrich::databases::manifest::{Manifest, Slot};
use gavel::enrich::databases::{DatabaseError, DatabaseSettings, Databases};
use gavel::enrich::lookup_ip;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn args(file: &Path, out: &Path) -> PackArgs {
    PackArgs {
        file: file.to_owned(),
        out: out.to_owned(),
        part_bytes: 2048,
        configmaps: None,
        namespace: None,
        in_use: None,
    }
}

fn only(city: &Path) -> DatabaseSettings {
    DatabaseSettings { city: Some(city.to_owned()), ..DatabaseSettings::default() }
}

fn manifest(folder: &Path) -> Manifest {
    Manifest::parse(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// A set of the demo's cities, and where it lies.
fn packed() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    pack(&args(&demo("geo").join("demo-city.mmdb"), folder.path())).unwrap();
    let parts = manifest(folder.path()).parts;
    let parts = parts.iter().map(|part| folder.path().join(&part.file)).collect();
    (folder, parts)
}

#[test]
fn what_is_packed_opens_as_the_same_database() {
    let (folder, parts) = packed();
    assert!(parts.len() > 4, "{}", parts.len());
    let plain = Databases::open(&only(&demo("geo").join("demo-city.mmdb"))).unwrap();
    for path in [folder.path().to_owned(), folder.path().join("manifest.json")] {
        let set = Databases::open(&only(&path)).unwrap();
        assert_eq!(set.describe()[0].generation, Some(1));
        assert_eq!(set.describe()[0].sha256, manifest(folder.path()).sha256);
        for address in ["198.18.7.7", "192.0.2.99", "2001:db8:1200::1"] {
            let address = address.parse().unwrap();
            assert_eq!(lookup_ip(&set, address, WINTER), lookup_ip(&plain, address, WINTER));
        }
    }
    // a set is unpacked and packed again like a file
    let again = tempfile::tempdir().unwrap();
    pack(&args(folder.path(), again.path())).unwrap();
    assert_eq!(manifest(again.path()).sha256, manifest(folder.path()).sha256);
}

#[test]
fn each_part_that_is_damaged_is_noticed() {
    let (folder, parts) = packed();
    let settings = only(folder.path());
    let live = Databases::open(&settings).unwrap();
    for part in &parts {
        let good = std::fs::read(part).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 3] ^= 0x10;
        let longer = [good.clone(), vec![0]].concat();
        for bad in [&flipped[..], &good[1..], &good[..good.len() - 1], &longer, b""] {
            std::fs::write(part, bad).unwrap();
            let renewal = live.renew(&settings, &CHECK);
            assert_eq!(told(&renewal), ["city: inconsistent"]);
            assert!(renewal.databases.is_none());
        }
        std::fs::remove_file(part).unwrap();
        assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: inconsistent"]);
        std::fs::write(part, good).unwrap();
        assert!(told(&live.renew(&settings, &CHECK)).is_empty());
    }
    // two parts in each other's place
    let (one, two) = (std::fs::read(&parts[0]).unwrap(), std::fs::read(&parts[1]).unwrap());
    std::fs::write(&parts[0], two).unwrap();
    std::fs::write(&parts[1], one).unwrap();
    assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: inconsistent"]);
}

#[test]
fn a_manifest_is_taken_whole_or_not() {
    let (folder, _) = packed();
    let settings = only(folder.path());
    let live = Databases::open(&settings).unwrap();
    let path = folder.path().join("manifest.json");
    let good = std::fs::read_to_string(&path).unwrap();
    for cut in (0..good.len() - 2).step_by(37) {
        std::fs::write(&path, &good[..cut]).unwrap();
        assert_eq!(told(&live.renew(&settings, &CHECK)), ["city: invalid"], "{cut}");
    }
    let edits: [(&str, &str, &str); 8] = [
        ("\"format\": 1", "\"format\": 2", "invalid"),
        ("\"file\": \"demo", "\"file\": \"../demo", "invalid"),
        ("\"file\": \"demo", "\"file\": \"/demo", "invalid"),
        ("\"file\": \"demo", "\"file\": \"other", "inconsistent"),
        ("\"bytes\": 2048", "\"bytes\": 2047", "invalid"),
        ("\"bytes\": 2048", "\"bytes\": -1", "invalid"),
        ("\"sha256\": \"", "\"sha256\": \"x", "invalid"),
        ("\"parts\": [", "\"parts\": [], \"rest\": [", "invalid"),
    ];
    for (from, to, label) in edits {
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
        assert_eq!(told(&live.renew(&settings, &CHECK)), [format!("city: {label}")], "{to}");
    }
    // more than may be: known before a part is read
    let manifest = manifest_of(&good);
    let small = DatabaseSettings { address_bytes_max: manifest.bytes - 1, ..settings.clone() };
    std::fs::write(&path, &good).unwrap();
    let faults = Databases::open(&small).unwrap_err();
    assert!(matches!(faults[..], [DatabaseError::TooLarge { .. }]), "{faults:?}");
}

fn manifest_of(text: &str) -> Manifest {
    Manifest::parse(text.as_bytes()).unwrap()
}

#[test]
fn parts_of_two_sets_are_inconsistent() {
    let world = World::new();
    let bytes = std::fs::read(world.city()).unwrap();
    let newer = world.folder.path().join("newer.mmdb");
    std::fs::write(&newer, rebuilt(&bytes, BUILT + 86_400)).unwrap();
    // the same slot and the same names, as where ConfigMaps of one set are overwritten by another
    let (old, new) = (world.folder.path().join("old"), world.folder.path().join("new"));
    pack(&args(&world.city(), &old)).unwrap();
    let renamed = world.folder.path().join("demo-city.mmdb");
    std::fs::copy(&newer, &renamed).unwrap();
    pack(&args(&renamed, &new)).unwrap();
    let names: Vec<String> = manifest(&new).parts.iter().map(|part| part.file.clone()).collect();
    assert_eq!(names.len(), manifest(&old).parts.len());
    let settings = only(&old);
    let live = Databases::open(&settings).unwrap();
    let files: Vec<&str> = names.iter().map(String::as_str).chain(["manifest.json"]).collect();
    let differs = |name: &&str| {
        std::fs::read(old.join(name)).unwrap() != std::fs::read(new.join(name)).unwrap()
    };
    let files: Vec<&str> = files.into_iter().filter(differs).collect();
    assert!(files.len() > 1);
    for (nth, name) in files.iter().enumerate() {
        std::fs::copy(new.join(name), old.join(name)).unwrap();
        let renewal = live.renew(&settings, &CHECK);
        let is_last = nth + 1 == files.len();
        let expected = if is_last { "city: ok" } else { "city: inconsistent" };
        assert_eq!(told(&renewal), [expected], "{name}");
    }
}

#[test]
fn a_new_set_leaves_the_one_in_use_alone() {
    let world = World::new();
    let out = world.folder.path().join("set");
    let settings = only(&out);
    pack(&args(&world.city(), &out)).unwrap();
    let mut live = Databases::open(&settings).unwrap();
    let bytes = std::fs::read(world.city()).unwrap();
    for day in 1..4 {
        let before = manifest(&out);
        world.put(&world.city(), &rebuilt(&bytes, BUILT + day * 86_400));
        // the manifest is written last: until then, what it names is there
        let kept = std::fs::read(out.join("manifest.json")).unwrap();
        pack(&args(&world.city(), &out)).unwrap();
        let after = manifest(&out);
        assert_eq!(after.generation, before.generation + 1);
        assert_eq!(after.slot, before.slot.map(Slot::other));
        let new = std::fs::read(out.join("manifest.json")).unwrap();
        std::fs::write(out.join("manifest.json"), kept).unwrap();
        assert!(told(&live.renew(&settings, &CHECK)).is_empty());
        std::fs::write(out.join("manifest.json"), new).unwrap();
        let renewal = live.renew(&settings, &CHECK);
        assert_eq!(told(&renewal), ["city: ok"]);
        live = std::sync::Arc::into_inner(renewal.databases.unwrap()).unwrap();
        assert_eq!(live.describe()[0].generation, Some(after.generation));
    }
    // a shorter set leaves nothing of a longer one behind in its slot
    let whole = PackArgs { part_bytes: 1 << 20, ..args(&world.city(), &out) };
    pack(&whole).unwrap();
    pack(&whole).unwrap();
    let parts = std::fs::read_dir(&out).unwrap().count();
    assert_eq!(parts, 3, "two slots of one part, and the manifest");
}

/// What the kubelet does: a folder of its own for each state, and one link that is swapped.
#[test]
fn a_volume_is_read_in_one_state() {
    let world = World::new();
    let volume = world.folder.path().join("volume");
    let bytes = std::fs::read(world.city()).unwrap();
    for day in 0..2_u64 {
        world.put(&world.city(), &rebuilt(&bytes, BUILT + day * 86_400));
        pack(&args(&world.city(), &volume.join(format!("..day{day}")))).unwrap();
    }
    let swap = |day: &str| {
        std::os::unix::fs::symlink(format!("..{day}"), volume.join("..data_tmp")).unwrap();
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    swap("day0");
    // links at the top are made for new keys only after the swap: they are not needed
    let settings = only(&volume);
    let live = Databases::open(&settings).unwrap();
    assert!(told(&live.renew(&settings, &CHECK)).is_empty());
    swap("day1");
    let next = live.renew(&settings, &CHECK).databases.unwrap();
    assert_eq!(next.describe()[0].build_epoch, Some(BUILT + 86_400));
    std::fs::remove_dir_all(volume.join("..day0")).unwrap();
    assert!(told(&next.renew(&settings, &CHECK)).is_empty());
}

#[test]
fn configmaps_hold_the_set_and_fit() {
    let world = World::new();
    let out = world.folder.path().join("out");
    let asked = PackArgs {
        configmaps: Some("geo".to_owned()),
        namespace: Some("ads".to_owned()),
        ..args(&world.city(), &out)
    };
    let text = pack(&asked).unwrap();
    assert!(text.contains("--server-side") && text.contains("geo-manifest"), "{text}");
    let first = read_configmaps(&out.join("configmaps"));
    // what a volume of them shows
    let volume = world.folder.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    for (name, map) in &first {
        assert!(map.get("status").is_none() && map["metadata"].get("resourceVersion").is_none());
        assert_eq!(map["metadata"]["name"], name.as_str());
        assert_eq!(map["metadata"]["namespace"], "ads");
        assert_eq!(map["metadata"]["labels"]["gavel-generation"], "1");
        let mut bytes = 0;
        for (key, value) in map.get("binaryData").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap();
            let part = base64::engine::general_purpose::STANDARD.decode(value).unwrap();
            bytes += part.len() as u64;
            std::fs::write(volume.join(key), part).unwrap();
        }
        assert!(bytes <= CONFIGMAP_BYTES_MAX, "{name}: {bytes}");
        if let Some(text) = map["data"]["manifest.json"].as_str() {
            assert_eq!(text, std::fs::read_to_string(out.join("manifest.json")).unwrap());
            std::fs::write(volume.join("manifest.json"), text).unwrap();
        }
    }
    let shown = Databases::open(&only(&volume)).unwrap();
    assert_eq!(shown.describe()[0].sha256, manifest(&out).sha256);
    let listed = std::fs::read_to_string(out.join("configmaps/volume.txt")).unwrap();
    assert!(first.iter().all(|(name, _)| listed.contains(&format!("name: {name}\n"))), "{listed}");
    // the next one goes to the other slot, and nothing of the first is left to be applied
    pack(&asked).unwrap();
    let second = read_configmaps(&out.join("configmaps"));
    assert_eq!(second.len(), first.len());
    assert!(first[0].0.starts_with("geo-a-") && second[0].0.starts_with("geo-b-"));
    assert_eq!(second.last().unwrap().0, "geo-manifest");
    // by a manifest from elsewhere
    let elsewhere = world.folder.path().join("elsewhere");
    let asked = PackArgs { in_use: Some(out.join("manifest.json")), out: elsewhere, ..asked };
    pack(&asked).unwrap();
    assert_eq!(manifest(&asked.out).generation, 3);
    assert_eq!(manifest(&asked.out).slot, Some(Slot::A));
}

/// In the order in which `kubectl apply -R -f` takes them.
fn read_configmaps(folder: &Path) -> Vec<(String, Value)> {
    let mut files = Vec::new();
    for sub in ["1-parts", "2-manifest"] {
        let entries = std::fs::read_dir(folder.join(sub)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let read = |path: &PathBuf| {
        serde_saphyr::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    files.iter().map(|path| (name(path), read(path))).collect()
}

#[test]
fn what_cannot_be_packed_is_told() {
    let world = World::new();
    let out = world.folder.path().join("out");
    let good = args(&world.city(), &out);
    let broken = world.folder.path().join("broken.mmdb");
    let bytes = std::fs::read(world.city()).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() - 100]).unwrap();
    let other = world.folder.path().join("other.json");
    std::fs::write(&other, "{}").unwrap();
    let named = |name: &str| PackArgs { configmaps: Some(name.to_owned()), ..good.clone() };
    let cases = [
        (PackArgs { file: broken, ..good.clone() }, "cannot be packed"),
        (PackArgs { file: out.join("absent"), ..good.clone() }, "cannot be packed"),
        (PackArgs { part_bytes: 100, ..good.clone() }, "--part-bytes 100 is not 1024 to 1048576"),
        (PackArgs { part_bytes: 2 << 20, ..good.clone() }, "--part-bytes 2097152"),
        (named("Geo"), "`Geo` cannot begin"),
        (named("-geo"), "cannot begin"),
        (named(&"g".repeat(51)), "cannot begin"),
        (PackArgs { namespace: Some("ads".into()), ..good.clone() }, "--configmaps only"),
        (PackArgs { namespace: Some("a/b".into()), ..named("geo") }, "no namespace"),
        (PackArgs { in_use: Some(other), ..good.clone() }, "is no manifest"),
        (PackArgs { in_use: Some(out.join("absent")), ..good.clone() }, "cannot read"),
        (PackArgs { out: world.city(), ..good.clone() }, "cannot write"),
    ];
    for (asked, expected) in cases {
        let fault = pack(&asked).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
    }
    assert!(!out.join("manifest.json").exists());
}
