//! Which addresses HTML loads.
//!
//! Owns: a tokeniser of tags and attributes (after the HTML standard's, 13.2.5), and the list of
//! attributes that load. Never: scripts, a tree, the escapes of CSS.
//!
//! Counted: `src`, `srcset`, `imagesrcset`, `poster`, `background`, `data` of `object`, `href` of
//! `link`, `base` and of SVG's `image`, `use`, `script` and `feImage`, `url()` and `@import` of styles,
//! where a `meta` sends the document to, and the same inside `srcdoc`. Not counted: where a click leads,
//! comments, text, the inside of scripts.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::references::decoded;
use memchr::{memchr, memchr_iter, memmem};

/// How deep `srcdoc` in `srcdoc` is followed.
const SRCDOC_DEPTH_MAX: u32 = 3;

/// Where `http:` stands, in any case: the offsets of its first letters. Tabs and ends of lines in
/// it are passed over, as browsers do (URL standard, 4.4).
pub fn plain_http(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr_iter(b':', bytes).filter_map(move |colon| {
        let before = bytes.get(..colon)?.iter().enumerate().rev();
        let mut letters = before.filter(|(_, byte)| !matches!(byte, b'\t' | b'\r' | b'\n'));
        b"ptth".iter().try_fold(0, |_, wanted| {
            let (at, byte) = letters.next()?;
            byte.eq_ignore_ascii_case(wanted).then_some(at)
        })
    })
}

/// Whether an address is loaded by plain HTTP.
pub fn is_plain_http(address: &[u8]) -> bool {
    // all control characters before it are passed over too
    let start = address.iter().position(|byte| *byte > b' ').unwrap_or(0);
    plain_http(address.get(start..).unwrap_or_default()).next() == Some(0)
}

/// Whether the document loads something by plain HTTP.
pub fn loads_plain_http(html: &[u8]) -> bool {
    document_loads(html, 0)
}

fn document_loads(html: &[u8], depth: u32) -> bool {
    let mut rest = html;
    // how much stands behind the styles that were looked at: inside SVG they may be within each other
    let mut behind_styles = html.len();
    // inside SVG and MathML no element's content is text to the tokeniser
    let mut foreign = 0_u32;
    while let Some(tag) = memchr(b'<', rest).and_then(|at| rest.get(at..)?.strip_prefix(b"<")) {
        rest = tag;
        if let Some(comment) = tag.strip_prefix(b"!--") {
            rest = behind_comment(comment);
            continue;
        }
        if let Some(end) = tag.strip_prefix(b"/") {
            foreign = foreign.saturating_sub(u32::from(is_foreign(tag_name(end).0)));
        }
        if !tag.first().is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        let (name, behind) = tag_name(tag);
        let mut attributes = Attributes::new(behind);
        if attributes.by_ref().any(|attribute| attribute_loads(name, &attribute, depth)) {
            return true;
        }
        rest = attributes.behind_tag();
        if is_foreign(name) && !attributes.is_empty {
            foreign = foreign.saturating_add(1);
        }
        let is_style = name.eq_ignore_ascii_case(b"style") && rest.len() <= behind_styles;
        if !is_style && (foreign > 0 || !is_raw(name)) {
            continue;
        }
        let (content, behind) = split_at_end_tag(rest, name);
        if is_style {
            behind_styles = behind.len();
            if style_loads(content) {
                return true;
            }
        }
        if foreign == 0 {
            rest = behind;
        }
    }
    false
}

/// Whether an element's content is text to the tokeniser.
fn is_raw(name: &[u8]) -> bool {
    [&b"script"[..], b"style", b"textarea", b"title"]
        .iter()
        .any(|raw| name.eq_ignore_ascii_case(raw))
}

/// Whether an element's content is of another language (13.2.6.5).
fn is_foreign(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"svg") || name.eq_ignore_ascii_case(b"math")
}

/// What follows a comment, of which `<!--` has been read (13.2.5.43 and those behind it).
fn behind_comment(inside: &[u8]) -> &[u8] {
    if let [b'>', rest @ ..] | [b'-', b'>', rest @ ..] = inside {
        return rest;
    }
    memchr_iter(b'>', inside)
        .find_map(|at| {
            let (comment, rest) = inside.split_at_checked(at)?;
            let is_end = comment.ends_with(b"--") || comment.ends_with(b"--!");
            is_end.then(|| rest.get(1..)).flatten()
        })
        .unwrap_or_default()
}

fn attribute_loads(tag: &[u8], attribute: &Attribute<'_>, depth: u32) -> bool {
    let is = |name: &[u8]| attribute.name.eq_ignore_ascii_case(name);
    let is_on = |tags: &[&[u8]]| tags.iter().any(|name| tag.eq_ignore_ascii_case(name));
    let value = &*decoded(attribute.value);
    if is(b"src") || is(b"poster") || is(b"background") {
        is_plain_http(value)
    } else if is(b"srcset") || is(b"imagesrcset") {
        plain_http(value).next().is_some()
    } else if is(b"style") {
        style_loads(value)
    } else if is(b"data") {
        is_on(&[b"object"]) && is_plain_http(value)
    } else if is(b"href") || is(b"xlink:href") {
        is_on(&[b"link", b"base", b"image", b"use", b"script", b"feimage"]) && is_plain_http(value)
    } else if is(b"content") {
        is_on(&[b"meta"]) && plain_http(value).any(|at| is_behind(value, at, &[b"url="]))
    } else if is(b"srcdoc") {
        depth < SRCDOC_DEPTH_MAX && document_loads(value, depth.saturating_add(1))
    } else {
        false
    }
}

