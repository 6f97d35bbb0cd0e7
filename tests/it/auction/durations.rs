//! What depends on how long a video or an audio lasts: floors, and whether it fits.

use super::fixture::{Case, bid, bids, cpm, fate};
use serde_json::{Value as Json, json};

const VAST: &str = "<VAST version=\"4.0\"><Ad/></VAST>";

/// One imp of a video (floor 1 dollar), with more members in both.
fn imp(media: &str, stream: &Json, more: &Json) -> Json {
    let mut imp = json!({ "banner": null, "bidfloor": 1.0, media: { "mimes": ["x/y"] } });
    for (object, members) in [(media, stream), ("", more)] {
        for (key, value) in members.as_object().unwrap() {
            let into = if object.is_empty() { &mut imp } else { &mut imp[object] };
            into[key] = value.clone();
        }
    }
    imp
}

fn offer(dur: Option<u32>, deal: Option<&str>) -> Json {
    json!({ "adm": VAST, "dur": dur, "dealid": deal })
}

/// The least price, in cents, at which a bid is taken.
fn floor(imp: &Json, more: &Json) -> f64 {
    let mut request = json!({ "imp": [imp.clone()] });
    request["imp"][0]["id"] = json!("1");
    let mut most: i32 = 10_000;
    let mut least = 0;
    while most - least > 1 {
        let middle = i32::midpoint(most, least);
        let price = f64::from(middle) / 100.0;
        let case = Case::new(&request, &[("a", bids(&[bid("x", "1", price, more)]))]);
        let outcome = case.outcome();
        if outcome[0].starts_with("1:") {
            most = middle;
        } else {
            assert!(outcome[0].contains("below_"), "{imp} {more}: {outcome:?}");
            least = middle;
        }
    }
    f64::from(most) / 100.0
}

#[test]
fn floors_by_duration_count_before_that_of_the_imp() {
    let ranges = json!({ "durfloors": [
        { "maxdur": 15, "bidfloor": 5 }, { "mindur": 16, "maxdur": 30, "bidfloor": 10 },
        { "mindur": 25, "maxdur": 28, "bidfloor": 12 }, { "mindur": 41, "bidfloor": 20 }] });
    let by_second = json!({ "mincpmpersec": 0.5 });
    for (stream, dur, expected) in [
        (json!({}), Some(15), 1.0),
        (by_second.clone(), Some(15), 7.5),
        (json!({ "mincpmpersec": 0.01 }), Some(15), 0.15),
        (ranges.clone(), Some(15), 5.0),
        (ranges.clone(), Some(16), 10.0),
        // where two ranges hold a duration, the higher floor
        (ranges.clone(), Some(25), 12.0),
        (ranges.clone(), Some(60), 20.0),
        // outside of all, that of the imp
        (ranges.clone(), Some(35), 1.0),
        // no duration: the strictest that it could be
        (ranges.clone(), None, 20.0),
        (json!({ "durfloors": ranges["durfloors"], "maxduration": 30 }), None, 12.0),
        (json!({ "durfloors": ranges["durfloors"], "rqddurs": [15, 20] }), None, 10.0),
        (
            json!({ "durfloors": ranges["durfloors"], "maxduration": 30, "maxextended": 20 }),
            None,
            20.0,
        ),
        (json!({ "durfloors": [{ "bidfloor": 0.5 }], "maxduration": 30 }), Some(30), 0.5),
        (json!({ "mincpmpersec": 0.5, "maxduration": 30 }), None, 15.0),
        (json!({ "mincpmpersec": 0.5, "maxduration": 30 }), Some(0), 15.0),
        (json!({ "mincpmpersec": 0.5, "rqddurs": [15, 30] }), None, 15.0),
        (json!({ "mincpmpersec": 0.5, "minduration": 6 }), None, 3.0),
        (by_second.clone(), None, 1.0),
        (json!({ "mincpmpersec": 0 }), Some(15), 1.0),
        (json!({ "mincpmpersec": 0.5, "durfloors": ranges["durfloors"] }), Some(20), 10.0),
        (json!({ "mincpmpersec": 0.5, "durfloors": ranges["durfloors"] }), Some(35), 17.5),
    ] {
        for media in ["video", "audio"] {
            let (imp, offer) = (imp(media, &stream, &json!({})), offer(dur, None));
            assert!((floor(&imp, &offer) - expected).abs() < 1e-9, "{imp} {dur:?}");
        }
    }
}

