//! JSON with line ends.
//!
//! Owns: the layout. Never: a change to what is there: numbers, escapes, the order of members and
//! members that stand twice stay as they came. Invariant: total; bytes that are no JSON give `None`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use gavel::json::scratch::Scratch;
use gavel::json::value::{Kind, Value};

/// Deepest nesting that is laid out.
const DEPTH_MAX: usize = 64;

/// Arrays and objects that fit into so many bytes stay on one line.
const LINE_BYTES: usize = 72;

/// A document with an indentation of two.
pub fn laid_out(body: &[u8]) -> Option<String> {
    let (mut scratch, mut text) = (Scratch::new(DEPTH_MAX), Vec::new());
    let document = scratch.read(body, &mut text).ok()?;
    let mut out = String::new();
    write(body, document.root(), 0, &mut out);
    Some(out)
}

fn write(body: &[u8], value: Value<'_>, depth: usize, out: &mut String) {
    let written = source(body, value.span().at, value.span().end);
    let inner = depth.saturating_add(1);
    match value.kind() {
        Kind::Object(members) if members.len() > 0 && written.len() > LINE_BYTES => {
            out.push('{');
            for (index, member) in members.enumerate() {
                next_line(index > 0, inner, out);
                let key_end = member.value.span().at;
                let key = source(body, member.key_at, key_end);
                out.push_str(key.trim_end().trim_end_matches(':').trim_end());
                out.push_str(": ");
                write(body, member.value, inner, out);
            }
            next_line(false, depth, out);
            out.push('}');
        }
        Kind::Array(elements) if elements.len() > 0 && written.len() > LINE_BYTES => {
            out.push('[');
            for (index, element) in elements.enumerate() {
                next_line(index > 0, inner, out);
                write(body, element, inner, out);
            }
            next_line(false, depth, out);
            out.push(']');
        }
        _ => out.push_str(&written.replace(['\n', '\r'], " ")),
    }
}

fn next_line(is_further: bool, depth: usize, out: &mut String) {
    if is_further {
        out.push(',');
    }
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn source(body: &[u8], at: u32, end: u32) -> &str {
    let range = usize::try_from(at).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(0);
    std::str::from_utf8(body.get(range).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_changes_nothing_but_white_space() {
        let body = br#"{"id":"a:\" b", "imp" :[{"id":"1","banner":{"w":300.0,"h":250},"tagid":"something that is long enough"},{"id":"2"}],"at":1,"at":2,"ext":{}}"#;
        let laid = laid_out(body).unwrap();
        let expected = r#"{
  "id": "a:\" b",
  "imp": [
    {
      "id": "1",
      "banner": {"w":300.0,"h":250},
      "tagid": "something that is long enough"
    },
    {"id":"2"}
  ],
  "at": 1,
  "at": 2,
  "ext": {}
}"#;
        assert_eq!(laid, expected);
        assert_eq!(laid_out(b"[1,").as_deref(), None);
        assert_eq!(laid_out(b" 1 ").as_deref(), Some("1"));
    }
}
