//! The form that a member must have to be told under a strict disclosure, and the copy of a value
//! as far as it has that form.
//!
//! Owns: [`Form`]. Never: which member has which form (`disclosure`), a check that bytes are JSON:
//! they were read before.
//!
//! Invariant: what is copied has no object, no list and no name that the form does not have. A
//! name that is written with escapes is none that we know.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// A number in a string has no more bytes than this: a longer one would rather be an id.
const NUMBER_BYTES_MAX: usize = 20;

/// What a value has to be; `null` is always taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string, or leniently any other scalar.
    Text,
    /// A number or a flag, or leniently a string of one.
    Number,
    /// A list of such, or leniently one of them.
    List(&'static Self),
    /// An object with no other members than these.
    Object(&'static [(&'static str, Self)]),
}

impl Form {
    /// Whether a value has it, or is a list or an object that may have parts of it.
    pub fn holds(self, value: &[u8]) -> bool {
        match (self, value) {
            (_, b"null") | (Self::List(_), [b'[', ..]) | (Self::Object(_), [b'{', ..]) => true,
            (Self::Text, [first, ..]) => !matches!(first, b'{' | b'['),
            (Self::Number, value) => is_number(value),
            (Self::List(form), value) => form.holds(value),
            _ => false,
        }
    }

    /// Whether a value that it holds has it as it stands.
    pub fn is_whole(self, value: &[u8]) -> bool {
        !matches!(value, [b'{' | b'[', ..])
    }

    /// Writes the parts that have it of a value that it holds.
    pub fn copy(self, value: &[u8], out: &mut Vec<u8>) {
        match (self, value) {
            (Self::Object(members), [b'{', inside @ ..]) => {
                out.push(b'{');
                copy_members(members, inside, out);
                out.push(b'}');
            }
            (Self::List(form), [b'[', inside @ ..]) => {
                out.push(b'[');
                copy_elements(*form, inside, out);
                out.push(b']');
            }
            (Self::List(form), value) => form.copy(value, out),
            _ => out.extend_from_slice(value),
        }
    }
}

fn copy_members(members: &[(&str, Form)], mut inside: &[u8], out: &mut Vec<u8>) {
    let mut lead: &[u8] = b"\"";
    while let (Some(name), Some(value)) = (next(&mut inside), next(&mut inside)) {
        let bare = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        let known = members.iter().find(|(known, _)| Some(known.as_bytes()) == bare);
        let Some((name, form)) = known.filter(|(_, form)| form.holds(value)) else { continue };
        for part in [lead, name.as_bytes(), b"\":"] {
            out.extend_from_slice(part);
        }
        form.copy(value, out);
        lead = b",\"";
    }
}

fn copy_elements(form: Form, mut inside: &[u8], out: &mut Vec<u8>) {
    let mut is_first = true;
    while let Some(value) = next(&mut inside) {
        if !form.holds(value) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        form.copy(value, out);
    }
}

/// A number, `true` or `false`, or a string of one.
fn is_number(value: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    match value {
        [b'"', b't', b'r', b'u', b'e', b'"'] | [b'"', b'f', b'a', b'l', b's', b'e', b'"'] => true,
        [b'"', text @ .., b'"'] => text.len() <= NUMBER_BYTES_MAX && text.iter().all(is_part),
        [b'{' | b'[' | b'"', ..] => false,
        _ => true,
    }
}

/// The next name or value inside of an object or a list; `None`: there is none before its end.
fn next<'v>(inside: &mut &'v [u8]) -> Option<&'v [u8]> {
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
    let start = inside.iter().position(|byte| !is_between(byte))?;
    let from = inside.get(start..)?;
    let (value, rest) = from.split_at_checked(length(from))?;
    *inside = rest;
    Some(value).filter(|value| !value.is_empty())
}

/// How many bytes the value has that stands at the beginning; 0: that is the end of what it would
/// stand in.
fn length(from: &[u8]) -> usize {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for (behind, byte) in (1..).zip(from) {
        let is_end = match byte {
            _ if is_escaped => {
                is_escaped = false;
                false
            }
            b'\\' if is_text => {
                is_escaped = true;
                false
            }
            b'"' => {
                is_text = !is_text;
                !is_text
            }
            _ if is_text => false,
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                false
            }
            b'}' | b']' if depth > 0 => {
                depth = depth.saturating_sub(1);
                true
            }
            b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => {
                return usize::saturating_sub(behind, 1);
            }
            _ => false,
        };
        if is_end && depth == 0 {
            return behind;
        }
    }
    from.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: Form = Form::Object(&[
        ("a", Form::Text),
        ("n", Form::Number),
        ("l", Form::List(&Form::Text)),
        ("o", Form::Object(&[("x", Form::Number)])),
        ("m", Form::List(&Form::Object(&[("x", Form::Number)]))),
    ]);

    #[test]
    fn scalars_are_told_from_what_could_hold_anything() {
        for (form, value, is_held) in [
            (Form::Text, r#""x""#, true),
            (Form::Text, r#""{\"a\":1}""#, true),
            (Form::Text, "17.2", true),
            (Form::Text, "null", true),
            (Form::Text, "{}", false),
            (Form::Text, "[]", false),
            (Form::Number, "1", true),
            (Form::Number, "-1.5e3", true),
            (Form::Number, "true", true),
            (Form::Number, "null", true),
            (Form::Number, r#""""#, true),
            (Form::Number, r#""1""#, true),
            (Form::Number, r#""false""#, true),
            (Form::Number, r#""-7.5""#, true),
            (Form::Number, r#""f81d4fae""#, false),
            (Form::Number, r#""123456789012345678901""#, false),
            (Form::Number, "{}", false),
            (Form::Number, "[1]", false),
            (Form::List(&Form::Text), r#"["x"]"#, true),
            (Form::List(&Form::Text), r#""x""#, true),
            (Form::List(&Form::Text), "{}", false),
            (TREE, "{}", true),
            (TREE, "null", true),
            (TREE, "[]", false),
            (TREE, r#""x""#, false),
        ] {
            assert_eq!(form.holds(value.as_bytes()), is_held, "{form:?} {value}");
        }
    }

    #[test]
    fn only_parts_of_the_form_are_copied() {
        for (value, expected) in [
            ("{}", "{}"),
            (r#"{ "a" : "x" , "n":1 }"#, r#"{"a":"x","n":1}"#),
            (r#"{"z":1,"a":"x","ext":{"a":"y"}}"#, r#"{"a":"x"}"#),
            (r#"{"a":{"id":"x"},"n":"id-1","l":{"id":"x"}}"#, "{}"),
            (r#"{"a":"}\"]\\","n":2}"#, r#"{"a":"}\"]\\","n":2}"#),
            (r#"{"\u0061":"x","n":null}"#, r#"{"n":null}"#),
            (r#"{"l":[ "x" , {"id":"y"} , ["z"], "w" ]}"#, r#"{"l":["x","w"]}"#),
            (r#"{"l":"x","l2":["y"]}"#, r#"{"l":"x"}"#),
            (r#"{"l":[],"o":{"x":1,"y":[{"x":2}]},"n":3}"#, r#"{"l":[],"o":{"x":1},"n":3}"#),
            (r#"{"m":[{"x":1,"id":2},7,{"id":3}]}"#, r#"{"m":[{"x":1},{}]}"#),
            (r#"{"o":null,"m":null}"#, r#"{"o":null,"m":null}"#),
        ] {
            let mut out = Vec::new();
            TREE.copy(value.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        }
    }
}
