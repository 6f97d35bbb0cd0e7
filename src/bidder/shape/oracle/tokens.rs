//! The oracle's own tokenizer, and variations of a request.
#![expect(clippy::indexing_slicing, reason = "a test may fail")]

use crate::bidder::fixture::Dice;
use std::collections::{BTreeMap, BTreeSet};

/// A value: its raw text and what is inside.
#[derive(Clone, Debug)]
pub struct Node<'t> {
    pub raw: &'t str,
    pub inside: Inside<'t>,
}

#[derive(Clone, Debug)]
pub enum Inside<'t> {
    Scalar,
    /// Raw key (quotes included) and value.
    Object(Vec<(&'t str, Node<'t>)>),
    Array(Vec<Node<'t>>),
}

/// Reads one value at `at`; panics on what is not JSON.
pub fn node<'t>(text: &'t str, at: &mut usize) -> Node<'t> {
    let bytes = text.as_bytes();
    let skip = |at: &mut usize| {
        while bytes[*at].is_ascii_whitespace() || bytes[*at] == b',' || bytes[*at] == b':' {
            *at += 1;
        }
    };
    let string = |at: &mut usize| {
        let start = *at;
        *at += 1;
        while bytes[*at] != b'"' {
            *at += if bytes[*at] == b'\\' { 2 } else { 1 };
        }
        *at += 1;
        text.get(start..*at).unwrap()
    };
    skip(at);
    let start = *at;
    let inside = match bytes[*at] {
        open @ (b'{' | b'[') => {
            let (mut members, mut elements) = (Vec::new(), Vec::new());
            *at += 1;
            skip(at);
            while !matches!(bytes[*at], b'}' | b']') {
                if open == b'{' {
                    let key = string(at);
                    members.push((key, node(text, at)));
                } else {
                    elements.push(node(text, at));
                }
                skip(at);
            }
            *at += 1;
            if open == b'{' { Inside::Object(members) } else { Inside::Array(elements) }
        }
        b'"' => {
            string(at);
            Inside::Scalar
        }
        _ => {
            while bytes.get(*at).is_some_and(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)) {
                *at += 1;
            }
            Inside::Scalar
        }
    };
    Node { raw: text.get(start..*at).unwrap(), inside }
}

fn name(raw_key: &str) -> String {
    serde_json::from_str(raw_key).unwrap()
}

impl<'t> Node<'t> {
    pub fn get(&self, key: &str) -> Option<&Node<'t>> {
        let Inside::Object(members) = &self.inside else { return None };
        members.iter().find(|(raw, _)| name(raw) == key).map(|(_, value)| value)
    }

    pub fn has_double_key(&self) -> bool {
        match &self.inside {
            Inside::Scalar => false,
            Inside::Array(elements) => elements.iter().any(Node::has_double_key),
            Inside::Object(members) => {
                let names: BTreeSet<String> = members.iter().map(|(raw, _)| name(raw)).collect();
                names.len() < members.len() || members.iter().any(|(_, one)| one.has_double_key())
            }
        }
    }

    /// Every value below by path: raw key and raw value. Imps are numbered by `imps`.
    pub fn list(&self, path: &str, imps: &[usize], out: &mut BTreeMap<String, (&'t str, &'t str)>) {
        match &self.inside {
            Inside::Scalar => {}
            Inside::Object(members) => {
                for (raw, value) in members {
                    let path = format!("{path}.{}", name(raw));
                    out.insert(path.clone(), (raw, value.raw));
                    value.list(&path, imps, out);
                }
            }
            Inside::Array(elements) => {
                for (at, value) in elements.iter().enumerate() {
                    let at = if path == ".imp" { imps[at] } else { at };
                    let path = format!("{path}[{at}]");
                    out.insert(path.clone(), ("", value.raw));
                    value.list(&path, imps, out);
                }
            }
        }
    }
}

