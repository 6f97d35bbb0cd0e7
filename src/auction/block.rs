//! Block lists and allow lists: categories, advertiser domains, apps, creatives.
//!
//! Owns: [`Blocked`], what the request and the partner do not want to show, and how one entry of a
//! list matches one value of a bid. Never: the lists of a deal, seats.
//!
//! Categories are of a taxonomy. The request's lists are of its `cattax`, the partner's of Content
//! Taxonomy 1.0, a bid's of its own `cattax`; where one is absent it is 1, in the bid too, as the
//! standard says (3.2.1, 4.2.3), and not what the request uses. Each list judges the bids of its
//! own taxonomy; the ids of two cannot be compared, and there the bid passes.
//!
//! - Blocked (`bcat`, `badv`, `bapp`): a bid that names none passes: the standard requires none.
//! - Allowed (`acat`): one of the bid's categories has to be in it, so a bid that names none does
//!   not pass.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::offer::{Answered, Terms};
use crate::bid::Bid;
use crate::negatives::rejection::Rejection;
use crate::partner::CreativeBlock;
use crate::request::List;
use memchr::memmem;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The taxonomy of `bcat` and `cat` where `cattax` is absent: Content Taxonomy 1.0 (3.2.1, 4.2.3).
pub const CATTAX_DEFAULT: u16 = 1;

/// What the request and the partner do not want to show, looked up once for all bids.
#[derive(Debug)]
pub struct Blocked<'a> {
    /// The request's list, and the partner's.
    categories: [Categories<'a>; 2],
    allowed: Categories<'a>,
    advertisers: SmallVec<[Listed<'a>; 16]>,
    apps: SmallVec<[&'a [u8]; 4]>,
    creatives: &'a [CreativeBlock],
}

/// A list of categories, and the taxonomy that they are of.
#[derive(Debug)]
struct Categories<'a> {
    cattax: u16,
    listed: SmallVec<[&'a [u8]; 16]>,
}

impl Categories<'_> {
    fn is_of(&self, cattax: u16) -> bool {
        !self.listed.is_empty() && self.cattax == cattax
    }

    fn cover(&self, category: &[u8]) -> bool {
        self.listed.iter().any(|listed| category_covers(listed, category, self.cattax))
    }
}

impl<'a> Blocked<'a> {
    /// From the lists of both.
    pub fn new(terms: &Terms<'a>) -> Self {
        let (request, partner) = (terms.input.request, terms.input.partner);
        let view = &request.view;
        let cattax = view.cattax.unwrap_or(CATTAX_DEFAULT);
        let both = |list: List, own: &'a [String]| {
            request.texts_bytes(list).chain(own.iter().map(String::as_bytes))
        };
        let theirs =
            |list: List| Categories { cattax, listed: request.texts_bytes(list).collect() };
        let ours = partner.bcat.iter().map(String::as_bytes).collect();
        Self {
            categories: [theirs(view.bcat), Categories { cattax: CATTAX_DEFAULT, listed: ours }],
            allowed: theirs(view.acat),
            advertisers: both(view.badv, &partner.badv).flat_map(Listed::all).collect(),
            apps: both(view.bapp, &partner.bapp).collect(),
            creatives: &partner.creatives_blocked,
        }
    }

    /// Judges a bid of a bidder.
    pub fn judge(&self, answered: &Answered<'_>, bid: &Bid) -> Result<(), Rejection> {
        let answer = answered.answer;
        let cattax = bid.cattax.unwrap_or(CATTAX_DEFAULT);
        let mut blocked = self.categories.iter().filter(|list| list.is_of(cattax));
        if blocked.any(|list| answer.texts_bytes(bid.cat).any(|one| list.cover(one))) {
            return Err(Rejection::CategoryBlocked);
        }
        let allowed = &self.allowed;
        let is_judged = allowed.is_of(cattax) || bid.cat.is_empty();
        if !allowed.listed.is_empty()
            && is_judged
            && !answer.texts_bytes(bid.cat).any(|one| allowed.cover(one))
        {
            return Err(Rejection::CategoryBlocked);
        }
        if !self.advertisers.is_empty() {
            let mut hosts = answer.texts_bytes(bid.adomain).flat_map(Host::all);
            if hosts.any(|host| self.advertisers.iter().any(|listed| listed.covers(&host))) {
                return Err(Rejection::AdvertiserBlocked);
            }
        }
        if !self.apps.is_empty() && !bid.bundle.is_empty() {
            let bundle = answer.text_bytes(bid.bundle);
            if self.apps.iter().any(|app| app.eq_ignore_ascii_case(bundle)) {
                return Err(Rejection::AppBlocked);
            }
        }
        if !self.creatives.is_empty() && !bid.crid.is_empty() {
            let crid = answer.text_bytes(bid.crid);
            if self.creatives.iter().any(|block| block.has(answered.name, crid)) {
                return Err(Rejection::CreativeBlocked);
            }
        }
        Ok(())
    }
}

/// Whether `blocked` covers `category`, both of taxonomy `cattax`.
///
/// The ids of taxonomy 1 show their parent (`IAB7-39` is in `IAB7`), so a blocked parent blocks
/// its children there. The ids of the others are opaque: they match as a whole.
pub fn category_covers(blocked: &[u8], category: &[u8], cattax: u16) -> bool {
    let Some((head, tail)) = category.split_at_checked(blocked.len()) else {
        return false;
    };
    let is_below = || cattax == CATTAX_DEFAULT && tail.starts_with(b"-");
    !head.is_empty() && head.eq_ignore_ascii_case(blocked) && (tail.is_empty() || is_below())
}

/// A domain as it stands in a list: what [`covers`](Self::covers) compares with.
#[derive(Clone, Debug)]
pub struct Listed<'a>(Host<'a>);

