//! Copies a request's bytes, but for the places that are edited.
//!
//! Owns: [`Splicer`], the commas of an edited object ([`Members`]), and the one escape of a JSON
//! string. Never: which edits there are (`shape` knows), a parse.
//!
//! Invariant: edits come in ascending order; the bytes between two edits are copied unchanged. A
//! span that is out of order or out of bounds marks the output as broken instead of panicking.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::request::Member;

/// The output being written, and how far the source is copied.
#[derive(Debug)]
pub struct Splicer<'a> {
    source: &'a [u8],
    copied: usize,
    /// Write here what an edit puts in place; [`Splicer::advance`] copies what stands before.
    pub out: Vec<u8>,
    is_broken: bool,
}

impl<'a> Splicer<'a> {
    /// Starts at the first byte of `source`; what `out` holds is dropped, its memory is used.
    pub fn new(source: &'a [u8], mut out: Vec<u8>) -> Self {
        out.clear();
        out.reserve(source.len());
        Self { source, copied: 0, out, is_broken: false }
    }

    /// Copies the source up to `at`.
    pub fn advance(&mut self, at: u32) {
        let at = at as usize;
        match self.source.get(self.copied..at) {
            Some(bytes) => {
                self.out.extend_from_slice(bytes);
                self.copied = at;
            }
            None => self.is_broken = true,
        }
    }

    /// Copies the source up to `at` and leaves out what stands up to `end`.
    pub fn cut(&mut self, at: u32, end: u32) {
        self.advance(at);
        if at > end {
            self.is_broken = true;
        }
        self.copied = end as usize;
    }

    /// Puts `value` in the place of a member's value.
    pub fn replace_value(&mut self, member: &Member, value: &[u8]) {
        self.cut(member.value_at, member.value_end);
        self.out.extend_from_slice(value);
    }

    /// Copies the rest; `None` where a span was out of order or out of bounds.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        self.out.extend_from_slice(self.source.get(self.copied..)?);
        (!self.is_broken).then_some(self.out)
    }
}

/// Where the walk through one object's members stands, so that commas stay right.
///
/// A removed member takes the comma before it where a kept member stands before, else the one
/// behind it. What is inserted comes behind the last member.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    /// Behind the last member that was passed, or behind `{`; `None` where the object is new.
    end: Option<u32>,
    has_kept: bool,
}

impl Members {
    /// In front of the first member of the object that opens at `open`.
    pub fn of(open: u32) -> Self {
        Self { end: Some(open.saturating_add(1)), has_kept: false }
    }

    /// In an object that is not in the source: what is inserted is all that it has.
    pub fn fresh() -> Self {
        Self { end: None, has_kept: false }
    }

    /// Behind all members of an object that keeps them all.
    pub fn behind(open: u32, members: &[Member]) -> Self {
        let first = Self::of(open);
        members.last().map_or(first, |last| Self { end: Some(last.value_end), has_kept: true })
    }

    /// Passes a member that stays, whatever becomes of its value.
    pub fn keep(&mut self, member: &Member) {
        self.end = Some(member.value_end);
        self.has_kept = true;
    }

    /// Leaves a member out; `next` is the one behind it.
    pub fn drop(&mut self, to: &mut Splicer<'_>, member: &Member, next: Option<&Member>) {
        match self.end {
            Some(end) if self.has_kept => to.cut(end, member.value_end),
            _ => to.cut(member.key_at, next.map_or(member.value_end, |next| next.key_at)),
        }
        self.end = Some(member.value_end);
    }

    /// Whether a member stays or was inserted.
    pub fn has_any(&self) -> bool {
        self.has_kept
    }

    /// Copies up to behind the last member that was passed.
    pub fn advance(&self, to: &mut Splicer<'_>) {
        if let Some(end) = self.end {
            to.advance(end);
        }
    }

    /// Makes ready for one more member behind those that were passed: the caller writes it.
    pub fn insert(&mut self, to: &mut Splicer<'_>) {
        self.advance(to);
        if self.has_kept {
            to.out.push(b',');
        }
        self.has_kept = true;
    }
}

/// Writes `text` as a JSON string, quotes included (RFC 8259, section 7: quote, backslash and
/// control characters are escaped, and nothing else).
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        let (plain, escaped) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, behind)) = escaped.split_first() else { break };
        if let b'"' | b'\\' = byte {
            out.extend_from_slice(&[b'\\', *byte]);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test may fail"
    )]
    use super::*;
    use crate::request::Key;
    use proptest::prelude::*;

    /// `{"a":1,"b":2,"c":3}` with some of its members dropped and one inserted.
    fn edited(source: &str, dropped: &[usize], inserted: Option<&str>) -> String {
        let at =
            |key: char| source.find(&format!("\"{key}\"")).map(|at| u32::try_from(at).unwrap());
        let members: Vec<Member> = ['a', 'b', 'c']
            .into_iter()
            .filter_map(at)
            .map(|key_at| {
                let value_at =
                    u32::try_from(source.get(key_at as usize..).unwrap().find(':').unwrap())
                        .unwrap()
                        + key_at
                        + 1;
                Member { key: Key::Other, key_at, value_at, value_end: value_at + 1 }
            })
            .collect();
        let mut to = Splicer::new(source.as_bytes(), Vec::new());
        let mut walk = Members::of(0);
        for (index, member) in members.iter().enumerate() {
            if dropped.contains(&index) {
                walk.drop(&mut to, member, members.get(index + 1));
            } else {
                walk.keep(member);
            }
        }
        if let Some(inserted) = inserted {
            walk.insert(&mut to);
            to.out.extend_from_slice(inserted.as_bytes());
        }
        String::from_utf8(to.finish().unwrap()).unwrap()
    }

    #[test]
    fn commas_stay_right_whatever_is_dropped_and_inserted() {
        let source = r#"{"a":1,"b":2,"c":3}"#;
        let names = ["a", "b", "c"];
        for set in 0u8..8 {
            let dropped: Vec<usize> = (0..3).filter(|bit| set >> bit & 1 == 1).collect();
            for inserted in [None, Some(r#""d":4"#)] {
                let mut expected: Vec<String> = (0..3)
                    .filter(|index| !dropped.contains(index))
                    .map(|index| format!("\"{}\":{}", names[index], index + 1))
                    .collect();
                expected.extend(inserted.map(str::to_owned));
                let expected = format!("{{{}}}", expected.join(","));
                assert_eq!(edited(source, &dropped, inserted), expected, "{dropped:?}");
            }
        }
    }

    #[test]
    fn white_space_around_what_stays_is_kept() {
        let source = "{ \"a\" :1 , \"b\" :2 , \"c\" :3 }";
        assert_eq!(edited(source, &[], None), source);
        assert_eq!(edited(source, &[0], None), "{ \"b\" :2 , \"c\" :3 }");
        assert_eq!(edited(source, &[1], None), "{ \"a\" :1 , \"c\" :3 }");
        assert_eq!(edited(source, &[2], Some("\"d\":4")), "{ \"a\" :1 , \"b\" :2,\"d\":4 }");
        assert_eq!(edited("{ }", &[], Some("\"d\":4")), "{\"d\":4 }");
    }

    #[test]
    fn spans_out_of_order_or_bounds_break_the_output() {
        for spans in [&[(4, 6), (2, 3)][..], &[(0, 99)], &[(3, 2)]] {
            let mut to = Splicer::new(b"01234567", Vec::new());
            for (at, end) in spans {
                to.cut(*at, *end);
            }
            assert_eq!(to.finish(), None, "{spans:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_string_reads_back(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
