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
pub fn category_covers(blocked: &str, category: &str, cattax: u16) -> bool {
    if blocked.eq_ignore_ascii_case(category) {
        return !blocked.is_empty();
    }
    cattax == CATTAX_DEFAULT
        && category
            .split_once('-')
            .is_some_and(|(parent, _)| !parent.is_empty() && parent.eq_ignore_ascii_case(blocked))
}

/// Whether the listed domain covers `host`: the same one, or a parent of it.
pub fn domain_covers(listed: &str, host: &str) -> bool {
    let listed = host_of(listed);
    let listed = listed.strip_prefix("www.").unwrap_or(listed).as_bytes();
    let host = host_of(host).as_bytes();
    if listed.is_empty() {
        return false;
    }
    let Some((head, tail)) =
        host.len().checked_sub(listed.len()).and_then(|at| host.split_at_checked(at))
    else {
        return false;
    };
    tail.eq_ignore_ascii_case(listed) && (head.is_empty() || head.ends_with(b"."))
}

/// The host of what stands in an `adomain`: a domain by the standard, but bidders send URLs too.
fn host_of(domain: &str) -> &str {
    let domain = domain.trim();
    let domain = domain.split_once("://").map_or(domain, |(_, rest)| rest);
    let domain = domain.split(['/', '?', '#', ':']).next().unwrap_or(domain);
    domain.strip_suffix('.').unwrap_or(domain)
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
            assert_eq!(category_covers(blocked, category, cattax), covers, "{blocked} {category}");
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
            assert_eq!(domain_covers(listed, host), covers, "{listed} {host}");
        }
    }
}
