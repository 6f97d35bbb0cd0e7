//! Names of hosts as people and machines write them, and lists of them.
//!
//! Owns: [`Host`], what a name comes to however it is spelled, and [`Domains`], a list that is asked for
//! one. Never: whose list it is, what follows from it.
//! Invariant: what is asked of a list costs no more than looking once at each of its entries, or, of a
//! list that is asked often, at the logarithm of their number.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use memchr::memmem;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Longest name with letters of other scripts that is brought into the form of the DNS, in UTF-8: there it
/// may have 253 bytes, and the work grows with the square of its length.
const NAME_BYTES_MAX: usize = 253;

/// Lists that are asked for more hosts than this are sorted first.
const SCANNED_MAX: usize = 32;

/// A domain as it stands in a list: what [`covers`](Self::covers) compares with.
#[derive(Clone, Debug)]
pub struct Listed<'a>(Host<'a>);

/// The host of what stands where the standard has a domain: many write URLs there, too.
#[derive(Clone, Debug, Default)]
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
    /// Of each domain in a text.
    pub fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        Self::parts(text).map(Self::of)
    }

    /// What stands for a domain in a text: some write several into one, with commas or blanks between
    /// them.
    pub fn parts(text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let ends = |byte: &u8| matches!(byte, b',' | b';') || byte.is_ascii_whitespace();
        text.split(ends).filter(|part| !part.is_empty())
    }

    /// Without blanks around it, scheme, user, port, path, and dots and a `*` at its ends; a name with
    /// letters of other scripts as the DNS has it (RFC 5891, 4.4).
    pub fn of(domain: &'a [u8]) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if domain.iter().all(is_plain) && !domain.starts_with(b".") {
            return Self(Cow::Borrowed(without_last_dots(domain)));
        }
        let domain = domain.trim_ascii();
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
        let host = without_last_dots(host);
        if host.is_ascii() || host.len() > NAME_BYTES_MAX {
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

    /// In any case; empty where the domain was no text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// In lower case.
    pub fn letters(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.0.iter().map(u8::to_ascii_lowercase)
    }

    /// As advertisers are told apart.
    #[must_use]
    pub fn without_www(self) -> Self {
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

fn without_last_dots(mut host: &[u8]) -> &[u8] {
    while let [head @ .., b'.'] = host {
        host = head;
    }
    host
}

/// What may stand before `//`: nothing, or a scheme and its colon (RFC 3986, 3.1).
fn is_scheme(text: &[u8]) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.is_empty() || text.strip_suffix(b":").is_some_and(|name| name.iter().all(is_of_one))
}

/// A list of domains.
#[derive(Debug)]
pub struct Domains<'a> {
    /// Where sorted: by their letters from the last to the first, none below another.
    listed: SmallVec<[Listed<'a>; 16]>,
    is_sorted: bool,
}

impl<'a> Domains<'a> {
    /// From what stands in a list that is asked for about so many hosts.
    pub fn new(entries: impl Iterator<Item = &'a [u8]>, hosts: usize) -> Self {
        let mut listed: SmallVec<[Listed<'a>; 16]> = entries.flat_map(Listed::all).collect();
        listed.retain(|one| !one.0.bytes().is_empty());
        let is_sorted = hosts > SCANNED_MAX;
        if is_sorted {
            listed.sort_unstable_by(|one, other| by_last_letters(&one.0, &other.0));
            listed.dedup_by(|next, kept| kept.covers(&next.0));
        }
        Self { listed, is_sorted }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Whether the host, or a parent of it, is in it.
    pub fn cover(&self, host: &Host<'_>) -> bool {
        if !self.is_sorted {
            return self.listed.iter().any(|listed| listed.covers(host));
        }
        // a parent comes before what is below it, and nothing else comes between the two
        let is_before = |one: &Listed<'_>| by_last_letters(&one.0, host) != Ordering::Greater;
        let at = self.listed.partition_point(is_before);
        let last = at.checked_sub(1).and_then(|at| self.listed.get(at));
        last.is_some_and(|listed| listed.covers(host))
    }
}

/// Orders names from their ends, so that all below a domain stand right behind it.
fn by_last_letters(one: &Host<'_>, other: &Host<'_>) -> Ordering {
    // a dot before all letters
    let weight = |byte: u8| (byte != b'.', byte);
    one.letters().rev().map(weight).cmp(other.letters().rev().map(weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn a_host_is_the_same_however_it_is_spelled() {
        for text in [
            "blocked.example",
            " blocked.example",
            "blocked.example\r\n",
            "BLOCKED.example.",
            "blocked.example..",
            "blocked.example:443",
            "blocked.example/path",
            "https://blocked.example/",
            "https://u@blocked.example/x",
            "https://u:p@blocked.example:8443?x=/",
            "//blocked.example#a",
            "*.blocked.example",
        ] {
            let host = Host::of(text.as_bytes());
            assert_eq!(host.text().to_lowercase(), "blocked.example", "{text}");
        }
        for text in ["", "...", "https://", "://", "*"] {
            assert_eq!(Host::of(text.as_bytes()).text(), "", "{text}");
        }
        // what is too long for a name is left as it is
        let long = format!("{}.example", "\u{e9}".repeat(NAME_BYTES_MAX));
        assert_eq!(Host::of(long.as_bytes()).text(), long);
    }

    proptest! {
        #[test]
        fn a_sorted_list_answers_as_one_that_is_read_through(
            names in prop::collection::vec("([ab-]{0,2}\\.){0,2}[abB-]{0,2}", 0..12),
            asked in prop::collection::vec("([ab-]{0,2}\\.){0,3}[aAb-]{0,2}", 0..12),
        ) {
            let list = |hosts| Domains::new(names.iter().map(String::as_bytes), hosts);
            let (read, sorted) = (list(0), list(usize::MAX));
            for one in &asked {
                let host = Host::of(one.as_bytes());
                prop_assert_eq!(sorted.cover(&host), read.cover(&host), "{:?} {}", names, one);
            }
        }
    }
}
