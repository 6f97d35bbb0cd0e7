//! Traffic that a partner's rules turn away before any bidder is called.
//!
//! Owns: [`check`]. Never: a look-up. Invariant: what is not known is not refused.

use crate::facts::Facts;
use crate::negatives::refusal::Refusal;
use crate::partner::{BlockList, Partner};
use crate::request::ValidRequest;

/// Whether the request may go on: spiders, data centres and proxies, and blocked inventory may
/// not, where the partner's `blocks` say so.
pub fn check(request: &ValidRequest, facts: &Facts, partner: &Partner) -> Result<(), Refusal> {
    let blocks = &partner.blocks;
    if blocks.bots && facts.device.as_deref().is_some_and(|device| device.is_bot) {
        return Err(Refusal::KnownSpider);
    }
    if let Some(geo) = facts.geo.as_deref()
        && ((blocks.data_centers && geo.is_hosting) || (blocks.anonymous && geo.is_anonymous))
    {
        return Err(Refusal::DataCenter);
    }
    let inventory = &request.view.inventory;
    // Most partners block nothing: then no string is looked at.
    let is_site_blocked = !blocks.domains.is_empty()
        && (blocks.domains.covers(request.text(inventory.domain))
            || blocks.domains.covers(host(request.text(inventory.page))));
    let is_listed = |list: &BlockList, text| !list.is_empty() && list.has(request.text(text));
    let is_blocked = is_site_blocked
        || is_listed(&blocks.bundles, inventory.bundle)
        || is_listed(&blocks.publishers, inventory.publisher_id);
    if is_blocked { Err(Refusal::BlockedInventory) } else { Ok(()) }
}

/// The host of a URL: a page names its domain even where `domain` is left out.
fn host(url: &str) -> &str {
    let behind = url.split_once("://").map_or("", |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.split(':').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_cut_from_urls() {
        for (url, expected) in [
            ("https://a.example/p?q#f", "a.example"),
            ("http://user:word@a.example:8080/", "a.example"),
            ("https://a.example?x=http://b.example", "a.example"),
            ("https://a.example", "a.example"),
            ("a.example/p", ""),
            ("://", ""),
            ("", ""),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