/// Whether CSS loads: `http:` right behind `url(` or `@import`, quotes and blanks aside.
fn style_loads(css: &[u8]) -> bool {
    plain_http(css).any(|at| is_behind(css, at, &[b"url(", b"@import"]))
}

/// Whether one of the words stands right before an offset, quotes and blanks aside.
fn is_behind(text: &[u8], at: usize, words: &[&[u8]]) -> bool {
    let mut before = text.get(..at).unwrap_or_default();
    while let [head @ .., b'"' | b'\'' | b' ' | b'\t' | b'\n' | b'\r'] = before {
        before = head;
    }
    words.iter().any(|word| {
        let at = before.len().checked_sub(word.len());
        at.and_then(|at| before.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(word))
    })
}

/// The content of a text element and what follows, from its end tag on.
fn split_at_end_tag<'a>(rest: &'a [u8], name: &[u8]) -> (&'a [u8], &'a [u8]) {
    let ends = memmem::find_iter(rest, b"</").find(|at| {
        let after = rest.get(*at..).and_then(|tail| tail.get(2..)).unwrap_or_default();
        after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
    });
    rest.split_at_checked(ends.unwrap_or(rest.len())).unwrap_or((rest, b""))
}

/// The name at the start of a tag, and what follows it.
pub fn tag_name(tag: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
    let len = tag.iter().position(ends).unwrap_or(tag.len());
    tag.split_at_checked(len).unwrap_or((tag, b""))
}

/// One attribute of a tag, undecoded.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub is_quoted: bool,
}

/// The attributes of a tag, and where the tag ends.
#[derive(Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    /// `>` was reached.
    pub is_closed: bool,
    /// It was `/>`.
    pub is_empty: bool,
}

