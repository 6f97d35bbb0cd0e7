//! Sizes, durations and markup that only seem to fit.

use super::fixture::check;
use serde_json::json;

#[test]
fn a_range_of_sizes_has_bounds() {
    let ranged = |mut banner: serde_json::Value| {
        banner["format"] = json!(null);
        json!({ "banner": banner })
    };
    let most = ranged(json!({ "wmax": 320, "hmax": 50 }));
    let least = ranged(json!({ "wmin": 300, "hmin": 100 }));
    let wide = ranged(json!({ "w": 300, "h": 250, "wmin": 200, "wmax": 400 }));
    let mut whole = most.clone();
    whole["instl"] = json!(1);
    let mismatch = "size_mismatch";
    check(
        "range",
        &[
            (json!({}), most.clone(), json!({ "w": 970, "h": 900 }), mismatch),
            (json!({}), most.clone(), json!({ "w": 320, "h": 51 }), mismatch),
            (json!({}), most.clone(), json!({ "w": 320, "h": 50 }), "won"),
            (json!({}), most.clone(), json!({ "h": 60 }), mismatch),
            (json!({}), most, json!({}), "won"),
            (json!({}), least.clone(), json!({ "w": 299, "h": 100 }), mismatch),
            (json!({}), least.clone(), json!({ "w": 970, "h": 99 }), mismatch),
            (json!({}), least, json!({ "w": 970, "h": 250 }), "won"),
            // the height has no range: it is exact
            (json!({}), wide.clone(), json!({ "w": 400, "h": 250 }), "won"),
            (json!({}), wide.clone(), json!({ "w": 401, "h": 250 }), mismatch),
            (json!({}), wide, json!({ "w": 300, "h": 90 }), mismatch),
            (json!({}), whole, json!({ "w": 970, "h": 900 }), "won"),
        ],
    );
}

#[test]
fn a_claimed_ratio_does_not_excuse_another_size() {
    let ratio = json!({ "wratio": 4, "hratio": 3, "wmin": 200 });
    let imp = json!({ "banner": { "format": [ratio, { "w": 300, "h": 250 }] } });
    let claimed = |w: u32, h: u32| json!({ "w": w, "h": h, "wratio": 4, "hratio": 3 });
    check(
        "ratio",
        &[
            (json!({}), imp.clone(), claimed(728, 90), "size_mismatch"),
            (json!({}), imp.clone(), claimed(400, 300), "won"),
            (json!({}), imp.clone(), claimed(300, 250), "won"),
            (json!({}), imp.clone(), claimed(400, 0), "won"),
            (json!({}), imp, claimed(0, 0), "won"),
        ],
    );
}

#[test]
fn a_duration_of_zero_is_one_that_is_not_told() {
    let vast = "<VAST version='4.0'><Ad/></VAST>";
    for limits in [json!({ "minduration": 5, "maxduration": 30 }), json!({ "rqddurs": [15, 30] })] {
        let imp = json!({ "banner": null, "video": limits });
        check(
            "dur",
            &[
                (json!({}), imp.clone(), json!({ "adm": vast, "dur": 0 }), "won"),
                (json!({}), imp, json!({ "adm": vast, "dur": 1 }), "duration_mismatch"),
            ],
        );
    }
}

#[test]
fn a_banner_is_no_vast_and_no_markup_has_a_nul() {
    let vast = "<?xml version='1.0'?><!-- x --><VAST version='4.0'><Ad/></VAST>";
    let video = json!({ "banner": null, "video": {} });
    let nul = "<VAST version='4.0'><Ad>\0</Ad></VAST>";
    check(
        "markup",
        &[
            (json!({}), json!({}), json!({ "adm": vast }), "markup_invalid"),
            (json!({}), json!({}), json!({ "adm": vast, "mtype": 1 }), "markup_invalid"),
            (json!({}), json!({}), json!({ "adm": format!("\u{feff}\n{vast}") }), "markup_invalid"),
            (json!({}), json!({}), json!({ "adm": format!("<p>{vast}") }), "won"),
            (json!({}), video.clone(), json!({ "adm": vast }), "won"),
            (json!({}), video, json!({ "adm": nul }), "markup_invalid"),
            (json!({}), json!({}), json!({ "adm": "<p>\0" }), "markup_invalid"),
        ],
    );
}
