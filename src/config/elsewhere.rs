//! Secrets that stand elsewhere: `${file:PATH}` and `${env:NAME}` in place of a value or a part of it.
//!
//! Owns: which values may have them, and what they are replaced by. Never: a secret in a report.
//! Invariant: they are replaced only under keys whose values no report shows; a file that is named
//! is one of the configuration's own, so that a change of it is a reload.

use super::fault::{Fault, Found, Place};
use super::files::Files;
use super::secrets::{SECRETS, is_secret};
use std::path::Path;
use toml::{Table, Value};

/// A file with a secret that is larger is a mistake.
const FILE_BYTES_MAX: u64 = 4096;

/// No part of a secret at the start of its file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a reference begins with, and where it leads.
const KINDS: [(&str, Kind); 2] = [("${file:", Kind::File), ("${env:", Kind::Environment)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Environment,
}

/// Where references are looked up.
pub struct Elsewhere<'a> {
    /// What paths are relative to.
    pub folder: &'a Path,
    pub files: &'a Files,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// A variable of this process.
#[expect(clippy::disallowed_methods, reason = "the configuration is who may ask")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Elsewhere<'_> {
    /// Puts what they lead to in the place of all references of a file.
    pub fn resolve(&self, file: &str, values: &mut Table) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |path: &str, wanted: String| {
            let place = Place { file: file.to_owned(), path: path.to_owned() };
            faults.push(place.fault(Found::Hidden, wanted, None));
        };
        self.table("", values, &mut fault);
        faults
    }

    fn table(&self, above: &str, table: &mut Table, fault: &mut dyn FnMut(&str, String)) {
        for (key, value) in table.iter_mut() {
            let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            self.value((&path, key), value, fault);
        }
    }

    fn value(
        &self,
        (path, key): (&str, &str),
        value: &mut Value,
        fault: &mut dyn FnMut(&str, String),
    ) {
        match value {
            Value::Table(table) => self.table(path, table, fault),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value((&format!("{path}[{index}]"), key), item, fault);
                }
            }
            Value::String(text) => match self.text(key, text) {
                Ok(Some(whole)) => *text = whole,
                Ok(None) => {}
                Err(wanted) => fault(path, wanted),
            },
            _ => {}
        }
    }

    /// A text with its references replaced; `None`: it has none. What was put in is not read again.
    fn text(&self, key: &str, text: &str) -> Result<Option<String>, String> {
        let Some(mut found) = next(text) else { return Ok(None) };
        if !is_secret(key) {
            let keys = SECRETS.join("`, `");
            return Err(format!("without a reference: only `{keys}` may have one"));
        }
        let mut whole = String::new();
        loop {
            let (before, kind, behind) = found;
            let (name, rest) =
                behind.split_once('}').ok_or("with a `}` behind what it refers to")?;
            whole.push_str(before);
            whole.push_str(&self.look_up(kind, name)?);
            let Some(another) = next(rest) else {
                whole.push_str(rest);
                return Ok(Some(whole));
            };
            found = another;
        }
    }

    fn look_up(&self, kind: Kind, name: &str) -> Result<String, String> {
        match kind {
            Kind::Environment => {
                (self.variable)(name).filter(|value| !is_blank(value)).ok_or_else(|| {
                    format!("with an environment variable that is set and not empty, not {name:?}")
                })
            }
            Kind::File => {
                let fault = |why: &str| format!("with a file that can be read: {name:?} {why}");
                let read = self.files.read(&self.folder.join(name), FILE_BYTES_MAX);
                let bytes = read.map_err(|why| fault(&why))?;
                let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8"))?;
                if is_blank(&text) {
                    return Err(fault("is empty"));
                }
                // most tools end a file with a new line, and some begin it with a byte order mark
                let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

/// Whether nothing is in it: no secret, but a file that was emptied or is still to be written.
fn is_blank(text: &str) -> bool {
    text.trim_start_matches(BYTE_ORDER_MARK).trim().is_empty()
}

/// What stands before the next reference, its kind, and what stands behind its colon.
fn next(text: &str) -> Option<(&str, Kind, &str)> {
    let found = KINDS.iter().filter_map(|(mark, kind)| {
        text.split_once(mark).map(|(before, behind)| (before, *kind, behind))
    });
    found.min_by_key(|(before, ..)| before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> (Table, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("key", "of-a-file ${env:WHO}\r\n");
        write("marked", "\u{feff}of-an-editor\n");
        write("long", &"x".repeat(4097));
        write("empty", "");
        write("blank", "\u{feff} \n");
        let files = Files::on_disk();
        let variable = |name: &str| match name {
            "WHO" => Some("of-the-environment".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let elsewhere = Elsewhere { folder: dir.path(), files: &files, variable: &variable };
        let mut table: Table = text.parse().unwrap();
        let faults = elsewhere.resolve("a.toml", &mut table);
        (table, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_secret_may_stand_in_a_file_or_in_the_environment_and_is_put_in_once() {
        let (table, faults) = resolved(
            "token = '${env:WHO}'\n[[bidders]]\nheaders = ['X-A: 1', 'X-B: <${file:key}|${env:WHO}>']\n\
             [[keys]]\nsecret = '${AUCTION_PRICE}'\nkey = '${file:marked}'\n",
        );
        assert_eq!(faults, [""; 0]);
        assert_eq!(table["token"].as_str(), Some("of-the-environment"));
        let headers = table["bidders"][0]["headers"].as_array().unwrap();
        let expected = "X-B: <of-a-file ${env:WHO}|of-the-environment>";
        assert_eq!(headers[1].as_str(), Some(expected), "what was put in is not read again");
        assert_eq!(table["keys"][0]["secret"].as_str(), Some("${AUCTION_PRICE}"));
        assert_eq!(table["keys"][0]["key"].as_str(), Some("of-an-editor"));
    }

    #[test]
    fn what_is_not_there_or_would_be_shown_is_a_fault_without_a_secret() {
        let (_, faults) = resolved(
            "key = 'hidden ${env:NOBODY}'\ntoken = '${file:none}'\nsecret = '${file:long}'\n\
             [[partners]]\nname = '${env:WHO}'\nkeys = ['${env:WHO', 'x']\n\
             [[bidders]]\nheaders = ['a: Bearer ${file:empty}', 'b: ${file:blank}', 'c: ${env:EMPTY}']\n",
        );
        let wanted = [
            "a.toml: key: must be with an environment variable that is set and not empty, not \"NOBODY\"",
            "a.toml: token: must be with a file that can be read: \"none\" cannot be read: ",
            "a.toml: secret: must be with a file that can be read: \"long\" is 4097 bytes; at most",
            "a.toml: partners[0].name: must be without a reference: only `encryption_key`, ",
            "a.toml: partners[0].keys[0]: must be with a `}` behind what it refers to",
            "a.toml: bidders[0].headers[0]: must be with a file that can be read: \"empty\" is empty",
            "a.toml: bidders[0].headers[1]: must be with a file that can be read: \"blank\" is empty",
            "a.toml: bidders[0].headers[2]: must be with an environment variable that is set and not \
             empty, not \"EMPTY\"",
        ];
        assert_eq!(faults.len(), wanted.len(), "{faults:?}");
        for start in wanted {
            assert!(faults.iter().any(|fault| fault.starts_with(start)), "{start}: {faults:?}");
        }
        assert!(!faults.concat().contains("hidden"), "{faults:?}");
    }
}
