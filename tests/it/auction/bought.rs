//! What a bidder buys, as far as one of its bids can be outside of it.

use super::fixture::{bid, one_imp, pmp};
use gavel::openrtb::ids::Media;
use serde_json::json;

#[test]
fn a_bidder_is_held_to_the_deals_and_media_that_it_buys() {
    let own = vec!["d".to_owned()];
    let deals = pmp(&json!([{ "id": "d" }, { "id": "e" }]), 0);
    for (deals_of, is_deal_only, more, expected) in [
        (&own, false, json!({ "dealid": "d" }), "1: a/x 2 USD"),
        (&own, false, json!({ "dealid": "e" }), "a/x deal_unknown"),
        (&own, false, json!({}), "1: a/x 2 USD"),
        (&own, true, json!({ "dealid": "d" }), "1: a/x 2 USD"),
        (&own, true, json!({}), "a/x deal_required"),
        (&vec![], false, json!({ "dealid": "e" }), "1: a/x 2 USD"),
    ] {
        let mut case = one_imp(&json!({}), &deals, &[bid("x", "1", 2.0, &more)]);
        case.targeting.deals.clone_from(deals_of);
        case.targeting.is_deal_only = is_deal_only;
        assert_eq!(case.outcome(), [expected], "{deals_of:?} {is_deal_only} {more}");
    }
    let both = json!({ "video": { "mimes": ["x/y"] } });
    let mut case = one_imp(&json!({}), &both, &[bid("x", "1", 2.0, &json!({ "mtype": 1 }))]);
    assert_eq!(case.outcome(), ["1: a/x 2 USD"]);
    case.targeting.media = [Media::Video].into_iter().collect();
    assert_eq!(case.outcome(), ["a/x media_mismatch"]);
}