/// Writes a value again with other white space and keys, and with members added and left out.
pub fn vary(value: &Node<'_>, path: &str, dice: &mut Dice, out: &mut String) {
    let space =
        |dice: &mut Dice, out: &mut String| out.push_str(dice.pick(&["", "", " ", "\n\t "]));
    match &value.inside {
        Inside::Scalar => out.push_str(value.raw),
        Inside::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                space(dice, out);
                vary(element, &format!("{path}[]"), dice, out);
                space(dice, out);
            }
            out.push(']');
        }
        Inside::Object(members) => {
            out.push('{');
            space(dice, out);
            let is_needed = |key: &str| {
                matches!(
                    key,
                    "id" | "imp"
                        | "banner"
                        | "video"
                        | "native"
                        | "w"
                        | "h"
                        | "format"
                        | "mimes"
                        | "request"
                )
            };
            let mut is_first = true;
            let mut names = BTreeSet::new();
            for (raw, member) in members {
                let key = name(raw);
                if (!is_needed(&key) && dice.one_in(12)) || !names.insert(key) {
                    continue;
                }
                out.push_str(if is_first { "" } else { "," });
                is_first = false;
                space(dice, out);
                out.push_str(&escaped(raw, dice));
                space(dice, out);
                out.push(':');
                space(dice, out);
                vary(member, &format!("{path}.{}", name(raw)), dice, out);
                space(dice, out);
            }
            for (_, extra) in EXTRAS.iter().filter(|(at, _)| *at == path) {
                let key = name(extra.split(':').next().unwrap());
                if dice.one_in(6) && names.insert(key) {
                    out.push_str(if is_first { "" } else { "," });
                    is_first = false;
                    out.push_str(extra);
                }
            }
            out.push('}');
        }
    }
}

/// Members that corpora lack, by the path of their object.
const EXTRAS: [(&str, &str); 40] = [
    ("", r#""allimps":1"#),
    ("", r#""wseat":["a","x","b"]"#),
    ("", r#""bseat":["b","\u0061"]"#),
    ("", r#""cur":["EUR"]"#),
    ("", r#""acat":["IAB1"]"#),
    (".imp[]", r#""secure":0"#),
    (".imp[]", r#""secure":null"#),
    (".imp[]", r#""bidfloorcur":"EUR""#),
    (".user", r#""buyeruid":"""#),
    (".user", r#""eids":[{"uids":[{"id":"a\n"}],"source":"e"}]"#),
    ("", r#""device":{}"#),
    ("", r#""device":null"#),
    ("", r#""regs":{}"#),
    ("", r#""regs":{"gdpr":0,"gpp_sid":[-1]}"#),
    ("", r#""user":{ }"#),
    ("", r#""source":{}"#),
    ("", r#""source":null"#),
    ("", r#""bcat":[ ]"#),
    ("", r#""badv":null"#),
    ("", r#""at":null"#),
    ("", r#""user":{"consent":"A","ext":{"consent":"B","z":1}}"#),
    ("", r#""ext":{"a":[1.0]}"#),
    (".regs", r#""ext":{}"#),
    (".regs", r#""ext":null"#),
    (".regs", r#""us_privacy":"1---""#),
    (".regs", r#""gdpr":0"#),
    (".regs.ext", r#""gdpr":0"#),
    (".regs", r#""gdpr":null"#),
    (".user", r#""ext":{ }"#),
    (".user", r#""eids":[]"#),
    (".user.ext", r#""eids":[]"#),
    (".user", r#""geo":{"lat":1.239}"#),
    (".device", r#""geo":null"#),
    (".device", r#""ext":null"#),
    (".device.geo", r#""lat":-1.5678"#),
    (".source", r#""ext":{}"#),
    (".source", r#""schain":{"nodes":[ ],"complete":1}"#),
    (".source.ext", r#""schain":{"nodes":null}"#),
    (".imp[]", r#""rwdd":1"#),
    (".imp[]", r#""ext":{"rwdd":0}"#),
];

/// A key, sometimes with one letter escaped; not one that is kept by its raw text.
fn escaped(raw: &str, dice: &mut Dice) -> String {
    let by_text = "\"b\" \"x\" \"atts\" \"ppi\" \"pxratio\" \"js\" \"geofetch\" \"flashver\" \"langb\" \"mccmnc\" \"regionfips104\"";
    if by_text.contains(raw) {
        return raw.to_owned();
    }
    let letter = raw.chars().nth(1).filter(char::is_ascii_alphabetic);
    match letter.filter(|_| dice.one_in(10)) {
        Some(letter) => format!("\"\\u{:04x}{}", u32::from(letter), raw.get(2..).unwrap()),
        None => raw.to_owned(),
    }
}
