//! The walk over a document: values, members, elements, and where each stands.
//!
//! Owns: [`Value`], [`Members`], [`Elements`]. Never: a rule, an allocation. Skipping a value
//! costs the same whatever is in it.
//!
//! Invariant: a span is exact. It begins at the first byte of the value (a string's quote) and
//! ends behind its last, whatever white space stands around it.

use crate::json::Number;
use crate::json::key;
use crate::json::scratch::Document;
use crate::request::{Element, Key, Member, Text};
use simd_json::{Node, StaticNode};

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    node: usize,
    /// Position of the first structural behind the value: a comma, or what closes the parent.
    behind: usize,
}

/// A value by its type.
#[derive(Clone, Debug)]
pub enum Kind<'d> {
    Null,
    Bool(bool),
    Number(Number),
    /// Un-escaped.
    Text(&'d str),
    Array(Elements<'d>),
    Object(Members<'d>),
}

/// The members of an object, in their order.
#[derive(Clone, Debug)]
pub struct Members<'d> {
    document: &'d Document<'d>,
    /// Node of the next key.
    next: usize,
    left: usize,
    open: usize,
    /// Position of `}`.
    close: usize,
}

/// The elements of an array, in their order.
#[derive(Clone, Debug)]
pub struct Elements<'d> {
    document: &'d Document<'d>,
    next: usize,
    left: usize,
    /// Position of `]`.
    close: usize,
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'d> {
    /// Which, where the road knows it.
    pub key: Key,
    /// Its name, un-escaped.
    pub name: &'d str,
    /// Offset of the name's opening quote.
    pub key_at: u32,
    pub value: Value<'d>,
}

/// Offsets fit: simd-json refuses documents beyond `u32`.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

impl<'d> Value<'d> {
    pub(super) fn root(document: &'d Document<'d>, behind: usize) -> Self {
        Self { document, node: 0, behind }
    }

    /// The value by its type.
    #[inline]
    pub fn kind(self) -> Kind<'d> {
        match self.document.node(self.node) {
            Some(Node::String(text)) => Kind::Text(text),
            Some(Node::Object { len, .. }) => Kind::Object(Members {
                document: self.document,
                next: self.node.saturating_add(1),
                left: *len,
                open: self.start(),
                close: self.behind.saturating_sub(1),
            }),
            Some(Node::Array { len, .. }) => Kind::Array(Elements {
                document: self.document,
                next: self.node.saturating_add(1),
                left: *len,
                close: self.behind.saturating_sub(1),
            }),
            Some(Node::Static(StaticNode::U64(number))) => Kind::Number(Number::Unsigned(*number)),
            Some(Node::Static(StaticNode::I64(number))) => Kind::Number(Number::Signed(*number)),
            Some(Node::Static(StaticNode::F64(number))) => Kind::Number(Number::Float(*number)),
            Some(Node::Static(StaticNode::Bool(flag))) => Kind::Bool(*flag),
            Some(Node::Static(StaticNode::Null)) | None => Kind::Null,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        matches!(self.document.node(self.node), Some(Node::Static(StaticNode::Null)))
    }

    /// Its bytes in the original.
    pub fn span(self) -> Element {
        Element { at: narrow(self.start()), end: narrow(self.end()) }
    }

    /// A string's bytes in the un-escaped copy; any other scalar's as it is written (outside
    /// strings both buffers are equal).
    pub fn text(self) -> Text {
        if let Some(Node::String(text)) = self.document.node(self.node) {
            return Text { at: narrow(self.start().saturating_add(1)), len: narrow(text.len()) };
        }
        let Element { at, end } = self.span();
        Text { at, len: end.saturating_sub(at) }
    }

    /// A string un-escaped, any other scalar as it is written; empty for objects and arrays.
    pub fn written(self) -> &'d str {
        match self.document.node(self.node) {
            Some(Node::String(text)) => text,
            Some(Node::Static(_)) => {
                let bytes = self.document.body().get(self.start()..self.end());
                std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
            }
            _ => "",
        }
    }

    fn start(self) -> usize {
        self.document.offset(self.document.position(self.node))
    }

    fn end(self) -> usize {
        if let Some(Node::Object { .. } | Node::Array { .. }) = self.document.node(self.node) {
            return self.document.offset(self.behind.saturating_sub(1)).saturating_add(1);
        }
        let mut end = self.document.offset(self.behind);
        let body = self.document.body();
        while end > 0
            && matches!(body.get(end.saturating_sub(1)), Some(b' ' | b'\t' | b'\n' | b'\r'))
        {
            end = end.saturating_sub(1);
        }
        end
    }
}

/// The node behind a value and all that is in it.
fn skip(document: &Document<'_>, node: usize) -> usize {
    let inside = match document.node(node) {
        Some(Node::Object { count, .. } | Node::Array { count, .. }) => *count,
        _ => 0,
    };
    node.saturating_add(inside).saturating_add(1)
}

impl Members<'_> {
    /// Offset of `{`.
    pub fn open(&self) -> u32 {
        narrow(self.open)
    }

    /// Offset of `}`.
    pub fn close(&self) -> u32 {
        narrow(self.document.offset(self.close))
    }
}

impl<'d> Iterator for Members<'d> {
    type Item = Entry<'d>;

    // Without it an entry goes through memory twice: a quarter of the time of the walk.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured, see above")]
    fn next(&mut self) -> Option<Entry<'d>> {
        self.left = self.left.checked_sub(1)?;
        let document = self.document;
        let Some(Node::String(name)) = document.node(self.next) else { return None };
        let key_at = document.offset(document.position(self.next));
        let node = self.next.saturating_add(1);
        self.next = skip(document, node);
        // Behind the value stands the comma before the next key, or what closes the object.
        let behind = match self.left {
            0 => self.close,
            _ => document.position(self.next).saturating_sub(1),
        };
        let value = Value { document, node, behind };
        Some(Entry { key: key::of(name.as_bytes()), name, key_at: narrow(key_at), value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'d> Iterator for Elements<'d> {
    type Item = Value<'d>;

    #[inline]
    fn next(&mut self) -> Option<Value<'d>> {
        self.left = self.left.checked_sub(1)?;
        let document = self.document;
        let node = self.next;
        self.next = skip(document, node);
        let behind = match self.left {
            0 => self.close,
            _ => document.position(self.next).saturating_sub(1),
        };
        Some(Value { document, node, behind })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Members<'_> {}
impl ExactSizeIterator for Elements<'_> {}

impl Entry<'_> {
    /// Where it stands in the original.
    pub fn member(&self) -> Member {
        let Element { at, end } = self.value.span();
        Member { key: self.key, key_at: self.key_at, value_at: at, value_end: end }
    }
}
