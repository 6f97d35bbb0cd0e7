//! Block lists and allow lists: categories, advertiser domains, apps, seats.
//!
//! Owns: how one entry of a list matches one value of a bid. Never: which list applies.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// The taxonomy of `bcat` and `cat` where `cattax` is absent: Content Taxonomy 1.0 (3.2.1, 4.2.3).
pub const CATTAX_DEFAULT: u16 = 1;

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
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a>(&'a [u8]);

/// The host of what stands in an `adomain`: a domain by the standard, but bidders send URLs too.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a>(&'a [u8]);

impl<'a> Listed<'a> {
    /// From an entry of a list; a leading `www.` says nothing.
    pub fn new(entry: &'a [u8]) -> Self {
        let Host(host) = Host::of(entry);
        Self(host.strip_prefix(b"www.").unwrap_or(host))
    }

    /// Whether it is the host, or a parent of it.
    pub fn covers(self, host: Host<'_>) -> bool {
        let at = host.0.len().checked_sub(self.0.len());
        let Some((head, tail)) = at.and_then(|at| host.0.split_at_checked(at)) else {
            return false;
        };
        !tail.is_empty()
            && tail.eq_ignore_ascii_case(self.0)
            && (head.is_empty() || head.ends_with(b"."))
    }
}

impl<'a> Host<'a> {
    /// Without scheme, port, path and trailing dot.
    pub fn of(domain: &'a [u8]) -> Self {
        let domain = domain.trim_ascii();
        let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b':');
        let host = match domain.iter().position(ends) {
            None => domain,
            Some(at) => {
                let (head, tail) = domain.split_at_checked(at).unwrap_or((domain, b""));
                match tail.strip_prefix(b"://") {
                    Some(rest) => rest.split(ends).next().unwrap_or_default(),
                    None => head,
                }
            }
        };
        Self(host.strip_suffix(b".").unwrap_or(host))
    }
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
        ] {
            let found = Listed::new(listed.as_bytes()).covers(Host::of(host.as_bytes()));
            assert_eq!(found, covers, "{listed} {host}");
        }
    }
}