impl<'a> Attributes<'a> {
    /// From what follows the tag's name.
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest, is_closed: false, is_empty: false }
    }

    /// What follows the tag, once all attributes were taken.
    pub fn behind_tag(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        if self.is_closed {
            return None;
        }
        self.is_empty = false;
        loop {
            match self.rest {
                [b'/', behind @ ..] => {
                    self.is_empty = true;
                    self.rest = behind;
                }
                [b'>', behind @ ..] => {
                    self.is_closed = true;
                    self.rest = behind;
                    return None;
                }
                [blank, behind @ ..] if blank.is_ascii_whitespace() => {
                    self.is_empty = false;
                    self.rest = behind;
                }
                [] => return None,
                _ => break,
            }
        }
        // a name is at least one byte, even where that is `=`
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'=');
        let len = self
            .rest
            .iter()
            .skip(1)
            .position(ends)
            .map_or(self.rest.len(), |at| at.saturating_add(1));
        let (name, behind) = self.rest.split_at_checked(len)?;
        let Some(value) = behind.trim_ascii_start().strip_prefix(b"=") else {
            self.rest = behind;
            return Some(Attribute { name, value: b"", is_quoted: false });
        };
        let value = value.trim_ascii_start();
        let quoted = match value {
            [quote @ (b'"' | b'\''), inside @ ..] => {
                Some((inside, memchr(*quote, inside).unwrap_or(inside.len())))
            }
            _ => None,
        };
        if let Some((inside, len)) = quoted {
            let (value, behind) = inside.split_at_checked(len)?;
            self.rest = behind.get(1..).unwrap_or_default();
            return Some(Attribute { name, value, is_quoted: true });
        }
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
        let len = value.iter().position(ends).unwrap_or(value.len());
        let (value, behind) = value.split_at_checked(len)?;
        self.rest = behind;
        Some(Attribute { name, value, is_quoted: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn html_loads_by_plain_http_where_an_attribute_or_a_style_says_so() {
        for (html, loads) in [
            ("<img src=\"http://example.com/a.gif\">", true),
            ("<IMG SRC='HTTP://example.com/a.gif'>", true),
            ("<img src=http://example.com/a.gif>", true),
            ("<img alt=it's src=http://example.com/a.gif>", true),
            ("<img alt=\"a>b\" src = \" http://example.com/a.gif\">", true),
            ("<script src=http://example.com/a.js></script>", true),
            ("<link rel=stylesheet href=http://example.com/a.css>", true),
            ("<img srcset='https://example.com/a 1x, http://example.com/b 2x'>", true),
            ("<object data=http://example.com/a></object>", true),
            ("<div style=\"background:url( 'http://example.com/a.png')\">", true),
            ("<div style='background:url(&quot;http://example.com/a.png&quot;)'>", true),
            ("<style>@import \"http://example.com/a.css\";</style>", true),
            ("<svg><image xlink:href='http://example.com/a'/></svg>", true),
            ("<iframe srcdoc='<img src=http://example.com/a>'></iframe>", true),
            ("<img src=\"&#104;ttp://example.com/a\">", true),
            ("<img src='&#x68;&#116tp&colon;//example.com/a'>", true),
            ("<img src=\"ht\ttp://example.com/a\">", true),
            ("<img src=\"http\r\n://example.com/a\">", true),
            ("<img src=\"ht&Tab;tp://example.com/a\">", true),
            ("<img src=\"&#1; http://example.com/a\">", true),
            ("<div style=\"background:url(&#34;&#104;ttp://example.com/a&#34;)\">", true),
            ("<iframe srcdoc='&lt;img src=&#34;http://example.com/a&#34;&gt;'></iframe>", true),
            ("<iframe srcdoc='<img src=&amp;#104;ttp://example.com/a>'></iframe>", true),
            ("<img src=\"&amp;#104;ttp://example.com/a\">", false),
            ("<img src=\"https://example.com/?a=1&#104;ttp://example.com\">", false),
            ("<p>&#104;ttp://example.com</p>", false),
            ("<img src=\"https://example.com/a\"/><p>see http://example.com</p>", false),
            ("<a href=\"http://example.com\"><img src=\"https://example.com/a\"></a>", false),
            ("<!-- <img src=\"http://example.com\"> -->", false),
            ("<!---><img src=\"http://example.com\">-->", true),
            ("<!--><img src=\"http://example.com\">-->", true),
            ("<!-- a --!><img src=\"http://example.com\">-->", true),
            ("<!-- a -- > b --- ! <img src=\"http://example.com\"> ---->", false),
            ("<!-- a ---><img src=\"http://example.com\">", true),
            ("<!-- a ----!><img src=\"http://example.com\">", true),
            ("<!---!> <img src=\"http://example.com\"> -->", false),
            ("<!---- <img src=\"http://example.com\">-->", false),
            ("<svg><script xlink:href='http://example.com/a.js'/></svg>", true),
            ("<svg><filter><feImage href='http://example.com/a'/></filter></svg>", true),
            ("<svg><title><img src=http://example.com/a></title></svg>", true),
            ("<svg/><title><img src=http://example.com/a></title>", false),
            ("<svg></svg><title><img src=http://example.com/a></title>", false),
            ("<svg><style><img src=http://example.com/a></style></svg>", true),
            ("<meta http-equiv=refresh content=\"0; URL='http://example.com'\">", true),
            ("<meta property=og:url content=\"http://example.com\">", false),
            ("<script>var u = '<img src=\"http://example.com\">';</script>", false),
            ("<img src=\"https://example.com/?to=http://example.com\">", false),
            ("<html xmlns=\"http://www.w3.org/1999/xhtml\"></html>", false),
            ("<style>/* http://example.com */ a { color: red }</style>", false),
            ("<img src=\"http", false),
            ("<", false),
        ] {
            assert_eq!(loads_plain_http(html.as_bytes()), loads, "{html}");
        }
    }

    #[test]
    fn no_markup_takes_time_out_of_proportion() {
        let pieces = [
            "<style>",
            "<style x='</style'>",
            "<script>",
            "<svg>",
            "</svg>",
            "</",
            "<!--",
            "<!-->",
            "-->",
            "<a b='",
            "b ",
            "a=",
            "='",
            "\t:",
            "http:",
            "&#",
            "&lt;style>",
        ];
        let starts = ["<svg>", "<a style='", "<iframe srcdoc='"];
        let small =
            starts.into_iter().flat_map(|start| pieces.map(|piece| (start, piece, 64 << 10)));
        // hours where each of many looks at all
        let large = ["<style>http:", "<title></b>"].map(|piece| ("<svg>", piece, 4 << 20));
        for (start, piece, bytes) in small.chain(large) {
            let text = piece.repeat(bytes / piece.len());
            for end in ["", "http:"] {
                let _loads = loads_plain_http(format!("{start}{text}{end}").as_bytes());
            }
        }
    }

    /// Each style by itself, as far as the first end of one: what is looked at once must be the same.
    fn loads_in_any_style(html: &str) -> bool {
        let starts = html.match_indices("<style>").map(|(at, tag)| at.saturating_add(tag.len()));
        let mut contents = starts.filter_map(|at| html.get(at..)?.split("</style").next());
        contents.any(|content| style_loads(content.as_bytes()))
    }

    proptest! {
        #[test]
        fn styles_within_each_other_are_all_looked_at(
            pieces in prop::collection::vec(
                prop::sample::select(&["<style>", "</style>", "<b>", "@import ", "http:", "url(", " "][..]),
                0..24,
            ),
        ) {
            let html = format!("<svg>{}", pieces.concat());
            prop_assert_eq!(loads_plain_http(html.as_bytes()), loads_in_any_style(&html), "{}", html);
        }
    }
}
