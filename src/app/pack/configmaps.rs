//! The same set as manifests of Kubernetes.
//!
//! Owns: the YAML of the ConfigMaps and of the volume, and how to apply them. Never: a field that
//! the server owns (no status, no resourceVersion), so that server-side apply takes them as they
//! are, and the same set gives the same bytes.

use super::{CONFIGMAP_BYTES_MAX, PackArgs, PackError, Set, replace, writing};
use crate::enrich::databases::manifest::{MANIFEST, Part, Slot};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// More ConfigMaps than this set needs that the volume names, in percent: databases grow, and a
/// set that does not fit its volume is not taken.
const SPARE_PERCENT: usize = 50;

/// Folders below `--out/configmaps`, in the order of applying.
const PARTS: &str = "1-parts";
const LAST: &str = "2-manifest";

/// Writes one file for each ConfigMap, the manifest's last, and the volume that shows them all.
pub fn write(set: &Set<'_>, name: &str, args: &PackArgs) -> Result<(), PackError> {
    let folders = [PARTS, LAST].map(|folder| folder_of(args, folder));
    for folder in &folders {
        fs::create_dir_all(folder).map_err(|source| writing(folder, source))?;
        clear(folder, name)?;
    }
    let [parts, last] = folders;
    let groups = grouped(set);
    for (nth, group) in groups.iter().enumerate() {
        let name = format!("{name}-{}-{nth:03}", set.slot.name());
        let mut text = head(&name, set, args);
        text += "binaryData:\n";
        for (part, bytes) in group {
            line(&mut text, format_args!("  {}: {}", part.file, STANDARD.encode(bytes)));
        }
        replace(&parts.join(format!("{name}.yaml")), text.as_bytes())?;
    }
    let manifest = set.manifest.to_json().map_err(PackError::Manifest)?;
    let name_of_last = format!("{name}-manifest");
    let mut text = head(&name_of_last, set, args);
    line(&mut text, format_args!("data:\n  {MANIFEST}: |"));
    for row in manifest.lines() {
        line(&mut text, format_args!("    {row}"));
    }
    replace(&last.join(format!("{name_of_last}.yaml")), text.as_bytes())?;
    let volume = volume(name, groups.len());
    replace(&args.out.join("configmaps").join("volume.txt"), volume.as_bytes())
}

/// What to do with them.
pub fn advice(set: &Set<'_>, name: &str, args: &PackArgs) -> String {
    let namespace = args.namespace.as_ref().map(|name| format!(" -n {name}")).unwrap_or_default();
    let apply = "kubectl apply --server-side --field-manager=gavel-pack-db";
    let (slot, generation) = (set.slot.name(), set.manifest.generation);
    let folder = |name| folder_of(args, name).display().to_string();
    let (parts, last) = (folder(PARTS), folder(LAST));
    let volume = args.out.join("configmaps").join("volume.txt");
    format!(
        "Apply the parts, then the manifest, which makes them count:\n\
         \x20 {apply}{namespace} -f {parts} &&\n\
         \x20 {apply}{namespace} -f {last}\n\
         Then drop what an earlier set left behind in this slot:\n\
         \x20 kubectl delete configmap{namespace} -l \
         'gavel-set={name},gavel-slot={slot},gavel-generation!={generation}'\n\
         The other slot stays: pods read it until they have seen the manifest.\n\
         The volume that shows both slots is in {}; mount it, and name its folder as the database.\n\
         Before the next set, where `--out` is not kept:\n\
         \x20 kubectl get configmap{namespace} {name}-manifest -o \
         'jsonpath={{.data.manifest\\.json}}' > in-use.json\n\
         and pack with --in-use in-use.json.\n",
        volume.display(),
    )
}

fn folder_of(args: &PackArgs, name: &str) -> PathBuf {
    args.out.join("configmaps").join(name)
}

/// Removes what an earlier set of this name left.
fn clear(folder: &Path, name: &str) -> Result<(), PackError> {
    let fault = |source| writing(folder, source);
    let starts = [Slot::A.name(), Slot::B.name(), "manifest"].map(|end| format!("{name}-{end}"));
    for entry in fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let is_ours = starts.iter().any(|start| file.starts_with(start.as_str()));
        if is_ours && file.ends_with(".yaml") {
            fs::remove_file(entry.path()).map_err(|source| writing(&entry.path(), source))?;
        }
    }
    Ok(())
}

/// As many parts to a ConfigMap as it holds.
fn grouped<'a>(set: &'a Set<'_>) -> Vec<Vec<(&'a Part, &'a [u8])>> {
    let mut groups: Vec<Vec<_>> = Vec::new();
    let mut room = 0;
    for (part, bytes) in set.parts() {
        match groups.last_mut() {
            Some(group) if part.bytes <= room => group.push((part, bytes)),
            _ => {
                groups.push(vec![(part, bytes)]);
                room = CONFIGMAP_BYTES_MAX;
            }
        }
        room = room.saturating_sub(part.bytes);
    }
    groups
}

fn head(name: &str, set: &Set<'_>, args: &PackArgs) -> String {
    let mut text = String::from("apiVersion: v1\nkind: ConfigMap\nmetadata:\n");
    line(&mut text, format_args!("  name: {name}"));
    if let Some(namespace) = &args.namespace {
        line(&mut text, format_args!("  namespace: {}", quoted(namespace)));
    }
    text += "  labels:\n    app.kubernetes.io/managed-by: gavel-pack-db\n    \
             app.kubernetes.io/name: gavel\n";
    line(&mut text, format_args!("    gavel-generation: \"{}\"", set.manifest.generation));
    let set_name = args.configmaps.as_deref().unwrap_or_default();
    line(&mut text, format_args!("    gavel-set: {}", quoted(set_name)));
    line(&mut text, format_args!("    gavel-slot: {}", set.slot.name()));
    text
}

/// A word that YAML might take for a number or a flag.
fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

/// The projected volume: every ConfigMap of both slots, whether it is there or not.
fn volume(name: &str, needed: usize) -> String {
    let count = needed + needed * SPARE_PERCENT / 100 + 1;
    let mut text = String::from(
        "# Under `volumes:` of the pod. Names more ConfigMaps than the set has, so that a larger \
         one fits.\n",
    );
    line(&mut text, format_args!("- name: {name}\n  projected:\n    sources:"));
    let parts = [Slot::A, Slot::B].map(Slot::name).into_iter();
    let parts = parts.flat_map(|slot| (0..count).map(move |nth| format!("{slot}-{nth:03}")));
    for end in parts.chain(["manifest".to_owned()]) {
        line(&mut text, format_args!("    - configMap:\n        name: {name}-{end}"));
        if end != "manifest" {
            text += "        optional: true\n";
        }
    }
    text
}

fn line(text: &mut String, row: std::fmt::Arguments<'_>) {
    // writing to a text cannot fail
    let _ = writeln!(text, "{row}");
}
