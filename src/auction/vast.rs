//! Whether a document is VAST (or DAAST), and what it loads.
//!
//! Owns: a scanner of XML that checks as much as keeps a player from failing: one root `VAST` or
//! `DAAST` with a `version`, tags that close in order, quoted attributes, no internal DTD, depth
//! at most [`DEPTH_MAX`], and at least one `Ad` in the root. Never: declared entities, namespaces, a
//! schema. An address of a document is not a document.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::html::{self, Attributes, is_plain_http, tag_name};
use super::references::decoded;
use memchr::{memchr, memmem};
use smallvec::SmallVec;
use std::borrow::Cow;

/// Deepest nesting of elements; real documents have about ten levels.
const DEPTH_MAX: usize = 64;

/// Elements whose text is an address that the player loads (VAST 2.0 to 4.3, DAAST 1.0). Where a
/// click leads is not among them.
const LOADED: [&[u8]; 23] = [
    b"ClickTracking",
    b"ClosedCaptionFile",
    b"CompanionClickTracking",
    b"Error",
    b"ExecutableResource",
    b"IFrameResource",
    b"IconClickTracking",
    b"IconViewTracking",
    b"Impression",
    b"InteractiveCreativeFile",
    b"JavaScriptResource",
    b"MediaFile",
    b"Mezzanine",
    b"NonLinearClickTracking",
    b"NotViewable",
    b"StaticResource",
    b"Survey",
    b"Tracking",
    b"URL",
    b"VASTAdTagURI",
    b"DAASTAdTagURI",
    b"ViewUndetermined",
    b"Viewable",
];

/// The element whose text is a document that the player loads.
const HTML: &[u8] = b"HTMLResource";

/// What the scanner finds.
enum Piece<'a> {
    Open {
        name: &'a [u8],
        is_empty: bool,
    },
    Close(&'a [u8]),
    /// Text or the inside of a CDATA section.
    Text {
        text: &'a [u8],
        is_cdata: bool,
    },
    /// A comment, a processing instruction, a DOCTYPE.
    Aside,
}

/// The document breaks a rule of XML.
struct Broken;

struct Scanner<'a> {
    rest: &'a [u8],
    /// `version` of the last opened element.
    version: &'a [u8],
}

/// Whether the first element is `VAST` or `DAAST`.
pub fn has_root(document: &[u8]) -> bool {
    let mut scanner = Scanner::new(document);
    while let Ok(Some(piece)) = scanner.next() {
        match piece {
            Piece::Open { name, .. } => return is_root(name),
            Piece::Text { text, .. } if !text.trim_ascii().is_empty() => return false,
            _ => {}
        }
    }
    false
}

/// Whether the whole document is VAST, as far as this module checks.
pub fn is_valid(document: &[u8]) -> bool {
    check(without_mark(document)).unwrap_or(false)
}

/// Whether the document makes a player load something by plain HTTP. What an element says is all the
/// text in it, in however many pieces it comes.
pub fn loads_plain_http(document: &[u8]) -> bool {
    let mut scanner = Scanner::new(document);
    let mut depth = 0_usize;
    let mut judged: Option<Loaded<'_>> = None;
    while let Ok(Some(piece)) = scanner.next() {
        match piece {
            Piece::Open { name, is_empty: false } => {
                depth = depth.saturating_add(1);
                if judged.is_none() && (name == HTML || LOADED.contains(&name)) {
                    judged = Some(Loaded { name, depth, text: Cow::Borrowed(b"") });
                }
            }
            Piece::Close(_) => {
                if judged.take_if(|one| one.depth == depth).is_some_and(|one| one.is_plain_http()) {
                    return true;
                }
                depth = depth.saturating_sub(1);
            }
            Piece::Text { text, is_cdata } => {
                if let Some(one) = &mut judged {
                    one.add(if is_cdata { Cow::Borrowed(text) } else { decoded(text) });
                }
            }
            Piece::Open { .. } | Piece::Aside => {}
        }
    }
    judged.is_some_and(|one| one.is_plain_http())
}

/// The outermost element that is loaded from, and its text so far.
struct Loaded<'a> {
    name: &'a [u8],
    /// How deep it stands.
    depth: usize,
    text: Cow<'a, [u8]>,
}

