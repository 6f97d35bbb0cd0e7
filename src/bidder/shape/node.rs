//! One object of the walk: its members kept, dropped, coarsened, replaced and appended.
//!
//! Owns: [`Node`], and the part of [`Walk`] that does not know which object it is in. Never: a
//! choice of edits (`walk` makes it, `disclosure` and `moves` say it).

use super::moves::{Change, Moves};
use super::walk::Walk;
use crate::bidder::splice::Members;
use crate::privacy::disclosure::{Fate, Place, write_rounded, write_truncated};
use crate::privacy::form::Form;
use crate::request::{Element, Key, Member, Object, ValidRequest};

/// One object with what becomes of its members.
pub struct Node<'n> {
    pub object: &'n Object,
    /// `None`: the disclosure has nothing to say about it.
    pub place: Option<Place>,
    pub ext: Option<&'n Object>,
    pub geo: Option<&'n Object>,
    pub changes: &'n [Change<'n>],
    pub ext_changes: &'n [Change<'n>],
    /// Values inside its members, in their order, and what they are replaced by.
    pub inside: &'n [(Element, Vec<u8>)],
}

impl<'n> Node<'n> {
    pub fn new(place: Option<Place>, object: &'n Object, moves: &'n Moves<'_>) -> Self {
        let (changes, ext_changes) = (&moves.own[..], &moves.ext[..]);
        Self { object, place, ext: None, geo: None, changes, ext_changes, inside: &[] }
    }
}

/// A member's key as it stands between its quotes.
pub fn raw_key<'r>(request: &'r ValidRequest, member: &Member) -> &'r [u8] {
    let rest = request.bytes().get(member.key_at as usize + 1..).unwrap_or_default();
    rest.iter().position(|byte| *byte == b'"').and_then(|end| rest.get(..end)).unwrap_or(rest)
}

impl Walk<'_, '_> {
    /// Walks through one object and gives back its end, for what else is inserted.
    pub fn node(&mut self, node: &Node<'_>) -> Members {
        let members = self.request.members(node.object);
        let is_plain =
            node.changes.is_empty() && node.ext_changes.is_empty() && node.inside.is_empty();
        if is_plain && self.disclosure.is_full() {
            return self.plain_node(node, members);
        }
        let mut walked = Members::of(node.object.open);
        let mut inside = node.inside.iter().peekable();
        for (index, member) in members.iter().enumerate() {
            while let Some((at, value)) = inside.next_if(|(at, _)| at.end <= member.value_end) {
                self.to.cut(at.at, at.end);
                self.to.out.extend_from_slice(value);
            }
            let is_kept = match node.changes.iter().find(|change| change.name.0 == member.key) {
                Some(Change { value: Some(value), .. }) => {
                    self.to.replace_value(member, value);
                    true
                }
                Some(Change { value: None, .. }) => false,
                None => self.member(node, member),
            };
            if is_kept {
                walked.keep(member);
            } else {
                walked.drop(&mut self.to, member, members.get(index + 1));
            }
        }
        self.insert_missing(&mut walked, node.object, node.changes);
        let is_ext_new = self.request.member(node.object, Key::Ext).is_none();
        if is_ext_new && node.ext_changes.iter().any(|change| change.value.is_some()) {
            self.insert(&mut walked, "\"ext\":", b"");
            self.new_ext(node.ext_changes);
        }
        walked
    }

    /// Nothing is changed but what may be added to `device.geo`.
    fn plain_node(&mut self, node: &Node<'_>, members: &[Member]) -> Members {
        if node.place == Some(Place::Device)
            && let Some(geo) = members.iter().find(|member| member.key == Key::Geo)
        {
            self.geo(node, geo);
        }
        Members::behind(node.object.open, members)
    }

    /// One member that no change names; gives back whether it stays.
    fn member(&mut self, node: &Node<'_>, member: &Member) -> bool {
        if member.key == Key::Ext && !node.ext_changes.is_empty() {
            return self.ext(node, member);
        }
        let Some(place) = node.place else { return true };
        if member.key == Key::Geo {
            return self.geo(node, member);
        }
        // Only what has no key is told by its name.
        let raw_key = if member.key == Key::Other { raw_key(self.request, member) } else { b"" };
        match self.disclosure.fate(place, member.key, raw_key) {
            Fate::Keep => true,
            Fate::As(form) => self.keep_as(form, member),
            Fate::Drop => false,
            Fate::Enter => self.ext(node, member),
            Fate::Round => self.round(member),
            Fate::Truncate => self.truncate(member),
        }
    }

