//! What Prebid.js addresses to single bidders, as far as the road reads it.
//!
//! Owns: [`Prebid`] and its parts. Never: who is told what of it (`bidder::shape`).

use super::{Element, List, Object, Text};

/// `ext.prebid` and `user.ext.prebid`.
#[derive(Clone, Debug, Default)]
pub struct Prebid {
    /// `ext.prebid`, for edits.
    pub ext: Option<Object>,
    /// `user.ext.prebid.buyeruids`, a member for each bidder; without members where it is no
    /// object.
    pub buyeruids: Option<Object>,
    /// `ext.prebid.data.eidpermissions`.
    pub eid_rules: Vec<EidRule>,
    /// Each element of `user.eids` and `user.ext.eids`, where there are such rules.
    pub eids: Vec<Eid>,
}

/// Who may have the ids of a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct EidRule {
    /// Empty: any.
    pub source: Text,
    /// In `View::texts`: names of bidders, or `*`.
    pub bidders: List,
}

/// An id of the user, where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Eid {
    pub at: Element,
    pub source: Text,
}

impl Prebid {
    /// Makes it as if nothing had been read, with the memory that is in use.
    pub fn clear(&mut self) {
        let Self { ext, buyeruids, eid_rules, eids } = self;
        (*ext, *buyeruids) = Default::default();
        eid_rules.clear();
        eids.clear();
    }
}