impl<'a> Loaded<'a> {
    fn add(&mut self, text: Cow<'a, [u8]>) {
        if self.text.is_empty() {
            self.text = text;
        } else {
            self.text.to_mut().extend_from_slice(&text);
        }
    }

    fn is_plain_http(&self) -> bool {
        if self.name == HTML {
            html::loads_plain_http(&self.text)
        } else {
            is_plain_http(&self.text)
        }
    }
}

/// Without byte order marks before it.
pub fn without_mark(mut document: &[u8]) -> &[u8] {
    while let Some(rest) = document.strip_prefix(b"\xef\xbb\xbf") {
        document = rest;
    }
    document
}

fn is_root(name: &[u8]) -> bool {
    name == b"VAST" || name == b"DAAST"
}

fn check(document: &[u8]) -> Result<bool, Broken> {
    let mut scanner = Scanner::new(document);
    let mut open: SmallVec<[&[u8]; 16]> = SmallVec::new();
    let mut has_root = false;
    let mut has_ad = false;
    while let Some(piece) = scanner.next()? {
        match piece {
            Piece::Open { name, is_empty } => {
                if open.is_empty() {
                    if has_root || !is_root(name) || scanner.version.trim_ascii().is_empty() {
                        return Ok(false);
                    }
                    has_root = true;
                }
                has_ad |= open.len() == 1 && name == b"Ad";
                if !is_empty {
                    if open.len() >= DEPTH_MAX {
                        return Ok(false);
                    }
                    open.push(name);
                }
            }
            Piece::Close(name) => {
                if open.pop() != Some(name) {
                    return Ok(false);
                }
            }
            Piece::Text { text, is_cdata } => {
                if open.is_empty() && (is_cdata || !text.trim_ascii().is_empty()) {
                    return Ok(false);
                }
            }
            Piece::Aside => {}
        }
    }
    Ok(has_root && has_ad && open.is_empty())
}