#[test]
fn a_deal_counts_before_the_video_and_its_floors_are_in_its_currency() {
    let more = json!({ "bidfloorcur": "EUR", "pmp": { "deals": [
        { "id": "flat", "bidfloor": 3 },
        { "id": "seconds", "mincpmpersec": 0.1 },
        { "id": "ranges", "durfloors": [{ "maxdur": 15, "bidfloor": 4 }] },
        { "id": "both", "bidfloor": 3, "durfloors": [{ "maxdur": 15, "bidfloor": 4 }] },
        { "id": "fixed", "bidfloor": 3, "at": 3, "mincpmpersec": 1 },
        { "id": "silent" }] } });
    let video = imp("video", &json!({ "mincpmpersec": 0.5 }), &more);
    // a euro is two dollars
    for (deal, dur, expected) in [
        ("flat", 10, 3.0),
        ("seconds", 10, 1.0),
        ("ranges", 10, 4.0),
        ("ranges", 20, 2.0),
        ("both", 10, 4.0),
        ("both", 20, 3.0),
        ("fixed", 10, 3.0),
        ("silent", 10, 10.0),
    ] {
        let floor = floor(&video, &offer(Some(dur), Some(deal)));
        assert!((floor - expected).abs() < 1e-9, "{deal} {dur}: {floor}");
    }
    assert!((floor(&video, &offer(Some(10), None)) - 10.0).abs() < 1e-9);
    let cheap = |deal: &str| fate(&json!({}), &video, &offer(Some(90), Some(deal)));
    assert_eq!(
        (cheap("seconds").as_str(), cheap("silent").as_str()),
        ("below_deal_floor", "below_floor")
    );
}

#[test]
fn floors_by_duration_are_no_concern_of_a_banner() {
    let mut both = imp(
        "video",
        &json!({ "mincpmpersec": 5 }),
        &json!({ "pmp": { "deals": [{ "id": "d", "mincpmpersec": 5 }] } }),
    );
    both["banner"] = json!({ "w": 300, "h": 250 });
    for more in [json!({}), json!({ "dealid": "d" })] {
        assert!((floor(&both, &more) - 1.0).abs() < 1e-9, "{more}");
    }
}

#[test]
fn the_floor_of_the_partner_is_added_to_all_but_a_deal_s() {
    let more = json!({ "pmp": { "deals": [{ "id": "d", "mincpmpersec": 0.1 }] } });
    let mut video = imp("video", &json!({ "mincpmpersec": 0.1 }), &more);
    video["id"] = json!("1");
    for (deal, expected) in [(None, "a/x below_floor"), (Some("d"), "1: a/x 2 USD")] {
        let answer = bids(&[bid("x", "1", 2.0, &offer(Some(10), deal))]);
        let mut case = Case::new(&json!({ "imp": [video] }), &[("a", answer)]);
        case.partner.floor = cpm(3.0);
        assert_eq!(case.outcome(), [expected]);
    }
}

#[test]
fn an_extended_ad_may_last_longer_than_the_longest() {
    for (extended, dur, expected) in [
        (json!(null), 31, "duration_mismatch"),
        (json!(0), 31, "duration_mismatch"),
        (json!(10), 40, "won"),
        (json!(10), 41, "duration_mismatch"),
        (json!(-1), 4_000, "won"),
        (json!(-1), 4, "duration_mismatch"),
        (json!(-5), 31, "duration_mismatch"),
    ] {
        let stream = json!({ "minduration": 5, "maxduration": 30, "maxextended": extended });
        for media in ["video", "audio"] {
            let imp = imp(media, &stream, &json!({}));
            assert_eq!(fate(&json!({}), &imp, &offer(Some(dur), None)), expected, "{imp} {dur}");
        }
    }
}