    /// A member as far as it is of its form.
    fn keep_as(&mut self, form: Form, member: &Member) -> bool {
        let request = self.request;
        let value = request.value(member);
        if !form.holds(value) {
            return false;
        }
        if !form.is_whole(value) {
            self.to.replace_value(member, b"");
            form.copy(value, &mut self.to.out);
        }
        true
    }

    fn ext(&mut self, node: &Node<'_>, member: &Member) -> bool {
        let has_new = node.ext_changes.iter().any(|change| change.value.is_some());
        let Some(object) = node.ext else {
            let is_null = self.request.value(member) == b"null";
            if is_null && has_new {
                self.to.replace_value(member, b"");
                self.new_ext(node.ext_changes);
            }
            return is_null || node.place.is_none() || self.disclosure.is_full();
        };
        let place = match node.place {
            Some(Place::User) => Some(Place::UserExt),
            Some(Place::Device) => Some(Place::DeviceExt),
            _ => None,
        };
        self.node(&Node {
            object,
            place,
            ext: None,
            geo: None,
            changes: node.ext_changes,
            ext_changes: &[],
            inside: &[],
        });
        true
    }

    fn geo(&mut self, node: &Node<'_>, member: &Member) -> bool {
        let is_device = node.place == Some(Place::Device);
        let Some(object) = node.geo else {
            if is_device && self.replace_null(member, Self::new_geo) {
                return true;
            }
            return self.disclosure.is_full() || self.request.value(member) == b"null";
        };
        let moves = Moves::default();
        let mut end = self.node(&Node::new(Some(Place::Geo), object, &moves));
        if is_device {
            self.geo_members(&mut end);
        }
        true
    }

    fn round(&mut self, member: &Member) -> bool {
        let mut rounded = Vec::with_capacity(8);
        let is_number = write_rounded(self.request.value(member), &mut rounded);
        if is_number {
            self.to.replace_value(member, &rounded);
        }
        is_number
    }

    fn truncate(&mut self, member: &Member) -> bool {
        let device = &self.request.view.device;
        let address = if member.key == Key::Ip { device.ip } else { device.ipv6 };
        let Some(address) = address else { return false };
        self.to.replace_value(member, b"");
        write_truncated(address, &mut self.to.out);
        true
    }

    /// One more member: its name (with the colon) and its value, or the start of it.
    pub fn insert(&mut self, end: &mut Members, name: &str, value: &[u8]) {
        end.insert(&mut self.to);
        self.to.out.extend_from_slice(name.as_bytes());
        self.to.out.extend_from_slice(value);
    }

    /// One more member that is an object of what `build` inserts; nothing if that is nothing.
    pub fn insert_built(
        &mut self,
        end: &mut Members,
        name: &str,
        build: fn(&mut Self, &mut Members),
    ) {
        let before = *end;
        self.insert(end, name, b"");
        if !self.build(build) {
            *end = before;
            // Takes back the name and its comma; what was copied of the source stands.
            let tried = name.len() + usize::from(before.has_any());
            self.to.out.truncate(self.to.out.len().saturating_sub(tried));
        }
    }

    /// Writes an object in the place of a `null`, if `build` inserts anything. Gives back whether
    /// the value is a `null`.
    pub fn replace_null(&mut self, member: &Member, build: fn(&mut Self, &mut Members)) -> bool {
        let is_null = self.request.value(member) == b"null";
        if is_null {
            self.to.replace_value(member, b"");
            if !self.build(build) {
                self.to.out.extend_from_slice(b"null");
            }
        }
        is_null
    }

    /// Writes an object; nothing if `build` inserts nothing.
    fn build(&mut self, build: fn(&mut Self, &mut Members)) -> bool {
        let start = self.to.out.len();
        self.to.out.push(b'{');
        let mut members = Members::fresh();
        build(self, &mut members);
        if members.has_any() {
            self.to.out.push(b'}');
        } else {
            self.to.out.truncate(start);
        }
        members.has_any()
    }

    /// Sets those members that are not there yet.
    fn insert_missing(&mut self, end: &mut Members, object: &Object, changes: &[Change<'_>]) {
        for change in changes {
            let Some(value) = change.value else { continue };
            if self.request.member(object, change.name.0).is_none() {
                self.insert(end, change.name.1, value);
            }
        }
    }

    /// An `ext` of nothing but what moves into it.
    fn new_ext(&mut self, changes: &[Change<'_>]) {
        self.to.out.push(b'{');
        let mut end = Members::fresh();
        for change in changes {
            if let Some(value) = change.value {
                self.insert(&mut end, change.name.1, value);
            }
        }
        self.to.out.push(b'}');
    }
}
