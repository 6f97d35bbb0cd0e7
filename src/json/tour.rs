//! Every value of a document in its order, for who looks at all of them: no look-up of names, no
//! way back, and where a value stands is worked out only if it is asked for.
//!
//! Owns: [`Tour`], [`Stop`], [`Scalar`]. Never: a rule, an allocation. Invariant: as of
//! [`super::value`], a span is exact.

use crate::json::scratch::Document;
use crate::request::Element;
use simd_json::{Node, StaticNode};

/// A way through a document; a copy of it goes on from where that is.
#[derive(Clone, Copy, Debug)]
pub struct Tour<'d> {
    document: &'d Document<'d>,
    next: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub enum Stop<'d> {
    /// So many members follow, each a name ([`Tour::name`]) and a value.
    Object(usize),
    /// So many values follow.
    Array(usize),
    Scalar(Scalar<'d>),
    /// `true`, `false`, `null`.
    Word,
}

/// A text or a number.
#[derive(Clone, Copy, Debug)]
pub struct Scalar<'d> {
    document: &'d Document<'d>,
    node: usize,
    text: Option<&'d str>,
}

impl<'d> Tour<'d> {
    /// From the root on.
    pub const fn new(document: &'d Document<'d>) -> Self {
        Self { document, next: 0 }
    }

    /// The next value; `None`: there is none.
    #[inline]
    pub fn stop(&mut self) -> Option<Stop<'d>> {
        let (document, node) = (self.document, self.next);
        self.next = self.next.saturating_add(1);
        Some(match document.node(node)? {
            Node::Object { len, .. } => Stop::Object(*len),
            Node::Array { len, .. } => Stop::Array(*len),
            Node::String(text) => Stop::Scalar(Scalar { document, node, text: Some(text) }),
            Node::Static(StaticNode::Bool(_) | StaticNode::Null) => Stop::Word,
            Node::Static(_) => Stop::Scalar(Scalar { document, node, text: None }),
        })
    }

    /// Goes past the next value, whatever is in it.
    pub fn skip(&mut self) {
        let nodes = match self.document.node(self.next) {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => *count,
            _ => 0,
        };
        self.next = self.next.saturating_add(nodes).saturating_add(1);
    }

    /// The name of the next member, un-escaped, and as a text that has its place.
    #[inline]
    pub fn name(&mut self) -> Option<(&'d str, Scalar<'d>)> {
        let (document, node) = (self.document, self.next);
        let Some(Node::String(name)) = document.node(node) else { return None };
        self.next = self.next.saturating_add(1);
        Some((name, Scalar { document, node, text: Some(name) }))
    }
}

impl<'d> Scalar<'d> {
    /// Un-escaped; `None`: it is a number.
    pub const fn text(self) -> Option<&'d str> {
        self.text
    }

    /// A text un-escaped, a number as it is written.
    pub fn written(self) -> &'d str {
        let number = || {
            let Element { at, end } = self.span();
            let bytes = self.document.body().get(at as usize..end as usize);
            std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
        };
        self.text.unwrap_or_else(number)
    }

    /// Its bytes in the original.
    pub fn span(self) -> Element {
        let position = self.document.position(self.node);
        let at = self.document.offset(position);
        // nothing but white space stands between a scalar and the next structural
        let mut end = self.document.offset(position.saturating_add(1));
        let body = self.document.body();
        while let Some(before) = end.checked_sub(1)
            && matches!(body.get(before), Some(b' ' | b'\t' | b'\n' | b'\r'))
        {
            end = before;
        }
        Element { at: narrow(at), end: narrow(end) }
    }
}

/// Offsets fit: simd-json refuses documents beyond `u32`.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scratch::Scratch;
    use crate::json::value::{Kind, Value};

    /// By the other walk.
    fn scalars(value: Value<'_>, into: &mut Vec<(Element, String, bool)>) {
        match value.kind() {
            Kind::Object(members) => members.for_each(|entry| scalars(entry.value, into)),
            Kind::Array(elements) => elements.for_each(|one| scalars(one, into)),
            Kind::Text(text) => into.push((value.span(), text.to_owned(), true)),
            Kind::Number(_) => into.push((value.span(), value.written().to_owned(), false)),
            Kind::Bool(_) | Kind::Null => {}
        }
    }

    #[test]
    fn a_tour_sees_what_the_walk_sees() {
        for body in [
            r#"{"id" : "a\"b\u00e9" , "n":[1, -2.50 ,true,null,[],{}],"o":{"":"x" }}"#,
            r#"{"imp":[{"id":"1","w":300 },{"id":"2","ext":{"a":[[1e3],{"b":"c"}]}}],"at":2}"#,
            "  \"only\" \n",
            " -0.5 ",
            "[]",
            "null",
            "[[[\"\"]],18446744073709551616 ]",
        ] {
            let (mut scratch, mut text) = (Scratch::new(16), Vec::new());
            let document = scratch.read(body.as_bytes(), &mut text).unwrap();
            let mut expected = Vec::new();
            scalars(document.root(), &mut expected);
            let (mut tour, mut found, mut names) = (Tour::new(&document), Vec::new(), Vec::new());
            tell(&mut tour, &mut found, &mut names);
            assert_eq!(found, expected, "{body}");
            assert!(tour.stop().is_none(), "{body}");
            let first = names.first().map(String::as_str);
            let is_named = |name: &str| body.starts_with(&format!("{{\"{name}\""));
            assert_eq!(first.is_some_and(is_named), body.starts_with('{'), "{body}");
        }
    }

    fn tell(
        tour: &mut Tour<'_>,
        found: &mut Vec<(Element, String, bool)>,
        names: &mut Vec<String>,
    ) {
        match tour.stop().unwrap() {
            Stop::Object(members) => {
                for _ in 0..members {
                    names.push(tour.name().unwrap().0.to_owned());
                    tell(tour, found, names);
                }
            }
            Stop::Array(elements) => (0..elements).for_each(|_| tell(tour, found, names)),
            Stop::Scalar(one) => {
                found.push((one.span(), one.written().to_owned(), one.text().is_some()));
            }
            Stop::Word => {}
        }
    }
}
