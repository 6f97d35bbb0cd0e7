//! The configuration reference, written from the calls that read the keys.
//!
//! Owns: the markdown. Invariant: a key that can be set is in it (a test compares the committed
//! file with this text).

use super::reader::Row;
use std::fmt::Write;

/// Each key with the value that holds, one a line: `path = value`, defaults marked.
pub fn effective(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        // Writing to a String never fails.
        let _ = match &row.set {
            Some(set) => writeln!(text, "{} = {set}", row.path),
            None => writeln!(text, "{} = {}  # default", row.path, row.default),
        };
    }
    text
}

/// The reference as markdown, one table a section.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Configuration reference\n\nWritten by `gavel reference`; do not edit. A path with `[]` \
         is a table that may stand any number of times. The values of `encryption_key`, `headers`, \
         `integrity_key`, `key`, `keys`, `secret` and `token` are shown to nobody; they alone may have \
         `${file:PATH}` (relative to the file that says so; neither a new line at \
         its end nor a byte order mark at its start is part of it) and `${env:NAME}` in place of \
         themselves or of a part; empty, either is a fault. All `partners` or all `bidders` are taken \
         away by a restart only: a reload that would leave none where there are some is refused.\n",
    );
    let mut section = None;
    for row in rows {
        let (path, key) = row.path.rsplit_once('.').unwrap_or(("", &row.path));
        if section != Some(path) {
            let title = if path.is_empty() { "top level" } else { path };
            // Writing to a String never fails.
            let _ = writeln!(text, "\n## {title}\n| key | kind | default | allowed | meaning |");
            text.push_str("|---|---|---|---|---|\n");
            section = Some(path);
        }
        let _ = writeln!(
            text,
            "| `{key}` | {} | `{}` | {} | {} |",
            row.kind, row.default, row.allowed, row.doc
        );
    }
    text
}
