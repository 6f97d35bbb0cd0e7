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
    let is_site_blocked = !blocks.domains.is_empty() && {
        let (site, page) = request.sites();
        blocks.domains.covers(&site) || blocks.domains.covers(&page)
    };
    let is_listed = |list: &BlockList, text| !list.is_empty() && list.has(request.text(text));
    let is_blocked = is_site_blocked
        || is_listed(&blocks.bundles, inventory.bundle)
        || is_listed(&blocks.publishers, inventory.publisher_id);
    if is_blocked { Err(Refusal::BlockedInventory) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partner::BlockList;
    use crate::request::{Text, View};
    use bytes::Bytes;

    fn request(domain: &str, page: &str) -> ValidRequest {
        let narrow = |number: usize| u32::try_from(number).unwrap();
        let mut view = Box::<View>::default();
        view.inventory.domain = Text { at: 0, len: narrow(domain.len()) };
        view.inventory.page = Text { at: narrow(domain.len()), len: narrow(page.len()) };
        let text = format!("{domain}{page}").into_bytes();
        ValidRequest::new(crate::arrival::Body(Bytes::from(text.clone())), text, view)
    }

    #[test]
    fn a_blocked_domain_is_refused_however_it_is_spelled_and_wherever_it_stands() {
        let mut partner = Partner::new("p");
        partner.blocks.domains = BlockList::new(["blocked.example".to_owned()]);
        for (domain, page, is_refused) in [
            ("blocked.example", "", true),
            ("https://blocked.example/", "", true),
            ("blocked.example:443", "", true),
            ("blocked.example/path", "", true),
            (" blocked.example", "", true),
            ("a.BLOCKED.example.", "", true),
            ("", "https://u@blocked.example/x", true),
            ("", "blocked.example/x", true),
            ("good.example", "https://blocked.example/x", true),
            ("blocked.example", "https://good.example/x", true),
            ("good.example", "https://good.example/?u=https://blocked.example", false),
            ("notblocked.example", "https://blocked.example.net", false),
            ("", "", false),
        ] {
            let checked = check(&request(domain, page), &Facts::default(), &partner);
            assert_eq!(checked.is_err(), is_refused, "{domain:?} {page:?}");
        }
    }
}