impl<'a> Scanner<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, version: b"" }
    }

    fn next(&mut self) -> Result<Option<Piece<'a>>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let Some(tag) = self.rest.strip_prefix(b"<") else {
            let len = memchr(b'<', self.rest).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at_checked(len).ok_or(Broken)?;
            self.rest = rest;
            return Ok(Some(Piece::Text { text, is_cdata: false }));
        };
        if let Some(inside) = tag.strip_prefix(b"![CDATA[") {
            let text = self.up_to(inside, b"]]>")?;
            return Ok(Some(Piece::Text { text, is_cdata: true }));
        }
        if let Some(inside) = tag.strip_prefix(b"!--") {
            self.up_to(inside, b"-->")?;
            return Ok(Some(Piece::Aside));
        }
        if let Some(inside) = tag.strip_prefix(b"?") {
            self.up_to(inside, b"?>")?;
            return Ok(Some(Piece::Aside));
        }
        if let Some(inside) = tag.strip_prefix(b"!") {
            let declaration = self.up_to(inside, b">")?;
            let has_subset = memchr(b'[', declaration).is_some();
            return if has_subset { Err(Broken) } else { Ok(Some(Piece::Aside)) };
        }
        if let Some(inside) = tag.strip_prefix(b"/") {
            let name = self.up_to(inside, b">")?.trim_ascii_end();
            return Ok(Some(Piece::Close(name)));
        }
        self.open(tag).map(Some)
    }

    fn open(&mut self, tag: &'a [u8]) -> Result<Piece<'a>, Broken> {
        let (name, behind) = tag_name(tag);
        let begins = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_' || !byte.is_ascii();
        if !name.first().is_some_and(begins) {
            return Err(Broken);
        }
        self.version = b"";
        let mut attributes = Attributes::new(behind);
        for attribute in attributes.by_ref() {
            if !attribute.is_quoted || memchr(b'<', attribute.value).is_some() {
                return Err(Broken);
            }
            if attribute.name == b"version" {
                self.version = attribute.value;
            }
        }
        if !attributes.is_closed {
            return Err(Broken);
        }
        self.rest = attributes.behind_tag();
        Ok(Piece::Open { name, is_empty: attributes.is_empty })
    }

    /// What stands before `end`; the scanner goes on behind it.
    fn up_to(&mut self, inside: &'a [u8], end: &[u8]) -> Result<&'a [u8], Broken> {
        let at = memmem::find(inside, end).ok_or(Broken)?;
        let (text, rest) = inside.split_at_checked(at).ok_or(Broken)?;
        self.rest = rest.get(end.len()..).unwrap_or_default();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: &str = "<?xml version=\"1.0\"?>\n<!-- a --><VAST version=\"4.2\" xmlns:x='y'>\
        <Ad id=\"1\"><InLine><AdTitle/><Impression><![CDATA[https://example.com/i?a=<b>]]></Impression>\
        </InLine></Ad>\n</VAST>\n";

    #[test]
    fn vast_is_one_well_formed_root_with_a_version_and_an_ad() {
        for (document, valid) in [
            (LINEAR, true),
            ("\u{feff}<VAST version='3.0'><Ad/></VAST>", true),
            ("<DAAST version=\"1.0\"><Ad></Ad></DAAST>", true),
            ("<!DOCTYPE VAST><VAST version='3.0'><Ad/></VAST>", true),
            ("<!DOCTYPE VAST [<!ENTITY a 'b'>]><VAST version='3.0'><Ad/></VAST>", false),
            ("<VAST version=\"3.0\"></VAST>", false),
            ("<VAST version=\"3.0\"/>", false),
            ("<VAST><Ad/></VAST>", false),
            ("<VAST version=''><Ad/></VAST>", false),
            ("<VAST version=3><Ad/></VAST>", false),
            ("<VAST version=\"3.0\"><Ad></VAST>", false),
            ("<VAST version=\"3.0\"><Ad></ad></VAST>", false),
            ("<VAST version=\"3.0\"><Ad/></VAST><VAST version=\"3.0\"><Ad/></VAST>", false),
            ("<VAST version=\"3.0\"><Ad/></VAST> tail", false),
            ("<VAST version=\"3.0\"><Ad/>", false),
            ("<VAST version=\"3.0\"><Ad><![CDATA[</Ad></VAST>", false),
            ("<vast version=\"3.0\"><Ad/></vast>", false),
            ("<html><VAST version=\"3.0\"><Ad/></VAST></html>", false),
            ("https://example.com/vast.xml", false),
            ("", false),
        ] {
            assert_eq!(is_valid(document.as_bytes()), valid, "{document}");
        }
        let deep = |levels: usize| {
            let inner = "<a>".repeat(levels) + &"</a>".repeat(levels);
            format!("<VAST version='4'><Ad>{inner}</Ad></VAST>")
        };
        assert!(is_valid(deep(DEPTH_MAX - 2).as_bytes()));
        assert!(!is_valid(deep(DEPTH_MAX - 1).as_bytes()));
    }

    #[test]
    fn vast_loads_by_plain_http_in_resources_and_trackers_only() {
        for (inside, loads) in [
            (
                "<MediaFile type='video/mp4'>\n<![CDATA[ http://example.com/a.mp4 ]]></MediaFile>",
                true,
            ),
            ("<Impression>http://example.com/i</Impression>", true),
            (
                "<TrackingEvents><Tracking event='start'>HTTP://example.com</Tracking></TrackingEvents>",
                true,
            ),
            ("<HTMLResource><![CDATA[<img src='http://example.com/a'>]]></HTMLResource>", true),
            ("<VideoClicks><ClickThrough>http://example.com</ClickThrough></VideoClicks>", false),
            ("<AdTitle>http://example.com</AdTitle>", false),
            ("<Impression><![CDATA[ht]]><![CDATA[tp://example.com]]></Impression>", true),
            ("<Impression>ht<!-- a -->tp://example.com</Impression>", true),
            ("<MediaFile><x>y</x><x/>z</MediaFile><Error> http://example.com</Error>", true),
            ("<MediaFile><x/> http://example.com</MediaFile>", true),
            ("<HTMLResource>&lt;img <![CDATA[src='http://example.com/a'>]]></HTMLResource>", true),
            ("<MediaFile>https://example.com/?r=http://example.com</MediaFile>", false),
            (
                "<Extensions><Extension><Note>http://example.com</Note></Extension></Extensions>",
                false,
            ),
        ] {
            let document =
                format!("<VAST version='4' x='http://example.com'><Ad>{inside}</Ad></VAST>");
            assert!(is_valid(document.as_bytes()), "{document}");
            assert_eq!(loads_plain_http(document.as_bytes()), loads, "{document}");
        }
    }
}
