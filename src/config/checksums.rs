//! A list of checksums beside the configuration.
//!
//! Owns: its key and its check. Without one, files that belong together and do not arrive together
//! (several ConfigMaps in one volume, a file rewritten in place) can be taken half new and half
//! old; with one they are taken when all fit.

use super::fault::Fault;
use super::files::Files;
use super::reader::Table;
use super::{Report, shown};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A list larger than this is a mistake.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// The key in the main file.
pub fn read(root: &mut Table, folder: &Path) -> Option<PathBuf> {
    root.parsed(
        "checksums",
        "a path to a list of SHA-256 sums",
        "As `sha256sum` writes it: every file of the configuration must stand in it, by its path \
         from the folder of the list.",
        |text| (!text.is_empty()).then(|| folder.join(text)),
    )
}

/// Whether each file that was read is the one in the list, where there is a list.
pub fn check(list: Option<&Path>, files: &Files) -> Result<(), Report> {
    let Some(path) = list else { return Ok(()) };
    let of_list = |wanted: String| Report(vec![Fault::of_file(&shown(path), wanted)]);
    let list = files.read(path, LIST_BYTES_MAX).map_err(of_list)?;
    let list = String::from_utf8_lossy(&list);
    let sums =
        parse(&list).map_err(|line| of_list(format!("is no list of sums in line {line}")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let faults: Vec<Fault> = files
        .contents()
        .iter()
        .filter(|(name, _)| *name != path)
        .filter_map(|(name, content)| {
            let key = name.strip_prefix(folder).unwrap_or(name);
            let wanted = match sums.get(key) {
                None => format!("is not in {}", shown(path)),
                Some(sum) if sum.eq_ignore_ascii_case(&sha256(content)) => return None,
                Some(_) => format!("is not the file whose sum is in {}", shown(path)),
            };
            Some(Fault::of_file(&shown(name), wanted))
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Report(faults)) }
}

/// Sums by path; else the number of the line that is none.
fn parse(list: &str) -> Result<HashMap<&Path, &str>, usize> {
    let mut sums = HashMap::new();
    for (line, number) in list.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let (sum, name) = line.split_once(' ').ok_or(number)?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        // `*` marks a file that was read in binary mode
        let name = name.trim_start_matches([' ', '*']);
        if !is_sum || name.is_empty() {
            return Err(number);
        }
        sums.insert(Path::new(name.strip_prefix("./").unwrap_or(name)), sum);
    }
    Ok(sums)
}

fn sha256(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // into a string: cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn files_are_taken_only_as_their_sums_say() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let main = "checksums = 'SUMS'\ninclude = ['more.toml']\n";
        let more = "[rates.per_base]\nEUR = 0.9\n";
        write("gavel.toml", main);
        write("more.toml", more);
        let sums = |main: &str, more: &str| {
            let (main, more) = (sha256(main.as_bytes()), sha256(more.as_bytes()));
            format!("{main}  gavel.toml\n{more} *./more.toml\n")
        };
        let check = |wanted: Option<&str>| {
            let got = load(&dir.path().join("gavel.toml"));
            let text = got.map(|_| ()).map_err(|report| report.to_string());
            match wanted {
                None => assert_eq!(text, Ok(())),
                Some(part) => assert!(text.clone().unwrap_err().contains(part), "{text:?}"),
            }
        };
        check(Some("SUMS: cannot be read"));
        write("SUMS", &sums(main, more));
        check(None);
        write("more.toml", "[rates.per_base]\nEUR = 0.8\n");
        check(Some("more.toml: is not the file whose sum is in"));
        write("SUMS", &format!("{}  gavel.toml\n", sha256(main.as_bytes())));
        check(Some("more.toml: is not in"));
        write("SUMS", "hello\n");
        check(Some("is no list of sums in line 1"));
    }
}