/// The host of what stands in an `adomain`: a domain by the standard, but bidders send URLs too.
#[derive(Clone, Debug)]
pub struct Host<'a>(Cow<'a, [u8]>);

impl<'a> Listed<'a> {
    /// From an entry of a list. `*.`, a dot before it and `www.` say nothing: what is below a listed
    /// domain is listed, too.
    pub fn all(entry: &'a [u8]) -> impl Iterator<Item = Self> {
        Host::all(entry).map(|host| Self(host.without_www()))
    }

    /// Whether it is the host, or a parent of it.
    pub fn covers(&self, host: &Host<'_>) -> bool {
        let (own, host) = (self.0.bytes(), host.bytes());
        let at = host.len().checked_sub(own.len());
        let Some((head, tail)) = at.and_then(|at| host.split_at_checked(at)) else {
            return false;
        };
        !tail.is_empty()
            && tail.eq_ignore_ascii_case(own)
            && (head.is_empty() || head.ends_with(b"."))
    }
}

impl<'a> Host<'a> {
    /// Of each domain in a text: some write several into one, with commas or blanks between them.
    pub fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        let parts = |byte: &u8| matches!(byte, b',' | b';') || byte.is_ascii_whitespace();
        text.split(parts).filter(|part| !part.is_empty()).map(Self::of)
    }

    /// Without scheme, user, port, path, and dots and a `*` at its ends; a name with letters of other
    /// scripts as the DNS has it (RFC 5891, 4.4).
    pub fn of(domain: &'a [u8]) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if domain.iter().all(is_plain) && !domain.starts_with(b".") {
            return Self(Cow::Borrowed(domain.strip_suffix(b".").unwrap_or(domain)));
        }
        let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b'\\');
        let whole = match memmem::find(domain, b"//") {
            Some(at) if domain.get(..at).is_some_and(is_scheme) => {
                domain.get(at..).and_then(|rest| rest.strip_prefix(b"//")).unwrap_or_default()
            }
            _ => domain,
        };
        let authority = whole.split(ends).next().unwrap_or_default();
        let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
        let host = host.split(|byte| *byte == b':').next().unwrap_or_default();
        let host = host.strip_prefix(b"*").unwrap_or(host);
        let host = host.strip_prefix(b".").unwrap_or(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.is_ascii() {
            return Self(Cow::Borrowed(host));
        }
        let ascii =
            std::str::from_utf8(host).ok().and_then(|name| idna::domain_to_ascii(name).ok());
        Self(ascii.map_or(Cow::Borrowed(host), |name| Cow::Owned(name.into_bytes())))
    }

    /// In any case.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether two are one advertiser's.
    pub fn is_same(&self, other: &Self) -> bool {
        let plain = |host: &Self| host.clone().without_www();
        !self.0.is_empty() && plain(self).0.eq_ignore_ascii_case(&plain(other).0)
    }

    fn without_www(self) -> Self {
        let has_www = self.0.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"www."));
        if !has_www {
            return self;
        }
        Self(match self.0 {
            Cow::Borrowed(host) => Cow::Borrowed(host.get(4..).unwrap_or_default()),
            Cow::Owned(mut host) => Cow::Owned(host.split_off(4)),
        })
    }
}

/// What may stand before `//`: nothing, or a scheme and its colon (RFC 3986, 3.1).
fn is_scheme(text: &[u8]) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.is_empty() || text.strip_suffix(b":").is_some_and(|name| name.iter().all(is_of_one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_category_covers_its_children_in_the_first_taxonomy_only() {
        for (blocked, category, cattax, covers) in [
            ("IAB7-39", "IAB7-39", 1, true),
            ("iab7-39", "IAB7-39", 1, true),
            ("IAB7", "IAB7-39", 1, true),
            ("IAB7-39", "IAB7", 1, false),
            ("IAB7", "IAB70", 1, false),
            ("", "", 1, false),
            ("", "-1", 1, false),
            ("432", "432", 7, true),
            ("432", "432-1", 7, false),
        ] {
            let found = category_covers(blocked.as_bytes(), category.as_bytes(), cattax);
            assert_eq!(found, covers, "{blocked} {category}");
        }
    }

    #[test]
    fn a_listed_domain_covers_itself_and_its_subdomains_in_any_case() {
        for (listed, host, covers) in [
            ("example.com", "example.com", true),
            ("example.com", "WWW.Example.COM", true),
            ("www.example.com", "example.com", true),
            ("example.com", "https://ads.example.com:443/x?y", true),
            ("example.com.", "example.com", true),
            ("example.com", "badexample.com", false),
            ("ads.example.com", "example.com", false),
            ("", "example.com", false),
            ("example.com", "", false),
            ("é.example", "x.é.example", true),
            ("example.com", "//example.com/x", true),
            ("example.com", "HTTP://User@EXAMPLE.com:80/", true),
            ("example.com", "good.example,example.com", true),
            ("example.com", "example.com good.example", true),
            ("example.com", "https://good.example/?to=//example.com", false),
            ("example.com", "good.example/example.com", false),
            ("bücher.example", "www.xn--bcher-kva.example", true),
            ("xn--bcher-kva.example", "BÜCHER.example", true),
            (".example.com", "example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", true),
            ("WWW.example.com", "example.com", true),
            ("good.example, example.com", "example.com", true),
            ("*", "example.com", false),
            (".", "example.com", false),
        ] {
            let is_covered =
                |host: Host<'_>| Listed::all(listed.as_bytes()).any(|listed| listed.covers(&host));
            let found = Host::all(host.as_bytes()).any(is_covered);
            assert_eq!(found, covers, "{listed} {host}");
        }
    }
}
