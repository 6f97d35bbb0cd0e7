//! Names in other letters than the standard's, which some readers take for the same.

use super::rules::{imps, roots};
use crate::negatives::refusal::Refusal::DuplicateKey;

#[test]
fn what_tells_of_the_user_stands_in_its_own_letters() {
    for name in
        ["User", "USER", "uSer", "Device", "DEVICE", "Regs", "REGS", "u\u{17f}er", "REG\u{17f}"]
    {
        for value in ["{}", "null", r#"{"id":"x"}"#] {
            roots(&[(&format!(r#""{name}":{value}"#), Some(DuplicateKey))]);
        }
        roots(&[(
            &format!(r#""user":{{}},"regs":{{}},"device":{{}},"{name}":1"#),
            Some(DuplicateKey),
        )]);
    }
    roots(&[
        (r#""\u0055ser":{}"#, Some(DuplicateKey)),
        (r#""users":{},"use":1,"devic":1,"reg":1"#, None),
        (r#""ext":{"User":{},"Regs":{}},"regs":{"Coppa":1},"device":{"Geo":{}}"#, None),
    ]);
}

#[test]
fn what_is_read_or_edited_stands_in_its_own_letters() {
    let refused = Some(DuplicateKey);
    let fake = r#"{"complete":1,"nodes":[]}"#;
    roots(&[
        (&format!(r#""source":{{}},"Source":{{"schain":{fake}}}"#), refused),
        (&format!(r#""source":{{"SChain":{fake}}}"#), refused),
        (&format!(r#""source":{{"ext":{{"Schain":{fake}}}}}"#), refused),
        (r#""source":{"schain":{"complete":1,"nodes":[],"Nodes":[]}}"#, refused),
        (r#""At":2"#, refused),
        (r#""tmax":100,"Tmax":5000"#, refused),
        (r#""Imp":[]"#, refused),
        (r#""Site":{}"#, refused),
        (r#""BSeat":["s"]"#, refused),
        (r#""EXT":{}"#, refused),
        // what nobody here reads or edits
        (r#""Tagid":1,"Ats":2,"source":{"Tid":"x","ext":{"Nodes":[]}}"#, None),
    ]);
    for (members, is_refused) in [
        (r#""bidfloor":1.25,"BidFloor":0.1"#, true),
        (r#""BIDFLOORCUR":"EUR""#, true),
        (r#""Secure":0"#, true),
        (r#""Video":{}"#, true),
        (r#""PMP":{}"#, true),
        (r#""Ext":{}"#, true),
        (r#""qty":{"multiplier":1,"Multiplier":9}"#, true),
        (r#""pmp":{"Private_Auction":1}"#, true),
        (r#""pmp":{"Deals":[]}"#, true),
        (r#""pmp":{"deals":[{"id":"d","bidfloor":1,"Bidfloor":0}]}"#, true),
        (r#""pmp":{"deals":[{"id":"d","MinCpmPerSec":0}]}"#, true),
        (r#""video":{"mimes":["a/b"],"DurFloors":[]}"#, true),
        (r#""audio":{"mimes":["a/b"],"mincpmpersec":1,"minCPMperSec":0}"#, true),
        (r#""video":{"mimes":["a/b"],"durfloors":[{"bidfloor":1,"BidFloor":0}]}"#, true),
        (r#""TagId":"t","ext":{"Bidfloor":1},"pmp":{"ext":{"Deals":1}}"#, false),
    ] {
        let expected = is_refused.then_some(DuplicateKey);
        imps(&[(&format!("{},{members}", super::BANNER), expected)]);
    }
}
